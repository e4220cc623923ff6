"""How answers end where requests fail over: in their own protocol when their time is up, and whole when trailers follow."""

import json

import pytest

from lab import BACKUP
from lab.config import manager
from lab.http2 import Stream

from conftest import FAILOVER, at_once

STEADY = {"breaker": {"min_requests": 1_000_000, "consecutive": 1_000_000}}
#: The longest time's last second is for the end's words: no stall lasts longer.
WHOLE_S = 10
SHORT = {"whole": {"base": f"{WHOLE_S}s", "per_1k_prompt": "0s", "per_1k_output": "0s"}}
PAIR = ["openai/gpt-4o", "anthropic/claude-sonnet-4-5"]
POLICY = {
    "limits": [],
    "callers": [{"header": "x-tenant", "trusted": True}], "anonymous": "shared",
    "providers": {"openai": STEADY, "backup": STEADY, "anthropic": STEADY},
    "models": {"native": {"chain": ["openai/gpt-4o"], "failover": {"attempts": 1, "timeouts": SHORT}},
               "translated": {"chain": PAIR[1:], "failover": {"attempts": 1, "timeouts": SHORT}},
               "callout": {"chain": PAIR[:1], "failover": {"via": "callout", "attempts": 2, "timeouts": SHORT}},
               "moved": {"chain": PAIR}},
}


def with_trailers(config):
    """Envoy drops HTTP/1.1's trailers unless told otherwise."""
    manager(config)["http_protocol_options"] = {"enable_trailers": True}
    for cluster in config["static_resources"]["clusters"]:
        options = cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
        options["explicit_http_config"] = {"http_protocol_options": {"enable_trailers": True}}


@pytest.fixture(scope="module")
def shared(start_once):
    return start_once(BACKUP, POLICY, file=FAILOVER, change=with_trailers)


@pytest.fixture
def lab(shared):
    shared.reset()
    shared.envoy.skip_records()
    return shared


def test_streams_that_take_too_long_end_with_an_error_of_their_protocol(lab):
    for provider in (lab.openai, lab.anthropic):
        provider.faults(gap_ms=50, events=100 * WHOLE_S)
    models = ["native", "translated", "callout"]
    *chats, message = at_once(4, lambda n: lab.client().chat(model=models[n], stream=True) if n < 3 else
                              lab.client().messages(model="native", stream=True))
    for chat in chats:
        assert chat.status == 200 and "longer than it may" in chat.events()[-1]["error"]["message"]
        assert "[DONE]" not in chat.text
    assert message.status == 200 and "event: error\n" in message.text
    assert "longer than it may" in message.text and "message_stop" not in message.text
    for line in lab.envoy.records(4):
        record = line["spillway"]
        # Who comes first after the error event, the next chunk or the router's own timeout, is chance.
        assert line["details"] in {"spillway_overtime", "response_timeout"} and record["end"] == "timeout"
        assert record["actual"]["output"] > 0 and record["duration_ms"] >= 900 * WHOLE_S


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
def test_a_translated_answer_with_trailers_loses_nothing(lab, streams):
    lab.openai.faults(status=503)
    lab.anthropic.faults(trailer="x-checksum: 7")
    body = {"model": "moved", "stream": streams, "messages": [{"role": "user", "content": "hi"}]}
    with Stream(lab.envoy.port).head("/v1/chat/completions", {"x-tenant": "a"}) as stream:
        got = stream.data(json.dumps(body).encode(), end=True).answer()
    assert (got.status, got.headers["x-spillway-provider"], got.broken) == (200, "anthropic", False)
    assert stream.trailers == {"x-checksum": "7"}
    if streams:
        assert got.events()[-1] == "[DONE]" and not [event for event in got.events()[:-1] if "error" in event]
    else:
        assert got.json()["choices"][0]["message"]["content"]
    (line,) = lab.envoy.records(1)
    assert line["spillway"]["end"] == "complete" and line["spillway"]["actual"]["source"] == "usage"
