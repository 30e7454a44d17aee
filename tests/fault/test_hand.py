"""An operator's hand in mid-flip, flipd alive: it opens a side, restarts or removes replication, changes the record.

The flip stands still meanwhile: before its fence; fenced (the plain order, new's applier held); between intent and opening
(guarded, held); after the opening (a frozen replica keeps it from its end)."""

import contextlib
import os
import signal
import time

import pytest

from tests.fault.series import SUMMARY, WRITABLE_WITHIN_S, brief
from tests.fault.strike import end_of
from tests.lab.proc import wait_for

SECONDS = {"max_blackout": "1s", "max_lag": "30s", "settle_timeout": "3s"}


def opens_new(series):
    series.new.query("SET GLOBAL read_only=0")


def opens_old(series):
    series.old.query("SET GLOBAL read_only=0")


def restarts_replication(series):
    replica = series.old if series.new.writable else series.new
    replica.query("STOP SLAVE")
    replica.query("START SLAVE")


def removes_replication(series):
    series.new.query("STOP SLAVE")
    series.new.query("RESET SLAVE ALL")


def record(series, value):
    series.lab.named.update("example.test.", "db.example.test.", "CNAME", value)


def changes_the_record(series):
    record(series, "c1.example.test.")


# The hand, where the flip stands, how it ends. Plain is what has the stand `fenced`.
GUARDED = [
    (opens_new, "before", "aborted"),  # new is found open: not of flipd's making, nothing is fenced
    # It lacks the position: the guarded statement closes it again, where the held applier lets it, else flipd does; or
    # the applier comes that far first.
    (opens_new, "intent", ("rolled_back", "done")),
    (opens_old, "intent", "rolled_back"),  # the proof of the fence fails
    (opens_old, "opened", "done"),  # closed again at once
    (restarts_replication, "before", "done"),
    (restarts_replication, "intent", "done"),
    (restarts_replication, "opened", "done"),
    (removes_replication, "before", "rolled_back"),
    (removes_replication, "intent", "rolled_back"),
    (changes_the_record, "before", "rolled_back"),  # compared before it is swapped
    (changes_the_record, "intent", "rolled_back"),
    (changes_the_record, "opened", "done"),
]
PLAIN = [
    (opens_new, "fenced", "stuck"),  # table of recovery: fenced, F, O0: a hand was here
    (opens_old, "fenced", "rolled_back"),
    (restarts_replication, "fenced", "done"),
    (removes_replication, "fenced", "rolled_back"),
    (changes_the_record, "fenced", "rolled_back"),
]


@contextlib.contextmanager
def standing(series, stand, stopped):
    """The flip stands there, until the end of this if it is before the fence or settles, until its own end else. stopped:
    new's applier is stopped, for a hand that could not stop one that is held."""
    log = series.log_end()
    with contextlib.ExitStack() as stack:
        held = stand in ("fenced", "intent")
        hold = stack.enter_context(series.applier_to_hold(kept=True)) if held and not stopped else None
        child = series.flip()

        def at_gate():
            if stand == "opened":
                series.lab.servers["reports"].freeze()
                stack.callback(series.lab.servers["reports"].thaw)
            elif hold:
                hold()
            elif held:
                series.new.query("STOP SLAVE SQL_THREAD")
        if stand == "before":
            wait_for(lambda: os.path.exists(series.gate), 20, "the flip to come to the gate")
            stack.callback(os.unlink, series.gate)
        else:
            assert series.at_gate(child, at_gate)
            step, having = {"fenced": ("sync", "running"), "intent": ("open", "running"),
                            "opened": ("reverse", "done")}[stand]
            assert series.at_log(" step=%s " % step, lambda: None, end=log, having="step " + having)
        if stand == "intent":  # for one interval of the probe, flipd takes new for opened by itself
            wait_for(lambda: opening_waits(series.new), 5, "the guarded statement to wait")
        yield child, log
        if held:
            wait_for(lambda: child.poll() is not None or not is_running(series), 30, "the flip to give up")


def opening_waits(new):
    return new.query("SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE %s AND ID <> CONNECTION_ID() AND "
                     "TIME_MS > 50", ("%GLOBAL read_only%",))


def is_running(series):
    flip = series.newest()
    return flip is None or flip["state"] == "running"


@contextlib.contextmanager
def writers_paused(series, hand):
    """While both sides are open by hand nobody may write to the wrong one: what it took would be lost by that hand."""
    pause = hand in (opens_new, opens_old)
    for load in series.loads if pause else ():
        load.process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for load in series.loads if pause else ():
            load.process.signal(signal.SIGCONT)


def clean_up(series, hand, new, flip):
    """What the hand did it undoes when flipd has ended, or where flipd waits for it."""
    if hand is opens_new and flip["outcome"] in ("aborted", "stuck"):
        new.query("SET GLOBAL read_only=1")
        if flip["outcome"] == "aborted":  # nothing was touched, its row neither: the next flip is refused until then
            resolved = series.daemon.ctl("resolve", "lab", "--yes")
            assert resolved.code == 0 and resolved.json["id"] == flip["id"], resolved
    if hand is removes_replication:
        new.follow(series.old if new is series.new else series.new, host=series.old.address)
    if hand is changes_the_record:
        master = flip["to"] if flip["outcome"] == "done" else flip["from"]
        assert series.lab.named.ask("db.example.test.") == ["c1.example.test."], "the third value was overwritten"
        # After the opening it was changed when all had seen it right.
        assert flip["outcome"] == "done" or any("third value" in w for w in flip["warnings"] + [str(flip["error"])]), brief(flip)
        record(series, series.lab.endpoint_value("example.test.", master))


def hand_case(series, hand, stand, outcome):
    assert series.up(**series.gated())
    series.ready()
    new = series.new
    with writers_paused(series, hand):
        with standing(series, stand, hand in (restarts_replication, removes_replication)) as (child, log):
            hand(series)
            if hand is opens_old and stand == "opened":
                wait_for(lambda: not series.old.writable, 5, "old to be closed again")
            since = time.monotonic()
        flip = end_of(series, child, log, since)
        assert flip["outcome"] in outcome, "%s %s: %s" % (hand.__name__, stand, brief(flip))
        clean_up(series, hand, new, flip)
    if flip["outcome"] == "stuck":
        assert flip["error"]["hint"], brief(flip)
        assert series.nobody_open(), "it opened a side that a hand had been on"
        resolved = series.daemon.ctl("resolve", "lab", "--yes")
        assert resolved.json["outcome"] == "rolled_back", resolved
        since, flip = time.monotonic(), resolved.json
    wait_for(lambda: series.openings.only_open(since), WRITABLE_WITHIN_S, "one writable side")
    seconds = sum(until - begin for begin, until in series.both_open())
    assert (seconds > 0) <= (hand in (opens_new, opens_old)), "both open, by nobody's hand"
    series.excuse()
    series.judge(flip, "%s, %s" % (hand.__name__, stand))
    assert series.daemon.stop() == 0
    return flip["outcome"], seconds


@pytest.mark.parametrize("order", ["guarded", "plain"])
def test_a_hand_in_mid_flip(make_series, order):
    series = make_series(replicas=["reports"], writers=3,
                         defaults=dict(SECONDS, **({"verify": "counts"} if order == "plain" else {})))
    for hand, stand, outcome in PLAIN if order == "plain" else GUARDED:
        came, seconds = hand_case(series, hand, stand, outcome if isinstance(outcome, tuple) else (outcome,))
        SUMMARY.append("sample: a hand %s, flip %s: %s%s" % (
            hand.__name__.replace("_", " "), stand, came,
            ", both sides open by it for %.3f s" % seconds if seconds else ""))
    series.finish("a hand in mid-flip, %s opening" % order)
