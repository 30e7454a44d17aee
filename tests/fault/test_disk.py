"""The disk under a server's binlog is full, from before a flip or from one of its moments on. MariaDB refuses nothing then:
whoever commits waits, with the log's lock, until there is room; those behind it cannot be killed. The flip keeps its
limits, can be aborted, and ends as one that is known. (state_dir full: test_stop.py and test_journal_full.py.)"""

import contextlib
import os
import shutil
import time

import pytest

from tests.fault.driver import SmallDisk
from tests.fault.series import ALL, WRITABLE_WITHIN_S, other, rows_left_open
from tests.fault.strike import BACK, FORWARD, case, end_of
from tests.fault.test_stop import fill
from tests.lab import places
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
