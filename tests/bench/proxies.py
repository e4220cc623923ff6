"""The Envoys of the bench: `envoy/standalone.yaml` without its filter, with an empty one, with one that only holds, as it is,
with every prompt counted exactly, and with another build of the module; and what failing over costs, by callouts and by Envoy's router
(`envoy/failover.yaml`)."""

import collections
import copy
import os
import re
import time
from pathlib import Path

from lab.config import manager, merged, render, wasm_plugin
from lab.proxy import Envoy

from others import filter_of
from payloads import SCHEMA

VARIANTS = ("plain", "empty", "holding", "spillway", "exact", "before")
#: The policy without failing over, with it where nothing fails, and with a first provider that always does.
FAILOVER_VARIANTS = ("plain", "empty", "spillway", "callout", "native", "moved")
#: The policy without any verdict on answers, with it, and with guards for everything on both sides besides.
ANSWERS_VARIANTS = ("plain", "empty", "unjudged", "spillway", "guarded")
GUARD = {"name": "all", "kinds": ["email", "phone", "card", "iban", "ssn", "ip", "api_key", "jwt"], "action": "mask"}
CHAINS = {"callout": ["openai/gpt-4o", "other/gpt-4o"], "native": ["openai/gpt-4o", "other/gpt-4o"],
          "moved": ["other/gpt-4o", "openai/gpt-4o"]}
#: Never asked but in `moved`, and then it fails; its breaker must not learn from that.
OTHER = {"cluster": "other", "dialect": "openai", "models": {"gpt-4o": {"tokenizer": "o200k"}}, "breaker": {"force": "closed"}}
#: Three limits on different keys that never refuse, validation, and all that is on by default: breaker, headers, record,
#: metrics.
POLICY = {
    "attributes": {"team": {"header": "x-team", "trusted": True, "missing": "none"}},
    "limits": [
        {"name": "caller-tokens", "per": ["caller", "model"], "tokens": "900M/min"},
        {"name": "caller-day", "per": ["caller"], "tokens": "900M/min"},
        {"name": "team-requests", "per": ["team"], "requests": "900M/min"},
    ],
    "validate": [{"when": {"path": "/v1/chat/completions"}, "schema": SCHEMA, "on_invalid": ["reject"]}],
}


class Proxy:
    """One of them, on one core."""

    #: Of the requests of a run.
    share = 1

    def __init__(self, name, ports, modules, directory, core):
        self.name = name
        directory = Path(directory) / name
        directory.mkdir()
        file = "failover.yaml" if name in ("native", "moved") else "standalone.yaml"
        config = configured(name, render(file, ports, directory, merged(POLICY, _failing_over(name))), modules)
        self.envoy = Envoy(config, directory, concurrency=1)
        self.port = self.envoy.port
        # As in production; the laboratory has it louder.
        self.envoy.admin("/logging?wasm=info", "POST")
        _pin(self.envoy.process.pid, core)

    def stop(self):
        self.envoy.stop()

    def cpu_seconds(self):
        """CPU time of all threads so far, user and system, in nanosecond steps (the process's CPU clock)."""
        return time.clock_gettime(~self.envoy.process.pid << 3 | 2)

    def host_calls(self, send):
        """What the module asks of Envoy while `send()` sends one request: host function → times, from Envoy's trace."""
        start = self.envoy.log.stat().st_size
        self.envoy.admin("/logging?wasm=trace", "POST")
        send()
        time.sleep(0.5)
        self.envoy.admin("/logging?wasm=info", "POST")
        trace = self.envoy.log.read_bytes()[start:].decode(errors="replace")
        return dict(collections.Counter(re.findall(r"\[vm->host\] [\w]+\.(\w+)\(", trace)).most_common())

    def rss(self):
        return self.envoy.rss()

    def version(self):
        return version_of(self.envoy)

    def decisions(self):
        """Spillway's own counters: what it did while it was measured."""
        return {name: value for name, value in self.envoy.stats("spillway|gen_ai").items() if value}


def version_of(envoy):
    return envoy.admin("/server_info").split('"version": "')[1].split("/")[1]


def _failing_over(name):
    if name not in CHAINS:
        return {}
    via = "callout" if name == "callout" else "native"
    return {"failover": {"via": via}, "providers": {"other": OTHER}, "models": {"gpt-4o": {"chain": CHAINS[name]}}}


def configured(name, config, modules):
    """A rendered configuration as this variant has it; `modules`: variant → another module than the one under test."""
    for entry in manager(config)["access_log"]:
        entry["typed_config"]["path"] = os.devnull
    filters = manager(config)["http_filters"]
    if name == "plain":
        filters[:] = [entry for entry in filters if entry["name"] != "spillway"]
    if other := filter_of(name):
        filters[:] = [other if entry["name"] == "spillway" else entry for entry in filters]
    if name in modules or name == "holding":
        plugin = wasm_plugin(config)
        plugin["vm_config"] = copy.deepcopy(plugin["vm_config"])
        plugin["vm_config"]["code"]["local"]["filename"] = str(modules.get(name, modules["empty"]))
    if name == "holding":
        text = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "hold"}
        wasm_plugin(config)["configuration"] = text
    if name == "empty":
        del wasm_plugin(config)["configuration"]
    if name in ("lean", "unjudged"):
        del wasm_plugin(config)["configuration"]["value"]["validate"]
    if name == "guarded":
        wasm_plugin(config)["configuration"]["value"]["guards"] = [GUARD]
    if name == "exact":
        policy = wasm_plugin(config)["configuration"]["value"]
        policy["providers"]["openai"]["models"]["gpt-4o"]["count"] = "exact"
    return config


def _pin(pid, core):
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})
