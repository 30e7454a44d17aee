"""A lab: servers that replicate, name servers, flipd and the load, all in one directory and one address block.

    with Lab() as lab:
        lab.cluster(replicas=["reports"])
        lab.dns()
        flipd = lab.flipd()
"""

import atexit
import json
import os
import shutil
import tempfile

from . import accounts, places
from .flipd import Flipd
from .load import Load
from .mariadb import Server
from .named import Named
from .proc import LabError, Pids, Process, can_bind, free_block, free_port, wait_for
from .tls import Authority

SCHEMA = [
    "CREATE DATABASE app",
    "CREATE TABLE app.log (writer INT NOT NULL, seq BIGINT NOT NULL, payload VARCHAR(200) NOT NULL, "
    "at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), PRIMARY KEY (writer, seq)) ENGINE=InnoDB",
    "CREATE TABLE app.total (writer INT NOT NULL PRIMARY KEY, n BIGINT NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE app.item (id INT NOT NULL PRIMARY KEY AUTO_INCREMENT, name VARCHAR(60) NULL, price DECIMAL(9,2), "
    "data BLOB, KEY (name)) ENGINE=InnoDB",
    "CREATE TABLE app.work (id INT NOT NULL PRIMARY KEY, n BIGINT NOT NULL) ENGINE=InnoDB",
    "INSERT INTO app.item (name, price, data) SELECT CONCAT('item ', seq), seq * 1.25, UNHEX(MD5(seq)) "
    "FROM app.seq_1_to_50",
    "INSERT INTO app.item (name, price, data) VALUES (NULL, NULL, NULL)",
    "INSERT INTO app.total SELECT seq, 0 FROM app.seq_0_to_63",
    "INSERT INTO app.work SELECT seq, 0 FROM app.seq_1_to_1000",
]

SOURCE, TARGET, STATUS, FAR = 1, 2, 80, 10
PREFIX = "flipd-lab-"
ZONES = ("example.test.", "internal.test.")


class Lab:
    def __init__(self, keep=False, directory=None):
        self.keep = keep or bool(os.environ.get("KEEP"))
        self.dir = tempfile.mkdtemp(prefix=PREFIX, dir=directory or os.environ.get("LAB_DIR"))
        self.pids = Pids(os.path.join(self.dir, "pids"))
        self.passwords = accounts.make_passwords()
        self.block, self.port = self._take_block()
        self.servers, self.named, self.secondary, self.daemons, self.loads = {}, None, None, [], []
        self.also_reached, self.proxy, self.authority, self.gtid, self.grants_from = {}, None, None, True, None
        self._secrets()
        atexit.register(self.close)

    def _take_block(self):
        for _ in range(50):
            block = free_block()
            addresses = ["%s.%d" % (block, n) for n in (1, 2, 3, 4, 5, FAR + SOURCE, FAR + TARGET, STATUS)]
            if can_bind(addresses[0], 0, 1):
                return block, free_port(addresses)
        raise LabError("no free loopback block")

    def _secrets(self):
        for user, password in self.passwords.items():
            with open(os.open(self.secret(user), os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
                f.write(password + "\n")

    def secret(self, user):
        return os.path.join(self.dir, user + ".password")

    def address(self, n):
        return "%s.%d" % (self.block, n)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Servers.

    def server(self, name, number, options=None, tls=False):
        """A server of the lab, not yet started; number is its server id and the end of its address."""
        address = self.address(number)
        if tls:
            self.authority = self.authority or Authority(os.path.join(self.dir, "tls"))
            options = dict(options or {}, **self.authority.options(name, address))
        server = Server(self, name, number, address, self.port, options)
        self.servers[name] = server
        return server

    def cluster(self, replicas=(), gtid=True, options=None, tls=False, semi_sync=False, admin=False, prefixes=None,
                **by_name):
        """source (open), target (closed, follows it) and replicas; options for all, then those given by_name; prefixes:
        by name, the words before the server's program."""
        self.gtid = gtid
        common = dict(options or {})
        if semi_sync:
            common.update(rpl_semi_sync_master_enabled="1", rpl_semi_sync_slave_enabled="1",
                          rpl_semi_sync_master_timeout="1000", rpl_semi_sync_master_wait_point="AFTER_SYNC")
        for number, name in enumerate(["source", "target"] + list(replicas), SOURCE):
            server = self.server(name, number, dict(common, **by_name.get(name, {})), tls)
            server.prefix = list((prefixes or {}).get(name, ()))
            server.start(wait=False)
        text, self.grants_from = accounts.grants_text()
        for server in self.servers.values():
            server.wait_up()
            server.unlogged(accounts.statements(self.passwords, text, admin))
        self._replicate(tls)
        return self

    def _replicate(self, tls):
        source = self.servers["source"]
        position = source.binlog_position()
        for name, server in self.servers.items():
            if name != "source":
                server.follow(source, self.gtid, position, ssl=tls)
        source.query("SET GLOBAL read_only=0")
        for statement in SCHEMA:
            source.query(statement)
        self.sync(source)

    def sync(self, master):
        """Waits until every other server has everything that master has."""
        position = master.gtid()
        for server in self.servers.values():
            if server is not master and server.running:
                server.wait_gtid(position)

    def distance(self, each_way_ms):
        """Puts source and target apart: {side: address} of a proxy that delays, at the servers' port, and replication
        through it. Applications stay beside the server they use."""
        far = {side: self.address(FAR + self.servers[side].server_id) for side in ("source", "target")}
        self.also_reached = {side: [(at, self.port)] for side, at in far.items()}
        maps = ["%s:%d=%s:%d" % (far[s], self.port, self.servers[s].address, self.port) for s in far]
        self.proxy = Process([places.built("tests/bench/delay"), "--ms", str(each_way_ms)] + maps,
                             os.path.join(self.dir, "delay.log"), self.pids)
        wait_for(lambda: "ready" in self.proxy.log_tail(), 10, "the delay")
        target = self.servers["target"]
        target.query("STOP SLAVE")
        target.follow(self.servers["source"], self.gtid, host=far["source"])
        return far

    def master(self):
        """The one writable side."""
        sides = [s for s in (self.servers["source"], self.servers["target"]) if s.running and s.writable]
        if len(sides) != 1:
            raise LabError("writable sides: %s" % [s.name for s in sides])
        return sides[0]

    # Names.

    def dns(self, kind="CNAME", secondary=False, zones=ZONES, labels=("db",)):
        """A BIND with the zones; each has a1, b1 (the two sides) and the labels, which stand on the source."""
        self.named = Named(self, "named")
        self.kind = kind
        for zone in zones:
            records = ["a1 60 A " + self.address(SOURCE), "b1 60 A " + self.address(TARGET)]
            records += ["%s 5 %s %s" % (label, kind, "a1" if kind == "CNAME" else self.address(SOURCE))
                        for label in labels]
            self.named.add_zone(zone, records, ["%s.%s" % (label, zone) for label in labels])
        if secondary:
            self.secondary = Named(self, "secondary", self.named)
        self.named.start()
        if secondary:
            self.secondary.start()
        return self.named

    def endpoint_value(self, zone, side, kind=None):
        number = {"source": SOURCE, "target": TARGET}[side]
        if (kind or self.kind) == "A":
            return self.address(number)
        return {"source": "a1.", "target": "b1."}[side] + zone

    def endpoint(self, zone, label="db", **more):
        """The configuration of one DNS endpoint, as under `endpoints:`."""
        at = "%s:%d" % (self.named.address, self.named.port)
        authoritative = [at] + (["%s:%d" % (self.secondary.address, self.secondary.port)] if self.secondary else [])
        return {"dns": dict({
            "name": "%s.%s" % (label, zone), "zone": zone, "type": self.kind, "ttl": "5s", "servers": [at],
            "authoritative": authoritative,
            "tsig": {"name": "flipd-key.", "algorithm": "hmac-sha256", "secret_file": self.named.secret_file},
            "source": self.endpoint_value(zone, "source"), "target": self.endpoint_value(zone, "target")}, **more)}

    # flipd and the load.

    def flipd(self, start=True, **config):
        daemon = Flipd(self, **config)
        self.daemons.append(daemon)
        return daemon.start() if start else daemon

    def load(self, start=True, **options):
        load = Load(self, **options)
        self.loads.append(load)
        return load.start() if start else load

    # The end.

    def describe(self):
        """What another process needs to know of a lab that was kept."""
        with open(os.path.join(self.dir, "lab.json"), "w") as f:
            json.dump({"block": self.block, "port": self.port,
                       "servers": {n: [s.address, s.port, s.socket] for n, s in self.servers.items()}}, f, indent=1)

    def stop(self):
        """Everything that was started, flipd and the load first."""
        for thing in self.loads + self.daemons:
            try:
                thing.stop()
            except Exception as e:  # the rest must be stopped too
                print("lab: while stopping: %s" % e)
        left = self.pids.stop_all()
        if left:
            raise LabError("would not stop: %s" % ", ".join(left))

    def close(self):
        atexit.unregister(self.close)
        if self.keep:
            self.describe()
            return
        try:
            self.stop()
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)


def stop_kept(directory):
    """Stops a lab that was kept, or whose program was killed, and removes its directory; it must be one."""
    path = os.path.join(directory, "pids")
    if not os.path.basename(os.path.normpath(directory)).startswith(PREFIX) or not os.path.isfile(path):
        raise LabError("%s is not a lab's directory" % directory)
    left = Pids.load(path).stop_all()
    if left:
        raise LabError("would not stop: %s" % ", ".join(left))
    shutil.rmtree(directory)
