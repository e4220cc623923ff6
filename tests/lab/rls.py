"""A rate-limit service as envoyproxy/ratelimit is one: its configuration, its fixed windows, its counters in a real Redis.

Only what Spillway's own configurations use of it: a descriptor's own `hits_addend`, nested keys without values, one
`rate_limit` each. A check (0 hits) reads; a bill is added whatever comes of it.
"""

import os
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

# Tests start processes while the service runs; gRPC's own care for forks would break them.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import grpc  # noqa: E402 (the variable comes first)
import redis  # noqa: E402
import yaml  # noqa: E402
from envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc  # noqa: E402

from .process import ROOT, Process, tool  # noqa: E402
from .waiting import PROGRAM_S, until  # noqa: E402

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
OK, OVER = rls_pb2.RateLimitResponse.OK, rls_pb2.RateLimitResponse.OVER_LIMIT


def rendered(policy_file, service):
    """What `spillway render --rls` writes of a policy."""
    command = [tool("spillway", "SPILLWAY_TOOL", "debug"), "render", str(policy_file), "--rls", service]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=PROGRAM_S).stdout


class Redis:
    """A Redis of its own, on a socket in `directory`; nothing of it is kept."""

    def __init__(self, directory):
        self.socket = Path(directory) / "redis.sock"
        command = [str(Path(sys.executable).parent / "redis-server"), "--port", "0", "--unixsocket", str(self.socket),
                   "--save", "", "--appendonly", "no"]
        self.process = Process(command, subprocess.DEVNULL)
        self.client = redis.Redis(unix_socket_path=str(self.socket))
        until(self._answers, what="Redis")

    def _answers(self):
        assert self.process.running(), "Redis didn't start"
        try:
            return self.client.ping()
        except redis.ConnectionError:
            return False

    def stop(self):
        self.client.close()
        self.process.stop()


class RateLimits(rls_pb2_grpc.RateLimitServiceServicer):
    """The service's one method, over one document of envoyproxy/ratelimit.

    Nobody is answered while the gate `open` is shut. A caller takes an error for a service that is out of order, so
    `wrong` keeps what should never have come.
    """

    def __init__(self, text, store):
        self.config, self.store, self.fails = yaml.safe_load(text), store, False
        self.asked, self.billed, self.wrong = 0, [], []
        self.open = threading.Event()
        self.open.set()
        self.now = time.time()  # for ever: no window ends while a test counts

    def ShouldRateLimit(self, request, context):
        self.open.wait()
        if self.fails:
            context.abort(grpc.StatusCode.INTERNAL, "out of order")
        try:
            return self._answer(request)
        except Exception as error:
            self.wrong.append(f"{error!r}: {request}")
            raise

    def _answer(self, request):
        assert request.domain == self.config["domain"], "another domain"
        statuses = [self._status(descriptor) for descriptor in request.descriptors]
        over = any(status.code == OVER for status in statuses)
        return rls_pb2.RateLimitResponse(overall_code=OVER if over else OK, statuses=statuses)

    def _status(self, descriptor):
        assert descriptor.HasField("hits_addend"), "no hits of its own"
        hits, entries = descriptor.hits_addend.value, [(entry.key, entry.value) for entry in descriptor.entries]
        limit = self._limit(entries)
        status = rls_pb2.RateLimitResponse.DescriptorStatus(code=OK)
        if limit is None:
            return status
        period = SECONDS[limit["rate_limit"]["unit"]]
        key = "_".join([request_key for entry in entries for request_key in entry] + [str(int(self.now // period))])
        if hits:
            used = self.store.incrby(key, hits)
            self.store.expire(key, period)
            self.billed.append((entries, hits))
        else:
            used = int(self.store.get(key) or 0)
            self.asked += 1
        quota = limit["rate_limit"]["requests_per_unit"]
        status.current_limit.requests_per_unit = quota
        status.current_limit.unit = {"second": 1, "minute": 2, "hour": 3, "day": 4}[limit["rate_limit"]["unit"]]
        status.limit_remaining = max(0, quota - used)
        status.duration_until_reset.seconds = int(period - self.now % period)
        if used > quota and not limit.get("shadow_mode"):
            status.code = OVER
        return status

    def _limit(self, entries):
        level = self.config
        for key, value in entries:
            level = next((item for item in level.get("descriptors", ())
                          if item["key"] == key and item.get("value") in (None, value)), None)
            if level is None:
                return None
        return level if "rate_limit" in level else None


class Limitador:
    """The same limits in a service on the crate `limitador` (tests/rls), which counts in its own memory."""

    def __init__(self, text, directory):
        file = Path(directory) / "limitador.yaml"
        file.write_text(text)
        self.process = Process([tool("spillway-rls", "SPILLWAY_RLS", "debug"), str(file)], subprocess.PIPE)
        self.port = int(self.process.child.stdout.readline().rsplit(b":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()
        self.process.child.stdout.close()


class Rls:
    """The service on a port of loopback that stays the same when it is stopped and started again.

    It answers one call after the other: a proxy's bill counts before whatever that proxy asks next.
    """

    def __init__(self, text, directory):
        self.redis = Redis(directory)
        self.service, self.port, self.server = RateLimits(text, self.redis.client), 0, None
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.service.open.set()
        self.stop()
        self.redis.stop()
        assert kind or not self.service.wrong, self.service.wrong

    def start(self):
        self.calls = futures.ThreadPoolExecutor(1)
        self.server = grpc.server(self.calls, options=[("grpc.so_reuseport", 0)])
        rls_pb2_grpc.add_RateLimitServiceServicer_to_server(self.service, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        self.server.start()

    def stop(self):
        if self.server:
            self.server.stop(None).wait()
            self.calls.shutdown()
            self.server = None

    def used(self, limit):
        """All that was billed to a limit."""
        return sum(self.bills(limit))

    def bills(self, limit):
        """Each bill to a limit."""
        return [hits for entries, hits in self.service.billed if ("limit", limit) in entries]

    def counted(self):
        """The sum of all counters in Redis."""
        store = self.redis.client
        return sum(int(store.get(key)) for key in store.keys())
