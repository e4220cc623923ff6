"""Failing over to a provider of another dialect: the client's own SDK sees a normal answer."""

import json

import anthropic
import openai
import pytest

from lab import BACKUP, FURTHER, calm, read_until, until
from lab.config import SECRETS, caller_key

from conftest import FAILOVER, FULL, at_once

CLAUDE, GPT = "anthropic/claude-sonnet-4-5", "openai/gpt-4o"
FURTHER_MODELS = {"gemini": "gemini/gemini-2.5-flash", "azure": "azure/our-gpt-4o"}
#: What a test can wait for, and no stall of a good provider exceeds.
HURRIED = {"timeouts": {"first_token": {"base": "4s", "per_1k_prompt": "0s"},
                        "whole": {"base": "6s", "per_1k_prompt": "0s", "per_1k_output": "0s"}}}


def like_the_first(name):
    """A provider of each dialect with the models of its first."""
    return {f"{name}-{dialect}": {"cluster": f"{name}-{dialect}", "dialect": dialect, "models": {model: {}}}
            for dialect, model in (("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5"))}


#: Providers that aren't there, and some that let wait.
DEAD, LATE = like_the_first("dead"), like_the_first("late")
MOCKS = ("openai", "anthropic", "backup", "gemini", "azure", *DEAD, *LATE)
POLICY = {
    "limits": [{"name": "budget", "per": ["caller"], "tokens": "10k/day", "burst": "1M", "reserve": "max"}],
    "providers": {**DEAD, **LATE},
    "models": {"gpt-4o": {"chain": [GPT, CLAUDE]}, "claude-sonnet-4-5": {"chain": [CLAUDE, GPT]},
               "late-openai": {"chain": ["late-openai/gpt-4o", CLAUDE], "failover": HURRIED},
               "late-anthropic": {"chain": ["late-anthropic/claude-sonnet-4-5", GPT], "failover": HURRIED},
               "dead-openai": {"chain": ["dead-openai/gpt-4o", CLAUDE]},
               "dead-anthropic": {"chain": ["dead-anthropic/claude-sonnet-4-5", GPT]},
               **{f"openai-{name}": {"chain": [GPT, place]} for name, place in FURTHER_MODELS.items()},
               **{f"anthropic-{name}": {"chain": [CLAUDE, place]} for name, place in FURTHER_MODELS.items()},
               **{f"only-{name}": {"chain": [place], "failover": {"attempts": 1}} for name, place in FURTHER_MODELS.items()},
               "gemini-first": {"chain": [FURTHER_MODELS["gemini"], FURTHER_MODELS["azure"], CLAUDE]},
               "only-claude": {"chain": [CLAUDE], "failover": {"attempts": 1}},
               "only-gpt": {"chain": [GPT], "failover": {"attempts": 1}},
               "lossy": {"chain": [GPT, CLAUDE], "failover": {"incompatible": "drop"}},
               "three": {"chain": [GPT, CLAUDE, "backup/gpt-4o"]}},
}
FAULTS = [{"status": 503}, {"reset_after": 0}]
TOOLS = [{"type": "function", "function": {"name": "depth", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture(scope="module", params=["native", "callout"])
def shared(start_once, request):
    """By Envoy's router with the provider role, and by the gateway role's own calls: the client sees no difference."""
    policy = [BACKUP, FURTHER, calm("openai", "backup", "anthropic", *FURTHER_MODELS, *DEAD, *LATE), POLICY]
    if request.param == "native":
        lab = start_once(*policy, file=FAILOVER, providers=MOCKS)
    else:
        lab = start_once(*policy, {"failover": {"via": "callout"}}, file=FULL, providers=MOCKS)
    for name in DEAD:
        lab.mocks[name].stop()
    return lab


#: To be had by Envoy's router alone.
NATIVE = pytest.mark.parametrize("shared", ["native"], indirect=True)
CLIENTS = pytest.mark.parametrize("client", ["openai", "anthropic"])
WHOLE_AND_STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture
def gpt(lab):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{lab.envoy.port}/v1", api_key=caller_key("alice"), max_retries=0,
                         _strict_response_validation=True)


@pytest.fixture
def claude(lab):
    return anthropic.Anthropic(base_url=f"http://127.0.0.1:{lab.envoy.port}", api_key=caller_key("alice"), max_retries=0,
                               _strict_response_validation=True)


def said(lab, client, model, stream, **more):
    """What the client's own SDK, strict, makes of an answer: its text, why it ended, and the tokens in and out."""
    if client == "openai":
        return said_to_openai(lab, model, stream, **more)
    sdk = anthropic.Anthropic(base_url=f"http://127.0.0.1:{lab.envoy.port}", api_key=caller_key("alice"), max_retries=0,
                              _strict_response_validation=True)
    asked = {"model": model, "max_tokens": 50, "messages": ASKED, **more}
    if stream:
        with sdk.messages.stream(**asked) as events:
            text, got = "".join(events.text_stream), events.get_final_message()
    else:
        got = sdk.messages.create(**asked)
        text = got.content[0].text
    tokens = got.usage.input_tokens + (got.usage.cache_read_input_tokens or 0), got.usage.output_tokens
    return text, got.stop_reason, tokens


def said_to_openai(lab, model, stream, **more):
    sdk = openai.OpenAI(base_url=f"http://127.0.0.1:{lab.envoy.port}/v1", api_key=caller_key("alice"), max_retries=0,
                        _strict_response_validation=True)
    asked = {"model": model, "max_tokens": 50, "messages": ASKED, **more}
    if not stream:
        got = sdk.chat.completions.create(**asked)
        choice, usage = got.choices[0], got.usage
        return choice.message.content, choice.finish_reason, (usage.prompt_tokens, usage.completion_tokens)
    *chunks, last = sdk.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    assert not last.choices and all(len(chunk.choices) == 1 for chunk in chunks)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    return text, chunks[-1].choices[0].finish_reason, (last.usage.prompt_tokens, last.usage.completion_tokens)


OTHER = {"openai": "anthropic", "anthropic": "openai"}
GOOD_END = {"openai": "stop", "anthropic": "end_turn"}
#: What goes wrong: the faults of the first provider, why the record says that it was given up.
CAUSES = {
    "connect": ({}, "connect"),
    "reset": ({"status": 500, "reset_after": 0}, "reset"),
    **{str(status): ({"status": status}, "status") for status in (408, 500, 502, 503, 504, 529)},
    "429": ({"status": 429, "retry_after": 60}, "rate_limited"),
    "error-event": ({"error_after": 0}, "stream_error"),
    "reset-stream": ({"reset_after": 0}, "reset"),
}
OF_STREAMS = ("error-event", "reset-stream")
EACH = [(cause, stream) for cause in CAUSES for stream in (False, True) if stream or cause not in OF_STREAMS]


@CLIENTS
@pytest.mark.parametrize("cause, stream", EACH, ids=[f"{cause}-{'streamed' if stream else 'whole'}" for cause, stream in EACH])
def test_whatever_fails_the_client_sees_a_normal_answer_from_the_other_dialect(lab, cause, stream, client):
    if cause == "reset-stream" and lab.file == FULL:
        pytest.skip("a stream that breaks after its head is out of a portable gateway's hands")
    faults, why = CAUSES[cause]
    model = f"dead-{client}" if cause == "connect" else {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5"}[client]
    lab.mocks[client].faults(**faults)
    text, end, tokens = said(lab, client, model, stream)
    assert text.startswith("Water") and end == GOOD_END[client] and min(tokens) > 0
    (first, _, given_up), second = lab.attempts()
    assert first == ("dead-" if cause == "connect" else "") + client and given_up == why and second == (OTHER[client], 200, None)


@pytest.mark.parametrize("late", [{"hold": "late"}, {"hold": "late", "hold_after": 0}], ids=["answer", "first token"])
def test_who_lets_wait_too_long_is_not_waited_for(lab, late):
    asks = [(client, stream) for client in OTHER for stream in (False, True) if stream or "hold_after" not in late]
    for name in LATE:
        lab.mocks[name].faults(**late)
    answers = at_once(len(asks), lambda n: said(lab, asks[n][0], f"late-{asks[n][0]}", asks[n][1]))
    for (client, _), (text, end, tokens) in zip(asks, answers):
        assert text.startswith("Water") and end == GOOD_END[client] and min(tokens) > 0
    tried = sorted(attempts_of(line) for line in lab.envoy.records(len(asks)))
    assert tried == sorted([(f"late-{client}", "timeout"), (OTHER[client], None)] for client, _ in asks)


def attempts_of(line):
    return [(one["provider"], one.get("gave_up")) for one in line["spillway"]["attempts"]]


#: Each provider's credential, and where its requests for a streamed or whole answer go.
ADDRESSES = {
    "gemini": ("x-goog-api-key", SECRETS["GEMINI_API_KEY"], "generativelanguage.googleapis.com",
               {False: "/v1beta/models/gemini-2.5-flash:generateContent",
                True: "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"}),
    "azure": ("api-key", SECRETS["AZURE_API_KEY"], "lab.openai.azure.com",
              dict.fromkeys([False, True], "/openai/deployments/our-gpt-4o/chat/completions?api-version=2024-10-21")),
}
CREDENTIALS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")


@CLIENTS
@WHOLE_AND_STREAMED
@pytest.mark.parametrize("to", ADDRESSES)
def test_gemini_and_azure_answer_for_a_provider_that_fails(lab, to, stream, client):
    lab.mocks[client].faults(status=503)
    lab.mocks[to].faults(usage="30,20,10")
    text, end, tokens = said(lab, client, f"{client}-{to}", stream)
    assert text.startswith("Water") and (end, tokens) == (GOOD_END[client], (30, 20))
    (line,) = lab.envoy.records(1)
    record = line["spillway"]
    assert [one["provider"] for one in record["attempts"]] == [client, to] and record["end"] == "complete"
    assert (record["actual"]["input"], record["actual"]["output"], record["actual"]["source"]) == (30, 20, "usage")
    header, secret, host, paths = ADDRESSES[to]
    seen = lab.mocks[to].seen()
    assert {name: seen[name] for name in CREDENTIALS if name in seen} == {header: [secret]} and seen["host"] == [host]
    assert lab.mocks[to].stats()["last"]["path"] == paths[stream]
    assert not [other for other in (*SECRETS.values(), caller_key("alice")) if other != secret and other in json.dumps(seen)]


@pytest.mark.parametrize("to", ADDRESSES)
def test_what_gemini_and_azure_used_is_charged(lab, to):
    lab.openai.faults(status=503)
    lab.mocks[to].faults(usage="3000,2000")
    left = [int(lab.client("bob").chat(model=f"openai-{to}", max_tokens=50).headers["x-ratelimit-remaining-tokens"])
            for _ in range(2)]
    assert 4_990 < left[0] - left[1] <= 5_000, "a token comes back in 9 seconds"


@WHOLE_AND_STREAMED
@pytest.mark.parametrize("to", ADDRESSES)
def test_tools_go_to_gemini_and_azure_and_back(lab, gpt, to, stream):
    asked = {"model": f"only-{to}", "tools": TOOLS}
    if stream:
        with gpt.chat.completions.stream(messages=ASKED, **asked) as events:
            message = events.get_final_completion().choices[0].message
    else:
        message = gpt.chat.completions.create(messages=ASKED, **asked).choices[0].message
    (call,) = message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("depth", {"city": "Bern"})
    turns = [*ASKED, message.model_dump(include={"role", "content", "tool_calls"}),
             {"role": "tool", "tool_call_id": call.id, "content": "3 m"}]
    assert gpt.chat.completions.create(messages=turns, **asked).choices[0].message.content.startswith("Water")


def test_gemini_and_azure_fail_over_in_their_turn(lab, gpt):
    gemini, azure = lab.mocks["gemini"], lab.mocks["azure"]
    gemini.faults(error_after=0)
    azure.faults(error_after=0)
    chunks = list(gpt.chat.completions.create(model="gemini-first", messages=ASKED, stream=True))
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert lab.attempts() == [("gemini", 200, "stream_error"), ("azure", 200, "stream_error"), ("anthropic", 200, None)]
    gemini.faults(status=429, retry_after=60)
    azure.faults(status=500)
    assert "Water" in gpt.chat.completions.create(model="gemini-first", messages=ASKED).choices[0].message.content
    assert lab.attempts() == [("gemini", 429, "rate_limited"), ("azure", 500, "status"), ("anthropic", 200, None)]


@CLIENTS
@pytest.mark.parametrize("to", ADDRESSES)
def test_errors_of_gemini_and_azure_are_the_client_s_own(lab, gpt, claude, to, client):
    raised = {"openai": openai, "anthropic": anthropic}[client]
    ask = {"openai": gpt.chat.completions.create, "anthropic": claude.messages.create}[client]
    for status, error in ((400, raised.BadRequestError), (429, raised.RateLimitError), (503, raised.APIStatusError)):
        lab.mocks[to].faults(status=status, retry_after=7)
        with pytest.raises(error) as caught:
            ask(model=f"only-{to}", max_tokens=50, messages=ASKED)
        assert "mock error" in str(caught.value) and caught.value.status_code in (status, 529)  # what Anthropic says of 503
        if status != 400:
            assert caught.value.response.headers["retry-after"] == "7"


#: After how many events of each provider the first word is out.
FIRST_WORD = {"openai": 2, "anthropic": 4, "gemini": 1, "azure": 3}


@NATIVE
@pytest.mark.parametrize("client, to", [("openai", "anthropic"), ("openai", "gemini"), ("openai", "azure"),
                                        ("anthropic", "openai"), ("anthropic", "gemini"), ("anthropic", "azure")])
def test_what_a_provider_of_another_dialect_has_said_is_there_before_it_says_more(lab, client, to):
    """The provider withholds the rest of its stream until the client has shown the first of it."""
    lab.mocks[client].faults(status=503)
    group = f"{client}-{to}"
    lab.mocks[to].faults(hold=group, hold_after=FIRST_WORD[to])
    usual = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5"}[client]
    model = group if to in ADDRESSES else usual
    path = "/v1/chat/completions" if client == "openai" else "/v1/messages"
    body = json.dumps({"model": model, "max_tokens": 50, "messages": ASKED, "stream": True})
    response = lab.client().open("POST", path, body, {"content-type": "application/json"}).getresponse()
    read_until(response, b"Water")
    until(lambda: lab.mocks[to].held(group) == 1)  # it counts a moment after it has written
    lab.mocks[to].release(group)
    rest = response.read()
    assert rest.endswith(b"data: [DONE]\n\n") if client == "openai" else b"message_stop" in rest


ASKED = [{"role": "user", "content": "How deep is the water?"}]


@pytest.mark.parametrize("fault", FAULTS)
def test_an_openai_client_sees_its_own_answer_from_anthropic(lab, gpt, fault):
    lab.openai.faults(**fault)
    got = gpt.chat.completions.create(model="gpt-4o", messages=[{"role": "system", "content": "Be brief."}, *ASKED])
    assert "Water" in got.choices[0].message.content and got.choices[0].finish_reason == "stop"
    assert got.object == "chat.completion" and got.usage.total_tokens == got.usage.prompt_tokens + got.usage.completion_tokens
    seen = lab.anthropic.last_headers()
    assert seen["x-api-key"] == [SECRETS["ANTHROPIC_API_KEY"]] and seen["anthropic-version"] == ["2023-06-01"]
    assert "authorization" not in seen and seen["host"] == ["api.anthropic.com"]
    body = lab.anthropic.last_body()
    assert body["model"] == "claude-sonnet-4-5" and body["max_tokens"] > 0
    (line,) = lab.envoy.records(1)
    record = line["spillway"]
    assert [one["provider"] for one in record["attempts"]] == ["openai", "anthropic"]
    assert record["provider"] == "anthropic" and record["actual"]["source"] == "usage"
    assert (record["actual"]["input"], record["actual"]["output"]) == (got.usage.prompt_tokens, got.usage.completion_tokens)


@pytest.mark.parametrize("asks_usage", [False, True])
def test_an_openai_client_sees_its_own_stream_from_anthropic(lab, gpt, asks_usage):
    lab.openai.faults(status=503)
    options = {"stream_options": {"include_usage": True}} if asks_usage else {}
    chunks = list(gpt.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True, **options))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.startswith("Water") and {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert [bool(chunk.usage) for chunk in chunks][-1] == asks_usage
    (line,) = lab.envoy.records(1)
    assert line["spillway"]["actual"]["source"] == "usage" and line["spillway"]["end"] == "complete"


@pytest.mark.parametrize("fault", FAULTS)
def test_an_anthropic_client_sees_its_own_answer_from_openai(lab, claude, fault):
    lab.anthropic.faults(**fault)
    got = claude.messages.create(model="claude-sonnet-4-5", max_tokens=50, system="Be brief.", messages=ASKED)
    assert got.type == "message" and "Water" in got.content[0].text and got.stop_reason == "end_turn"
    seen = lab.openai.last_headers()
    assert seen["authorization"] == [f"Bearer {SECRETS['OPENAI_API_KEY']}"]
    assert not [name for name in seen if name.startswith("anthropic-") or name == "x-api-key"]
    assert lab.openai.last_body()["model"] == "gpt-4o"
    (line,) = lab.envoy.records(1)
    assert line["spillway"]["actual"]["source"] == "usage"


def test_an_anthropic_client_sees_its_own_stream_from_openai(lab, claude):
    lab.anthropic.faults(status=529)
    with claude.messages.stream(model="claude-sonnet-4-5", max_tokens=50, messages=ASKED) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text.startswith("Water") and message.stop_reason == "end_turn" and message.usage.output_tokens > 0
    (line,) = lab.envoy.records(1)
    assert line["spillway"]["actual"]["source"] == "usage" and line["spillway"]["end"] == "complete"


def test_a_stream_whose_first_words_are_an_error_moves_to_the_other_dialect(lab, gpt, claude):
    lab.openai.faults(error_after=0)
    chunks = list(gpt.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True))
    assert chunks[-1].choices[0].finish_reason == "stop"
    lab.openai.faults()
    lab.anthropic.faults(error_after=0)
    with claude.messages.stream(model="claude-sonnet-4-5", max_tokens=50, messages=ASKED) as stream:
        assert "".join(stream.text_stream).startswith("Water")


def test_a_foreign_candidate_in_the_middle_leaves_nothing_to_the_next(lab, gpt):
    lab.openai.faults(status=503)
    lab.anthropic.faults(error_after=0)
    chunks = list(gpt.chat.completions.create(model="three", messages=ASKED, stream=True))
    assert chunks[-1].choices[0].finish_reason == "stop"
    seen, body = lab.backup.last_headers(), lab.backup.last_body()
    assert seen["authorization"] == [f"Bearer {SECRETS['BACKUP_API_KEY']}"]
    assert not [name for name in seen if name.startswith("anthropic-") or name == "x-api-key"]
    assert body["messages"] == ASKED and body["model"] == "gpt-4o"


def test_a_model_that_only_another_dialect_serves_is_served(lab, gpt, claude):
    assert "Water" in gpt.chat.completions.create(model="only-claude", messages=ASKED).choices[0].message.content
    got = claude.messages.create(model="only-gpt", max_tokens=50, messages=ASKED)
    assert "Water" in got.content[0].text


def test_errors_of_another_dialect_are_the_client_s_own(lab, gpt, claude):
    lab.anthropic.faults(status=529)
    with pytest.raises(openai.APIStatusError) as error:
        gpt.chat.completions.create(model="only-claude", messages=ASKED)
    assert error.value.status_code >= 500 and error.value.body["message"]
    lab.openai.faults(status=400)
    with pytest.raises(anthropic.BadRequestError) as error:
        claude.messages.create(model="only-gpt", max_tokens=50, messages=ASKED)
    assert error.value.body["error"]["type"] == "invalid_request_error"


def test_the_client_s_own_headers_come_back_when_its_own_dialect_does(lab, claude):
    lab.anthropic.faults(status=503)
    claude.messages.create(model="claude-sonnet-4-5", max_tokens=50, messages=ASKED)
    lab.anthropic.faults()
    claude.messages.create(model="claude-sonnet-4-5", max_tokens=50, messages=ASKED,
                           extra_headers={"anthropic-beta": "b-1"})
    assert lab.anthropic.last_headers()["anthropic-beta"] == ["b-1"]


def test_what_another_dialect_has_no_place_for_is_refused_or_named(lab, gpt):
    lab.openai.faults(status=503)
    with pytest.raises(openai.InternalServerError):
        gpt.chat.completions.create(model="gpt-4o", messages=ASKED, seed=7)
    assert lab.anthropic.arrived() == 0
    got = gpt.chat.completions.with_raw_response.create(model="lossy", messages=ASKED, seed=7)
    assert got.headers["x-spillway-dropped"] == "seed" and got.parse().choices


def test_tools_go_both_ways(lab, gpt):
    lab.openai.faults(status=503)
    gpt.chat.completions.create(model="gpt-4o", messages=ASKED, tools=TOOLS)
    assert lab.anthropic.last_body()["tools"][0]["name"] == "depth"


@pytest.mark.parametrize("body", ["html", "not-json", "empty"])
def test_an_answer_that_cannot_be_read_is_the_next_one_s_or_502(lab, gpt, body):
    lab.openai.faults(status=503)
    lab.anthropic.faults(body=body)
    assert "Water" in gpt.chat.completions.create(model="three", messages=ASKED).choices[0].message.content
    with pytest.raises(openai.InternalServerError) as error:
        gpt.chat.completions.create(model="gpt-4o", messages=ASKED)
    assert error.value.status_code == 502
