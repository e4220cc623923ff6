//! Rules across the fields of an answer, and what of it must stand in the request's context.
//!
//! ```yaml
//! rules:
//!   - {name: discount, rule: answer.discount <= 20, otherwise: {clamp: /discount, to: 20}}
//!   - {rule: "answer.items.all(i, i.qty > 0)", otherwise: reject}
//! grounding: {fields: [/order_id], quotations: true, citations: true, at_least: 1, otherwise: annotate}
//! ```

use serde_json::Value;

use crate::body::grounding::Claims;
use crate::rule::{Clamp, Condition, Pointer};

use super::error::quote;
use super::field::{Field, Reading, Section};
use super::names::{self, LABEL};
use super::types::{Grounding, Otherwise, Rule};

/// Rules of one validation: more are a program.
const MOST_RULES: usize = 64;
/// What `otherwise` of a rule may be.
const OTHERWISE: &str = "reject, annotate, or {clamp: /field, to: value}";
/// What a pointer is, for messages.
const POINTER: &str = "a JSON Pointer, such as /discount or /items/0/price";

/// The rules, in the order written: every one is judged.
pub(super) fn rules(field: &Field<'_>, r: &mut Reading<'_>) -> Vec<Rule> {
    let items = field.items(r, "a list of rules");
    if items.len() > MOST_RULES {
        field.refuse(
            r,
            format!("has {} rules", items.len()),
            format!("at most {MOST_RULES}"),
        );
    }
    let mut rules: Vec<Rule> = Vec::new();
    for (index, item) in items.iter().take(MOST_RULES).enumerate() {
        let section = item.section(r, &["name", "rule", "otherwise"]);
        let name = section.or("name", format!("rule-{index}"), |f| {
            f.parsed(r, LABEL, |text| names::is_label(text).then(|| text.to_owned()))
        });
        if rules.iter().any(|rule| rule.name == name) {
            let wrong = format!("{} is another rule's name", quote(&name));
            r.refuse(&section.path_of("name"), wrong, "a name of its own");
        }
        let otherwise = section.or("otherwise", Otherwise::Reject, |f| otherwise(&f, r));
        let condition = section
            .require("rule", r, "an expression, such as answer.discount <= 20")
            .and_then(|f| condition(&f, r));
        rules.extend(condition.map(|condition| Rule {
            name,
            condition,
            otherwise,
        }));
    }
    rules
}

fn condition(field: &Field<'_>, r: &mut Reading<'_>) -> Option<Condition> {
    match Condition::parse(field.text(r, "an expression, such as answer.discount <= 20")?) {
        Ok(condition) => Some(condition),
        Err(error) => {
            let wrong = format!(
                "can't be read at column {}: {}",
                error.at.saturating_add(1),
                error.wrong
            );
            field.refuse(r, wrong, error.allowed);
            None
        }
    }
}

fn otherwise(field: &Field<'_>, r: &mut Reading<'_>) -> Option<Otherwise> {
    if !field.tree().is_object() {
        return field.parsed(r, OTHERWISE, |text| match text {
            "reject" => Some(Otherwise::Reject),
            "annotate" => Some(Otherwise::Annotate),
            _ => None,
        });
    }
    let section = field.section(r, &["clamp", "to"]);
    let place = section
        .require("clamp", r, POINTER)
        .and_then(|f| f.parsed(r, POINTER, Pointer::parse));
    let to = section
        .require("to", r, "a number, text, true or false")
        .and_then(|f| scalar(&f, r));
    Some(Otherwise::Clamp(Clamp {
        field: place?,
        to: to?,
    }))
}

fn scalar(field: &Field<'_>, r: &mut Reading<'_>) -> Option<Value> {
    match field.tree() {
        value @ (Value::Number(_) | Value::String(_) | Value::Bool(_)) => Some(value.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            field.mistyped(r, "a number, text, true or false")
        }
    }
}

/// What must stand in the context.
pub(super) fn grounding(field: &Field<'_>, r: &mut Reading<'_>) -> Grounding {
    let section = field.section(r, &["fields", "quotations", "citations", "at_least", "otherwise"]);
    let claims = Claims {
        fields: section.get("fields").map(|f| pointers(&f, r)).unwrap_or_default(),
        quotations: section.or("quotations", false, |f| f.flag(r)),
        citations: section.or("citations", false, |f| f.flag(r)),
    };
    if claims == Claims::default() && nothing_asked(&section) {
        let allowed = "at least one of fields, quotations: true, citations: true";
        field.refuse(r, "asks for nothing", allowed);
    }
    let share = |share| (0.0..=1.0).contains(&share);
    Grounding {
        claims,
        at_least: section.or("at_least", 1.0, |f| {
            f.number(r, "a share from 0 to 1, such as 0.9", share)
        }),
        otherwise: section.or("otherwise", Otherwise::Annotate, |f| {
            f.choice(r, &[("reject", false), ("annotate", true)])
                .map(|annotate| match annotate {
                    true => Otherwise::Annotate,
                    false => Otherwise::Reject,
                })
        }),
    }
}

fn nothing_asked(section: &Section<'_>) -> bool {
    section.readable && section.get("fields").is_none()
}

fn pointers(field: &Field<'_>, r: &mut Reading<'_>) -> Vec<String> {
    const ALLOWED: &str = "a JSON Pointer, such as /order_id or /items/*/sku";
    let items = field.items(r, "a list of JSON Pointers");
    if items.is_empty() && field.tree().is_array() {
        field.refuse(r, "is empty", format!("one or more, each {ALLOWED}"));
    }
    let read = |item: &Field<'_>, r: &mut Reading<'_>| {
        item.parsed(r, ALLOWED, |text| Pointer::parse(text).map(|_| text.to_owned()))
    };
    items.iter().filter_map(|item| read(item, r)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{grounding, rules};
    use crate::policy::edition::Edition;
    use crate::policy::environment::Environment;
    use crate::policy::field::{Field, Reading};
    use crate::policy::types::{Grounding, Otherwise, Rule};

    struct Nothing;

    impl Environment for Nothing {
        fn variable(&self, _: &str) -> Option<String> {
            None
        }
    }

    fn read<T>(document: &Value, read: impl FnOnce(&Field<'_>, &mut Reading<'_>) -> T) -> Result<T, String> {
        let mut reading = Reading::new(Edition::Full, &Nothing);
        let found = read(&Field::root(document), &mut reading);
        reading.finish(found).map_err(|error| error.to_string())
    }

    #[test]
    fn rules_are_read_with_what_happens_otherwise() {
        let document = json!([
            {"name": "discount", "rule": "answer.discount <= 20", "otherwise": {"clamp": "/discount", "to": 20}},
            {"rule": "answer.ok", "otherwise": "annotate"},
            {"rule": "has(answer.id)"},
        ]);
        let found: Vec<Rule> = read(&document, rules).unwrap();
        let names: Vec<&str> = found.iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(names, ["discount", "rule-1", "rule-2"]);
        let Otherwise::Clamp(clamp) = &found[0].otherwise else {
            panic!("{:?}", found[0])
        };
        assert_eq!(
            clamp.apply(r#"{"discount":35}"#).as_deref(),
            Some(r#"{"discount":20}"#)
        );
        assert_eq!(
            [&found[1].otherwise, &found[2].otherwise],
            [&Otherwise::Annotate, &Otherwise::Reject]
        );
    }

    #[test]
    fn rules_that_cannot_be_read_are_told_with_path_and_place() {
        let told = |document: Value| read(&document, rules).unwrap_err();
        assert_eq!(
            told(json!([{"rule": "discount <= 20"}])),
            "[0].rule: can't be read at column 1: \"discount\" is unknown (allowed: answer, request)"
        );
        assert_eq!(
            told(json!([{"name": "a"}])),
            "[0].rule: is missing (allowed: an expression, such as answer.discount <= 20)"
        );
        assert_eq!(
            told(json!([{"rule": "true", "otherwise": "drop"}])),
            "[0].otherwise: is \"drop\" (allowed: reject, annotate, or {clamp: /field, to: value})"
        );
        assert_eq!(
            told(json!([{"rule": "true", "otherwise": {"clamp": "discount", "to": [1]}}])),
            "[0].otherwise.clamp: is \"discount\" (allowed: a JSON Pointer, such as /discount or /items/0/price)\n\
             [0].otherwise.to: is a list (allowed: a number, text, true or false)"
        );
        assert_eq!(
            told(json!([{"name": "a", "rule": "true"}, {"name": "a", "rule": "true"}])),
            "[1].name: \"a\" is another rule's name (allowed: a name of its own)"
        );
        assert!(
            told(json!(vec![json!({"rule": "true"}); 65])).contains("has 65 rules (allowed: at most 64)")
        );
    }

    #[test]
    fn grounding_asks_for_something_and_says_how_much_of_it() {
        let document = json!({"fields": ["/id", "/items/*/sku"], "citations": true, "at_least": 0.5});
        let found: Grounding = read(&document, grounding).unwrap();
        assert_eq!(found.claims.fields, ["/id", "/items/*/sku"]);
        assert!(found.claims.citations && !found.claims.quotations && found.at_least < 0.6);
        assert_eq!(found.otherwise, Otherwise::Annotate);
        let told = |document: Value| read(&document, grounding).unwrap_err();
        assert_eq!(
            told(json!({"at_least": 1})),
            ": asks for nothing (allowed: at least one of fields, quotations: true, citations: true)"
        );
        assert_eq!(
            told(json!({"fields": ["id"], "at_least": 2, "otherwise": "clamp"})),
            "fields[0]: is \"id\" (allowed: a JSON Pointer, such as /order_id or /items/*/sku)\n\
             at_least: is 2 (allowed: a share from 0 to 1, such as 0.9)\n\
             otherwise: is \"clamp\" (allowed: reject, annotate)"
        );
    }
}
