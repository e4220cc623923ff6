"""Guards: the provider sees placeholders, the client its own words; what is blocked ends in errors that SDKs raise."""

import json
import subprocess
import sys

import anthropic
import openai
import pytest

from lab import BACKUP, TENANTS
from lab.config import ROOT, caller_key
from lab.waiting import PROGRAM_S

from conftest import FAILOVER, FULL, HEADERS_FIRST

MAIL, CARD = "ann.lee@example.com", "4242 4242 4242 4242"
WORDS = f"Write to {MAIL} about {CARD}."
SAID = "I write to [EMAIL_1] about [CARD_1], at once."
TURN = [{"role": "user", "content": WORDS}]
TOOLS = [{"type": "function", "function": {"name": "send", "parameters": {"type": "object", "properties": {}}}}]
STEADY = {"breaker": {"min_requests": 1_000_000, "consecutive": 1_000_000}}


def guard(action, **more):
    return {"name": action, "when": {"header": {"x-guard": action}}, "kinds": ["email", "card"], "action": action, **more}


POLICY = {"limits": [], "guards": [guard("mask"), guard("restore"), guard("block"),
                                   {**guard("block", mode="shadow"), "name": "shadow", "when": {"header": {"x-guard": "shadow"}}}]}
CHAINS = {"providers": {"openai": STEADY, "backup": STEADY, "anthropic": STEADY},
          "models": {"gpt-4o": {"chain": ["openai/gpt-4o", "anthropic/claude-sonnet-4-5"]}}}


@pytest.fixture(scope="module")
def full(start_once):
    """A lab that holds headers, and fails over by the gateway role's own calls."""
    lab = start_once(BACKUP, TENANTS, POLICY, CHAINS, {"failover": {"via": "callout"}}, file=FULL)
    lab.full = True
    return lab


@pytest.fixture(scope="module", params=["native", "callout"])
def moving(start_once, request):
    """A lab that fails over, by Envoy's router or by calls."""
    if request.param == "callout":
        return request.getfixturevalue("full")
    return start_once(BACKUP, POLICY, CHAINS, file=FAILOVER)


@pytest.fixture(scope="module", params=[FULL, HEADERS_FIRST])
def lab(start_once, request):
    if request.param == FULL:
        lab = request.getfixturevalue("full")
    else:
        lab = start_once(TENANTS, POLICY, file=HEADERS_FIRST)
        lab.full = False
    lab.reset()
    return lab


def gpt(lab, action, says=SAID, strict=True, **faults):
    headers = {"x-guard": action, "x-model": "gpt-4o", "x-mock-content": says.replace("%", "%25"), **faults}
    return openai.OpenAI(base_url=f"http://127.0.0.1:{lab.envoy.port}/v1", api_key=caller_key("alice"), max_retries=0,
                         default_headers=headers, _strict_response_validation=strict)


def claude(lab, action, says=SAID):
    headers = {"x-guard": action, "x-model": "claude-sonnet-4-5", "x-mock-content": says}
    return anthropic.Anthropic(base_url=f"http://127.0.0.1:{lab.envoy.port}", api_key=caller_key("alice"), max_retries=0,
                               default_headers=headers, _strict_response_validation=True)


def chat(client, **more):
    return client.chat.completions.create(model="gpt-4o", messages=TURN, **more)


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def seen_by(provider):
    return json.dumps(provider.last_body())


def holds_placeholders(seen):
    return "Write to [EMAIL_1] about [CARD_1]." in seen and "ann" not in seen and "4242" not in seen


BACK = f"I write to {MAIL} about {CARD}, at once."


def test_a_chat_goes_out_masked_and_comes_back_whole(lab):
    answer = chat(gpt(lab, "restore"))
    assert answer.choices[0].message.content == BACK
    assert holds_placeholders(seen_by(lab.openai))


@pytest.mark.parametrize("events", ["1", "12", "45"])
def test_a_streamed_chat_does_too(lab, events):
    client = gpt(lab, "restore", **{"x-mock-events": events})
    chunks = list(chat(client, stream=True))
    assert text_of(chunks) == BACK and chunks[-1].choices[0].finish_reason == "stop"
    assert holds_placeholders(seen_by(lab.openai))


def test_tool_arguments_come_back_as_the_json_that_they_are(lab):
    client = gpt(lab, "restore", '{"to":"[EMAIL_1]"}')
    whole = chat(client, tools=TOOLS).choices[0].message.tool_calls[0].function
    with client.chat.completions.stream(model="gpt-4o", messages=TURN, tools=TOOLS) as stream:
        streamed = stream.get_final_completion().choices[0].message.tool_calls[0].function
    for call in (whole, streamed):
        assert (call.name, json.loads(call.arguments)) == ("send", {"to": MAIL})


def test_responses_do_too_whole_and_streamed(lab):
    client = gpt(lab, "restore", strict=False)  # the mock's answers aren't
    assert client.responses.create(model="gpt-4o", input=WORDS).output_text == BACK
    with client.responses.stream(model="gpt-4o", input=WORDS) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == final.output_text == BACK
    assert holds_placeholders(seen_by(lab.openai))


def test_messages_do_too_whole_and_streamed(lab):
    ask = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": TURN}
    assert claude(lab, "restore").messages.create(**ask).content[0].text == BACK
    with claude(lab, "restore").messages.stream(**ask) as stream:
        assert "".join(stream.text_stream) == BACK
        assert stream.get_final_message().content[0].text == BACK
    assert holds_placeholders(seen_by(lab.anthropic))


def test_what_the_model_says_is_masked_in_answers_and_streams(lab):
    client = gpt(lab, "mask", f"She is {MAIL}!")
    assert chat(client).choices[0].message.content == "She is [EMAIL_1]!"
    assert text_of(chat(client, stream=True)) == "She is [EMAIL_1]!"


def test_a_blocked_request_raises_and_never_leaves(lab):
    before = lab.openai.arrived() + lab.anthropic.arrived()
    with pytest.raises(openai.BadRequestError) as refused:
        chat(gpt(lab, "block"))
    assert refused.value.code == "guarded_request" and "messages[0].content" in str(refused.value)
    assert "ann" not in str(refused.value)
    with pytest.raises(anthropic.BadRequestError) as refused:
        claude(lab, "block").messages.create(model="claude-sonnet-4-5", max_tokens=9, messages=TURN)
    assert refused.value.body["error"]["type"] == "invalid_request_error" and "ann" not in str(refused.value)
    assert lab.openai.arrived() + lab.anthropic.arrived() == before


PLAIN = [{"role": "user", "content": "How deep is the water?"}]


def test_a_blocked_stream_ends_in_an_error_that_is_raised(lab):
    says = f"She is reached by {MAIL} all day, every day."
    with pytest.raises(openai.APIError) as stopped:
        got = []
        for chunk in gpt(lab, "block", says).chat.completions.create(model="gpt-4o", messages=PLAIN, stream=True):
            got.append(chunk.choices[0].delta.content or "")
    assert "".join(got) == "She is reached by" and "ann" not in str(stopped.value)
    with pytest.raises(anthropic.APIError) as stopped:
        with claude(lab, "block", says).messages.stream(model="claude-sonnet-4-5", max_tokens=9, messages=PLAIN) as stream:
            got = list(stream.text_stream)
    assert "ann" not in str(stopped.value)


def test_a_blocked_answer_is_an_error_in_either_setting(lab):
    answer = lab.client(None).chat(headers={"x-guard": "block", "x-model": "gpt-4o", "x-mock-content": MAIL})
    assert answer.status == (502 if lab.full else 200)
    assert answer.json()["error"]["message"] and "ann" not in answer.text


def test_shadow_finds_and_changes_nothing_and_nobody_is_told_what(lab):
    lab.envoy.skip_records()
    answer = chat(gpt(lab, "shadow", f"She is {MAIL}!"))
    assert answer.choices[0].message.content == f"She is {MAIL}!" and MAIL in seen_by(lab.openai)
    (line,) = lab.envoy.records(1)
    assert line["spillway"]["guards"] == [{"guard": "shadow", "kind": "email", "found": 2},
                                          {"guard": "shadow", "kind": "card", "found": 1}]
    assert MAIL not in json.dumps(line) and "4242" not in json.dumps(line)
    assert lab.envoy.metric("spillway_guard", rule="shadow", type="email", decision="shadow") == 2
    assert lab.envoy.metric("spillway_guard", rule="block", decision="block") > 0
    assert lab.envoy.metric("spillway_refused", reason="guard") > 0


def test_an_answer_that_cannot_be_read_is_refused(lab):
    headers = {"x-guard": "mask", "x-model": "gpt-4o", "x-mock-encoding": "gzip"}
    answer = lab.client(None).chat(headers=headers)
    assert answer.status == 502 and answer.json()["error"]["code"] == "guarded_answer"


@pytest.mark.parametrize("stream", [False, True])
def test_whoever_answers_in_the_end_saw_placeholders_only(moving, stream):
    moving.reset()
    moving.openai.faults(status=503)
    moving.anthropic.faults(content=SAID)
    client = gpt(moving, "restore")
    got = chat(client, stream=stream)
    text = text_of(got) if stream else got.choices[0].message.content
    assert text == BACK
    for provider in (moving.openai, moving.anthropic):
        seen = seen_by(provider)
        assert "[EMAIL_1]" in seen and "ann" not in seen and "4242" not in seen


def test_the_example_shows_what_it_says():
    folder = ROOT / "examples/guards"
    done = subprocess.run([sys.executable, folder / "guards.py"], capture_output=True, text=True, timeout=PROGRAM_S, check=False)
    assert done.stdout == (folder / "expected.txt").read_text(), done.stdout + done.stderr
