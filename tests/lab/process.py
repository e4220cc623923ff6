"""One child process that can't outlive us."""

import ctypes
import os
import signal
import subprocess
from pathlib import Path

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
ROOT = Path(__file__).resolve().parents[2]


def _die_with_parent():
    """In the child: the kernel ends it when its parent goes (Linux; elsewhere `stop` has to do)."""
    try:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        pass


def tool(name, variable, profile="quick"):
    """A program of this repository: where the variable says, or where `./build.sh` builds it."""
    return Path(os.environ.get(variable, ROOT / "target" / profile / name))


class Process:
    """A child with its output in a file or on a pipe; ended by its id."""

    def __init__(self, command, stdout, stderr=None, env=None):
        self.child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr or stdout, env=env or dict(os.environ),
            cwd=ROOT, preexec_fn=_die_with_parent)

    @property
    def pid(self):
        return self.child.pid

    def running(self):
        return self.child.poll() is None

    def stop(self, patience=5):
        """Asks it to end, then ends it."""
        if self.running():
            self.child.terminate()
            try:
                self.child.wait(patience)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
