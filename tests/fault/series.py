"""A series of faults on one lab: writers run all the time, each case is a flip with a fault in it, the next one flips
whatever side is master then to the other. At the end the checker looks at every write that was acknowledged."""

import contextlib
import itertools
import json
import os
import signal
import sqlite3
import threading
import time
from collections import Counter

import pymysql

from tests.fault.openings import Openings
from tests.lab import places
from tests.lab.checker import check
from tests.lab.lab import ZONES
from tests.lab.proc import LabError, Process, wait_for

ALL = os.environ.get("FLIPD_CHECK_ALL") == "1"
SUMMARY = []  # lines for the end of the run
OUTCOMES = {"done", "rolled_back", "aborted"}
WRITABLE_WITHIN_S = 10
LINES = 20  # the first address of the lines that can be cut
# Each way, from the fence on. In a blackout of less than 20 ms flipd tells of its steps only when it is over: with this
# each is told of as it begins, and a fault that waits for the line strikes there.
FAR_MS = 15
POLICY = {"heartbeat": {"interval": "100ms"}}
# Without io_uring: what it was given may be written after its process was killed, while the next one starts already.
# Once in some hundred kills InnoDB found its files corrupt with it (10.11.19), never without; not proven to be the cause.
SERVERS = {"innodb_use_native_aio": "0"}


def other(side):
    return {"source": "target", "target": "source"}[side]


class Series:
    def __init__(self, lab):
        self.lab, self.daemon, self.openings, self.loads = lab, None, None, []
        self.order, self.outcomes, self.cases, self.slowest_s = ["source"], Counter(), 0, 0.0
        self.client = None  # of the flip under way
        self.last_id, self.excused, self.prefix = None, 0.0, []
        self.reached, self.lines, self.every_life = {}, {}, {}  # every_life: environment of each flipd that is started

    def build(self, defaults=None, replicas=(), zones=ZONES[:1], writers=4, interval_ms=20.0, by_name=True, lines=False,
              each_way_ms=None, cluster=None, prefixes=None, **servers):
        """A lab with its daemon, not started, and writers, started: some try both sides in turn, one goes by name."""
        lab = self.lab
        lab.cluster(replicas=list(replicas), options=SERVERS, prefixes=prefixes or {}, **servers)
        if defaults and "verify" in defaults:
            for server in lab.servers.values():
                server.unlogged(["GRANT SELECT ON app.* TO 'flipd'@'%'"])
        lab.dns(zones=zones)
        cluster = cluster(lab) if callable(cluster) else cluster
        if lines:
            self.draw_lines(each_way_ms)
        for key, value in (cluster or {}).items():
            self.reached[key] = dict(self.reached.get(key, {}), **value) if isinstance(value, dict) else value
        self.daemon = self.new_daemon("flipd", defaults)
        if writers:
            self.loads.append(lab.load(name="both", writers=writers, interval_ms=interval_ms))
        if by_name:
            self.loads.append(lab.load(name="byname", writers=1, interval_ms=interval_ms, zone=zones[0],
                                       first_writer=writers))
        if lines:
            self.every_life.update(self.armable())
        self.openings = Openings(lab)
        return self

    def new_daemon(self, name, defaults=None, daemon=None):
        return self.lab.flipd(start=False, name=name, daemon=dict({"poll_interval": "100ms"}, **(daemon or {})),
                              defaults=dict(POLICY, **(defaults or {})), cluster=self.reached)

    def draw_lines(self, each_way_ms=None):
        """flipd reaches each side, and each side the other, over a line of its own that can be cut."""
        lab = self.lab
        for number, (who, side) in enumerate(itertools.product(("flipd", "replica"), ("source", "target"))):
            at, server = lab.address(LINES + number), lab.servers[side]
            line = Process([places.built("tests/bench/delay"), "--ms", str(each_way_ms or FAR_MS),
                            "%s:%d=%s:%d" % (at, lab.port, server.address, lab.port)],
                           os.path.join(lab.dir, "line-%d.log" % number), lab.pids)
            wait_for(lambda l=line: "ready" in l.log_tail(), 10, "the line")
            self.lines[who, side] = line
            self.reached.setdefault(side, {})["host" if who == "flipd" else "replication_address"] = \
                at if who == "flipd" else "%s:%d" % (at, lab.port)
            if who == "replica":
                lab.also_reached[side] = [(at, lab.port)]
        if each_way_ms is None:
            self.distance(False)
        target = lab.servers["target"]
        target.query("STOP SLAVE")
        target.follow(lab.servers["source"], lab.gtid, host=lab.also_reached["source"][0][0])

    def cut(self, who, side, how="both"):
        """TCP sees a partition: what is under way arrives when it is over. how: asks (what flipd or the replica sends
        is kept, answers still come), answers (what it sends arrives, and has its effect; the answers are kept), both."""
        self.lines[who, side].signal({"both": signal.SIGUSR1, "asks": signal.SIGRTMIN,
                                      "answers": signal.SIGRTMIN + 1}[how])

    def distance(self, far):
        for line in self.lines.values():
            line.signal(signal.SIGRTMIN + (4 if far else 3))

    @contextlib.contextmanager
    def slow_blackout(self, log):
        """The lines are long from the moment when flipd begins its step `fence`; log: the offset from which it tells."""
        over = threading.Event()

        def watch():
            if self.at_log(" step=fence ", lambda: self.distance(True), end=log, unless=over.is_set):
                over.wait()
            self.distance(False)
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join(10)

    def mend(self, who, side, forget=False):
        """forget: what was kept never arrives, its connections are closed."""
        if forget:
            self.lines[who, side].signal(signal.SIGRTMIN + 2)
        self.lines[who, side].signal(signal.SIGUSR2)

    # One case.

    @property
    def master(self):
        return self.order[-1]

    @property
    def old(self):
        return self.lab.servers[self.master]

    @property
    def new(self):
        return self.lab.servers[other(self.master)]

    def start(self, daemon=None, **env):
        """flipd, with the crash shim where env asks for it."""
        daemon = daemon or self.daemon
        env = dict({} if "FLIPD_GATE" in env else self.every_life, **env)  # a gate of the test's own is not armed
        words = ["%s=%s" % pair for pair in sorted(env.items())]
        if env:
            words.append("LD_PRELOAD=" + places.built("tests/fault/crashpoint.so"))
        daemon.wrapper = self.prefix + ["env", "FLIPD_DEBUG=1"] + words
        daemon.start(wait=False)
        return daemon

    def answers(self, daemon=None):
        daemon = daemon or self.daemon
        return daemon.process.alive() and os.path.exists(daemon.socket) and daemon.ctl("ping").code == 0

    def up(self, daemon=None, **env):
        """Starts it and waits until it answers; False when it was killed before."""
        daemon = self.start(daemon, **env)
        wait_for(lambda: not daemon.process.alive() or self.answers(daemon), 20, "flipd to answer")
        return daemon.process.alive()

    def ready(self):
        self.daemon.wait_ready(other(self.master), timeout=30)

    def flip(self, *more):
        """A flip to the other side, under way."""
        return self.daemon.ctl_start("flip", "lab", "--to", other(self.master), "--yes", *more)

    def wait_flip(self, child, timeout=60):
        """Until the flip has ended, or flipd is gone: then the answer is None."""
        out, err = child.communicate(timeout=timeout)
        if child.returncode == 5:
            self.daemon.process.wait(10)
            return None
        try:
            return json.loads(out)
        except ValueError:
            raise LabError("flipctl: exit %d: %s%s" % (child.returncode, out, err)) from None

    def newest(self):
        """The newest flip in the journal, as flipd tells it; None when it is the one of an earlier case."""
        flips = self.daemon.ctl("history", "lab").json["flips"]
        return flips[0] if flips and flips[0]["id"] != self.last_id else None

    def recovered(self, since, timeout=20):
        """flipd is up again: the flip's end as the journal has it, and one side open in time (since: the crash)."""
        wait_for(lambda: self.openings.only_open(since), max(0.1, since + WRITABLE_WITHIN_S - time.monotonic()),
                 "one writable side within %d s" % WRITABLE_WITHIN_S)
        self.slowest_s = max(self.slowest_s, time.monotonic() - since)
        if self.newest() is None:
            return None

        def ended():
            flip = self.newest()
            return flip if flip["state"] in ("ended", "stuck") else None
        try:
            return wait_for(ended, timeout, "the recovered flip to end")
        except LabError:
            self.describe_locks()  # now: whoever holds them may let go when the test ends
            raise

    def describe_locks(self):
        for server in self.lab.servers.values():
            for what in ("SELECT ID, USER, COMMAND, TIME_MS, STATE, LEFT(INFO, 150) AS INFO FROM "
                         "information_schema.PROCESSLIST",
                         "SELECT trx_id, trx_state, trx_started, trx_mysql_thread_id, trx_query, trx_tables_locked, "
                         "trx_rows_locked, trx_operation_state FROM information_schema.INNODB_TRX",
                         "SELECT * FROM information_schema.INNODB_LOCK_WAITS",
                         "SELECT lock_id, lock_trx_id, lock_mode, lock_table, lock_index, lock_data FROM "
                         "information_schema.INNODB_LOCKS"):
                print("---- %s: %s" % (server.name, what[:60]))
                for row in server.query(what) if server.running else ():
                    print(row)

    def outlives(self, timeout=30):
        """Whether flipd lives on until its newest flip has ended."""
        def over():
            if not self.daemon.process.alive():
                return "dead"
            answer = self.daemon.ctl("history", "lab")
            flips = answer.json["flips"] if answer.code == 0 else [{"state": "unknown"}]
            return "ended" if not flips or flips[0]["state"] in ("ended", "stuck") else None
        if wait_for(over, timeout, "the recovered flip to end, or flipd") == "dead":
            self.daemon.process.wait(10)
            return False
        time.sleep(0.02)  # what it wrote last may have killed it
        return self.daemon.process.alive()

    def judge(self, flip, where, allowed=OUTCOMES):
        """Counts the outcome, and asks the servers whether it is true; the next case begins from there."""
        outcome = flip["outcome"] if flip else "never begun"
        self.outcomes[outcome] += 1
        self.cases += 1
        assert flip is None or outcome in allowed, "%s: %s" % (where, brief(flip))
        if flip:
            self.last_id = flip["id"]
        if outcome == "done":
            self.order.append(flip["to"])
        self.look(where)

    def look(self, where):
        """One side open, the other closed and its replica, the names on the master; never were both open."""
        both = self.both_open()
        assert not both, "%s: both sides were open: %s" % (where, both)
        master, standby = self.old, self.new
        assert self.lab.master() is master, "%s: %s is open" % (where, self.lab.master().name)
        status = standby.replica_status()
        hosts = [master.address] + [at for at, _ in self.lab.also_reached.get(master.name, [])]
        assert status and status["Master_Host"] in hosts, "%s: %s" % (where, status)
        try:
            standby.wait_replicating(30)  # one connection to a server that was killed costs slave_net_timeout
            standby.wait_gtid(master.gtid(), 20)
        except LabError as e:
            raise AssertionError("%s: %s: %s" % (where, e, standby.replica_status())) from None
        assert master.replica_status() is None, "%s: the master still replicates" % where
        for zone in self.lab.named.zones if self.lab.named else ():
            assert self.lab.named.ask("db." + zone) == [self.lab.endpoint_value(zone, self.master)], where
        self.written_on(master, where)
        opened = rows_left_open(master)
        assert not opened, "%s: rows left open: %s" % (where, opened)

    def written_on(self, master, where, writers=1000):
        """Every writer, or each with a number below that, has found the master."""
        def highest():
            rows = master.query("SELECT writer, MAX(seq) AS n FROM app.log GROUP BY writer")
            return {r["writer"]: r["n"] for r in rows if r["writer"] < writers}
        before = highest()
        try:
            wait_for(lambda: all(n > before[w] for w, n in highest().items()), 10, "every writer to write there")
        except LabError as e:
            raise AssertionError("%s: %s: %s, was %s" % (where, e, highest(), before)) from None

    # Faults.

    @contextlib.contextmanager
    def applier_to_hold(self, kept=False):
        """Gives a function that makes the applier of new stand still as long as this lasts: it waits for the end of a
        transaction that holds the row with the flip's marker and the gaps of the writers' next rows. (A table lock can
        deadlock with the applier's own threads.) kept: also when new is opened meanwhile, by a hand."""
        new, over, watchers = self.new, threading.Event(), []
        connection = new.connect()
        statements = ["SELECT * FROM flipd.flips FOR UPDATE",
                      "SELECT seq FROM app.log WHERE writer IN (0, 1, 2, 3, 4) AND seq > 1000000000 FOR UPDATE"]

        def let_go_when_open():
            """It came too late: new is opened all the same, and everybody who writes there would wait for its end."""
            with contextlib.suppress(pymysql.Error), contextlib.closing(new.connect()) as look, look.cursor() as cursor:
                while not over.wait(0.02):
                    cursor.execute("SELECT @@global.read_only=0 AS open")
                    if cursor.fetchone()[0] == 1:
                        connection.rollback()
                        return

        def hold():
            with connection.cursor() as cursor:
                for text in statements:
                    cursor.execute(text)
            if not kept:
                watchers.append(threading.Thread(target=let_go_when_open))
                watchers[-1].start()
        try:
            connection.begin()
            yield hold
        finally:
            over.set()
            for watcher in watchers:
                watcher.join()
            connection.close()

    @contextlib.contextmanager
    def applier_to_stop(self):
        """The same with STOP SLAVE."""
        new, stopped = self.new, []

        def stop():
            new.query("STOP SLAVE SQL_THREAD")
            stopped.append(True)
        try:
            yield stop
        finally:
            if stopped:
                new.query("START SLAVE SQL_THREAD")

    # A flip stands still where drain has seen new keep up, and the fence is still to come: for what must be so then.

    @property
    def gate(self):
        return os.path.join(self.daemon.dir, "gate")

    @contextlib.contextmanager
    def armed(self):
        """For the next flip of a flipd that has armable() in its environment."""
        with open(self.gate + ".armed", "w"):
            pass
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.gate + ".armed")

    def armable(self):
        """The same for any flip of that life that begins while armed()."""
        return dict(self.gated(), FLIPD_GATE_ARMED=self.gate + ".armed")

    def gated(self, **env):
        """The environment for start(), or up(), that makes the first flip of that life stand still there."""
        return dict(env, FLIPD_GATE=self.gate, FLIPD_GATE_HOLDS="record:noted/events")

    def at_gate(self, child, act, timeout=30):
        """Calls act() when the flip stands there, and lets it go on. False when it has ended, or flipd, before."""
        def comes():
            return os.path.exists(self.gate) or child.poll() is not None or not self.daemon.process.alive()
        wait_for(comes, timeout, "the flip to come to the gate")
        if not os.path.exists(self.gate):
            return False
        act()
        os.unlink(self.gate)
        return True

    def at_log(self, text, act, timeout=30, end=None, having="", unless=lambda: False):
        """Calls act() as soon as flipd's log has text (and having) in a line from now on, or from offset end on; False
        when flipd is gone, the flip has ended, `timeout` has passed, or unless() holds before."""
        until = time.monotonic() + timeout
        with open(self.daemon.log, errors="replace") as f:
            f.seek(self.log_end() if end is None else end)
            line = ""
            while time.monotonic() < until:
                line += f.readline()
                if line.endswith("\n"):
                    if text in line and having in line:
                        act()
                        return True
                    if ": flip ended: " in line:
                        return False
                    line = ""
                    continue
                if unless() or not self.daemon.process.alive():
                    return False
                time.sleep(0.0002)
        return False

    def log_end(self):
        return os.path.getsize(self.daemon.log)

    def nobody_open(self):
        """Both sides answer, and neither takes writes."""
        return not self.old.writable and not self.new.writable

    def excuse(self):
        """What was open until now by somebody's hand is not held against flipd."""
        self.excused = time.monotonic()

    def both_open(self):
        return [spell for spell in self.openings.both_open() if spell[1] > self.excused]

    # The end.

    def finish(self, name):
        """The checker over everything, and the series' line. No flipd is left: each writes a heartbeat."""
        for daemon in self.lab.daemons:
            daemon.stop()
        self.openings.stop()
        both = self.both_open()
        assert not both, "both sides were open: %s" % both
        report = check(self.lab, self.loads, self.order)
        assert report.right, str(report)
        SUMMARY.append("sample: %s: %d cases, outcomes {%s}, %d acknowledged writes, lost 0, never two open; longest "
                       "without a writable side %.1f s" % (
                           name, self.cases, ", ".join("%s: %d" % o for o in sorted(self.outcomes.items())),
                           report.facts["acked"], self.openings.longest_closed_s()))
        return report

    def describe(self):
        """What a person would look at first."""
        for daemon in self.lab.daemons:
            print("---- %s\n%s" % (daemon.log, daemon.process.log_tail(120) if daemon.process else ""))
            print("---- its journal\n%s" % journal_text(daemon))
        for server in self.lab.servers.values():
            print("---- %s\n%s" % (server.log, server.process.log_tail(8) if server.process else ""))
            if server.running:
                print(server.query("SELECT @@read_only, @@gtid_binlog_state, @@gtid_slave_pos"))
                for session in server.query("SELECT ID, USER, COMMAND, TIME_MS, STATE, LEFT(INFO, 120) AS INFO FROM "
                                            "information_schema.PROCESSLIST WHERE COMMAND<>'Sleep'"):
                    print(session)
                print(server.replica_status())

    def close(self):
        if self.openings:
            self.openings.stop()
        self.lab.close()


def brief(flip):
    """What matters of a flip's document."""
    keep = {k: flip[k] for k in ("id", "state", "outcome", "from", "to", "error", "warnings", "position")}
    keep["steps"] = ["%s %s %s" % (s["name"], s["state"], s["detail"] or "") for s in flip["steps"]
                     if s["state"] not in ("pending", "skipped")]
    keep["refused"] = [c for c in flip["checks"] if c["result"] == "refuse"]
    return json.dumps(keep, indent=1)


def rows_left_open(server):
    """The flips' rows that are not closed."""
    return server.query("SELECT id, state FROM flipd.flips WHERE state <> 'closed'")


def journal_text(daemon):
    """The newest flip's records."""
    path = os.path.join(daemon.config["daemon"]["state_dir"], "journal.db")
    try:
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % path, uri=True, timeout=2)) as db:
            flip = db.execute("SELECT id, state, outcome FROM flip ORDER BY rowid DESC LIMIT 1").fetchone()
            if not flip:
                return "no flip"
            rows = db.execute("SELECT seq, kind, step, data FROM record WHERE flip_id = ? ORDER BY seq", flip[:1])
            return "\n".join([str(flip)] + ["%d %s %s %s" % (s, k, st, d[:300]) for s, k, st, d in rows])
    except sqlite3.Error as e:
        return str(e)
