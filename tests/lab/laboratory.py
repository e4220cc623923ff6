"""Envoy and the providers behind it, as one thing to start and end."""

from contextlib import ExitStack

from .config import merged, render
from .mock import Mock
from .proxy import Envoy

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


def steady(*providers):
    """Breakers that no test's faults open, so that every test of a lab begins alike; a 429 is still heeded."""
    return {"providers": {name: {"breaker": {"min_requests": 1_000_000, "consecutive": 1_000_000}} for name in providers}}


def calm(*providers):
    """Breakers that are closed whatever happens, after a 429 too."""
    return {"providers": {name: {"breaker": {"force": "closed"}} for name in providers}}


#: Callers by a header that something before Envoy would have verified: as many as a test likes.
TENANTS = {"callers": [{"header": "x-tenant", "trusted": True}], "anonymous": "shared"}


PROVIDERS = ("openai", "anthropic", "backup")


class Lab:
    """Mock providers behind one Envoy: `mocks` by the name of their cluster, those of PROVIDERS as attributes too.

    `change` may turn Envoy's configuration into what a test needs beside the policy.
    """

    def __init__(self, directory, *patches, file="standalone.yaml", providers=PROVIDERS, concurrency=2, change=None):
        self.policy = {}
        for patch in patches:
            self.policy = merged(self.policy, patch)
        self.directory, self.file, self.concurrency = directory, file, concurrency
        self.providers, self.mocks, self.change = providers, {}, change
        self._stack = ExitStack()

    def __enter__(self):
        with self._stack as stack:
            self.mocks = {name: stack.enter_context(Mock()) for name in self.providers}
            ports = {name: mock.port for name, mock in self.mocks.items()}
            config = render(self.file, ports, self.directory, self.policy)
            if self.change:
                self.change(config)
            self.envoy = stack.enter_context(Envoy(config, self.directory, self.concurrency))
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
        for mock in self.mocks.values():
            if mock.process.running():
                mock.reset()

    def attempts(self):
        """Provider, status and reason of each attempt of the next record."""
        (line,) = self.envoy.records(1)
        tried = line["spillway"].get("attempts", [])
        return [(one["provider"], one.get("status"), one.get("gave_up")) for one in tried]
