"""The disk of state_dir stands still at the intent (a shim, crashpoint.c, holds the journal's thread): writes are stopped and
nothing may be opened on either side before it answers. flipd says so, answers lookers, and goes on by itself afterwards."""

import urllib.error
import urllib.request

from tests.lab.proc import wait_for


def ready_code(series):
    try:
        with urllib.request.urlopen("http://%s/readyz" % series.daemon.status, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as e:
        return e.code


def log_since(series, end):
    with open(series.daemon.log) as f:
        f.seek(end)
        return f.read()


def test_the_intent_hangs(make_series):
    series = make_series(defaults={"max_blackout": "20s"})
    assert series.up(FLIPD_GATE=series.gate, FLIPD_GATE_HOLDS="record:intent/intent")
    series.ready()
    assert ready_code(series) == 200
    end, child = series.log_end(), series.flip()

    def hangs():
        wait_for(lambda: "has not taken a write for" in log_since(series, end), 10, "flipd to tell of the disk")
        assert ready_code(series) == 503
        assert series.daemon.state()["flip"]["state"] == "running"
        assert series.nobody_open()
    assert series.at_gate(child, hangs)
    flip = series.wait_flip(child)
    wait_for(lambda: ready_code(series) == 200, 5, "flipd to be ready again")
    assert "takes writes again" in log_since(series, end)
    series.judge(flip, "the disk of state_dir hung at the intent", {"done"})
    series.finish("state_dir's disk stands still at the intent")
