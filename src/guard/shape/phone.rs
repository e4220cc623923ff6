//! Phone numbers with their country code: `+`, `00` or `011` before it, or North America's `1-`.

use crate::guard::text::{Text, alnum, digit};

/// E.164: at most fifteen digits, country code included.
const MOST: usize = 15;
/// With all separators.
const LONGEST: usize = 40;

/// Country codes (E.164) by what they begin with, their length, and how few and how many digits follow. Codes of three
/// digits go by their first two. Where numbering plans vary, what is in use.
const PLANS: [(&[u8], usize, usize, usize); 69] = [
    (b"1", 1, 10, 10),
    (b"20", 2, 8, 10),
    (b"27", 2, 9, 9),
    (b"30", 2, 10, 10),
    (b"31", 2, 9, 9),
    (b"32", 2, 8, 9),
    (b"33", 2, 9, 9),
    (b"34", 2, 9, 9),
    (b"36", 2, 8, 9),
    (b"39", 2, 8, 11),
    (b"40", 2, 9, 9),
    (b"41", 2, 9, 9),
    (b"43", 2, 7, 13),
    (b"44", 2, 9, 10),
    (b"45", 2, 8, 8),
    (b"46", 2, 7, 10),
    (b"47", 2, 8, 8),
    (b"48", 2, 9, 9),
    (b"49", 2, 7, 13),
    (b"51", 2, 8, 9),
    (b"52", 2, 10, 11),
    (b"53", 2, 8, 8),
    (b"54", 2, 10, 11),
    (b"55", 2, 10, 11),
    (b"56", 2, 9, 9),
    (b"57", 2, 10, 10),
    (b"58", 2, 10, 10),
    (b"60", 2, 8, 10),
    (b"61", 2, 9, 9),
    (b"62", 2, 8, 12),
    (b"63", 2, 8, 10),
    (b"64", 2, 8, 10),
    (b"65", 2, 8, 8),
    (b"66", 2, 8, 9),
    (b"7", 1, 10, 10),
    (b"81", 2, 9, 10),
    (b"82", 2, 8, 10),
    (b"84", 2, 9, 10),
    (b"86", 2, 10, 11),
    (b"90", 2, 10, 10),
    (b"91", 2, 10, 10),
    (b"92", 2, 9, 10),
    (b"93", 2, 9, 9),
    (b"94", 2, 9, 9),
    (b"95", 2, 8, 10),
    (b"98", 2, 10, 10),
    (b"21", 3, 7, 9),
    (b"22", 3, 7, 9),
    (b"23", 3, 7, 10),
    (b"24", 3, 7, 9),
    (b"25", 3, 7, 9),
    (b"26", 3, 7, 9),
    (b"29", 3, 5, 7),
    (b"35", 3, 7, 10),
    (b"37", 3, 7, 9),
    (b"38", 3, 7, 9),
    (b"42", 3, 9, 9),
    (b"50", 3, 7, 8),
    (b"59", 3, 7, 9),
    (b"67", 3, 7, 8),
    (b"68", 3, 5, 7),
    (b"69", 3, 5, 7),
    (b"80", 3, 8, 8),
    (b"85", 3, 8, 9),
    (b"87", 3, 8, 12),
    (b"88", 3, 8, 10),
    (b"96", 3, 7, 9),
    (b"97", 3, 7, 9),
    (b"99", 3, 8, 9),
];

/// The number that begins with the `+` at this place.
pub(in crate::guard) fn plus(text: Text<'_>, at: usize) -> Option<(usize, usize)> {
    let before = text.before(at);
    if alnum(before) || matches!(before, b'+' | b'_' | b'.') {
        return None;
    }
    let end = national(text, at + 1)?;
    Some((at, end))
}

/// The number that begins with the run of digits here: an international prefix, or North America's trunk prefix.
pub(in crate::guard) fn prefixed(text: Text<'_>, start: usize) -> Option<(usize, usize)> {
    let before = text.before(start);
    if alnum(before) || matches!(before, b'+' | b'-' | b'.' | b'_' | b'#' | b',') {
        return None;
    }
    let end = match text.run(start, 7, digit) - start {
        1 if text.has(start, b"1-") || text.has(start, b"1 (") => trunk(text, start)?,
        3 if text.has(start, b"011 ") || text.has(start, b"011-") => spaced(text, start + 4)?,
        3..=5 if text.has(start, b"00") => spaced(text, start + 2)?,
        _ => return None,
    };
    Some((start, end))
}

/// With a separator after the country code: else digits are anything.
fn spaced(text: Text<'_>, code: usize) -> Option<usize> {
    let end = text.run(code, 4, digit);
    let (length, _, _) = plan(text, code)?;
    (length == end - code).then(|| national(text, code))?
}

/// `1-800-555-0199`, `1 (650) 555-0111`.
fn trunk(text: Text<'_>, start: usize) -> Option<usize> {
    let end = national(text, start)?;
    let parts = text
        .slice(start, end)
        .split(|b| !digit(*b))
        .filter(|part| !part.is_empty());
    parts.map(<[u8]>::len).eq([1, 3, 3, 4]).then_some(end)
}

/// Where the number ends whose country code begins here.
fn national(text: Text<'_>, code: usize) -> Option<usize> {
    let (length, least, most) = plan(text, code)?;
    let first = code + length;
    let (mut place, mut count, mut end) = (first, 0usize, None);
    while place < code + LONGEST {
        let from = if count == 0 || !digit(text.at(place)) {
            gap(text, place)
        } else {
            Some(place)
        };
        let Some(from) = from else { break };
        let stop = text.run(from, MOST + 1, digit);
        let trunk = text.before(from) == b'(' && text.has(from, b"0)") && count == 0;
        count += if trunk { 0 } else { stop - from };
        place = stop;
        if count > most.min(MOST - length) {
            break;
        }
        if count >= least {
            end = Some(stop);
        }
    }
    end.filter(|end| ends(text, *end) && !north_american_fault(text, code, *end))
}

/// Where the digits go on after at most one separator and the brackets of an area code.
fn gap(text: Text<'_>, place: usize) -> Option<usize> {
    let closed = place + usize::from(text.at(place) == b')');
    let separator = matches!(text.at(closed), b' ' | b'-' | b'.' | b'/');
    let parted = closed + usize::from(separator);
    let opened = parted + usize::from(text.at(parted) == b'(');
    digit(text.at(opened)).then_some(opened)
}

/// Length of the country code here, and how many digits may follow it.
fn plan(text: Text<'_>, code: usize) -> Option<(usize, usize, usize)> {
    let plan = PLANS.iter().find(|(begins, ..)| text.has(code, begins));
    let (_, length, least, most) = *plan?;
    (text.run(code, length, digit) == code + length).then_some((length, least, most))
}

fn ends(text: Text<'_>, end: usize) -> bool {
    match text.at(end) {
        b'_' => false,
        b'.' | b'-' => !digit(text.at(end + 1)),
        byte => !alnum(byte),
    }
}

/// Area codes and exchanges of North America never begin with 0 or 1.
fn north_american_fault(text: Text<'_>, code: usize, end: usize) -> bool {
    if text.at(code) != b'1' {
        return false;
    }
    let digits: Vec<u8> = text
        .slice(code, end)
        .iter()
        .copied()
        .filter(|b| digit(*b))
        .collect();
    [1, 4]
        .iter()
        .any(|at| matches!(digits.get(*at), Some(b'0' | b'1')))
}
