"""flipd's wall clock set forward and back by an hour in mid-flip (a shim, crashpoint.c). It waits by the monotonic clock;
the wall clock is in its journal, in ids, and in what signs DNS updates: those a name server refuses meanwhile."""

import os
import time

from tests.fault.series import ALL, OUTCOMES, brief
from tests.fault.strike import BACK, FORWARD, case
from tests.fault.test_steps import sample

HOUR = 3600
SET = [HOUR, -HOUR]


class Clock:
    def __init__(self, series):
        self.file = os.path.join(series.daemon.dir, "clock")
        self.set(0)
        series.every_life["FLIPD_CLOCK"] = self.file

    def set(self, seconds):
        with open(self.file + ".new", "w") as f:
            f.write("%d\n" % seconds)
        os.rename(self.file + ".new", self.file)


def test_the_clock_is_set_at_a_step(make_series):
    """And right again a second later."""
    series = make_series(replicas=["reports"], defaults={"max_blackout": "1s", "max_lag": "30s"}, lines=True)
    clock = Clock(series)
    assert series.up()
    forward = [(s, m) for s in SET for m in FORWARD] if ALL else sample(FORWARD[5:], SET)
    back = [(s, m) for s in SET for m in BACK] if ALL else sample(BACK[:4], SET)
    for number, (seconds, moment) in enumerate(forward + back):
        flip, _ = case(series, "clock set by %+d s" % seconds, moment, lambda s=seconds: clock.set(s),
                       lambda: clock.set(0), 1, back=number >= len(forward))
        assert flip["outcome"] == "refused" or 0 <= (flip["blackout_ms"] or 0) < 10000, brief(flip)
    series.finish("clock set by an hour: %s; roll back: %s" % (", ".join("%+d %s" % p for p in forward),
                                                              ", ".join("%+d %s" % p for p in back)))


def newest_first(series, ids):
    shown = [f["id"] for f in series.daemon.ctl("history", "lab").json["flips"]]
    assert shown[:len(ids)] == ids[::-1], "history: %s, flipped: %s" % (shown, ids)
    status = series.daemon.state()
    assert status["last_flip"]["id"] == ids[-1], status["last_flip"]["id"]


def killed_by_the_clock(series, clock, word, seconds):
    """flipd is killed when its journal has the word, the clock is set, and it starts again: the end it comes to."""
    clock.set(0)
    assert series.daemon.stop() == 0
    assert series.up(FLIPD_CRASH_HOLDS=word, FLIPD_CRASH_WHEN="after")
    series.ready()
    assert series.wait_flip(series.flip()) is None, "no commit had %s" % word
    died = time.monotonic()
    clock.set(seconds)
    assert series.up()
    return died


def left_for_resolve(series, clock):
    """Longer unfinished than recover_within, as flipd must see it: it touches nothing, and resolve goes on."""
    flip = series.newest()
    assert flip["state"] == "stuck" and "recover_within" in flip["error"]["message"], brief(flip)
    resolved = series.daemon.ctl("resolve", "lab", "--yes")
    assert resolved.json["outcome"] in OUTCOMES, resolved
    return resolved.json


def test_the_clock_stays_wrong(make_series):
    """No names here: their server's clock would have to be wrong too. Flips go on, in the order in which they were made;
    a killed one is recovered, or left alone when by the clock it is older than recover_within."""
    series = make_series(by_name=False, zones=())
    clock, ids = Clock(series), []
    assert series.up()
    for seconds in (0, HOUR, 0, -HOUR, 0):
        clock.set(seconds)
        for _ in range(2):
            flip, _ = case(series, "clock off by %+d s" % seconds, "open", lambda: None, allowed={"done"})
            ids.append(flip["id"])
        newest_first(series, ids)
        assert series.daemon.stop() == 0
        assert series.up()
        series.ready()
        newest_first(series, ids)
    for word in ("record:fence/fence", "record:intent/intent", "record:opened/open"):
        for seconds in (-HOUR, HOUR):
            died = killed_by_the_clock(series, clock, word, seconds)
            if seconds < 0:
                flip = series.recovered(died)
            else:
                flip = left_for_resolve(series, clock)
            series.judge(flip, "killed after %s, clock then set by %+d s" % (word, seconds))
    series.finish("clock off by an hour for good, and over a crash")
