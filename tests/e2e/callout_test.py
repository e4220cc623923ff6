"""Failing over inside one request by callouts, in Envoy as `envoy/standalone.yaml` sets it up: no provider role."""

import pytest

from lab import BACKUP

CALLOUT = {"failover": {"via": "callout"}}


@pytest.fixture
def lab(start):
    return start(BACKUP, CALLOUT)


def test_a_503_at_the_first_is_answered_by_the_second(lab):
    lab.openai.faults(status=503)
    answer = lab.client().chat()
    assert answer.status == 200 and answer.json()["choices"][0]["message"]["content"].startswith("Water")
    assert answer.headers["x-spillway-provider"] == "backup"
    assert lab.backup.last_headers()["authorization"] == ["Bearer sk-backup-lab-88d1e4"]
    assert (lab.openai.arrived(), lab.backup.arrived()) == (1, 1)
    (line,) = lab.envoy.records(1)
    print(line["spillway"], answer.headers, lab.backup.last_headers())
    assert [attempt["provider"] for attempt in line["spillway"]["attempts"]] == ["openai", "backup"]
