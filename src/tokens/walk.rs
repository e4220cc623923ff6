//! The walk over a text that turns it into features: the one place that says what the estimate is made of.
//!
//! Each decoded character yields one [`Feature`]: how it joins what came before (the pair of classes, or the position
//! in its run), and, for ASCII letters, the pair of letters. The estimate adds up a weight per feature; the fitting
//! program counts the same features. So what was fitted is what is used.
//!
//! A step costs two table reads and no allocation, and a walk is linear in its bytes, whatever they are.

use super::class;

/// Length of the table of class features: pairs, then positions in runs, then repetitions, padded to a power of two.
pub const CLASS_FEATURES: usize = 2048;
/// Length of the table of letter features: pairs of ASCII letters (0 stands for what is none), then 64 groups of
/// characters for each class beyond ASCII.
pub const LETTER_FEATURES: usize = GROUPS + (class::COUNT - class::LATIN as usize) * 64;

/// Where the groups of characters begin.
const GROUPS: usize = 1024;
/// The row of the small letters.
const LOWER_ROW: usize = (class::LOWER as usize) << 5;
const PAIRS: usize = 0;
const RUNS: usize = class::COUNT * class::COUNT;
const REPEATS: usize = RUNS + class::COUNT * POSITIONS;
/// Positions in a run that are told apart; longer runs go round the last three, as both tokenizers group digits by three.
const POSITIONS: usize = 16;
const LAST_POSITION: u32 = 15;
/// From here on a repeated character is a ruler or padding, of which tokenizers know long ones.
const LONG_REPEAT: u32 = 4;

/// What one character adds to the sum: an index into either table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Below [`CLASS_FEATURES`].
    pub class: usize,
    /// Below [`LETTER_FEATURES`]; 0 where neither this character nor the one before is an ASCII letter, and for Han and
    /// Hangul, which are too many to tell apart.
    pub letters: usize,
}

/// What the next character's feature depends on. `Default` is the start of a text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Walk {
    /// Where the last character's class begins in [`JOINS`].
    row: usize,
    position: u32,
    letter: usize,
    point: u32,
}

impl Walk {
    /// Walks over the characters of `raw` (a JSON string's content, still escaped) that begin at `from` or later and
    /// before `to`, and shows each one's feature to `see`. Returns the offset after the last, which may be beyond `to`
    /// (never beyond the end): a character isn't cut.
    pub fn over(&mut self, raw: &[u8], from: usize, to: usize, mut see: impl FnMut(Feature)) -> usize {
        let mut walk = *self;
        let mut at = from;
        let end = to.min(raw.len());
        while let Some(rest) = raw.get(at..end).filter(|rest| !rest.is_empty()) {
            for &byte in rest {
                if walk.row == LOWER_ROW && byte.is_ascii_lowercase() {
                    see(walk.lower(byte));
                } else {
                    let plain = plain(byte);
                    if plain == SPECIAL {
                        break;
                    }
                    see(walk.ascii(byte, plain));
                }
                at += 1;
            }
            if at < end {
                let (point, length) = decode(raw.get(at..).unwrap_or_default());
                see(walk.point(point));
                at += length;
            }
        }
        *self = walk;
        at
    }

    /// `plain` is the byte's entry in [`PLAIN`], or what it would be if it weren't special.
    #[inline]
    fn ascii(&mut self, byte: u8, plain: u16) -> Feature {
        let letter = usize::from(plain >> 5) & 31;
        let letters = (self.letter << 5 | letter) & (GROUPS - 1);
        self.letter = letter;
        Feature {
            class: self.join(usize::from(plain) & 31, u32::from(byte), plain & CHEAP != 0),
            letters,
        }
    }

    /// As [`Walk::ascii`] of a small letter after another one, which is what most texts are made of.
    #[inline]
    fn lower(&mut self, byte: u8) -> Feature {
        let letter = usize::from(byte & 31);
        let letters = (self.letter << 5 | letter) & (GROUPS - 1);
        (self.letter, self.point) = (letter, u32::from(byte));
        self.position = if self.position == LAST_POSITION {
            LAST_POSITION - 2
        } else {
            self.position + 1
        };
        let position = usize::try_from(self.position).unwrap_or(0) & (POSITIONS - 1);
        Feature {
            class: RUNS + class::LOWER as usize * POSITIONS + position,
            letters,
        }
    }

    #[inline]
    fn point(&mut self, point: u32) -> Feature {
        match u8::try_from(point) {
            Ok(byte) if byte < 0x80 => self.ascii(byte, plain_of(byte, class::of_ascii(byte))),
            Ok(_) | Err(_) => {
                let class = class::of_point(point);
                self.letter = 0;
                Feature {
                    class: self.join(usize::from(class), point, class::repeats_cheaply(class)),
                    letters: group(class, point),
                }
            }
        }
    }

    /// How the next character joins what came before. Written so that it compiles to selections, not jumps: where words
    /// end can't be predicted, and a jump taken wrongly costs more than all the rest. Only the repetition, which is
    /// rare, is a jump.
    #[inline]
    fn join(&mut self, class: usize, point: u32, cheap: bool) -> usize {
        let join = JOINS.get((self.row | class) & (RUNS - 1)).copied().unwrap_or(0);
        let next = if self.position == LAST_POSITION {
            LAST_POSITION - 2
        } else {
            self.position + 1
        };
        self.position = next & join >> IN_WORD;
        self.row = class << 5;
        if (point == self.point) & cheap & (join >> IN_RUN != 0) {
            return REPEATS + usize::from(self.position >= LONG_REPEAT) * class::COUNT + (class & 31);
        }
        self.point = point;
        let place = join & 0xffff | self.position & join >> IN_RUN;
        usize::try_from(place).unwrap_or(0) & (CLASS_FEATURES - 1)
    }
}

/// What a byte is that stands for itself in a JSON string: its class, its letter from bit 5, and whether it is
/// [`CHEAP`] to repeat; [`SPECIAL`] for a backslash and for every byte of a longer sequence.
const PLAIN: [u16; 256] = plains();
const SPECIAL: u16 = 0;
const CHEAP: u16 = 1 << 15;

#[inline]
fn plain(byte: u8) -> u16 {
    PLAIN.get(usize::from(byte)).copied().unwrap_or(SPECIAL)
}

const fn plain_of(byte: u8, class: u8) -> u16 {
    // Both cases of a letter end in its place in the alphabet.
    let letter = if class <= class::UPPER { byte & 0x1f } else { 0 };
    let cheap = if class::repeats_cheaply(class) { CHEAP } else { 0 };
    class as u16 | (letter as u16) << 5 | cheap
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a table made by the compiler"
)]
const fn plains() -> [u16; 256] {
    let mut table = [SPECIAL; 256];
    let mut byte = 0;
    while byte < 128 {
        if byte != b'\\' as usize {
            table[byte] = plain_of(byte as u8, class::ASCII[byte]);
        }
        byte += 1;
    }
    table
}

/// For each pair of classes the place of its feature (of the run's first position, where both are one), and two masks
/// for the position in the run: whether the word goes on, and whether the position tells the feature.
const JOINS: [u32; RUNS] = joins();
const IN_WORD: u32 = 16;
const IN_RUN: u32 = 24;
const ANY_POSITION: u32 = 0xf;

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a table made by the compiler"
)]
const fn joins() -> [u32; RUNS] {
    let mut table = [0; RUNS];
    let mut pair = 0;
    while pair < RUNS {
        let (before, here) = (pair / class::COUNT, pair % class::COUNT);
        if here == before {
            table[pair] = (RUNS + here * POSITIONS) as u32 | ANY_POSITION << IN_WORD | ANY_POSITION << IN_RUN;
        } else if class::same_word(here as u8, before as u8) {
            table[pair] = (PAIRS + pair) as u32 | ANY_POSITION << IN_WORD;
        } else {
            table[pair] = (PAIRS + pair) as u32;
        }
        pair += 1;
    }
    table
}

/// Which group of its class a character beyond ASCII is in: by its low bits, so that the letters of one alphabet part and
/// languages that share it show.
#[inline]
fn group(class: u8, point: u32) -> usize {
    if matches!(class, class::HAN | class::HANGUL) {
        return 0;
    }
    let low = u8::try_from(point & 0x3f).unwrap_or(0);
    GROUPS + usize::from(class.saturating_sub(class::LATIN)) * 64 + usize::from(low)
}

/// The first character of `raw` and its length in bytes (at least 1, so that every walk ends). Broken escapes, lone
/// surrogates and invalid UTF-8 are U+FFFD. More lenient than `json::chars` only in overlong forms and in how many
/// bytes of an invalid sequence make one U+FFFD.
#[inline]
fn decode(raw: &[u8]) -> (u32, usize) {
    match *raw {
        [b'\\', b'u', ref hex @ ..] => unicode_escape(hex),
        [b'\\', kind, ..] => (simple_escape(kind), 2),
        [one @ 0xc0..=0xdf, two @ 0x80..=0xbf, ..] => (tail(u32::from(one) & 0x1f, two), 2),
        [one @ 0xe0..=0xef, two @ 0x80..=0xbf, three @ 0x80..=0xbf, ..] => {
            (tail(tail(u32::from(one) & 0xf, two), three), 3)
        }
        [
            one @ 0xf0..=0xf7,
            two @ 0x80..=0xbf,
            three @ 0x80..=0xbf,
            four @ 0x80..=0xbf,
            ..,
        ] => (tail(tail(tail(u32::from(one) & 7, two), three), four), 4),
        [one @ 0..=0x7f, ..] if one != b'\\' => (u32::from(one), 1),
        _ => (REPLACEMENT, 1),
    }
}

const REPLACEMENT: u32 = 0xfffd;

#[inline]
fn tail(point: u32, byte: u8) -> u32 {
    point << 6 | u32::from(byte & 0x3f)
}

fn simple_escape(kind: u8) -> u32 {
    match kind {
        b'n' => 0xa,
        b't' => 0x9,
        b'r' => 0xd,
        b'b' => 0x8,
        b'f' => 0xc,
        b'"' | b'\\' | b'/' => u32::from(kind),
        _ => REPLACEMENT,
    }
}

fn unicode_escape(hex: &[u8]) -> (u32, usize) {
    let Some(high) = hex4(hex) else {
        return (REPLACEMENT, 2);
    };
    let low = hex
        .get(4..)
        .and_then(|rest| rest.strip_prefix(b"\\u"))
        .and_then(hex4);
    match (high, low) {
        (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
            (0x1_0000 + ((high & 0x3ff) << 10 | low & 0x3ff), 12)
        }
        (0xd800..=0xdfff, _) => (REPLACEMENT, 6),
        (point, _) => (point, 6),
    }
}

fn hex4(raw: &[u8]) -> Option<u32> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    raw.get(..4)?
        .iter()
        .try_fold(0, |value, byte| Some(value << 4 | digit(byte)?))
}

/// The first offset at or after `at` where a walk over `raw` may begin: not inside a UTF-8 sequence nor, as far as
/// 64 bytes can tell, inside an escape. A run of backslashes longer than that is taken as it lies.
#[must_use]
pub fn safe_start(raw: &[u8], at: usize) -> usize {
    let last = at.saturating_add(64).min(raw.len());
    (at..last).find(|&at| is_boundary(raw, at)).unwrap_or(last)
}

/// A backslash after anything but a backslash begins an escape; any other byte with no backslash in the five before it
/// (the longest escape's tail) is outside of one.
fn is_boundary(raw: &[u8], at: usize) -> bool {
    let before = raw.get(at.saturating_sub(5)..at).unwrap_or_default();
    match raw.get(at) {
        Some(b'\\') => before.last() != Some(&b'\\'),
        Some(0x80..=0xbf) => false,
        _ => !before.contains(&b'\\'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn decoded(raw: &[u8]) -> Vec<u32> {
        let mut at = 0;
        let mut points = Vec::new();
        while at < raw.len() {
            let (point, length) = decode(&raw[at..]);
            points.push(point);
            at += length;
        }
        points
    }

    #[test]
    fn characters_are_those_that_json_gives() {
        for raw in [
            r#"a\n\u0041\ud83d\ude00é\"\\\/\b\f\r\t"#,
            r"\ud83d x",
            r"\u12",
            "漢😀дñ",
            r"\q\u00e9z",
            r"\ude00\ud83d\u0020",
        ] {
            let expected: Vec<u32> = json::chars(raw.as_bytes()).map(u32::from).collect();
            assert_eq!(decoded(raw.as_bytes()), expected, "{raw}");
        }
    }

    #[test]
    fn a_character_is_never_cut_at_the_end() {
        let raw = br"ab\u00e9c";
        assert_eq!(Walk::default().over(raw, 0, 4, |_| ()), 8);
        assert_eq!(Walk::default().over("aé".as_bytes(), 0, 2, |_| ()), 3);
    }

    #[test]
    fn a_small_letter_after_another_is_what_any_letter_is() {
        let mut walk = Walk::default();
        walk.ascii(b'z', plain(b'z'));
        for byte in (b'a'..=b'z').chain(*b"mississippi").chain(b'a'..=b'z') {
            let mut short = walk;
            let feature = walk.ascii(byte, plain(byte));
            assert_eq!(short.lower(byte), feature, "{}", char::from(byte));
            assert_eq!(format!("{short:?}"), format!("{walk:?}"));
        }
    }

    #[test]
    fn every_feature_is_inside_its_table() {
        let mut walk = Walk::default();
        let alphabet: Vec<u32> = (0..0x3400)
            .step_by(7)
            .chain(0xac00..0xac10)
            .chain([0x1f600, 0xfffd, 0x61, 0x5a])
            .collect();
        for one in &alphabet {
            for _ in 0..3 {
                let feature = walk.point(*one);
                assert!(feature.class < CLASS_FEATURES && feature.letters < LETTER_FEATURES);
            }
        }
    }

    #[test]
    fn windows_begin_outside_of_escapes_and_sequences() {
        let raw = br"\u0434\u0435\u0436\u0437";
        assert_eq!((1..7).map(|at| safe_start(raw, at)).collect::<Vec<_>>(), [6; 6]);
        assert_eq!(safe_start("ééé".as_bytes(), 1), 2);
        assert_eq!(safe_start(br"abc\\\\n plain text", 6), 12);
        assert_eq!(safe_start(&[b'\\'; 1000], 10), 74);
        assert_eq!(safe_start(b"plain", 2), 2);
    }
}
