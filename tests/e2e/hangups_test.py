"""A client that hangs up while its request is failing over: nothing leaks, and what was used is charged."""

import json
import time

import pytest

from lab import BACKUP, calm, charged, read_until, until

from conftest import FAILOVER, FULL

CAPACITY = 100_000
CLAUDE = "anthropic/claude-sonnet-4-5"
#: A chain for each test, and each has a limit of its own. The wait between attempts has full jitter: long enough that no
#: draw is over before the client is gone.
PAIRS = ("second", "first", "stream")
POLICY = {
    "limits": [{"name": "budget", "per": ["caller", "model"], "tokens": "1000/day", "burst": str(CAPACITY), "reserve": "max"}],
    "providers": {**calm("openai", "backup", "anthropic")["providers"],
                  "probed": {"cluster": "probed", "dialect": "openai", "models": {"gpt-4o": {}},
                             "breaker": {"consecutive": 2, "open": "300ms", "max_open": "300ms", "half_open_permits": 1}}},
    "models": {"alone": {"chain": ["openai/gpt-4o"]}, "probed": {"chain": ["probed/gpt-4o", "backup/gpt-4o"]},
               "translated": {"chain": ["openai/gpt-4o", CLAUDE]},
               **{name: {"chain": ["openai/gpt-4o", "backup/gpt-4o"]} for name in PAIRS}},
    "failover": {"backoff": {"base": "100s", "max": "100s"}, "retry_budget": 1},
}
NATIVE = pytest.mark.parametrize("shared", ["native"], indirect=True)


@pytest.fixture(scope="module", params=["native", "callout"])
def shared(start_once, request):
    via = {"failover": {"via": request.param}}
    file = FAILOVER if request.param == "native" else FULL
    return start_once(BACKUP, POLICY, via, file=file, providers=("openai", "anthropic", "backup", "probed"))


def ask(lab, model, **fields):
    """A request whose answer nobody has read yet."""
    document = {"model": model, "max_tokens": 5_000, "messages": [{"role": "user", "content": "How deep is it?"}], **fields}
    return lab.client().open("POST", "/v1/chat/completions", json.dumps(document), {"content-type": "application/json"})


def hang_up(connection):
    connection.sock.close()
    connection.close()


def ended(lab, count):
    """The records of aborted exchanges, once nothing of them is left anywhere."""
    records = [line["spillway"] for line in lab.envoy.records(count)]
    assert {record["end"] for record in records} == {"client_abort"}, records
    assert lab.idle()
    return records


def is_charged(lab, model, records):
    """Whether the budget was charged what the records say, and nothing is set aside any more."""
    for mock in lab.mocks.values():
        mock.faults()
    last = lab.client().chat(model=model, max_tokens=1)
    (line,) = lab.envoy.records(1)
    used = CAPACITY - int(last.headers["x-ratelimit-remaining-tokens"]) - line["spillway"]["reserved"]
    # A token comes back in 86 seconds.
    return charged(records) - 1 <= used <= charged(records)


def test_while_the_second_provider_is_asked(lab):
    lab.openai.faults(status=500)
    lab.backup.faults(hold="second")
    for number in range(5):
        connection = ask(lab, "second")
        until(lambda: lab.backup.held("second") > number)
        hang_up(connection)
    lab.backup.release("second")
    records = ended(lab, 5)
    assert all(record["actual"]["input"] > 0 and record["actual"]["output"] == 0 for record in records)
    assert is_charged(lab, "second", records)


def test_while_the_first_provider_is_asked(lab):
    lab.openai.faults(hold="first")
    connections = [ask(lab, "first") for _ in range(5)]
    until(lambda: lab.openai.held("first") == 5)
    for connection in connections:
        hang_up(connection)
    lab.openai.release("first")
    assert is_charged(lab, "first", ended(lab, 5)) and not lab.backup.arrived()


def test_between_two_attempts(lab):
    lab.openai.faults(status=503)
    before = waiting(lab)
    connections = [ask(lab, "alone") for _ in range(2)]  # fewer than the retry budget always lets go
    until(lambda: waiting(lab) == before + 2)
    for connection in connections:
        hang_up(connection)
    records = ended(lab, 2)
    assert [[one["gave_up"] for one in record["attempts"]] for record in records] == [["status"]] * 2
    assert is_charged(lab, "alone", records)


def waiting(lab):
    """How many wait for their next attempt: Envoy's router counts all that ever did, the filter's gauge tells them on a tick."""
    return sum(lab.envoy.stats(r"(openai\.retry\.upstream_rq_completed|spillway\.failover\.repeating)").values())


@NATIVE
@pytest.mark.parametrize("model, second", [("stream", "backup"), ("translated", "anthropic")])
def test_in_the_middle_of_the_second_provider_s_stream(lab, model, second):
    lab.openai.faults(status=503)
    lab.mocks[second].faults(hold=model, hold_after=5, content="some words that a model said " * 20)
    for _ in range(3):
        connection = ask(lab, model, stream=True)
        response = connection.getresponse()
        read_until(response, b"words")
        response.close()
        hang_up(connection)
    lab.mocks[second].release(model)
    records = ended(lab, 3)
    assert all(record["provider"] == second and record["actual"]["output"] > 10 for record in records)
    assert is_charged(lab, model, records)


def test_a_probe_is_given_back(lab):
    lab.mocks["probed"].faults(status=500)
    assert [lab.client().chat(model="probed").status for _ in range(3)] == [200] * 3
    lab.mocks["probed"].faults(hold="probe")
    lab.envoy.records(3)
    time.sleep(0.6)
    before = lab.mocks["probed"].arrived()
    for number in range(2):
        connection = ask(lab, "probed")
        until(lambda: lab.mocks["probed"].held("probe") > number)
        hang_up(connection)
        lab.envoy.records(1)
    assert lab.mocks["probed"].arrived() == before + 2, "the next may probe as soon as the first is gone"
    lab.mocks["probed"].release("probe")
    assert lab.client().chat(model="probed").headers["x-spillway-provider"] == "probed" and lab.idle()
