"""The breaker on real Envoy with two workers: it opens, traffic moves, and half-open asks exactly as often as it may."""

import threading
import time

import pytest

from lab import BACKUP, TENANTS

from conftest import at_once

#: A short life, so that tests are short; 20 % of jitter on `open`.
BRISK = {"open": "1s", "window": "10s", "min_requests": 20, "consecutive": 5}
REOPENED = 1.5


def breaker(**fields):
    return {"limits": [], "providers": {"openai": {"breaker": {**BRISK, **fields}}}}


@pytest.fixture
def chained(start):
    """A lab whose chain is openai, then backup."""
    return lambda **fields: start(TENANTS, BACKUP, breaker(**fields))


def trip(lab):
    """Five failures in a row."""
    lab.openai.faults(status=500)
    assert [lab.client(None).chat().status for _ in range(5)] == [500] * 5
    lab.openai.faults()


def test_five_500s_in_a_row_open_it_and_traffic_moves(chained):
    lab = chained(open="60s")
    trip(lab)
    answers = [lab.client(None).chat() for _ in range(10)]
    assert [answer.status for answer in answers] == [200] * 10
    assert (lab.openai.arrived(), lab.backup.arrived()) == (5, 10)
    record = lab.envoy.records(15)[-1]["spillway"]
    assert record["provider"] == "backup"
    assert record["passed_over"] == [{"candidate": "openai/gpt-4o", "reason": "open"}]
    assert lab.envoy.metric("spillway_breaker_transition", provider="openai", state="open") == 1


def test_four_500s_and_a_good_answer_do_not(chained):
    lab = chained(open="60s")
    lab.openai.faults(status=500, k=4, n=5)
    assert [lab.client(None).chat().status for _ in range(10)] == [500, 500, 500, 500, 200] * 2


def test_a_good_and_a_bad_answer_in_turn_open_it_by_rate(chained):
    lab = chained(open="60s")
    lab.openai.faults(status=500, k=1, n=2)
    statuses = [lab.client(None).chat().status for _ in range(40)]
    assert statuses[:20] == [500, 200] * 10 and statuses[20:] == [200] * 20
    assert (lab.openai.arrived(), lab.backup.arrived()) == (20, 20)


def test_404_and_400_never_open_it(chained):
    lab = chained(open="60s")
    lab.openai.faults(status=404)
    assert [lab.client(None).chat().status for _ in range(30)] == [404] * 30


def test_a_slow_first_token_opens_it_though_every_answer_is_good(chained):
    lab = chained(open="60s", slow_first_token="100ms", slow_rate=0.8, min_requests=5)
    lab.openai.faults(delay_first_ms=250)
    streams = [lab.client(None).chat(stream=True) for _ in range(8)]
    assert all(stream.events()[-1] == "[DONE]" for stream in streams)
    assert (lab.openai.arrived(), lab.backup.arrived()) == (5, 3)


def test_a_stream_that_breaks_off_counts_as_a_failure(chained):
    lab = chained(open="60s")
    lab.openai.faults(reset_after=3)
    assert all(lab.client(None).chat(stream=True).events()[-1] != "[DONE]" for _ in range(5))
    assert lab.client(None).chat(stream=True).events()[-1] == "[DONE]"
    assert lab.backup.arrived() == 1


def test_an_error_event_in_a_good_stream_counts_as_a_failure(chained):
    lab = chained(open="60s")
    lab.openai.faults(error_after=3)
    for _ in range(5):
        assert lab.client(None).chat(stream=True).status == 200
    assert lab.client(None).chat().status == 200 and lab.backup.arrived() == 1


def test_a_provider_that_is_not_there_is_left_alone(chained):
    lab = chained(open="60s")
    lab.openai.stop()
    statuses = [lab.client(None).chat().status for _ in range(8)]
    assert statuses == [503] * 5 + [200] * 3


def test_clients_that_hang_up_do_not_open_it(chained):
    lab = chained(open="60s")
    body = '{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    for _ in range(8):
        client = lab.client(None).with_headers(x_mock_gap_ms=50, x_mock_events=20, content_type="application/json")
        connection = client.open("POST", "/v1/chat/completions", body)
        connection.getresponse().read(200)
        connection.close()
    lab.envoy.records(8)
    assert lab.client(None).chat().status == 200 and lab.backup.arrived() == 0


def half_open_burst(lab, group):
    """How many of 50 at once reach the primary while it is half-open; all are answered in the end."""
    lab.openai.faults(hold=group)
    before, answered = lab.openai.arrived(), []

    def ask(number):
        if number:
            answer = lab.client(None).chat().status
            answered.append(answer)
            return answer
        until = time.monotonic() + 30
        while len(answered) + lab.openai.held(group) < 50 and time.monotonic() < until:
            time.sleep(0.01)
        reached = lab.openai.arrived() - before
        lab.openai.faults()
        lab.openai.release(group)
        return reached

    reached, *statuses = at_once(51, ask)
    assert statuses == [200] * 50
    return reached


def test_half_open_lets_exactly_the_permitted_number_through_and_recovers(chained):
    lab = chained(half_open_permits=3, half_open_successes=2)
    trip(lab)
    time.sleep(REOPENED)
    assert half_open_burst(lab, "probe") == 3
    assert lab.envoy.workers_that_served() == 2
    before = lab.openai.arrived()
    assert [lab.client(None).chat().status for _ in range(5)] == [200] * 5
    assert lab.openai.arrived() - before == 5, "closed again"


def test_a_failed_probe_opens_it_for_twice_as_long(chained):
    lab = chained(half_open_permits=1)
    trip(lab)
    time.sleep(REOPENED)
    lab.openai.faults(status=500)
    assert lab.client(None).chat().status == 500
    lab.openai.faults()
    opened, before = time.monotonic(), lab.openai.arrived()
    while lab.openai.arrived() == before:
        assert lab.client(None).chat().status == 200
        time.sleep(0.05)
    assert 1.5 <= time.monotonic() - opened <= 2.8


def test_stragglers_from_before_change_nothing(chained):
    lab = chained(half_open_permits=3, half_open_successes=2)
    slow = []
    held = lab.client(None).with_headers(x_mock_hold="old")
    threads = [threading.Thread(target=lambda: slow.append(held.chat().status)) for _ in range(4)]
    for thread in threads:
        thread.start()
    while lab.openai.held("old") < 4:
        time.sleep(0.01)
    trip(lab)
    time.sleep(REOPENED)
    lab.openai.release("old")
    for thread in threads:
        thread.join()
    assert slow == [200] * 4
    assert half_open_burst(lab, "probe") == 3, "four good old answers didn't close it"


def test_a_429_with_retry_after_7_holds_for_7_seconds(chained):
    lab = chained()
    lab.openai.faults(status=429, retry_after=7, k=1, n=1_000_000)
    assert lab.client(None).chat().status == 429
    began = time.monotonic()
    while lab.openai.arrived() == 1:
        assert lab.client(None).chat().status == 200
        assert time.monotonic() - began < 10
        time.sleep(0.1)
    assert 6.9 <= time.monotonic() - began <= 8


def test_when_all_are_open_the_client_is_told_when_to_come_back(start):
    lab = start(TENANTS, breaker(open="20s"))
    trip(lab)
    refused = lab.client(None).chat()
    assert refused.status == 503 and refused.json()["error"]["message"]
    assert 14 <= int(refused.headers["retry-after"]) <= 25
    assert lab.openai.arrived() == 5
    messages = lab.client(None).messages()
    assert messages.status == 200, "the other provider has a breaker of its own"


def test_an_operator_can_force_it_open(start):
    lab = start(TENANTS, BACKUP, {"limits": []}, {"providers": {"openai": {"breaker": {"force": "open"}}}})
    assert lab.client(None).chat().status == 200
    assert (lab.openai.arrived(), lab.backup.arrived()) == (0, 1)


def test_answers_of_40_seconds_arrive_whole(start):
    lab = start(TENANTS, {"limits": []})
    asks = [{"x-mock-events": "41", "x-mock-gap-ms": "1000"}, {"x-mock-delay-first-ms": "40000"}]
    client = lab.client(None, timeout=90)
    stream, whole = at_once(2, lambda n: client.chat(stream=n == 0, headers=asks[n]))
    assert stream.events()[-1] == "[DONE]" and 40 <= stream.seconds < 60
    assert len(stream.events()) >= 41
    assert whole.status == 200 and whole.json()["choices"] and 40 <= whole.seconds < 60
