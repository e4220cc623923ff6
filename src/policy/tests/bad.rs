//! What bad documents are told: the table `refusals.txt`, and what can't stand in a table of trees.

use super::{environment, load, read, with};

/// The rows of `refusals.txt`: place, value, message.
fn rows() -> Vec<(&'static str, &'static str, String)> {
    let blocks = include_str!("refusals.txt")
        .split("\n\n")
        .filter(|block| !block.starts_with('#'));
    let row = |block: &'static str| {
        let (head, told) = block.split_once('\n').unwrap();
        let (place, value) = head.split_once(" = ").unwrap();
        let told: Vec<&str> = told.lines().map(str::trim_start).collect();
        (place, value, told.join("\n"))
    };
    blocks.map(row).collect()
}

#[test]
fn every_refusal_names_the_field_and_what_is_allowed() {
    let mut wrong = Vec::new();
    for (place, value, expected) in rows() {
        let document = with(place, serde_json::from_str(value).unwrap());
        let told = read(&document).map_or_else(|message| message, |_| "accepted".to_owned());
        assert!(!told.contains("s3cr3t"), "{told}");
        if told != expected {
            let told = told.replace('\n', "\n    ");
            wrong.push(format!("{place} = {value}\n    {told}\n"));
        }
    }
    assert!(wrong.is_empty(), "told otherwise:\n{}", wrong.join("\n"));
}

/// Which tables there are is the build's choice.
#[test]
fn exact_counts_need_a_tokenizer_whose_table_is_built_in() {
    let model = serde_json::json!({"tokenizer": "estimate", "count": "exact"});
    let told = read(&with("providers openai models gpt-4o", model)).unwrap_err();
    let expected = "providers.openai.models.gpt-4o.count: needs a tokenizer that is public (allowed: when_needed; exact \
        with a tokenizer of: o200k";
    assert!(told.starts_with(expected), "{told}");
}

#[test]
fn documents_that_are_no_policy() {
    let told = |text: &str| load(text, &environment()).unwrap_err().to_string();
    assert!(told("[]").starts_with("policy: is a list (allowed: an object with version, mode, "));
    assert_eq!(
        told(""),
        "policy: isn't JSON: EOF while parsing a value at line 1 column 0 (allowed: one JSON object)"
    );
    assert_eq!(
        told(r#"{"version": 1, "version": 1}"#),
        "version: \"version\" stands here twice (allowed: each key once)"
    );
    assert_eq!(
        told("{}"),
        "version: is missing (allowed: 1)\n\
         providers: is missing (allowed: a map with at least one provider)\n\
         models: is missing (allowed: a map with at least one model, or * for any)"
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let mut document = with(
        "limits",
        serde_json::json!([{"name": "a", "tokens": "1/s"}, {"name": "B", "tokens": "x"}]),
    );
    document["mode"] = "loud".into();
    document["providers"]["openai"]["breaker"] = serde_json::json!({"open": 1, "window": "x"});
    let told = read(&document).unwrap_err();
    let paths: Vec<&str> = told.lines().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(
        paths,
        [
            "providers.openai.breaker.open",
            "providers.openai.breaker.window",
            "mode",
            "limits[1].name",
            "limits[1].tokens"
        ]
    );
}
