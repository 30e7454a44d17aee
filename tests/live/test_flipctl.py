"""flipctl beside a flip that waits: abort, busy, interrupts, a daemon that goes away, reload, the guard after a flip."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import termios
import urllib.request

import pytest
import yaml

from lab import places
from lab.proc import wait_for


@contextlib.contextmanager
def open_transaction(server):
    """A transaction that changed rows and stays open: drain waits for it."""
    connection = server.connect(user="app", password=server.lab.passwords["app"], db="app", tcp=True)
    connection.begin()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE work SET n = n + 1 WHERE id = 1")
    try:
        yield connection
    finally:
        with contextlib.suppress(Exception):
            connection.rollback()
            connection.close()


def now(flipd):
    return flipd.state()["flip"]


def at_step(flipd, step):
    flip = now(flipd)
    return flip and any(s["name"] == step and s["state"] == "running" for s in flip["steps"])


@pytest.fixture
def draining(make_lab):
    """A flip that waits in drain, and the flipctl that waits for the flip."""
    lab = make_lab().cluster()
    flipd = lab.flipd(defaults={"drain_timeout": "60s", "max_transaction_age": "1ms"}, daemon={"poll_interval": "200ms"})
    flipd.wait_ready("target")
    with open_transaction(lab.servers["source"]):
        waiter = flipd.ctl_start("flip", "lab", "--to", "target", "--yes")
        wait_for(lambda: at_step(flipd, "drain"), 20, "the flip to drain")
        yield lab, flipd, waiter
        if waiter.poll() is None:
            waiter.kill()
        waiter.communicate()


def test_busy_show_and_abort(draining):
    lab, flipd, waiter = draining
    state = flipd.state()
    assert state["state"] == "flipping" and state["flip"]["state"] == "running" and state["master"] == "source"
    assert state["ready"] == {"source": False, "target": False}
    flip_id = state["flip"]["id"]
    shown = flipd.ctl("show", flip_id)
    assert shown.code == 7 and shown.json["outcome"] is None
    assert flipd.flip("target").code == 7
    assert flipd.ctl("check", "lab", "--to", "target").code == 7
    assert flipd.ctl("resolve", "lab", "--yes").code == 7
    assert flipd.ctl("ping").seconds < 1
    assert [f["id"] for f in flipd.ctl("history").json["flips"]] == [flip_id]
    answer = flipd.ctl("abort", "lab")
    assert answer.code == 0 and answer.json["outcome"] == "aborted" and answer.json["id"] == flip_id
    out, _ = waiter.communicate(timeout=20)
    assert waiter.returncode == 3 and json.loads(out)["outcome"] == "aborted"
    assert flipd.ctl("abort", "lab").code == 1
    assert flipd.ctl("show", flip_id).code == 0
    assert lab.master().name == "source"


def test_interrupt_leaves_the_flip(draining):
    lab, flipd, waiter = draining
    waiter.send_signal(signal.SIGINT)
    _, err = waiter.communicate(timeout=10)
    assert waiter.returncode == 130
    flip_id = now(flipd)["id"]
    assert "goes on" in err and flip_id in err
    assert flipd.ctl("abort", "lab").code == 0


def test_a_daemon_that_goes_away(draining):
    lab, flipd, waiter = draining
    flip_id = now(flipd)["id"]
    flipd.kill()
    _, err = waiter.communicate(timeout=10)
    assert waiter.returncode == 5 and "flipctl show %s" % flip_id in err
    flipd.start()
    wait_for(lambda: flipd.ctl("show", flip_id).code == 0, 30, "the flip to be recovered")
    assert flipd.ctl("show", flip_id).json["outcome"] == "aborted"
    assert lab.master().name == "source"
    flipd.wait_ready("target")


def test_stop_aborts_what_has_not_fenced(draining):
    lab, flipd, waiter = draining
    assert flipd.stop() == 0
    out, _ = waiter.communicate(timeout=10)
    assert waiter.returncode == 3 and json.loads(out)["outcome"] == "aborted"
    assert lab.master().name == "source"


def test_no_wait_and_lines_for_people(make_lab):
    lab = make_lab().cluster()
    flipd = lab.flipd(defaults={"drain_timeout": "60s", "max_transaction_age": "1ms"})
    flipd.wait_ready("target")
    with open_transaction(lab.servers["source"]):
        begun = flipd.flip("target", "--no-wait")
        assert begun.code == 0 and begun.json["id"] and begun.json["outcome"] is None
        assert now(flipd)["id"] == begun.json["id"]
    wait_for(lambda: flipd.ctl("show", begun.json["id"]).code == 0, 30, "the flip to end")
    assert flipd.ctl("show", begun.json["id"]).json["outcome"] == "done"
    flipd.wait_ready("source")
    done = subprocess.run([places.built("flipctl"), "--socket", flipd.socket, "flip", "lab", "--to", "source", "--yes"],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "source is the master" in done.stdout and "ms" in done.stdout
    assert "\033" not in done.stdout + done.stderr
    assert any(line.split()[:2] == ["fence", "done"] for line in done.stderr.splitlines())
    same = flipd.flip("source")
    assert same.code == 0 and same.json["outcome"] == "nothing_to_do" and same.json["id"] is None
    assert len(flipd.ctl("history").json["flips"]) == 2


def test_lines_fit_the_terminal(make_lab):
    """What is drawn again goes up by lines: one that wrapped would be printed below itself, ten times a second."""
    flipd = make_lab().cluster().flipd()
    flipd.wait_ready("target")
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    child = subprocess.Popen([places.built("flipctl"), "--socket", flipd.socket, "rehearse", "lab", "--to", "target"],
                             stdin=other, stderr=other, stdout=subprocess.DEVNULL, env=dict(os.environ, TERM="xterm"))
    os.close(other)
    seen = b""
    with contextlib.suppress(OSError):
        while True:
            seen += os.read(main, 4096)
    os.close(main)
    assert child.wait(20) == 0
    drawn = [line.strip() for line in re.split(r"[\r\n]+", re.sub(r"\033\[[0-9]*[AK]", "\r", seen.decode()))]
    steps = [line for line in drawn if line.split()[1:2] in (["done"], ["running"], ["skipped"])]
    assert any(line.split()[0] == "fence" for line in steps), drawn
    assert 50 < max(map(len, steps)) < 60, sorted(steps, key=len)[-3:]


def test_a_heartbeat_that_cannot_be_written(make_lab):
    """Nobody's heartbeat moves then: that is no lag of 0."""
    lab = make_lab().cluster()
    wrong = os.path.join(lab.dir, "wrong.password")
    with open(os.open(wrong, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
        f.write("rotated\n")
    flipd = lab.flipd(defaults={"heartbeat": {"interval": "100ms"}})

    def lag():
        return (flipd.state()["servers"][1]["replication"] or {}).get("heartbeat_lag_seconds")
    wait_for(lambda: lag() is not None, 20, "a lag by heartbeat")
    flipd.config["defaults"]["heartbeat"].update(user="flipd", password_file=wrong)
    flipd.write_config()
    assert flipd.ctl("reload").code == 0
    wait_for(lambda: "the heartbeat is not written: source " in flipd.read_log(), 20, "the log to say so")
    assert "Access denied for user 'flipd'" in flipd.read_log() and "rotated" not in flipd.read_log()
    wait_for(lambda: lag() is None, 20, "the lag by heartbeat to be unknown")
    flipd.config["defaults"]["heartbeat"].update(password_file=lab.secret("flipd"))
    flipd.write_config()
    assert flipd.ctl("reload").code == 0
    wait_for(lambda: lag() is not None, 20, "a lag by heartbeat again")


def test_reload_in_a_flip(draining):
    lab, flipd, waiter = draining
    flipd.config["defaults"]["max_lag"] = "3s"
    flipd.config["clusters"]["more"] = {"source": {"host": "127.0.0.1", "port": 1},
                                        "target": {"host": "127.0.0.1", "port": 2}}
    with open(flipd.config_file, "w") as f:
        yaml.safe_dump(flipd.config, f)
    answer = flipd.ctl("reload")
    assert answer.code == 0 and sorted(answer.json["changed"]) == ["lab", "more"]
    assert now(flipd)["state"] == "running"
    assert flipd.ctl("abort", "lab").code == 0
    flipd.wait_ready("target")
    del flipd.config["clusters"]["lab"]
    with open(flipd.config_file, "w") as f:
        yaml.safe_dump(flipd.config, f)
    assert flipd.ctl("reload").json["changed"] == ["lab"]
    assert flipd.ctl("status", "lab").code == 1
    assert flipd.ctl("history", "lab").code == 0


def metric(flipd, line):
    with urllib.request.urlopen("http://%s/metrics" % flipd.status, timeout=10) as answer:
        return line in answer.read().decode().splitlines()


def polls(flipd):
    with urllib.request.urlopen("http://%s/metrics" % flipd.status, timeout=10) as answer:
        text = answer.read().decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("flipd_poll_seconds_count"))


@pytest.mark.parametrize("guard", ["alarm", "fence"])
def test_guard_after_a_flip(make_lab, guard):
    lab = make_lab().cluster()
    flipd = lab.flipd(defaults={"guard": guard}, daemon={"poll_interval": "100ms"})
    flipd.wait_ready("target")
    done = flipd.flip("target")
    assert done.code == 0, done
    assert not metric(flipd, 'flipd_split_brain{cluster="lab"} 1')
    source = lab.servers["source"]
    source.query("SET GLOBAL read_only=0")
    if guard == "fence":
        wait_for(lambda: not source.writable, 10, "the old master to be closed again")
        wait_for(lambda: flipd.state()["master"] == "target", 10, "one master again")
    else:
        wait_for(lambda: flipd.state()["state"] == "split_brain", 10, "the split brain to be seen")
        assert flipd.state()["master"] is None and flipd.state()["why"] == "both_writable"
        assert metric(flipd, 'flipd_split_brain{cluster="lab"} 1')
        assert source.writable
    assert flipd.read_log().count("both sides take writes") == 1


def test_guard_after_masters_changed_by_hand(make_lab):
    """What the last flip closed has been made master since: it is not closed when the other side opens by mistake."""
    lab = make_lab().cluster()
    flipd = lab.flipd(defaults={"guard": "fence"}, daemon={"poll_interval": "100ms"})
    flipd.wait_ready("target")
    done = flipd.flip("target")
    assert done.code == 0, done
    source, target = lab.servers["source"], lab.servers["target"]
    target.query("SET GLOBAL read_only=1")
    source.query("SET GLOBAL read_only=0")
    wait_for(lambda: flipd.state()["master"] == "source", 10, "the change of masters to be seen")
    target.query("SET GLOBAL read_only=0")
    wait_for(lambda: flipd.state()["state"] == "split_brain", 10, "the split brain to be seen")
    seen = polls(flipd)
    wait_for(lambda: polls(flipd) > seen + 10, 10, "more polls")
    assert source.writable and target.writable


def test_no_false_alarms_in_flips(make_lab):
    """Sides are polled at different times: what is seen together must not be taken for two masters, or none."""
    lab = make_lab().cluster()
    flipd = lab.flipd(daemon={"poll_interval": "500ms"})
    for to in ("target", "source", "target", "source"):
        flipd.wait_ready(to)
        done = flipd.flip(to)
        assert done.code == 0, done
    for word in ("split_brain", "no_master"):
        assert word not in flipd.read_log()


def asked(flipd, cmd, **args):
    """The first answer to a request as flipctl sends them."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as s:
        s.settimeout(20)
        s.connect(flipd.socket)
        s.sendall(json.dumps({"id": 1, "cmd": cmd, "args": args}).encode() + b"\n")
        return json.loads(s.makefile().readline())


def test_stuck_and_resolved(draining):
    """The flip's row is another journal's while flipd was away: it touches nothing until the row is as it left it."""
    lab, flipd, waiter = draining
    flip_id = now(flipd)["id"]
    source = lab.servers["source"]
    flipd.kill()
    journal = source.value("SELECT journal FROM flipd.flips WHERE id = %s", (flip_id,))
    source.query("UPDATE flipd.flips SET journal = 'another' WHERE id = %s", (flip_id,))
    flipd.start()
    wait_for(lambda: flipd.state()["state"] == "stuck", 30, "the flip to be stuck")
    flip = now(flipd)
    assert flip["id"] == flip_id and flip["state"] == "stuck" and flip["outcome"] == "stuck" and flip["ended_at"] is None
    shown = flipd.ctl("show", flip_id)
    assert shown.code == 0 and shown.json["outcome"] == "stuck"
    assert flipd.flip("target").code == 7
    assert flipd.ctl("abort", "lab").code == 1
    assert metric(flipd, 'flipd_cluster_state{cluster="lab",state="stuck"} 1')
    refused = flipd.ctl("resolve", "lab")
    assert refused.code == 1 and "nothing was done" in refused.err
    assert "is stuck: prepare again when" in asked(flipd, "prepare", name="lab")["error"]["message"]
    assert flipd.ctl("prepare", "lab", "--dry-run").code == 0
    again = flipd.ctl("resolve", "lab", "--yes")
    assert again.code == 4 and again.json["outcome"] == "stuck" and flip_id in again.err
    assert metric(flipd, 'flipd_flips_total{cluster="lab",outcome="stuck"} 1'), "counted again as it was looked at"
    assert metric(flipd, 'flipd_flip_step_seconds_count{step="preflight"} 0'), "it has not ended"
    flipd.stop()
    flipd.start()
    wait_for(lambda: flipd.state()["state"] == "stuck", 30, "the flip to be stuck after a restart too")
    source.query("UPDATE flipd.flips SET journal = %s WHERE id = %s", (journal, flip_id))
    resolved = flipd.ctl("resolve", "lab", "--yes")
    assert resolved.code == 3 and resolved.json["outcome"] == "aborted" and resolved.json["id"] == flip_id
    wait_for(lambda: metric(flipd, 'flipd_flips_total{cluster="lab",outcome="aborted"} 1'), 10, "the flip to be counted")
    assert metric(flipd, 'flipd_flips_total{cluster="lab",outcome="stuck"} 0'), "it was stuck before this flipd started"
    assert [f["id"] for f in flipd.ctl("history").json["flips"]] == [flip_id]
    flipd.wait_ready("target")


def take_for_another(journal, flip_id):
    """By the journal the flip was one of a cluster that nobody knows."""
    with contextlib.closing(sqlite3.connect(journal)) as db, db:
        renamed = db.execute("UPDATE flip SET config = replace(config, '  lab:\n', '  lob:\n') WHERE id = ?", (flip_id,))
        assert renamed.rowcount == 1


def test_the_way_out_of_a_flip_that_cannot_be_read(draining):
    """What flip and resolve tell to do then, done literally, leads to a cluster that can be flipped."""
    lab, flipd, waiter = draining
    flip_id = now(flipd)["id"]
    flipd.kill()
    take_for_another(os.path.join(flipd.config["daemon"]["state_dir"], "journal.db"), flip_id)
    flipd.start()
    wait_for(lambda: flipd.state()["state"] == "stuck", 30, "the flip to be stuck")
    told = flipd.state()["blockers"][0]
    assert told["name"] == "unfinished_flip" and "could not be taken up: " in told["seen"], told
    assert "move %s/journal.db away" % flipd.config["daemon"]["state_dir"] in told["hint"], told
    shown = subprocess.run([places.built("flipctl"), "--socket", flipd.socket, "status", "lab"], capture_output=True, text=True)
    assert "could not be taken up" in shown.stdout and "flipctl show ," not in shown.stdout, shown.stdout
    for told in (flipd.flip("target"), flipd.ctl("resolve", "lab", "--yes")):
        assert told.code in (1, 7) and "could not be taken up" in told.err, told
        way_out = re.search(r"then stop flipd, move (\S+) away, start it, and say: flipctl (resolve lab)", told.err)
        assert way_out, told
    assert [lab.servers[s].writable for s in ("source", "target")] == [True, False]
    flipd.stop()
    os.rename(way_out[1], way_out[1] + ".away")
    flipd.start()
    wait_for(lambda: flipd.state()["state"] == "ok", 30, "flipd to know the cluster again")
    refused = flipd.flip("target")
    assert refused.code == 2 and flip_id in str(refused.json["checks"]), refused
    told = flipd.ctl(*way_out[2].split(), "--yes")
    assert told.code == 0 and told.json["outcome"] == "nothing_to_do" and told.json["id"] == flip_id, told
    flipd.wait_ready("target")
