"""Where things are: the tree, the build directory, the programs that the lab runs."""

import os
import shutil

from .proc import LabError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def build_dir():
    """build/, or another one by FLIPD_BUILD (relative to the tree or absolute)."""
    return os.path.join(ROOT, os.environ.get("FLIPD_BUILD", "build"))


def built(name, must=True):
    """The path of a program of ours, e.g. built("flipctl"), built("tests/bench/load")."""
    path = os.path.join(build_dir(), name)
    if os.access(path, os.X_OK):
        return path
    if must:
        raise LabError("%s is not built: run make first" % os.path.relpath(path, ROOT))
    return None


def system(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise LabError("%s is not installed: run make deps" % name)
    return path
