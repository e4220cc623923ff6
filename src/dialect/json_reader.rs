//! Reading a complete JSON answer while it passes, without keeping it.
//!
//! Only the outermost `usage`, `model` and `error` are captured, each bounded; all endpoints have them there.

use super::event::{Members, is_nothing};
use super::usage::{Report, Usage};
use super::{Endpoint, MODEL_BOUND};
use crate::json::{self, Lexer, Machine, Mark, Value};

/// A captured value may be this long, in bytes: ten times the largest usage object seen.
const VALUE_BOUND: usize = 8 * 1024;

/// What an answer said about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonFacts {
    /// What it cost, when it says so.
    pub usage: Option<Usage>,
    /// It says what it cost, but that can't be true or can't be read.
    pub usage_fault: bool,
    /// The model that answered, cut off at 128 bytes.
    pub model: Option<String>,
    /// It carries an error.
    pub error: bool,
    /// It was one well-formed value, to its end.
    pub complete: bool,
}

impl JsonFacts {
    /// Of an answer that is one well-formed object with these members, in any protocol but Gemini's.
    pub(super) fn of(endpoint: Endpoint, members: &Members<'_>) -> Self {
        let mut facts = Self {
            model: model(members.model),
            error: members.has_error(),
            complete: true,
            ..Self::default()
        };
        facts.bill(endpoint, members.usage);
        facts
    }

    /// Takes over a `usage`, in place of any before it; none says nothing, and one that is too long can't be true.
    fn bill(&mut self, endpoint: Endpoint, raw: &[u8]) {
        let raw = raw.trim_ascii_start();
        if is_nothing(raw) {
            (self.usage, self.usage_fault) = (None, false);
            return;
        }
        let mut report = Report::default();
        let read = report.read(raw.get(..VALUE_BOUND).unwrap_or(raw));
        let read = read.and_then(|()| report.usage(endpoint));
        self.usage = read.ok();
        self.usage_fault = read.is_err();
    }
}

/// Reads an answer in the chunks it comes in.
#[derive(Clone, Debug)]
pub struct JsonReader {
    endpoint: Endpoint,
    machine: Machine,
    keeping: Keeping,
    kept: Vec<u8>,
    facts: JsonFacts,
    /// All of the answer was read by somebody else.
    known: bool,
}

/// What the bytes that pass are part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeping {
    Nothing,
    Name,
    Usage,
    Model,
    Error,
}

impl JsonReader {
    /// A reader of an answer from `endpoint`.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            machine: Machine::default(),
            keeping: Keeping::Nothing,
            kept: Vec::new(),
            facts: JsonFacts::default(),
            known: false,
        }
    }

    /// A reader that has come to the end of an answer, of which this is known.
    #[must_use]
    pub fn at_end(endpoint: Endpoint, facts: JsonFacts) -> Self {
        Self {
            facts,
            known: true,
            ..Self::new(endpoint)
        }
    }

    /// Reads the next chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        loop {
            let (used, mark) = self.machine.advance(rest);
            let (passed, after) = rest.split_at_checked(used).unwrap_or((rest, b""));
            self.keep(passed);
            match mark {
                Mark::Dry => return,
                Mark::NameBegins => self.start(Keeping::Name),
                Mark::NameEnds => self.start(self.named()),
                Mark::ValueEnds => self.take(),
            }
            rest = after;
        }
    }

    /// What was found, at the end of the answer.
    #[must_use]
    pub fn finish(mut self) -> JsonFacts {
        self.facts.complete = self.known && self.facts.complete || self.machine.complete();
        self.facts
    }

    fn start(&mut self, keeping: Keeping) {
        self.kept.clear();
        self.keeping = keeping;
    }

    /// One byte over the bound is kept too, to tell that there was more.
    fn keep(&mut self, passed: &[u8]) {
        if self.keeping == Keeping::Nothing {
            return;
        }
        let room = (VALUE_BOUND + 1).saturating_sub(self.kept.len());
        self.kept.extend_from_slice(passed.get(..room).unwrap_or(passed));
    }

    fn named(&self) -> Keeping {
        let name = self.kept.strip_suffix(b"\"").unwrap_or(&self.kept);
        match &*json::name(name) {
            b"usageMetadata" if self.endpoint == Endpoint::GenerateContent => Keeping::Usage,
            b"modelVersion" if self.endpoint == Endpoint::GenerateContent => Keeping::Model,
            b"usage" => Keeping::Usage,
            b"model" => Keeping::Model,
            b"error" => Keeping::Error,
            _ => Keeping::Nothing,
        }
    }

    fn take(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        let value = kept.trim_ascii_start().strip_prefix(b":").unwrap_or_default();
        match self.keeping {
            Keeping::Nothing | Keeping::Name => {}
            Keeping::Usage => self.facts.bill(self.endpoint, value),
            Keeping::Model => self.facts.model = model(value),
            Keeping::Error => self.facts.error = value.trim_ascii_start() != b"null",
        }
        self.kept = kept;
        self.start(Keeping::Nothing);
    }
}

/// A model's name from the text of a JSON value.
pub(super) fn model(raw: &[u8]) -> Option<String> {
    match Lexer::new(raw).value() {
        Ok(Value::String(name)) if !name.is_empty() => Some(json::text_within(name, MODEL_BOUND)),
        Ok(_) | Err(_) => None,
    }
}
