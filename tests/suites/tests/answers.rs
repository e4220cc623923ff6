//! Hostile schemas, tools and answers where requests say what their answers must be: each gets a clear verdict within a
//! bounded number of instructions, nothing traps, and what one client sends spoils nothing for the next.

use std::time::Instant;

use serde_json::{Value, json};
use spillway_suites::{answer, chat_with, full, policy, record, without_breakers};
use spillway_test_host::{Proxy, Request, UpstreamResponse};

/// What one callback may take: about three seconds of the reference machine.
const INSTRUCTIONS: u64 = 6_000_000_000;

fn proxy(validation: Value) -> Proxy {
    let mut one = json!({"name": "own"});
    for (name, value) in validation.as_object().unwrap() {
        one[name] = value.clone();
    }
    let changes = json!({"validate": [one], "limits": []});
    let mut policy: Value = serde_json::from_str(&without_breakers(&policy(changes))).unwrap();
    policy["providers"]["openai"]["models"]["gpt-4o"] = json!({});
    let proxy = full(&policy.to_string())
        .request_buffer(16 << 20)
        .response_buffer(16 << 20);
    proxy.count_instructions(INSTRUCTIONS).start().unwrap()
}

fn wanting(schema: &Value) -> Request {
    let format = json!({"type": "json_schema", "json_schema": {"name": "o", "schema": schema}});
    chat_with(json!({"response_format": format}), "hi")
}

fn calling(name: &str, arguments: &str) -> UpstreamResponse {
    let call = json!({"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}});
    let message = json!({"role": "assistant", "content": null, "tool_calls": [call]});
    let body = json!({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1}});
    UpstreamResponse::json(200, body.to_string())
}

/// The verdict on an answer, and that the worker is as well as before.
fn verdict(proxy: &Proxy, request: Request, answer: impl Fn() -> UpstreamResponse) -> (u16, String) {
    let exchange = proxy.worker(0).request(request, |_| answer());
    assert!(!proxy.worker(0).is_dead());
    let verdict = record(&exchange)["validation"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (exchange.status(), verdict)
}

fn is_well(proxy: &Proxy) {
    let simple = json!({"type": "object", "required": ["id"]});
    let good = || answer(r#"{"id":1}"#, 1, 1);
    assert_eq!(verdict(proxy, wanting(&simple), good), (200, "valid".to_owned()));
    let bad: Vec<_> = proxy.logs().into_iter().filter(|line| line.level >= 3).collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(proxy.worker(0).open_streams(), 0);
}

#[test]
fn schema_bombs_are_unchecked_or_judged_and_never_trap() {
    let proxy = proxy(json!({"on_invalid": ["repair", "reject"]}));
    let mut doubling = json!({"$defs": {"d0": {"type": "object"}}, "$ref": "#/$defs/d30"});
    for n in 1..=30 {
        let below = json!({"$ref": format!("#/$defs/d{}", n - 1)});
        doubling["$defs"][format!("d{n}")] = json!({"anyOf": [below.clone(), below]});
    }
    let mut deep = json!({"type": "object"});
    for _ in 0..45 {
        deep = json!({"properties": {"a": deep}});
    }
    let branches: Vec<Value> = (0..8_000).map(|n| json!({"const": n})).collect();
    let names: Vec<Value> = (0..60)
        .map(|n| json!({"patternProperties": {format!("^(a|aa|a*){{1,{}}}$", n + 1): {}}}))
        .collect();
    let bombs = [
        ("references that double", doubling),
        ("references that turn in circles", json!({"$ref": "#"})),
        (
            "a reference to elsewhere",
            json!({"$ref": "https://example.com/schema"}),
        ),
        ("nesting", deep),
        ("8,000 branches", json!({"anyOf": branches})),
        (
            "pattern of 100,000 states",
            json!({"pattern": "((a{1,100}){1,100}){1,100}b"}),
        ),
        ("pattern with look-around", json!({"pattern": "(?=a)a"})),
        ("patterns of names", json!({"allOf": names})),
        ("no schema at all", json!("a text")),
        ("an array", json!([1, 2, 3])),
        (
            "an unknown draft",
            json!({"$schema": "https://example.com/draft"}),
        ),
    ];
    let text = json!({"a": "a".repeat(60_000)}).to_string();
    for (name, schema) in bombs {
        let began = Instant::now();
        let (status, told) = verdict(&proxy, wanting(&schema), || answer(&text, 1, 1));
        assert!(
            matches!(
                (status, told.as_str()),
                (200, "unchecked" | "valid") | (502, "invalid")
            ),
            "{name}: {status} {told}"
        );
        println!("{name}: {told} in {:?}", began.elapsed());
    }
    is_well(&proxy);
}

#[test]
fn a_thousand_tools_cost_no_more_than_those_called() {
    let proxy = proxy(json!({"on_invalid": ["repair", "reject"]}));
    let tool = |n: usize| {
        let properties: serde_json::Map<String, Value> = (0..20)
            .map(|p| {
                (
                    format!("p{p}"),
                    json!({"type": "string", "description": "x".repeat(20)}),
                )
            })
            .collect();
        let parameters =
            json!({"type": "object", "required": ["p0"], "properties": properties, "title": n.to_string()});
        json!({"type": "function", "function": {"name": format!("f{n}"), "parameters": parameters}})
    };
    let tools: Vec<Value> = (0..1_000).map(tool).collect();
    let request = || chat_with(json!({"tools": tools}), "hi");
    let table = [
        ("f0", r#"{"p0":"x"}"#, (200, "valid")),
        ("f7", r#"{"p0":7}"#, (502, "invalid")),
        ("f7", "{'p0': 'x',}", (200, "repaired")),
        // Its schema is beyond what is kept of all.
        ("f999", "{}", (200, "unchecked")),
        ("g", "{}", (502, "invalid")),
    ];
    for (name, arguments, (status, told)) in table {
        let found = verdict(&proxy, request(), || calling(name, arguments));
        assert_eq!(found, (status, told.to_owned()), "{name} {arguments}");
    }
    is_well(&proxy);
}

#[test]
fn long_and_deep_answers_get_a_verdict() {
    for buffer in [false, true] {
        let proxy = proxy(
            json!({"buffer": buffer, "on_invalid": ["repair", {"default": {"id": 0}}],
            "rules": [{"rule": "!has(answer.list) || answer.list.all(i, i > 0)", "otherwise": "reject"}]}),
        );
        let schema = json!({"type": "object", "required": ["id"]});
        let half = json!({"id": 1, "text": "x".repeat(1_900_000)}).to_string();
        let broken = format!("```json\n{}", half.replace("xxxx", "x\n'"));
        let list = json!({"id": 1, "list": vec![1; 60_000]}).to_string();
        let deep = format!("{{\"id\":{}", "[".repeat(10_000));
        let answers = [
            ("1.9 MB", half, "valid"),
            ("1.9 MB, broken everywhere", broken, ""),
            ("over the bound", "x".repeat(3 << 20), "unchecked"),
            ("60,000 items", list, ""),
            ("10,000 levels", deep, "defaulted"),
            ("nothing but brackets", "{".repeat(500_000), "defaulted"),
            ("quotes", "\"'".repeat(300_000), "defaulted"),
        ];
        for (name, text, expected) in answers {
            let began = Instant::now();
            let (status, told) = verdict(&proxy, wanting(&schema), || answer(&text, 1, 1));
            assert!(status == 200 && !told.is_empty(), "{name}: {status} {told}");
            assert!(expected.is_empty() || told == expected, "{name}: {told}");
            println!("{name}: {told} in {:?}", began.elapsed());
        }
        is_well(&proxy);
    }
}

#[test]
fn one_clients_schemas_never_push_out_the_memory() {
    let proxy = proxy(json!({"on_invalid": ["reject"]}));
    let schema = |n: usize| {
        let words: Vec<String> = (0..200).map(|w| format!("{n}-{w}")).collect();
        json!({"enum": words})
    };
    for n in 0..300 {
        let told = verdict(&proxy, wanting(&schema(n)), || answer("\"no\"", 1, 1));
        assert_eq!(told, (502, "invalid".to_owned()));
    }
    is_well(&proxy);
}

/// What a schema of 20 properties from the request adds to a 1 KB answer, in the test host.
#[test]
#[ignore = "a measurement"]
fn a_schema_of_twenty_properties() {
    let properties: serde_json::Map<String, Value> = (0..20)
        .map(|p| {
            (
                format!("property_{p}"),
                json!({"type": "string", "maxLength": 60}),
            )
        })
        .collect();
    let schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    let text: serde_json::Map<String, Value> = (0..20)
        .map(|p| (format!("property_{p}"), json!("x".repeat(32))))
        .collect();
    let text = Value::Object(text).to_string();
    let took = |proxy: &Proxy| {
        let mut best = f64::MAX;
        for _ in 0..20 {
            let began = Instant::now();
            for _ in 0..200 {
                assert_eq!(
                    proxy
                        .worker(0)
                        .request(wanting(&schema), |_| answer(&text, 1, 1))
                        .status(),
                    200
                );
            }
            best = best.min(began.elapsed().as_secs_f64() / 200.0 * 1e6);
        }
        best
    };
    let changes = |on: bool| {
        let validate = json!([{"name": "own", "on_invalid": ["reject"]}]);
        json!({"limits": [], "validate": if on { validate } else { json!([]) }})
    };
    let start = |on| full(&without_breakers(&policy(changes(on)))).start().unwrap();
    let (with, without) = (took(&start(true)), took(&start(false)));
    println!(
        "with {with:.1} µs, without {without:.1} µs, a difference of {:.1} µs",
        with - without
    );
}
