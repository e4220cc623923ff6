"""Providers that are broken in every way a connection can be: nobody hangs, nothing leaks, every charge is as the record says.

Each fault meets four ways to ask, whole and streamed: a provider alone, failing over by Envoy's router, by callouts, and
with the conversation translated. What came of each goes to target/logs/faults.md.
"""

import os
import signal
import threading
import time

import pytest

from lab import BACKUP, TENANTS, calm, charged, provider
from lab.broken import SCRIPTS, Unreachable
from lab.faults import Table, described
from lab.scripted import Scripted

from conftest import FAILOVER, at_once

CAPACITY = 300_000
WHOLE = {"base": "2s", "per_1k_prompt": "0s", "per_1k_output": "0s"}
#: A first token in a second, a whole answer in two, a connection in half a second.
TIMEOUTS = {"timeouts": {"first_token": {"base": "1s", "per_1k_prompt": "0s"}, "whole": WHOLE}}
CONNECT = "0.5s"
#: Two attempts, and some for a busy machine.
PATIENCE = 2 * 2 + 2
FOREIGN = {"foreign": {"cluster": "foreign", "dialect": "anthropic", "credential": {"env": "ANTHROPIC_API_KEY"},
                       "models": {"claude": {}}}}
BROKEN = ("bad", "unreachable", "killed")
ALONE = {"attempts": 1, **TIMEOUTS}


def models(name):
    """The ways to ask a broken provider."""
    pair = [f"{name}/gpt-4o", "backup/gpt-4o"]
    return {f"{name}-alone": {"chain": pair[:1], "failover": ALONE}, f"{name}-native": {"chain": pair, "failover": TIMEOUTS},
            f"{name}-callout": {"chain": pair, "failover": {"via": "callout", **TIMEOUTS}}}


POLICY = {
    "providers": {**provider("bad"), **provider("unreachable"), **provider("killed"), **FOREIGN},
    "models": {"*": None, **{name: way for one in BROKEN for name, way in models(one).items()},
               "bad-translated": {"chain": ["foreign/claude", "backup/gpt-4o"], "failover": TIMEOUTS}},
    "limits": [{"name": "budget", "per": ["caller"], "tokens": "1000/day", "burst": str(CAPACITY), "reserve": "max"}],
    "failover": {"backoff": {"base": "10ms", "max": "20ms"}},
}
TABLE = Table("1-providers")


class Faulty:
    """A lab whose providers `bad` and `foreign` do what `script` says."""

    def __init__(self, start_once):
        self.script = None
        self.server = Scripted(lambda connection, request, _: self.script(connection, request)).__enter__()
        self.unreachable = Unreachable().__enter__()
        self.lab = start_once(BACKUP, TENANTS, POLICY, calm(*BROKEN, "foreign", "backup", "openai", "anthropic"), file=FAILOVER,
                              change=self.lead, providers=("openai", "anthropic", "backup", *BROKEN, "foreign"))

    def lead(self, config):
        ports = {"bad": self.server.port, "foreign": self.server.port, "unreachable": self.unreachable.port}
        for cluster in config["static_resources"]["clusters"]:
            cluster["connect_timeout"] = CONNECT
            if (name := cluster["name"].removeprefix("spillway+")) in ports and "load_assignment" in cluster:
                (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
                endpoint["endpoint"]["address"]["socket_address"]["port_value"] = ports[name]

    def close(self):
        self.server.__exit__()
        self.unreachable.__exit__()


@pytest.fixture(scope="module")
def faulty(start_once):
    faulty = Faulty(start_once)
    yield faulty
    faulty.close()
    TABLE.write()


def ask(lab, way, streams, tenant):
    return lab.tenant(tenant).chat(model=way, stream=streams, max_tokens=500)


def all_ways(lab, fault, provider, ways):
    """Every way at once, whole and streamed, each by a caller of its own; in the table, and answered by way."""
    lab.envoy.skip_records()
    asks = [(f"{provider}-{way}", streams) for way in ways for streams in (False, True)]
    tenants = [f"{fault}-{way}-{streams}".encode().hex() for way, streams in asks]
    answers = at_once(len(asks), lambda n: ask(lab, *asks[n], tenants[n]))
    records = {(r["model"], r["stream"]): r for r in (line["spillway"] for line in lab.envoy.records(len(asks)))}
    for (way, streams), tenant, answer in zip(asks, tenants, answers):
        record = records[way, streams]
        TABLE.note(fault, f"{way.split('-')[1]}, {'stream' if streams else 'whole'}", answer, record)
        assert answer.seconds < PATIENCE, (way, streams, answer)
        assert left(lab, tenant) == charged([record]), (way, streams, record)
    return dict(zip(asks, answers))


def left(lab, tenant):
    """What the tenant's budget says that it used. (A thousand a day is nothing in a minute.)"""
    got = lab.tenant(tenant).chat(model="gpt-4o", max_tokens=1)
    (line,) = lab.envoy.records(1)
    return CAPACITY - int(got.headers["x-ratelimit-remaining-tokens"]) - line["spillway"]["reserved"]


def at_rest(lab, patience=8):
    """Whether every gauge of what is under way comes back to zero: a tick sets them."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        stats = lab.envoy.stats("spillway.(failover.active|failover.repeating|ledger.pending)")
        if not any(stats.values()):
            return True
        time.sleep(0.1)
    return False


ALL = ("alone", "native", "callout", "translated")
WAYS = ALL[:3]
CUT, OWN, ERROR = ("200, cut", "200, stream, cut"), ("200, as it came",) * 2, "200, stream, error event"
NONE = {code: (f"{code}, no_answer",) * 2 for code in (502, 503, 504)}
MOVED = "moved"


def passed(own):
    """The same whoever is asked first in the client's own dialect: no rule of the policy finds fault with it in time."""
    return {way: own for way in WAYS}


#: What a client gets of each fault, whole and streamed, where it isn't the second provider's answer as if nothing had been.
#: Once an answer's head has passed it is the client's, broken or not. A stream's head is held until its first token: by
#: Envoy's router it moves on then too; in front of callouts Envoy itself answers when the provider breaks off, in plain text,
#: past every filter.
EXPECTED = {
    "half-open: no answer": {"alone": NONE[504]},
    "slow: 5 s": {"alone": NONE[504]},
    # Whether the last byte comes before the router's own time is up is chance.
    "one byte a second": {"alone": (CUT[0], f"{CUT[1]}|{ERROR}"), "native": (CUT[0], MOVED), "callout": (CUT[0], MOVED)},
    "stalls midway": passed(CUT),
    "reset before the head": {"alone": NONE[503]},
    "reset after the head": {"alone": CUT, "native": (CUT[0], MOVED), "callout": (CUT[0], "502, plain text")},
    "reset midway": passed(CUT),
    "closed midway": passed(CUT),
    "no HTTP": {"alone": NONE[502]},
    "garbage": {"alone": (OWN[0], ERROR), "native": (OWN[0], ERROR), "callout": (OWN[0], MOVED), "translated": (MOVED, ERROR)},
    "an HTML page": passed(OWN),
    "content-length too high": {**passed((CUT[0], "200, stream, [DONE]")), "translated": (MOVED, "200, stream, [DONE]")},
    "content-length too low": {**passed((OWN[0], ERROR)), "translated": (MOVED, ERROR)},
    "bad chunks": {"alone": CUT, "native": (CUT[0], MOVED), "callout": (CUT[0], "502, plain text")},
    "gzip that isn't": {**passed(("200", "200, stream, [DONE]")), "translated": ("200", MOVED)},
    "gzip without its end": passed((OWN[0], CUT[1])),
    "packets dropped": {"alone": NONE[503]},
    "process stopped": {"alone": NONE[504]},
    "killed while they wait": {"alone": NONE[503]},
    "process gone": {"alone": NONE[503]},
}


def as_expected(fault, answers):
    """What differs from the table of what is expected."""
    wrong = {}
    for (model, streams), got in answers.items():
        wanted = EXPECTED[fault].get(model.split("-")[1], (MOVED,) * 2)[streams]
        moved = got.headers.get("x-spillway-provider") == "backup"
        whole = described(got) == ("200", "200, stream, [DONE]")[streams]
        if not (moved and whole if wanted == MOVED else not moved and described(got) in wanted.split("|")):
            wrong[model, streams] = (wanted, got)
    return wrong


@pytest.mark.parametrize("fault", SCRIPTS)
def test_a_broken_provider(faulty, fault):
    faulty.script = SCRIPTS[fault]
    answers = all_ways(faulty.lab, fault, "bad", ALL)
    assert not as_expected(fault, answers)
    assert faulty.lab.idle() and at_rest(faulty.lab)


def test_a_provider_that_cannot_be_reached(faulty):
    """Its packets are dropped: there is neither a connection nor a refusal of one."""
    assert not as_expected("packets dropped", all_ways(faulty.lab, "packets dropped", "unreachable", WAYS))
    assert faulty.lab.idle() and at_rest(faulty.lab)


def test_a_provider_whose_process_stands_still(faulty):
    """Connections that are there already stay, new ones are accepted by the kernel, and nobody answers."""
    killed = faulty.lab.mocks["killed"]
    assert faulty.lab.tenant("warm").chat(model="killed-alone").status == 200
    os.kill(killed.process.pid, signal.SIGSTOP)
    try:
        answers = all_ways(faulty.lab, "process stopped", "killed", WAYS)
    finally:
        os.kill(killed.process.pid, signal.SIGCONT)
    assert not as_expected("process stopped", answers)
    assert faulty.lab.idle() and at_rest(faulty.lab)


def test_a_provider_whose_process_is_killed(faulty):
    """While requests wait for its answers, and afterwards."""
    killed = faulty.lab.mocks["killed"]
    killed.faults(hold="answers")
    killer = threading.Thread(target=lambda: (until(lambda: killed.held("answers") == 6), killed.process.child.kill()))
    killer.start()
    assert not as_expected("killed while they wait", all_ways(faulty.lab, "killed while they wait", "killed", WAYS))
    killer.join()
    assert not as_expected("process gone", all_ways(faulty.lab, "process gone", "killed", WAYS))
    assert faulty.lab.idle() and at_rest(faulty.lab)


def until(truth, patience=5):
    end = time.monotonic() + patience
    while not truth() and time.monotonic() < end:
        time.sleep(0.01)


#: Faults that are over in no time.
QUICK = ("reset before the head", "no HTTP", "garbage", "an HTML page", "content-length too low", "gzip that isn't")


def test_memory_stays_where_it_is_when_they_are_repeated(faulty):
    lab = faulty.lab

    def repeat(times):
        for fault in QUICK:
            faulty.script = SCRIPTS[fault]
            at_once(8, lambda n: [ask(lab, f"bad-{ALL[(n + m) % 4]}", m % 2 == 0, f"again{n}") for m in range(times)])
        assert lab.idle() and at_rest(lab)
        return lab.envoy.rss(), lab.envoy.stats("spillway.vm.memory")["wasmcustom.spillway.vm.memory"]

    repeat(8)
    before, after = repeat(8), repeat(16)
    assert after[1] <= before[1] and after[0] < before[0] + 4 * 2**20, (before, after)
    TABLE.add(f"{len(QUICK)} of these, {len(QUICK) * 8 * 16} times more", "all", "", "", "",
              "", f"RSS {(after[0] - before[0]) / 2**20:+.1f} MB, the VM's memory {after[1] - before[1]:+d} B")
