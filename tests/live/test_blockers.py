"""What may stand in the way of a fence, beyond the long UPDATE and LOCK TABLES of test_fence.py: each with its expected
outcome under `blockers: kill`, `wait` and `withdraw` wherever that can matter. tests/PAINS.md has the whole table."""

import threading
import time

import pymysql
import pytest

from lab.proc import wait_for
from lab.scene import (FENCE, await_age, await_statement, named_check, scene, scene_of, scenes, sessions, step)  # noqa: F401

POLICIES = ["kill", "wait", "withdraw"]
PATIENT = {"max_transaction_age": "60s", "max_transaction_rows": 10000000, "flush": "never", "drain_timeout": "60s"}
FAST_MS = 2000  # nothing held it up, on a machine that does much else; max_blackout is 10 s


def policy(name, **more):
    """wait: long enough for what ends by itself; withdraw: a few tries."""
    extra = {"wait": {"fence_timeout": "300ms", "fence_attempts": 100}, "withdraw": {"fence_attempts": 4}}.get(name, {})
    return dict(PATIENT, blockers=name, **dict(extra, **more))


def names(attempt, client):
    return "session %d of " % client.id in (attempt["blockers"] or "")


def was_killed(document, client):
    return any(v["id"] == str(client.id) for v in document["killed"])


def went_back(scene, load, old, new):
    assert old.writable and not new.writable
    scene.nothing_pending()
    scene.goes_on(load, server=old)
    scene.right(load, old)


def went_over(scene, load, old, new, longest_ms=3000):
    assert new.writable and not old.writable
    scene.goes_on(load, server=new)
    report = scene.right(load, old, new)
    assert max(report.facts["blackouts_ms"]) < longest_ms, report.facts["blackouts_ms"]


# DDL.

@pytest.fixture
def large(scene):
    """A table that takes a while to copy; the scene's old and new."""
    old, new = scene.set_out()
    old.query("CREATE TABLE app.large (id INT PRIMARY KEY, a VARCHAR(80), b VARCHAR(80), KEY (a), KEY (b)) ENGINE=InnoDB")
    scene.stack.callback(lambda: scene.master.query("DROP TABLE app.large"))
    old.query("INSERT INTO app.large SELECT seq, MD5(seq), MD5(seq+1) FROM app.seq_1_to_200000")
    scene.lab.sync(old)
    return old, new


def ddl(scene, old):
    scene.account(old, "deploy", "ALL ON app.*")
    client = scene.client(old, "deploy")
    client.begin("ALTER TABLE app.large ADD COLUMN c INT NOT NULL DEFAULT 7, ALGORITHM=COPY")
    wait_for(lambda: [r for r in sessions(old, "ADD COLUMN c") if "copy" in (r["state"] or "")], 10, "the copying")
    return client


@pytest.mark.parametrize("blockers", POLICIES)
def test_alter_table(scene, large, blockers):
    """A copying ALTER TABLE holds the fence up for as long as it copies."""
    old, new = large
    scene.flipd(defaults=policy(blockers, **({"fence_attempts": 2} if blockers == "withdraw" else {})))
    load = scene.load(interval_ms=2)
    alter = ddl(scene, old)
    document = scene.flip(new, "rolled_back" if blockers == "withdraw" else "done")
    held = [a for a in document["attempts"] if a["blockers"]]
    assert held and all(names(a, alter) for a in held), document["attempts"]
    assert all(a["blackout_ms"] < FAST_MS for a in held), document["attempts"]
    if blockers == "kill":
        assert was_killed(document, alter) and alter.end() is not None
    else:
        assert alter.end() is None, "it was not to be cut"
    if blockers == "withdraw":
        assert len(held) == 2 and document["killed"] == []
        went_back(scene, load, old, new)
    else:
        went_over(scene, load, old, new)
    columns = [len(s.query("SHOW COLUMNS FROM app.large")) for s in (old, new)]
    assert columns == ([3, 3] if blockers == "kill" else [4, 4])


def test_alter_table_is_waited_for_in_drain(scene, large):
    """As long as it is older than max_transaction_age the fence is not even tried."""
    old, new = large
    scene.flipd(defaults={"max_transaction_age": "100ms", "drain_timeout": "30s"})
    load = scene.load(interval_ms=2)
    alter = ddl(scene, old)
    await_age(old, alter, 100)
    document = scene.flip(new)
    assert alter.end() is None
    assert named_check(document, "ddl")["result"] == "warn"
    assert not any(names(a, alter) for a in document["attempts"]), document["attempts"]
    went_over(scene, load, old, new)


@pytest.mark.parametrize("blockers", POLICIES)
def test_alter_table_behind_a_reader(scene, large, blockers):
    """One that itself waits for a reader's metadata lock holds the fence up too; both are named."""
    old, new = large
    scene.account(old, "deploy", "ALL ON app.*")
    scene.flipd(defaults=policy(blockers))
    load = scene.load(interval_ms=2)
    reader = scene.client(old, "batch", autocommit=False)
    reader.run("SELECT COUNT(*) FROM app.large WHERE id < 10")
    alter = scene.client(old, "deploy")
    alter.begin("ALTER TABLE app.large ADD COLUMN c INT, ALGORITHM=COPY")
    await_statement(old, "ADD COLUMN c")
    running = scene.start_flip(new)
    if blockers == "wait":
        await_statement(old, FENCE)
        wait_for(lambda: not sessions(old, FENCE), 5, "the fence to be taken back")
        reader.run("COMMIT")
    document = running.end("rolled_back" if blockers == "withdraw" else "done")
    held = [a for a in document["attempts"] if a["blockers"]]
    assert held and any(names(a, alter) for a in held), document["attempts"]
    if blockers == "withdraw":
        reader.run("COMMIT")
        assert alter.end() is None
        went_back(scene, load, old, new)
    else:
        assert (alter.end() is None) == (blockers == "wait")
        went_over(scene, load, old, new)


# Backups.

@pytest.mark.parametrize("blockers", POLICIES)
@pytest.mark.parametrize("how", ["FLUSH TABLES WITH READ LOCK", "BACKUP STAGE BLOCK_COMMIT"])
def test_a_backup_holds_its_lock(scene, how, blockers):
    """Nobody can commit on old: flipd's own row neither. Not begun, and the backup goes on unharmed."""
    old, new = scene.set_out()
    scene.account(old, "backup", "RELOAD, PROCESS, SELECT ON *.*")
    scene.flipd(defaults=policy(blockers, drain_timeout="3s"))
    load = scene.load(interval_ms=2)
    backup = scene.client(old, "backup")
    for text in ["BACKUP STAGE START", "BACKUP STAGE FLUSH", "BACKUP STAGE BLOCK_DDL", how] if "STAGE" in how else [how]:
        backup.run(text)
    wait_for(lambda: [r for r in sessions(old) if "backup lock" in (r["state"] or "")], 10, "the writers to wait")
    document = scene.flip(new, "aborted")
    assert document["error"]["step"] == "lock" and "let it end" in document["error"]["hint"], document["error"]
    for name in ("backups", "locks"):
        assert named_check(document, name)["result"] == "warn", named_check(document, name)
    assert "backup lock" in named_check(document, "locks")["seen"]
    assert named_check(document, "reverse_path")["result"] == "skip" and not old.query("SHOW ALL SLAVES STATUS")
    assert document["attempts"] == [] and document["killed"] == []
    assert backup.alive
    backup.close()
    scene.daemon.wait_ready(new.name)
    went_back(scene, load, old, new)


@pytest.mark.parametrize("blockers", POLICIES)
def test_a_dump_in_one_transaction(scene, blockers):
    """mariadb-dump --single-transaction: an old snapshot and one long SELECT after another hold nothing up."""
    old, new = scene.set_out()
    scene.account(old, "backup", "RELOAD, PROCESS, SELECT ON *.*")
    scene.flipd(defaults=policy(blockers, max_transaction_age="500ms"))
    load = scene.load(interval_ms=1)
    dump = scene.client(old, "backup", autocommit=False)
    dump.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    dump.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    begun = time.monotonic()
    dump.begin("SELECT /*!40001 SQL_NO_CACHE */ id, n, SLEEP(0.05) FROM app.work")
    await_statement(old, "SQL_NO_CACHE")
    wait_for(lambda: time.monotonic() > begun + 1, 5, "the dump to be older than max_transaction_age")
    document = scene.flip(new)
    assert was_killed(document, dump) and dump.end() is not None
    assert not any(names(a, dump) for a in document["attempts"]) and document["blackout_ms"] < FAST_MS
    went_over(scene, load, old, new)


@pytest.mark.parametrize("blockers", POLICIES)
def test_an_hour_long_report(scene, blockers):
    old, new = scene.set_out()
    scene.flipd(defaults=policy(blockers))
    load = scene.load(interval_ms=1)
    report = scene.client(old, "batch")
    report.begin("SELECT a.id, SLEEP(3600) FROM app.work a JOIN app.item b")
    await_statement(old, "SLEEP(3600)")
    document = scene.flip(new)
    assert was_killed(document, report) and report.end() is not None
    assert not any(names(a, report) for a in document["attempts"]) and document["blackout_ms"] < FAST_MS
    went_over(scene, load, old, new)


# Transactions.

@pytest.mark.parametrize("blockers", POLICIES)
def test_a_pool_with_autocommit_off(scene, blockers):
    """Open transactions, with and without changes, young or old: none holds the fence up; the open changes are nowhere."""
    old, new = scene.set_out()
    scene.flipd(defaults=policy(blockers, fence_attempts=1))
    load = scene.load(interval_ms=1)
    pool = [scene.client(old, autocommit=False) for _ in range(12)]
    for i, client in enumerate(pool):
        client.run("SELECT COUNT(*) FROM app.item")
        if i % 2:
            client.run("INSERT INTO app.item (name) VALUES ('of the pool %d')" % i)
    document = scene.flip(new)
    assert not any(names(a, c) for a in document["attempts"] for c in pool) and document["blackout_ms"] < FAST_MS
    assert all(was_killed(document, c) for c in pool)
    for client in pool:
        with pytest.raises(pymysql.err.Error):
            client.connection.commit()
            client.run("SELECT 1")
    went_over(scene, load, old, new)
    for server in (old, new):
        assert server.value("SELECT COUNT(*) FROM app.item WHERE name LIKE 'of the pool%%'") == 0


def test_a_pool_whose_transactions_are_old(scene):
    """Idle ones without changes do not count, one with changes that is older than max_transaction_age does: waited for,
    then given up, by name."""
    old, new = scene.set_out()
    scene.flipd(defaults={"max_transaction_age": "300ms", "drain_timeout": "2s"})
    load = scene.load(interval_ms=1)
    pool = [scene.client(old, autocommit=False) for _ in range(4)]
    for client in pool:
        client.run("SELECT COUNT(*) FROM app.item")
    pool[0].run("UPDATE app.work SET n=n+1 WHERE id=7")
    begun = time.monotonic()  # the server tells a transaction's beginning in whole seconds
    wait_for(lambda: time.monotonic() - begun > 1.3, 5, "the transaction to be older than max_transaction_age")
    document = scene.flip(new, "aborted")
    assert "session %d of app" % pool[0].id in document["error"]["message"], document["error"]
    assert document["attempts"] == [] and document["killed"] == [] and all(c.alive for c in pool)
    pool[0].run("ROLLBACK")
    went_over_after = scene.flip(new)
    assert all(was_killed(went_over_after, c) for c in pool)
    went_over(scene, load, old, new)


@pytest.mark.parametrize("blockers", POLICIES)
def test_a_huge_transaction(scene, blockers):
    """Its roll back would take long: seen beforehand, waited for, then given up, by name; told otherwise, it is cut."""
    old, new = scene.set_out()
    old.query("CREATE TABLE app.huge (id INT PRIMARY KEY, a VARCHAR(80), KEY (a)) ENGINE=InnoDB")
    scene.stack.callback(lambda: scene.master.query("DROP TABLE app.huge"))
    scene.lab.sync(old)
    scene.flipd(defaults=dict(policy(blockers), max_transaction_rows=10000, drain_timeout="2s"))
    load = scene.load(interval_ms=2)
    huge = scene.client(old, "batch", autocommit=False)
    huge.run("INSERT INTO app.huge SELECT seq, MD5(seq) FROM app.seq_1_to_150000")
    document = scene.flip(new, "aborted")
    assert "session %d of batch" % huge.id in document["error"]["message"], document["error"]
    assert "max_transaction_rows" in document["error"]["message"] and document["attempts"] == []
    assert huge.alive and str(huge.id) in named_check(document, "long_transactions")["seen"]
    scene.flipd(defaults=policy(blockers))  # told otherwise
    document = scene.flip(new)
    assert was_killed(document, huge) and document["blackout_ms"] < FAST_MS, document["blackout_ms"]
    went_over(scene, load, old, new)
    assert [s.value("SELECT COUNT(*) FROM app.huge") for s in (old, new)] == [0, 0]


@pytest.mark.parametrize("blockers", POLICIES)
def test_a_prepared_xa_transaction(scene, blockers):
    """It belongs to no session: neither fence nor kill ends it. It is in the log since XA PREPARE, so new has it too, and
    there, once new is open, it is committed; old gets that from new."""
    old, new = scene.set_out()
    old.query("DELETE FROM app.item WHERE name='prepared'")
    scene.flipd(defaults=policy(blockers))
    load = scene.load(interval_ms=1)
    xa = scene.client(old, "batch")
    for text in ("XA START 'order-1'", "INSERT INTO app.item (name) VALUES ('prepared')", "XA END 'order-1'",
                 "XA PREPARE 'order-1'"):
        xa.run(text)
    xa.close()
    document = scene.flip(new)
    assert "1 prepared XA" in named_check(document, "locks")["seen"]
    assert not any("batch" in (a["blockers"] or "") for a in document["attempts"]) and document["blackout_ms"] < FAST_MS
    for server in (old, new):
        assert [bytes(r["data"]) for r in server.query("XA RECOVER")] == [b"order-1"], server.name
    late = scene.client(old, "batch")
    with pytest.raises(pymysql.err.Error) as refused:
        late.run("XA COMMIT 'order-1'")
    assert refused.value.args[0] == 1290
    scene.nothing_added(document, old)
    scene.client(new, "batch").run("XA COMMIT 'order-1'")
    went_over(scene, load, old, new)
    for server in (old, new):
        assert server.query("XA RECOVER") == []
        assert server.value("SELECT COUNT(*) FROM app.item WHERE name='prepared'") == 1


# Events, connections, acknowledgements.

@pytest.mark.parametrize("blockers", POLICIES)
def test_an_event_with_a_privileged_definer(scene, blockers):
    """It walks through the fence while it runs: it is killed in mid-run, begins no more on old, and goes on on new."""
    old, new = scene.set_out()
    scene.account(old, "robot", "READ ONLY ADMIN ON *.*", "SELECT, INSERT, EVENT ON app.*")
    old.query("CREATE TABLE app.ticks (id INT AUTO_INCREMENT PRIMARY KEY, server INT) ENGINE=InnoDB")
    old.query("CREATE DEFINER=robot@'%' EVENT app.tick ON SCHEDULE EVERY 1 SECOND DO BEGIN "
              "DECLARE i INT DEFAULT 0; WHILE i < 2000 DO "
              "INSERT INTO app.ticks (server) VALUES (@@server_id); DO SLEEP(0.002); SET i = i + 1; END WHILE; END")
    scene.stack.callback(lambda: [scene.master.query("DROP " + what) for what in ("EVENT app.tick", "TABLE app.ticks")])
    old.query("SET GLOBAL event_scheduler=ON")
    try:
        scene.flipd(defaults=policy(blockers, fence_timeout="1s", max_transaction_age="60s"))
        load = scene.load(interval_ms=1)
        wait_for(lambda: old.value("SELECT COUNT(*) FROM app.ticks") > 20, 10, "the event to run")
        document = scene.flip(new)
        assert "'robot'@'%'" in named_check(document, "bypass")["seen"]
        assert any(v["user"] == "robot" for v in document["killed"])
        assert document["blackout_ms"] < FAST_MS
        scene.nothing_added(document, old)
        wait_for(lambda: new.value("SELECT COUNT(*) FROM app.ticks WHERE server=%s", (new.server_id,)) > 5, 10,
                 "the event on new")
        scene.nothing_added(document, old)
    finally:
        for server in (old, new):
            server.query("SET GLOBAL event_scheduler=OFF")
    wait_for(lambda: not [r for r in sessions(new) if r["user"] == "robot"], 20, "the event to have ended")
    went_over(scene, load, old, new)


class Storm:
    """Clients that connect, ask something, and are gone; those that are refused come again at once. Some stay;
    greedy: whoever gets in stays, and the place above max_connections is taken too, so that none is free again."""

    def __init__(self, scene, server, threads=10, stay=0, greedy=False):
        self.server, self.password, self.over = server, scene.lab.passwords["app"], threading.Event()
        self.refused = self.served = self.in_vain = 0  # in_vain: refused since the last one got in
        self.staying, self.greedy = [], greedy
        scene.stack.callback(self.end)
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(threads)]
        self.fill(stay)
        for thread in self.threads:
            thread.start()
        if greedy:
            wait_for(self.take_spare, 20, "a privileged account to have the spare place")

    def take_spare(self):
        try:
            self.staying.append(self.server.connect(tcp=False))
        except pymysql.err.Error:
            return False
        return self.in_vain > 0

    def fill(self, n):
        for _ in range(n):
            try:
                self.staying.append(self.server.connect("app", self.password, tcp=True))
            except pymysql.err.Error:
                return

    def work(self):
        while not self.over.is_set():
            try:
                connection = self.server.connect("app", self.password, tcp=True)
                self.in_vain = 0
                if self.greedy:
                    self.staying.append(connection)
                    continue
                try:
                    connection.ping(reconnect=False)
                    self.served += 1
                finally:
                    connection.close()
            except (pymysql.err.Error, OSError) as e:
                self.refused += e.args[0] == 1040
                self.in_vain += e.args[0] == 1040

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join(10)
        for connection in self.staying:
            try:
                connection.close()
            except pymysql.err.Error:
                pass


@pytest.mark.parametrize("blockers", POLICIES)
def test_a_connection_storm(scene, blockers):
    """Old is full before the fence: flipd's sessions are open by then, and the flip is done."""
    old, new = scene.set_out()
    scene.flipd(held=True, defaults=policy(blockers))
    load = scene.load(interval_ms=2, warm=True)
    running = scene.start_flip(new)
    scene.at_gate()
    old.query("SET GLOBAL max_connections=60")
    try:
        storm = Storm(scene, old, stay=60)
        wait_for(lambda: storm.refused > 50, 20, "old to be full")
        scene.gate_opens()
        document = running.end("done")
        assert document["blackout_ms"] < FAST_MS, document["blackout_ms"]
        assert sum(v["user"] == "app" for v in document["killed"]) > 20
        storm.end()
        went_over(scene, load, old, new, 5000)
    finally:
        old.query("SET GLOBAL max_connections=400")


def test_check_while_the_server_is_full(scene):
    """flipd has no way in: the reason is told, with what to do, and nothing is touched; then it is as ready as before."""
    old, new = scene.set_out()
    scene.flipd()
    load = scene.load(interval_ms=2, warm=True)
    old.query("SET GLOBAL max_connections=60")
    try:
        storm = Storm(scene, old, threads=4, stay=60, greedy=True)
        wait_for(lambda: storm.in_vain > 50, 20, "old to be full")
        check = scene.daemon.ctl("check", "lab", "--to", new.name).json
        connect = next(c for c in check["checks"] if c["name"] == "connect")
        assert connect["result"] == "refuse" and "Too many connections" in connect["seen"], connect
        assert "max_connections" in connect["hint"], connect
        document = scene.flip(new, "refused")
        assert document["killed"] == [] and document["error"]["server"] == old.name
        storm.end()
    finally:
        old.query("SET GLOBAL max_connections=400")
    scene.daemon.wait_ready(new.name)
    scene.flip(new)
    went_over(scene, load, old, new)
