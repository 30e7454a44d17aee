"""What other flips left: an open row of a flipd that is gone, and late work that does not keep the next flip waiting."""

import subprocess

import pytest

from lab import places
from lab.proc import wait_for
from lab.scene import scene, scene_of, scenes, step  # noqa: F401

ROW = "REPLACE INTO flipd.flips VALUES ('20260101-000000-000-1', 'lab', 'lost-host', 'lost-journal', 'target', 'fencing', 1, NOW(6))"


def row_state(server):
    return server.value("SELECT state FROM flipd.flips WHERE host='lost-host'")


@pytest.fixture
def left_open(scene):
    """A row that another flipd left open; flipd runs."""
    old, new = scene.set_out()
    old.query(ROW)
    scene.lab.sync(old)
    scene.flipd(ready=False)
    wait_for(lambda: scene.daemon.ctl("ping").code == 0, 10, "flipd")
    yield scene, old, new
    scene.master.query("DELETE FROM flipd.flips WHERE host='lost-host'")


def test_the_row_of_a_lost_flipd_is_closed(left_open):
    scene, old, new = left_open
    load = scene.load()
    refused = scene.daemon.flip(new.name)
    assert refused.code == 2 and "lost-host" in str(refused.json["checks"]), refused
    told = scene.daemon.ctl("resolve", "lab", "--yes")
    assert told.code == 0 and told.json["outcome"] == "nothing_to_do", told
    assert set(told.json) == set(refused.json) and told.json["id"] == "20260101-000000-000-1"
    assert row_state(old) == "closed"
    assert "lost-host" in told.err and "nothing else is touched" in told.err, told
    scene.daemon.wait_ready(new.name)
    scene.flip(new)
    scene.goes_on(load, server=new)
    scene.right(load, old, new)


def test_what_people_are_told_of_it(left_open):
    scene, old, new = left_open
    told = subprocess.run([places.built("flipctl"), "--socket", scene.daemon.socket, "resolve", "lab", "--yes"],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert told.returncode == 0 and row_state(old) == "closed", told
    assert "the row of flip 20260101-000000-000-1 was closed" in told.stdout, told
    assert "nothing was done" not in told.stdout and "flipctl show" not in told.stdout, told


@pytest.mark.parametrize("side", [0, 1])
def test_not_while_that_flip_still_runs(left_open, side):
    scene, old, new = left_open
    holder = scene.client((old, new)[side], "root")
    assert holder.run("SELECT GET_LOCK('flipd.lab', 0)") == ((1,),)
    told = scene.daemon.ctl("resolve", "lab", "--yes")
    assert told.code == 1 and "still runs on host lost-host" in told.err, told
    assert row_state(old) == "fencing"


@pytest.mark.parametrize("read_only", [0, 1])
def test_not_unless_one_side_is_open(left_open, read_only):
    scene, old, new = left_open
    wrong = new if read_only == 0 else old
    try:
        wrong.query("SET GLOBAL read_only=%d" % read_only)
        told = scene.daemon.ctl("resolve", "lab", "--yes")
        assert told.code == 1 and ("both" if read_only == 0 else "neither") in told.err, told
        assert row_state(old) == "fencing"
    finally:
        wrong.query("SET GLOBAL read_only=%d" % (1 - read_only))


def test_nothing_to_resolve(scene):
    scene.set_out()
    scene.flipd()
    told = scene.daemon.ctl("resolve", "lab", "--yes")
    assert told.code == 1 and "no unfinished flip" in told.err, told


def test_the_next_flip_does_not_wait_for_a_dead_name_server(make_lab):
    """A secondary that answers nothing keeps propagate waiting, until settle_timeout or until a flip is asked for."""
    lab = make_lab().cluster()
    lab.dns(secondary=True)
    flipd = lab.flipd(daemon={"poll_interval": "100ms"})
    flipd.wait_ready("target")
    load = lab.load(writers=4)
    lab.secondary.freeze()
    try:
        first = flipd.ctl_start("flip", "lab", "--to", "target", "--yes")
        wait_for(lambda: lab.servers["target"].writable and lab.servers["source"].replica_status(), 20, "the first flip")
        wait_for(lambda: step(newest(flipd), "reverse")["state"] == "done", 20, "the way back")
        wait_for(lambda: step(newest(flipd), "propagate")["state"] == "running", 20, "the name servers to be asked")
        assert first.poll() is None, "it waits for the secondary"
        back = flipd.flip("source", "--no-wait")
        assert back.code == 0, back
        assert first.wait(10) == 0
        document = newest(flipd, 1)
        wait_for(lambda: lab.servers["source"].writable and lab.servers["target"].replica_status(), 20, "the flip back")
        assert document["outcome"] == "done" and "not everywhere yet" in str(document["warnings"]), document
    finally:
        lab.secondary.thaw()
    wait_for(lambda: newest(flipd)["outcome"] == "done", 30, "the flip back to end")
    load.stop()


def newest(flipd, number=0):
    flips = flipd.ctl("history", "lab").json["flips"]
    return flipd.ctl("show", flips[number]["id"]).json
