//! Reading JSON without building trees: what the hot path knows of the syntax (RFC 8259).
//!
//! Every function is linear in its input and can't panic; what allocates says so. Three readers share the grammar:
//! [`chars`] decodes a string's content, [`Lexer`] pulls values out of a complete text, [`Machine`] follows a text
//! that arrives in pieces.

mod find;
mod lexer;
mod machine;
mod number;

use std::borrow::Cow;

pub(crate) use find::backslash;
pub use find::{line_end, string_special};
pub use lexer::{Fault, Lexer, MAX_DEPTH, Value, content_len};
pub use machine::{Machine, Mark};
pub use number::unsigned;

/// A string's content (between its quotes, still escaped) as bytes to compare with names; allocates only when escaped.
#[must_use]
pub fn name(raw: &[u8]) -> Cow<'_, [u8]> {
    if find::backslash(raw).is_some() {
        Cow::Owned(chars(raw).collect::<String>().into_bytes())
    } else {
        Cow::Borrowed(raw)
    }
}

/// A string's content (between its quotes, still escaped), decoded as [`chars`] does; allocates only when it must.
#[must_use]
pub fn text(raw: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(raw) {
        Ok(plain) if find::backslash(raw).is_none() => Cow::Borrowed(plain),
        Ok(escaped) => Cow::Owned(decoded(escaped)),
        Err(_) => Cow::Owned(chars(raw).collect()),
    }
}

/// What [`chars`] yields, with what stands between escapes copied as it is.
fn decoded(escaped: &str) -> String {
    let mut found = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((plain, escape)) =
        find::backslash(rest.as_bytes()).and_then(|at| rest.split_at_checked(at))
    {
        found.push_str(plain);
        if let Some((c, after)) = simple(escape) {
            found.push(c);
            rest = after;
            continue;
        }
        let mut decoding = chars(escape.as_bytes());
        found.extend(decoding.next());
        let used = escape.len().saturating_sub(decoding.rest.len());
        let Some(after) = escape.get(used..) else {
            // A broken escape took a part of a longer sequence.
            found.extend(decoding);
            return found;
        };
        rest = after;
    }
    found.push_str(rest);
    found
}

/// The character of an escape of two bytes, and what follows it.
fn simple(escape: &str) -> Option<(char, &str)> {
    let c = match escape.as_bytes().get(1)? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        _ => return None,
    };
    Some((c, escape.get(2..)?))
}

/// As [`text`], but no longer than `bound` bytes: what is over is cut off between characters.
#[must_use]
pub fn text_within(raw: &[u8], bound: usize) -> String {
    let mut found = String::new();
    for c in chars(raw) {
        if found.len() + c.len_utf8() > bound {
            break;
        }
        found.push(c);
    }
    found
}

/// Appends `text` as a JSON string, quotes included.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(*b"\\n"),
            0..0x20 | 0x7f => out.extend(format!("\\u{byte:04x}").bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// The characters of a JSON string's content (the bytes between its quotes, still escaped), decoded.
///
/// Surrogate pairs are joined; a lone surrogate, a broken escape or invalid UTF-8 yields U+FFFD.
#[must_use]
pub fn chars(raw: &[u8]) -> Chars<'_> {
    Chars { rest: raw }
}

/// Iterator of [`chars`].
#[derive(Clone, Debug)]
pub struct Chars<'a> {
    rest: &'a [u8],
}

impl<'a> Chars<'a> {
    /// What isn't decoded yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl Iterator for Chars<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let (&first, rest) = self.rest.split_first()?;
        match first {
            b'\\' => Some(self.escape(rest)),
            0..=0x7f => {
                self.rest = rest;
                Some(char::from(first))
            }
            _ => Some(self.multibyte()),
        }
    }
}

impl Chars<'_> {
    fn escape(&mut self, rest: &[u8]) -> char {
        // `rest` borrows from the same slice as `self.rest`; offsets keep the borrow checker out of it.
        let Some(&kind) = rest.first() else {
            self.advance(1);
            return char::REPLACEMENT_CHARACTER;
        };
        self.advance(2);
        match kind {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'"' | b'\\' | b'/' => char::from(kind),
            b'u' => self.unicode(),
            _ => char::REPLACEMENT_CHARACTER,
        }
    }

    fn unicode(&mut self) -> char {
        let Some(high) = hex4(self.rest) else {
            return char::REPLACEMENT_CHARACTER;
        };
        self.advance(4);
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER);
        }
        match self.rest.strip_prefix(b"\\u").and_then(hex4) {
            Some(low) if (0xdc00..0xe000).contains(&low) => {
                self.advance(6);
                char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))
                    .unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => char::REPLACEMENT_CHARACTER,
        }
    }

    fn multibyte(&mut self) -> char {
        let window = self.rest.get(..4).unwrap_or(self.rest);
        let chunk = window.utf8_chunks().next();
        let found = chunk.as_ref().and_then(|c| c.valid().chars().next());
        match (found, chunk) {
            (Some(c), _) => {
                self.advance(c.len_utf8());
                c
            }
            (None, chunk) => {
                self.advance(chunk.map_or(1, |c| c.invalid().len().max(1)));
                char::REPLACEMENT_CHARACTER
            }
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }
}

fn hex4(raw: &[u8]) -> Option<u32> {
    raw.get(..4)?.iter().try_fold(0u32, |value, byte| {
        Some(value * 16 + char::from(*byte).to_digit(16)?)
    })
}

#[cfg(test)]
mod tests {
    use super::{chars, name, push_string, text, text_within};

    #[test]
    fn escapes_and_surrogates_decode() {
        let decode = |raw: &str| chars(raw.as_bytes()).collect::<String>();
        assert_eq!(decode(r#"a\n\u0041\ud83d\ude00é"#), "a\nA😀é");
        assert_eq!(decode(r"\ud83d x"), "\u{fffd} x");
        assert_eq!(decode(r"\"), "\u{fffd}");
        assert_eq!(decode(r"\u12"), "\u{fffd}12");
    }

    #[test]
    fn a_text_is_its_characters() {
        let pieces = [
            "",
            "a",
            "long enough for a word",
            "é😀",
            r"\n",
            r#"\""#,
            r"\u0041",
            r"\ud83d\ude00",
            r"\ud83d",
            r"\q",
            r"\u12",
            r"\é",
            "\\",
        ];
        for one in pieces {
            for two in pieces {
                for three in pieces {
                    let raw = [one, two, three].concat();
                    assert_eq!(
                        text(raw.as_bytes()),
                        chars(raw.as_bytes()).collect::<String>(),
                        "{raw}"
                    );
                }
            }
        }
    }

    #[test]
    fn invalid_bytes_become_replacement_characters() {
        assert_eq!(chars(b"a\xff\xc3(").collect::<String>(), "a\u{fffd}\u{fffd}(");
    }

    #[test]
    fn names_compare_by_what_they_mean() {
        assert_eq!(&*name(br"mod\u0065l"), b"model");
        assert_eq!(&*name(b"model"), b"model");
    }

    #[test]
    fn decoded_text_is_cut_between_characters() {
        assert_eq!(text(br"a\nb"), "a\nb");
        assert_eq!(text(b"\xff"), "\u{fffd}");
        assert_eq!(text_within("aéé".as_bytes(), 4), "aé");
    }

    #[test]
    fn written_strings_read_back() {
        let odd = "a\"b\\c\n\u{1}\u{7f}é😀";
        let mut out = Vec::new();
        push_string(&mut out, odd);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), odd);
        assert_eq!(text(&out[1..out.len() - 1]), odd);
    }
}
