"""Spillway at a glance: real Envoy, mock providers, real requests. Run it by ./build.sh demo [--keep].

What it shows it also checks: it ends with an error when an answer isn't what the text beside it says.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from lab import BACKUP, Lab, caller_key  # noqa: E402 (the path comes first)

#: The shipped policy with a second provider of gpt-4o, a small budget, a breaker in a hurry and one schema.
PATCH = {
    "limits": [{"name": "caller-tokens", "per": ["caller", "model"], "tokens": "6k/min"}],
    "providers": {"openai": {"breaker": {"consecutive": 5, "open": "6s", "max_open": "6s", "half_open_permits": 2}}},
    "validate": [{
        "name": "ticket", "when": {"path": "/v1/chat/completions", "header": {"x-feature": "extract"}},
        "schema": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}},
        "on_invalid": ["reject"],
    }],
}
COLOUR = sys.stdout.isatty()
REMAINING = "x-ratelimit-remaining-tokens"


def paint(code, text):
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


def bold(text):
    return paint("1", text)


def green(text):
    return paint("32", text)


def red(text):
    return paint("31", text)


def blue(text):
    return paint("34", text)


def dim(text):
    return paint("2", text)


def say(text=""):
    print(text, flush=True)


def title(number, text):
    say(f"\n{bold(f'{number}  {text}')}")


def expect(condition, what):
    """Ends the demo when it doesn't show what it says."""
    if not condition:
        sys.exit(red(f"\nThe demo expected {what}. This is a bug; logs lie in the folder named above."))


def status(answer):
    good = answer.status < 400
    return (green if good else red)(str(answer.status))


def show_headers(answer, names):
    for name in names:
        if name in answer.headers:
            say(f"     {dim(name + ':')} {answer.headers[name]}")


def content(answer):
    return answer.json()["choices"][0]["message"]["content"]


def a_chat(lab):
    title(1, "A chat: alice presents her own key, the provider sees its own")
    answer = lab.client("alice").chat(headers={"x-mock-usage": "30,20"})
    expect(answer.status == 200, "a good answer")
    say(f"   {status(answer)}  “{content(answer)[:70]}…”")
    show_headers(answer, ["x-ratelimit-limit-tokens", REMAINING, "x-ratelimit-reset-tokens", "ratelimit"])
    seen = lab.openai.last_headers()
    say(f"   upstream saw: authorization {seen['authorization'][0][:17]}…, host {seen['host'][0]}")


def a_stream(lab):
    title(2, "A stream: passed on as it comes, counted as it passes")
    client = lab.client("alice").with_headers(content_type="application/json", x_mock_gap_ms=60, x_mock_events=16)
    body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "How deep is the water?"}]}
    began, first = time.monotonic(), None
    connection = client.open("POST", "/v1/chat/completions", json.dumps(body))
    response = connection.getresponse()
    expect(response.status == 200, "a stream")
    print("   ", end="")
    for line in response:
        if line.startswith(b"data: {") and (choices := json.loads(line[6:])["choices"]):
            first = first or time.monotonic() - began
            print(choices[0]["delta"].get("content") or "", end="", flush=True)
    connection.close()
    record = lab.envoy.records(2)[1]["spillway"]
    used = record["actual"]
    say(f"\n   first token after {first * 1000:.0f} ms; counted from the stream: {used['input']} in, {used['output']} out")


def over_the_limit(lab):
    title(3, "Over the limit: carol's answers are long, her budget is 6,000 tokens a minute")
    client = lab.client("carol")
    for _ in range(5):
        answer = client.chat(headers={"x-mock-usage": "100,2400"})
        say(f"   {status(answer)}  {REMAINING}: {answer.headers.get(REMAINING, '-')}")
        if answer.status == 429:
            break
    expect(answer.status == 429, "carol to be refused")
    show_headers(answer, ["retry-after", "retry-after-ms", "ratelimit", "ratelimit-policy"])
    say(f"     {answer.text[:160]}")
    anthropic = lab.client("carol").with_headers(x_mock_usage="100,9000")
    anthropic.messages()
    answer = anthropic.messages()
    expect(answer.status == 429 and answer.json()["type"] == "error", "Anthropic's own kind of refusal")
    say("   the same at /v1/messages, in Anthropic's dialect:")
    say(f"   {status(answer)}  {answer.text[:160]}")


def ask_a_few(lab, count, pause=0.12):
    """One mark a request: which provider, and whether it was good."""
    marks = ""
    for _ in range(count):
        before = lab.backup.arrived()
        answer = lab.client("bob").chat(headers={"x-mock-usage": "5,5"})
        moved = lab.backup.arrived() > before
        good = answer.status == 200
        marks += (blue("○") if moved else green("●")) if good else red("✗")
        time.sleep(pause)
    return marks


def a_failing_provider(lab):
    title(4, "The primary fails: the breaker opens, traffic moves, the primary comes back")
    say(f"   {green('●')} openai answered   {red('✗')} openai failed   {blue('○')} backup answered")
    say(f"   healthy     {ask_a_few(lab, 8)}")
    lab.openai.faults(status=500)
    before = lab.openai.arrived()
    say(f"   500s        {ask_a_few(lab, 14)}  {dim('after five failures in a row nobody asks openai')}")
    expect(lab.openai.arrived() - before == 5, "exactly five failures")
    lab.openai.faults()
    say(f"   still open  {ask_a_few(lab, 8)}  {dim('healthy again, but Spillway waits')}")
    time.sleep(4)
    # A slow machine may ask before the breaker lets it.
    marks = next((marks for _ in range(20) if "●" in (marks := ask_a_few(lab, 10))), "")
    say(f"   recovery    {marks}  {dim('half-open: a few real requests, then all of them')}")
    expect("●" in marks, "traffic back on the primary")


def a_broken_answer(lab):
    title(5, "An answer that breaks its schema: rejected before the application trusts it")
    client = lab.client("bob").with_headers(x_feature="extract", x_mock_usage="5,5")
    good = client.chat(headers={"x-mock-content": '{"id":"T-42"}'})
    say(f"   {status(good)}  the model said {content(good)}")
    bad = client.chat(headers={"x-mock-content": '{"id":42}'})
    expect((good.status, bad.status) == (200, 502), "the bad answer to be rejected")
    say(f"   {status(bad)}  the model said {{\"id\":42}}; the client got:")
    say(f"     {bad.text[:200]}")


METRICS = ["gen_ai_client_inference_usage_input_tokens", "gen_ai_client_inference_usage_output_tokens",
           "spillway_limit", "spillway_breaker_transition", "spillway_fallback", "spillway_schema", "spillway_tokens"]


def the_metrics(lab):
    title(6, "What Prometheus sees")
    page = lab.envoy.metrics()
    for name in METRICS:
        for (found, labels), value in sorted(page.items(), key=lambda item: sorted(item[0][1])):
            if found == name and value:
                named = ", ".join(f'{key}="{text}"' for key, text in sorted(labels))
                say(f"   {name}{{{dim(named)}}} {value:.0f}")
    lab.envoy.skip_records()
    lab.client("bob").chat()
    record = lab.envoy.records(1)[0]["spillway"]
    say(f"   and one record per exchange in the access log, such as:\n     {dim(json.dumps(record))}")


def keep(lab):
    key = caller_key("alice")
    say(f"""
{bold('Still running.')} Ctrl-C ends it. Try:

  curl -s http://127.0.0.1:{lab.envoy.port}/v1/chat/completions -H 'authorization: Bearer {key}' \\
    -H 'content-type: application/json' -d '{{"model":"gpt-4o","messages":[{{"role":"user","content":"hi"}}]}}' -i

  curl -s http://127.0.0.1:{lab.envoy.port}/v1/messages -H 'x-api-key: {key}' -H 'content-type: application/json' \\
    -d '{{"model":"claude-sonnet-4-5","max_tokens":50,"stream":true,"messages":[{{"role":"user","content":"hi"}}]}}'

  curl -s -d '{{"status":500}}' http://127.0.0.1:{lab.openai.port}/mock/faults    # openai fails; -d '{{}}' ends it
  curl -s http://127.0.0.1:{lab.envoy.admin_port}/stats/prometheus | grep -E '^(gen_ai|spillway)'
  tail -f {lab.envoy.access_log}
""")
    try:
        while lab.envoy.process.running():
            time.sleep(0.5)
    except KeyboardInterrupt:
        say()


def main(arguments):
    if set(arguments) - {"--keep"}:
        sys.exit("usage: ./build.sh demo [--keep]")
    directory = tempfile.mkdtemp(prefix="spillway-demo-")
    with Lab(directory, BACKUP, PATCH) as lab:
        say(f"Envoy on 127.0.0.1:{lab.envoy.port}, two workers; mock providers openai :{lab.openai.port}, "
            f"backup :{lab.backup.port}, anthropic :{lab.anthropic.port}; logs in {directory}")
        for part in (a_chat, a_stream, over_the_limit, a_failing_provider, a_broken_answer, the_metrics):
            part(lab)
        if "--keep" in arguments:
            keep(lab)


if __name__ == "__main__":
    main(sys.argv[1:])
