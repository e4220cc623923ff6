"""Failing over inside one request by Envoy's own router (envoy/failover.yaml): whole and streamed, whatever goes wrong."""

import json
import time

import pytest

from lab import BACKUP, Lab, charged, dying, provider, read_until, steady, until
from lab.config import SECRETS
from lab.scripted import Scripted, answer, reset

from conftest import FAILOVER, at_once, sound

LONG = {"first_token": {"base": "30s"}, "whole": {"base": "30s"}}
BRISK = {"min_requests": 20, "half_open_permits": 1, "half_open_successes": 2}
#: What a test can wait for, and no stall of a good provider exceeds.
HURRIED = {"failover": {"timeouts": {"first_token": {"base": "3s", "per_1k_prompt": "0s"},
                                     "whole": {"base": "4s", "per_1k_prompt": "0s", "per_1k_output": "0s"}}}}
#: Whose breakers remember what a test did to them have a test of their own.
PROVIDERS = {
    **provider("dead"),
    **provider("limited", models=("whole", "streamed", "short", "long")),
    **provider("proxied", models=("gpt-5",), path_prefix="/proxied", authority="api.proxied.example"),
    **provider("tripping", breaker={**BRISK, "consecutive": 3, "open": "60s"}),
    **provider("probed", breaker={**BRISK, "consecutive": 2, "open": "300ms", "max_open": "300ms"}),
}
MOCKS = ("openai", "anthropic", "backup", *PROVIDERS)
PAIR = ["openai/gpt-4o", "backup/gpt-4o"]
POLICY = {
    **steady("openai", "backup", "anthropic"),
    "limits": [{"name": "caller-tokens", "per": ["caller"], "tokens": "100M/day"}],
    "models": {"alone": {"chain": ["openai/gpt-4o"]}, "pair": {"chain": PAIR},
               "hurried": {"chain": PAIR, **HURRIED},
               "twice": {"chain": ["openai/gpt-4o", "openai/gpt-4o-mini"]},
               "three": {"chain": ["openai/gpt-4o", "anthropic/claude-sonnet-4-5", "backup/gpt-4o"]},
               "static": {"chain": PAIR, "failover": {"exhausted": {"status": 200, "body": {"sorry": "later"}}}},
               "final": {"chain": PAIR, "failover": {"charge": "final"}},
               "proxied": {"chain": ["openai/gpt-4o-mini", "proxied/gpt-5"]},
               **{name: {"chain": [f"{name}/gpt-4o", "backup/gpt-4o"]} for name in ("dead", "tripping", "probed")},
               **{f"limited-{name}": {"chain": [f"limited/{name}", "backup/gpt-4o"]} for name in ("whole", "streamed")},
               **{f"limited-{name}": {"chain": [f"limited/{name}"]} for name in ("short", "long")}},
    "failover": {"deadline_header": "x-deadline-ms", "timeouts": LONG},
}
#: For labs of their own.
OUTAGE = {"limits": [], **steady("openai", "backup"), "models": {"pair": {"chain": PAIR}}}
PATIENT = {"failover": {"timeouts": LONG}}


@pytest.fixture(scope="module")
def shared(start_once):
    lab = start_once(BACKUP, {"providers": PROVIDERS}, POLICY, file=FAILOVER, providers=MOCKS)
    lab.mocks["dead"].stop()
    return lab


#: What goes wrong at the first provider, and what the record says of it.
FAULTS = {
    "500": ({"status": 500}, (500, "status")),
    "503": ({"status": 503}, (503, "status")),
    "529": ({"status": 529}, (529, "status")),
    "408": ({"status": 408}, (408, "status")),
    "reset": ({"reset_after": 0}, (None, "reset")),
    "timeout": ({"hold": "late"}, (None, "timeout")),
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_client_sees_nothing_of_a_provider_that_fails(lab, fault, streamed):
    faults, (status, why) = FAULTS[fault]
    if streamed and fault == "reset":
        status = 200  # its headers had come
    lab.openai.faults(**faults)
    got = lab.client().chat(model="hurried" if fault == "timeout" else "pair", stream=streamed)
    assert (got.status, got.headers["x-spillway-provider"], got.broken) == (200, "backup", False)
    assert got.events()[-1] == "[DONE]" if streamed else got.json()["choices"]
    assert (lab.openai.arrived(), lab.backup.arrived()) == (1, 1)
    first, second = lab.attempts()
    assert first[0] == "openai" and first[2] == why and (status == 200 or first[1] == status)
    assert second == ("backup", 200, None)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_provider_that_is_not_there_is_passed_by(lab, streamed):
    got = lab.client().chat(model="dead", stream=streamed)
    assert (got.status, got.headers["x-spillway-provider"]) == (200, "backup")
    assert lab.attempts() == [("dead", None, "connect"), ("backup", 200, None)]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_429_moves_on_at_once_and_its_provider_is_left_alone(lab, streamed):
    model, limited = f"limited-{'streamed' if streamed else 'whole'}", lab.mocks["limited"]
    limited.faults(status=429, retry_after=120)
    got = lab.client().chat(model=model, stream=streamed)
    assert (got.status, got.headers["x-spillway-provider"]) == (200, "backup") and got.seconds < 60
    assert lab.client().chat(model=model).status == 200
    assert (limited.arrived(), lab.backup.arrived()) == (1, 2)
    assert lab.attempts() == [("limited", 429, "rate_limited"), ("backup", 200, None)]


def test_a_stream_that_begins_with_an_error_is_somebody_else_s(lab):
    lab.openai.faults(error_after=0)
    got = lab.client().chat(model="pair", stream=True)
    assert (got.status, got.headers["x-spillway-provider"]) == (200, "backup")
    assert got.events()[-1] == "[DONE]" and "error" not in got.text
    assert lab.attempts() == [("openai", 200, "stream_error"), ("backup", 200, None)]


def test_a_first_token_that_does_not_come_in_time_is_not_waited_for(lab):
    lab.openai.faults(hold="late", hold_after=0)
    got = lab.client().chat(model="hurried", stream=True)
    assert (got.status, got.headers["x-spillway-provider"]) == (200, "backup") and got.seconds >= 3
    assert lab.attempts() == [("openai", None, "timeout"), ("backup", 200, None)]


def test_a_stream_that_has_begun_is_never_begun_again(lab):
    lab.openai.faults(reset_after=3)
    got = lab.client().chat(model="pair", stream=True)
    assert got.status == 200 and got.headers["x-spillway-provider"] == "openai"
    assert got.events()[-1] != "[DONE]" and lab.backup.arrived() == 0


def test_the_last_attempt_s_own_answer_comes_through(lab):
    lab.openai.faults(status=500)
    lab.backup.faults(status=503, retry_after=9)
    got = lab.client().chat(model="pair")
    assert (got.status, got.headers["retry-after"], got.headers["x-spillway-provider"]) == (503, "9", "backup")
    assert "mock" in got.json()["error"]["message"]
    assert not [name for name in got.headers if name in ("x-spillway-status", "x-spillway-pass")]
    assert lab.attempts() == [("openai", 500, "status"), ("backup", 503, None)]


def test_when_nobody_answers_the_client_is_told_in_its_own_dialect(lab):
    lab.openai.faults(reset_after=0)
    lab.backup.faults(reset_after=0)
    got = lab.client().chat(model="pair")
    assert got.status == 503 and got.json()["error"]["code"] == "no_answer"
    assert lab.attempts() == [("openai", None, "reset"), ("backup", None, "reset")]
    lab.backup.faults(hold="late")
    late = lab.client().chat(model="hurried")
    assert late.status == 504 and late.json()["error"]["code"] == "no_answer"


@pytest.mark.parametrize("fault", [{"status": 500}, {"reset_after": 0}])
def test_an_exhausted_chain_gives_the_policy_s_own_answer(lab, fault):
    lab.openai.faults(**fault)
    lab.backup.faults(**fault)
    got = lab.client().chat(model="static")
    assert (got.status, got.json(), got.headers["x-spillway-exhausted"]) == (200, {"sorry": "later"}, "true")


def test_other_errors_are_the_client_s_own(lab):
    lab.openai.faults(status=400)
    got = lab.client().chat(model="pair")
    assert got.status == 400 and lab.backup.arrived() == 0
    assert lab.attempts() == [("openai", 400, None)]


def test_the_only_provider_is_asked_again_as_often_as_the_policy_says(lab):
    lab.openai.faults(status=503, k=2, n=3)
    got = lab.client().chat(model="alone")
    assert got.status == 200 and lab.openai.arrived() == 3
    assert lab.attempts() == [("openai", 503, "status")] * 2 + [("openai", 200, None)]
    lab.openai.faults(status=503)
    assert lab.client().chat(model="alone").status == 503 and lab.openai.arrived() == 6


def test_another_model_of_the_only_provider_is_asked_after_a_wait(lab):
    lab.openai.faults(status=503, k=1, n=100)
    got = lab.client().chat(model="twice")
    assert got.status == 200 and lab.openai.last_body()["model"] == "gpt-4o-mini"
    assert lab.attempts() == [("openai", 503, "status"), ("openai", 200, None)]


def test_a_short_429_of_the_only_provider_is_waited_for_and_a_long_one_is_the_client_s(lab):
    limited = lab.mocks["limited"]
    limited.faults(status=429, retry_after=1, k=1, n=100)
    got = lab.client().chat(model="limited-short")
    assert got.status == 200 and 0.9 < got.seconds < 20
    assert lab.attempts() == [("limited", 429, "rate_limited"), ("limited", 200, None)]
    limited.faults(status=429, retry_after=60)
    got = lab.client().chat(model="limited-long")
    assert (got.status, got.headers["retry-after"]) == (429, "60") and limited.arrived() == 3


def test_what_lives_at_one_provider_is_never_sent_twice(lab):
    lab.openai.faults(status=503)
    for model in ("pair", "alone"):
        document = {"model": model, "input": "hi", "previous_response_id": "resp_1"}
        assert lab.client().post("/v1/responses", document).status == 503
    assert (lab.openai.arrived(), lab.backup.arrived()) == (2, 0)


def test_a_client_s_deadline_bounds_all_attempts(lab):
    for mock in (lab.openai, lab.backup):
        mock.faults(hold="late")
    got = lab.client().chat(model="pair", headers={"x-deadline-ms": "300"})
    assert got.status == 504 and 0.25 < got.seconds < 20


def test_a_client_cannot_steer_the_router(lab):
    lab.openai.faults(status=400)
    steering = {"x-envoy-retry-on": "retriable-4xx,5xx", "x-envoy-max-retries": "9",
                "x-envoy-retriable-status-codes": "400", "x-envoy-hedge-on-per-try-timeout": "true",
                "x-spillway-repeats": "true"}
    assert lab.client().chat(model="pair", headers=steering).status == 400
    assert (lab.openai.arrived(), lab.backup.arrived()) == (1, 0)
    assert not [name for name in lab.openai.last_headers() if name.startswith(("x-envoy", "x-spillway"))]


def test_each_attempt_has_the_provider_s_own_model_path_and_host(lab):
    lab.openai.faults(status=500)
    assert lab.client().chat(model="proxied").status == 200
    assert lab.openai.last_body()["model"] == "gpt-4o-mini"
    proxied = lab.mocks["proxied"]
    assert (proxied.stats()["last"]["path"], proxied.last_body()["model"]) == ("/proxied/v1/chat/completions", "gpt-5")
    assert proxied.last_headers()["host"] == ["api.proxied.example"]


@pytest.mark.parametrize("name", ["openai", "backup"])
def test_streams_truly_pass_at_the_first_attempt_and_at_the_last(lab, name):
    """The provider withholds the rest of its stream until the client has shown the first of it."""
    mock = lab.mocks[name]
    if name == "backup":
        lab.openai.faults(status=503)
    mock.faults(hold="rest", hold_after=2)
    body = json.dumps({"model": "pair", "stream": True, "messages": [{"role": "user", "content": "hi"}]})
    response = lab.client().open("POST", "/v1/chat/completions", body).getresponse()
    read_until(response, b"Water")
    until(lambda: mock.held("rest") == 1)  # it counts a moment after it has written
    mock.release("rest")
    assert response.read().endswith(b"data: [DONE]\n\n")


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "scripted"
    path.mkdir()
    return path


def test_no_provider_ever_sees_another_s_credential_in_any_byte(directory):
    def dying(connection, request, number):
        if number % 3 == 0:
            return reset(connection)
        return answer(connection, (500, 429)[number % 3 - 1] if number % 2 else 200, b'{"choices":[]}', retry_after_ms=1)

    def good(connection, request, number):
        answer(connection, 200, b'{"choices":[]}')

    with Scripted(dying) as openai, Scripted(good) as backup:
        def change(config):
            for cluster in config["static_resources"]["clusters"]:
                server = {"openai": openai, "backup": backup}.get(cluster["name"])
                if server:
                    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
                    endpoint["endpoint"]["address"]["socket_address"]["port_value"] = server.port

        with sound(Lab(directory, BACKUP, OUTAGE, PATIENT, file=FAILOVER, change=change)) as lab:
            statuses = at_once(40, lambda number: [lab.client().chat(model="pair").status for _ in range(5)])
            assert {status for each in statuses for status in each} == {200}
            assert len(backup.requests) > 20 and len(openai.requests) > 20
            own = {"openai": SECRETS["OPENAI_API_KEY"], "backup": SECRETS["BACKUP_API_KEY"]}
            foreign = [*SECRETS.values(), "key-of-alice-3e81"]
            for name, server in (("openai", openai), ("backup", backup)):
                for request in server.requests:
                    assert request.count(own[name].encode()) == 1
                    assert not [secret for secret in foreign if secret != own[name] and secret.encode() in request]
                    assert b"x-spillway" not in request and b"x-envoy" not in request


def test_200_at_once_while_a_provider_dies_and_comes_back(start):
    """No client sees it, nothing leaks, what is charged is what all attempts used, each provider sees its own key alone."""
    limits = {"limits": [{"name": "budget", "per": ["caller"], "tokens": "1M/day", "reserve": "max"}]}
    breaker = {"providers": {"openai": {"breaker": {"min_requests": 20, "consecutive": 5, "open": "300ms", "max_open": "1s"}}}}
    lab = start(BACKUP, OUTAGE, PATIENT, limits, breaker, file=FAILOVER)

    def ask(number):
        return [lab.client().chat(model="pair", stream=number % 2 == 0, max_tokens=50) for _ in range(4)]

    began = time.monotonic()
    with dying(lab.openai, [{"status": 503}, {"reset_after": 0}, {"status": 500}], 0.2):
        answers = [answer for each in at_once(200, ask) for answer in each]
    assert {(answer.status, answer.broken) for answer in answers} == {(200, False)} and len(answers) == 800
    records = [line["spillway"] for line in lab.envoy.records(800)]
    assert any(len(record["attempts"]) > 1 for record in records), "the provider never failed anybody"
    last = lab.client().chat(model="pair", max_tokens=1)
    used = 1_000_000 - int(last.headers["x-ratelimit-remaining-tokens"]) - lab.envoy.records(1)[0]["spillway"]["reserved"]
    refilled = 1_000_000 / 86_400 * (time.monotonic() - began) + 1
    assert charged(records) - refilled <= used <= charged(records)
    assert lab.idle() and not lab.seen_of_others("openai") and not lab.seen_of_others("backup")
    until(lambda: lab.client().chat(model="pair").headers["x-spillway-provider"] == "openai", what="openai; is a lease left?")


@pytest.mark.parametrize(("fault", "model", "most"), [
    ({"status": 503}, "alone", 2 * 40), ({"status": 503, "reset_after": 0}, "alone", 2 * 40),
    ({"status": 503}, "twice", 40),
], ids=["status", "reset", "another model"])
def test_an_outage_is_not_amplified_beyond_the_retry_budget(lab, fault, model, most):
    lab.openai.faults(**fault, hold="all")

    def ask(number):
        if number:
            return lab.client().chat(model=model).status
        until(lambda: lab.openai.held("all") == 200)
        lab.openai.release("all")
        return 503

    assert set(at_once(201, ask)) == {503}
    repeats = lab.openai.arrived() - 200
    assert 20 <= repeats <= most, "as many attempts more as there are, for at most a fifth of 200"


def test_what_every_attempt_cost_is_charged_or_the_last_alone(lab):
    lab.openai.faults(reset_after=0)

    def used(model):
        before = lab.envoy.metric("spillway_tokens", type="settled")
        got = lab.client().chat(model=model, headers={"x-mock-usage": "30,20"})
        assert got.status == 200
        lab.envoy.skip_records()
        return lab.envoy.metric("spillway_tokens", type="settled") - before

    assert used("final") == 50
    assert used("pair") == 50 + 13, "the lost attempt's prompt, as estimated"


def test_the_metrics_tell_why_attempts_were_given_up(lab):
    def count(reason):
        return lab.envoy.metric("spillway_fallback", provider="openai", reason=reason)

    before = count("status"), count("reset")
    lab.openai.faults(status=503)
    lab.client().chat(model="pair")
    lab.openai.faults(reset_after=0)
    lab.client().chat(model="pair")
    assert (count("status"), count("reset")) == (before[0] + 1, before[1] + 1)


def test_every_attempt_tells_the_breaker_and_an_open_one_is_passed_over(lab):
    lab.mocks["tripping"].faults(status=500)
    assert [lab.client().chat(model="tripping").status for _ in range(6)] == [200] * 6
    assert (lab.mocks["tripping"].arrived(), lab.backup.arrived()) == (3, 6)
    record = lab.envoy.records(6)[-1]["spillway"]
    assert record["passed_over"] == [{"candidate": "tripping/gpt-4o", "reason": "open"}]
    assert lab.envoy.metric("spillway_breaker_transition", provider="tripping", state="open") == 1


def test_a_probe_is_told_once_and_closes_the_breaker_again(lab):
    lab.mocks["probed"].faults(status=500)
    assert [lab.client().chat(model="probed").status for _ in range(4)] == [200] * 4
    lab.mocks["probed"].faults()
    asked = lambda: lab.client().chat(model="probed").headers["x-spillway-provider"]  # noqa: E731
    until(lambda: asked() == "probed")
    assert [asked() for _ in range(3)] == ["probed"] * 3
    assert lab.envoy.metric("spillway_breaker_transition", provider="probed", state="closed") == 1


def test_requests_of_megabytes_are_sent_again_whole(lab):
    lab.openai.faults(status=503)
    lab.anthropic.faults(status=503)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" + "A" * 6_000_000}}
    got = lab.client().chat(content=[{"type": "text", "text": "What is this?"}, picture], model="three")
    assert (got.status, got.headers["x-spillway-provider"]) == (200, "backup")
    assert lab.backup.last_body()["messages"][0]["content"][1] == picture
    assert len(lab.attempts()) == 3
