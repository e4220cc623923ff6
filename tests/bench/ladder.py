#!/usr/bin/env python3
"""Where it turns: more and more clients against a provider of bounded capacity, without Spillway and with it.

`./build.sh ladder` calls it. A provider works on 40 requests at a time, 250 ms each give or take half; 20 more wait; whoever
comes then is told 503 at once. There are two of them. Without Spillway, Envoy sends everything to the first; with it, breakers
are as they are by default, and the callers have limits, which all count but never refuse here. A third round gives the
providers limits of their own, a little under what they can do, so that one that has granted all is passed over before it
fails. The clients ask again as soon as they are answered; after a failure they wait half a second, as the SDKs do.

It prints each step as it is done, then a table, and where the share of good answers or the slowest hundredth turns; and
draws the curves: target/ladder/ladder.svg, the numbers beside it.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.config import manager, merged, render  # noqa: E402
from lab.process import ROOT  # noqa: E402
from lab.proxy import TICK_S, Envoy  # noqa: E402

import payloads  # noqa: E402
from bench import machine, tool  # noqa: E402
from picture import Chart, Line, picture  # noqa: E402

CLIENTS = (10, 25, 50, 100, 200)
SLOTS, MILLIS, QUEUE = 40, 250, 20
#: What each provider grants: less than the 9,600 a minute that it can do, and a burst for which it has room.
GRANTED = {"limits": [{"requests": "8k/min", "burst": 20}]}
VARIANTS = {"plain": "without Spillway", "spillway": "with Spillway", "limited": "with providers' limits"}
COLOURS = {"plain": "#b4552d", "spillway": "#1f6f8b", "limited": "#4f8a4f"}
#: It turned where fewer than this share of the requests were answered well …
GOOD = 0.99
#: … or where the slowest hundredth took this many times as long as on the first step.
SLOWER = 2.5
POLICY = {
    "limits": [{"name": "caller-tokens", "per": ["caller", "model"], "tokens": "900M/min"},
               {"name": "caller-requests", "per": ["caller"], "requests": "900M/min"}],
    "providers": {"backup": {"cluster": "backup", "dialect": "openai", "credential": {"env": "BACKUP_API_KEY"},
                             "models": {"gpt-4o": {"tokenizer": "o200k"}}}},
    "models": {"gpt-4o": {"chain": ["openai/gpt-4o", "backup/gpt-4o"]}},
}


class Provider:
    """One provider of bounded capacity."""

    def __init__(self, directory, slots):
        file = Path(directory) / "answer.json"
        file.write_text(payloads.answer())
        command = [tool("bench-provider"), file, slots, MILLIS, QUEUE]
        self.child = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
        self.port = int(self.child.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait()
        self.child.stdout.close()


def proxy(variant, ports, directory):
    """An Envoy with two workers."""
    directory = Path(directory) / variant
    directory.mkdir()
    policy = merged(POLICY, {"providers": {"openai": GRANTED, "backup": GRANTED}}) if variant == "limited" else POLICY
    config = render("standalone.yaml" if variant == "plain" else "failover.yaml", ports, directory, policy)
    for entry in manager(config)["access_log"]:
        entry["typed_config"]["path"] = os.devnull
    if variant == "plain":
        filters = manager(config)["http_filters"]
        filters[:] = [entry for entry in filters if entry["name"] != "spillway"]
    envoy = Envoy(config, directory, concurrency=2)
    envoy.admin("/logging?wasm=info", "POST")
    return envoy


def step(envoy, clients, seconds, file):
    """What so many clients saw in so many seconds."""
    command = [tool("bench-clients"), envoy.port, clients, seconds, file]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout)
    return {"clients": clients, "good": seen["ok"] / max(1, seen["requests"]), "requests": seen["requests"],
            "rps": seen["ok"] / seen["seconds"], "p50_ms": seen["p50_us"] / 1e3,
            "p99_ms": seen["p99_us"] / 1e3}


def climb(ports, directory, given):
    """All steps of each, one after the other: variant → list of steps."""
    (payload,) = payloads.all_of(["1 KB"], Path(directory))
    found = {}
    for variant, says in VARIANTS.items():
        with proxy(variant, ports, directory) as envoy:
            step(envoy, 4, 1, payload.file)
            found[variant] = []
            for clients in given.clients:
                print(f"· {says}: {clients} clients for {given.seconds:g} s …", flush=True)
                found[variant].append(step(envoy, clients, given.seconds, payload.file) | counted(envoy, found[variant]))
                print("  " + told(found[variant][-1]), flush=True)
    return found


def counted(envoy, before):
    """How often a breaker opened on this step, and how often a provider was passed over for its limit."""
    time.sleep(TICK_S)
    seen = {"opened": r"breaker\.transition\..*state=open$", "passed_over": r"spillway\.fallback\..*reason=limit$"}
    return {name: sum(envoy.stats(pattern).values()) - sum(row[name] for row in before) for name, pattern in seen.items()}


def told(row):
    return (f"{row['good']:7.1%} good, p50 {row['p50_ms']:.0f} ms, p99 {row['p99_ms']:.0f} ms, "
            f"{row['rps']:.0f} good answers a second")


def turning(rows):
    """The first step where it isn't what it was, and why; none when it never turns."""
    for row in rows:
        if row["good"] < GOOD:
            return f"turns at {row['clients']} clients: {row['good']:.1%} good"
        if row["p99_ms"] > SLOWER * rows[0]["p99_ms"]:
            return f"turns at {row['clients']} clients: p99 {row['p99_ms'] / rows[0]['p99_ms']:.1f} times the first step's"
    return f"doesn't turn up to {rows[-1]['clients']} clients"


def table(report):
    lines = [f"The ladder through Envoy, two workers; {report['date']}; {report['machine']};",
             f"providers: {SLOTS} at a time, {MILLIS} ms, {QUEUE} more wait; {report['seconds']:g} s a step", "",
             f"{'clients':>9}{'good':>9}{'p50 ms':>9}{'p99 ms':>9}{'good/s':>9}{'requests':>10}{'passed over':>13}{'breaker opened':>16}"]
    for variant, rows in report["steps"].items():
        lines.append(f"{VARIANTS[variant]}: {turning(rows)}")
        lines += [f"{row['clients']:9}{row['good']:9.1%}{row['p50_ms']:9.0f}{row['p99_ms']:9.0f}{row['rps']:9.0f}"
                  f"{row['requests']:10}{row['passed_over']:13}{row['opened']:16}" for row in rows]
    return "\n".join(lines)


def draw(report):
    def lines(value):
        return [Line(VARIANTS[variant], COLOURS[variant], [value(row) for row in rows])
                for variant, rows in report["steps"].items()]
    names = [str(row["clients"]) for row in report["steps"]["plain"]]
    charts = [Chart("Share of good answers, %", 0, 100, lines(lambda row: row["good"] * 100)),
              Chart("Slowest hundredth of the good answers (p99), ms", 0, None, lines(lambda row: row["p99_ms"])),
              Chart("Good answers a second", 0, None, lines(lambda row: row["rps"]))]
    return picture("More clients than a provider can serve", names, "clients at once", charts)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="length of a step (10)")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, help="the steps (10 25 50 100 200)")
    return parser.parse_args()


def main():
    given = options()
    subprocess.run(["cargo", "build", "--quiet", "--profile", "quick", "-p", "bench-load"], cwd=ROOT, check=True)
    report = {"date": datetime.date.today().isoformat(), "machine": machine(), "seconds": given.seconds}
    with (tempfile.TemporaryDirectory() as directory, Provider(directory, SLOTS) as first,
          Provider(directory, SLOTS) as second):
        ports = {"openai": first.port, "anthropic": first.port, "backup": second.port}
        report["steps"] = climb(ports, directory, given)
    folder = ROOT / "target/ladder"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ladder.json").write_text(json.dumps(report, indent=1))
    (folder / "ladder.svg").write_text(draw(report))
    print("\n" + table(report) + f"\n\n{(folder / 'ladder.svg').relative_to(ROOT)}: the curves")


if __name__ == "__main__":
    main()
