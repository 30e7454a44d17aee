"""Servers killed and frozen in the midst of a flip, and somebody's hand on them while flipd is dead; with writers."""

import contextlib
import time

import pytest

from tests.fault.series import ALL, SUMMARY, WRITABLE_WITHIN_S, brief
from tests.fault.strike import case, thing
from tests.fault.test_crash import Sweep
from tests.lab.checker import Report, check_present
from tests.lab.proc import wait_for

LATE = ("detach", "reverse", "repoint", "propagate", "finish")
KILLED = [("old", s) for s in ("drain", "fence", "kill", "coordinates", "endpoints", "intent", "open") + LATE] + \
         [("new", s) for s in ("drain", "fence", "coordinates", "intent", "open") + LATE] + \
         [("replica", s) for s in ("drain", "fence", "open", "repoint")]
FROZEN = [(who, s) for who in ("old", "new") for s in ("fence", "coordinates", "open", "reverse")]
FEW_KILLED = [KILLED[i] for i in (0, 1, 3, 5, 6, 8, 13, 15, 16, 18, 22, 23, 25)]


@pytest.mark.parametrize("seed", range(3) if ALL else range(1))
def test_servers_killed(make_series, seed):
    """kill -9 when a step begins; started again at once. They boot closed, as each side of a cluster should."""
    series = make_series(replicas=["reports"], defaults={"max_blackout": "3s"}, lines=True)
    assert series.up()
    for who, step in KILLED if ALL else FEW_KILLED:
        server = thing(series, who)
        case(series, "%s killed" % who, step, server.kill, server.start, boots=True)
    series.finish("server killed at a step")


def test_servers_frozen(make_series):
    """SIGSTOP for 2 s when a step begins."""
    series = make_series(defaults={"max_blackout": "3s"}, lines=True)
    assert series.up()
    for who, step in FROZEN:
        server = thing(series, who)
        case(series, "%s frozen" % who, step, server.freeze, server.thaw, 2)
    series.finish("server frozen for 2 s at a step")


def open_by_restart(series):
    series.old.options["read_only"] = "0"
    try:
        series.old.restart(hard=True)
    finally:
        series.old.options["read_only"] = "1"


def open_by_hand(series):
    series.old.query("SET GLOBAL read_only=0")


@pytest.mark.parametrize("opens", [open_by_restart, open_by_hand])
def test_old_opened_while_flipd_is_dead(make_series, opens):
    """Before the opening of new old is simply master again, with all that was written there meanwhile."""
    series = make_series()
    sweep = Sweep(series, "after")
    sweep.undisturbed()
    for word in ("record:fence/fence", "record:position/coordinates", "record:intent/intent"):
        with contextlib.ExitStack() as stack:
            died = sweep.dead_at(word, stack)
            opens(series)
            series.written_on(series.old, word, writers=4)  # not the one that goes by name
            assert series.up()
            series.judge(series.recovered(died), "%s after %s" % (opens.__name__, word), {"rolled_back", "aborted"})
        assert series.daemon.stop() == 0
    series.finish("old %s while flipd is dead" % opens.__name__.replace("_", " "))


@pytest.mark.parametrize("writes", [False, True])
def test_old_opened_after_new_was(make_series, writes):
    """The hand makes two masters. flipd closes old as soon as it is back; what old took meanwhile is named and kept."""
    series = make_series(writers=0)
    sweep = Sweep(series, "after")
    sweep.undisturbed()
    with contextlib.ExitStack() as stack:
        sweep.dead_at("record:opened/open", stack)
        old, new = series.old, series.new
        series.written_on(new, "the writer that goes by name has left old")
        open_by_hand(series)
        if writes:
            old.query("INSERT INTO app.item (name) VALUES ('by hand on old')")
        back = time.monotonic()
        assert series.up()
        wait_for(lambda: not old.writable, WRITABLE_WITHIN_S, "old to be closed again")
        closed_after = time.monotonic() - back
        wait_for(lambda: series.newest()["state"] in ("ended", "stuck"), 20, "the end of the flip")
    flip = series.newest()
    assert new.writable and not old.writable
    series.excuse()
    if not writes:
        series.judge(flip, "old opened by hand after new", {"done"})
        series.finish("old opened by hand after new was, closed again %.1f s after flipd's start" % closed_after)
        return
    assert flip["outcome"] == "stuck", brief(flip)
    assert old.replica_status() is None, "old has transactions that new lacks and must stay out"
    assert any(w.startswith(old.name + " has 1 transactions of its own") for w in flip["warnings"]), flip["warnings"]
    assert old.value("SELECT COUNT(*) FROM app.item WHERE name = 'by hand on old'") == 1
    refused = series.daemon.flip(old.name)
    assert refused.code == 7, refused
    resolved = series.daemon.ctl("resolve", "lab", "--accept-loss", "--yes")
    assert resolved.code == 0 and resolved.json["outcome"] == "done", resolved
    assert new.writable and not old.writable and old.replica_status() is None
    report = Report()
    check_present(report, series.loads[0].writes(), new)
    assert report.right, str(report)
    SUMMARY.append("sample: old opened by hand after new was, and written: stuck, then done by --accept-loss, lost 0")
