"""What it takes to start: CPU of `envoy --mode validate` and of a start until Envoy is ready, and resident memory with
one, two and four workers, idle and after each worker has served. `bench.py --startup` runs it.

V8 compiles the module once in a process, whatever the number of workers and roles; each worker, and the main thread, then
has a machine of its own for each role: the module's data, the policy, the heap. So the first worker stands for the
module, and each further one for a worker. CPU is measured in every round, memory once: it hardly varies, and takes its time to settle.
"""

import resource
import statistics
import tempfile
import time
from pathlib import Path

import yaml

from lab.config import render
from lab.proxy import Envoy, validate

from proxies import POLICY, configured, version_of

#: Without a filter, with an empty one, the lean module, the full one with the same policy, with a schema besides, and with
#: both roles, so that it fails over in the router.
VARIANTS = ("plain", "empty", "lean", "unjudged", "spillway", "native")
SAYS = {"plain": "no filter", "empty": "an empty filter", "lean": "lean", "unjudged": "full, the same policy",
        "spillway": "full, with a schema", "native": "full, both roles"}
WORKERS = (1, 2, 4)
#: Envoy's allocator gives back 1.7 MB a second of what compiling left over (`memory_allocator_manager`).
SETTLING_S = 20
#: What a burst of requests needed and no longer does is no worker's cost either.
CALMING_S = 5
#: Requests that each worker gets before its memory is read again.
SERVED = 1000


class Start:
    """One variant: its configuration, and what was measured of it."""

    def __init__(self, name, ports, modules, directory):
        self.name = name
        self.directory = Path(directory) / f"startup-{name}"
        self.directory.mkdir()
        file = "failover.yaml" if name == "native" else "standalone.yaml"
        self.config = configured(name, render(file, ports, self.directory, POLICY), modules)
        self.file = self.directory / "envoy.yaml"
        self.validating, self.starting, self.idle, self.served = [], [], {}, {}
        self.version = None

    def validate(self):
        """CPU seconds of `envoy --mode validate`."""
        self.file.write_text(yaml.safe_dump(self.config))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        valid, said = validate(self.file)
        if not valid:
            raise SystemExit(f"{self.name} isn't valid: {said[-400:]}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.validating.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    def start(self):
        """CPU seconds until it is ready."""
        with self._envoy(1) as envoy:
            self.version = version_of(envoy)
            self.starting.append(time.clock_gettime(~envoy.process.pid << 3 | 2))

    def settle(self, workers, serve):
        """Its memory when it idles, and when `serve(port, workers)` has sent its requests."""
        with self._envoy(workers) as envoy:
            time.sleep(SETTLING_S)
            self.idle[workers] = envoy.rss() / 1e6
            serve(envoy.port, workers)
            time.sleep(CALMING_S)
            self.served[workers] = envoy.rss() / 1e6

    def row(self):
        """Medians of the seconds; memory in MB."""
        return {"validate_s": statistics.median(self.validating), "start_s": statistics.median(self.starting),
                "idle_mb": self.idle, "served_mb": self.served, "per_worker_mb": slope(self.idle),
                "per_worker_served_mb": slope(self.served)}

    def _envoy(self, workers):
        return Envoy(self.config, Path(tempfile.mkdtemp(dir=self.directory)), concurrency=workers)


def slope(sizes):
    """What each further worker takes."""
    return (sizes[WORKERS[-1]] - sizes[WORKERS[0]]) / (WORKERS[-1] - WORKERS[0])


def measure(ports, modules, directory, rounds, serve, show):
    """All variants, round by round: variant → row, and Envoy's version."""
    starts = [Start(name, ports, modules, directory) for name in VARIANTS]
    for number in range(rounds):
        for start in starts:
            show(f"round {number + 1} of {rounds}: {SAYS[start.name]}")
            start.validate()
            start.start()
    for start in starts:
        for workers in WORKERS:
            show(f"memory with {workers} workers: {SAYS[start.name]}")
            start.settle(workers, serve)
    return {start.name: start.row() for start in starts}, starts[0].version


def table(report):
    """The rows in words and columns."""
    lines = [f"Starting Envoy {report['envoy']}; {report['date']}; {report['machine']};",
             f"medians of {report['rounds']} rounds in turn; load average before: {report['load_before']:.1f}", "",
             f"{'':24}{'CPU s':>18}{'RSS MB, idle':>21}{'a worker more':>15}{'RSS MB, served':>21}{'a worker more':>15}",
             f"{'':24}{'validate':>9}{'start':>9}" + 2 * ("".join(f"{f'{n} w.':>7}" for n in WORKERS) + f"{'MB':>15}")]
    for name, row in report["startup"].items():
        cells = "".join("".join(f"{row[key][n]:7.1f}" for n in WORKERS) + f"{row[more]:15.1f}"
                        for key, more in (("idle_mb", "per_worker_mb"), ("served_mb", "per_worker_served_mb")))
        lines.append(f"  {SAYS[name]:22}{row['validate_s']:9.2f}{row['start_s']:9.2f}{cells}")
    lines += ["", "Modules: " + ", ".join(f"{name} {size} bytes" for name, size in report["modules"].items())]
    return "\n".join(lines)
