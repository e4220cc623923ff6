"""Failing over inside one request by callouts: Envoy as it is set up without a provider role, whole and streamed."""

import json
import time

import openai
import pytest

from lab import BACKUP, caller_key, calm, charged, dying, provider, read_until, until
from lab.config import SECRETS, merged

from conftest import FULL, HEADERS_FIRST, at_once

TURN = [{"role": "user", "content": "How deep is the water?"}]


#: Whose breakers remember what a test did to them have a test of their own.
PROVIDERS = {
    **provider("dead", breaker={"force": "closed"}),
    **provider("limited", models=("short", "long")),
    **provider("tripping", breaker={"consecutive": 2, "min_requests": 1_000_000, "open": "60s"}),
}
MOCKS = ("openai", "anthropic", "backup", *PROVIDERS)
PAIR = ["openai/gpt-4o", "backup/gpt-4o"]
#: What a test can wait for, and no stall of a good provider exceeds.
SHORT = {"base": "3s", "per_1k_prompt": "0s"}
STATIC = {"status": 200, "body": {"choices": [{"message": {"role": "assistant", "content": "later"}}]}}
#: Two providers of gpt-4o, one of gpt-4o-mini; breakers stay out of the way.
POLICY = merged({**BACKUP, **calm("openai", "anthropic", "backup")}, {
    "providers": {**BACKUP["providers"], **PROVIDERS},
    "models": {"gpt-4o": {"chain": PAIR}, "gpt-4o-mini": {"chain": ["openai/gpt-4o-mini"]},
               "hasty": {"chain": PAIR, "failover": {"timeouts": {
                   "first_token": SHORT, "whole": {**SHORT, "per_1k_output": "0s"}}}},
               "slow-to-begin": {"chain": PAIR, "failover": {"timeouts": {"first_token": SHORT}}},
               "dead": {"chain": ["dead/gpt-4o", "backup/gpt-4o"]}, "dead-alone": {"chain": ["dead/gpt-4o"]},
               "tripping": {"chain": ["tripping/gpt-4o", "backup/gpt-4o"]},
               "static": {"chain": PAIR, "failover": {"exhausted": STATIC}},
               **{f"limited-{name}": {"chain": [f"limited/{name}"]} for name in ("short", "long")}},
    "limits": [],
    "validate": [{"name": "s", "when": {"header": {"x-check": "yes"}}, "schema": {"type": "object", "required": ["id"]},
                  "on_invalid": ["reject"]}],
    "failover": {"via": "callout", "backoff": {"base": "100ms", "max": "200ms"}, "deadline_header": "x-deadline-ms",
                 "timeouts": {"first_token": {"base": "30s"}}},
})
WHOLE_AND_STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module", params=[FULL, HEADERS_FIRST], ids=["full", "headers-first"])
def shared(request, start_once):
    return begun(start_once, request.param)


@pytest.fixture(scope="module")
def full_once(start_once):
    return begun(start_once, FULL)


def begun(start_once, file):
    lab = start_once(POLICY, file=file, providers=MOCKS)
    lab.mocks["dead"].stop()
    return lab


def ready(lab):
    lab.reset()
    lab.envoy.skip_records()
    return lab


@pytest.fixture
def full(full_once):
    return ready(full_once)


def sdk(lab, model="gpt-4o"):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{lab.envoy.port}/v1", api_key=caller_key("alice"), max_retries=0,
                         default_headers={"x-model": model})


def said(lab, stream, model="gpt-4o", **fields):
    """What the SDK makes of an answer."""
    answer = sdk(lab, model).chat.completions.create(model=model, messages=TURN, stream=stream, **fields)
    if not stream:
        return answer.choices[0].message.content
    return "".join(chunk.choices[0].delta.content or "" for chunk in answer)


def attempts(lab):
    (line,) = lab.envoy.records(1)
    return line["spillway"].get("attempts", [])


def moved(lab, stream, why, model="gpt-4o", first_asked="openai"):
    """The SDK gets a normal answer of the second provider, the record says why."""
    assert said(lab, stream, model).startswith("Water")
    first, second = attempts(lab)
    assert (first["provider"], first["gave_up"]) == (first_asked, why)
    assert (second["provider"], second["status"]) == ("backup", 200) and second["tokens"] > 0
    assert lab.backup.arrived() == 1
    return first


@WHOLE_AND_STREAMED
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
def test_a_status_of_the_policy_moves_on(lab, stream, status):
    lab.openai.faults(status=status, retry_after=30)
    first = moved(lab, stream, "rate_limited" if status == 429 else "status")
    assert first["status"] == status


@WHOLE_AND_STREAMED
def test_a_provider_that_breaks_the_connection_moves_on(lab, stream):
    # A streaming mock sends its head first: the fault is of the whole answers alone.
    lab.openai.faults(reset_after=0)
    if stream:
        lab.openai.faults(status=500, reset_after=0)
    moved(lab, stream, "reset")


@WHOLE_AND_STREAMED
def test_a_provider_that_says_nothing_in_time_moves_on(full, stream):
    full.openai.faults(hold="late")
    first = moved(full, stream, "timeout", "hasty")
    assert first["tokens"] > 0, "the prompt may have been read"


def test_a_stream_whose_first_token_does_not_come_in_time_moves_on(full):
    full.openai.faults(hold="late", hold_after=0)
    moved(full, True, "timeout", "slow-to-begin")


def test_a_stream_that_begins_with_an_error_moves_on(full):
    full.openai.faults(error_after=0)
    moved(full, True, "stream_error")


def test_a_stream_that_fails_after_its_first_token_is_not_repeated(full):
    full.openai.faults(error_after=3)
    answer = full.client().chat(stream=True)
    assert answer.status == 200 and "error" in answer.events()[-1] and full.backup.arrived() == 0


def test_a_good_stream_is_not_held_any_further_than_its_first_token(full):
    body = json.dumps({"model": "gpt-4o", "messages": TURN, "stream": True})
    full.openai.faults(hold="rest", hold_after=2)
    headers = {"content-type": "application/json"}
    response = full.client().open("POST", "/v1/chat/completions", body, headers).getresponse()
    read_until(response, b"Water")
    until(lambda: full.openai.held("rest") == 1)  # it counts a moment after it has written
    full.openai.release("rest")
    assert response.read().endswith(b"data: [DONE]\n\n")


@WHOLE_AND_STREAMED
def test_a_provider_that_is_not_there_moves_on(full, stream):
    moved(full, stream, "connect", "dead", "dead")


def test_no_provider_sees_anothers_credential_or_the_callers(lab):
    lab.openai.faults(status=500)
    said(lab, False)
    seen = json.dumps(lab.backup.last_headers())
    assert lab.backup.last_headers()["authorization"] == [f"Bearer {SECRETS['BACKUP_API_KEY']}"]
    for secret in (SECRETS["OPENAI_API_KEY"], SECRETS["ANTHROPIC_API_KEY"], caller_key("alice")):
        assert secret not in seen
    assert lab.backup.last_body()["messages"] == TURN


def test_what_the_client_asks_for_reaches_the_second_unchanged(lab):
    lab.openai.faults(status=500)
    said(lab, True, temperature=0.3, max_tokens=17)
    body = lab.backup.last_body()
    assert (body["temperature"], body["max_tokens"], body["stream"]) == (0.3, 17, True)
    assert body["stream_options"] == {"include_usage": True}


def test_the_only_candidate_is_asked_again_after_a_short_wait(lab):
    lab.openai.faults(status=503, k=1, n=1_000)
    answer = lab.client().chat(model="gpt-4o-mini", headers={"x-model": "gpt-4o-mini"})
    assert answer.status == 200
    first, second = attempts(lab)
    assert (first["status"], second["status"], first["provider"]) == (503, 200, "openai")


def test_a_429_with_a_short_retry_after_is_waited_for_and_a_long_one_is_not(full):
    limited = full.mocks["limited"]
    limited.faults(status=429, retry_after=1, k=1, n=1_000)
    waited = full.client().chat(model="limited-short")
    assert waited.status == 200 and waited.seconds >= 0.95
    limited.faults(status=429, retry_after=120)
    refused = full.client().chat(model="limited-long")
    assert refused.status == 429 and refused.headers["retry-after"] == "120" and limited.arrived() == 3


def test_when_everybody_fails_the_last_ones_own_answer_comes_through(lab):
    lab.openai.faults(status=500)
    lab.backup.faults(status=529, retry_after=9)
    answer = lab.client().chat(headers={"x-model": "gpt-4o"})
    assert answer.status == 529 and answer.headers["retry-after"] == "9" and answer.json()["error"]
    assert answer.headers["x-spillway-provider"] == "backup"
    assert [attempt["status"] for attempt in attempts(lab)] == [500, 529]


def test_when_nobody_is_there_the_error_is_clear(full):
    with pytest.raises(openai.InternalServerError) as refused:
        said(full, False, "dead-alone")
    assert refused.value.status_code == 503 and "provider" in str(refused.value)
    assert int(refused.value.response.headers["retry-after"]) >= 1


@WHOLE_AND_STREAMED
def test_the_policys_static_answer_ends_the_chain(full, stream):
    for mock in (full.openai, full.backup):
        mock.faults(status=500)
    answer = full.client().chat(model="static", stream=stream)
    assert answer.status == 200 and answer.json() == STATIC["body"]
    assert answer.headers["x-spillway-exhausted"] == "true"


def test_what_lives_at_one_provider_stays_there(full):
    full.openai.faults(status=503)
    answer = full.client().post("/v1/responses", {"model": "gpt-4o", "input": "hi", "previous_response_id": "r_1"})
    assert answer.status == 503 and full.backup.arrived() == 0
    answer = full.client().post("/v1/responses", {"model": "gpt-4o", "input": "hi"})
    assert answer.status == 200 and full.backup.arrived() == 1


def test_a_request_that_is_refused_for_itself_is_not_sent_again(full):
    for status in (400, 401, 404, 422):
        full.openai.faults(status=status)
        assert full.client().chat().status == status
    assert full.backup.arrived() == 0


def test_the_clients_deadline_bounds_it_all(full):
    full.openai.faults(status=500)
    full.backup.faults(hold="late")
    answer = full.client().chat(headers={"x-deadline-ms": "4000"})
    assert answer.status == 503 and 3.5 < answer.seconds < 20


def test_a_client_that_hangs_up_during_a_call_leaves_nothing_behind(full):
    full.openai.faults(status=500)
    full.backup.faults(hold="gone")
    body = json.dumps({"model": "gpt-4o", "messages": TURN})
    for number in range(5):
        connection = full.client().open("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        until(lambda: full.backup.held("gone") > number)
        connection.sock.close()
        connection.close()
    lines = full.envoy.records(5)
    assert {line["spillway"]["end"] for line in lines} == {"client_abort"}
    assert all(line["spillway"]["actual"]["input"] > 0 for line in lines)
    full.backup.release("gone")
    full.backup.faults()
    assert said(full, False).startswith("Water")
    until(lambda: not full.envoy.stats("cluster.backup.upstream_rq_active")["cluster.backup.upstream_rq_active"])


def test_an_answer_that_came_by_a_call_is_validated(full):
    full.openai.faults(status=500)
    full.backup.faults(content="no json")
    answer = full.client().chat(headers={"x-check": "yes"})
    assert answer.status == 502 and answer.headers["x-spillway-validation"] == "not_json"
    full.backup.faults(content='{"id": 1}')
    assert full.client().chat(headers={"x-check": "yes"}).headers["x-spillway-validation"] == "valid"


def test_metrics_and_breakers_hear_of_each_attempt(full):
    tripping = full.mocks["tripping"]
    tripping.faults(status=500)
    before = full.envoy.metric("spillway_failover_callout", provider="backup")
    assert [full.client().chat(model="tripping").status for _ in range(4)] == [200] * 4
    assert (tripping.arrived(), full.backup.arrived()) == (2, 4), "from then on it isn't asked first"
    assert full.envoy.metric("spillway_fallback", provider="tripping", reason="status") == 2
    assert full.envoy.metric("spillway_failover_callout", provider="backup") == before + 2


def test_an_outage_is_not_amplified_beyond_the_retry_budget(full):
    lab = full
    before = lab.envoy.metric("spillway_failover_unmoved", reason="budget")
    lab.openai.faults(status=503, hold="all")

    def ask(number):
        if number:
            return lab.client().chat(model="gpt-4o-mini").status
        until(lambda: lab.openai.held("all") == 200)
        until(lambda: sum(lab.envoy.stats(r"spillway\.failover\.active").values()) == 200)  # each worker has told its own
        lab.openai.release("all")
        return 503

    assert set(at_once(201, ask)) == {503}
    repeats = lab.openai.arrived() - 200
    assert 20 <= repeats <= 2 * 40, "two each for at most a fifth of 200"
    assert lab.envoy.metric("spillway_failover_unmoved", reason="budget") >= before + 160


def test_200_at_once_while_a_provider_dies_and_comes_back(start):
    """No client sees it; nothing leaks; what is charged is what all attempts used."""
    limits = [{"name": "budget", "per": ["caller"], "tokens": "10M/day", "reserve": "max"}]
    lab = start(POLICY, {"validate": [], "limits": limits, "providers": {"openai": {"breaker": {
        "force": None, "consecutive": 5, "open": "1s"}}}})
    began = time.monotonic()
    with dying(lab.openai, [{"status": 503}], 0.7):
        answers = at_once(200, lambda n: [lab.client().chat(stream=n % 2 == 0, max_tokens=50) for _ in range(5)])
    flat = [answer for group in answers for answer in group]
    assert {answer.status for answer in flat} == {200}
    assert not any(answer.broken for answer in flat)
    records = [line["spillway"] for line in lab.envoy.records(1000)]
    moved_on = [record for record in records if record.get("attempts")]
    assert moved_on, "the provider never failed anybody"
    total = charged(records)
    last = lab.client().chat(max_tokens=1)
    left = int(last.headers["x-ratelimit-remaining-tokens"])
    reserved = lab.envoy.records(1)[0]["spillway"]["reserved"]
    refilled = 10_000_000 / 86_400 * (time.monotonic() - began) + 1
    assert total - refilled <= 10_000_000 - left - reserved <= total
    assert lab.idle() and not lab.seen_of_others("openai") and not lab.seen_of_others("backup")
