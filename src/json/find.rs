//! Finding the next byte that matters, eight at a time.
//!
//! The trick (Mycroft's): `v - 0x01… & !v & 0x80…` flags the bytes of `v` that are zero. The lowest flag is always exact;
//! only flags above it may be false, so the first hit in little-endian order can be trusted.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Offset of the first byte that ends a run of plain characters in a string: `"`, `\` or a control character.
#[must_use]
pub fn string_special(bytes: &[u8]) -> Option<usize> {
    let hit = |word| equal(word, b'"') | equal(word, b'\\') | below_space(word);
    first(bytes, hit, |byte| byte < 0x20 || byte == b'"' || byte == b'\\')
}

/// Offset of the first `\`.
pub(crate) fn backslash(bytes: &[u8]) -> Option<usize> {
    first(bytes, |word| equal(word, b'\\'), |byte| byte == b'\\')
}

/// Offset of the first CR or LF.
#[must_use]
pub fn line_end(bytes: &[u8]) -> Option<usize> {
    let hit = |word| equal(word, b'\n') | equal(word, b'\r');
    first(bytes, hit, |byte| byte == b'\n' || byte == b'\r')
}

fn first(bytes: &[u8], hit: impl Fn(u64) -> u64, is: impl Fn(u8) -> bool) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let flags = hit(u64::from_le_bytes(*word));
        if flags != 0 {
            return Some(index * 8 + flags.trailing_zeros() as usize / 8);
        }
    }
    let tail = rest.iter().position(|byte| is(*byte))?;
    Some(words.len() * 8 + tail)
}

fn equal(word: u64, byte: u8) -> u64 {
    let zeroed = word ^ (ONES * u64::from(byte));
    zeroed.wrapping_sub(ONES) & !zeroed & HIGHS
}

fn below_space(word: u64) -> u64 {
    word.wrapping_sub(ONES * 0x20) & !word & HIGHS
}

#[cfg(test)]
mod tests {
    use super::{line_end, string_special};

    #[test]
    fn every_byte_is_found_at_every_offset_and_nothing_else() {
        for byte in 0..=255u8 {
            for at in 0..20 {
                let mut text = [0xc3u8; 20];
                text[at] = byte;
                let special = byte < 0x20 || byte == b'"' || byte == b'\\';
                assert_eq!(string_special(&text), special.then_some(at), "{byte} at {at}");
                let ends = byte == b'\n' || byte == b'\r';
                assert_eq!(line_end(&text), ends.then_some(at), "{byte} at {at}");
            }
        }
    }

    #[test]
    fn the_first_of_many_is_found() {
        assert_eq!(string_special(b"ab!\"\"#\\ \x1f"), Some(3));
        assert_eq!(line_end(b"0123456\x0b\x0e89\r\n"), Some(11));
    }
}
