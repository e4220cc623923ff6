#!/usr/bin/env python3
"""A soak: mixed traffic with faults through real Envoy for as long as you say, and what didn't stay as it was.

`./build.sh soak MINUTES` calls it. Requests of all kinds (traffic.py) go at a fixed rate; a provider fails in a new way
every few seconds; the policy is updated now and then. Every few seconds memory, leases, conflicts and latencies are
sampled, each request's beside the same past Spillway. At quiet points nothing may be under way any more, and the ledger
must say what the records say. It fails on any drift, on any error that wasn't injected, on any trap. Figures and a picture
go to target/soak/.
"""

import argparse
import csv
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import picture  # noqa: E402
from drift import climbs, drifts, growth, quantile  # noqa: E402
from lab.process import ROOT  # noqa: E402
from stand import CAPACITY, DAY, Stand  # noqa: E402
from traffic import Sender, Traffic  # noqa: E402

OUT = ROOT / "target/soak"
#: How the failing provider fails, in turn. `stop`: its process stands still, connections are accepted and never answered.
FAULTS = [{"status": 500}, {"status": 503, "retry_after": 1}, {"reset_after": 0}, {"error_after": 0}, {"status": 529}, "stop",
          {"status": 408}, {"delay_headers_ms": 6000}, {"status": 429}, {}]
#: Samples of the beginning that no trend is judged by: caches, pools and heaps fill.
WARM_UP = 0.2
COLUMNS = ("seconds", "requests", "rss_mb", "vm_mb", "vms", "cpu_share", "conflicts", "lost_races", "pending", "active", "repeating",
           "p50_ms", "p99_ms", "plain_p50_ms", "plain_p99_ms", "ratio", "wrong")


class Soak:
    """One run: `findings` are what is wrong with it."""

    def __init__(self, stand, traffic, seconds):
        self.stand, self.traffic, self.seconds, self.rate = stand, traffic, seconds, traffic.rate
        self.every = min(5.0, max(1.0, seconds / 60))
        self.rows, self.findings, self.marks = [], [], []
        self.began, self.fault, self.charged, self.ends = time.monotonic(), 0, 0, Counter()
        self.known = Counter()
        self.last = {"cpu": stand.envoy.cpu_seconds(), "at": self.began, "conflicts": 0, "requests": 0}

    def run(self):
        quiet_every = max(12.0, min(300.0, self.seconds / 8))
        update_every = max(10.0, min(120.0, self.seconds / 10))
        quiet, updated = quiet_every, update_every
        while (now := self.elapsed()) < self.seconds:
            self.stand.fail(FAULTS[self.fault % len(FAULTS)])
            self.fault += 1
            if now >= updated:
                self.stand.update()
                self.marks.append((now, "#b9d4ea"))
                updated += update_every
            if now >= quiet:
                self.quiet()
                quiet = self.elapsed() + quiet_every
            self.sample()
        self.quiet()
        self.stand.fail({})
        return self

    def elapsed(self):
        return time.monotonic() - self.began

    def sample(self):
        time.sleep(self.every)
        stats = self.stand.stats()
        pairs = self.traffic.take_pairs()
        with_it, without = [p[0] * 1e3 for p in pairs], [p[1] * 1e3 for p in pairs]
        now, cpu = time.monotonic(), self.stand.envoy.cpu_seconds()
        sent = sum(self.traffic.sent.values())
        row = {"seconds": self.elapsed(), "requests": sent, "rss_mb": self.stand.envoy.rss() / 2**20,
               "vm_mb": stats["spillway.vm.memory"] / 2**20, "vms": stats["active"],
               "cpu_share": (cpu - self.last["cpu"]) / (now - self.last["at"]),
               "conflicts": stats["spillway.store.conflicts"],
               "lost_races": (stats["spillway.store.conflicts"] - self.last["conflicts"]) / max(1, sent - self.last["requests"]),
               "pending": stats["spillway.ledger.pending"],
               "active": stats["spillway.failover.active"], "repeating": stats["spillway.failover.repeating"],
               "p50_ms": quantile(with_it, 0.5), "p99_ms": quantile(with_it, 0.99),
               "plain_p50_ms": quantile(without, 0.5), "plain_p99_ms": quantile(without, 0.99),
               "ratio": statistics.median(a / b for a, b in zip(with_it, without)) if pairs else None,
               "wrong": self.traffic.wrong}
        self.last = {"cpu": cpu, "at": now, "conflicts": row["conflicts"], "requests": sent}
        self.rows.append(row)
        self.tell(row)

    def tell(self, row):
        line = (f"{row['seconds']:5.0f} s of {self.seconds:.0f}  {row['requests']} requests  RSS {row['rss_mb']:.0f} MB  "
                f"VM {row['vm_mb']:.1f} MB  p50 {row['p50_ms'] or 0:.1f} ms × {row['ratio'] or 0:.2f}  "
                f"conflicts {row['conflicts']}  wrong {row['wrong']}")
        if sys.stdout.isatty():
            print("\r\033[K" + line, end="", flush=True)
        elif len(self.rows) % max(1, int(30 / self.every)) == 1:
            print(line, flush=True)

    def quiet(self):
        """Everything ends: then nothing may be under way, and every charge must be where it belongs."""
        self.marks.append((self.elapsed(), "#cccccc"))
        self.stand.fail({})
        self.require(self.traffic.pause(), "requests were under way a minute after the last was sent")
        self.require(self.stand.lab.idle(30), f"not idle: {self.stand.busy()}")
        left = self.stand.leases()
        self.require(not left, f"leases that nobody gives back: {left}")
        self.audit()
        self.require(self.stand.closes(), "a breaker that doesn't close again though its provider is well")
        write(self)
        self.traffic.resume()

    def audit(self):
        """The ledger against the records, and the records against what the provider stated."""
        exchanges = self.stand.exchanges()
        for line, record in exchanges:
            self.ends[record.get("end", "?")] += 1
            if record["caller"] == self.stand.caller:
                self.charged += tokens(record)
            if self.is_stated(record):
                self.known[record["model"]] += record["actual"]["input"] + record["actual"]["output"]
        used, refilled = self.stand.used()
        wrong = used + refilled - self.charged
        # A refill goes on between the two looks, and a reservation's tokens are whole.
        self.require(abs(wrong) <= 3 * CAPACITY[0] / DAY + 2, f"the ledger is {wrong:+.0f} tokens off the records")
        for model, stated in self.traffic.tokens.items():
            self.require(self.known[model] == stated, f"{model}: stated {stated}, charged {self.known[model]} tokens")

    def is_stated(self, record):
        return record.get("model") in self.traffic.tokens and record["caller"] == self.stand.caller and "actual" in record

    def require(self, truth, otherwise):
        if not truth:
            self.findings.append(f"{self.elapsed():.0f} s: {otherwise}")
            print(f"\n✗ {self.findings[-1]}", flush=True)

    def judge(self):
        """What the samples say, the warm-up's apart."""
        rows = [row for row in self.rows if row["seconds"] >= max(WARM_UP * self.seconds, 10)]
        series = lambda name: [(row["seconds"], row[name]) for row in rows if row[name] is not None]
        self.require(not drifts(series("rss_mb"), 0.03, 4), f"RSS grows: {growth(series('rss_mb')):.1f} MB")
        self.require(not climbs(series("vm_mb"), 1.0), "a VM's memory grows")
        # Plain and paired, so that a busy machine weighs on both; it may be half as slow again before it counts.
        self.require(not drifts(series("ratio"), 0.3), f"Spillway's share of the latency grows: {growth(series('ratio')):+.2f}")
        self.require(not drifts(series("lost_races"), 0.5, 0.05), f"lost races grow: {growth(series('lost_races')):+.2f} a request")
        self.require(not self.traffic.wrong, f"{self.traffic.wrong} answers that nothing injected explains")
        for problem in self.stand.problems():
            self.require(False, problem)
        return self.findings


def tokens(record):
    """What an exchange was charged: all its attempts."""
    if "attempts" in record:
        return sum(attempt["tokens"] for attempt in record["attempts"])
    actual = record.get("actual")
    return actual["input"] + actual["output"] if actual else 0


def write(soak):
    """target/soak/soak.csv, soak.svg and soak.json."""
    OUT.mkdir(parents=True, exist_ok=True)
    with open(OUT / "soak.csv", "w", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS)
        rows.writeheader()
        rows.writerows({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()} for row in soak.rows)
    of = lambda *names: {name: [(row["seconds"], row[name]) for row in soak.rows] for name in names}
    panels = [("Memory", "MB, Envoy's resident set", of("rss_mb")), ("A VM's memory", "MB, linear", of("vm_mb")),
              ("Latency of a whole answer", "ms, p50 and p99", of("p50_ms", "plain_p50_ms", "p99_ms", "plain_p99_ms")),
              ("Latency, times plain", "median of pairs", of("ratio")),
              ("Under way", "exchanges, repeats, settlements that wait", of("active", "repeating", "pending")),
              ("Writes to the store that another worker was ahead of", "a request", of("lost_races")),
              ("Envoy's CPU", "share of one core", of("cpu_share"))]
    title = f"Soak of {soak.seconds / 60:.0f} min at {soak.rate:g} requests/s: {len(soak.findings)} findings (grey: quiet points, blue: policy updates)"
    (OUT / "soak.svg").write_text(picture.draw(title, panels, soak.marks, max(soak.elapsed(), 1)))
    (OUT / "soak.json").write_text(json.dumps(report(soak), indent=1) + "\n")


def report(soak):
    """The figures of a run."""
    judged = [row for row in soak.rows if row["seconds"] >= max(WARM_UP * soak.seconds, 10)]
    middle = lambda name: statistics.median([row[name] for row in judged if row[name] is not None] or [0])
    names = ("rss_mb", "vm_mb", "p50_ms", "p99_ms", "plain_p50_ms", "plain_p99_ms", "ratio", "cpu_share")
    return {"minutes": round(soak.seconds / 60, 1), "rate": soak.rate, "requests": sum(soak.traffic.sent.values()),
            "sent": dict(soak.traffic.sent), "ends": dict(soak.ends), "tokens": soak.charged, "updates": soak.stand.updates,
            "medians": {name: round(middle(name), 3) for name in names},
            "growth": {name: round(growth([(row["seconds"], row[name]) for row in judged if row[name] is not None]), 3)
                       for name in names},
            "conflicts": soak.rows[-1]["conflicts"] if soak.rows else 0, "findings": soak.findings,
            "errors": list(soak.traffic.errors)[:20]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minutes", type=float)
    parser.add_argument("--rate", type=float, default=40, help="requests a second (40)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="spillway-soak-", dir=os.environ.get("TMPDIR")) as directory:
        with Stand(Path(directory)) as stand, Traffic(Sender(stand.envoy.port, stand.plain), arguments.rate) as traffic:
            soak = Soak(stand, traffic, arguments.minutes * 60).run()
            findings = soak.judge()
            write(soak)
    print("\n" + json.dumps(report(soak), indent=1))
    print(f"{'✗ ' + str(len(findings)) + ' findings' if findings else '✓ nothing drifts'}: {OUT.relative_to(ROOT)}/soak.svg")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
