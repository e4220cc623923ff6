//! What results are held against: readers written apart from the core, slow and simple, or somebody else's.

use serde::de::IgnoredAny;
use serde_json::Value;

/// Whether a text is JSON, however deep and however large its numbers.
pub(crate) fn is_json(text: &[u8]) -> bool {
    core::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// Fails unless a text is JSON.
#[track_caller]
pub(crate) fn assert_json(text: &[u8]) {
    assert!(is_json(text), "isn't JSON: {}", String::from_utf8_lossy(text));
}

/// Fails unless what was made of a source is JSON; in UTF-8 if the source is.
#[track_caller]
pub(crate) fn assert_json_of(source: &[u8], text: &[u8]) {
    match core::str::from_utf8(source) {
        Ok(_) => assert_json(text),
        Err(_) => assert!(is_json(String::from_utf8_lossy(text).as_bytes()), "isn't JSON"),
    }
}

/// The value of a text; none where it is no JSON, nests too deep, or has numbers or characters that can't be held.
pub(crate) fn value(text: &[u8]) -> Option<Value> {
    serde_json::from_slice(text).ok()
}

/// An event of a stream: its name, and its data.
pub(crate) type Event = (Vec<u8>, Vec<u8>);

/// The events of a whole stream, line by line as WHATWG HTML 9.2.6 says it; what is left at the end is no event.
/// A byte-order mark is dropped at the start of each block, not of the stream alone.
pub(crate) fn events(stream: &[u8]) -> Vec<Event> {
    let (mut events, mut name, mut data) = (Vec::new(), Vec::new(), None::<Vec<u8>>);
    let mut begins = true;
    for line in lines(stream) {
        if line.is_empty() {
            events.extend(data.take().map(|data| (core::mem::take(&mut name), data)));
            name.clear();
            begins = true;
            continue;
        }
        let line = match line.strip_prefix(b"\xef\xbb\xbf") {
            Some(bare) if begins => bare,
            _ => line,
        };
        begins = false;
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => name = value.to_vec(),
            b"data" => match &mut data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => data = Some(value.to_vec()),
            },
            _ => {}
        }
    }
    events
}

/// The lines that are ended: by LF, CRLF or CR.
fn lines(stream: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut from, mut at) = (Vec::new(), 0, 0);
    while at < stream.len() {
        let length = match &stream[at..] {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => 0,
        };
        if length > 0 {
            lines.push(&stream[from..at]);
            from = at + length;
        }
        at += length.max(1);
    }
    lines
}
