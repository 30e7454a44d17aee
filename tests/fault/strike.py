"""One fault at one moment of one flip, and what must be so when it is over: for the tests that go over all the moments."""

import contextlib
import json
import signal
import time

from tests.fault.series import OUTCOMES, WRITABLE_WITHIN_S
from tests.lab.proc import LabError, wait_for

FORWARD = ("preflight", "lock", "flush", "drain", "events", "fence", "kill", "coordinates", "endpoints", "intent", "open",
           "sync", "detach", "reverse", "repoint", "propagate", "finish")
# A roll back, new's applier standing still: `open` waits until max_blackout is over, the rest is the way back.
BACK = ("open", "revoke", "roll_back", "undo fence", "undo endpoints", "undo events", "undo lock")
BOTH_CLOSED_BY_BOOT = "the old side is closed, but not by this flip"


class Daemon:
    """flipd as something that can be killed and frozen like a server."""

    def __init__(self, series):
        self.series = series

    def kill(self):
        self.series.daemon.process.kill()

    def start(self):
        assert self.series.up()

    def freeze(self):
        self.series.daemon.process.signal(signal.SIGSTOP)

    def thaw(self):
        self.series.daemon.process.signal(signal.SIGCONT)


class Network:
    """Lines that are cut; how and forget as in Series.cut and mend."""

    def __init__(self, series, lines, how="both", forget=False):
        self.series, self.lines, self.how, self.forget = series, lines, how, forget

    def freeze(self):
        for line in self.lines:
            self.series.cut(*line, self.how)

    def thaw(self):
        for line in self.lines:
            self.series.mend(*line, forget=self.forget)


def thing(series, who):
    return {"old": series.old, "new": series.new, "replica": series.lab.servers.get("reports"),
            "names": series.lab.named, "flipd": Daemon(series)}[who]


def moment_in_log(moment):
    """The words of the line of flipd's log that is taken for the moment."""
    if moment.startswith("undo "):
        return " step=%s " % moment[5:], "step undone"
    if moment in ("revoke", "roll_back"):
        return "decided: ", ": %s: " % moment
    return " step=%s " % moment, ""


def strike(series, moment, begin, end=None, seconds=0.0, back=False):
    """A flip that begin() strikes at the moment, until end() some seconds later; back: new's applier stands still from
    `events` on, until the flip has ended. The flip's end, whether it was struck, and since when the fault is over."""
    with contextlib.ExitStack() as stack:
        holding, new = stack.enter_context(contextlib.ExitStack()), series.new
        hold = holding.enter_context(series.applier_to_hold()) if back else None
        log = series.log_end()
        if series.lines:
            stack.enter_context(series.slow_blackout(log))
        if hold:
            stack.enter_context(series.armed())
        child = series.client = series.flip()
        if hold:
            series.at_gate(child, hold)
        text, having = moment_in_log(moment)
        struck = series.at_log(text, begin, end=log, having=having)
        if struck and end:
            time.sleep(seconds)
            end()
        since = time.monotonic()

        def release():  # one that came too late, or that a fault has ended, must not hold up what follows the opening
            if back and new.running and series.openings.sides[new.name].open:
                holding.close()
        return end_of(series, child, log, since, meanwhile=release), struck, since


def end_of(series, child, log, since, timeout=90, meanwhile=lambda: None):
    """The flip's end, also when flipd was killed meanwhile. A master that boots closed while flipd had not closed it is
    opened by its operator: flipd says that it is not its own, and waits."""
    def over():
        if child.poll() is not None:
            return True
        meanwhile()
        with open(series.daemon.log, errors="replace") as f:
            f.seek(log)
            if BOTH_CLOSED_BY_BOOT in f.read() and series.old.running and series.nobody_open():
                series.old.query("SET GLOBAL read_only=0")
        time.sleep(0.05)
        return False
    wait_for(over, timeout, "the flip to end")
    out, err = child.communicate()
    if child.returncode in (5, -signal.SIGKILL):  # flipd is gone, or its client
        return series.recovered(since, timeout=60)
    try:
        return json.loads(out)
    except ValueError:
        raise LabError("flipctl: exit %d: %s%s" % (child.returncode, out, err)) from None


def allowed_at(moment, allowed=OUTCOMES):
    """A fault in the preflight may be met by its checks, which refuse then."""
    return allowed | ({"refused"} if moment == "preflight" else set())


def case(series, where, moment, begin, end=None, seconds=0.0, back=False, allowed=OUTCOMES, boots=False):
    """strike(), and then: one side open within 10 s, and all that judge() looks at. boots: the fault may leave a master
    that booted closed after the flip had ended; that is its operator's business too."""
    series.ready()
    flip, struck, since = strike(series, moment, begin, end, seconds, back)
    if boots and series.nobody_open():
        series.old.query("SET GLOBAL read_only=0")
    wait_for(lambda: series.openings.only_open(since), WRITABLE_WITHIN_S, "one writable side")
    where = "%s at %s%s%s" % (where, moment, " of a roll back" if back else "", "" if struck else ", not met")
    series.judge(flip, where, allowed_at(moment, allowed))
    return flip, struck
