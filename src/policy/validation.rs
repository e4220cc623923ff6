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
const FIELDS: [&str; 10] = [
    "name",
    "when",
    "schema",
    "format",
    "tools",
    "rules",
    "grounding",
    "buffer",
    "on_invalid",
    "mode",
];

/// Why the lean module refuses.
const NO_ENGINE: &str = "this module has no schema engine; use spillway.wasm";

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
    let rule = Validation {
        name,
        when,
        schema,
        format: section.or("format", true, |f| f.flag(r)),
        tools: section.or("tools", true, |f| f.flag(r)),
        rules: section.or("rules", Vec::new(), |f| Some(super::rule::rules(&f, r))),
        grounding: section.get("grounding").map(|f| super::rule::grounding(&f, r)),
        buffer: section.or("buffer", false, |f| f.flag(r)),
        on_invalid,
        mode: section.or("mode", Mode::default(), |f| limit::mode(&f, r)),
    };
    within_edition(section, &rule, r);
    judging(section, &rule, r);
    rule
}

/// What asks for a schema engine is refused where there is none: the fields that are missing too, since their defaults ask.
fn within_edition(section: &Section<'_>, rule: &Validation, r: &mut Reading<'_>) {
    if r.edition.has_schemas() {
        return;
    }
    let own = section.get("schema").is_some();
    let asked = [("format", rule.format && !own), ("tools", rule.tools)];
    for (name, _) in asked.iter().filter(|(_, asked)| *asked) {
        let allowed = format!("false: {NO_ENGINE}");
        r.refuse(
            &section.path_of(name),
            "judges by schemas of the request",
            allowed,
        );
    }
}

/// A rule that looks at nothing is a mistake.
fn judging(section: &Section<'_>, rule: &Validation, r: &mut Reading<'_>) {
    let own = section.get("schema").is_some() || !rule.rules.is_empty() || rule.grounding.is_some();
    if section.readable && !(own || rule.format || rule.tools) {
        r.refuse(
            &section.path,
            "looks at nothing",
            "schema, rules, grounding, format: true, tools: true",
        );
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
    if !r.edition.has_schemas() {
        field.refuse(r, "needs a schema engine", format!("nothing: {NO_ENGINE}"));
        return None;
    }
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
