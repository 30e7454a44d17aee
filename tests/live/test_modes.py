"""Ways in which clusters differ: file and position, further replicas, the plain order, fences of the operator's own,
verify, TLS in its five modes."""

import glob
import os

import pymysql
import pytest

from lab.proc import wait_for
from lab.scene import (OPENING, await_statement, named_check, own_seq, scene, scene_of, scenes,  # noqa: F401
                       script, sessions, step)
from lab.tls import Authority

TRIPLES = ["triple", "file triple"]


def follows(server, master):
    row = server.replica_status()
    return bool(row) and (row["Master_Host"], int(row["Master_Port"])) == (master.address, master.port) and \
        row["Slave_IO_Running"] == row["Slave_SQL_Running"] == "Yes"


# File and position.

def test_file_and_position(scene_of):
    """There and back by file and position; the guarded opening has the file form."""
    scene = scene_of("file")
    old, new = scene.set_out()
    scene.flipd()
    load = scene.load(interval_ms=1)
    document = scene.flip(new)
    assert "file and position" in step(document, "events")["detail"]
    assert old.replica_status()["Using_Gtid"] == "No"
    file, position = document["position"]["final"].split(" ")[0].split(":")
    assert file.startswith("binlog.") and int(position) > 0
    scene.goes_on(load, server=new)
    scene.daemon.wait_ready(old.name)
    scene.flip(old)
    scene.goes_on(load, server=old)
    assert new.replica_status()["Using_Gtid"] == "No"
    scene.right(load, old, new, old)


def test_file_and_position_over_a_rotation(scene_of):
    """Old's log is rotated while new is behind: the position's file is the one that counts."""
    scene = scene_of("file")
    old, new = scene.set_out()
    scene.flipd(held=True, defaults={"max_blackout": "30s"})
    load = scene.load(interval_ms=1)
    old.query("FLUSH BINARY LOGS")
    holder, running = scene.held_flip(new)
    await_statement(new, "MASTER_POS_WAIT")
    holder.run("UNLOCK TABLES")
    document = running.end("done")
    assert document["position"]["final"].split(":")[0] == old.binlog_position()[0]
    scene.goes_on(load, server=new)
    scene.right(load, old, new)


# A third server.

@pytest.mark.parametrize("kind", TRIPLES)
def test_a_replica_follows(scene_of, kind):
    scene = scene_of(kind)
    old, new = scene.set_out()
    reports = scene.lab.servers["reports"]
    scene.flipd()
    load = scene.load(interval_ms=1)
    order = [old]
    for to in (new, old):
        document = scene.flip(to)
        assert step(document, "repoint")["state"] == "done" and follows(reports, to)
        if reports.replica_status()["Using_Gtid"] == "No":
            assert "file" in kind
        elif "file" in kind:  # it had gone past the final position, so that only GTID tells where it stands: said
            assert any("reports" in w and "GTID" in w for w in document["warnings"]), document["warnings"]
        if "file" in kind:  # new's position between its last applied and its first own write is needed for that
            assert "plain order" in step(document, "events")["detail"]
        order.append(to)
        scene.goes_on(load, server=to)
        scene.daemon.wait_ready(scene.other(to).name)
    scene.right(load, *order)


@pytest.mark.parametrize("kind", TRIPLES)
def test_a_replica_that_is_behind(scene_of, kind):
    """It is repointed only once it has all of old; writes do not wait for it."""
    scene = scene_of(kind)
    old, new = scene.set_out()
    reports = scene.lab.servers["reports"]
    scene.flipd(held=True)
    load = scene.load(interval_ms=1)
    holder = scene.client(reports, "root")
    holder.run("LOCK TABLES app.log READ")
    running = scene.start_flip(new)
    scene.at_gate()
    scene.gate_opens()
    scene.goes_on(load, server=new)
    assert follows(reports, old) and running.child.poll() is None
    holder.run("UNLOCK TABLES")
    running.end("done")
    assert follows(reports, new)
    scene.right(load, old, new)


def test_a_replica_that_is_down(scene_of):
    """Done after settle_timeout, with a warning that names it; what is left is done when it is there again."""
    scene = scene_of("triple")
    old, new = scene.set_out()
    reports = scene.lab.servers["reports"]
    scene.flipd(defaults={"settle_timeout": "1s"})
    load = scene.load(interval_ms=20)
    reports.kill()
    try:
        document = scene.flip(new)
        assert any("reports" in w for w in document["warnings"]), document["warnings"]
        assert document["blackout_ms"] < 1000
        scene.goes_on(load, server=new)
        again = scene.daemon.ctl("flip", "lab", "--to", new.name, "--yes")
        assert again.json["outcome"] == "nothing_to_do", again  # which is not the end of what is left
    finally:
        reports.start()
    wait_for(lambda: follows(reports, new), 40, "the replica to follow new")
    scene.right(load, old, new)


@pytest.mark.parametrize("kind", TRIPLES)
def test_a_replica_that_has_lost_its_relay_log(scene_of, kind):
    """A crash can leave one that begins with nothing (1201). It forgets that, and follows by its own GTID position."""
    scene = scene_of(kind)
    old, new = scene.set_out()
    reports = scene.lab.servers["reports"]
    scene.flipd()
    load = scene.load(interval_ms=5)
    scene.goes_on(load, server=old)
    reports.kill()
    for path in glob.glob(os.path.join(reports.data, "relay.[0-9]*")):
        os.remove(path)
    reports.start()
    with pytest.raises(pymysql.err.OperationalError, match="1201"):
        reports.query("START SLAVE")
    document = scene.flip(new)
    assert step(document, "repoint")["state"] == "done" and follows(reports, new)
    assert any("relay log of replica reports" in w for w in document["warnings"]), document["warnings"]
    scene.goes_on(load, server=new)
    scene.right(load, old, new)


# The plain order.

def test_a_fence_hook_on_new(scene):
    """A fence beside read_only on new: plain order; the hook is opened with new, closed again on the way back."""
    old, new = scene.set_out()
    scene.flipd(cluster=scene.hook_fence(new))
    load = scene.load(interval_ms=1)
    document = scene.flip(new)
    assert "plain order" in step(document, "events")["detail"]
    began = [step(document, name)["started_at"] for name in ("sync", "verify", "intent", "open")]
    assert began == sorted(began)
    assert not os.path.exists(scene.fence_file)
    scene.goes_on(load, server=new)
    scene.daemon.wait_ready(old.name)
    scene.flip(old)
    assert os.path.exists(scene.fence_file), "the fence of the side that was left was not closed"
    scene.goes_on(load, server=old)
    scene.right(load, old, new, old)


def test_a_fence_hook_that_does_not_close(scene):
    """Old's own fence fails in the blackout: rolled back, nothing lost."""
    old, new = scene.set_out()
    config = scene.hook_fence(old)
    os.unlink(scene.fence_file)
    program = config[old.name]["fence"][1]["hook"]["path"]
    script(program, '[ "$FLIPD_ACTION" != close ]')
    scene.flipd(cluster=config, ready=False)
    load = scene.load(interval_ms=1)
    document = scene.flip(new, ("rolled_back", "aborted"))
    assert document["error"]["step"] == "fence", document["error"]
    assert old.writable and not new.writable
    scene.goes_on(load, server=old)
    scene.right(load, old)


@pytest.fixture
def readable(scene):
    """flipd's account may read what verify compares, as the manual says."""
    scene.master.query("GRANT SELECT ON app.* TO flipd@'%'")
    scene.lab.sync(scene.master)
    yield scene
    scene.master.query("REVOKE SELECT ON app.* FROM flipd@'%'")
    scene.lab.sync(scene.master)


@pytest.mark.parametrize("policy", ["counts", {"checksum": ["app.item", "app.work"]}], ids=["counts", "checksum"])
def test_verify(readable, policy):
    scene = readable
    old, new = scene.set_out()
    scene.flipd(defaults={"verify": policy})
    load = scene.load(interval_ms=1)
    document = scene.flip(new)
    assert "plain order" in step(document, "events")["detail"] and step(document, "verify")["state"] == "done"
    scene.goes_on(load, server=new)
    scene.right(load, old, new)


@pytest.mark.parametrize("policy", ["counts", {"checksum": ["app.work", "app.item"]}], ids=["counts", "checksum"])
def test_verify_finds_a_difference(readable, policy):
    """New had lost a row (or a value) before the flip: not opened, the table named."""
    scene = readable
    old, new = scene.set_out()
    wrong = "DELETE FROM app.item WHERE id=7" if policy == "counts" else "UPDATE app.item SET price=0 WHERE id=7"
    row = new.query("SELECT name, price, HEX(data) AS data FROM app.item WHERE id=7")[0]
    new.unlogged([wrong])
    try:
        scene.flipd(defaults={"verify": policy})
        load = scene.load(interval_ms=1)
        running = scene.start_flip(new)
        document = running.end("rolled_back")
        assert running.code == 3 and "app.item" in document["error"]["message"], document["error"]
        assert old.writable and not new.writable
    finally:
        new.unlogged(["REPLACE INTO app.item VALUES (7, '%s', %s, UNHEX('%s'))" % tuple(row.values())])
    scene.goes_on(load, server=old)
    scene.right(load, old)


def test_verify_without_the_right_to_read(scene):
    """Said before the fence, with the GRANT that is missing."""
    old, new = scene.set_out()
    scene.flipd(defaults={"verify": "counts"}, ready=False)
    document = scene.flip(new, ("refused", "aborted"))
    assert document["attempts"] == [] and "GRANT SELECT" in (document["error"]["hint"] or ""), document["error"]
    assert old.writable and not new.writable


# TLS.

TLS_MODES = ["disabled", "preferred", "required", "verify_ca", "verify_identity"]


def tls_config(lab, mode, ca=None):
    verifies = mode.startswith("verify")
    return {"tls": {"mode": mode, "ca": (ca or lab.authority).cert if verifies else None}}


def encrypted(server):
    return int(server.query("SHOW GLOBAL STATUS LIKE 'Ssl_finished_accepts'")[0]["Value"])


@pytest.mark.parametrize("mode", TLS_MODES)
def test_tls(scene_of, mode):
    """Each mode flips; what is encrypted is what the mode says, replication on the way back included."""
    scene = scene_of("tls")
    old, new = scene.set_out()
    before = encrypted(old), encrypted(new)
    scene.flipd(cluster=tls_config(scene.lab, mode))
    assert (encrypted(old) > before[0], encrypted(new) > before[1]) == ((False, False) if mode == "disabled" else
                                                                       (True, True))
    load = scene.load(interval_ms=1)
    scene.flip(new)
    row = old.replica_status()
    assert row["Master_SSL_Allowed"] == ("No" if mode == "disabled" else "Yes")
    assert row["Master_SSL_Verify_Server_Cert"] == ("Yes" if mode == "verify_identity" else "No")
    scene.goes_on(load, server=new)
    scene.right(load, old, new)


@pytest.mark.parametrize("mode", TLS_MODES)
def test_an_account_that_requires_tls(scene_of, mode):
    scene = scene_of("tls")
    old, new = scene.set_out()
    old.query("ALTER USER flipd@'%' REQUIRE SSL")
    scene.lab.sync(old)
    try:
        daemon = scene.flipd(ready=mode != "disabled", cluster=tls_config(scene.lab, mode))
        if mode == "disabled":
            answer = daemon.ctl("check", "lab", "--to", new.name)
            assert answer.code == 2 and named_check(answer.json, "connect")["result"] == "refuse"
    finally:
        old.query("ALTER USER flipd@'%' REQUIRE NONE")
        scene.lab.sync(old)


def test_replication_that_requires_tls(scene_of):
    """Under `preferred` the way back is encrypted where the server offers it: the account may ask for it."""
    scene = scene_of("tls")
    old, new = scene.set_out()
    old.query("ALTER USER repl@'%' REQUIRE SSL")
    scene.lab.sync(old)
    try:
        daemon = scene.flipd(cluster=tls_config(scene.lab, "preferred"))
        load = scene.load(interval_ms=2)
        check = daemon.ctl("check", "lab", "--to", new.name)
        assert named_check(check.json, "reverse_path")["result"] == "ok", check
        scene.flip(new)
        assert old.replica_status()["Master_SSL_Allowed"] == "Yes"
        scene.goes_on(load, server=new)
        scene.right(load, old, new)
    finally:
        scene.master.query("ALTER USER repl@'%' REQUIRE NONE")
        scene.lab.sync(scene.master)


def refused_connection(daemon, to):
    answer = daemon.ctl("check", "lab", "--to", to)
    assert answer.code == 2, answer
    check = named_check(answer.json, "connect")
    assert check["result"] == "refuse" and check["hint"]
    assert daemon.flip(to).code == 2
    return check["seen"]


@pytest.mark.parametrize("mode", ["verify_ca", "verify_identity"])
def test_a_certificate_of_another_authority(scene_of, mode):
    scene = scene_of("tls")
    old, new = scene.set_out()
    other = Authority(os.path.join(scene.lab.dir, "other-authority"))
    daemon = scene.flipd(ready=False, cluster=tls_config(scene.lab, mode, other))
    seen = refused_connection(daemon, new.name)
    assert "certificate" in seen.lower() or "ssl" in seen.lower() or "tls" in seen.lower(), seen


def test_required_of_servers_without_tls(scene):
    old, new = scene.set_out()
    daemon = scene.flipd(ready=False, cluster={"tls": {"mode": "required"}})
    refused_connection(daemon, new.name)
    assert old.writable and not new.writable


def with_hosts(scene, names):
    """A wrapper that runs flipd with host names of its own: {name: address}."""
    path = os.path.join(scene.lab.dir, "hosts")
    with open(path, "w") as f:
        f.write("127.0.0.1 localhost\n" + "".join("%s %s\n" % (at, name) for name, at in names.items()))
    flags = "-m" if os.geteuid() == 0 else "-rm"
    return ["unshare", flags, "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', path]


def by_name(scene, source, target):
    """Configuration of the cluster: flipd goes to the servers by these names, other servers by their addresses."""
    lab = scene.lab
    return dict(tls_config(lab, "verify_identity"), **{
        side: {"host": name, "replication_address": "%s:%d" % (lab.servers[side].address, lab.port)}
        for side, name in (("source", source), ("target", target))})


def test_verify_identity_by_host_name(scene_of):
    """The certificates name source and target."""
    scene = scene_of("tls")
    old, new = scene.set_out()
    names = {side: scene.lab.servers[side].address for side in ("source", "target")}
    scene.flipd(cluster=by_name(scene, "source", "target"), wrapper=with_hosts(scene, names))
    load = scene.load(interval_ms=1)
    scene.flip(new)
    assert old.replica_status()["Master_SSL_Verify_Server_Cert"] == "Yes"
    scene.goes_on(load, server=new)
    scene.right(load, old, new)


def test_verify_identity_by_a_wrong_host_name(scene_of):
    """The same servers under a name that is not in their certificate: not trusted."""
    scene = scene_of("tls")
    old, new = scene.set_out()
    names = {"impostor": scene.lab.servers["source"].address, "target": scene.lab.servers["target"].address}
    daemon = scene.flipd(ready=False, cluster=by_name(scene, "impostor", "target"), wrapper=with_hosts(scene, names))
    refused_connection(daemon, new.name)
    wait_for(lambda: daemon.state()["servers"], 5, "servers")
    up = {s["name"]: s["up"] for s in daemon.state()["servers"]}
    assert up == {"source": False, "target": True}
