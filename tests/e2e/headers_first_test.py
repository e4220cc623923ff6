"""Headers first: what a plain WasmPlugin can do, and what it can't (DESIGN's table)."""

import pytest

from lab import BACKUP, TENANTS

from conftest import HEADERS_FIRST

LIMIT = {"limits": [{"name": "ten", "per": ["caller"], "requests": "10/h"}]}
CATCH_ALL = {"models": {"*": {"chain": ["openai/gpt-4o"]}}}
PATIENT = {"providers": {"openai": {"breaker": {"open": "60s", "consecutive": 5}}}}


@pytest.fixture(scope="module")
def lab(start_once):
    return start_once(TENANTS, LIMIT, file=HEADERS_FIRST)


@pytest.fixture
def client(lab, request):
    lab.reset()
    return lab.tenant(request.node.name)


def test_the_model_header_chooses_the_provider(lab, client):
    assert client.chat(headers={"x-model": "gpt-4o"}).status == 200
    assert client.messages(headers={"x-model": "claude-sonnet-4-5"}).status == 200
    assert (lab.openai.arrived(), lab.anthropic.arrived()) == (1, 1)


def test_without_it_and_without_a_catch_all_there_is_nowhere_to_go(client):
    answer = client.chat()
    assert answer.status == 404 and "x-model" in answer.json()["error"]["message"]


def test_a_header_that_names_a_model_of_another_api_is_refused(client):
    answer = client.messages(headers={"x-model": "gpt-4o"})
    assert answer.status == 404 and "isn't served by this API" in answer.text, answer


def test_a_caller_with_nothing_left_is_refused_at_the_headers(lab, client):
    answers = [client.chat(headers={"x-model": "gpt-4o"}).status for _ in range(13)]
    assert answers == [200] * 10 + [429] * 3
    assert lab.openai.arrived() == 10


def test_without_a_header_the_catch_all_decides_and_an_open_breaker_moves_traffic(start):
    lab = start(TENANTS, {"limits": []}, BACKUP, CATCH_ALL, PATIENT, file=HEADERS_FIRST)
    assert lab.client(None).chat().status == 200
    client = lab.client(None).with_headers(x_model="gpt-4o")
    lab.openai.faults(status=500)
    assert [client.chat().status for _ in range(8)] == [500] * 5 + [200] * 3
    assert lab.backup.arrived() == 3
