"""BIND 9 on loopback: zones with one updatable record per cluster, TSIG, and a secondary where asked."""

import base64
import os
import secrets
import signal

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.tsigkeyring
import dns.update

from . import places
from .proc import LabError, Process, free_port, wait_for

KEY_NAME = "flipd-key."


class Named:
    """One name server. zones: {zone: (record lines, updatable names)}; primary: the Named whose secondary this is.

    named listens only on addresses that an interface has, so it cannot have one of the lab's block: it is told from
    others by its port alone."""

    def __init__(self, lab, name, primary=None):
        self.lab, self.name, self.primary = lab, name, primary
        self.address = "127.0.0.1"
        self.port = free_port([self.address])
        self.dir = os.path.join(lab.dir, name)
        self.log = os.path.join(self.dir, "log")
        self.secret = primary.secret if primary else base64.b64encode(secrets.token_bytes(32)).decode()
        self.secret_file = os.path.join(self.dir, "tsig.key")
        self.zones, self.secondaries, self.process = {}, [], None
        os.makedirs(self.dir)
        with open(os.open(self.secret_file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(self.secret + "\n")
        if primary:
            primary.secondaries.append(self)
            self.zones = primary.zones

    def add_zone(self, zone, records, updatable):
        """records: lines "owner ttl type value"; updatable: the owners that the key may change, nothing else."""
        self.zones[zone] = (records, updatable)

    def _zone_clause(self, zone):
        path = os.path.join(self.dir, zone + "zone")
        if self.primary:
            return ('zone "%s" { type secondary; file "%s"; primaries { %s port %d key "%s"; }; notify no; };\n'
                    % (zone, path, self.primary.address, self.primary.port, KEY_NAME))
        records, updatable = self.zones[zone]
        if not os.path.exists(path):  # a server that starts again has what it was told meanwhile
            with open(path, "w") as f:
                f.write("$TTL 60\n@ SOA ns.%s admin.%s 1 60 5 3600 5\n@ NS ns.%s\nns A %s\n" % (zone, zone, zone,
                                                                                               self.address))
                f.write("".join(line + "\n" for line in records))
        rights = "".join('grant "%s" name "%s" ANY; ' % (KEY_NAME, name) for name in updatable)
        notify = "".join("%s port %d; " % (s.address, s.port) for s in self.secondaries)
        return ('zone "%s" { type primary; file "%s"; update-policy { %s}; allow-transfer { key "%s"; }; '
                'notify explicit; also-notify { %s}; notify-delay 0; };\n' % (zone, path, rights, KEY_NAME, notify))

    def write_config(self):
        with open(os.open(os.path.join(self.dir, "named.conf"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
                  "w") as f:
            f.write('key "%s" { algorithm hmac-sha256; secret "%s"; };\n' % (KEY_NAME, self.secret))
            f.write('options { directory "%s"; listen-on port %d { %s; }; listen-on-v6 { none; }; recursion no; '
                    'pid-file none; session-keyfile none; managed-keys-directory "%s"; dnssec-validation no; '
                    'allow-query { any; }; tcp-clients 200; '
                    'startup-notify-rate 100; serial-query-rate 100; notify-rate 100; '
                    'max-transfer-idle-in 1; };\ncontrols { };\n'
                    % (self.dir, self.port, self.address, self.dir))
            for zone in self.zones:
                f.write(self._zone_clause(zone))

    def start(self):
        self.write_config()
        argv = [places.system("named"), "-f", "-n", "1", "-c", os.path.join(self.dir, "named.conf"), "-L", self.log]
        self.process = Process(argv, os.path.join(self.dir, "out"), self.lab.pids)
        for zone in self.zones:
            wait_for(lambda z=zone: self._serves(z), 15, "named %s to serve %s" % (self.name, zone))
        return self

    def _serves(self, zone):
        if not self.process.alive():
            raise LabError("named %s did not start:\n%s" % (self.name, self.process.log_tail()))
        try:
            return self.ask(zone, "SOA", timeout=0.3)
        except dns.exception.DNSException:
            return False

    def ask(self, name, kind="CNAME", timeout=2.0):
        """The values that stand under name, sorted; the server itself is asked."""
        query = dns.message.make_query(name, kind)
        answer = dns.query.udp(query, self.address, timeout, self.port)
        owner = dns.name.from_text(name)
        return sorted(r.to_text() for rr in answer.answer if rr.name == owner
                      and rr.rdtype == dns.rdatatype.from_text(kind) for r in rr)

    def update(self, zone, name, kind, value, ttl=5):
        """Replaces the record set, signed, over TCP."""
        ring = dns.tsigkeyring.from_text({KEY_NAME: self.secret})
        update = dns.update.UpdateMessage(zone, keyring=ring, keyalgorithm="hmac-sha256.")
        update.replace(dns.name.from_text(name), ttl, kind, value)
        answer = dns.query.tcp(update, self.address, 2.0, self.port)
        if answer.rcode() != 0:
            raise LabError("DNS update of %s: rcode %d" % (name, answer.rcode()))

    def kill(self):
        """kill -9."""
        self.process.kill()

    def freeze(self):
        self.process.signal(signal.SIGSTOP)

    def thaw(self):
        self.process.signal(signal.SIGCONT)

    def stop(self):
        if self.process:
            self.process.stop()
