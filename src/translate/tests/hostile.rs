//! Hostile input: nothing panics, nothing grows without bound, whatever goes out is JSON, names are fixed words.

use serde_json::{Value, json};

use super::super::Protocol::{self, Chat, Gemini, Messages};
use super::super::{StreamTranslator, answer, error, request};
use super::{ANSWER, REQUEST, STREAM, parsed, sample};

const ALL: [Protocol; 3] = [Chat, Messages, Gemini];

/// A request of each kind with about every field in it.
fn requests() -> [(Protocol, Value); 2] {
    let chat = json!({"model": "m", "temperature": 0.5, "top_p": 0.5, "stop": ["a"], "n": 1, "user": "u", "seed": 1,
    "max_tokens": 5, "max_completion_tokens": 5, "presence_penalty": 0.1, "frequency_penalty": 0.1,
    "reasoning_effort": "low", "parallel_tool_calls": false, "logprobs": false, "service_tier": "auto",
    "tool_choice": {"type": "function", "function": {"name": "f"}}, "modalities": ["text"], "store": false,
    "safety_identifier": "s", "response_format": {"type": "json_schema",
        "json_schema": {"name": "n", "description": "d", "schema": {"type": "object"}, "strict": true}},
    "tools": [{"type": "function", "function": {"name": "f", "description": "d", "strict": true, "parameters": {"type": "object"}}}],
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "s"}]},
        {"role": "user", "name": "n", "content": [{"type": "text", "text": "t"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": "f"}}]},
        {"role": "assistant", "content": "c", "refusal": "r", "annotations": [],
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "r"},
    ]});
    let messages = json!({"model": "m", "max_tokens": 5, "temperature": 0.5, "top_p": 0.5, "top_k": 5,
    "stop_sequences": ["a"], "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    "metadata": {"user_id": "u"}, "thinking": {"type": "disabled"}, "service_tier": "auto",
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": true},
    "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": true, "type": "custom"}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "t", "citations": []},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}},
            {"type": "document", "title": "t", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": "s"},
            {"type": "tool_use", "id": "a", "name": "f", "input": {"a": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "is_error": false,
            "content": [{"type": "text", "text": "r"}, {"type": "image", "source": {"type": "url", "url": "https://x"}}]}]},
    ]});
    [(Chat, chat), (Messages, messages)]
}

fn answers() -> [(Protocol, Value); 6] {
    [
        (Chat, parsed(sample!("chat.json"))),
        (Chat, parsed(sample!("chat_tools.json"))),
        (Messages, parsed(sample!("message.json"))),
        (Messages, parsed(sample!("message_tools.json"))),
        (Gemini, parsed(sample!("gemini.json"))),
        (Gemini, parsed(sample!("gemini_tools.json"))),
    ]
}

/// The text of `value` with one thing inside it replaced or taken away, for each thing and each of these.
fn mutations(value: &Value) -> Vec<String> {
    let huge = "9".repeat(400);
    let strange = [
        "null",
        "7",
        "-1",
        "1.5e300",
        "1e999",
        &huge,
        "true",
        "\"x\"",
        "\"\"",
        "[]",
        "{}",
        "[[{}]]",
        "[null]",
        r#"{"type":"text"}"#,
        "\"\\ud800\"",
    ];
    let mut paths = Vec::new();
    walk(value, String::new(), &mut paths);
    let marked = |path: &String| {
        let mut copy = value.clone();
        *copy.pointer_mut(path).unwrap() = json!("@HERE@");
        copy.to_string()
    };
    let all = paths.iter().map(marked);
    all.flat_map(|text| strange.map(|with| text.replace("\"@HERE@\"", with)))
        .collect()
}

fn walk(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, inside) in members {
                walk(
                    inside,
                    format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")),
                    paths,
                );
            }
        }
        Value::Array(items) => {
            for (at, inside) in items.iter().enumerate() {
                walk(inside, format!("{path}/{at}"), paths);
            }
        }
        _ => {}
    }
    paths.push(path);
}

/// Whether a text is JSON, however large its numbers.
fn is_json(text: &[u8]) -> bool {
    let mut lexer = crate::json::Lexer::new(text);
    lexer.skip().and_then(|()| lexer.end()).is_ok()
}

#[test]
fn a_request_with_anything_anywhere_gives_json_or_an_error_with_fixed_names() {
    let mut passed = 0;
    for (from, body) in requests() {
        assert!(
            ALL.iter().filter(|to| **to != from).any(|to| request(
                from,
                *to,
                body.to_string().as_bytes(),
                &REQUEST
            )
            .is_ok())
        );
        for (text, to) in mutations(&body).iter().flat_map(|text| ALL.map(|to| (text, to))) {
            let Ok(translated) = request(from, to, text.as_bytes(), &REQUEST) else {
                continue;
            };
            passed += 1;
            assert!(is_json(&translated.body), "{text}");
            let plain = |name: &&str| name.bytes().all(|b| matches!(b, 0x20..=0x7e) && b != b',');
            assert!(translated.dropped.iter().all(plain), "{:?}", translated.dropped);
        }
    }
    assert!(passed > 1_000, "{passed}");
}

#[test]
fn an_answer_with_anything_anywhere_gives_json_or_an_error() {
    for (from, body) in answers() {
        for (text, to) in mutations(&body).iter().flat_map(|text| ALL.map(|to| (text, to))) {
            if let Ok(out) = answer(from, to, text.as_bytes(), &ANSWER) {
                assert!(is_json(&out), "{text}");
            }
            assert!(
                from == to || is_json(&error(from, to, 400, text.as_bytes()).1),
                "{text}"
            );
        }
    }
}

#[test]
fn a_stream_with_anything_anywhere_ends_in_its_end_or_an_error() {
    let streams: [(Protocol, &[u8]); 5] = [
        (Chat, sample!("chat_stream_tools.sse")),
        (Chat, sample!("chat_stream_usage.sse")),
        (Messages, sample!("message_stream_tools.sse")),
        (Gemini, sample!("gemini_stream.sse")),
        (Gemini, sample!("gemini_stream_tools.sse")),
    ];
    for (from, stream) in streams {
        let text = core::str::from_utf8(stream).unwrap().replace('\r', "");
        let events: Vec<&str> = text.split_inclusive("\n\n").collect();
        for (at, event) in events.iter().enumerate() {
            let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) else {
                continue;
            };
            let Ok(value) = serde_json::from_str(data) else {
                continue;
            };
            for changed in mutations(&value) {
                let (before, after) = (events[..at].concat(), events[at + 1..].concat());
                let stream = [&before, "data: ", &changed, "\n\n", &after].concat();
                for to in [Chat, Messages].into_iter().filter(|to| *to != from) {
                    is_whole(from, to, stream.as_bytes());
                }
            }
        }
    }
}

/// Holds that the output is events of the client's protocol with an end or an error.
fn is_whole(from: Protocol, to: Protocol, stream: &[u8]) {
    let out = super::streamed(from, to, [stream]);
    for data in out.lines().filter_map(|line| line.strip_prefix("data: ")) {
        assert!(data == "[DONE]" || is_json(data.as_bytes()), "{data}");
    }
    let ends = out.matches("[DONE]").count() + out.matches("event: message_stop").count();
    let errors = out
        .lines()
        .filter(|line| line.starts_with("data: {\"error\"") || *line == "event: error")
        .count();
    assert_eq!(ends + errors, 1, "{out}");
}

#[test]
fn what_is_nested_too_deep_is_told() {
    for depth in [100, 127, 128, 100_000] {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let body = format!(r#"{{"messages":[{{"role":"user","content":"x"}}],"metadata":{nested}}}"#);
        let told = request(Chat, Messages, body.as_bytes(), &REQUEST);
        assert_eq!(told.is_ok(), depth < 128, "{depth}");
        let schema = format!(r#"{{"messages":[{{"role":"user","content":{nested}}}]}}"#);
        assert!(request(Chat, Messages, schema.as_bytes(), &REQUEST).is_err());
    }
}

#[test]
fn an_endless_event_is_not_kept() {
    for (from, to) in [(Chat, Messages), (Messages, Chat), (Gemini, Chat)] {
        let mut translator = StreamTranslator::new(from, to, &STREAM);
        let mut out = 0;
        for _ in 0..1_000 {
            out += translator.push(&[b'x'; 1_000]).len();
        }
        assert!(translator.closed() && out < 1_000, "{out}");
        assert!(translator.finish().is_empty());
    }
}

#[test]
fn blocks_and_calls_without_number_break_the_stream() {
    let start = |index: usize| {
        format!(
            r#"data: {{"type":"content_block_start","index":{index},"content_block":{{"type":"text","text":""}}}}{}"#,
            "\n\n"
        )
    };
    let stream: String = (0..1_000).map(start).collect();
    is_whole(Messages, Chat, stream.as_bytes());
    assert!(super::streamed(Messages, Chat, [stream.as_bytes()]).contains("too many blocks"));
    let call = |index: usize| {
        format!(
            r#"data: {{"choices":[{{"delta":{{"tool_calls":[{{"index":{index},"id":"c{index}","function":{{"name":"f"}}}}]}}}}]}}{}"#,
            "\n\n"
        )
    };
    let stream: String = (0..1_000).map(call).collect();
    assert!(super::streamed(Chat, Messages, [stream.as_bytes()]).contains("too many tools"));
}

#[test]
fn an_error_of_a_client_says_nothing_of_its_words() {
    let body = json!({"messages": [{"role": "s3cr3t", "content": "s3cr3t"}], "s3cr3t": 1}).to_string();
    let told = request(Chat, Messages, body.as_bytes(), &REQUEST).unwrap_err();
    assert!(!format!("{told} {told:?}").contains("s3cr3t"));
}
