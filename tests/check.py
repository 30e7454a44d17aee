#!/usr/bin/python3
"""Runs the test suites one after another, prints each one's seconds, and closes with `N passed, N failed`. A test that was
skipped has not passed: it counts as failed.

A suite is a command; its tests are counted from what its runner prints (cmocka, pytest, or our own
`N passed, N failed` line). A suite that exits non-zero without counting a failure counts as one failed.
"""
import argparse
import os
import re
import subprocess
import sys
import time

COUNTS = [
    re.compile(r"^(?:\S+: )?(\d+) passed, (\d+) failed$", re.M),
]


def count(text):
    """(passed, failed) as the runners printed them."""
    passed = failed = 0
    for m in re.finditer(r"^\[  PASSED  \] (\d+) test", text, re.M):
        passed += int(m.group(1))
    for m in re.finditer(r"^\[  (?:FAILED|SKIPPED) \s*\] \S*:? ?(\d+) test", text, re.M):
        failed += int(m.group(1))
    m = re.search(r"^(?:=+ )?((?:\d+ \w+,? ?)+)in [\d.]+s", text, re.M)
    if m:  # pytest's last line
        for n, word in re.findall(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)", m.group(1)):
            if word == "passed":
                passed += int(n)
            else:
                failed += int(n)
    for pattern in COUNTS:
        for m in pattern.finditer(text):
            passed += int(m.group(1))
            failed += int(m.group(2))
    return passed, failed


def run(name, command):
    """One suite: prints its output when it fails, one line when it passes."""
    start = time.monotonic()
    proc = subprocess.run(command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    seconds = time.monotonic() - start
    passed, failed = count(proc.stdout)
    if proc.returncode != 0 and failed == 0:
        failed = 1
    if proc.returncode == 0 and passed == 0:
        passed = 1  # a suite without a count: lint, build
    if failed:
        sys.stdout.write(proc.stdout)
        sys.stdout.write("\n")
    else:
        for line in proc.stdout.splitlines():
            if line.startswith("sample:") or line.startswith("figure:"):
                print("  " + line)
    print("%-10s %4d passed %4d failed %8.1f s" % (name, passed, failed, seconds), flush=True)
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", nargs="+", help="NAME=COMMAND")
    args = parser.parse_args()
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    passed = failed = 0
    start = time.monotonic()
    for suite in args.suite:
        name, command = suite.split("=", 1)
        p, f = run(name, command)
        passed += p
        failed += f
    print("all suites: %.1f s" % (time.monotonic() - start))
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
