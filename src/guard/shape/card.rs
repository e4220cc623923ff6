//! Payment cards: an issuer's prefix with one of its lengths, in the groups that are printed, with Luhn's check digit.

use core::ops::RangeInclusive;

use crate::guard::text::{Text, alnum, digit};

/// Prefixes (of the first four digits) and lengths: ISO/IEC 7812 ranges as the networks publish them.
const ISSUERS: [(RangeInclusive<u16>, &[usize]); 22] = [
    (4000..=4999, &[13, 16, 19]),     // Visa
    (5100..=5599, &[16]),             // Mastercard
    (2221..=2720, &[16]),             // Mastercard
    (3400..=3499, &[15]),             // American Express
    (3700..=3799, &[15]),             // American Express
    (6011..=6011, &[16, 19]),         // Discover
    (6440..=6499, &[16, 19]),         // Discover
    (6500..=6599, &[16, 19]),         // Discover, RuPay
    (3000..=3059, &[14, 16]),         // Diners Club
    (3095..=3095, &[14, 16]),         // Diners Club
    (3600..=3699, &[14, 16]),         // Diners Club
    (3800..=3999, &[14, 16]),         // Diners Club
    (3528..=3589, &[16, 19]),         // JCB
    (6200..=6299, &[16, 17, 18, 19]), // UnionPay
    (2200..=2204, &[16]),             // Mir
    (6000..=6009, &[16]),             // RuPay
    (8100..=8299, &[16]),             // UnionPay, RuPay
    (5018..=5038, &[16, 18, 19]),     // Maestro
    (5612..=5612, &[16, 18, 19]),     // Maestro
    (5893..=5893, &[16, 18, 19]),     // Maestro
    (6304..=6304, &[16, 18, 19]),     // Maestro
    (6759..=6763, &[16, 18, 19]),     // Maestro
];
/// How numbers are printed; the longest first.
const GROUPS: [&[usize]; 4] = [&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4]];
const MOST: usize = 19;

/// The card's number that begins with the run of digits here.
pub(in crate::guard) fn at(text: Text<'_>, start: usize) -> Option<(usize, usize)> {
    if alnum(text.before(start)) || matches!(text.before(start), b'_' | b'.' | b'-' | b'+' | b'*') {
        return None;
    }
    match text.run(start, MOST + 1, digit) - start {
        4 => GROUPS.iter().find_map(|groups| grouped(text, start, groups)),
        length @ 13..=MOST => whole(text, start, start + length),
        _ => None,
    }
    .map(|end| (start, end))
}

fn whole(text: Text<'_>, start: usize, end: usize) -> Option<usize> {
    (ends(text, end) && valid(text.slice(start, end))).then_some(end)
}

fn grouped(text: Text<'_>, start: usize, groups: &[usize]) -> Option<usize> {
    let separator = text.at(start + 4);
    if !matches!(separator, b' ' | b'-') {
        return None;
    }
    let (mut digits, mut end) = (Vec::with_capacity(MOST), start);
    for (index, length) in groups.iter().enumerate() {
        let from = if index == 0 { end } else { end + 1 };
        let stop = text.run(from, length + 1, digit);
        if stop - from != *length || (index > 0 && text.at(end) != separator) {
            return None;
        }
        digits.extend_from_slice(text.slice(from, stop));
        end = stop;
    }
    let longer = text.at(end) == separator && text.run(end + 1, 5, digit) == end + 5;
    (!longer && ends(text, end) && valid(&digits)).then_some(end)
}

/// Whether a number may end here: nothing that goes on with it.
fn ends(text: Text<'_>, end: usize) -> bool {
    match text.at(end) {
        b'_' => false,
        b'.' | b'-' => !alnum(text.at(end + 1)),
        byte => !alnum(byte),
    }
}

fn valid(digits: &[u8]) -> bool {
    let prefix = digits
        .iter()
        .take(4)
        .fold(0u16, |n, d| n * 10 + u16::from(d - b'0'));
    let issued = |(range, lengths): &(RangeInclusive<u16>, &[usize])| {
        range.contains(&prefix) && lengths.contains(&digits.len())
    };
    ISSUERS.iter().any(issued) && luhn(digits)
}

/// ISO/IEC 7812-1, annex B.
fn luhn(digits: &[u8]) -> bool {
    let mut sum = 0u32;
    for (index, byte) in digits.iter().rev().enumerate() {
        let value = u32::from(byte - b'0') << (index & 1);
        sum += if value > 9 { value - 9 } else { value };
    }
    sum.is_multiple_of(10)
}
