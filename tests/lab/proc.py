"""Child processes of a lab: started in sessions of their own, noted by pid and start time, stopped by pid."""

import json
import os
import random
import signal
import socket
import subprocess
import time


class LabError(Exception):
    pass


def wait_for(condition, timeout, what):
    """Polls condition() every 5 ms until it is true; its value is returned."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise LabError("timed out after %g s waiting for %s" % (timeout, what))
        time.sleep(0.005)


def start_time(pid):
    """The process's start time in ticks, so that a pid that was used again is not taken for ours; None when gone."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def stop_pid(pid, started, timeout=15.0):
    """TERM, then KILL after timeout, to exactly that process; True when it is gone."""
    def gone():
        return start_time(pid) != started
    if gone():
        return True
    for sig, patience in ((signal.SIGCONT, 0), (signal.SIGTERM, timeout), (signal.SIGKILL, 5.0)):
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            return True
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if gone():
                return True
            time.sleep(0.005)
    return gone()


class Process:
    """One child. pids is the lab's list of what to stop; see Pids."""

    def __init__(self, argv, log, pids, env=None, cwd=None, stdout=None):
        self.argv, self.log = argv, log
        with open(log, "ab") as out:
            self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stdout or out, stderr=out, env=env,
                                          cwd=cwd, start_new_session=True)
        self.pid = self.child.pid
        self.started = start_time(self.pid)
        self.pids = pids
        pids.add(self.pid, self.started, os.path.basename(argv[0]))

    def alive(self):
        return self.child.poll() is None

    def signal(self, sig):
        if self.alive():
            os.kill(self.pid, sig)

    def wait(self, timeout=None):
        code = self.child.wait(timeout)
        self.pids.remove(self.pid)
        return code

    def stop(self, timeout=15.0):
        """TERM and, if that is not heeded, KILL; returns the exit status."""
        if self.alive():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                return self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL)
        return self.wait(10)

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait(10)

    def log_tail(self, lines=15):
        try:
            with open(self.log, errors="replace") as f:
                return "".join(f.readlines()[-lines:])
        except OSError:
            return ""


class Pids:
    """What a lab has started, in a file of its directory, so that another process can stop a lab that was kept."""

    def __init__(self, path):
        self.path, self.rows = path, []

    def add(self, pid, started, name):
        self.rows.append([pid, started, name])
        self._save()

    def remove(self, pid):
        self.rows = [r for r in self.rows if r[0] != pid]
        self._save()

    def _save(self):
        if os.path.isdir(os.path.dirname(self.path)):
            with open(self.path, "w") as f:
                json.dump(self.rows, f)

    @classmethod
    def load(cls, path):
        pids = cls(path)
        with open(path) as f:
            pids.rows = json.load(f)
        return pids

    def stop_all(self):
        """Everything that is left, the last started first; the names of what would not go."""
        left = [name for pid, started, name in reversed(self.rows) if not stop_pid(pid, started)]
        self.rows = []
        return left


def can_bind(address, port, kind):
    with socket.socket(socket.AF_INET, kind) as s:
        try:
            s.bind((address, port))
        except OSError:
            return False
    return True


def free_port(addresses):
    """A port that is free for TCP and UDP on every one of the addresses, below the range of outgoing connections."""
    for _ in range(200):
        port = random.randint(10000, 32000)
        if all(can_bind(a, port, k) for a in addresses for k in (socket.SOCK_STREAM, socket.SOCK_DGRAM)):
            return port
    raise LabError("no free port on %s" % addresses[0])


def free_block():
    """The first three numbers of a 127.x.y.0/24 that nobody uses, by chance one of 60,000: labs run side by side."""
    return "127.%d.%d" % (random.randint(16, 250), random.randint(0, 255))


def run(argv, timeout=120, check=True, env=None, text=None):
    done = subprocess.run(argv, capture_output=True, timeout=timeout, env=env, input=text, text=True)
    if check and done.returncode != 0:
        raise LabError("%s: exit %d: %s%s" % (" ".join(argv[:3]), done.returncode, done.stderr[-2000:],
                                              done.stdout[-500:]))
    return done
