//! Bank accounts: ISO 13616, with each country's length and the check digits.

use crate::guard::text::{Text, alnum};

/// Length of each country's IBAN: the SWIFT IBAN registry.
const LENGTHS: [(&[u8; 2], u8); 86] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
];

/// The account whose check digits begin at this place.
pub(in crate::guard) fn at(text: Text<'_>, digits: usize) -> Option<(usize, usize)> {
    let start = digits.checked_sub(2)?;
    let country = [
        text.at(start).to_ascii_uppercase(),
        text.at(start + 1).to_ascii_uppercase(),
    ];
    let (_, length) = LENGTHS.iter().find(|(name, _)| **name == country)?;
    if alnum(text.before(start)) {
        return None;
    }
    let end = account(text, start, usize::from(*length))?;
    (!alnum(text.at(end))).then_some((start, end))
}

/// Where so many letters and digits end, with a space after every fourth or without, if the check digits fit.
fn account(text: Text<'_>, start: usize, length: usize) -> Option<usize> {
    let mut characters = Vec::with_capacity(length);
    let mut place = start;
    let grouped = text.at(start + 4) == b' ';
    while characters.len() < length {
        if grouped && characters.len() % 4 == 0 && place > start {
            (text.at(place) == b' ').then_some(())?;
            place += 1;
        }
        let character = text.at(place);
        characters.push(alnum(character).then_some(character)?);
        place += 1;
    }
    (remainder(&characters) == 1).then_some(place)
}

/// ISO 7064 MOD 97-10 of the account with its first four characters put last.
fn remainder(characters: &[u8]) -> u32 {
    let (head, tail) = characters.split_at(characters.len().min(4));
    tail.iter().chain(head).fold(0, |rest, character| {
        let value = char::from(*character).to_digit(36).unwrap_or(0);
        let shift = if value > 9 { 100 } else { 10 };
        (rest * shift + value) % 97
    })
}
