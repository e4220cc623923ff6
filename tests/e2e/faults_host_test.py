"""Faults of the host, of the policy's delivery and of clients: what is lost is bounded and heals, all else is kept.

A VM is trapped on purpose: the module under test with one function replaced (lab/trap.py). What came of each goes to
target/logs/faults.md.
"""

import http.client
import json
import socket
import time

import pytest

from lab import BACKUP, TENANTS, Answer, Lab, calm, charged, provider, until
from lab.broken import reset_once_read, stalls, stopped
from lab.clock import WallClock, can_be_set
from lab.config import manager, module
from lab.faults import Table, described, reason
from lab.http2 import Stream
from lab.scripted import Scripted, reset
from lab.trap import with_trap

from conftest import FAILOVER, FULL, at_once
from upgrade_test import ByListener, Traffic

CAPACITY = 300_000
BUDGET = {"name": "budget", "per": ["caller"], "tokens": "1000/day", "burst": str(CAPACITY), "reserve": "max"}
PAIR = ["openai/gpt-4o", "backup/gpt-4o"]
TABLE = Table("2-host")


@pytest.fixture(scope="module", autouse=True)
def table():
    yield
    TABLE.write()


def gauges(lab):
    return lab.envoy.stats("spillway.(failover.active|failover.repeating|ledger.pending)")


def used(lab, tenant, model="gpt-4o"):
    """What the tenant's budget says that it used. (A thousand a day is nothing in a minute.)"""
    lab.envoy.skip_records()
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
#: What one exchange sets aside: twelve seconds of it.
LARGE = 12_000
#: More than anybody asks.
ASKED = 100_000
TRAPPED = {
    "providers": provider("probed", breaker={"consecutive": 2, "open": "300ms", "half_open_permits": 1, "slow_call": "8s",
                                             "slow_first_token": "1s", "slow_gap": "1s"}),
    "models": {"*": None, "gpt-4o": {"chain": PAIR}, "called": {"chain": PAIR, "failover": {"via": "callout"}},
               "probed": {"chain": ["probed/gpt-4o", "backup/gpt-4o"]}},
    "limits": [{"name": "rate", "per": ["caller"], "tokens": f"{RATE}/min", "reserve": "max"},
               {"name": "asked", "per": ["caller"], "requests": "300/day", "burst": ASKED}],
}
#: How long a lease lasts whose holder is gone: the breaker's `slow_call`.
LEASE_S = 8
#: From when an exchange is asked: what its provider says afterwards says it well before.
IDLE_S = 20


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

    def recovers(self):
        """Seconds until somebody is answered again."""
        began = time.monotonic()
        until(lambda: self.lab.tenant("after").chat().status == 200)
        return time.monotonic() - began


@pytest.fixture(scope="module")
def trapped(tmp_path_factory):
    trapped = Trapped(tmp_path_factory.mktemp("trapped"))
    with trapped.lab:
        yield trapped


def under_way(lab):
    """One exchange of each kind, held by its provider, by what it is: a probe, a whole answer, a stream, a call. And when each
    was asked."""
    probed, found, began = lab.mocks["probed"], {}, {}
    probed.faults(status=500)
    assert [lab.tenant("tripper").chat(model="probed").status for _ in range(2)] == [200, 200]
    time.sleep(0.5)

    def hold(name, mock, *others, model="gpt-4o", tokens=3000, **more):
        for other in others:
            other.faults(status=500)
        mock.faults(hold=name, **more)
        began[name] = time.monotonic()
        found[name] = ask(lab, name, model=model, stream=name == "stream", max_tokens=tokens)
        until(lambda: mock.held(name) == 1)
        for other in others:
            other.faults()
        mock.faults()

    hold("probe", probed, model="probed")
    hold("whole", lab.openai, tokens=LARGE)
    hold("stream", lab.openai, hold_after=3)
    hold("call", lab.backup, lab.openai, model="called")
    return found, began


def test_a_trap_costs_what_its_worker_had_under_way_and_nothing_else(trapped):
    lab = trapped.lab
    for _ in range(3):
        assert lab.tenant("spender").chat(headers={"x-mock-usage": "100,400"}).status == 200
    held, asked = under_way(lab)
    vms = trapped.vms()
    until(lambda: gauges(lab).get("wasmcustom.spillway.failover.active") == 4)
    began = time.monotonic()
    assert trapped.trap().status == 503
    after = trapped.recovers()
    TABLE.add("VM trapped", "the request that did it", "503, no body", "—", "0", f"{after:.1f} until others are served", "none")
    remaining, since = rests(lab, "whole"), time.monotonic() - asked["whole"]
    for mock, name in ((lab.mocks["probed"], "probe"), (lab.openai, "whole"), (lab.openai, "stream"), (lab.backup, "call")):
        mock.release(name)
    seen = {name: read(connection) for name, connection in held.items() if name != "call"}
    assert (seen["probe"].status, seen["whole"].status) == (503, 503) and seen["stream"].broken
    assert time.monotonic() - began < IDLE_S / 2, seen
    for name, got in seen.items():
        TABLE.add("VM trapped", f"{name}, under way", described(got), "—", "what was set aside, until it refills",
                  "as soon as its provider says more", "none")
    assert RATE - LARGE - 100 < remaining <= RATE - LARGE + RATE / 60 * since + 1, "what it had set aside is set aside still"
    heals(lab, began, asked["probe"])
    until(lambda: rests(lab, "whole") > RATE - 100, 60, pause=0.1)
    spent = ASKED - int(lab.tenant("spender").chat().headers["x-ratelimit-remaining-requests"])
    assert spent == 4, "what was spent before is spent still"
    got = read(held["call"])
    assert got.status in (0, 408, 504) and time.monotonic() - began < IDLE_S + 20
    TABLE.add("VM trapped", "callout, under way", described(got), "—", "what was set aside, until it refills",
              f"at `idle_timeout`, here {IDLE_S} s", "none")
    assert lab.idle()
    TABLE.add("VM trapped", "leases", "", "", "", f"{time.monotonic() - began:.1f} at most until all are back", "")
    until(lambda: trapped.vms() == vms, what="the end of the VM that trapped")


def rests(lab, tenant):
    """What the tenant has left, before a request that uses nothing."""
    got = lab.tenant(tenant).chat(max_tokens=1, headers={"x-mock-usage": "0,0"})
    assert got.status == 200, got
    return int(got.headers["x-ratelimit-remaining-tokens"])


def heals(lab, began, asked):
    """The provider whose only probe was lost is probed again when the lease is over, and not before."""
    lab.mocks["probed"].faults()
    until(lambda: lab.tenant("tripper").chat(model="probed").headers["x-spillway-provider"] == "probed", pause=0.1)
    assert time.monotonic() - asked >= LEASE_S
    TABLE.add("VM trapped", "probe, lost", "", "", "", f"{time.monotonic() - began:.1f} until the next probe", "")


def test_traps_in_a_row_leave_nothing_behind(trapped):
    vms, memory = trapped.vms(), []
    for _ in range(3):
        assert trapped.trap().status == 503
        trapped.recovers()
        memory.append(trapped.lab.envoy.rss())
        time.sleep(1.1)  # sooner, Envoy waits before it loads the module again
    until(lambda: trapped.vms() == vms, what="the end of the VMs that trapped")
    assert trapped.lab.envoy.process.running()
    now = until(lambda: (now := trapped.lab.envoy.rss()) < memory[0] + 25 * 2**20 and now, what="their memory")
    TABLE.add("VM trapped", "three times", "", "", "", "",
              f"{vms} VMs before and after, RSS {(now - memory[0]) / 2**20:+.0f} MB from the first to the third")


#: How long an end is waited for that must come.
READ_S = 60


def read(connection):
    """The answer on a connection, however it ends."""
    began, status, headers, body, broken = time.monotonic(), 0, {}, b"", False
    connection.sock.settimeout(READ_S)
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


# ── Policies that change, and a clock that doesn't keep time ────────────────────────────────────────────────────────

#: How long an old listener goes on.
DRAIN_S = 3


class Changing(ByListener):
    """A listener by discovery, old ones gone after a while, under an Envoy whose wall clock the test sets."""

    def __init__(self, directory, monkeypatch):
        self.path, self.monkeypatch, self.number = directory / "listeners.yaml", monkeypatch, 0
        self.clock = WallClock(directory) if can_be_set() else None
        self.lab = Lab(directory, TENANTS, BACKUP, {"limits": [BUDGET]}, calm("openai", "backup"), file=FULL,
                       change=self.take_out, options=("--drain-time-s", str(DRAIN_S)))

    def take_out(self, config):
        super().take_out(config)
        for name, value in (self.clock.environment if self.clock else {}).items():
            self.monkeypatch.setenv(name, value)  # for Envoy; the mocks run already

    def another(self):
        """The next policy: it has a model that the one before hasn't."""
        self.number += 1
        name = f"model-{self.number}"
        self.update(lambda _, policy: policy["models"].update({name: {"chain": ["openai/gpt-4o"]}}))
        until(lambda: self.lab.tenant("asker").chat(model=name).status == 200, pause=0.05)


@pytest.fixture(scope="module")
def changing(tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        changing = Changing(tmp_path_factory.mktemp("changing"), monkeypatch)
        with changing.lab:
            assert changing.lab.tenant("asker").chat().status == 200
            (line,) = changing.lab.envoy.records(1)
            changing.lab.asker = line["spillway"]["caller"]
            yield changing
            assert not {name: n for name, n in changing.lab.envoy.stats("vm_reload").items() if n}


def lines_so_far(lab):
    """How many lines the access log has, all of them."""
    lab.envoy.skip_records()
    return len(lab.envoy._lines())


def charges(lab, since):
    """What the records since then say that was charged; those of aborted streams come a little late."""
    assert lab.idle()
    lab.envoy.skip_records()
    records = [json.loads(line["spillway"]) for line in lab.envoy._lines()[since:]]
    return cost([record for record in records if record["caller"] != lab.asker])


def test_policies_in_quick_succession_lose_no_charge(changing):
    """Six policies under load; one stream outlives its listener, and is cut when that is gone."""
    lab, before = changing.lab, lines_so_far(changing.lab)
    lab.openai.faults(hold="slow", hold_after=3, k=1, n=1_000_000)
    slow = ask(lab, "slow", stream=True, max_tokens=500)
    until(lambda: lab.openai.held("slow") == 1)
    with Traffic(lab) as traffic:
        until(lambda: len(traffic.answers) > 20)
        for _ in range(6):
            changing.another()
        lasted = read(slow)
        assert (lasted.status, lasted.broken) == (200, True) and lasted.seconds < READ_S, "it is cut when its listener is gone"
        until(lambda: len(traffic.answers) > 100)
    lab.openai.release("slow")
    assert {one[:2] for one in traffic.answers} == {(200, False)}
    assert {end for *_, end in traffic.answers if end} == {"[DONE]"}
    total = charges(lab, before)
    # A thousand a day refill, and a request that asks costs something itself.
    assert abs(spent(lab, (*"abcd", "slow")) - total) <= 5
    TABLE.add("six policies under load", f"{len(traffic.answers)} requests", "200 all", "openai", "as the records say", "", "complete")
    TABLE.add("listener gone", "stream that outlives it", described(lasted), "openai", "what was streamed", "drain time", "client_abort")


def cost(records):
    """What those that were sent at all were charged."""
    return charged([record for record in records if "actual" in record])


def spent(lab, tenants):
    return sum(used(lab, tenant) for tenant in tenants)


@pytest.mark.skipif(not can_be_set(), reason="no C compiler for a clock of our own")
def test_a_wall_clock_that_steps_changes_no_limit_and_no_duration(changing):
    lab = changing.lab
    year = lambda: lab.tenant("asker").chat().headers["date"].split()[3]
    now = year()
    already = spent(lab, "abcd")
    before = lines_so_far(lab)
    with Traffic(lab) as traffic:
        for step in (-3600, 7200, -86_400 * 400, 0):
            reached = len(traffic.answers)
            changing.clock.step(step)
            until(lambda: len(traffic.answers) > reached + 12)
        shown = len(traffic.answers)
    changing.clock.step(-86_400 * 400)
    until(lambda: year() != now, pause=0.1)  # Envoy's clock is really set; it writes dates twice a second
    changing.clock.step(0)
    assert {one[:2] for one in traffic.answers} == {(200, False)}
    lab.envoy.skip_records()
    records = [json.loads(line["spillway"]) for line in lab.envoy._lines()[before:]]
    assert max(record["duration_ms"] for record in records) < 600_000, "the smallest step is an hour"
    # The look before cost a request each, which these records don't have.
    total, looks = charges(lab, before), 4 * cost(records[-1:])
    assert abs(spent(lab, "abcd") - already - looks - total) <= 5
    TABLE.add("clock steps: −1 h, +2 h, −400 d, back", f"{shown} requests", "200 all", "openai", "as the records say", "", "complete")


# ── Clients that go, and calls that nobody answers ──────────────────────────────────────────────────────────────────

def case(name):
    return {"name": name, "when": {"header": {"x-case": name}}}


#: For who is never answered. Others have minutes, so that they are under way for as long as a test likes.
BRIEF_S = 6
BRIEF = {"base": f"{BRIEF_S}s", "per_1k_prompt": "0s"}
#: Of a moderation that is never answered, as a judge stands still.
VERDICT_S = 1


def moderation(name, side, failure, timeout):
    return {**case(name), "on": [side], "cluster": "judge", "ask": "moderation", "timeout": f"{timeout}s",
            "on_failure": failure}


LEAVING = {
    "providers": provider("stalling"),
    "models": {"*": None, "gpt-4o": {"chain": ["openai/gpt-4o"]}, "alone": {"chain": ["openai/gpt-4o"]},
               "native": {"chain": PAIR}, "callout": {"chain": PAIR, "failover": {"via": "callout"}},
               "brief": {"chain": PAIR, "failover": {
                   "via": "callout", "timeouts": {"whole": {**BRIEF, "per_1k_output": "0s"}, "first_token": BRIEF}}},
               "stalling": {"chain": ["stalling/gpt-4o"]}},
    "limits": [BUDGET],
    "failover": {"backoff": {"base": "100s", "max": "100s"}},
    "validate": [{**case("checked"), "schema": {"type": "object"}, "on_invalid": ["reject"]}],
    "guards": [{**case("guarded"), "kinds": ["email"], "action": "restore"}],
    "moderation": [moderation("asked", "request", "block", 60), moderation("judged", "answer", "block", 60),
                   moderation("asked-in-vain", "request", "block", VERDICT_S), moderation("let", "request", "allow", VERDICT_S),
                   moderation("judged-in-vain", "answer", "block", VERDICT_S)],
    "review": {"cluster": "judge", "path": "/exchanges", "when": ["guard"], "timeout": "60s"},
}


@pytest.fixture(scope="module")
def leaving_once(start_once):
    with Scripted(lambda connection, request, _: stalls(connection, request)) as server:
        def change(config):
            for cluster in config["static_resources"]["clusters"]:
                if cluster["name"] in ("stalling", "spillway+stalling") and "load_assignment" in cluster:
                    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
                    endpoint["endpoint"]["address"]["socket_address"]["port_value"] = server.port

        yield start_once(BACKUP, TENANTS, calm("openai", "backup", "stalling"), LEAVING, file=FAILOVER, change=change,
                         providers=("openai", "anthropic", "backup", "stalling", "judge"))


@pytest.fixture
def leaving(leaving_once):
    leaving_once.reset()
    leaving_once.envoy.skip_records()
    return leaving_once


def held(mock, group):
    """Counts who has come to a phase that lasts as long as a provider holds its answer back."""
    return lambda lab: lab.mocks[mock].held(group)


def risen(stat):
    """Counts by Envoy's own numbers."""
    return lambda lab: sum(lab.envoy.stats(stat).values())


ACTIVE = risen("http.llm.downstream_rq_active")
REPEATED = risen(r"cluster\..*openai\.retry\.upstream_rq_completed")
STALLED = risen(r"cluster\..*stalling\.upstream_cx_rx_bytes_total")


def first_words(connection):
    response = connection.getresponse()
    while b"choices" not in response.read1():
        pass
    response.close()


#: Each phase: what the providers do, what is asked, and the count that rises when it has come to it; none: by its first words.
PHASES = {
    "request's body": ({}, {"cut": True}, ACTIVE),
    "moderation of the request": ({"judge": {"hold": "m"}}, {"x-case": "asked"}, held("judge", "m")),
    "waiting": ({"openai": {"hold": "w"}}, {}, held("openai", "w")),
    "waiting, guarded": ({"openai": {"hold": "w"}}, {"x-case": "guarded"}, held("openai", "w")),
    "between attempts": ({"openai": {"status": 503}}, {"model": "alone"}, REPEATED),
    "second attempt, native": ({"openai": {"status": 500}, "backup": {"hold": "n"}}, {"model": "native"}, held("backup", "n")),
    "second attempt, callout": ({"openai": {"status": 500}, "backup": {"hold": "c"}}, {"model": "callout"}, held("backup", "c")),
    "half an answer": ({}, {"model": "stalling"}, STALLED),
    "half an answer, held for its verdict": ({}, {"model": "stalling", "x-case": "checked"}, STALLED),
    "moderation of the answer": ({"judge": {"hold": "a"}}, {"x-case": "judged"}, held("judge", "a")),
    "mid-stream": ({"openai": {"hold": "s", "hold_after": 3}}, {"stream": True}, None),
    "mid-stream, guarded": ({"openai": {"hold": "g", "hold_after": 3}}, {"stream": True, "x-case": "guarded"}, None),
    "mid-stream, held for its verdict": ({"openai": {"hold": "v", "hold_after": 3}}, {"stream": True, "x-case": "checked"}, held("openai", "v")),
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_client_that_goes(leaving, phase):
    """Three of them, one after the other: one worker's state would show in the next."""
    lab, (faults, asked, come), tenant, records = leaving, PHASES[phase], phase.encode().hex(), []
    for name, fault in faults.items():
        lab.mocks[name].faults(**fault)
    asked = {"model": "gpt-4o", "max_tokens": 500, **asked}
    headers = {"content-type": "application/json", **({"x-case": asked.pop("x-case")} if "x-case" in asked else {})}
    cut, text = asked.pop("cut", False), body(**asked)
    for _ in range(3):
        sent = {**headers, "content-length": str(len(text) * 2)} if cut else headers
        before = come and come(lab)
        connection = lab.tenant(tenant).open("POST", "/v1/chat/completions", text, sent)
        gone = connection.sock
        if come:
            until(lambda: come(lab) > before, what=phase)
        else:
            first_words(connection)
        reset(gone)
        records += [line["spillway"] for line in lab.envoy.records(1)]
    for name, fault in faults.items():
        if "hold" in fault:
            lab.mocks[name].release(fault["hold"])
        lab.mocks[name].faults()
    assert {record["end"] for record in records} == {"client_abort"}, records
    assert lab.idle()
    assert abs(used(lab, tenant) - cost(records)) <= 2
    TABLE.add("client gone", phase, "gone", records[-1].get("provider") or "—", str(cost(records[-1:])), "", reason(records[-1]))


def test_a_client_that_goes_within_its_head(leaving):
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", leaving.envoy.port)) as connection:
            connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: lab\r\nx-tenant: he")
            reset_once_read(connection)
    assert leaving.idle()
    TABLE.add("client gone", "request's head", "gone", "—", "0", "", "none: there was no request")


def test_a_call_that_nobody_answers_ends_at_its_timeout(leaving):
    """A moderation that must be, one that may fail, one of an answer; a review in nobody's way; all of them twenty times."""
    wanted = {"asked-in-vain": 503, "let": 200, "judged-in-vain": 503, "guarded": 200}
    least, most = {}, {}
    with stopped(leaving.mocks["judge"]):
        for name, status in wanted.items():
            client = leaving.tenant(name).with_headers(x_case=name)
            answers = at_once(20, lambda n: client.chat("Write to ann.lee@example.com.", max_tokens=50))
            assert {got.status for got in answers} <= {status, 502}, (name, answers[0])
            least[name], most[name] = min(got.seconds for got in answers), max(got.seconds for got in answers)
            records = [line["spillway"] for line in leaving.envoy.records(20)]
            assert abs(used(leaving, name) - cost(records)) <= 2
            call = f"moderation `{name}`" if name != "guarded" else "post for review"
            TABLE.add("call never answered", call, described(answers[0]), answers[0].headers.get("x-spillway-provider", "—"),
                      str(cost(records[:1])), f"{most[name]:.1f}", reason(records[0]))
    # The alternatives: a judge that is waited for, or a minute.
    assert max(most.values()) < 20 and all(least[name] > VERDICT_S * 0.9 for name in wanted if name != "guarded"), (least, most)


def test_a_second_provider_that_never_answers_a_call(leaving):
    leaving.openai.faults(status=500)
    with stopped(leaving.backup):
        answers = at_once(10, lambda n: leaving.tenant("mute").chat(model="brief", stream=n % 2 == 1, max_tokens=50))
        records = [line["spillway"] for line in leaving.envoy.records(10)]
    leaving.openai.faults()
    assert {got.status for got in answers} == {503}
    assert BRIEF_S * 0.9 < min(got.seconds for got in answers) <= max(got.seconds for got in answers) < BRIEF_S + 20
    assert {one["gave_up"] for record in records for one in record["attempts"]} == {"status", "timeout"}
    assert cost(records) > 0, "the prompt may have been read"
    assert leaving.idle() and abs(used(leaving, "mute") - cost(records)) <= 2
    TABLE.add("call never answered", "callout to the second provider", described(answers[0]), "—", str(cost(records[:1])),
              f"{answers[0].seconds:.1f}", reason(records[0]))
