//! A first look at an answer: says yes to what surely matches its schema, without building anything of it.
//!
//! Most answers match, and most schemas are made of a few plain keywords. Those are read along with the text. The invariant:
//! a yes is the engine's yes too. Anything else, even where a no would be certain, means only that the engine must
//! look.

use serde_json::Value as Source;

use super::verdict::Extent;
use crate::json::{self, Lexer, Value};

/// Members that are known by name; required ones are marked in a word of so many bits.
const MOST_MEMBERS: usize = 64;
/// Schemas inside one another.
const DEEPEST: usize = 32;
/// Numbers of more digits are for those who know how large a number is.
const LONGEST_NUMBER: usize = 16;
/// Bounds of numbers are whole and no larger, so that they compare exactly with fractions too.
const LARGEST_BOUND: u64 = 1 << 53;

const NULL: u8 = 1;
const BOOLEAN: u8 = 1 << 1;
const INTEGER: u8 = 1 << 2;
const NUMBER: u8 = 1 << 3;
const STRING: u8 = 1 << 4;
const ARRAY: u8 = 1 << 5;
const OBJECT: u8 = 1 << 6;
const ANY: u8 = 0xff;

/// A schema that can be read along with a text.
#[derive(Debug)]
pub(super) struct Glance {
    /// Kinds of values that it allows.
    kinds: u8,
    /// What a string must be one of.
    words: Option<Vec<Box<str>>>,
    /// Characters of a string, items of an array: at least, at most.
    length: (usize, usize),
    count: (usize, usize),
    /// A number's.
    least: Option<i64>,
    most: Option<i64>,
    items: Option<Box<Glance>>,
    members: Vec<(Box<str>, Glance)>,
    /// A bit for each of the members that must be there.
    required: u64,
    others: Others,
}

/// Members of other names.
#[derive(Debug)]
enum Others {
    Anything,
    Nothing,
    Like(Box<Glance>),
}

impl Glance {
    /// None when the schema says more than can be read along.
    pub(super) fn of(schema: &Source) -> Option<Self> {
        let mut schema = schema.clone();
        // What it may be is the same in all drafts.
        if let Some(members) = schema.as_object_mut() {
            members.remove("$schema");
        }
        Self::within(&schema, DEEPEST)
    }

    /// Whether a text is JSON, nests no deeper than an answer may, and matches.
    pub(super) fn accepts(&self, text: &str) -> bool {
        let mut json = Lexer::new(text.as_bytes());
        self.meets(&mut json).is_some() && json.end().is_ok()
    }

    fn anything() -> Self {
        Self {
            kinds: ANY,
            words: None,
            length: (0, usize::MAX),
            count: (0, usize::MAX),
            least: None,
            most: None,
            items: None,
            members: Vec::new(),
            required: 0,
            others: Others::Anything,
        }
    }

    fn within(schema: &Source, depth: usize) -> Option<Self> {
        let mut glance = Self::anything();
        let keywords = match schema {
            Source::Bool(true) => return Some(glance),
            Source::Object(keywords) => keywords,
            _ => return None,
        };
        let depth = depth.checked_sub(1)?;
        for (keyword, value) in keywords {
            glance.keyword(keyword, value, depth)?;
        }
        glance.require(keywords.get("required"))?;
        Some(glance)
    }

    fn keyword(&mut self, keyword: &str, value: &Source, depth: usize) -> Option<()> {
        match keyword {
            "title" | "description" | "default" | "examples" | "$comment" | "deprecated" | "required" => {}
            "type" => self.kinds = kinds(value)?,
            "enum" if self.words.is_none() => self.words = Some(words(value.as_array()?)?),
            "const" if self.words.is_none() => self.words = Some(words(core::slice::from_ref(value))?),
            "minimum" => self.least = Some(bound(value)?),
            "maximum" => self.most = Some(bound(value)?),
            "minLength" => self.length.0 = size(value)?,
            "maxLength" => self.length.1 = size(value)?,
            "minItems" => self.count.0 = size(value)?,
            "maxItems" => self.count.1 = size(value)?,
            "items" => self.items = Some(Box::new(Self::within(value, depth)?)),
            "properties" => self.members = members(value, depth)?,
            "additionalProperties" => self.others = others(value, depth)?,
            _ => return None,
        }
        Some(())
    }

    fn require(&mut self, names: Option<&Source>) -> Option<()> {
        for name in names.map_or(Some(&Vec::new()), Source::as_array)? {
            let name = name.as_str()?;
            let at = self.members.iter().position(|(known, _)| **known == *name)?;
            self.required |= bit(at);
        }
        Some(())
    }

    fn meets(&self, json: &mut Lexer<'_>) -> Option<()> {
        match json.value().ok()? {
            Value::Null => self.allows(NULL),
            Value::Bool(_) => self.allows(BOOLEAN),
            Value::Number(raw) => self.number(raw),
            Value::String(raw) => self.string(raw),
            Value::Array => self.array(json),
            Value::Object => self.object(json),
        }
    }

    /// Where only words are allowed, nothing but a string is one.
    fn allows(&self, kind: u8) -> Option<()> {
        (self.kinds & kind != 0 && (self.words.is_none() || kind == STRING)).then_some(())
    }

    fn number(&self, raw: &[u8]) -> Option<()> {
        let text = core::str::from_utf8(raw).ok()?;
        if raw.len() > LONGEST_NUMBER || raw == b"-0" || raw.iter().any(|byte| matches!(byte, b'e' | b'E')) {
            return None;
        }
        if raw.contains(&b'.') {
            self.allows(NUMBER)?;
            return self.fraction(text.parse().ok()?);
        }
        self.allows(NUMBER | INTEGER)?;
        let number: i64 = text.parse().ok()?;
        let fits =
            self.least.is_none_or(|least| least <= number) && self.most.is_none_or(|most| number <= most);
        fits.then_some(())
    }

    /// At a bound itself it hangs on how the fraction is rounded.
    #[expect(clippy::cast_precision_loss, reason = "bounds are small enough to be exact")]
    fn fraction(&self, number: f64) -> Option<()> {
        let above = self.least.is_none_or(|least| number > least as f64);
        let below = self.most.is_none_or(|most| number < most as f64);
        (above && below).then_some(())
    }

    fn string(&self, raw: &[u8]) -> Option<()> {
        self.allows(STRING)?;
        let escaped = json::backslash(raw).is_some();
        if escaped && !is_plainly_escaped(raw) {
            return None;
        }
        if let Some(words) = &self.words {
            return (!escaped && words.iter().any(|word| word.as_bytes() == raw)).then_some(());
        }
        let (least, most) = self.length;
        if least == 0 && raw.len() <= most {
            return Some(());
        }
        let length = characters(raw);
        (least <= length && length <= most).then_some(())
    }

    fn array(&self, json: &mut Lexer<'_>) -> Option<()> {
        self.allows(ARRAY)?;
        is_shallow(json)?;
        let mut count = 0_usize;
        while json.item().ok()? {
            match &self.items {
                Some(items) => items.meets(json)?,
                None => anything(json)?,
            }
            count = count.saturating_add(1);
        }
        let (least, most) = self.count;
        (least <= count && count <= most).then_some(())
    }

    /// Answers mostly name their members in the schema's order, or else in any.
    fn object(&self, json: &mut Lexer<'_>) -> Option<()> {
        self.allows(OBJECT)?;
        is_shallow(json)?;
        let (mut seen, mut next) = (0, 0);
        while let Some(name) = json.member().ok()? {
            if json::backslash(name).is_some() {
                return None;
            }
            if let Some((at, member)) = self.member(name, next) {
                (seen, next) = (seen | bit(at), at.saturating_add(1));
                member.meets(json)?;
            } else {
                match &self.others {
                    Others::Anything => anything(json)?,
                    Others::Like(other) => other.meets(json)?,
                    Others::Nothing => return None,
                }
            }
        }
        (seen & self.required == self.required).then_some(())
    }

    fn member(&self, name: &[u8], next: usize) -> Option<(usize, &Self)> {
        let is = |known: &str| known.as_bytes() == name;
        match self.members.get(next) {
            Some((known, member)) if is(known) => Some((next, member)),
            _ => {
                let at = self.members.iter().position(|(known, _)| is(known))?;
                Some((at, &self.members.get(at)?.1))
            }
        }
    }
}

/// Any value that is surely one for the engine's reader as well.
fn anything(json: &mut Lexer<'_>) -> Option<()> {
    match json.value().ok()? {
        Value::Null | Value::Bool(_) => Some(()),
        Value::Number(raw) => {
            (raw.len() <= LONGEST_NUMBER && !raw.contains(&b'e') && !raw.contains(&b'E')).then_some(())
        }
        Value::String(raw) => is_plainly_escaped(raw).then_some(()),
        Value::Array => {
            is_shallow(json)?;
            while json.item().ok()? {
                anything(json)?;
            }
            Some(())
        }
        Value::Object => {
            is_shallow(json)?;
            while let Some(name) = json.member().ok()? {
                if !is_plainly_escaped(name) {
                    return None;
                }
                anything(json)?;
            }
            Some(())
        }
    }
}

fn is_shallow(json: &Lexer<'_>) -> Option<()> {
    let nesting = usize::try_from(json.depth()).unwrap_or(usize::MAX);
    (nesting <= Extent::MAX_NESTING).then_some(())
}

/// Whether no escape is by number: half of a pair may be missing.
fn is_plainly_escaped(raw: &[u8]) -> bool {
    let mut rest = raw;
    while let Some(after) = json::backslash(rest).and_then(|at| rest.get(at..)) {
        if after.get(1) == Some(&b'u') {
            return false;
        }
        rest = after.get(2..).unwrap_or_default();
    }
    true
}

/// Characters of a plainly escaped string.
fn characters(raw: &[u8]) -> usize {
    let mut escaped = false;
    let begins = |byte: &&u8| {
        // The second byte of an escape is the character.
        escaped = **byte == b'\\' && !escaped;
        !escaped && **byte & 0xc0 != 0x80
    };
    raw.iter().filter(begins).count()
}

fn kinds(value: &Source) -> Option<u8> {
    let one = |name: &Source| {
        Some(match name.as_str()? {
            "null" => NULL,
            "boolean" => BOOLEAN,
            "integer" => INTEGER,
            "number" => NUMBER | INTEGER,
            "string" => STRING,
            "array" => ARRAY,
            "object" => OBJECT,
            _ => return None,
        })
    };
    match value {
        Source::Array(names) => names.iter().try_fold(0, |kinds, name| Some(kinds | one(name)?)),
        name => one(name),
    }
}

fn words(values: &[Source]) -> Option<Vec<Box<str>>> {
    values
        .iter()
        .map(|value| value.as_str().map(Into::into))
        .collect()
}

fn bound(value: &Source) -> Option<i64> {
    value
        .as_i64()
        .filter(|bound| bound.unsigned_abs() <= LARGEST_BOUND)
}

fn size(value: &Source) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

fn members(value: &Source, depth: usize) -> Option<Vec<(Box<str>, Glance)>> {
    let members = value
        .as_object()
        .filter(|members| members.len() <= MOST_MEMBERS)?;
    let one =
        |(name, schema): (&String, &Source)| Some((name.as_str().into(), Glance::within(schema, depth)?));
    members.iter().map(one).collect()
}

fn others(value: &Source, depth: usize) -> Option<Others> {
    Some(match value {
        Source::Bool(true) => Others::Anything,
        Source::Bool(false) => Others::Nothing,
        schema => Others::Like(Box::new(Glance::within(schema, depth)?)),
    })
}

fn bit(at: usize) -> u64 {
    u32::try_from(at)
        .ok()
        .and_then(|at| 1_u64.checked_shl(at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
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
}
