"""flipd told to stop in the midst of a flip, a second flipd beside it, and no room for its journal; with writers."""

import contextlib
import json
import os
import shutil
import signal
import time

import pytest

from tests.fault.driver import SmallDisk
from tests.fault.series import brief, other
from tests.lab.proc import wait_for

STEPS = ("preflight", "lock", "flush", "drain", "events", "fence", "kill", "coordinates", "endpoints", "intent", "open",
         "sync", "detach", "reverse", "repoint", "propagate", "finish")
BEFORE_FENCE = STEPS[:7]  # fence and kill begin with what comes before the statement itself
MAX_BLACKOUT_S = 3


def stopped(series, limit):
    """flipd was sent SIGTERM: it ends with 0, and in time."""
    begin = time.monotonic()
    status = series.daemon.process.wait(limit + 5)
    took = time.monotonic() - begin
    assert status == 0, "exit status %s\n%s" % (status, series.daemon.process.log_tail(40))
    assert took < limit, "flipd took %.1f s to stop" % took
    return took


def after_stop(series, child, where, allowed):
    """The next start says how the flip ended, finishing it where it has to."""
    child.communicate(timeout=20)
    since = time.monotonic()
    assert series.up()
    series.judge(series.recovered(since), where, allowed)


def test_told_to_stop_at_every_step(make_series):
    series = make_series(replicas=["reports"], defaults={"max_blackout": "%ds" % MAX_BLACKOUT_S})
    assert series.up()
    slowest = 0.0
    for step in STEPS:
        series.ready()
        end, child = series.log_end(), series.flip()
        series.at_log(" step=%s " % step, lambda: series.daemon.process.signal(signal.SIGTERM), end=end)
        if series.daemon.process.alive():
            series.daemon.process.signal(signal.SIGTERM)
        slowest = max(slowest, stopped(series, MAX_BLACKOUT_S + 3))
        # A step's line is a moment older than the signal: by then a flip may have gone past the fence.
        allowed = {"aborted", "done", "rolled_back"} if step in BEFORE_FENCE else {"done", "rolled_back"}
        after_stop(series, child, "SIGTERM at %s" % step, allowed)
    series.finish("SIGTERM at every step, exit 0, at most %.1f s" % slowest)


def test_told_to_stop_in_drain(make_series):
    """A transaction of the application holds the flip in drain: aborted at once."""
    series = make_series(defaults={"max_transaction_age": "50ms"})
    assert series.up()
    series.ready()
    app = series.old.connect("app", series.lab.passwords["app"], tcp=True)
    app.query("BEGIN")
    app.query("UPDATE app.work SET n = n + 1 WHERE id = 1")
    begun = time.monotonic()
    wait_for(lambda: time.monotonic() > begun + 0.1, 5, "the transaction to be older than allowed")
    end, child = series.log_end(), series.flip()
    assert series.at_log(" step=drain ", lambda: time.sleep(0.5), end=end)
    series.daemon.process.signal(signal.SIGTERM)
    stopped(series, 2)
    app.query("COMMIT")
    app.close()
    after_stop(series, child, "SIGTERM in drain", {"aborted"})
    series.finish("SIGTERM while drain waits")


def test_told_to_stop_in_the_blackout(make_series):
    """New's applier stands still: rolled back, before the stop has taken longer than max_blackout."""
    series = make_series(defaults={"max_blackout": "1s", "max_lag": "30s"})
    assert series.up(**series.gated())
    series.ready()
    with series.applier_to_hold() as hold:
        end, child = series.log_end(), series.flip()
        assert series.at_gate(child, hold)
        assert series.at_log(" step=coordinates ", lambda: time.sleep(0.3), end=end)
        series.daemon.process.signal(signal.SIGTERM)
        stopped(series, 4)
        assert series.old.writable, "it was rolled back before it stopped"
    after_stop(series, child, "SIGTERM in the blackout", {"rolled_back"})
    series.finish("SIGTERM in the blackout")


def test_told_to_stop_while_settling(make_series):
    """A replica that stands still keeps the flip from its end: left to the next start, which finishes it."""
    series = make_series(replicas=["reports"])
    assert series.up()
    series.ready()
    reports = series.lab.servers["reports"]
    end, child = series.log_end(), series.flip()
    assert series.at_log(" step=open ", reports.freeze, end=end, having="step done")
    try:
        time.sleep(1)
        series.daemon.process.signal(signal.SIGTERM)
        stopped(series, 4)
        child.communicate(timeout=10)
        since = time.monotonic()
        assert series.up()
        assert series.newest()["state"] in ("recovering", "running"), brief(series.newest())
        assert series.new.writable and not series.old.writable
    finally:
        reports.thaw()
    series.judge(series.recovered(since), "SIGTERM while settling", {"done"})
    wait_for(lambda: reports.replica_status()["Master_Host"] == series.old.address, 10, "reports to follow the master")
    series.finish("SIGTERM while settling")


def test_a_second_flipd_on_the_same_state(make_series):
    series = make_series()
    assert series.up()
    second = series.new_daemon("second", daemon={"state_dir": series.daemon.config["daemon"]["state_dir"]})
    series.start(second)
    assert second.process.wait(20) == 2
    assert "state" in second.read_log(), second.read_log()
    series.ready()
    series.judge(series.wait_flip(series.flip()), "beside a refused second", {"done"})
    series.finish("a second flipd on the same state_dir, refused")


def test_two_flipds_flip_at_once(make_series):
    """Each with a journal of its own, as on two hosts: one flips, the other is refused or aborts."""
    series = make_series()
    others = [series.new_daemon("other-%d" % n) for n in range(1)]
    assert series.up()
    for daemon in others:
        assert series.up(daemon)
    for number in range(8):
        to = other(series.master)
        for daemon in [series.daemon] + others:
            daemon.wait_ready(to)
        children = []
        for daemon in [series.daemon] + others if number % 2 else others + [series.daemon]:
            children.append(daemon.ctl_start("flip", "lab", "--to", to, "--yes"))
            time.sleep((number // 2) * 0.02)
        flips = [json.loads(child.communicate(timeout=60)[0]) for child in children]
        outcomes = sorted(flip["outcome"] for flip in flips)
        assert outcomes.count("done") <= 1, outcomes
        assert set(outcomes) <= {"done", "refused", "aborted", "nothing_to_do"}, outcomes
        ended = [flip for flip in flips if flip["outcome"] == "done"] or flips
        series.judge(ended[0], "%s at once" % outcomes, {"done", "refused", "aborted"})
    assert series.outcomes["done"], "neither ever flipped"
    series.finish("two flipds at once")


def fill(directory):
    """Takes all the room that is left there; the file that holds it."""
    path = os.path.join(directory, "filler")
    with open(path, "ab", buffering=0) as f:
        for size in (65536, 4096):
            with contextlib.suppress(OSError):
                while True:
                    f.write(b"x" * size)
    return path


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="a mount namespace needs root")
def test_no_room_for_the_journal(make_series):
    series = make_series()
    place = os.path.join(series.lab.dir, "small")
    os.mkdir(place)
    series.daemon.config["daemon"]["state_dir"] = os.path.join(place, "state")
    with SmallDisk(place, "4m") as disk:
        os.makedirs(disk.inside(os.path.join(place, "state")), mode=0o700)
        with open(series.daemon.config_file, "w") as f:
            json.dump(series.daemon.config, f)
        series.prefix = disk.command([])
        inside = disk.inside(place)
        assert series.up()
        full_before_the_flip(series, inside)
        without_reserve(series, inside)
        full_at_the_start(series, inside)
        for step in ("lock", "events", "fence", "endpoints", "open", "reverse"):
            full_at(series, inside, step)
        killed_when_full(series, inside)
        series.daemon.stop()
    series.finish("state_dir full before and during a flip")


def full_before_the_flip(series, inside):
    series.ready()
    filler = fill(inside)
    flip = series.wait_flip(series.flip())
    os.unlink(filler)
    series.judge(flip, "state_dir full before the flip", {"refused", "aborted", "done"})


def without_reserve(series, inside):
    """No fence without the room for what must be written after it."""
    series.ready()
    filler = os.path.join(inside, "filler")
    end, child = series.log_end(), series.flip()

    def take_all():
        os.unlink(os.path.join(inside, "state", "ballast"))
        fill(inside)
    assert series.at_log(" step=flush ", take_all, end=end)
    flip = series.wait_flip(child)
    os.unlink(filler)
    assert "space" in flip["error"]["message"] or "full" in flip["error"]["message"], brief(flip)
    series.judge(flip, "no room for the reserve", {"aborted"})


def full_at_the_start(series, inside):
    """flipd says so and does not start, or starts and does not flip."""
    assert series.daemon.stop() == 0
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(inside, "state", "ballast"))
    filler, end = fill(inside), series.log_end()
    if series.up():
        series.ready()
        flip = series.wait_flip(series.flip())
        series.judge(flip, "state_dir full at the start", {"refused", "aborted"})
        assert series.daemon.stop() == 0
    else:
        assert series.daemon.process.wait(10) == 2
        with open(series.daemon.log) as f:
            f.seek(end)
            assert "state_dir" in f.read()
    os.unlink(filler)
    assert series.up()


def full_at(series, inside, step):
    series.ready()
    filler = os.path.join(inside, "filler")
    end, child = series.log_end(), series.flip()
    series.at_log(" step=%s " % step, lambda: fill(inside), end=end)
    flip = series.wait_flip(child)
    if os.path.exists(filler):
        os.unlink(filler)
    series.judge(flip, "state_dir full at %s" % step, {"done", "rolled_back", "aborted", "refused"})


def killed_when_full(series, inside):
    """The ballast gives the room in which the flip is recovered."""
    series.ready()
    end, child = series.log_end(), series.flip()
    assert series.at_log(" step=endpoints ", series.daemon.process.kill, end=end)
    died = time.monotonic()
    series.wait_flip(child)
    filler = fill(inside)
    assert series.up()
    flip = series.recovered(died)
    os.unlink(filler)
    series.judge(flip, "killed in the blackout, state_dir full at the next start", {"done", "rolled_back"})
