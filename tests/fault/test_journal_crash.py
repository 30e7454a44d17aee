"""
The journal's process killed just before and just after each of its commits, and each commit made to fail: what was
acknowledged as durable is there afterwards, and nothing is there that was refused.
"""

import os
import signal

import pytest

from tests.fault.driver import Driver
from tests.lab import places

FLIP = (
    "begin f1",
    "note f1 step1",
    "write f1 session",
    "write f1 fence",
    "note f1 step2",
    "note f1 step3",
    "write f1 intent",
    "write f1 opened",
    "save f1 ended",
)
KINDS = [line.split()[2] for line in FLIP if line.split()[0] in ("note", "write")]
LAST_COMMIT = 6  # begin, session, fence, intent, opened, save: when notes go along with them


def preload(tmp_path, **env):
    env["LD_PRELOAD"] = places.built("tests/fault/crashpoint.so")
    env["FLIPD_CRASH_LOG"] = str(tmp_path / "log")
    return {name: str(value) for name, value in env.items()}


def log_of(tmp_path):
    path = tmp_path / "log"
    return path.read_text().splitlines() if path.exists() else []


def run_flip(d):
    """What each line was answered; "" from the death on."""
    return [d.say(line) for line in FLIP]


def kinds_there(state):
    with Driver(state) as d:
        assert d.hello.startswith("ok "), d.hello
        answer = d.say("load f1").split()
        assert d.close() == 0
    return answer


def acknowledged(answers):
    """The kinds that must be there: all up to the last durable write that was answered ok."""
    kinds, durable = [], 0
    for line, answer in zip(FLIP, answers):
        verb = line.split()[0]
        if verb in ("note", "write"):
            kinds.append(line.split()[2])
        if verb == "write" and answer == "ok":
            durable = len(kinds)
    return kinds[:durable]


def test_the_log_names_the_commits(tmp_path):
    with Driver(tmp_path / "state", env=preload(tmp_path)) as d:
        assert set(run_flip(d)) == {"ok"}
        assert d.close() == 0
    lines = log_of(tmp_path)
    assert lines[0] == "1 full begin"
    assert [int(line.split()[0]) for line in lines] == list(range(1, len(lines) + 1))
    words = ",".join(line.split()[2] for line in lines).split(",")
    assert words == ["begin"] + ["record:%s/step" % k for k in KINDS] + ["save:ended"]
    for line in lines:
        if "fence" in line or "intent" in line or "save" in line:
            assert line.split()[1] == "full"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("k", range(1, LAST_COMMIT + 1))
def test_killed_at_a_commit(tmp_path, k, when):
    state = tmp_path / "state"
    with Driver(state, env=preload(tmp_path, FLIPD_CRASH_AT=k, FLIPD_CRASH_WHEN=when)) as d:
        answers = run_flip(d)
        assert d.process.wait(timeout=60) == -signal.SIGKILL
    lines = log_of(tmp_path)
    assert len(lines) == k and lines[-1].endswith("KILLED " + when)
    there = kinds_there(state)
    if answers[0] != "ok" and when == "before":
        assert there[0] == "error"
        return
    assert there[0] == "ok"
    kinds = there[2:]
    assert kinds == KINDS[: len(kinds)]
    assert len(kinds) >= len(acknowledged(answers))
    # Just the commit that it died at decides: all of it after, nothing of it before.
    holds = [w[len("record:") : -len("/step")] for w in lines[-1].split()[2].split(",") if w.startswith("record:")]
    for kind in holds:
        assert (kind in kinds) == (when == "after")


@pytest.mark.parametrize("k", range(1, LAST_COMMIT + 1))
def test_a_commit_that_fails(tmp_path, k):
    state = tmp_path / "state"
    with Driver(state, env=preload(tmp_path, FLIPD_JOURNAL_FAIL_AT=k)) as d:
        assert d.say("reserve") == "ok"
        answers = run_flip(d)
        there = d.say("load f1").split()
        assert d.close() == 0
    lines = log_of(tmp_path)
    failed = [line for line in lines if "FAILED" in line]
    # Once, again when the log was emptied, again when the ballast had been given up.
    assert [line.split()[0] for line in failed] == 3 * [str(k)]
    assert not os.path.exists(state / "ballast")
    assert kinds_there(state)[2:] == there[2:]
    for line, answer in zip(FLIP, answers):
        verb, _, word = (line.split() + [""])[:3]
        if verb == "write" and there[0] == "ok":
            assert (word in there) == (answer == "ok"), line
    assert sum(1 for answer in answers if answer != "ok") >= 1
