"""Every process and every connection of a flip, killed, frozen or cut at a moment of a flip and of a roll back; with
writers. What the servers killed and frozen on the way forward meet is in test_servers.py, flipd killed in test_crash.py."""

from tests.fault.series import ALL, OUTCOMES, other
from tests.fault.strike import BACK, FORWARD, Network, case, thing

MAX_BLACKOUT_S = 1
PROCESSES = [(who, how) for who in ("flipd", "old", "new", "replica", "names") for how in ("killed", "frozen")]
HERE = [p for p in PROCESSES if p[0] in ("replica", "names") or p == ("flipd", "frozen")]
LINES = ("flipd-old", "flipd-new", "old-new")


def sample(moments, faults):
    """As few pairs as have every fault and every moment, by fault."""
    pairs = [(faults[i % len(faults)], moments[i % len(moments)]) for i in range(max(len(moments), len(faults)))]
    return sorted(pairs, key=lambda pair: faults.index(pair[0]))


def lines_of(series, what):
    """(who, side) of each line: who asks, flipd or the replica, and whom."""
    old, new = series.master, other(series.master)
    return {"flipd-old": [("flipd", old)], "flipd-new": [("flipd", new)], "old-new": [("replica", old), ("replica", new)],
            "all": [(who, side) for who in ("flipd", "replica") for side in (old, new)]}[what]


def process_case(series, who, how, moment, back):
    server = thing(series, who)
    begin, end = (server.kill, server.start) if how == "killed" else (server.freeze, server.thaw)
    allowed = OUTCOMES | ({"refused"} if who == "names" else set())  # its preflight may find the name server gone
    return case(series, "%s %s" % (who, how), moment, begin, end, 0 if how == "killed" else 1.5, back, allowed,
                boots=(who, how) in (("old", "killed"), ("new", "killed")))


def covered(pairs):
    return "; ".join("%s at %s" % (fault if isinstance(fault, str) else " ".join(fault),
                                   ", ".join(m for f, m in pairs if f == fault)) for fault in dict(pairs))


def build(make_series):
    series = make_series(replicas=["reports"], defaults={"max_blackout": "%ds" % MAX_BLACKOUT_S, "max_lag": "30s"}, lines=True)
    assert series.up()
    return series


def test_processes_on_the_way_forward(make_series):
    series = build(make_series)
    pairs = [(f, m) for f in HERE for m in FORWARD] if ALL else sample(FORWARD, HERE)
    for (who, how), moment in pairs:
        process_case(series, who, how, moment, back=False)
    series.finish(covered(pairs))


def test_processes_on_the_way_back(make_series):
    series = build(make_series)
    pairs = [(f, m) for f in PROCESSES for m in BACK] if ALL else sample(BACK, PROCESSES)
    for (who, how), moment in pairs:
        process_case(series, who, how, moment, back=True)
    assert series.outcomes["rolled_back"] > series.cases / 2, series.outcomes
    series.finish("roll back: " + covered(pairs))


def test_lines_on_the_way_back(make_series):
    series = build(make_series)
    pairs = [(f, m) for f in LINES for m in BACK] if ALL else sample(BACK, LINES)
    for number, (what, moment) in enumerate(pairs):
        line = Network(series, lines_of(series, what))
        case(series, what + " cut", moment, line.freeze, line.thaw, (0.3, MAX_BLACKOUT_S + 1.5)[number % 2], back=True)
    assert series.outcomes["rolled_back"] > series.cases / 2, series.outcomes
    series.finish("roll back: cut " + covered(pairs))


ONE_WAY = ("drain", "fence", "coordinates", "endpoints", "intent", "open", "detach", "reverse", "finish")
HOW = ("asks", "answers")
FEW_ONE_WAY = [("flipd-old", "fence", "answers"), ("flipd-old", "intent", "asks"), ("flipd-old", "intent", "answers"),
               ("flipd-old", "reverse", "answers"), ("flipd-new", "drain", "asks"), ("flipd-new", "coordinates", "answers"),
               ("flipd-new", "open", "asks"), ("flipd-new", "open", "answers"), ("flipd-new", "detach", "asks"),
               ("old-new", "endpoints", "asks"), ("old-new", "finish", "answers")]


def test_lines_cut_one_way(make_series):
    """asks: what flipd says arrives late or never. answers: it has its effect, and flipd does not hear of it. Every
    second time what was kept is lost for good, with its connection."""
    series = build(make_series)
    cuts = [(f, m, how) for f in LINES for m in ONE_WAY for how in HOW] if ALL else FEW_ONE_WAY
    backs = [(f, m, how) for f in LINES for m in BACK for how in HOW] if ALL else [("flipd-new", "revoke", "answers"),
                                                                                  ("flipd-old", "roll_back", "answers")]
    for number, (what, moment, how) in enumerate(cuts + backs):
        line = Network(series, lines_of(series, what), how, forget=number % 2 == 1)
        case(series, "%s cut one way, %s kept%s" % (what, how, " and lost" if line.forget else ""), moment, line.freeze,
             line.thaw, (MAX_BLACKOUT_S + 1.5, 0.4)[number // 2 % 2], back=number >= len(cuts))
    series.finish("cut one way: %s; roll back: %s" % (", ".join("%s %s kept at %s" % (f, how, m) for f, m, how in cuts),
                                                     ", ".join("%s %s kept at %s" % (f, how, m) for f, m, how in backs)))
