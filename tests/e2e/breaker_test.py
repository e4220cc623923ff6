"""The breaker on real Envoy with two workers: it opens, traffic moves, and half-open asks exactly as often as it may."""

import threading
import time

import pytest

from lab import TENANTS, read_until, until

from conftest import at_once

#: A short life, so that tests are short; 20 % of jitter on `open`.
BRISK = {"open": "1s", "window": "10m", "min_requests": 20, "consecutive": 5}
REOPENED = 1.5

#: For each test a primary and a backup of its own, and a model whose chain is these two.
PRIMARIES = {
    "consecutive": {"open": "60s"}, "four": {"open": "60s"}, "rate": {"open": "60s"}, "client-errors": {"open": "60s"},
    "slow": {"open": "60s", "slow_first_token": "100ms", "slow_rate": 0.8, "min_requests": 5},
    "reset": {"open": "60s"}, "event": {"open": "60s"}, "gone": {"open": "60s"}, "hang-up": {"open": "60s"},
    "half-open": {"half_open_permits": 3, "half_open_successes": 2}, "probe": {"half_open_permits": 1, "open": "3s"},
    "stragglers": {"half_open_permits": 3, "half_open_successes": 2}, "limited": {"rate_limited": "60s"}, "alone": {"open": "200s"},
    "forced": {"force": "open"}, "long": {},
}


def provider(cluster, **breaker):
    return {"cluster": cluster, "dialect": "openai", "credential": {"env": "BACKUP_API_KEY"},
            "models": {"gpt-4o": {"tokenizer": "o200k"}}, "breaker": {**BRISK, **breaker}}


def policy():
    providers = {name: provider(name, **breaker) for name, breaker in PRIMARIES.items()}
    providers |= {f"{name}-2": provider(f"{name}-2") for name in PRIMARIES}
    models = {name: {"chain": [f"{name}/gpt-4o", f"{name}-2/gpt-4o"]} for name in PRIMARIES}
    models["alone"] = {"chain": ["alone/gpt-4o"]}
    return {"limits": [], "providers": providers, "models": models}


class Chain:
    """One model's chain in the shared lab."""

    def __init__(self, lab, model):
        self.lab, self.envoy, self.model = lab, lab.envoy, model
        self.primary, self.backup = lab.mocks[model], lab.mocks[f"{model}-2"]

    def chat(self, headers=None, timeout=60, **fields):
        return self.lab.client(None, timeout=timeout).chat(model=self.model, headers=headers, **fields)

    def arrived(self):
        return self.primary.arrived(), self.backup.arrived()


@pytest.fixture(scope="module")
def shared(start_once):
    names = (*PRIMARIES, *(f"{name}-2" for name in PRIMARIES))
    return start_once(TENANTS, policy(), providers=names)


@pytest.fixture
def chained(shared):
    return lambda model: Chain(shared, model)


def trip(chain):
    """Five failures in a row."""
    chain.primary.faults(status=500)
    assert [chain.chat().status for _ in range(5)] == [500] * 5
    chain.primary.faults()


def test_five_500s_in_a_row_open_it_and_traffic_moves(chained):
    chain = chained("consecutive")
    chain.envoy.skip_records()
    trip(chain)
    assert [chain.chat().status for _ in range(10)] == [200] * 10
    assert chain.arrived() == (5, 10)
    record = chain.envoy.records(15)[-1]["spillway"]
    assert record["provider"] == "consecutive-2"
    assert record["passed_over"] == [{"candidate": "consecutive/gpt-4o", "reason": "open"}]
    assert chain.envoy.metric("spillway_breaker_transition", provider="consecutive", state="open") == 1


def test_four_500s_and_a_good_answer_do_not(chained):
    chain = chained("four")
    chain.primary.faults(status=500, k=4, n=5)
    statuses = [chain.chat().status for _ in range(15)]
    assert statuses == [500, 500, 500, 500, 200] * 3


def test_a_good_and_a_bad_answer_in_turn_open_it_by_rate(chained):
    chain = chained("rate")
    chain.primary.faults(status=500, k=1, n=2)
    statuses = [chain.chat().status for _ in range(40)]
    assert statuses == [500, 200] * 10 + [200] * 20
    assert chain.arrived() == (20, 20)


def test_404_and_400_never_open_it(chained):
    chain = chained("client-errors")
    chain.primary.faults(status=404)
    assert [chain.chat().status for _ in range(30)] == [404] * 30


def test_a_slow_first_token_opens_it_though_every_answer_is_good(chained):
    chain = chained("slow")
    chain.primary.faults(delay_first_ms=250)
    streams = [chain.chat(stream=True) for _ in range(8)]
    assert all(stream.events()[-1] == "[DONE]" for stream in streams)
    assert chain.arrived() == (5, 3)


def test_a_stream_that_breaks_off_counts_as_a_failure(chained):
    chain = chained("reset")
    chain.primary.faults(reset_after=3)
    assert all(chain.chat(stream=True).events()[-1] != "[DONE]" for _ in range(5))
    assert chain.chat(stream=True).events()[-1] == "[DONE]"
    assert chain.backup.arrived() == 1


def test_an_error_event_in_a_good_stream_counts_as_a_failure(chained):
    chain = chained("event")
    chain.primary.faults(error_after=3)
    assert [chain.chat(stream=True).status for _ in range(5)] == [200] * 5
    assert chain.chat().status == 200 and chain.backup.arrived() == 1


def test_a_provider_that_is_not_there_is_left_alone(chained):
    chain = chained("gone")
    chain.primary.stop()
    assert [chain.chat().status for _ in range(8)] == [503] * 5 + [200] * 3


def test_clients_that_hang_up_do_not_open_it(chained):
    chain = chained("hang-up")
    chain.envoy.skip_records()
    body = '{"model":"hang-up","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    headers = {"content-type": "application/json"}
    chain.primary.faults(hold="gone", hold_after=3)
    for _ in range(8):
        connection = chain.lab.client(None).open("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        read_until(response, b"data:")
        response.close()
        connection.close()
    assert {line["spillway"]["end"] for line in chain.envoy.records(8)} == {"client_abort"}
    chain.primary.reset()
    assert chain.chat().status == 200 and chain.backup.arrived() == 0


def half_open_burst(chain, group):
    """How many of 50 at once reach the primary while it is half-open; all are answered in the end."""
    chain.primary.faults(hold=group)
    before, answered = chain.primary.arrived(), []

    def ask(number):
        if number:
            answered.append(chain.chat().status)
            return answered[-1]
        until(lambda: len(answered) + chain.primary.held(group) == 50)
        reached = chain.primary.arrived() - before
        chain.primary.faults()
        chain.primary.release(group)
        return reached

    reached, *_ = at_once(51, ask)
    assert answered == [200] * 50
    return reached


def test_half_open_lets_exactly_the_permitted_number_through_and_recovers(chained):
    chain = chained("half-open")
    trip(chain)
    time.sleep(REOPENED)
    assert half_open_burst(chain, "probe") == 3
    assert chain.envoy.workers_that_served() == 2
    before = chain.primary.arrived()
    assert [chain.chat().status for _ in range(5)] == [200] * 5
    assert chain.primary.arrived() - before == 5, "closed again"


def test_a_failed_probe_opens_it_for_twice_as_long(chained):
    chain = chained("probe")
    trip(chain)
    chain.primary.faults(status=500)
    failed = until(lambda: (asked := time.monotonic()) and chain.chat().status == 500 and asked, pause=0.05)
    chain.primary.faults()
    before = chain.primary.arrived()
    until(lambda: chain.chat().status == 200 and chain.primary.arrived() > before, pause=0.05)
    # With 20 % of jitter: as long as before were 3.6 s at most, four times as long 9.6 at least.
    assert 4.8 <= time.monotonic() - failed < 9.6


def test_stragglers_from_before_change_nothing(chained):
    chain, slow = chained("stragglers"), []
    threads = [threading.Thread(target=lambda: slow.append(chain.chat({"x-mock-hold": "old"}).status))
               for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: chain.primary.held("old") == 4)
    trip(chain)
    time.sleep(REOPENED)
    chain.primary.release("old")
    for thread in threads:
        thread.join()
    assert slow == [200] * 4
    assert half_open_burst(chain, "probe") == 3, "four good old answers didn't close it"


def test_a_429_with_retry_after_3_holds_for_3_seconds(chained):
    chain = chained("limited")
    chain.primary.faults(status=429, retry_after=3, k=1, n=1_000_000)
    began = time.monotonic()
    assert chain.chat().status == 429
    until(lambda: chain.chat().status == 200 and chain.primary.arrived() > 1, pause=0.05)
    assert time.monotonic() - began >= 3


def test_when_all_are_open_the_client_is_told_when_to_come_back(chained):
    chain = chained("alone")
    trip(chain)
    refused = chain.chat()
    assert refused.status == 503 and refused.json()["error"]["message"]
    assert 140 <= int(refused.headers["retry-after"]) <= 240
    assert chain.primary.arrived() == 5


def test_an_operator_can_force_it_open(chained):
    chain = chained("forced")
    assert chain.chat().status == 200
    assert chain.arrived() == (0, 1)


def test_answers_that_take_longer_than_envoy_s_15_seconds_arrive_whole(chained):
    chain = chained("long")
    asks = [{"x-mock-events": "17", "x-mock-gap-ms": "1000"}, {"x-mock-delay-first-ms": "17000"}]
    stream, whole = at_once(2, lambda n: chain.chat(asks[n], timeout=60, stream=n == 0))
    assert stream.events()[-1] == "[DONE]" and stream.seconds >= 17
    assert len(stream.events()) >= 17
    assert whole.status == 200 and whole.json()["choices"] and whole.seconds >= 17
