//! Where a stream may be let go: places that no match reaches over.
//!
//! Without them every stream would run 256 bytes late. With them prose runs a word late, and only what looks like the
//! beginning of something waits for its end.

use super::text::{Text, alnum, digit};

/// The longest an account's groups of four get, spaces included.
const GROUPS: usize = 48;

/// Whether no match of a built-in shape has bytes on both sides of the place, whatever follows. The byte at the place
/// must be in sight.
pub(super) fn at(text: Text<'_>, place: usize) -> bool {
    let parts = match text.at(place) {
        b' ' => !groups(text, place),
        b'\n' | b'\r' | b'\t' | b',' | b';' | b'!' | b'?' | b'"' | b'<' | b'>' | b'{' | b'}' | b'|'
        | b'`' | b'\\' | b'$' | b'^' | b'~' | b'=' | b'&' | b'*' | b'#' => true,
        // Characters of three bytes and more, and the signs of Latin-1: no shape has them.
        0xc2 | 0xe0..=0xf4 => true,
        _ => false,
    };
    parts && !key_header(text, place)
}

/// Whether what ends before this space may go on after it: groups of digits, or an account's groups of four.
fn groups(text: Text<'_>, space: usize) -> bool {
    let mut end = space;
    while space - end < GROUPS {
        let begin = text.run_back(end, 5, |byte| byte != b' ');
        let group = text.slice(begin, end);
        if group.iter().any(|byte| digit(*byte)) {
            return true;
        }
        let last = end - begin > 4 || end == begin || text.before(begin) != b' ';
        if last || !group.iter().all(|byte| alnum(*byte)) {
            return false;
        }
        end = begin - 1;
    }
    false
}

/// Whether the first line of a private key may be under way.
fn key_header(text: Text<'_>, place: usize) -> bool {
    let begin = text.run_back(place, 64, |byte| {
        byte.is_ascii_uppercase() || matches!(byte, b' ' | b'-')
    });
    let line = text.slice(begin, place);
    line.windows(5).any(|five| five == b"-----")
}
