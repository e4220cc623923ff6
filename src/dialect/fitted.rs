//! A request without what a model refuses, though its protocol has a place for it.
//!
//! Claude from Opus 4.7 on refuses `temperature`, `top_p` and `top_k`, and earlier ones from Opus 4.1 on the first two
//! together (<https://platform.claude.com/docs/en/about-claude/models/migration-guide>); OpenAI's reasoning models refuse
//! most of what steers sampling, and `max_tokens` for `max_completion_tokens`
//! (<https://platform.openai.com/docs/guides/reasoning>).

use super::Endpoint;
use crate::json::{self, Lexer};

/// The two names of a bound on the output of a chat. A model that refuses one is given the other.
const BOUNDS: [&str; 2] = ["max_tokens", "max_completion_tokens"];
/// What is refused only beside `temperature`.
const BESIDE: &str = "top_p_with_temperature";
/// Members that mean the same in different protocols.
const STOPS: [&str; 2] = ["stop", "stop_sequences"];

/// A body that a model takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitted {
    /// The body.
    pub body: Vec<u8>,
    /// What was left out and would have made a difference, each once.
    pub dropped: Vec<&'static str>,
}

/// What becomes of a member.
enum Fate {
    Stays,
    /// Goes; the name if it is missed.
    Goes(Option<&'static str>),
    /// Stays under another name.
    Renamed(&'static str),
}

/// Takes what a model refuses out of the body of a request, by the policy's words for it. None when nothing changes, or
/// the body can't be read.
#[must_use]
pub fn fitted(endpoint: Endpoint, body: &[u8], refuses: &[&'static str]) -> Option<Fitted> {
    if refuses.is_empty() {
        return None;
    }
    let rules = Rules::of(endpoint, body, refuses)?;
    let (mut out, mut changed) = (Out::default(), false);
    members(body, |name, value| {
        let fate = rules.fate(name, value);
        changed |= !matches!(fate, Fate::Stays);
        match fate {
            Fate::Stays => out.put(name, value),
            Fate::Renamed(name) => out.put(name.as_bytes(), value),
            Fate::Goes(missed) => out.miss(missed),
        }
    })?;
    changed.then(|| out.close())
}

/// Shows each member of a body: its name, escaped, and its value as it is written.
fn members<'b>(body: &'b [u8], mut show: impl FnMut(&'b [u8], &'b [u8])) -> Option<()> {
    let mut json = Lexer::new(body);
    if json.value().ok()? != json::Value::Object {
        return None;
    }
    while let Some(name) = json.member().ok()? {
        show(name, json.span().ok()?);
    }
    json.end().ok()
}

/// What a model refuses, and what else the body has that this depends on.
struct Rules<'r> {
    refuses: &'r [&'static str],
    /// It is a chat, which has two names for the bound on its output.
    is_chat: bool,
    has_temperature: bool,
    /// Which of [`BOUNDS`] it has.
    bounds: [bool; 2],
}

impl<'r> Rules<'r> {
    fn of(endpoint: Endpoint, body: &[u8], refuses: &'r [&'static str]) -> Option<Self> {
        let mut rules = Self {
            refuses,
            is_chat: endpoint == Endpoint::ChatCompletions,
            has_temperature: false,
            bounds: [false; 2],
        };
        members(body, |name, value| {
            let name = json::name(name);
            let is = |wanted: &str| *name == *wanted.as_bytes() && value != b"null";
            rules.has_temperature |= is("temperature");
            for (bound, has) in BOUNDS.iter().zip(&mut rules.bounds) {
                *has |= is(bound);
            }
        })?;
        Some(rules)
    }

    fn fate(&self, name: &[u8], value: &[u8]) -> Fate {
        let name = json::name(name);
        if *name == *b"top_p" && self.has_temperature && self.refuses.contains(&BESIDE) {
            return Fate::Goes(Some("top_p").filter(|name| is_missed(name, value)));
        }
        let Some(word) = self.refuses.iter().find(|word| means(word, &name)) else {
            return Fate::Stays;
        };
        match BOUNDS.iter().position(|bound| bound == word) {
            Some(at) => self.bound(1 - at.min(1)),
            None => Fate::Goes(Some(*word).filter(|word| is_missed(word, value))),
        }
    }

    /// A bound under the name that isn't taken; `other` is the other one.
    fn bound(&self, other: usize) -> Fate {
        match (BOUNDS.get(other), self.bounds.get(other)) {
            (Some(_), Some(true)) if self.is_chat => Fate::Goes(None),
            (Some(name), Some(false)) if self.is_chat => Fate::Renamed(name),
            (Some(_) | None, Some(_) | None) => Fate::Stays,
        }
    }
}

fn means(word: &str, name: &[u8]) -> bool {
    let stops = |name: &[u8]| STOPS.iter().any(|stop| stop.as_bytes() == name);
    word.as_bytes() == name || stops(word.as_bytes()) && stops(name)
}

/// Whether a value says anything else than what holds without it.
fn is_missed(word: &str, value: &[u8]) -> bool {
    let number = core::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse::<f64>().ok());
    let usual = match word {
        "temperature" | "top_p" => number == Some(1.0),
        "presence_penalty" | "frequency_penalty" | "top_logprobs" => number == Some(0.0),
        "logprobs" => value == b"false",
        "parallel_tool_calls" => value == b"true",
        _ => false,
    };
    !usual && value != b"null"
}

#[derive(Default)]
struct Out {
    body: Vec<u8>,
    dropped: Vec<&'static str>,
}

impl Out {
    fn put(&mut self, name: &[u8], value: &[u8]) {
        self.body.push(if self.body.is_empty() { b'{' } else { b',' });
        self.body.push(b'"');
        self.body.extend_from_slice(name);
        self.body.extend_from_slice(b"\":");
        self.body.extend_from_slice(value);
    }

    fn miss(&mut self, name: Option<&'static str>) {
        let new = name.filter(|name| !self.dropped.contains(name));
        self.dropped.extend(new);
    }

    fn close(mut self) -> Fitted {
        if self.body.is_empty() {
            self.body.push(b'{');
        }
        self.body.push(b'}');
        Fitted {
            body: self.body,
            dropped: self.dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(body: &str, refuses: &[&'static str]) -> Option<(String, Vec<&'static str>)> {
        let fitted = fitted(Endpoint::ChatCompletions, body.as_bytes(), refuses)?;
        Some((String::from_utf8(fitted.body).unwrap(), fitted.dropped))
    }

    #[test]
    fn what_is_refused_goes_and_is_named_if_it_is_missed() {
        for (body, refuses, expected, dropped) in [
            (
                r#"{ "model" : "m", "temperature": 0.2 }"#,
                &["temperature"][..],
                r#"{"model":"m"}"#,
                &["temperature"][..],
            ),
            (
                r#"{"temper\u0061ture":0.2,"n":1}"#,
                &["temperature"],
                r#"{"n":1}"#,
                &["temperature"],
            ),
            (
                r#"{"temperature":1.0,"top_p":null}"#,
                &["temperature", "top_p"],
                "{}",
                &[],
            ),
            (r#"{"stop_sequences":["a"]}"#, &["stop"], "{}", &["stop"]),
            (
                r#"{"seed":1,"seed":2,"a":{"seed":3}}"#,
                &["seed"],
                r#"{"a":{"seed":3}}"#,
                &["seed"],
            ),
            (
                r#"{"top_p":0.5,"temperature":0}"#,
                &["top_p_with_temperature"],
                r#"{"temperature":0}"#,
                &["top_p"],
            ),
        ] {
            assert_eq!(
                fit(body, refuses),
                Some((expected.to_owned(), dropped.to_vec())),
                "{body}"
            );
        }
    }

    #[test]
    fn what_is_taken_stays_as_the_client_wrote_it() {
        for (body, refuses) in [
            (r#"{"temperature":0}"#, &[][..]),
            (
                r#"{"model":"m", "top_p": 0.5}"#,
                &["temperature", "top_p_with_temperature"],
            ),
            (r#"{"top_p":0.5,"temperature":null}"#, &["top_p_with_temperature"]),
            (r#"{"messages":[{"temperature":1}]}"#, &["temperature"]),
            ("[]", &["temperature"]),
            (r#"{"temperature":0"#, &["temperature"]),
            ("", &["temperature"]),
        ] {
            assert_eq!(fit(body, refuses), None, "{body}");
        }
    }

    #[test]
    fn a_bound_on_the_output_goes_by_the_name_that_is_taken() {
        let (old, new) = (&["max_tokens"][..], &["max_completion_tokens"][..]);
        let plain = |body: &str| Some((body.to_owned(), Vec::new()));
        assert_eq!(
            fit(r#"{"max_tokens":7}"#, old),
            plain(r#"{"max_completion_tokens":7}"#)
        );
        assert_eq!(
            fit(r#"{"max_completion_tokens":7}"#, new),
            plain(r#"{"max_tokens":7}"#)
        );
        let both = r#"{"max_tokens":7,"max_completion_tokens":8}"#;
        assert_eq!(fit(both, old), plain(r#"{"max_completion_tokens":8}"#));
        for endpoint in [Endpoint::Messages, Endpoint::Completions] {
            assert_eq!(
                fitted(endpoint, br#"{"max_tokens":7}"#, old),
                None,
                "its only name there"
            );
        }
    }
}
