"""flipd killed with -9 at every write of its journal, at every step, and again while it recovers; with writers running.

Each time it is started again, and then: the flip ended `done`, `rolled_back` or `aborted`; within 10 s exactly one side
takes writes, and at no time two; every acknowledged write is there, on both sides alike."""

import os
import random
import time

import pytest

from tests.fault.series import ALL, SUMMARY

SHORT = {"max_blackout": "600ms", "max_lag": "30s", "fence_timeout": "200ms"}
SEEDS = range(5) if ALL else range(1)
STEPS = ("preflight", "lock", "flush", "drain", "events", "fence", "kill", "coordinates", "endpoints", "intent", "sync",
         "verify", "open", "detach", "reverse", "flush_again", "repoint", "propagate", "finish")


def crash_log(series, number):
    return os.path.join(series.daemon.dir, "commits-%s" % number)


def read_commits(path):
    """[(number, what it holds)]."""
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return [(int(line.split()[0]), line.strip()) for line in f]


def run_case(series, hold=False):
    """A flip with flipd up and armed: its end, or None when flipd died; and when that was."""
    series.ready()
    if not hold:
        flip = series.wait_flip(series.flip())
        return flip, time.monotonic()
    with series.applier_held():
        flip = series.wait_flip(series.flip())
        died = time.monotonic()
        if flip is None:  # what it finds when it comes back is as it was
            series.up(**series.armed)
            flip = series.recovered(died, 30)
            return flip, None
    return flip, died


def at_each_commit(series, when, first=1, hold=False):
    """Kills flipd at the k-th commit for k = first, first + 1, ... until a flip has fewer; how many were there."""
    k, seen = first, []
    series.armed = arm(series, k, when)
    assert series.up(**series.armed)
    while True:
        log = series.armed["FLIPD_CRASH_LOG"]
        series.armed = arm(series, k + 1, when)  # the life that recovers is the next one's victim
        where = "killed %s commit %d" % (when, k)
        flip, died = run_case(series, hold)
        commits = read_commits(log)
        killed = bool(commits) and "KILLED" in commits[-1][1]
        if killed:
            where = "killed at commit %s" % commits[-1][1]
            seen.append(commits[-1][1])
            if died is not None:
                series.up(**series.armed)
                flip = series.recovered(died)
        series.judge(flip, where)
        if not killed:
            return seen
        k += 1


def arm(series, k, when, **more):
    series.armings = getattr(series, "armings", 0) + 1
    return dict(FLIPD_CRASH_AT=k, FLIPD_CRASH_WHEN=when, FLIPD_CRASH_LOG=crash_log(series, series.armings), **more)


def commit_of(series, word, hold=False):
    """The number of the first commit of an undisturbed flip that holds the word; the flip counts as a case."""
    env = arm(series, 0, "before")
    series.armed = env
    assert series.up(**env)
    flip, _ = run_case(series, hold)
    series.judge(flip, "undisturbed")
    assert series.daemon.stop() == 0
    commits = read_commits(env["FLIPD_CRASH_LOG"])
    return next(n for n, line in commits if word in line)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("order", ["guarded", "plain"])
def test_killed_at_every_write_of_a_flip(make_series, order, when):
    series = make_series(defaults={"verify": "counts"} if order == "plain" else {})
    first = 1 if order == "guarded" or ALL else commit_of(series, "record:fence")
    seen = at_each_commit(series, when, first)
    assert any("record:intent" in line for line in seen) and any("record:opened" in line for line in seen), seen
    series.finish("crash at journal write k=%d..%d %s of a flip, %s" % (first, first + len(seen) - 1, when, order))
