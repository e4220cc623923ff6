"""What `spillway render` writes: real Envoy takes it for every policy, and `spillway check --envoy` agrees with it."""

import os
import subprocess

import pytest

from lab import BACKUP
from lab.config import environment, module
from lab.process import ROOT, tool
from lab.proxy import validate

POLICIES = sorted((ROOT / "examples/policies").glob("*.yaml"))
#: Breakers that stay closed, so that every test begins alike.
STEADY = {"breaker": {"min_requests": 1_000_000, "consecutive": 1_000_000}}
POLICY = {"limits": [], "providers": {"openai": STEADY, "backup": STEADY, "anthropic": STEADY},
          "failover": {"backoff": {"base": "10ms"}}, "models": {"alone": {"chain": ["openai/gpt-4o"]}}}


def spillway(*arguments):
    """What the tool writes to standard output and error, and its code; it sees no secret."""
    bare = {name: value for name, value in os.environ.items() if name not in environment()}
    done = subprocess.run([tool("spillway", "SPILLWAY_TOOL", "debug"), *map(str, arguments)], cwd=ROOT, env=bare,
                          capture_output=True, text=True, check=False, timeout=30)
    return done.stdout, done.stderr, done.returncode


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.stem)
def test_every_example_becomes_a_configuration_that_envoy_takes(policy, tmp_path):
    text, said, code = spillway("render", policy, "--envoy", "--module", module(), "--listen", "127.0.0.1:0")
    assert code == 0, said
    file = tmp_path / "envoy.yaml"
    file.write_text(text)
    *_, code = told = spillway("check", "--assume-env", "--envoy", file, policy)
    assert code == 0, told
    valid, said = validate(file, AZURE_API_KEY="azure")
    assert valid, said


@pytest.fixture(scope="module")
def shared(start_once):
    return start_once(BACKUP, POLICY, file="failover-priority.yaml")


@pytest.fixture
def lab(shared):
    shared.reset()
    shared.envoy.skip_records()
    return shared


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 529}, {"reset_after": 0}], ids=["503", "529", "reset"])
def test_priorities_lead_to_the_next_provider(lab, fault, streamed):
    lab.openai.faults(**fault)
    got = lab.client().chat(stream=streamed)
    assert (got.status, got.headers["x-spillway-provider"], got.broken) == (200, "backup", False)
    assert (lab.openai.arrived(), lab.backup.arrived()) == (1, 1)
    (line,) = lab.envoy.records(1)
    assert [one["provider"] for one in line["spillway"]["attempts"]] == ["openai", "backup"]
    assert lab.backup.last_headers()["authorization"] != lab.openai.last_headers()["authorization"]


def test_a_single_provider_is_asked_again(lab):
    lab.openai.faults(status=503)
    assert lab.client().chat(model="alone").status == 503
    assert lab.openai.arrived() == 3
