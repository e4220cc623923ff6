//! Whether a schema can be used at all: what is looked at before it is compiled, and what its author is told.
//!
//! The invariant: the walk is bounded, whatever the schema, and every refusal says where the fault is.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::engine::{Fault, FaultKind, is_known_draft};
use super::{effort, pattern};

/// Values in a schema, all told. The largest published ones (OpenAPI bundles) pass; a bomb doesn't.
const MAX_SCHEMA_VALUES: usize = 16_384;
/// Nesting of a schema's JSON.
const MAX_SCHEMA_NESTING: usize = 96;
/// Patterns in a schema: each may take [`PATTERN_BYTES`] when compiled.
const MAX_PATTERNS: usize = 64;
/// Subschemas applied to one and the same value: references make this exponential in the schema's size.
const MAX_IN_PLACE: u32 = 4096;
/// What `$schema` may say.
const DRAFTS: &str = "https://json-schema.org/draft/2020-12/schema (the default), \
    https://json-schema.org/draft/2019-09/schema, http://json-schema.org/draft-07/schema, draft-06 and draft-04";
/// What a pattern may be.
const USABLE_PATTERNS: &str = "look-around and back-references are not supported (matching is linear in the text), \
    and it may compile to at most 1 MiB";
/// A message quotes at most this much of the schema.
const MAX_REASON: usize = 240;

/// Why a schema can't be used, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaError {
    place: String,
    reason: String,
}

impl SchemaError {
    /// JSON Pointer into the schema; empty for the whole.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    fn new(place: &str, reason: String) -> Self {
        Self {
            place: clip(place.to_owned()),
            reason: clip(reason),
        }
    }

    /// What the library says, in words about schemas.
    pub(super) fn from_fault(fault: &Fault, references: &[(String, String)]) -> Self {
        let reason = match fault.kind {
            FaultKind::Reference => return Self::from_reference(&fault.message, references),
            FaultKind::Choice if fault.place.ends_with("/type") => {
                "must be array, boolean, integer, null, number, object or string, or a list of these"
                    .to_owned()
            }
            FaultKind::Pattern => format!("{}: {USABLE_PATTERNS}", fault.message),
            FaultKind::Choice | FaultKind::Other => fault.message.clone(),
        };
        Self::new(&fault.place, reason)
    }

    /// The library doesn't say where a broken reference stands; its message quotes the target.
    fn from_reference(cause: &str, references: &[(String, String)]) -> Self {
        let culprit = references
            .iter()
            .find(|(_, target)| cause.contains(target.trim_start_matches('#')));
        match culprit {
            Some((place, target)) if target.starts_with('#') => {
                Self::new(place, format!("{target:?} is nowhere in this schema"))
            }
            Some((place, target)) => Self::new(
                place,
                format!("{target:?} is outside of this schema; put what it needs under $defs"),
            ),
            None => Self::new("", cause.to_owned()),
        }
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            write!(f, "schema: {}", self.reason)
        } else {
            write!(f, "schema at {}: {}", self.place, self.reason)
        }
    }
}

impl std::error::Error for SchemaError {}

/// How many subschemas meet one value of an answer; refused above a bound.
pub(super) fn bounded_effort(schema: &Value) -> Result<u32, SchemaError> {
    match effort::in_place(schema) {
        effort::UNBOUNDED => Err(SchemaError::new(
            "",
            "references go in circles without descending into the answer, nest deeper than 64, or can't be followed; \
             refer as #/$defs/NAME"
                .to_owned(),
        )),
        many if many > MAX_IN_PLACE => Err(SchemaError::new(
            "",
            format!("too large: applies {many} subschemas to one value, at most {MAX_IN_PLACE}"),
        )),
        few => Ok(few),
    }
}

fn clip(mut text: String) -> String {
    if text.len() > MAX_REASON {
        let end = text.floor_char_boundary(MAX_REASON);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// What one walk over a schema's JSON tells, before anything is compiled.
#[derive(Default)]
pub(super) struct Survey {
    /// Every member name in it: what a violation's path may show.
    pub(super) names: BTreeSet<Box<str>>,
    /// Place and target of each reference.
    pub(super) references: Vec<(String, String)>,
    values: usize,
    /// The weight of each pattern.
    patterns: Vec<u64>,
    /// The weight of all patterns of names together: a name meets every one beside it.
    name_patterns: u64,
}

impl Survey {
    pub(super) fn of(schema: &Value) -> Result<Self, SchemaError> {
        if !(schema.is_object() || schema.is_boolean()) {
            return Err(SchemaError::new("", "must be an object or a boolean".to_owned()));
        }
        let mut survey = Self::default();
        survey.walk(schema, "", 0)?;
        Ok(survey)
    }

    /// Positions of patterns that may be looked at for one byte of an answer, when no value meets more than `in_place`
    /// subschemas.
    pub(super) fn pattern_work(&self, in_place: u32) -> u64 {
        let heaviest = self.patterns.iter().copied().max().unwrap_or(0);
        heaviest
            .saturating_mul(in_place.into())
            .saturating_add(self.name_patterns)
    }

    fn walk(&mut self, value: &Value, place: &str, nesting: usize) -> Result<(), SchemaError> {
        self.values = self.values.saturating_add(1);
        within(self.values, MAX_SCHEMA_VALUES, "values", place)?;
        within(nesting, MAX_SCHEMA_NESTING, "levels of nesting", place)?;
        let nesting = nesting.saturating_add(1);
        match value {
            Value::Object(members) => members.iter().try_for_each(|(key, child)| {
                let place = format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"));
                self.names.insert(key.as_str().into());
                self.note(key, child, &place)?;
                self.walk(child, &place, nesting)
            }),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .try_for_each(|(index, item)| self.walk(item, &format!("{place}/{index}"), nesting)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    fn note(&mut self, key: &str, value: &Value, place: &str) -> Result<(), SchemaError> {
        match (key, value) {
            ("$schema", Value::String(uri)) if !is_known_draft(uri) => {
                let reason = format!("{uri:?} is no known draft; known are {DRAFTS}");
                return Err(SchemaError::new(place, reason));
            }
            ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(target)) => {
                self.references.push((place.to_owned(), target.clone()));
            }
            ("pattern", Value::String(text)) => self.patterns.push(pattern::weight(text)),
            ("patternProperties", Value::Object(members)) => {
                self.patterns
                    .extend(members.keys().map(|text| pattern::weight(text)));
            }
            (_, _) => {}
        }
        within(self.patterns.len(), MAX_PATTERNS, "patterns", place)
    }
}

fn within(count: usize, most: usize, what: &str, place: &str) -> Result<(), SchemaError> {
    if count > most {
        return Err(SchemaError::new(
            place,
            format!("too large: at most {most} {what}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{MAX_PATTERNS, MAX_SCHEMA_VALUES};
    use crate::body::schema::Schema;

    fn refused(schema: &Value) -> String {
        Schema::compile(schema).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_place() {
        let table = [
            (json!([]), "schema: must be an object or a boolean"),
            (
                json!({"$schema": "https://example.com/mine"}),
                "at /$schema: \"https://example.com/mine\" is no known",
            ),
            (
                json!({"properties": {"a": {"$schema": "x:y"}}}),
                "at /properties/a/$schema: ",
            ),
            (
                json!({"properties": {"a": {"type": "strin"}}}),
                "at /properties/a/type: must be array, boolean",
            ),
            (
                json!({"properties": {"a": {"required": "b"}}}),
                "at /properties/a/required: \"b\" is not of type",
            ),
            (
                json!({"items": {"pattern": "a(?=b)"}}),
                "at /items/pattern: \"a(?=b)\" is not a \"regex\": look-around",
            ),
            (json!({"items": {"pattern": "(?<!a)b"}}), "at /items/pattern: "),
            (json!({"items": {"pattern": r"(a)\1"}}), "at /items/pattern: "),
            (json!({"items": {"pattern": "("}}), "at /items/pattern: "),
            (
                json!({"pattern": "(a{1000}){1000}"}),
                "may compile to at most 1 MiB",
            ),
            (
                json!({"patternProperties": {"(?=x)": {}}}),
                "at /patternProperties/(?=x): ",
            ),
            (
                json!({"items": {"$ref": "https://example.com/a.json"}}),
                "at /items/$ref: \"https://example.com/a.json\" is outside",
            ),
            (
                json!({"items": {"$ref": "file:///etc/passwd"}}),
                "at /items/$ref: \"file:///etc/passwd\" is outside",
            ),
            (
                json!({"items": {"$ref": "#/$defs/b"}}),
                "at /items/$ref: \"#/$defs/b\" is nowhere",
            ),
            (json!({"$ref": "#"}), "go in circles"),
            (json!({"multipleOf": 0}), "at /multipleOf: "),
        ];
        for (schema, expected) in table {
            let shown = refused(&schema);
            assert!(shown.contains(expected), "{schema}: {shown}");
        }
    }

    #[test]
    fn a_hostile_schema_is_refused_quickly() {
        let nested = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!({"not": inner}));
        let bomb: Value = (0..30)
            .map(|n| {
                let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
                (
                    format!("d{n}"),
                    if n < 29 {
                        json!({"allOf": [next, next]})
                    } else {
                        json!({})
                    },
                )
            })
            .collect::<serde_json::Map<_, _>>()
            .into();
        let patterns = (0..=MAX_PATTERNS)
            .map(|n| json!({"pattern": format!("a{n}")}))
            .collect::<Vec<_>>();
        assert!(refused(&nested(200)).contains("levels of nesting"));
        assert!(refused(&json!({"enum": vec![0; MAX_SCHEMA_VALUES]})).contains("at most 16384 values"));
        assert!(refused(&json!({"anyOf": patterns})).contains("at most 64 patterns"));
        assert!(refused(&json!({"$ref": "#/$defs/d0", "$defs": bomb})).contains("subschemas to one value"));
        assert!(refused(&json!({"type": "x".repeat(100_000)})).len() < 400);
    }
}
