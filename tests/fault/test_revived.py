"""A flipd that comes back with an old journal: its state_dir as it was in mid-flip, while the flip itself was ended by
another one, and the cluster flipped on. It touches nothing, and says so."""

import contextlib
import os
import shutil
import sqlite3

import pytest

from tests.fault.series import ALL, SUMMARY, brief
from tests.fault.test_crash import Sweep
from tests.lab.proc import wait_for

WORDS = ("record:row/lock", "record:fence/fence", "record:position/coordinates", "record:intent/intent", "record:opened/open")
FEW = ("record:fence/fence", "record:intent/intent", "record:opened/open")


def shown(series):
    """What nobody but a flip may change."""
    return {s.name: (s.value("SELECT @@global.read_only"), bool(s.replica_status())) for s in series.lab.servers.values()}


def unfinished_copy(series, word):
    """The journal of a flip that flipd was killed in, in another place; the flip is then ended by its own flipd."""
    sweep = Sweep(series, "after")
    sweep.undisturbed()
    state = series.daemon.config["daemon"]["state_dir"]
    with contextlib.ExitStack() as stack:
        died = sweep.dead_at(word, stack)
        copy = state + "-" + word.replace(":", "-").replace("/", "-")
        shutil.copytree(state, copy)
        assert series.up()
        series.judge(series.recovered(died), "killed after %s" % word)
    return copy


def left_alone(series, copy, before):
    """The revived one takes the flip for stuck, or for aborted; the servers are as they were."""
    revived = series.new_daemon("revived-" + copy.rsplit("-", 1)[1], daemon={"state_dir": copy})
    assert series.up(revived)

    def looked():
        flips = revived.ctl("history", "lab").json["flips"]
        return flips[0] if flips and flips[0]["state"] in ("stuck", "ended") else None
    flip = wait_for(looked, 20, "the revived one to have looked")
    assert flip["outcome"] in ("stuck", "aborted"), brief(flip)
    assert shown(series) == before, "%s: %s, was %s" % (brief(flip), shown(series), before)
    return revived, flip


@pytest.mark.parametrize("word", WORDS if ALL else FEW)
def test_an_old_journal(make_series, word):
    series = make_series()
    copy = unfinished_copy(series, word)
    revived, flip = left_alone(series, copy, shown(series))
    series.ready()
    series.judge(series.wait_flip(series.flip()), "beside the revived one", {"done"})
    if flip["outcome"] == "stuck":
        assert flip["error"]["hint"], brief(flip)
        before = shown(series)
        again = revived.ctl("resolve", "lab", "--yes")
        assert shown(series) == before, "resolve, by a journal that is old: %s" % again
        SUMMARY.append("sample: revived with the journal of %s: %s, resolve: %s" % (
            word, flip["outcome"], again.json["outcome"] if again.code in (0, 3, 4) else again.err.strip()))
    revived.stop()
    series.ready()
    series.judge(series.wait_flip(series.flip()), "after the revived one", {"done"})
    series.finish("revived with the journal of %s: %s" % (word, flip["outcome"]))


def forget_outcome(series, flip_id):
    """As if the disk had been full when its outcome was to be written; flipd does not run."""
    path = os.path.join(series.daemon.config["daemon"]["state_dir"], "journal.db")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        assert db.execute("UPDATE flip SET state = 'settling', outcome = NULL, ended_at_ms = 0 WHERE id = ?",
                          (flip_id,)).rowcount == 1


def test_an_earlier_outcome_was_never_written(make_series):
    """Two flips of the cluster are unfinished, by the journal: the later one, which has closed old, is taken up. The
    earlier one, long over, finds that out at the next start, and touches nothing."""
    series = make_series()
    sweep = Sweep(series, "after")
    sweep.undisturbed()
    over = series.last_id
    with contextlib.ExitStack() as stack:
        died = sweep.dead_at("record:fence/fence", stack)
        forget_outcome(series, over)
        assert series.up()
        flip = series.recovered(died)
    assert flip["id"] != over
    series.judge(flip, "killed behind the fence, an earlier flip unfinished", {"rolled_back"})
    assert series.daemon.stop() == 0
    before = shown(series)
    assert series.up()

    def ended():
        flips = [f for f in series.daemon.ctl("history", "lab").json["flips"] if f["id"] == over]
        return flips and flips[0]["state"] == "ended"
    wait_for(ended, 20, "the earlier one to have ended")
    assert shown(series) == before
    series.ready()
    series.judge(series.wait_flip(series.flip()), "with both of them over", {"done"})
    series.finish("an earlier outcome was never written: %s" % flip["outcome"])


def test_an_old_journal_while_another_flips(make_series):
    """Its flip's row was closed long ago, and another flip holds the locks."""
    series = make_series(defaults={"max_blackout": "5s", "max_lag": "30s"})
    copy = unfinished_copy(series, "record:fence/fence")
    assert series.daemon.stop() == 0
    assert series.up(**series.gated())
    series.ready()
    with series.applier_to_hold() as hold:
        log, child = series.log_end(), series.flip()
        assert series.at_gate(child, hold)
        assert series.at_log(" step=open ", lambda: None, end=log)
        revived, flip = left_alone(series, copy, shown(series))
    series.judge(series.wait_flip(child), "while the revived one looked", {"done"})
    revived.stop()
    series.finish("revived while another flips: %s" % flip["outcome"])
