"""Hooks that misbehave in mid-flip: they hang, fork children that outlive them, flood their output, die, fail. flipd keeps
its limits, the flip ends known, and nothing of what flipd gave up is left running."""

import os
import signal
import time

from tests.fault.series import ALL, OUTCOMES, SUMMARY, brief
from tests.fault.strike import end_of
from tests.lab.proc import start_time, wait_for
from tests.lab.scene import script

FLIPD_MOST_KB = 100 * 1024

# What the file `mode` says for an action is what the hook does there before, or instead of, what it is for.
PROGRAM = """\
    dir="%s"
    case $(sed -n "s/^$FLIPD_ACTION //p" "$dir/mode") in
    hang) echo $$ >>"$dir/pids"; sleep 1000 & echo $! >>"$dir/pids"; wait ;;
    fork) sleep 1000 & echo $! >>"$dir/forked" ;;
    flood) head -c 20000000 /dev/zero | tr '\\0' x ;;
    endless) echo $$ >>"$dir/pids"; exec yes endless ;;
    fail) echo "it cannot be done" >&2; exit 3 ;;
    die) kill -9 $$ ;;
    esac
    echo "$FLIPD_ACTION $FLIPD_TO" >>"$dir/calls"
    case $FLIPD_ACTION in
    switch) echo "$FLIPD_TO" >"$dir/at" ;;
    revert) echo "$FLIPD_FROM" >"$dir/at" ;;
    verify) test "$(cat "$dir/at")" = "$FLIPD_TO" ;;
    esac"""

GIVEN_UP = ("hang", "endless")
WARNED, QUIET = True, False
# The hook's action, what it does, whether the flip is to roll back by itself, its outcome, whether it warns of the hook.
CASES = [
    ("check", "hang", False, "refused", QUIET),
    ("switch", "hang", False, "rolled_back", QUIET),
    ("switch", "endless", False, "rolled_back", QUIET),
    ("switch", "fail", False, "rolled_back", QUIET),
    ("switch", "die", False, "rolled_back", QUIET),
    ("switch", "fork", False, "done", QUIET),
    ("switch", "flood", False, "done", QUIET),
    ("revert", "hang", True, "rolled_back", QUIET),  # asked again, and mended meanwhile
    ("revert", "endless", True, "rolled_back", QUIET),
    ("revert", "fork", True, "rolled_back", QUIET),
    ("before_fence", "fail", False, "refused", QUIET),
    ("before_fence", "die", False, "refused", QUIET),
    ("before_fence", "fork", False, "done", QUIET),
    ("before_fence", "flood", False, "done", QUIET),
    ("after_open", "fail", False, "done", WARNED),
    ("after_open", "fork", False, "done", QUIET),
    ("after_rollback", "die", True, "rolled_back", WARNED),
    ("after_end", "flood", False, "done", QUIET),
    ("after_end", "fail", False, "done", WARNED),
]
# Points under `hooks:` have 30 s.
LONG = [("before_fence", "hang", False, "refused", QUIET), ("after_open", "endless", False, "done", WARNED),
        ("after_rollback", "hang", True, "rolled_back", WARNED), ("after_end", "hang", False, "done", WARNED),
        ("revert", "fail", True, "rolled_back", WARNED)]
POINTS = ("before_fence", "after_open", "after_rollback", "after_end")


class Hooks:
    def __init__(self, directory):
        self.dir = directory
        os.makedirs(directory)
        self.mode()
        self.says("source")
        self.path = script(os.path.join(directory, "hook.sh"), PROGRAM.replace("%s", directory))

    def configuration(self, lab):
        return {"endpoints": [lab.endpoint("example.test."), {"hook": {"path": self.path, "timeout": "300ms"}}],
                "hooks": {point: [self.path] for point in POINTS}}

    def mode(self, action="none", behaviour="none"):
        path = os.path.join(self.dir, "mode")
        with open(path + ".new", "w") as f:
            f.write("%s %s\n" % (action, behaviour))
        os.rename(path + ".new", path)

    def read(self, name):
        path = os.path.join(self.dir, name)
        if not os.path.exists(path):
            return []
        with open(path) as f:
            return f.read().split()

    def says(self, side):
        """The way back could not be told to the hook, perhaps: somebody sets it right. Whether it was."""
        there = self.read("at") == [side]
        with open(os.path.join(self.dir, "at"), "w") as f:
            f.write(side + "\n")
        return there

    def end_forked(self):
        """What a hook left behind when it had ended well is its own; there was something. Ended here."""
        pids = [int(p) for p in self.read("forked")]
        for pid in pids:
            assert start_time(pid) is not None, "a child that outlives its hook was killed"
            os.kill(pid, signal.SIGKILL)
        if pids:
            os.unlink(os.path.join(self.dir, "forked"))
        return pids


def memory_kb(daemon):
    with open("/proc/%d/status" % daemon.process.pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))


def bad_hook(series, hooks, action, behaviour, back, outcome, warned):
    where = "%s: %s" % (action, behaviour)
    series.ready()
    hooks.mode(action, behaviour)
    log = series.log_end()
    if back:
        with series.applier_to_hold() as hold:
            child = series.flip()
            series.at_log(" step=events ", hold, end=log)
            begin = time.monotonic()
            if behaviour in GIVEN_UP and action == "revert":
                wait_for(lambda: hooks.read("pids"), 10, "the hook to be called")
                time.sleep(1)
                hooks.mode()
            flip = end_of(series, child, log, begin, timeout=120)
    else:
        child, begin = series.flip(), time.monotonic()
        flip = end_of(series, child, log, begin, timeout=120)
    took = time.monotonic() - begin
    hooks.mode()
    assert flip["outcome"] == outcome, "%s: %s" % (where, brief(flip))
    assert any("hook" in w for w in flip["warnings"]) == warned, "%s: %s" % (where, brief(flip))
    if outcome != "done" and not back:
        told = [flip["error"], [s["detail"] for s in flip["steps"]], [c for c in flip["checks"] if c["result"] == "refuse"]]
        assert hooks.path in str(told), "%s: %s" % (where, brief(flip))
    pids = [int(p) for p in hooks.read("pids")]
    assert bool(pids) == (behaviour in GIVEN_UP), "%s: it never came to that" % where
    wait_for(lambda: all(start_time(p) is None for p in pids), 2, "what was given up to be gone")
    if pids:
        os.unlink(os.path.join(hooks.dir, "pids"))
    assert bool(hooks.end_forked()) == (behaviour == "fork"), where
    series.judge(flip, where, OUTCOMES | {"refused"})
    assert hooks.says(series.master) or (action == "revert" and warned), "%s: its endpoint is left on the other side" % where
    return took


def test_hooks_that_misbehave(make_series, tmp_path):
    hooks = Hooks(str(tmp_path / "hooks"))
    series = make_series(defaults={"max_blackout": "1s", "max_lag": "30s", "settle_timeout": "2s"},
                         cluster=hooks.configuration)
    assert series.up()
    slowest = 0.0
    for what in CASES + (LONG if ALL else []):
        slowest = max(slowest, bad_hook(series, hooks, *what))
    most = memory_kb(series.daemon)
    assert most < FLIPD_MOST_KB, "flipd came to hold %d KB" % most
    SUMMARY.append("sample: hooks: " + "; ".join("%s %s: %s" % (c[0], c[1], c[3]) for c in CASES))
    series.finish("hooks that misbehave, the slowest flip %.1f s, flipd at most %d MB" % (slowest, most // 1024))


def test_aborted_while_a_hook_hangs(make_series, tmp_path):
    """A person need not wait for its time-out."""
    hooks = Hooks(str(tmp_path / "hooks"))
    series = make_series(cluster=hooks.configuration)
    assert series.up()
    series.ready()
    hooks.mode("before_fence", "hang")
    child = series.flip()
    pids = wait_for(lambda: len(hooks.read("pids")) == 2 and [int(p) for p in hooks.read("pids")], 20, "the hook to hang")
    begin = time.monotonic()
    answer = series.daemon.ctl("abort", "lab")
    assert answer.code == 0 and answer.json["outcome"] == "aborted", answer
    assert time.monotonic() - begin < 3
    wait_for(lambda: all(start_time(p) is None for p in pids), 2, "the hook and its child to be gone")
    series.judge(series.wait_flip(child), "aborted while before_fence hangs", {"aborted"})
    series.finish("aborted while a hook hangs")
