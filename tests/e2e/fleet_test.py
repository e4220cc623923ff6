"""Limits that two proxies count together, by a rate-limit service on a real Redis."""

import copy
import subprocess
from contextlib import ExitStack

import pytest
import yaml

from lab import TENANTS, Envoy, until
from lab.config import ROOT, environment, manager, merged, render, wasm_plugin
from lab.mock import Mock
from lab.process import tool
from lab.proxy import validate
from lab.rls import Limitador, Rls, rendered
from lab.waiting import PROGRAM_S

from conftest import at_once

#: By the day, so that no window ends while a test runs.
QUOTA = 1000
COST = {"x-mock-usage": "30,12"}
EACH = 42
#: As long as a policy may wait for the service: who is only late is heard all the same.
WAIT_S = 10
PATIENT = {"fleet": {"timeout": f"{WAIT_S}s"}}


def limits(*more, quota=QUOTA):
    """The policy's limits: the fleet's `together`, and whatever else."""
    together = {"name": "together", "per": ["caller", "model"], "tokens": f"{quota}/day", "scope": "fleet"}
    return {"limits": [together, *more]}


class Fleet:
    """Envoys before one mock, and the service that they ask, as `spillway render` configures all of them."""

    def __init__(self, directory, *patches, service="envoyproxy", proxies=("one", "two"), policy="fleet.yaml"):
        self.directory, self.patches, self.service, self.proxies = directory, patches, service, proxies
        self.policy = policy
        self._stack = ExitStack()

    def __enter__(self):
        with self._stack as stack:
            policy = yaml.safe_load((ROOT / "envoy/policies" / self.policy).read_text())
            for patch in (TENANTS, PATIENT, *self.patches):
                policy = merged(policy, patch)
            self.file = self.directory / "policy.yaml"
            self.file.write_text(yaml.safe_dump(policy))
            kind = {"envoyproxy": Rls, "limitador": Limitador}[self.service]
            self.rls = stack.enter_context(kind(rendered(self.file, self.service), self.directory))
            self.mock = stack.enter_context(Mock())
            self.envoys = [stack.enter_context(self._envoy(name)) for name in self.proxies]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _envoy(self, name):
        directory = self.directory / name
        directory.mkdir()
        make = of_mesh if self.policy.startswith("istio") else configuration
        return Envoy(make(self.file, directory, self.mock.port, self.rls.port), directory, 1)

    def clients(self, caller):
        """The same caller at both proxies."""
        return [envoy.client(None).with_headers(x_tenant=caller, **{k.replace("-", "_"): v for k, v in COST.items()})
                for envoy in self.envoys]

    def settled(self, limit, tokens):
        """Waits until so much was billed."""
        return until(lambda: (used := self.rls.used(limit)) >= tokens and used, what=f"the bill of {tokens} tokens")

    def at_rest(self):
        """Waits until no request is under way, nor any question or bill of one."""
        active = "cluster.ratelimit.upstream_rq_active"
        for envoy in self.envoys:
            envoy.skip_records()
            until(lambda envoy=envoy: not envoy.stats(active)[active], what="the last bill")

    def forget(self):
        self.rls.redis.client.flushall()
        self.rls.service.billed.clear()
        self.rls.service.asked = 0


def configuration(file, directory, mock, rls):
    """What `spillway render` writes for the policy, turned towards the mock and the service."""
    text = subprocess.run([tool("spillway", "SPILLWAY_TOOL", "debug"), "render", str(file), "--envoy",
                           "--rls-address", f"127.0.0.1:{rls}"], cwd=ROOT, capture_output=True, text=True, check=True,
                          timeout=PROGRAM_S).stdout
    config = yaml.safe_load(text)
    shown = render("fleet.yaml", {"openai": mock, "anthropic": mock, "backup": mock}, directory)
    service = [c for c in config["static_resources"]["clusters"] if c["name"] == "ratelimit"]
    shown["static_resources"]["clusters"] += copy.deepcopy(service)
    virtual_machine = wasm_plugin(shown)["vm_config"]
    for key in ("http_filters", "route_config"):
        manager(shown)[key] = manager(config)[key]
    wasm_plugin(shown)["vm_config"] = virtual_machine
    return shown


def of_mesh(file, directory, mock, rls):
    """The same through envoy/istio/fleet.yaml: the service is one of the mesh."""
    policy = yaml.safe_load(file.read_text())
    return render("istio/fleet.yaml", {"openai": mock, "anthropic": mock, policy["fleet"]["cluster"]: rls}, directory, policy)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with Fleet(tmp_path_factory.mktemp("fleet"), limits()) as running:
        yield running
        for envoy in running.envoys:
            assert envoy.process.running() and not [n for n, v in envoy.stats("vm_reload").items() if v]


@pytest.fixture(autouse=True)
def fresh(request):
    if "fleet" in request.fixturenames:
        running = request.getfixturevalue("fleet")
        running.mock.reset()
        running.at_rest()
        running.mock.reset()
        running.forget()


def test_two_proxies_admit_what_one_limit_holds(fleet):
    one, two = fleet.clients("even")
    statuses = []
    for turn in range(30):
        statuses.append((one, two)[turn % 2].chat().status)
        fleet.settled("together", EACH * statuses.count(200))
    # 23 × 42 = 966 is within 1,000, so the 24th goes; then it is full.
    assert statuses == [200] * 24 + [429] * 6
    assert fleet.rls.used("together") == 24 * EACH


def test_at_once_no_more_pass_than_were_in_flight(fleet):
    clients = fleet.clients("crowd")
    # With max_tokens, so that what is set aside fits a proxy's own ledger: here the fleet decides.
    statuses = at_once(8, lambda n: [clients[n % 2].chat(max_tokens=20).status for _ in range(6)])
    passed = sum(status == 200 for batch in statuses for status in batch)
    # Each of the eight had one under way, and one whose bill was.
    assert 24 <= passed <= 24 + 16 and passed < 48


def use_up(fleet, caller, ask):
    """Uses the limit up, half at each proxy, so that neither's own ledger is full."""
    clients = fleet.clients(caller)
    for turn in range(24):
        assert ask(clients[turn % 2]).status == 200
        fleet.settled("together", (turn + 1) * EACH)
    return clients


def test_a_refusal_of_the_fleet_speaks_the_client_s_dialect_and_costs_nothing(fleet):
    _, two = use_up(fleet, "told", lambda client: client.chat())
    fleet.envoys[1].skip_records()
    before = fleet.mock.arrived()
    openai = two.chat()
    assert openai.status == 429 and openai.json()["error"]["code"] == "rate_limit_exceeded"
    assert "together" in openai.json()["error"]["message"]
    assert 1 <= int(openai.headers["retry-after"]) <= 86_400
    (line,) = fleet.envoys[1].records(1)
    record = line["spillway"]
    assert (record["refused"], record["end"], record["limits_hit"]) == ("fleet", "refused", ["together"])
    assert "actual" not in record and line["flags"] == "RL"
    fleet.at_rest()
    assert fleet.rls.used("together") == 24 * EACH and fleet.mock.arrived() == before


def test_anthropic_s_clients_are_told_in_their_own_words(fleet):
    _, two = use_up(fleet, "words", lambda client: client.messages())
    refused = two.messages()
    assert refused.status == 429 and refused.json()["error"]["type"] == "rate_limit_error"


def test_a_client_that_hangs_up_is_charged_by_the_fleet(fleet):
    one, _ = fleet.clients("gone")
    body = '{"model":"gpt-4o","stream":true,"max_tokens":500,"messages":[{"role":"user","content":"hi"}]}'
    faults = {"x-mock-events": "100", "x-mock-hold": "gone", "x-mock-hold-after": "50", "content-type": "application/json"}
    connection = one.open("POST", "/v1/chat/completions", body, faults)
    response = connection.getresponse()
    assert response.status == 200 and response.read(1500)
    response.close()
    connection.close()
    (line,) = fleet.envoys[0].records(1)
    fleet.mock.release("gone")
    assert line["spillway"]["end"] == "client_abort"
    charged = line["spillway"]["actual"]
    assert 0 < charged["input"] + charged["output"] == fleet.settled("together", 1)


def test_who_is_over_the_local_share_never_reaches_the_service(fleet):
    one, _ = fleet.clients("local")
    assert one.chat(headers={"x-mock-usage": f"10,{QUOTA * 2}"}).status == 200
    fleet.settled("together", QUOTA)
    asked = fleet.rls.service.asked
    assert asked > 0
    refused = one.chat()
    assert refused.status == 429 and refused.headers["x-ratelimit-remaining-tokens"] == "0"
    fleet.at_rest()
    assert fleet.rls.service.asked == asked


def test_a_service_that_is_down_slow_or_wrong_is_passed_by_and_counted(fleet):
    one, two = fleet.clients("outage")
    assert one.chat().status == 200
    fleet.settled("together", EACH)
    fleet.rls.stop()
    assert [one.chat().status, two.chat().status] == [200, 200]
    fleet.rls.start()
    fleet.rls.service.fails = True
    assert two.chat().status == 200
    fleet.rls.service.fails = False
    fleet.rls.service.open.clear()
    slow = two.chat()
    fleet.rls.service.open.set()
    assert slow.status == 200 and WAIT_S - 1 < slow.seconds < WAIT_S + 20, slow
    stats = fleet.envoys[1].stats("ratelimit.failure_mode_allowed")
    assert sum(stats.values()) >= 3
    # It counts on where it was: what is in Redis outlives the service.
    small = {"x-mock-usage": "1,0"}
    until(lambda: two.chat(headers=small).status == 200 and 1 in fleet.rls.bills("together"), pause=0.5)
    until(lambda: fleet.rls.counted() == fleet.rls.used("together") > EACH)


def test_denied_while_the_service_is_down_if_the_policy_says_so(tmp_path):
    shadowed = {"name": "quiet", "per": [], "requests": "1/day", "scope": "fleet", "mode": "shadow"}
    with Fleet(tmp_path, limits(shadowed), {"fleet": {"on_rls_failure": "deny"}}, proxies=["one"]) as fleet:
        (one,) = fleet.clients("strict")
        assert [one.chat().status for _ in range(3)] == [200] * 3
        assert fleet.settled("quiet", 3) == 3, "counted in shadow, never enforced"
        fleet.rls.stop()
        fleet.envoys[0].skip_records()
        refused = one.chat()
        assert refused.status == 503 and refused.json()["error"]["code"] == "limits_unavailable"
        assert refused.headers["retry-after"] == "1"
        (line,) = fleet.envoys[0].records(1)
        assert line["spillway"]["refused"] == "fleet_unavailable" and line["flags"] == "RLSE"


def test_limitador_holds_the_same_limit(tmp_path):
    with Fleet(tmp_path, limits(), service="limitador") as fleet:
        clients, statuses = fleet.clients("even"), []
        for turn in range(30):
            statuses.append(clients[turn % 2].chat().status)
            # A question each, and a bill for what passed.
            calls = len(statuses) + statuses.count(200)
            until(lambda calls=calls: asked(fleet) >= calls)
        assert statuses == [200] * 24 + [429] * 6


def test_gateways_of_a_mesh_count_together_too(tmp_path):
    with Fleet(tmp_path, {"mode": "enforce"}, limits(), policy="istio-fleet.yaml") as fleet:
        clients, statuses = fleet.clients("even"), []
        for turn in range(26):
            statuses.append(clients[turn % 2].chat().status)
            fleet.settled("together", EACH * statuses.count(200))
        assert statuses == [200] * 24 + [429] * 2
        assert fleet.rls.used("together") == 24 * EACH


def asked(fleet):
    """How many calls of the proxies the service has answered."""
    name = "cluster.ratelimit.upstream_rq_completed"
    return sum(envoy.stats(name).get(name, 0) for envoy in fleet.envoys)


def test_without_a_common_hash_key_the_policy_is_refused(tmp_path):
    config = render("fleet.yaml", {"openai": 1}, tmp_path)
    config["static_resources"]["clusters"].append({**config["static_resources"]["clusters"][0], "name": "ratelimit"})
    variables = wasm_plugin(config)["vm_config"]["environment_variables"]
    variables["host_env_keys"] = sorted(set(environment()) - {"SPILLWAY_HASH_KEY"})
    (tmp_path / "envoy.yaml").write_text(yaml.safe_dump(config))
    valid, said = validate(tmp_path / "envoy.yaml")
    assert not valid and "SPILLWAY_HASH_KEY isn't set" in said
