//! Which answers must match which schema.

use serde_json::Value;

use crate::body::schema::{Schema, Verdict};

use super::field::{Field, Reading, Section};
use super::ladder::{Ladder, ladder};
use super::limit;
use super::names;
use super::types::{Mode, ModelRoute, Validation};
use super::when::When;

/// What a validation may say.
const FIELDS: [&str; 9] = [
    "name",
    "when",
    "schema",
    "tools",
    "rules",
    "grounding",
    "buffer",
    "on_invalid",
    "mode",
];

/// The rules, in the order written: the first that applies decides.
pub(super) fn rules(field: &Field<'_>, routes: &[&ModelRoute], r: &mut Reading<'_>) -> Vec<Validation> {
    let mut rules: Vec<Validation> = Vec::new();
    for (index, item) in field.items(r, "a list of rules").iter().enumerate() {
        let section = item.section(r, &FIELDS);
        let before = rules.iter().map(|rule| &rule.name);
        let name = names::of_item(&section, ("rule", index), before, r);
        rules.push(rule(&section, name, routes, r));
    }
    rules
}

fn rule(section: &Section<'_>, name: String, routes: &[&ModelRoute], r: &mut Reading<'_>) -> Validation {
    let when = When::read(section, routes, r);
    let on_invalid = section.or("on_invalid", Ladder::default(), |f| ladder(&f, r));
    let schema = section.get("schema").and_then(|f| schema(&f, r));
    fitting_default(section, (&on_invalid, schema.as_ref()), r);
    Validation {
        name,
        when,
        schema,
        tools: section.or("tools", true, |f| f.flag(r)),
        rules: section.or("rules", Vec::new(), |f| Some(super::rule::rules(&f, r))),
        grounding: section.get("grounding").map(|f| super::rule::grounding(&f, r)),
        buffer: section.or("buffer", false, |f| f.flag(r)),
        on_invalid,
        mode: section.or("mode", Mode::default(), |f| limit::mode(&f, r)),
    }
}

/// A default that breaks the schema would be no better than the answer it stands in for.
fn fitting_default(section: &Section<'_>, (ladder, schema): (&Ladder, Option<&Schema>), r: &mut Reading<'_>) {
    let (Some(default), Some(schema)) = (ladder.stand_in(), schema) else {
        return;
    };
    if schema.check(&default.to_string()) != Verdict::Valid {
        let place = ladder.rungs().len().saturating_sub(1);
        let path = format!("{}[{place}].default", section.path_of("on_invalid"));
        r.refuse(&path, "breaks the schema", "a value that the schema accepts");
    }
}

fn schema(field: &Field<'_>, r: &mut Reading<'_>) -> Option<Schema> {
    const ALLOWED: &str = "a JSON Schema of draft 2020-12, 2019-09, 7, 6 or 4, without remote references";
    match field.tree() {
        tree @ (Value::Object(_) | Value::Bool(_)) => match Schema::compile(tree) {
            Ok(schema) => Some(schema),
            Err(error) => {
                field.refuse(r, format!("doesn't compile: {error}"), ALLOWED);
                None
            }
        },
        _ => field.mistyped(r, ALLOWED),
    }
}
