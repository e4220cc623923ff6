"""Envoy and the providers behind it, as one thing to start and end."""

import json
import threading
import time
from contextlib import ExitStack, contextmanager

from .config import CALLERS, SECRETS, caller_key, merged, render
from .mock import Mock
from .proxy import TICK_S, Envoy
from .waiting import PATIENCE_S, until

#: A second provider of gpt-4o that speaks the same dialect, and a chain that ends with it.
BACKUP = {
    "providers": {"backup": {
        "cluster": "backup", "dialect": "openai", "authority": "api.backup.example",
        "credential": {"env": "BACKUP_API_KEY"},
        "models": {"gpt-4o": {"tokenizer": "o200k", "context": 128000}},
    }},
    "models": {"gpt-4o": {"chain": ["openai/gpt-4o", "backup/gpt-4o"]}},
}

#: Gemini and Azure OpenAI, each with a model of gpt-4o's rank.
FURTHER = {"providers": {
    "gemini": {"cluster": "gemini", "dialect": "gemini", "authority": "generativelanguage.googleapis.com",
               "credential": {"env": "GEMINI_API_KEY"}, "models": {"gemini-2.5-flash": {"context": 1000000}}},
    "azure": {"cluster": "azure", "dialect": "azure", "authority": "lab.openai.azure.com", "api_version": "2024-10-21",
              "credential": {"env": "AZURE_API_KEY"}, "models": {"our-gpt-4o": {"tokenizer": "o200k", "context": 128000}}},
}}


def provider(name, models=("gpt-4o",), **more):
    """One more provider that speaks OpenAI's protocol, with the backup's key."""
    return {name: {"cluster": name, "dialect": "openai", "credential": {"env": "BACKUP_API_KEY"},
                   "models": {model: {} for model in models}, **more}}


def steady(*providers):
    """Breakers that no test's faults open, so that every test of a lab begins alike; a 429 is still heeded."""
    return {"providers": {name: {"breaker": {"min_requests": 1_000_000, "consecutive": 1_000_000}} for name in providers}}


def calm(*providers):
    """Breakers that are closed whatever happens, after a 429 too."""
    return {"providers": {name: {"breaker": {"force": "closed"}} for name in providers}}


#: Callers by a header that something before Envoy would have verified: as many as a test likes.
TENANTS = {"callers": [{"header": "x-tenant", "trusted": True}], "anonymous": "shared"}


PROVIDERS = ("openai", "anthropic", "backup")


def charged(records):
    """The tokens of all attempts of these records (Spillway's part of them)."""
    def of(record):
        answer = {"tokens": record["actual"]["input"] + record["actual"]["output"]}
        return sum(attempt["tokens"] for attempt in record.get("attempts", [answer]))

    return sum(map(of, records))


@contextmanager
def dying(mock, faults, period):
    """Meanwhile a provider dies of each fault in turn, and comes back between them."""
    stop = threading.Event()

    def die():
        while not stop.is_set():
            for fault in faults:
                mock.faults(**fault)
                stop.wait(period)
                mock.faults()
                stop.wait(period)

    killer = threading.Thread(target=die)
    killer.start()
    try:
        yield
    finally:
        stop.set()
        killer.join()
        mock.faults()


class Lab:
    """Mock providers behind one Envoy: `mocks` by the name of their cluster, those of PROVIDERS as attributes too.

    `change` may turn Envoy's configuration into what a test needs beside the policy; `options` are further ones of Envoy's
    command.
    """

    def __init__(self, directory, *patches, file="standalone.yaml", providers=PROVIDERS, concurrency=2, change=None, options=()):
        self.policy = {}
        for patch in patches:
            self.policy = merged(self.policy, patch)
        self.directory, self.file, self.concurrency = directory, file, concurrency
        self.providers, self.mocks, self.change, self.options = providers, {}, change, options
        self._stack = ExitStack()

    def __enter__(self):
        with self._stack as stack:
            self.mocks = {name: stack.enter_context(Mock()) for name in self.providers}
            ports = {name: mock.port for name, mock in self.mocks.items()}
            config = render(self.file, ports, self.directory, self.policy)
            if self.change:
                self.change(config)
            self.envoy = stack.enter_context(Envoy(config, self.directory, self.concurrency, self.options))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    @property
    def openai(self):
        return self.mocks["openai"]

    @property
    def anthropic(self):
        return self.mocks["anthropic"]

    @property
    def backup(self):
        return self.mocks["backup"]

    def client(self, caller="alice", **more):
        return self.envoy.client(caller, **more)

    def tenant(self, name):
        """A client of a lab whose policy has TENANTS."""
        return self.envoy.client(None).with_headers(x_tenant=name)

    def reset(self):
        """Nothing goes wrong any more and nothing is counted, of what is still under way neither."""
        running = [mock for mock in self.mocks.values() if mock.process.running()]
        for mock in running:
            mock.reset()
        for mock in running:
            until(lambda mock=mock: not mock.stats()["in_flight"], what="the last answer's end")
            mock.reset()

    def seen_of_others(self, name):
        """The secrets that a provider has seen in a header, all but its own: there must be none."""
        seen = json.dumps(self.mocks[name].seen())
        own = SECRETS[f"{name.upper()}_API_KEY"]
        return [secret for secret in (*SECRETS.values(), *map(caller_key, CALLERS)) if secret != own and secret in seen]

    def idle(self, patience=PATIENCE_S):
        """Whether nothing is under way any more: at the providers, on the way to them, or in Spillway's gauges."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if not self._active():
                time.sleep(TICK_S)  # it sets the gauges
                if not self._active():
                    return True
            time.sleep(0.05)
        return False

    def _active(self):
        own = r"spillway\.(ledger\.pending|failover\.active|failover\.repeating)"
        active = self.envoy.stats(rf"(cluster\..*upstream_rq_active|downstream_rq_active|{own})")
        # The question itself is a request.
        found = {name: value for name, value in active.items() if value and ".admin." not in name}
        return found or any(mock.stats()["in_flight"] for mock in self.mocks.values() if mock.process.running())

    def attempts(self):
        """Provider, status and reason of each attempt of the next record."""
        (line,) = self.envoy.records(1)
        tried = line["spillway"].get("attempts", [])
        return [(one["provider"], one.get("status"), one.get("gave_up")) for one in tried]
