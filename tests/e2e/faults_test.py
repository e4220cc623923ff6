"""Providers that are broken in every way a connection can be: nobody hangs, nothing leaks, every charge is as the record says.

Each fault meets four ways to ask, whole and streamed: a provider alone, failing over by Envoy's router, by callouts, and
with the conversation translated. What came of each goes to target/logs/faults.md.
"""

import threading
import time

import pytest

from lab import BACKUP, TENANTS, calm, charged, provider, until
from lab.broken import SCRIPTS, Unreachable, stopped
from lab.faults import Table, described
from lab.proxy import TICK_S
from lab.scripted import Scripted

from conftest import FAILOVER, at_once

CAPACITY = 300_000
#: Models that don't wait long for a first token and for a whole answer, with a stall's room between the two. All others wait
#: for minutes.
FIRST_S, WHOLE_S = 6, 12
HURRIED = {"timeouts": {"first_token": {"base": f"{FIRST_S}s", "per_1k_prompt": "0s"},
                        "whole": {"base": f"{WHOLE_S}s", "per_1k_prompt": "0s", "per_1k_output": "0s"}}}
#: Of what can't be reached.
CONNECT = "1s"
#: Who is done with a fault at once; the alternative is a minute, or five.
PATIENCE = 30
#: Two attempts, and some for a busy machine; the alternative is a minute.
HURRIED_PATIENCE = 2 * WHOLE_S + 15
FOREIGN = {"foreign": {"cluster": "foreign", "dialect": "anthropic", "credential": {"env": "ANTHROPIC_API_KEY"},
                       "models": {"claude": {}}}}
BROKEN = ("bad", "unreachable", "killed")


def models(name):
    """The ways to ask a broken provider, with time and without."""
    pair, found = [f"{name}/gpt-4o", "backup/gpt-4o"], {}
    for end, times in (("", {}), ("-hurried", HURRIED)):
        found |= {f"{name}-alone{end}": {"chain": pair[:1], "failover": {"attempts": 1, **times}},
                  f"{name}-native{end}": {"chain": pair, "failover": times},
                  f"{name}-callout{end}": {"chain": pair, "failover": {"via": "callout", **times}}}
    return found


POLICY = {
    "providers": {**provider("bad"), **provider("unreachable"), **provider("killed"), **FOREIGN},
    "models": {"*": None, **{name: way for one in BROKEN for name, way in models(one).items()},
               "bad-translated": {"chain": ["foreign/claude", "backup/gpt-4o"]},
               "bad-translated-hurried": {"chain": ["foreign/claude", "backup/gpt-4o"], "failover": HURRIED}},
    "limits": [{"name": "budget", "per": ["caller"], "tokens": "1000/day", "burst": str(CAPACITY), "reserve": "max"}],
    "failover": {"backoff": {"base": "10ms", "max": "20ms"}},
}
TABLE = Table("1-providers")


def as_told(connection, request, _):
    """The fault that the prompt names."""
    (name,) = [name for name in SCRIPTS if f"[{name}]".encode() in request]
    SCRIPTS[name](connection, request)


class Faulty:
    """A lab whose providers `bad` and `foreign` do what they are asked for."""

    def __init__(self, start_once):
        self.server = Scripted(as_told).__enter__()
        self.unreachable = Unreachable().__enter__()
        self.lab = start_once(BACKUP, TENANTS, POLICY, calm(*BROKEN, "foreign", "backup", "openai", "anthropic"), file=FAILOVER,
                              change=self.lead, providers=("openai", "anthropic", "backup", *BROKEN, "foreign"))

    def lead(self, config):
        ports = {"bad": self.server.port, "foreign": self.server.port, "unreachable": self.unreachable.port}
        for cluster in config["static_resources"]["clusters"]:
            if (name := cluster["name"].removeprefix("spillway+")) in ports and "load_assignment" in cluster:
                (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
                endpoint["endpoint"]["address"]["socket_address"]["port_value"] = ports[name]
                cluster["connect_timeout"] = CONNECT if name == "unreachable" else cluster["connect_timeout"]

    def close(self):
        self.server.__exit__()
        self.unreachable.__exit__()


@pytest.fixture(scope="module")
def faulty(start_once):
    faulty = Faulty(start_once)
    yield faulty
    faulty.close()
    TABLE.write()


def ask(lab, fault, way, streams, tenant):
    return lab.tenant(tenant).chat(f"[{fault}]", model=way, stream=streams, max_tokens=500)


def all_ways(lab, faults, hurried=False):
    """Every way at once, whole and streamed, each by a caller of its own; in the table, and answered by fault and way.

    `faults` has the provider of each.
    """
    lab.envoy.skip_records()
    asks = [(fault, way, streams) for fault, provider in faults.items() for way in (ALL if provider == "bad" else WAYS)
            for streams in (False, True)]
    model = lambda fault, way: f"{faults[fault]}-{way}{'-hurried' if hurried else ''}"
    tenants = [f"{fault}-{way}-{streams}".encode().hex() for fault, way, streams in asks]

    def one(number):
        fault, way, streams = asks[number]
        return ask(lab, fault, model(fault, way), streams, tenants[number])

    answers = at_once(len(asks), one)
    records = {record["caller"]: record for record in (line["spillway"] for line in lab.envoy.records(len(asks)))}
    for (fault, way, streams), tenant, answer in zip(asks, tenants, answers):
        used, caller = left(lab, tenant)
        record = records[caller]
        assert (record["model"], record["stream"]) == (model(fault, way), streams)
        TABLE.note(fault, f"{way}, {'stream' if streams else 'whole'}", answer, record)
        assert answer.seconds < (HURRIED_PATIENCE if hurried else PATIENCE), (fault, way, streams, answer)
        assert used == charged([record]), (fault, way, streams, record)
    return dict(zip(asks, answers))


def left(lab, tenant):
    """What the tenant's budget says that it used, and who that is in records. (A thousand a day is nothing in a minute.)"""
    got = lab.tenant(tenant).chat(model="gpt-4o", max_tokens=1)
    (line,) = lab.envoy.records(1)
    record = line["spillway"]
    return CAPACITY - int(got.headers["x-ratelimit-remaining-tokens"]) - record["reserved"], record["caller"]


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
    "too slow": {"alone": NONE[504]},
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


def as_expected(answers):
    """What differs from the table of what is expected."""
    wrong = {}
    for (fault, way, streams), got in answers.items():
        wanted = EXPECTED[fault].get(way, (MOVED,) * 2)[streams]
        moved = got.headers.get("x-spillway-provider") == "backup"
        whole = described(got) == ("200", "200, stream, [DONE]")[streams]
        if not (moved and whole if wanted == MOVED else not moved and described(got) in wanted.split("|")):
            wrong[fault, way, streams] = (wanted, got)
    return wrong


#: Faults that only a timeout ends.
LASTING = ("half-open: no answer", "too slow", "one byte a second", "stalls midway")


@pytest.mark.parametrize("fault", [fault for fault in SCRIPTS if fault not in LASTING])
def test_a_broken_provider(faulty, fault):
    assert not as_expected(all_ways(faulty.lab, {fault: "bad"}))
    assert faulty.lab.idle()


def test_providers_that_let_everybody_wait(faulty):
    """One of them stands still: its connections stay, the kernel accepts new ones, and nobody answers."""
    killed = faulty.lab.mocks["killed"]
    assert faulty.lab.tenant("warm").chat(model="killed-alone").status == 200
    with stopped(killed):
        answers = all_ways(faulty.lab, {**dict.fromkeys(LASTING, "bad"), "process stopped": "killed"}, hurried=True)
    assert not as_expected(answers)
    assert faulty.lab.idle()


def test_a_provider_that_cannot_be_reached(faulty):
    """Its packets are dropped: there is neither a connection nor a refusal of one."""
    assert not as_expected(all_ways(faulty.lab, {"packets dropped": "unreachable"}))
    assert faulty.lab.idle()


def test_a_provider_whose_process_is_killed(faulty):
    """While requests wait for its answers, and afterwards."""
    killed = faulty.lab.mocks["killed"]
    killed.faults(hold="answers")
    killer = threading.Thread(target=lambda: (until(lambda: killed.held("answers") == 6), killed.process.child.kill()))
    killer.start()
    assert not as_expected(all_ways(faulty.lab, {"killed while they wait": "killed"}))
    killer.join()
    assert not as_expected(all_ways(faulty.lab, {"process gone": "killed"}))
    assert faulty.lab.idle()


#: Faults that are over in no time.
QUICK = ("reset before the head", "no HTTP", "garbage", "an HTML page", "content-length too low", "gzip that isn't")


def test_memory_stays_where_it_is_when_they_are_repeated(faulty):
    lab = faulty.lab

    def repeat(times):
        for fault in QUICK:
            ways = [(f"bad-{way}", streams) for way in ALL for streams in (False, True)]
            batches = at_once(8, lambda n: [ask(lab, fault, *ways[(n + m) % 8], f"again{n}") for m in range(times)])
            assert not [got for batch in batches for got in batch if got.status == 429]
        assert lab.idle()
        return most_of_a_vm(lab)

    told, rss = [repeat(8), repeat(8)], lab.envoy.rss()
    # Which worker told last is chance; what leaks grows each time.
    while len(told) < 6 and (len(told) == 2 or told[-1] > told[-2]):
        told.append(repeat(16))
    assert told[-1] <= told[-2], told
    # What is freed goes back to the system every few seconds.
    now = until(lambda: (now := lab.envoy.rss()) < rss + 4 * 2**20 and now, what="the memory")
    TABLE.add(f"{len(QUICK)} of these, {len(QUICK) * 8 * 16} times more", "all", "", "", "",
              "", f"RSS {(now - rss) / 2**20:+.1f} MB, the VM's memory {told[-1] - told[-2]:+d} B")


def most_of_a_vm(lab):
    """The most memory that a VM tells: each at its tick, over what another has told."""
    end, most = time.monotonic() + TICK_S, 0
    while time.monotonic() < end:
        most = max(most, lab.envoy.stats("spillway.vm.memory")["wasmcustom.spillway.vm.memory"])
        time.sleep(0.01)
    return most
