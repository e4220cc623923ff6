//! Where a text is split before it is encoded: the published patterns, written out by hand.
//!
//! A pattern's alternatives are tried in order, the first that matches counts, and each repetition takes as much as lets
//! the rest match. Worked out, that leaves a few scans forward and no trying:
//!
//! - A word of `o200k` is `U*W+` or else `U+W*`, where U is upper case or caseless, W is lower case or caseless, and
//!   marks are caseless. So: scan U. If lower case follows, the word goes on to the end of W. If not, `U*W+` gives back
//!   what isn't W and ends after the last caseless letter; without one, it is `U+`.
//! - A mark may be the optional character before a word, too. But a word that begins with the mark itself ends at the same
//!   place, or is preferred (`U*W+` comes before `U+W*`): so a mark begins a word, always.
//! - White space gives back its last character if something follows that isn't white space, and all after its last newline.
//!
//! Every character is looked at a bounded number of times.

use spillway_ranks::class::{self, CASELESS, DIGIT, LOWER, MARK, NEWLINE, OTHER, SPACE, UPPER};

/// A pretoken, seen from where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// Offset after its last byte.
    pub(super) end: usize,
    /// What comes after this offset can't change `end`; the text's length where its end was seen.
    pub(super) seen: usize,
}

impl Split {
    fn seen(end: usize) -> Self {
        Self { end, seen: end }
    }
}

const LETTER: u8 = UPPER | LOWER | CASELESS;
/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`.
const UPPERS: u8 = UPPER | CASELESS | MARK;
/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`.
const LOWERS: u8 = LOWER | CASELESS | MARK;
/// `[^\s\p{L}\p{N}]`.
const SYMBOL: u8 = OTHER | MARK;
const WHITE: u8 = SPACE | NEWLINE;

/// `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?`
/// `|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?`
/// `|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
#[inline]
#[cfg_attr(not(feature = "o200k"), allow(dead_code, reason = "not built in"))]
pub(super) fn o200k(text: &[u8], at: usize) -> Split {
    let (class, length) = look(text, at);
    if class & (LETTER | MARK) != 0 {
        return word(text, at).unwrap_or(Split::seen(at + length));
    }
    if class & (OTHER | SPACE) != 0
        && let Some(word) = word(text, at + length)
    {
        return word;
    }
    if class == DIGIT {
        return digits(text, at + length);
    }
    match symbols(text, at) {
        Some(end) => Split::seen(run_of_bytes(text, end, |byte| {
            matches!(byte, b'\r' | b'\n' | b'/')
        })),
        None => white(text, at).before_newline_first(),
    }
}

/// `'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s`
#[inline]
#[cfg_attr(not(feature = "cl100k"), allow(dead_code, reason = "not built in"))]
pub(super) fn cl100k(text: &[u8], at: usize) -> Split {
    let (class, length) = look(text, at);
    let suffix = suffixed(text, at);
    if suffix.end > at {
        return suffix;
    }
    let after = at + length;
    if class & (LETTER | OTHER | SPACE | MARK) != 0 {
        let word = run(text, after, LETTER);
        if class & LETTER != 0 || word > after {
            return Split::seen(word);
        }
    }
    if class == DIGIT {
        return digits(text, after);
    }
    match symbols(text, at) {
        Some(end) => Split {
            seen: suffix.seen.max(end),
            ..Split::seen(run_of_bytes(text, end, |byte| matches!(byte, b'\r' | b'\n')))
        }
        .reaching(),
        None => white(text, at).before_end_first(text),
    }
}

impl Split {
    /// What was seen is at least up to the end.
    fn reaching(self) -> Self {
        Self {
            seen: self.seen.max(self.end),
            ..self
        }
    }
}

/// A word of `o200k` that begins at `from`, after what may stand before it; none if no letter or mark does.
#[inline]
fn word(text: &[u8], from: usize) -> Option<Split> {
    let mut at = from;
    let mut after_caseless = from;
    loop {
        let (class, length) = look(text, at);
        if class == LOWER {
            return Some(suffixed(text, run(text, at + length, LOWERS)));
        }
        if class & UPPERS == 0 {
            break;
        }
        at += length;
        if class != UPPER {
            after_caseless = at;
        }
    }
    let end = if after_caseless > from { after_caseless } else { at };
    let split = suffixed(text, end);
    (end > from).then_some(Split {
        seen: split.seen.max(at),
        ..split
    })
}

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)?` at `at`. Regardless of case, U+017F (long s) is an s, too.
#[inline]
fn suffixed(text: &[u8], at: usize) -> Split {
    if text.get(at) != Some(&b'\'') {
        return Split::seen(at);
    }
    let lower = |offset: usize| text.get(at + offset).map_or(0, u8::to_ascii_lowercase);
    let length = match (lower(1), lower(2)) {
        (b's' | b't' | b'm' | b'd', _) => 2,
        (b'r' | b'v', b'e') | (b'l', b'l') | (0xc5, 0xbf) => 3,
        _ => 0,
    };
    Split {
        end: at + length,
        seen: at + 2,
    }
    .reaching()
}

/// The second and third digit.
fn digits(text: &[u8], mut at: usize) -> Split {
    for _ in 0..2 {
        let (class, length) = look(text, at);
        if class != DIGIT {
            break;
        }
        at += length;
    }
    Split::seen(at)
}

/// ` ?[^\s\p{L}\p{N}]+`.
#[inline]
fn symbols(text: &[u8], at: usize) -> Option<usize> {
    let from = at + usize::from(text.get(at) == Some(&b' '));
    let end = run(text, from, SYMBOL);
    (end > from).then_some(end)
}

/// A run of white space.
struct White {
    /// Where its last character begins, unless that is its first.
    last: Option<usize>,
    /// After its last newline.
    after_newline: Option<usize>,
    end: usize,
    /// Whether the text ends with it.
    at_end: bool,
}

fn white(text: &[u8], from: usize) -> White {
    let mut found = White {
        last: None,
        after_newline: None,
        end: from,
        at_end: false,
    };
    loop {
        let (class, length) = look(text, found.end);
        if class & WHITE == 0 {
            found.at_end = length == 0;
            return found;
        }
        found.last = (found.end > from).then_some(found.end);
        found.end += length;
        if class == NEWLINE {
            found.after_newline = Some(found.end);
        }
    }
}

impl White {
    /// `\s*[\r\n]+|\s+(?!\S)|\s+`.
    fn before_newline_first(&self) -> Split {
        Split {
            end: self.after_newline.unwrap_or(self.without_the_last()),
            seen: self.end,
        }
    }

    /// `\s++$|\s*[\r\n]|\s+(?!\S)|\s`.
    fn before_end_first(&self, text: &[u8]) -> Split {
        if self.end == text.len() {
            return Split::seen(self.end);
        }
        self.before_newline_first()
    }

    fn without_the_last(&self) -> usize {
        match self.last {
            Some(last) if !self.at_end => last,
            Some(_) | None => self.end,
        }
    }
}

/// The end of the run of characters of the classes in `set` that begins at `at`.
#[inline]
fn run(text: &[u8], mut at: usize, set: u8) -> usize {
    loop {
        let (class, length) = look(text, at);
        if class & set == 0 {
            return at;
        }
        at += length;
    }
}

fn run_of_bytes(text: &[u8], at: usize, is: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| is(**byte)).count()
}

/// The class of the character at `at`, and its length in bytes; no class and no length at the end.
#[inline]
fn look(text: &[u8], at: usize) -> (u8, usize) {
    let Some(&byte) = text.get(at) else { return (0, 0) };
    match class::ASCII.get(usize::from(byte)) {
        Some(class) => (*class, 1),
        None => wide(text.get(at..).unwrap_or_default()),
    }
}

/// The same for a character beyond ASCII.
#[inline]
fn wide(text: &[u8]) -> (u8, usize) {
    let low = |byte: u8| u32::from(byte & 63);
    let (point, length) = match *text {
        [a, b, ..] if a < 0xe0 => (u32::from(a & 31) << 6 | low(b), 2),
        [a, b, c, ..] if a < 0xf0 => (u32::from(a & 15) << 12 | low(b) << 6 | low(c), 3),
        [a, b, c, d, ..] => (u32::from(a & 7) << 18 | low(b) << 12 | low(c) << 6 | low(d), 4),
        _ => (u32::MAX, text.len()),
    };
    (class::of(point), length)
}
