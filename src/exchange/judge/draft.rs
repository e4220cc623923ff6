//! An answer on its way through the verdict: its text or its calls, as they came or as they were mended.

use crate::body::repair::{Mends, repair};
use crate::body::schema::{Schema, Verdict};
use crate::dialect::{
    Amendment, Answer, Call, Calls, Endpoint, JsonFacts, StreamReader, answer, answer_with_facts,
};

/// What an answer said.
#[derive(Clone, Debug)]
pub(in crate::exchange) struct Heard {
    pub(in crate::exchange) said: Answer,
    /// The tools called; none when nobody gathered them, or there were too many.
    pub(in crate::exchange) calls: Option<Vec<Call>>,
}

impl Heard {
    /// What a complete answer says.
    pub(in crate::exchange) fn of_body(endpoint: Endpoint, body: &[u8]) -> Self {
        Self::saying(answer(endpoint, body), endpoint, body)
    }

    /// The same, and what the answer says about itself.
    pub(in crate::exchange) fn with_facts(endpoint: Endpoint, body: &[u8]) -> (Self, JsonFacts) {
        let (said, facts) = answer_with_facts(endpoint, body);
        (Self::saying(said, endpoint, body), facts)
    }

    fn saying(said: Answer, endpoint: Endpoint, body: &[u8]) -> Self {
        let calls = (said == Answer::ToolCalls).then(|| {
            let mut calls = Calls::new(endpoint, body.len());
            calls.body(body).ok()?;
            calls.finish()
        });
        Self {
            said,
            calls: calls.flatten(),
        }
    }

    /// What a stream said, as far as it has come.
    pub(in crate::exchange) fn of_stream(reader: &StreamReader) -> Self {
        Self {
            said: reader.answer(),
            calls: reader.calls(),
        }
    }

    /// The text, if that is what it said.
    pub(super) fn text(&self) -> &str {
        match &self.said {
            Answer::Text(text) => text,
            Answer::Refused
            | Answer::Filtered
            | Answer::Cut
            | Answer::Empty
            | Answer::Many(_)
            | Answer::ToolCalls
            | Answer::Error
            | Answer::NotJson
            | Answer::TooLong => "",
        }
    }
}

/// Which part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text,
    /// Arguments of the call of this number.
    Call(usize),
}

/// What an answer says, as far as it was changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub(super) amendment: Amendment,
    pub(super) mends: Mends,
    changed: bool,
}

impl Draft {
    /// What stands there now, in place of what came.
    pub(super) fn now<'d>(&'d self, heard: &'d Heard, part: Part) -> &'d str {
        match part {
            Part::Text => self.amendment.text.as_deref().unwrap_or(heard.text()),
            Part::Call(at) => {
                let new = self.amendment.calls.get(at).and_then(Option::as_deref);
                let calls = heard.calls.as_deref().unwrap_or_default();
                new.unwrap_or_else(|| calls.get(at).map_or("", |call| call.arguments.as_str()))
            }
        }
    }

    /// Puts something else there.
    pub(super) fn put(&mut self, part: Part, text: String) {
        self.changed = true;
        match part {
            Part::Text => self.amendment.text = Some(text),
            Part::Call(at) => {
                let calls = &mut self.amendment.calls;
                if calls.len() <= at {
                    calls.resize(at.saturating_add(1), None);
                }
                if let Some(call) = calls.get_mut(at) {
                    *call = Some(text);
                }
            }
        }
    }

    /// Whether anything was changed.
    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    /// Mends a part; answers whether the schema accepts it now, or without one whether it is JSON.
    pub(super) fn mend(&mut self, heard: &Heard, part: Part, schema: Option<&Schema>) -> bool {
        let broken = self.now(heard, part);
        if schema.is_some_and(|schema| is_too_much(schema, broken.len())) {
            return false;
        }
        let Some(found) = repair(broken.as_bytes(), |bytes| accepts(bytes, schema)) else {
            return false;
        };
        let mends = found.what;
        let Ok(text) = String::from_utf8(found.bytes) else {
            return false;
        };
        self.mends.join(mends);
        self.put(part, text);
        true
    }
}

/// A repair asks for up to 33 verdicts.
fn is_too_much(schema: &Schema, bytes: usize) -> bool {
    schema.work(bytes) > Schema::MAX_WORK / 32
}

fn accepts(bytes: &[u8], schema: Option<&Schema>) -> bool {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return false;
    };
    match schema {
        Some(schema) => schema.check(text) == Verdict::Valid,
        None => is_structure(text),
    }
}

/// Whether a text is a JSON object or list.
pub(super) fn is_structure(text: &str) -> bool {
    let value = serde_json::from_str::<serde_json::Value>(text);
    value.is_ok_and(|value| value.is_object() || value.is_array())
}
