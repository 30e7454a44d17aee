"""Distinctive secrets are planted in every place that takes one, flipd is led through a day, and everything that it and
its children wrote, showed or were given is searched for them."""

import base64
import glob
import hashlib
import http.server
import json
import os
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request

import yaml

from lab import places
from lab.proc import wait_for
from lab.scene import named_check, scene_of, scenes, script  # noqa: F401

TOKEN = "T0KEN-in-the-url-of-a-hook"
WRONG = "WR0NG-word-of-the-day"
NOBODY = 65534
ENVIRONMENT = "FLIPD_TEST_REPL_PASSWORD"


def disguises(secret):
    """The ways in which a secret may show: as it is, as the server keeps a password, encoded."""
    raw = secret.encode()
    native = hashlib.sha1(hashlib.sha1(raw).digest()).hexdigest()
    ways = {raw, base64.b64encode(raw), raw.hex().encode(), native.encode(), native.upper().encode()}
    try:
        ways.add(base64.b64decode(secret, validate=True))
    except ValueError:
        pass
    return {way for way in ways if len(way) >= 8}


class Search:
    """Everything that was seen, by where it was seen."""

    def __init__(self, secrets):
        self.needles = {(name, way) for name, secret in secrets.items() for way in disguises(secret)}
        self.found, self.places, self.bytes = [], 0, 0

    def look(self, place, data):
        data = data if isinstance(data, bytes) else str(data).encode()
        self.places += 1
        self.bytes += len(data)
        self.found += ["%s in %s" % (name, place) for name, way in self.needles if way in data]

    def files(self, pattern):
        names = [n for n in glob.glob(pattern, recursive=True) if os.path.isfile(n)]
        assert names, pattern
        for name in names:
            with open(name, "rb") as f:
                self.look(name, f.read())


def planted(s):
    """Where each secret stands: a credential, the environment, inline, files."""
    lab = s.lab
    credentials = os.path.join(lab.dir, "credentials")
    os.makedirs(credentials, exist_ok=True)
    with open(os.path.join(credentials, "flipd"), "w") as f:
        f.write(lab.passwords["flipd"])
    defaults = {"password_file": None, "credential": "flipd",
                "replication": {"password_file": None, "password_env": ENVIRONMENT},
                "fence_probe": {"password_file": None, "password": lab.passwords["flipd_probe"]},
                "heartbeat": {"user": "flipd", "password_file": lab.secret("flipd")}}
    env = {"CREDENTIALS_DIRECTORY": credentials, ENVIRONMENT: lab.passwords["repl"], "FLIPD_DEBUG": "1"}
    return defaults, env, os.path.join(credentials, "flipd")


def spy(s):
    """A hook that writes down all that it was given and what it may see of its parent."""
    seen = os.path.join(s.lab.dir, "spied")
    return script(os.path.join(s.lab.dir, "spy.sh"), """\
        { env; cat /proc/$$/environ /proc/$PPID/environ /proc/$PPID/cmdline; ls -l /proc/$$/fd; cat /proc/$$/maps
          ps axww -o args; } >>"%s" 2>&1
        echo "$FLIPD_ACTION: said" """ % seen), seen


class Webhook(http.server.BaseHTTPRequestHandler):
    """Says no, so that there is something to warn of."""

    def do_POST(self):
        self.send_response(503)
        self.end_headers()

    def log_message(self, *_):
        pass


def url_hook(s):
    server = http.server.ThreadingHTTPServer((s.lab.address(80), 0), Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    s.stack.callback(server.server_close)
    s.stack.callback(server.shutdown)
    return server.server_port


def raw_control(path):
    """What a client of the socket sees, errors and all."""
    with socket.socket(socket.AF_UNIX) as c:
        c.settimeout(20)
        c.connect(path)
        for line in ({"id": 1, "cmd": "status", "args": {}}, {"id": 2, "cmd": "history", "args": {"name": "lab"}},
                     {"id": 3, "cmd": "check", "args": {"name": "lab", "to": "target"}},
                     {"id": 4, "cmd": "reload", "args": {}}, {"id": 5, "cmd": "reload", "args": {"x": 1}}):
            c.sendall((json.dumps(line) + "\n").encode())
        data = b""
        while data.count(b'"ok":') < 5:
            data += c.recv(65536)
        return data


def page_of(daemon, path):
    try:
        with urllib.request.urlopen("http://%s%s" % (daemon.status, path), timeout=20) as answer:
            return answer.read()
    except urllib.error.HTTPError as e:
        return e.read()


def look_at_process(search, daemon):
    pid = daemon.process.pid
    for name in ("cmdline", "environ", "comm", "status", "maps"):
        search.files("/proc/%d/%s" % (pid, name))


def look_at_answers(searches, s, daemon):
    def look(place, data):
        for search in searches:
            search.look(place, data)
    for command in (["status"], ["check", "lab", "--to", "target"], ["check", "lab", "--to", "source"],
                    ["plan", "lab", "--to", s.standby.name], ["prepare", "lab", "--yes"], ["history"],
                    ["history", "lab"], ["reload"]):
        answer = daemon.ctl(*command)
        assert answer.out or answer.err, command
        look("flipctl " + " ".join(command), answer.out + answer.err)
    for flip in daemon.ctl("history", "lab").json["flips"]:
        page = os.path.join(s.lab.dir, "page.html")
        answer = daemon.ctl("show", flip["id"], "--html", page)
        look("show", answer.out + answer.err)
        look("/flips", page_of(daemon, "/flips/" + flip["id"]))
    for path in ("/", "/metrics", "/status", "/readyz", "/nowhere"):
        look(path, page_of(daemon, path))
    look("the socket", raw_control(daemon.socket))


def broken(document, secret):
    """Configurations that are wrong in or beside a secret."""
    text = yaml.safe_dump(document, sort_keys=False)
    line = "password: %s" % secret
    assert line in text
    for instead in ("pasword: %s" % secret, "password: [%s]" % secret, "password: {%s: 1}" % secret,
                    "password: %s: x" % secret, "password: '%s" % secret, "password: &a %s" % secret,
                    "password: *%s" % secret, "password: !%s x" % secret, "password: %s\n      password: %s" % (secret, secret),
                    "password_file: %s" % secret, "password_file: /%s" % secret, "password_env: '%s'" % "NOT_SET",
                    "password: %s\n      password_file: /x" % secret, "password: \"%s\\q\"" % secret,
                    "password: %s\x01" % secret, "\tpassword: %s" % secret):
        yield text.replace(line, instead)


def named_as_such(text, secret):
    """password_file: SECRET asks for a message about a file of that name: that is no secret of ours any more."""
    return "password_file: %s" % secret in text or "password_file: /%s" % secret in text


def test_planted_secrets_show_nowhere(scene_of):  # noqa: F811
    s = scene_of("pair")
    old, new = s.master, s.standby
    defaults, env, credential = planted(s)
    hook, spied = spy(s)
    url = "http://u:%s@%s:%d/%s" % (TOKEN, s.lab.address(80), url_hook(s), TOKEN)
    # The URL of a hook is no password: the configuration in the journal has it, logs and answers have not.
    search = Search(dict({u: s.lab.passwords[u] for u in ("flipd", "flipd_probe", "repl")}, tsig=s.lab.named.secret,
                         wrong=WRONG))
    token = Search({"token": TOKEN})
    daemon = s.flipd(start=False, defaults=defaults, env=env,
                     cluster={"hooks": {"before_fence": [hook], "after_open": [hook, url], "after_end": [hook]}})

    for option in ("--check-config", "--print-config"):
        done = subprocess.run([places.built("flipd"), "--config", daemon.config_file, option], capture_output=True,
                              env=daemon.env, timeout=20)
        assert done.returncode == 0, done.stderr
        search.look(option, done.stdout + done.stderr)
    wrong = os.path.join(s.lab.dir, "wrong.yaml")
    for text in broken(daemon.config, s.lab.passwords["flipd_probe"]):
        with open(wrong, "w") as f:
            f.write(text)
        done = subprocess.run([places.built("flipd"), "--config", wrong, "--check-config"], capture_output=True,
                              env=daemon.env, timeout=20)
        if not named_as_such(text, s.lab.passwords["flipd_probe"]):
            search.look("--check-config of %r" % text[:0], done.stdout + done.stderr)
        assert done.returncode in (0, 1)

    daemon.start()
    daemon.wait_ready(new.name)
    load = s.load(writers=2, interval_ms=30.0)
    flip = s.start_flip(new)
    look_at_process(search, daemon)
    search.files("/proc/%d/cmdline" % flip.child.pid)
    flip.end("done")
    daemon.wait_ready(old.name)
    look_at_answers([search, token], s, daemon)
    assert any("503" in w for w in s.flip(old)["warnings"])
    daemon.wait_ready(new.name)

    # Replication's password does not fit any more: reverse_path says so in the server's words.
    new.unlogged(["ALTER USER 'repl'@'%%' IDENTIFIED BY '%s'" % WRONG])
    answer = daemon.ctl("check", "lab", "--to", new.name)
    assert "cannot replicate" in named_check(answer.json, "reverse_path")["seen"]
    search.look("check", answer.out + answer.err)
    new.unlogged(["ALTER USER 'repl'@'%%' IDENTIFIED BY '%s'" % s.lab.passwords["repl"]])
    # flipd's own is wrong, and a reload takes it.
    with open(credential, "w") as f:
        f.write(WRONG)
    assert daemon.ctl("reload").json == {"changed": ["lab"]}
    wait_for(lambda: not daemon.state()["servers"][0]["up"], 20, "flipd to be kept out")
    assert daemon.flip(new.name).code == 2
    look_at_answers([search, token], s, daemon)
    with open(credential, "w") as f:
        f.write(s.lab.passwords["flipd"])
    assert daemon.ctl("reload").json == {"changed": ["lab"]}
    daemon.wait_ready(new.name)
    look_at_process(search, daemon)

    assert s.right(load, old, new, old)
    search.files(daemon.log)
    search.files(os.path.join(daemon.config["daemon"]["state_dir"], "**"))
    search.files(spied)
    token.files(daemon.log)
    assert "debug" in daemon.read_log() or "Access denied" in daemon.read_log()
    print("figure: %d places, %d bytes searched" % (search.places, search.bytes))
    assert not search.found, "\n".join(sorted(set(search.found)))
    assert not token.found, "\n".join(sorted(set(token.found)))


def test_its_memory_stays_in(scene_of):  # noqa: F811
    """flipd as a user of its own: what else runs as that user sees nothing of its memory, and a crash writes no core."""
    with open(places.built("flipd"), "rb") as f:
        if b"__asan_init" in f.read():
            return  # the leak checker needs what is forbidden otherwise
    s = scene_of("pair")
    as_nobody = [places.system("setpriv"), "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups"]
    words = s.lab.passwords
    daemon = s.flipd(start=False, wrapper=as_nobody, zones=[], defaults={
        "password_file": None, "password": words["flipd"],
        "replication": {"password_file": None, "password": words["repl"]},
        "fence_probe": {"password_file": None, "password": words["flipd_probe"]}})
    os.chmod(s.lab.dir, 0o755)
    for path in (daemon.dir, daemon.config_file, daemon.config["daemon"]["state_dir"]):
        os.chown(path, NOBODY, NOBODY)
    daemon.start()
    daemon.wait_ready(s.standby.name)
    pid = daemon.process.pid
    with open("/proc/%d/status" % pid) as f:
        assert "Uid:\t%d\t%d" % (NOBODY, NOBODY) in f.read()
    for name in ("environ", "maps", "mem"):
        done = subprocess.run(as_nobody + ["cat", "/proc/%d/%s" % (pid, name)], capture_output=True, timeout=10)
        assert done.returncode != 0 and not done.stdout and b"ermission denied" in done.stderr, name
    daemon.process.signal(signal.SIGSEGV)
    end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert (end.si_code, end.si_status) == (os.CLD_KILLED, signal.SIGSEGV), "a core was written"
    daemon.process.wait(10)
    s.daemon = None
    s.lab.daemons.clear()
