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

import pymysql

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from tests.fault.series import OUTCOMES, WRITABLE_WITHIN_S, Series  # noqa: E402
from tests.fault.strike import BACK, FORWARD, Network, strike, thing  # noqa: E402
from tests.fault.test_clock import HOUR, Clock  # noqa: E402
from tests.fault.test_hooks import Hooks  # noqa: E402
from tests.fault.test_steps import LINES, lines_of  # noqa: E402
from tests.lab.lab import Lab  # noqa: E402
from tests.lab.proc import wait_for  # noqa: E402

BAD_HOOKS = [(action, behaviour) for action in ("switch", "revert") for behaviour in ("hang", "fork", "flood", "endless",
                                                                                     "fail", "die")]
BAD_HOOKS += [(action, behaviour) for action in ("before_fence", "after_open", "after_end")
              for behaviour in ("fork", "flood", "fail", "die")]


class Soak:
    """One method for each fault; each has a flip under way, does its worst, and gives the flip's end and where it was."""

    def __init__(self, series, chance, clock, hooks):
        self.series, self.chance, self.clock, self.hooks = series, chance, clock, hooks
        self.faults = collections.Counter()

    def _strike(self, begin, end=None, longest_s=0.0, back=None):
        """At a moment drawn, of a roll back every fourth time."""
        back = self.chance.random() < 0.25 if back is None else back
        moment = self.chance.choice(BACK if back else FORWARD)
        seconds = self.chance.uniform(0.05, longest_s) if longest_s else 0.0
        flip, struck, _ = strike(self.series, moment, begin, end, seconds, back)
        return flip, "%s%s%s" % (moment, " of a roll back" if back else "", "" if struck else ", not met")

    def _killed(self, who):
        server = thing(self.series, who)
        return self._strike(server.kill, server.start)

    def _frozen(self, who):
        server = thing(self.series, who)
        return self._strike(server.freeze, server.thaw, 2)

    def nothing(self):
        return self._strike(lambda: None)

    def flipd_killed_at_a_step(self):
        return self._killed("flipd")

    def flipd_killed_at_any_time(self):
        child = self.series.flip()
        pause = self.chance.uniform(0, 0.4)
        time.sleep(pause)
        self.series.daemon.process.kill()
        died = time.monotonic()
        self.series.wait_flip(child)
        assert self.series.up()
        return self.series.recovered(died, timeout=60), "after %.0f ms" % (pause * 1000)

    def flipd_told_to_stop(self):
        def again():
            self.series.daemon.process.wait(30)
            assert self.series.up()
        return self._strike(lambda: self.series.daemon.process.signal(signal.SIGTERM), again)

    def flipd_frozen(self):
        return self._frozen("flipd")

    def old_killed(self):
        return self._killed("old")

    def new_killed(self):
        return self._killed("new")

    def replica_killed(self):
        return self._killed("replica")

    def name_server_killed(self):
        return self._killed("names")

    def old_frozen(self):
        return self._frozen("old")

    def new_frozen(self):
        return self._frozen("new")

    def replica_frozen(self):
        return self._frozen("replica")

    def name_server_frozen(self):
        return self._frozen("names")

    def line_cut(self):
        what, how, forget = self.chance.choice(LINES + ("all",)), self.chance.choice(["both", "asks", "answers"]), \
            self.chance.random() < 0.5
        line = Network(self.series, lines_of(self.series, what), how, forget)
        flip, where = self._strike(line.freeze, line.thaw, 4)
        return flip, "%s, %s kept%s, at %s" % (what, how, " and lost" if forget else "", where)

    def aborted_by_hand(self):
        return self._strike(lambda: self.series.daemon.ctl_start("abort", "lab").communicate(timeout=60))

    def applier_held(self):
        return self._strike(lambda: None, back=True)

    def replication_restarted_by_hand(self):
        def restart():
            for server in self.series.lab.servers.values():
                if not server.replica_status():
                    continue
                try:
                    server.query("STOP SLAVE IO_THREAD")
                    server.query("START SLAVE IO_THREAD")
                except pymysql.err.OperationalError as e:
                    if e.args[0] not in (1200, 1201):  # flipd has just removed it; a crash has broken it
                        raise
        return self._strike(restart)

    def clock_set(self):
        seconds = self.chance.choice([-HOUR, HOUR])
        flip, where = self._strike(lambda: self.clock.set(seconds), lambda: self.clock.set(0), 2)
        return flip, "%+d s, %s" % (seconds, where)

    def bad_hook(self):
        action, behaviour = self.chance.choice(BAD_HOOKS)
        self.hooks.mode(action, behaviour)
        flip, where = self._strike(lambda: None)
        self.hooks.mode()
        self.hooks.end_forked()
        self.hooks.says(flip["to"] if flip["outcome"] == "done" else flip["from"])
        return flip, "%s %s, %s" % (action, behaviour, where)

    def client_gone(self):
        return self._strike(lambda: self.series.client.kill())

    def one(self):
        names = [n for n in dir(self) if not n.startswith("_") and n not in ("one", "series", "chance", "faults", "clock",
                                                                           "hooks")]
        name = self.chance.choice(sorted(names))
        self.series.ready()
        flip, where = getattr(self, name)()
        over = time.monotonic()
        if self.series.nobody_open():  # killed when the flip had ended, or before it had closed anything: it boots closed
            assert name.endswith("_killed"), "%s %s: nobody is open" % (name, where)
            self.series.old.query("SET GLOBAL read_only=0")
        wait_for(lambda: self.series.openings.only_open(over), WRITABLE_WITHIN_S, "one writable side")
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
    hooks, series = Hooks(os.path.join(lab.dir, "hooks")), Series(lab)
    series.build(replicas=["reports"], lines=True, cluster=hooks.configuration,
                 defaults={"max_blackout": "2s", "max_lag": "30s", "settle_timeout": "20s"})
    soak = Soak(series, random.Random(args.seed), Clock(series), hooks)
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
