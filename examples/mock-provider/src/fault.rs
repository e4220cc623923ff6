//! What should go wrong, or be different, with one answer.
//!
//! Each field is a header `x-mock-NAME` of the request and a key `NAME` of `POST /mock/faults`; a header wins over
//! what was set for the instance.

use serde_json::Value;

use crate::http::Request;
use crate::wire::unpercent;

/// The names understood.
pub(crate) const NAMES: [&str; 22] = [
    "status",
    "retry-after",
    "retry-after-ms",
    "delay-headers-ms",
    "delay-first-ms",
    "gap-ms",
    "events",
    "hold",
    "hold-after",
    "reset-after",
    "error-after",
    "body",
    "usage",
    "content",
    "refusal",
    "finish",
    "encoding",
    "remaining",
    "set",
    "trailer",
    "k",
    "n",
];

/// Named values; how each is understood is said where it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    values: Vec<(&'static str, String)>,
}

impl Fault {
    /// The faults that come with a request.
    pub(crate) fn of(request: &Request) -> Self {
        let named = |(key, value): &(String, String)| {
            let name = key.strip_prefix("x-mock-")?;
            Some((*NAMES.iter().find(|known| **known == name)?, unpercent(value)))
        };
        Self {
            values: request.headers.iter().filter_map(named).collect(),
        }
    }

    /// The faults of a control document.
    ///
    /// # Errors
    /// A text that names the first key that isn't known or has no plain value.
    pub(crate) fn from_json(document: &Value) -> Result<Self, String> {
        let fields = document.as_object().ok_or("an object is expected")?;
        let value = |(key, value): (&String, &Value)| {
            let name = NAMES.iter().find(|known| *known == key);
            let name = name.ok_or_else(|| format!("{key}: unknown; there are {}", NAMES.join(", ")))?;
            match value {
                Value::String(text) => Ok((*name, text.clone())),
                Value::Number(number) => Ok((*name, number.to_string())),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                    Err(format!("{key}: a text or a number is expected"))
                }
            }
        };
        Ok(Self {
            values: fields.iter().map(value).collect::<Result<_, String>>()?,
        })
    }

    /// This one, and `other` where this one is silent.
    pub(crate) fn or(mut self, other: &Self) -> Self {
        let silent: Vec<_> = other
            .values
            .iter()
            .filter(|(name, _)| self.text(name).is_none())
            .cloned()
            .collect();
        self.values.extend(silent);
        self
    }

    /// The value of that name.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The value of that name as a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.trim().parse().ok()
    }

    /// All values of that name.
    pub(crate) fn texts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.values
            .iter()
            .filter(move |(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether it strikes the request with this number: the first `k` of every `n` (all, when neither is set).
    pub(crate) fn strikes(&self, number: u64) -> bool {
        let (k, n) = (self.number("k"), self.number("n").unwrap_or(u64::MAX));
        k.is_none_or(|k| number.checked_rem(n).is_some_and(|rest| rest < k))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_k_of_every_n_are_struck() {
        let fault = Fault::from_json(&json!({"status": 500, "k": 1, "n": 2})).unwrap();
        assert_eq!(
            (0..4).map(|i| fault.strikes(i)).collect::<Vec<_>>(),
            [true, false, true, false]
        );
    }

    #[test]
    fn a_request_s_own_word_wins() {
        let instance = Fault::from_json(&json!({"status": 500, "retry-after": 7})).unwrap();
        let own = Fault::from_json(&json!({"status": 429})).unwrap().or(&instance);
        assert_eq!(
            (own.text("status"), own.text("retry-after")),
            (Some("429"), Some("7"))
        );
    }

    #[test]
    fn an_unknown_key_is_named() {
        assert!(
            Fault::from_json(&json!({"stauts": 1}))
                .unwrap_err()
                .starts_with("stauts: unknown")
        );
    }
}
