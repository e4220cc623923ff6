//! One pass over a text: clean bytes are skipped by a table, the few that matter are looked around at.
//!
//! The invariant: a byte is looked at a bounded number of times, whatever the text, because every look-around is
//! bounded, or ends where the next trigger's begins.

use super::kind::{Kind, Kinds};
use super::placeholder;
use super::shape::{card, email, iban, ip, jwt, key, phone, ssn};
use super::tail::Tail;
use super::text::{Text, digit};

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) what: What,
    /// What may follow beyond the text in sight.
    pub(super) tail: Tail,
}

/// What a match is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A value of this kind.
    Value(Kind),
    /// What stands for a value.
    Placeholder(Kind, u32),
    /// A match of the own patterns or words of the guard with this index among the plan's.
    Own(Kind, usize),
}

/// Looks for some kinds.
#[derive(Clone, Debug)]
pub(super) struct Scanner {
    kinds: Kinds,
    triggers: [bool; 256],
}

impl Scanner {
    /// For these kinds, and for placeholders if wanted.
    pub(super) fn new(kinds: Kinds, placeholders: bool) -> Self {
        let numbers = [Kind::Phone, Kind::Card, Kind::Iban, Kind::Ssn, Kind::Ip];
        let wanted = |byte: u8| match byte {
            b'@' => kinds.has(Kind::Email),
            b'0'..=b'9' => numbers.into_iter().any(|kind| kinds.has(kind)),
            b'+' => kinds.has(Kind::Phone),
            b':' => kinds.has(Kind::Ip),
            b'-' | b'_' => kinds.has(Kind::ApiKey),
            b'A' => kinds.has(Kind::ApiKey) || kinds.has(Kind::Jwt),
            b'J' => kinds.has(Kind::Jwt),
            b'[' => placeholders,
            _ => false,
        };
        let mut triggers = [false; 256];
        for (byte, trigger) in (0..=u8::MAX).zip(&mut triggers) {
            *trigger = wanted(byte);
        }
        Self { kinds, triggers }
    }

    /// The same, that leaves placeholders alone.
    pub(super) fn without_placeholders(mut self) -> Self {
        if let Some(trigger) = self.triggers.get_mut(usize::from(b'[')) {
            *trigger = false;
        }
        self
    }

    /// Finds what begins at `from` or later, in the order in which it is come upon; matches may overlap those that were
    /// found by a look back.
    pub(super) fn scan(&self, text: Text<'_>, from: usize, found: &mut Vec<Found>) {
        let mut place = from;
        let mut colons = 0;
        while let Some(trigger) = self.next(text, place) {
            let hit = match text.at(trigger) {
                b':' if trigger < colons => None,
                b':' => match ip::v6(text, trigger) {
                    Ok((start, end)) => Some(value(Kind::Ip, start, end)),
                    Err(next) => {
                        colons = next;
                        None
                    }
                },
                b'0'..=b'9' => self.number(text, trigger),
                byte => self.sign(text, trigger, byte),
            };
            place = match hit {
                Some(hit) => hit.end.max(trigger + 1),
                None if digit(text.at(trigger)) => text.run(trigger, usize::MAX, digit),
                None => trigger + 1,
            };
            found.extend(hit);
        }
    }

    fn next(&self, text: Text<'_>, from: usize) -> Option<usize> {
        let wanted = |byte: &u8| self.triggers.get(usize::from(*byte)).copied().unwrap_or(false);
        text.0
            .get(from..)?
            .iter()
            .position(wanted)
            .map(|skipped| from + skipped)
    }

    fn number(&self, text: Text<'_>, start: usize) -> Option<Found> {
        let before = text.before(start);
        if digit(before) {
            return None;
        }
        if before.is_ascii_alphabetic() {
            return self.look(Kind::Iban, || iban::at(text, start));
        }
        let length = text.run(start, 20, digit) - start;
        let trunk = matches!(text.at(start), b'0' | b'1');
        let dotted = length <= 3 && text.at(start + length) == b'.';
        let address = dotted.then(|| self.look(Kind::Ip, || ip::v4(text, start)));
        let security = matches!(length, 3 | 9).then(|| self.look(Kind::Ssn, || ssn::at(text, start)));
        let paid = matches!(length, 4 | 13..=19).then(|| self.look(Kind::Card, || card::at(text, start)));
        let found = address.flatten().or(security.flatten()).or(paid.flatten());
        found.or_else(|| {
            trunk
                .then(|| self.look(Kind::Phone, || phone::prefixed(text, start)))
                .flatten()
        })
    }

    fn look(&self, kind: Kind, look: impl FnOnce() -> Option<(usize, usize)>) -> Option<Found> {
        let (start, end) = self.kinds.has(kind).then(look)??;
        Some(value(kind, start, end))
    }

    fn sign(&self, text: Text<'_>, at: usize, byte: u8) -> Option<Found> {
        match byte {
            b'@' => email::at(text, at).map(|(start, end)| value(Kind::Email, start, end)),
            b'+' => phone::plus(text, at).map(|(start, end)| value(Kind::Phone, start, end)),
            b'[' => placeholder::at(text, at),
            b'J' => token(text, at),
            b'A' => self.capital(text, at),
            b'-' if text.at(at + 1) == b'-' => key::private(text, at).map(|end| private_key(text, at, end)),
            _ => secret(text, at),
        }
    }

    fn capital(&self, text: Text<'_>, at: usize) -> Option<Found> {
        let token = self.kinds.has(Kind::Jwt).then(|| token(text, at)).flatten();
        token.or_else(|| self.kinds.has(Kind::ApiKey).then(|| secret(text, at)).flatten())
    }
}

fn value(kind: Kind, start: usize, end: usize) -> Found {
    Found {
        start,
        end,
        what: What::Value(kind),
        tail: Tail::None,
    }
}

fn followed(text: Text<'_>, found: Found, mut tail: Tail) -> Found {
    let more = tail.follow(text.0.get(found.end..).unwrap_or_default());
    Found {
        end: found.end + more,
        tail,
        ..found
    }
}

/// The key whose prefix has its first `-` or `_` at this place, or begins there with an `A`.
fn secret(text: Text<'_>, at: usize) -> Option<Found> {
    let start = match text.at(at) {
        b'A' => at,
        _ => text.run_back(at, key::STEM + 1, |byte| byte.is_ascii_alphabetic()),
    };
    let end = key::at(text, start)?;
    let tail = if text
        .slice(start, end)
        .iter()
        .skip(4)
        .all(|b| b.is_ascii_alphanumeric())
    {
        Tail::Letters
    } else {
        Tail::Base64url
    };
    Some(followed(text, value(Kind::ApiKey, start, end), tail))
}

fn private_key(text: Text<'_>, start: usize, end: usize) -> Found {
    followed(text, value(Kind::ApiKey, start, end), Tail::Lines(0))
}

fn token(text: Text<'_>, third: usize) -> Option<Found> {
    let (start, dot, dots) = jwt::at(text, third)?;
    Some(followed(text, value(Kind::Jwt, start, dot), Tail::Token(dots)))
}
