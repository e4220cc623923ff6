"""A pytest plugin (`-p lab.stalls`) that stops the tests' processes at random for a moment, as busy machines do.

Proxies, providers and pytest's own workers alike: about two a second, each for 0.05 to 0.8 s. What fails under it takes an
order of independent processes, or somebody's speed, for granted.
"""

import os
import random
import signal
import threading
from pathlib import Path

LEAST_S, MOST_S, GAP_S = 0.05, 0.8, 0.1


def descendants(root):
    """The process ids of all that `root` has started, and they in turn (Linux)."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has gone meanwhile
    found, new = set(), {root}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return sorted(found)


class Stalls:
    def __init__(self):
        self.count, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._over.wait(random.uniform(0, 2 * GAP_S)):
            pids = descendants(os.getpid())
            if pids:
                self._stall(random.choice(pids))

    def _stall(self, pid):
        try:
            os.kill(pid, signal.SIGSTOP)
            self.count += 1
            self._over.wait(random.uniform(LEAST_S, MOST_S))
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass  # it has gone meanwhile

    def pytest_sessionstart(self):
        self._thread.start()

    def pytest_sessionfinish(self):
        self._over.set()
        self._thread.join()

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.write_line(f"{self.count} stalls")


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Stalls())
