"""What a soak runs on: one Envoy with every part of the policy in use, its providers, and a way past Spillway."""

import copy
import json
import os
import signal
import time
import yaml

from lab import BACKUP, Lab, provider, steady
from lab.client import Client
from lab.config import manager, wasm_plugin
from traffic import CALLER, ORDER, POOR

DAY = 86_400
#: A day's refill, and how much a caller may use at once: enough for hours, so that a budget is never full again and what it
#: has left is what was charged, to the token.
CAPACITY = (1_000_000, 200_000_000)
CLAUDE = "anthropic/claude-sonnet-4-5"
#: When a policy's predecessor is gone, and what is still under way there is cut: longer than the longest request takes.
DRAIN_S = "30"
PATIENCE = {"timeouts": {"first_token": {"base": "3s", "per_1k_prompt": "0s"},
                         "whole": {"base": "3s", "per_1k_prompt": "0s", "per_1k_output": "0s"}}}
ALONE, PAIR = ["openai/gpt-4o"], ["flaky/gpt-4o", "backup/gpt-4o"]


POLICY = {
    "callers": [{"header": "x-tenant", "trusted": True}], "anonymous": "reject",
    "limits": [{"name": "budget", "per": ["caller"], "tokens": f"{CAPACITY[0]}/day", "burst": str(CAPACITY[1])}],
    **steady("openai", "anthropic", "backup"),
    "models": {
        "*": None, "gpt-4o": None, "gpt-4o-mini": None, "text-embedding-3-small": None, "claude-sonnet-4-5": None,
        **{name: {"chain": ALONE} for name in ("whole", "streamed", "long", "guarded", "checked", "invalid", "refused",
                                               "broken", "aborted", "audit")},
        "message": {"chain": [CLAUDE]}, "translated": {"chain": [CLAUDE]},
        "moved": {"chain": PAIR, "failover": PATIENCE},
        "called": {"chain": PAIR, "failover": {"via": "callout", **PATIENCE}},
        "foreign": {"chain": ["flaky/gpt-4o", CLAUDE], "failover": PATIENCE},
        "exhausted": {"chain": ["dead/gpt-4o"], "failover": {"attempts": 2, **PATIENCE}},
        "tripping": {"chain": ["tripping/gpt-4o", "backup/gpt-4o"], "failover": PATIENCE},
    },
    "validate": [{"name": name, "when": {"model": [name]}, "schema": ORDER, "on_invalid": ["reject"]} for name in ("checked", "invalid")],
    "guards": [{"name": "guarded", "when": {"model": ["guarded"]}, "kinds": ["email"], "action": "restore"}],
}
PROVIDERS = {**provider("flaky", breaker={"min_requests": 1_000_000, "consecutive": 1_000_000}), **provider("dead"),
             **provider("tripping", breaker={"consecutive": 3, "open": "1s", "max_open": "2s", "half_open_permits": 1})}
GAUGES = ("spillway.ledger.pending", "spillway.failover.active", "spillway.failover.repeating")
COUNTED = (*GAUGES, "spillway.vm.memory", "spillway.store.conflicts")


class Stand:
    """The lab of a soak, its listeners by discovery, so that the policy can change while it runs."""

    def __init__(self, directory):
        self.directory, self.updates, self._offset, self._stopped = directory, 0, 0, None
        self.file = directory / "listeners.yaml"
        self.lab = Lab(directory, BACKUP, {"providers": PROVIDERS}, POLICY, file="failover.yaml", change=self._discover,
                       providers=("openai", "anthropic", "backup", *PROVIDERS), options=("--drain-time-s", DRAIN_S))

    def __enter__(self):
        self.lab.__enter__()
        self.envoy, self.mocks = self.lab.envoy, self.lab.mocks
        self.mocks["dead"].stop()
        ports = self._ports()
        self.envoy.port, self.plain = ports["llm"], ports["plain"]
        self.client = Client(self.envoy.port, {"x-tenant": CALLER}, 30)
        Client(self.envoy.port, {"x-tenant": POOR}).chat(model="refused", headers={"x-mock-usage": f"10,{CAPACITY[1] * 2}"})
        self.began, (_, first) = time.monotonic(), self._audited()
        self.caller = first["caller"]
        return self

    def __exit__(self, *_):
        self._wake()
        self.lab.__exit__()

    # ── What goes on ───────────────────────────────────────────────────────────────────────────────────────────────

    def fail(self, fault):
        """From now on the failing providers fail so; with `{}` they are well."""
        self._wake()
        flaky, tripping = self.mocks["flaky"], self.mocks["tripping"]
        if fault == "stop":
            os.kill(flaky.process.pid, signal.SIGSTOP)
            self._stopped = flaky.process.pid
            return
        flaky.faults(**fault)
        tripping.faults(**({"status": 500} if fault.get("status") else {}))

    def _wake(self):
        if self._stopped:
            os.kill(self._stopped, signal.SIGCONT)
            self._stopped = None

    def update(self):
        """Another policy, by discovery: it has a model more, or one less."""
        self.updates += 1
        listeners = copy.deepcopy(self.listeners)
        policy = wasm_plugin({"static_resources": {"listeners": listeners[:1]}})["configuration"]["value"]
        if self.updates % 2:
            policy["models"]["more"] = {"chain": ALONE}
        self._send(listeners)

    # ── What is seen ───────────────────────────────────────────────────────────────────────────────────────────────

    def stats(self):
        """Spillway's gauges and counters by name, and how many VMs there are (`active`)."""
        found = self.envoy.stats("(spillway|wasm.envoy.wasm.runtime.v8.active)")
        of = lambda name: next((value for full, value in found.items() if full.endswith(name)), 0)
        return {**{name: of(name) for name in COUNTED}, "active": of("v8.active")}

    def leases(self, patience=12):
        """Gauges that aren't at zero though nothing is under way: a tick sets them, and a slot lapses in 5 s."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            stats = self.stats()
            if not (left := {name: stats[name] for name in GAUGES if stats[name]}):
                return {}
            time.sleep(0.5)
        return left

    def busy(self):
        stats = self.envoy.stats("rq_active")
        return {name: value for name, value in stats.items() if value and ".admin." not in name}

    def closes(self, patience=15):
        """Whether the provider that was away gets its requests again."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            got = self.client.chat(model="tripping")
            if got.headers.get("x-spillway-provider") == "tripping":
                return True
            time.sleep(0.2)
        return False

    def exchanges(self):
        """The lines of the access log since the last look, with Spillway's records; others have none."""
        with open(self.envoy.access_log, "rb") as log:
            log.seek(self._offset)
            data = log.read()
        data = data[:data.rfind(b"\n") + 1]
        self._offset += len(data)
        lines = map(json.loads, data.splitlines())
        return [(line, json.loads(line["spillway"])) for line in lines if line.get("spillway") not in (None, "-")]

    def used(self):
        """Tokens of the audited budget that are used, and what has been refilled since it was first used."""
        left, _ = self._audited()
        refilled = (time.monotonic() - self.began) * CAPACITY[0] / DAY
        return CAPACITY[1] - left, refilled

    def _audited(self):
        """What is left before one request more, which uses nothing, and that request's record."""
        got = self.client.chat(model="audit", max_tokens=1, headers={"x-mock-usage": "0,0"})
        assert got.status == 200, got
        until = time.monotonic() + 5
        while time.monotonic() < until:
            for _, record in (found := self.exchanges()):
                if record["model"] == "audit":
                    return int(got.headers["x-ratelimit-remaining-tokens"]) + record["reserved"], record
            time.sleep(0.02)
        raise RuntimeError(f"no record of the audit's request: {found}")

    def problems(self):
        """What may never be in Envoy's log or statistics."""
        log = self.envoy.log.read_text(errors="replace")
        words = [word for word in ("panicked", "wasm trap", "Uncaught", "[critical]") if word in log]
        reloads = [name for name, value in self.envoy.stats("vm_reload").items() if value]
        rejected = self.envoy.stats("lds.update_rejected").get("listener_manager.lds.update_rejected", 0)
        return [*(f"Envoy's log says: {word}" for word in words), *(f"a VM was loaded again: {name}" for name in reloads),
                *([f"{rejected} policies were refused"] if rejected else [])]

    # ── Set-up ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _discover(self, config):
        """Both listeners by file-based discovery: the one under test, and one past Spillway to the same provider."""
        (listener,) = config["static_resources"].pop("listeners")
        typed = {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener"}
        plain = copy.deepcopy(listener)
        plain["name"] = "plain"
        hcm = manager({"static_resources": {"listeners": [plain]}})
        hcm.update(stat_prefix="plain", access_log=[])
        hcm["http_filters"] = [one for one in hcm["http_filters"] if one["name"] != "spillway"]
        hcm["route_config"] = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "openai", "timeout": "60s"}}]}]}
        self.listeners = [{**typed, **listener}, {**typed, **plain}]
        config["node"] = {"id": "lab", "cluster": "lab"}
        config["dynamic_resources"] = {"lds_config": {"path_config_source": {"path": str(self.file)}}}
        self._send(self.listeners)

    def _send(self, listeners):
        """Envoy sees a file that is moved to its place."""
        new = self.file.with_suffix(".new")
        new.write_text(yaml.safe_dump({"resources": listeners}, sort_keys=False))
        os.replace(new, self.file)

    def _ports(self):
        def found():
            statuses = json.loads(self.envoy.admin("/listeners?format=json")).get("listener_statuses", [])
            ports = {one["name"]: one["local_address"]["socket_address"]["port_value"] for one in statuses}
            return ports if {"llm", "plain"} <= set(ports) else None
        return self.envoy._eventually(found)
