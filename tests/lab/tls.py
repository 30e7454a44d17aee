"""A certificate authority that lives as long as its lab, and certificates for loopback addresses."""

import os

from . import places
from .proc import run


class Authority:
    def __init__(self, directory):
        self.dir = directory
        os.makedirs(directory, exist_ok=True)
        self.key, self.cert = os.path.join(directory, "ca.key"), os.path.join(directory, "ca.pem")
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3",
                      "-subj", "/CN=lab authority", "-keyout", self.key, "-out", self.cert)

    def _openssl(self, *args):
        run([places.system("openssl")] + list(args))

    def issue(self, name, address):
        """Key and certificate files for a server that is reached by this name and address."""
        base = os.path.join(self.dir, name)
        with open(base + ".ext", "w") as f:
            f.write("subjectAltName=IP:%s,DNS:%s\n" % (address, name))
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name,
                      "-keyout", base + ".key", "-out", base + ".csr")
        self._openssl("x509", "-req", "-in", base + ".csr", "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial",
                      "-days", "3", "-extfile", base + ".ext", "-out", base + ".pem")
        return base + ".key", base + ".pem"

    def options(self, name, address):
        """my.cnf options that make a server offer TLS."""
        key, cert = self.issue(name, address)
        return {"ssl_ca": self.cert, "ssl_key": key, "ssl_cert": cert}
