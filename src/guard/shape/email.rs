//! E-mail addresses: RFC 5321 as far as people write it, in ASCII and in the alphabets of two UTF-8 bytes.

use crate::guard::text::{Text, alnum};

/// RFC 5321 §4.5.3.1.1.
const LOCAL: usize = 64;
/// With the local part less than what a stream holds back.
const DOMAIN: usize = 170;
const LABEL: usize = 63;

/// The address around the `@` at this place.
pub(in crate::guard) fn at(text: Text<'_>, at: usize) -> Option<(usize, usize)> {
    let start = local(text, at)?;
    let end = domain(text, at + 1)?;
    let named = text.slice(start, at) != b"git" && !density(text, at + 1);
    (named && text.before(start) != b'@' && !login(text, start)).then_some((start, end))
}

fn local(text: Text<'_>, at: usize) -> Option<usize> {
    let mut start = at;
    while at - start <= LOCAL {
        match back(text, start, |b| {
            alnum(b) || matches!(b, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'')
        }) {
            0 => break,
            step => start -= step,
        }
    }
    let long = at - start > LOCAL;
    let start = text.run(start, LOCAL, |b| matches!(b, b'.' | b'\'' | b'-' | b'%'));
    (!long && start < at && text.before(at) != b'.').then_some(start)
}

fn domain(text: Text<'_>, from: usize) -> Option<usize> {
    let (mut place, mut end, mut labels) = (from, None, 0);
    loop {
        let stop = label(text, place)?;
        if stop - from > DOMAIN {
            return end;
        }
        labels += 1;
        if labels > 1 && top(text.slice(place, stop)) {
            end = Some(stop);
        }
        if text.at(stop) != b'.' || label(text, stop + 1).is_none() {
            return end;
        }
        place = stop + 1;
    }
}

/// The end of the label that begins here.
fn label(text: Text<'_>, from: usize) -> Option<usize> {
    let mut end = from;
    while end - from <= LABEL {
        match forth(text, end, |b| alnum(b) || b == b'-') {
            0 => break,
            step => end += step,
        }
    }
    let long = end - from > LABEL;
    let kept = end
        - text
            .slice(from, end)
            .iter()
            .rev()
            .take_while(|b| **b == b'-')
            .count();
    (!long && kept > from && text.at(from) != b'-').then_some(kept)
}

/// Whether a label can be a top-level domain: letters only, or punycode.
fn top(label: &[u8]) -> bool {
    let letters = label.iter().all(|b| b.is_ascii_alphabetic() || !b.is_ascii());
    (letters && label.len() >= 2) || label.starts_with(b"xn--")
}

/// `@2x.`, `@3x.`: how pictures are named.
fn density(text: Text<'_>, from: usize) -> bool {
    let digits = text.run(from, 3, |b| b.is_ascii_digit());
    digits > from && text.has(digits, b"x.")
}

/// Whether it is who logs in within a URL: `scheme://user:password@host`.
fn login(text: Text<'_>, start: usize) -> bool {
    let begin = text.run_back(start, LOCAL, |b| {
        !matches!(b, b'/' | b'?' | b' ' | b'"' | b'\n' | b'@')
    });
    text.ends(begin, b"://")
}

/// Length of the character of a local part or label that ends before the place; 0 when it is none.
fn back(text: Text<'_>, place: usize, ascii: impl Fn(u8) -> bool) -> usize {
    match text.before(place) {
        byte if ascii(byte) => 1,
        0x80..=0xbf if place >= 2 && lead(text.at(place - 2)) => 2,
        _ => 0,
    }
}

/// Length of the character that begins at the place; 0 when it is none.
fn forth(text: Text<'_>, place: usize, ascii: impl Fn(u8) -> bool) -> usize {
    match text.at(place) {
        byte if ascii(byte) => 1,
        byte if lead(byte) && matches!(text.at(place + 1), 0x80..=0xbf) => 2,
        _ => 0,
    }
}

/// First byte of a letter in the alphabets from Latin-1 to Arabic (U+00C0–U+07FF), which words are separated in.
fn lead(byte: u8) -> bool {
    (0xc3..=0xdf).contains(&byte)
}
