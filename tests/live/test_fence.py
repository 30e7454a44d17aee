"""The fence and what stands in its way: statements and locks that it must wait for, named, killed, waited for or given
way to; and the three ways in which a flip that has fenced goes back."""

import contextlib
import os
import signal
import socket
import threading
import time

import pytest

from lab.proc import wait_for
from lab.scene import (FENCE, OPENING, Client, await_blocked, await_statement, named_check, own_seq, scene,  # noqa: F401
                       scene_of, scenes, sessions, step)

BLOCKERS = ["update", "lock tables"]
LONG_UPDATE = "UPDATE app.work SET n=n+1 WHERE id=1 AND SLEEP(%g)=0"
PATIENT = {"max_transaction_age": "60s", "flush": "never"}


def block(scene, old, what, seconds=3):
    """A session of batch that the fence has to wait for."""
    client = scene.client(old, "batch")
    if what == "update":
        client.begin(LONG_UPDATE % seconds)
        await_statement(old, "SLEEP(")
    else:
        client.run("LOCK TABLES app.work WRITE")
    return client


def names(attempt, client):
    return "session %d of batch" % client.id in (attempt["blockers"] or "")


def rolled_back_right(scene, load, old, new):
    """As it was before: old open and written to, new closed, the names back, nothing left that could change it."""
    assert old.writable and not new.writable
    scene.nothing_pending()
    scene.goes_on(load, server=old)
    scene.right(load, old)


# Each policy against each kind of blocker. max_transaction_age keeps drain from waiting for them.

@pytest.mark.parametrize("what", BLOCKERS)
def test_blockers_are_killed(scene, what):
    old, new = scene.set_out()
    scene.flipd(defaults=PATIENT)
    load = scene.load(interval_ms=1)
    blocker = block(scene, old, what)
    document = scene.flip(new)
    victims = {int(v["id"]): v for v in document["killed"]}
    assert victims[blocker.id]["user"] == "batch" and victims[blocker.id]["server"] == old.name
    assert len(document["attempts"]) == 1 and names(document["attempts"][0], blocker), document["attempts"]
    assert document["blackout_ms"] < 500
    assert not blocker.alive
    scene.goes_on(load, server=new)
    report = scene.right(load, old, new)
    assert max(report.facts["blackouts_ms"]) < 1000
    assert new.value("SELECT n FROM app.work WHERE id=1") == old.value("SELECT n FROM app.work WHERE id=1")


@pytest.mark.parametrize("what", BLOCKERS)
def test_blockers_are_waited_for(scene, what):
    """Each attempt is bounded by fence_timeout; between two of them the application writes; at last it gets through."""
    old, new = scene.set_out()
    scene.flipd(defaults=dict(PATIENT, blockers="wait", fence_timeout="300ms", fence_attempts=30))
    load = scene.load(interval_ms=1)
    before = old.value("SELECT n FROM app.work WHERE id=1")
    blocker = block(scene, old, what, 1.5)
    running = scene.start_flip(new)
    if what == "lock tables":  # until the fence has been taken back at least once
        for _ in range(2):
            await_statement(old, FENCE)
            wait_for(lambda: not sessions(old, FENCE), 5, "the fence to be taken back")
        blocker.run("UNLOCK TABLES")
    document = running.end("done")
    if what == "update":  # it ended by itself, unharmed
        assert blocker.end() is None
        assert new.value("SELECT n FROM app.work WHERE id=1") == before + 1
    failed = document["attempts"][:-1] if not document["attempts"][-1]["blockers"] else document["attempts"]
    assert len(failed) >= 2 and all(a["blackout_ms"] < 600 for a in failed), document["attempts"]
    assert any(names(a, blocker) for a in failed), document["attempts"]
    assert document["blackout_ms"] < 800
    scene.goes_on(load, server=new)
    scene.right(load, old, new)


@pytest.mark.parametrize("what", BLOCKERS)
def test_the_fence_is_withdrawn(scene, what):
    """withdraw: writes stand still for some ten milliseconds an attempt; then the flip is rolled back."""
    old, new = scene.set_out()
    scene.flipd(defaults=dict(PATIENT, blockers="withdraw", fence_attempts=4))
    load = scene.load(interval_ms=1)
    blocker = block(scene, old, what)
    running = scene.start_flip(new)
    document = running.end("rolled_back")
    assert running.code == 3
    assert len(document["attempts"]) == 4 and all(a["blackout_ms"] < 250 for a in document["attempts"])
    assert all(names(a, blocker) for a in document["attempts"]), document["attempts"]
    assert document["error"]["step"] == "fence" and "batch" in document["error"]["message"]
    assert document["killed"] == [] and document["blackout_ms"] is None
    assert blocker.running or what == "lock tables"
    if what == "update":
        assert blocker.end() is None
    else:
        blocker.run("UNLOCK TABLES")
    rolled_back_right(scene, load, old, new)


def test_a_bounded_fence_has_no_later_effect(scene):
    """E1f: it runs out in the server; when what held it up ends, old stays open."""
    old, new = scene.set_out()
    scene.flipd(defaults=dict(PATIENT, blockers="wait", fence_timeout="300ms", fence_attempts=2))
    load = scene.load(interval_ms=1)
    blocker = block(scene, old, "lock tables")
    document = scene.flip(new, "rolled_back")
    assert len(document["attempts"]) == 2 and all(250 < a["blackout_ms"] < 700 for a in document["attempts"])
    scene.nothing_pending()
    blocker.run("UNLOCK TABLES")
    rolled_back_right(scene, load, old, new)


def test_what_does_not_block_passes(scene):
    """E11: an idle transaction and a long SELECT do not hold the fence up, whatever `blockers` says. E12: the
    transaction's COMMIT then fails, and its row is nowhere."""
    old, new = scene.set_out()
    scene.flipd(defaults=dict(PATIENT, blockers="wait", fence_timeout="300ms", fence_attempts=1))
    load = scene.load(interval_ms=1)
    idle = scene.client(old, autocommit=False)
    idle.run("INSERT INTO app.item (name) VALUES ('never committed')")
    reader = scene.client(old, "batch").begin("SELECT SLEEP(3) FROM app.item WHERE id=1")
    await_statement(old, "SLEEP(3)")
    document = scene.flip(new)
    assert all(not a["blockers"] for a in document["attempts"])
    assert {idle.id, reader.id} <= {int(v["id"]) for v in document["killed"]}
    with pytest.raises(Exception):
        idle.connection.commit()
    scene.goes_on(load, server=new)
    scene.right(load, old, new)
    for server in (old, new):
        assert server.value("SELECT COUNT(*) FROM app.item WHERE name='never committed'") == 0


def test_transactions_cut_by_the_fence_are_whole_or_gone(scene):
    """E12 under load: transactions of several statements that stay open for a while."""
    old, new = scene.set_out()
    scene.flipd()
    load = scene.load(writers=8, interval_ms=1, txn=3, txn_idle_ms=3)
    scene.flip(new)
    scene.goes_on(load, server=new)
    scene.right(load, old, new)


# Back, from within the blackout.

@pytest.mark.parametrize("how", ["guarded", "plain"])
def test_abort_in_the_blackout(scene, how):
    old, new = scene.set_out()
    scene.flipd(held=True, defaults={"max_blackout": "30s"}, cluster=scene.hook_fence(new) if how == "plain" else {})
    load = scene.load(interval_ms=1)
    holder, running = scene.held_flip(new)
    await_statement(new, OPENING if how == "guarded" else "SELECT MASTER_GTID_WAIT")
    scene.names_point_to(new)
    answer = scene.daemon.ctl("abort", "lab")
    assert answer.code == 0 and answer.json["outcome"] == "rolled_back", answer
    document = running.end("rolled_back")
    assert running.code == 3 and answer.seconds < 3
    assert document["blackout_ms"] is None and step(document, "open")["state"] != "done"
    rolled = own_seq(new)
    scene.names_point_to(old)
    holder.run("UNLOCK TABLES")
    scene.daemon.wait_ready(new.name)
    rolled_back_right(scene, load, old, new)
    assert own_seq(new) == rolled


@pytest.mark.parametrize("how", ["guarded", "plain", "stopped"])
def test_max_blackout_runs_out(scene, how):
    """New's applier is held up by a lock, or is stopped in the blackout: back within the budget, by itself."""
    old, new = scene.set_out()
    scene.flipd(held=True, defaults={"max_blackout": "1s"}, cluster=scene.hook_fence(new) if how == "plain" else {})
    load = scene.load(interval_ms=1)
    holder, running = scene.held_flip(new)
    if how == "stopped":
        await_statement(new, OPENING)
        stopper = scene.client(new, "root").begin("STOP SLAVE SQL_THREAD")
    document = running.end("rolled_back")
    assert running.code == 3
    assert "max_blackout" in document["error"]["message"]
    assert 1000 <= document["attempts"][-1]["blackout_ms"] < 2500, document["attempts"]
    scene.names_point_to(old)
    holder.run("UNLOCK TABLES")
    if how == "stopped":
        assert stopper.end() is None
        new.query("START SLAVE")
    rolled_back_right(scene, load, old, new)
    report = [w for w in load.so_far() if w.kind == "A"]
    gap = max(b.ended - a.ended for a, b in zip(report, report[1:]) if a.writer == b.writer)
    assert gap < 4_000_000, "writes stood still for %d us" % gap


def test_abort_after_the_end(scene):
    old, new = scene.set_out()
    scene.flipd()
    assert scene.daemon.ctl("abort", "lab").code == 1
    scene.flip(new)
    assert scene.daemon.ctl("abort", "lab").code in (1, 3)
    assert new.writable and not old.writable


# The fence outlives its flipd (E1g, E13, E18).

PENDING = dict(PATIENT, blockers="wait", fence_timeout="20s", max_blackout="30s")


def pending_fence(scene, old, new, env=None, **more):
    """A flip whose fence waits behind LOCK TABLES; the session that holds the lock."""
    scene.flipd(defaults=dict(PENDING, **more), env=env)
    blocker = block(scene, old, "lock tables")
    running = scene.start_flip(new)
    await_statement(old, FENCE)
    return blocker, running


def test_flipd_killed_while_its_fence_is_pending(scene):
    """E13, E18: the orphan holds the flip's lock and would close old; the next flipd kills it, then opens."""
    old, new = scene.set_out()
    load = scene.load(interval_ms=1)
    blocker, running = pending_fence(scene, old, new)
    orphan = await_statement(old, FENCE)["id"]
    scene.daemon.kill()
    running.child.communicate(timeout=10)
    assert running.child.returncode == 5
    assert any(r["id"] == orphan for r in sessions(old, FENCE)), "no orphan, so nothing is tried"
    scene.daemon.start()
    scene.await_end("rolled_back")
    assert not any(r["id"] == orphan for r in sessions(old)), "the orphan is still there"
    blocker.run("UNLOCK TABLES")
    scene.daemon.wait_ready(new.name)
    rolled_back_right(scene, load, old, new)


def test_the_orphan_has_closed_old_before_the_restart(scene):
    """E1g with flipd dead: nobody drives, the fence closes; the next flipd opens old again."""
    old, new = scene.set_out()
    load = scene.load(interval_ms=1)
    blocker, running = pending_fence(scene, old, new)
    scene.daemon.kill()
    running.child.communicate(timeout=10)
    blocker.run("UNLOCK TABLES")
    wait_for(lambda: not old.writable, 5, "the orphan to close old")
    scene.daemon.start()
    scene.await_end("rolled_back")
    rolled_back_right(scene, load, old, new)


def test_flipd_frozen_while_its_fence_is_pending(scene):
    """E1g: the fence closes old while flipd is frozen longer than max_blackout; awake, it opens old again."""
    old, new = scene.set_out()
    load = scene.load(interval_ms=1)
    blocker, running = pending_fence(scene, old, new, max_blackout="1s")
    begin = time.monotonic()
    scene.daemon.process.signal(signal.SIGSTOP)
    blocker.run("UNLOCK TABLES")
    wait_for(lambda: not old.writable, 5, "the fence to close old")
    time.sleep(max(0, begin + 1.3 - time.monotonic()))  # the budget runs out meanwhile: that is the test
    scene.daemon.process.signal(signal.SIGCONT)
    running.end("rolled_back")
    rolled_back_right(scene, load, old, new)


def test_terminated_within_the_fence(scene):
    """SIGTERM within the fence: finished or rolled back within max_blackout, exit 0; old is not left closed."""
    old, new = scene.set_out()
    load = scene.load(interval_ms=1)
    blocker, running = pending_fence(scene, old, new, max_blackout="1s")
    os.kill(scene.daemon.process.pid, signal.SIGTERM)
    assert scene.daemon.process.wait(20) == 0
    running.child.communicate(timeout=10)
    blocker.run("UNLOCK TABLES")
    wait_for(lambda: not sessions(old, FENCE), 5, "the fence to be gone")
    rolled_back_right(scene, load, old, new)
    scene.daemon.start()
    scene.await_end("rolled_back")


def test_terminated_with_a_long_max_blackout(scene, tmp_path):
    """The service manager is asked to wait for as long as the flip within the fence may take, whatever the unit says."""
    old, new = scene.set_out()
    load = scene.load(interval_ms=1)
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(20)
        blocker, running = pending_fence(scene, old, new, {"NOTIFY_SOCKET": str(tmp_path / "notify")}, max_blackout="2m",
                                         fence_timeout="60s")
        os.kill(scene.daemon.process.pid, signal.SIGTERM)
        said = {}
        while "STOPPING" not in said:
            said = dict(line.split("=", 1) for line in notify.recv(4096).decode().splitlines())
    assert 120e6 < int(said["EXTEND_TIMEOUT_USEC"]) < 150e6, said
    blocker.run("UNLOCK TABLES")  # so the flip goes on, as far as new is open; the next start does the rest
    assert scene.daemon.process.wait(20) == 0
    running.child.communicate(timeout=10)
    assert new.writable and not old.writable
    scene.daemon.start()
    scene.await_end("done")
    scene.goes_on(load, server=new)
    scene.right(load, old, new)


# What writes through the fence.

def test_short_transactions_are_not_taken_for_a_long_one(scene):
    """The server renews INNODB_TRX only when nobody has read it for 100 ms: while drain looks more often, each of the
    writers' transactions would stay, and grow older, until drain_timeout."""
    old, new = scene.set_out()
    scene.flipd(defaults={"max_transaction_age": "400ms", "max_lag": "30s", "drain_timeout": "8s"})
    load = scene.load(interval_ms=0.5)
    client = scene.client(old, "batch", autocommit=False)
    client.run("UPDATE app.work SET n=n+1 WHERE id=1")
    begun = time.monotonic()
    wait_for(lambda: time.monotonic() > begun + 0.5, 5, "the transaction to be older than allowed")
    running = scene.start_flip(new)
    wait_for(lambda: time.monotonic() > begun + 2, 5, "drain to have looked many times")
    assert step(scene.last(), "drain")["state"] == "running", scene.last()["steps"]
    client.run("COMMIT")
    client.close()
    running.end("done")
    scene.goes_on(load, server=new)
    scene.right(load, old, new)


def test_an_account_that_keeps_coming_back(scene):
    """E14: READ ONLY ADMIN writes through the fence and connects anew after each kill: rolled back, with its name."""
    old, new = scene.set_out()
    scene.account(old, "legacy", "READ ONLY ADMIN ON *.*", "SELECT, INSERT ON app.*")
    scene.flipd(defaults={"kill_timeout": "600ms"})
    load = scene.load(interval_ms=1)
    legacy = scene.load(user="legacy", hosts=[old.address], zone=None, writers=3, first_writer=40, interval_ms=10)
    running = scene.start_flip(new)
    document = running.end("rolled_back")
    assert running.code == 3 and "legacy@%" in document["error"]["message"], document["error"]
    assert document["error"]["server"] == old.name and "lock_accounts" in document["error"]["hint"]
    assert "legacy" in named_check(document, "bypass")["seen"]
    assert any(v["user"] == "legacy" for v in document["killed"])
    assert old.writable and not new.writable
    scene.goes_on(load, legacy, server=old)
    scene.right([load, legacy], old)


def test_the_kill_goes_on_after_errors(scene):
    """E15: the event scheduler's thread cannot be killed (1094); all others are, and the scheduler moves along."""
    old, new = scene.set_out()
    old.query("SET GLOBAL event_scheduler=ON")
    try:
        wait_for(lambda: [r for r in sessions(old) if r["user"] == "event_scheduler"], 5, "the event scheduler")
        scene.flipd()
        load = scene.load(interval_ms=1, warm=True)
        document = scene.flip(new)
        assert not any(v["user"] == "event_scheduler" for v in document["killed"])
        assert [v for v in document["killed"] if v["user"] == "app"]
        scene.goes_on(load, server=new)
        scene.right(load, old, new)
        assert new.value("SELECT @@global.event_scheduler") == "ON"
        assert old.value("SELECT @@global.event_scheduler") == "OFF"
    finally:
        for server in (old, new):
            server.query("SET GLOBAL event_scheduler=OFF")


@contextlib.contextmanager
def unacknowledged(old, new):
    """Semi-sync on old, for which new acknowledges nothing: commits wait out the time, the first ones anew each time
    that it is switched on."""
    new.query("STOP SLAVE IO_THREAD")
    new.query("SET GLOBAL rpl_semi_sync_slave_enabled=0")
    new.query("START SLAVE IO_THREAD")
    new.wait_replicating()
    try:
        yield
    finally:
        new.query("SET GLOBAL rpl_semi_sync_slave_enabled=1")
        old.query("SET GLOBAL rpl_semi_sync_master_timeout=500")


def switch_on_again(old):
    old.query("SET GLOBAL rpl_semi_sync_master_enabled=0")
    old.query("SET GLOBAL rpl_semi_sync_master_enabled=1")


@pytest.mark.parametrize("blockers", ["kill", "wait", "withdraw"])
def test_the_fence_behind_semi_sync(scene_of, blockers):
    """E16: commits that wait for an acknowledgement hold the fence up: it is bounded, and they are cut, waited for, or
    given way to: then it is chance whether one of the tries finds none."""
    scene = scene_of("semi-sync")
    old, new = scene.set_out()
    root, over = scene.client(old, "root"), threading.Event()

    def rearm():  # so that a commit waits at almost every moment, but flipd's own before the fence not for long
        while not over.wait(0.2):
            root.run("SET GLOBAL rpl_semi_sync_master_enabled=0")
            root.run("SET GLOBAL rpl_semi_sync_master_enabled=1")
    with unacknowledged(old, new):
        scene.flipd(defaults={"blockers": blockers})
        load = scene.load(writers=8, interval_ms=0.5)
        old.query("SET GLOBAL rpl_semi_sync_master_timeout=1500")
        thread = threading.Thread(target=rearm)
        thread.start()
        try:
            document = scene.flip(new, ("done", "rolled_back") if blockers == "withdraw" else "done")
        finally:
            over.set()
            thread.join()
        order = [old, new] if document["outcome"] == "done" else [old]
        scene.goes_on(load, server=order[-1])
    assert named_check(document, "semi_sync")["result"] == "warn"
    if document["outcome"] == "done":
        assert document["blackout_ms"] < 1000
    else:
        assert all("of app" in a["blockers"] and a["blackout_ms"] < 1000 for a in document["attempts"])
        assert document["error"]["step"] == "fence" and document["killed"] == []
    scene.right(load, *order)


@pytest.mark.parametrize("timeout_ms", [700, 30000])
def test_commits_without_acknowledgement(scene_of, timeout_ms):
    """E16: flipd's own row waits like everybody's commit. A short time-out passes; a long one ends the flip before the
    fence, and nothing was changed."""
    scene = scene_of("semi-sync")
    old, new = scene.set_out()
    with unacknowledged(old, new):
        scene.flipd(defaults={"drain_timeout": "3s"})
        load = scene.load(interval_ms=1)
        old.query("SET GLOBAL rpl_semi_sync_master_timeout=%d" % timeout_ms)
        switch_on_again(old)
        if timeout_ms < 1000:
            scene.flip(new)
            order = [old, new]
        else:
            document = scene.flip(new, ("refused", "aborted"))  # even looking at old may hang (AFTER_SYNC)
            assert document["error"]["server"] == old.name and document["attempts"] == []
            assert not new.writable
            old.query("SET GLOBAL rpl_semi_sync_master_timeout=500")
            switch_on_again(old)
            order = [old]
        scene.goes_on(load, server=order[-1])
    scene.right(load, *order)


def test_another_flips_lock(scene):
    """A lock that somebody else holds: not begun, nothing changed, the holder named and left alone."""
    old, new = scene.set_out()
    daemon = scene.flipd()
    plan = daemon.ctl("plan", "lab", "--to", new.name).json
    name = next(s["text"] for s in plan["steps"] if "GET_LOCK" in s["text"]).split("GET_LOCK('")[1].split("'")[0]
    for server in (new, old):
        holder = scene.client(server, "root")
        assert holder.run("SELECT GET_LOCK('%s', 0)" % name) == ((1,),)
        running = scene.start_flip(new)
        document = running.end("aborted")
        assert running.code == 3
        assert str(holder.id) in document["error"]["message"] + (document["error"]["hint"] or "")
        assert holder.alive and old.writable and not new.writable
        holder.close()
    scene.flip(new)
