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

#: Callers by a header that something before Envoy would have verified: as many as a test likes.
TENANTS = {"callers": [{"header": "x-tenant", "trusted": True}], "anonymous": "shared"}


class Lab:
    """Mock providers `openai`, `anthropic` and `backup` behind one Envoy."""

    def __init__(self, directory, *patches, file="standalone.yaml", concurrency=2):
        self.policy = {}
        for patch in patches:
            self.policy = merged(self.policy, patch)
        self.directory, self.file, self.concurrency = directory, file, concurrency
        self._stack = ExitStack()

    def __enter__(self):
        with self._stack as stack:
            self.openai, self.anthropic, self.backup = (stack.enter_context(Mock()) for _ in range(3))
            ports = {name: getattr(self, name).port for name in ("openai", "anthropic", "backup")}
            config = render(self.file, ports, self.directory, self.policy)
            self.envoy = stack.enter_context(Envoy(config, self.directory, self.concurrency))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def client(self, caller="alice", **more):
        return self.envoy.client(caller, **more)

    def tenant(self, name):
        """A client of a lab whose policy has TENANTS."""
        return self.envoy.client(None).with_headers(x_tenant=name)

    def reset(self):
        for mock in (self.openai, self.anthropic, self.backup):
            mock.reset()
