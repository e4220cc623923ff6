//! Tables of requests, good and bad.

use super::super::{Endpoint, RequestFacts, ScanError, scan};

use Endpoint::{ChatCompletions as Chat, Completions, Embeddings, Messages, Responses};

pub(super) fn facts(endpoint: Endpoint, body: &str) -> RequestFacts<'_> {
    scan(endpoint, body.as_bytes()).unwrap()
}

/// The members that stand beside a model and one message.
pub(super) fn chat(rest: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{rest}}}"#)
}

/// What is text to the model.
pub(super) fn texts<'b>(facts: &RequestFacts<'b>) -> Vec<&'b str> {
    facts
        .prompt
        .texts
        .iter()
        .map(|raw| std::str::from_utf8(raw).unwrap())
        .collect()
}

#[test]
fn the_plain_facts_are_found() {
    let body =
        chat(r#","stream":true,"max_completion_tokens":50,"n":3,"stream_options":{"include_usage":false}"#);
    let found = facts(Chat, &body);
    assert_eq!(
        (&*found.model, found.stream, found.max_tokens, found.choices),
        ("m", true, Some(50), 3)
    );
    assert_eq!(
        (found.include_usage, found.pinned, found.structured, found.tools),
        (Some(false), false, false, false)
    );
    assert_eq!(
        (texts(&found), found.prompt.messages, found.prompt.names),
        (vec!["user", "hi"], 1, 0)
    );
}

#[test]
fn nulls_are_absent() {
    let body = chat(
        r#","stream":null,"max_tokens":null,"n":null,"stream_options":null,"tools":null,"response_format":null,"store":null"#,
    );
    let found = facts(Chat, &body);
    assert_eq!(
        (found.stream, found.max_tokens, found.choices, found.pinned),
        (false, None, 1, false)
    );
}

#[test]
fn escaped_names_are_the_names_they_mean() {
    let found = facts(
        Chat,
        r#"{"mod\u0065l":"gpt\u002d4o","mess\u0061ges":[{"cont\u0065nt":"x"}],"str\u0065am":true}"#,
    );
    assert_eq!(
        (&*found.model, found.stream, texts(&found)),
        ("gpt-4o", true, vec!["x"])
    );
    let twice = r#"{"model":"a","mod\u0065l":"b","messages":[]}"#;
    assert_eq!(
        scan(Chat, twice.as_bytes()).unwrap_err(),
        ScanError::Duplicate { field: "model" }
    );
}

#[test]
fn bad_bodies_are_refused_with_a_reason() {
    let deep = chat(&format!(",\"x\":{}{}", "[".repeat(10_000), "]".repeat(10_000)));
    let long = format!(r#"{{"model":"{}","messages":[]}}"#, "x".repeat(257));
    let cases = [
        (Chat, "", "body is not JSON: cannot be read on at byte 0"),
        (
            Chat,
            "{\"model\":tru}",
            "body is not JSON: cannot be read on at byte 9",
        ),
        (
            Chat,
            "{\"model\":\"m\",\"messages\":[]} x",
            "body is not JSON: cannot be read on at byte 28",
        ),
        (Chat, "[]", "body is not a JSON object"),
        (Chat, "\"x\"", "body is not a JSON object"),
        (Chat, "[1", "body is not JSON: cannot be read on at byte 2"),
        (Chat, &deep, "body is nested more than 128 deep"),
        (Chat, "{}", "model: missing"),
        (Chat, r#"{"model":"m"}"#, "messages: missing"),
        (Messages, r#"{"model":"m"}"#, "messages: missing"),
        (Embeddings, r#"{"model":"m"}"#, "input: missing"),
        (
            Chat,
            r#"{"model":7,"messages":[]}"#,
            "model: must be a name of 1 to 256 bytes",
        ),
        (
            Chat,
            r#"{"model":"","messages":[]}"#,
            "model: must be a name of 1 to 256 bytes",
        ),
        (Chat, &long, "model: must be a name of 1 to 256 bytes"),
        (
            Chat,
            r#"{"model":"m","messages":{}}"#,
            "messages: must be an array of messages",
        ),
        (
            Chat,
            r#"{"model":"m","messages":["x"]}"#,
            "messages: must be an array of messages",
        ),
        (
            Chat,
            r#"{"model":"m","messages":null}"#,
            "messages: must be an array of messages",
        ),
        (
            Chat,
            &chat(r#","max_tokens":0"#),
            "max_tokens: must be a positive integer",
        ),
        (
            Chat,
            &chat(r#","max_tokens":-1"#),
            "max_tokens: must be a positive integer",
        ),
        (
            Chat,
            &chat(r#","max_tokens":1.5"#),
            "max_tokens: must be a positive integer",
        ),
        (
            Chat,
            &chat(r#","max_tokens":1e3"#),
            "max_tokens: must be a positive integer",
        ),
        (
            Chat,
            &chat(r#","max_tokens":"9""#),
            "max_tokens: must be a positive integer",
        ),
        (Chat, &chat(r#","n":0"#), "n: must be a positive integer"),
        (Chat, &chat(r#","stream":"yes""#), "stream: must be true or false"),
        (
            Chat,
            &chat(r#","stream_options":7"#),
            "stream_options: must be an object",
        ),
        (
            Chat,
            &chat(r#","stream_options":{"include_usage":1}"#),
            "stream_options.include_usage: must be true or false",
        ),
        (
            Chat,
            &chat(r#","stream_options":{"include_usage":true,"include_usage":false}"#),
            "stream_options.include_usage: given twice",
        ),
        (Chat, &chat(r#","model":"x""#), "model: given twice"),
        (
            Chat,
            &chat(r#","stream":true,"stream":false"#),
            "stream: given twice",
        ),
        (
            Chat,
            &chat(r#","max_tokens":1,"max_tokens":2"#),
            "max_tokens: given twice",
        ),
        (Chat, &chat(r#","messages":[]"#), "messages: given twice"),
    ];
    for (endpoint, body, reason) in cases {
        let error = scan(endpoint, body.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), reason, "{:.80}", body);
    }
}

#[test]
fn what_nests_among_token_numbers_is_read_to_its_end() {
    for endpoint in [Endpoint::Completions, Endpoint::Embeddings] {
        let member = if endpoint == Endpoint::Embeddings {
            "input"
        } else {
            "prompt"
        };
        for broken in [
            "[[1,2,[9]]",
            r#"[[1,{"a":2]]"#,
            "[[[]",
            r#"[[{"a":1]]"#,
            "[[[1],[2,3]]",
        ] {
            let body = format!(r#"{{"model":"m","{member}":{broken}}}"#);
            let read = scan(endpoint, body.as_bytes());
            assert!(matches!(read, Err(ScanError::NotJson { .. })), "{body}");
        }
        let body = format!(r#"{{"model":"m","{member}":[[1,[2],{{"a":[3]}},4]]}}"#);
        assert_eq!(facts(endpoint, &body).prompt.token_ids, 2);
    }
}

#[test]
fn invalid_utf8_is_no_json() {
    let error = scan(Chat, b"{\"model\":\"\xff\"}").unwrap_err();
    assert_eq!(error, ScanError::NotJson { at: 10 });
}

#[test]
fn a_body_cut_anywhere_is_an_error_and_never_a_panic() {
    let body = chat(
        r#","tools":[{"function":{"name":"f","parameters":{"properties":{"a":{"enum":["x",1]}}}}}],"stream_options":{"a":1}"#,
    );
    for at in 0..body.len() {
        assert!(scan(Chat, &body.as_bytes()[..at]).is_err(), "cut at {at}");
    }
    assert!(scan(Chat, body.as_bytes()).is_ok());
}

#[test]
fn huge_numbers_saturate() {
    assert_eq!(
        facts(Chat, &chat(r#","max_tokens":99999999999999999999999999"#)).max_tokens,
        Some(u64::MAX)
    );
    assert_eq!(
        facts(Chat, &chat(r#","n":99999999999999999999999999"#)).choices,
        2048
    );
    assert_eq!(
        facts(Chat, &chat(r#","max_tokens":5,"max_completion_tokens":9"#)).max_tokens,
        Some(9)
    );
}

#[test]
fn embeddings_and_completions_take_texts_and_tokens() {
    let of = |endpoint, field: &str, value: &str| {
        let body = format!(r#"{{"model":"m","{field}":{value},"n":2}}"#);
        let found = facts(endpoint, &body);
        (found.prompt.texts.len(), found.prompt.token_ids, found.choices)
    };
    assert_eq!(of(Embeddings, "input", r#""a""#), (1, 0, 2));
    assert_eq!(of(Embeddings, "input", r#"["a","b"]"#), (2, 0, 2));
    assert_eq!(of(Embeddings, "input", "[1,2,3]"), (0, 3, 2));
    assert_eq!(of(Embeddings, "input", "[[1,2],[3]]"), (0, 3, 2));
    assert_eq!(of(Completions, "prompt", r#""a""#), (1, 0, 2));
    assert_eq!(of(Completions, "prompt", r#"["a","b","c"]"#), (3, 0, 6));
    assert_eq!(of(Completions, "prompt", "[1,2,3]"), (0, 3, 2));
    assert_eq!(of(Completions, "prompt", "[[1,2],[3]]"), (0, 3, 4));
}

#[test]
fn state_at_one_provider_pins_the_exchange() {
    for (rest, pinned) in [
        (r#""previous_response_id":"resp_1""#, true),
        (r#""previous_response_id":null"#, false),
        (r#""conversation":{"id":"conv_1"}"#, true),
        (r#""store":true"#, true),
        (r#""store":false"#, false),
        (r#""background":true"#, true),
        (r#""input":[{"type":"item_reference","id":"x"}]"#, true),
        (r#""prompt":{"id":"pmpt_1"}"#, true),
        (
            r#""tools":[{"type":"file_search","vector_store_ids":["vs_1"]}]"#,
            true,
        ),
        (r#""input":"x""#, false),
    ] {
        assert_eq!(
            facts(Responses, &format!(r#"{{"model":"m",{rest}}}"#)).pinned,
            pinned,
            "{rest}"
        );
    }
}

#[test]
fn json_is_asked_for_by_format_or_forced_tool() {
    for (rest, structured) in [
        (r#","response_format":{"type":"json_object"}"#, true),
        (
            r#","response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{}}}"#,
            true,
        ),
        (r#","response_format":{"type":"text"}"#, false),
        (r#","tool_choice":"required""#, true),
        (r#","tool_choice":"auto""#, false),
        (
            r#","tool_choice":{"type":"function","function":{"name":"f"}}"#,
            true,
        ),
        (r#","tool_choice":{"type":"auto"}"#, false),
        (r#","function_call":{"name":"f"}"#, true),
        (r#","function_call":"none""#, false),
    ] {
        assert_eq!(facts(Chat, &chat(rest)).structured, structured, "{rest}");
    }
}

#[test]
fn a_body_of_tiny_strings_stays_cheap() {
    let body = format!(r#"{{"model":"m","input":[{}"last"]}}"#, "\"a\",".repeat(200_000));
    let found = facts(Embeddings, &body);
    assert_eq!(found.prompt.texts.len(), 65_537);
    let bytes: usize = found.prompt.texts.iter().map(|text| text.len()).sum();
    assert!(bytes >= 200_004 && bytes <= body.len());
    assert!(found.prompt.texts.last().unwrap().ends_with(b"\"last\""));
}

#[test]
fn contents_may_nest_but_not_for_ever() {
    let nested = |depth: usize| {
        let (open, close) = (r#"[{"content":"#.repeat(depth), "}]".repeat(depth));
        format!(r#"{{"model":"m","messages":{open}"x"{close}}}"#)
    };
    assert_eq!(texts(&facts(Chat, &nested(63))), ["x"]);
    assert_eq!(
        scan(Chat, nested(10_000).as_bytes()).unwrap_err(),
        ScanError::TooDeep
    );
}
