//! Server-sent events (WHATWG HTML, section 9.2), parsed as they pass.
//!
//! A stream is a row of blocks, each ended by an empty line; lines end with LF, CRLF or CR. [`Blocks`] finds where blocks
//! end, however the stream is cut; [`event`] reads a complete block. Neither keeps any bytes.

use crate::json;

/// Finds the ends of blocks in a stream that arrives in pieces.
#[derive(Clone, Debug)]
pub struct Blocks {
    /// The line being read has no byte yet.
    line_empty: bool,
    /// The last byte was a CR: an LF now belongs to the same line end.
    after_cr: bool,
    /// The last byte ended a block.
    between: bool,
}

impl Default for Blocks {
    fn default() -> Self {
        Self {
            line_empty: true,
            after_cr: false,
            between: true,
        }
    }
}

impl Blocks {
    /// How many bytes at the start of the next piece still belong to the block before it: one, if that block ended
    /// with a CR and the piece begins with its LF. To be called once for each piece, before [`Blocks::end`].
    pub fn leftover(&mut self, piece: &[u8]) -> usize {
        if self.between && self.after_cr && piece.first() == Some(&b'\n') {
            self.after_cr = false;
            return 1;
        }
        0
    }

    /// Reads on to the end of the current block: the offset after its empty line. None when `piece` is used up first.
    pub fn end(&mut self, piece: &[u8]) -> Option<usize> {
        let mut at = self.line_feed(piece);
        while let Some(rest) = piece.get(at..).filter(|rest| !rest.is_empty()) {
            self.between = false;
            self.after_cr = false;
            let Some(plain) = json::line_end(rest) else {
                self.line_empty = false;
                return None;
            };
            let empty = self.line_empty && plain == 0;
            at += plain + self.line_end_len(rest.get(plain..).unwrap_or_default());
            self.line_empty = true;
            if empty {
                self.between = true;
                return Some(at);
            }
        }
        None
    }

    /// A whole block was read by somebody else, between two others; it ended with an LF.
    pub fn pass(&mut self) {
        *self = Self::default();
    }

    /// Whether the last byte read ended a block (or nothing was read yet).
    #[must_use]
    pub fn between(&self) -> bool {
        self.between
    }

    fn line_feed(&mut self, piece: &[u8]) -> usize {
        let joins = self.after_cr && piece.first() == Some(&b'\n');
        if joins {
            self.after_cr = false;
        }
        usize::from(joins)
    }

    fn line_end_len(&mut self, rest: &[u8]) -> usize {
        match rest {
            [b'\r', b'\n', ..] => 2,
            [b'\r'] => {
                self.after_cr = true;
                1
            }
            _ => 1,
        }
    }
}

/// The length of a block without the empty line that ends it, if it has one.
#[must_use]
pub fn content_len(block: &[u8]) -> usize {
    let end = match block {
        [.., b'\r', b'\n'] => 2,
        [.., b'\r' | b'\n'] => 1,
        _ => 0,
    };
    block.len().saturating_sub(end)
}

/// What a block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its `event` field; empty when it has none.
    pub name: &'a [u8],
    /// Its `data` fields, joined by LF.
    pub data: &'a [u8],
}

/// Reads a block; none when it has no `data` field (comments, `retry`, nothing). Several `data` fields are joined in
/// `joined`, which is overwritten; a single one costs no copy.
pub fn event<'a>(block: &'a [u8], joined: &'a mut Vec<u8>) -> Option<Event<'a>> {
    joined.clear();
    let mut name: &[u8] = b"";
    let mut single = None;
    let mut several = false;
    for (field, value) in fields(block) {
        match (field, single) {
            (b"event", _) => name = value,
            (b"data", None) => single = Some(value),
            (b"data", Some(first)) => {
                if !several {
                    joined.extend_from_slice(first);
                }
                several = true;
                joined.push(b'\n');
                joined.extend_from_slice(value);
            }
            _ => {}
        }
    }
    let data = if several { joined.as_slice() } else { single? };
    Some(Event { name, data })
}

/// A block with other data: its first `data` field holds them, the others are left out. Everything else stays.
#[must_use]
pub fn with_data(block: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(block.len() + data.len());
    let (mut rest, mut told) = (block, false);
    while !rest.is_empty() {
        let end = json::line_end(rest).unwrap_or(rest.len());
        let (line, after) = rest.split_at_checked(end).unwrap_or((rest, b""));
        let next = after
            .strip_prefix(b"\r\n")
            .or_else(|| after.get(1..))
            .unwrap_or_default();
        let bare = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        if bare == b"data" || bare.starts_with(b"data:") {
            if !core::mem::replace(&mut told, true) {
                push_data(&mut out, data);
            }
        } else {
            let whole = rest.len().saturating_sub(next.len());
            out.extend_from_slice(rest.get(..whole).unwrap_or_default());
        }
        rest = next;
    }
    out
}

/// As many fields as the data have lines.
fn push_data(out: &mut Vec<u8>, data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
}

/// The fields of a block, in order, comments left out. A byte-order mark at its start is ignored: only the first block
/// of a stream can carry one and be understood.
fn fields(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let block = block.strip_prefix(b"\xef\xbb\xbf").unwrap_or(block);
    Lines { rest: block }.filter_map(|line| match line.iter().position(|byte| *byte == b':') {
        Some(0) => None,
        None => Some((line, &b""[..])),
        Some(colon) => {
            let (field, value) = line.split_at_checked(colon)?;
            let value = value.strip_prefix(b":").unwrap_or(value);
            Some((field, value.strip_prefix(b" ").unwrap_or(value)))
        }
    })
}

struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = json::line_end(self.rest).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest
            .strip_prefix(b"\r\n")
            .or_else(|| rest.get(1..))
            .unwrap_or_default();
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::{Blocks, Event, content_len, event, with_data};

    /// The blocks of a stream cut into pieces, as its reader must see them; the unfinished rest last.
    fn blocks(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut ends, mut found, mut tail) = (Blocks::default(), Vec::<Vec<u8>>::new(), Vec::new());
        for piece in pieces {
            let mut from = ends.leftover(piece);
            if from == 1 {
                found.last_mut().unwrap().push(b'\n');
            }
            while let Some(end) = ends.end(&piece[from..]) {
                tail.extend_from_slice(&piece[from..from + end]);
                found.push(std::mem::take(&mut tail));
                from += end;
            }
            tail.extend_from_slice(&piece[from..]);
        }
        assert_eq!(ends.between(), tail.is_empty());
        found.push(tail);
        found
    }

    fn read(block: &[u8]) -> Option<(String, String)> {
        let mut joined = Vec::new();
        let Event { name, data } = event(block, &mut joined)?;
        let own = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((own(name), own(data)))
    }

    const STREAMS: &[&str] = &[
        "data: a\n\ndata: b\n\n",
        "data: a\r\n\r\ndata: b\r\n\r\n",
        "data: a\r\rdata: b\r\r",
        "\u{feff}data: é\n\n: comment\n\nevent: x\ndata: a\ndata: b\n\n",
        "data: a\r\n\ndata: b\n\r\n\r\n\n\r\r\ndata: cut",
        "\n\n\r\r\n\r\ndata\n\ndata:\n\n",
    ];

    #[test]
    fn blocks_are_the_same_however_the_stream_is_cut() {
        for stream in STREAMS {
            let bytes = stream.as_bytes();
            let whole = blocks(&[bytes]);
            assert_eq!(whole.concat(), bytes);
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                    assert_eq!(blocks(&pieces), whole, "{stream:?} cut at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn all_three_line_ends_end_blocks() {
        for (stream, count) in [(STREAMS[0], 2), (STREAMS[1], 2), (STREAMS[2], 2), (STREAMS[3], 3)] {
            assert_eq!(blocks(&[stream.as_bytes()]).len(), count + 1, "{stream:?}");
        }
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        let said = |name: &str, data: &str| Some((name.to_owned(), data.to_owned()));
        assert_eq!(read(b"data: a\ndata:b\ndata:  c\n\n"), said("", "a\nb\n c"));
        assert_eq!(
            read(b"event: x\r\nid: 1\r\nretry: 5\r\ndata: y\r\n\r\n"),
            said("x", "y")
        );
        assert_eq!(read("\u{feff}data: x\n\n".as_bytes()), said("", "x"));
        assert_eq!(read(b"data\n\n"), said("", ""));
        assert_eq!(read(b": comment\n\n"), None);
        assert_eq!(read(b"datax: 1\n\n"), None);
        assert_eq!(read(b"data: a:b"), said("", "a:b"));
    }

    #[test]
    fn other_data_take_the_place_of_all_data() {
        let with = |block: &str| String::from_utf8(with_data(block.as_bytes(), b"x\ny")).unwrap();
        assert_eq!(
            with("event: e\ndata: a\nid: 1\ndata: b\n\n"),
            "event: e\ndata: x\ndata: y\nid: 1\n\n"
        );
        assert_eq!(with("\u{feff}data: a\r\n\r\n"), "data: x\ndata: y\n\r\n");
        assert_eq!(with("data:a\r: c\r\r"), "data: x\ndata: y\n: c\r\r");
    }

    #[test]
    fn the_empty_line_is_not_content() {
        for (block, len) in [
            ("a\n\n", 2),
            ("a\r\n\r\n", 3),
            ("a\r\r", 2),
            ("a\r\n\n", 3),
            ("\n", 0),
            ("a", 1),
        ] {
            assert_eq!(content_len(block.as_bytes()), len, "{block:?}");
        }
    }
}
