"""The whole daemon under valgrind's memcheck, through all that a day may bring: no bad access, nothing uninitialised, no
leak."""

import glob
import os
import re
import signal
import urllib.request

from lab import places
from lab.proc import wait_for
from lab.scene import scene_of, scenes, script  # noqa: F401


def memcheck(log):
    with open(places.built("flipd"), "rb") as f:
        if b"__asan_init" in f.read():
            return []  # it has its own way of looking, and ends with a status of its own too
    # One thread runs at a time: fair scheduling lets the workers connect while the loop polls. libmariadb runs its
    # queries on stacks of its own that valgrind is not told of: more than our largest frame (16384) is a switch.
    return [places.system("valgrind"), "--quiet", "--tool=memcheck", "--leak-check=full", "--errors-for-leak-kinds=definite",
            "--show-leak-kinds=definite", "--track-fds=no", "--fair-sched=try", "--max-stackframe=20000", "--error-exitcode=99", "--num-callers=30",
            "--log-file=" + log]


def errors(log):
    text = ""
    for name in glob.glob(log.replace("%p", "*")):
        with open(name, errors="replace") as f:
            text += f.read()
    return text


def clean(daemon, log):
    assert daemon.process.wait(1) == 0, errors(log)
    assert not re.search(r"\S", errors(log)), errors(log)


def test_a_day_under_valgrind(scene_of):  # noqa: F811
    s = scene_of("pair")
    old, new = s.master, s.standby
    hook = script(os.path.join(s.lab.dir, "hook.sh"), 'echo "$FLIPD_ACTION"; exit 0')
    refusing = script(os.path.join(s.lab.dir, "refuse.sh"), 'test "$FLIPD_ACTION" != before_fence || test ! -e "$0.no"')
    log = os.path.join(s.lab.dir, "valgrind.%p")
    daemon = s.flipd(wrapper=memcheck(log), defaults={"max_blackout": "30s", "fence_timeout": "2s"},
                     cluster={"hooks": {"before_fence": [hook, refusing], "after_open": [hook]}})
    load = s.load(writers=2, interval_ms=30.0)

    s.flip(new)
    s.goes_on(load, server=new)
    daemon.wait_ready(old.name, timeout=60)
    s.flip(old)
    s.goes_on(load, server=old)

    # A flip that preflight refuses, one that a hook takes back, one with a wrong word, and the looking.
    new.query("STOP SLAVE")
    assert daemon.flip(new.name).code == 2
    new.query("START SLAVE")
    new.wait_replicating()
    open(refusing + ".no", "w").close()
    daemon.wait_ready(new.name, timeout=60)
    s.flip(new, ("aborted", "refused"))
    assert daemon.flip("sideways").code == 1
    assert daemon.ctl("check", "lab", "--to", new.name).code in (0, 2)
    assert daemon.ctl("plan", "lab", "--to", new.name).code == 0
    assert daemon.ctl("show", s.last()["id"]).code == 0
    for path in ("/", "/metrics", "/status", "/readyz"):
        with urllib.request.urlopen("http://%s%s" % (daemon.status, path), timeout=20) as answer:
            assert answer.status == 200

    # Reloads: taken, refused, by signal.
    daemon.config["defaults"]["max_lag"] = "2s"
    daemon.write_config()
    assert daemon.ctl("reload").json == {"changed": ["lab"]}
    daemon.config["defaults"]["max_lag"] = "soon"
    daemon.write_config()
    assert daemon.ctl("reload").code == 1
    daemon.process.signal(signal.SIGHUP)
    wait_for(lambda: daemon.read_log().count("nothing taken") == 2, 20, "the reload by signal to be refused")

    assert s.right(load, old, new, old)
    clean(daemon, log)


def test_back_again_under_valgrind(scene_of):  # noqa: F811
    """A flip that is aborted behind the fence, and one that its daemon does not live to see the end of."""
    s = scene_of("pair")
    old, new = s.master, s.standby
    log = os.path.join(s.lab.dir, "valgrind-back.%p")
    daemon = s.flipd(wrapper=memcheck(log), held=True, defaults={"max_blackout": "30s", "fence_timeout": "2s"})
    load = s.load(writers=2, interval_ms=30.0)

    holder, running = s.held_flip(new)
    wait_for(lambda: not old.writable, 20, "the fence")
    assert daemon.ctl("abort", "lab").code == 0
    running.end("rolled_back")
    holder.close()
    s.goes_on(load, server=old)

    daemon.wait_ready(new.name, timeout=60)
    holder, running = s.held_flip(new)
    wait_for(lambda: not old.writable, 20, "the fence")
    daemon.kill()
    running.child.wait(20)
    daemon.start()
    s.await_end("rolled_back")
    holder.close()
    s.goes_on(load, server=old)

    assert s.right(load, old)
    clean(daemon, log)
