//! Events that are like one before them but for their words.
//!
//! A stream tells the same event again and again with other words in it. What a full reading of one found out holds for
//! all that have the same bytes around the words, so those are compared, not read: a tenth of the work. The invariant: an
//! event that fits would be read to the same effect. JSON texts that differ in the contents of strings, or in the digits
//! of a number, have the same structure, and of these contents only the words mean anything.

use core::ops::Range;

use crate::json;

/// A longer event is read in full each time, in bytes.
const LONGEST: usize = 4096;

/// What an event holds that the next one may have otherwise, by the addresses of its bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Varying {
    words: Words,
    /// Of members that mean nothing to anybody here: their values' spans.
    fillers: [Range<usize>; 2],
}

/// The words of an event.
#[derive(Clone, Debug, Default)]
enum Words {
    #[default]
    None,
    Once(Range<usize>, Voice),
    /// Several, or something else that isn't the same the next time.
    More,
}

/// What words are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// The assistant's text.
    Said,
    /// Something else that was generated: thoughts, a call's arguments.
    Generated,
}

impl Varying {
    /// The event being read has these words, which aren't empty.
    pub(super) fn words(&mut self, raw: &[u8], voice: Voice) {
        self.words = match self.words {
            Words::None => Words::Once(addresses(raw), voice),
            Words::Once(..) | Words::More => Words::More,
        };
    }

    /// Something in it means more each time.
    pub(super) fn unique(&mut self) {
        self.words = Words::More;
    }

    /// The values of members without a meaning.
    pub(super) fn fillers(&mut self, spans: [&[u8]; 2]) {
        self.fillers = spans.map(addresses);
    }
}

/// An event that was read in full.
#[derive(Clone, Debug, Default)]
pub(super) struct Pattern {
    /// All of it, its empty line included.
    event: Vec<u8>,
    /// Where others may differ from it, in order; none while there is no event.
    gaps: Vec<Gap>,
}

#[derive(Clone, Debug)]
struct Gap {
    at: Range<usize>,
    filling: Filling,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filling {
    Words(Voice),
    /// A string's content.
    Text,
    /// An unsigned integer.
    Number,
}

/// An event like one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Again<'b> {
    /// How many bytes it has, its empty line included.
    pub(super) len: usize,
    /// Its words, still escaped; empty, perhaps.
    pub(super) words: &'b [u8],
    pub(super) voice: Voice,
}

impl Pattern {
    /// Keeps an event whose whole effect were its words, all others having been there before it.
    pub(super) fn keep(&mut self, event: &[u8], varying: &Varying) {
        let Words::Once(words, voice) = &varying.words else {
            return;
        };
        self.gaps.clear();
        let ends = event.ends_with(b"\n\n") || event.ends_with(b"\n\r\n");
        let quoted = place(event, words).filter(|at| is_quoted(event, at));
        let (Some(at), true) = (quoted, ends && event.len() <= LONGEST) else {
            return;
        };
        self.event.clear();
        self.event.extend_from_slice(event);
        let filling = Filling::Words(*voice);
        self.gaps.push(Gap { at, filling });
        let fillers = varying.fillers.iter();
        self.gaps
            .extend(fillers.filter_map(|span| Gap::filler(event, place(event, span)?)));
        self.gaps.sort_unstable_by_key(|gap| gap.at.start);
    }

    /// The event that `bytes` begin with, if it is like the one kept.
    pub(super) fn fit<'b>(&self, bytes: &'b [u8]) -> Option<Again<'b>> {
        let (mut known, mut len, mut words) = (0, 0, None);
        for gap in &self.gaps {
            len += same(self.event.get(known..gap.at.start)?, bytes.get(len..)?)?;
            let rest = bytes.get(len..)?;
            let filled = gap.filling.len(rest)?;
            if let Filling::Words(voice) = gap.filling {
                words = Some((rest.get(..filled)?, voice));
            }
            len += filled;
            known = gap.at.end;
        }
        let (words, voice) = words?;
        len += same(self.event.get(known..)?, bytes.get(len..)?)?;
        Some(Again { len, words, voice })
    }
}

impl Gap {
    /// The gap that the value at this place leaves; none when it must be the same.
    fn filler(event: &[u8], at: Range<usize>) -> Option<Self> {
        let value = event.get(at.clone())?;
        if value.iter().all(u8::is_ascii_digit) {
            let filling = Filling::Number;
            return Some(Self { at, filling });
        }
        let inner = at.start.saturating_add(1)..at.end.saturating_sub(1);
        is_quoted(event, &inner).then_some(Self {
            at: inner,
            filling: Filling::Text,
        })
    }
}

impl Filling {
    /// How many bytes at the start of `rest` fill the gap.
    fn len(self, rest: &[u8]) -> Option<usize> {
        match self {
            Self::Words(_) | Self::Text => json::content_len(rest),
            Self::Number => {
                let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let is_number = matches!(rest, [b'1'..=b'9', ..]) || len == 1;
                is_number.then_some(len)
            }
        }
    }
}

/// The length of `known`, if `bytes` begin with it. Eight bytes at a time: the module's own comparison takes one.
fn same(known: &[u8], bytes: &[u8]) -> Option<usize> {
    let (ours, our_rest) = known.as_chunks::<8>();
    let (theirs, their_rest) = bytes.get(..known.len())?.as_chunks::<8>();
    let words = ours.iter().zip(theirs);
    let equal = words.fold(0, |differ, (one, other)| {
        differ | (u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other))
    });
    let rest = our_rest
        .iter()
        .zip(their_rest)
        .fold(0, |differ, (one, other)| differ | (one ^ other));
    (equal == 0 && rest == 0).then_some(known.len())
}

fn addresses(part: &[u8]) -> Range<usize> {
    let range = part.as_ptr_range();
    range.start.addr()..range.end.addr()
}

/// Where in an event a part of it lies; none when it is no part of it.
fn place(event: &[u8], part: &Range<usize>) -> Option<Range<usize>> {
    let start = part.start.checked_sub(event.as_ptr().addr())?;
    let end = part.end.checked_sub(event.as_ptr().addr())?;
    (start < end && end <= event.len()).then_some(start..end)
}

/// Whether a part of an event is all that stands between two quotes.
fn is_quoted(event: &[u8], at: &Range<usize>) -> bool {
    let before = at.start.checked_sub(1).and_then(|before| event.get(before));
    at.start <= at.end && before == Some(&b'"') && event.get(at.end) == Some(&b'"')
}

#[cfg(test)]
mod tests {
    use super::{Again, Pattern, Varying, Voice, same};

    fn find<'e>(event: &'e str, part: &str) -> &'e [u8] {
        let at = event.find(part).unwrap();
        &event.as_bytes()[at..at + part.len()]
    }

    fn pattern(event: &str, words: &str, fillers: [&str; 2]) -> Pattern {
        let mut varying = Varying::default();
        varying.words(find(event, words), Voice::Said);
        varying.fillers(fillers.map(|part| find(event, part)));
        let mut pattern = Pattern::default();
        pattern.keep(event.as_bytes(), &varying);
        pattern
    }

    fn words(pattern: &Pattern, bytes: &str) -> Option<(usize, String)> {
        let Again { len, words, voice } = pattern.fit(bytes.as_bytes())?;
        assert_eq!(voice, Voice::Said);
        Some((len, String::from_utf8(words.to_vec()).unwrap()))
    }

    #[test]
    fn only_words_and_fillers_may_differ() {
        let event = "data: {\"n\":7,\"delta\":\"Hi\",\"id\":\"a\",\"pad\":\"xyz\"}\n\n";
        let pattern = pattern(event, "Hi", ["7", "\"xyz\""]);
        let fits = |other: &str| words(&pattern, other).map(|(len, words)| (len == other.len(), words));
        for (other, expected) in [
            (event, Some("Hi")),
            (&event.replace("Hi", ""), Some("")),
            (&event.replace("Hi", "é \\\" \\u00e9 }"), Some("é \\\" \\u00e9 }")),
            (&event.replace("7", "10"), Some("Hi")),
            (&event.replace("xyz", ""), Some("Hi")),
            (&event.replace("7", "07"), None),
            (&event.replace("7", "-7"), None),
            (&event.replace("7", "7.5"), None),
            (&event.replace("7", ""), None),
            (&event.replace("Hi", "\\x"), None),
            (&event.replace("Hi", "\n"), None),
            (&event.replace("Hi", "Hi\",\"delta\":\"Ho"), None),
            (&event.replace("\"Hi\"", "null"), None),
            (&event.replace("\"a\"", "\"b\""), None),
            (&event.replace("xyz", "x\ny"), None),
            (&event[..event.len() - 1], None),
            ("", None),
        ] {
            assert_eq!(
                fits(other),
                expected.map(|words| (true, words.to_owned())),
                "{other}"
            );
        }
        assert_eq!(
            words(&pattern, &event.repeat(2)),
            Some((event.len(), "Hi".to_owned()))
        );
    }

    #[test]
    fn what_cannot_be_compared_is_not_kept() {
        for (event, part) in [
            ("data: \"Hi\"\n", "Hi"),
            ("data: \"Hi\"\r\r", "Hi"),
            ("data: {Hi}\n\n", "Hi"),
            (&format!("data: \"Hi\"{}\n\n", " ".repeat(5000)), "Hi"),
        ] {
            assert_eq!(words(&pattern(event, part, ["", ""]), event), None, "{event}");
        }
        let (event, mut varying) = ("data: \"Hi\"\n\n", Varying::default());
        let mut pattern = Pattern::default();
        varying.words(b"Hi", Voice::Said);
        pattern.keep(event.as_bytes(), &varying);
        assert_eq!(pattern.fit(event.as_bytes()), None, "words from elsewhere");
        varying = Varying::default();
        varying.words(find(event, "H"), Voice::Said);
        varying.words(find(event, "i"), Voice::Said);
        pattern.keep(event.as_bytes(), &varying);
        assert_eq!(pattern.fit(event.as_bytes()), None, "several words");
    }

    #[test]
    fn a_difference_anywhere_is_seen() {
        let known: Vec<u8> = (0..37).collect();
        assert_eq!(same(&known, &known), Some(37));
        assert_eq!(same(&known, &known[..36]), None);
        for at in 0..37 {
            let mut other = known.clone();
            other[at] ^= 0x80;
            assert_eq!(same(&known, &other), None, "at {at}");
        }
    }
}
