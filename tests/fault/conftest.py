"""Fixtures of the fault tests: a lab with writers that is always stopped, by pid, and one line for each series."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.fault.series import SUMMARY, Series  # noqa: E402
from tests.lab.lab import Lab  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    if outcome.get_result().when == "call":
        item.failed = outcome.get_result().failed


def pytest_terminal_summary(terminalreporter):
    for line in SUMMARY:
        terminalreporter.write_line(line)


@pytest.fixture
def make_series(request):
    """make_series(...) gives a running Series; KEEP=1 leaves the lab of a failed test running."""
    made = []

    def make(**options):
        lab = Lab()
        lab.keep = False
        series = Series(lab)
        made.append(series)
        return series.build(**options)

    yield make
    failed = getattr(request.node, "failed", True)
    for series in made:
        if failed:
            series.describe()
            if os.environ.get("KEEP"):
                series.lab.keep = True
                print("kept: %s" % series.lab.dir)
        series.close()
