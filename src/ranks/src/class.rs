//! Classes of characters as the encodings' patterns tell them apart. One bit each, so that a set is a mask.

/// CR and LF.
pub const NEWLINE: u8 = 1;
/// `\s` but for [`NEWLINE`].
pub const SPACE: u8 = 1 << 1;
/// `\p{N}`.
pub const DIGIT: u8 = 1 << 2;
/// `\p{Lu}` and `\p{Lt}`.
pub const UPPER: u8 = 1 << 3;
/// `\p{Ll}`.
pub const LOWER: u8 = 1 << 4;
/// `\p{Lm}` and `\p{Lo}`: letters without case.
pub const CASELESS: u8 = 1 << 5;
/// `\p{M}`.
pub const MARK: u8 = 1 << 6;
/// All else.
pub const OTHER: u8 = 1 << 7;

const COUNT: usize = include!(concat!(env!("OUT_DIR"), "/classes.rs"));
const NUMBERS: usize = 0x1100;
static TABLE: &[u8; NUMBERS + COUNT * 256] = include_bytes!(concat!(env!("OUT_DIR"), "/classes.bin"));
/// Those of ASCII.
pub static ASCII: [u8; 128] = ascii();

/// Bytes of the table.
#[must_use]
pub fn size() -> usize {
    TABLE.len()
}

/// The class of a code point; [`OTHER`] beyond the last.
#[inline]
#[must_use]
pub fn of(point: u32) -> u8 {
    let point = usize::try_from(point).unwrap_or(usize::MAX);
    let Some(&block) = TABLE.get(..NUMBERS).and_then(|numbers| numbers.get(point >> 8)) else {
        return OTHER;
    };
    let at = NUMBERS + (usize::from(block) << 8 | point & 0xff);
    TABLE.get(at).copied().unwrap_or(OTHER)
}

#[allow(clippy::indexing_slicing, reason = "evaluated when compiled")]
const fn ascii() -> [u8; 128] {
    let mut classes = [0; 128];
    let mut at = 0;
    while at < 128 {
        classes[at] = TABLE[NUMBERS + ((TABLE[0] as usize) << 8 | at)];
        at += 1;
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classes_are_those_of_the_patterns() {
        let class = |c: char| of(u32::from(c));
        assert_eq!(
            "\r\n \tA\u{1c5}a0²ー字\u{301}!\u{85}"
                .chars()
                .map(class)
                .collect::<Vec<_>>(),
            [
                NEWLINE, NEWLINE, SPACE, SPACE, UPPER, UPPER, LOWER, DIGIT, DIGIT, CASELESS, CASELESS, MARK,
                OTHER, SPACE
            ]
        );
        assert_eq!(
            (of(0x10_ffff), of(0x11_0000), of(u32::MAX)),
            (OTHER, OTHER, OTHER)
        );
        assert!((0..128).all(|point| ASCII[point as usize] == of(point)));
    }
}
