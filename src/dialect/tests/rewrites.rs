//! Requests changed in place.

use super::super::{
    Edits,
    Endpoint::{ChatCompletions as Chat, Messages},
    rewrite, scan,
};
use super::Random;
use super::requests::{chat, facts};

fn rewritten(body: &str, edits: Edits<'_>) -> Option<String> {
    let found = facts(Chat, body);
    rewrite(body.as_bytes(), &found, edits).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn a_model_is_renamed_in_place() {
    let edits = |model| Edits {
        model: Some(model),
        include_usage: false,
    };
    let body = r#"{ "model" : "gpt-\u0034o" , "messages":[] , "x":1.0}"#;
    assert_eq!(
        rewritten(body, edits("a\"b")).unwrap(),
        r#"{ "model" : "a\"b" , "messages":[] , "x":1.0}"#
    );
    assert_eq!(rewritten(body, edits("gpt-4o")), None);
    assert_eq!(rewritten(body, Edits::default()), None);
}

#[test]
fn usage_is_asked_for_where_it_is_missing() {
    let both = Edits {
        model: Some("n"),
        include_usage: true,
    };
    let ask = Edits {
        model: None,
        include_usage: true,
    };
    let of = |options: &str| format!(r#"{{"messages":[],"stream":true{options},"model":"m"}}"#);
    let added = r#"{"stream_options":{"include_usage":true},"messages":[],"stream":true,"model":"m"}"#;
    assert_eq!(rewritten(&of(""), ask).unwrap(), added);
    assert_eq!(rewritten(&of(""), both).unwrap(), added.replace("\"m\"", "\"n\""));
    let merged = |options: &str| rewritten(&of(&format!(r#","stream_options":{options}"#)), ask);
    let expected = |options: &str| of(&format!(r#","stream_options":{options}"#));
    assert_eq!(merged("null").unwrap(), expected(r#"{"include_usage":true}"#));
    assert_eq!(merged("{ }").unwrap(), expected(r#"{"include_usage":true }"#));
    assert_eq!(
        merged(r#"{"x":1}"#).unwrap(),
        expected(r#"{"include_usage":true,"x":1}"#)
    );
    assert_eq!(
        merged(r#"{"include_usage": false}"#).unwrap(),
        expected(r#"{"include_usage": true}"#)
    );
    assert_eq!(
        merged(r#"{"x":[{}],"include_usage":null}"#).unwrap(),
        expected(r#"{"x":[{}],"include_usage":true}"#)
    );
    assert_eq!(merged(r#"{"include_usage":true}"#), None);
}

#[test]
fn nobody_is_asked_for_usage_who_gives_it_anyway() {
    let ask = Edits {
        model: None,
        include_usage: true,
    };
    assert_eq!(rewritten(&chat(""), ask), None);
    let body = r#"{"model":"m","messages":[],"stream":true}"#;
    let found = facts(Messages, body);
    assert_eq!(rewrite(body.as_bytes(), &found, ask), None);
}

/// Damaged requests never panic; what is read is JSON to the end, and a renamed model is all that changes.
#[test]
fn damaged_requests_are_read_only_if_they_are_json() {
    let rest = r#","stream":true,"tools":[{"function":{"name":"f","parameters":{"properties":{"a":{"enum":["x",1]}}}}}],
        "stream_options":{"a":1},"n":2,"max_tokens":5,"response_format":{"type":"json_schema","json_schema":{}}"#;
    let (mut random, body) = (Random(13), chat(rest));
    let edits = Edits {
        model: Some("other/model"),
        include_usage: true,
    };
    for round in 0..5000 {
        let damaged = random.damaged(body.as_bytes());
        let Ok(found) = scan(Chat, &damaged) else { continue };
        assert!(
            serde_json::from_slice::<serde_json::Value>(&damaged).is_ok(),
            "round {round}"
        );
        let changed = rewrite(&damaged, &found, edits).unwrap();
        let again = scan(Chat, &changed).unwrap();
        assert_eq!(
            (&*again.model, again.include_usage == Some(true)),
            ("other/model", found.stream)
        );
        assert_eq!(again.prompt.texts, found.prompt.texts);
        assert_eq!(rewrite(&changed, &again, edits), None);
    }
}
