#!/usr/bin/python3
"""The soak: flips of one pair under load, each with a fault drawn at random, or none; the same seed, the same faults.

After every flip: one side open, the other its replica, the names on the master, rows closed, never two open. At the end
every acknowledged write is looked for, and both sides compared. `make soak SEED=7 FLIPS=500`."""

import argparse
import collections
import os
import random
import signal
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from tests.fault.series import OUTCOMES, WRITABLE_WITHIN_S, Series  # noqa: E402
from tests.fault.test_servers import end_of_flip, open_by_hand, open_by_operator  # noqa: E402
from tests.lab.lab import Lab  # noqa: E402
from tests.lab.proc import wait_for  # noqa: E402

STEPS = ("preflight", "lock", "flush", "drain", "events", "fence", "kill", "coordinates", "endpoints", "intent", "open",
         "detach", "reverse", "repoint", "propagate", "finish")


class Soak:
    """One method for each fault; each has a flip under way, does its worst, and gives the flip's end (None: never begun)."""

    def __init__(self, series, chance):
        self.series, self.chance = series, chance
        self.faults = collections.Counter()

    def _at_step(self, act, **options):
        step = self.chance.choice(STEPS)
        end, child = self.series.log_end(), self.series.flip()
        struck = self.series.at_log(" step=%s " % step, act, end=end, **options)
        return child, end, "%s%s" % (step, "" if struck else ", not met"), struck

    def _restarted(self, child):
        """flipd is dead or was told to stop: the next one ends the flip."""
        died = time.monotonic()
        self.series.wait_flip(child)
        assert self.series.up()
        return self.series.recovered(died, timeout=60)

    def nothing(self):
        return end_of_flip(self.series, self.series.flip()), ""

    def flipd_killed_at_a_step(self):
        child, _, where, struck = self._at_step(lambda: self.series.daemon.process.kill())
        if not struck:
            self.series.daemon.process.kill()
        return self._restarted(child), where

    def flipd_killed_at_any_time(self):
        child = self.series.flip()
        pause = self.chance.uniform(0, 0.4)
        time.sleep(pause)
        self.series.daemon.process.kill()
        return self._restarted(child), "after %.0f ms" % (pause * 1000)

    def flipd_told_to_stop(self):
        child, _, where, _ = self._at_step(lambda: self.series.daemon.process.signal(signal.SIGTERM))
        if self.series.daemon.process.alive():
            self.series.daemon.process.signal(signal.SIGTERM)
        self.series.daemon.process.wait(30)
        return self._restarted(child), where

    def flipd_frozen(self):
        child, _, where, struck = self._at_step(lambda: self.series.daemon.process.signal(signal.SIGSTOP))
        time.sleep(self.chance.uniform(0.1, 2))
        self.series.daemon.process.signal(signal.SIGCONT)
        return end_of_flip(self.series, child), where

    def _server_killed(self, server, who):
        child, end, where, struck = self._at_step(server.kill)
        if struck:
            server.start()
        back = time.monotonic()
        if who == "old" and struck and where in ("preflight", "lock", "flush", "drain", "events", "fence"):
            open_by_operator(self.series, child, end)
        flip = end_of_flip(self.series, child)
        if self.series.nobody_open():  # nothing was closed by flipd, and the master has booted closed
            assert flip["outcome"] in ("aborted", "refused"), flip["outcome"]
            open_by_hand(self.series)
        wait_for(lambda: self.series.openings.only_open(back), WRITABLE_WITHIN_S, "one writable side")
        return flip, where

    def old_killed(self):
        return self._server_killed(self.series.old, "old")

    def new_killed(self):
        return self._server_killed(self.series.new, "new")

    def _server_frozen(self, server):
        child, _, where, struck = self._at_step(server.freeze)
        if struck:
            time.sleep(self.chance.uniform(0.05, 2))
            server.thaw()
        return end_of_flip(self.series, child), where

    def old_frozen(self):
        return self._server_frozen(self.series.old)

    def new_frozen(self):
        return self._server_frozen(self.series.new)

    def name_server_frozen(self):
        named = self.series.lab.named
        child, _, where, struck = self._at_step(named.freeze)
        if struck:
            time.sleep(self.chance.uniform(0.05, 2))
            named.thaw()
        return end_of_flip(self.series, child), where

    def aborted_by_hand(self):
        child, _, where, _ = self._at_step(
            lambda: self.series.daemon.ctl_start("abort", "lab").communicate(timeout=60))
        return end_of_flip(self.series, child), where

    def applier_held(self):
        with self.series.applier_to_hold() as hold:
            end, child = self.series.log_end(), self.series.flip()
            self.series.at_log(" step=events ", hold, end=end)
            return end_of_flip(self.series, child), ""

    def one(self):
        names = [n for n in dir(self) if not n.startswith("_") and n not in ("one", "series", "chance", "faults")]
        name = self.chance.choice(sorted(names))
        self.series.ready()
        flip, where = getattr(self, name)()
        self.faults[name] += 1
        self.series.judge(flip, "%s %s" % (name, where), OUTCOMES | {"refused"})
        return "%s %s: %s" % (name.replace("_", " "), where, flip["outcome"] if flip else "never begun")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    lab = Lab()
    lab.keep = bool(os.environ.get("KEEP"))
    series = Series(lab).build(defaults={"max_blackout": "3s", "max_lag": "30s"})
    soak = Soak(series, random.Random(args.seed))
    try:
        assert series.up()
        for number in range(1, args.flips + 1):
            print("%4d %s" % (number, soak.one()), flush=True)
        report = series.finish("soak")
    except BaseException:
        traceback.print_exc()
        series.describe()
        print("0 passed, 1 failed")
        return 1
    finally:
        series.close()
    print("figure: seed %d, %d flips, faults %s" % (args.seed, args.flips, dict(sorted(soak.faults.items()))))
    print("figure: outcomes %s, %d acknowledged writes, lost 0, never two open, longest without a writable side %.1f s" % (
        dict(sorted(series.outcomes.items())), report.facts["acked"], series.openings.longest_closed_s()))
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
