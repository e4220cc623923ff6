//! Tokens of RFC 7519: base64url parts between dots, the first of which is JSON that names an algorithm.

use crate::guard::text::{Text, base64url};
use crate::json::{Lexer, Value};

/// The longest header that is read: what a stream holds back.
const HEADER: usize = 240;

/// The token whose first characters (`eyJ` or `eyA`: `{"` or `{ `) end at this place.
///
/// Answers where it begins, where its header ends, and how many dots it has. Decided by its first 240 bytes, so that
/// a stream needs no more of it.
pub(in crate::guard) fn at(text: Text<'_>, third: usize) -> Option<(usize, usize, u8)> {
    let start = third.checked_sub(2)?;
    let before = text.before(start);
    if !text.has(start, b"ey") || base64url(before) || before == b'.' {
        return None;
    }
    let dot = text.run(start, HEADER, base64url);
    if text.at(dot) != b'.' {
        return None;
    }
    let dots = parts(&decoded(text.slice(start, dot)))?;
    let payload = text.run(dot + 1, (start + HEADER).saturating_sub(dot), base64url);
    let cut = payload >= start + HEADER;
    let some = payload > dot + 1 || dots > 2;
    (some && (cut || text.at(payload) == b'.')).then_some((start, dot, dots))
}

/// How many dots a token with this header has: four when it is encrypted (RFC 7516).
fn parts(header: &[u8]) -> Option<u8> {
    let mut json = Lexer::new(header);
    let (mut signed, mut encrypted) = (false, false);
    if json.value().ok()? != Value::Object {
        return None;
    }
    while let Some(name) = json.member().ok()? {
        signed |= name == b"alg";
        encrypted |= name == b"enc";
        json.skip().ok()?;
    }
    json.end().ok()?;
    signed.then_some(if encrypted { 4 } else { 2 })
}

/// RFC 4648 §5, without padding; bits that are left over are dropped.
fn decoded(text: &[u8]) -> Vec<u8> {
    let (mut bits, mut held) = (0u32, 0u32);
    let mut bytes = Vec::with_capacity(text.len());
    for value in text.iter().filter_map(|byte| value(*byte)) {
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.extend(u8::try_from((bits >> held) & 0xff));
        }
    }
    bytes
}

fn value(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    })
}
