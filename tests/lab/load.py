"""The writers: tests/bench/load as a child process, and its logs as Python sees them."""

import json
import os
from typing import NamedTuple

from . import places
from .proc import LabError, Process, wait_for


class Write(NamedTuple):
    """One line of a writer's log; times in us, monotonic (began, ended) and wall. kind: A acknowledged, R refused (it
    is not there), U unknown (it may be there), C could not connect."""
    kind: str
    began: int
    ended: int
    wall: int
    writer: int
    seq: int
    server: int
    errno: int


class Load:
    """Finds the master by a name (zone) or by trying the sides' addresses in turn.

    rate options: interval_ms (0: as fast as it goes), writers; txn: statements in each transaction, txn_idle_ms: how
    long it stays open."""

    def __init__(self, lab, name="load", writers=8, interval_ms=5.0, zone=None, hosts=None, user="app", warm=False,
                 txn=0, txn_idle_ms=0, first_writer=0, first_seq=0, backoff_ms=1.0):
        self.lab, self.dir = lab, os.path.join(lab.dir, name)
        if os.path.exists(self.dir):
            raise LabError("load %s: named twice" % name)
        os.makedirs(self.dir)
        self.summary_file = os.path.join(self.dir, "summary.json")
        self.writers, self.process, self._summary = writers, None, None
        self.argv = [places.built("tests/bench/load"), "--writers", str(writers), "--interval-ms", str(interval_ms),
                     "--user", user, "--password-file", lab.secret(user), "--port", str(lab.port),
                     "--log-dir", self.dir, "--first-writer", str(first_writer), "--first-seq", str(first_seq),
                     "--backoff-ms", str(backoff_ms)]
        if zone:
            self.argv += ["--dns", "%s:%d" % (lab.named.address, lab.named.port), "--name", "db." + zone]
        else:
            self.argv += ["--hosts", ",".join(hosts or [lab.servers[s].address for s in ("source", "target")])]
        if warm:
            self.argv += ["--warm"]
        if txn:
            self.argv += ["--txn", str(txn), "--txn-idle-ms", str(txn_idle_ms)]

    def start(self):
        with open(self.summary_file, "w") as out:
            self.process = Process(self.argv, os.path.join(self.dir, "err"), self.lab.pids, stdout=out)
        wait_for(self._all_began, 20, "every writer's first acknowledged write")
        return self

    def _all_began(self):
        if not self.process.alive():
            raise LabError("load ended:\n" + self.process.log_tail())
        return os.path.exists(os.path.join(self.dir, "ready"))

    def stop(self):
        """Ends the writers; the summary that load printed."""
        if self._summary is None:
            code = self.process.stop(30)
            if code != 0:
                raise LabError("load: exit %s:\n%s" % (code, self.process.log_tail()))
            with open(self.summary_file) as f:
                self._summary = json.load(f)
        return self._summary

    summary = property(stop)

    def writes(self):
        """Every line of every writer's log; ends the writers."""
        self.stop()
        return self.so_far()

    def so_far(self):
        """The lines that are on disk by now: all but those of the last 100 ms while the writers run."""
        result = []
        for name in sorted(os.listdir(self.dir)):
            if not name.startswith("writer-"):
                continue
            with open(os.path.join(self.dir, name)) as f:
                for line in f:
                    if not line.endswith("\n"):
                        break
                    kind, *rest = line.split()
                    result.append(Write(kind, *map(int, rest)))
        return result
