#!/usr/bin/env python3
"""What Spillway costs in a real Envoy: CPU per request and requests per second, beside no filter and an empty one.

`./build.sh bench [--quick]` calls it. Five Envoys run at once, with one worker each, pinned to one core: without a filter,
with a wasm filter that only continues, with one that holds what Spillway holds and writes heads anew as they were, with Spillway
doing all it can, and with every prompt counted exactly besides; a sixth with another build of the module, if one is given
(`--against`). `--failover`, `--answers` and `--others` compare other sets; `--startup` measures starting instead. The same
requests go to each in turn,
round by round; load generator and upstream share the other cores. Compared are the runs of one round, and shown the
medians of the rounds, so that what else the machine does meanwhile weighs on all alike. The CPU time is the whole
Envoy process's, user and system.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.config import module  # noqa: E402
from lab.process import ROOT  # noqa: E402

import payloads  # noqa: E402
import startup  # noqa: E402
from others import OTHERS_VARIANTS, LiteLLM  # noqa: E402
from proxies import ANSWERS_VARIANTS, FAILOVER_VARIANTS, VARIANTS, Proxy  # noqa: E402

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
#: Envoy has this core for itself; everybody else the others (the same when there is only one).
ENVOY_CORE = min(os.sched_getaffinity(0))
OTHER_CORES = (os.sched_getaffinity(0) - {ENVOY_CORE}) or {ENVOY_CORE}


def build():
    """The empty filter, of the released module's profile, and both ends of the load."""
    for arguments in (["--profile", "quick", "-p", "bench-load"],
                      ["--release", "-p", "bench-empty", "--target", "wasm32-wasip1"]):
        subprocess.run(["cargo", "build", "--quiet", *arguments], cwd=ROOT, check=True)
    return TARGET / "wasm32-wasip1/release/bench_empty.wasm"


def tool(name):
    return str(TARGET / "quick" / name)


class Upstream:
    """The provider: answers as fast as it can; with `status`, another one than 200."""

    def __init__(self, directory, *status):
        files = [directory / f"{name}{'-'.join(status)}" for name in ("json", "sse")]
        # An error has no body: over HTTP/1.1 Envoy gives the connection up with an answer that it doesn't read to its end.
        files[0].write_text("" if status else payloads.answer())
        files[1].write_text(payloads.stream())
        self.child = subprocess.Popen([tool("bench-upstream"), *map(str, files), *status], stdout=subprocess.PIPE, text=True,
                                      preexec_fn=lambda: os.sched_setaffinity(0, OTHER_CORES))
        self.port = int(self.child.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait()


def run(proxy, payload, requests, connections=None):
    """One run: what the load generator says, and Envoy's CPU time per request in microseconds."""
    before = proxy.cpu_seconds()
    done = subprocess.run([tool("bench-load"), str(proxy.port), str(connections or payload.connections), str(requests),
                           str(payload.file)], capture_output=True, text=True, check=True,
                          preexec_fn=lambda: os.sched_setaffinity(0, OTHER_CORES))
    spent = proxy.cpu_seconds() - before
    result = json.loads(done.stdout)
    if result["errors"] or result["requests"] != requests:
        raise SystemExit(f"{proxy.name}, {payload.name}: {result['errors']} errors; the first: {done.stderr.strip()}")
    return {"cpu_us": spent / requests * 1e6, "rps": requests / result["seconds"], "busy": spent / result["seconds"],
            "p50_us": result["p50_us"], "p99_us": result["p99_us"]}


def sized(proxies, payload, seconds):
    """How many requests a run takes so that the runs of a round last `seconds` each in the mean."""
    rates = []
    for proxy in proxies:
        run(proxy, payload, share(proxy, payload.warm_up))
        rates.append(proxy.share / run(proxy, payload, share(proxy, payload.warm_up))["rps"])
    return max(payload.warm_up, int(seconds / statistics.mean(rates)))


def share(proxy, requests):
    """What of so many requests this one gets: a slow one fewer."""
    return int(requests * proxy.share)


def measure(proxies, payload, rounds, seconds):
    """All rounds of one payload: variant → list of runs, in the order of the rounds."""
    requests = sized(proxies, payload, seconds)
    runs = {proxy.name: [] for proxy in proxies}
    for number in range(rounds):
        show(f"{payload.name}: round {number + 1} of {rounds}, {requests} requests each")
        # Each starts as often as the others.
        turn = number % len(proxies)
        for proxy in proxies[turn:] + proxies[:turn]:
            runs[proxy.name].append(run(proxy, payload, share(proxy, requests)))
    calls = {proxy.name: proxy.host_calls(lambda one=proxy: run(one, payload, 1, connections=1)) for proxy in proxies}
    return {"requests": requests, "runs": runs, "summary": summary(runs), "host_calls": calls}


def summary(runs):
    """Medians of each variant, of its ratio to no filter, and of what it adds against what the empty filter adds."""
    result = {}
    for name, own in runs.items():
        row = {key: statistics.median(run[key] for run in own) for key in own[0]}
        row["ratio"] = statistics.median(a["cpu_us"] / b["cpu_us"] for a, b in zip(own, runs["plain"]))
        row["rps_ratio"] = statistics.median(a["rps"] / b["rps"] for a, b in zip(own, runs["plain"]))
        row["added_us"] = statistics.median(a["cpu_us"] - b["cpu_us"] for a, b in zip(own, runs["plain"]))
        row["spread"] = spread([run["cpu_us"] for run in own])
        result[name] = row
    for name, without in AGAINST.items():
        if name in runs and without in runs:
            result[name]["over"] = compared(runs[name], runs[without])
    if "before" in runs:
        ratios = [a["cpu_us"] / b["cpu_us"] for a, b in zip(runs["spillway"], runs["before"])]
        result["spillway"]["against"] = statistics.median(ratios)
    for row in result.values():
        floor = result["empty"]["added_us"]
        row["times_empty"] = row["added_us"] / floor if floor > 0 else None
    return result


#: What each variant is compared with, run by run, where both are measured.
AGAINST = {"callout": "spillway", "native": "spillway", "moved": "native", "spillway": "unjudged", "guarded": "spillway"}


def compared(own, others):
    """Medians over the rounds: the ratio of the CPU times, and what is added in microseconds."""
    pairs = [(a["cpu_us"], b["cpu_us"]) for a, b in zip(own, others)]
    return {"ratio": statistics.median(a / b for a, b in pairs), "added_us": statistics.median(a - b for a, b in pairs)}


def spread(values):
    """Half the distance between the quartiles, as a share of the median."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return (high - low) / 2 / middle


def show(text):
    """Progress: in place on a terminal, else nothing."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def machine():
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), "?")
    return f"{model}, {os.cpu_count()} CPUs, Linux {os.uname().release}"


def table(report):
    """The report in words and columns; what goes into the README."""
    lines = [f"Spillway through Envoy {report['envoy']}, one worker; {report['date']}; {report['machine']};",
             f"medians of {report['rounds']} rounds in turn; load average before: {report['load_before']:.1f}", "",
             f"{'':24}{'CPU µs':>9}{'±':>5}{'added':>8}{'× plain':>9}{'× empty':>9}{'req/s':>9}{'× plain':>9}"
             f"{'p50 ms':>8}{'p99 ms':>8}"]
    for name, payload in report["payloads"].items():
        lines.append(f"{name} ({payload['requests']} requests a run)")
        for variant, row in payload["summary"].items():
            times = "" if variant == "plain" or row["times_empty"] is None else f"{row['times_empty']:.1f}"
            added = "" if variant == "plain" else f"{row['added_us']:+.0f}"
            rate = f"{row['rps']:9.0f}{row['rps_ratio']:9.2f}" if payload["saturates"] else f"{'paced':>9}{'':9}"
            lines.append(f"  {variant:22}{row['cpu_us']:9.1f}{row['spread']:5.0%}{added:>8}{row['ratio']:9.2f}{times:>9}"
                         f"{rate}{row['p50_us'] / 1e3:8.2f}{row['p99_us'] / 1e3:8.2f}")
        if against := payload["summary"].get("spillway", {}).get("against"):
            lines.append(f"  against the module before: {against:.3f} of its CPU")
        lines += in_pairs(payload["summary"])
        for variant in ("spillway", "native", "moved"):
            if calls := payload["host_calls"].get(variant):
                names = (f"{name.removeprefix('proxy_')} {count}" for name, count in calls.items())
                said = "" if variant == "spillway" else f", {variant}"
                lines += wrapped(f"  {sum(calls.values())} host calls a request{said}: " + ", ".join(names))
    lines += ["", "CPU: of the whole Envoy process per request, user and system. Added: over no filter. × empty: what the filter",
              "adds, in multiples of what an empty wasm filter adds. Resident memory: "
              + ", ".join(f"{name} {size >> 20} MiB" for name, size in report["rss"].items()) + "."]
    lines += [f"{name} {version}, one worker on the same core, a tenth of the requests; the CPU time of its whole process tree."
              for name, version in report["others"].items()]
    return "\n".join(lines)


#: What each comparison says.
SAYS = {"callout": "failover.via callout, no failover needed: {ratio:.3f} of the CPU without the section ({added_us:+.0f} µs)",
        "native": "failover.via native, no failover needed: {ratio:.3f} of the CPU without the section, {added_us:+.0f} µs for the attempt",
        "moved": "each attempt that failed before it: {added_us:+.0f} µs",
        "spillway": "the verdict on the answer: {added_us:+.1f} µs ({ratio:.3f} of the CPU without)",
        "guarded": "guards of all kinds on both sides: {added_us:+.1f} µs ({ratio:.3f} of the CPU without)"}


def in_pairs(summary):
    """What is compared run by run."""
    return ["  " + text.format(**summary[name]["over"]) for name, text in SAYS.items() if "over" in summary.get(name, {})]


def wrapped(text):
    return textwrap.wrap(text, 110, initial_indent="  ", subsequent_indent="    ")


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three short rounds, to try things; the numbers are rough")
    parser.add_argument("--rounds", type=int, help="rounds per payload (default 13; 3 with --quick)")
    parser.add_argument("--seconds", type=float, help="mean length of a run (default 2.5; 0.7 with --quick)")
    parser.add_argument("--payload", action="append", choices=payloads.NAMES, help="only this one (may be repeated)")
    parser.add_argument("--failover", action="store_true", help="what failing over costs, by callouts and by Envoy's router")
    parser.add_argument("--answers", action="store_true", help="what verdicts on answers and guards cost")
    parser.add_argument("--others", action="store_true",
                        help="beside Envoy's Lua filter, Envoy's local rate limit and LiteLLM's proxy (see tests/bench/others)")
    parser.add_argument("--startup", action="store_true", help="CPU of starting, and memory per worker, of both modules")
    parser.add_argument("--lean", type=Path, default=ROOT / "dist/spillway-lean.wasm", help="the lean module")
    parser.add_argument("--floor", action="store_true", help="only plain and empty, without Spillway")
    parser.add_argument("--against", type=Path, help="another build of the module, to be compared with in the same rounds")
    given = parser.parse_args()
    given.rounds = given.rounds or (3 if given.quick else 13)
    given.seconds = given.seconds or (0.7 if given.quick else 2.5)
    return given


def variants(given):
    """The names of the set that was asked for."""
    sets = [(given.failover, FAILOVER_VARIANTS), (given.answers, ANSWERS_VARIANTS), (given.others, OTHERS_VARIANTS)]
    names = next((names for asked, names in sets if asked), VARIANTS)
    return names[:2] if given.floor else [name for name in names if name != "before" or given.against]


def started(name, ports, modules, directory):
    if name == "litellm":
        return LiteLLM(ports, directory, ENVOY_CORE)
    return Proxy(name, ports, modules, directory, ENVOY_CORE)


def measure_startup(given, modules, report):
    """The table of `--startup`."""
    modules["lean"] = given.lean.resolve()
    sizes = {"full": module(), "lean": modules["lean"], "empty": modules["empty"]}
    report["modules"] = {name: Path(path).stat().st_size for name, path in sizes.items()}
    with tempfile.TemporaryDirectory() as directory, Upstream(Path(directory)) as upstream:
        (payload,) = payloads.all_of(["32 KB"], directory)

        def serve(port, workers):
            subprocess.run([tool("bench-load"), str(port), str(16 * workers), str(startup.SERVED * workers),
                            str(payload.file)], capture_output=True, check=True)

        ports = {"openai": upstream.port, "anthropic": upstream.port}
        report["startup"], report["envoy"] = startup.measure(ports, modules, directory, given.rounds, serve, show)
    show("")
    print(startup.table(report))
    (ROOT / "target").mkdir(exist_ok=True)
    (ROOT / "target/startup.json").write_text(json.dumps(report, indent=1))


def main():
    given = options()
    show("building the empty filter and the load generator")
    empty = build()
    modules = {"empty": empty} | ({"before": given.against.resolve()} if given.against else {})
    names = variants(given)
    report = {"date": datetime.date.today().isoformat(), "machine": machine(), "rounds": given.rounds,
              "load_before": os.getloadavg()[0], "payloads": {}}
    if given.startup:
        measure_startup(given, modules, report)
        return
    with (tempfile.TemporaryDirectory() as directory, Upstream(Path(directory)) as upstream,
          Upstream(Path(directory), "503 Unavailable") as failing):
        directory = Path(directory)
        ports = {"openai": upstream.port, "anthropic": upstream.port, "other": failing.port}
        proxies = [started(name, ports, modules, directory) for name in names]
        try:
            report["envoy"] = proxies[0].version()
            report["others"] = {one.name: one.version() for one in proxies if isinstance(one, LiteLLM)}
            for payload in payloads.all_of(given.payload or payloads.NAMES, directory):
                measured = measure(proxies, payload, given.rounds, given.seconds)
                report["payloads"][payload.name] = {**measured, "saturates": payload.saturates}
            report["rss"] = {proxy.name: proxy.rss() for proxy in proxies}
            report["decisions"] = {proxy.name: proxy.decisions() for proxy in proxies[2:]}
        finally:
            for proxy in proxies:
                proxy.stop()
    show("")
    print(table(report))
    (ROOT / "target").mkdir(exist_ok=True)
    (ROOT / "target/bench.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
