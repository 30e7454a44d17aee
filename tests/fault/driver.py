"""A journal in a process of its own (journal_driver.c), one line to it and one line back."""

import os
import subprocess

from tests.lab import places


class Driver:
    def __init__(self, state_dir, env=None, tmpfs=None):
        """tmpfs: (directory, size): mounted there first, in a mount namespace of the process's own."""
        command = [places.built("tests/fault/journal_driver"), str(state_dir)]
        if tmpfs:
            script = 'mount -t tmpfs -o size="$2" tmpfs "$1" && shift 2 && exec "$@"'
            command = ["unshare", "-m", "sh", "-c", script, "sh", str(tmpfs[0]), tmpfs[1]] + command
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ, **(env or {})),
        )
        self.hello = self.answer()

    def answer(self):
        """The next line; "" when the process is gone."""
        return self.process.stdout.readline().strip()

    def say(self, text):
        try:
            self.process.stdin.write(text + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return ""
        return self.answer()

    def inside(self, path):
        """path as this process sees it."""
        return "/proc/%d/root%s" % (self.process.pid, path)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        """Ends it as it wants to end; its exit status."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        status = self.process.wait(timeout=60)
        self.process.stdout.close()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.kill()
