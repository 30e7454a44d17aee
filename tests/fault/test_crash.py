"""flipd killed with -9 at every write of its journal, at every step, and again while it recovers; with writers running.

Each time it is started again, and then: the flip ended `done`, `rolled_back` or `aborted`; within 10 s exactly one side
takes writes, and at no time two; every acknowledged write is there, on both sides alike."""

import contextlib
import os
import random
import time

import pytest

from tests.fault.series import ALL

SHORT = {"max_blackout": "600ms", "max_lag": "30s", "fence_timeout": "200ms"}
SEEDS = range(5) if ALL else range(1)
STEPS = ("preflight", "lock", "flush", "drain", "events", "fence", "kill", "coordinates", "endpoints", "intent", "sync",
         "verify", "open", "detach", "reverse", "flush_again", "repoint", "propagate", "finish")


def read_commits(path):
    """[(number, words that it holds, the line)] of a shim's log."""
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return [(int(line.split()[0]), set(line.split()[2].split(",")), line.strip()) for line in f]


class Sweep:
    """Flips in which flipd is killed at a commit of its journal. The life that recovers one flip is armed for the next.

    Which records share a commit, and how many sessions there are to kill, differs from run to run, and with it the
    numbers: so every number is taken once, and then each word that no crash has met is gone for until one does."""

    def __init__(self, series, when, hold=False):
        self.series, self.when, self.hold = series, when, hold
        self.armed, self.armings, self.at = None, 0, {}  # at: word -> the commit that held it last
        self.met, self.wanted = set(), set()  # words of flips that came to their end

    def arm(self, k):
        self.armings += 1
        self.armed = dict(FLIPD_CRASH_AT=k, FLIPD_CRASH_WHEN=self.when,
                          FLIPD_CRASH_LOG=os.path.join(self.series.daemon.dir, "commits-%d" % self.armings))

    def case(self, next_k):
        """One flip with flipd as it is armed; flipd is then up, armed for commit next_k. The commit that it died at."""
        series, log = self.series, self.armed["FLIPD_CRASH_LOG"]
        series.ready()
        self.arm(next_k)
        with contextlib.ExitStack() as stack:
            end, child = series.log_end(), series.flip()
            if self.hold:  # late, so that new is not far behind when the order of the steps is chosen
                series.at_log(" step=flush ", lambda: stack.enter_context(series.applier_held()), end=end)
            flip = series.wait_flip(child)
            died = time.monotonic()
            if not series.daemon.process.alive():
                assert series.up(**self.armed)
                flip = series.recovered(died)
            else:
                assert series.daemon.stop() == 0
                assert series.up(**self.armed)
        commits = read_commits(log)
        for number, words, _ in commits:
            self.at.update(dict.fromkeys(words, number))
        killed = commits and "KILLED" in commits[-1][2]
        series.judge(flip, "killed at commit %s" % commits[-1][2] if killed else "undisturbed")
        if not killed:
            self.wanted.update(*(words for _, words, _ in commits))
            return None
        self.met |= commits[-1][1]
        return commits[-1]

    def undisturbed(self):
        self.arm(0)
        assert self.series.up(**self.armed)
        assert self.case(1) is None

    def run(self, first_word="begin"):
        """Every number from the commit with first_word on, then what was missed."""
        self.undisturbed()
        first = k = self.at[first_word]
        self.restart(k)
        while self.case(k + 1):
            k += 1
        for word in sorted(w for w in self.wanted - self.met if self.at[w] >= first):
            self.go_for(word)
        return "k=%d..%d %s" % (first, k - 1, self.when)

    def restart(self, k):
        assert self.series.daemon.stop() == 0
        self.arm(k)
        assert self.series.up(**self.armed)

    def go_for(self, word):
        k = self.at[word]
        for _ in range(30):
            if word in self.met:
                return
            del self.at[word]
            self.restart(k)
            self.case(0)
            # Where it was this time; or it had not come yet.
            k = self.at.setdefault(word, k + 1)
        raise AssertionError("no crash could be had at %s" % word)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("order", ["guarded", "plain"])
def test_killed_at_every_write_of_a_flip(make_series, order, when):
    series = make_series(defaults={"verify": "counts"} if order == "plain" else {})
    sweep = Sweep(series, when)
    which = sweep.run("begin" if order == "guarded" or ALL else "record:fence/fence")
    assert {"record:fence/fence", "record:intent/intent", "record:opened/open", "save:ended"} <= sweep.met
    assert series.outcomes["done"] and series.outcomes["rolled_back"], series.outcomes
    series.finish("crash at journal write %s, %s opening" % (which, order))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("order", ["guarded", "plain"])
def test_killed_at_every_write_of_a_roll_back(make_series, order, when):
    """New's applier stands still, so that max_blackout runs out; it still does when flipd comes back."""
    series = make_series(defaults=dict(SHORT, **({"verify": "counts"} if order == "plain" else {})))
    sweep = Sweep(series, when, hold=True)
    which = sweep.run("record:fence/fence")
    assert {"record:fence/fence", "record:decide/", "save:ended"} <= sweep.met
    assert ("record:revoke/intent" in sweep.met) == (order == "guarded"), sweep.met
    assert not series.outcomes["done"], series.outcomes
    series.finish("crash at journal write %s of a roll back, %s opening" % (which, order))


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_at_every_step(make_series, seed):
    """By the lines of flipd's log: right when a step begins and when it ends, and up to 3 ms later by chance."""
    chance = random.Random(seed)
    series = make_series(replicas=["reports"])
    assert series.up()
    for step in STEPS:
        for word in ("running", "done"):
            series.ready()
            delay = chance.choice([0, chance.uniform(0, 0.003)])
            end = series.log_end()
            child = series.flip()

            def kill(pause=delay):
                time.sleep(pause)
                series.daemon.process.signal(9)
            hit = series.at_log(" step=%s " % step, kill, end=end, having="step %s" % word)
            flip = series.wait_flip(child)
            died = time.monotonic()
            if flip is None:
                assert series.up()
                flip = series.recovered(died)
            series.judge(flip, "step %s %s%s" % (step, word, "" if hit else ", not met"))
    series.finish("crash at every step, seed %d" % seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_at_any_time(make_series, seed):
    chance = random.Random(1000 + seed)
    series = make_series()
    assert series.up()
    for number in range(100 if ALL else 25):
        series.ready()
        hold = number % 5 == 4
        pause = chance.uniform(0, 0.5 if hold else 0.2)
        child = series.flip("--max-blackout", "400ms", "--max-lag", "30s")
        time.sleep(pause)
        series.daemon.process.kill()
        died = time.monotonic()
        series.wait_flip(child)
        assert series.up()
        series.judge(series.recovered(died), "killed %.0f ms after the flip was asked for" % (pause * 1000))
    series.finish("crash at any time, seed %d" % seed)
