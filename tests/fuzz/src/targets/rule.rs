//! Rules over fields, and numbers that are brought back to a bound.

use serde_json::{Value, json};
use spillway::rule::{Clamp, Condition, Facts, Pointer};

use crate::input::Input;
use crate::truth;

/// A rule is refused at a place within it, or judges any answer, twice the same; a clamped answer is JSON, has the bound
/// at the place, and nothing else of it differs.
pub fn rule(data: &[u8]) {
    let bytes = Input::new(data).rest();
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let mut next = || String::from_utf8_lossy(parts.next().unwrap_or_default());
    let (source, pointer, text) = (next(), next(), next());
    let answer = truth::value(text.as_bytes()).unwrap_or(Value::Null);
    match Condition::parse(&source) {
        Err(error) => assert!(error.at <= source.len(), "{error:?}"),
        Ok(condition) => {
            assert_eq!(condition.source(), source);
            let request = json!({"model": "gpt-4o", "tools": 2, "stream": false});
            let facts = Facts {
                answer: &answer,
                request: &request,
            };
            assert_eq!(condition.holds(facts), condition.holds(facts));
        }
    }
    clamped(&pointer, &text, &answer);
}

fn clamped(pointer: &str, text: &str, answer: &Value) {
    let Some(field) = Pointer::parse(pointer) else {
        return;
    };
    let clamp = Clamp { field, to: json!(20) };
    let Some(out) = clamp.apply(text).filter(|_| truth::is_json(text.as_bytes())) else {
        return;
    };
    truth::assert_json(out.as_bytes());
    let mut expected = answer.clone();
    if let (Some(place), Some(out)) = (expected.pointer_mut(pointer), truth::value(out.as_bytes())) {
        *place = json!(20);
        assert_eq!(out, expected);
    }
}
