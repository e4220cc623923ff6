"""The mock provider (examples/mock-provider) as a process, and its control API."""

import json
import socket
import subprocess

from .client import Client
from .process import Process, tool


def binary():
    """The mock provider's binary: SPILLWAY_MOCK, or what `./build.sh demo` builds."""
    return tool("mock-provider", "SPILLWAY_MOCK")


class Mock:
    """A provider on loopback that answers both dialects and fails on demand."""

    def __init__(self):
        self.process = Process([binary()], stdout=subprocess.PIPE)
        self.port = int(self.process.child.stdout.readline().rsplit(b":", 1)[1])
        self.client, self._place = Client(self.port), socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()
        self.process.child.stdout.close()
        self._place.close()

    def stop(self):
        """From now on its port refuses connections; nobody else gets it."""
        if self.process.running():
            self.process.stop()
            self._place.bind(("127.0.0.1", self.port))

    def faults(self, **faults):
        """Sets what goes wrong from now on, `_` for `-` in names; without arguments, nothing does."""
        named = {name.replace("_", "-"): value for name, value in faults.items()}
        self._command("faults", json.dumps(named))

    def release(self, group):
        self._command(f"release/{group}")

    def reset(self):
        self._command("reset")

    def _command(self, name, body=None):
        answer = self.client.request("POST", f"/mock/{name}", body)
        assert answer.status == 200, answer.text

    def stats(self):
        return self.client.request("GET", "/mock/stats").json()

    def arrived(self):
        """How many API requests have come in."""
        return sum(self.stats()["arrived"].values())

    def held(self, group):
        return self.stats()["held"].get(group, 0)

    def last_headers(self):
        """The last request's headers, lower-case names; values in a list each."""
        headers = {}
        for name, value in self.stats()["last"]["headers"]:
            headers.setdefault(name, []).append(value)
        return headers

    def seen(self):
        """Every value that each header came with since the reset (256 of each at most)."""
        return self.stats()["seen"]

    def last_body(self):
        return json.loads(self.stats()["last"]["body"])
