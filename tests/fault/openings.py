"""Who takes writes, looked at from outside all the time: so that two open sides are seen although nobody wrote."""

import threading
import time

import pymysql

EVERY_S = 0.005


class Side(threading.Thread):
    """One server's read_only, every 5 ms. spells: [open, since, until], open None while it does not answer; a spell
    lasts surely from the answer of its first look to the question of its last."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.spells, self.ended = server, [], threading.Event()
        self.connection = None

    def look(self):
        try:
            if self.connection is None:
                self.connection = self.server.connect(read_timeout=2)
            with self.connection.cursor() as cursor:
                cursor.execute("SELECT @@global.read_only")
                return cursor.fetchone()[0] == 0
        except (pymysql.err.Error, OSError):
            self.connection = None
            return None

    def run(self):
        while not self.ended.is_set():
            asked = time.monotonic()
            is_open = self.look()
            answered = time.monotonic()
            if self.spells and self.spells[-1][0] == is_open:
                self.spells[-1][2] = asked
            else:
                self.spells.append([is_open, answered, answered])
            self.ended.wait(EVERY_S)

    @property
    def open(self):
        return self.spells[-1][0] if self.spells else None

    def seen_since(self, moment):
        """Its state, if it has been looked at anew since then."""
        spell = self.spells[-1] if self.spells else None
        return spell[0] if spell and max(spell[1], spell[2]) >= moment else None


class Openings:
    def __init__(self, lab):
        self.sides = {name: Side(lab.servers[name]) for name in ("source", "target")}
        for side in self.sides.values():
            side.start()

    def only_open(self, since=0.0):
        """The name of the one open side as seen since then, the other seen closed or not answering; else None."""
        seen = {name: side.seen_since(since) for name, side in self.sides.items()}
        names = [name for name, is_open in seen.items() if is_open]
        return names[0] if len(names) == 1 else None

    def both_open(self):
        """[(since, until)] of the times when both were surely open."""
        a, b = ([s for s in side.spells if s[0]] for side in self.sides.values())
        found = []
        for one in a:
            for other in b:
                since, until = max(one[1], other[1]), min(one[2], other[2])
                if since < until:
                    found.append((since, until))
        return found

    def longest_closed_s(self):
        """The longest time in which no side was open, between the first opening seen and the last."""
        spells = sorted((s[1], s[2]) for side in self.sides.values() for s in side.spells if s[0])
        longest, end = 0.0, None
        for since, until in spells:
            if end is not None:
                longest = max(longest, since - end)
            end = max(end or 0, until)
        return longest

    def stop(self):
        for side in self.sides.values():
            side.ended.set()
        for side in self.sides.values():
            side.join(10)
