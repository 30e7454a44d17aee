"""A rehearsal: the real procedure up to the fence, the rest measured, all of it undone; no write stands still for it.
What it predicts is kept with the flip that follows, and is near what that measures."""

import os
import re
import subprocess
import time
import urllib.request

import pytest

from lab import places
from lab.proc import wait_for
from lab.scene import await_statement, named_check, own_seq, scene, scene_of, scenes, sessions, step  # noqa: F401

AFTER = ["fence", "kill", "coordinates", "endpoints", "intent", "sync", "verify", "open", "detach", "reverse",
         "flush_again", "repoint", "propagate", "finish"]
PATIENT = {"max_transaction_age": "400ms", "drain_timeout": "20s", "flush": "never"}


def rehearse(scene, to, outcome="done"):
    answer = scene.daemon.ctl("rehearse", "lab", "--to", to.name)
    assert answer.json and answer.json["outcome"] == outcome, answer
    assert answer.code == {"done": 0, "refused": 2, "aborted": 3}[outcome]
    assert answer.json["rehearsal"] is True and answer.json["blackout_ms"] is None
    return answer.json


def metrics(scene, name):
    with urllib.request.urlopen("http://%s/metrics" % scene.daemon.status, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return [line for line in lines if line.startswith(name) and not line.endswith(" 0")]


def settings(*servers):
    return [(s.name, s.writable, s.value("SELECT @@global.event_scheduler"),
             s.value("SELECT @@global.rpl_semi_sync_master_enabled")) for s in servers]


def own_sessions(server):
    return len([r for r in sessions(server) if r["user"] in ("flipd", "flipd_probe")])


def nothing_left(scene, old, new, before, document):
    """No lock, no open row, no session, every setting as it was, the names where they were."""
    for server in (old, new):
        assert server.value("SELECT IS_USED_LOCK('flipd.lab')") is None, server.name
        # What watches it, and on the master what beats.
        wait_for(lambda s=server: own_sessions(s) <= 1 + (s is old), 5, "its sessions to be gone")
    row = "SELECT state FROM flipd.flips WHERE id='%s'" % document["id"]
    assert old.value(row) == "closed"
    wait_for(lambda: new.value(row) == "closed", 5, "the row to be closed on new")
    assert settings(old, new) == before
    scene.names_point_to(old)
    scene.nothing_pending()


class Listened:
    """What a server is sent, by its general log."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        self.server.query("SET GLOBAL general_log=1")
        self.file = os.path.join(self.server.value("SELECT @@datadir"), self.server.value("SELECT @@general_log_file"))
        self.begun = os.path.getsize(self.file)
        return self

    def __exit__(self, *_):
        self.server.query("SET GLOBAL general_log=0")
        with open(self.file, errors="replace") as f:
            f.seek(self.begun)
            self.text = f.read()


def test_no_write_stands_still(scene):
    """Eight writers: none is refused, cut off or held; and neither server is sent what could do so."""
    old, new = scene.set_out()
    scene.flipd()
    load = scene.load(writers=8, interval_ms=1)
    before, own = settings(old, new), own_seq(new)
    writers = {r["id"] for r in sessions(old) if r["user"] == "app"}
    assert len(writers) >= 8
    with Listened(old) as to_old, Listened(new) as to_new:
        begun = time.monotonic()
        document = rehearse(scene, new)
        ended = time.monotonic()
    nothing_left(scene, old, new, before, document)
    scene.goes_on(load, server=old)
    assert writers == {r["id"] for r in sessions(old) if r["user"] == "app"}
    assert document["killed"] == [] and document["attempts"] == [] and own_seq(new) == own
    for listened in (to_old, to_new):
        assert document["id"] in listened.text, "nothing was heard"
        assert not re.search(r"GLOBAL read_only *=", listened.text), listened.server.name
    wrote = [w for w in load.so_far() if w.ended > begun * 1e6]
    assert {w.kind for w in wrote} == {"A"}, [w for w in wrote if w.kind != "A"][:5]
    for writer in range(8):
        ends = [w.ended for w in wrote if w.writer == writer and w.began < (ended + 0.2) * 1e6]
        assert max(b - a for a, b in zip(ends, ends[1:])) < 500_000
    scene.right(load, old)


def test_what_it_tells(scene):
    old, new = scene.set_out()
    scene.flipd()
    load = scene.load(writers=8, interval_ms=2)
    document = rehearse(scene, new)
    states = {s["name"]: s["state"] for s in document["steps"]}
    assert states["preflight"] == states["drain"] == "done" and states["lock"] == states["events"] == "undone"
    assert all(states[name] == "skipped" for name in AFTER), states
    timed = [s for s in document["steps"] if s["state"] != "skipped" or s["detail"]]
    assert all(s["duration_ms"] is not None for s in timed), timed
    assert document["predicted_blackout_ms"] > 0 and named_check(document, "connect")["result"] == "ok"
    assert "predicted blackout: %.1f ms: fence " % document["predicted_blackout_ms"] in step(document, "open")["detail"]
    assert re.search(r"of \d+ sessions [89] would be", step(document, "kill")["detail"])
    assert re.search(r"2 took an update that changes nothing, in \d", step(document, "endpoints")["detail"])
    assert document["probe"]["writes"] > 0 and document["probe"]["first_new_at"] is None
    # It is no flip: not for the status, the metrics, the guard; but it is in the history, and says what it is.
    state = scene.daemon.state()
    assert state["last_flip"] is None and state["flip"] is None and state["master"] == old.name
    assert metrics(scene, "flipd_flips_total") == [] and metrics(scene, "flipd_flip_step_seconds_count") == []
    flips = scene.daemon.ctl("history", "lab").json["flips"]
    assert [(f["id"], f["rehearsal"]) for f in flips] == [(document["id"], True)]
    told = [subprocess.run([places.built("flipctl"), "--socket", scene.daemon.socket] + words, capture_output=True,
                           text=True, timeout=60) for words in
            (["rehearse", "lab", "--to", new.name], ["show", document["id"]], ["history", "lab"])]
    assert all(t.returncode == 0 for t in told), told
    assert "rehearsed and undone; a flip to %s would stop writes for about " % new.name in told[0].stdout
    assert "predicted blackout: " in told[0].stdout and "\n  drain " in told[0].stderr
    assert told[1].stdout.startswith("rehearsal %s of lab" % document["id"])
    assert told[2].stdout.count("done, rehearsal") == 2
    scene.goes_on(load, server=old)
    scene.right(load, old)


def near(predicted, measured):
    return measured <= 5 * predicted + 20 and predicted <= 5 * measured + 20


@pytest.mark.parametrize("kind", ["guarded", "plain", "file"])
def test_the_prediction_is_kept_and_near(scene_of, kind):
    scene = scene_of("file" if kind == "file" else "pair")
    old, new = scene.set_out()
    if kind == "plain":  # what `verify` reads is measured too
        old.query("GRANT SELECT ON app.* TO flipd@'%'")
        scene.lab.sync(old)
    scene.flipd(defaults={"verify": "counts"} if kind == "plain" else {})
    load = scene.load(writers=8, interval_ms=10)  # no more than new's applier keeps up with: a lag has its own mind
    rehearsal = rehearse(scene, new)
    document = scene.flip(new)
    assert document["rehearsal"] is False
    assert document["predicted_blackout_ms"] == rehearsal["predicted_blackout_ms"] > 0
    assert rehearsal["id"] in step(document, "lock")["detail"]
    print("%s: predicted %.1f ms, measured %.1f ms; %s" % (
        kind, document["predicted_blackout_ms"], document["blackout_ms"], step(rehearsal, "open")["detail"]))
    assert near(document["predicted_blackout_ms"], document["blackout_ms"])
    assert scene.daemon.state()["last_flip"]["id"] == document["id"]
    assert metrics(scene, "flipd_flips_total") == ['flipd_flips_total{cluster="lab",outcome="done"} 1']
    scene.goes_on(load, server=new)
    # The way back was never rehearsed.
    scene.daemon.wait_ready(old.name)
    assert scene.flip(old)["predicted_blackout_ms"] is None
    scene.goes_on(load, server=old)
    scene.right(load, old, new, old)


def test_the_prediction_outlives_flipd(scene):
    """It is in the journal; another configuration of the cluster makes it void."""
    old, new = scene.set_out()
    scene.flipd()
    rehearsal = rehearse(scene, new)
    rehearse(scene, new)
    last = rehearse(scene, new)
    scene.daemon.stop()
    scene.daemon.start()
    scene.daemon.wait_ready(new.name)
    assert scene.daemon.state()["last_flip"] is None
    document = scene.flip(new)
    assert document["predicted_blackout_ms"] == last["predicted_blackout_ms"]
    assert rehearsal["id"] not in step(document, "lock")["detail"]
    scene.daemon.wait_ready(old.name)
    scene.flip(old)
    scene.daemon.config["defaults"]["max_lag"] = "3s"
    scene.daemon.write_config()
    assert scene.daemon.ctl("reload").json["changed"]
    scene.daemon.wait_ready(new.name)
    assert scene.flip(new)["predicted_blackout_ms"] is None


def test_the_last_flip_is_found_behind_many(scene):
    """After a restart the guard and the status still know the last flip, however often was rehearsed since."""
    old, new = scene.set_out()
    scene.flipd()
    flip = scene.flip(new)
    scene.daemon.wait_ready(old.name)
    for _ in range(11):
        rehearse(scene, old)
    scene.daemon.stop()
    scene.daemon.start()
    scene.daemon.wait_ready(old.name)
    wait_for(lambda: scene.daemon.state()["last_flip"], 10, "the last flip to be read")
    assert scene.daemon.state()["last_flip"]["id"] == flip["id"]


def test_settings_are_as_before(scene_of):
    """Semi-sync of new, and old's scheduler with an event that is due each second."""
    scene = scene_of("semi-sync")
    old, new = scene.set_out()
    old.query("SET GLOBAL event_scheduler=ON")
    new.query("SET GLOBAL rpl_semi_sync_master_enabled=1")
    for text in ("CREATE TABLE app.tick (at TIMESTAMP(3) NOT NULL DEFAULT NOW(3))",
                 "CREATE EVENT app.ticking ON SCHEDULE EVERY 1 SECOND DO INSERT INTO app.tick VALUES ()"):
        old.query(text)
    try:
        scene.lab.sync(old)
        scene.flipd()
        before = settings(old, new)
        assert before[0][2] == "ON" and before[1][3] == 1
        until = time.monotonic() + 3
        while time.monotonic() < until:
            nothing_left(scene, old, new, before, rehearse(scene, new))
        seen = old.value("SELECT COUNT(*) FROM app.tick")
        wait_for(lambda: old.value("SELECT COUNT(*) FROM app.tick") > seen, 5, "another tick")
        at = [float(r["at"]) for r in old.query("SELECT UNIX_TIMESTAMP(at) AS at FROM app.tick ORDER BY at")]
        gaps = [b - a for a, b in zip(at, at[1:])]
        assert len(at) >= 3 and max(gaps) < 1.9, "an event was passed over: %s" % gaps
    finally:
        old.query("DROP EVENT app.ticking")
        old.query("DROP TABLE app.tick")
        old.query("SET GLOBAL event_scheduler=OFF")


def test_refused(scene):
    old, new = scene.set_out()
    scene.flipd()
    new.query("STOP SLAVE")
    try:
        document = rehearse(scene, new, "refused")
        assert document["error"]["message"].startswith("replicating")
        assert named_check(document, "replicating")["result"] == "refuse"
        assert {s["state"] for s in document["steps"][1:]} == {"skipped"}
        assert document["predicted_blackout_ms"] is None
        assert old.value("SELECT COUNT(*) FROM flipd.flips WHERE id='%s'" % document["id"]) == 0
    finally:
        new.query("START SLAVE")
    scene.daemon.wait_ready(new.name)
    answer = scene.daemon.ctl("rehearse", "lab", "--to", old.name)
    assert answer.code == 0 and answer.json["outcome"] == "nothing_to_do" and answer.json["id"] is None


def drain_waits(scene):
    document = scene.daemon.state()["flip"]
    return document and document["rehearsal"] and "has been writing" in (step(document, "drain")["detail"] or "")


@pytest.mark.parametrize("how", ["abort", "terminate", "kill"])
def test_it_can_be_stopped(scene, how):
    """While it waits for a long transaction: nothing else runs on the cluster, and it can be ended."""
    old, new = scene.set_out()
    scene.flipd(defaults=PATIENT)
    before = settings(old, new)
    batch = scene.client(old, "batch")
    batch.begin("UPDATE app.work SET n=n+1 WHERE id=1 AND SLEEP(15)=0")
    await_statement(old, "SLEEP(15)")
    begun = time.monotonic()
    wait_for(lambda: time.monotonic() > begun + 0.6, 5, "the transaction to be older than allowed")
    child = scene.daemon.ctl_start("rehearse", "lab", "--to", new.name)
    wait_for(lambda: drain_waits(scene), 20, "drain to wait")
    assert scene.daemon.state()["state"] == "ok"
    for words in (["flip", "lab", "--to", new.name, "--yes"], ["rehearse", "lab", "--to", new.name],
                  ["check", "lab", "--to", new.name]):
        answer = scene.daemon.ctl(*words)
        assert answer.code == 7 and "rehearsal" in answer.err, answer
    if how == "abort":
        answer = scene.daemon.ctl("abort", "lab")
        assert answer.code == 0 and answer.json["outcome"] == "aborted" and answer.json["rehearsal"], answer
        assert "aborted by" in answer.json["error"]["message"]
        child.communicate(timeout=20)
        assert child.returncode == 3
    else:
        scene.daemon.stop() if how == "terminate" else scene.daemon.kill()
        child.communicate(timeout=20)
        scene.daemon.start()
    assert batch.running, "the transaction was cut off"
    document = scene.await_end("aborted")
    assert document["rehearsal"] is True and document["predicted_blackout_ms"] is None
    wait_for(lambda: scene.daemon.state()["flip"] is None, 10, "its end")
    nothing_left(scene, old, new, before, document)
    assert scene.daemon.state()["last_flip"] is None and metrics(scene, "flipd_flips_total") == []
    old.query("KILL %d" % batch.id)


def test_hooks_are_not_run(scene):
    """before_fence quiesces workers, after_end tells that a flip was done: neither is for a rehearsal."""
    old, new = scene.set_out()
    told = os.path.join(scene.lab.dir, "told")
    hook = os.path.join(scene.lab.dir, "telling.sh")
    with open(os.open(hook, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o755), "w") as f:
        f.write('#!/bin/sh\necho "$FLIPD_ACTION" >>"%s"\n' % told)
    points = ["before_fence", "after_open", "after_rollback", "after_end", "on_stuck"]
    scene.flipd(cluster={"hooks": {point: [hook] for point in points}})
    document = rehearse(scene, new)
    assert "before_fence are not run" in step(document, "drain")["detail"]
    assert not os.path.exists(told)
    scene.flip(new)
    with open(told) as f:
        assert f.read().split() == ["before_fence", "after_open", "after_end"]
