#!/usr/bin/python3
"""Line coverage of the rooms where a mistake loses a write, as gcovr counts what the test programs left behind.

Prints each file and each room; fails where a room is below FLOOR percent, or where more than MARKED percent of a
room's lines are taken out of the count by GCOVR_EXCL marks in the source.
"""
import json
import os
import re
import subprocess
import sys

ROOMS = ["lib/flip", "lib/store", "lib/model"]
FLOOR = 95.0
MARKED = 1.0
EMPTY = re.compile(r"^\s*(?:[{}]*;?|/?\*.*|//.*)?\s*$")  # no code: gcov would not count it either


def gcovr(build):
    """One dict per file: filename, line_covered, line_total; without the marked lines."""
    out = subprocess.run(
        ["gcovr", "-r", ".", "--json-summary", "-"] + sum((["--filter", room + "/"] for room in ROOMS), [])
        + [os.path.join(build, room) for room in ROOMS],
        stdout=subprocess.PIPE, check=True, text=True).stdout
    return json.loads(out)["files"]


def marked_lines(path):
    """How many lines of code its GCOVR_EXCL marks take out."""
    n, inside = 0, False
    with open(path, encoding="utf-8") as f:
        for line in f:
            if "GCOVR_EXCL_START" in line:
                inside = True
            elif "GCOVR_EXCL_STOP" in line:
                inside = False
            elif "GCOVR_EXCL_LINE" in line or (inside and not EMPTY.match(line)):
                n += 1
    return n


def judge(name, files, marked):
    """Prints a room's figure; how many of its two conditions do not hold."""
    covered = sum(f["line_covered"] for f in files)
    total = sum(f["line_total"] for f in files)
    percent = 100.0 * covered / total if total else 0.0
    share = 100.0 * marked / (total + marked) if total else 100.0
    print("figure: %-9s %d files, %d of %d lines, %.1f %%; %d marked unreachable, %.2f %%"
          % (name, len(files), covered, total, percent, marked, share))
    if percent < FLOOR:
        print("FAILED: %s: %.1f %% of its lines are covered, %.0f %% should be" % (name, percent, FLOOR))
    if share > MARKED:
        print("FAILED: %s: %.2f %% of its lines are marked unreachable, %.0f %% at most may be"
              % (name, share, MARKED))
    return (percent < FLOOR) + (share > MARKED)


def main():
    build = sys.argv[1]
    files = sorted(gcovr(build), key=lambda f: f["filename"])
    failed = 0
    for f in files:
        print("%5.1f %%  %4d of %4d  %s" % (f["line_percent"], f["line_covered"], f["line_total"], f["filename"]))
    marked = {}
    for room in ROOMS:
        marked[room] = sum(marked_lines(os.path.join(room, name)) for name in os.listdir(room))
        failed += judge(room, [f for f in files if os.path.dirname(f["filename"]) == room], marked[room])
    failed += judge("together", files, sum(marked.values()))
    print("%d passed, %d failed" % (2 * (len(ROOMS) + 1) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
