"""The demonstration: a cluster of three, two zones, eight writers and a probe; flipped there, back and there again."""

import sys
import time
from collections import Counter

import pymysql.constants.CR
import pymysql.constants.ER

from . import plainflip
from .checker import check, master_changes
from .lab import ZONES, Lab
from .proc import LabError, wait_for

ORDER = ["source", "target", "source", "target"]
OWN_NAMES = {0: "ok", 1290: "read-only", 1927: "connection killed", 1053: "server shutdown", 1969: "statement timeout",
             2002: "connection refused", 2006: "server has gone away", 2013: "connection lost"}


def error_name(errno):
    if errno in OWN_NAMES:
        return OWN_NAMES[errno]
    for table in (pymysql.constants.ER, pymysql.constants.CR):
        for name, value in vars(table).items():
            if value == errno and not name.startswith("ERROR_"):
                return name.lower().replace("_", " ")
    return "error %d" % errno


def say(text="", *args):
    print(text % args if args else text, flush=True)


def build(lab, plain):
    begin = time.monotonic()
    lab.cluster(replicas=["reports"])
    lab.dns()
    daemon = None if plain else lab.flipd()
    say("The lab: %s (%.1f s to build; accounts: %s)", lab.dir, time.monotonic() - begin, lab.grants_from)
    for server in lab.servers.values():
        say("  %-8s MariaDB %s at %s:%d", server.name, server.value("SELECT VERSION()"), server.address, server.port)
    say("  %-8s BIND at %s:%d, zones %s; db.<zone> is what writers follow", "names", lab.named.address, lab.named.port,
        " ".join(ZONES))
    return daemon


class Window:
    """What clients met from begin to end (monotonic us): the writes of every load in that time."""

    def __init__(self, loads, begin, end):
        self.writes = [w for load in loads for w in load.so_far() if w.ended >= begin and w.began <= end]

    def blackout_ms(self):
        changes, _ = master_changes(self.writes)
        return [(new - old) / 1000 for _, _, old, new in changes]

    def longest_gap_ms(self):
        """The longest time that any one writer was without an acknowledged write."""
        last, longest = {}, 0
        for w in sorted((w for w in self.writes if w.kind == "A"), key=lambda w: w.ended):
            longest = max(longest, w.ended - last.get(w.writer, w.ended))
            last[w.writer] = w.ended
        return longest / 1000

    def errors(self):
        words = {"R": "refused", "U": "answer lost", "C": "not connected"}
        counts = Counter((words[w.kind], error_name(w.errno)) for w in self.writes if w.kind != "A")
        return ", ".join("%d %s (%s)" % (n, kind, name) for (kind, name), n in counts.most_common()) or "none"


def _at_ms(text):
    """The milliseconds of an RFC 3339 time within its day; only differences matter."""
    hours, minutes, seconds = text[11:].rstrip("Z").split(":")
    return (int(hours) * 3600 + int(minutes) * 60 + float(seconds)) * 1000


def show_steps(flip):
    fence = next((s["started_at"] for s in flip["steps"] if s["name"] == "fence"), None)
    say("    %-13s %-8s %11s %11s", "step", "state", "from fence", "took")
    for step in flip["steps"]:
        at = "" if not (fence and step["started_at"]) else "%+.1f ms" % (_at_ms(step["started_at"]) - _at_ms(fence))
        took = "" if step["duration_ms"] is None else "%.2f ms" % step["duration_ms"]
        detail = (step["detail"] or "").split("\n")[0]
        say("    %-13s %-8s %11s %11s  %s", step["name"], step["state"], at, took, detail[:100])


def flip_once(lab, daemon, to):
    """One flip; the flip document, or None for a plain one. Raises when it did not end as it should."""
    if daemon is None:
        plainflip.careful(lab, to)
        return None
    daemon.wait_ready(to)
    answer = daemon.flip(to)
    if answer.code != 0 or not answer.json or answer.json["outcome"] != "done":
        raise LabError("flip to %s: %r\n%s" % (to, answer, daemon.process.log_tail(30)))
    return answer.json


def show_flip(number, was, to, flip, window, took_s):
    blackouts = window.blackout_ms()
    say("\nFlip %d: %s -> %s%s, %.0f ms in all", number, was, to,
        "" if flip is None else ", %s (%s)" % (flip["outcome"], flip["id"]), took_s * 1000)
    if flip is not None:
        show_steps(flip)
        probe = flip["probe"] or {}
        say("    blackout by flipd %s ms, by its probe %s ms", flip["blackout_ms"], probe.get("blackout_ms"))
        for warning in flip["warnings"]:
            say("    warning: %s", warning)
    say("    blackout by the clients: %s (last write acknowledged by %s to the first by %s)",
        ", ".join("%.1f ms" % b for b in blackouts) or "not seen", was, to)
    say("    clients: longest gap of one writer %.1f ms; errors: %s", window.longest_gap_ms(), window.errors())


def settle(loads, since):
    """Until every load has written for half a second after the flip, and it is on disk."""
    time.sleep(0.5)

    def written():
        return all(any(w.kind == "A" and w.began > since + 300000 for w in load.so_far()) for load in loads)
    wait_for(written, 20, "the writers to go on")


def flip_there_and_back(lab, daemon, loads):
    for number, (was, to) in enumerate(zip(ORDER, ORDER[1:]), 1):
        begin = time.monotonic()
        flip = flip_once(lab, daemon, to)
        end = time.monotonic()
        settle(loads, int(end * 1e6))
        window = Window(loads, int(begin * 1e6) - 200000, int(end * 1e6) + 300000)
        show_flip(number, was, to, flip, window, end - begin)


def show_verdict(lab, report, loads):
    facts = report.facts
    say("\nThe check: %d acknowledged writes, %d refused, %d with a lost answer", facts["acked"], facts["refused"],
        facts["unknown"])
    say("  blackouts as clients saw them: %s ms", " ".join("%.1f" % b for b in facts.get("blackouts_ms", [])))
    if not report.right:
        say("WRONG:")
        for problem in report.problems:
            say("  - %s", problem)
        return
    say("  every acknowledged write is on all %d servers, none twice, no refused one is there;", len(lab.servers))
    say("  lost answers found written: %s (the same on every server)",
        facts["unknown_but_there"].get("target"))
    say("  all tables are the same on every server; no write was taken by an old master after the new one's first;")
    say("  replication runs from %s, and only it is open.", ORDER[-1])
    say("RIGHT: nothing was lost.")


def show_how_to_use(lab, daemon):
    ctl = "flipctl" if daemon is None else "%s --socket %s" % (daemon.command()[0], daemon.socket)
    say("\nIt goes on running. Try:")
    for command in ("status", "check lab --to source", "plan lab --to source", "flip lab --to source", "history"):
        say("  %s %s", ctl, command)
    if daemon:
        say("  the page: http://%s/", daemon.status)
    say("and end it with:\n  %s stop %s", sys.argv[0], lab.dir)


def demo(keep=False, plain=False):
    """0 when all was right, else 1."""
    lab = Lab(keep=keep)
    try:
        return _demo(lab, keep, plain)
    finally:
        lab.close()


def _demo(lab, keep, plain):
    daemon = build(lab, plain)
    loads = [lab.load(name="writers", zone=ZONES[0], writers=8, interval_ms=10),
             lab.load(name="probe", zone=ZONES[1], writers=1, interval_ms=2, first_writer=8)]
    say("  8 writers follow db.%s, a probe follows db.%s; both ask the name server at every new connection", *ZONES)
    try:
        flip_there_and_back(lab, daemon, loads)
        report = check(lab, loads, ORDER)
    except LabError as e:
        say("WRONG: %s", e)
        return 1
    show_verdict(lab, report, loads)
    if keep:
        show_how_to_use(lab, daemon)
    return 0 if report.right else 1
