"""Fixtures of the live tests: labs that are always stopped, by pid, and removed, whatever a test does.

KEEP=1 in the environment leaves a lab running when its test failed; `tools/flip-lab stop DIR` ends it."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lab import places  # noqa: E402
from lab.checker import check  # noqa: E402
from lab.lab import Lab  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    if outcome.get_result().when == "call":
        item.failed = outcome.get_result().failed


@pytest.fixture
def make_lab(request):
    """make_lab() gives an empty Lab; the test says what is in it."""
    labs = []

    def make(**options):
        lab = Lab(**options)
        lab.keep = False
        labs.append(lab)
        return lab
    yield make
    failed = getattr(request.node, "failed", True)
    for lab in labs:
        if failed:
            _show(lab)
        if failed and os.environ.get("KEEP"):
            lab.keep = True
            print("kept: %s" % lab.dir)
        lab.close()


def _show(lab):
    """What a person would look at first."""
    for daemon in lab.daemons:
        print("---- %s\n%s" % (daemon.log, daemon.process.log_tail(60) if daemon.process else ""))
    for server in lab.servers.values():
        print("---- %s\n%s" % (server.log, server.process.log_tail(8) if server.process else ""))


@pytest.fixture
def pair(make_lab):
    """source (open) and target, by GTID."""
    return make_lab().cluster()


@pytest.fixture
def pair_dns(make_lab):
    """The same, and a name server with two zones."""
    lab = make_lab().cluster()
    lab.dns()
    return lab


@pytest.fixture
def triple(make_lab):
    """source, target, a replica named reports, and a name server with two zones."""
    lab = make_lab().cluster(replicas=["reports"])
    lab.dns()
    return lab


@pytest.fixture
def flipd_pair(pair_dns):
    """A pair with names and flipd running on it, ready to flip to the target."""
    require_flipd()
    daemon = pair_dns.flipd()
    daemon.wait_ready("target")
    return pair_dns, daemon


@pytest.fixture
def assert_right():
    """assert_right(lab, loads, order): nothing lost, nothing twice, never two masters, all sides the same."""
    def verify(lab, loads, order, **more):
        report = check(lab, loads if isinstance(loads, (list, tuple)) else [loads], order, **more)
        assert report.right, str(report)
        return report
    return verify


def require_flipd():
    """A live test of flipd without flipd is a failure, never a skip."""
    places.built("flipd")
    places.built("flipctl")
