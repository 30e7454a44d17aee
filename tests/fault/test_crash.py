"""flipd killed with -9 at every write of its journal, at every step, and again while it recovers; with writers running.

Each time it is started again, and then: the flip ended `done`, `rolled_back` or `aborted`; within 10 s exactly one side
takes writes, and at no time two; every acknowledged write is there, on both sides alike."""

import contextlib
import itertools
import os
import random
import time

import pytest

from tests.fault.series import ALL, OUTCOMES, brief
from tests.lab.proc import wait_for

SHORT = {"max_blackout": "400ms", "max_lag": "30s", "fence_timeout": "200ms"}
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

    def __init__(self, series, when, hold=None, abort=False):
        """hold: what makes new's applier stand still from `events` on; abort: by then somebody aborts the flip."""
        self.series, self.when, self.hold, self.abort = series, when, hold, abort
        self.armed, self.armings, self.at = None, 0, {}  # at: word -> the commit that held it last
        self.counter = itertools.count()
        self.met, self.wanted = set(), None  # wanted: the words of all flips that came to their end

    def arm(self, k, word=None):
        """The next life dies at commit k (0: none), or at the first that holds the word."""
        self.armings += 1
        self.armed = dict(FLIPD_CRASH_AT=k, FLIPD_CRASH_WHEN=self.when,
                          FLIPD_CRASH_LOG=os.path.join(self.series.daemon.dir, "commits-%d" % self.armings))
        if word:
            self.armed["FLIPD_CRASH_HOLDS"] = word
        if self.hold:
            self.armed = self.series.gated(**self.armed)

    def strike(self, stack):
        """A flip with flipd as it is armed, until flipd is dead or the flip has ended: (the flip's end or None, when,
        the commit that it died at or None). In stack goes what is to be undone when the flip has ended."""
        series, log = self.series, self.armed["FLIPD_CRASH_LOG"]
        series.ready()
        hold = stack.enter_context(self.hold()) if self.hold else None
        end, child = series.log_end(), series.flip()
        if hold:  # not before drain has seen new keep up
            series.at_gate(child, hold)
        if self.abort and series.at_log(" step=coordinates ", lambda: time.sleep(0.1), end=end):
            series.daemon.ctl_start("abort", "lab").communicate(timeout=30)
        flip, died = series.wait_flip(child), time.monotonic()
        commits = read_commits(log)
        for number, words, _ in commits:
            self.at.update(dict.fromkeys(words, number))
        if commits and "KILLED" in commits[-1][2]:
            return None, died, commits[-1]
        words = set().union(*(words for _, words, _ in commits))
        self.wanted = words if self.wanted is None else self.wanted & words
        return flip, died, None

    def case(self, next_k):
        """One flip and the recovery; flipd is then up, armed for commit next_k. The commit that it died at, or None."""
        series = self.series
        with contextlib.ExitStack() as stack:
            flip, died, commit = self.strike(stack)
            if commit is None:
                assert series.daemon.stop() == 0
            self.arm(next_k)
            assert series.up(**self.armed)
            if commit:
                flip = series.recovered(died)
        series.judge(flip, "killed at commit %s" % commit[2] if commit else "undisturbed")
        if commit:
            self.met |= commit[1]
        return commit

    def undisturbed(self):
        self.arm(0)
        assert self.series.up(**self.armed)
        assert self.case(1) is None

    def run(self, first_word="begin", required=()):
        """Every number from the commit with first_word on, then what was missed."""
        self.undisturbed()
        first = k = self.at[first_word]
        self.restart(k)
        while self.case(k + 1):
            k += 1
        for word in sorted(w for w in self.wanted | set(required) if self.at.get(w, first) >= first):
            if word not in self.met:
                self.go_for(word)
        return "k=%d..%d %s" % (first, k - 1, self.when)

    def restart(self, k, word=None):
        if self.series.daemon.process.alive():
            assert self.series.daemon.stop() == 0
        self.arm(k, word)
        assert self.series.up(**self.armed)

    def dead_at(self, word, stack):
        """Flipd is dead, killed at a commit that holds the word; when it died. A flip without it is a case too."""
        for _ in range(3):
            self.restart(0, word)
            with contextlib.ExitStack() as own:
                flip, died, commit = self.strike(own)
                if commit:
                    stack.push(own.pop_all())
                    return died
            self.series.judge(flip, "without %s" % word)
        raise AssertionError("no flip has %s" % word)

    def go_for(self, word):
        with contextlib.ExitStack() as stack:
            died = self.dead_at(word, stack)
            self.arm(0)
            assert self.series.up(**self.armed)
            flip = self.series.recovered(died)
        self.series.judge(flip, "killed %s %s" % (self.when, word))
        self.met.add(word)


PLAIN = {"verify": "counts"}
FLIPS = [("guarded", "before"), ("guarded", "after"), ("plain", "before"), ("plain", "after")]
ROLL_BACKS = [("guarded", "before", "locked"), ("guarded", "after", "aborted"), ("plain", "after", "stopped")]
if ALL:
    ROLL_BACKS = [flip + (how,) for flip in FLIPS for how in ("locked", "stopped", "aborted")]


@pytest.mark.parametrize("order,when", FLIPS if ALL else FLIPS[:3])
def test_killed_at_every_write_of_a_flip(make_series, order, when):
    series = make_series(defaults=PLAIN if order == "plain" else {})
    sweep = Sweep(series, when)
    which = sweep.run("begin" if order == "guarded" or ALL else "record:fence/fence",
                      ("record:fence/fence", "record:intent/intent", "record:opened/open", "save:ended"))
    assert series.outcomes["done"] and series.outcomes["rolled_back"], series.outcomes
    series.finish("crash at journal write %s, %s opening" % (which, order))


@pytest.mark.parametrize("order,when,how", ROLL_BACKS)
def test_killed_at_every_write_of_a_roll_back(make_series, order, when, how):
    """New's applier stands still until the flip has ended: max_blackout runs out, or somebody aborts before."""
    budget = {"max_blackout": "3s"} if how == "aborted" else {}
    series = make_series(defaults=dict(SHORT, **budget, **(PLAIN if order == "plain" else {})))
    hold = series.applier_to_stop if how == "stopped" else series.applier_to_hold
    sweep = Sweep(series, when, hold, how == "aborted")
    revoked = {"record:revoke/intent"} if order == "guarded" else set()
    which = sweep.run("record:fence/fence", {"record:fence/fence", "record:decide/", "save:ended"} | revoked)
    assert not series.outcomes["done"], series.outcomes
    # max_blackout counts from the fence, over a crash too; then there is the time for flipd to start and to look.
    assert series.openings.longest_closed_s() < (3 if how == "aborted" else 0.4) + 3
    series.finish("crash at journal write %s of a roll back, %s opening, applier %s" % (which, order, how))


@pytest.mark.parametrize("hold", [False, True])
def test_every_write_fails(make_series, hold):
    """As on a full disk, and none is killed: the flip ends by itself, and the next start finds nothing else."""
    series = make_series(defaults=SHORT)
    sweep = Sweep(series, "before", series.applier_to_hold if hold else None)
    sweep.undisturbed()
    k = first = sweep.at["record:begin/fence" if hold else "begin"] - 1
    while k < max(sweep.at.values()):
        k += 1
        sweep.restart(0)
        series.daemon.stop()
        sweep.armed["FLIPD_JOURNAL_FAIL_AT"] = k
        assert series.up(**sweep.armed)
        with contextlib.ExitStack() as stack:
            flip, since, _ = sweep.strike(stack)
            assert flip["outcome"] in OUTCOMES | {"refused"}, brief(flip)
            assert series.daemon.stop() == 0
            assert series.up()
            again = series.recovered(since)
        where = "commit %d failed" % k
        same = again is None or again["outcome"] == flip["outcome"]
        assert same, "%s: %s, then %s" % (where, brief(flip), brief(again))
        series.judge(again, where, OUTCOMES | {"refused"})
    series.finish("journal write k=%d..%d fails%s" % (first + 1, k, ", new's applier held" if hold else ""))


AGAIN = [(False, "after"), (True, "before"), (False, "before"), (True, "after")]


def die_again(series, sweep, j, died):
    """Lives that die at commit 1, 2, ... of their own, from j on, until one outlives its recovery; that one's end."""
    lives = 0
    while True:
        log = os.path.join(series.daemon.dir, "recovery-%d" % next(sweep.counter))
        series.start(FLIPD_CRASH_AT=j, FLIPD_CRASH_WHEN=sweep.when, FLIPD_CRASH_LOG=log, FLIPD_CRASH_FROM="start")
        wait_for(lambda: not series.daemon.process.alive() or series.answers(), 20, "flipd to answer or to die")
        if series.outlives():
            return series.recovered(died), lives
        died, lives, j = time.monotonic(), lives + 1, j + 1


@pytest.mark.parametrize("hold,when", AGAIN if ALL else AGAIN[:2])
def test_killed_again_in_recovery(make_series, when, hold):
    """Killed in a flip, then at the first write of the life that recovers it, at the second of the next, and so on."""
    series = make_series(defaults=SHORT)
    sweep = Sweep(series, when, series.applier_to_hold if hold else None)
    sweep.undisturbed()
    most = 0
    for word in ("record:row/lock", "record:fence/fence", "record:intent/intent", "record:opened/open", "save:ended"):
        if word not in sweep.at:
            continue
        for first in (1, 2, 3, 4, 6, 8, 11) if ALL else (1,):
            with contextlib.ExitStack() as stack:
                died = sweep.dead_at(word, stack)
                flip, lives = die_again(series, sweep, first, died)
            series.judge(flip, "killed %s %s, then from commit %d on in %d lives" % (when, word, first, lives))
            most = max(most, lives)
            assert series.daemon.stop() == 0
    assert most >= 3, "recovery writes more often than that"
    series.finish("crash again %s every write of recovery%s, up to %d times" % (
        when, ", new's applier held" if hold else "", most))


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


def test_killed_while_the_way_back_is_tried(make_series):
    """Preflight tries it with a connection on the master, which must not outlive flipd."""
    series = make_series()
    assert series.up()
    struck = 0
    for _ in range(30):
        series.ready()
        child = series.flip()
        while child.poll() is None and not series.old.replica_status():
            pass
        left = child.poll() is None
        series.daemon.process.kill()
        died = time.monotonic()
        series.wait_flip(child)
        struck += bool(left and series.old.replica_status())
        assert series.up()
        series.judge(series.recovered(died), "killed while the way back was tried")
        if struck == 3:
            break
    assert struck, "it was never there when flipd was dead"
    series.finish("crash while the way back is tried, %d times with its connection left" % struck)


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_at_any_time(make_series, seed):
    """After a time by chance, up to a little more than a flip takes; every fifth with new's applier held."""
    chance = random.Random(1000 + seed)
    series = make_series(defaults=SHORT)
    assert series.up()
    series.ready()
    begin = time.monotonic()
    series.judge(series.wait_flip(series.flip()), "undisturbed")
    whole = time.monotonic() - begin
    for number in range(100 if ALL else 25):
        series.ready()
        with contextlib.ExitStack() as stack:
            hold = stack.enter_context(series.applier_to_hold()) if number % 5 == 4 else None
            pause = chance.uniform(0, whole * 1.1 + (0.4 if hold else 0))
            end, child, begin = series.log_end(), series.flip(), time.monotonic()
            if hold:
                series.at_log(" step=events ", hold, end=end, timeout=pause)
            time.sleep(max(0, begin + pause - time.monotonic()))
            series.daemon.process.kill()
            died = time.monotonic()
            series.wait_flip(child)
            assert series.up()
            flip = series.recovered(died)
        series.judge(flip, "killed %.0f ms after the flip was asked for" % (pause * 1000))
    series.finish("crash at any time, seed %d" % seed)
