"""Drills: a share of traffic goes as if the chain's first candidate were down, whoever sends a request again."""

from collections import Counter

import pytest

from lab import BACKUP, until

from conftest import FAILOVER

STEADY = {"breaker": {"min_requests": 1_000_000, "consecutive": 1_000_000}}
CHAIN = ["openai/gpt-4o", "backup/gpt-4o", "anthropic/claude-sonnet-4-5"]


def entry(**failover):
    return {"chain": CHAIN, "failover": failover}


POLICY = {
    "limits": [],
    "providers": {"openai": STEADY, "backup": STEADY, "anthropic": STEADY},
    "models": {"native": entry(drill="100 %"), "half": entry(drill=0.5), "callout": entry(via="callout", drill=1),
               "undrilled": entry(),
               # Whatever the policy has for failing over: a drill that fails goes back.
               "native-strict": entry(drill=1, retry_on=[]), "callout-strict": entry(via="callout", drill=1, retry_on=[])},
}


@pytest.fixture(scope="module")
def shared(start_once):
    return start_once(BACKUP, POLICY, file=FAILOVER)


@pytest.fixture
def lab(shared):
    shared.reset()
    shared.envoy.skip_records()
    return shared


def counted(page, name, label):
    """A metric of the first provider's, by one of its labels."""
    of = [(dict(labels), int(n)) for (found, labels), n in page.items() if found == name]
    return Counter({labels[label]: n for labels, n in of if labels["provider"] == "openai"})


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", ["native", "callout"])
def test_a_drilled_request_is_answered_by_the_next_and_says_so(lab, model, streamed):
    got = lab.client().chat(model=model, stream=streamed)
    assert (got.status, got.headers["x-spillway-provider"], got.headers["x-spillway-drill"]) == (200, "backup", "openai")
    assert got.events()[-1] == "[DONE]" if streamed else got.json()["choices"]
    assert (lab.openai.arrived(), lab.backup.arrived()) == (0, 1)
    (line,) = lab.envoy.records(1)
    record = line["spillway"]
    assert record["drill"] == "openai"
    assert record["passed_over"] == [{"candidate": "openai/gpt-4o", "reason": "drill"}]


@pytest.mark.parametrize("status", [503, 401])
@pytest.mark.parametrize("model", ["native", "callout", "native-strict", "callout-strict"])
def test_a_drill_that_fails_costs_nobody_an_answer(lab, model, status):
    lab.backup.faults(status=status)
    got = lab.client().chat(model=model)
    assert (got.status, got.headers["x-spillway-provider"], got.headers["x-spillway-drill"]) == (200, "openai", "openai")
    (line,) = lab.envoy.records(1)
    tried = [(one["provider"], one.get("gave_up")) for one in line["spillway"]["attempts"]]
    assert tried == [("backup", "status"), ("openai", None)]


def test_about_the_share_is_drilled_and_counted_apart(lab):
    assert lab.idle()
    before = lab.envoy.metrics()
    client = lab.client()
    answers = [client.chat(model="half") for _ in range(60)]
    assert {got.status for got in answers} == {200}
    drilled = [got for got in answers if "x-spillway-drill" in got.headers]
    assert 12 <= len(drilled) <= 48  # one in 300,000 runs is outside
    assert {got.headers["x-spillway-provider"] for got in drilled} == {"backup"}
    assert lab.openai.arrived() == 60 - len(drilled) and lab.backup.arrived() == len(drilled)
    # Then one that fails over in earnest: what falls back is counted, and drills aren't.
    lab.openai.faults(status=503)
    assert client.chat(model="undrilled").headers["x-spillway-provider"] == "backup"

    def more(page, name, label):
        return counted(page, name, label) - counted(before, name, label)

    def both():
        page = lab.envoy.metrics()
        return more(page, "spillway_drill", "decision"), more(page, "spillway_fallback", "reason")

    wanted = {"moved": len(drilled)}, {"status": 1}
    until(lambda: both() == wanted, what=f"{wanted}")
