"""Whether any write was lost, made twice, or acknowledged by two sides at once; and whether the sides are the same.

The writers' logs say what was promised; the servers say what is there. Each rule adds to `problems`; a run is right
when there are none."""

from collections import Counter

from .proc import LabError


class Report:
    def __init__(self):
        self.problems, self.facts = [], {}

    def problem(self, text, *args):
        self.problems.append(text % args if args else text)

    @property
    def right(self):
        return not self.problems

    def __str__(self):
        return "\n".join(self.problems) or "right: %s" % self.facts


def _some(keys):
    keys = sorted(keys)
    return ", ".join("%d/%d" % k for k in keys[:5]) + (" and %d more" % (len(keys) - 5) if len(keys) > 5 else "")


def master_changes(writes):
    """(from, to, last_old, first_new) of every change of master that the acknowledgements show, and how many
    acknowledgements of old were merely read late.

    A change is: another server acknowledges a write that was issued after the current one's first acknowledgement.
    One lawful flip is one change; two sides open at once show as a flutter of changes."""
    changes, late, current, first, last = [], 0, None, 0, 0
    for w in sorted((w for w in writes if w.kind == "A"), key=lambda w: w.ended):
        if w.server != current:
            if current is not None and w.began <= first:
                late += 1
                continue
            if current is not None:
                changes.append((current, w.server, last, w.ended))
            current, first = w.server, w.ended
        last = w.ended
    return changes, late


def check_order(report, writes, expected):
    """expected: server ids in the order in which they were master. The law: no write is taken by old that was issued
    after new's first acknowledgement."""
    changes, late = master_changes(writes)
    report.facts["late_acks"] = late
    report.facts["blackouts_ms"] = [round((new - old) / 1000, 3) for _, _, old, new in changes]
    seen = [changes[0][0]] + [c[1] for c in changes] if changes else sorted({w.server for w in writes if w.kind == "A"})
    if seen != list(expected):
        shown = " ".join(map(str, seen[:20])) + (" ..." if len(seen) > 20 else "")
        report.problem("both sides took writes or the master changed unasked: the acknowledgements came from servers "
                       "%s; expected %s", shown, " ".join(map(str, expected)))


def check_twice(report, writes):
    """No sequence number was acknowledged twice, and none met itself in the table."""
    twice = [k for k, n in Counter((w.writer, w.seq) for w in writes if w.kind == "A").items() if n > 1]
    if twice:
        report.problem("acknowledged twice: %s", _some(twice))
    met = [(w.writer, w.seq) for w in writes if w.errno == 1062]
    if met:
        report.problem("already in the table when first written: %s", _some(met))


def check_present(report, writes, server):
    """Everything acknowledged is there, nothing refused is, and nothing that nobody wrote."""
    there, wrong = set(), []
    for row in server.query("SELECT writer, seq, payload FROM app.log"):
        key = (row["writer"], row["seq"])
        there.add(key)
        if row["payload"] != "w%d-%d" % key:
            wrong.append(key)
    by_kind = {kind: {(w.writer, w.seq) for w in writes if w.kind == kind} for kind in "ARU"}
    missing = by_kind["A"] - there
    if missing:
        report.problem("%s: %d acknowledged writes are LOST: %s", server.name, len(missing), _some(missing))
    if by_kind["R"] & there:
        report.problem("%s: refused, yet there: %s", server.name, _some(by_kind["R"] & there))
    stray = there - by_kind["A"] - by_kind["R"] - by_kind["U"]
    if stray:
        report.problem("%s: rows that no writer wrote: %s", server.name, _some(stray))
    if wrong:
        report.problem("%s: rows with another payload: %s", server.name, _some(wrong))
    report.facts.setdefault("unknown_but_there", {})[server.name] = len(by_kind["U"] & there)


def check_totals(report, writes, server):
    """In the transaction mode each writer's total is the number of its rows: no transaction by halves or twice."""
    totals = {r["writer"]: r["n"] for r in server.query("SELECT writer, n FROM app.total")}
    if not any(totals.values()):
        return
    rows = {r["writer"]: r["n"] for r in server.query("SELECT writer, COUNT(*) AS n FROM app.log GROUP BY writer")}
    halves = [w for w, n in totals.items() if n and n != rows.get(w, 0)]
    if halves:
        report.problem("%s: transactions by halves or twice, writers %s", server.name, halves)


def _columns(server, schema):
    rows = server.query("SELECT table_name AS t, column_name AS c FROM information_schema.columns WHERE "
                        "table_schema=%s ORDER BY table_name, ordinal_position", (schema,))
    tables = {}
    for row in rows:
        tables.setdefault(row["t"], []).append(row["c"])
    return tables


def checksums(server, schema="app"):
    """{table: (rows, sum)}: every column of every row, in any order."""
    result = {}
    for table, columns in _columns(server, schema).items():
        one = ", ".join("COALESCE(HEX(`%s`), 'null')" % c for c in columns)
        row = server.query("SELECT COUNT(*) AS n, SUM(CAST(CONV(LEFT(MD5(CONCAT_WS('/', %s)), 15), 16, 10) AS "
                           "DECIMAL(40))) AS s FROM `%s`.`%s`" % (one, schema, table))[0]
        result[table] = (row["n"], row["s"])
    return result


def check_same(report, master, other, schema="app"):
    ours, theirs = checksums(master, schema), checksums(other, schema)
    for table in sorted(set(ours) | set(theirs)):
        if ours.get(table) != theirs.get(table):
            report.problem("%s.%s differs: %s %s, %s %s", schema, table, master.name, ours.get(table), other.name,
                           theirs.get(table))


def check_replica(report, master, server, also):
    """server is closed, replicates from master with both threads, without error and without skipping."""
    if server.writable:
        report.problem("%s is writable as well as %s", server.name, master.name)
    status = server.replica_status()
    if not status:
        report.problem("%s does not replicate", server.name)
        return
    came_from = (status["Master_Host"], int(status["Master_Port"]))
    if came_from not in [(master.address, master.port)] + also.get(master.name, []):
        report.problem("%s replicates from %s:%d, not from %s", server.name, *came_from, master.name)
    if (status["Slave_IO_Running"], status["Slave_SQL_Running"]) != ("Yes", "Yes"):
        report.problem("%s: replication IO %s, SQL %s: %s %s", server.name, status["Slave_IO_Running"],
                       status["Slave_SQL_Running"], status["Last_IO_Error"], status["Last_SQL_Error"])
    if int(status["Skip_Counter"]) != 0 or server.value("SELECT @@global.slave_skip_errors") != "OFF":
        report.problem("%s skips events", server.name)


def check_gtid(report, master, server):
    """What server has executed is what master has: nothing less, and nothing of its own."""
    ours, theirs = (sorted(filter(None, s.gtid("gtid_current_pos").split(","))) for s in (master, server))
    if ours != theirs:
        report.problem("GTID positions differ: %s %s, %s %s", master.name, ours, server.name, theirs)


def check_topology(report, lab, master):
    if not master.writable:
        report.problem("%s is not writable", master.name)
    if master.replica_status():
        report.problem("%s, the master, still replicates", master.name)
    for server in lab.servers.values():
        if server is not master:
            check_replica(report, master, server, lab.also_reached)


def wait_synced(report, master, server, timeout=60):
    try:
        if server.replica_status():
            server.wait_gtid(master.gtid(), timeout)
    except LabError as e:
        report.problem("%s", e)


def check(lab, loads, order, master=None):
    """The whole check. order: the names of the sides in the order in which they were master, the last one still is.

    Ends the loads. The servers must be quiet otherwise."""
    report = Report()
    writes = [w for load in loads for w in load.writes()]
    report.facts["acked"] = sum(w.kind == "A" for w in writes)
    report.facts["refused"] = sum(w.kind == "R" for w in writes)
    report.facts["unknown"] = sum(w.kind == "U" for w in writes)
    if not report.facts["acked"]:
        report.problem("nothing was acknowledged: nothing was proven")
    master = master or lab.servers[order[-1]]
    check_order(report, writes, [lab.servers[name].server_id for name in order])
    check_twice(report, writes)
    check_topology(report, lab, master)
    for server in lab.servers.values():
        if server is not master:
            wait_synced(report, master, server)
            check_same(report, master, server)
            check_gtid(report, master, server)
        check_present(report, writes, server)
        check_totals(report, writes, server)
    return report
