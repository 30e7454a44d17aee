"""A scene: one lab that several tests share. Each test finds one master, a replica in step, empty tables, and starts a
flipd of its own with the configuration that it needs; a lab in which a test failed is not used again."""

import contextlib
import os
import re
import textwrap
import threading
import time

import pymysql
import pytest

from .checker import check
from .lab import Lab
from .proc import LabError, wait_for

ZONE = "example.test."
KINDS = {
    "pair": {},
    "triple": {"replicas": ["reports"]},
    "file": {"gtid": False},
    "file triple": {"gtid": False, "replicas": ["reports"]},
    "semi-sync": {"semi_sync": True, "options": {"rpl_semi_sync_master_wait_no_slave": "1",
                                                "rpl_semi_sync_master_timeout": "500"}},
    "tls": {"tls": True},
}
CHANGES = re.compile(r"(/\*.*?\*/ *)?SET (STATEMENT .* FOR SET )?GLOBAL read_only", re.S)
FENCE, OPENING = "SET GLOBAL read_only=1", "SET GLOBAL read_only = NOT"


class Client:
    """A connection of an application (or root), and at most one statement that runs on by itself."""

    def __init__(self, server, user="app", db="app", autocommit=True):
        tcp = user != "root"
        self.connection = server.connect(user, server.lab.passwords[user] if tcp else "", db=db, tcp=tcp)
        self.connection.autocommit(autocommit)
        self.id, self.thread, self.error = self.connection.thread_id(), None, None

    def run(self, text):
        with self.connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall()

    def begin(self, text):
        def work():
            try:
                self.run(text)
            except Exception as e:
                self.error = e
        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()
        return self

    def end(self, timeout=30):
        """What the statement that was begun met: an exception or None."""
        self.thread.join(timeout)
        if self.thread.is_alive():
            raise LabError("session %d: its statement did not end" % self.id)
        return self.error

    @property
    def running(self):
        return self.thread is not None and self.thread.is_alive()

    @property
    def alive(self):
        try:
            return self.run("SELECT 1") == ((1,),)
        except pymysql.err.Error:
            return False

    def close(self):
        with contextlib.suppress(Exception):
            self.connection.close()


def sessions(server, pattern=None):
    """The process list; pattern: only statements that contain it."""
    rows = server.query("SELECT ID AS id, USER AS user, COMMAND AS command, STATE AS state, INFO AS info "
                        "FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID()")
    return [r for r in rows if pattern is None or pattern in (r["info"] or "")]


def await_statement(server, pattern, timeout=20):
    """Until a statement with the pattern runs there: its row."""
    return wait_for(lambda: sessions(server, pattern), timeout, "%r on %s" % (pattern, server.name))[0]


def await_age(server, client, milliseconds):
    """Until the statement that the client began has run for longer than that there."""
    wait_for(lambda: server.value("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID=%d AND COMMAND='Query' "
                                  "AND TIME_MS>%d" % (client.id, milliseconds)),
             20, "the statement of session %d to be older than %d ms" % (client.id, milliseconds))


def await_blocked(server, client, timeout=5):
    """Until the client's statement waits for something in the server."""
    def waits():
        return [r for r in sessions(server) if r["id"] == client.id and "aiting" in (r["state"] or "")]
    return wait_for(waits, timeout, "session %d to wait" % client.id)[0]


def own_seq(server, state=None):
    """The number of the last transaction that server wrote itself, by its log."""
    for entry in filter(None, (state or server.gtid("gtid_binlog_state")).split(",")):
        domain, server_id, seq = map(int, entry.split("-"))
        if server_id == server.server_id and domain == 0:
            return seq
    return 0


def named_check(document, name):
    return next(c for c in document["checks"] if c["name"] == name)


def step(document, name):
    return next(s for s in document["steps"] if s["name"] == name)


def script(path, text):
    """A program of the operator's."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o755), "w") as f:
        f.write("#!/bin/sh\n" + textwrap.dedent(text) + "\n")
    return path


class Running:
    """A flip whose flipctl is still waiting."""

    def __init__(self, scene, child):
        self.scene, self.child, self.answer = scene, child, None

    def end(self, outcome=None, timeout=60):
        """Its document as `show` has it; the outcome must be the one given, or one of them."""
        try:
            out, err = self.child.communicate(timeout=timeout)
        except Exception:
            self.child.kill()
            raise LabError("the flip did not end:\n" + self.scene.daemon.process.log_tail(40)) from None
        self.code = self.child.returncode
        document = self.scene.last()
        wanted = [outcome] if isinstance(outcome, str) else outcome
        if wanted and document["outcome"] not in wanted:
            raise LabError("the flip ended %s, not %s: %s\n%s%s\n%s" % (
                document["outcome"], " or ".join(wanted), document["error"], out[-300:], err[-300:],
                self.scene.daemon.process.log_tail(40)))
        return document


class Scene:
    def __init__(self, kind="pair", dns=True):
        self.kind = kind
        self.lab = Lab()
        self.lab.keep = False
        self.daemon, self.number = None, 0
        self.stack = contextlib.ExitStack()
        try:
            self.lab.cluster(**KINDS[kind])
            if dns:
                self.lab.dns()
        except BaseException:
            self.lab.close()
            raise

    # The sides as they are now.

    @property
    def master(self):
        return self.lab.master()

    @property
    def standby(self):
        return self.other(self.master)

    def other(self, server):
        return self.lab.servers["target" if server.name == "source" else "source"]

    def set_out(self):
        """Before a test: one master, everything in step, nothing in the tables."""
        old = self.master
        old.query("DELETE FROM app.log")
        old.query("UPDATE app.total SET n=0 WHERE n<>0")
        for server in self.lab.servers.values():
            if server is not old:
                server.wait_replicating()
        self.lab.sync(old)
        return old, self.standby

    def tidy(self):
        """After a test: its clients, writers and flipd are gone."""
        self.stack.close()
        self.stack = contextlib.ExitStack()
        for thing in self.lab.loads:
            thing.stop()
        self.lab.loads.clear()
        if self.daemon:
            self.daemon.stop()
            self.daemon = None
            self.lab.daemons.clear()

    def close(self):
        self.stack.close()
        self.lab.close()

    def aged(self, server):
        """Before a restart: flipd tells the runs of a server apart by the second in which they began, give or take."""
        wait_for(lambda: int(server.query("SHOW GLOBAL STATUS LIKE 'Uptime'")[0]["Value"]) >= 4, 10, "some seconds")

    # What a test puts on it.

    def flipd(self, ready=True, start=True, held=False, daemon=None, **config):
        """A daemon of this test's own; ready: it is awaited until it can flip to the standby; held: for held_flip()."""
        self.number += 1
        if self.daemon:
            self.daemon.stop()
            self.lab.daemons.clear()
        if held:
            config["cluster"] = dict(config.get("cluster", {}), **self.hook_gate())
        self.daemon = self.lab.flipd(start=start, name="flipd-%d" % self.number,
                                     daemon=dict({"poll_interval": "100ms"}, **(daemon or {})), **config)
        if start and ready:
            self.daemon.wait_ready(self.standby.name)
        return self.daemon

    def load(self, **options):
        self.number += 1
        options.setdefault("zone", ZONE if self.lab.named else None)
        return self.lab.load(name="load-%d" % self.number, **dict({"writers": 4}, **options))

    def account(self, server, user, *grants):
        """An account of this test's own, made on the master and there on all: "SELECT ON app.*", ...; gone after it."""
        self.lab.passwords.setdefault(user, user + "-password")
        with open(self.lab.secret(user), "w") as f:
            f.write(self.lab.passwords[user] + "\n")
        server.query("CREATE USER '%s'@'%%' IDENTIFIED BY '%s'" % (user, self.lab.passwords[user]))
        self.stack.callback(lambda: self.master.query("DROP USER '%s'@'%%'" % user))
        for grant in grants:
            server.query("GRANT %s TO '%s'@'%%'" % (grant, user))
        self.lab.sync(server)
        return user

    def may_lock_accounts(self, server):
        """flipd may, for this test."""
        server.query("GRANT CREATE USER ON *.* TO 'flipd'@'%'")
        self.stack.callback(lambda: self.master.query("REVOKE CREATE USER ON *.* FROM 'flipd'@'%'"))
        self.lab.sync(server)

    def names_after_open(self):
        """Configuration of the cluster: names switch once new is open. Who walks through the fence comes there no
        earlier: new's would not stop it either."""
        return {"endpoints": [self.lab.endpoint(z, order="after_open") for z in self.lab.named.zones]}

    def client(self, server, user="app", **options):
        client = Client(server, user, **options)
        self.stack.callback(client.close)
        return client

    def hook_gate(self, point="before_fence"):
        """Configuration of the cluster: a hook before the fence (or elsewhere) that waits for gate_opens()."""
        self.number += 1
        self.gate = os.path.join(self.lab.dir, "gate-%d" % self.number)
        program = script(self.gate + ".sh", """\
            echo "$FLIPD_ID" >"%s.new" && mv "%s.new" "%s.there"
            while [ -e "%s.there" ]; do sleep 0.01; done""".replace("%s", self.gate))
        return {"hooks": {point: [program]}}

    def at_gate(self):
        """Until the flip waits at its gate: its id."""
        wait_for(lambda: os.path.exists(self.gate + ".there"), 20, "the flip to come to its gate")
        with open(self.gate + ".there") as f:
            return f.read().strip()

    def gate_opens(self):
        os.unlink(self.gate + ".there")

    def held_flip(self, new, *more):
        """A flip whose final position new never gets to, until the session that is answered lets its tables go: new's
        applier stops at the marker row that old writes right before the fence. Needs flipd(held=True)."""
        running = self.start_flip(new, *more)
        flip_id = self.at_gate()
        wait_for(lambda: new.query("SELECT 1 FROM flipd.flips WHERE id=%s", (flip_id,)), 10, "the flip's row on new")
        holder = self.client(new, "root")
        holder.run("LOCK TABLES flipd.flips READ")
        self.gate_opens()
        return holder, running

    def hook_fence(self, server):
        """Configuration of the cluster: server has a fence of its own beside read_only, a program that keeps a file.
        Such a new side is opened in the plain order."""
        self.number += 1
        self.fence_file = os.path.join(self.lab.dir, "fence-%d" % self.number)
        program = script(self.fence_file + ".sh", """\
            case "$FLIPD_ACTION" in
            close) touch "%s" ;;
            open) rm -f "%s" ;;
            verify) test -e "%s" ;;
            esac""".replace("%s", self.fence_file))
        open(self.fence_file, "w").close()
        return {server.name: {"fence": ["read_only", {"hook": {"path": program, "timeout": "5s"}}]}}

    def start_flip(self, to, *more):
        """The flip begins; flipctl waits for it beside the test."""
        return Running(self, self.daemon.ctl_start("flip", "lab", "--to", getattr(to, "name", to), "--yes", *more))

    def flip(self, to, outcome="done", *more):
        return self.start_flip(to, *more).end(outcome)

    def last(self):
        """The newest flip, whole."""
        history = self.daemon.ctl("history", "lab").json["flips"]
        return self.daemon.ctl("show", history[0]["id"]).json

    def await_end(self, outcome, timeout=30):
        """For a flip that nobody waits for: until the newest one has ended (or is stuck); its document."""
        def ended():
            history = self.daemon.ctl("history", "lab").json
            return history and history["flips"] and history["flips"][0]["outcome"]
        try:
            seen = wait_for(ended, timeout, "the flip to end")
        except LabError as e:
            raise LabError("%s\n%s" % (e, self.daemon.process.log_tail(40))) from None
        if seen != outcome:
            raise LabError("the flip ended %s, not %s\n%s" % (seen, outcome, self.daemon.process.log_tail(40)))
        return self.last()

    # What must hold.

    def goes_on(self, *loads, server=None):
        """Every writer of every load gets a write acknowledged (by server) that it issued from now on."""
        since = int(time.monotonic() * 1e6)

        def written(load):
            got = {w.writer for w in load.so_far() if w.kind == "A" and w.began > since
                   and (server is None or w.server == server.server_id)}
            return len(got) >= load.writers
        for load in loads:
            wait_for(lambda l=load: written(l), 20, "the writers to go on")

    def names_point_to(self, side):
        for zone in self.lab.named.zones if self.lab.named else ():
            expected = [self.lab.endpoint_value(zone, side.name)]
            assert self.lab.named.ask("db." + zone, self.lab.kind) == expected, zone

    def right(self, loads, *order):
        """Ends the writers, and flipd with its heartbeat. Nothing lost, nothing twice, never two masters, all the same
        everywhere; order: the masters one after another. The checker's report."""
        if self.daemon:
            self.daemon.stop()
        loads = loads if isinstance(loads, (list, tuple)) else [loads]
        report = check(self.lab, loads, [s.name for s in order])
        assert report.right, str(report)
        self.names_point_to(order[-1])
        return report

    def nothing_added(self, document, old):
        """Old's log has nothing of its own beyond the final position of a flip that was done."""
        final = document["position"]["final"].split(" ", 1)[1]
        assert own_seq(old) == own_seq(old, final), "%s: %s, final %s" % (
            old.name, old.gtid("gtid_binlog_state"), final)

    def nothing_pending(self):
        """No statement of any flip that opens or closes runs on either side: nothing can happen later by itself."""
        for server in self.lab.servers.values():
            left = [r for r in sessions(server, "GLOBAL read_only") if CHANGES.match(r["info"])]
            assert not left, "%s: %s" % (server.name, left)


# Fixtures: a test file imports `scenes` and `scene_of`, and its tests ask for scene_of("pair").

@pytest.fixture(scope="module")
def scenes():
    there = {}
    yield there
    for scene in there.values():
        scene.close()


@pytest.fixture
def scene_of(request, scenes):
    """scene_of(kind) gives the module's scene of that kind, set out for this test."""
    used = []

    def get(kind="pair", **options):
        key = (kind, tuple(sorted(options.items())))
        if key not in scenes:
            scenes[key] = Scene(kind, **options)
        used.append(key)
        scenes[key].set_out()
        return scenes[key]
    yield get
    failed = getattr(request.node, "failed", True)
    for key in used:
        scene = scenes[key]
        if failed:
            show(scene)
        try:
            scene.tidy()
        except Exception as e:
            failed = True
            print("scene: %s" % e)
        if failed and os.environ.get("KEEP"):
            scene.lab.keep = True
            print("kept: %s" % scene.lab.dir)
        if failed:
            del scenes[key]
            scene.close()


def show(scene):
    for daemon in scene.lab.daemons:
        print("---- %s\n%s" % (daemon.log, daemon.process.log_tail(60) if daemon.process else ""))
    for server in scene.lab.servers.values():
        print("---- %s\n%s" % (server.log, server.process.log_tail(8) if server.process else ""))


@pytest.fixture
def scene(scene_of):
    return scene_of("pair")
