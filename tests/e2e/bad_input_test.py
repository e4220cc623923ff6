"""Bad input on real Envoy, in both host settings: nothing traps, nothing hangs, no charge is lost.

That nothing trapped is asserted for every lab in the end (conftest.py).
"""

import base64
import json

import pytest

from lab import TENANTS

from conftest import FULL, HEADERS_FIRST

#: A token comes back in half an hour.
CAPACITY = 10_000
BUDGET = {"limits": [{"name": "budget", "per": ["caller"], "tokens": "50/day", "burst": str(CAPACITY), "reserve": "max"}]}
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


#: body → the status that is right; 200 where only the provider can judge, and it is charged.
REQUESTS = {
    "not JSON": ("so deep", 400),
    "cut JSON": ('{"model":"gpt-4o","messages":[{"ro', 400),
    "zero length": ("", 400),
    "an array": ("[]", 400),
    "no model": (f"{{{TURN}}}", 400),
    "model not a text": (f'{{"model":7,{TURN}}}', 400),
    "an unknown model": (f'{{"model":"gpt-99",{TURN}}}', 404),
    "negative max_tokens": (chat('"max_tokens":-1'), 400),
    "max_tokens not a number": (chat('"max_tokens":"all"'), 400),
    "huge max_tokens": (chat('"max_tokens":99999999999999999999999'), 200),
    "negative n": (chat('"n":-3'), 400),
    "huge n": (chat('"n":999999999999'), 200),
    "nested 10,000 deep": (chat('"metadata":' + '{"a":' * 10_000 + "1" + "}" * 10_000), 400),
    "1 MB of spaces": (json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": " " * 1_000_000}]}),
                       200),
    "1 MB of one letter": (json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "-" * 1_000_000}]}),
                           200),
    "model twice": ('{"model":"gpt-4o-mini","model":"gpt-4o",' + TURN + "}", 400),
    "invalid UTF-8": (b'{"model":"gpt-4o","messages":[{"role":"user","content":"\xff\xfe"}]}', 400),
    # The mock takes it for an error.
    "a lone surrogate": (chat('"user":"\\ud800"'), 400),
    "over 10 MiB": (chat('"user":"' + "x" * (11 << 20) + '"'), 413),
    "over Envoy's buffer": (chat('"user":"' + "x" * (20 << 20) + '"'), 413),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_a_bad_request_ends_with_the_right_word_and_costs_nothing(lab, client, case):
    body, right = REQUESTS[case]
    answer = client.post("/v1/chat/completions", body, {"x-mock-usage": "30,20"})
    # 0: the refusal ended the connection while the client was still sending.
    assert answer.status == right or (right, answer.status) == (413, 0), answer
    if answer.status not in (200, 0):
        assert answer.json()["error"]["message"], answer
    assert client.chat(headers={"x-mock-usage": "30,20"}).status == 200, "the caller is still served"
    assert spent(client) == (100 if right == 200 else 50)


def test_an_encoded_request_is_415(lab, client):
    answer = client.post("/v1/chat/completions", b"\x1f\x8b\x08\x00", {"content-encoding": "gzip"})
    assert answer.status == 415 and answer.json()["error"]["message"]


def test_headers_that_are_not_utf8_do_no_harm(lab, client):
    strange = {"x-strange": "\xff\xfe", "user-agent": "\xc3\x28", "x-spillway-x": "\xff"}
    assert client.chat(headers=strange).status == 200
    assert client.chat(headers={"x-tenant": "\xff\xfe"}).status == 200


def test_a_get_and_an_unknown_path_pass_by_uncounted(lab, client):
    assert client.request("GET", "/v1/chat/completions").status in (400, 404, 405, 503)
    assert client.post("/v1/nothing", "{}").status == 404
    assert spent(client) == 0


def records(lab, count=1):
    return [line["spillway"] for line in lab.envoy.records(count)]


def is_charged_as_reserved(left, max_tokens):
    """Of the prompt 5 % more is set aside than estimated; what isn't input counts as output."""
    reserved = left["estimate"] + -(-left["estimate"] // 20) + max_tokens
    actual = {"input": left["estimate"], "output": reserved - left["estimate"], "source": "reserved"}
    return (left["reserved"], left["actual"]) == (reserved, actual)


#: Canned bodies of the mock, all of which say nothing that can be believed about their cost.
ANSWERS = ["html", "not-json", "truncated", "empty", "deep", "no-usage", "null-usage", "negative-usage",
           "absurd-usage", "text-usage"]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_bad_answer_reaches_the_client_and_is_charged_as_reserved(lab, client, name):
    lab.envoy.skip_records()
    answer = client.chat(max_tokens=500, headers={"x-mock-body": name})
    assert answer.status == 200
    (left,) = records(lab)
    assert is_charged_as_reserved(left, 500) and spent(client) == left["reserved"]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_stream_that_is_none_reaches_the_client_and_is_charged_for_the_prompt(lab, client, name):
    lab.envoy.skip_records()
    answer = client.chat(max_tokens=500, stream=True, headers={"x-mock-body": name})
    assert answer.status == 200
    (left,) = records(lab)
    assert left["actual"] == {"input": left["estimate"], "output": 0, "source": "estimate"}
    assert spent(client) == left["estimate"]


#: usage of a stream's last chunk → its cost, where that can be believed.
STREAM_USAGES = {
    "missing": (None, None), "null": ("null", None), "negative": ('{"prompt_tokens":-5,"completion_tokens":-7}', None),
    "absurd": ('{"prompt_tokens":1e300,"completion_tokens":99999999999999999999}', None),
    "text": ('{"prompt_tokens":"many","completion_tokens":[]}', None), "a list": ("[1,2]", None),
    "good": ('{"prompt_tokens":30,"completion_tokens":20}', (30, 20)),
}


def canned_stream(usage):
    delta = '{"id":"c","choices":[{"index":0,"delta":{"content":"twelve words of an answer that a client has really got from it"}}]}'
    chunks = [delta, '{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}']
    chunks += [f'{{"id":"c","choices":[],"usage":{usage}}}'] if usage else []
    stream = "".join(f"data: {chunk}\n\n" for chunk in [*chunks, "[DONE]"])
    return "base64:" + base64.b64encode(stream.encode()).decode()


@pytest.mark.parametrize("name", STREAM_USAGES)
def test_a_stream_is_charged_by_its_usage_or_for_what_passed(lab, client, name):
    usage, cost = STREAM_USAGES[name]
    lab.envoy.skip_records()
    answer = client.chat(max_tokens=500, stream=True, headers={"x-mock-body": canned_stream(usage)})
    assert answer.events()[-1] == "[DONE]" and "really got" in answer.text
    (left,) = records(lab)
    actual = left["actual"]
    if cost:
        assert (actual["input"], actual["output"], actual["source"]) == (*cost, "usage")
    else:
        assert (actual["input"], actual["source"]) == (left["estimate"], "estimate")
        assert 10 <= actual["output"] <= 18, "thirteen words"
    assert spent(client) == actual["input"] + actual["output"]


def test_an_encoded_answer_is_passed_on_and_charged_as_reserved(lab, client):
    lab.envoy.skip_records()
    answer = client.chat(max_tokens=500, headers={"x-mock-encoding": "gzip", "x-mock-usage": "30,20"})
    assert answer.status == 200 and answer.body[:2] == b"\x1f\x8b"
    (left,) = records(lab)
    assert is_charged_as_reserved(left, 500) and spent(client) == left["reserved"]


def test_a_stream_that_breaks_off_is_charged_for_what_came(lab, client):
    lab.envoy.skip_records()
    answer = client.chat(max_tokens=5000, stream=True, headers={"x-mock-reset-after": "4"})
    assert answer.events()[-1] != "[DONE]"
    (left,) = records(lab)
    actual = left["actual"]
    assert (left["end"], actual["input"], actual["source"]) == ("upstream_reset", left["estimate"], "estimate")
    assert 5 <= actual["output"] <= 25 and spent(client) == actual["input"] + actual["output"]


def test_an_answer_that_breaks_off_is_charged_and_ends(lab, client):
    lab.envoy.skip_records()
    assert client.chat(max_tokens=500, headers={"x-mock-reset-after": "1"}).broken
    (left,) = records(lab)
    assert left["end"] == "upstream_reset"
    assert is_charged_as_reserved(left, 500) and spent(client) == left["reserved"]


def test_no_answer_at_all_ends_as_a_provider_s_failure_and_costs_its_prompt(lab, client):
    lab.envoy.skip_records()
    assert client.chat(max_tokens=500, headers={"x-mock-reset-after": "0"}).status in (502, 503)
    (left,) = records(lab)
    # It may have been read before the connection went.
    assert left["estimate"] > 0 and spent(client) == left["estimate"]


@pytest.mark.parametrize("size", [1 << 20, 3 << 20], ids=["1 MiB", "3 MiB"])
def test_a_line_of_a_mebibyte_in_a_stream_arrives_whole_and_is_charged(lab, client, size):
    # The line's bound is 1 MiB: under it usage and text are read, over it the line passes unread. No header can carry
    # it, so the mock has it from its control port.
    lab.openai.faults(content="w" * (size - 1000), events=1, usage="30,20")
    lab.envoy.skip_records()
    answer = client.chat(stream=True, max_tokens=500)
    assert answer.events()[-1] == "[DONE]"
    longest = max(len(line) for line in answer.body.splitlines())
    assert size - 1000 < longest <= size
    assert answer.body.count(b"w" * (size - 1000)) == 1, "not a byte is missing"
    (left,) = records(lab)
    assert (left["end"], left["actual"]) == ("complete", {"input": 30, "output": 20, "source": "usage"})
    lab.openai.faults()
    assert spent(client) == 50
