"""A server killed in mid-flip that has read_only=0 in its configuration: it boots open. flipd did not open it; it must
not open the other one beside it, and close what it had closed. How long both were open is printed: nothing outside the
server can prevent that, only read_only=1 in its configuration."""

import signal

from tests.fault.series import ALL, SUMMARY, WRITABLE_WITHIN_S, brief
from tests.fault.strike import BACK, FORWARD, allowed_at, strike, thing
from tests.lab.proc import wait_for

BOOTS_OPEN = {"source": {"boots_fenced": False}, "target": {"boots_fenced": False}}
FEW = [("old", "drain", False), ("old", "fence", False), ("old", "intent", False),
       ("old", "open", False), ("old", "detach", False), ("old", "finish", False), ("old", "open", True),
       ("old", "roll_back", True), ("new", "fence", False), ("new", "open", False),
       ("new", "reverse", False), ("new", "open", True), ("new", "undo fence", True)]
WHOLE = [(who, moment, back) for back, moments in ((False, FORWARD), (True, BACK)) for who in ("old", "new")
         for moment in moments]

LAST = ("propagate", "finish")  # there the flip may have ended before the server is up again


class Restart:
    """kill -9, and a start with read_only=0 in my.cnf. pause: the writers stand still until go_on()."""

    def __init__(self, series, server, pause):
        self.series, self.server, self.pause = series, server, pause

    def kill(self):
        for load in self.series.loads if self.pause else ():
            load.process.signal(signal.SIGSTOP)
        self.server.kill()

    def go_on(self):
        for load in self.series.loads:
            load.process.signal(signal.SIGCONT)

    def start(self):
        self.server.options["read_only"] = "0"
        try:
            self.server.start()
        finally:
            self.server.options["read_only"] = "1"


def opened_last(series, moment):
    """Of the two sides that were open at that moment: which one had not been open before, and whether by its boot."""
    spells = {}
    for name, side in series.openings.sides.items():
        number = next(i for i, s in enumerate(side.spells) if s[0] and s[1] <= moment <= s[2])
        booted = number > 0 and side.spells[number - 1][0] is None
        spells[name] = (side.spells[number][1], booted)
    name = max(spells, key=lambda n: spells[n][0])
    return name, spells[name][1]


def by_the_boot(series, server, where):
    """The seconds in which both were open; each time it was the boot that opened the second one."""
    total = 0.0
    for since, until in series.both_open():
        name, booted = opened_last(series, since)
        assert (name, booted) == (server.name, True), "%s: flipd opened %s while the other was open" % (where, name)
        total += until - since
    return total


def left_to_the_operator(series, server, where):
    """The flip had ended before the boot: with guard: alarm flipd says that both are open, and closes neither."""
    def told():
        return not (series.old.writable and series.new.writable) or series.daemon.state()["state"] == "split_brain"
    wait_for(told, 5, "split_brain to be told")
    if series.old.writable and series.new.writable:
        server.query("SET GLOBAL read_only=1")


def boot_case(series, who, moment, back):
    """Where new boots open before the intent, a hand was here (the table of recovery): flipd touches nothing and says so;
    the operator closes new, and resolve goes on. Names may stand on new already, and it may lack the last of old's
    writes: what it took then would come before them. The writers stand still."""
    series.ready()
    server = Restart(series, thing(series, who), pause=who == "new")
    new, where = series.new, "%s booted open at %s%s" % (who, moment, " of a roll back" if back else "")
    flip, _, since = strike(series, moment, server.kill, server.start, 0, back)
    if flip["outcome"] in ("stuck", "refused", "aborted", "rolled_back") and new.writable:
        assert who == "new", "%s: new is open: %s" % (where, brief(flip))
        new.query("SET GLOBAL read_only=1")
    server.go_on()
    if flip["outcome"] == "done" and moment in LAST and server.server.writable:
        left_to_the_operator(series, server.server, where)
    by_the_boot(series, server.server, where)
    if flip["outcome"] == "stuck":
        assert who == "new" and flip["error"]["hint"], brief(flip)
        flip = series.daemon.ctl("resolve", "lab", "--yes").json
        since = None
    if since:
        wait_for(lambda: series.openings.only_open(since), WRITABLE_WITHIN_S, "one writable side")
    seconds = by_the_boot(series, server.server, where)
    series.excuse()
    series.judge(flip, where, allowed_at(moment))
    return where, flip["outcome"], seconds


def test_boots_open_in_mid_flip(make_series):
    """One writer, which goes by name: a writer that tries both sides would find the one that booted open."""
    series = make_series(writers=0, defaults={"max_blackout": "1s", "max_lag": "30s"}, lines=True, cluster=BOOTS_OPEN)
    assert series.up()
    told, most = [], 0.0
    for who, moment, back in WHOLE if ALL else FEW:
        where, outcome, seconds = boot_case(series, who, moment, back)
        told.append("%s: %s%s" % (where, outcome, ", both open %.3f s" % seconds if seconds else ""))
        most = max(most, seconds)
    SUMMARY.extend("sample: " + text for text in told)
    series.finish("a server boots open in mid-flip, both open by that for at most %.3f s" % most)
