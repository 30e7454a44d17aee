"""The experiments that decided how a flip must be written (facts on real servers): for each, what flipd does in that
very situation. Those about what stands in the fence's way are in test_fence.py, modes of replication in test_modes.py.

E numbers are those of the list of experiments; each test says what the server would do by itself."""

import json
import os
import re
import signal
import threading
import time

import pymysql
import pytest

from lab.proc import wait_for
from lab.scene import (OPENING, Scene, await_age, await_statement, named_check, own_seq, scene, scene_of,  # noqa: F401
                       scenes, sessions, step)

def held_flip(scene, old, new, **policy):
    """A flip whose guarded opening waits on new, since new's applier is held up; the holder and the flip."""
    scene.flipd(held=True, defaults=dict({"max_blackout": "30s"}, **policy))
    holder, running = scene.held_flip(new)
    await_statement(new, OPENING)
    return holder, running


def killed_flip(scene, old, new, **policy):
    """The same, and flipd killed -9 at that moment."""
    holder, running = held_flip(scene, old, new, **policy)
    orphan = await_statement(new, OPENING)["id"]
    scene.daemon.kill()
    running.child.communicate(timeout=10)
    return holder, orphan


# Statements outlive their client.

def test_e1_the_orphan_is_killed_and_new_never_opens(scene):
    """E1a: the guarded opening of a flipd that was killed would go on and open new. The next flipd kills it, sees it
    gone, revokes and opens old; when new's applier goes on nothing opens by itself."""
    old, new = scene.set_out()
    load = scene.load(interval_ms=4)
    holder, orphan = killed_flip(scene, old, new, max_blackout="2s")
    scene.daemon.start()
    document = scene.await_end("rolled_back")
    assert not any(r["id"] == orphan for r in sessions(new))
    scene.nothing_pending()
    before = own_seq(new)
    holder.run("UNLOCK TABLES")
    scene.lab.sync(old)
    assert not new.writable and old.writable and own_seq(new) == before
    assert document["blackout_ms"] is None
    scene.goes_on(load, server=old)
    scene.right(load, old)


def test_the_limit_of_the_command_outlives_flipd(scene):
    """--max-blackout is in the journal: recovery does not hold old closed for the configured 30 s."""
    old, new = scene.set_out()
    scene.flipd(held=True, defaults={"max_blackout": "30s"})
    load = scene.load(interval_ms=4)
    holder, running = scene.held_flip(new, "--max-blackout", "2s")
    await_statement(new, OPENING)
    scene.daemon.kill()
    running.child.communicate(timeout=10)
    scene.daemon.start()
    scene.await_end("rolled_back", timeout=15)
    holder.run("UNLOCK TABLES")
    scene.goes_on(load, server=old)
    scene.right(load, old)


def test_e1_the_orphan_opens_new_before_the_restart(scene):
    """E1a: with the intent durable new may open; the next flipd finds it open and goes on from there."""
    old, new = scene.set_out()
    load = scene.load(interval_ms=4)
    holder, _ = killed_flip(scene, old, new)
    holder.run("UNLOCK TABLES")
    wait_for(lambda: not sessions(new, OPENING), 5, "the orphan to end")
    assert new.writable, "the orphan did not open new: nothing is tried"
    assert not old.writable
    scene.goes_on(load, server=new)
    scene.daemon.start()
    document = scene.await_end("done")
    assert document["killed"] is not None
    scene.goes_on(load, server=new)
    scene.right(load, old, new)
    scene.nothing_added(document, old)


def test_e1_the_next_flipd_goes_forward(scene):
    """E1a with an applier that goes on in time: never opened, position reachable: forward."""
    old, new = scene.set_out()
    load = scene.load(interval_ms=4)
    holder, _ = killed_flip(scene, old, new)
    wait_for(lambda: not sessions(new, OPENING), 5, "the orphan to run out")
    assert not new.writable
    holder.run("UNLOCK TABLES")
    scene.daemon.start()
    scene.await_end("done")
    scene.goes_on(load, server=new)
    scene.right(load, old, new)


@pytest.mark.parametrize("whose", ["old", "new"])
def test_e1d_a_lost_lock_keeps_new_closed(scene, whose):
    """E1d: the session that holds the lock is killed in mid-opening, on either side: withdrawn, decided anew, and with
    the applier still held up, rolled back."""
    old, new = scene.set_out()
    load = scene.load(interval_ms=4)
    holder, running = held_flip(scene, old, new, max_blackout="3s")
    server = old if whose == "old" else new
    name = re.search(r"IS_USED_LOCK\('([^']+)'\)", await_statement(new, OPENING)["info"]).group(1)
    locker = server.value("SELECT IS_USED_LOCK('%s')" % name)
    server.query("KILL %d" % locker)
    document = running.end("rolled_back")
    assert step(document, "open")["state"] != "done"
    holder.run("UNLOCK TABLES")
    scene.nothing_pending()
    assert not new.writable
    scene.goes_on(load, server=old)
    scene.right(load, old)


def test_e1e_a_foreign_server_id_at_a_higher_number(scene):
    """E1e: MASTER_GTID_WAIT compares the sequence number only. A position by a server that old never knew is refused."""
    old, new = scene.set_out()
    daemon = scene.flipd()
    new.query("STOP SLAVE")
    position = new.gtid("gtid_slave_pos")
    try:
        new.query("SET GLOBAL gtid_slave_pos='0-77-%d'" % (own_seq(old) + 1000000))
        answer = daemon.ctl("check", "lab", "--to", new.name)
        assert answer.code == 2
        check = named_check(answer.json, "gtid")
        assert check["result"] == "refuse" and "0-77-" in check["seen"], check
        assert daemon.flip(new.name).code == 2 and old.writable and not new.writable
    finally:
        new.query("SET GLOBAL gtid_slave_pos='%s'" % position)
        new.query("START SLAVE")


# A server dies in the midst.

def test_e2_old_restarts_writable_in_the_blackout(scene):
    """E2: old, fenced, is killed and comes back open; it takes writes again before new could open. The opening is
    withdrawn: new never opens, no acknowledged write is lost."""
    old, new = scene.set_out()
    scene.aged(old)
    load = scene.load(interval_ms=4, zone=None)  # the names point to new: these writers try both sides
    holder, running = held_flip(scene, old, new)
    before = own_seq(new)
    old.kill()
    old.options["read_only"] = "0"
    try:
        old.start()
    finally:
        old.options["read_only"] = "1"
    scene.goes_on(load, server=old)
    running.end("rolled_back")
    assert not new.writable and own_seq(new) == before
    holder.run("UNLOCK TABLES")
    scene.lab.sync(old)
    scene.nothing_pending()
    assert old.writable and not new.writable and own_seq(new) == before
    scene.goes_on(load, server=old)
    scene.right(load, old)


def test_e2_old_restarts_closed_in_the_blackout(scene):
    """The same with a fence that outlives the restart: old is at its position, so it may go either way, never both."""
    old, new = scene.set_out()
    load = scene.load(interval_ms=4)
    holder, running = held_flip(scene, old, new)
    old.restart(hard=True)
    holder.run("UNLOCK TABLES")
    document = running.end(("done", "rolled_back"))
    order = [old, new] if document["outcome"] == "done" else [old]
    scene.goes_on(load, server=order[-1])
    scene.right(load, *order)


def test_new_dies_in_the_blackout(scene):
    """New is killed while its opening waits, and comes back closed: nothing was lost, and one side serves."""
    old, new = scene.set_out()
    load = scene.load(interval_ms=4)
    holder, running = held_flip(scene, old, new, max_blackout="5s")
    new.kill()
    holder.close()
    new.start()
    document = running.end(("done", "rolled_back"))
    order = [old, new] if document["outcome"] == "done" else [old]
    scene.goes_on(load, server=order[-1])
    scene.right(load, *order)


def test_new_is_dead_and_does_not_come_back(scene):
    """After an intent nobody can prove what a dead new took: neither opens until it answers."""
    old, new = scene.set_out()
    load = scene.load(interval_ms=4)
    holder, running = held_flip(scene, old, new, max_blackout="2s")
    new.kill()
    holder.close()
    wait_for(lambda: scene.daemon.state()["state"] == "recovering", 15, "recovering")
    assert not old.writable
    new.start()
    document = running.end(("done", "rolled_back"))
    order = [old, new] if document["outcome"] == "done" else [old]
    scene.goes_on(load, server=order[-1])
    scene.right(load, *order)


# The way back.

@pytest.mark.parametrize("kind", ["pair", "file"])
def test_e3_sides_are_the_same_under_load(scene_of, kind):
    """E3, E21: there and back and there under full load; the way back is noted before the tail and the opening, and in
    strict mode is never before the server's own last event."""
    scene = scene_of(kind)
    old, new = scene.set_out()
    order = [old]
    scene.flipd()
    load = scene.load(writers=6, interval_ms=3)
    for _ in range(3):
        to = scene.other(order[-1])
        document = scene.flip(to)
        scene.goes_on(load, server=to)
        scene.daemon.wait_ready(order[-1].name)
        if kind == "pair":
            assert to.value("SELECT @@global.gtid_strict_mode") == 1
        order.append(to)
    scene.right(load, *order)
    assert document["position"]["way_back"] and document["position"]["final"]


def test_e21_back_without_a_single_write(scene):
    """E21: nothing was written on new but flipd's own rows; at once back."""
    old, new = scene.set_out()
    scene.flipd(defaults={"heartbeat": {"interval": "1h"}})
    scene.flip(new)
    scene.daemon.wait_ready(old.name)
    scene.flip(old)
    scene.daemon.wait_ready(new.name)
    load = scene.load()
    scene.right(load, old)


def write_after(old, new, text, when):
    """Root, who walks through the fence, writes on old as soon as when() is so; a thread."""
    connection, over = old.connect(), []

    def work():
        try:
            wait_for(when, 20, "the moment to write")
            with connection.cursor() as cursor:
                cursor.execute(text)
            over.append(time.monotonic())
        finally:
            connection.close()
    thread = threading.Thread(target=work)
    thread.start()
    return thread, over


def come_back_often(scene, server, n=3):
    """Clients of app that connect again as soon as they are killed: kill on old goes on until kill_timeout."""
    over = threading.Event()
    scene.stack.callback(over.set)

    def work():
        while not over.is_set():
            try:
                with server.connect("app", scene.lab.passwords["app"], tcp=True) as connection:
                    connection.query("SELECT SLEEP(1)")
            except (pymysql.err.Error, OSError):
                continue
    for _ in range(n):
        threading.Thread(target=work, daemon=True).start()
    return over


ERRANT = "INSERT INTO app.item (name) VALUES ('written by hand')"


def test_e4_a_write_by_hand_before_the_opening(scene):
    """E4: a privileged account writes on old after the final position, and new has not opened: the position moved, the
    opening is withdrawn, old opens with the row."""
    old, new = scene.set_out()
    load = scene.load(interval_ms=4)
    holder, running = held_flip(scene, old, new)
    old.query(ERRANT)
    document = running.end("rolled_back")
    assert "moved" in document["error"]["message"] or document["warnings"], document["error"]
    holder.run("UNLOCK TABLES")
    assert old.writable and not new.writable
    scene.goes_on(load, server=old)
    scene.right(load, old)
    assert new.value("SELECT COUNT(*) FROM app.item WHERE name='written by hand'") == 1
    old.query("DELETE FROM app.item WHERE name='written by hand'")


def test_e4_a_write_by_hand_after_the_opening():
    """E4: the same after new has opened, before old follows it: named, old is kept out, the outcome is stuck."""
    scene = Scene()
    try:
        old, new = scene.set_out()
        scene.flipd(defaults={"kill_timeout": "2s"})
        load = scene.load(interval_ms=4)
        over = come_back_often(scene, old)
        wait_for(lambda: len(sessions(old, "SLEEP(1)")) >= 3, 5, "the clients")
        before = own_seq(old)
        thread, wrote = write_after(old, new, ERRANT, lambda: new.writable)
        running = scene.start_flip(new)
        document = running.end("stuck")
        over.set()
        thread.join()
        assert wrote and own_seq(old) > before
        assert running.code == 4 and document["state"] == "stuck" and document["ended_at"] is None
        errant = "%d-%d-%d" % (0, old.server_id, own_seq(old))
        assert any(errant in w for w in document["warnings"]) or errant in document["error"]["message"], document
        assert document["error"]["hint"]
        # New serves; old is closed, and kept out of replication; no other flip may begin.
        assert new.writable and not old.writable and not old.replica_status()
        kept = new.replica_status()  # the row can come to new before it forgets old, and be out of order there: told
        assert not kept or (kept["Slave_SQL_Running"] == "No" and
                            any("replication is kept" in w for w in document["warnings"])), (kept, document)
        scene.goes_on(load, server=new)
        state = scene.daemon.state()
        assert state["state"] == "stuck" and not any(state["ready"].values())
        assert scene.daemon.flip(old.name).code in (2, 7)
        scene.daemon.stop()
        scene.daemon.start()
        assert wait_for(lambda: scene.daemon.state(), 5, "a state")["state"] == "stuck"
        assert new.writable and not old.writable and not old.replica_status()
        # The operator gives the row up: the flip ends done, old closed and left out.
        answer = scene.daemon.ctl("resolve", "lab", "--accept-loss", "--yes")
        assert answer.code == 0 and answer.json["outcome"] == "done" and answer.json["warnings"], answer
        assert new.writable and not old.writable and not old.replica_status()
        load.stop()
    finally:
        scene.close()


def test_e5_trials_do_not_meet(scene):
    """The trial's connection has one name: checks that run beside each other, and a flip, take turns."""
    old, new = scene.set_out()
    scene.flipd()
    checks = [scene.daemon.ctl_start("check", "lab", "--to", new.name) for _ in range(6)]
    document = scene.flip(new)
    for child in checks:
        said, error = child.communicate(timeout=30)
        if child.returncode == 7:
            assert "is under way" in str(error), error
            continue
        trial = named_check(json.loads(said), "reverse_path")
        assert trial["result"] == "ok" or (trial["result"] == "skip" and "a flip has begun" in trial["seen"]), trial
    assert named_check(document, "reverse_path")["result"] == "ok", document["checks"]
    assert not [s for s in document["steps"] if s["name"] == "reverse" and s["state"] != "done"]
    assert "flipd_reverse" not in scene.daemon.read_log()


def test_e5_the_trial_of_the_way_back_leaves_nothing(scene):
    """E5: reverse_path is proven by a named connection on live old; afterwards there is none, and no file of it."""
    old, new = scene.set_out()
    daemon = scene.flipd()
    before = own_seq(new)
    answer = daemon.ctl("check", "lab", "--to", new.name)
    assert named_check(answer.json, "reverse_path")["result"] == "ok", named_check(answer.json, "reverse_path")
    assert old.query("SHOW ALL SLAVES STATUS") == []
    assert not [f for f in os.listdir(old.data) if "flipd_reverse" in f]
    assert old.writable and own_seq(new) == before


def test_e5_a_way_back_that_is_not_there(scene):
    """Old cannot log in on new: said by check, within its limit; nothing left behind on live old."""
    old, new = scene.set_out()
    daemon = scene.flipd(defaults={"replication": {"password_file": scene.lab.secret("app")}})
    answer = daemon.ctl("check", "lab", "--to", new.name)
    check = named_check(answer.json, "reverse_path")
    assert check["result"] in ("warn", "refuse") and "repl" in check["seen"] and check["hint"], check
    assert old.query("SHOW ALL SLAVES STATUS") == []
    assert scene.lab.passwords["app"] not in answer.out


def test_e5_flipd_killed_during_the_trial(scene):
    """E5c: what a dead flipd left of the trial is harmless, is shown, and is removed by the next check."""
    old, new = scene.set_out()
    daemon = scene.flipd()
    new.freeze()
    try:
        child = daemon.ctl_start("check", "lab", "--to", new.name)
        found = wait_for(lambda: old.query("SHOW ALL SLAVES STATUS") or child.poll() is not None, 20, "the trial")
        daemon.kill()
        child.communicate(timeout=10)
    finally:
        new.thaw()
    if found is not True:
        row = old.query("SHOW ALL SLAVES STATUS")[0]
        assert row["Slave_SQL_Running"] == "No" and int(row["SQL_Delay"]) > 10 ** 9
    daemon.start()
    daemon.wait_ready(new.name)
    daemon.ctl("check", "lab", "--to", new.name)
    assert old.query("SHOW ALL SLAVES STATUS") == []
    load = scene.load()
    scene.flip(new)
    scene.goes_on(load, server=new)
    scene.right(load, old, new)


# What goes to the binlog of a closed server.

def test_e6_temporary_tables_in_mixed_format():
    """E6: a killed session's temporary table is dropped through the fence: check says so, the DROP comes before the
    final position; it leaves no mark in new's own log, and is no errant transaction all the same."""
    scene = Scene()
    try:
        old, new = scene.set_out()
        old.query("SET GLOBAL binlog_format=MIXED")
        daemon = scene.flipd()
        answer = daemon.ctl("check", "lab", "--to", new.name)
        assert [named_check(answer.json, c)["result"] for c in ("temporary_tables", "binlog")] == ["warn", "warn"]
        assert "MIXED" in named_check(answer.json, "temporary_tables")["seen"]
        old.query("GRANT CREATE TEMPORARY TABLES ON app.* TO batch@'%'")
        load = scene.load(interval_ms=4)
        client = scene.client(old, "batch")
        client.run("CREATE TEMPORARY TABLE app.scratch (n INT)")
        client.run("INSERT INTO app.scratch VALUES (1)")
        client.run("INSERT INTO app.item (name) SELECT CONCAT('from scratch ', n) FROM app.scratch")
        document = scene.flip(new)
        assert any(v["id"] == str(client.id) for v in document["killed"])
        scene.nothing_added(document, old)
        for _ in range(2):  # the second time after a restart of flipd
            daemon.wait_ready(old.name)
            assert named_check(daemon.ctl("check", "lab", "--to", old.name).json, "gtid")["result"] == "ok"
            daemon.stop()
            daemon.start()
        daemon.wait_ready(old.name)
        scene.flip(old)
        scene.goes_on(load, server=old)
        scene.right(load, old, new, old)
    finally:
        scene.close()


def test_e23_statement_format_is_refused(scene):
    """E23, E6: in STATEMENT format a guarded heartbeat would never change on new, and a temporary table's DROP passes
    the fence."""
    old, new = scene.set_out()
    old.query("SET GLOBAL binlog_format=STATEMENT")
    try:
        daemon = scene.flipd(ready=False)
        answer = daemon.ctl("check", "lab", "--to", new.name)
        assert answer.code == 2
        assert [named_check(answer.json, c)["result"] for c in ("temporary_tables", "binlog")] == ["refuse", "refuse"]
        assert daemon.flip(new.name).code == 2 and old.writable and not new.writable
    finally:
        old.query("SET GLOBAL binlog_format=ROW")


@pytest.mark.parametrize("kind", ["pair", "file"])
@pytest.mark.parametrize("flush", ["always", "auto"])
def test_e8_e20_nothing_is_added_to_old(scene_of, kind, flush):
    """E8, E20: heartbeat, probe, kill and both flushes leave nothing in old's log after the final position."""
    scene = scene_of(kind)
    old, new = scene.set_out()
    scene.flipd(defaults={"flush": flush, "heartbeat": {"interval": "10ms"}})
    load = scene.load(interval_ms=4)
    document = scene.flip(new)
    assert step(document, "flush")["state"] == step(document, "flush_again")["state"] == "done" or flush == "auto"
    scene.goes_on(load, server=new)
    scene.nothing_added(document, old)
    scene.right(load, old, new)
    scene.nothing_added(document, old)


@pytest.mark.parametrize("armed", [False, True])
def test_e7_semi_sync_on_new_does_not_hang(scene_of, armed):
    """E7: new is a semi-sync master without a replica: its first commit would wait the whole time-out, and so does its
    applier's (armed: that wait begins right before drain)."""
    scene = scene_of("semi-sync")
    old, new = scene.set_out()
    for server in (old, new):
        assert server.value("SELECT @@global.rpl_semi_sync_master_enabled") == 1
    scene.flipd(held=True)
    load = scene.load(interval_ms=5)
    try:
        running = scene.start_flip(new)
        scene.at_gate()
        new.query("SET GLOBAL rpl_semi_sync_master_timeout=10000")  # the server's default
        if armed:
            for value in (0, 1):
                new.query("SET GLOBAL rpl_semi_sync_master_enabled=%d" % value)
        scene.gate_opens()
        document = running.end("done")
        scene.goes_on(load, server=new)
    finally:
        for server in (old, new):
            server.query("SET GLOBAL rpl_semi_sync_master_timeout=500")
    assert named_check(document, "semi_sync")["result"] == "warn"
    report = scene.right(load, old, new)
    assert max(report.facts["blackouts_ms"]) < 2000
    assert new.value("SELECT @@global.rpl_semi_sync_master_enabled") == 1, "not as it was"


def test_e7_semi_sync_comes_back_after_an_abort(scene_of):
    """What was switched off before drain is on again when the flip goes no further."""
    scene = scene_of("semi-sync")
    old, new = scene.set_out()
    scene.flipd(defaults={"max_transaction_age": "100ms"})
    writer = scene.client(old, "batch").begin("UPDATE app.work SET n=n+1 WHERE id=1 AND SLEEP(20)=0")
    await_age(old, writer, 100)
    running = scene.start_flip(new)
    wait_for(lambda: new.value("SELECT @@global.rpl_semi_sync_master_enabled") == 0, 10, "semi-sync to be switched off")
    assert scene.daemon.ctl("abort", "lab").code == 0
    running.end("aborted")
    assert new.value("SELECT @@global.rpl_semi_sync_master_enabled") == 1
    assert writer.running and old.writable and not new.writable
    old.query("KILL %d" % writer.id)


def test_e9_events_move_along(scene):
    """E9: enabled on new at once and no more on old, with definer and character set as they were: the server itself
    would take both from flipd's session. A disabled one stays disabled."""
    old, new = scene.set_out()
    old.query("SET GLOBAL event_scheduler=ON")
    with old.connect() as maker:
        for text in ("SET NAMES latin1 COLLATE latin1_german1_ci", "SET sql_mode='ANSI_QUOTES'",
                     "CREATE DEFINER=batch@'%' EVENT app.tick ON SCHEDULE EVERY 1 DAY STARTS NOW() + INTERVAL 1 DAY "
                     "DO DELETE FROM app.item WHERE 0",
                     "CREATE EVENT app.resting ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM app.item WHERE 0"):
            maker.query(text)
    scene.lab.sync(old)

    def events(server):
        return server.query("SELECT EVENT_NAME AS name, STATUS AS status, DEFINER AS definer, SQL_MODE AS mode, "
                            "CHARACTER_SET_CLIENT AS charset, COLLATION_CONNECTION AS collation "
                            "FROM information_schema.EVENTS ORDER BY EVENT_NAME")
    before = events(old)
    assert [(e["status"], e["charset"]) for e in before] == [("DISABLED", "latin1"), ("ENABLED", "latin1")]
    try:
        scene.flipd()
        load = scene.load(interval_ms=4)
        order = [old]
        for to in (new, old):
            scene.flip(to)
            there = events(to)
            assert there[0].pop("status") in ("DISABLED", "SLAVESIDE_DISABLED")  # what a replica makes of it
            assert there == [{k: v for k, v in before[0].items() if k != "status"}, before[1]]
            wait_for(lambda o=order[-1]: events(o)[1]["status"] == "SLAVESIDE_DISABLED", 10, "the event to be disabled")
            assert to.value("SELECT @@global.event_scheduler") == "ON"
            assert order[-1].value("SELECT @@global.event_scheduler") == "OFF"
            scene.goes_on(load, server=to)
            scene.daemon.wait_ready(order[-1].name)
            order.append(to)
        scene.right(load, *order)
    finally:
        for name in ("tick", "resting"):
            scene.master.query("DROP EVENT app." + name)
        for server in (old, new):
            server.query("SET GLOBAL event_scheduler=OFF")


def test_events_however_new_has_them(scene):
    """What ran on old runs on new, as a seed or a hand left it there: disabled, enabled already, by a name that is
    other bytes in its own character set, by a role. What new does not have is told."""
    old, new = scene.set_out()
    due = "ON SCHEDULE EVERY 1 DAY STARTS NOW() + INTERVAL 1 DAY DO SELECT 'ä'"
    names = ["alike", "resting", "running", "gone", "lärm"]
    with old.connect(charset="latin1") as maker:
        maker.query("SET NAMES latin1 COLLATE latin1_german1_ci")
        maker.query("CREATE ROLE keeper")
        for name in names:
            maker.query("CREATE %s EVENT app.`%s` %s" % ("DEFINER=keeper" if name == "lärm" else "", name, due))
    scene.lab.sync(old)

    def events(server):
        return {e.pop("name"): e for e in server.query(
            "SELECT name, status, definer, character_set_client AS charset, collation_connection AS collation, "
            "HEX(body) AS body, CONVERT(body_utf8 USING utf8mb4) AS text FROM mysql.event WHERE db = 'app'")}
    before = events(old)
    assert sorted(before) == sorted(names) and "E4" in before["alike"]["body"], before
    new.unlogged(["ALTER EVENT app.resting DISABLE", "ALTER EVENT app.running ENABLE", "DROP EVENT app.gone"])
    as_seeded = events(new)
    assert [as_seeded[n]["status"] for n in names[:3]] == ["SLAVESIDE_DISABLED", "DISABLED", "ENABLED"]
    try:
        scene.flipd()
        document = scene.flip(new)
        told = [w for w in document["warnings"] if w.startswith("the events of")]
        assert len(told) == 1 and "`app`.`gone` is not there" in told[0], document["warnings"]
        there = events(new)
        assert {n: there[n]["status"] for n in there} == {n: "ENABLED" for n in names if n != "gone"}
        for name in ("alike", "lärm"):
            assert there[name] == before[name]
        scene.lab.sync(new)
        assert {e["status"] for n, e in events(old).items() if n != "gone"} == {"SLAVESIDE_DISABLED"}, events(old)
    finally:
        for name in names:
            scene.master.query("DROP EVENT IF EXISTS app.`%s`" % name)
        scene.master.query("DROP ROLE keeper")


def test_events_run_on_one_side_and_hardly_rest(scene):
    """One that is due every second, over flips there and back: it runs on the master only, and no run is missing for
    longer than a second more than it waits for anyway."""
    old, new = scene.set_out()
    old.query("SET GLOBAL event_scheduler=ON")
    old.query("CREATE TABLE app.tick (id INT PRIMARY KEY AUTO_INCREMENT, server INT NOT NULL, at DATETIME(6) NOT NULL)")
    old.query("GRANT EVENT ON app.* TO 'batch'@'%'")
    old.query("CREATE DEFINER=batch@'%' EVENT app.ticks ON SCHEDULE EVERY 1 SECOND DO "
              "INSERT INTO app.tick (server, at) VALUES (@@server_id, SYSDATE(6))")

    def ticks():
        return scene.master.query("SELECT server, at FROM app.tick ORDER BY id")

    def run_of(server):
        wait_for(lambda: ticks() and ticks()[-1]["server"] == server.server_id, 10, "the event to run on " + server.name)
    try:
        scene.flipd()
        load, order = scene.load(interval_ms=4), [old]
        run_of(old)
        for to in (new, old, new):
            scene.flip(to)
            run_of(to)
            scene.daemon.wait_ready(order[-1].name)
            order.append(to)
        scene.master.query("DROP EVENT app.ticks")
        seen = ticks()
        moves = [b["server"] for a, b in zip(seen, seen[1:]) if a["server"] != b["server"]]
        assert moves == [s.server_id for s in order[1:]], seen
        gaps = [(b["at"] - a["at"]).total_seconds() for a, b in zip(seen, seen[1:])]
        assert max(gaps) <= 2.2 and min(gaps) > 0, gaps
        scene.right(load, *order)
    finally:
        scene.master.query("DROP EVENT IF EXISTS app.ticks")
        scene.master.query("DROP TABLE app.tick")
        scene.master.query("REVOKE EVENT ON app.* FROM 'batch'@'%'")
        for server in (old, new):
            server.query("SET GLOBAL event_scheduler=OFF")


def test_e10_a_domain_of_its_own():
    """E10: new has local history in a GTID domain of its own, which old would be sent from its beginning: refused."""
    scene = Scene()
    try:
        old, new = scene.set_out()
        with new.connect() as connection:
            connection.query("SET SESSION gtid_domain_id=9")
            connection.query("CREATE DATABASE local_things")
        daemon = scene.flipd(ready=False)
        answer = daemon.ctl("check", "lab", "--to", new.name)
        check = named_check(answer.json, "gtid")
        assert answer.code == 2 and check["result"] == "refuse" and "9-%d-1" % new.server_id in check["seen"], check
        assert daemon.flip(new.name).code == 2 and old.writable and not new.writable
    finally:
        scene.close()


def test_e0_what_a_restart_leaves_open(scene):
    """E0: what a restart does is noted when a server is first seen after its start; a SET hides it from then on."""
    old, new = scene.set_out()
    daemon = scene.flipd(cluster={new.name: {"boots_fenced": None}})
    try:
        for value in ("0", "1"):
            new.options["read_only"] = value
            scene.aged(new)
            new.restart()
            for _ in range(2):  # as the server started, and after a SET
                seen = named_check(daemon.ctl("check", "lab", "--to", new.name).json, "boot_fence")
                assert ("boots open" in seen["seen"] and new.name in seen["seen"]) == (value == "0"), seen
                new.query("SET GLOBAL read_only=1")
                new.wait_replicating()
    finally:
        new.options["read_only"] = "1"


def test_e17_new_opens_before_it_forgets_old(scene):
    """E17: STOP SLAVE is not on the way to the opening."""
    old, new = scene.set_out()
    scene.flipd()
    load = scene.load(interval_ms=4)
    document = scene.flip(new)
    names = [s["name"] for s in sorted((s for s in document["steps"] if s["started_at"]),
                                       key=lambda s: s["started_at"])]
    assert names.index("open") < names.index("detach")
    assert step(document, "detach")["started_at"] >= step(document, "open")["started_at"]
    assert document["blackout_ms"] < 500
    scene.goes_on(load, server=new)
    scene.right(load, old, new)


# Locks and ids.

def test_e18_the_orphan_on_old_holds_the_lock(scene):
    """E18: killed in mid-statement flipd's session lives on and holds the named lock: found by its mark, killed."""
    old, new = scene.set_out()
    load = scene.load(interval_ms=4)
    scene.flipd(defaults={"max_transaction_age": "60s", "flush": "never", "blockers": "wait", "fence_timeout": "30s",
                          "max_blackout": "1m"})
    blocker = scene.client(old, "batch")
    blocker.run("LOCK TABLES app.work WRITE")
    running = scene.start_flip(new)
    orphan = await_statement(old, "SET GLOBAL read_only=1")["id"]
    name = next(n for n in (re.search(r"GET_LOCK\('([^']+)'", s["text"]) for s in
                            scene.daemon.ctl("plan", "lab", "--to", new.name).json["steps"]) if n).group(1)
    scene.daemon.kill()
    running.child.communicate(timeout=10)
    assert old.value("SELECT IS_USED_LOCK('%s')" % name) == orphan
    begin = time.monotonic()
    scene.daemon.start()
    scene.await_end("rolled_back")
    assert time.monotonic() - begin < 10
    assert old.value("SELECT IS_USED_LOCK('%s')" % name) is None
    blocker.run("UNLOCK TABLES")
    scene.goes_on(load, server=old)
    scene.right(load, old)


def test_e19_nobody_elses_session_is_killed(scene):
    """E19: ids begin again after a restart of old: sessions that now have the journaled ids are not flipd's, even those
    of the same account."""
    old, new = scene.set_out()
    load = scene.load(interval_ms=4)
    holder, _ = killed_flip(scene, old, new)
    scene.aged(old)
    old.kill()
    old.options["read_only"] = "0"
    try:
        old.start()
    finally:
        old.options["read_only"] = "1"
    others = [scene.client(old, user, db=None) for user in ("flipd", "app", "batch", "flipd") * 15]
    scene.daemon.start()
    document = scene.await_end("rolled_back")
    assert all(c.alive for c in others), [c.id for c in others if not c.alive]
    assert document["killed"] == []
    holder.run("UNLOCK TABLES")
    for client in others:
        client.close()
    new.wait_replicating()
    scene.goes_on(load, server=old)
    scene.right(load, old)


def test_e22_the_file_form_with_a_stopped_applier(scene_of):
    """E22: MASTER_POS_WAIT with a fraction waits for ever, and gives NULL where the applier does not run: new stays
    closed, the statement is bounded, and the flip goes back in time."""
    scene = scene_of("file")
    old, new = scene.set_out()
    load = scene.load(interval_ms=4)
    holder, running = held_flip(scene, old, new, max_blackout="2s")
    assert re.search(r"MASTER_POS_WAIT\('[^']+', \d+, [1-9]\d*\)", await_statement(new, OPENING)["info"])
    stopper = scene.client(new, "root").begin("STOP SLAVE SQL_THREAD")
    document = running.end("rolled_back")
    assert document["attempts"][-1]["blackout_ms"] < 4000
    scene.nothing_pending()
    holder.run("UNLOCK TABLES")
    assert stopper.end() is None
    assert not sessions(new, "MASTER_POS_WAIT") and not new.writable
    new.query("START SLAVE")
    scene.goes_on(load, server=old)
    scene.right(load, old)


def test_flipd_frozen_in_the_opening(scene):
    """E1 with a frozen client: the opening runs in the server while flipd sleeps; awake it finds what became of it."""
    old, new = scene.set_out()
    load = scene.load(interval_ms=4)
    holder, running = held_flip(scene, old, new)
    scene.daemon.process.signal(signal.SIGSTOP)
    holder.run("UNLOCK TABLES")
    wait_for(lambda: not sessions(new, OPENING), 5, "the opening to end")
    opened = new.writable
    scene.daemon.process.signal(signal.SIGCONT)
    document = running.end("done")
    assert opened and document["blackout_ms"] is not None
    scene.goes_on(load, server=new)
    scene.right(load, old, new)
