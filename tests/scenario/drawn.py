#!/usr/bin/python3
"""Scenarios drawn at random, seeded: flips in odd clusters, two to six misfortunes at odd moments, operators' words.

Three kinds: `any` draws from everything; `word` takes one side away and has an operator say something about it; `deep`
kills flipd between the fence and the end, and has things go wrong around it. Each script runs there and back. The laws,
lost writes, flips that never end and sides left closed or unlike what was found fail, as in every scenario; what is in
EXCUSED is no fault. Scripts that fail are kept in build/drawn: `build/tests/scenario/scenario FILE` tells the story.

drawn.py [--seed N] [--runs N of each kind] [KIND...]; FLIPD_CHECK_ALL=1 draws twenty times as many.
"""
import argparse
import concurrent.futures
import os
import random
import re
import shutil
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SCENARIO = os.path.join("build", "tests", "scenario", "scenario")
KEEP = os.path.join("build", "drawn")
RUNS = 6000 if os.environ.get("FLIPD_CHECK_ALL") == "1" else 300
BATCH = 50

# What a run may end with, and why that is no fault of flipd's.
EXCUSED = {
    r"a heartbeat on \w+, which flipd did not open":
        "the other side is closed: the one that is open is the master, whoever has opened it",
    r"both sides are open at the end":
        "stuck; the one that booted open is out of reach, and closed when it answers",
    r"10 s after the end \(rolled_back\): \w+ is open":
        "it booted open while it was out of reach, and flipd has told of that; the watcher sees to it",
    r"10 s after the end .*: semi-sync of \w+ is not as it was":
        "out of reach till settle_timeout; a warning says so",
    r"10 s after the end .*: the endpoint points at":
        "the name server was silent till settle_timeout; a warning says so",
    r"10 s after the end .*: the flip's row on \w+ is":
        "the journal or the server was away till settle_timeout; a warning says so",
    r"an account is still locked on old$":
        "out of reach till the end; a warning says how to unlock it",
    r"10 s after the end .*: the lock on \w+ is still held":
        "by a life of flipd whose machine died, until wait_timeout",
}

STEPS = ("lock drain events fence kill coordinates endpoints intent sync verify open detach reverse repoint propagate "
         "finish").split()
RECORDS = "fence position intent opened revoke reopened decide closing session row noted word".split()
AFTER = "fence unfence prove wait forget follow kill there".split()
LAST = ("after journal intent", "after journal position", "at step open", "at step endpoints", "after journal opened",
        "at step intent", "at step detach", "after journal opened +700us", "at step reverse")


def side(r):
    return r.choice(["new", "old"])


def a_while(r):
    return r.choice(["%dus" % r.randint(100, 2000), "%dms" % r.randint(2, 60), "%dms" % r.randint(60, 900),
                     "%dms" % r.randint(900, 6000), "%ds" % r.randint(6, 14)])


def cluster(r):
    """The lines that say what kind of cluster and configuration it is."""
    odd = [
        (.2, "semi_sync"), (.2, "scheduler"), (.2, "endpoint " + r.choice(["after_open", "many"])),
        (.25, "fence %s outer" % r.choice(["source", "target"])), (.2, "set verify counts"),
        (.2, "set on_restart resume"), (.2, 'set sessions "{lock_accounts: [legacy, retired]}"'),
        (.3, "set settle_timeout 8s"), (.2, "max_blackout " + r.choice(["2s", "500ms", "4s"])),
        (.2, "apply " + r.choice(["1ms", "2ms"])), (.2, "hook after_open"),
    ]
    lines = ["cluster " + ("gtid" if r.random() < .75 else "file") + (" replicas 1" if r.random() < .15 else ""),
             "seed %d" % r.randint(1, 50), "writers 3", "allow stuck", "allow missed"]
    return lines + [line for chance, line in odd if r.random() < chance]


def moment(r):
    """When something goes wrong: at a step, a statement, a record of the journal, a time."""
    later = r.choice(["", "", " +%dus" % r.randint(100, 3000), " +%dms" % r.randint(3, 300),
                      " +%dms" % r.randint(300, 4000)])
    kind = r.random()
    if kind < .35:
        return "at step %s%s" % (r.choice(STEPS), later)
    if kind < .6:
        return "after op %s %s%s%s" % (r.choice(AFTER), side(r), later,
                                       " skip %d" % r.randint(1, 3) if r.random() < .2 else "")
    if kind < .85:
        return "%s journal %s%s" % (r.choice(["at", "after"]), r.choice(RECORDS), later)
    return "at %dms" % r.choice([r.randint(100, 125), r.randint(125, 5000), r.randint(3000, 9000)])


def misfortune(r):
    """One of what happens to servers, lines, name servers, hooks, disks, flipd, and what operators ask for."""
    return r.choices([
        "kill %s %s %s" % (side(r), r.choice(["open", "closed"]), a_while(r)),
        "partition %s %s%s" % (side(r), a_while(r), r.choice(["", " cut"])),
        r.choice(["crash", "crash", "crash machine"]),
        "broken %s %s %s%s" % (r.choice(["connect", "prove", "kill", "unfence", "fence", '"endpoint switch"',
                                         '"endpoint look"', '"fence open"', '"fence close"', "hook", "journal"]),
                               r.choice([side(r), "any"]), a_while(r), r.choice(["", " hangs"])),
        "late %s %s %s %s" % (r.choice(["connect", "prove", "kill", "unfence", "fence", '"endpoint switch"',
                                        '"fence open"', "hook", "journal"]), r.choice([side(r), "any"]), a_while(r),
                              r.choice(["2ms", "30ms", "150ms", "600ms", "1500ms", "4s"])),
        "abort",
        "cut-all " + side(r),
        "cut-lock " + side(r),
        "terminate",
        "fault %s %s" % (r.choice(["unfence", "fence", "kill", "prove", "forget", "follow"]),
                         r.choice(["effect late", "crash, effect late", "reply lost", "hangs"])),
        "dns %s %d" % (r.choice(["lost", "silent"]), r.randint(1, 3)),
        "client no_space %s" % a_while(r),
    ], [28, 15, 20, 9, 8, 8, 3, 2, 2, 2, 3, 2])[0]


def draw_any(r):
    return ["%s: %s" % (moment(r), misfortune(r)) for _ in range(r.randint(2, 4))]


def draw_word(r):
    who, away = side(r), "%dms" % r.randint(4000, 9000)
    gone = r.choice(["partition %s %s" % (who, r.choice([away, "forever", "8s"])),
                     "kill %s %s %s" % (who, r.choice(["open", "closed"]), r.choice([away, "8s"]))])
    lines = ["%s: %s" % (r.choice(LAST), gone)]
    for _ in range(r.randint(1, 2)):
        lines.append("at %dms: resolve %s %s%s" % (r.randint(2000, 8000), r.choice([who, who, who, side(r)]),
                                                   r.choice(["dead", "dead", "fenced"]),
                                                   r.choice(["", " accept-loss", " accept-loss"])))
    for _ in range(r.randint(1, 2)):
        lines.append("%s: %s" % (moment(r) if r.random() < .5 else "at %dms" % r.randint(2000, 9500), misfortune(r)))
    return lines


def draw_deep(r):
    def at():
        return "at %dus" % r.choice([r.randint(104000, 126000), r.randint(104000, 126000), r.randint(150000, 300000),
                                     r.randint(170000, 182000)])

    def wrong():
        who = side(r)
        time = r.choice(["%dus" % r.randint(300, 3000), "%dms" % r.randint(3, 90), "%dms" % r.randint(90, 3000),
                         "%dms" % r.randint(3000, 9000)])
        return r.choices([
            "kill %s %s %s" % (who, r.choice(["open", "closed"]), time),
            "partition %s %s%s" % (who, time, r.choice(["", " cut"])),
            "abort",
            "slow %s %s" % (who, time),
            "fault %s %s" % (r.choice(["unfence", "fence", "kill", "prove", "forget", "follow", "open_guarded",
                                       "row_write", "lock_take", "semi_sync", "start"]),
                             r.choice(["effect late", "crash, effect late", "reply lost", "hangs", "refused",
                                       "crash before", "crash after"])),
            "broken %s %s %s%s" % (r.choice(["connect", "prove", "journal", "kill", "row_read", "there"]),
                                   r.choice([who, "any"]), time, r.choice(["", " hangs"])),
        ], [40, 15, 10, 10, 15, 10])[0]

    lines = ["%s: %s" % (at(), r.choice(["crash", "crash", "crash machine"])) for _ in range(r.randint(1, 2))]
    lines += ["%s: %s" % (at(), wrong()) for _ in range(r.randint(1, 3))]
    if r.random() < .3:
        lines.append("at %dms: resolve %s dead%s" % (r.randint(1500, 7000), side(r),
                                                     r.choice(["", " accept-loss", " accept-loss"])))
    return lines


KINDS = {"any": draw_any, "word": draw_word, "deep": draw_deep}


def write_scripts(kind, seed, runs):
    folder = os.path.join(KEEP, kind)
    os.makedirs(folder)
    paths = []
    for i in range(runs):
        r = random.Random("%s %d %d" % (kind, seed, i))
        paths.append(os.path.join(folder, "%d-%05d.scn" % (seed, i)))
        with open(paths[-1], "w", encoding="ascii") as f:
            f.write("\n".join(cluster(r) + KINDS[kind](r)) + "\n")
    return paths


def run(paths):
    """How many runs there were, and what failed of them: (script, what)."""
    out = subprocess.run([SCENARIO] + paths, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, errors="replace", check=False).stdout
    total = re.search(r"^(\d+) passed, (\d+) failed$", out, re.M)
    if not total:  # a script that it does not understand
        return len(paths), [(paths[0], out.strip()[-300:])]
    failed = re.findall(r"^FAILED: (\S+)(?: \(back\))?: (.*)$", out, re.M)
    if len(failed) != int(total.group(2)):
        failed.append((paths[0], "%s failed, but %d were told of" % (total.group(2), len(failed))))
    return int(total.group(1)) + int(total.group(2)), failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    args = parser.parse_args()
    args.kinds = args.kinds or list(KINDS)
    os.chdir(ROOT)
    shutil.rmtree(KEEP, ignore_errors=True)
    runs = excused = bad = 0
    scripts = [path for kind in args.kinds for path in write_scripts(kind, args.seed, args.runs)]
    wrong = set()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for n, failed in pool.map(run, [scripts[i:i + BATCH] for i in range(0, len(scripts), BATCH)]):
            runs += n
            for path, what in failed:
                if any(re.search(pattern, what) for pattern in EXCUSED):
                    excused += 1
                    continue
                bad += 1
                wrong.add(path)
                print("FAILED: %s: %s" % (path, what))
    for path in scripts:
        if path not in wrong:
            os.unlink(path)
    print("sample: %d scripts of each kind (%s), seed %d, there and back; %d runs excused" %
          (args.runs, ", ".join(args.kinds), args.seed, excused))
    print("%d passed, %d failed" % (runs - bad, bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
