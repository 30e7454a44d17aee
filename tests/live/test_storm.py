"""Thousands of hostile connections on both sockets while flips run: the flips are done, and everybody else is answered."""

import contextlib
import json
import random
import resource
import socket
import threading
import time
import urllib.request

from lab.scene import scene_of, scenes  # noqa: F401

ANSWER_S = 3.0  # the longest that an honest client may wait; both cores are shared with the servers and the storm
STORM_LEAST = 3000  # connections a socket

HTTP = [b"", b"GET /metr", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 300, b"\x00\xff" * 4000, b"POST / HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 30000, b"GET /metrics HTTP/1.1\r\n\r\n", b"GET /status HTTP/1.1\r\n\r\n" * 20]
CONTROL = [b"", b'{"id":1,"cmd":', b"{" * 3000 + b"\n", b"\xff\xfe\n" * 500, b"x" * 100000, b"\n" * 5000,
           b'{"id":1,"cmd":"status"}\n' * 200, b'{"id":1,"cmd":"history","args":{"name":"lab"}}\n' * 50,
           b'{"id":1,"cmd":"check","args":{"name":"nobody","to":"target"}}\n' * 100]


class Storm:
    """Opens connections to one place as fast as it can, says something bad, and leaves most of them open for a while."""

    def __init__(self, connect, sayings, seed):
        self.connect, self.sayings, self.random = connect, sayings, random.Random(seed)
        self.connections, self.over = 0, False
        self.thread = threading.Thread(target=self.blow, daemon=True)
        self.thread.start()

    def blow(self):
        held = []
        while not self.over:
            with contextlib.suppress(OSError):
                s = self.connect()
                s.setblocking(False)
                held.append(s)
                self.connections += 1
                s.send(self.random.choice(self.sayings))
            if len(held) > 300:  # some go without a word, some with what is unread
                held.pop(self.random.randrange(len(held))).close()
        for s in held:
            s.close()

    def end(self):
        self.over = True
        self.thread.join(20)


def ping(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(path)
        s.sendall(b'{"id":7,"cmd":"ping"}\n')
        answer = json.loads(s.makefile().readline())
        assert answer == {"id": 7, "ok": True, "result": {"pong": True}}, answer


def health(status):
    with urllib.request.urlopen("http://%s/healthz" % status, timeout=20) as answer:
        assert answer.status == 200


def test_flips_in_a_storm(scene_of):  # noqa: F811
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    s = scene_of("pair")
    old, new = s.master, s.standby
    daemon = s.flipd(defaults={"max_blackout": "30s"})
    load = s.load(writers=2, interval_ms=30.0)

    def control():
        c = socket.socket(socket.AF_UNIX)
        c.settimeout(5)
        c.connect(daemon.socket)
        return c
    host, port = daemon.status.rsplit(":", 1)
    storms = [Storm(control, CONTROL, 1), Storm(lambda: socket.create_connection((host, int(port)), 5), HTTP, 2)]
    waits, order = [], [old]
    try:
        deadline = time.monotonic() + 90
        while min(storm.connections for storm in storms) < STORM_LEAST or len(order) < 3:
            assert time.monotonic() < deadline, [storm.connections for storm in storms]
            to = s.other(order[-1])
            flip = None
            if len(order) < 3:
                daemon.wait_ready(to.name, timeout=40)
                flip = s.start_flip(to)
            while True:
                for ask in (lambda: ping(daemon.socket), lambda: health(daemon.status)):
                    begin = time.monotonic()
                    ask()
                    waits.append(time.monotonic() - begin)
                if flip is None or flip.child.poll() is not None:
                    break
            if flip:
                assert flip.end("done")["outcome"] == "done"
                order.append(to)
    finally:
        for storm in storms:
            storm.end()
    waits.sort()
    print("figure: %s connections, %d honest questions, answered in %.0f ms at the median, %.0f ms at most" % (
        "+".join(str(storm.connections) for storm in storms), len(waits), waits[len(waits) // 2] * 1000, waits[-1] * 1000))
    assert waits[-1] < ANSWER_S
    s.goes_on(load, server=order[-1])
    s.right(load, *order)
