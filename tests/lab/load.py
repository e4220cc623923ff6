"""Many requests in little time: the load generator of the bench, with callers nobody has seen before."""

import json
import subprocess
from pathlib import Path

from .process import Process, tool


class Strangers:
    """A flood of chats to one port, each by a caller of its own (`x-tenant`), as a process beside the test."""

    def __init__(self, port, directory, headers=None, connections=16, **fields):
        body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], **fields})
        lines = {"host": "strangers", "content-type": "application/json", "content-length": len(body),
                 "x-tenant": "X" * 16, **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.port, self.connections = port, connections
        self.file = Path(directory) / "stranger.http"
        self.file.write_bytes(f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n{body}".encode())

    def start(self, count, seed):
        """Sends `count` requests of `count` callers; `finish` waits for them."""
        command = [tool("bench-load", "SPILLWAY_LOAD"), self.port, self.connections, count, self.file, seed]
        return Process([str(part) for part in command], subprocess.PIPE)


def finish(process, patience=1800):
    """What the load generator reports: requests, errors, how many of them were 429, seconds."""
    said, _ = process.child.communicate(timeout=patience)
    return json.loads(said.splitlines()[-1])
