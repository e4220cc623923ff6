"""How a stream ended, by Envoy's own word for it: who broke off decides what the breaker hears, both are charged."""

import socket
import struct
import time

import pytest

from lab import BACKUP, TENANTS

from conftest import FULL, HEADERS_FIRST

CAPACITY = 10_000
BUDGET = {"limits": [{"name": "budget", "per": ["caller"], "tokens": f"{CAPACITY}/day", "reserve": "max"}]}
#: Two failures in a row open it; a good answer between them would begin the row anew.
TOUCHY = {"providers": {"openai": {"breaker": {"consecutive": 2, "open": "60s"}}}}
WORDS = "some words that a model could well have said "
SLOW = {"x-mock-events": "40", "x-mock-gap-ms": "30", "x-mock-content": WORDS * 20}


@pytest.fixture(params=[FULL, HEADERS_FIRST])
def lab(request, start):
    return start(TENANTS, BUDGET, TOUCHY, BACKUP, file=request.param)


@pytest.fixture
def client(lab):
    return lab.tenant("one").with_headers(x_model="gpt-4o")


def record(lab):
    (line,) = lab.envoy.records(1)
    return line["details"], line["spillway"]


def charged(client, tokens):
    """Whether the caller has been charged that, told by the refusal of a request for all there is."""
    left = int(client.chat(max_tokens=CAPACITY * 10).headers["x-ratelimit-remaining-tokens"])
    # A day's refill of 10,000 is a token in nine seconds.
    return tokens - 1 <= CAPACITY - left <= tokens


def hang_up(client, after, stream=True, reset=False):
    """Asks, reads at least `after` bytes of the answer's body and goes: closing, or by a reset."""
    body = f'{{"model":"gpt-4o","stream":{str(stream).lower()},"max_tokens":5000,' \
           '"messages":[{"role":"user","content":"hi"}]}'
    connection = client.open("POST", "/v1/chat/completions", body, {"content-type": "application/json", **SLOW})
    if after:
        response = connection.getresponse()
        assert response.status == 200 and len(response.read(after)) == after
        response.close()
    else:
        time.sleep(0.3)
    if reset:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_a_client_that_hangs_up_in_mid_stream_is_neutral_and_pays_for_what_it_got(lab, client):
    hang_up(client, 2500)
    details, left = record(lab)
    assert details.startswith("downstream") and left["end"] == "client_abort", details
    assert left["actual"]["source"] == "estimate" and left["actual"]["input"] == left["estimate"]
    assert 20 <= left["actual"]["output"] <= 200, "a part of the 180 words"
    assert charged(client, left["actual"]["input"] + left["actual"]["output"])


def test_an_upstream_that_breaks_off_in_mid_stream_is_a_failure_and_is_charged(lab, client):
    lab.openai.faults(reset_after=20, content=WORDS * 20, events=40)
    assert client.chat(max_tokens=5000, stream=True).events()[-1] != "[DONE]"
    details, left = record(lab)
    assert details.startswith("upstream_reset_after_response_started") and left["end"] == "upstream_reset", details
    assert 50 <= left["actual"]["output"] <= 130, "half of the 180 words"
    assert charged(client, left["actual"]["input"] + left["actual"]["output"])
    lab.envoy.records(1)
    client.chat(max_tokens=50, stream=True)
    assert lab.backup.arrived() == 0
    lab.openai.faults()
    assert client.chat(max_tokens=50).status == 200 and lab.backup.arrived() == 1, "two of them opened it"


def test_an_abort_between_two_failures_is_neither_a_failure_nor_a_good_answer(lab, client):
    lab.openai.faults(status=500)
    assert client.chat().status == 500
    lab.openai.faults()
    hang_up(client, 2500)
    hang_up(client, 2500, reset=True)
    lab.envoy.records(3)
    before = lab.openai.arrived()
    lab.openai.faults(status=500)
    assert client.chat().status == 500, "they didn't open it"
    lab.openai.faults()
    assert client.chat().status == 200
    assert (lab.openai.arrived() - before, lab.backup.arrived()) == (1, 1), "nor did they begin the row anew"


def test_whole_answers_that_break_off_are_classed_alike(lab, client):
    lab.openai.faults(reset_after=1)
    assert client.chat(max_tokens=500).broken
    details, left = record(lab)
    assert details.startswith("upstream") and left["end"] == "upstream_reset", details
    cost = left["actual"]["input"] + left["actual"]["output"]
    assert (left["actual"]["source"], cost) == ("reserved", left["reserved"])
    assert charged(client, cost)


def test_a_client_that_does_not_wait_for_an_answer_pays_for_its_prompt(lab, client):
    client = client.with_headers(x_mock_delay_headers_ms=1500)
    hang_up(client, 0)
    details, left = record(lab)
    assert details.startswith("downstream") and left["end"] == "client_abort", details
    assert left["actual"] == {"input": left["estimate"], "output": 0, "source": "estimate"}
    assert charged(client, left["estimate"])
