//! What one event of a stream, or one complete answer, says: progress, usage, the assistant's words.
//!
//! An event is read in two steps that allocate nothing: the spans of its outermost members ([`Members`]), then those
//! that its protocol gives a meaning.

use super::alike::{Again, Varying, Voice};
use super::answer::Notes;
use super::json_reader::model;
use super::usage::{Report, Usage};
use super::{Endpoint, chat, gemini, messages, responses};
use crate::json::{self, Fault, Lexer, Value};
use crate::tokens::Running;

/// How far an answer has come.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The first token of content (text, tool call or reasoning) has been seen.
    pub begun: bool,
    /// Events with content.
    pub deltas: u64,
    /// What was generated, by our own count.
    pub generated: Running,
    /// What the provider last said it cost. Until the stream is `finished`, its output is a lower bound at best.
    pub usage: Option<Usage>,
    /// The provider said what it cost, but that can't be true or can't be read.
    pub usage_fault: bool,
    /// The model that answered, cut off at 128 bytes.
    pub model: Option<String>,
    /// An error event came in the stream.
    pub error: bool,
    /// The assistant's answer has ended (its finish or stop reason came); usage may follow.
    pub finished: bool,
    /// The stream ended as its protocol ends.
    pub done: bool,
    /// An event, or what was held, was larger than its bound: it was passed on unread.
    pub oversize: bool,
}

/// What an event means for those behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing special.
    Plain,
    /// It ends the answer.
    End,
    /// It carries usage and no choices.
    UsageOnly,
    /// It tells something about the answer and is no part of it: clients of the protocol don't know such events.
    Note,
}

/// The spans of the outermost members that any protocol gives a meaning; empty when absent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Members<'d> {
    /// The content of the `type` string.
    pub(super) kind: &'d [u8],
    pub(super) object: &'d [u8],
    pub(super) model: &'d [u8],
    pub(super) usage: &'d [u8],
    pub(super) error: &'d [u8],
    pub(super) choices: &'d [u8],
    pub(super) delta: &'d [u8],
    pub(super) message: &'d [u8],
    pub(super) content_block: &'d [u8],
    pub(super) response: &'d [u8],
    pub(super) item: &'d [u8],
    pub(super) content: &'d [u8],
    pub(super) output: &'d [u8],
    pub(super) stop_reason: &'d [u8],
    pub(super) status: &'d [u8],
    pub(super) incomplete: &'d [u8],
    pub(super) candidates: &'d [u8],
    pub(super) prompt_feedback: &'d [u8],
    pub(super) usage_metadata: &'d [u8],
    pub(super) model_version: &'d [u8],
    /// Of random length and content, so that nobody tells words by an event's size.
    obfuscation: &'d [u8],
    sequence_number: &'d [u8],
}

impl<'d> Members<'d> {
    /// Reads an object; faults on anything else.
    pub(super) fn read(data: &'d [u8]) -> Result<Self, Fault> {
        let mut json = Lexer::new(data);
        let mut members = Self::default();
        if json.value()? != Value::Object {
            return Err(Fault::Syntax { at: 0 });
        }
        while let Some(name) = json.member()? {
            let span = json.span()?;
            members.put(&json::name(name), span);
        }
        json.end()?;
        Ok(Self {
            kind: content_of(members.kind),
            ..members
        })
    }

    /// Takes up a member, if it means anything.
    pub(super) fn put(&mut self, name: &[u8], span: &'d [u8]) {
        if let Some(into) = self.place(name) {
            *into = span;
        }
    }

    fn place(&mut self, name: &[u8]) -> Option<&mut &'d [u8]> {
        Some(match name {
            b"type" => &mut self.kind,
            b"object" => &mut self.object,
            b"model" => &mut self.model,
            b"usage" => &mut self.usage,
            b"error" => &mut self.error,
            b"choices" => &mut self.choices,
            b"delta" => &mut self.delta,
            b"message" => &mut self.message,
            b"content_block" => &mut self.content_block,
            b"response" => &mut self.response,
            b"item" => &mut self.item,
            b"content" => &mut self.content,
            b"output" => &mut self.output,
            b"stop_reason" => &mut self.stop_reason,
            b"status" => &mut self.status,
            b"incomplete_details" => &mut self.incomplete,
            b"candidates" => &mut self.candidates,
            b"promptFeedback" => &mut self.prompt_feedback,
            b"usageMetadata" => &mut self.usage_metadata,
            b"modelVersion" => &mut self.model_version,
            b"obfuscation" => &mut self.obfuscation,
            b"sequence_number" => &mut self.sequence_number,
            _ => return None,
        })
    }

    pub(super) fn has_error(&self) -> bool {
        !is_nothing(self.error)
    }
}

/// Whether a member's span is absent or `null`.
pub(super) fn is_nothing(span: &[u8]) -> bool {
    span.is_empty() || span == b"null"
}

/// The content of a string's span; empty for anything else.
pub(super) fn content_of(span: &[u8]) -> &[u8] {
    span.strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .unwrap_or_default()
}

/// Adds up what events say.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) endpoint: Endpoint,
    pub(super) progress: Progress,
    pub(super) notes: Notes,
    report: Report,
    /// The event being read has content.
    spoke: bool,
    /// An answer has ended, and nothing was said after it: of several, each ends for itself.
    over: bool,
    /// What the next event may have otherwise than the one being read.
    pub(super) varying: Varying,
    /// What is generated is counted. A complete answer says itself what it cost.
    counting: bool,
}

impl Tally {
    /// Nothing yet; `gather` bounds the text that is kept, in bytes.
    pub(super) fn new(endpoint: Endpoint, gather: Option<usize>) -> Self {
        Self {
            endpoint,
            progress: Progress::default(),
            notes: Notes::new(gather),
            report: Report::default(),
            spoke: false,
            over: false,
            varying: Varying::default(),
            counting: true,
        }
    }

    /// For [`Tally::body`], of so many bytes: only notes are taken.
    pub(super) fn of_body(endpoint: Endpoint, bytes: usize) -> Self {
        Self {
            counting: false,
            ..Self::new(endpoint, Some(bytes))
        }
    }

    /// Reads one event of a stream. What isn't understood means nothing.
    pub(super) fn event(&mut self, name: &[u8], data: &[u8]) -> Kind {
        if data.trim_ascii() == b"[DONE]" {
            self.progress.done = true;
            return Kind::End;
        }
        self.spoke = false;
        self.varying = Varying::default();
        let kind = self.members(data).unwrap_or(Kind::Plain);
        if name == b"error" {
            self.failed();
        }
        self.count_delta();
        kind
    }

    /// Reads an event that is like one before it.
    pub(super) fn again(&mut self, event: &Again<'_>) {
        self.spoke = false;
        self.spoken(event.words, event.voice);
        self.count_delta();
    }

    fn count_delta(&mut self) {
        if self.spoke {
            self.progress.deltas = self.progress.deltas.saturating_add(1);
        }
    }

    /// Whether no more words are to be expected.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Reads a complete answer.
    pub(super) fn body(&mut self, data: &[u8]) -> Result<(), Fault> {
        let members = Members::read(data)?;
        if members.has_error() {
            self.failed();
        }
        match self.endpoint {
            Endpoint::ChatCompletions | Endpoint::Completions => chat::choices(self, members.choices),
            Endpoint::Embeddings => {
                self.notes.end(b"");
                Ok(())
            }
            Endpoint::Responses => responses::body(self, &members),
            Endpoint::Messages => messages::body(self, &members),
            Endpoint::GenerateContent => gemini::body(self, &members),
        }
    }

    fn members(&mut self, data: &[u8]) -> Result<Kind, Fault> {
        let members = Members::read(data)?;
        self.varying
            .fillers([members.obfuscation, members.sequence_number]);
        if members.has_error() || members.kind == b"error" {
            self.failed();
        }
        match self.endpoint {
            Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Embeddings => {
                chat::event(self, &members)
            }
            Endpoint::Responses => responses::event(self, &members),
            Endpoint::Messages => messages::event(self, &members),
            Endpoint::GenerateContent => gemini::event(self, &members),
        }
    }

    /// A piece of something generated, still escaped.
    pub(super) fn generated(&mut self, raw: &[u8]) {
        self.spoken(raw, Voice::Generated);
    }

    /// A piece of the assistant's text, still escaped.
    pub(super) fn said(&mut self, raw: &[u8]) {
        self.spoken(raw, Voice::Said);
    }

    fn spoken(&mut self, raw: &[u8], voice: Voice) {
        if raw.is_empty() {
            return;
        }
        self.spoke = true;
        self.over = false;
        self.varying.words(raw, voice);
        self.progress.begun = true;
        if self.counting {
            self.progress.generated.push(raw);
        }
        if voice == Voice::Said {
            self.notes.text(raw);
        }
    }

    /// The answer ended for a reason given as a member's span; answers whether it did.
    pub(super) fn ended(&mut self, span: &[u8]) -> bool {
        let reason = content_of(span);
        if reason.is_empty() {
            return false;
        }
        self.progress.finished = true;
        self.over = true;
        self.varying.unique();
        self.notes.end(&json::name(reason));
        true
    }

    pub(super) fn failed(&mut self) {
        self.progress.error = true;
        self.notes.error();
    }

    /// The model, from a member's span; the first one stays.
    pub(super) fn model(&mut self, span: &[u8]) {
        if self.progress.model.is_none() {
            self.progress.model = model(span);
        }
    }

    /// Usage from a member's span: a snapshot over what was said before.
    pub(super) fn usage(&mut self, span: &[u8]) {
        if is_nothing(span) {
            return;
        }
        self.varying.unique();
        let read = self
            .report
            .read(span)
            .and_then(|()| self.report.usage(self.endpoint));
        self.progress.usage = read.ok();
        self.progress.usage_fault |= read.is_err();
    }
}
