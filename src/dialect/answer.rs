//! What the assistant said, for those who judge it.
//!
//! The same notes are taken from a complete answer and from a stream, so a verdict can't depend on the transport.

use super::event::{Members, Tally};
use super::json_reader::{JsonFacts, JsonReader};
use super::{Endpoint, chat};
use crate::json;

/// What the assistant said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The whole text; only if it is complete.
    Text(String),
    /// The model refused.
    Refused,
    /// A content filter stopped it.
    Filtered,
    /// Cut off by its length, or the stream ended early.
    Cut,
    /// Nothing was said.
    Empty,
    /// So many answers at once.
    Many(u32),
    /// Tools are to be called.
    ToolCalls,
    /// The provider reports an error.
    Error,
    /// The body isn't JSON.
    NotJson,
    /// More than was to be gathered, or nothing was.
    TooLong,
}

/// What the assistant said in a complete JSON answer.
#[must_use]
pub fn answer(endpoint: Endpoint, body: &[u8]) -> Answer {
    let mut tally = Tally::of_body(endpoint, body.len());
    match tally.body(body) {
        Ok(()) => tally.notes.answer(),
        Err(_) => Answer::NotJson,
    }
}

/// The same, and what the answer says about itself, read in one go.
#[must_use]
pub fn answer_with_facts(endpoint: Endpoint, body: &[u8]) -> (Answer, JsonFacts) {
    if matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Completions) {
        let mut tally = Tally::of_body(endpoint, body.len());
        if let Ok(Some(members)) = chat::whole(&mut tally, body) {
            if members.has_error() {
                tally.failed();
            }
            return (tally.notes.answer(), JsonFacts::of(endpoint, &members));
        }
    }
    let facts = match Members::read(body) {
        Ok(members) if endpoint != Endpoint::GenerateContent => JsonFacts::of(endpoint, &members),
        Ok(_) | Err(_) => {
            let mut reader = JsonReader::new(endpoint);
            reader.push(body);
            reader.finish()
        }
    };
    (answer(endpoint, body), facts)
}

/// All that the assistant said in a complete JSON answer, however it ended, several answers one after another; none when the
/// body isn't JSON. Empty where there are no words.
#[must_use]
pub fn words(endpoint: Endpoint, body: &[u8]) -> Option<String> {
    let mut tally = Tally::of_body(endpoint, body.len());
    tally.body(body).ok()?;
    Some(tally.notes.text)
}

/// What is noted of an answer while it is read.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    /// How much text is gathered at most, in bytes; none: no text.
    bound: Option<usize>,
    text: String,
    too_long: bool,
    refused: bool,
    filtered: bool,
    cut: bool,
    tools: bool,
    error: bool,
    ended: bool,
    choices: u32,
}

impl Notes {
    pub(super) fn new(bound: Option<usize>) -> Self {
        Self {
            bound,
            ..Self::default()
        }
    }

    /// A piece of the assistant's text, still escaped.
    pub(super) fn text(&mut self, raw: &[u8]) {
        let Some(bound) = self.bound.filter(|_| !self.too_long) else {
            return;
        };
        let piece = json::text(raw);
        if self.text.len().saturating_add(piece.len()) > bound {
            self.give_up();
        } else if self.text.is_empty() {
            self.text = piece.into_owned();
        } else {
            self.text.push_str(&piece);
        }
    }

    /// The words so far; none when they are more than is gathered, or those of several answers mixed.
    pub(super) fn words(&self) -> Option<&str> {
        (!self.too_long && self.choices <= 1).then_some(self.text.as_str())
    }

    /// The text as far as it came.
    pub(super) fn so_far(&self) -> &str {
        &self.text
    }

    /// The text can't be gathered whole.
    pub(super) fn give_up(&mut self) {
        self.too_long = true;
        self.text = String::new();
    }

    /// The answer with this index speaks.
    pub(super) fn choice(&mut self, index: u64) {
        let count = u32::try_from(index.saturating_add(1)).unwrap_or(u32::MAX);
        self.choices = self.choices.max(count);
    }

    pub(super) fn refusal(&mut self) {
        self.refused = true;
    }

    pub(super) fn tool_call(&mut self) {
        self.tools = true;
    }

    pub(super) fn error(&mut self) {
        self.error = true;
    }

    /// The answer ended for this reason, in the words of any of the protocols.
    pub(super) fn end(&mut self, reason: &[u8]) {
        self.ended = true;
        match reason {
            b"length"
            | b"max_tokens"
            | b"max_output_tokens"
            | b"model_context_window_exceeded"
            | b"pause_turn"
            | b"MAX_TOKENS" => {
                self.cut = true;
            }
            b"content_filter"
            | b"SAFETY"
            | b"RECITATION"
            | b"LANGUAGE"
            | b"BLOCKLIST"
            | b"PROHIBITED_CONTENT"
            | b"SPII"
            | b"IMAGE_SAFETY" => self.filtered = true,
            b"refusal" => self.refused = true,
            b"tool_calls" | b"function_call" | b"tool_use" => self.tools = true,
            b"error" | b"MALFORMED_FUNCTION_CALL" | b"UNEXPECTED_TOOL_CALL" | b"MALFORMED_RESPONSE" => {
                self.error = true;
            }
            _ => {}
        }
    }

    pub(super) fn answer(self) -> Answer {
        if self.error {
            Answer::Error
        } else if self.choices > 1 {
            Answer::Many(self.choices)
        } else if self.filtered {
            Answer::Filtered
        } else if self.refused {
            Answer::Refused
        } else if self.cut || !self.ended {
            Answer::Cut
        } else if self.tools {
            Answer::ToolCalls
        } else if self.too_long || self.bound.is_none() {
            Answer::TooLong
        } else if self.text.is_empty() {
            Answer::Empty
        } else {
            Answer::Text(self.text)
        }
    }
}
