"""The journal on a disk that fills up while it is open, on a small tmpfs of its own."""

import errno
import os
import shutil

import pytest

from tests.fault.driver import Driver

SIZE = "4m"
NO_ROOM = "error %d " % errno.ENOSPC


def need_root():
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("a mount namespace needs root")


def fill(directory):
    """Takes all the room that is left; the file that holds it."""
    path = os.path.join(directory, "filler")
    with open(path, "ab", buffering=0) as f:
        for size in (65536, 4096):
            try:
                while True:
                    f.write(b"x" * size)
            except OSError as e:
                assert e.errno == errno.ENOSPC
    return path


def test_a_full_disk_between_fence_and_end(tmp_path):
    need_root()
    state = "%s/state" % tmp_path
    with Driver(state, tmpfs=(tmp_path, SIZE)) as d:
        assert d.hello.startswith("ok ")
        assert d.say("begin f1") == "ok"
        assert d.say("reserve") == "ok"
        ballast = d.inside(state + "/ballast")
        assert os.stat(ballast).st_blocks * 512 >= 1024 * 1024
        filler = fill(d.inside(str(tmp_path)))

        # The reserve is given up when it is needed, and a flip's worth of records goes into it.
        kinds = []
        while os.path.exists(ballast):
            assert d.say("write f1 before%d 2000" % len(kinds)) == "ok"
            kinds.append("before%d" % len(kinds))
            assert len(kinds) < 1000
        for i in range(50):
            assert d.say("write f1 after%d 2000" % i) == "ok"
            kinds.append("after%d" % i)
        assert d.say("ok") == "ok yes"

        # Then there is nothing left: each write says so, and what was written stays.
        answer = "ok"
        while answer == "ok":
            answer = d.say("write f1 last%d 2000" % len(kinds))
            if answer == "ok":
                kinds.append("last%d" % len(kinds))
            assert len(kinds) < 3000
        assert answer.startswith(NO_ROOM)
        assert d.say("ok") == "ok no"
        assert d.say("reserve").startswith(NO_ROOM)
        assert d.say("load f1") == "ok running " + " ".join(kinds)

        # A record that nobody waits for is lost now, and the next durable one says it.
        assert d.say("note f1 lost 200000") == "ok"
        os.unlink(filler)
        assert "an earlier record" in d.say("write f1 next")
        assert d.say("write f1 next") == "ok"
        assert d.say("ok") == "ok yes"
        assert d.say("reserve") == "ok"
        assert d.say("load f1") == "ok running " + " ".join(kinds + ["next"])
        assert d.close() == 0


def test_a_start_on_a_full_disk(tmp_path):
    need_root()
    state = "%s/state" % tmp_path
    with Driver(state, tmpfs=(tmp_path, SIZE)) as d:
        assert d.say("begin f1") == "ok"
        assert d.say("write f1 fence") == "ok"
        fill(d.inside(str(tmp_path)))
        # Looks from within: the mount is gone with its last process.
        assert d.say("write f1 intent") == "ok"
        copy = tmp_path.parent / (tmp_path.name + "-copy")
        shutil.copytree(d.inside(state), copy)
        d.kill()
    # The same state on another full disk.
    with Driver("%s/none/state" % tmp_path, tmpfs=(tmp_path, SIZE)) as other:
        assert other.hello.startswith("error %d " % errno.ENOENT)
    script = tmp_path.parent / (tmp_path.name + "-start")
    script.write_text("")
    with Driver(copy) as d:
        assert d.hello.startswith("ok ")
        assert d.say("load f1") == "ok running fence intent"
        assert d.close() == 0
