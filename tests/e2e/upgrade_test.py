"""A new module and a new policy while traffic runs: nothing fails, nothing spent is forgotten, nothing wrong is taken."""

import copy
import json
import os
import threading
import time
from pathlib import Path

import pytest
import yaml

from lab import TENANTS, Lab, istio, until
from lab.config import manager, module, wasm_plugin
from lab.waiting import PROGRAM_S

from conftest import FULL

ENFORCED = {"mode": "enforce"}
LIMIT = {"limits": [{"name": "day", "per": ["caller"], "requests": "300/day", "burst": "100k"},
                    {"name": "tokens", "per": ["caller"], "tokens": "1G/day"}]}


def renamed(directory):
    """The module with a section more: other bytes, so another module for Envoy."""
    name = b"spillway.test"
    payload = bytes([len(name)]) + name + b"another build"
    path = Path(directory) / "another.wasm"
    path.write_bytes(Path(module()).read_bytes() + b"\0" + bytes([len(payload)]) + payload)
    return str(path)


def put(path, text):
    """Envoy sees a file that is moved to its place."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


class ByListener:
    """A listener by file-based discovery, as any control plane sends one."""

    def __init__(self, directory):
        self.path = directory / "listeners.yaml"
        self.lab = Lab(directory, TENANTS, LIMIT, file=FULL, change=self.take_out)

    def take_out(self, config):
        (listener,) = config["static_resources"].pop("listeners")
        self.listener = {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", **listener}
        config["node"] = {"id": "lab", "cluster": "lab"}
        config["dynamic_resources"] = {"lds_config": {"path_config_source": {"path": str(self.path)}}}
        self.send(self.listener)

    def send(self, listener):
        put(self.path, yaml.safe_dump({"resources": [listener]}))

    def update(self, change):
        """Sends the listener with its plugin changed, and keeps it so."""
        listener = copy.deepcopy(self.listener)
        plugin = wasm_plugin({"static_resources": {"listeners": [listener]}})
        policy = plugin["configuration"]["value"]
        change(plugin, policy)
        self.send(listener)

    def counters(self):
        stats = self.lab.envoy.stats("listener_manager")
        return stats["listener_manager.lds.update_success"], stats["listener_manager.lds.update_rejected"]


class ByExtension:
    """A plugin of Istio's, by file-based extension-config discovery: no `vm_id`, the policy as JSON text."""

    def __init__(self, directory):
        self.lab = Lab(directory, ENFORCED, TENANTS, LIMIT, {"models": {"*": None}}, file="istio/wasm-plugin.yaml",
                       change=self.remember)

    def remember(self, config):
        (self.name, self.path), = [
            (one["name"], Path(one["config_discovery"]["config_source"]["path_config_source"]["path"]))
            for one in manager(config)["http_filters"] if "config_discovery" in one]
        self.plugin = json.loads(self.path.read_text())["resources"][0]["typed_config"]["config"]

    def update(self, change):
        plugin = copy.deepcopy(self.plugin)
        policy = json.loads(plugin["configuration"]["value"])
        change(plugin, policy)
        plugin["configuration"]["value"] = json.dumps(policy)
        put(self.path, istio.discovery(self.name, plugin, str(time.monotonic())))

    def counters(self):
        stats = self.lab.envoy.stats("extension_config_discovery")
        of = lambda what: sum(n for name, n in stats.items() if name.endswith(what))
        return of("config_reload"), of("config_fail")


class Traffic:
    """Requests of two callers, one after the other, until it is told to stop."""

    def __init__(self, lab):
        self.answers, self._over = [], threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(lab.tenant(name), n % 2)) for n, name in enumerate("abcd")]

    def _run(self, client, streamed):
        while not self._over.is_set():
            try:
                got = client.chat(stream=bool(streamed), headers={"x-model": "gpt-4o"})
            except OSError as error:
                self.answers.append((repr(error), True, None))
                break
            self.answers.append((got.status, got.broken, streamed and got.events()[-1]))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture(params=[ByListener, ByExtension], ids=["listener", "extension"])
def under(request, tmp_path):
    """A lab that can be updated; in the end no VM has trapped. (Of a policy that is refused, Envoy itself speaks as critical.)"""
    way = request.param(tmp_path)
    with way.lab as lab:
        yield way
        assert not {name: n for name, n in lab.envoy.stats("vm_reload").items() if n}
    log = lab.envoy.log.read_text()
    assert not [word for word in ("panicked", "wasm trap", "Uncaught") if word in log]


def test_an_upgrade_under_load_fails_no_request_and_forgets_nothing(under, tmp_path):
    lab = under.lab
    caller = lab.tenant("keeper").with_headers(x_model="gpt-4o")

    def left():
        return int(caller.chat().headers["x-ratelimit-remaining-requests"])

    def knows_new():
        return caller.chat(model="new", headers={"x-model": "new"}).status == 200

    def better(plugin, policy):
        plugin["vm_config"]["code"]["local"]["filename"] = renamed(tmp_path)
        policy["models"]["new"] = {"chain": ["openai/gpt-4o"]}

    def worse(plugin, policy):
        better(plugin, policy)
        policy["limits"][0]["requests"] = "many"

    assert [left() for _ in range(3)] == [99_999, 99_998, 99_997]
    with Traffic(lab) as traffic:
        until(lambda: len(traffic.answers) > 40, PROGRAM_S)
        assert not knows_new()
        refused = under.counters()[1]
        lab.openai.faults(gap_ms=30)
        slow = threading.Thread(target=lambda: traffic.answers.append(one_stream(lab)))
        slow.start()
        under.update(better)
        until(knows_new, PROGRAM_S, pause=0.1)  # a module is compiled before
        slow.join()
        lab.openai.faults()
        now = left()
        assert now == 99_995, "what was spent before is still spent"
        reached = len(traffic.answers)
        under.update(worse)
        until(lambda: under.counters()[1] > refused, PROGRAM_S)
        until(lambda: len(traffic.answers) > reached + 40, PROGRAM_S)
        until(knows_new)
        assert left() == now - 2, "the policy before the bad one goes on"
    assert {one[:2] for one in traffic.answers} == {(200, False)}
    assert {end for *_, end in traffic.answers if end} == {"[DONE]"}
    assert under.counters()[1] == refused + 1 and lab.envoy.metric("spillway_config_rejected") >= 1
    assert "limits[0].requests" in lab.envoy.log.read_text()


def one_stream(lab):
    got = lab.tenant("slow").chat(stream=True, headers={"x-model": "gpt-4o"})
    return got.status, got.broken, got.events()[-1]
