//! Between a JSON string's content as it stands in a body and the text that it means.
//!
//! What is looked for is looked for in the text; what is changed is changed in the content, so that everything else
//! stays as it was written.

use std::borrow::Cow;

use crate::json;

/// What a content means. Bytes that aren't UTF-8 stay as they are; half a surrogate pair is U+FFFD.
pub(super) fn decoded(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&b'\\') {
        return Cow::Borrowed(raw);
    }
    let mut text = Vec::with_capacity(raw.len());
    decode(raw, &mut text);
    Cow::Owned(text)
}

/// Appends what a content means.
pub(super) fn decode(raw: &[u8], text: &mut Vec<u8>) {
    let mut rest = raw;
    while !rest.is_empty() {
        let plain = plain(rest);
        text.extend_from_slice(rest.get(..plain).unwrap_or_default());
        rest = rest.get(plain..).unwrap_or_default();
        let escape = rest.get(..escape_len(rest)).unwrap_or_default();
        if let Some(c) = json::chars(escape).next() {
            text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        rest = rest.get(escape.len()..).unwrap_or_default();
    }
}

/// Appends bytes as the content of a JSON string.
pub(super) fn encode(text: &[u8], raw: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' | b'\\' => raw.extend([b'\\', *byte]),
            b'\n' => raw.extend(*b"\\n"),
            0..0x20 => raw.extend(format!("\\u{byte:04x}").bytes()),
            _ => raw.push(*byte),
        }
    }
}

/// A value as it stands in a text that is JSON itself. One that was found in such a text is escaped already and stays.
pub(super) fn in_json(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, after @ ..] = rest {
        let escape = escape_len(rest);
        match (first, after.first()) {
            (b'\\', Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' | b'u')) => {
                out.extend_from_slice(rest.get(..escape).unwrap_or(rest));
                rest = rest.get(escape..).unwrap_or_default();
            }
            _ => {
                encode(&[*first], &mut out);
                rest = after;
            }
        }
    }
    out
}

/// How much of the content's end is half of a surrogate pair, whose other half may follow.
pub(super) fn half_pair(raw: &[u8]) -> usize {
    let half = raw
        .len()
        .checked_sub(6)
        .and_then(|at| raw.get(at..))
        .unwrap_or_default();
    let slashes = raw
        .iter()
        .rev()
        .skip(6)
        .take_while(|byte| **byte == b'\\')
        .count();
    let high = matches!(
        half,
        [
            b'\\',
            b'u',
            b'd' | b'D',
            b'8' | b'9' | b'a' | b'A' | b'b' | b'B',
            _,
            _
        ]
    );
    if high && slashes % 2 == 0 { 6 } else { 0 }
}

/// Bytes before the next escape.
fn plain(raw: &[u8]) -> usize {
    let mut at = 0;
    while let Some(run) = raw.get(at..).and_then(json::string_special) {
        at += run;
        if raw.get(at) == Some(&b'\\') {
            return at;
        }
        at += 1;
    }
    raw.len()
}

/// Length of the escape that begins here, a surrogate pair's both.
fn escape_len(raw: &[u8]) -> usize {
    let whole = match raw {
        [
            b'\\',
            b'u',
            b'd' | b'D',
            b'8' | b'9' | b'a' | b'A' | b'b' | b'B',
            _,
            _,
            b'\\',
            b'u',
            b'd' | b'D',
            b'c'..=b'f' | b'C'..=b'F',
            ..,
        ] => 12,
        [b'\\', b'u', ..] => 6,
        _ => 2,
    };
    whole.min(raw.len())
}

/// Walks a content along with its text.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'r> {
    raw: &'r [u8],
    at: usize,
    text: usize,
}

impl<'r> Cursor<'r> {
    /// At the beginning of a content, which is at this place of the text.
    pub(super) fn new(raw: &'r [u8], text: usize) -> Self {
        Self { raw, at: 0, text }
    }

    /// The content from where the cursor is to this place of the text, and moves there.
    pub(super) fn take(&mut self, place: usize) -> &'r [u8] {
        let from = self.at;
        while self.text < place {
            let rest = self.raw.get(self.at..).unwrap_or_default();
            let wanted = place - self.text;
            let run = plain(rest.get(..wanted).unwrap_or(rest)).min(wanted);
            self.at += run;
            self.text += run;
            if run == 0 && !self.escape() {
                break;
            }
        }
        self.raw.get(from..self.at).unwrap_or_default()
    }

    /// How much of the content lies behind.
    pub(super) fn taken(&self) -> usize {
        self.at
    }

    fn escape(&mut self) -> bool {
        let rest = self.raw.get(self.at..).unwrap_or_default();
        let escape = rest.get(..escape_len(rest)).unwrap_or_default();
        let mut length = 0;
        if let Some(c) = json::chars(escape).next() {
            length = c.len_utf8();
        }
        self.at += escape.len();
        self.text += length;
        !escape.is_empty()
    }
}
