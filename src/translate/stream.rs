//! Translating a stream while it passes, event by event, however it is cut.

use super::chat;
use super::delta::{Broken, Delta, broken};
use super::gemini;
use super::messages;
use super::node::Node;
use super::{AnswerOptions, Protocol};
use crate::body::sse::{self, Blocks};

/// What a translated stream needs to know beyond the provider's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions<'o> {
    /// What the answer says of itself.
    pub answer: AnswerOptions<'o>,
    /// The client of chat completions asked for a chunk with usage.
    pub include_usage: bool,
    /// A larger event breaks the stream (in bytes): no more than this is ever kept.
    pub event_bound: usize,
}

/// A translator of one stream.
#[derive(Clone, Debug)]
pub struct StreamTranslator {
    state: State,
    blocks: Blocks,
    /// The event that is not complete yet.
    tail: Vec<u8>,
    joined: Vec<u8>,
    event_bound: usize,
}

#[derive(Clone, Debug)]
enum State {
    /// Both sides speak the same.
    Same,
    Open(Box<Talk>),
    /// Its end, or an error, went out.
    Closed,
}

/// A provider's words on their way to a client.
#[derive(Clone, Debug)]
struct Talk {
    listener: Listener,
    speaker: Speaker,
}

/// Who understands the provider.
#[derive(Clone, Debug)]
enum Listener {
    Chat(chat::listener::Listener),
    Messages(messages::listener::Listener),
    Gemini(gemini::listener::Listener),
}

/// Who talks to the client.
#[derive(Clone, Debug)]
enum Speaker {
    Chat(chat::speaker::Speaker),
    Messages(messages::speaker::Speaker),
}

impl StreamTranslator {
    /// A translator at the start of a stream of a provider that speaks `from`, for a client that speaks `to`. Between the
    /// same ones, and towards Gemini's, which no client speaks, everything passes as it is.
    #[must_use]
    pub fn new(from: Protocol, to: Protocol, options: &StreamOptions<'_>) -> Self {
        Self {
            state: State::new(from, to, options),
            blocks: Blocks::default(),
            tail: Vec::new(),
            joined: Vec::new(),
            event_bound: options.event_bound,
        }
    }

    /// Reads the next chunk; answers what goes to the client: complete events, or nothing.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        if matches!(self.state, State::Same) {
            return chunk.to_vec();
        }
        let mut out = Vec::new();
        let mut from = self.blocks.leftover(chunk);
        while let Some(len) = self.blocks.end(chunk.get(from..).unwrap_or_default()) {
            let rest = chunk.get(from..from + len).unwrap_or_default();
            self.complete(rest, &mut out);
            from += len;
        }
        self.keep(chunk.get(from..).unwrap_or_default(), &mut out);
        out
    }

    /// The provider's stream is over: answers what is left to say. One that was cut short ends in an error of the
    /// client's protocol, never as if it were complete.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.tail_is_whole() {
            self.complete(b"", &mut out);
        }
        if let State::Open(talk) = &mut self.state {
            if talk.listener.ends_silently() {
                talk.speaker.say(Delta::Done, &mut out).unwrap_or_default();
            } else {
                let early = broken("the provider's stream ended early");
                talk.speaker.fail(&early, &mut out);
            }
            self.state = State::Closed;
        }
        out
    }

    /// Whether nothing more will go out: the stream's end, or an error, has.
    #[must_use]
    pub fn closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether the stream may end here though nothing says so: its protocol knows no last event.
    #[must_use]
    pub fn may_be_over(&self) -> bool {
        match &self.state {
            State::Open(talk) => talk.listener.ends_silently(),
            State::Same | State::Closed => false,
        }
    }

    /// Some providers leave out the empty line after the last event.
    fn tail_is_whole(&mut self) -> bool {
        let event = sse::event(&self.tail, &mut self.joined);
        event.is_some_and(|event| is_done(event.data) || Node::parse(event.data).is_ok())
    }

    /// Keeps the beginning of an event until its rest comes.
    fn keep(&mut self, part: &[u8], out: &mut Vec<u8>) {
        if matches!(self.state, State::Closed) {
            return;
        }
        if self.tail.len().saturating_add(part.len()) > self.event_bound {
            self.fail(&broken("an event of the provider's stream is too large"), out);
        } else {
            self.tail.extend_from_slice(part);
        }
    }

    /// The rest of an event has come.
    fn complete(&mut self, rest: &[u8], out: &mut Vec<u8>) {
        self.keep(rest.get(..sse::content_len(rest)).unwrap_or_default(), out);
        let block = core::mem::take(&mut self.tail);
        let passed = self.state.pass(&block, &mut self.joined, out);
        if let Err(failure) = passed.map_err(Broken::into_owned) {
            self.fail(&failure, out);
        }
        self.tail = block;
        self.tail.clear();
    }

    fn fail(&mut self, failure: &Broken<'_>, out: &mut Vec<u8>) {
        if let State::Open(talk) = &mut self.state {
            talk.speaker.fail(failure, out);
        }
        self.state = State::Closed;
        self.tail = Vec::new();
    }
}

impl State {
    fn new(from: Protocol, to: Protocol, options: &StreamOptions<'_>) -> Self {
        let speaker = match to {
            _ if from == to => return Self::Same,
            Protocol::Chat => Speaker::Chat(chat::speaker::Speaker::new(options)),
            Protocol::Messages => Speaker::Messages(messages::speaker::Speaker::new(options)),
            Protocol::Gemini => return Self::Same,
        };
        let listener = match from {
            Protocol::Chat => Listener::Chat(chat::listener::Listener::default()),
            Protocol::Messages => Listener::Messages(messages::listener::Listener::default()),
            Protocol::Gemini => Listener::Gemini(gemini::listener::Listener::new(options.answer.id)),
        };
        Self::Open(Box::new(Talk { listener, speaker }))
    }

    /// Passes one event on.
    fn pass<'e>(
        &mut self,
        block: &'e [u8],
        joined: &'e mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), Broken<'e>> {
        let Self::Open(talk) = self else {
            return Ok(());
        };
        let Some(event) = sse::event(block, joined) else {
            return Ok(());
        };
        let mut deltas = Vec::new();
        let heard = talk.listener.hear(event.name, event.data, &mut deltas);
        for delta in deltas {
            let last = delta == Delta::Done;
            talk.speaker.say(delta, out)?;
            if last {
                *self = Self::Closed;
                return Ok(());
            }
        }
        heard
    }
}

impl Listener {
    fn hear<'e>(&mut self, name: &[u8], data: &'e [u8], to: &mut Vec<Delta<'e>>) -> Result<(), Broken<'e>> {
        if is_done(data) {
            to.push(Delta::Done);
            return Ok(());
        }
        if data.trim_ascii().is_empty() {
            return Ok(());
        }
        let node =
            Node::parse(data).map_err(|_| broken("an event of the provider's stream can't be read"))?;
        match self {
            Self::Chat(listener) => listener.hear(node, to),
            Self::Messages(listener) => listener.hear(name, node, to),
            Self::Gemini(listener) => listener.hear(node, to),
        }
    }

    /// Whether the end of the transport may be the end of the answer now.
    fn ends_silently(&self) -> bool {
        match self {
            Self::Chat(_) | Self::Messages(_) => false,
            Self::Gemini(listener) => listener.stopped(),
        }
    }
}

impl Speaker {
    fn say(&mut self, delta: Delta<'_>, out: &mut Vec<u8>) -> Result<(), Broken<'static>> {
        match self {
            Self::Chat(speaker) => speaker.say(delta, out),
            Self::Messages(speaker) => speaker.say(delta, out),
        }
    }

    fn fail(&mut self, failure: &Broken<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Chat(_) => {
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(&failure.body(Protocol::Chat));
            }
            Self::Messages(_) => {
                out.extend_from_slice(b"event: error\ndata: ");
                out.extend_from_slice(&failure.body(Protocol::Messages));
            }
        }
        out.extend_from_slice(b"\n\n");
    }
}

fn is_done(data: &[u8]) -> bool {
    data.trim_ascii() == b"[DONE]"
}
