"""Answers that an application can trust, with the SDKs' own structured output: by what each request asks for itself."""

import subprocess
import sys
from urllib.parse import quote

import anthropic
import openai
import pytest
from pydantic import BaseModel

from lab import TENANTS, until
from lab.config import ROOT
from lab.waiting import PROGRAM_S

TURN = [{"role": "user", "content": "Ada Lovelace asks for the weather in Bern."}]
PARAMETERS = {"type": "object", "required": ["city"], "additionalProperties": False,
              "properties": {"city": {"type": "string"}, "discount": {"type": "number"}}}
GOOD, FENCED, BAD = '{"city":"Bern"}', '```json\n{"city": "Bern",}\n```', '{"city":["lake"]}'
CLAMP = {"name": "discount", "rule": "answer.discount <= 20", "otherwise": {"clamp": "/discount", "to": 20}}


def validation(name, **more):
    return {"name": name, "when": {"header": {"x-feature": name}}, **more}


VALIDATE = [
    validation("own", on_invalid=["repair", "reject"]),
    validation("buffered", buffer=True, on_invalid=["repair", "reject"]),
    validation("default", buffer=True, on_invalid=["repair", {"default": {"city": "nowhere"}}]),
    validation("rules", schema={"type": "object"}, rules=[CLAMP]),
    validation("grounded", grounding={"fields": ["/city"], "otherwise": "reject"}),
    validation("shadow", on_invalid=["repair", "reject"], mode="shadow"),
]


class Place(BaseModel):
    city: str


class Weather(BaseModel):
    city: str


@pytest.fixture(scope="module")
def lab(start_once):
    return start_once(TENANTS, {"limits": [], "validate": VALIDATE})


def headers(feature, content):
    return {"x-feature": feature, "x-mock-content": quote(content)}


def openai_of(lab):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{lab.envoy.port}/v1", api_key="none", max_retries=0)


def anthropic_of(lab):
    return anthropic.Anthropic(base_url=f"http://127.0.0.1:{lab.envoy.port}", api_key="none", max_retries=0)


def parse(lab, feature, content):
    raw = openai_of(lab).chat.completions.with_raw_response.parse(
        model="gpt-4o", messages=TURN, response_format=Place, extra_headers=headers(feature, content))
    return raw.headers.get("x-spillway-validation"), raw.parse().choices[0].message.parsed


def test_parse_gets_an_object_of_the_schema_or_an_error(lab):
    assert parse(lab, "own", GOOD) == ("valid", Place(city="Bern"))
    assert parse(lab, "own", FENCED) == ("repaired", Place(city="Bern"))
    assert parse(lab, "default", BAD) == ("invalid", Place(city="nowhere"))
    with pytest.raises(openai.InternalServerError) as error:
        parse(lab, "own", BAD)
    assert error.value.status_code == 502 and "/city (type)" in str(error.value)
    assert "lake" not in str(error.value)
    assert error.value.response.headers["x-spillway-validation"] == "invalid"


def stream(lab, feature, content):
    with openai_of(lab).chat.completions.stream(
            model="gpt-4o", messages=TURN, response_format=Place, extra_headers=headers(feature, content)) as events:
        return events.get_final_completion().choices[0].message.parsed


@pytest.mark.parametrize("feature", ["own", "buffered"])
def test_a_stream_ends_valid_or_as_an_error(lab, feature):
    assert stream(lab, feature, GOOD) == Place(city="Bern")
    with pytest.raises(openai.APIError) as error:
        stream(lab, feature, BAD)
    assert "/city (type)" in str(error.value) and "lake" not in str(error.value)


def test_a_buffered_stream_is_mended(lab):
    assert stream(lab, "buffered", FENCED) == Place(city="Bern")
    assert stream(lab, "default", BAD) == Place(city="nowhere")
    answer = lab.client(None).chat(headers=headers("buffered", FENCED), stream=True, response_format={
        "type": "json_schema", "json_schema": {"name": "p", "schema": PARAMETERS}})
    assert answer.headers["x-spillway-validation"] == "repaired" and answer.events()[-1] == "[DONE]"


def test_responses_are_judged_by_their_text_format(lab):
    def ask(feature, content):
        return openai_of(lab).responses.parse(
            model="gpt-4o", input="Where?", text_format=Place, extra_headers=headers(feature, content)).output_parsed

    assert ask("own", FENCED) == Place(city="Bern")
    with pytest.raises(openai.InternalServerError):
        ask("own", BAD)

    def ask_in_a_stream(content):
        with openai_of(lab).responses.stream(model="gpt-4o", input="Where?", text_format=Place,
                                             extra_headers=headers("buffered", content)) as events:
            return events.get_final_response().output_parsed

    assert ask_in_a_stream(GOOD) == Place(city="Bern")
    assert ask_in_a_stream(FENCED) == Place(city="Bern")


def test_openai_tools_get_arguments_of_their_parameters(lab):
    tool = openai.pydantic_function_tool(Weather, name="weather")

    def ask(feature, content):
        answer = openai_of(lab).chat.completions.parse(
            model="gpt-4o", messages=TURN, tools=[tool], extra_headers=headers(feature, content))
        return answer.choices[0].message.tool_calls[0].function.parsed_arguments

    assert ask("own", GOOD) == Weather(city="Bern")
    assert ask("own", "{'city': 'Bern',}") == Weather(city="Bern")
    with pytest.raises(openai.InternalServerError) as error:
        ask("own", BAD)
    assert "/tool_calls/0/city (type)" in str(error.value)

    def ask_in_a_stream(content):
        with openai_of(lab).chat.completions.stream(
                model="gpt-4o", messages=TURN, tools=[tool], extra_headers=headers("buffered", content)) as events:
            return events.get_final_completion().choices[0].message.tool_calls[0].function.parsed_arguments

    assert ask_in_a_stream("{'city': 'Bern',}") == Weather(city="Bern")


def forced(lab, feature, content, **more):
    return {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": TURN,
            "tools": [{"name": "weather", "input_schema": PARAMETERS}],
            "tool_choice": {"type": "tool", "name": "weather"}, "extra_headers": headers(feature, content), **more}


def test_anthropic_forced_tools_are_answers_of_their_schema(lab):
    messages = anthropic_of(lab).messages
    assert messages.create(**forced(lab, "own", GOOD)).content[0].input == {"city": "Bern"}
    with pytest.raises(anthropic.InternalServerError) as error:
        messages.create(**forced(lab, "own", BAD))
    assert error.value.status_code == 502 and "/tool_calls/0/city (type)" in str(error.value)
    assert messages.create(**forced(lab, "default", BAD)).content[0].input == {"city": "nowhere"}


def test_anthropic_forced_tools_in_streams(lab):
    def ask(feature, content):
        with anthropic_of(lab).messages.stream(**forced(lab, feature, content)) as events:
            return events.get_final_message().content[0].input

    assert ask("own", GOOD) == ask("buffered", GOOD) == {"city": "Bern"}
    assert ask("default", BAD) == {"city": "nowhere"}
    with pytest.raises(anthropic.APIStatusError) as error:
        ask("own", BAD)
    assert "/tool_calls/0/city (type)" in str(error.value)


def test_rules_and_grounding_look_into_the_answer(lab):
    def ask(feature, content, **more):
        return lab.client(None).chat(TURN[0]["content"], headers=headers(feature, content), **more)

    clamped = ask("rules", '{"discount": 35, "city": "Bern"}')
    assert clamped.headers["x-spillway-validation"] == "repaired"
    assert clamped.json()["choices"][0]["message"]["content"] == '{"discount": 20, "city": "Bern"}'
    assert ask("grounded", GOOD).headers["x-spillway-validation"] == "valid"
    wrong = ask("grounded", '{"city":"Basel"}')
    assert wrong.status == 502 and "0 of 1 claims" in wrong.text and "Basel" not in wrong.text
    until(lambda: verdicts(lab, "spillway_rule", "rules-discount") == {"clamped": 1})
    until(lambda: verdicts(lab, "spillway_grounding", "grounded") == {"found": 1, "missing": 1})


def verdicts(lab, metric, rule):
    """How often each verdict was counted of a rule that no other test has."""
    return {dict(labels)["verdict"]: n for (name, labels), n in lab.envoy.metrics().items()
            if name == metric and ("rule", rule) in labels}


def test_in_shadow_everything_is_counted_and_nothing_changed(lab):
    schema = {"type": "json_schema", "json_schema": {"name": "p", "schema": PARAMETERS}}
    answer = lab.client(None).chat(headers=headers("shadow", FENCED), response_format=schema)
    assert answer.json()["choices"][0]["message"]["content"] == FENCED
    assert "x-spillway-validation" not in answer.headers
    lab.client(None).chat(headers=headers("shadow", BAD), response_format=schema)
    until(lambda: verdicts(lab, "spillway_schema", "shadow") == {"repaired": 1, "invalid": 1})


def test_the_example_prints_what_it_says():
    done = subprocess.run([sys.executable, ROOT / "examples/answers/answers.py"], capture_output=True, text=True,
                          timeout=PROGRAM_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == (ROOT / "examples/answers/expected.txt").read_text()
