//! Putting another value in the place of a field, in the answer's own text: every other byte stays.

use crate::json::{self, Fault, Lexer, Value};

/// A place in an answer: names and indices, as a JSON Pointer (RFC 6901) writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// Steps of a pointer: no answer that is looked at nests deeper.
    const MAX_STEPS: usize = 64;

    /// Reads `/a/0/b`; none when it isn't one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let steps = text.strip_prefix('/')?.split('/');
        let steps: Vec<String> = steps
            .map(|step| step.replace("~1", "/").replace("~0", "~"))
            .collect();
        (steps.len() <= Self::MAX_STEPS).then_some(Self(steps))
    }

    /// Where in a JSON text the value stands; none when it isn't there, or a name on the way comes twice.
    fn find(&self, text: &[u8]) -> Option<(usize, usize)> {
        let mut place = (0, text.len());
        for step in &self.0 {
            let inside = text.get(place.0..place.1)?;
            let (from, to) = child(inside, step).ok()??;
            place = (place.0 + from, place.0 + to);
        }
        Some(place)
    }
}

/// A bound that a number is brought back to.
#[derive(Clone, Debug, PartialEq)]
pub struct Clamp {
    /// The number's place.
    pub field: Pointer,
    /// What is put there, as JSON.
    pub to: serde_json::Value,
}

impl Clamp {
    /// The answer with the field's value replaced; none when the field isn't there once.
    ///
    /// What results is to be judged again: by the schema, and by the rule.
    #[must_use]
    pub fn apply(&self, answer: &str) -> Option<String> {
        let (from, to) = self.field.find(answer.as_bytes())?;
        Some([answer.get(..from)?, &self.to.to_string(), answer.get(to..)?].concat())
    }
}

/// Where the member or item of a container stands.
fn child(text: &[u8], step: &str) -> Result<Option<(usize, usize)>, Fault> {
    let mut json = Lexer::new(text);
    let mut found = None;
    match json.value()? {
        Value::Object => {
            while let Some(name) = json.member()? {
                let matches = *json::name(name) == *step.as_bytes();
                let span = place(&mut json)?;
                if matches && found.replace(span).is_some() {
                    return Ok(None);
                }
            }
        }
        Value::Array => {
            let mut index = 0_usize;
            while json.item()? {
                let span = place(&mut json)?;
                if step.parse() == Ok(index) {
                    found = Some(span);
                }
                index = index.saturating_add(1);
            }
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
    Ok(found)
}

fn place(json: &mut Lexer<'_>) -> Result<(usize, usize), Fault> {
    let len = json.span()?.len();
    let end = json.offset();
    Ok((end.saturating_sub(len), end))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Clamp, Pointer};

    #[test]
    fn only_the_field_changes() {
        let table = [
            (
                r#"{ "b": 1.0, "discount": 35 }"#,
                "/discount",
                Some(r#"{ "b": 1.0, "discount": 20 }"#),
            ),
            (
                r#"{"a": [1, {"d": [9] , "e": 2}]}"#,
                "/a/1/d",
                Some(r#"{"a": [1, {"d": 20 , "e": 2}]}"#),
            ),
            (r#"{"a/b~": 1}"#, "/a~1b~0", Some(r#"{"a/b~": 20}"#)),
            (r#"{"d": 1, "d": 2}"#, "/d", None),
            (r#"{"d": 1}"#, "/e", None),
            (r#"[1]"#, "/1", None),
            ("7", "/d", None),
            ("{\"d\"", "/d", None),
        ];
        for (answer, field, expected) in table {
            let clamp = Clamp {
                field: Pointer::parse(field).unwrap(),
                to: json!(20),
            };
            assert_eq!(clamp.apply(answer).as_deref(), expected, "{answer}");
        }
        assert_eq!(Pointer::parse("discount"), None);
    }
}
