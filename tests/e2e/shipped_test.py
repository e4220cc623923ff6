"""The configurations we ship: they load as they are, refuse bad policies with words, and give nothing away."""

import json
import os
import re
import subprocess

import pytest

from lab.config import ROOT, SECRETS, CALLERS, caller_key, module
from lab.proxy import validate
from lab.waiting import PROGRAM_S

from conftest import FULL, HEADERS_FIRST

FILES = sorted(file.name for file in (ROOT / "envoy").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES)
def test_every_file_validates_as_it_is(file, tmp_path):
    # The only change: where the module under test lies.
    text = (ROOT / "envoy" / file).read_text().replace("dist/spillway.wasm", module())
    (tmp_path / file).write_text(text)
    valid, said = validate(tmp_path / file)
    assert valid, said


def test_the_service_s_example_of_an_environment_has_all_that_the_policy_needs():
    names = set(re.findall(r"^([A-Z_]+)=", (ROOT / "envoy/systemd/env.example").read_text(), re.M))
    needed = re.search(r"host_env_keys: \[(.*)\]", (ROOT / "envoy" / FULL).read_text())[1]
    assert names == set(needed.split(", "))


@pytest.fixture(scope="module", params=[FULL, HEADERS_FIRST])
def lab(request, start_once):
    return start_once(file=request.param)


@pytest.fixture
def alice(lab):
    lab.reset()
    return lab.client("alice").with_headers(x_model="gpt-4o")


def test_the_health_check_of_the_examples_sees_an_envoy_that_is_ready(lab):
    def ready(*arguments, port=lab.envoy.admin_port):
        command = ["bash", ROOT / "envoy/systemd/ready", *arguments]
        return subprocess.run(command, env={**os.environ, "ADMIN": f"127.0.0.1:{port}"}, timeout=PROGRAM_S, check=False).returncode

    assert (ready(), ready("--wait"), ready("--wrong")) == (0, 0, 2)
    assert ready(port=9) == 1


def test_the_provider_sees_its_own_credential_and_nothing_about_the_caller(lab, alice):
    headers = {"x-api-key": "another", "x-forwarded-for": "10.1.2.3", "accept-encoding": "gzip, br"}
    assert alice.chat(headers=headers).status == 200
    seen = lab.openai.last_headers()
    assert seen["authorization"] == [f"Bearer {SECRETS['OPENAI_API_KEY']}"]
    assert seen["host"] == ["api.openai.com"]
    assert seen["accept-encoding"] == ["identity"]
    assert not [name for name in seen if re.match("x-(api-key|spillway|envoy|forwarded|request-id|tenant)", name)]


def test_anthropic_gets_its_credential_in_its_own_header(lab):
    client = lab.client(None).with_headers(x_api_key=caller_key("bob"), x_model="claude-sonnet-4-5")
    assert client.messages().status == 200
    seen = lab.anthropic.last_headers()
    assert seen["x-api-key"] == [SECRETS["ANTHROPIC_API_KEY"]]
    assert "authorization" not in seen


def test_a_stranger_is_refused_in_the_dialect_of_the_path(lab):
    lab.reset()
    stranger = lab.client(None).with_headers(x_model="gpt-4o")
    openai, anthropic = stranger.chat(), stranger.messages()
    assert (openai.status, openai.json()["error"]["message"] != "") == (401, True)
    assert (anthropic.status, anthropic.json()["error"]["type"]) == (401, "authentication_error")
    assert lab.openai.arrived() + lab.anthropic.arrived() == 0


def test_a_client_cannot_choose_a_cluster(lab, alice):
    answer = alice.request("GET", "/v1/models", headers={"x-spillway-cluster": "openai"})
    assert answer.status == 404 and lab.openai.arrived() == 0
    assert alice.chat(headers={"x-spillway-cluster": "anthropic"}).status == 200
    assert (lab.openai.arrived(), lab.anthropic.arrived()) == (1, 0)


def test_an_exchange_leaves_one_record_without_its_text(lab, alice):
    lab.envoy.skip_records()
    assert alice.chat("the secret of the lake", headers={"x-mock-usage": "30,20"}).status == 200
    (line,) = lab.envoy.records(1)
    record = line["spillway"]
    assert (record["provider"], record["model"], record["end"]) == ("openai", "gpt-4o", "complete")
    assert (record["actual"]["input"], record["actual"]["output"]) == (30, 20)
    assert record["caller"] != "alice" and "lake" not in lab.envoy.access_log.read_text()


def test_metrics_carry_their_labels(lab, alice):
    counter = {"name": "gen_ai_client_inference_usage_output_tokens", "provider": "openai", "model": "gpt-4o"}
    before = lab.envoy.metric(**counter)
    assert alice.chat(headers={"x-mock-usage": "30,20"}).status == 200
    lab.envoy.skip_records()
    assert lab.envoy.metric(**counter) - before == 20
    buckets = {dict(labels).get("le") for name, labels in lab.envoy.metrics()
               if name == "gen_ai_client_token_usage_bucket"}
    assert {"1", "4", "16", "64", "67108864", "+Inf"} <= buckets
    assert lab.envoy.metric("spillway_limit", limit="caller-tokens", decision="allowed") > 0


def test_no_secret_is_in_a_log_a_metric_or_the_admin_pages(lab, alice):
    lab.openai.faults(status=500)
    alice.chat()
    lab.openai.faults()
    alice.chat("not JSON", headers={"x-mock-body": "not-json"})
    lab.envoy.skip_records()
    lab.envoy.metrics()  # after a tick
    pages = {path: lab.envoy.admin(path) for path in ("/stats", "/stats/prometheus", "/config_dump", "/server_info")}
    pages["log"], pages["access log"] = lab.envoy.log.read_text(), lab.envoy.access_log.read_text()
    secrets = [*SECRETS.values(), *map(caller_key, CALLERS)]
    assert not [(page, secret) for page, text in pages.items() for secret in secrets if secret in text]
    assert len(json.loads(pages["/config_dump"])["configs"]) > 1  # it was a real page


def test_every_test_that_the_security_page_names_is_there():
    page = (ROOT / "README.md").read_text().split("## Security\n")[1].split("\n## ")[0]
    named = re.findall(r"`(\w+\.(?:rs|py)): (\w+)`", page)
    files = {file: [path.read_text() for path in ROOT.rglob(file) if "target" not in path.parts] for file, _ in named}
    assert len(named) > 20
    assert not [one for one in named if not any(re.search(rf"(fn|def) {one[1]}\b", text) for text in files[one[0]])]
