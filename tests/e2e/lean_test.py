"""The lean module, without the schema engine: it serves as the full one does, goes on where that one was, and says what it
can't do.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from lab import TENANTS, until
from lab.config import environment, lean_module, module, render, wasm_plugin
from lab.process import ROOT, tool
from lab.waiting import PROGRAM_S

from conftest import FULL
from policy_test import as_text, refusal_of_envoy
from upgrade_test import ByListener

REASON = "this module has no schema engine; use spillway.wasm"
#: What it takes of validation: rules that need no schema.
RULES = {"name": "order", "format": False, "tools": False, "rules": [{"name": "some", "rule": "answer.id > 0"}]}
POLICY = {"validate": [RULES], "guards": [{"name": "own", "kinds": ["email"], "patterns": [r"\p{Greek}{3}\d{1,4}"], "on": ["request"],
                                           "action": "mask"}],
          "limits": [{"name": "tokens", "per": ["caller"], "tokens": "1k/day", "reserve": "max"}],
          "providers": {"openai": {"models": {"gpt-4o": {"count": "exact"}}}}}


def made_lean(config):
    wasm_plugin(config)["vm_config"]["code"]["local"]["filename"] = lean_module()


def refusal_of_tool(policy, directory):
    """What `spillway check --lean` says, line by line."""
    file = Path(directory) / "policy.json"
    file.write_text(json.dumps(policy))
    done = subprocess.run([tool("spillway", "SPILLWAY_TOOL", "debug"), "check", "--lean", file], cwd=ROOT, capture_output=True,
                          text=True, env={**os.environ, **environment()}, check=False, timeout=PROGRAM_S)
    assert done.returncode in (0, 1), done
    return done.stderr.splitlines()[1:]


@pytest.fixture(scope="module")
def shared(start_once):
    return start_once(POLICY, file=FULL, change=made_lean)


def test_it_is_smaller():
    assert Path(lean_module()).stat().st_size < 0.85 * Path(module()).stat().st_size


def test_it_serves_counts_guards_and_judges_by_rules(lab):
    client = lab.client("alice")
    form = {"type": "json_schema", "json_schema": {"name": "o", "schema": {"type": "object", "required": ["never"]}}}
    for content, status in (('{"id":7}', 200), ('{"id":0}', 502)):
        lab.openai.faults(content=content, usage="9,41")
        got = client.chat("mail me@example.com about αβγ12", response_format=form, max_tokens=20)
        assert got.status == status, got.text
    sent = json.dumps(lab.openai.last_body(), ensure_ascii=False)
    assert "example.com" not in sent and "αβγ" not in sent, sent
    good, bad = (record["spillway"] for record in lab.envoy.records(2))
    assert good["actual"] == bad["actual"] and good["actual"]["output"] == 41
    assert (good["validation"], bad["validation"]) == ("valid", "invalid")
    refused = client.chat("x" * 4000, max_tokens=2000)
    assert refused.status == 429, refused.text


def test_what_needs_the_schema_engine_is_refused_offline_and_at_load(tmp_path):
    needing = {"validate": [{"name": "a", "schema": {"type": "object"}}, {"name": "b", "tools": False}]}
    config = render(FULL, {"openai": 1, "anthropic": 1}, tmp_path, needing)
    lines = refusal_of_tool(wasm_plugin(config)["configuration"]["value"], tmp_path)
    assert [line.split(":")[0] for line in lines] == ["validate[0].schema", "validate[0].tools", "validate[1].format"]
    assert all(line.endswith(f"{REASON})") for line in lines), lines
    made_lean(config)
    assert "\n".join(lines) in refusal_of_envoy(as_text(config), tmp_path)
    fine = render(FULL, {"openai": 1, "anthropic": 1}, tmp_path, POLICY)
    assert refusal_of_tool(wasm_plugin(fine)["configuration"]["value"], tmp_path) == []


def test_it_goes_on_where_the_full_module_was(tmp_path):
    under = ByListener(tmp_path)
    with under.lab as lab:
        caller = lab.tenant("keeper").with_headers(x_model="gpt-4o")

        def left():
            return int(caller.chat().headers["x-ratelimit-remaining-requests"])

        def moved(plugin, policy):
            plugin["vm_config"]["code"]["local"]["filename"] = lean_module()
            policy["models"]["new"] = {"chain": ["openai/gpt-4o"]}

        assert [left() for _ in range(3)] == [99_999, 99_998, 99_997]
        under.update(moved)
        until(lambda: caller.chat(model="new", headers={"x-model": "new"}).status == 200, PROGRAM_S, pause=0.1)
        assert left() == 99_995, "what was spent before is still spent"
