//! Which kind of character a character is, as far as a tokenizer cares: the alphabet of the features.
//!
//! Every code point has exactly one class below [`COUNT`]. A lookup is one table read for ASCII, one for the rest of the
//! basic plane (blocks of 32 code points), and a comparison or two beyond it.

/// How many classes there are; the feature layout relies on it being a power of two.
pub const COUNT: usize = 32;

/// Before the first character of a text.
pub const EDGE: u8 = 0;
/// `a` to `z`.
pub const LOWER: u8 = 1;
/// `A` to `Z`.
pub const UPPER: u8 = 2;
/// `0` to `9`.
pub const DIGIT: u8 = 3;
/// The space.
pub const SPACE: u8 = 4;
/// Line feed and carriage return.
pub const NEWLINE: u8 = 5;
/// Tab and the other control characters.
pub const CONTROL: u8 = 6;
/// `. , ; : ! ?`
pub const STOP: u8 = 7;
/// `' " \``
pub const QUOTE: u8 = 8;
/// `( [ { <`
pub const OPEN: u8 = 9;
/// `) ] } >`
pub const CLOSE: u8 = 10;
/// `- _`
pub const DASH: u8 = 11;
/// `/ \ |`
pub const SLASH: u8 = 12;
/// What is left of ASCII: `= + * & % $ # @ ^ ~`.
pub const OPERATOR: u8 = 13;
/// Latin letters with marks.
pub const LATIN: u8 = 14;
/// Cyrillic.
pub const CYRILLIC: u8 = 15;
/// Greek.
pub const GREEK: u8 = 16;
/// Arabic, for all languages written in it.
pub const ARABIC: u8 = 17;
/// Hebrew.
pub const HEBREW: u8 = 18;
/// Devanagari: Hindi, Marathi, Nepali.
pub const DEVANAGARI: u8 = 19;
/// The other scripts of India: Bengali to Sinhala.
pub const INDIC: u8 = 20;
/// Thai, Lao, Tibetan, Burmese, Khmer: scripts without spaces between words.
pub const THAI: u8 = 21;
/// Hiragana.
pub const HIRAGANA: u8 = 22;
/// Katakana, full and half width.
pub const KATAKANA: u8 = 23;
/// Han characters.
pub const HAN: u8 = 24;
/// Hangul.
pub const HANGUL: u8 = 25;
/// Punctuation of Chinese and Japanese, and full-width forms.
pub const WIDE: u8 = 26;
/// Typographic punctuation, arrows, mathematics, currency.
pub const SYMBOL: u8 = 27;
/// Emoji and pictographs.
pub const EMOJI: u8 = 28;
/// Combining marks, joiners and variation selectors.
pub const MARK: u8 = 29;
/// Letters of any other script.
pub const LETTER: u8 = 30;
/// Everything else: private use, unassigned, the replacement character.
pub const OTHER: u8 = 31;

/// Code points of a block of the basic plane's table: the finest grain at which scripts change.
const BLOCK: u32 = 32;

pub(super) const ASCII: [u8; 256] = ascii();
const BASIC: [u8; 2048] = basic();

/// The class of an ASCII byte; [`OTHER`] for any other byte.
#[inline]
#[must_use]
pub fn of_ascii(byte: u8) -> u8 {
    ASCII.get(usize::from(byte)).copied().unwrap_or(OTHER)
}

/// The class of a code point outside ASCII.
#[inline]
#[must_use]
pub fn of_point(point: u32) -> u8 {
    match usize::try_from(point / BLOCK)
        .ok()
        .and_then(|block| BASIC.get(block))
    {
        Some(_) if point == 0x200d || point & !0xf == 0xfe00 => MARK,
        Some(class) => *class,
        None => beyond_basic(point),
    }
}

/// Whether both classes are letters of the same kind of word, so that a word goes on from one to the other.
#[inline]
#[must_use]
pub const fn same_word(one: u8, other: u8) -> bool {
    one == other || (is_in(LATIN_LETTERS, one) & is_in(LATIN_LETTERS, other))
}

/// Whether a repetition of one character of this class is cheaper than a run of different ones (`----`, `,,,,`).
#[inline]
#[must_use]
pub const fn repeats_cheaply(class: u8) -> bool {
    !is_in(DEAR_TO_REPEAT, class)
}

/// Sets of classes, a bit each.
const LATIN_LETTERS: u32 = 1 << LOWER | 1 << UPPER | 1 << LATIN;
const DEAR_TO_REPEAT: u32 = 1 << LOWER | 1 << UPPER | 1 << DIGIT | 1 << SPACE | 1 << NEWLINE;

#[inline]
const fn is_in(set: u32, class: u8) -> bool {
    set >> (class & 31) & 1 == 1
}

fn beyond_basic(point: u32) -> u8 {
    match point {
        0x1_f000..=0x1_faff => EMOJI,
        0x2_0000..=0x3_ffff => HAN,
        0xe_0000..=0xe_0fff => MARK,
        0x1_d400..=0x1_d7ff => SYMBOL,
        0x1_0000..=0x1_ffff => LETTER,
        _ => OTHER,
    }
}

/// Ranges of the basic plane, ascending, first and last code point; what no range covers is [`LETTER`].
const RANGES: [(u32, u32, u8); 38] = [
    (0x0080, 0x00bf, SYMBOL),
    (0x00c0, 0x02ff, LATIN),
    (0x0300, 0x035f, MARK),
    (0x0360, 0x03ff, GREEK),
    (0x0400, 0x053f, CYRILLIC),
    (0x0540, 0x059f, LETTER),
    (0x05a0, 0x05ff, HEBREW),
    (0x0600, 0x06ff, ARABIC),
    (0x0740, 0x077f, ARABIC),
    (0x08a0, 0x08ff, ARABIC),
    (0x0900, 0x097f, DEVANAGARI),
    (0x0980, 0x0dff, INDIC),
    (0x0e00, 0x0fff, THAI),
    (0x1000, 0x109f, THAI),
    (0x1100, 0x11ff, HANGUL),
    (0x1780, 0x17ff, THAI),
    (0x1c80, 0x1c9f, CYRILLIC),
    (0x1e00, 0x1eff, LATIN),
    (0x1f00, 0x1fff, GREEK),
    (0x2000, 0x25ff, SYMBOL),
    (0x2600, 0x27bf, EMOJI),
    (0x27c0, 0x2aff, SYMBOL),
    (0x2b00, 0x2b5f, EMOJI),
    (0x2b60, 0x2bff, SYMBOL),
    (0x2c60, 0x2c7f, LATIN),
    (0x2e00, 0x2e7f, SYMBOL),
    (0x2e80, 0x2fdf, HAN),
    (0x2fe0, 0x303f, WIDE),
    (0x3040, 0x309f, HIRAGANA),
    (0x30a0, 0x30ff, KATAKANA),
    (0x3100, 0x33ff, WIDE),
    (0x3400, 0x9fff, HAN),
    (0xa720, 0xa7ff, LATIN),
    (0xac00, 0xd7ff, HANGUL),
    (0xd800, 0xf8ff, OTHER),
    (0xf900, 0xfaff, HAN),
    (0xfb40, 0xfdff, ARABIC),
    (0xfe20, 0xffff, WIDE),
];

#[expect(clippy::indexing_slicing, reason = "a table made by the compiler")]
const fn basic() -> [u8; 2048] {
    let mut table = [LETTER; 2048];
    let mut range = 0;
    while range < RANGES.len() {
        let (first, last, class) = RANGES[range];
        let mut block = first / BLOCK;
        while block <= last / BLOCK {
            table[block as usize] = class;
            block += 1;
        }
        range += 1;
    }
    table
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a table made by the compiler"
)]
const fn ascii() -> [u8; 256] {
    let mut table = [OTHER; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = match byte as u8 {
            b'a'..=b'z' => LOWER,
            b'A'..=b'Z' => UPPER,
            b'0'..=b'9' => DIGIT,
            b' ' => SPACE,
            b'\n' | b'\r' => NEWLINE,
            0..=0x1f | 0x7f => CONTROL,
            b'.' | b',' | b';' | b':' | b'!' | b'?' => STOP,
            b'\'' | b'"' | b'`' => QUOTE,
            b'(' | b'[' | b'{' | b'<' => OPEN,
            b')' | b']' | b'}' | b'>' => CLOSE,
            b'-' | b'_' => DASH,
            b'/' | b'\\' | b'|' => SLASH,
            _ => OPERATOR,
        };
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_has_its_class() {
        for (text, class) in [
            ("éßąńÑ", LATIN),
            ("дяЖі", CYRILLIC),
            ("λΩ", GREEK),
            ("שלום", HEBREW),
            ("سلامپ", ARABIC),
            ("नमस्ते", DEVANAGARI),
            ("বতਪ", INDIC),
            ("ไทยລາວ", THAI),
            ("ひらがな", HIRAGANA),
            ("カタカナ", KATAKANA),
            ("漢字中文", HAN),
            ("한글", HANGUL),
            ("。「」，", WIDE),
            ("—“”…€→∑", SYMBOL),
            ("😀🎉☀✅", EMOJI),
            ("\u{200d}\u{fe0f}\u{301}", MARK),
            ("აბჰ", LETTER),
            ("\u{e000}", OTHER),
        ] {
            for c in text.chars() {
                assert_eq!(of_point(c.into()), class, "{c:?}");
            }
        }
    }

    #[test]
    fn every_code_point_has_a_class_in_range() {
        assert!((0..=0x10_ffff).all(|point| usize::from(of_point(point)) < COUNT));
        assert!((0..=255).all(|byte| usize::from(of_ascii(byte)) < COUNT));
    }
}
