//! The text of a JSON string, as much at a time as a fixed scratch holds.

use crate::json;

/// Of the scratch, in bytes. A pretoken that is longer, in a text with escapes, is cut here as if the text ended.
const CAPACITY: usize = 1 << 16;
const LONGEST_CHARACTER: usize = 4;

/// Whether a string's content is its text: no escapes, and valid UTF-8.
pub(super) fn is_plain(raw: &[u8]) -> bool {
    json::backslash(raw).is_none() && std::str::from_utf8(raw).is_ok()
}

/// Whether more text follows what the scratch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// That is all.
    Whole,
    /// More follows.
    Part,
}

/// Decoded text, a part at a time.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    text: Vec<u8>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self {
            text: Vec::with_capacity(CAPACITY),
        }
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.text.reserve_exact(CAPACITY);
    }

    /// Drops the first `used` bytes.
    pub(super) fn discard(&mut self, used: usize) {
        self.text.drain(..used.min(self.text.len()));
    }

    /// Decodes until there is no room for another character.
    pub(super) fn fill(&mut self, decoder: &mut Decoder<'_>) -> Fill {
        while let Some(room) = CAPACITY.checked_sub(self.text.len() + LONGEST_CHARACTER) {
            if decoder.rest.is_empty() {
                return Fill::Whole;
            }
            decoder.step(&mut self.text, room + LONGEST_CHARACTER);
        }
        if decoder.rest.is_empty() {
            Fill::Whole
        } else {
            Fill::Part
        }
    }
}

/// Decodes what [`json::chars`] decodes, copying what stands between escapes.
#[derive(Debug)]
pub(super) struct Decoder<'r> {
    rest: &'r [u8],
    /// Bytes before the next backslash.
    plain: usize,
}

impl<'r> Decoder<'r> {
    pub(super) fn new(raw: &'r [u8]) -> Self {
        Self {
            rest: raw,
            plain: until_backslash(raw),
        }
    }

    /// Appends an escape's character, or some text before the next, at most `room` bytes, at least one character.
    fn step(&mut self, text: &mut Vec<u8>, room: usize) {
        match self.rest {
            [b'\\', kind, rest @ ..] => match simple(*kind) {
                Some(byte) => {
                    text.push(byte);
                    self.go_on(rest);
                }
                None => self.character(text),
            },
            _ => self.copy(text, room),
        }
    }

    fn copy(&mut self, text: &mut Vec<u8>, room: usize) {
        let span = self.rest.get(..self.plain.min(room)).unwrap_or_default();
        let chunk = span.utf8_chunks().next();
        let valid = chunk.map_or(&[][..], |chunk| chunk.valid().as_bytes());
        if valid.is_empty() {
            return self.character(text);
        }
        text.extend_from_slice(valid);
        self.plain -= valid.len();
        self.rest = self.rest.get(valid.len()..).unwrap_or_default();
    }

    fn character(&mut self, text: &mut Vec<u8>) {
        let mut chars = json::chars(self.rest);
        if let Some(c) = chars.next() {
            text.extend_from_slice(c.encode_utf8(&mut [0; LONGEST_CHARACTER]).as_bytes());
        }
        let used = self.rest.len() - chars.rest().len();
        if used <= self.plain {
            self.plain -= used;
            self.rest = chars.rest();
        } else {
            self.go_on(chars.rest());
        }
    }

    fn go_on(&mut self, rest: &'r [u8]) {
        self.rest = rest;
        self.plain = until_backslash(rest);
    }
}

fn until_backslash(raw: &[u8]) -> usize {
    json::backslash(raw).unwrap_or(raw.len())
}

/// What an escape of one letter stands for.
fn simple(kind: u8) -> Option<u8> {
    match kind {
        b'n' => Some(b'\n'),
        b't' => Some(b'\t'),
        b'r' => Some(b'\r'),
        b'"' | b'\\' | b'/' => Some(kind),
        _ => None,
    }
}
