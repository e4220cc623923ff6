//! Complete answers.

use super::super::{Answer, Endpoint, JsonFacts, JsonReader, Usage, answer, answer_with_facts};
use super::{Random, text, usage};

fn json(endpoint: Endpoint, pieces: &[&[u8]]) -> JsonFacts {
    let mut reader = JsonReader::new(endpoint);
    for piece in pieces {
        reader.push(piece);
    }
    reader.finish()
}

/// Endpoint, body, model, usage, error, answer.
type Body = (
    Endpoint,
    &'static [u8],
    Option<&'static str>,
    Option<Usage>,
    bool,
    Answer,
);

fn assert_one_reading(endpoint: Endpoint, body: &[u8]) {
    let apart = (answer(endpoint, body), json(endpoint, &[body]));
    let shown = String::from_utf8_lossy(body);
    assert_eq!(answer_with_facts(endpoint, body), apart, "{endpoint:?} {shown}");
}

#[test]
fn what_an_answer_says_and_costs_is_the_same_read_in_one_go() {
    let choice = r#"[{"message":{"content":"a"},"finish_reason":"stop"}]"#;
    for odd in [
        String::new(),
        "[]".into(),
        r#"{"choices":null,"usage":null}"#.into(),
        r#"{"choices":{"a":1},"model":""}"#.into(),
        format!(r#"{{"choices":{choice},"choices":[]}}"#),
        format!(r#"{{"cho\u0069ces":{choice},"error":null}}"#),
        format!(r#"{{"choices":{choice},"error":{{}},"usage":{{"prompt_tokens":-1}}}}"#),
        format!(r#"{{"choices":{choice},"usage":{{"prompt_tokens":1,"completion_tokens":2}}}} x"#),
        format!(r#"{{"choices":{choice},"usage":{{"prompt_tokens":1,"completion_tokens":2}},"usage":null}}"#),
        format!(r#"{{"choices":{choice},"usage":{{"prompt_tokens":-1}},"usage":null}}"#),
        format!(
            r#"{{"choices":{choice},"usage":{{"x":"{}"}}}}"#,
            "y".repeat(9_000)
        ),
    ] {
        assert_one_reading(Endpoint::ChatCompletions, odd.as_bytes());
    }
    for (endpoint, body, ..) in bodies() {
        for end in 0..=body.len() {
            assert_one_reading(endpoint, &body[..end]);
        }
        for at in 0..body.len() {
            let mut broken = body.to_vec();
            broken[at] ^= 1 << (at % 7);
            assert_one_reading(endpoint, &broken);
        }
    }
}

fn bodies() -> Vec<Body> {
    use Endpoint::{ChatCompletions, Completions, Embeddings, Messages, Responses};
    let written = Usage {
        input: 2058,
        output: 25,
        cached_input: 1800,
        cache_write: 248,
        reasoning: 0,
    };
    let poem = "In a peaceful grove beneath a silver moon";
    vec![
        (
            ChatCompletions,
            sample!("chat.json"),
            Some("gpt-4o-2024-08-06"),
            usage(1117, 46, 1024, 32),
            false,
            text("{\"id\": 7, \"name\": \"Zoë 😀\"}"),
        ),
        (
            ChatCompletions,
            sample!("chat_tools.json"),
            Some("gpt-4o-mini"),
            usage(82, 17, 0, 0),
            false,
            Answer::ToolCalls,
        ),
        (
            Completions,
            sample!("completion.json"),
            Some("gpt-3.5-turbo-instruct"),
            usage(5, 7, 0, 0),
            false,
            Answer::Cut,
        ),
        (
            Embeddings,
            sample!("embeddings.json"),
            Some("text-embedding-3-small"),
            usage(8, 0, 0, 0),
            false,
            Answer::Empty,
        ),
        (
            Responses,
            sample!("response.json"),
            Some("gpt-4.1-2025-04-14"),
            usage(36, 87, 4, 64),
            false,
            text(poem),
        ),
        (
            Messages,
            sample!("message.json"),
            Some("claude-sonnet-4-5-20250929"),
            Some(written),
            false,
            text("Hi! My name is Claude."),
        ),
        (
            ChatCompletions,
            sample!("error_openai.json"),
            None,
            None,
            true,
            Answer::Error,
        ),
        (
            Messages,
            sample!("error_anthropic.json"),
            None,
            None,
            true,
            Answer::Error,
        ),
    ]
}

#[test]
fn bodies_say_the_same_at_every_split() {
    for (endpoint, body, model, usage, error, _) in bodies() {
        let expected = JsonFacts {
            usage,
            usage_fault: false,
            model: model.map(str::to_owned),
            error,
            complete: true,
        };
        for first in 0..=body.len() {
            let (left, right) = body.split_at(first);
            assert_eq!(json(endpoint, &[left, right]), expected, "cut at {first}");
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(json(endpoint, &bytes), expected);
        assert!(!json(endpoint, &[body.trim_ascii_end().split_last().unwrap().1]).complete);
        assert!(!json(endpoint, &[body, b"{}"]).complete);
    }
}

#[test]
fn answers_are_judged_from_bodies() {
    for (endpoint, body, _, _, _, expected) in bodies() {
        assert_eq!(answer(endpoint, body), expected);
    }
    let chat = |choices: &str| {
        answer(
            Endpoint::ChatCompletions,
            format!("{{\"choices\":[{choices}]}}").as_bytes(),
        )
    };
    let one = |message: &str, reason: &str| {
        chat(&format!(
            "{{\"message\":{message},\"finish_reason\":\"{reason}\"}}"
        ))
    };
    assert_eq!(one(r#"{"content":"x"}"#, "stop"), text("x"));
    assert_eq!(one(r#"{"content":"x","refusal":"No."}"#, "stop"), Answer::Refused);
    assert_eq!(one(r#"{"content":"x"}"#, "content_filter"), Answer::Filtered);
    assert_eq!(one(r#"{"content":"x"}"#, "length"), Answer::Cut);
    assert_eq!(one(r#"{"content":""}"#, "stop"), Answer::Empty);
    assert_eq!(one(r#"{"content":null}"#, "stop"), Answer::Empty);
    assert_eq!(
        chat(r#"{"index":0,"finish_reason":"stop"},{"index":1,"finish_reason":"stop"}"#),
        Answer::Many(2)
    );
    assert_eq!(answer(Endpoint::ChatCompletions, b"<html>"), Answer::NotJson);
    assert_eq!(answer(Endpoint::ChatCompletions, b"[]"), Answer::NotJson);
    assert_eq!(
        answer(Endpoint::Messages, "[".repeat(10_000).as_bytes()),
        Answer::NotJson
    );
    let refused = br#"{"type":"message","content":[],"stop_reason":"refusal"}"#;
    assert_eq!(answer(Endpoint::Messages, refused), Answer::Refused);
    let refused = br#"{"status":"completed","output":[{"type":"message","content":[{"type":"refusal","refusal":"No."}]}]}"#;
    assert_eq!(answer(Endpoint::Responses, refused), Answer::Refused);
    let called = br#"{"status":"completed","output":[{"type":"function_call","name":"f","arguments":"{}"}]}"#;
    assert_eq!(answer(Endpoint::Responses, called), Answer::ToolCalls);
    let filtered = br#"{"status":"incomplete","incomplete_details":{"reason":"content_filter"},"output":[]}"#;
    assert_eq!(answer(Endpoint::Responses, filtered), Answer::Filtered);
}

#[test]
fn usage_that_cannot_be_true_is_reported() {
    for raw in ["-1", "1.5", "\"1\"", "1e99", "99999999999999999999", "{}", "true"] {
        let body = format!(r#"{{"usage":{{"prompt_tokens":{raw},"completion_tokens":1}},"model":"m"}}"#);
        let facts = json(Endpoint::ChatCompletions, &[body.as_bytes()]);
        assert_eq!(
            (facts.usage, facts.usage_fault, facts.complete),
            (None, true, true),
            "{raw}"
        );
    }
    let facts = json(
        Endpoint::ChatCompletions,
        &[br#"{"usage":null,"error":null,"model":7}"#],
    );
    assert_eq!(
        facts,
        JsonFacts {
            complete: true,
            ..JsonFacts::default()
        }
    );
    let huge = format!(
        r#"{{"usage":{{"x":"{}","prompt_tokens":1,"completion_tokens":1}}}}"#,
        "x".repeat(9000)
    );
    assert!(json(Endpoint::ChatCompletions, &[huge.as_bytes()]).usage_fault);
}

#[test]
fn only_outermost_members_count_even_with_escaped_names() {
    let body = br#"{"x":{"usage":{"prompt_tokens":9,"completion_tokens":9},"error":{}},"us\u0061ge":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let facts = json(Endpoint::ChatCompletions, &[body]);
    assert_eq!((facts.usage, facts.error), (usage(1, 2, 0, 0), false));
    let facts = json(
        Endpoint::ChatCompletions,
        &[format!(r#"{{"model":"{}"}}"#, "é".repeat(500)).as_bytes()],
    );
    assert_eq!(facts.model.map(|model| model.len()), Some(128));
}

/// As for streams; and a damaged body is complete exactly if `serde_json` can read it as an object.
#[test]
fn damaged_bodies_are_complete_only_if_they_are_json() {
    let mut random = Random(11);
    let samples = bodies();
    for round in 0..5000 {
        let (endpoint, body, ..) = &samples[random.below(samples.len())];
        let body = random.damaged(body);
        let (left, right) = body.split_at(random.below(body.len() + 1));
        let facts = json(*endpoint, &[left, right]);
        assert_eq!(facts, json(*endpoint, &[&body]), "round {round}");
        let judged = serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
        assert_eq!(
            facts.complete,
            judged,
            "round {round}: {}",
            String::from_utf8_lossy(&body)
        );
        let _ = answer(*endpoint, &body);
    }
}
