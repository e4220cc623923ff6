"""What is sent and what is answered: chat requests as an SDK sends them, an answer of about 1 KB, a stream of 53 events.

The answers' text is a JSON object of 20 members that matches SCHEMA, so that validation has its whole work to do.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from lab.config import caller_key

NAMES = ("1 KB", "32 KB", "stream")
#: Members of the object that the model is asked for.
MEMBERS = {f"field_{n:02}": {"type": "string", "maxLength": 40} if n % 2 else {"type": "integer", "minimum": 0}
           for n in range(20)}
SCHEMA = {"type": "object", "properties": MEMBERS, "required": sorted(MEMBERS), "additionalProperties": False}
OBJECT = {name: f"value of member {name}" if "maxLength" in member else 1000 + n
          for n, (name, member) in enumerate(MEMBERS.items())}
#: Of English text: words of all lengths, and punctuation.
PROSE = ("A reservoir gathers what the river brings in spring and gives it back through the dry months. When more comes "
         "than it can hold, the excess leaves over the spillway: a channel built for this, lined with stone, that leads "
         "the water around the dam rather than over it. ")
EVENTS = 53
#: Between two events, so that each comes to the proxy by itself.
GAP_US = 2000


@dataclass(frozen=True)
class Payload:
    """A request in a file, and how it is sent."""

    name: str
    file: Path
    connections: int
    warm_up: int
    #: Whether Envoy is the bottleneck; otherwise the upstream sets the pace.
    saturates: bool


def all_of(names, directory):
    """The payloads of these names, written to `directory`."""
    made = {"1 KB": lambda: (_request(1 << 10), 16, 400, True), "32 KB": lambda: (_request(32 << 10), 16, 200, True),
            "stream": lambda: (_request(1 << 10, stream=True), 32, 64, False)}
    for name in names:
        content, connections, warm_up, saturates = made[name]()
        file = Path(directory) / f"{name.replace(' ', '-')}.http"
        file.write_bytes(content)
        yield Payload(name, file, connections, warm_up, saturates)


def _request(size, stream=False):
    """A whole HTTP/1.1 request with a body of about `size` bytes and the headers that the OpenAI SDK sends."""
    body = {"model": "gpt-4o", "messages": [{"role": "system", "content": "Answer with one JSON object."}],
            "temperature": 0.2, "max_completion_tokens": 800, "user": "bench"}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    while (missing := size - len(json.dumps(body))) > 60:
        role = "assistant" if len(body["messages"]) % 2 == 0 else "user"
        body["messages"].append({"role": role, "content": (PROSE * 12)[:min(2400, missing - 45)]})
    content = json.dumps(body).encode()
    headers = {
        "host": "127.0.0.1", "accept": "application/json", "accept-encoding": "gzip, deflate",
        "authorization": f"Bearer {caller_key('alice')}", "content-type": "application/json",
        "user-agent": "OpenAI/Python 3.52.0", "x-stainless-arch": "x64", "x-stainless-async": "false",
        "x-stainless-lang": "python", "x-stainless-os": "Linux", "x-stainless-package-version": "3.52.0",
        "x-stainless-retry-count": "0", "x-stainless-runtime": "CPython", "x-stainless-runtime-version": "3.11.9",
        "x-team": "search",
        # Routes the request where no filter does; Spillway drops it and sets its own.
        "x-spillway-cluster": "openai",
        "content-length": str(len(content)),
    }
    if stream:
        headers["x-bench-gap-us"] = str(GAP_US)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /v1/chat/completions HTTP/1.1\r\n{lines}\r\n".encode() + content


_USAGE = {"prompt_tokens": 220, "completion_tokens": 310, "total_tokens": 530,
          "prompt_tokens_details": {"cached_tokens": 128, "audio_tokens": 0},
          "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0}}


def answer():
    """A chat completion of about 1 KB."""
    message = {"role": "assistant", "content": json.dumps(OBJECT), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return json.dumps({"id": "chatcmpl-bench", "object": "chat.completion", "created": 1_790_000_000,
                       "model": "gpt-4o-2024-08-06", "choices": [choice], "usage": _USAGE})


def stream():
    """The same object as a stream of 53 events: role, text in pieces, finish, usage, [DONE]."""
    text = json.dumps(OBJECT)
    pieces = EVENTS - 4
    cuts = [len(text) * n // pieces for n in range(pieces + 1)]
    deltas = [{"role": "assistant", "content": ""}] + [{"content": text[a:b]} for a, b in zip(cuts, cuts[1:])]
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"})
    chunks = [{"choices": [choice], "usage": None} for choice in choices] + [{"choices": [], "usage": _USAGE}]
    head = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_790_000_000,
            "model": "gpt-4o-2024-08-06"}
    events = [json.dumps(head | chunk) for chunk in chunks] + ["[DONE]"]
    assert len(events) == EVENTS
    return "".join(f"data: {event}\n\n" for event in events)
