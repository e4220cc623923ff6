"""Second chances for answers that fail their validation: by callouts of the gateway role, however it fails over."""

import json
import time
from urllib.parse import quote

import anthropic
import openai
import pydantic
import pytest

from lab import BACKUP, caller_key, until
from lab.config import SECRETS

from conftest import FAILOVER, FULL

TURN = [{"role": "user", "content": "Which ticket is it?"}]
CLAUDE = "anthropic/claude-sonnet-4-5"
BAD, GOOD = '{"id":42,"secret":"lake"}', '{"id":"42"}'
SCHEMA = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
CALM = {"breaker": {"min_requests": 1_000_000, "consecutive": 1_000_000}}
#: What becomes of an answer: its ladder, what it says first, what whoever is asked then says, and what the record calls it.
FENCED, DEFAULT = f"Here it is:\n```json\n{GOOD}\n```", '{"id":"none"}'
OUTCOMES = {"valid": (["reject"], GOOD, None, "valid"), "invalid": (["reject"], BAD, None, "invalid"),
            "repaired": (["repair", "reject"], FENCED, None, "repaired"),
            "retried": ([{"retry": 1}, "reject"], BAD, GOOD, "retried"),
            "fallen-back": (["fallback", "reject"], BAD, GOOD, "retried"),
            "defaulted": ([{"default": json.loads(DEFAULT)}], BAD, None, "defaulted")}
LADDERS = {"retry": ["retry"], "fallback": ["fallback"], "kept": ["retry", "annotate"],
           "all": [{"retry": 1}, "fallback", "reject"], "held": ["retry"]}
POLICY = {
    **BACKUP,
    "providers": {"openai": CALM, "anthropic": CALM, "backup": {**BACKUP["providers"]["backup"], **CALM}},
    "models": {"gpt-4o": {"chain": ["openai/gpt-4o", "backup/gpt-4o"]},
               "mixed": {"chain": ["openai/gpt-4o", CLAUDE]},
               "claude-sonnet-4-5": {"chain": [CLAUDE]},
               "claude-first": {"chain": [CLAUDE, "openai/gpt-4o"]}},
    "limits": [],
    "validate": [{"name": name, "when": {"header": {"x-feature": name}}, "schema": SCHEMA, "on_invalid": ladder,
                  "buffer": name == "held"}
                 for name, ladder in LADDERS.items()]
                + [{"name": name, "when": {"header": {"x-feature": name}}, "schema": SCHEMA, "on_invalid": ladder, "buffer": True}
                   for name, (ladder, *_) in OUTCOMES.items()],
}
#: The file that Envoy runs, and how its policy fails over.
WAYS = {"none": (FULL, "none"), "callout": (FULL, "callout"), "native": (FAILOVER, "native")}


class Ticket(pydantic.BaseModel):
    id: str


@pytest.fixture(scope="module", params=WAYS)
def shared(request, start_once):
    file, via = WAYS[request.param]
    return start_once(POLICY, {"failover": {"via": via}}, file=file)


@pytest.fixture
def lab(shared):
    shared.reset()
    shared.envoy.skip_records()
    return shared


@pytest.fixture
def native(lab):
    if lab.file != FAILOVER:
        pytest.skip("nobody looks at a stream's first word but the provider role")
    return lab


def headers(ladder, content=BAD):
    """Calls carry nothing of the client's headers: what they say of the mock's answer is true of the first alone."""
    return {"x-feature": ladder, "x-mock-content": content}


def openai_of(lab, ladder):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{lab.envoy.port}/v1", api_key=caller_key("alice"),
                         max_retries=0, default_headers=headers(ladder))


def record(lab):
    (line,) = lab.envoy.records(1)
    return line["spillway"]


def attempts(line):
    return [(one["provider"], one.get("status"), one.get("gave_up")) for one in line["attempts"]]


def test_a_structured_answer_is_parsed_though_the_first_was_none(lab):
    answer = openai_of(lab, "retry").chat.completions.parse(model="gpt-4o", messages=TURN, response_format=Ticket)
    assert answer.choices[0].message.parsed == Ticket(id="42")
    assert lab.openai.arrived() == 2 and lab.backup.arrived() == 0
    turns = lab.openai.last_body()["messages"]
    assert turns[:2] == [*TURN, {"role": "assistant", "content": BAD}]
    assert "/id (type)" in turns[2]["content"] and "lake" not in turns[2]["content"]
    assert lab.openai.last_headers()["authorization"] == [f"Bearer {SECRETS['OPENAI_API_KEY']}"]
    line = record(lab)
    assert line["validation"] == "retried"
    assert attempts(line) == [("openai", 200, "invalid"), ("openai", 200, None)]
    assert line["attempts"][1]["tokens"] == answer.usage.total_tokens
    assert all(one["tokens"] > 0 for one in line["attempts"])


def test_the_next_candidate_answers_in_its_own_dialect(lab):
    lab.anthropic.faults(content=GOOD)
    client = openai_of(lab, "fallback").chat.completions
    raw = client.with_raw_response.create(model="mixed", messages=TURN, max_tokens=100)
    assert raw.headers["x-spillway-validation"] == "retried" and raw.headers["x-spillway-provider"] == "anthropic"
    assert raw.parse().choices[0].message.content == GOOD
    assert [turn["role"] for turn in lab.anthropic.last_body()["messages"]] == ["user"]
    assert attempts(record(lab)) == [("openai", 200, "invalid"), ("anthropic", 200, None)]
    seen = json.dumps(lab.anthropic.last_headers())
    assert SECRETS["OPENAI_API_KEY"] not in seen and caller_key("alice") not in seen


def test_anthropic_messages_and_responses_are_asked_again_in_their_own_words(lab):
    lab.anthropic.faults(content=GOOD)
    client = anthropic.Anthropic(base_url=f"http://127.0.0.1:{lab.envoy.port}", api_key=caller_key("bob"),
                                 max_retries=0, default_headers=headers("retry"))
    answer = client.messages.create(model="claude-sonnet-4-5", max_tokens=100, messages=TURN)
    assert answer.content[0].text == GOOD
    assert lab.anthropic.last_body()["messages"][1] == {"role": "assistant", "content": BAD}
    lab.openai.faults(content=GOOD)
    answer = openai_of(lab, "retry").responses.create(model="gpt-4o", input="Which ticket is it?")
    assert answer.output_text == GOOD
    assert lab.openai.last_body()["input"][0] == {"role": "user", "content": "Which ticket is it?"}
    assert [line["spillway"]["validation"] for line in lab.envoy.records(2)] == ["retried", "retried"]


def test_a_stream_that_is_held_gets_its_second_chance_too(lab):
    lab.openai.faults(content=GOOD)
    client = openai_of(lab, "held").chat.completions
    with client.stream(model="gpt-4o", messages=TURN, response_format=Ticket) as stream:
        answer = stream.get_final_completion()
    assert answer.choices[0].message.parsed == Ticket(id="42") and lab.openai.arrived() == 2
    line = record(lab)
    assert line["validation"] == "retried" and line["stream"]
    assert attempts(line) == [("openai", 200, "invalid"), ("openai", 200, None)]


def chat_says(lab, fields, stream):
    asked = {"model": "gpt-4o", "messages": TURN, "extra_headers": fields}
    client = openai_of(lab, "none").chat.completions
    if not stream:
        return client.create(**asked).choices[0].message.content
    with client.stream(**asked) as events:
        return events.get_final_completion().choices[0].message.content


def responses_say(lab, fields, stream):
    asked = {"model": "gpt-4o", "input": TURN[0]["content"], "extra_headers": fields}
    client = openai_of(lab, "none").responses
    if not stream:
        return client.create(**asked).output_text
    with client.stream(**asked) as events:
        return events.get_final_response().output_text


def messages_say(lab, fields, stream):
    asked = {"model": "claude-first", "max_tokens": 100, "messages": TURN, "extra_headers": fields}
    client = anthropic.Anthropic(base_url=f"http://127.0.0.1:{lab.envoy.port}", api_key=caller_key("bob"), max_retries=0).messages
    if not stream:
        return client.create(**asked).content[0].text
    with client.stream(**asked) as events:
        return events.get_final_text()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("says", [chat_says, responses_say, messages_say])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_each_outcome_in_each_dialect_is_what_the_sdk_reads(lab, outcome, says, stream):
    _, first, then, verdict = OUTCOMES[outcome]
    for mock in lab.mocks.values():
        mock.faults(content=then or BAD)
    fields = headers(outcome, quote(first))
    if outcome == "invalid":
        with pytest.raises((openai.APIError, anthropic.APIError)) as error:
            says(lab, fields, stream)
        assert "/id (type)" in str(error.value) and "lake" not in str(error.value)
    else:
        assert json.loads(says(lab, fields, stream)) == json.loads(DEFAULT if outcome == "defaulted" else GOOD)
    line = record(lab)
    assert (line["validation"], line["stream"]) == (verdict, stream)
    asked = ["anthropic", "openai"] if says is messages_say else ["openai", "backup"]
    expected = {"retried": [asked[0]] * 2, "fallen-back": asked}.get(outcome)
    assert expected is None or [provider for provider, *_ in attempts(line)] == expected


def test_when_everybody_fails_the_client_is_told_what_and_never_the_content(lab):
    for mock in lab.mocks.values():
        mock.faults(content=BAD)
    with pytest.raises(openai.InternalServerError) as refused:
        openai_of(lab, "all").chat.completions.create(model="gpt-4o", messages=TURN)
    assert refused.value.status_code == 502 and "/id" in str(refused.value) and "lake" not in str(refused.value)
    line = record(lab)
    invalid = ("openai", 200, "invalid")
    assert attempts(line) == [invalid, invalid, ("backup", 200, None)]
    assert line["validation"] == "invalid" and line["refused"] == "answer"


def test_where_nobody_gives_another_answer_the_first_goes_out_as_the_ladder_says(lab):
    lab.openai.faults(status=400)
    client = lab.client().with_headers(x_feature="kept")
    answer = client.chat(headers={"x-mock-status": "200", "x-mock-content": BAD})
    assert answer.status == 200 and answer.headers["x-spillway-validation"] == "invalid"
    assert answer.json()["choices"][0]["message"]["content"] == BAD
    assert [status for _, status, _ in attempts(record(lab))] == [200, 400]


def test_a_client_that_hangs_up_while_it_is_asked_again_leaves_nothing_behind(lab):
    lab.openai.faults(hold="gone", content=GOOD)
    lab.openai.release("open")
    fields = {**headers("retry"), "x-mock-hold": "open", "content-type": "application/json"}
    body = json.dumps({"model": "gpt-4o", "messages": TURN})
    connection = lab.client().open("POST", "/v1/chat/completions", body, fields)
    until(lambda: lab.openai.held("gone"))
    connection.sock.close()
    connection.close()
    line = record(lab)
    assert line["end"] == "client_abort" and [one["provider"] for one in line["attempts"]] == ["openai", "openai"]
    assert all(one["tokens"] > 0 for one in line["attempts"])
    lab.openai.release("gone")
    active = "cluster.openai.upstream_rq_active"
    until(lambda: not lab.envoy.stats(active)[active], what="the call's end")


def test_a_stream_whose_first_word_can_begin_no_object_is_the_next_candidate_s(native):
    native.openai.faults(content="Sure, here is the ticket.")
    native.backup.faults(content=GOOD)
    client = native.client().with_headers(x_feature="fallback")
    answer = client.chat(stream=True)
    assert (answer.status, answer.headers["x-spillway-provider"]) == (200, "backup")
    assert answer.events()[-1] == "[DONE]" and "Sure" not in answer.text
    assert attempts(record(native)) == [("openai", 200, "invalid"), ("backup", 200, None)]
    assert native.envoy.metric("spillway_fallback", provider="openai", reason="invalid") >= 1
    native.openai.faults(content=GOOD)
    assert client.chat(stream=True).headers["x-spillway-provider"] == "openai"
    native.openai.faults(content="Sure.")
    native.backup.faults(content="Nor do I know.")
    last = client.chat(stream=True)
    assert last.headers["x-spillway-provider"] == "backup" and "error" in last.events()[-1], "never the last"
