"""Answers against their schema, in both host settings: what each allows is what DESIGN's table says."""

import json

import pytest

from lab import TENANTS

from conftest import FULL, HEADERS_FIRST

SCHEMA = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}


def rule(step):
    when = {"path": "/v1/chat/completions", "header": {"x-feature": step}}
    return {"name": step, "when": when, "schema": SCHEMA, "on_invalid": [step]}


RULES = {"limits": [], "validate": [rule("reject"), rule("annotate")]}
GOOD, BAD, PROSE = '{"id":"42"}', '{"id":42,"secret":"lake"}', "The lake is deep."


@pytest.fixture(scope="module")
def full(start_once):
    return start_once(TENANTS, RULES)


@pytest.fixture(scope="module")
def headers_first(start_once):
    return start_once(TENANTS, RULES, file=HEADERS_FIRST)


def ask(lab, step, content, **fields):
    headers = {"x-feature": step, "x-mock-content": content.replace("%", "%25"), "x-model": "gpt-4o"}
    return lab.client(None).chat(headers=headers, **fields)


def test_a_good_answer_passes_as_it_is(full):
    answer = ask(full, "reject", GOOD)
    assert answer.status == 200 and answer.json()["choices"][0]["message"]["content"] == GOOD


@pytest.mark.parametrize("content", [BAD, PROSE])
def test_a_bad_answer_is_502_with_the_paths_and_never_the_content(full, content):
    answer = ask(full, "reject", content)
    assert answer.status == 502 and answer.json()["error"]["message"]
    assert "lake" not in answer.text
    if content == BAD:
        assert "/id" in answer.text


def test_annotate_passes_it_on_with_a_header_that_says_so(full):
    good, bad = ask(full, "annotate", GOOD), ask(full, "annotate", BAD)
    said = [{name: value for name, value in answer.headers.items() if name.startswith("x-spillway")}
            for answer in (good, bad)]
    assert (good.status, bad.status) == (200, 200)
    assert bad.json()["choices"][0]["message"]["content"] == BAD
    assert said[0] != said[1] and any("invalid" in value for value in said[1].values())


def test_verdicts_that_are_not_bad_json(full):
    full.envoy.skip_records()
    headers = {"x-feature": "reject"}
    client = full.client(None)
    refusal = client.chat(headers={**headers, "x-mock-refusal": "I can't help with that."})
    cut = client.chat(headers={**headers, "x-mock-finish": "length", "x-mock-content": '{"id'})
    filtered = client.chat(headers={**headers, "x-mock-finish": "content_filter", "x-mock-content": "x"})
    verdicts = [line["spillway"]["validation"] for line in full.envoy.records(3)]
    assert verdicts == ["refusal", "truncated", "filtered"]
    assert (refusal.status, cut.status, filtered.status) == (200, 200, 200)


def test_an_answer_in_a_stream_that_breaks_its_schema_ends_with_an_error_event(full):
    good, bad = (ask(full, "reject", content, stream=True) for content in (GOOD, BAD))
    assert not any("error" in event for event in good.events() if isinstance(event, dict))
    assert any("error" in event for event in bad.events() if isinstance(event, dict))


def test_headers_first_can_only_change_the_body_of_a_bad_answer(headers_first):
    assert ask(headers_first, "reject", GOOD).json()["choices"]
    answer = ask(headers_first, "reject", BAD)
    assert answer.broken or (answer.status == 200 and "error" in json.loads(answer.text))
    assert "lake" not in answer.text
