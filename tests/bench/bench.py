#!/usr/bin/python3
"""The bench of flipd's blackout, as a ratio against a floor measured in the same run on the same servers.

The floor (floor.c) is a C program over warm connections with one round trip per server, cutting blockers after 10 ms,
without journal or proofs. Floor and flipd take turns. The blackout is what the writers' own log says: from the last
write acknowledged by old to the first by new. After each case every acknowledged write is checked."""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from lab import plainflip  # noqa: E402
from lab.checker import check  # noqa: E402
from lab.lab import ZONES, Lab  # noqa: E402
from lab.places import built  # noqa: E402
from lab.proc import LabError  # noqa: E402

IDLE = {"writers": 1, "interval_ms": 1, "backoff_ms": 0.2}
BUSY = {"writers": 8, "interval_ms": 5}
FAST = {"writers": 8, "interval_ms": 0}
PATIENT = {"max_transaction_age": "60s"}
EACH_WAY_MS = 20

# blocker: (statements of a session that is in the way, how long it stays after them)
CASES = {
    "idle": {"says": "one light writer", "load": IDLE},
    "writers": {"says": "8 writers, one write each 5 ms", "load": BUSY},
    "applier": {"says": "8 writers as fast as they can, single-threaded applier", "load": FAST,
                "options": {"slave_parallel_threads": "0"}, "warm_up": 0.3, "short_load": True,
                "same_backlog": True},
    "open_trx": {"says": "an idle open transaction with a change", "load": IDLE,
                 "blocker": (["START TRANSACTION", "UPDATE app.work SET n=n+1 WHERE id=5"], 3)},
    "update": {"says": "an UPDATE that runs 3 s in the way", "load": IDLE, "policy": PATIENT,
               "blocker": (["UPDATE app.work SET n=n+1 WHERE id=5 AND SLEEP(3)=0"], 0)},
    "lock": {"says": "LOCK TABLES held for 3 s in the way", "load": IDLE, "policy": PATIENT,
             "blocker": (["LOCK TABLES app.work WRITE"], 3)},
    "far": {"says": "old and new 40 ms apart, flipd beside old", "load": IDLE, "far": True, "warm_up": 1.0},
}


class Floor:
    """tests/bench/floor as a tool of the bench."""

    lead_s = 0.0

    def __init__(self, lab, far, zone):
        self.lab = lab
        argv = [built("tests/bench/floor"), "--password-file", lab.secret("admin"), "--repl-password-file",
                lab.secret("repl")]
        for name in ("source", "target"):
            server = lab.servers[name]
            at = far.get(name, server.address)
            # The floor runs beside the source.
            argv += ["--side", "%d,%s,%d,%s,%d" % (server.server_id, server.address if name == "source" else at,
                                                  server.port, at, server.port)]
        if zone:
            argv += ["--dns", "%s:%d" % (lab.named.address, lab.named.port), "--zone", zone, "--name", "db." + zone,
                     "--key-name", "flipd-key.", "--key-file", lab.named.secret_file]
            for name in ("source", "target"):
                argv += ["--value", lab.endpoint_value(zone, name)]
        self.log = open(os.path.join(lab.dir, "floor.log"), "w")
        self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)

    def prepare(self, to):
        pass

    def flip(self, to):
        self.child.stdin.write("1\n" if to == "source" else "0\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            with open(self.log.name) as f:
                raise LabError("floor: " + f.read())
        answer = json.loads(line)
        return (answer["opened_us"] - answer["began_us"]) / 1000

    def stop(self):
        self.child.stdin.close()
        self.child.wait(10)
        self.log.close()


class Flipd:
    """lead_s: how long it took from the command to the fence, in the last flip."""

    lead_s = 0.0

    def __init__(self, lab, far, zone, policy):
        cluster = {}
        if far:
            cluster = {"source": {"replication_address": "%s:%d" % (far["source"], lab.port)},
                       "target": {"host": far["target"]}}
        # The floor's sessions must outlive flipd's flips.
        self.daemon = lab.flipd(zones=[zone] if zone else [], cluster=cluster,
                                defaults=dict(policy, sessions={"exempt_users": ["root", "admin"]}))

    def prepare(self, to):
        self.daemon.wait_ready(to)

    def flip(self, to):
        asked = time.time()
        answer = self.daemon.flip(to)
        if answer.code != 0:
            raise LabError("flipd: %r" % answer)
        fence = next(step for step in answer.json["steps"] if step["name"] == "fence")
        self.lead_s = datetime.datetime.fromisoformat(fence["started_at"].replace("Z", "+00:00")).timestamp() - asked
        return answer.json["blackout_ms"]

    def stop(self):
        self.daemon.stop()


class Plain:
    """The careful flip in Python: to try the bench without flipd."""

    lead_s = 0.0

    def __init__(self, lab):
        self.lab = lab

    def prepare(self, to):
        pass

    def flip(self, to):
        plainflip.careful(self.lab, to)

    def stop(self):
        pass


def turns(tools, flips, one_way):
    """(tool, to, measured) of each flip, alternating; each tool has `flips` measured ones. One way: only flips to the
    target count, the floor goes back."""
    result = []
    if one_way:
        for _ in range(flips):
            for tool in tools:
                result += [(tool, "target", True), ("floor", "source", False)]
        return result
    to = ["target", "source"]
    for i in range(flips):
        # The order changes every time, so that each tool flips in both directions.
        for tool in tools if i % 2 == 0 else tools[::-1]:
            result.append((tool, to[len(result) % 2], True))
    return result


class Case:
    def __init__(self, name, with_dns, flips, tools):
        self.name, self.spec, self.zone = name, CASES[name], ZONES[0] if with_dns else None
        self.flips, self.tools = flips, tools
        self.blackouts, self.own = {t: [] for t in tools}, {t: [] for t in tools}

    def run(self):
        with Lab() as lab:
            lab.keep = False
            self.lab = lab
            lab.cluster(options=self.spec.get("options"), admin=True)
            if self.zone:
                lab.dns(zones=[self.zone])
            far = lab.distance(EACH_WAY_MS) if self.spec.get("far") else {}
            makers = {"floor": lambda: Floor(lab, far, self.zone), "plain": lambda: Plain(lab),
                      "flipd": lambda: Flipd(lab, far, self.zone, self.spec.get("policy", {}))}
            machines = {t: makers[t]() for t in set(self.tools) | ({"floor"} if far else set())}
            try:
                return self.measure(machines)
            finally:
                for machine in machines.values():
                    machine.stop()

    def start_load(self):
        """Each load has sequence numbers of its own."""
        number = len(self.lab.loads)
        return self.lab.load(name="load%d" % number, warm=True, zone=self.zone, first_seq=number * 10**9,
                             **self.spec["load"])

    def measure(self, machines):
        schedule = turns(self.tools, self.flips, bool(self.spec.get("far")))
        if not self.spec.get("short_load"):
            self.start_load()
        for tool, to, measured in schedule:
            machine = machines[tool]
            machine.prepare(to)
            own = self.one_flip(machine, to, self.floor_waits(machines) if tool == "floor" else 0)
            if measured:
                self.own[tool].append(own)
        order = ["source"] + [to for _, to, _ in schedule]
        report = check(self.lab, self.lab.loads, order)
        if not report.right:
            raise LabError("%s: %s" % (self.name, report))
        for (tool, _, measured), blackout in zip(schedule, report.facts["blackouts_ms"]):
            if measured:
                self.blackouts[tool].append(blackout)
        return self.result()

    def floor_waits(self, machines):
        """The floor fences at once. Where a backlog grows meanwhile it begins as late as flipd's last fence came."""
        return max(m.lead_s for m in machines.values()) if self.spec.get("same_backlog") else 0

    def one_flip(self, machine, to, waits):
        old = next(n for n in ("source", "target") if n != to)
        load = self.start_load() if self.spec.get("short_load") else None
        time.sleep(self.spec.get("warm_up", 0.3) + waits)
        blocker = None
        if "blocker" in self.spec:
            statements, seconds = self.spec["blocker"]
            blocker, _ = plainflip.hold(self.lab.servers[old], statements, seconds)
            time.sleep(0.1)
        own = machine.flip(to)
        if blocker:
            blocker.join(10)
        if load:
            time.sleep(0.1)
            load.stop()
        self.lab.sync(self.lab.servers[to])
        return own

    def result(self):
        row = {"case": self.name, "dns": bool(self.zone), "says": self.spec["says"]}
        for tool in self.tools:
            own = [o for o in self.own[tool] if o is not None]
            row[tool] = {"blackouts_ms": self.blackouts[tool], "median_ms": statistics.median(self.blackouts[tool]),
                         "max_ms": max(self.blackouts[tool]), "own_median_ms": statistics.median(own) if own else None}
        if len(self.tools) > 1:
            base, other = (row[t]["median_ms"] for t in ("floor", self.tools[-1]))
            row["ratio"] = other / base if base > 0 else None
        return row


def table(rows, tools):
    head = ["case", "dns"] + ["%s %s" % (t, what) for t in tools for what in ("median", "max", "own")] + ["ratio"]
    lines = [head]
    for row in rows:
        line = [row["case"], "yes" if row["dns"] else "no"]
        for tool in tools:
            for key in ("median_ms", "max_ms", "own_median_ms"):
                value = row[tool][key]
                line.append("-" if value is None else "%.1f" % value)
        line.append("%.2f" % row["ratio"] if row.get("ratio") else "-")
        lines.append(line)
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in
                               enumerate(zip(line, widths))) for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=20, help="measured flips of each tool in each case (20)")
    parser.add_argument("--case", action="append", choices=sorted(CASES), help="only this case; may be repeated")
    parser.add_argument("--dns", choices=["both", "with", "without"], default="both")
    parser.add_argument("--tools", default="floor,flipd", help="of floor, flipd, plain; the floor first")
    parser.add_argument("--json", help="the figures, to this file")
    args = parser.parse_args()
    tools = args.tools.split(",")
    rows, wrong = [], 0
    for name in args.case or CASES:
        for with_dns in {"both": (False, True), "with": (True,), "without": (False,)}[args.dns]:
            begin = time.monotonic()
            try:
                rows.append(Case(name, with_dns, args.flips, tools).run())
            except LabError as e:
                wrong += 1
                print("%s%s: WRONG: %s" % (name, " with dns" if with_dns else "", e), flush=True)
                continue
            print("%s%s: %.0f s" % (name, " with dns" if with_dns else "", time.monotonic() - begin), file=sys.stderr,
                  flush=True)
    print("Blackout in ms, from the last write acknowledged by old to the first by new, as the writers saw it; own: as "
          "the tool says.\n%d flips of each tool in each case, taking turns on the same servers.\n" % args.flips)
    print(table(rows, tools))
    for name in args.case or CASES:
        print("  %-9s %s" % (name, CASES[name]["says"]))
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"flips": args.flips, "rows": rows}, f, indent=1)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
