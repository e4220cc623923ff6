//! What the standard exchanges cost the released module, held to `budget.txt`: wasm instructions, host calls and bytes
//! that cross between module and host, each in the mean of one exchange. Nothing here depends on the machine.
//!
//! `SPILLWAY_BUDGET=write cargo test -p spillway-suites --test budget` writes the file anew. Builds other than the released
//! one differ; they aren't held to it unless `SPILLWAY_BUDGET=check` says so.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use spillway_suites::{answer, events, full, module, policy, without_breakers};
use spillway_test_host::{CalloutAnswer, Headers, Proxy, Request, UpstreamResponse, Worker};

/// Exchanges before those that count: tables are filled, schemas compiled, habits learned.
const WARM_UP: u64 = 16;
const COUNTED: u64 = 32;
/// More than any callback here takes.
const LIMIT: u64 = 1_000_000_000;
const KEY: &str = "key-of-alice";
const PROSE: &str =
    "A reservoir gathers what the river brings in spring and gives it back through the dry months. ";

/// What one exchange takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    instructions: u64,
    host_calls: u64,
    bytes: u64,
}

impl Cost {
    fn so_far(proxy: &Proxy) -> Self {
        let costs = proxy.worker(0).costs();
        Self {
            instructions: costs.values().map(|callback| callback.instructions).sum(),
            host_calls: proxy.host_calls().values().sum(),
            bytes: proxy.bytes_copied(),
        }
    }

    /// Of one exchange, when `COUNTED` were done since `before`; what is begun counts whole.
    fn of_one(self, before: Self) -> Self {
        let mean = |now: u64, then: u64| (now - then).div_ceil(COUNTED);
        Self {
            instructions: mean(self.instructions, before.instructions),
            host_calls: mean(self.host_calls, before.host_calls),
            bytes: mean(self.bytes, before.bytes),
        }
    }

    fn numbers(self) -> [(&'static str, u64); 3] {
        [
            ("instructions", self.instructions),
            ("host calls", self.host_calls),
            ("bytes", self.bytes),
        ]
    }
}

/// Limits on three keys and a schema of 20 members, as in the bench; and what `changes` puts over it.
fn document(changes: Value) -> String {
    let members: serde_json::Map<String, Value> =
        (0..20).map(|n| (format!("field_{n:02}"), member(n))).collect();
    let names: Vec<&String> = members.keys().collect();
    let schema =
        json!({"type": "object", "properties": &members, "required": names, "additionalProperties": false});
    let mut sections = json!({
        "callers": [{"bearer": "known", "keys": {"env": "CALLER_KEYS"}}],
        "attributes": {"team": {"header": "x-team", "trusted": true, "missing": "none"}},
        "limits": [
            {"name": "caller-tokens", "per": ["caller", "model"], "tokens": "900M/min"},
            {"name": "caller-day", "per": ["caller"], "tokens": "900M/min"},
            {"name": "team-requests", "per": ["team"], "requests": "900M/min"},
        ],
        "validate": [{"when": {"path": "/v1/chat/completions"}, "schema": schema, "on_invalid": ["reject"]}],
    });
    for (name, value) in changes.as_object().expect("sections are an object") {
        sections[name.as_str()] = value.clone();
    }
    policy(sections)
}

fn member(n: usize) -> Value {
    if n % 2 == 1 {
        json!({"type": "string", "maxLength": 40})
    } else {
        json!({"type": "integer", "minimum": 0})
    }
}

/// The object that the schema asks for.
fn object() -> String {
    let members = (0..20).map(|n| {
        let value = if n % 2 == 1 {
            json!(format!("value of member field_{n:02}"))
        } else {
            json!(1000 + n)
        };
        (format!("field_{n:02}"), value)
    });
    Value::Object(members.collect()).to_string()
}

/// A chat with about so many bytes of body, and the headers that OpenAI's SDK sends.
fn request(bytes: usize, more: &Value) -> Request {
    let mut body =
        json!({"model": "gpt-4o", "temperature": 0.2, "max_completion_tokens": 800, "user": "bench"});
    for (name, value) in more.as_object().expect("fields are an object") {
        body[name.as_str()] = value.clone();
    }
    let mut messages = vec![json!({"role": "system", "content": "Answer with one JSON object."})];
    let mut left = bytes.saturating_sub(200);
    while left > 0 {
        let text: String = PROSE.chars().cycle().take(left.min(2_400)).collect();
        left -= text.len();
        let role = if messages.len() % 2 == 0 {
            "assistant"
        } else {
            "user"
        };
        messages.push(json!({"role": role, "content": text}));
    }
    body["messages"] = Value::Array(messages);
    let request = Request::post("/v1/chat/completions", body.to_string());
    let headers = [
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate"),
        ("user-agent", "OpenAI/Python 3.52.0"),
        ("x-stainless-arch", "x64"),
        ("x-stainless-async", "false"),
        ("x-stainless-lang", "python"),
        ("x-stainless-os", "Linux"),
        ("x-stainless-package-version", "3.52.0"),
        ("x-stainless-retry-count", "0"),
        ("x-stainless-runtime", "CPython"),
        ("x-stainless-runtime-version", "3.11.9"),
        ("x-team", "search"),
    ];
    let request = headers
        .into_iter()
        .fold(request, |request, (name, value)| request.header(name, value));
    request.header("authorization", format!("Bearer {KEY}"))
}

fn proxy(document: &str) -> Proxy {
    let digest: String = Sha256::digest(KEY)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let builder = full(document).env("CALLER_KEYS", &format!("alice={digest}"));
    let builder = builder.env("SPILLWAY_HASH_KEY", "the same in every run");
    builder
        .count_instructions(LIMIT)
        .start()
        .expect("the proxy starts")
}

/// The mean of many exchanges, each of which ends with `status`.
fn mean(proxy: &Proxy, status: u16, exchange: impl Fn(&Worker) -> u16) -> Cost {
    let run = |times: u64| {
        for _ in 0..times {
            assert_eq!(exchange(proxy.worker(0)), status);
            proxy.advance(Duration::from_millis(10));
        }
    };
    run(WARM_UP);
    let before = Cost::so_far(proxy);
    run(COUNTED);
    Cost::so_far(proxy).of_one(before)
}

fn chat(bytes: usize, changes: Value) -> Cost {
    let proxy = proxy(&document(changes));
    let (request, object) = (request(bytes, &json!({})), object());
    mean(&proxy, 200, |worker| {
        worker
            .request(request.clone(), |_| answer(&object, 220, 310))
            .status()
    })
}

fn refused() -> Cost {
    let limits = json!([{"name": "few", "per": ["caller"], "requests": "1/day"}]);
    let proxy = proxy(&document(json!({"limits": limits})));
    let request = request(1 << 10, &json!({}));
    let send = |worker: &Worker| worker.request(request.clone(), |_| answer("{}", 1, 1)).status();
    send(proxy.worker(0));
    mean(&proxy, 429, send)
}

fn streamed() -> Cost {
    let proxy = proxy(&document(json!({})));
    let request = request(
        1 << 10,
        &json!({"stream": true, "stream_options": {"include_usage": true}}),
    );
    let object = object();
    // Of one byte each, so that they are cut as finely as the object allows; the last three end the stream.
    let words: Vec<&str> = object.split_inclusive(',').collect();
    let pieces = cut(&words.concat(), 50);
    let stream = {
        let ends = events("", 220, 310);
        let texts = pieces.iter().map(|piece| events(piece, 1, 1).remove(0));
        texts
            .chain(ends.into_iter().rev().take(3).rev())
            .collect::<Vec<_>>()
    };
    assert_eq!(stream.len(), 53);
    mean(&proxy, 200, |worker| {
        worker
            .request(request.clone(), |_| UpstreamResponse::stream(stream.clone()))
            .status()
    })
}

/// A text in so many pieces, none with a space inside: each is one event of the stream.
fn cut(text: &str, pieces: usize) -> Vec<String> {
    let text = text.replace(' ', "_");
    (0..pieces)
        .filter_map(|n| text.get(text.len() * n / pieces..text.len() * (n + 1) / pieces))
        .map(str::to_owned)
        .collect()
}

fn failed_over() -> Cost {
    let changes = json!({"failover": {"via": "callout"}, "validate": []});
    let proxy = proxy(&without_breakers(&document(changes)));
    let body = json!({"id": "c", "object": "chat.completion", "model": "gpt-4o",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": object()}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 220, "completion_tokens": 310, "total_tokens": 530}});
    let kind = Headers::from_pairs([("content-type", "application/json")]);
    proxy.on_callout(move |_| CalloutAnswer::Response(200, kind.clone(), body.to_string().into()));
    let request = request(1 << 10, &json!({}));
    mean(&proxy, 200, |worker| {
        let failed = |_: &_| UpstreamResponse::json(503, "{\"error\":{\"message\":\"own\"}}");
        worker.request(request.clone(), failed).status()
    })
}

fn guarded() -> Cost {
    let kinds = json!(["email", "phone", "card", "iban", "ssn", "ip", "api_key", "jwt"]);
    let guards = json!([{"name": "all", "kinds": kinds, "action": "mask"}]);
    chat(1 << 10, json!({"guards": guards}))
}

fn measured() -> Vec<(&'static str, Cost)> {
    vec![
        ("chat-1k", chat(1 << 10, json!({}))),
        ("refused-1k", refused()),
        ("chat-32k", chat(32 << 10, json!({}))),
        ("stream-53-events", streamed()),
        ("failed-over-by-callout", failed_over()),
        ("judged-and-guarded", guarded()),
    ]
}

const HEAD: &str = "\
# What one exchange may cost the released module, in the mean: see tests/budget.rs, which holds it to this and says how to
# write this file anew. More than 2 % over a number fails, and so does more than 10 % under it.
#
";

fn written(costs: &[(&str, Cost)]) -> String {
    let mut text = HEAD.to_owned();
    let _ = writeln!(
        text,
        "{:<24}{:>14}{:>12}{:>10}",
        "# exchange", "instructions", "host calls", "bytes"
    );
    for (name, cost) in costs {
        let [(_, instructions), (_, host_calls), (_, bytes)] = cost.numbers();
        let _ = writeln!(text, "{name:<24}{instructions:>14}{host_calls:>12}{bytes:>10}");
    }
    text
}

fn read(text: &str) -> Vec<(String, [u64; 3])> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next().expect("a name").to_owned();
            let numbers: Vec<u64> = words.map(|word| word.parse().expect("a number")).collect();
            (name, numbers.try_into().expect("three numbers"))
        })
        .collect()
}

/// What is wrong with a number, if it isn't near enough to its budget.
fn verdict(number: u64, budget: u64) -> Option<&'static str> {
    if number * 100 > budget * 102 {
        Some("is over its budget of")
    } else if number * 100 < budget * 90 {
        Some("has become less than 90 % of its budget (write it anew, so that it stays there) of")
    } else {
        None
    }
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("budget.txt")
}

/// The released module has no names of functions; quick builds keep them.
fn is_released() -> bool {
    let bytes = std::fs::read(module()).expect("the module is a file");
    !custom_sections(&bytes).any(|name| name.starts_with(b"name"))
}

/// What a module's custom sections begin with, after the length of their names.
fn custom_sections(module: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = module.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (kind, after) = rest.split_first()?;
        let (size, content) = number(after)?;
        let (section, next) = content.split_at_checked(size)?;
        rest = next;
        Some((*kind, section))
    })
    .filter(|(kind, _)| *kind == 0)
    .filter_map(|(_, section)| section.get(1..))
}

/// An unsigned LEB128 number, and what follows it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let last = bytes.iter().position(|byte| byte & 0x80 == 0)?;
    let (digits, rest) = bytes.split_at_checked(last + 1)?;
    let value = digits.iter().rev().try_fold(0_usize, |value, byte| {
        value
            .checked_mul(128)
            .map(|value| value | usize::from(byte & 0x7f))
    });
    Some((value?, rest))
}

#[test]
fn no_standard_exchange_costs_more_than_its_budget_or_much_less() {
    let wanted = std::env::var("SPILLWAY_BUDGET").unwrap_or_default();
    if wanted.is_empty() && !is_released() {
        println!("not the released module: not held to its budget");
        return;
    }
    let costs = measured();
    let table = written(&costs);
    println!("{table}");
    if wanted == "write" {
        std::fs::write(file(), &table).expect("the budget can be written");
    }
    let budget = read(&std::fs::read_to_string(file()).expect("there is a budget"));
    let mut wrong = Vec::new();
    for (name, cost) in &costs {
        let own = budget.iter().find(|(other, _)| other == name);
        let Some((_, numbers)) = own else {
            wrong.push(format!("{name} has no budget"));
            continue;
        };
        for ((what, number), allowed) in cost.numbers().into_iter().zip(numbers) {
            wrong.extend(
                verdict(number, *allowed).map(|says| format!("{name}: {what} {number} {says} {allowed}")),
            );
        }
    }
    let how = "SPILLWAY_BUDGET=write cargo test -p spillway-suites --test budget";
    assert!(
        wrong.is_empty(),
        "{}\nIf that is meant: {how}\n{table}",
        wrong.join("\n")
    );
}

#[test]
fn a_number_may_leave_its_budget_by_so_much_and_no_more() {
    for (number, fits) in [(102, true), (103, false), (90, true), (89, false), (100, true)] {
        assert_eq!(verdict(number, 100).is_none(), fits, "{number}");
    }
}
