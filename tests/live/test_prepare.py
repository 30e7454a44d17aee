"""flipctl prepare: what a flip needs on the master and is missing there: flipd's schema, the accounts beside its own. It is
shown first, without passwords; what is there is left alone."""

import pymysql

from lab.scene import named_check, scene, scene_of, scenes  # noqa: F401

PASSWORD = "it's \\ a \"secret\""
GRANTED = ("GRANT CREATE USER, REPLICATION SLAVE ON *.* TO 'flipd'@'%' WITH GRANT OPTION",
           "GRANT SELECT, INSERT, UPDATE ON flipd.probe TO 'flipd'@'%' WITH GRANT OPTION")
REVOKED = ("REVOKE CREATE USER, REPLICATION SLAVE, GRANT OPTION ON *.* FROM 'flipd'@'%'",
           "REVOKE SELECT, INSERT, UPDATE, GRANT OPTION ON flipd.probe FROM 'flipd'@'%'",
           "DROP USER prober, mirror")


def run(server, texts):
    for text in texts:
        server.query(text)


def account(scene, user):
    """One that flipd is told to use."""
    scene.lab.passwords[user] = PASSWORD
    with open(scene.lab.secret(user), "w") as f:
        f.write(PASSWORD + "\n")
    return {"user": user, "password_file": scene.lab.secret(user)}


def set_out(scene):
    old, _ = scene.set_out()
    scene.flipd(ready=False, defaults={"fence_probe": account(scene, "prober"), "replication": account(scene, "mirror")})
    return old


def users(server):
    return server.value("SELECT GROUP_CONCAT(User ORDER BY User) FROM mysql.user WHERE User IN ('prober', 'mirror')")


def prepare(scene, *options):
    answer = scene.daemon.ctl("prepare", "lab", *options)
    assert PASSWORD not in answer.out + answer.err and "secret" not in answer.out + answer.err, answer
    return answer


def test_accounts_that_are_missing(scene):
    old = set_out(scene)
    shown = prepare(scene, "--dry-run").json
    assert (shown["missing"], shown["done"], shown["server"]) == (True, False, old.name)
    assert shown["statements"] == [
        "CREATE USER IF NOT EXISTS `prober`@'%' IDENTIFIED BY '***';",
        "GRANT SELECT, INSERT, UPDATE ON `flipd`.`probe` TO `prober`@'%';",
        "CREATE USER IF NOT EXISTS `mirror`@'%' IDENTIFIED BY '***';",
        "GRANT REPLICATION SLAVE ON *.* TO `mirror`@'%';"], shown
    assert users(old) is None

    refused = prepare(scene, "--yes")
    assert refused.code == 1 and "creating the account prober" in refused.err and "CREATE USER" in refused.err, refused
    assert "an administrator runs what flipctl prepare lab --dry-run shows" in refused.err, refused
    assert users(old) is None

    run(old, GRANTED)
    scene.stack.callback(lambda: run(scene.master, REVOKED))
    scene.daemon.stop()  # privileges are those of a new session
    scene.daemon.start()
    made = prepare(scene, "--yes")
    assert made.code == 0 and made.json["done"], made
    assert users(old) == "mirror,prober"
    for user in ("prober", "mirror"):
        pymysql.connect(host=old.address, port=old.port, user=user, password=PASSWORD).close()
    again = prepare(scene, "--yes").json
    assert (again["missing"], again["statements"]) == (False, []), again
    check = scene.daemon.ctl("check", "lab", "--to", scene.standby.name).json
    assert named_check(check, "fence_probe")["result"] == "ok", check
    assert named_check(check, "reverse_path")["result"] == "ok", check


def test_the_schema_is_missing(scene):
    old, new = scene.set_out()
    old.query("DROP DATABASE flipd")
    new.wait_gtid(old.gtid(), 10)
    scene.flipd(ready=False)
    text = "\n".join(prepare(scene, "--dry-run").json["statements"])
    made = prepare(scene, "--yes")
    assert made.code == 0, made
    assert old.value("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA='flipd'") == 3, text


def test_who_is_there_cannot_be_seen(scene):
    """Then nobody is said to be missing, and the check says what flipd may not see."""
    old = set_out(scene)
    run(old, ["REVOKE SELECT ON mysql.global_priv FROM 'flipd'@'%'"])
    scene.stack.callback(lambda: run(scene.master, ["GRANT SELECT ON mysql.global_priv TO 'flipd'@'%'"]))
    scene.daemon.stop()
    scene.daemon.start()
    shown = prepare(scene, "--dry-run").json
    assert (shown["missing"], shown["statements"]) == (False, []), shown
    check = scene.daemon.ctl("check", "lab", "--to", scene.standby.name).json
    assert "mysql.global_priv" in named_check(check, "bypass")["seen"], check
