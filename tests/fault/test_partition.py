"""The network between flipd, old and new is cut when a step begins, and comes back; with writers running, which reach
both sides all the time. What was under way when a line was cut arrives when it is back: statements too."""

import time

import pytest

from tests.fault.series import ALL, OUTCOMES, WRITABLE_WITHIN_S
from tests.fault.strike import Network, case, end_of
from tests.fault.test_steps import lines_of
from tests.lab.proc import wait_for

MAX_BLACKOUT_S = 1
LONGER_THAN_ROUND_TRIPS_S = 6
STEPS = ("drain", "fence", "coordinates", "endpoints", "intent", "open", "detach", "reverse", "finish")
FEW = {"flipd-old": ("fence", "endpoints", "intent", "open", "reverse"),
       "flipd-new": ("drain", "coordinates", "intent", "open", "detach"),
       "old-new": ("fence", "intent", "reverse"),
       "all": ("fence", "intent", "open")}


@pytest.mark.parametrize("what", sorted(FEW))
def test_the_network_is_cut(make_series, what):
    """For longer than max_blackout, and for a moment."""
    series = make_series(lines=True, defaults={"max_blackout": "%ds" % MAX_BLACKOUT_S, "max_lag": "30s"})
    assert series.up()
    for step in STEPS if ALL else FEW[what]:
        for seconds in (0.3, MAX_BLACKOUT_S + 1.5):
            line = Network(series, lines_of(series, what))
            case(series, "%s cut for %g s" % (what, seconds), step, line.freeze, line.thaw, seconds)
    series.finish("%s cut at a step" % what)


@pytest.mark.parametrize("what", sorted(FEW))
def test_the_network_is_cut_right_before_the_fence(make_series, what):
    """For longer than any round trip may take. Before the fence nothing stands still, and a flip may wait for what it
    asks; after it max_blackout counts, and what new has not got from old it cannot open with."""
    series = make_series(lines=True, defaults={"max_blackout": "%ds" % MAX_BLACKOUT_S, "max_lag": "30s"})
    for _ in range(3 if ALL else 1):
        assert series.up(**series.gated())
        series.ready()
        lines, log, child = lines_of(series, what), series.log_end(), series.flip()
        assert series.at_gate(child, lambda: [series.cut(*line) for line in lines])
        time.sleep(LONGER_THAN_ROUND_TRIPS_S)
        for line in lines:
            series.mend(*line)
        back = time.monotonic()
        flip = end_of(series, child, log, back)
        wait_for(lambda: series.openings.only_open(back), WRITABLE_WITHIN_S, "one writable side")
        allowed = {"rolled_back"} if what == "old-new" else OUTCOMES
        series.judge(flip, "%s cut right before the fence" % what, allowed)
        assert series.daemon.stop() == 0
    series.finish("%s cut right before the fence" % what)
