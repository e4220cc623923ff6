"""Bad input on real Envoy, in both host settings: nothing traps, nothing hangs, no charge is lost.

That nothing trapped is asserted for every lab in the end (conftest.py).
"""

import json

import pytest

from lab import TENANTS

from conftest import FULL, HEADERS_FIRST

CAPACITY = 1_000_000
BUDGET = {"limits": [{"name": "budget", "per": ["caller"], "tokens": f"{CAPACITY}/day", "reserve": "max"}]}
#: Failures on purpose are not to move traffic here.
STEADY = {"providers": {"openai": {"breaker": {"force": "closed"}}}}
TURN = '"messages":[{"role":"user","content":"hi"}]'


@pytest.fixture(scope="module", params=[FULL, HEADERS_FIRST])
def lab(request, start_once):
    return start_once(TENANTS, BUDGET, STEADY, file=request.param)


@pytest.fixture
def client(lab, request):
    """A caller of this test's own, so that its budget is untouched."""
    lab.reset()
    return lab.tenant(request.node.name).with_headers(x_model="gpt-4o")


def spent(client):
    """What the caller has been charged; a request for all there is tells."""
    answer = client.chat(max_tokens=CAPACITY * 10, headers={"x-mock-usage": "0,0", "x-model": "gpt-4o"})
    assert answer.status in (200, 429), answer
    return CAPACITY - int(answer.headers["x-ratelimit-remaining-tokens"]) if answer.status == 429 else 0


def chat(extra):
    return f'{{"model":"gpt-4o",{TURN},{extra}}}'


#: body → statuses that are right. What the provider alone can judge may pass.
REQUESTS = {
    "not JSON": ("so deep", {400}),
    "cut JSON": ('{"model":"gpt-4o","messages":[{"ro', {400}),
    "zero length": ("", {400}),
    "an array": ("[]", {400}),
    "no model": (f"{{{TURN}}}", {400}),
    "model not a text": (f'{{"model":7,{TURN}}}', {400}),
    "an unknown model": (f'{{"model":"gpt-99",{TURN}}}', {404}),
    "negative max_tokens": (chat('"max_tokens":-1'), {400}),
    "max_tokens not a number": (chat('"max_tokens":"all"'), {400}),
    "huge max_tokens": (chat('"max_tokens":99999999999999999999999'), {200, 400}),
    "negative n": (chat('"n":-3'), {400}),
    "huge n": (chat('"n":999999999999'), {200, 400, 429}),
    "nested 10,000 deep": (chat('"metadata":' + '{"a":' * 10_000 + "1" + "}" * 10_000), {200, 400}),
    "1 MB of spaces": (json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": " " * 1_000_000}]}),
                       {200, 400, 429}),
    "1 MB of one letter": (json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "-" * 1_000_000}]}),
                           {200, 400, 429}),
    "model twice": ('{"model":"gpt-4o-mini","model":"gpt-4o",' + TURN + "}", {200, 400}),
    "invalid UTF-8": (b'{"model":"gpt-4o","messages":[{"role":"user","content":"\xff\xfe"}]}', {200, 400}),
    "a lone surrogate": (chat('"user":"\\ud800"'), {200, 400}),
    "over 10 MiB": (chat('"user":"' + "x" * (11 << 20) + '"'), {413, 0}),
    # 0: the refusal ended the connection while the client was still sending.
    "over Envoy's buffer": (chat('"user":"' + "x" * (20 << 20) + '"'), {413, 0}),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_a_bad_request_ends_with_the_right_word_and_costs_nothing(lab, client, case):
    body, right = REQUESTS[case]
    answer = client.post("/v1/chat/completions", body, {"x-mock-usage": "30,20"})
    assert answer.status in right, answer
    if answer.status in (400, 404):
        assert answer.json()["error"]["message"], answer
    assert client.chat(headers={"x-mock-usage": "30,20"}).status == 200, "the caller is still served"
    assert spent(client) in ((100,) if answer.status == 200 and answer.json().get("usage") else (50,))


def test_an_encoded_request_is_415(lab, client):
    answer = client.post("/v1/chat/completions", b"\x1f\x8b\x08\x00", {"content-encoding": "gzip"})
    assert answer.status == 415 and answer.json()["error"]["message"]


def test_headers_that_are_not_utf8_do_no_harm(lab, client):
    strange = {"x-strange": "\xff\xfe", "user-agent": "\xc3\x28", "x-spillway-x": "\xff"}
    answer = client.chat(headers=strange)
    assert answer.status in (200, 400)
    assert client.chat(headers={"x-tenant": "\xff\xfe"}).status in (200, 400)


def test_a_get_and_an_unknown_path_pass_by_uncounted(lab, client):
    assert client.request("GET", "/v1/chat/completions").status in (400, 404, 405, 503)
    assert client.post("/v1/nothing", "{}").status == 404
    assert spent(client) == 0


#: canned body of the mock → whether the provider said what it cost.
ANSWERS = ["html", "not-json", "truncated", "empty", "deep", "no-usage", "null-usage", "negative-usage",
           "absurd-usage", "text-usage"]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_bad_answer_reaches_the_client_and_is_charged(lab, client, name):
    answer = client.chat(max_tokens=500, headers={"x-mock-body": name})
    assert answer.status == 200
    # By its usage where that can be believed, else as estimated or reserved; never nothing, never more than there is.
    assert 0 < spent(client) <= CAPACITY


@pytest.mark.parametrize("name", ANSWERS)
def test_a_bad_stream_reaches_the_client_and_is_charged(lab, client, name):
    answer = client.chat(max_tokens=500, stream=True, headers={"x-mock-body": name})
    assert answer.status == 200
    assert 0 < spent(client) <= CAPACITY


def test_an_encoded_answer_is_passed_on_and_charged_as_reserved(lab, client):
    answer = client.chat(max_tokens=500, headers={"x-mock-encoding": "gzip", "x-mock-usage": "30,20"})
    assert answer.status == 200 and answer.body[:2] == b"\x1f\x8b"
    assert 500 <= spent(client) <= 540


def test_a_stream_that_breaks_off_is_charged_for_what_came(lab, client):
    answer = client.chat(max_tokens=5000, stream=True, headers={"x-mock-reset-after": "4"})
    assert answer.events()[-1] != "[DONE]"
    assert 0 < spent(client) < 1000


def test_an_answer_that_breaks_off_is_charged_and_ends(lab, client):
    answer = client.chat(max_tokens=500, headers={"x-mock-reset-after": "1"})
    assert answer.broken or answer.status >= 500
    assert 0 < spent(client) <= 600


def test_no_answer_at_all_ends_as_a_provider_s_failure(lab, client):
    answer = client.chat(max_tokens=500, headers={"x-mock-reset-after": "0"})
    assert answer.status in (502, 503)


def test_a_line_of_a_mebibyte_in_a_stream_arrives_whole(lab, client):
    # A header can't carry it: the mock repeats its content in one event by its number of events instead.
    answer = client.chat(stream=True, headers={"x-mock-events": "1", "x-mock-content": "w" * 30_000})
    assert answer.events()[-1] == "[DONE]" and len(answer.body) > 30_000
