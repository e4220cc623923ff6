"""What `spillway render` writes: real Envoy takes it for every policy, and `spillway check --envoy` agrees with it."""

import os
import subprocess

import pytest

from lab.config import environment, module
from lab.process import ROOT, tool
from lab.proxy import validate
from lab.waiting import PROGRAM_S

POLICIES = sorted((ROOT / "examples/policies").glob("*.yaml"))


def spillway(*arguments):
    """What the tool writes to standard output and error, and its code; it sees no secret."""
    bare = {name: value for name, value in os.environ.items() if name not in environment()}
    done = subprocess.run([tool("spillway", "SPILLWAY_TOOL", "debug"), *map(str, arguments)], cwd=ROOT, env=bare,
                          capture_output=True, text=True, check=False, timeout=PROGRAM_S)
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
