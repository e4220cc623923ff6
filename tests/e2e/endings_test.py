"""How a stream ended, by Envoy's own word for it: who broke off decides what the breaker hears, both are charged."""

import socket
import struct

import pytest

from lab import TENANTS, until

from conftest import FULL, HEADERS_FIRST

CAPACITY = 10_000
BUDGET = {"limits": [{"name": "budget", "per": ["caller"], "tokens": "50/day", "burst": str(CAPACITY), "reserve": "max"}]}
#: Each test has a primary of its own and a backup; two failures in a row open it, a good answer between them begins the
#: row anew.
CHAINS = ("aborted", "broken", "between", "whole", "early")


def provider(cluster):
    return {"cluster": cluster, "dialect": "openai", "credential": {"env": "BACKUP_API_KEY"},
            "models": {"gpt-4o": {"tokenizer": "o200k"}}, "breaker": {"consecutive": 2, "open": "60s"}}


POLICY = {
    "providers": {name: provider(name) for name in (*CHAINS, "backup")},
    "models": {name: {"chain": [f"{name}/gpt-4o", "backup/gpt-4o"]} for name in CHAINS},
}
WORDS = "some words that a model could well have said "
#: A stream that waits in its middle, after so many events.
HALF = 20
HELD = {"x-mock-events": "40", "x-mock-hold": "rest", "x-mock-hold-after": str(HALF), "x-mock-content": WORDS * 20}


class Chain:
    """One model's chain, and a caller whose budget is untouched."""

    def __init__(self, lab, model):
        self.model, self.envoy = model, lab.envoy
        self.primary, self.backup = lab.mocks[model], lab.mocks["backup"]
        self.client = lab.tenant(model).with_headers(x_model=model)

    def chat(self, **fields):
        return self.client.chat(model=self.model, **fields)

    def record(self):
        """Envoy's word for how the last exchange ended, and ours."""
        (line,) = self.envoy.records(1)
        return line["details"], line["spillway"]

    def charged(self, tokens):
        """Whether the caller has been charged that, told by the refusal of a request for all there is."""
        left = int(self.chat(max_tokens=CAPACITY * 10).headers["x-ratelimit-remaining-tokens"])
        return CAPACITY - left == tokens

    def hang_up(self, early=False, reset=False):
        """Asks for a stream, reads its first half, or waits until it was asked for, and goes: closing, or by a reset."""
        body = f'{{"model":"{self.model}","stream":true,"max_tokens":5000,"messages":[{{"role":"user","content":"hi"}}]}}'
        headers = {"content-type": "application/json", **({"x-mock-hold": "head"} if early else HELD)}
        connection = self.client.open("POST", "/v1/chat/completions", body, headers)
        if early:
            until(lambda: self.primary.held("head") == 1)
        else:
            response, seen = connection.getresponse(), b""
            # All that comes: who closes with something unread resets.
            while seen.count(b"\n\n") < HALF:
                more = response.read1()
                assert response.status == 200 and more
                seen += more
            response.close()
        if reset:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


@pytest.fixture(scope="module", params=[FULL, HEADERS_FIRST])
def shared(request, start_once):
    return start_once(TENANTS, BUDGET, POLICY, file=request.param, providers=(*CHAINS, "backup"))


@pytest.fixture
def chained(shared):
    shared.backup.reset()
    shared.envoy.skip_records()
    return lambda model: Chain(shared, model)


def test_a_client_that_hangs_up_in_mid_stream_pays_for_what_it_got(chained):
    chain = chained("aborted")
    chain.hang_up()
    details, left = chain.record()
    assert details.startswith("downstream") and left["end"] == "client_abort", details
    assert left["actual"]["source"] == "estimate" and left["actual"]["input"] == left["estimate"]
    assert 50 <= left["actual"]["output"] <= 130, "half of the 180 words"
    assert chain.charged(left["actual"]["input"] + left["actual"]["output"])


def test_an_upstream_that_breaks_off_in_mid_stream_is_a_failure_and_is_charged(chained):
    chain = chained("broken")
    chain.primary.faults(reset_after=20, content=WORDS * 20, events=40)
    assert chain.chat(max_tokens=5000, stream=True).events()[-1] != "[DONE]"
    details, left = chain.record()
    assert details.startswith("upstream_reset_after_response_started") and left["end"] == "upstream_reset", details
    assert 50 <= left["actual"]["output"] <= 130, "half of the 180 words"
    assert chain.charged(left["actual"]["input"] + left["actual"]["output"])
    chain.chat(max_tokens=50, stream=True)
    assert chain.backup.arrived() == 0
    chain.primary.faults()
    assert chain.chat(max_tokens=50).status == 200 and chain.backup.arrived() == 1, "two of them opened it"


def test_an_abort_between_two_failures_is_neither_a_failure_nor_a_good_answer(chained):
    chain = chained("between")
    chain.primary.faults(status=500)
    assert chain.chat().status == 500
    chain.primary.faults()
    chain.hang_up()
    lines = chain.envoy.records(2)  # So what it had set aside is given back.
    chain.hang_up(reset=True)
    lines += chain.envoy.records(1)
    assert [line["spillway"]["end"] for line in lines] == ["complete", "client_abort", "client_abort"]
    before = chain.primary.arrived()
    chain.primary.faults(status=500)
    assert chain.chat().status == 500, "they didn't open it"
    chain.primary.faults()
    assert chain.chat().status == 200
    assert (chain.primary.arrived() - before, chain.backup.arrived()) == (1, 1), "nor did they begin the row anew"


def test_a_whole_answer_that_breaks_off_is_classed_alike_and_charged_as_reserved(chained):
    chain = chained("whole")
    chain.primary.faults(reset_after=1)
    assert chain.chat(max_tokens=500).broken
    details, left = chain.record()
    assert details.startswith("upstream") and left["end"] == "upstream_reset", details
    cost = left["actual"]["input"] + left["actual"]["output"]
    assert (left["actual"]["source"], cost) == ("reserved", left["reserved"])
    assert chain.charged(cost)


def test_a_client_that_does_not_wait_for_an_answer_pays_for_its_prompt(chained):
    chain = chained("early")
    chain.hang_up(early=True)
    details, left = chain.record()
    assert details.startswith("downstream") and left["end"] == "client_abort", details
    assert left["actual"] == {"input": left["estimate"], "output": 0, "source": "estimate"}
    assert chain.charged(left["estimate"])
