//! Mending answers that should be JSON.

use spillway::body::repair::{MAX_NESTING, repair};
use spillway::json::Lexer;

use crate::input::Input;
use crate::truth;

/// What is mended is JSON that is accepted, needs no further mending and isn't much longer; something was mended. What is
/// accepted already is left alone. No letter and no digit of a value is invented: read in order, those of the result are
/// among those of the text.
pub fn repair_text(data: &[u8]) {
    let mut input = Input::new(data);
    let first = input.pick(b"{[*");
    let text = input.rest();
    let accepts = |text: &[u8]| truth::is_json(text) && (first == b'*' || starts(text, first));
    let Some(found) = repair(text, accepts) else {
        return;
    };
    assert!(!accepts(text), "what was accepted was changed");
    assert!(accepts(&found.bytes), "what isn't accepted was answered");
    assert!(!found.what.is_empty());
    assert_eq!(repair(&found.bytes, accepts), None);
    // Missing quotes, escapes of control characters, brackets at the end.
    assert!(found.bytes.len() <= text.len() * 6 + 2 * MAX_NESTING + 16);
    invents_nothing(text, &found.bytes);
}

fn starts(text: &[u8], first: u8) -> bool {
    text.trim_ascii_start().first() == Some(&first)
}

/// Letters and digits of the values' and names' texts come from the text, in its order.
fn invents_nothing(text: &[u8], mended: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let mut source = sources(&text).into_iter();
    for c in characters(mended) {
        let found = source.any(|(own, meant)| own == c || meant == Some(c));
        assert!(
            found,
            "{c:?} of {} isn't in {text}",
            String::from_utf8_lossy(mended)
        );
    }
}

/// Each character of a text, and what an escape that begins there may mean.
fn sources(text: &str) -> Vec<(char, Option<char>)> {
    let chars: Vec<char> = text.chars().collect();
    let hex = |at: usize, length: usize| {
        let digits: String = chars.get(at..at + length)?.iter().collect();
        u32::from_str_radix(&digits, 16).ok()
    };
    let meant = |at: usize| match chars.get(at)? {
        'x' => char::from_u32(hex(at + 1, 2)?),
        'u' => {
            let unit = hex(at + 1, 4)?;
            let low = (at..chars.len())
                .skip(5)
                .take(4)
                .find(|at| chars[*at] == 'u')
                .and_then(|at| hex(at + 1, 4));
            match (unit, low) {
                (0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) => {
                    char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00))
                }
                _ => char::from_u32(unit),
            }
        }
        _ => None,
    };
    (0..chars.len()).map(|at| (chars[at], meant(at))).collect()
}

/// Letters and digits of all strings and numbers, in order. The zero that a number's point lacks isn't one.
fn characters(mended: &[u8]) -> Vec<char> {
    let (mut found, mut rest) = (Vec::new(), mended);
    while let Some((first, after)) = rest.split_first() {
        match first {
            b'"' => {
                let mut lexer = Lexer::new(rest);
                let _ = lexer.value();
                let (string, after) = rest.split_at(lexer.offset());
                let inside = string.get(1..string.len().saturating_sub(1)).unwrap_or_default();
                found.extend(spillway::json::chars(inside).filter(|c| c.is_alphanumeric()));
                rest = after;
            }
            b'1'..=b'9' => {
                found.push(char::from(*first));
                rest = after;
            }
            _ => rest = after,
        }
    }
    found
}
