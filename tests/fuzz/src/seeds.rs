//! What fuzzing begins with: the samples of answers, the policies of the repository, and texts that its tests know.

use serde_json::{Value, json};

macro_rules! samples {
    ($($name:literal),* $(,)?) => { [$(($name, include_bytes!(concat!("../../samples/", $name)).as_slice())),*] };
}

/// Answers and streams of providers, with their names.
const SAMPLES: [(&str, &[u8]); 33] = samples![
    "chat.json",
    "chat_stream.sse",
    "chat_stream_azure.sse",
    "chat_stream_cr.sse",
    "chat_stream_crlf.sse",
    "chat_stream_error.sse",
    "chat_stream_odd.sse",
    "chat_stream_reasoning.sse",
    "chat_stream_tools.sse",
    "chat_stream_two.sse",
    "chat_stream_usage.sse",
    "chat_tools.json",
    "completion.json",
    "completion_stream.sse",
    "embeddings.json",
    "error_anthropic.json",
    "error_gemini.json",
    "error_openai.json",
    "gemini.json",
    "gemini_stream.sse",
    "gemini_stream_tools.sse",
    "gemini_tools.json",
    "message.json",
    "message_stream.sse",
    "message_stream_error.sse",
    "message_stream_tools.sse",
    "message_stream_weather.sse",
    "message_tools.json",
    "response.json",
    "response_stream.sse",
    "response_stream_failed.sse",
    "response_stream_incomplete.sse",
    "response_stream_tools.sse",
];

const POLICIES: [&str; 10] = [
    include_str!("../../../envoy/policies/failover.yaml"),
    include_str!("../../../envoy/policies/headers-first.yaml"),
    include_str!("../../../envoy/policies/standalone.yaml"),
    include_str!("../../../examples/policies/extract.yaml"),
    include_str!("../../../examples/policies/failover.yaml"),
    include_str!("../../../examples/policies/minimal.yaml"),
    include_str!("../../../examples/policies/moderated.yaml"),
    include_str!("../../../examples/policies/teams.yaml"),
    include_str!("../../../examples/answers/policy.yaml"),
    include_str!("../../../examples/guards/policy.yaml"),
];

/// Texts as models damage them, a JSON object a line.
const DAMAGED: &str = include_str!("../../repair/answers.jsonl");
/// Texts with personal data.
const PERSONAL: &str = include_str!("../../guards/handwritten.txt");

/// The first inputs of a target, by its name; none for a name that isn't one.
#[must_use]
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "json" => bodies().map(|(_, body)| with(body, &[3, 0])).collect(),
        "headers" => HEADERS
            .iter()
            .map(|lines| with(lines.as_bytes(), &[7; 8]))
            .collect(),
        "moderation" => VERDICTS
            .iter()
            .zip(0..)
            .map(|(body, ask)| with(body.as_bytes(), &[ask, 50]))
            .collect(),
        "rule" => rules(),
        "records" => records(),
        "repair" => damaged().map(|text| with(text.as_bytes(), &[2])).collect(),
        "sse" => streams()
            .flat_map(|(name, stream)| read(endpoint(name), &stream))
            .collect(),
        "answer" => bodies()
            .map(|(name, body)| with(body, &[7, 0, endpoint(name)]))
            .collect(),
        "request" => requests()
            .iter()
            .map(|(at, body)| with(body.to_string().as_bytes(), &[*at]))
            .collect(),
        "tokens" => texts().map(|text| with(text.as_bytes(), &[9, 0, 0])).collect(),
        "translate_body" => translated(),
        "translate_stream" => streams()
            .flat_map(|(name, stream)| spoken(endpoint(name), &stream))
            .collect(),
        "guard" => personal()
            .flat_map(|text| (0..4).map(move |plan| with(text.as_bytes(), &[plan, 5, 0])))
            .collect(),
        "schema" => schemas(),
        "policy" => policies().collect(),
        "exchange" => exchanges(),
        _ => Vec::new(),
    }
}

/// A text, and the choices in the order in which they are taken.
fn with(text: &[u8], choices: &[u8]) -> Vec<u8> {
    text.iter().chain(choices.iter().rev()).copied().collect()
}

fn bodies() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    SAMPLES.into_iter().filter(|(name, _)| name.ends_with(".json"))
}

fn streams() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let streams = SAMPLES.into_iter().filter(|(name, _)| name.ends_with(".sse"));
    streams.map(|(name, stream)| (name, short(stream)))
}

/// The first and the last few events of a long stream: short inputs are run more often.
fn short(stream: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(stream);
    let end = ["\r\n\r\n", "\r\r", "\n\n"]
        .into_iter()
        .find(|end| text.contains(end))
        .unwrap_or("\n\n");
    let events: Vec<&str> = text.split_inclusive(end).collect();
    let some = 4.min(events.len() / 2);
    match stream.len() {
        0..1_000 => stream.to_vec(),
        _ => [&events[..some], &events[events.len() - some..]]
            .concat()
            .concat()
            .into_bytes(),
    }
}

/// The index of a sample's endpoint.
fn endpoint(name: &str) -> u8 {
    let kinds = [
        "chat",
        "completion",
        "embeddings",
        "response",
        "message",
        "gemini",
    ];
    let at = kinds.iter().position(|kind| name.starts_with(kind)).unwrap_or(0);
    u8::try_from(at).unwrap_or(0)
}

fn read(endpoint: u8, stream: &[u8]) -> [Vec<u8>; 3] {
    [0x0f, 0x1c, 0x3f].map(|options| with(stream, &[3, 0, endpoint, options]))
}

fn spoken(endpoint: u8, stream: &[u8]) -> Vec<Vec<u8>> {
    let from = match endpoint {
        0 => 0,
        4 => 1,
        5 => 2,
        _ => return Vec::new(),
    };
    let to = |to: &u8| from != *to;
    [0, 1]
        .iter()
        .filter(|other| to(other))
        .map(|to| with(stream, &[3, 0, from, *to, 1]))
        .collect()
}

fn translated() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for (name, body) in bodies() {
        let from = match endpoint(name) {
            4 => 1,
            5 => 2,
            _ => u8::from(name.ends_with("anthropic.json")) + 2 * u8::from(name.ends_with("gemini.json")),
        };
        let what = if name.starts_with("error") { 2 } else { 1 };
        found.push(with(body, &[what, from, u8::from(from == 0), 0]));
    }
    for (at, body) in requests() {
        let from = u8::from(at == 4);
        let text = body.to_string();
        found.extend([0, 1, 2].map(|to| with(text.as_bytes(), &[0, from, to, 15])));
    }
    found
}

fn requests() -> Vec<(u8, Value)> {
    let tool = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    let chat = json!({"model": "gpt-4o", "stream": true, "stream_options": {"include_usage": false}, "max_tokens": 5, "n": 2,
        "temperature": 0.5, "stop": ["a"], "user": "u", "seed": 1, "store": false, "reasoning_effort": "low",
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": tool, "strict": true}},
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": tool}}],
        "messages": [{"role": "system", "content": [{"type": "text", "text": "s"}]},
            {"role": "user", "name": "n", "content": [{"type": "text", "text": "t"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB", "detail": "low"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": "f"}}]},
            {"role": "assistant", "content": "c", "tool_calls": [{"id": "a", "type": "function",
                "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
            {"role": "tool", "tool_call_id": "a", "content": "r"}]});
    let messages = json!({"model": "claude", "max_tokens": 5, "temperature": 0.5, "top_k": 5, "stop_sequences": ["a"],
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}], "metadata": {"user_id": "u"},
        "tool_choice": {"type": "tool", "name": "f"}, "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": tool}},
        "tools": [{"name": "f", "description": "d", "input_schema": tool}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "t"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": "s"},
                {"type": "tool_use", "id": "a", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "r"}]}]});
    let responses = json!({"model": "gpt-4o", "input": [{"role": "user", "content": [{"type": "input_text", "text": "t"}]},
            {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": "r"}], "instructions": "i", "store": true,
        "max_output_tokens": 9, "previous_response_id": null, "text": {"format": {"type": "json_schema", "name": "n", "schema": tool}},
        "prompt": {"id": "p", "variables": {"a": "b"}}, "tools": [{"type": "function", "name": "f", "parameters": tool}]});
    vec![
        (
            0,
            json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi \u{e9} \u{1f600}"}]}),
        ),
        (0, chat),
        (
            1,
            json!({"model": "m", "prompt": ["one", "two"], "suffix": "s", "best_of": 2, "echo": true}),
        ),
        (1, json!({"model": "m", "prompt": [[1, 2], [3]]})),
        (2, json!({"model": "m", "input": ["one", [1, 2, 3]]})),
        (3, json!({"model": "m", "input": "text"})),
        (3, responses),
        (
            4,
            json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}),
        ),
        (4, messages),
    ]
}

fn damaged() -> impl Iterator<Item = String> {
    DAMAGED.lines().filter_map(|line| {
        let case: Value = serde_json::from_str(line).ok()?;
        Some(case.get("text")?.as_str()?.to_owned())
    })
}

fn personal() -> impl Iterator<Item = String> {
    PERSONAL.lines().step_by(3).map(|line| {
        let text: String = line
            .chars()
            .filter(|c| !matches!(c, '\u{27e6}' | '\u{27e7}' | '\u{a6}'))
            .collect();
        text.replace('\\', "\\\\").replace('"', "\\\"")
    })
}

fn texts() -> impl Iterator<Item = String> {
    let own = [
        "Hello, world! It's 12345.",
        "naïve café — 日本語 한국어 😀👍🏽",
        "fn main() {\\n\\tprintln!(\\\"x\\\");\\n}",
        "\\u00e9\\ud83d\\ude00",
    ];
    own.into_iter().map(str::to_owned).chain(personal().step_by(5))
}

const HEADERS: [&str; 4] = [
    "retry-after: 30\nretry-after-ms: 1500\nx-ratelimit-limit-requests: 60\nx-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 6m0s\nx-ratelimit-remaining-tokens: 149984\nx-ratelimit-limit-tokens: 150000\nx-ratelimit-reset-tokens: 1h2m3.5s",
    "retry-after: Sun, 06 Nov 1994 08:49:37 GMT\nretry-after: Sunday, 06-Nov-94 08:49:37 GMT\nretry-after: Sun Nov  6 08:49:37 1994",
    "anthropic-ratelimit-requests-limit: 50\nanthropic-ratelimit-requests-remaining: 1\nanthropic-ratelimit-requests-reset: 2026-11-21T08:00:00.25+02:00\nanthropic-ratelimit-input-tokens-remaining: 7\nx-ratelimit-reset-tokens: 1795248060",
    "1f 0 2 - 3 a9",
];

const VERDICTS: [&str; 4] = [
    r#"{"results": [{"flagged": true, "categories": {"hate": true, "violence": false}}]}"#,
    r#"{"results": [{"flagged": false, "categories": {"hate": false}, "category_scores": {"violence": 0.7}}]}"#,
    r#"{"choices": [{"message": {"content": "{\"allowed\": false, \"category\": \"tax\"}"}}], "usage": {"prompt_tokens": 5, "completion_tokens": 6}}"#,
    r#"{"verdict": {"flagged": true, "label": "own/label"}}"#,
];

fn rules() -> Vec<Vec<u8>> {
    let answer =
        r#"{"discount": 30, "price": 10.5, "items": [{"n": 1, "tags": ["a"]}, {"n": 2}], "name": "x"}"#;
    let rules = [
        "answer.discount <= 20",
        "answer.discount == 0 || answer.price > 10",
        "has(answer.name) && answer.name.startsWith('x') && size(answer.items) == 2",
        "answer.items.all(i, i.n > 0) && !answer.items.exists(i, i.n == 3)",
        "answer.items[0].n + 1 * -2 / 3 % 4 - 1 != 5 ? true : 'a' in answer.items[0].tags",
        "request.model == \"gpt-4o\" && request.tools >= 2",
    ];
    rules
        .map(|rule| format!("{rule}\0/items/0/n\0{answer}").into_bytes())
        .to_vec()
}

fn schemas() -> Vec<Vec<u8>> {
    let cases = [
        (
            json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "integer", "minimum": 1}, "k": {"enum": ["a", "b"]}}}),
            r#"{"id": 0, "k": "c"}"#,
        ),
        (
            json!({"$defs": {"n": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}, "properties": {"next": {"$ref": "#/$defs/n"}}, "unevaluatedProperties": false}),
            r#"{"next": {"next": null}}"#,
        ),
        (
            json!({"items": {"type": "string", "pattern": "^a+$", "maxLength": 3}, "uniqueItems": true}),
            r#"["a", "aaaa"]"#,
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "patternProperties": {"^x": {"format": "date-time"}}, "dependencies": {"a": ["b"]}}),
            r#"{"xa": "2020-01-01T00:00:00Z", "a": 1}"#,
        ),
        (
            json!({"if": {"const": 1}, "then": {"multipleOf": 0.5}, "else": {"not": {"type": "string"}}, "contains": {}, "prefixItems": [true, false]}),
            "[1, 2]",
        ),
    ];
    cases
        .iter()
        .map(|(schema, text)| format!("{schema}\0{text}").into_bytes())
        .collect()
}

fn policies() -> impl Iterator<Item = Vec<u8>> {
    POLICIES.into_iter().filter_map(|text| {
        let policy: Value = serde_saphyr::from_str(text).ok()?;
        Some(policy.to_string().into_bytes())
    })
}

/// Records as they are written, and nothing.
fn records() -> Vec<Vec<u8>> {
    let choices = |kind: u8| {
        [
            &[kind][..],
            &[0, 16, 165, 212, 232, 0, 0, 0],
            &[9, 34, 60, 118, 230, 14, 2, 33],
        ]
        .concat()
    };
    let mut found = vec![
        with(b"", &choices(0)),
        with(b"", &choices(1)),
        with(&[1; 48], &choices(2)),
    ];
    for record in crate::targets::records::written() {
        found.extend([0, 1, 2].map(|kind| with(&record, &choices(kind))));
    }
    found.push(with(b"limits 1, breakers 1", &choices(3)));
    found.push(with(&[9; 16], &choices(4)));
    found
}

fn exchanges() -> Vec<Vec<u8>> {
    let chat =
        r#"{"model":"gpt-4o","messages":[{"role":"user","content":"mail ann@example.com"}],"stream":true}"#;
    let plain = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}],"response_format":{"type":"json_object"}}"#;
    let claude = r#"{"model":"claude","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;
    let broken = r#"{"model":"gpt-4o","choices":[{"message":{"content":"```json\n{id: 3,}\n```"},"finish_reason":"stop"}],"usage":{"prompt_tokens":8,"completion_tokens":2}}"#;
    let json = "200\ncontent-type: application/json";
    let sse = "200\ncontent-type: text/event-stream";
    let samples: Vec<(&str, Vec<u8>)> = SAMPLES
        .into_iter()
        .map(|(name, bytes)| (name, short(bytes)))
        .collect();
    let sample = |name: &str| {
        samples
            .iter()
            .find(|(other, _)| *other == name)
            .map_or(&b""[..], |(_, bytes)| bytes)
    };
    let head = |path: &str| format!("/v1/{path}\nx-tenant: acme\nx-feature: extract\nx-model: gpt-4o");
    let chats = head("chat/completions");
    let moderated = VERDICTS.map(str::as_bytes);
    let played: Vec<Vec<&[u8]>> = vec![
        vec![
            chats.as_bytes(),
            chat.as_bytes(),
            sse.as_bytes(),
            sample("chat_stream_usage.sse"),
        ],
        vec![
            chats.as_bytes(),
            plain.as_bytes(),
            json.as_bytes(),
            broken.as_bytes(),
        ],
        vec![
            chats.as_bytes(),
            chat.as_bytes(),
            b"503",
            b"{}",
            sse.as_bytes(),
            sample("chat_stream_usage.sse"),
        ],
        vec![
            chats.as_bytes(),
            plain.as_bytes(),
            b"429\nretry-after: 1",
            b"{}",
            b"503",
            b"",
            json.as_bytes(),
            sample("message.json"),
        ],
        vec![
            chats.as_bytes(),
            plain.as_bytes(),
            json.as_bytes(),
            sample("chat.json"),
            json.as_bytes(),
            moderated[0],
            json.as_bytes(),
            moderated[3],
            json.as_bytes(),
            moderated[2],
        ],
        vec![
            chats.as_bytes(),
            plain.as_bytes(),
            json.as_bytes(),
            broken.as_bytes(),
            json.as_bytes(),
            moderated[1],
            json.as_bytes(),
            broken.as_bytes(),
        ],
    ];
    let mut scripts: Vec<Vec<u8>> = played.iter().map(|parts| parts.join(&0)).collect();
    let claudes = [
        head("messages").as_bytes(),
        claude.as_bytes(),
        sse.as_bytes(),
        sample("message_stream_tools.sse"),
    ]
    .join(&0);
    scripts.push(claudes);
    let plans = 0..9_u8;
    let choices = |plan: u8| [plan, 3, 0, 8, 0, 2, 0, 0, 0];
    plans
        .flat_map(|plan| scripts.iter().map(move |script| with(script, &choices(plan))))
        .collect()
}
