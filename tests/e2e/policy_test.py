"""What is wrong with a policy: Envoy, which loads the module, and the native tool say it in the same words.

Envoy has its policy as YAML of its own file, which reaches the module as a protobuf Struct, or as a JSON text.
"""

import copy
import json
import os
import subprocess

import pytest
import yaml

from lab.config import environment, render, wasm_plugin
from lab.process import ROOT, tool
from lab.proxy import validate
from lab.waiting import PROGRAM_S

from conftest import FULL

#: A patch of the shipped policy with everything wrong that the issue names, and more …
WRONG = {
    "mode": "try", "limit": [],
    "callers": [{"header": "x-me"}, {"header": "x-you", "trusted": False}],
    "providers": {"openai": {"credential": {"env": "NOT_THERE"}, "breaker": {"opne": "1s", "open": "15"}}},
    "models": {"gpt-4o": {"chain": ["nobody/gpt-4o", "openai/gpt-99"]}},
    "validate": [{"name": "a", "schema": {"type": "object", "properties": {"id": {"pattern": "("}}}}],
    "limits": [{"name": "a", "requests": "9/h", "concurrency": 3}, {"name": "b", "tokens": "2M/month"},
               {"name": "c", "tokens": "0/min"}, {"name": "d", "tokens": "5/min", "burst": 0}],
}
#: … and the path of each field that a refusal must name.
PATHS = {
    "mode", "limit", "callers[0].trusted", "callers[1].trusted", "providers.openai.credential.env",
    "providers.openai.breaker.opne", "providers.openai.breaker.open", "models.gpt-4o.chain[0]", "models.gpt-4o.chain[1]",
    "validate[0].schema", "limits[0].concurrency", "limits[1].tokens", "limits[2].tokens", "limits[3].burst",
}


def refusal_of_envoy(config, directory):
    """What the module logged while `envoy --mode validate` loaded it; nothing when the file is valid."""
    file = directory / "envoy.yaml"
    file.write_text(yaml.safe_dump(config))
    valid, said = validate(file)
    return "" if valid else said


def as_text(config):
    """The same configuration with its policy as a JSON text."""
    config = copy.deepcopy(config)
    plugin = wasm_plugin(config)
    plugin["configuration"] = {"@type": "type.googleapis.com/google.protobuf.StringValue",
                               "value": json.dumps(plugin["configuration"]["value"])}
    return config


def refusal_of_tool(config, directory, extension):
    """What `spillway check` says of the same policy, line by line."""
    file = directory / f"policy.{extension}"
    policy = wasm_plugin(config)["configuration"]["value"]
    file.write_text(json.dumps(policy) if extension == "json" else yaml.safe_dump(policy))
    done = subprocess.run([tool("spillway", "SPILLWAY_TOOL", "debug"), "check", file], cwd=ROOT, capture_output=True,
                          text=True, env={**os.environ, **environment()}, check=False, timeout=PROGRAM_S)
    head, *lines = (done.stderr or done.stdout).splitlines()
    assert (done.returncode, head) == ((1, f"{file}: refused") if done.returncode else (0, f"{file}: good")), done
    return lines if done.returncode else []


@pytest.fixture
def wrong(tmp_path):
    return render(FULL, {"openai": 1, "anthropic": 1}, tmp_path, WRONG)


def test_envoy_and_the_tool_refuse_a_policy_in_the_same_words(wrong, tmp_path):
    lines = refusal_of_tool(wrong, tmp_path, "json")
    assert "\n".join(lines) in refusal_of_envoy(as_text(wrong), tmp_path)
    assert refusal_of_tool(wrong, tmp_path, "yaml") == lines, "as YAML it says the same"
    # A Struct's fields come in no order.
    said = refusal_of_envoy(wrong, tmp_path)
    assert [line for line in lines if line not in said] == [], said


def test_every_wrong_field_is_named_by_its_path_with_what_is_allowed(wrong, tmp_path):
    lines = refusal_of_tool(wrong, tmp_path, "json")
    assert {line.split(":")[0] for line in lines} == PATHS
    assert all(line.endswith(")") and " (allowed: " in line for line in lines), lines


def test_what_both_take_is_taken(tmp_path):
    config = render(FULL, {"openai": 1, "anthropic": 1}, tmp_path)
    said = refusal_of_envoy(config, tmp_path), refusal_of_envoy(as_text(config), tmp_path)
    assert (*said, refusal_of_tool(config, tmp_path, "json")) == ("", "", [])
