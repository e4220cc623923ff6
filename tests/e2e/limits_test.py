"""Limits on real Envoy with two workers: exact under concurrency, settled by usage, in debt to nobody."""

import time

import pytest

from lab import TENANTS, until

from conftest import FULL, HEADERS_FIRST, at_once

#: Nothing of it comes back during a test: a token takes half an hour.
CAPACITY = 10_000
BUDGET = {"limits": [{"name": "budget", "per": ["caller"], "tokens": "50/day", "burst": str(CAPACITY), "reserve": "max"}]}
NARROW = {"limits": [
    {"name": "two", "per": ["caller"], "requests": "2/min"},
    {"name": "quiet", "per": ["caller"], "requests": "1/h", "mode": "shadow"},
]}


@pytest.fixture(scope="module", params=[FULL, HEADERS_FIRST])
def budgeted(request, start_once):
    return start_once(TENANTS, BUDGET, file=request.param)


@pytest.fixture
def lab(budgeted):
    budgeted.reset()
    budgeted.envoy.skip_records()
    return budgeted


@pytest.fixture
def client(lab, request):
    """A caller of this test's own, with all of its budget."""
    return lab.tenant(request.node.name).with_headers(x_model="gpt-4o")


@pytest.fixture(scope="module")
def narrow(start_once):
    return start_once(TENANTS, NARROW)


def left(client):
    """What the budget still holds, exactly: a request for all of it is refused and told so; None when all is there."""
    answer = client.chat(max_tokens=CAPACITY * 10, headers={"x-mock-usage": "0,0"})
    return int(answer.headers["x-ratelimit-remaining-tokens"]) if answer.status == 429 else None


@pytest.mark.parametrize("file", [FULL, HEADERS_FIRST])
def test_of_a_hundred_at_once_exactly_ten_pass(start, file):
    lab = start(TENANTS, {"limits": [{"name": "ten", "per": ["caller"], "requests": "10/h"}]}, file=file)
    for repeat in range(20):
        group, client = f"g{repeat}", lab.tenant(f"t{repeat}")
        refused = []

        def ask(_, group=group, client=client, refused=refused):
            answer = client.chat(headers={"x-mock-hold": group, "x-model": "gpt-4o"})
            if answer.status == 429:
                refused.append(answer)
            return answer.status

        def release_when_all_are_there(group=group, refused=refused):
            until(lambda: len(refused) + lab.openai.held(group) == 100)
            held = lab.openai.held(group)
            lab.openai.release(group)
            return held

        statuses = at_once(101, lambda n: ask(n) if n else release_when_all_are_there())
        assert statuses[0] == 10, f"repeat {repeat}: {statuses[0]} were held at the provider"
        assert sorted(statuses[1:]) == [200] * 10 + [429] * 90, f"repeat {repeat}"
    assert lab.envoy.workers_that_served() == 2


def test_after_concurrent_answers_the_budget_is_short_by_their_usage(lab, client):
    answers = at_once(8, lambda _: client.chat(max_tokens=1000, headers={"x-mock-usage": "30,20"}))
    assert [answer.status for answer in answers] == [200] * 8
    lab.envoy.records(8)
    assert left(client) == CAPACITY - 400


def test_usage_settles_what_was_reserved(lab, client):
    assert client.chat(max_tokens=3000, headers={"x-mock-usage": "30,20"}).status == 200
    lab.envoy.records(1)
    assert left(client) == CAPACITY - 50


def test_usage_at_the_end_of_a_stream_settles_it_too(lab, client):
    stream = client.chat(max_tokens=3000, stream=True, headers={"x-mock-usage": "300,200"})
    assert stream.events()[-1] == "[DONE]"
    lab.envoy.records(1)
    assert left(client) == CAPACITY - 500


def test_more_than_was_reserved_is_charged_as_debt(lab, client):
    assert client.chat(max_tokens=20, headers={"x-mock-usage": f"5,{CAPACITY}"}).status == 200
    lab.envoy.records(1)
    refused = client.chat(max_tokens=20)
    assert refused.status == 429 and refused.headers["x-ratelimit-remaining-tokens"] == "0"


def test_a_prompt_that_can_never_fit_is_400_and_not_429_for_ever(lab, client):
    answer = client.chat("water " * CAPACITY * 2)
    assert answer.status == 400 and "retry-after" not in answer.headers
    assert lab.openai.stats()["answered"] == {}


def test_a_huge_max_tokens_reserves_the_capacity_and_no_more(lab, client):
    assert client.chat(max_tokens=10**12, headers={"x-mock-usage": "9,9"}).status == 200
    lab.envoy.records(1)
    assert left(client) == CAPACITY - 18


def test_a_client_that_hangs_up_pays_for_what_it_got(lab, client):
    faults = {"x-mock-events": "100", "x-mock-hold": "rest", "x-mock-hold-after": "25",
              "x-mock-content": "some words that a model could well have said"}
    body = '{"model":"gpt-4o","stream":true,"max_tokens":5000,"messages":[{"role":"user","content":"hi"}]}'
    connection = client.open("POST", "/v1/chat/completions", body, {"content-type": "application/json", **faults})
    response = connection.getresponse()
    assert response.status == 200 and len(response.read(3000)) == 3000
    response.close()
    connection.close()
    (line,) = lab.envoy.records(1)
    assert line["spillway"]["end"] == "client_abort"
    charged = line["spillway"]["actual"]
    spent = CAPACITY - left(client)
    assert 5 < spent < 1000, "neither nothing nor all that was reserved"
    assert spent == charged["input"] + charged["output"]


def test_what_a_refused_client_is_told(narrow):
    client, began = narrow.tenant("refused"), time.monotonic()
    admitted = [client.chat() for _ in range(2)]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in admitted] == ["1", "0"]
    refused = client.chat()
    assert refused.status == 429 and refused.json()["error"]["type"]
    soonest = began + 30 - time.monotonic()
    assert soonest <= int(refused.headers["retry-after"]) <= 31
    assert soonest * 1000 <= int(refused.headers["retry-after-ms"]) <= 31_000
    assert refused.headers["x-ratelimit-limit-requests"] == "2"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.headers["ratelimit"] and refused.headers["ratelimit-policy"]
    messages = client.messages()
    assert messages.status == 429 and messages.json()["error"]["type"] == "rate_limit_error"
    assert messages.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert narrow.openai.arrived() + narrow.anthropic.arrived() == 2


def test_a_provider_s_own_pooled_limits_never_reach_a_tenant(narrow):
    answer = narrow.tenant("pooled").chat(headers={"x-mock-remaining": "77,88"})
    assert answer.status == 200 and not {"77", "88"} & set(answer.headers.values())


def test_a_shadow_limit_counts_and_lets_pass(narrow):
    before = narrow.envoy.metric("spillway_limit", limit="quiet", decision="shadow")
    narrow.envoy.skip_records()
    assert [narrow.tenant("shadow").chat().status for _ in range(2)] == [200] * 2
    assert narrow.envoy.records(2)[1]["spillway"]["limits_shadow"] == ["quiet"]
    assert narrow.envoy.metric("spillway_limit", limit="quiet", decision="shadow") - before == 1
