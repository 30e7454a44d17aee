"""Nothing stalls: whatever hangs in one cluster, ping and status answer at once and another cluster flips.

One flipd watches the cluster "lab", which is well, and others: a server that is stopped, an address that swallows
connections, names that no name server answers for, an endpoint hook that hangs, a name server that is frozen."""

import contextlib
import json
import os
import socket
import threading
import time

import pytest

from lab.flipd import merge
from lab.lab import Lab
from lab.proc import free_port, wait_for
from lab.scene import OPENING, Scene, await_statement, script, show

QUICK_S = 0.2   # for an answer of flipd's
SLACK_S = 1.0   # for the slowest two of a hundred, since the tests' own load keeps all processors busy


class BlackHole:
    """An address that takes connections and never answers one: a listener that nobody accepts from, its queue full,
    so that further connections hang in the kernel."""

    def __init__(self, address):
        self.address, self.port = address, free_port([address])
        self.listener = socket.socket()
        self.listener.bind((address, self.port))
        self.listener.listen(0)
        self.fill = []
        for _ in range(8):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex((address, self.port))
            self.fill.append(s)
        probe = socket.socket()
        probe.settimeout(0.3)
        try:
            probe.connect((address, self.port))
            raise AssertionError("the black hole lets connections in")
        except (socket.timeout, TimeoutError):
            pass
        finally:
            probe.close()

    def close(self):
        for s in self.fill + [self.listener]:
            s.close()


def account(lab):
    """How flipd logs in on the servers of another lab."""
    return {"user": "flipd", "password_file": lab.secret("flipd"),
            "replication": {"user": "repl", "password_file": lab.secret("repl")},
            "fence_probe": {"user": "flipd_probe", "password_file": lab.secret("flipd_probe")}}


def sides(source, target):
    return {"source": {"host": source[0], "port": source[1]}, "target": {"host": target[0], "port": target[1]}}


class Stage:
    """A healthy scene, a second lab that is made to hang, and one flipd over both."""

    def __init__(self):
        self.scene = Scene()
        self.other = Lab()
        self.other.keep = False
        self.holes = []
        try:
            self.other.cluster()
            self.other.dns()
        except BaseException:
            self.close()
            raise

    def flipd(self, clusters, **options):
        """A daemon with the cluster "lab" and these; not awaited for the others."""
        scene = self.scene
        daemon = scene.flipd(ready=False, start=False, **options)
        daemon.config = merge(daemon.config, {"clusters": clusters})
        daemon.write_config()
        daemon.start()
        daemon.wait_ready(scene.standby.name)
        return daemon

    def other_cluster(self, **more):
        lab = self.other
        at = [(lab.servers[side].address, lab.port) for side in ("source", "target")]
        return merge(merge(account(lab), sides(*at)), more)

    def black_hole(self):
        self.holes.append(BlackHole(self.other.address(60 + len(self.holes))))
        return self.holes[-1]

    def close(self):
        for hole in self.holes:
            hole.close()
        self.scene.close()
        self.other.close()


@pytest.fixture(scope="module")
def stages():
    there = []
    yield there
    for stage in there:
        stage.close()


@pytest.fixture
def stage(request, stages):
    if not stages:
        stages.append(Stage())
    stage = stages[0]
    stage.scene.set_out()
    yield stage
    failed = getattr(request.node, "failed", True)
    for server in stage.other.servers.values():
        server.thaw()
    stage.other.named.thaw()
    if failed:
        show(stage.scene)
    stage.scene.tidy()
    for hole in stage.holes:
        hole.close()
    stage.holes.clear()
    if failed:
        stages.remove(stage)
        stage.close()


class Watching:
    """Asks ping and status all the time, each on a connection of its own; how long the answers took."""

    def __init__(self, daemon):
        self.daemon, self.took, self.error, self.over = daemon, [], None, threading.Event()
        self.thread = threading.Thread(target=self._work)

    def _ask(self, command):
        begin = time.monotonic()
        with socket.socket(socket.AF_UNIX) as s, contextlib.suppress(socket.timeout):
            s.settimeout(10)
            s.connect(self.daemon.socket)
            s.sendall(b'{"id":1,"cmd":"%s","args":{}}\n' % command.encode())
            answer = s.makefile().readline()
            assert json.loads(answer)["ok"], answer
        self.took.append((time.monotonic() - begin, command))

    def _work(self):
        try:
            while not self.over.wait(0.01):
                self._ask("ping")
                self._ask("status")
        except Exception as e:
            self.error = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def judge(self):
        assert self.error is None and len(self.took) >= 20, (self.error, self.took)
        times = sorted(self.took)
        slow = [t for t in times if t[0] > QUICK_S]
        assert len(slow) <= max(1, len(times) // 50) and times[-1][0] < SLACK_S, times[-5:]


@contextlib.contextmanager
def flip_beside(stage, daemon):
    """While the others hang: the healthy cluster flips, with writers, as fast as ever; all answers are quick. Within it
    flipd still runs, and can be asked of the others; it then ends."""
    scene = stage.scene
    old, new = scene.master, scene.standby
    load = scene.load(interval_ms=1)
    with Watching(daemon) as watching:
        begin = time.monotonic()
        document = scene.flip(new)
        took = time.monotonic() - begin
        scene.goes_on(load, server=new)
    watching.judge()
    assert took < 5 and document["blackout_ms"] < 1000, (took, document["blackout_ms"])
    yield
    scene.right(load, old, new)


def test_a_server_that_is_stopped(stage):
    stage.other.servers["source"].freeze()
    daemon = stage.flipd({"ill": stage.other_cluster()})
    with flip_beside(stage, daemon):
        assert not next(s for s in daemon.state("ill")["servers"] if s["name"] == "source")["up"]


def test_a_server_that_stops_while_it_is_watched(stage):
    daemon = stage.flipd({"ill": stage.other_cluster()})
    wait_for(lambda: daemon.state("ill")["state"] == "ok", 10, "the other cluster to be watched")
    for server in stage.other.servers.values():
        server.freeze()
    with flip_beside(stage, daemon):
        wait_for(lambda: daemon.state("ill")["state"] in ("no_master", "unreachable"), 15, "flipd to see it")


def test_addresses_that_swallow_connections(stage):
    clusters = {}
    for n in range(4):
        holes = [stage.black_hole() for _ in range(2)]
        clusters["ill%d" % n] = merge(account(stage.other), sides(*((h.address, h.port) for h in holes)))
    daemon = stage.flipd(clusters)
    with flip_beside(stage, daemon):
        assert daemon.state("ill0")["state"] in ("no_master", "unreachable")


def silent_resolver(stage):
    """A wrapper that gives flipd a resolv.conf whose name server never answers."""
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind((stage.other.address(70), 53))
    stage.scene.stack.callback(silent.close)
    path = os.path.join(stage.other.dir, "resolv.conf")
    with open(path, "w") as f:
        f.write("nameserver %s\n" % stage.other.address(70))
    return silent, ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', path]


@pytest.mark.skipif(os.geteuid() != 0, reason="a name server of one's own for one process needs root")
def test_names_that_nobody_resolves(stage):
    """More clusters with a dead name server than flipd keeps threads for what blocks."""
    clusters = {"ill%d" % n: merge(account(stage.other), sides(("a%d.example.test" % n, 3306),
                                                               ("b%d.example.test" % n, 3306))) for n in range(6)}
    silent, wrapper = silent_resolver(stage)
    daemon = stage.flipd(clusters, wrapper=wrapper)
    asked = set()
    silent.settimeout(10)
    while len(asked) < 8:  # so many of them hang
        asked.add(silent.recv(512)[12:15])
    with flip_beside(stage, daemon):
        assert daemon.state("ill0")["state"] in ("no_master", "unreachable")


def test_an_endpoint_hook_that_hangs(stage):
    """A flip and a check of the other cluster hang in its hook meanwhile."""
    program = script(os.path.join(stage.other.dir, "hangs"), "exec sleep 600")
    daemon = stage.flipd({"ill": stage.other_cluster(endpoints=[{"hook": {"path": program, "timeout": "20s"}}])})
    wait_for(lambda: daemon.state("ill")["master"], 10, "the other cluster to be watched")
    hanging = [daemon.ctl_start("check", "ill", "--to", "target"),
               daemon.ctl_start("flip", "ill", "--to", "target", "--yes")]
    try:
        with flip_beside(stage, daemon):
            assert hanging[1].poll() is None, "the other flip did not hang"
    finally:
        for child in hanging:
            child.kill()
            child.communicate()


def test_a_name_server_that_is_frozen(stage):
    """The other cluster's zones are on a BIND that is stopped; it has a flip running, which is refused at last."""
    stage.other.named.freeze()
    endpoints = [stage.other.endpoint(z) for z in stage.other.named.zones]
    daemon = stage.flipd({"ill": stage.other_cluster(endpoints=endpoints)})
    wait_for(lambda: daemon.state("ill")["master"], 10, "the other cluster to be watched")
    hanging = daemon.ctl_start("flip", "ill", "--to", "target", "--yes")
    with flip_beside(stage, daemon):
        out, _ = hanging.communicate(timeout=90)
        assert hanging.returncode == 2, out
        assert stage.other.servers["source"].writable and not stage.other.servers["target"].writable


def test_a_flip_that_hangs_in_the_blackout(stage):
    """The other cluster's new side is stopped while its opening waits there."""
    other, target = stage.other, stage.other.servers["target"]
    program = script(os.path.join(other.dir, "gate"), 'touch "$0.there"; while [ -e "$0.there" ]; do sleep 0.01; done')
    gate = program + ".there"
    daemon = stage.flipd({"ill": stage.other_cluster(max_blackout="10s", hooks={"before_fence": [program]})})
    wait_for(lambda: daemon.state("ill")["ready"]["target"], 10, "the other cluster")
    hanging = daemon.ctl_start("flip", "ill", "--to", "target", "--yes")
    wait_for(lambda: os.path.exists(gate), 10, "its flip to come to the gate")
    wait_for(lambda: target.query("SELECT 1 FROM flipd.flips"), 10, "its row on new")
    holder = target.connect()
    holder.query("LOCK TABLES flipd.flips READ")
    os.unlink(gate)
    await_statement(target, OPENING)
    target.freeze()
    try:
        with flip_beside(stage, daemon):
            assert not other.servers["source"].writable
            target.thaw()
            holder.close()
            hanging.communicate(timeout=60)
            assert hanging.returncode in (0, 3) and other.master()
    finally:
        target.thaw()
        hanging.kill()
        hanging.communicate()


def test_clients_that_do_not_read_or_write(stage):
    """Half a request, no request, answers that nobody reads."""
    daemon = stage.flipd({})
    clients = []
    for n in range(40):
        s = socket.socket(socket.AF_UNIX)
        s.connect(daemon.socket)
        if n % 3 == 1:
            s.sendall(b'{"id":1,"cmd":"sta')
        if n % 3 == 2:
            s.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                for _ in range(2000):
                    s.send(b'{"id":1,"cmd":"status","args":{}}\n')
        clients.append(s)
    try:
        with flip_beside(stage, daemon):
            assert daemon.ctl("ping").code == 0
    finally:
        for s in clients:
            s.close()
