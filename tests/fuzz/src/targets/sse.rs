//! Event streams: what an event is, and the reader that counts, gathers, strips and holds.

use spillway::body::sse::{self, Blocks};
use spillway::dialect::{Passed, StreamOptions, StreamReader};

use crate::input::{Input, cut};
use crate::truth::{self, Event};

use super::request::ENDPOINTS;

/// However a stream is cut: the events are those of a simple reader; what goes out, what is counted and what was said are
/// those of the uncut stream; no more than the bound is kept back; without an order to change anything, every byte goes
/// out. Usage that came is never lost, whatever follows.
pub fn sse(data: &[u8]) {
    let mut input = Input::new(data);
    let (seed, endpoint, choice) = (input.short(), input.pick(&ENDPOINTS), input.byte());
    let options = options(choice);
    let stream = input.rest();
    let pieces = cut(stream, seed);
    blocks(stream, &pieces);
    let whole = read(&mut StreamReader::new(endpoint, options), &[stream]);
    let parts = read(&mut StreamReader::new(endpoint, options), &pieces);
    assert_eq!(whole, parts, "cuts change what is read");
    if !options.strip_usage && !options.strip_notes {
        assert_eq!(whole.out, stream, "bytes are lost");
    }
    // What a stream breaks off in is read as an event, too.
    let ended = [stream, b"\n\n"].concat();
    let data: usize = truth::events(&ended).iter().map(|(_, data)| data.len()).sum();
    assert!(whole.words.len() <= data * 3, "more words than data");
}

fn options(choice: u8) -> StreamOptions {
    StreamOptions {
        strip_usage: choice & 1 > 0,
        strip_notes: choice & 2 > 0,
        gather: (choice & 4 > 0).then_some(if choice & 64 > 0 { 60 } else { 4_096 }),
        gather_calls: choice & 8 > 0,
        hold_end: choice & 16 > 0,
        line_bound: if choice & 32 > 0 { 120 } else { 1 << 16 },
    }
}

/// Everything that a stream's reader says in the end.
#[derive(Debug, PartialEq)]
struct Told {
    out: Vec<u8>,
    progress: String,
    answer: String,
    calls: String,
    words: String,
    between: bool,
}

fn read(reader: &mut StreamReader, pieces: &[&[u8]]) -> Told {
    let mut out = Vec::new();
    let mut usage = None;
    for piece in pieces {
        match reader.push(piece) {
            Passed::Unchanged => out.extend_from_slice(piece),
            Passed::Replaced(bytes) => out.extend(bytes),
        }
        let progress = reader.progress();
        assert!(
            usage.is_none() || progress.usage.is_some() || progress.usage_fault,
            "usage is lost"
        );
        usage = progress.usage;
    }
    let between = reader.between_events();
    out.extend(reader.finish());
    out.extend(reader.take_held());
    assert!(!reader.holds());
    let answer = reader.answer();
    Told {
        progress: format!("{:?}", reader.progress()),
        answer: format!("{answer:?}"),
        calls: format!("{:?}", reader.calls()),
        words: reader.words().unwrap_or_default().to_owned(),
        out,
        between,
    }
}

/// Splits the stream as the core does and reads each block.
fn blocks(stream: &[u8], pieces: &[&[u8]]) {
    let (mut blocks, mut block, mut joined) = (Blocks::default(), Vec::new(), Vec::new());
    let mut found: Vec<Event> = Vec::new();
    for piece in pieces {
        let mut from = blocks.leftover(piece);
        while let Some(length) = blocks.end(&piece[from..]) {
            assert!(length > 0, "a block of nothing");
            block.extend_from_slice(&piece[from..from + length]);
            from += length;
            let event = sse::event(&block, &mut joined);
            found.extend(event.map(|event| (event.name.to_vec(), event.data.to_vec())));
            replaced(&block);
            block.clear();
        }
        block.extend_from_slice(&piece[from..]);
    }
    assert_eq!(
        found,
        truth::events(stream),
        "{}",
        String::from_utf8_lossy(stream)
    );
}

/// A block with other data says those data, and has the same name.
fn replaced(block: &[u8]) {
    let (mut joined, mut again) = (Vec::new(), Vec::new());
    let Some(event) = sse::event(block, &mut joined) else {
        return;
    };
    let other = sse::with_data(block, b"{}\n[]");
    let told = sse::event(&other, &mut again);
    assert_eq!(
        told.map(|told| (told.name, told.data)),
        Some((event.name, &b"{}\n[]"[..]))
    );
}
