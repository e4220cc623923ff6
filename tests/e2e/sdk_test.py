"""The official SDKs, unchanged but for the base URL."""

import anthropic
import openai
import pytest

from lab import caller_key

from conftest import FULL, HEADERS_FIRST

TURN = [{"role": "user", "content": "How deep is the water?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NARROW = {"limits": [{"name": "one", "per": ["caller"], "requests": "1/h"}]}
BRISK = {"limits": [{"name": "one", "per": ["caller"], "requests": "20/min", "burst": 1}]}


def openai_of(lab, model="gpt-4o", caller="alice", retries=0):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{lab.envoy.port}/v1", api_key=caller_key(caller),
                         max_retries=retries, default_headers={"x-model": model})


def anthropic_of(lab, caller="bob", retries=0):
    return anthropic.Anthropic(base_url=f"http://127.0.0.1:{lab.envoy.port}", api_key=caller_key(caller),
                               max_retries=retries, default_headers={"x-model": "claude-sonnet-4-5"})


@pytest.fixture(scope="module", params=[FULL, HEADERS_FIRST])
def lab(request, start_once):
    return start_once(file=request.param)


def test_openai_chat(lab):
    answer = openai_of(lab).chat.completions.create(model="gpt-4o", messages=TURN)
    assert answer.choices[0].message.content.startswith("Water") and answer.usage.total_tokens > 0


def test_openai_stream_without_the_usage_nobody_asked_for(lab):
    stream = openai_of(lab).chat.completions.create(model="gpt-4o", messages=TURN, stream=True)
    chunks = list(stream)
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks).startswith("Water")
    assert lab.openai.last_body()["stream_options"] == {"include_usage": True}


def test_openai_stream_with_the_usage_that_was_asked_for(lab):
    chunks = list(openai_of(lab).chat.completions.create(
        model="gpt-4o", messages=TURN, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens > 0


def test_openai_tools_and_back(lab):
    tool = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
    client = openai_of(lab).chat.completions
    message = client.create(model="gpt-4o", messages=TURN, tools=[tool]).choices[0].message
    call = message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("weather", '{"city":"Bern"}')
    turns = [*TURN, message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    assert client.create(model="gpt-4o", messages=turns, tools=[tool]).choices[0].message.content


def test_openai_tools_in_a_stream(lab):
    tool = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
    with openai_of(lab).chat.completions.stream(model="gpt-4o", messages=TURN, tools=[tool]) as stream:
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("weather", '{"city":"Bern"}')


def test_openai_embeddings(lab):
    client = openai_of(lab, model="text-embedding-3-small")
    answer = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
    assert [len(entry.embedding) for entry in answer.data] == [8, 8]


def test_openai_completions(lab):
    answer = openai_of(lab).completions.create(model="gpt-4o", prompt="How deep is the water?")
    assert answer.choices[0].text.startswith("Water")


def test_openai_responses(lab):
    assert openai_of(lab).responses.create(model="gpt-4o", input="How deep?").output_text.startswith("Water")


def test_openai_responses_in_a_stream(lab):
    with openai_of(lab).responses.stream(model="gpt-4o", input="How deep?") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert final.output_text.startswith("Water") and final.usage.total_tokens > 0


def test_anthropic_messages(lab):
    answer = anthropic_of(lab).messages.create(model="claude-sonnet-4-5", max_tokens=100, messages=TURN)
    assert answer.content[0].text.startswith("Water") and answer.usage.output_tokens > 0


def test_anthropic_stream(lab):
    with anthropic_of(lab).messages.stream(model="claude-sonnet-4-5", max_tokens=100, messages=TURN) as stream:
        assert "".join(stream.text_stream).startswith("Water")
        assert stream.get_final_message().stop_reason == "end_turn"


def test_anthropic_tools(lab):
    tool = {"name": "weather", "description": "The weather", "input_schema": SCHEMA}
    answer = anthropic_of(lab).messages.create(
        model="claude-sonnet-4-5", max_tokens=100, messages=TURN, tools=[tool])
    assert (answer.stop_reason, answer.content[0].input) == ("tool_use", {"city": "Bern"})


@pytest.mark.parametrize("file", [FULL, HEADERS_FIRST])
def test_over_the_limit_both_raise_their_own_rate_limit_error(start, file):
    lab = start(NARROW, file=file)
    chat = openai_of(lab).chat.completions
    chat.create(model="gpt-4o", messages=TURN)
    with pytest.raises(openai.RateLimitError) as refused:
        chat.create(model="gpt-4o", messages=TURN)
    assert 3500 <= int(refused.value.response.headers["retry-after"]) <= 3601
    assert refused.value.code and "limit" in str(refused.value).lower()
    messages = anthropic_of(lab).messages
    messages.create(model="claude-sonnet-4-5", max_tokens=9, messages=TURN)
    with pytest.raises(anthropic.RateLimitError) as refused:
        messages.create(model="claude-sonnet-4-5", max_tokens=9, messages=TURN)
    assert refused.value.body["error"]["type"] == "rate_limit_error"
    assert 3500 <= int(refused.value.response.headers["retry-after"]) <= 3601


def test_an_sdk_that_waits_as_told_gets_through(start):
    lab = start(BRISK)
    for client in (openai_of(lab, retries=2).chat.completions, anthropic_of(lab, retries=2).messages):
        model = "gpt-4o" if "openai" in type(client).__module__ else "claude-sonnet-4-5"
        refused = lab.envoy.stats("downstream_rq_4xx")["http.llm.downstream_rq_4xx"]
        for _ in range(2):
            assert client.create(model=model, max_tokens=9, messages=TURN).id
        assert lab.envoy.stats("downstream_rq_4xx")["http.llm.downstream_rq_4xx"] > refused, "nobody had to wait"
