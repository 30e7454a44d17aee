"""A journal in a process of its own (journal_driver.c), one line to it and one line back; and a small disk for it."""

import os
import subprocess

from tests.lab import places


class SmallDisk:
    """A tmpfs of that size on a directory, in a mount namespace that lives as long as this does. Needs root."""

    def __init__(self, directory, size):
        script = 'mount -t tmpfs -o size="$2" tmpfs "$1" && echo ready && cat'
        self.process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script, "sh", str(directory), size],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def inside(self, path):
        """path as the processes on this disk see it."""
        return "/proc/%d/root%s" % (self.process.pid, path)

    def command(self, command):
        return ["nsenter", "-m", "-t", str(self.process.pid)] + command

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


class Driver:
    def __init__(self, state_dir, env=None, disk=None):
        command = [places.built("tests/fault/journal_driver"), str(state_dir)]
        self.process = subprocess.Popen(
            disk.command(command) if disk else command,
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
            self.process.kill()
        self.close()
