//! What the lean edition takes, and what it refuses for want of a schema engine.

use serde_json::{Value, json};

use super::{environment, with};
use crate::policy::{Edition, load_for};

fn told(validate: Value) -> String {
    let document = with("validate", validate).to_string();
    let read = load_for(Edition::Lean, &document, &environment());
    read.map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}

#[test]
fn whatever_would_need_the_schema_engine_is_refused_where_it_stands() {
    let schema =
        "needs a schema engine (allowed: nothing: this module has no schema engine; use spillway.wasm)";
    let theirs = "judges by schemas of the request (allowed: false: this module has no schema engine; use spillway.wasm)";
    let table = [
        (
            json!({}),
            format!("validate[0].format: {theirs}\nvalidate[0].tools: {theirs}"),
        ),
        (
            json!({"schema": {"type": "object"}, "tools": false}),
            format!("validate[0].schema: {schema}"),
        ),
        (
            json!({"schema": {"type": 7}, "format": false}),
            format!("validate[0].schema: {schema}\nvalidate[0].tools: {theirs}"),
        ),
        (
            json!({"rules": [{"rule": "answer.n > 0"}], "tools": false, "on_invalid": ["repair", "reject"]}),
            format!("validate[0].format: {theirs}"),
        ),
        (
            json!({"grounding": {"fields": ["/id"]}, "format": false}),
            format!("validate[0].tools: {theirs}"),
        ),
    ];
    for (rule, expected) in table {
        assert_eq!(told(json!([rule])), expected, "{rule}");
    }
}

#[test]
fn rules_and_grounding_need_no_schema_engine() {
    let rule = json!({
        "format": false, "tools": false, "rules": [{"rule": "answer.n > 0"}],
        "grounding": {"fields": ["/id"], "otherwise": "annotate"}, "on_invalid": ["repair", {"default": {"n": 1}}],
    });
    assert_eq!(told(json!([rule])), "accepted");
    assert_eq!(told(json!([])), "accepted");
}
