"""tests/PAINS.md names tests that there are, for each of the twenty pains and each kind of blocker."""

import os
import re

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def test_the_page_of_pains_names_tests_that_exist():
    there = set()
    for directory in ("live", "fault"):
        for name in os.listdir(os.path.join(TESTS, directory)):
            if name.startswith("test_") and name.endswith(".py"):
                with open(os.path.join(TESTS, directory, name)) as f:
                    there |= set(re.findall(r"^def (test_\w+)\(", f.read(), re.M))
    with open(os.path.join(TESTS, "PAINS.md")) as f:
        text = f.read()
    assert set(re.findall(r"`(test_\w+)`", text)) <= there, set(re.findall(r"`(test_\w+)`", text)) - there
    rows = [line.split("|")[1:-1] for line in text.splitlines() if re.match(r"\| (\d+|\+) ", line)]
    assert [int(r[0]) for r in rows if r[0].strip() != "+"] == list(range(1, 21))
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row[-1])
        assert named, row
        assert set(named) <= there, set(named) - there
