"""Failing over to a provider of another dialect: the client's own SDK sees a normal answer."""

import anthropic
import openai
import pytest

from lab import BACKUP
from lab.config import SECRETS, caller_key

from conftest import FAILOVER, FULL

STEADY = {"breaker": {"min_requests": 1_000_000, "consecutive": 1_000_000}}
CLAUDE, GPT = "anthropic/claude-sonnet-4-5", "openai/gpt-4o"
POLICY = {
    "limits": [],
    "providers": {"openai": STEADY, "backup": STEADY, "anthropic": STEADY},
    "models": {"gpt-4o": {"chain": [GPT, CLAUDE]}, "claude-sonnet-4-5": {"chain": [CLAUDE, GPT]},
               "only-claude": {"chain": [CLAUDE], "failover": {"attempts": 1}},
               "only-gpt": {"chain": [GPT], "failover": {"attempts": 1}},
               "lossy": {"chain": [GPT, CLAUDE], "failover": {"incompatible": "drop"}},
               "three": {"chain": [GPT, CLAUDE, "backup/gpt-4o"]}},
    "failover": {"timeouts": {"first_token": {"base": "500ms", "per_1k_prompt": "0s"}}},
}
FAULTS = [{"status": 503}, {"reset_after": 0}]
TOOLS = [{"type": "function", "function": {"name": "depth", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture(scope="module", params=["native", "callout"])
def shared(start_once, request):
    """By Envoy's router with the provider role, and by the gateway role's own calls: the client sees no difference."""
    if request.param == "native":
        return start_once(BACKUP, POLICY, file=FAILOVER)
    return start_once(BACKUP, POLICY, {"failover": {"via": "callout"}}, file=FULL)


@pytest.fixture
def gpt(lab):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{lab.envoy.port}/v1", api_key=caller_key("alice"), max_retries=0,
                         _strict_response_validation=True)


@pytest.fixture
def claude(lab):
    return anthropic.Anthropic(base_url=f"http://127.0.0.1:{lab.envoy.port}", api_key=caller_key("alice"), max_retries=0,
                               _strict_response_validation=True)


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
