"""The accounts of a lab: exactly what `flipctl grants mariadb` prints, the application's (app; batch may lock tables
too) and, where asked, admin, which may do everything: the bench's floor uses it."""

import secrets
import subprocess

from . import places

# While flipctl is not built there is no flipd to log in either: what replicates is enough for the lab's own tests.
WITHOUT_FLIPCTL = """\
CREATE USER 'repl'@'%' IDENTIFIED BY 'PASSWORD_OF_repl'
GRANT REPLICATION SLAVE ON *.* TO 'repl'@'%'
"""

OURS = """\
CREATE USER 'app'@'%' IDENTIFIED BY 'PASSWORD_OF_app'
GRANT SELECT, INSERT, UPDATE, DELETE ON `app`.* TO 'app'@'%'
CREATE USER 'batch'@'%' IDENTIFIED BY 'PASSWORD_OF_batch'
GRANT SELECT, INSERT, UPDATE, DELETE, LOCK TABLES ON `app`.* TO 'batch'@'%'
"""

ADMIN = """\
CREATE USER 'admin'@'%' IDENTIFIED BY 'PASSWORD_OF_admin'
GRANT ALL ON *.* TO 'admin'@'%'
"""

# The one root that is left is the lab's own, on the socket.
TIDY = ["DELETE FROM mysql.global_priv WHERE user IN ('', 'root') AND host <> 'localhost'", "FLUSH LOCAL PRIVILEGES"]

USERS = ("flipd", "flipd_probe", "repl", "app", "batch", "admin")


def make_passwords():
    return {user: secrets.token_hex(12) for user in USERS}


def grants_text(flavor="mariadb"):
    """What flipctl prints, and where it came from."""
    flipctl = places.built("flipctl", must=False)
    if not flipctl:
        return WITHOUT_FLIPCTL, "the lab's own list: flipctl is not built"
    done = subprocess.run([flipctl, "grants", flavor], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout, "flipctl grants " + flavor


def statements(passwords, text, admin=False):
    """One statement a line, placeholders filled in; comment lines and closing semicolons are nothing."""
    result = list(TIDY)
    for line in (text + OURS + (ADMIN if admin else "")).splitlines():
        line = line.strip().rstrip(";")
        if not line or line.startswith("--"):
            continue
        # The longest name first: flipd is the beginning of flipd_probe.
        for user in sorted(USERS, key=len, reverse=True):
            line = line.replace("PASSWORD_OF_" + user, passwords[user])
        result.append(line)
    return result
