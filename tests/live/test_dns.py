"""The dns endpoint against real name servers: compare-and-swap, keys, silence, lost replies, lagging secondaries.

build/tests/live/dns_live carries out the verbs of the endpoint and says what became of them."""

import contextlib
import os
import socket
import subprocess
import threading
import time

import dns.flags
import dns.message
import dns.opcode
import dns.query
import pytest

from lab import places
from lab.named import KEY_NAME, Named
from lab.proc import free_port, wait_for

ZONE, OTHER_ZONE = "example.test.", "internal.test."
SIDES = {
    "CNAME": ("db.", "a1." + ZONE, "b1." + ZONE),
    "A": ("multi.", "10.1.0.1,10.1.0.2,10.1.0.3", "10.2.0.1,10.2.0.2"),
    "AAAA": ("six.", "fd00::1,FD00:0::2", "fd00::b"),
}
RECORDS = ["a1 60 A 10.1.0.1", "b1 60 A 10.2.0.1", "db 5 CNAME a1", "multi 5 A 10.1.0.2", "multi 5 A 10.1.0.1",
           "multi 5 A 10.1.0.3", "six 5 AAAA fd00::1", "six 5 AAAA fd00::2"]


class Proxy:
    """Between flipd and a name server. Datagrams pass; what becomes of messages over TCP is told by mode:

    pass, drop (delivered, the answer kept back), close (delivered, then closed), hold (not delivered), late (delivered
    after the client has given up), tamper (a bit of the answer turned). After `times` messages everything passes."""

    def __init__(self, server, mode, times=1000):
        self.server, self.mode, self.times, self.messages, self.stopped = server, mode, times, 0, False
        self.address, self.port = "127.0.0.1", free_port(["127.0.0.1"])
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((self.address, self.port))
        self.tcp = socket.create_server((self.address, self.port))
        self.threads, self.clients = [], []
        for work in (self._datagrams, self._connections):
            self._start(work)

    def _start(self, work, *args):
        self.threads.append(threading.Thread(target=work, args=args, daemon=True))
        self.threads[-1].start()

    def _datagrams(self):
        while not self.stopped:
            try:
                data, peer = self.udp.recvfrom(65535)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                    s.settimeout(1)
                    s.sendto(data, (self.server.address, self.server.port))
                    self.udp.sendto(s.recv(65535), peer)
            except OSError:
                pass

    def _connections(self):
        while not self.stopped:
            try:
                client, _ = self.tcp.accept()
            except OSError:
                return
            self.clients.append(client)
            self._start(self._serve, client)

    def _message(self, s):
        data = b""
        while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
            more = s.recv(65535)
            if not more:
                return None
            data += more
        return data

    def _deliver(self, data):
        with socket.create_connection((self.server.address, self.server.port), 2) as s:
            s.sendall(data)
            return self._message(s)

    def _serve(self, client):
        try:
            while True:
                data = self._message(client)
                if not data:
                    return
                self.messages += 1
                mode = self.mode if self.messages <= self.times else "pass"
                if mode == "late":
                    with contextlib.suppress(ConnectionResetError):
                        self._message(client)  # comes back when the client has closed
                answer = self._deliver(data) if mode != "hold" else None
                if mode == "close":
                    client.shutdown(socket.SHUT_RDWR)
                elif mode == "tamper":
                    client.sendall(answer[:-8] + bytes([answer[-8] ^ 1]) + answer[-7:])
                elif mode == "pass":
                    client.sendall(answer)
        except OSError:
            pass

    def stop(self):
        """The threads end before their sockets are closed: one that still read would read from whatever has the
        number next."""
        self.stopped = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", (self.address, self.port))
        for s in [self.tcp] + self.clients:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive(), "a thread of the proxy did not end"
        for s in [self.tcp, self.udp] + self.clients:
            s.close()


class Line:
    """What dns_live said of one verb."""

    def __init__(self, text):
        self.__dict__.update(pair.split("=", 1) for pair in text.split("\t"))
        self.ms, self.ticks, self.code = (int(self.__dict__.get(k, 0)) for k in ("ms", "ticks", "code"))
        self.text_of_all = text

    def __repr__(self):
        return self.text_of_all


def at(server):
    """ADDRESS:PORT of a name server or proxy; such a text is taken as it is."""
    return server if isinstance(server, str) else "%s:%d" % (server.address, server.port)


@pytest.fixture
def named(make_lab):
    lab = make_lab()
    server = Named(lab, "named")
    server.add_zone(ZONE, RECORDS, [owner + ZONE for owner, _, _ in SIDES.values()])
    server.add_zone(OTHER_ZONE, ["db 5 CNAME a1." + ZONE], ["db." + OTHER_ZONE])
    return server.start()


@pytest.fixture
def proxy(named):
    made = []

    def make(mode, times=1000):
        made.append(Proxy(named, mode, times))
        return made[-1]
    yield make
    for p in made:
        p.stop()


@pytest.fixture
def live(named):
    def run(*verbs, kind="CNAME", servers=None, authoritative=None, zone=ZONE, **options):
        owner, source, target = SIDES[kind]
        given = {"servers": ",".join(map(at, servers or [named])),
                 "name": owner + zone, "zone": zone, "type": kind, "source": source, "target": target,
                 "key": KEY_NAME, "secret": named.secret_file}
        if authoritative is not False:
            given["authoritative"] = ",".join(map(at, authoritative or [named]))
        given.update({k: v for k, v in options.items() if v is not None})
        argv = [places.built("tests/live/dns_live")]
        argv += ["--%s=%s" % pair for pair in given.items() if options.get(pair[0], "") is not None]
        done = subprocess.run(argv + list(verbs), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [Line(text) for text in done.stdout.splitlines()]
        assert len(lines) == len(verbs), done.stdout
        return lines if len(lines) > 1 else lines[0]
    return run


def serial(server):
    return server.ask(ZONE, "SOA")[0].split()[2]


@pytest.mark.parametrize("kind", SIDES)
def test_there_and_back(named, live, kind):
    owner, source, target = SIDES[kind]
    lines = live("warm", "look", "prove", "switch:target", "look", "switch:target", "spread:target", "switch:source",
                 "look", kind=kind)
    assert [line.act for line in lines] == ["DONE"] * 9, lines
    assert [lines[i].at for i in (1, 4, 8)] == ["source", "target", "source"]
    assert all(line.ms < 500 for line in lines), lines
    assert len(named.ask(owner + ZONE, kind)) == len(source.split(","))


def test_proof_changes_nothing(named, live):
    before = serial(named)
    assert live("prove").act == "DONE"
    assert live("prove", ttl="77").act == "DONE"
    assert serial(named) == before


def test_sha512_and_algorithms_that_cannot_be(named, live):
    assert live("update:target", algorithm="HMAC-SHA256.").act == "DONE"
    wrong = live("update:source", algorithm="hmac-sha512")
    assert (wrong.act, wrong.rcode) == ("REFUSED", "9"), wrong
    for algorithm in ("hmac-sha384", "hmac-md5"):
        line = live("update:source", algorithm=algorithm)
        assert line.act == "REFUSED" and "use hmac-sha256 or hmac-sha512" in line.message, line


@pytest.mark.parametrize("kind", SIDES)
def test_stale_value_is_refused(named, live, kind):
    line = live("update:source", kind=kind)
    assert (line.act, line.rcode) == ("REFUSED", "8"), line
    assert "NXRRSET" in line.message and at(named) in line.message


def test_part_of_the_old_set_is_not_enough(named, live):
    line = live("update:target", kind="A", source="10.1.0.1,10.1.0.2")
    assert (line.act, line.rcode) == ("REFUSED", "8"), line
    assert live("look", kind="A", source="10.1.0.1,10.1.0.2").at == "other"


@pytest.mark.parametrize("kind, third", [("CNAME", "elsewhere.example.test."), ("A", "10.9.9.9")])
def test_third_value_is_never_overwritten(named, live, kind, third):
    owner = SIDES[kind][0]
    named.update(ZONE, owner + ZONE, kind, third)
    look, prove, switch, back = live("look", "prove", "switch:target", "switch:source", kind=kind)
    assert look.act == "DONE" and look.at == "other" and third in look.message, look
    assert [x.act for x in (prove, switch, back)] == ["REFUSED"] * 3
    assert third in switch.message and at(named) in switch.message and switch.label == "dns live", switch
    assert named.ask(owner + ZONE, kind) == [third]


def test_name_that_does_not_exist(named, live):
    line = live("look", name="nowhere." + ZONE)
    assert line.at == "other" and "NXDOMAIN" in line.message, line
    assert live("switch:target", name="nowhere." + ZONE).act == "REFUSED"


def test_wrong_key_is_refused(named, live, tmp_path):
    secret = tmp_path / "wrong"
    secret.write_text("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
    raw, prove, switch = live("update:target", "prove", "switch:target", secret=str(secret))
    assert [x.act for x in (raw, prove, switch)] == ["REFUSED"] * 3
    assert "BADSIG" in raw.message and raw.rcode == "9", raw
    assert "BADKEY" in live("switch:target", key="other-key.").message
    secret.write_text("not base64!\n")
    assert "not base64" in live("switch:target", secret=str(secret)).message
    unsigned = live("update:target", key=None)
    assert (unsigned.act, unsigned.rcode) == ("REFUSED", "5"), unsigned
    assert named.ask("db." + ZONE) == ["a1." + ZONE]


def test_key_without_the_right(named, live):
    line = live("switch:target", name="a1." + ZONE, type="A", source="10.1.0.1", target="10.2.0.1")
    assert line.act == "REFUSED" and "does not allow" in line.message, line


def test_key_names_are_told_apart_by_letters_not_case(named, live):
    assert live("switch:target", key="FLIPD-Key").act == "DONE"
    assert live("look", name="DB.Example.TEST", zone="EXAMPLE.test").at == "target"


def test_dead_server(named, live):
    dead = "127.0.0.1:%d" % free_port(["127.0.0.1"])
    warm, switch, look = live("warm", "switch:target", "look", servers=[dead])
    assert (warm.act, switch.act, look.act) == ("REFUSED", "REFUSED", "UNKNOWN"), (warm, switch, look)
    assert dead in switch.message and "refused" in switch.message.lower(), switch
    assert switch.ms < 300 and look.ms < 2000
    lines = live("warm", "switch:target", "look", servers=[dead, named])
    assert [line.act for line in lines] == ["DONE"] * 3, lines
    assert live("switch:source", servers=[dead, named]).act == "DONE"


def test_server_that_never_answers(named, live):
    """A listener nobody accepts from: the loop lives, and the time is kept."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        hole = "127.0.0.1:%d" % s.getsockname()[1]
        raw, switch = live("update:target", "switch:target", servers=[hole], deadline="1500")
        assert (raw.act, switch.act) == ("UNKNOWN", "UNKNOWN"), (raw, switch)
        for line in (raw, switch):
            assert line.ms <= 1600, line
            assert line.ticks >= line.ms / 10 * 0.6, line
        assert "no answer in time" in raw.message and hole in raw.message


def test_silent_server_gives_way_to_the_next(named, live):
    with socket.create_server(("127.0.0.1", 0)) as s:
        hole = "127.0.0.1:%d" % s.getsockname()[1]
        line = live("switch:target", servers=[hole, named], deadline="4000")
        assert line.act == "DONE" and line.ms < 4000, line
    assert named.ask("db." + ZONE) == ["b1." + ZONE]


def test_frozen_server(named, live):
    named.freeze()
    try:
        lines = live("look", "switch:target", "spread:target", deadline="800")
    finally:
        named.thaw()
    assert [line.act for line in lines] == ["UNKNOWN"] * 3, lines
    assert all(line.ms <= 900 for line in lines), lines


@pytest.mark.parametrize("mode", ["drop", "close", "tamper"])
def test_reply_lost_after_the_effect(named, live, proxy, mode):
    p = proxy(mode)
    raw = live("update:target", servers=[p], deadline="600")
    assert raw.act == "UNKNOWN" and raw.alive == "0", raw
    assert named.ask("db." + ZONE) == ["b1." + ZONE]
    if mode == "tamper":
        assert "signed wrong" in raw.message, raw
    line = live("switch:source", servers=[p], deadline="4000")
    assert line.act == "DONE" and line.message == "", line
    assert named.ask("db." + ZONE) == ["a1." + ZONE]
    assert p.messages == 3  # the way back sends it once more after a second


def test_update_that_was_never_delivered_is_sent_again(named, live, proxy):
    p = proxy("hold", times=1)
    line = live("switch:target", servers=[p], deadline="2000")
    assert line.act == "DONE", line
    assert p.messages == 2 and named.ask("db." + ZONE) == ["b1." + ZONE]
    p = proxy("hold")
    line = live("switch:source", servers=[p], deadline="1000")
    assert line.act == "UNKNOWN" and "still shows the old value" in line.message and line.ms <= 1100, line


def test_late_first_update_does_no_harm(named, live, proxy):
    """The first update arrives when the client has given it up: before it looks, and then one was enough, or after the
    second has been answered: its prerequisite fails."""
    p = proxy("late", times=1)
    assert live("switch:target", servers=[p], deadline="2000").act == "DONE"
    assert p.messages in (1, 2)
    assert named.ask("db." + ZONE) == ["b1." + ZONE]


def test_frozen_server_goes_on(named, live):
    """It has the update when it stands still, and the flip is rolled back: whatever it carries out first when it goes
    on, the record is not left at the side that was given up."""
    for _ in range(4):
        named.freeze()
        thaw = threading.Timer(1.0, named.thaw)
        thaw.start()
        lines = live("warm", "cancel:200", "switch:target", "switch:source", "switch:source", deadline="6000")
        thaw.join()
        assert lines[2].act == "UNKNOWN" and lines[-1].act == "DONE", lines
        assert named.ask("db." + ZONE) == ["a1." + ZONE]


def test_warm_connection_is_used_and_reopened(named, live, proxy):
    p = proxy("pass")
    lines = live("warm", "warm", "switch:target", "switch:source", servers=[p])
    assert [line.act for line in lines] == ["DONE"] * 4 and len(p.clients) == 1
    killer = threading.Timer(0.4, lambda: p.clients[-1].shutdown(socket.SHUT_RDWR))
    killer.start()
    lines = live("warm", "sleep:900", "switch:target", "warm", servers=[p])
    killer.join()
    assert [line.act for line in lines] == ["DONE"] * 4, lines
    assert len(p.clients) == 3 and lines[2].ms < 300


def test_cancel_while_waiting(named, live):
    port = free_port(["127.0.0.1"])
    with socket.create_server(("127.0.0.1", port)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", port))
        hole = "127.0.0.1:%d" % port
        verbs = ["switch:target", "update:target", "look", "spread:source", "ask:db." + ZONE]
        lines = live(*[w for v in verbs for w in ("cancel:100", v)], servers=[hole], authoritative=False)
        lines += live("cancel:100", "spread:source", servers=[hole], authoritative=[hole, named])
        for line in lines[1::2]:
            assert line.act == "UNKNOWN" and 90 <= line.ms < 400 and line.code == -125, line


def test_secondary_lags_then_shows(named, live, make_lab):
    """Without NOTIFY a secondary keeps the old value until it looks again."""
    secondary = Named(named.lab, "secondary", named)
    named.secondaries.remove(secondary)
    secondary.start()
    both = [named, secondary]
    assert live("prove", authoritative=both).act == "DONE"
    switch, spread = live("switch:target", "spread:target", authoritative=both)
    assert switch.act == "DONE" and spread.act == "REFUSED", (switch, spread)
    assert at(secondary) in spread.message and "a1." + ZONE in spread.message and at(named) not in spread.message
    assert live("prove", authoritative=both).act == "DONE"  # a lagging secondary is no reason not to flip
    notify = dns.message.make_query(ZONE, "SOA")
    notify.set_opcode(dns.opcode.NOTIFY)
    notify.flags |= dns.flags.AA
    dns.query.udp(notify, secondary.address, 2.0, secondary.port)
    wait_for(lambda: live("spread:target", authoritative=both).act == "DONE", 10, "the secondary to follow")
    secondary.freeze()
    try:
        line = live("spread:target", authoritative=both, deadline="700")
    finally:
        secondary.thaw()
    assert line.act == "UNKNOWN" and at(secondary) in line.message and line.ms <= 800, line
    assert live("switch:source", servers=[secondary]).act == "REFUSED"
    line = live("switch:source", servers=[secondary, named], deadline="4000")
    assert line.act == "DONE", line


def test_authorities_from_the_zone(named, live):
    """The NS set names ns.example.test., which the system's resolver does not know: said, not guessed."""
    line = live("spread:source", authoritative=False, deadline="1500")
    assert line.act == "UNKNOWN" and "ns." + ZONE in line.message, line


def test_without_authority(named, live):
    line = live("look", name="db.foreign.test.")
    assert line.act == "UNKNOWN" and at(named) in line.message, line
    assert live("update:target", name="db.foreign.test.").rcode == "10"


def test_values_that_are_none(named):
    argv = [places.built("tests/live/dns_live"), "--servers=" + at(named), "--name=db." + ZONE, "--zone=" + ZONE,
            "--type=A"]
    for source, target, said in (("10.1.0.1", "10.1.0.999", "target: 10.1.0.999"),
                                 ("10.1.0.1,10.1.0.2", "10.1.0.2,10.1.0.1", "same value"),
                                 ("10.1.0.1", "b1.example.test.", "no value for a record")):
        done = subprocess.run(argv + ["--source=" + source, "--target=" + target], capture_output=True, text=True)
        assert done.returncode == 1 and said in done.stdout, done.stdout


def test_resolve(live):
    lines = live("resolve:localhost", "resolve:127.0.0.1", "resolve:127.0.0.1.", "resolve:no.such.name.invalid.",
                 deadline="1500")
    assert "127.0.0.1" in lines[0].__dict__["values"], lines[0]
    assert lines[1].__dict__["values"] == "127.0.0.1"
    assert lines[3].act == "UNKNOWN" and lines[3].ms <= 1600, lines[3]
    assert all(line.ticks >= line.ms / 10 * 0.6 - 2 for line in lines)


def test_plan(live):
    line = live("plan:target")
    for word in (ZONE, "db." + ZONE, "a1." + ZONE, "b1." + ZONE, KEY_NAME):
        assert word in line.text, line


def test_side_by_side_in_two_zones(named, live):
    start = time.monotonic()
    assert live("switch:target").act == "DONE"
    assert live("switch:target", zone=OTHER_ZONE, name="db." + OTHER_ZONE).act == "DONE"
    assert time.monotonic() - start < 5
    assert named.ask("db." + OTHER_ZONE) == ["b1." + ZONE]
    assert os.path.exists(named.log)
