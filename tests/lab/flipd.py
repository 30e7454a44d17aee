"""flipd on a lab: its configuration written out, the daemon started, flipctl called."""

import copy
import json
import os
import subprocess
import time

import yaml

from . import places
from .proc import LabError, Process, free_port, wait_for


def merge(base, more):
    """Mappings key by key, lists and scalars whole; None removes a key."""
    result = copy.deepcopy(base)
    for key, value in more.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


class Answer:
    """What a flipctl call gave: exit code, the JSON document, how long it took."""

    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds
        try:
            self.json = json.loads(out)
        except ValueError:
            self.json = None

    def __repr__(self):
        if not isinstance(self.json, dict) or "steps" not in self.json:
            return "exit %d\n%s%s" % (self.code, self.out, self.err)
        ran = ["%s %s %s" % (s["name"], s["state"], s["detail"] or "") for s in self.json["steps"]
               if s["state"] not in ("done", "pending")]
        refused = ["%s: %s" % (c["name"], c["seen"]) for c in self.json["checks"] if c["result"] == "refuse"]
        return "exit %d, %s\n  error: %s\n  steps: %s\n  refused by: %s\n%s" % (
            self.code, self.json["outcome"], json.dumps(self.json["error"]), "; ".join(ran), "; ".join(refused),
            self.err)


class Flipd:
    """One daemon with one cluster "lab" (or as config says).

    daemon, defaults, cluster: merged over what the lab makes; zones: which zones get an endpoint; config: the whole
    document, instead."""

    def __init__(self, lab, name="flipd", zones=None, daemon=None, defaults=None, cluster=None, config=None, env=None,
                 wrapper=()):
        self.lab, self.name, self.wrapper = lab, name, list(wrapper)
        self.dir = os.path.join(lab.dir, name)
        os.makedirs(self.dir, exist_ok=True)
        self.socket = os.path.join(self.dir, "control.sock")
        self.config_file = os.path.join(self.dir, "flipd.yaml")
        self.log = os.path.join(self.dir, "log")
        self.status_port = free_port([lab.address(80)])
        self.status = "%s:%d" % (lab.address(80), self.status_port)
        self.env = dict(os.environ, **(env or {}))
        self.process = None
        self.config = config or self.document(zones, daemon or {}, defaults or {}, cluster or {})
        self.write_config()

    def document(self, zones, daemon, defaults, cluster):
        lab = self.lab
        base = {
            "daemon": {"state_dir": os.path.join(self.dir, "state"), "control_socket": self.socket,
                       "status_listen": self.status, "poll_interval": "1s"},
            "defaults": {
                "user": "flipd", "password_file": lab.secret("flipd"),
                "replication": {"user": "repl", "password_file": lab.secret("repl")},
                "fence_probe": {"user": "flipd_probe", "password_file": lab.secret("flipd_probe")},
                "sessions": {"exempt_users": ["root"]}},
            "clusters": {"lab": self.cluster(zones)},
        }
        return merge(base, {"daemon": daemon, "defaults": defaults, "clusters": {"lab": cluster}})

    def cluster(self, zones=None):
        lab = self.lab
        cluster = {side: {"host": lab.servers[side].address, "port": lab.servers[side].port,
                          "boots_fenced": lab.servers[side].options.get("read_only") == "1"}
                   for side in ("source", "target")}
        replicas = [s for n, s in lab.servers.items() if n not in cluster]
        if replicas:
            cluster["replicas"] = [{"name": s.name, "host": s.address, "port": s.port} for s in replicas]
        if lab.named:
            cluster["endpoints"] = [lab.endpoint(z) for z in (lab.named.zones if zones is None else zones)]
            if not cluster["endpoints"]:
                del cluster["endpoints"]
        if lab.authority:
            cluster["tls"] = {"mode": "verify_ca", "ca": lab.authority.cert}
        return cluster

    def write_config(self):
        os.makedirs(self.config["daemon"]["state_dir"], mode=0o700, exist_ok=True)
        with open(self.config_file, "w") as f:
            yaml.safe_dump(self.config, f, sort_keys=False)

    def start(self, wait=True):
        self.process = Process(self.wrapper + [places.built("flipd"), "--config", self.config_file], self.log,
                               self.lab.pids, env=self.env)
        if wait:
            wait_for(self._answers, 20, "flipd to answer")
        return self

    def _answers(self):
        if not self.process.alive():
            raise LabError("flipd did not start:\n" + self.process.log_tail())
        return os.path.exists(self.socket) and self.ctl("ping").code == 0

    def command(self, *args):
        return [places.built("flipctl"), "--socket", self.socket, "--json"] + [str(a) for a in args]

    def ctl(self, *args, timeout=120):
        """One flipctl call, waited for."""
        begin = time.monotonic()
        try:
            done = subprocess.run(self.command(*args), capture_output=True, text=True, timeout=timeout, env=self.env,
                                  stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise LabError("flipctl %s: no end after %g s\n%s" % (" ".join(map(str, args)), timeout,
                                                                 self.process.log_tail(30))) from None
        return Answer(done.returncode, done.stdout, done.stderr, time.monotonic() - begin)

    def ctl_start(self, *args):
        """A flipctl call that goes on by itself; the caller waits for it with communicate()."""
        return subprocess.Popen(self.command(*args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env=self.env)

    def flip(self, to, *more, name="lab", timeout=120):
        return self.ctl("flip", name, "--to", to, "--yes", *more, timeout=timeout)

    def state(self, name="lab"):
        """The cluster's part of the status document."""
        answer = self.ctl("status", name)
        return answer.json["clusters"][0] if answer.code == 0 else None

    def wait_ready(self, to, name="lab", timeout=30):
        """Until the background says that the cluster can flip there; its last state when it does not."""
        state = {}

        def ready():
            nonlocal state
            state = self.state(name) or state
            return bool(state.get("ready", {}).get(to))
        try:
            return wait_for(ready, timeout, "the cluster to be ready for %s" % to)
        except LabError as e:
            raise LabError("%s: %s" % (e, json.dumps(state.get("blockers")))) from None

    def stop(self):
        return self.process.stop(40) if self.process and self.process.alive() else None

    def kill(self):
        self.process.kill()

    def read_log(self):
        with open(self.log, errors="replace") as f:
            return f.read()
