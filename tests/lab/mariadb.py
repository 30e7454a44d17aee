"""A disposable mariadbd: its own data directory, its own loopback address, options as the test asks."""

import fcntl
import os
import re
import shutil
import signal

import pymysql

from . import places
from .proc import LabError, Process, run, start_time, wait_for

DEFAULTS = {
    "log_bin": "binlog",
    "binlog_format": "ROW",
    "log_slave_updates": "1",
    "gtid_strict_mode": "1",
    "read_only": "1",
    "relay_log": "relay",
    "skip_name_resolve": "1",
    "skip_slave_start": "0",
    "slave_net_timeout": "10",
    "slave_parallel_threads": "4",
    "sync_binlog": "1",
    "innodb_flush_log_at_trx_commit": "1",
    "innodb_buffer_pool_size": "32M",
    "innodb_log_file_size": "8M",
    "innodb_autoextend_increment": "1",
    "innodb_fast_shutdown": "1",
    "key_buffer_size": "1M",
    "max_connections": "400",
    "thread_cache_size": "32",
    "character_set_server": "utf8mb4",
    "event_scheduler": "OFF",
    "performance_schema": "OFF",
}


def version():
    text = run([places.system("mariadbd"), "--version"]).stdout
    return re.search(r"Ver (\S+)", text).group(1)


def _user_args():
    return ["--user=root"] if os.geteuid() == 0 else []


def template():
    """A data directory fresh from mariadb-install-db, made once for each version and kept under the build directory."""
    home = os.path.join(places.build_dir(), "lab-template")
    path = os.path.join(home, version())
    os.makedirs(home, exist_ok=True)
    with open(os.path.join(home, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(path):
            shutil.rmtree(path + ".new", ignore_errors=True)
            run([places.system("mariadb-install-db"), "--no-defaults", "--datadir=" + path + ".new", "--skip-test-db",
                 "--auth-root-authentication-method=normal", "--innodb-log-file-size=8M",
                 "--innodb-autoextend-increment=1"] + _user_args())
            os.rename(path + ".new", path)
    return path


class Server:
    """name is "source", "target" or a replica's. Stopped, killed, frozen and restarted by pid; never by name."""

    def __init__(self, lab, name, server_id, address, port, options=None):
        self.lab, self.name, self.server_id = lab, name, server_id
        self.address, self.port = address, port
        self.dir = os.path.join(lab.dir, name)
        self.data = os.path.join(self.dir, "data")
        self.socket = os.path.join(self.dir, "sock")
        self.log = os.path.join(self.dir, "log")
        self.options = dict(DEFAULTS, **(options or {}))
        self.prefix = []  # the words before its program
        self.process = None
        self._admin = None
        os.makedirs(self.dir)
        run(["cp", "-a", "--reflink=auto", template(), self.data])

    def write_config(self):
        own = {"server_id": str(self.server_id), "datadir": self.data, "socket": self.socket, "port": str(self.port),
               "bind_address": self.address, "pid_file": os.path.join(self.dir, "pid"), "tmpdir": self.dir,
               "report_host": self.address, "report_port": str(self.port)}
        with open(os.path.join(self.dir, "my.cnf"), "w") as f:
            f.write("[mysqld]\n")
            for key, value in {**self.options, **own}.items():
                if value is not None:
                    f.write(key + ("=%s" % value if value != "" else "") + "\n")

    def start(self, wait=True):
        self.write_config()
        program = [places.system("mariadbd"), "--defaults-file=" + os.path.join(self.dir, "my.cnf")]
        self.process = Process(self.prefix + program + _user_args(), self.log, self.lab.pids)
        if wait:
            self.wait_up()
        return self

    def wait_up(self, timeout=30):
        def up():
            if not self.process.alive():
                raise LabError("%s did not start:\n%s" % (self.name, self.process.log_tail()))
            try:
                self.connect().close()
                return True
            except pymysql.err.OperationalError:
                return False
        wait_for(up, timeout, "mariadbd %s" % self.name)

    def connect(self, user="root", password="", db=None, tcp=False, **more):
        """A connection of its own, autocommit; over the socket unless tcp."""
        where = {"host": self.address, "port": self.port} if tcp else {"unix_socket": self.socket}
        return pymysql.connect(user=user, password=password, database=db, autocommit=True, connect_timeout=5, **where,
                               **more)

    def query(self, text, args=None):
        """All rows, as dictionaries, on the lab's own root session; opened again when the server was restarted."""
        if self._admin is None or not self._admin.open:
            self._admin = self.connect(cursorclass=pymysql.cursors.DictCursor)
        try:
            with self._admin.cursor() as cursor:
                cursor.execute(text, args)
                return list(cursor.fetchall())
        except pymysql.err.OperationalError as e:
            if e.args[0] in (2006, 2013):
                self._admin = None
            raise

    def value(self, text, args=None):
        rows = self.query(text, args)
        return next(iter(rows[0].values())) if rows else None

    def unlogged(self, statements):
        """Statements that leave nothing in the binlog, each on the same session."""
        for text in ["SET sql_log_bin=0"] + list(statements) + ["SET sql_log_bin=1"]:
            self.query(text)

    @property
    def writable(self):
        return self.value("SELECT @@global.read_only") == 0

    def replica_status(self):
        rows = self.query("SHOW ALL SLAVES STATUS")
        return rows[0] if rows else None

    def gtid(self, which="gtid_binlog_pos"):
        return self.value("SELECT @@global." + which)

    def follow(self, master, gtid=True, position=None, host=None, port=None, ssl=False):
        """Replicates from master, by GTID from where it stands, or from a (file, position)."""
        where = ("MASTER_USE_GTID=slave_pos" if gtid else
                 "MASTER_USE_GTID=no, MASTER_LOG_FILE='%s', MASTER_LOG_POS=%d" % position)
        self.query("CHANGE MASTER TO MASTER_HOST='%s', MASTER_PORT=%d, MASTER_USER='repl', MASTER_PASSWORD='%s', "
                   "MASTER_CONNECT_RETRY=1, MASTER_SSL=%d, MASTER_SSL_VERIFY_SERVER_CERT=0, %s"
                   % (host or master.address, port or master.port, self.lab.passwords["repl"], ssl, where))
        self.query("START SLAVE")
        self.wait_replicating()

    def binlog_position(self):
        row = self.query("SHOW MASTER STATUS")[0]
        return row["File"], int(row["Position"])

    def wait_replicating(self, timeout=20):
        def runs():
            row = self.replica_status()
            if row and row["Slave_IO_Running"] == "Yes" and row["Slave_SQL_Running"] == "Yes":
                return True
            if row and row["Last_SQL_Error"]:
                raise LabError("%s: %s" % (self.name, row["Last_SQL_Error"]))
            return False
        wait_for(runs, timeout, "replication on %s" % self.name)

    def wait_gtid(self, position, timeout=60):
        if position and self.value("SELECT MASTER_GTID_WAIT(%s, %s)", (position, timeout)) != 0:
            raise LabError("%s did not reach %s within %g s: %s" % (self.name, position, timeout,
                                                                  self.replica_status()))

    # Ends and faults.

    def stop(self):
        self._drop_admin()
        if self.process:
            self.process.stop(30)

    def kill(self):
        """kill -9."""
        self._drop_admin()
        self.process.kill()

    def freeze(self):
        self.process.signal(signal.SIGSTOP)

    def thaw(self):
        self.process.signal(signal.SIGCONT)

    def restart(self, hard=False):
        self.kill() if hard else self.stop()
        return self.start()

    @property
    def running(self):
        return self.process is not None and start_time(self.process.pid) == self.process.started

    def _drop_admin(self):
        if self._admin is not None:
            try:
                self._admin.close()
            except pymysql.err.Error:
                pass
            self._admin = None
