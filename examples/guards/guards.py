"""Guards on a real Envoy with mock providers: what the client says and gets, and what the provider sees.

Run it as the demo is run (see README.md beside it); what it prints is expected.txt.
"""

import sys
import tempfile
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

from lab import Lab  # noqa: E402 (the path comes first)


def show(lab, title, words, says, **fields):
    """One request: what goes in, what goes out, what comes back."""
    before = lab.openai.arrived()
    headers = {"x-mock-content": says, "x-mock-events": "9"}
    answer = lab.client().chat(words, headers=headers, **fields)
    print(f"\n{title}")
    print(f"  client says       {words}")
    if lab.openai.arrived() > before:
        print(f"  provider sees     {lab.openai.last_body()['messages'][0]['content']}")
        print(f"  provider answers  {says}")
    print(f"  client gets       {answer.status} {told(answer)}")


def told(answer):
    """The words of an answer, of a stream, or of an error."""
    if "text/event-stream" not in answer.headers.get("content-type", ""):
        document = answer.json()
        error = document.get("error")
        return error["message"] if error else document["choices"][0]["message"]["content"]
    events = [event for event in answer.events() if isinstance(event, dict)]
    words = [choice["delta"].get("content") or "" for event in events for choice in event.get("choices", [])]
    errors = [f" | error: {event['error']['message']}" for event in events if "error" in event]
    return "".join(words) + "".join(errors)


def run(lab):
    show(lab, "restore: placeholders go out, the answer gets back what was there",
         "Tell ann.lee@example.com (EMP104233) that +49 30 1234567 is wrong.",
         "Dear [EMAIL_1], is [PHONE_1] not yours? Yours, [PATTERN_1]")
    show(lab, "the same in a stream, however it is cut",
         "Tell ann.lee@example.com (EMP104233) that +49 30 1234567 is wrong.",
         "Dear [EMAIL_1], is [PHONE_1] not yours? Yours, [PATTERN_1]", stream=True)
    show(lab, "mask: in requests and in answers", "Is the key sk-proj-" + "Ab3" * 16 + " still in use?",
         "[API_KEY_1] is old; use sk-proj-" + "Xy7" * 16 + ".")
    show(lab, "block: a request that never leaves", "When does project bluebird start?", "Next week.")
    show(lab, "block: a stream that ends in an error", "What is new?", "In May we start Project Bluebird, they say.",
         stream=True)
    show(lab, "shadow: found and counted, nothing changed", "Who is 10.0.0.7?", "A printer.")
    lab.envoy.skip_records()


def main():
    policy = yaml.safe_load((HERE / "policy.yaml").read_text())
    with tempfile.TemporaryDirectory() as directory, Lab(Path(directory), {**policy, "limits": []}) as lab:
        run(lab)
        print("\nmetrics")
        found = [(dict(labels), value) for (name, labels), value in lab.envoy.metrics().items() if name == "spillway_guard"]
        for labels, value in sorted(found, key=lambda one: sorted(one[0].items())):
            print(f"  spillway_guard rule={labels['rule']} type={labels['type']} decision={labels['decision']}  {value:.0f}")


if __name__ == "__main__":
    main()
