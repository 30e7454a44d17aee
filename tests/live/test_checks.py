"""The checks of preflight against a real pair: for each the situation that makes it speak, and the one that does not."""

import contextlib
import threading
import time

import pytest

from lab.lab import Lab
from lab.proc import wait_for

NEW = ("skipped_errors", "log_retention", "variables", "capacity", "spare_connection", "parallel", "auto_increment",
       "managers", "ddl", "backups", "schema", "accounts", "engines", "primary_keys")


class Pair:
    """A pair with flipd on it, whose checks are asked again and again."""

    def __init__(self):
        self.lab = Lab().cluster()
        self.source, self.target = self.lab.servers["source"], self.lab.servers["target"]
        self.flipd = self.lab.flipd()
        self.flipd.wait_ready("target")

    def checks(self):
        answer = self.flipd.ctl("check", "lab", "--to", "target")
        assert answer.code in (0, 2), answer
        return {c["name"]: c for c in answer.json["checks"]}

    def quiet(self, name):
        """The check has nothing to say."""
        wait_for(lambda: self.checks()[name]["result"] == "ok", 10, "%s to be ok" % name)

    def speaks(self, name, result, *words, server=None, hint=""):
        check = self.checks()[name]
        assert check["result"] == result, check
        assert all(w in check["seen"] for w in words), check
        assert hint in (check["hint"] or ""), check
        if server:
            assert check["server"] == server, check
        return check


@pytest.fixture(scope="module")
def pair():
    made = Pair()
    yield made
    made.lab.close()


@contextlib.contextmanager
def changed(server, name, value):
    """A global variable, for a while."""
    before = server.value("SELECT @@global." + name)
    server.query("SET GLOBAL %s = %%s" % name, (value,))
    try:
        yield
    finally:
        server.query("SET GLOBAL %s = %%s" % name, (before,))


@contextlib.contextmanager
def only_there(server, statements, undo):
    """Statements that do not replicate, and what undoes them."""
    server.unlogged(statements)
    try:
        yield
    finally:
        server.unlogged(undo)


@contextlib.contextmanager
def running(server, text, user="root"):
    """A statement that runs until the block ends."""
    connection = server.connect() if user == "root" else server.connect(
        user=user, password=server.lab.passwords[user], tcp=True)
    session = connection.thread_id()

    def run():
        with contextlib.suppress(Exception), connection.cursor() as cursor:
            cursor.execute(text)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    time.sleep(0.2)
    try:
        yield session
    finally:
        with contextlib.suppress(Exception):
            server.query("KILL %d" % session)
        thread.join(10)


def test_a_healthy_pair_is_quiet(pair):
    checks = pair.checks()
    assert {n: checks[n]["seen"] for n in NEW if checks[n]["result"] != "ok"} == {}


def test_skipped_errors(pair):
    with changed(pair.target, "slave_exec_mode", "IDEMPOTENT"):
        pair.speaks("skipped_errors", "refuse", "IDEMPOTENT", server="target", hint="STRICT")
        wait_for(lambda: not pair.flipd.state()["ready"]["target"], 10, "the background to see it")
    pair.quiet("skipped_errors")
    with changed(pair.source, "slave_exec_mode", "IDEMPOTENT"):
        pair.speaks("skipped_errors", "warn", server="source")


def test_log_retention(pair):
    with changed(pair.target, "binlog_expire_logs_seconds", 3600):
        pair.speaks("log_retention", "warn", "3600 s", server="target")
    with changed(pair.target, "binlog_expire_logs_seconds", 864000):
        pair.quiet("log_retention")


def test_variables(pair):
    with changed(pair.target, "sql_mode", ""), changed(pair.target, "wait_timeout", 60):
        pair.speaks("variables", "warn", "sql_mode", "wait_timeout", "target empty", hint="sql_mode, wait_timeout")
    with changed(pair.target, "max_allowed_packet", 2 ** 26):
        pair.quiet("variables")
    pair.quiet("variables")


def test_capacity(pair):
    with changed(pair.target, "max_connections", 50):
        pair.speaks("capacity", "warn", "max_connections is 50", server="target")
    pair.quiet("capacity")


def test_spare_connection(pair):
    with changed(pair.source, "max_connections", 12):
        pair.speaks("spare_connection", "warn", "of 12 connections", server="source", hint="max_connections")
    pair.quiet("spare_connection")


def test_parallel(pair):
    pair.target.query("STOP SLAVE SQL_THREAD")
    with changed(pair.target, "slave_parallel_threads", 6):
        pair.target.query("START SLAVE SQL_THREAD")
        pair.speaks("parallel", "warn", "slave_parallel_threads is", "6 on target")
        pair.target.query("STOP SLAVE SQL_THREAD")
    pair.target.query("START SLAVE SQL_THREAD")
    pair.quiet("parallel")


def test_auto_increment(pair):
    with changed(pair.source, "auto_increment_increment", 2):
        pair.speaks("auto_increment", "warn", "2 on source")
        with changed(pair.target, "auto_increment_increment", 2), changed(pair.target, "auto_increment_offset", 2):
            pair.quiet("auto_increment")
    pair.quiet("auto_increment")


def test_managers(pair):
    with running(pair.source, "DO GET_LOCK('maxscale_mariadbmonitor', 1), SLEEP(60)"):
        pair.speaks("managers", "warn", "maxscale_mariadbmonitor", server="source", hint="maintenance")
    pair.quiet("managers")


def test_ddl(pair):
    """It waits for a reader's transaction, and so does not run past the check."""
    reader = pair.source.connect()
    reader.begin()
    with reader.cursor() as cursor:
        cursor.execute("SELECT id FROM app.item LIMIT 1")
    with running(pair.source, "ALTER TABLE app.item ADD COLUMN slow INT"):
        pair.speaks("ddl", "warn", "ALTER TABLE app.item", server="source", hint="let it end")
    reader.close()
    pair.quiet("ddl")


def test_backups(pair):
    with running(pair.source, "SELECT /*!40001 SQL_NO_CACHE */ id, SLEEP(1) FROM app.item", user="batch"):
        pair.speaks("backups", "warn", "SQL_NO_CACHE", server="source")
    pair.quiet("backups")


@pytest.mark.parametrize("do, undo, words", [
    ("CREATE TABLE app.extra (id INT PRIMARY KEY)", "DROP TABLE app.extra", "table app.extra only on target"),
    ("ALTER TABLE app.item ADD COLUMN x INT", "ALTER TABLE app.item DROP COLUMN x", "table app.item differ"),
    ("ALTER TABLE app.item ALTER COLUMN price SET DEFAULT 7", "ALTER TABLE app.item MODIFY price DECIMAL(9,2)",
     "table app.item differ"),
    ("ALTER TABLE app.item ADD KEY more (price)", "ALTER TABLE app.item DROP KEY more", "indexes of app.item differ"),
    ("CREATE VIEW app.seen AS SELECT id FROM app.item", "DROP VIEW app.seen", "app.seen only on target"),
    ("CREATE FUNCTION app.one() RETURNS INT DETERMINISTIC RETURN 1", "DROP FUNCTION app.one",
     "routine app.one FUNCTION only on target"),
    ("ALTER TABLE app.total ENGINE=MyISAM", "ALTER TABLE app.total ENGINE=InnoDB", "engine of app.total differ"),
])
def test_schema(pair, do, undo, words):
    with only_there(pair.target, [do], [undo]):
        pair.speaks("schema", "warn", words, hint="--no-data")
    pair.quiet("schema")


def test_schema_of_both_sides(pair):
    """What came by replication is the same, whatever it is made of."""
    for text in ("CREATE VIEW app.v AS SELECT id, name FROM app.item WHERE id > 3",
                 "CREATE PROCEDURE app.p() SELECT 1", "CREATE SEQUENCE app.s",
                 "CREATE TABLE app.g (id INT PRIMARY KEY, e ENUM('a','b') DEFAULT 'a', j INT AS (id + 1) VIRTUAL, "
                 "t TIMESTAMP DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, UNIQUE KEY (e, t))",
                 "CREATE EVENT app.e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1"):
        pair.source.query(text)
    pair.lab.sync(pair.source)
    check = pair.checks()["schema"]
    assert check["result"] == "ok" and "may not see triggers" in check["seen"], check
    for text in ("DROP EVENT app.e", "DROP TABLE app.g", "DROP SEQUENCE app.s", "DROP PROCEDURE app.p", "DROP VIEW app.v"):
        pair.source.query(text)
    pair.lab.sync(pair.source)


def test_triggers_where_they_may_be_seen(pair):
    grant, revoke = "GRANT TRIGGER ON *.* TO flipd", "REVOKE TRIGGER ON *.* FROM flipd"
    make = "CREATE TRIGGER app.counts BEFORE INSERT ON app.total FOR EACH ROW SET NEW.n = NEW.n + 1"
    with only_there(pair.source, [grant], [revoke]), only_there(pair.target, [grant, make], [
            "DROP TRIGGER app.counts", revoke]):
        pair.speaks("schema", "warn", "trigger app.counts only on target")


def test_schema_without_the_privilege(pair):
    with only_there(pair.target, ["REVOKE REFERENCES ON *.* FROM flipd"], ["GRANT REFERENCES ON *.* TO flipd"]):
        for name in ("schema", "engines", "primary_keys"):
            pair.speaks(name, "skip", "may not see the tables", server="target", hint="GRANT REFERENCES")
    pair.quiet("schema")


@pytest.mark.parametrize("do, undo, words", [
    ("DROP USER batch", None, "batch@% is missing"),
    ("ALTER USER app IDENTIFIED BY 'another'", None, "app@% differs"),
    ("REVOKE DELETE ON app.* FROM app", "GRANT DELETE ON app.* TO app", "grants of app@% differ"),
])
def test_accounts(pair, do, undo, words):
    user = "batch" if "batch" in do else "app"
    password = pair.lab.passwords[user]
    undo = [undo] if undo else ["CREATE OR REPLACE USER %s IDENTIFIED BY '%s'" % (user, password),
                                "GRANT SELECT, INSERT, UPDATE, DELETE%s ON app.* TO %s" % (
                                    ", LOCK TABLES" if user == "batch" else "", user)]
    with only_there(pair.target, [do], undo):
        pair.speaks("accounts", "warn", words, server="target", hint="SHOW GRANTS")
    pair.quiet("accounts")


def test_definers(pair):
    with only_there(pair.target, ["CREATE DEFINER='gone'@'%' PROCEDURE app.orphan() SELECT 1"], [
            "DROP PROCEDURE app.orphan"]):
        pair.speaks("accounts", "warn", "gone@%", server="target", hint="1449")
    pair.quiet("accounts")


def test_engines_and_primary_keys(pair):
    pair.source.query("CREATE TABLE app.plain (a INT, KEY (a)) ENGINE=MyISAM")
    pair.source.query("CREATE TABLE app.promoted (a INT NOT NULL, UNIQUE KEY (a)) ENGINE=InnoDB")
    pair.lab.sync(pair.source)
    pair.speaks("engines", "warn", "app.plain (MyISAM)", server="source", hint="ENGINE=InnoDB")
    check = pair.speaks("primary_keys", "warn", "app.plain", server="source", hint="ADD PRIMARY KEY")
    assert "promoted" not in check["seen"]
    pair.source.query("DROP TABLE app.plain, app.promoted")
    pair.lab.sync(pair.source)
    pair.quiet("engines")
    pair.quiet("primary_keys")


def test_own_accounts(pair):
    """Who logs in today may not tomorrow; where nobody may replicate from new there is no way back."""
    pair.quiet("own_accounts")
    password = pair.lab.passwords["repl"]
    with only_there(pair.target, ["ALTER USER repl PASSWORD EXPIRE"], ["ALTER USER repl IDENTIFIED BY '%s'" % password]):
        pair.speaks("own_accounts", "warn", "'repl'@'%' has expired", server="target", hint="without a way back")
    with only_there(pair.target, ["ALTER USER repl ACCOUNT LOCK"], ["ALTER USER repl ACCOUNT UNLOCK"]):
        pair.speaks("own_accounts", "warn", "'repl'@'%' is locked", server="target")
    with only_there(pair.source, ["ALTER USER flipd WITH MAX_UPDATES_PER_HOUR 100000 PASSWORD EXPIRE INTERVAL 1 DAY"],
                    ["ALTER USER flipd WITH MAX_UPDATES_PER_HOUR 0 PASSWORD EXPIRE DEFAULT"]):
        pair.speaks("own_accounts", "warn", "'flipd'@'%' expires in 1", "100000 updates", server="source")
    with changed(pair.target, "default_password_lifetime", 3):
        pair.quiet("own_accounts")
    pair.quiet("own_accounts")


def test_connections_that_load_a_plugin_at_once(pair):
    """Both sides are asked at the same time, by an account whose plugin this flipd has not needed before."""
    password = pair.lab.passwords["flipd"]
    there = ["INSTALL SONAME 'auth_ed25519'", "ALTER USER flipd IDENTIFIED VIA ed25519 USING PASSWORD('%s')" % password]
    back = ["ALTER USER flipd IDENTIFIED BY '%s'" % password, "UNINSTALL SONAME 'auth_ed25519'"]
    with only_there(pair.source, there, back), only_there(pair.target, there, back):
        pair.speaks("connect", "ok", "source", "target")


def test_privileges_for_a_scheduler_without_events(pair):
    """The step events switches it off, whatever it has to run."""
    with only_there(pair.target, ["REVOKE SUPER ON *.* FROM flipd"], ["GRANT SUPER ON *.* TO flipd"]):
        pair.quiet("privileges")
        with changed(pair.source, "event_scheduler", "ON"):
            pair.speaks("privileges", "refuse", "SUPER", server="target", hint="GRANT SUPER ON *.* TO 'flipd'@'%'")
    pair.quiet("privileges")


def test_filters_that_wait(pair):
    """The master replicates from nobody, and will leave this out as soon as it does."""
    with changed(pair.source, "replicate_ignore_db", "elsewhere"):
        pair.speaks("binlog_filters", "refuse", "Replicate_Ignore_DB=elsewhere", server="source", hint="my.cnf")
        wait_for(lambda: not pair.flipd.state()["ready"]["target"], 10, "the background to see it")
    pair.quiet("binlog_filters")


def test_nobody_to_acknowledge(pair):
    with changed(pair.target, "rpl_semi_sync_master_enabled", "ON"):
        pair.speaks("semi_sync", "warn", "in vain", hint="rpl_semi_sync_slave_enabled = 1 on source")
        with changed(pair.source, "rpl_semi_sync_slave_enabled", "ON"):
            assert "in vain" not in pair.checks()["semi_sync"]["seen"]
    pair.quiet("semi_sync")


def test_a_flip_does_not_wait_for_them(pair):
    """Whatever the servers hold, a flip's preflight surveys them for 0.3 s at most, and says so."""
    answer = pair.flipd.flip("target")
    assert answer.code == 0, answer
    checks = {c["name"]: c for c in answer.json["checks"]}
    assert {checks[n]["result"] for n in NEW} <= {"ok", "skip"}, checks
    step = next(s for s in answer.json["steps"] if s["name"] == "preflight")
    assert step["duration_ms"] < 3000
    pair.flipd.wait_ready("source")
    assert pair.flipd.flip("source").code == 0


def test_dns_ttl(make_lab):
    """The lab's record has 5 s; the configuration says so, or less."""
    lab = make_lab().cluster()
    lab.dns()
    for ttl, result, words in (("5s", "ok", ": 5 s"), ("1s", "warn", "a TTL of 5 s, the configuration says 1 s")):
        flipd = lab.flipd(name="flipd" + ttl, cluster={"endpoints": [
            lab.endpoint(z, ttl=ttl) for z in lab.named.zones]})
        flipd.wait_ready("target")
        check = {c["name"]: c for c in flipd.ctl("check", "lab", "--to", "target").json["checks"]}["dns_ttl"]
        assert check["result"] == result and words in check["seen"], check
        flipd.stop()
