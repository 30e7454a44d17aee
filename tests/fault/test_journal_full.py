"""The journal on a disk that is full: while a flip runs, and at the start. On a small tmpfs of its own."""

import errno
import os
import shutil
import stat

import pytest

from tests.fault.driver import Driver, SmallDisk

NO_ROOM = "error %d " % errno.ENOSPC

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="a mount namespace needs root"
)


@pytest.fixture
def disk(tmp_path):
    with SmallDisk(tmp_path, "4m") as d:
        yield d


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


def whole(ballast):
    try:
        return os.stat(ballast).st_blocks * 512 >= 1024 * 1024
    except FileNotFoundError:
        return False


def write_while(d, flip, kinds, going_on):
    """Durable records of 2 KB until going_on(answer) is false; the last answer. What was acknowledged is in kinds."""
    answer = "ok"
    while going_on(answer):
        kind = "k%d" % len(kinds)
        answer = d.say("write %s %s 2000" % (flip, kind))
        if answer == "ok":
            kinds.append(kind)
        assert len(kinds) < 3000
    return answer


def test_a_full_disk_between_fence_and_end(tmp_path, disk):
    state = "%s/state" % tmp_path
    ballast = disk.inside(state + "/ballast")
    kinds = []
    with Driver(state, disk=disk) as d:
        assert d.hello.startswith("ok ")
        assert d.say("begin f1") == "ok"
        assert d.say("reserve") == "ok"
        assert whole(ballast)
        filler = fill(disk.inside(str(tmp_path)))

        # The reserve is given up when it is needed; a flip's worth of records and its end go into it.
        assert write_while(d, "f1", kinds, lambda answer: answer == "ok" and whole(ballast)) == "ok"
        before = len(kinds)
        write_while(d, "f1", kinds, lambda answer: answer == "ok" and len(kinds) < before + 50)
        assert len(kinds) == before + 50
        assert d.say("save f1 stuck") == "ok"
        assert d.say("ok") == "ok yes"

        # Then there is nothing left: each write says so, and what was written stays.
        assert write_while(d, "f1", kinds, lambda answer: answer == "ok").startswith(NO_ROOM)
        assert d.say("ok") == "ok no"
        assert d.say("reserve").startswith(NO_ROOM)
        assert d.say("load f1") == "ok stuck " + " ".join(kinds)

        # A record that nobody waited for is lost, and the next durable one says so.
        assert d.say("note f1 lost 200000") == "ok"
        assert d.say("load f1") == "ok stuck " + " ".join(kinds)
        os.unlink(filler)
        assert "an earlier record" in d.say("write f1 next")
        assert d.say("write f1 next") == "ok"
        assert d.say("ok") == "ok yes"
        assert d.say("reserve") == "ok"
        assert whole(ballast)
        assert d.say("load f1") == "ok stuck " + " ".join(kinds + ["next"])
        assert d.close() == 0


@pytest.mark.parametrize("without_index", [False, True])
def test_a_start_on_a_full_disk(tmp_path, disk, without_index):
    """The ballast of the last run is there to be given up, so that a flip can be recovered."""
    state = "%s/state" % tmp_path
    with Driver(state, disk=disk) as d:
        assert d.say("begin f1") == "ok"
        assert d.say("write f1 fence") == "ok"
        d.process.kill()
    assert whole(disk.inside(state + "/ballast"))
    if without_index:
        os.unlink(disk.inside(state + "/journal.db-shm"))
    fill(disk.inside(str(tmp_path)))
    with Driver(state, disk=disk) as d:
        assert d.hello.startswith("ok ")
        assert d.say("load f1") == "ok running fence"
        assert d.say("write f1 revoke 20000") == "ok"
        assert d.say("save f1 ended") == "ok"
        assert d.close() == 0
    with Driver(state, disk=disk) as d:
        assert d.say("load f1") == "ok ended fence revoke"


def test_what_it_leaves_is_for_its_owner_alone(tmp_path):
    state = tmp_path / "state"
    with Driver(state) as d:
        assert d.say("begin f1") == "ok"
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in state.iterdir()}
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}, modes
