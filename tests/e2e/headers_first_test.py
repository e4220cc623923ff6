"""Headers first: what a plain WasmPlugin can do, and what it can't (DESIGN's table)."""

from lab import BACKUP, TENANTS

from conftest import HEADERS_FIRST

NO_LIMITS = {"limits": []}


def test_the_model_header_chooses_the_provider(start):
    lab = start(TENANTS, NO_LIMITS, file=HEADERS_FIRST)
    client = lab.client(None)
    assert client.chat(headers={"x-model": "gpt-4o"}).status == 200
    assert client.messages(headers={"x-model": "claude-sonnet-4-5"}).status == 200
    assert (lab.openai.arrived(), lab.anthropic.arrived()) == (1, 1)


def test_without_it_and_without_a_catch_all_there_is_nowhere_to_go(start):
    lab = start(TENANTS, NO_LIMITS, file=HEADERS_FIRST)
    answer = lab.client(None).chat()
    assert answer.status == 404 and "x-model" in answer.json()["error"]["message"]


def test_without_it_the_catch_all_decides(start):
    lab = start(TENANTS, NO_LIMITS, {"models": {"*": {"chain": ["openai/gpt-4o"]}}}, file=HEADERS_FIRST)
    assert lab.client(None).chat().status == 200


def test_a_body_that_names_a_model_of_another_provider_is_refused(start):
    lab = start(TENANTS, NO_LIMITS, file=HEADERS_FIRST)
    answer = lab.client(None).messages(headers={"x-model": "gpt-4o"})
    assert answer.status in (400, 404)


def test_a_caller_with_nothing_left_is_refused_at_the_headers(start):
    lab = start(TENANTS, {"limits": [{"name": "one", "per": ["caller"], "requests": "1/h"}]}, file=HEADERS_FIRST)
    client = lab.tenant("a").with_headers(x_model="gpt-4o")
    assert [client.chat().status for _ in range(3)] == [200, 429, 429]
    assert lab.openai.arrived() == 1


def test_an_open_breaker_moves_traffic_here_too(start):
    patch = {"providers": {"openai": {"breaker": {"open": "60s", "consecutive": 5}}}}
    lab = start(TENANTS, NO_LIMITS, BACKUP, patch, file=HEADERS_FIRST)
    client = lab.client(None).with_headers(x_model="gpt-4o")
    lab.openai.faults(status=500)
    assert [client.chat().status for _ in range(8)] == [500] * 5 + [200] * 3
    assert lab.backup.arrived() == 3
