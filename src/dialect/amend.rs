//! Putting other words into an answer: the assistant's text, or the arguments of a call, in the answer's own body or
//! events. Every other byte stays.
//!
//! Text and arguments that came in several pieces become one: the first piece carries all, the others nothing. The
//! invariant: either all that was to be put in is in, or there is no answer.

use super::Endpoint;
use super::answer::words;
use super::calls::Calls;
use super::wanted::{content, each_item, each_member};
use crate::body::sse::{self, Blocks};
use crate::json::{self, Fault};

/// What is put into an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amendment {
    /// The assistant's text.
    pub text: Option<String>,
    /// Arguments of calls, by the calls' order; `None` leaves them.
    pub calls: Vec<Option<String>>,
}

/// Puts other words into a complete answer; none where there is no place for them.
#[must_use]
pub fn amended(endpoint: Endpoint, body: &[u8], amendment: &Amendment) -> Option<Vec<u8>> {
    let mut amender = Amender::new(endpoint, amendment);
    let edited = amender.edited(body, Data::Body).ok()?;
    // Where a member comes twice, the one that was written may not be the one that is read.
    let is_heard =
        |text: &String| words(endpoint, &edited).is_some_and(|words| words.contains(text.as_str()));
    let heard = amendment.text.as_ref().is_none_or(is_heard);
    (amender.is_done() && heard).then_some(edited)
}

/// Puts other words into a complete stream of events; none where there is no place for them.
#[must_use]
pub fn amended_events(endpoint: Endpoint, events: &[u8], amendment: &Amendment) -> Option<Vec<u8>> {
    let mut amender = Amender::new(endpoint, amendment);
    let (mut blocks, mut joined) = (Blocks::default(), Vec::new());
    let mut out = Vec::with_capacity(events.len());
    let mut rest = events;
    while !rest.is_empty() {
        let len = blocks.end(rest).unwrap_or(rest.len());
        let (block, after) = rest.split_at_checked(len)?;
        rest = after;
        match sse::event(block, &mut joined) {
            Some(event) => amender.event(event.name, event.data, block, &mut out),
            None => out.extend_from_slice(block),
        }
    }
    amender.is_done().then_some(out)
}

/// What a text belongs to: one of its answer's parts, or calls.
type Key = (u64, u64);

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Text,
    /// A JSON text within a string.
    Arguments,
    /// Arguments as the JSON that they are.
    Input,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// One of several.
    Piece,
    /// All of it, perhaps said before in pieces.
    Whole,
}

#[derive(Clone, Copy)]
enum Data {
    Body,
    Event,
}

/// Where something can be put in.
struct Place<'d> {
    what: What,
    extent: Extent,
    key: Key,
    span: &'d [u8],
}

/// What was put in so far.
struct Amender<'a> {
    endpoint: Endpoint,
    amendment: &'a Amendment,
    /// The part of the answer that carries the text, and whether it does already.
    home: Option<Key>,
    said: bool,
    /// The calls in their order, and whether their arguments are in.
    calls: Vec<(Key, bool)>,
}

impl<'a> Amender<'a> {
    fn new(endpoint: Endpoint, amendment: &'a Amendment) -> Self {
        Self {
            endpoint,
            amendment,
            home: None,
            said: false,
            calls: Vec::new(),
        }
    }

    fn is_done(&self) -> bool {
        let wanted = self.amendment.calls.iter().enumerate();
        let is_in = |at: usize| self.calls.get(at).is_some_and(|(_, said)| *said);
        let mut missing = wanted.filter(|(at, call)| call.is_some() && !is_in(*at));
        (self.said || self.amendment.text.is_none()) && missing.next().is_none()
    }

    fn event(&mut self, name: &[u8], data: &[u8], block: &[u8], out: &mut Vec<u8>) {
        match self.edited(data, Data::Event) {
            Ok(edited) if edited != data => {
                if !name.is_empty() {
                    out.extend([b"event: ", name, b"\n"].concat());
                }
                for line in edited.split(|byte| *byte == b'\n') {
                    out.extend([b"data: ", line, b"\n"].concat());
                }
                out.push(b'\n');
            }
            Ok(_) | Err(_) => out.extend_from_slice(block),
        }
    }

    fn edited(&mut self, data: &[u8], kind: Data) -> Result<Vec<u8>, Fault> {
        let places = self.places(data, kind)?;
        let mut out = Vec::with_capacity(data.len());
        let mut from = 0;
        for place in &places {
            let (Some(at), Some(words)) = (offset(data, place.span), self.words(place)) else {
                continue;
            };
            out.extend_from_slice(data.get(from..at).unwrap_or_default());
            match place.what {
                What::Input => out.extend_from_slice(words.as_bytes()),
                What::Text | What::Arguments => json::push_string(&mut out, words),
            }
            from = at.saturating_add(place.span.len());
        }
        out.extend_from_slice(data.get(from..).unwrap_or_default());
        Ok(out)
    }

    /// What is put there; none: it stays as it is.
    fn words(&mut self, place: &Place<'_>) -> Option<&'a str> {
        if place.extent == Extent::Piece && matches!(place.span, b"\"\"" | b"{}" | b"null") {
            return None;
        }
        let (words, first) = match place.what {
            What::Text => {
                let words = self.amendment.text.as_deref()?;
                let home = *self.home.get_or_insert(place.key);
                let first = place.extent == Extent::Piece && !self.said;
                let first = first || place.extent == Extent::Whole && home == place.key;
                self.said |= first;
                (words, first)
            }
            What::Arguments | What::Input => {
                let at = self.calls.iter().position(|(key, _)| *key == place.key)?;
                let words = self.amendment.calls.get(at)?.as_deref()?;
                let (_, said) = self.calls.get_mut(at)?;
                let first = place.extent == Extent::Whole || !*said;
                *said |= first;
                (words, first)
            }
        };
        Some(if first { words } else { "" })
    }

    fn begin(&mut self, key: Key) {
        let known = self.calls.iter().any(|(known, _)| *known == key);
        // More were never gathered, so nobody changes them.
        if !known && self.calls.len() < Calls::MAX {
            self.calls.push((key, false));
        }
    }

    fn places<'d>(&mut self, data: &'d [u8], kind: Data) -> Result<Vec<Place<'d>>, Fault> {
        let mut places = Vec::new();
        match (self.endpoint, kind) {
            (Endpoint::ChatCompletions | Endpoint::Completions, Data::Body) => {
                self.choices(data, Extent::Whole, &mut places)?;
            }
            (Endpoint::ChatCompletions | Endpoint::Completions, Data::Event) => {
                self.choices(data, Extent::Piece, &mut places)?;
            }
            (Endpoint::Responses, Data::Body) => self.output(data, &mut places)?,
            (Endpoint::Responses, Data::Event) => self.responses_event(data, &mut places)?,
            (Endpoint::Messages, Data::Body) => {
                each_member(data, |name, value| match name {
                    b"content" => {
                        let mut index = 0;
                        each_item(value, |block| {
                            index += 1;
                            self.block(block, (Extent::Whole, index), &mut places)
                        })
                    }
                    _ => Ok(()),
                })?;
            }
            (Endpoint::Messages, Data::Event) => self.messages_event(data, &mut places)?,
            (Endpoint::Embeddings | Endpoint::GenerateContent, _) => {}
        }
        Ok(places)
    }

    fn choices<'d>(
        &mut self,
        data: &'d [u8],
        extent: Extent,
        places: &mut Vec<Place<'d>>,
    ) -> Result<(), Fault> {
        each_member(data, |name, value| match name {
            b"choices" => each_item(value, |choice| self.choice(choice, extent, places)),
            _ => Ok(()),
        })
    }

    fn choice<'d>(
        &mut self,
        span: &'d [u8],
        extent: Extent,
        places: &mut Vec<Place<'d>>,
    ) -> Result<(), Fault> {
        let mut index = 0;
        each_member(span, |name, value| {
            if name == b"index" {
                index = json::unsigned(value).unwrap_or(0);
            }
            Ok(())
        })?;
        each_member(span, |name, value| match name {
            b"text" => {
                places.push(text(extent, (index, 0), value));
                Ok(())
            }
            b"message" | b"delta" => self.message(value, (extent, index), places),
            _ => Ok(()),
        })
    }

    fn message<'d>(
        &mut self,
        span: &'d [u8],
        (extent, choice): (Extent, u64),
        places: &mut Vec<Place<'d>>,
    ) -> Result<(), Fault> {
        each_member(span, |name, value| match name {
            b"content" if value.starts_with(b"[") => {
                let mut index = 0;
                each_item(value, |part| {
                    index += 1;
                    texts(part, (extent, (choice, index)), places)
                })
            }
            b"content" => {
                places.push(text(extent, (choice, 0), value));
                Ok(())
            }
            b"function_call" => self.function(value, (extent, (choice, 0)), places),
            b"tool_calls" => {
                let mut position = 0_u64;
                each_item(value, |call| {
                    let mut index = position;
                    position = position.saturating_add(1);
                    each_member(call, |name, value| {
                        if name == b"index" {
                            index = json::unsigned(value).unwrap_or(0);
                        }
                        Ok(())
                    })?;
                    self.begin((choice, index));
                    each_member(call, |name, value| match name {
                        b"function" => self.function(value, (extent, (choice, index)), places),
                        _ => Ok(()),
                    })
                })
            }
            _ => Ok(()),
        })
    }

    /// An object with `arguments` in a string.
    fn function<'d>(
        &mut self,
        span: &'d [u8],
        (extent, key): (Extent, Key),
        places: &mut Vec<Place<'d>>,
    ) -> Result<(), Fault> {
        self.begin(key);
        each_member(span, |name, value| {
            if name == b"arguments" {
                places.push(Place {
                    what: What::Arguments,
                    extent,
                    key,
                    span: value,
                });
            }
            Ok(())
        })
    }

    /// A block of Messages.
    fn block<'d>(
        &mut self,
        span: &'d [u8],
        (extent, index): (Extent, u64),
        places: &mut Vec<Place<'d>>,
    ) -> Result<(), Fault> {
        let key = (0, index);
        each_member(span, |name, value| {
            match name {
                b"type" if content(value) == b"tool_use" => self.begin(key),
                b"text" => places.push(text(extent, key, value)),
                b"partial_json" => places.push(Place {
                    what: What::Arguments,
                    extent,
                    key,
                    span: value,
                }),
                b"input" => places.push(Place {
                    what: What::Input,
                    extent,
                    key,
                    span: value,
                }),
                _ => {}
            }
            Ok(())
        })
    }

    fn messages_event<'d>(&mut self, data: &'d [u8], places: &mut Vec<Place<'d>>) -> Result<(), Fault> {
        let (mut index, mut inside) = (0, &b""[..]);
        each_member(data, |name, value| {
            match name {
                b"index" => index = json::unsigned(value).unwrap_or(0),
                b"content_block" | b"delta" => inside = value,
                _ => {}
            }
            Ok(())
        })?;
        self.block(inside, (Extent::Piece, index), places)
    }

    fn output<'d>(&mut self, response: &'d [u8], places: &mut Vec<Place<'d>>) -> Result<(), Fault> {
        each_member(response, |name, value| match name {
            b"output" => {
                let mut index = 0;
                each_item(value, |item| {
                    let at = index;
                    index += 1;
                    self.item(item, at, places)
                })
            }
            _ => Ok(()),
        })
    }

    /// An item of Responses, complete.
    fn item<'d>(&mut self, span: &'d [u8], index: u64, places: &mut Vec<Place<'d>>) -> Result<(), Fault> {
        let (mut kind, mut parts) = (&b""[..], &b""[..]);
        each_member(span, |name, value| {
            match name {
                b"type" => kind = content(value),
                b"content" => parts = value,
                _ => {}
            }
            Ok(())
        })?;
        match kind {
            b"function_call" => self.function(span, (Extent::Whole, (0, index)), places),
            b"message" => {
                let mut part = 0;
                each_item(parts, |span| {
                    let at = part;
                    part += 1;
                    texts(span, (Extent::Whole, (index, at)), places)
                })
            }
            _ => Ok(()),
        }
    }

    fn responses_event<'d>(&mut self, data: &'d [u8], places: &mut Vec<Place<'d>>) -> Result<(), Fault> {
        let mut event = ResponsesEvent::default();
        each_member(data, |name, value| {
            match name {
                b"type" => event.kind = content(value),
                b"output_index" => event.output = json::unsigned(value).unwrap_or(0),
                b"content_index" => event.part = json::unsigned(value).unwrap_or(0),
                b"delta" | b"text" | b"arguments" => event.words = value,
                b"part" | b"item" | b"response" => event.inside = value,
                _ => {}
            }
            Ok(())
        })?;
        let (part, call) = ((event.output, event.part), (0, event.output));
        let arguments = |extent| Place {
            what: What::Arguments,
            extent,
            key: call,
            span: event.words,
        };
        match event.kind {
            b"response.output_text.delta" => places.push(text(Extent::Piece, part, event.words)),
            b"response.output_text.done" => places.push(text(Extent::Whole, part, event.words)),
            b"response.content_part.done" => texts(event.inside, (Extent::Whole, part), places)?,
            b"response.function_call_arguments.delta" => {
                self.begin(call);
                places.push(arguments(Extent::Piece));
            }
            b"response.function_call_arguments.done" => {
                self.begin(call);
                places.push(arguments(Extent::Whole));
            }
            b"response.output_item.done" => self.item(event.inside, event.output, places)?,
            b"response.completed" | b"response.incomplete" => self.output(event.inside, places)?,
            _ => {}
        }
        Ok(())
    }
}

/// What of an event of Responses matters here.
#[derive(Default)]
struct ResponsesEvent<'d> {
    kind: &'d [u8],
    output: u64,
    part: u64,
    words: &'d [u8],
    inside: &'d [u8],
}

fn text(extent: Extent, key: Key, span: &[u8]) -> Place<'_> {
    Place {
        what: What::Text,
        extent,
        key,
        span,
    }
}

/// A part with `text`.
fn texts<'d>(span: &'d [u8], (extent, key): (Extent, Key), places: &mut Vec<Place<'d>>) -> Result<(), Fault> {
    each_member(span, |name, value| {
        if name == b"text" {
            places.push(text(extent, key, value));
        }
        Ok(())
    })
}

/// Where a part of `data` begins in it.
fn offset(data: &[u8], part: &[u8]) -> Option<usize> {
    let at = part.as_ptr().addr().checked_sub(data.as_ptr().addr())?;
    (!part.is_empty() && at.saturating_add(part.len()) <= data.len()).then_some(at)
}
