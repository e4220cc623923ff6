"""envoy/istio: the manifests fit Istio's definitions, and what istiod makes of them serves on real Envoy.

The whole end-to-end suite runs through Istio too, by hand: SPILLWAY_THROUGH=istio (envoy/istio/README.md says what can't pass).
"""

import copy
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from lab import istio
from lab.config import ROOT, SECRETS, module
from lab.proxy import validate
from lab.waiting import PROGRAM_S

FILES = sorted((ROOT / "envoy/istio").glob("*.yaml"))
CRDS = Path(os.environ.get("SPILLWAY_CRDS", ROOT / "target/crds"))
NODE = os.environ.get("SPILLWAY_NODE") or shutil.which("node") or "node"
ENFORCED = {"mode": "enforce"}
PLUGIN, FULL = "istio/wasm-plugin.yaml", "istio/failover.yaml"


def documents(file):
    return list(yaml.safe_load_all(Path(file).read_text()))


def findings(directory, manifests):
    """What Istio's definitions say against manifests."""
    path = directory / "manifests.json"
    path.write_text(json.dumps(manifests))
    done = subprocess.run([NODE, CRDS / "crds.mjs", path], capture_output=True, text=True, check=False, timeout=PROGRAM_S)
    assert not done.stderr, done.stderr + "\n(./build.sh test sets up what this needs)"
    return [line.split(": ", 1)[1] for line in done.stdout.splitlines()]


def as_plugin(document):
    """A TrafficExtension, which is newer than the definitions, as the WasmPlugin of which it has all fields."""
    if document["kind"] != "TrafficExtension":
        return document
    found = copy.deepcopy(document)
    return {**found, "kind": "WasmPlugin", "spec": {**found["spec"], **found["spec"].pop("wasm")}}


def test_every_manifest_fits_its_definition_and_has_no_field_that_it_does_not_know(tmp_path):
    manifests = [as_plugin(one) for file in FILES for one in documents(file) if one["kind"] != "ConfigMap"]
    for one in manifests:
        if one["kind"] == "WasmPlugin":
            one["spec"].pop("wasm", None)
    assert len(manifests) > 20 and findings(tmp_path, manifests) == []


def test_a_field_that_is_wrong_or_unknown_is_noticed(tmp_path):
    plugin, filters = documents(ROOT / "envoy" / PLUGIN)[0], documents(ROOT / "envoy" / FULL)[0]
    wrong = [copy.deepcopy(plugin) for _ in range(2)] + [copy.deepcopy(filters)]
    wrong[0]["spec"]["failStrategy"] = "FAIL_SOMEHOW"
    wrong[1]["spec"]["vmConfig"]["env"][0]["valuefrom"] = "HOST"
    wrong[2]["spec"]["configPatches"][0]["match"]["contxt"] = "GATEWAY"
    said = findings(tmp_path, wrong)
    assert len(said) == 3 and "failStrategy must be equal" in said[0]
    assert said[1:] == ["WasmPlugin spillway: spec.vmConfig.env.0.valuefrom is unknown",
                        "EnvoyFilter spillway: spec.configPatches.0.match.contxt is unknown"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_istiod_makes_of_each_is_taken_by_envoy(file, tmp_path):
    config = istio.bootstrap(documents(file), tmp_path, module())
    (tmp_path / "envoy.yaml").write_text(json.dumps(config).replace("/var/lib/spillway/plugin.wasm", module()))
    valid, said = validate(tmp_path / "envoy.yaml")
    assert valid, said


def test_the_translation_refuses_what_it_does_not_know(tmp_path):
    manifests = documents(ROOT / "envoy" / FULL)
    manifests[0]["spec"]["configPatches"][0]["match"]["context"] = "GATEWAYS"
    with pytest.raises(istio.Unknown):
        istio.bootstrap(manifests, tmp_path, module())


# ── A WasmPlugin alone ─────────────────────────────────────────────────────────────────────────────────────────────


LIMIT = {"limits": [{"name": "ten", "per": ["caller"], "requests": "10/h"}]}
STRICT = {"validate": [{"name": "strict", "when": {"header": {"x-feature": "strict"}}, "schema": {"type": "object"}}]}


@pytest.fixture(scope="module")
def plugin(start_once):
    callers = {"callers": [{"header": "x-tenant", "trusted": True}], "anonymous": "shared"}
    return start_once(ENFORCED, LIMIT, STRICT, callers, file=PLUGIN)


@pytest.fixture
def tenant(plugin, request):
    plugin.reset()
    return plugin.tenant(request.node.name)


def internals(headers):
    return [name for name in headers if re.match("x-(spillway|envoy|forwarded|request-id|tenant)", name)]


def test_a_plugin_has_neither_the_flag_nor_a_store_of_its_own(plugin):
    (config,) = re.findall(r'"config": \{\s*"name": "istio-ingress.spillway".*?"code"',
                           plugin.envoy.admin("/config_dump?include_eds"), re.S)
    assert "allow_on_headers_stop_iteration" not in config and "vm_id" not in config


def test_the_mesh_s_own_routes_lead_where_the_filter_says(plugin, tenant):
    assert tenant.chat(headers={"x-model": "gpt-4o"}).status == 200
    assert tenant.messages(headers={"x-model": "claude-sonnet-4-5"}).status == 200
    assert (plugin.openai.arrived(), plugin.anthropic.arrived()) == (1, 1)
    assert tenant.chat(model="gpt-4o-mini").status == 200, "without a header the entry * decides"
    assert tenant.request("GET", "/v1/models", headers={"x-spillway-cluster": "outbound|80||api.openai.com"}).status == 404
    assert plugin.openai.arrived() == 2


def test_a_provider_sees_its_own_credential_and_nothing_of_the_mesh(plugin, tenant):
    assert tenant.chat(headers={"x-model": "gpt-4o", "authorization": "Bearer mine"}).status == 200
    seen = plugin.openai.last_headers()
    assert seen["authorization"] == [f"Bearer {SECRETS['OPENAI_API_KEY']}"] and seen["host"] == ["api.openai.com"]
    assert internals(seen) == []


def test_a_caller_with_nothing_left_is_refused_at_the_headers(plugin, tenant):
    statuses = [tenant.chat(headers={"x-model": "gpt-4o"}).status for _ in range(12)]
    assert statuses == [200] * 10 + [429] * 2 and plugin.openai.arrived() == 10


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_failed_request_goes_to_the_next_provider_by_a_call(plugin, tenant, streamed):
    plugin.openai.faults(status=503)
    got = tenant.chat(headers={"x-model": "gpt-4o"}, stream=streamed)
    assert (got.status, got.headers["x-spillway-provider"]) == (200, "anthropic")
    assert got.events()[-1] == "[DONE]" if streamed else got.json()["choices"]
    assert internals(plugin.anthropic.last_headers()) in ([], ["x-envoy-internal", "x-envoy-expected-rq-timeout-ms"])


def test_what_a_plugin_can_not_do_is_what_the_readme_says(plugin, tenant):
    rejected = tenant.chat(headers={"x-model": "gpt-4o", "x-feature": "strict"})
    assert rejected.status == 200 and "strict" in rejected.json()["error"]["message"], "an error, but under 200"
    large = tenant.chat("x" * 1_100_000, headers={"x-model": "gpt-4o"})
    assert large.status == 413 and "error" not in large.text, "Envoy's own bound of 1 MiB, in Envoy's own words"


# ── An EnvoyFilter ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def full(start_once):
    return start_once(ENFORCED, {"limits": []}, file=FULL)


@pytest.fixture
def alice(full):
    full.reset()
    return full.client("alice")


def test_with_the_filter_set_the_body_decides_and_large_ones_pass(full, alice):
    assert alice.chat("x" * 1_100_000, model="gpt-4o-mini").status == 200
    assert alice.messages().status == 200
    assert (full.openai.arrived(), full.anthropic.arrived()) == (1, 1)
    assert internals(full.openai.last_headers()) == internals(full.anthropic.last_headers()) == []


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_the_router_fails_over_with_each_provider_s_own_credential(full, alice, streamed):
    full.openai.faults(status=503)
    got = alice.chat(stream=streamed)
    assert (got.status, got.headers["x-spillway-provider"]) == (200, "anthropic")
    assert got.events()[-1] == "[DONE]" if streamed else got.json()["choices"]
    seen = full.anthropic.last_headers()
    assert seen["x-api-key"] == [SECRETS["ANTHROPIC_API_KEY"]] and "authorization" not in seen
    assert internals(seen) == []


def test_the_only_provider_is_asked_again(full, alice):
    full.openai.faults(status=503, k=1, n=2)
    assert alice.chat(model="gpt-4o-mini").status == 200 and full.openai.arrived() == 2


def test_a_stranger_and_a_wrong_path_are_refused(full, alice):
    assert full.client(None).chat().status == 401
    assert alice.request("GET", "/v1/models", headers={"x-spillway-cluster": "openai"}).status == 404
    assert full.openai.arrived() == 0


def test_metrics_have_their_labels_by_the_bootstrap_s_part(full, alice):
    assert alice.chat(headers={"x-mock-usage": "30,20"}).status == 200
    assert full.envoy.metric("gen_ai_client_inference_usage_output_tokens", provider="openai", model="gpt-4o") >= 20
