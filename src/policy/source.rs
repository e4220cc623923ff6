//! From text to a JSON tree: what serde_json's own tree hides is refused here.
//!
//! Its invariant: no object of the tree had the same key twice, and a whole number is an integer however it was
//! written (a protobuf `Struct` knows only doubles, so Envoy may hand on `1` as `1.0`).

use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::error::{PolicyError, Problem, item, member, quote};

/// The document's tree.
pub(super) fn parse(text: &str) -> Result<Value, PolicyError> {
    let mut twice = Vec::new();
    let mut source = serde_json::Deserializer::from_str(text);
    let tree = Tree {
        path: String::new(),
        twice: &mut twice,
    }
    .deserialize(&mut source);
    let value = tree
        .and_then(|value| source.end().map(|()| value))
        .map_err(|e| malformed(&e))?;
    match PolicyError::of_all(twice) {
        Some(error) => Err(error),
        None => Ok(value),
    }
}

fn malformed(error: &serde_json::Error) -> PolicyError {
    PolicyError::of(Problem {
        path: "policy".to_owned(),
        wrong: format!("isn't JSON: {error}"),
        allowed: "one JSON object".to_owned(),
    })
}

/// The tree with whole numbers as integers.
pub(super) fn whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(integer(&number).unwrap_or(number)),
        Value::Array(items) => Value::Array(items.into_iter().map(whole_numbers).collect()),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(k, v)| (k, whole_numbers(v))).collect())
        }
        other @ (Value::Null | Value::Bool(_) | Value::String(_)) => other,
    }
}

/// Above this, a double no longer tells neighbouring integers apart.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn integer(number: &Number) -> Option<Number> {
    let float = number
        .as_f64()
        .filter(|f| number.is_f64() && f.fract() == 0.0 && f.abs() <= EXACT)?;
    // Through text: `as` would be silent if it ever truncated.
    format!("{float:.0}").parse::<i64>().ok().map(Number::from)
}

/// Reads one value and notes the keys that an object has twice.
struct Tree<'t> {
    path: String,
    twice: &'t mut Vec<Problem>,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = item(&self.path, list.len());
            match items.next_element_seed(Tree {
                path,
                twice: self.twice,
            })? {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let path = member(&self.path, &name);
            if object.contains_key(&name) {
                self.twice.push(duplicate(&path, &name));
            }
            let value = members.next_value_seed(Tree {
                path,
                twice: self.twice,
            })?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

fn duplicate(path: &str, name: &str) -> Problem {
    Problem {
        path: path.to_owned(),
        wrong: format!("{} stands here twice", quote(name)),
        allowed: "each key once".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{parse, whole_numbers};

    fn refusal(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_tree_is_what_serde_json_reads() {
        let text = r#"{"a": [1, -2, 1.5, true, null, "x"], "b": {"c": {}}}"#;
        assert_eq!(
            parse(text).unwrap(),
            serde_json::from_str::<serde_json::Value>(text).unwrap()
        );
    }

    #[test]
    fn a_key_that_stands_twice_is_named_by_its_path() {
        assert_eq!(
            refusal(r#"{"a": [{"b": 1, "b": 2}], "c": 1, "c": 2}"#),
            "a[0].b: \"b\" stands here twice (allowed: each key once)\n\
             c: \"c\" stands here twice (allowed: each key once)"
        );
    }

    #[test]
    fn text_that_is_not_json_is_refused_without_quoting_it() {
        assert_eq!(
            refusal(r#"{"secret" oops}"#),
            "policy: isn't JSON: expected `:` at line 1 column 11 (allowed: one JSON object)"
        );
        assert_eq!(
            refusal("{} {}"),
            "policy: isn't JSON: trailing characters at line 1 column 4 (allowed: one JSON object)"
        );
        assert!(refusal(&"[".repeat(100_000)).contains("recursion limit exceeded"));
    }

    #[test]
    fn a_whole_number_is_an_integer_however_it_is_written() {
        let value = whole_numbers(json!({"a": [1.0, 1.5, -0.0, 1e300], "b": 16384.0}));
        assert_eq!(value, json!({"a": [1, 1.5, 0, 1e300], "b": 16384}));
    }
}
