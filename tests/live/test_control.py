"""The control socket, flipctl and the status endpoint: the real flipd, servers that nobody reaches, hostile clients."""

import contextlib
import grp
import json
import os
import pty
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import pytest
import yaml

from lab import places
from lab.proc import Pids, Process, free_port, wait_for

NOBODY = 65534
OTHER_GID = 54321


class Daemon:
    """flipd on a configuration whose servers are ports of loopback that nobody listens on."""

    def __init__(self, directory, clusters=("shard1", "shard2"), daemon=None, env=None, prepare=True):
        self.dir = str(directory)
        os.chmod(self.dir, 0o755)
        self.socket = os.path.join(self.dir, "control.sock")
        self.config_file = os.path.join(self.dir, "flipd.yaml")
        self.log = os.path.join(self.dir, "log")
        self.port = free_port(["127.0.0.1"])
        self.env = dict(os.environ, **(env or {}))
        self.pids = Pids(os.path.join(self.dir, "pids"))
        self.process = None
        password = os.path.join(self.dir, "password")
        with open(password, "w") as f:
            f.write("secret-of-the-test\n")
        self.config = {
            "daemon": dict({"state_dir": os.path.join(self.dir, "state"), "control_socket": self.socket,
                            "status_listen": "127.0.0.1:%d" % self.port, "poll_interval": "200ms"}, **(daemon or {})),
            "defaults": {"user": "flipd", "password_file": password,
                         "replication": {"user": "repl", "password_file": password}},
            "clusters": {name: self.cluster() for name in clusters}}
        if prepare:
            os.makedirs(self.config["daemon"]["state_dir"], mode=0o700, exist_ok=True)
        self.write()

    @staticmethod
    def cluster():
        return {"source": {"host": "127.0.0.1", "port": 1}, "target": {"host": "127.0.0.1", "port": 2}}

    def write(self):
        with open(self.config_file, "w") as f:
            yaml.safe_dump(self.config, f, sort_keys=False)

    def start(self):
        self.process = Process([places.built("flipd"), "--config", self.config_file], self.log, self.pids, env=self.env)
        wait_for(lambda: self.ctl("ping").returncode == 0, 20, "flipd to answer")
        return self

    def stop(self):
        if self.process and self.process.alive():
            return self.process.stop(20)
        return None

    def ctl(self, *args, **kwargs):
        return subprocess.run([places.built("flipctl"), "--socket", self.socket] + list(args), capture_output=True,
                              text=True, timeout=30, stdin=subprocess.DEVNULL, **kwargs)

    def json(self, *args):
        done = self.ctl("--json", *args)
        return done.returncode, json.loads(done.stdout) if done.stdout else None

    def client(self):
        return Client(self.socket)

    def get(self, path, method="GET"):
        request = urllib.request.Request("http://127.0.0.1:%d%s" % (self.port, path), method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, dict(answer.headers), answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, dict(e.headers), e.read().decode()

    def read_log(self):
        with open(self.log, errors="replace") as f:
            return f.read()


class Client:
    """A client that says exactly what it is told to."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(20)
        self.socket.connect(path)
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else (json.dumps(data) + "\n").encode())
        return self

    def ask(self, cmd, number=1, **args):
        return self.send({"id": number, "cmd": cmd, "args": args})

    def line(self):
        while b"\n" not in self.buffer:
            more = self.socket.recv(65536)
            if not more:
                return None
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def answer(self, number=1):
        """The answer with that id; events and other answers before it are passed over."""
        while True:
            line = self.line()
            if line is None or (line["id"] == number and "ok" in line):
                return line

    def close(self):
        self.socket.close()


@pytest.fixture
def make():
    """Daemons in directories that other users may enter: pytest's own are closed to them."""
    made = []

    def new(**kwargs):
        made.append(Daemon(tempfile.mkdtemp(prefix="flipd-control-"), **kwargs))
        return made[-1]
    yield new
    for daemon in made:
        code = daemon.stop()
        log = daemon.read_log() if os.path.exists(daemon.log) else ""
        shutil.rmtree(daemon.dir)
        assert code in (None, 0), log


@pytest.fixture
def flipd(make):
    return make().start()


# What flipd and flipctl answer.

def test_ping_version_and_status(flipd):
    assert flipd.json("ping") == (0, {"pong": True})
    code, version = flipd.json("version")
    assert code == 0 and set(version) == {"version", "commit"}
    code, status = flipd.json("status")
    assert code == 0
    assert [c["name"] for c in status["clusters"]] == ["shard1", "shard2"]
    for cluster in status["clusters"]:
        assert set(cluster) == {"name", "state", "master", "why", "ready", "blockers", "servers", "flip", "last_flip"}
        assert cluster["master"] is None and cluster["why"] == "unknown"
        assert cluster["state"] == "unreachable"
        assert cluster["ready"] == {"source": False, "target": False}
        assert [s["name"] for s in cluster["servers"]] == ["source", "target"]
        for server in cluster["servers"]:
            assert set(server) == {"name", "host", "port", "flavor", "version", "up", "writable", "fenced",
                                   "uptime_seconds", "replication"}
            assert server["up"] is False and server["writable"] is None
    code, one = flipd.json("status", "shard2")
    assert code == 0 and [c["name"] for c in one["clusters"]] == ["shard2"]


def test_an_address_with_colons_is_in_brackets(make):
    flipd = make(clusters=["shard1"])
    flipd.config["clusters"]["shard1"]["source"]["host"] = "::1"
    flipd.write()
    flipd.start()
    connect = next(c for c in flipd.json("check", "shard1", "--to", "target")[1]["checks"] if c["name"] == "connect")
    assert "source [::1]:1 does not answer" in connect["seen"] and " ::1:1" not in connect["seen"]
    assert "  source  [::1]:1 " in flipd.ctl("status", "shard1").stdout
    assert flipd.json("status")[1]["clusters"][0]["servers"][0]["host"] == "::1"


def test_unknown_names_and_usage(flipd):
    assert flipd.ctl("status", "nobody").returncode == 1
    assert flipd.ctl("flip", "nobody", "--to", "target", "--yes").returncode == 1
    assert flipd.ctl("show", "nothing").returncode == 1
    assert flipd.ctl("frobnicate").returncode == 1
    assert flipd.ctl("flip", "shard1").returncode == 1
    assert flipd.ctl("flip", "shard1", "--to", "sideways").returncode == 1
    assert flipd.ctl("status", "--yes").returncode == 1
    assert flipd.ctl("resolve", "shard1", "--side", "source", "--yes").returncode == 1
    assert flipd.ctl("abort", "shard1").returncode == 1
    assert flipd.ctl("resolve", "shard1", "--yes").returncode == 1
    assert flipd.ctl("schedule", "cancel", "x").returncode == 1
    assert flipd.json("schedule", "list") == (0, {"scheduled": []})
    for later in (["--at", "2026-12-01T10:00:00Z"], ["--window", "01:00-02:00"]):
        done = flipd.ctl("flip", "shard1", "--to", "target", "--yes", *later)
        assert done.returncode == 1 and "later version" in done.stderr
    assert flipd.ctl("flip", "shard1", "--to", "target", "--yes", "--max-lag", "soon").returncode == 1


def test_grants_need_no_daemon(tmp_path):
    done = subprocess.run([places.built("flipctl"), "--socket", str(tmp_path / "none"), "grants", "mariadb"],
                          capture_output=True, text=True, timeout=10)
    assert done.returncode == 0 and "'PASSWORD_OF_flipd'" in done.stdout
    for flavor, says in ("oracle", "no such flavor; there is mariadb"), ("aurora", "comes with a later version"):
        done = subprocess.run([places.built("flipctl"), "grants", flavor], capture_output=True, text=True)
        assert done.returncode == 1 and done.stdout == "" and flavor + ": " + says in done.stderr


def test_out_of_reach_is_5(tmp_path):
    done = subprocess.run([places.built("flipctl"), "ping"], capture_output=True, text=True, timeout=10,
                          env=dict(os.environ, FLIPD_SOCKET=str(tmp_path / "none")))
    assert done.returncode == 5 and str(tmp_path / "none") in done.stderr and done.stdout == ""
    assert "Does flipd run?" in done.stderr and "--socket" in done.stderr


def test_flip_refused(flipd):
    code, check = flipd.json("check", "shard1", "--to", "target")
    assert code == 2 and check["ready"] is False
    assert [c["result"] for c in check["checks"] if c["name"] == "connect"] == ["refuse"]
    code, flip = flipd.json("flip", "shard1", "--to", "target", "--yes")
    assert code == 2
    assert flip["outcome"] == "refused" and flip["state"] == "ended" and flip["id"]
    assert flip["requested_by"]["uid"] == os.getuid() and flip["requested_by"]["user"]
    assert {s["state"] for s in flip["steps"] if s["name"] != "preflight"} == {"skipped"}
    code, shown = flipd.json("show", flip["id"])
    assert code == 0 and shown == flip
    code, history = flipd.json("history", "shard1")
    assert code == 0 and [f["id"] for f in history["flips"]] == [flip["id"]]
    assert flipd.json("history", "shard2") == (0, {"flips": []})
    code, status = flipd.json("status", "shard1")
    last = status["clusters"][0]["last_flip"]
    assert last["id"] == flip["id"] and "steps" not in last
    assert flipd.json("flip", "shard1", "--to", "target", "--yes", "--no-wait")[0] == 2
    people = flipd.ctl("show", flip["id"]).stdout
    assert "refused" in people and "connect" in people and "preflight" in people


def test_an_answer_that_nobody_takes(flipd):
    command = [places.built("flipctl"), "--socket", flipd.socket, "status"]
    with open("/dev/full", "w") as full:
        for more in ([], ["--watch"], ["shard1", "--watch"]):
            done = subprocess.run(command + more, stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)
            assert done.returncode == 1 and "could not be written: No space left" in done.stderr, more
    watching = subprocess.Popen(command + ["--watch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watching.stdout.readline().startswith("CLUSTER")
    watching.stdout.close()  # as `| head -1` does: it does not go on for ever
    assert watching.wait(20) == 1 and "Broken pipe" in watching.stderr.read()
    watching.stderr.close()


def test_not_on_a_terminal_nothing_is_done(flipd):
    done = flipd.ctl("flip", "shard1", "--to", "target")
    assert done.returncode == 1 and "nothing was done" in done.stderr
    assert flipd.json("history") == (0, {"flips": []})


class Question:
    """flipctl flip on a terminal of its own, which shows its stderr, up to the question."""

    def __init__(self, flipd, *options):
        self.main, other = pty.openpty()
        self.child = subprocess.Popen(
            [places.built("flipctl"), "--socket", flipd.socket, *options, "flip", "shard1", "--to", "target"],
            stdin=other, stderr=other, stdout=subprocess.PIPE, start_new_session=True)
        os.close(other)
        self.shown = b""
        while b"[yes/no]" not in self.shown:
            self.shown += os.read(self.main, 4096)

    def answer(self, word):
        """What it shows from then on, what stood on stdout, and its exit code."""
        os.write(self.main, word.encode() + b"\n")
        said = b""
        with contextlib.suppress(OSError):
            while b"" != (more := os.read(self.main, 4096)):
                said += more
        os.close(self.main)
        with self.child.stdout:
            out = self.child.stdout.read()
        return said, out, self.child.wait(10)


def test_asks_on_a_terminal(flipd):
    for word, flips in (("no", 0), ("yes", 1)):
        said, _, code = Question(flipd).answer(word)
        assert code == (2 if flips else 1), said
        assert len(flipd.json("history")[1]["flips"]) == flips


@pytest.mark.parametrize("back", [True, False])
def test_flipd_restarts_while_a_question_is_thought_over(flipd, back):
    """Nothing was asked of the flipd that went away: the one that is there now is, or nothing was done."""
    question = Question(flipd)
    assert flipd.stop() == 0
    if back:
        flipd.start()
    said, _, code = question.answer("yes")
    assert code == (2 if back else 5), said
    assert b"goes on by itself" not in said and (b"nothing was done" in said) == (not back), said
    if back:
        assert len(flipd.json("history")[1]["flips"]) == 1


def test_asks_beside_the_document(flipd):
    """With --json what is shown before the question is not in the way of who reads the document."""
    question = Question(flipd, "--json")
    assert b"The master would become target" in question.shown
    _, out, code = question.answer("yes")
    assert code == 2 and json.loads(out)["outcome"] == "refused"


def test_history_and_last_flip_survive_a_restart(make):
    flipd = make().start()
    flip = flipd.json("flip", "shard1", "--to", "target", "--yes")[1]
    assert flipd.stop() == 0
    assert not os.path.exists(flipd.socket)
    flipd.start()
    assert flipd.json("show", flip["id"])[1] == flip
    wait_for(lambda: flipd.json("status", "shard1")[1]["clusters"][0]["last_flip"], 10, "the last flip to be read")


# The protocol.

def test_a_flip_of_which_only_its_row_is_left(make):
    """flipd died before it saved more: the document has every field all the same."""
    flipd = make().start()
    whole = flipd.json("flip", "shard1", "--to", "target", "--yes")[1]
    flipd.stop()
    with contextlib.closing(sqlite3.connect(os.path.join(flipd.config["daemon"]["state_dir"], "journal.db"))) as journal:
        journal.execute("UPDATE flip SET document=NULL")
        journal.commit()
    flipd.start()
    code, bare = flipd.json("show", whole["id"])
    assert code == 0 and list(bare) == list(whole)
    assert bare["requested_by"] == {"user": None, "uid": None, "pid": None}
    assert bare["position"] == {"final": None, "way_back": None} and bare["steps"] == [] and bare["error"] is None
    assert [bare[k] for k in ("cluster", "from", "to", "outcome")] == ["shard1", "source", "target", "refused"]
    people = flipd.ctl("show", whole["id"])
    assert people.returncode == 0 and "refused" in people.stdout


def test_ids_are_echoed_and_requests_pipelined(flipd):
    client = flipd.client()
    for number in range(200):
        client.ask("ping", number)
    assert [client.line()["id"] for _ in range(200)] == list(range(200))
    client.send({"id": "a word", "cmd": "ping"})
    assert client.line() == {"id": "a word", "ok": True, "result": {"pong": True}}
    client.send({"cmd": "ping"})
    assert client.line()["id"] is None


def test_events_of_a_flip(flipd):
    client = flipd.client()
    client.ask("flip", 7, name="shard1", to="target")
    client.ask("ping", 8)
    lines = []
    while not lines or "ok" not in lines[-1] or lines[-1]["id"] != 7:
        lines.append(client.line())
    events = [line["event"] for line in lines if "event" in line]
    assert all(line["id"] == 7 for line in lines if "event" in line)
    assert events[0]["type"] == "accepted" and events[-1]["type"] == "ended"
    steps = [e for e in events if e["type"] == "step"]
    assert steps and all(e["flip"] == lines[-1]["result"]["id"] and e["at"].endswith("Z") for e in events)
    assert {s["name"] for s in steps} == {"preflight"}
    assert any(line["id"] == 8 for line in lines) or client.answer(8)["ok"]


@pytest.mark.parametrize("line, code", [
    (b"\n", "usage"), (b"hello\n", "usage"), (b"[]\n", "usage"), (b"{}\n", "usage"), (b"null\n", "usage"),
    (b'{"id":1,"cmd":"ping"\n', "usage"), (b'{"id":1,"cmd":"pi\xff\xfeng"}\n', "usage"),
    (b'{"id":1,"cmd":"ping","cmd":"ping"}\n', "usage"), (b"{" * 2000 + b"\n", "usage"), (b"[" * 60000 + b"\n", "usage"),
    (b'{"id":null,"cmd":"no such"}\n', "usage"), (b'{"id":null,"cmd":5}\n', "usage"),
    (b'{"id":null,"cmd":"ping","args":[]}\n', "usage"), (b'{"id":null,"cmd":"ping","args":{"x":1}}\n', "usage"),
    (b'{"id":null,"cmd":"ping","more":1}\n', "usage"), (b'{"id":[1],"cmd":"ping"}\n', "usage"),
    (b'{"id":null,"cmd":"check","args":{"name":5,"to":"target"}}\n', "usage"),
    (b'{"id":null,"cmd":"check","args":{"name":"shard1"}}\n', "usage"),
    (b'{"id":null,"cmd":"check","args":{"name":"shard1","to":"up"}}\n', "usage"),
    (b'{"id":null,"cmd":"check","args":{"name":"nobody","to":"target"}}\n', "not_found"),
    (b'{"id":null,"cmd":"ping\\u0000"}\n', "usage"), (b"\x00\x01\x02\n", "usage")],
    ids=lambda value: "line" if isinstance(value, bytes) else value)
def test_bad_lines_harm_nobody(flipd, line, code):
    client, other = flipd.client(), flipd.client()
    answer = client.send(line).line()
    assert answer["id"] is None and answer["ok"] is False
    assert answer["error"]["code"] == code and answer["error"]["message"]
    assert client.ask("ping", 2).answer(2)["ok"]
    assert other.ask("ping", 3).answer(3)["ok"]


def test_too_large_a_line(flipd):
    client = flipd.client()
    fits = {"id": 1, "cmd": "status", "args": {"name": "x" * 65000}}
    assert client.send(fits).line()["error"]["code"] == "not_found"
    with contextlib.suppress(OSError):
        client.send(b'{"id":2,"cmd":"' + b"x" * 300000)
    answer = client.line()
    assert answer["id"] is None and answer["error"]["code"] == "too_large"
    with contextlib.suppress(OSError):
        assert client.line() is None
    assert flipd.ctl("ping").returncode == 0


def test_half_closed_client_gets_its_answers(flipd):
    client = flipd.client()
    for number in range(50):
        client.ask("status", number)
    client.socket.shutdown(socket.SHUT_WR)
    assert {client.line()["id"] for _ in range(50)} == set(range(50))
    assert client.line() is None


def test_clients_that_do_not_read(flipd):
    """Many large answers nobody takes: flipd stops reading from that client, and nobody else notices."""
    client = flipd.client()
    client.socket.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        for number in range(100000):
            sent += client.socket.send((json.dumps({"id": number, "cmd": "status", "args": {}}) + "\n").encode())
    assert sent < 4 << 20
    begin = time.monotonic()
    assert flipd.ctl("ping").returncode == 0
    assert time.monotonic() - begin < 2
    with open("/proc/%d/statm" % flipd.process.pid) as f:
        resident = int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert resident < 400 << 20
    client.close()


def test_many_and_idle_clients_give_way(flipd):
    idle = []
    for _ in range(600):
        client = flipd.client()
        with contextlib.suppress(OSError):
            client.send(b'{"id":1,"cmd":')
        idle.append(client)
    assert flipd.ctl("ping").returncode == 0
    assert flipd.client().ask("ping").answer()["ok"]
    for client in idle:
        client.close()
    assert flipd.ctl("status").returncode == 0


def test_clients_that_vanish_stop_no_flip(flipd):
    for _ in range(5):
        client = flipd.client()
        client.ask("flip", 1, name="shard1", to="target")
        client.close()
    wait_for(lambda: flipd.json("history", "shard1")[1]["flips"], 10, "a flip nobody waits for to end")
    wait_for(lambda: flipd.json("status", "shard1")[1]["clusters"][0]["flip"] is None, 10, "the last of them to end")


# Who may.

def as_user(uid, gid, groups):
    def change():
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)
    return change


@pytest.mark.skipif(os.getuid() != 0, reason="becoming somebody else needs root")
def test_roles(make):
    group = next(g for g in grp.getgrall() if g.gr_gid not in (0, NOBODY, OTHER_GID))
    flipd = make(daemon={"control_group": group.gr_name}).start()
    assert oct(os.stat(flipd.socket).st_mode & 0o777) == "0o666"

    def code(command, uid, gid, groups=()):
        return flipd.ctl(*command, preexec_fn=as_user(uid, gid, list(groups))).returncode
    look = [["status"], ["history"], ["schedule", "list"], ["ping"], ["version"]]
    for command in look:
        assert code(command, NOBODY, OTHER_GID) == 0, command
    assert code(["check", "shard1", "--to", "target"], NOBODY, OTHER_GID) == 2
    change = [["flip", "shard1", "--to", "target", "--yes"], ["abort", "shard1"], ["resolve", "shard1", "--yes"],
              ["prepare", "shard1"], ["reload"], ["schedule", "cancel", "x"],
              ["rehearse", "shard1", "--to", "target"]]
    for command in change:
        assert code(command, NOBODY, OTHER_GID) == 6, command
        assert code(command, NOBODY, OTHER_GID, [4242]) == 6, command
    assert flipd.json("history") == (0, {"flips": []})
    assert code(["reload"], NOBODY, group.gr_gid) == 0
    assert code(["reload"], NOBODY, OTHER_GID, [4242, group.gr_gid]) == 0
    assert code(["flip", "shard1", "--to", "target", "--yes"], NOBODY, OTHER_GID, [group.gr_gid]) == 2
    assert flipd.json("history")[1]["flips"][0]["requested_by"]["uid"] == NOBODY


@pytest.mark.skipif(os.getuid() != 0, reason="becoming somebody else needs root")
def test_one_user_cannot_take_every_place(flipd):
    script = ("import socket,sys,time\nkeep=[]\nfor _ in range(400):\n s=socket.socket(socket.AF_UNIX)\n"
              " s.connect(sys.argv[1])\n keep.append(s)\nprint('there',flush=True)\ntime.sleep(60)\n")
    child = subprocess.Popen(["/usr/bin/python3", "-c", script, flipd.socket], stdout=subprocess.PIPE,
                             preexec_fn=as_user(NOBODY, OTHER_GID, []))
    try:
        assert child.stdout.readline() == b"there\n"
        clients = [flipd.client() for _ in range(100)]
        for client in clients:
            assert client.ask("ping").answer()["ok"]
    finally:
        child.kill()
        child.wait()


# Reload.

def test_reload_is_whole_or_nothing(flipd):
    assert flipd.json("reload") == (0, {"changed": []})
    flipd.config["clusters"]["shard3"] = flipd.cluster()
    flipd.config["clusters"]["shard2"]["target"]["port"] = 3
    del flipd.config["clusters"]["shard1"]
    flipd.write()
    code, answer = flipd.json("reload")
    assert code == 0 and sorted(answer["changed"]) == ["shard1", "shard2", "shard3"]
    code, status = flipd.json("status")
    assert sorted(c["name"] for c in status["clusters"]) == ["shard2", "shard3"]
    ports = {c["name"]: c["servers"][1]["port"] for c in status["clusters"]}
    assert ports == {"shard2": 3, "shard3": 2}

    flipd.config["clusters"]["shard4"] = flipd.cluster()
    flipd.config["clusters"]["shard3"]["sauce"] = 1
    flipd.config["defaults"]["max_lag"] = "soon"
    flipd.write()
    done = flipd.ctl("reload")
    assert done.returncode == 1 and "sauce" in done.stderr and "max_lag" in done.stderr
    assert sorted(c["name"] for c in flipd.json("status")[1]["clusters"]) == ["shard2", "shard3"]


def test_reload_names_what_of_the_process_changed(flipd):
    flipd.config["daemon"]["poll_interval"] = "300ms"
    flipd.write()
    assert flipd.json("reload") == (0, {"changed": ["daemon.poll_interval"]})
    flipd.config["daemon"]["control_group"] = "nobody-has-this-group"
    flipd.config["groups"] = {"both": {"clusters": ["*"]}}
    flipd.write()
    assert flipd.json("reload") == (0, {"changed": ["both", "daemon.control_group"]})
    assert flipd.json("reload") == (0, {"changed": []})


def test_reload_tells_what_it_cannot_change(flipd):
    flipd.config["clusters"]["shard3"] = flipd.cluster()
    flipd.config["daemon"]["state_dir"] = os.path.join(flipd.dir, "elsewhere")
    flipd.config["daemon"]["status_listen"] = "none"
    flipd.write()
    done = flipd.ctl("reload")
    assert done.returncode == 1 and "state_dir" in done.stderr and "status_listen" in done.stderr
    assert len(flipd.json("status")[1]["clusters"]) == 2


def test_reload_by_signal(flipd):
    flipd.config["clusters"]["shard3"] = flipd.cluster()
    flipd.write()
    flipd.process.signal(signal.SIGHUP)
    wait_for(lambda: len(flipd.json("status")[1]["clusters"]) == 3, 10, "the new cluster")


def test_reload_sees_a_new_password(flipd):
    with open(os.path.join(flipd.dir, "password"), "w") as f:
        f.write("another\n")
    assert sorted(flipd.json("reload")[1]["changed"]) == ["shard1", "shard2"]


# The status endpoint.

METRIC = re.compile(r'^([a-z_]+)(\{[a-z_]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z_]+="(?:[^"\\\n]|\\["\\n])*")*\})? (\S+)$')


def test_status_endpoint(flipd):
    status, headers, body = flipd.get("/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    typed, seen = {}, set()
    for line in body.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in typed
            typed[name] = kind
        elif not line.startswith("#"):
            match = METRIC.match(line)
            assert match, line
            float(match.group(3))
            assert (match.group(1), match.group(2)) not in seen
            seen.add((match.group(1), match.group(2)))
            assert re.sub(r"_(bucket|sum|count)$", "", match.group(1)) in typed or match.group(1) in typed
    for name in ("flipd_build_info", "flipd_server_up", "flipd_server_writable", "flipd_replication_running",
                 "flipd_replication_lag_seconds", "flipd_cluster_state", "flipd_cluster_ready", "flipd_split_brain",
                 "flipd_flips_total", "flipd_last_flip_timestamp_seconds", "flipd_last_flip_blackout_seconds",
                 "flipd_scheduled_flips", "flipd_flip_step_seconds", "flipd_flip_blackout_seconds",
                 "flipd_poll_seconds"):
        assert name in typed, name
    assert 'flipd_server_up{cluster="shard1",server="source"} 0' in body
    assert 'flipd_cluster_state{cluster="shard2",state="unreachable"} 1' in body
    status, headers, body = flipd.get("/status")
    assert status == 200 and headers["Content-Type"] == "application/json"
    assert [c["name"] for c in json.loads(body)["clusters"]] == ["shard1", "shard2"]
    assert flipd.get("/healthz")[0] == 200 and flipd.get("/readyz")[0] == 200
    status, headers, body = flipd.get("/")
    assert status == 200 and headers["Content-Type"].startswith("text/html") and "shard1" in body
    assert not re.search(r"(src|href)=.?https?:", body)
    assert flipd.get("/nowhere")[0] == 404
    assert flipd.get("/status", "POST")[0] == 405
    assert flipd.get("/status?x=1", "HEAD")[2] == ""


def test_metrics_count_refused_flips(flipd):
    assert 'flipd_flips_total{cluster="shard1",outcome="refused"} 0' in flipd.get("/metrics")[2]
    flipd.json("flip", "shard1", "--to", "target", "--yes")
    body = flipd.get("/metrics")[2]
    assert 'flipd_flips_total{cluster="shard1",outcome="refused"} 1' in body
    assert 'flipd_flip_step_seconds_count{step="preflight"} 1' in body
    assert re.search(r'flipd_last_flip_timestamp_seconds\{cluster="shard1"\} 1[0-9]{9}', body)


@pytest.mark.parametrize("text", [
    b"\r\n\r\n", b"GET\r\n\r\n", b"GET / SMTP/1.0\r\n\r\n", b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n", b"\x00\xff\xfe\n\n", b"GET nowhere HTTP/1.1\r\n\r\n"],
    ids=("empty", "short", "smtp", "long", "headers", "binary", "relative"))
def test_bad_http_requests(flipd, text):
    with socket.create_connection(("127.0.0.1", flipd.port), timeout=10) as s:
        with contextlib.suppress(OSError):
            s.sendall(text)
        answer = b""
        with contextlib.suppress(OSError):
            while True:
                more = s.recv(4096)
                if not more:
                    break
                answer += more
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
    assert flipd.get("/healthz")[0] == 200


def test_many_slow_http_clients(flipd):
    slow = []
    for _ in range(200):
        s = socket.create_connection(("127.0.0.1", flipd.port), timeout=10)
        with contextlib.suppress(OSError):
            s.sendall(b"GET /metr")
        slow.append(s)
    assert flipd.get("/healthz")[0] == 200
    for s in slow:
        s.close()


# The process.

def test_options(tmp_path):
    def flipd(*args):
        return subprocess.run([places.built("flipd")] + list(args), capture_output=True, text=True, timeout=10)
    assert flipd("--version").returncode == 0 and flipd("--help").returncode == 0
    assert "fence" in flipd("--print-steps").stdout
    assert flipd("--print-steps=dot").stdout.startswith("digraph")
    assert "gtid" in flipd("--print-checks").stdout and "max_blackout" in flipd("--print-keys").stdout
    assert flipd("--nonsense").returncode == 1 and flipd("more").returncode == 1
    assert flipd("--print-steps=svg").returncode == 1
    assert flipd("--config", str(tmp_path / "none.yaml")).returncode == 1
    bad = tmp_path / "bad.yaml"
    bad.write_text("clusters:\n  a:\n    source: {hust: x}\nnonsense: 1\n")
    done = flipd("--config", str(bad), "--check-config")
    assert done.returncode == 1 and "hust" in done.stderr and "nonsense" in done.stderr
    assert all(line.startswith("%s:" % bad) for line in done.stderr.splitlines())


def test_readme_has_a_configuration_that_loads(tmp_path):
    with open(os.path.join(places.ROOT, "README.md")) as f:
        text = re.search(r"```yaml\n(.*?)```", f.read(), re.S).group(1)
    for name in set(re.findall(r"/etc/flipd/([a-z.]+)", text)):
        (tmp_path / name).write_text("c2VjcmV0\n")
    (tmp_path / "flipd.yaml").write_text(text.replace("/etc/flipd", str(tmp_path)))
    done = subprocess.run([places.built("flipd"), "--config", str(tmp_path / "flipd.yaml"), "--check-config"],
                          capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stderr) == (0, "")


def test_manual_has_the_tables_of_the_code():
    done = subprocess.run([os.path.join(places.ROOT, "tools", "man-tables"), "--check", places.built("flipd")],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in os.listdir(os.path.join(places.ROOT, "man")):
        lint = subprocess.run([places.system("mandoc"), "-Tlint", "-Wwarning", os.path.join(places.ROOT, "man", name)],
                              capture_output=True, text=True, timeout=20)
        assert lint.returncode == 0, lint.stdout


def test_print_config_hides_secrets(make):
    flipd = make()
    flipd.config["defaults"]["password"] = "inline-secret"
    del flipd.config["defaults"]["password_file"]
    flipd.write()
    done = subprocess.run([places.built("flipd"), "--config", flipd.config_file, "--print-config"],
                          capture_output=True, text=True, timeout=10)
    assert done.returncode == 0 and "***" in done.stdout and "shard1" in done.stdout
    assert "inline-secret" not in done.stdout + done.stderr and "secret-of-the-test" not in done.stdout


def test_secrets_are_in_no_output(flipd):
    flipd.json("flip", "shard1", "--to", "target", "--yes")
    everything = flipd.read_log() + flipd.get("/metrics")[2] + flipd.get("/status")[2]
    for args in (["status"], ["history"], ["plan", "shard1", "--to", "target"]):
        everything += flipd.ctl("--json", *args).stdout
    for name in os.listdir(flipd.config["daemon"]["state_dir"]):
        with open(os.path.join(flipd.config["daemon"]["state_dir"], name), "rb") as f:
            assert b"secret-of-the-test" not in f.read(), name
    assert "secret-of-the-test" not in everything


def test_second_daemon_on_the_same_state(make):
    first = make().start()
    second = subprocess.run([places.built("flipd"), "--config", first.config_file], capture_output=True, text=True,
                            timeout=10)
    assert second.returncode == 2 and "state" in second.stderr
    assert first.ctl("ping").returncode == 0


def test_a_start_that_fails_says_what_to_do(make):
    """Once each for what a first start meets: a directory that is not there, a port that is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for key, value, says in (
                ("state_dir", "/nowhere/at/all", "make its parent directory, or set daemon.state_dir"),
                ("control_socket", "/nowhere/control.sock", "make its directory, writable for flipd's user, or set "
                                                            "daemon.control_socket"),
                ("status_listen", "127.0.0.1:%d" % taken.getsockname()[1], "that are free here, or to none")):
            flipd = make(daemon={key: value}, prepare=False)
            done = subprocess.run([places.built("flipd"), "--config", flipd.config_file], capture_output=True, text=True,
                                  timeout=20)
            assert done.returncode == 2 and done.stdout == "", done
            assert "cannot start: %s: " % key in done.stderr and says in done.stderr, done.stderr


def test_stale_socket_is_replaced(make):
    flipd = make().start()
    flipd.process.kill()
    assert os.path.exists(flipd.socket)
    flipd.start()
    assert flipd.stop() == 0


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_stops_with_0(make, sig):
    flipd = make().start()
    flipd.process.signal(sig)
    assert flipd.process.wait(10) == 0


def test_leaves_no_core(flipd):
    with open(places.built("flipd"), "rb") as f:
        if b"__asan_init" in f.read():
            return  # the leak checker needs what is forbidden otherwise
    with open("/proc/%d/limits" % flipd.process.pid) as f:
        core = next(line for line in f if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]


def test_notifies_and_takes_sockets(make, tmp_path):
    """As systemd does it: a datagram socket for sd_notify, listening sockets from descriptor 3 on."""
    flipd = make(daemon={"status_listen": "none"})
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(20)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path = str(tmp_path / "handed.sock")
    control.bind(path)
    control.listen(16)
    script = ("import os,sys\nos.environ['LISTEN_PID'] = str(os.getpid())\n"
              "os.dup2(int(sys.argv[1]), 3)\nos.execv(sys.argv[2], sys.argv[2:])\n")
    with open(flipd.log, "ab") as log:
        child = subprocess.Popen(["/usr/bin/python3", "-c", script, str(control.fileno()), places.built("flipd"),
                                  "--config", flipd.config_file],
                                 pass_fds=[control.fileno()], stderr=log, stdin=subprocess.DEVNULL,
                                 env=dict(os.environ, NOTIFY_SOCKET=str(tmp_path / "notify"), LISTEN_FDS="1",
                                          WATCHDOG_USEC="300000"))
    try:
        seen = ""
        while not all(word in seen for word in ("READY=1", "STATUS=", "WATCHDOG=1")):
            seen += notify.recv(4096).decode() + "\n"
        flipd.socket = path
        assert flipd.ctl("ping").returncode == 0
        child.send_signal(signal.SIGHUP)
        while "RELOADING=1" not in seen:
            seen += notify.recv(4096).decode() + "\n"
        child.terminate()
        while "STOPPING=1" not in seen:
            seen += notify.recv(4096).decode() + "\n"
        assert child.wait(10) == 0, flipd.read_log()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    assert os.path.exists(path)
