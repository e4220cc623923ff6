"""Every metric of README's table, by name and labels, on Envoy's Prometheus page; and none that the table doesn't list."""

import base64
import json
import re

import pytest

from lab import BACKUP, TENANTS, until
from lab.config import ROOT

ANTHROPIC = "claude-sonnet-4-5"
SCHEMA = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
POLICY = {
    "tracked_keys": 64, "on_encoded": "pass",
    "providers": {"openai": {"breaker": {"consecutive": 5, "open": "60s"}, "limits": [{"tokens": "900M/min"}]},
                  "gone": {"cluster": "gone", "dialect": "openai", "models": {"gpt-4o": {}}, "breaker": {"force": "closed"}}},
    "models": {"gone": {"chain": ["gone/gpt-4o"]}, "*": {"chain": ["openai/gpt-4o"]}},
    "limits": [{"name": "budget", "per": ["caller"], "tokens": "100k/day"},
               {"name": "three", "per": ["caller", "model"], "requests": "300/day"},
               {"name": "quiet", "per": ["caller"], "requests": "1/day", "mode": "shadow"}],
    "validate": [{"name": "ticket", "when": {"header": {"x-feature": "ticket"}}, "schema": SCHEMA, "on_invalid": ["annotate"]}],
}
SHADOW = {"mode": "shadow", "anonymous": "reject"}

#: Metrics that no exchange on a healthy Envoy makes, and what shows them instead.
NOT_DRIVEN = {
    "spillway_ledger_contended": "suites/tests/concurrency.rs: a store whose every write conflicts",
    "spillway_breaker_dropped": "suites/tests/breaker.rs: the same",
    "spillway_breaker_on_credit": "suites/tests/breaker.rs: every breaker of a chain has to be open",
    "spillway_config_rejected": "e2e/upgrade_test.py: a policy that is refused, sent to a running Envoy",
    **dict.fromkeys(("spillway_moderation", "spillway_moderation_failed", "spillway_moderation_duration",
                     "spillway_moderation_tokens", "spillway_review"), "moderation_test.py"),
    **dict.fromkeys(("spillway_rule", "spillway_grounding"), "answers_test.py"),
    "spillway_repair": "src/exchange/tests/answers.rs",
    **dict.fromkeys(("spillway_guard", "spillway_guard_unguarded"), "guards_test.py"),
    "spillway_drill": "drill_test.py",
    "spillway_store_started_clean": "suites/tests/upgrade.rs",
}
#: Values that the table names.
VALUES = {("gen_ai_client_token_usage", "type"): {"input", "output"},
          ("spillway_limit", "decision"): {"allowed", "denied", "shadow"},
          ("spillway_tokens", "type"): {"reserved", "settled", "refunded"},
          ("spillway_stream_aborted", "reason"): {"client", "upstream"}}


def spelt_out(name):
    """`a.{b, c}` as `a.b` and `a.c`."""
    match = re.fullmatch(r"(.*)\{(.*)\}(.*)", name)
    return [match[1] + part.strip() + match[3] for part in match[2].split(",")] if match else [name]


def table():
    """README's table: Prometheus's name → its labels."""
    rows = re.search(r"\| metric \| labels \|\n\|---\|---\|\n((?:\|.*\n)+)", (ROOT / "README.md").read_text())[1]
    listed = {}
    for row in rows.splitlines():
        metrics, labels = (cell.strip() for cell in row.strip("|").split(" | "))
        # Labels without the values they are shown with.
        labels = [set(re.findall(r"[a-z_]+", re.sub(r"`[^`]*`", "", part))) - {"none"} for part in labels.split(" · ")]
        groups = re.findall(r"`([^`]+)`", metrics)
        for at, group in enumerate(groups):
            for name in spelt_out(group):
                listed[name.replace(".", "_")] = labels[min(at, len(labels) - 1)]
    return listed


def shown(*labs):
    """The Prometheus pages: name without a histogram's endings → the sets of labels it was seen with."""
    found = {}
    for lab in labs:
        for name, labels in lab.envoy.metrics():
            if name.startswith(("spillway_", "gen_ai_")):
                name = re.sub("_(bucket|sum|count)$", "", name)
                found.setdefault(name, []).append(dict(labels))
    return found


def canned(usage, **fields):
    document = {"id": "c", "model": "m", "usage": usage, **fields}
    return {"x-mock-body": "base64:" + base64.b64encode(json.dumps(document).encode()).decode()}


def answers(lab):
    """Every kind of answer, good and bad."""
    chat, messages = lab.tenant("one").chat, lab.tenant("one").messages
    chat(headers=canned({"prompt_tokens": 30, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 8},
                         "completion_tokens_details": {"reasoning_tokens": 9}}))
    messages(headers=canned({"input_tokens": 5, "cache_creation_input_tokens": 4, "cache_read_input_tokens": 3,
                             "output_tokens": 7}, content=[]))
    chat(stream=True, headers={"x-mock-gap-ms": "5"})
    chat(headers={"x-mock-set": "x-ratelimit-limit-requests: 100", "x-mock-remaining": "50,", "x-feature": "ticket"})
    chat(headers={"x-mock-content": '{"id":"1"}', "x-feature": "ticket", "x-stainless-retry-count": "1"})
    for body in ("no-usage", "negative-usage"):
        chat(headers={"x-mock-body": body})
    chat(headers={"x-mock-encoding": "gzip"})
    chat(headers={"x-mock-status": "404"})
    chat(model="gone")
    lab.tenant("one").request("GET", "/v1/models")
    lab.tenant("one").post("/v1/chat/completions", b"\x1f\x8b", {"content-encoding": "gzip"})
    lab.tenant("one").post("/v1/chat/completions", "no JSON")


def ends(lab):
    """Streams that end before their time."""
    chat = lab.tenant("one").chat
    chat(stream=True, headers={"x-mock-error-after": "2"})
    chat(stream=True, headers={"x-mock-reset-after": "2"})
    body = '{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    connection = lab.tenant("one").open("POST", "/v1/chat/completions", body, {"x-mock-hold": "rest", "x-mock-hold-after": "1"})
    connection.getresponse().close()
    connection.close()


def refusals(lab):
    """A provider that fails and one that refuses; a limit that does; and more callers in debt than are tracked."""
    lab.tenant("rich").chat(headers={"x-mock-usage": "10,500000"})
    assert lab.tenant("rich").chat().status == 429
    chat = lab.tenant("one").chat
    assert [chat(headers={"x-mock-status": "500"}).status for _ in range(5)] == [500] * 5
    assert chat(headers={"x-mock-usage": "3,4"}).status == 200, "from the backup"
    chat(headers={"x-mock-status": "429", "x-mock-retry-after": "9"})
    for number in range(1500):
        lab.tenant(f"t{number}").messages(headers={"x-mock-usage": "10,500000"})
        if lab.envoy.stats("spillway.ledger.overflow").get("wasmcustom.spillway.ledger.overflow"):
            break


@pytest.fixture(scope="module")
def page(start_once):
    lab, shadow = start_once(TENANTS, POLICY, BACKUP, providers=("openai", "anthropic", "backup", "gone")), start_once(SHADOW)
    lab.mocks["gone"].stop()
    answers(lab)
    ends(lab)
    refusals(lab)
    shadow.client(None).chat()
    until(lambda: set(table()) - set(NOT_DRIVEN) <= set(shown(lab, shadow)), what="the last metric")
    return shown(lab, shadow)


def test_every_metric_of_the_table_is_on_the_page_under_its_name(page):
    listed = table()
    assert len(listed) >= 35, "the table was read"
    assert set(listed) - set(page) == set(NOT_DRIVEN)
    assert set(page) <= set(listed), "and none that the table doesn't know"


def test_every_metric_has_the_labels_of_the_table_and_no_others(page):
    listed = table()
    wrong = {name: (listed[name], series) for name, all_series in page.items() for series in all_series
             if set(series) - {"le"} != listed[name]}
    assert not wrong


def test_labels_have_the_values_of_the_table(page):
    seen = {key: {series[key[1]] for series in page[key[0]]} for key in VALUES}
    assert seen == VALUES


def test_no_label_has_a_value_that_a_client_made_up(page):
    values = {value for all_series in page.values() for series in all_series for name, value in series.items() if name != "le"}
    assert not [value for value in values if re.fullmatch(r"one|rich|t\d+|m|gone/.*", value)]
