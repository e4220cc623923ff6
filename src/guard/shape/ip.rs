//! IPv4 and IPv6 addresses, apart from versions, sections, object identifiers, times and paths of modules.

use core::net::Ipv6Addr;

use crate::guard::text::{Text, alnum, digit};

/// The longest text of an IPv6 address.
const V6: usize = 45;
/// Words after which four numbers are a version or a section.
const NUMBERED: [&[u8]; 17] = [
    b"version",
    b"ver",
    b"v",
    b"release",
    b"firmware",
    b"build",
    b"chapter",
    b"section",
    b"revision",
    b"rev",
    b"driver",
    b"update",
    b"clause",
    b"paragraph",
    b"kapitel",
    b"abschnitt",
    b"\xc2\xa7",
];

/// The IPv4 address that begins with the run of digits here.
pub(in crate::guard) fn v4(text: Text<'_>, start: usize) -> Option<(usize, usize)> {
    let end = quad(text, start)?;
    let from = match text.before(start) {
        b'.' | b'_' | b'+' => false,
        b'-' => (7..=15).any(|length| quad(text, start.saturating_sub(1 + length)) == start.checked_sub(1)),
        b'/' => !alnum(text.before(start.saturating_sub(1))),
        byte => !alnum(byte),
    };
    let to = match text.at(end) {
        b'_' | b'+' => false,
        b'.' => !alnum(text.at(end + 1)),
        b'-' => quad(text, end + 1).is_some(),
        byte => !alnum(byte),
    };
    (from && to && !numbered(text, start)).then_some((start, end))
}

/// Where four numbers of a byte each end.
fn quad(text: Text<'_>, start: usize) -> Option<usize> {
    let mut place = start;
    for index in 0..4 {
        if index > 0 {
            (text.at(place) == b'.').then_some(())?;
            place += 1;
        }
        let end = text.run(place, 4, digit);
        let number = text.slice(place, end);
        let value = number.iter().fold(0u32, |n, d| n * 10 + u32::from(d - b'0'));
        let fits = !number.is_empty() && value < 256 && (number.len() == 1 || text.at(place) != b'0');
        fits.then_some(())?;
        place = end;
    }
    Some(place)
}

/// Whether the word before says that it numbers something.
fn numbered(text: Text<'_>, start: usize) -> bool {
    let end = text.run_back(start, 4, |b| {
        matches!(b, b' ' | b':' | b'=' | b'(' | b'"' | b'.' | b'\'')
    });
    let begin = text.run_back(end, 24, |b| b.is_ascii_alphabetic() || !b.is_ascii());
    let word = text.slice(begin, end).to_ascii_lowercase();
    NUMBERED.contains(&&*word) || word.ends_with(b"version")
}

/// The IPv6 address around the `:` at this place, or where the search may go on.
pub(in crate::guard) fn v6(text: Text<'_>, at: usize) -> Result<(usize, usize), usize> {
    let (before, after) = (text.before(at), text.at(at + 1));
    if !(after == b':' || after.is_ascii_hexdigit()) || (alnum(before) && !before.is_ascii_hexdigit()) {
        return Err(at + 1);
    }
    let part = |b: u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
    let start = text.run_back(at, V6, part);
    let label = text.at(start) == b':' && text.at(start + 1) != b':';
    let start = start + usize::from(label);
    let end = text.run(at, V6, part);
    let end = end
        - text
            .slice(start, end)
            .iter()
            .rev()
            .take_while(|b| **b == b'.')
            .count();
    let trimmed = single_colon(text, start, end);
    let bounded = (label || !word(text.before(start))) && !word(text.at(end));
    if bounded && end - start <= V6 && is_v6(text.slice(start, trimmed)) {
        return Ok((start, trimmed));
    }
    Err(end.max(at + 1))
}

/// Without the `:` of punctuation after it.
fn single_colon(text: Text<'_>, start: usize, end: usize) -> usize {
    let colons = text
        .slice(start, end)
        .iter()
        .rev()
        .take_while(|b| **b == b':')
        .count();
    if colons == 1 { end - 1 } else { end }
}

fn word(byte: u8) -> bool {
    alnum(byte) || byte == b'_'
}

/// An address, and not a path of modules that happens to read as one: those have no digits, or don't begin like any
/// range that is in use.
fn is_v6(token: &[u8]) -> bool {
    let read = core::str::from_utf8(token)
        .ok()
        .and_then(|text| text.parse::<Ipv6Addr>().ok());
    let Some(address) = read.filter(|_| token.iter().any(u8::is_ascii_digit)) else {
        return false;
    };
    let wide = token.split(|b| *b == b':').any(|group| group.len() > 2);
    let [first, second, _, _, _, sixth, ..] = address.segments();
    let used = matches!(first, 0x2000..=0x3fff | 0xfc00..=0xfdff | 0xfe80..=0xfebf | 0xff00..=0xffff | 0x100);
    let mapped = address.is_loopback() || first == 0 && sixth == 0xffff || first == 0x64 && second == 0xff9b;
    (used && wide) || mapped
}
