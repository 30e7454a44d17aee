"""Flips in plain SQL, by the lab's root session: one with care, and several without. The reckless ones are what the
checker must catch; the careful one is what it must pass, and how tests without flipd move the master."""

import threading
import time


def _kill_writers(server):
    rows = server.query("SELECT id FROM information_schema.processlist WHERE user IN ('app', 'batch')")
    for row in rows:
        try:
            server.query("KILL %d" % row["id"])
        except Exception as e:
            if e.args[0] != 1094:  # gone already
                raise


def _follow_back(old, new):
    old.follow(new)


def _forget(server):
    server.query("STOP SLAVE")
    server.query("RESET SLAVE ALL")


def _switch_names(lab, to):
    if lab.named:
        for zone in lab.named.zones:
            lab.named.update(zone, "db." + zone, lab.kind, lab.endpoint_value(zone, to))


def _repoint(lab, new, final):
    for name, server in lab.servers.items():
        if name not in ("source", "target"):
            server.wait_gtid(final)
            _forget(server)
            server.follow(new)


def careful(lab, to):
    """Fence, kill, position, names, wait, open, and back by GTID from old's final position."""
    old, new = lab.master(), lab.servers[to]
    old.query("SET SESSION lock_wait_timeout=5")
    old.query("SET GLOBAL read_only=1")
    _kill_writers(old)
    final = old.gtid()
    _switch_names(lab, to)
    new.wait_gtid(final)
    new.query("SET GLOBAL read_only=0")
    _forget(new)
    old.query("SET GLOBAL gtid_slave_pos=%s", (final,))
    _follow_back(old, new)
    _repoint(lab, new, final)


def reckless_open_first(lab, to, both_open=0.05):
    """New is opened before old is fenced, and what then collides is skipped."""
    old, new = lab.master(), lab.servers[to]
    new.query("SET GLOBAL read_only=0")
    _switch_names(lab, to)
    # The application is told by cutting half of its connections, as a proxy that reloads would.
    rows = old.query("SELECT id FROM information_schema.processlist WHERE user='app' ORDER BY id")
    for row in rows[:len(rows) // 2]:
        old.query("KILL %d" % row["id"])
    time.sleep(both_open)
    old.query("SET GLOBAL read_only=1")
    _kill_writers(old)
    _forget(new)
    _skip_back(old, new)


def reckless_no_sync(lab, to):
    """Old is fenced, but new opens and forgets old without waiting for what it has not applied yet."""
    old, new = lab.master(), lab.servers[to]
    new.query("STOP SLAVE")
    time.sleep(0.05)
    old.query("SET GLOBAL read_only=1")
    _kill_writers(old)
    _switch_names(lab, to)
    new.query("RESET SLAVE ALL")
    new.query("SET GLOBAL read_only=0")
    _skip_back(old, new)


def reckless_no_way_back(lab, to):
    """All right until new is open; but old is made to follow from new's end after new has taken writes."""
    old, new = lab.master(), lab.servers[to]
    old.query("SET GLOBAL read_only=1")
    _kill_writers(old)
    new.wait_gtid(old.gtid())
    new.query("SET GLOBAL read_only=0")
    _switch_names(lab, to)
    begin = new.gtid()
    while new.gtid() == begin:  # until an application has written
        time.sleep(0.002)
    _forget(new)
    _skip_back(old, new)


def _skip_back(old, new):
    """The way back by hand: from new's present end, strictness off."""
    old.query("SET GLOBAL gtid_strict_mode=0")
    new.query("SET GLOBAL gtid_strict_mode=0")
    position = new.binlog_position()
    old.query("RESET SLAVE ALL")
    old.follow(new, gtid=False, position=position)


def hold(server, statement, seconds, user="batch", password=None):
    """Runs statement on a session of its own in a thread, then keeps the session open for seconds; returns the
    thread and what it met: an exception or nothing."""
    met, began = [], threading.Event()

    def run():
        try:
            connection = server.connect(user, password or server.lab.passwords[user], tcp=True)
            with connection.cursor() as cursor:
                began.set()
                for text in statement if isinstance(statement, (list, tuple)) else [statement]:
                    cursor.execute(text)
                time.sleep(seconds)
            connection.close()
        except Exception as e:
            met.append(e)
            began.set()
    thread = threading.Thread(target=run)
    thread.start()
    began.wait(5)
    return thread, met
