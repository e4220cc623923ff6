//! JSON by hand: the lexer, the machine, strings and numbers.

use spillway::json::{self, Fault, Lexer, MAX_DEPTH, Machine, Mark};

use crate::input::{Input, cut};
use crate::truth;

/// The lexer accepts what `serde_json` accepts, depth apart; the machine, cut anywhere, accepts the same of objects and
/// marks the same places; a string is read as `serde_json` reads it, and what is written is read back.
pub fn json(data: &[u8]) {
    let mut input = Input::new(data);
    let seed = input.short();
    let text = input.rest();
    let accepted = lexer(text);
    machine(text, seed, accepted);
    string(text);
    number(text);
    find(text);
}

/// Whether the lexer takes the text; none when it nests too deep.
fn lexer(text: &[u8]) -> Option<bool> {
    let mut lexer = Lexer::new(text);
    let read = lexer.skip().and_then(|()| lexer.end());
    assert!(lexer.offset() <= text.len(), "read past the end");
    if let Err(Fault::Syntax { at }) = read {
        assert!(at <= text.len(), "a fault past the end");
    }
    if core::str::from_utf8(text).is_ok() && read != Err(Fault::TooDeep) {
        assert_eq!(
            read.is_ok(),
            truth::is_json(text),
            "{}",
            String::from_utf8_lossy(text)
        );
    }
    (read != Err(Fault::TooDeep)).then_some(read.is_ok())
}

fn machine(text: &[u8], seed: u16, accepted: Option<bool>) {
    let whole = marks(&[text]);
    assert_eq!(whole, marks(&cut(text, seed)), "cuts change what is marked");
    let container = matches!(text.trim_ascii_start().first(), Some(b'{' | b'['));
    match accepted {
        // Of what is no container, the end of a number can't be told.
        Some(true) => assert!(whole.1 || !container, "a whole container is complete"),
        Some(false) => assert!(!whole.1, "what isn't JSON is never complete"),
        None => assert!(!whole.1, "deeper than {MAX_DEPTH}"),
    }
}

/// Where the machine marked what, and whether it had a whole text in the end.
fn marks(pieces: &[&[u8]]) -> (Vec<(usize, Mark)>, bool) {
    let (mut machine, mut found, mut at) = (Machine::default(), Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let (used, mark) = machine.advance(rest);
            (at, rest) = (at + used, &rest[used..]);
            if mark == Mark::Dry {
                assert!(rest.is_empty(), "dry with bytes left");
                break;
            }
            found.push((at, mark));
        }
    }
    (found, machine.complete())
}

/// The bytes as the content of a string.
fn string(raw: &[u8]) {
    let text = json::text(raw);
    let chars: String = json::chars(raw).collect();
    assert_eq!(text, chars);
    let quoted = [b"\"", raw, b"\""].concat();
    if let Ok(read) = serde_json::from_slice::<String>(&quoted) {
        assert_eq!(text, read);
        assert_eq!(&*json::name(raw), read.as_bytes());
    }
    for bound in [0, 1, 7, raw.len()] {
        let within = json::text_within(raw, bound);
        assert!(within.len() <= bound && text.starts_with(&within));
    }
    let mut written = Vec::new();
    json::push_string(&mut written, &text);
    assert_eq!(
        serde_json::from_slice::<String>(&written).ok(),
        Some(text.into_owned())
    );
}

fn number(raw: &[u8]) {
    let digits = !raw.is_empty() && raw.iter().all(u8::is_ascii_digit);
    let text = core::str::from_utf8(raw).ok().filter(|_| digits);
    let expected = text.map(|text| text.parse::<u64>().unwrap_or(u64::MAX));
    assert_eq!(json::unsigned(raw), expected);
}

fn find(text: &[u8]) {
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    assert_eq!(json::string_special(text), text.iter().position(special));
    let ends = |byte: &u8| matches!(byte, b'\r' | b'\n');
    assert_eq!(json::line_end(text), text.iter().position(ends));
}
