"""The disk under a server's binlog is full, from before a flip or from one of its moments on. MariaDB refuses nothing then:
whoever commits waits, with the log's lock, until there is room; those behind it cannot be killed. The flip keeps its
limits, can be aborted, and ends as one that is known. (state_dir full: test_stop.py and test_journal_full.py.)"""

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time

import pytest

from tests.fault.driver import SmallDisk
from tests.fault.series import ALL, WRITABLE_WITHIN_S, other, rows_left_open
from tests.fault.strike import BACK, FORWARD, case, end_of
from tests.fault.test_stop import fill
from tests.lab import places
from tests.lab.lab import Lab
from tests.lab.proc import wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="a mount namespace needs root")

FEW = [("old", "drain", False), ("old", "fence", False), ("old", "intent", False), ("old", "open", True),
       ("old", "undo fence", True), ("new", "fence", False), ("new", "open", False), ("new", "detach", False),
       ("new", "roll_back", True)]
WHOLE = [(who, m, back) for back, moments in ((False, FORWARD), (True, BACK)) for who in ("old", "new") for m in moments]
FULL_S = 2.5


class Disks:
    """A small disk under each side's binlog. The servers look every second whether there is room, not every minute."""

    def __init__(self, directory, stack):
        self.place = {side: os.path.join(directory, side) for side in ("source", "target")}
        self.disk = {}
        for side, place in self.place.items():
            os.mkdir(place)
            self.disk[side] = stack.enter_context(SmallDisk(place, "32m"))

    def options(self):
        shim = ["env", "LD_PRELOAD=" + places.built("tests/fault/impatient.so")]
        return dict({side: {"log_bin": os.path.join(place, "binlog")} for side, place in self.place.items()},
                    prefixes={side: disk.command(shim) for side, disk in self.disk.items()})

    def fill(self, side):
        fill(self.disk[side].inside(self.place[side]))

    def make_room(self, side):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.disk[side].inside(self.place[side]), "filler"))


@pytest.fixture
def disks(tmp_path):
    with contextlib.ExitStack() as stack:
        yield Disks(str(tmp_path), stack)


def build(make_series, disks, **policy):
    series = make_series(defaults=dict({"max_blackout": "1s", "max_lag": "30s", "drain_timeout": "5s"}, **policy),
                         lines=True, **disks.options())
    assert series.up()
    return series


def test_full_from_a_moment_on(disks, make_series):
    series = build(make_series, disks)
    for who, moment, back in WHOLE if ALL else FEW:
        side = series.master if who == "old" else other(series.master)
        case(series, "no room for the binlog of %s" % who, moment, lambda s=side: disks.fill(s),
             lambda s=side: disks.make_room(s), FULL_S, back)
    series.finish("no room for a binlog from a moment on: " + ", ".join("%s %s%s" % (
        w, m, " of a roll back" if b else "") for w, m, b in (WHOLE if ALL else FEW)))


@pytest.mark.parametrize("who", ["old", "new"])
def test_full_before_and_aborted(disks, make_series, who):
    """The flip begins in spite of it, and is aborted before there is room. A write of its row may wait on old then, and
    cannot be killed: flipd waits for settle_timeout to see it gone. It has closed nothing. When there is room the row may
    come to be written after all; it refuses the next flip until `resolve`."""
    series = build(make_series, disks, settle_timeout="4s")
    series.ready()
    side = series.master if who == "old" else other(series.master)
    disks.fill(side)
    log, child = series.log_end(), series.flip()
    time.sleep(1.5)
    begin = time.monotonic()
    answer = series.daemon.ctl("abort", "lab")
    took = time.monotonic() - begin
    assert answer.json and answer.json["outcome"] in ("aborted", "rolled_back", "refused"), answer
    assert took < 15, "aborted after %.1f s" % took
    assert series.openings.sides[series.master].open, "old is closed"
    disks.make_room(side)
    since = time.monotonic()
    flip = end_of(series, child, log, since)
    wait_for(lambda: series.openings.only_open(since), WRITABLE_WITHIN_S, "one writable side")
    series.written_on(series.old, "there is room again")
    left = rows_left_open(series.old)
    if left:
        assert [row["id"] for row in left] == [flip["id"]]
        resolved = series.daemon.ctl("resolve", "lab", "--yes")
        assert resolved.code == 0, resolved
    series.judge(flip, "no room for the binlog of %s, aborted" % who, {"aborted", "refused", "rolled_back"})
    series.finish("no room for the binlog of %s from the start, aborted in %.1f s: %s%s" % (
        who, took, flip["outcome"], ", its row closed by resolve" if left else ""))


# A KILL would end the wait, and leave half a transaction in the binlog: replication could not go on, ever.

WAITS = "STATE='Waiting for someone to free space'"


def waiting(server):
    return server.query("SELECT USER, TIME_MS FROM information_schema.PROCESSLIST WHERE " + WAITS)


def test_the_row_is_not_cut_off_in_its_commit(disks, make_series):
    """Nobody but flipd writes: the commit of the flip's row is what waits, half of it in the log, when the flip is aborted.
    It stays, and is there when there is room; replication goes on."""
    series = build(make_series, disks, settle_timeout="3s", heartbeat={"interval": "1h"})
    series.ready()
    for load in series.loads:
        load.stop()
    source, target = series.lab.servers["source"], series.lab.servers["target"]
    while source.binlog_position()[1] % 4096 < 4096 - 300:
        source.query("INSERT INTO app.item (name) VALUES ('up to the end of a page')")
    disks.fill("source")
    child = series.flip()
    wait_for(lambda: [w for w in waiting(source) if w["USER"] == "flipd"], 20, "the row to wait for room")
    aborted = series.daemon.ctl("abort", "lab")
    assert aborted.json and aborted.json["outcome"] == "aborted", aborted
    assert waiting(source)[0]["USER"] == "flipd"
    disks.make_room("source")
    assert json.loads(child.communicate(timeout=30)[0])["outcome"] == "aborted"
    wait_for(lambda: not waiting(source), 20, "the commit that waited")
    resolved = series.daemon.ctl("resolve", "lab", "--yes")
    assert resolved.code == 0 and not rows_left_open(source), resolved
    source.query("INSERT INTO app.item (name) VALUES ('there is room again')")
    target.wait_gtid(source.gtid(), 30)
    assert target.value("SELECT COUNT(*) FROM app.item WHERE name='there is room again'") == 1


def test_nobody_is_killed_beside_a_commit_that_waits(disks):
    """The verbs that kill, while an application's commit is what waits."""
    options = disks.options()
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab())
        for number, (side, closed) in enumerate((("source", None), ("target", "1")), 1):
            server = lab.server(side, number, dict(options[side], read_only=closed))
            server.prefix = options["prefixes"][side]
            server.start()
            server.unlogged(["CREATE USER exerciser@'%' IDENTIFIED BY 'exerciser'",
                             "GRANT ALL ON *.* TO exerciser@'%' WITH GRANT OPTION"])
        source, target = lab.servers["source"], lab.servers["target"]
        verbs = subprocess.Popen(
            [places.built("tests/live/node_live"), source.address, str(source.port), target.address, str(target.port),
             "exerciser", "exerciser", "full_disk"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        stack.callback(verbs.communicate)
        stack.callback(verbs.kill)
        said_until(verbs, "fill the disk")
        disks.fill("source")
        client = stack.enter_context(contextlib.closing(source.connect("app", "app", "app", tcp=True)))
        commit = threading.Thread(target=client.query, args=("INSERT INTO t (a) SELECT seq FROM seq_1_to_2000",))
        commit.start()
        wait_for(lambda: waiting(source), 20, "a commit to wait")
        assert waiting(source)[0]["USER"] == "app"
        answer(verbs, client.thread_id())
        said_until(verbs, "make room")
        disks.make_room("source")
        commit.join(20)
        answer(verbs, "")
        said_until(verbs, "all so")
        assert target.value("SELECT COUNT(*) FROM app.t") == 2000
        assert verbs.wait(20) == 0


def said_until(process, word):
    said = []
    while not said or word not in said[-1]:
        said.append(process.stdout.readline())
        assert said[-1], "".join(said)


def answer(process, text):
    process.stdin.write("%s\n" % text)
    process.stdin.flush()
