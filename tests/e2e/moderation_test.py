"""Verdicts from outside and posts for review on real Envoy: what waits, what is stopped, and what nobody waits for."""

import json

import openai
import pytest

from lab import caller_key, until
from lab.config import SECRETS

from conftest import FAILOVER, FULL, HEADERS_FIRST, at_once

BAD = "a forbidden word"


def rule(name, on, **more):
    """A moderation for requests that carry `x-case: NAME`, at the cluster `judge`."""
    when = {"header": {"x-case": name}}
    return {"name": name, "when": when, "on": on, "cluster": "judge", "ask": "moderation", "timeout": "30s", **more}


QUESTION = {"ask": "model", "model": "gpt-4o-mini", "question": "No advice on taxes."}
POINTED = {"ask": "http", "path": "/exchanges", "flagged": "/nothing/there"}
MODERATION = [
    rule("both", ["request", "answer"], credential={"env": "BACKUP_API_KEY"}),
    rule("open", ["request"], on_failure="allow"),
    rule("hasty", ["request"], timeout="500ms"),
    rule("hasty-open", ["request"], timeout="500ms", on_failure="allow"),
    rule("model", ["request"], **QUESTION),
    rule("garbage", ["request"], **POINTED),
    rule("nowhere", ["request"], cluster="nowhere"),
    rule("annotate", ["request", "answer"], on_flagged="annotate"),
    rule("people", ["request"], on_flagged="review"),
    rule("shadow", ["request", "answer"], mode="shadow"),
    *({**rule("several", ["request", "answer"]), "name": f"several-{n}"} for n in (1, 2, 3)),
]
POLICY = {
    "moderation": MODERATION,
    "review": {"cluster": "webhook", "path": "/exchanges", "when": ["flagged"]},
    "limits": [{"name": "budget", "per": ["caller"], "tokens": "1M/day"}],
    "providers": {"openai": {"breaker": {"force": "closed"}}},
}
CLUSTERS = ("openai", "anthropic", "backup", "judge", "webhook")


@pytest.fixture(scope="module")
def full_once(start_once):
    return start_once(POLICY, providers=CLUSTERS)


@pytest.fixture(scope="module")
def first_once(start_once):
    return start_once(POLICY, file=HEADERS_FIRST, providers=CLUSTERS)


@pytest.fixture(scope="module", params=["full_once", "first_once"], ids=["full", "headers-first"])
def both_hosts(request):
    return request.getfixturevalue(request.param)


def ready(lab):
    lab.reset()
    for mock in lab.mocks.values():
        mock.faults()
    lab.envoy.skip_records()
    return lab


@pytest.fixture
def lab(both_hosts):
    return ready(both_hosts)


@pytest.fixture
def full(full_once):
    return ready(full_once)


def case(lab, name):
    return lab.client().with_headers(x_case=name, x_model="gpt-4o")


def left(answer):
    return int(answer.headers["x-ratelimit-remaining-tokens"])


def test_a_clean_request_goes_on_as_it_came_and_its_answer_comes_back(lab):
    answer = case(lab, "both").chat("How deep?")
    assert answer.status == 200, answer
    assert answer.json()["choices"]
    assert lab.openai.last_body()["messages"][0]["content"] == "How deep?"
    assert lab.openai.last_headers()["authorization"] == [f"Bearer {SECRETS['OPENAI_API_KEY']}"]
    judge = lab.mocks["judge"]
    assert judge.stats()["arrived"] == {"/v1/moderations": 2}
    assert judge.last_headers()["authorization"] == [f"Bearer {SECRETS['BACKUP_API_KEY']}"]
    record = lab.envoy.records(1)[0]["spillway"]
    assert [said["verdict"] for said in record["moderation"]] == ["clean", "clean"]


def test_a_flagged_request_never_reaches_a_provider_and_costs_nothing(lab):
    before = left(case(lab, "none").chat())
    lab.openai.reset()
    refused = case(lab, "both").chat(BAD)
    assert (refused.status, refused.json()["error"]["code"]) == (400, "content_policy_violation")
    assert "forbidden" not in refused.text
    assert lab.openai.arrived() == 0
    used = before - left(case(lab, "none").chat())
    assert used < 200, "what the two others used"
    record = lab.envoy.records(3)[1]["spillway"]
    assert (record["refused"], record["moderation"][0]["categories"]) == ("flagged", ["violence"])


def test_without_a_verdict_it_is_the_policy_that_decides(lab):
    lab.mocks["judge"].faults(hold="never")
    slow = case(lab, "hasty").chat()
    assert (slow.status, slow.headers["retry-after"]) == (503, "1")
    assert case(lab, "hasty-open").chat().status == 200
    lab.mocks["judge"].release("never")
    lab.mocks["judge"].faults(status=500)
    assert case(lab, "both").chat().status == 503
    assert case(lab, "open").chat().status == 200
    assert case(lab, "nowhere").chat().status == 503
    why = [record["spillway"]["moderation"][0]["why"] for record in lab.envoy.records(5)]
    assert why == ["timeout", "timeout", "status", "status", "unsent"]


def test_a_flagged_answer_is_held_back(lab):
    answer = case(lab, "both").chat(headers={"x-mock-content": BAD})
    assert "forbidden" not in answer.text
    assert answer.json()["error"]["code"] == "content_policy_violation"
    assert answer.status == (502 if lab.file == FULL else 200)
    record = lab.envoy.records(1)[0]["spillway"]
    assert record["refused"] == "flagged" and record["actual"]["source"] == "usage"


def said(answer):
    """The words of a stream."""
    chunks = [event for event in answer.events() if isinstance(event, dict) and event.get("choices")]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def test_a_flagged_stream_ends_in_an_error_instead_of_its_end(lab):
    clean = case(lab, "both").chat(stream=True)
    assert clean.events()[-1] == "[DONE]", clean
    answer = case(lab, "both").chat(stream=True, headers={"x-mock-content": BAD})
    # What had passed had passed; what came together with the end went nowhere.
    assert answer.status == 200 and BAD.startswith(said(answer))
    assert "[DONE]" not in answer.text and answer.events()[-1]["error"]["type"] == "server_error"


def test_garbage_is_no_verdict(lab):
    assert case(lab, "garbage").chat().status == 503
    assert lab.envoy.records(1)[0]["spillway"]["moderation"][0]["why"] == "garbage"


def test_the_sdk_raises_what_the_client_expects(full):
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{full.envoy.port}/v1", api_key=caller_key("alice"), max_retries=0)
    turn = {"model": "gpt-4o", "messages": [{"role": "user", "content": BAD}], "extra_headers": {"x-case": "both"}}
    with pytest.raises(openai.BadRequestError) as told:
        client.chat.completions.create(**turn)
    assert told.value.code == "content_policy_violation"
    turn["messages"][0]["content"] = "fine"
    turn["extra_headers"]["x-mock-content"] = BAD
    with pytest.raises(openai.APIError, match="content policy"):
        for _ in client.chat.completions.create(**turn, stream=True):
            pass


def test_a_second_model_judges_in_its_own_words(full):
    judge = full.mocks["judge"]
    judge.faults(content='{"allowed": false, "category": "taxes"}')
    refused = case(full, "model").chat("How do I deduct a boat?")
    assert refused.status == 400, refused
    asked = judge.last_body()
    assert asked["messages"][1]["content"] == "How do I deduct a boat?"
    assert "No advice on taxes." in asked["messages"][0]["content"]
    judge.faults(content='{"allowed": true, "category": ""}')
    assert case(full, "model").chat().status == 200
    assert full.envoy.metric("spillway_moderation_tokens", rule="model", type="input") > 0


def test_an_annotated_exchange_says_what_was_found(full):
    assert case(full, "annotate").chat().headers["x-spillway-moderation"] == "clean"
    answer = case(full, "annotate").chat(headers={"x-mock-content": BAD})
    assert (answer.status, answer.headers["x-spillway-moderation"]) == (200, "flagged")


def test_clients_that_go_while_a_verdict_is_out_leave_nothing(full):
    before = left(case(full, "none").chat())
    full.mocks["judge"].faults(hold="gate")
    body = json.dumps({"model": "gpt-4o", "max_tokens": 5000, "messages": [{"role": "user", "content": "hi"}]})
    gone = [case(full, "both").open("POST", "/v1/chat/completions", body) for _ in range(20)]
    until(lambda: full.mocks["judge"].held("gate") == 20)
    for connection in gone:
        connection.close()
    ends = [record["spillway"] for record in full.envoy.records(21)][1:]
    full.mocks["judge"].release("gate")
    assert before - left(case(full, "none").chat()) < 200
    assert {record["moderation"][0]["why"] for record in ends} == {"abandoned"}
    assert all(record["reserved"] == 0 for record in ends)


def test_several_are_asked_at_once(full):
    judge = full.mocks["judge"]
    judge.faults(hold="gate")

    def ask(number):
        if number:
            return case(full, "several").chat()
        out = until(lambda: judge.held("gate") == 3)
        judge.release("gate")
        return out

    out, answer = at_once(2, ask)
    assert out and (answer.status, answer.headers["x-spillway-moderation"]) == (200, "clean")
    assert [note["verdict"] for note in full.envoy.records(1)[0]["spillway"]["moderation"]] == ["clean"] * 6


def test_people_are_told_and_nobody_waits_for_them(full):
    webhook, judge = full.mocks["webhook"], full.mocks["judge"]
    webhook.faults(hold="told")
    judge.faults(hold="verdict")
    answer = case(full, "people").chat(BAD, headers={"x-request-id": "0e1a-77"})
    assert answer.status == 200, answer
    until(lambda: judge.held("verdict") == 1)
    judge.release("verdict")
    assert until(webhook.arrived) == 1
    post = webhook.last_body()
    assert post["why"] == ["flagged"] and post["moderation"][0]["categories"] == ["violence"]
    assert len(post["caller"]) == 16 and post["model"] == "gpt-4o" and post["id"]
    assert "forbidden" not in json.dumps(post)


def test_what_was_refused_is_posted_too(full):
    assert case(full, "both").chat(BAD).status == 400
    assert until(full.mocks["webhook"].arrived) == 1
    assert full.mocks["webhook"].last_body()["refused"] == "flagged"


def test_in_shadow_all_is_counted_and_nothing_waits(full):
    judge = full.mocks["judge"]
    judge.faults(hold="verdicts")
    answer = case(full, "shadow").chat(BAD, headers={"x-mock-content": BAD})
    assert answer.status == 200 and "forbidden" in answer.text
    until(lambda: judge.held("verdicts") == 2)
    judge.release("verdicts")
    until(lambda: judge.stats()["answered"].get("/v1/moderations") == 2)
    assert full.envoy.metric("spillway_moderation", rule="shadow", verdict="flagged") == 2
    assert full.mocks["webhook"].arrived() == 0


def test_many_at_once_are_each_judged_by_their_own_verdict(full):
    answers = at_once(24, lambda n: case(full, "both").chat(BAD if n % 2 else f"fine {n}"))
    assert [answer.status for answer in answers] == [400 if n % 2 else 200 for n in range(24)]


def test_it_goes_together_with_failing_over_by_the_router(start):
    lab = start({"moderation": [rule("both", ["request", "answer"])], "limits": []}, file=FAILOVER,
                providers=("openai", "anthropic", "backup", "judge"))
    answer = case(lab, "both").chat(headers={"x-mock-content": "fine"})
    assert answer.status == 200, answer
    assert lab.openai.last_body()["model"] == "gpt-4o"
    assert case(lab, "both").chat(BAD).status == 400
    lab.openai.faults(status=503)
    assert case(lab, "both").chat().status == 200, "from the next"
    assert case(lab, "both").chat(headers={"x-mock-content": BAD}).status == 502


def test_metrics_have_the_names_and_labels_of_the_readme(full):
    case(full, "model").chat()
    case(full, "nowhere").chat()
    case(full, "both").chat(BAD)
    wanted = {"spillway_moderation": {"rule", "side", "verdict"}, "spillway_moderation_failed": {"rule", "reason"},
              "spillway_moderation_duration_sum": {"rule"}, "spillway_moderation_tokens": {"rule", "type"},
              "spillway_review": {"status"}}
    until(lambda: {name: {label for label, _ in labels} for name, labels in full.envoy.metrics() if name in wanted} == wanted)


def test_no_text_and_no_secret_is_in_log_record_or_metric(full):
    case(full, "both").chat(BAD)
    case(full, "both").chat(headers={"x-mock-content": BAD})
    case(full, "people").chat(BAD)
    until(lambda: full.mocks["webhook"].arrived() == 2)
    full.envoy.metrics()  # after a tick
    said = json.dumps(full.envoy.records(3)) + full.envoy.admin("/stats") + full.envoy.log.read_text()
    for secret in ("forbidden", *SECRETS.values()):
        assert secret not in said
