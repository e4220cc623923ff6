//! The tools that an answer calls, with their arguments: from a complete answer, or gathered from a stream.
//!
//! Both ways yield the same calls, so a verdict can't depend on the transport. The invariant: never more than
//! [`Calls::MAX`] calls or the bound's bytes are kept.

use super::Endpoint;
use super::wanted::{content, each_item, each_member};
use crate::json::{self, Fault};

/// One call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The tool's name.
    pub name: String,
    /// Its arguments as the model wrote them: should be JSON.
    pub arguments: String,
}

/// Gathers the calls of one answer.
#[derive(Clone, Debug)]
pub struct Calls {
    endpoint: Endpoint,
    /// Bytes that may still be kept.
    room: usize,
    over: bool,
    /// Each with what tells it from the others: answer and position.
    calls: Vec<((u64, u64), Call)>,
}

/// What of a call one event or item says; spans of strings' contents, or of an object.
#[derive(Clone, Copy, Default)]
struct Piece<'d> {
    index: u64,
    kind: &'d [u8],
    name: &'d [u8],
    arguments: &'d [u8],
    /// Arguments that are JSON and no string.
    input: &'d [u8],
}

impl Calls {
    /// Calls in one answer.
    pub const MAX: usize = 256;

    /// Nothing yet; at most `bound` bytes of names and arguments are kept.
    #[must_use]
    pub fn new(endpoint: Endpoint, bound: usize) -> Self {
        Self {
            endpoint,
            room: bound,
            over: false,
            calls: Vec::new(),
        }
    }

    /// Reads a complete answer.
    ///
    /// # Errors
    /// When it isn't JSON.
    pub fn body(&mut self, data: &[u8]) -> Result<(), Fault> {
        each_member(data, |name, value| match (self.endpoint, name) {
            (_, b"choices") => each_item(value, |choice| self.choice(choice)),
            (Endpoint::Responses, b"output") | (Endpoint::Messages, b"content") => {
                let mut index = 0;
                each_item(value, |item| {
                    index += 1;
                    self.item(item, index)
                })
            }
            (_, _) => Ok(()),
        })
    }

    /// Reads the data of one event of a stream.
    ///
    /// # Errors
    /// When it isn't JSON.
    pub fn event(&mut self, data: &[u8]) -> Result<(), Fault> {
        let (mut kind, mut index, mut inside) = (&b""[..], 0, &b""[..]);
        each_member(data, |name, value| {
            match name {
                b"choices" => each_item(value, |choice| self.choice(choice))?,
                b"type" => kind = content(value),
                b"index" | b"output_index" => index = json::unsigned(value).unwrap_or(0),
                b"item" | b"content_block" | b"delta" => inside = value,
                _ => {}
            }
            Ok(())
        })?;
        match kind {
            b"response.output_item.done" | b"content_block_start" => self.item(inside, index),
            b"content_block_delta" => each_member(inside, |name, value| {
                if name == b"partial_json" {
                    self.add((0, index), b"", content(value));
                }
                Ok(())
            }),
            _ => Ok(()),
        }
    }

    /// The calls, in the order begun; none when there was more than is kept. Arguments that never came are `{}`.
    #[must_use]
    pub fn finish(self) -> Option<Vec<Call>> {
        let complete = |(_, mut call): (_, Call)| {
            if call.arguments.trim().is_empty() {
                "{}".clone_into(&mut call.arguments);
            }
            call
        };
        (!self.over).then(|| self.calls.into_iter().map(complete).collect())
    }

    /// An item of Responses or a block of Messages.
    fn item(&mut self, span: &[u8], index: u64) -> Result<(), Fault> {
        let piece = Piece::read(span)?;
        match piece.kind {
            b"function_call" => self.add((0, index), piece.name, piece.arguments),
            b"tool_use" => {
                self.add((0, index), piece.name, b"");
                // A stream begins a block with an empty input, and sends it in pieces.
                if piece.input != b"{}" {
                    self.append((0, index), std::str::from_utf8(piece.input).unwrap_or_default());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn choice(&mut self, span: &[u8]) -> Result<(), Fault> {
        let (mut choice, mut message) = (0, &b""[..]);
        each_member(span, |name, value| {
            match name {
                b"index" => choice = json::unsigned(value).unwrap_or(0),
                b"message" | b"delta" => message = value,
                _ => {}
            }
            Ok(())
        })?;
        each_member(message, |name, value| match name {
            b"function_call" => {
                let piece = Piece::read(value)?;
                self.add((choice, 0), piece.name, piece.arguments);
                Ok(())
            }
            b"tool_calls" => self.tool_calls(choice, value),
            _ => Ok(()),
        })
    }

    fn tool_calls(&mut self, choice: u64, span: &[u8]) -> Result<(), Fault> {
        let mut position = 0_u64;
        each_item(span, |call| {
            let mut piece = Piece::read(call)?;
            let index = if piece.index == u64::MAX {
                position
            } else {
                piece.index
            };
            each_member(call, |name, value| {
                if name == b"function" {
                    piece = Piece::read(value)?;
                }
                Ok(())
            })?;
            position = position.saturating_add(1);
            self.add((choice, index), piece.name, piece.arguments);
            Ok(())
        })
    }

    /// Adds what was said, still escaped, to the call of this key.
    fn add(&mut self, key: (u64, u64), name: &[u8], arguments: &[u8]) {
        if !self.calls.iter().any(|(known, _)| *known == key) {
            if self.calls.len() >= Self::MAX {
                self.over = true;
                return;
            }
            self.calls.push((key, Call::default()));
        }
        let name = json::text(name);
        if self.fits(name.len()) {
            self.with(key, |call| call.name.push_str(&name));
        }
        self.append(key, &json::text(arguments));
    }

    fn append(&mut self, key: (u64, u64), arguments: &str) {
        if self.fits(arguments.len()) {
            self.with(key, |call| call.arguments.push_str(arguments));
        }
    }

    fn fits(&mut self, bytes: usize) -> bool {
        match self.room.checked_sub(bytes) {
            Some(left) => self.room = left,
            None => self.over = true,
        }
        !self.over
    }

    fn with(&mut self, key: (u64, u64), change: impl FnOnce(&mut Call)) {
        if let Some((_, call)) = self.calls.iter_mut().find(|(known, _)| *known == key) {
            change(call);
        }
    }
}

impl<'d> Piece<'d> {
    fn read(span: &'d [u8]) -> Result<Self, Fault> {
        let mut piece = Self {
            index: u64::MAX,
            ..Self::default()
        };
        each_member(span, |name, value| {
            match name {
                b"index" => piece.index = json::unsigned(value).unwrap_or(0),
                b"type" => piece.kind = content(value),
                b"name" => piece.name = content(value),
                b"arguments" => piece.arguments = content(value),
                b"input" => piece.input = value,
                _ => {}
            }
            Ok(())
        })?;
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::{Calls, Endpoint};

    fn told(calls: Calls) -> String {
        let Some(found) = calls.finish() else {
            return "over".to_owned();
        };
        let one = |call: &super::Call| format!("{}{}", call.name, call.arguments);
        found.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn whole(endpoint: Endpoint, body: &str) -> String {
        let mut calls = Calls::new(endpoint, 1_000);
        calls.body(body.as_bytes()).unwrap();
        told(calls)
    }

    fn streamed(endpoint: Endpoint, events: &[&str]) -> String {
        let mut calls = Calls::new(endpoint, 1_000);
        for event in events {
            calls.event(event.as_bytes()).unwrap();
        }
        told(calls)
    }

    #[test]
    fn whole_and_streamed_answers_call_the_same() {
        let chat = r#"{"choices":[{"index":0,"message":{"tool_calls":[
            {"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},
            {"id":"2","type":"function","function":{"name":"g","arguments":""}}]}}]}"#;
        let chunks = [
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":""}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"2","function":{"name":"g"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}"#,
        ];
        assert_eq!(whole(Endpoint::ChatCompletions, chat), r#"f{"a":1} g{}"#);
        assert_eq!(streamed(Endpoint::ChatCompletions, &chunks), r#"f{"a":1} g{}"#);

        let message = r#"{"content":[{"type":"text","text":"x"},{"type":"tool_use","id":"1","name":"f","input":{"a":1}}]}"#;
        let events = [
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","name":"f","input":{}}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\""}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":":1}"}}"#,
        ];
        assert_eq!(whole(Endpoint::Messages, message), r#"f{"a":1}"#);
        assert_eq!(streamed(Endpoint::Messages, &events), r#"f{"a":1}"#);

        let response = r#"{"output":[{"type":"function_call","name":"f","arguments":"{\"a\":1}"}]}"#;
        let events = [
            r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","name":"f","arguments":""}}"#,
            r#"{"type":"response.function_call_arguments.delta","output_index":0,"delta":"{\"a\":1}"}"#,
            r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","name":"f","arguments":"{\"a\":1}"}}"#,
        ];
        assert_eq!(whole(Endpoint::Responses, response), r#"f{"a":1}"#);
        assert_eq!(streamed(Endpoint::Responses, &events), r#"f{"a":1}"#);
    }

    #[test]
    fn more_than_the_bound_is_told_and_not_kept() {
        let long = format!(
            r#"{{"content":[{{"type":"tool_use","name":"f","input":"{}"}}]}}"#,
            "x".repeat(2_000)
        );
        assert_eq!(whole(Endpoint::Messages, &long), "over");
        let call = r#"{"type":"tool_use","name":"f","input":{}},"#.repeat(300);
        assert_eq!(
            whole(Endpoint::Messages, &format!(r#"{{"content":[{call}null]}}"#)),
            "over"
        );
        assert_eq!(streamed(Endpoint::ChatCompletions, &["[DONE]"]), "");
    }
}
