//! Schemas that answers must match: compiled once at load, asked for every answer.
//!
//! A schema is refused at load, with the place of the fault, unless it is one of the drafts 2020-12 (the default),
//! 2019-09, 7, 6 or 4 and whole: references stay inside it, patterns run in linear time. Its size is bounded, and
//! so is the work that any answer can make of it. `format` is checked in every draft: whoever writes
//! `format: date-time` about an answer wants a date; formats that the drafts don't define are annotations.
//! The invariant: a message about an answer holds names of the schema and array indices, never content.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::effort;
use super::engine::{Failure, Validator};
use super::glance::Glance;
pub use super::survey::SchemaError;
use super::survey::{Survey, bounded_effort};
use super::verdict::{Extent, Path};
pub use super::verdict::{Verdict, Violation};

/// Bytes of answer × subschemas on one value × nesting up to which every violation is looked for. Above it the
/// verdict stands without details: the errors of one branch inside another multiply, and each keeps a copy.
const EXPLAIN_BUDGET: usize = 4 << 20;
/// Bytes of answer × positions of patterns that are worth a verdict: at worst, where nothing of the engine's caching
/// helps, 0.17 µs each, so three seconds. 100 KB may meet a pattern of 160 positions, 4 KB one of 4,000.
const PATTERN_BUDGET: u64 = 1 << 24;

/// A compiled JSON Schema.
pub struct Schema {
    validator: Validator,
    /// Says yes at once, if the schema is plain.
    glance: Option<Glance>,
    source: Value,
    /// Positions of patterns that may be looked at for one byte of an answer.
    pattern_work: u64,
    names: BTreeSet<Box<str>>,
}

impl Schema {
    /// What one verdict may take, see [`Self::work`].
    pub const MAX_WORK: u64 = PATTERN_BUDGET;

    /// Compiles a schema document.
    ///
    /// # Errors
    /// When it isn't a schema of a known draft, refers outside of itself, has a pattern with look-around or
    /// back-references, or is too large.
    pub fn compile(schema: &Value) -> Result<Self, SchemaError> {
        let survey = Survey::of(schema)?;
        let validator = Validator::compile(schema)
            .map_err(|fault| SchemaError::from_fault(&fault, &survey.references))?;
        let in_place = bounded_effort(schema)?;
        Ok(Self {
            validator,
            glance: Glance::of(schema),
            source: schema.clone(),
            pattern_work: survey.pattern_work(in_place),
            names: survey.names,
        })
    }

    /// What a text must begin with to match, white space apart: `{` where the schema asks for an object, `[` where it asks
    /// for an array.
    #[must_use]
    pub fn opening(&self) -> Option<char> {
        opening_of(&self.source)
    }

    /// The verdict on a text that should be JSON and match.
    ///
    /// Linear in the text but for what the schema itself multiplies. A text nested deeper than 64 or of more than
    /// 65,536 values is invalid and never built, nor is one that is too long for the schema's patterns. Of a member
    /// given twice the last counts.
    #[must_use]
    pub fn check(&self, text: &str) -> Verdict {
        // Each value takes a byte.
        let glance = self.glance.as_ref().filter(|_| text.len() <= Extent::MAX_VALUES);
        if glance.is_some_and(|glance| glance.accepts(text)) {
            return Verdict::Valid;
        }
        self.look(text)
    }

    /// The engine's verdict.
    fn look(&self, text: &str) -> Verdict {
        let extent = Extent::of(text);
        if let Some(violation) = extent.violation() {
            return Verdict::Invalid(vec![violation]);
        }
        if self.work(text.len()) > Self::MAX_WORK {
            return Verdict::Invalid(vec![Violation::whole("maxPatternWork")]);
        }
        let Ok(instance) = serde_json::from_str::<Value>(text) else {
            return Verdict::NotJson;
        };
        if self.validator.accepts(&instance) {
            return Verdict::Valid;
        }
        Verdict::Invalid(self.violations(&instance, text.len(), extent.nesting))
    }

    /// The verdict of the engine alone, which every other has to agree with.
    #[cfg(test)]
    pub(super) fn judged(&self, text: &str) -> Verdict {
        self.look(text)
    }

    /// Bytes × positions of patterns that judging a text of so many bytes may take at worst; above [`Self::MAX_WORK`] it is
    /// never looked at.
    #[must_use]
    pub fn work(&self, bytes: usize) -> u64 {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.pattern_work.saturating_mul(bytes)
    }

    fn violations(&self, instance: &Value, bytes: usize, nesting: usize) -> Vec<Violation> {
        let visits = usize::try_from(effort::visits(&self.source, nesting)).unwrap_or(usize::MAX);
        let effort = bytes
            .saturating_mul(visits)
            .saturating_mul(nesting.saturating_add(1));
        if effort > EXPLAIN_BUDGET {
            return vec![Violation::whole("schema")];
        }
        let failures = self.validator.failures(instance, Verdict::MAX_VIOLATIONS);
        let found: Vec<Violation> = failures
            .iter()
            .map(|failure| self.violation(failure, instance))
            .collect();
        if found.is_empty() {
            vec![Violation::whole("schema")]
        } else {
            found
        }
    }

    fn violation(&self, failure: &Failure, instance: &Value) -> Violation {
        let mut path = Path::within(&failure.pointer, instance, &self.names);
        if let Some(name) = &failure.missing {
            path.push_name(name);
        }
        path.failing(&failure.keyword)
    }
}

/// As [`Schema::opening`], of a schema's source.
#[must_use]
pub fn opening_of(schema: &Value) -> Option<char> {
    match schema.get("type")?.as_str()? {
        "object" => Some('{'),
        "array" => Some('['),
        _ => None,
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Schema, Verdict};

    const DRAFT_4: &str = "http://json-schema.org/draft-04/schema#";
    const DRAFT_6: &str = "http://json-schema.org/draft-06/schema#";
    const DRAFT_7: &str = "http://json-schema.org/draft-07/schema#";
    const DRAFT_2019: &str = "https://json-schema.org/draft/2019-09/schema";
    const DRAFT_2020: &str = "https://json-schema.org/draft/2020-12/schema";

    fn of(draft: &str, mut schema: Value) -> Schema {
        schema["$schema"] = json!(draft);
        Schema::compile(&schema).unwrap()
    }

    /// `path keyword` of each violation; `valid`; `not JSON`.
    fn told(schema: &Schema, text: &str) -> String {
        match schema.check(text) {
            Verdict::Valid => "valid".to_owned(),
            Verdict::NotJson => "not JSON".to_owned(),
            Verdict::Invalid(found) => {
                let one = |v: &super::Violation| format!("{} {}", v.path, v.keyword);
                found.iter().map(one).collect::<Vec<_>>().join(", ")
            }
        }
    }

    fn assert_told(schema: &Schema, table: &[(&str, &str)]) {
        for (text, expected) in table {
            assert_eq!(told(schema, text), *expected, "{text}");
        }
    }

    #[test]
    fn draft_2020_12_is_the_default_and_names_what_fails() {
        let schema = Schema::compile(&json!({
            "type": "object",
            "required": ["id", "kind"],
            "properties": {
                "id": {"type": "integer", "minimum": 1},
                "kind": {"enum": ["a", "b"]},
                "pair": {"prefixItems": [{"type": "string"}, {"type": "number"}], "items": false},
                "mail": {"format": "email"},
                "tags": {"items": {"type": "string", "maxLength": 3}, "uniqueItems": true},
                "either": {"anyOf": [{"const": 1}, {"const": 2}]},
            },
            "dependentRequired": {"pair": ["tags"]},
            "unevaluatedProperties": false,
        }))
        .unwrap();
        assert_told(
            &schema,
            &[
                (r#"{"id": 1, "kind": "a"}"#, "valid"),
                (r#" {"id": 1.0, "kind": "b", "mail": "a@b.example"} "#, "valid"),
                ("{}", "/id required, /kind required"),
                (r#"{"id": 0, "kind": "c"}"#, "/id minimum, /kind enum"),
                (r#"{"id": 1.5, "kind": "a"}"#, "/id type"),
                (r#"{"id": 1, "kind": "a", "secret": 1}"#, " unevaluatedProperties"),
                (
                    r#"{"id": 1, "kind": "a", "pair": ["x", "y"]}"#,
                    "/tags required, /pair/1 type",
                ),
                (
                    r#"{"id": 1, "kind": "a", "tags": ["x", "long"]}"#,
                    "/tags/1 maxLength",
                ),
                (
                    r#"{"id": 1, "kind": "a", "tags": ["x", "x"]}"#,
                    "/tags uniqueItems",
                ),
                (r#"{"id": 1, "kind": "a", "mail": "nobody"}"#, "/mail format"),
                (r#"{"id": 1, "kind": "a", "either": 3}"#, "/either anyOf"),
                (r#"{"id": 1, "kind": "a", "id": "twice"}"#, "/id type"),
                ("[]", " type"),
                (r#"{"id": 1, "kind": "a"} trailing"#, "not JSON"),
                ("Sure! Here is the JSON:", "not JSON"),
                ("", "not JSON"),
            ],
        );
    }

    #[test]
    fn draft_2019_09_has_items_as_a_tuple_and_recursive_references() {
        let schema = of(
            DRAFT_2019,
            json!({
                "$recursiveAnchor": true,
                "properties": {
                    "pair": {"items": [{"type": "string"}], "additionalItems": {"type": "number"}},
                    "child": {"$recursiveRef": "#"},
                    "few": {"contains": {"const": 1}, "minContains": 2},
                },
            }),
        );
        assert_told(
            &schema,
            &[
                (r#"{"pair": ["a", 1], "child": {"pair": []}}"#, "valid"),
                (r#"{"pair": [1, "a"]}"#, "/pair/0 type, /pair/1 type"),
                (
                    r#"{"child": {"child": {"pair": [0]}}}"#,
                    "/child/child/pair/0 type",
                ),
                (r#"{"few": [1, 2]}"#, "/few contains"),
            ],
        );
    }

    #[test]
    fn drafts_7_and_6_have_exclusive_numbers_and_only_7_has_if() {
        let schema = json!({
            "definitions": {"positive": {"exclusiveMinimum": 0}},
            "properties": {"n": {"$ref": "#/definitions/positive"}, "day": {"format": "date"}},
            "if": {"required": ["n"]},
            "then": {"required": ["day"]},
        });
        let table = [
            (r#"{"n": 1, "day": "2026-01-31"}"#, "valid", "valid"),
            (
                r#"{"n": 0, "day": "2026-01-31"}"#,
                "/n exclusiveMinimum",
                "/n exclusiveMinimum",
            ),
            (r#"{"n": 1}"#, "/day required", "valid"),
            (r#"{"day": "2026-02-30"}"#, "/day format", "/day format"),
        ];
        let (seven, six) = (of(DRAFT_7, schema.clone()), of(DRAFT_6, schema));
        for (text, in_seven, in_six) in table {
            assert_eq!(told(&seven, text), in_seven, "draft 7: {text}");
            assert_eq!(told(&six, text), in_six, "draft 6: {text}");
        }
    }

    #[test]
    fn draft_4_has_exclusive_as_a_flag_and_no_const() {
        let schema = of(
            DRAFT_4,
            json!({"properties": {"n": {"minimum": 0, "exclusiveMinimum": true}, "c": {"const": 1}}}),
        );
        assert_told(
            &schema,
            &[
                (r#"{"n": 1, "c": 2}"#, "valid"),
                (r#"{"n": 0}"#, "/n exclusiveMinimum"),
                (r#"{"n": 1.0}"#, "valid"),
            ],
        );
        assert!(Schema::compile(&json!({"$schema": DRAFT_2020, "exclusiveMinimum": true})).is_err());
    }

    #[test]
    fn nothing_of_the_answer_is_told() {
        let schema = Schema::compile(&json!({
            "properties": {"card": {"type": "integer"}},
            "additionalProperties": {"anyOf": [{"type": "null"}, {"pattern": "^x$"}]},
            "propertyNames": {"maxLength": 20},
        }))
        .unwrap();
        let texts = [
            r#"{"card": "SECRET", "SECRET": "SECRET", "4111111111111111": 5}"#,
            r#"{"SECRET-SECRET-SECRET-SECRET": null, "x": [{"SECRET": "4111"}]}"#,
        ];
        for text in texts {
            let shown = format!("{:?}", schema.check(text));
            assert!(shown.contains("Invalid"), "{shown}");
            assert!(!shown.contains("SECRET") && !shown.contains("4111"), "{shown}");
        }
    }

    #[test]
    fn numbers_at_the_edges_are_judged_and_never_trap() {
        let number =
            Schema::compile(&json!({"type": "number", "multipleOf": 1e-300, "maximum": 1e308})).unwrap();
        let integer = Schema::compile(&json!({"type": "integer", "multipleOf": 3})).unwrap();
        for text in [
            "1e308",
            "-0.0",
            "5e-324",
            "18446744073709551616",
            "-9223372036854775809",
            "0",
        ] {
            told(&number, text);
            told(&integer, text);
        }
        for text in ["NaN", "Infinity", "-Infinity", "1e400", "0x10", "01", "1.", ".5"] {
            assert_eq!(told(&number, text), "not JSON", "{text}");
        }
        assert_told(
            &integer,
            &[
                ("9", "valid"),
                ("9.0", "valid"),
                ("10", " multipleOf"),
                ("1e400", "not JSON"),
            ],
        );
    }

    #[test]
    fn at_most_eight_violations_are_told() {
        let schema = Schema::compile(&json!({"items": {"type": "string"}})).unwrap();
        let Verdict::Invalid(found) = schema.check("[0,0,0,0,0,0,0,0,0,0,0,0]") else {
            panic!("numbers passed for strings")
        };
        assert_eq!(found.len(), Verdict::MAX_VIOLATIONS);
    }

    #[test]
    fn an_answer_too_deep_or_of_too_many_values_is_invalid_before_it_is_built() {
        let any = Schema::compile(&json!({})).unwrap();
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let many = |values: usize| format!("[{}0]", "0,".repeat(values));
        assert_eq!(told(&any, &nested(64)), "valid");
        assert_eq!(told(&any, &nested(65)), " maxNesting");
        assert_eq!(told(&any, &nested(10_000)), " maxNesting");
        assert_eq!(told(&any, &"[{\"a\":".repeat(10_000)), " maxNesting");
        assert_eq!(told(&any, &many(65_535)), "valid");
        assert_eq!(told(&any, &many(65_536)), " maxValues");
        assert_eq!(told(&any, &format!("{:?}", "[,".repeat(70_000))), "valid");
    }

    #[test]
    fn an_answer_that_multiplies_errors_is_judged_without_details() {
        let branch = json!({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]});
        let schema = Schema::compile(&json!({"anyOf": [branch, branch, {"type": "null"}]})).unwrap();
        let nested = |depth: usize| r#"{"a":"#.repeat(depth) + "7" + &"}".repeat(depth);
        assert_eq!(told(&schema, &nested(2).replace('7', "[]")), " anyOf");
        assert_eq!(told(&schema, &nested(60).replace('7', "{}")), " schema");
        let long = format!("[{}]", "5,".repeat(60_000) + "5");
        let strings = Schema::compile(&json!({"items": {"anyOf": vec![json!({"type": "string"}); 40]}}));
        assert_eq!(told(&strings.unwrap(), &long), " schema");
    }

    #[test]
    fn debug_shows_the_schema() {
        let shown = format!("{:?}", of(DRAFT_7, json!({"title": "Order"})));
        assert!(shown.contains("draft-07") && shown.contains("Order"), "{shown}");
    }

    #[test]
    fn a_text_too_long_for_the_patterns_is_invalid_before_it_is_matched() {
        let repeat = json!({"pattern": "x{0,9000}y"});
        let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
        let one = Schema::compile(&repeat).unwrap();
        assert_told(
            &one,
            &[(&text(1_000), " pattern"), (&text(2_000), " maxPatternWork")],
        );
        let reference = json!({"$ref": "#/$defs/p"});
        let many = json!({"$defs": {"p": repeat}, "anyOf": vec![reference; 100]});
        assert_told(
            &Schema::compile(&many).unwrap(),
            &[(&text(1_000), " maxPatternWork")],
        );
        let plain = Schema::compile(&json!({"pattern": "[x-z]+$"})).unwrap();
        let bounded = Schema::compile(&json!({"pattern": "^[x-z ]{1,2000}$"})).unwrap();
        assert_told(&bounded, &[(&text(2_000), "valid"), (&text(500_000), " pattern")]);
        assert_told(&plain, &[(&text(1 << 20), "valid")]);
    }

    #[test]
    fn a_large_honest_enum_is_judged() {
        let words = (0..10_000).map(|n| format!("word {n}")).collect::<Vec<_>>();
        let schema = Schema::compile(&json!({"enum": words})).unwrap();
        assert_told(&schema, &[(r#""word 9999""#, "valid"), (r#""word""#, " enum")]);
    }
}
