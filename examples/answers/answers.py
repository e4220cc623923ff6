"""Answers and their verdicts on a real Envoy with mock providers: what the model says, and what the client gets.

Run it as the demo is run (see README.md beside it); what it prints is expected.txt.
"""

import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import yaml

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

from lab import Lab  # noqa: E402 (the path comes first)

FORM = {"type": "object", "required": ["name", "date"], "additionalProperties": False,
        "properties": {"name": {"type": "string"}, "date": {"type": "string"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "form", "schema": FORM}}
TOOL = {"type": "function", "function": {"name": "book", "parameters": FORM}}


def show(lab, title, says, feature="", words="Please.", **fields):
    """One request: what the model says to it, what the client gets."""
    headers = {"x-mock-content": quote(says), **({"x-feature": feature} if feature else {})}
    answer = lab.client().chat(words, headers=headers, **fields)
    verdict = answer.headers.get("x-spillway-validation", "-")
    print(f"\n{title}\n  model says   {says!r}\n  client gets  {answer.status} {verdict}: {told(answer)}")


def told(answer):
    """The words of an answer or of a stream, its tool call, or its error."""
    if "text/event-stream" not in answer.headers.get("content-type", ""):
        document = answer.json()
        if "error" in document:
            return document["error"]["message"]
        message = document["choices"][0]["message"]
        calls = message.get("tool_calls") or []
        return message["content"] or "".join(f"{call['function']['name']}({call['function']['arguments']})" for call in calls)
    events = [event for event in answer.events() if isinstance(event, dict)]
    words = [choice["delta"].get("content") or "" for event in events for choice in event.get("choices", [])]
    errors = [f" | error: {event['error']['message']}" for event in events if "error" in event]
    return "".join(words) + "".join(errors)


def run(lab):
    good, fenced = '{"name":"Ada","date":"May 5"}', '```json\n{"name": "Ada", "date": "May 5",}\n```'
    bad = '{"name":"Ada","date":5}'
    show(lab, "the request's own response_format: repaired without asking again", fenced, response_format=FORMAT)
    show(lab, "the same: what can't be repaired is 502, with paths and keywords", bad, response_format=FORMAT)
    show(lab, "a stream that passes ends in an error instead of its end", bad, response_format=FORMAT, stream=True)
    show(lab, "buffer: a stream is held until it is valid", fenced, "form", response_format=FORMAT, stream=True)
    show(lab, "default: what stands in for an answer that nothing helped", bad, "form", response_format=FORMAT)
    show(lab, "tools: arguments are checked against their parameters", good, tools=[TOOL])
    show(lab, "the same, broken", bad, tools=[TOOL])
    show(lab, "rules: a discount is put back to its bound", '{"item":"lamp","price":40,"discount":35}', "quote")
    show(lab, "rules: no discount on what is cheap", '{"item":"bulb","price":4,"discount":5}', "quote")
    show(lab, "grounding: the order stands in the request", '{"order":"EMP104233"}', "cite", "Where is EMP104233?")
    show(lab, "grounding: and this one doesn't", '{"order":"EMP104234"}', "cite", "Where is EMP104233?")
    lab.envoy.skip_records()


def main():
    policy = yaml.safe_load((HERE / "policy.yaml").read_text())
    with tempfile.TemporaryDirectory() as directory, Lab(Path(directory), {**policy, "limits": []}) as lab:
        run(lab)


if __name__ == "__main__":
    main()
