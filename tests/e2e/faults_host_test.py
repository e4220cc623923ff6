"""Faults of the host, of the policy's delivery and of clients: what is lost is bounded and heals, all else is kept.

A VM is trapped on purpose: the module under test with one function replaced (lab/trap.py). What came of each goes to
target/logs/faults.md.
"""

import http.client
import json
import time

import pytest

from lab import BACKUP, TENANTS, Answer, Lab, calm, provider
from lab.config import manager, module
from lab.faults import Table, described
from lab.http2 import Stream
from lab.trap import with_trap

from conftest import FAILOVER

CAPACITY = 300_000
BUDGET = {"name": "budget", "per": ["caller"], "tokens": "1000/day", "burst": str(CAPACITY), "reserve": "max"}
PAIR = ["openai/gpt-4o", "backup/gpt-4o"]
TABLE = Table("2-host")


@pytest.fixture(scope="module", autouse=True)
def table():
    yield
    TABLE.write()


def until(truth, patience=5):
    end = time.monotonic() + patience
    while not (found := truth()) and time.monotonic() < end:
        time.sleep(0.02)
    assert found
    return found


def gauges(lab):
    return lab.envoy.stats("spillway.(failover.active|failover.repeating|ledger.pending)")


def at_rest(lab, patience=8):
    until(lambda: not any(gauges(lab).values()), patience)
    return lab.idle()


def used(lab, tenant, model="gpt-4o"):
    """What the tenant's budget says that it used. (A thousand a day is nothing in a minute.)"""
    got = lab.tenant(tenant).chat(model=model, max_tokens=1)
    assert got.status == 200, got
    (line,) = lab.envoy.records(1)
    return CAPACITY - int(got.headers["x-ratelimit-remaining-tokens"]) - line["spillway"]["reserved"]


def body(model="gpt-4o", **fields):
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "How deep is it?"}], **fields})


def ask(lab, tenant, **fields):
    """A request whose answer nobody has read yet."""
    return lab.tenant(tenant).open("POST", "/v1/chat/completions", body(**fields), {"content-type": "application/json"})


# ── A VM that traps ────────────────────────────────────────────────────────────────────────────────────────────────

#: A thousand a second: what is never settled is back in the time that the rate takes.
RATE = 60_000
TRAPPED = {
    "providers": provider("probed", breaker={"consecutive": 2, "open": "300ms", "half_open_permits": 1, "slow_call": "2s",
                                             "slow_first_token": "1s", "slow_gap": "1s"}),
    "models": {"*": None, "gpt-4o": {"chain": PAIR}, "called": {"chain": PAIR, "failover": {"via": "callout"}},
               "probed": {"chain": ["probed/gpt-4o", "backup/gpt-4o"]}},
    "limits": [{"name": "rate", "per": ["caller"], "tokens": f"{RATE}/min", "reserve": "max"},
               {"name": "asked", "per": ["caller"], "requests": "1000/day"}],
}
#: How long a lease lasts whose holder is gone: the breaker's `slow_call`, and the time that it is open.
LEASE_S = 2.3
#: How long a worker's share of the retry budget does.
LAPSE_S = 5
IDLE_S = 4


class Trapped:
    """A lab with one worker, so that all is lost at once; its module traps at a request's trailers."""

    def __init__(self, directory):
        self.path = directory / "trap.wasm"
        with open(module(), "rb") as file:
            self.path.write_bytes(with_trap(file.read(), "proxy_on_request_trailers"))
        self.lab = Lab(directory, BACKUP, TENANTS, calm("openai", "backup"), TRAPPED, file=FAILOVER, concurrency=1,
                       change=self.change, providers=("openai", "anthropic", "backup", "probed"))

    def change(self, config):
        manager(config)["stream_idle_timeout"] = f"{IDLE_S}s"
        for route in manager(config)["route_config"]["virtual_hosts"][0]["routes"]:
            if "route" in route:
                route["route"]["idle_timeout"] = f"{IDLE_S}s"
        self.use_trap(config)

    def use_trap(self, node):
        for one in node if isinstance(node, list) else node.values() if isinstance(node, dict) else ():
            self.use_trap(one)
        if isinstance(node, dict) and "vm_config" in node:
            node["vm_config"]["code"]["local"]["filename"] = str(self.path)

    def trap(self):
        with Stream(self.lab.envoy.port) as stream:
            stream.head("/v1/chat/completions", {"x-tenant": "trapper"}).data(body().encode()).trailer(x_end="1")
            return stream.answer()

    def vms(self):
        return self.lab.envoy.stats("v8.active")["wasm.envoy.wasm.runtime.v8.active"]

    def recovers(self, patience=4):
        """Seconds until somebody is answered again."""
        began = time.monotonic()
        until(lambda: self.lab.tenant("after").chat().status == 200, patience)
        return time.monotonic() - began


@pytest.fixture(scope="module")
def trapped(tmp_path_factory):
    trapped = Trapped(tmp_path_factory.mktemp("trapped"))
    with trapped.lab:
        yield trapped


def under_way(lab):
    """One exchange of each kind, held by its provider, by what it is: a probe, a whole answer, a stream, a call."""
    probed, found = lab.mocks["probed"], {}
    probed.faults(status=500)
    assert [lab.tenant("tripper").chat(model="probed").status for _ in range(2)] == [200, 200]
    time.sleep(0.5)

    def hold(name, mock, *others, model="gpt-4o", **more):
        for other in others:
            other.faults(status=500)
        mock.faults(hold=name, **more)
        found[name] = ask(lab, name, model=model, stream=name == "stream", max_tokens=3000)
        until(lambda: mock.held(name) == 1)
        for other in others:
            other.faults()
        mock.faults()

    hold("probe", probed, model="probed")
    hold("whole", lab.openai)
    hold("stream", lab.openai, hold_after=3)
    hold("call", lab.backup, lab.openai, model="called")
    return found


def test_a_trap_costs_what_its_worker_had_under_way_and_nothing_else(trapped):
    lab = trapped.lab
    for _ in range(3):
        assert lab.tenant("spender").chat(headers={"x-mock-usage": "100,400"}).status == 200
    held, vms = under_way(lab), trapped.vms()
    until(lambda: gauges(lab).get("wasmcustom.spillway.failover.active") == 4)
    began = time.monotonic()
    assert trapped.trap().status == 503
    after = trapped.recovers()
    TABLE.add("VM trapped", "the request that did it", "503, no body", "—", "0", f"{after:.1f} until others are served", "none")
    remaining = rests(lab, "whole")
    for mock, name in ((lab.mocks["probed"], "probe"), (lab.openai, "whole"), (lab.openai, "stream"), (lab.backup, "call")):
        mock.release(name)
    seen = {name: read(connection) for name, connection in held.items() if name != "call"}
    assert (seen["probe"].status, seen["whole"].status) == (503, 503) and seen["stream"].broken
    assert time.monotonic() - began < 3
    for name, got in seen.items():
        TABLE.add("VM trapped", f"{name}, under way", described(got), "—", "what was set aside, until it refills",
                  "as soon as its provider says more", "none")
    assert RATE - 3_100 < remaining < RATE - 1_000, "what the trapped exchange set aside is set aside still"
    until(lambda: rests(lab, "whole") > RATE - 100, 5)
    asked = 1000 - int(lab.tenant("spender").chat().headers["x-ratelimit-remaining-requests"])
    assert asked == 4, "what was spent before is spent still"
    heals(lab, began)
    got = read(held["call"])
    assert got.status in (0, 408, 504) and time.monotonic() - began < IDLE_S + 3
    TABLE.add("VM trapped", "callout, under way", described(got), "—", "what was set aside, until it refills",
              f"at `idle_timeout`, here {IDLE_S} s", "none")
    until(lambda: not any(gauges(lab).values()), LAPSE_S + 3)
    TABLE.add("VM trapped", "leases", "", "", "", f"{time.monotonic() - began:.1f} at most until all are back", "")
    assert lab.idle() and trapped.vms() == vms, "the VM that trapped is gone"


def rests(lab, tenant):
    """What the tenant has left, before a request that uses nothing."""
    got = lab.tenant(tenant).chat(max_tokens=1, headers={"x-mock-usage": "0,0"})
    assert got.status == 200, got
    return int(got.headers["x-ratelimit-remaining-tokens"])


def heals(lab, began):
    """The provider whose only probe was lost is probed again when the lease is over, and not before."""
    lab.mocks["probed"].faults()
    until(lambda: lab.tenant("tripper").chat(model="probed").headers["x-spillway-provider"] == "probed", LEASE_S + 2)
    TABLE.add("VM trapped", "probe, lost", "", "", "", f"{time.monotonic() - began:.1f} until the next probe", "")


def test_traps_in_a_row_leave_nothing_behind(trapped):
    vms, memory = trapped.vms(), []
    for _ in range(3):
        assert trapped.trap().status == 503
        assert trapped.recovers() < 4
        memory.append(trapped.lab.envoy.rss())
        time.sleep(1.1)  # sooner, Envoy waits before it loads the module again
    assert trapped.vms() == vms and trapped.lab.envoy.process.running()
    assert memory[-1] < memory[0] + 25 * 2**20, memory
    TABLE.add("VM trapped", "three times", "", "", "", "", f"{vms} VMs before and after, RSS {(memory[-1] - memory[0]) / 2**20:+.0f} MB from the first to the third")


def read(connection, patience=10):
    """The answer on a connection, however it ends."""
    began, status, headers, body, broken = time.monotonic(), 0, {}, b"", False
    connection.sock.settimeout(patience)
    try:
        response = connection.getresponse()
        status, headers = response.status, {name.lower(): value for name, value in response.getheaders()}
        body = response.read()
    except http.client.IncompleteRead as error:
        body, broken = error.partial, True
    except (OSError, http.client.HTTPException):
        broken = True
    finally:
        connection.close()
    return Answer(status, headers, body, broken, time.monotonic() - began)
