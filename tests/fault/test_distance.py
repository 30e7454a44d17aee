"""40 ms between flipd, old and new, and a network that loses packets: real loss, in a network namespace of the test's
own, so that TCP sends again. Applications stay beside the server that they use."""

import contextlib
import ctypes
import os
import subprocess

import pytest

from tests.fault.series import ALL, OUTCOMES
from tests.fault.strike import case
from tests.lab import places
from tests.lab.proc import run

EACH_WAY_MS = 20
CLONE_NEWNET = 0x40000000

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")


@contextlib.contextmanager
def own_network():
    """What is started meanwhile, threads too, has a loopback of its own, with rules of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as before:
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            run([places.system("ip"), "link", "set", "lo", "up"])
            yield
        finally:
            if libc.setns(before.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")


class Loss:
    """So many of a hundred packets to and from the lines are dropped where they arrive."""

    def __init__(self, series, percent):
        lines = "{ %s }" % ", ".join(sorted({series.lab.address(20 + n) for n in range(4)}))
        self.nft("add table ip loss", "add chain ip loss in { type filter hook input priority 0; }")
        for which in ("saddr", "daddr"):
            self.nft("add rule ip loss in ip %s %s numgen random mod 100 < %d counter drop" % (which, lines, percent))

    @staticmethod
    def nft(*commands):
        subprocess.run([places.system("nft"), "-f", "-"], input="\n".join(commands) + "\n", text=True, check=True)

    def dropped(self):
        words = run([places.system("nft"), "list", "table", "ip", "loss"]).stdout.split()
        return sum(int(words[i + 1]) for i, word in enumerate(words) if word == "packets")


@pytest.mark.parametrize("percent", [2, 10] if ALL else [5])
def test_distance_and_loss(request, percent):
    with own_network():
        flips_with_loss(request.getfixturevalue("make_series"), percent)


def flips_with_loss(make_series, percent):
    """Every third flip cannot be opened in time and rolls back."""
    series = make_series(lines=True, each_way_ms=EACH_WAY_MS, replicas=["reports"],
                         defaults={"max_blackout": "3s", "max_lag": "30s"})
    assert series.up()
    loss = Loss(series, percent)
    for number in range(60 if ALL else 3):
        back = number % 3 == 2
        # In time is what comes before the loss lets it be late: a flip may also give up.
        case(series, "%d %% lost" % percent, "open", lambda: None, back=back,
             allowed={"rolled_back", "aborted", "refused"} if back else OUTCOMES | {"refused"})
    dropped = loss.dropped()
    assert dropped > 5, "only %d packets were dropped" % dropped
    assert series.outcomes["done"] and (series.outcomes["rolled_back"] or not ALL), series.outcomes
    series.finish("%d %% of packets lost (%d of them), %d ms there and back" % (percent, dropped, 2 * EACH_WAY_MS))
