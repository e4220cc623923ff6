//! What is read along, what is left to the engine, and that a yes is always the engine's too.

use serde_json::{Value, json};

use super::Glance;
use crate::body::schema::{Schema, Verdict};

fn accepts(schema: &Value, text: &str) -> bool {
    Glance::of(schema).expect("plain enough").accepts(text)
}

#[test]
fn plain_schemas_are_read_along() {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "title": "Order",
        "properties": {
            "id": {"type": "integer", "minimum": 1, "maximum": 100},
            "share": {"type": "number", "minimum": 0, "maximum": 1},
            "kind": {"enum": ["a", "b"]},
            "note": {"type": ["string", "null"], "minLength": 2, "maxLength": 4},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
        },
        "required": ["id", "kind"],
        "additionalProperties": {"type": "boolean"},
    });
    for (text, yes) in [
        (r#"{"id": 1, "kind": "a"}"#, true),
        (
            r#" {"kind": "b", "tags": ["x", "y"], "id": 100, "more": true} "#,
            true,
        ),
        (r#"{"id": 1, "kind": "a", "share": 0.5, "note": "\"é\n"}"#, true),
        (r#"{"id": 1, "kind": "a", "note": "\\\\"}"#, true),
        (r#"{"id": 1, "kind": "a", "note": null}"#, true),
        (r#"{"id": 1, "kind": "a", "note": "\n"}"#, false),
        (r#"{"id": 1, "kind": "a", "note": "12345"}"#, false),
        (r#"{"id": 1, "kind": "a", "share": 1.0}"#, false),
        (r#"{"id": 1, "kind": "a", "tags": []}"#, false),
        (r#"{"id": 1, "kind": "a", "tags": ["x", "y", "z"]}"#, false),
        (r#"{"id": 1, "kind": "c"}"#, false),
        (r#"{"id": 1, "kind": 1}"#, false),
        (r#"{"id": 0, "kind": "a"}"#, false),
        (r#"{"id": 1}"#, false),
        (r#"{"id": 1, "kind": "a", "more": 1}"#, false),
        (r#"{"id": 1, "kind": "a"} x"#, false),
        (r#"{"id": 1, "kind": "a""#, false),
    ] {
        assert_eq!(accepts(&schema, text), yes, "{text}");
    }
}

#[test]
fn what_nests_too_deep_is_left_to_the_engine() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let objects = |depth: usize| r#"{"a":"#.repeat(depth) + "1" + &"}".repeat(depth);
    for schema in [
        json!({}),
        json!({"items": {}}),
        json!({"properties": {"a": true}}),
    ] {
        for (depth, yes) in [(1, true), (64, true), (65, false), (200, false), (100_000, false)] {
            assert_eq!(accepts(&schema, &nested(depth)), yes, "{schema} {depth}");
            assert_eq!(accepts(&schema, &objects(depth)), yes, "{schema} {depth}");
        }
    }
}

#[test]
fn what_says_more_is_left_to_the_engine() {
    for schema in [
        json!({"pattern": "x"}),
        json!({"$ref": "#"}),
        json!({"properties": {"a": {"format": "date"}}}),
        json!({"enum": [1]}),
        json!({"items": false}),
        json!({"required": ["a"]}),
        json!({"minimum": 0.5}),
        json!({"anyOf": [true]}),
        json!({"items": [{}]}),
        json!(false),
    ] {
        assert!(Glance::of(&schema).is_none(), "{schema}");
    }
}

/// A number that looks random (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        usize::try_from((mixed ^ (mixed >> 27)) >> 33).unwrap() % end
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn schema(&mut self, depth: usize) -> Value {
        let scalar = json!({
            "type": self.of(&["integer", "number", "string", "boolean", "null"]),
            "minimum": self.below(3), "maximum": 1 + self.below(4), "minLength": self.below(2), "maxLength": self.below(5),
        });
        match self.below(if depth == 0 { 2 } else { 5 }) {
            0 => json!({"type": self.of(&["integer", "number", "string"])}),
            1 => scalar,
            2 => {
                json!({"items": self.schema(depth - 1), "minItems": self.below(2), "maxItems": 1 + self.below(2)})
            }
            3 => json!({"enum": ["a", "é"], "type": ["string", "object"]}),
            _ => json!({
                "properties": {"a": self.schema(depth - 1), "b": self.schema(depth - 1)},
                "required": if self.below(2) == 0 { json!(["a"]) } else { json!([]) },
                "additionalProperties": if self.below(2) == 0 { json!(false) } else { self.schema(depth - 1) },
            }),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        let scalars = [
            "0",
            "-0",
            "1",
            "2",
            "1.0",
            "0.5",
            "1.5",
            "1e0",
            "3",
            "9007199254740993",
            "\"\"",
            "\"a\"",
            "\"é\"",
            "\"ab\"",
            r#""\n""#,
            r#""\u0041""#,
            r#""\ud800""#,
            r#""\\""#,
            "\"漢字漢字\"",
            "true",
            "null",
            "01",
            "tru",
            "\"",
        ];
        match self.below(if depth == 0 { 3 } else { 5 }) {
            0..3 => self.of(&scalars).to_owned(),
            3 => format!("[{}]", self.several(depth, |random, depth| random.text(depth))),
            _ => format!("{{{}}}", self.several(depth, Self::member)),
        }
    }

    fn member(&mut self, depth: usize) -> String {
        let name = self.of(&["a", "b", "a", "c", r"\u0061", "é"]);
        format!("\"{name}\": {}", self.text(depth))
    }

    fn several(&mut self, depth: usize, one: impl Fn(&mut Self, usize) -> String) -> String {
        let many = self.below(3);
        (0..many)
            .map(|_| one(self, depth - 1))
            .collect::<Vec<_>>()
            .join(",")
    }
}

#[test]
fn a_yes_is_the_engines_too() {
    let mut random = Random(7);
    let (mut yes, mut missed) = (0, 0);
    for _ in 0..400 {
        let source = random.schema(2);
        let (schema, glance) = (Schema::compile(&source).unwrap(), Glance::of(&source).unwrap());
        for _ in 0..60 {
            let text = random.text(2);
            let valid = schema.judged(&text) == Verdict::Valid;
            if glance.accepts(&text) {
                assert!(valid, "{source} and {text}");
                yes += 1;
            } else if valid {
                missed += 1;
            }
        }
    }
    assert!(yes > 1_000 && yes > 3 * missed, "{yes} and {missed}");
}
