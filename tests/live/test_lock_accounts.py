"""sessions.lock_accounts: accounts that walk through the fence are locked out of old for as long as a flip lasts. Nothing
of it comes to new, nothing of it goes into a log, and whoever ends the flip unlocks them."""

import os
import signal

import pymysql
import pytest

from lab.proc import wait_for
from lab.scene import (FENCE, OPENING, await_statement, named_check, own_seq, scene, scene_of, scenes,  # noqa: F401
                       step)

WALKER = ("READ ONLY ADMIN ON *.*", "SELECT, INSERT ON app.*")
LEGACY = {"sessions": {"lock_accounts": ["legacy"]}}
LOCKED = "SELECT COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) FROM mysql.global_priv WHERE User=%s AND Host='%%'"
PATIENT = {"max_transaction_age": "60s", "flush": "never", "blockers": "wait", "fence_timeout": "20s",
           "max_blackout": "30s"}


def locked(server, user="legacy"):
    return server.value(LOCKED, (user,)) == "1"


def stored(server, user="legacy"):
    return server.value("SELECT Priv FROM mysql.global_priv WHERE User=%s AND Host='%%'", (user,))


def set_out(scene, **options):
    old, new = scene.set_out()
    scene.account(old, "legacy", *WALKER)
    scene.may_lock_accounts(old)
    options["defaults"] = dict(LEGACY, **options.get("defaults", {}))
    scene.flipd(cluster=options.pop("cluster", scene.names_after_open()), **options)
    return old, new


def loads(scene):
    """The application, and the account that walks through the fence and connects again at once; both go by the name."""
    return [scene.load(interval_ms=1),
            scene.load(user="legacy", writers=3, first_writer=40, interval_ms=2, backoff_ms=0.2)]


@pytest.mark.parametrize("policy", ["kill", "wait", "withdraw"])
def test_an_account_that_cannot_come_back(scene, policy):
    """E14 with lock_accounts: the same account as in test_an_account_that_keeps_coming_back; the flip is done."""
    old, new = set_out(scene, defaults={"blockers": policy})
    before = stored(new)
    check = scene.daemon.ctl("check", "lab", "--to", new.name).json
    bypass = next(c for c in check["checks"] if c["name"] == "bypass")
    assert "will be locked there for the flip" in bypass["seen"] and "legacy" in bypass["seen"], bypass
    both = loads(scene)
    document = scene.flip(new)
    assert any(v["user"] == "legacy" and v["server"] == old.name for v in document["killed"])
    assert "1 accounts locked" in step(document, "events")["detail"]
    assert not [w for w in document["warnings"] if "ACCOUNT UNLOCK" in w]
    assert document["blackout_ms"] < 500
    assert not locked(old), "it stays locked"
    assert stored(new) == before, "the lock came to new"
    scene.nothing_added(document, old)
    new.query("DO 1")
    scene.goes_on(*both, server=new)
    report = scene.right(both, old, new)
    assert max(report.facts["blackouts_ms"]) < 2000


def test_there_and_back_with_an_account_locked(scene):
    """An account that was locked and unlocked is the same account to the check of that name; the way back works alike."""
    old, new = set_out(scene)
    both = loads(scene)
    scene.flip(new)
    scene.daemon.wait_ready(old.name)
    document = scene.flip(old)
    assert "legacy" not in named_check(document, "accounts")["seen"]
    assert not locked(old) and not locked(new)
    scene.goes_on(*both, server=old)
    scene.right(both, old, new, old)


def test_the_plan_shows_it(scene):
    old, new = set_out(scene)
    texts = [(s["name"], s["server"], s["text"]) for s in
             scene.daemon.ctl("plan", "lab", "--to", new.name).json["steps"] if "ALTER USER" in s["text"]]
    assert [(name, server) for name, server, _ in texts] == [("events", old.name), ("finish", old.name)]
    assert texts[0][2].endswith("sql_log_bin=0 FOR ALTER USER IF EXISTS `legacy`@`%` ACCOUNT LOCK"), texts
    assert texts[1][2].endswith("sql_log_bin=0 FOR ALTER USER IF EXISTS `legacy`@`%` ACCOUNT UNLOCK"), texts
    assert not locked(old)


def test_without_the_privilege(scene):
    """Refused, with the statement that mends it; an account that is not there is a warning."""
    old, new = scene.set_out()
    scene.account(old, "legacy", *WALKER)
    scene.flipd(ready=False, defaults={"sessions": {"lock_accounts": ["legacy", "nobody@10.%"]}})
    document = scene.flip(new, "refused")
    refused = [c for c in document["checks"] if c["result"] == "refuse"]
    assert [c["name"] for c in refused] == ["privileges"], refused
    assert "GRANT CREATE USER ON *.* TO 'flipd'@'%'" in refused[0]["hint"], refused
    bypass = named_check(document, "bypass")
    assert bypass["result"] == "warn" and "nobody@10.%" in bypass["seen"], bypass
    old.query(refused[0]["hint"].split(";")[0])
    scene.stack.callback(lambda: scene.master.query("REVOKE CREATE USER ON *.* FROM 'flipd'@'%'"))
    scene.lab.sync(old)
    scene.flip(new)


def test_an_account_of_an_odd_name(scene):
    """A name is not a string: a backslash in it is one in every sql_mode."""
    old, new = scene.set_out()
    old.query("CREATE USER `o'back\\slash ü`@`10.99.%` IDENTIFIED BY 'x'")
    scene.stack.callback(lambda: scene.master.query("DROP USER `o'back\\slash ü`@`10.99.%`"))
    scene.may_lock_accounts(old)
    scene.flipd(defaults={"sessions": {"lock_accounts": ["o'back\\slash ü"]}})
    check = scene.daemon.ctl("check", "lab", "--to", new.name).json
    bypass = next(c for c in check["checks"] if c["name"] == "bypass")
    assert "no account of" not in bypass["seen"], bypass
    document = scene.flip(new)
    assert "1 accounts locked" in step(document, "events")["detail"]
    assert old.value("SELECT COUNT(*) FROM mysql.global_priv WHERE User LIKE 'o_back%' AND "
                     "JSON_VALUE(Priv, '$.account_locked') = 1") == 0


def test_locked_by_somebody_else(scene):
    """What an operator had locked before stays locked, on both sides; with several hosts each account counts by itself."""
    old, new = scene.set_out()
    scene.account(old, "legacy", *WALKER)
    old.query("CREATE USER 'legacy'@'10.99.0.1' IDENTIFIED BY 'x' ACCOUNT LOCK")
    scene.stack.callback(lambda: scene.master.query("DROP USER 'legacy'@'10.99.0.1'"))
    scene.may_lock_accounts(old)
    scene.flipd(defaults=LEGACY)
    document = scene.flip(new)
    assert "1 accounts locked" in step(document, "events")["detail"]
    for server in (old, new):
        rows = server.query("SELECT Host AS host, COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) AS locked "
                            "FROM mysql.global_priv WHERE User='legacy' ORDER BY Host")
        assert rows == [{"host": "%", "locked": "0"}, {"host": "10.99.0.1", "locked": "1"}], (server.name, rows)


def test_rolled_back_unlocks(scene):
    """Aborted in the blackout: unlocked as soon as old is open again; the account goes on there."""
    old, new = set_out(scene, held=True, defaults={"max_blackout": "30s"})
    both = loads(scene)
    holder, running = scene.held_flip(new)
    await_statement(new, OPENING)
    assert locked(old)
    with pytest.raises(pymysql.err.OperationalError) as refused:
        old.connect("legacy", scene.lab.passwords["legacy"], tcp=True)
    assert refused.value.args[0] == 4151
    assert scene.daemon.ctl("abort", "lab").json["outcome"] == "rolled_back"
    running.end("rolled_back")
    assert not locked(old) and not locked(new)
    rolled = own_seq(new)
    holder.run("UNLOCK TABLES")
    scene.daemon.wait_ready(new.name)
    scene.goes_on(*both, server=old)
    scene.right(both, old)
    assert own_seq(new) == rolled


def pending_fence(scene, old, new):
    blocker = scene.client(old, "batch")
    blocker.run("LOCK TABLES app.work WRITE")
    running = scene.start_flip(new)
    await_statement(old, FENCE)
    wait_for(lambda: locked(old), 5, "the account to be locked")
    return blocker, running


@pytest.mark.parametrize("how", ["killed", "terminated"])
def test_flipd_goes_while_it_is_locked(scene, how):
    """kill -9: the next start unlocks it; SIGTERM: unlocked before flipd has gone."""
    old, new = set_out(scene, defaults=dict(PATIENT, max_blackout="1s" if how == "terminated" else "30s"))
    both = loads(scene)
    blocker, running = pending_fence(scene, old, new)
    if how == "killed":
        scene.daemon.kill()
        running.child.communicate(timeout=10)
        assert locked(old), "nobody is there to have unlocked it"
        scene.daemon.start()
        scene.await_end("rolled_back")
    else:
        os.kill(scene.daemon.process.pid, signal.SIGTERM)
        assert scene.daemon.process.wait(20) == 0
        running.child.communicate(timeout=10)
    assert not locked(old)
    blocker.run("UNLOCK TABLES")
    if how == "killed":
        scene.daemon.wait_ready(new.name)
    scene.goes_on(*both, server=old)
    scene.right(both, old)


def test_killed_after_the_opening(scene):
    """kill -9 after new has opened, old's account still locked: the next start finishes the flip, and unlocks it; old's
    log and replication do not notice."""
    old, new = set_out(scene, cluster=dict(scene.names_after_open(), hooks=scene.hook_gate("after_open")["hooks"]))
    both = loads(scene)
    running = scene.start_flip(new)
    scene.at_gate()
    assert new.writable and locked(old)
    scene.daemon.kill()
    running.child.communicate(timeout=10)
    scene.gate_opens()
    scene.daemon.start()
    scene.at_gate()  # every hook may be called again
    assert locked(old)
    scene.gate_opens()
    document = scene.await_end("done")
    assert not locked(old) and not locked(new)
    scene.nothing_added(document, old)
    old.wait_replicating()
    scene.goes_on(*both, server=new)
    scene.right(both, old, new)
