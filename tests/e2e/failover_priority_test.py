"""Failing over before Envoy 1.37 (envoy/failover-priority.yaml): one cluster for each order, with a priority for each."""

import openai
import pytest

from lab import BACKUP, steady
from lab.config import SECRETS, caller_key

from conftest import FAILOVER_PRIORITY, at_once

PAIR = ["openai/gpt-4o", "backup/gpt-4o"]
#: What a test can wait for, and no stall of a good provider exceeds.
HURRIED = {"timeouts": {"whole": {"base": "6s", "per_1k_prompt": "0s", "per_1k_output": "0s"}}}
POLICY = {
    "limits": [],
    **steady("openai", "backup", "anthropic"),
    "models": {"pair": {"chain": PAIR}, "hurried": {"chain": PAIR, "failover": HURRIED}, "alone": {"chain": ["openai/gpt-4o"]},
               "three": {"chain": ["openai/gpt-4o", "anthropic/claude-sonnet-4-5", "backup/gpt-4o"]}},
}


@pytest.fixture(scope="module")
def shared(start_once):
    return start_once(BACKUP, POLICY, file=FAILOVER_PRIORITY)


def given_up(lab):
    """Each attempt's provider, and why it was given up."""
    return [(provider, why) for provider, _, why in lab.attempts()]


FAULTS = {"status": {"status": 503}, "reset": {"reset_after": 0}, "timeout": {"hold": "late"},
          "rate_limited": {"status": 429}}


@pytest.mark.parametrize("why", ["status", "timeout"])
def test_the_next_priority_answers(lab, why):
    """A whole answer and a stream."""
    lab.openai.faults(**FAULTS[why])
    model = "hurried" if why == "timeout" else "pair"
    for got in at_once(2, lambda n: lab.client().chat(model=model, stream=n == 1)):
        assert (got.status, got.headers["x-spillway-provider"], got.broken) == (200, "backup", False)
        assert given_up(lab) == [("openai", why), ("backup", None)]
    assert lab.backup.seen()["authorization"] == [f"Bearer {SECRETS['BACKUP_API_KEY']}"]


def test_a_broken_connection_and_a_429_move_on_too(start):
    for why in ("reset", "rate_limited"):
        lab = start(BACKUP, POLICY, file=FAILOVER_PRIORITY)
        lab.openai.faults(**FAULTS[why])
        assert lab.client().chat(model="pair").status == 200
        assert given_up(lab) == [("openai", why), ("backup", None)]


def test_a_provider_that_is_not_there_is_passed_by(start):
    lab = start(BACKUP, POLICY, file=FAILOVER_PRIORITY)
    lab.openai.stop()
    assert lab.client().chat(model="pair").status == 200
    assert given_up(lab) == [("openai", "connect"), ("backup", None)]


def test_three_in_order_with_another_dialect_in_the_middle(lab):
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{lab.envoy.port}/v1", api_key=caller_key("alice"), max_retries=0,
                           _strict_response_validation=True)
    asked = [{"role": "user", "content": "How deep is the water?"}]
    lab.openai.faults(status=503)
    assert "Water" in client.chat.completions.create(model="three", messages=asked).choices[0].message.content
    assert given_up(lab) == [("openai", "status"), ("anthropic", None)]
    lab.anthropic.faults(status=529)
    chunks = list(client.chat.completions.create(model="three", messages=asked, stream=True))
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert given_up(lab) == [("openai", "status"), ("anthropic", "status"), ("backup", None)]


def test_the_only_provider_is_asked_again(lab):
    lab.openai.faults(status=503, k=2, n=3)
    assert lab.client().chat(model="alone").status == 200 and lab.openai.arrived() == 3


def test_the_last_attempt_s_own_answer_comes_through(lab):
    lab.openai.faults(status=500)
    lab.backup.faults(status=503, retry_after=9)
    got = lab.client().chat(model="pair")
    assert (got.status, got.headers["retry-after"]) == (503, "9")
