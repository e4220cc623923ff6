"""What else is put between applications and providers: Envoy's Lua filter, Envoy's own local rate limit, LiteLLM's proxy.

Each configuration stands in `tests/bench/others`. They do less than Spillway: the script counts tokens in each worker by
itself, the rate limit counts requests, LiteLLM knows one key and no budgets. LiteLLM is one worker on the
same one core, and its CPU time is that of its whole process tree.
"""

import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import yaml

from lab.config import caller_key
from lab.process import ROOT, Process

OTHERS_VARIANTS = ("plain", "empty", "lua", "local_ratelimit", "spillway", "litellm")
FOLDER = Path(__file__).resolve().parent / "others"
VENV = ROOT / "target/venv-litellm"
#: Importing it takes that long on a busy machine.
PATIENCE_S = 240


def filter_of(name):
    """The Envoy filter that stands in Spillway's place; none for other variants."""
    if name == "lua":
        return {"name": "envoy.filters.http.lua", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": (FOLDER / "count.lua").read_text()}}}
    return yaml.safe_load((FOLDER / "local_ratelimit.yaml").read_text()) if name == "local_ratelimit" else None


class LiteLLM:
    """LiteLLM's proxy, as the bench's other proxies are."""

    name = "litellm"
    share = 0.1

    def __init__(self, ports, directory, core):
        directory = Path(directory) / self.name
        directory.mkdir()
        config = directory / "config.yaml"
        text = (FOLDER / "litellm.yaml").read_text().replace("KEY", caller_key("alice"))
        config.write_text(text.replace("UPSTREAM", f"127.0.0.1:{ports['openai']}"))
        self.port = free_port()
        self.log = directory / "log"
        command = [VENV / "bin/litellm", "--config", config, "--host", "127.0.0.1", "--port", self.port, "--num_workers", 1]
        # Its prices from the package instead of the network; as quiet as its documentation advises for production.
        environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR",
                       "LITELLM_MODE": "PRODUCTION", "NO_PROXY": "127.0.0.1", "HOME": str(directory)}
        with open(self.log, "wb") as log:
            self.process = Process([str(part) for part in command], log, env=environment)
        os.sched_setaffinity(self.process.pid, {core})
        self._wait()
        for pid in self._tree():
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {core})

    def stop(self):
        self.process.stop(20)

    def cpu_seconds(self):
        """CPU time of its process tree so far, user and system, that of ended children included."""
        ticks = 0
        for pid in self._tree():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def rss(self):
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self._tree()) * os.sysconf("SC_PAGE_SIZE")

    @staticmethod
    def host_calls(_):
        return {}

    @staticmethod
    def decisions():
        return {}

    @staticmethod
    def version():
        found = subprocess.run([VENV / "bin/python", "-c", "import importlib.metadata as m; print(m.version('litellm'))"],
                               capture_output=True, text=True, check=True)
        return found.stdout.strip()

    def _wait(self):
        until = time.monotonic() + PATIENCE_S
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while time.monotonic() < until and self.process.running():
            try:
                opener.open(f"http://127.0.0.1:{self.port}/health/liveliness", timeout=5).read()
                return
            except OSError:
                time.sleep(0.3)
        self.stop()
        raise SystemExit("LiteLLM didn't start:\n" + "\n".join(self.log.read_text().splitlines()[-20:]))

    def _tree(self):
        """Its processes: itself, and what it started."""
        found, new = [], [self.process.pid]
        while new:
            pid = new.pop()
            found.append(pid)
            for thread in Path(f"/proc/{pid}/task").iterdir():
                new += map(int, (thread / "children").read_text().split())
        return found


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
