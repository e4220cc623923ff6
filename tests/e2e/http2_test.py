"""HTTP/2 clients, whose bodies have no length and end where they like, and trailers in both directions."""

import base64
import json

import pytest

from lab import TENANTS
from lab.config import manager
from lab.http2 import Stream

from conftest import FULL, HEADERS_FIRST

CAPACITY = 10_000
SCHEMA = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
POLICY = {
    "limits": [{"name": "budget", "per": ["caller"], "tokens": "50/day", "burst": str(CAPACITY), "reserve": "max"}],
    "providers": {"openai": {"breaker": {"force": "closed"}}},
    "validate": [{"name": "rule", "when": {"header": {"x-feature": "extract"}}, "schema": SCHEMA}],
}
CHAT = {"model": "gpt-4o", "max_tokens": 500, "messages": [{"role": "user", "content": "hi, Zoë 😀"}]}
PATH = "/v1/chat/completions"
GOOD, BAD = '{"id":"42"}', '{"id":42,"secret":"lake"}'


def with_trailers(config):
    """Envoy drops HTTP/1.1's trailers unless told otherwise."""
    manager(config)["http_protocol_options"] = {"enable_trailers": True}
    for cluster in config["static_resources"]["clusters"]:
        options = cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
        options["explicit_http_config"] = {"http_protocol_options": {"enable_trailers": True}}


@pytest.fixture(scope="module", params=[FULL, HEADERS_FIRST])
def shared(request, start_once):
    return start_once(TENANTS, POLICY, file=request.param, change=with_trailers)


class Caller:
    """A caller of one test's own: requests over HTTP/2, and what they cost."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name

    def open(self, end=False, **headers):
        fields = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        return Stream(self.lab.envoy.port).head(PATH, {"x-tenant": self.name, "x-model": "gpt-4o", **fields}, end)

    def spent(self):
        answer = self.lab.tenant(self.name).with_headers(x_model="gpt-4o").chat(max_tokens=CAPACITY * 10)
        return CAPACITY - int(answer.headers["x-ratelimit-remaining-tokens"]) if answer.status == 429 else 0

    def record(self):
        (line,) = self.lab.envoy.records(1)
        return line["details"], line["spillway"]


@pytest.fixture
def caller(shared, request):
    shared.reset()
    shared.envoy.skip_records()
    return Caller(shared, request.node.name)


def body(**fields):
    return json.dumps({**CHAT, **fields}, ensure_ascii=False).encode()


def whole(stream, content):
    stream.data(content, end=True)


def in_bytes(stream, content):
    for at in range(len(content)):
        stream.data(content[at:at + 1], end=at + 1 == len(content))


def then_nothing(stream, content):
    stream.data(content).data(b"", end=True)


def between_nothings(stream, content):
    stream.data(b"").data(content[:20]).data(b"").data(content[20:]).data(b"").data(b"", end=True)


@pytest.mark.parametrize("send", [whole, in_bytes, then_nothing, between_nothings])
def test_however_a_body_without_a_length_ends_it_arrives_and_is_charged(caller, send):
    with caller.open(x_mock_usage="30,20") as stream:
        send(stream, body())
        answer = stream.answer()
    assert (answer.status, answer.broken) == (200, False) and answer.json()["usage"]["total_tokens"] == 50
    assert caller.lab.openai.last_body() == CHAT
    assert caller.record()[1]["actual"] == {"input": 30, "output": 20, "source": "usage"}
    assert caller.spent() == 50


@pytest.mark.parametrize("send", [whole, then_nothing])
def test_an_empty_body_is_400(caller, send):
    with caller.open() as stream:
        send(stream, b"")
        answer = stream.answer()
    assert answer.status == 400 and answer.json()["error"]["message"]


def test_no_body_at_all_is_400(caller):
    with caller.open(end=True) as stream:
        answer = stream.answer()
    assert answer.status == 400 and answer.json()["error"]["message"]
    assert caller.lab.openai.stats()["answered"] == {}


def test_a_body_over_ten_mebibytes_is_413(caller):
    with caller.open() as stream:
        try:
            stream.data(body(user="x" * (11 << 20)), end=True)
        except OSError:
            pass  # refused before all was sent
        answer = stream.answer()
    assert answer.status == 413 and caller.spent() == 0


def test_a_stream_comes_whole_without_the_usage_nobody_asked_for(caller):
    with caller.open(x_mock_usage="30,20") as stream:
        stream.data(body(stream=True), end=True)
        answer = stream.answer()
    assert answer.events()[-1] == "[DONE]" and all(event["choices"] for event in answer.events()[:-1])
    assert caller.spent() == 50


def test_a_client_that_gives_up_one_stream_pays_for_what_it_got(caller):
    said = "some words of a model " * 40
    with caller.open(x_mock_events=100, x_mock_hold="rest", x_mock_hold_after=20, x_mock_content=said) as stream:
        stream.data(body(stream=True, max_tokens=5000), end=True).read(2500).reset()
        details, left = caller.record()
    assert left["end"] == "client_abort", details
    assert left["actual"]["source"] == "estimate" and 5 <= left["actual"]["output"] < 500
    assert caller.spent() == left["actual"]["input"] + left["actual"]["output"]


def test_request_trailers_are_refused_with_words_and_cost_nothing(caller):
    with caller.open() as stream:
        answer = stream.data(body()).trailer(x_checksum="1").answer()
    assert answer.status == 400 and "trailers" in answer.json()["error"]["message"]
    assert caller.lab.openai.stats()["answered"] == {} and caller.spent() == 0


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
def test_an_answer_with_trailers_arrives_with_them_and_is_charged_by_its_usage(caller, streams):
    with caller.open(x_mock_usage="30,20", x_mock_trailer="x-checksum: 7") as stream:
        stream.data(body(stream=streams), end=True)
        answer = stream.answer()
    assert (answer.status, answer.broken, stream.trailers) == (200, False, {"x-checksum": "7"})
    if streams:
        assert answer.events()[-1] == "[DONE]" and all(event["choices"] for event in answer.events()[:-1])
    else:
        assert answer.json()["choices"]
    assert caller.record()[1]["end"] == "complete" and caller.spent() == 50


@pytest.mark.parametrize("trailer", [{}, {"x_mock_trailer": "x-checksum: 7"}], ids=["no trailers", "trailers"])
def test_a_last_line_without_an_end_of_line_arrives(caller, trailer):
    sent = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\ndata: [DONE]'
    canned = "base64:" + base64.b64encode(sent).decode()
    with caller.open(x_mock_body=canned, **trailer) as stream:
        answer = stream.data(body(stream=True), end=True).answer()
    assert answer.body == sent and caller.record()[1]["end"] == "complete"


def test_an_answer_with_trailers_is_judged_like_any_other(caller):
    answers = []
    for content in (GOOD, BAD):
        with caller.open(x_feature="extract", x_mock_content=content, x_mock_trailer="x-checksum: 7",
                         x_mock_usage="30,20") as stream:
            stream.data(body(), end=True)
            answers.append(stream.answer())
    good, bad = answers
    assert good.json()["choices"][0]["message"]["content"] == GOOD
    assert "lake" not in bad.text and not bad.broken and "/id" in bad.json()["error"]["message"]
    assert caller.spent() == 100


def test_a_stream_with_trailers_is_judged_and_loses_nothing(caller):
    answers = []
    for content in (GOOD, BAD):
        with caller.open(x_feature="extract", x_mock_content=content, x_mock_trailer="x-checksum: 7",
                         x_mock_usage="30,20") as stream:
            stream.data(body(stream=True), end=True)
            answers.append(stream.answer())
    good, bad = answers
    assert good.events()[-1] == "[DONE]" and not any("error" in event for event in good.events())
    assert any("error" in event for event in bad.events() if isinstance(event, dict))
    assert caller.spent() == 100


def test_a_stream_that_trailers_cut_off_is_reset_and_never_taken_for_a_whole_one(caller):
    sent = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
    canned = "base64:" + base64.b64encode(sent).decode()
    with caller.open(x_mock_body=canned, x_mock_trailer="x-checksum: 7") as stream:
        answer = stream.data(body(stream=True), end=True).answer()
    assert answer.broken and b"[DONE]" not in answer.body
    details, record = caller.record()
    assert (details, record["end"]) == ("spillway_trailers", "aborted")
