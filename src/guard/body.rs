//! Masking the texts of a complete body.
//!
//! The invariant: what was JSON stays JSON. Only the contents of strings change, and only to contents of strings.

use core::ops::Range;

use super::watch::{Plan, Watch};
use crate::json;

/// Contents that are no text: a word among a guard's must not change who speaks.
const ROLES: [&[u8]; 6] = [
    b"user",
    b"assistant",
    b"system",
    b"developer",
    b"tool",
    b"function",
];

impl Watch {
    /// The body with its texts masked by the plan, or put back; none when it stays as it is.
    ///
    /// `spans` are parts of `body` (as [`crate::dialect::scan`] finds them): contents of strings, still escaped, or
    /// whole stretches of JSON with quotes in them. They may come in any order; what isn't a part of the body is passed
    /// over.
    pub fn mask_spans(&mut self, plan: &Plan, body: &[u8], spans: &[&[u8]]) -> Option<Vec<u8>> {
        self.mask_places(plan, body, spans).unwrap_or_default()
    }

    /// The same; where it lies, if something was found that lets nothing go on.
    ///
    /// # Errors
    /// The offset of the content of the string that holds it.
    pub fn mask_places(
        &mut self,
        plan: &Plan,
        body: &[u8],
        spans: &[&[u8]],
    ) -> Result<Option<Vec<u8>>, usize> {
        let places = spans.iter().filter_map(|span| place(body, span));
        let mut places: Vec<(usize, usize)> = places.map(|place| (place.start, place.end)).collect();
        places.sort_unstable();
        let (mut out, mut sent) = (Vec::new(), 0);
        let mut seen = 0;
        for (start, end) in places {
            if start < seen {
                continue;
            }
            seen = end;
            for (start, end) in contents(body, start, end) {
                let raw = body.get(start..end).filter(|raw| !ROLES.contains(raw));
                let masked = raw.and_then(|raw| self.mask(plan, raw));
                if self.blocked().is_some() {
                    return Err(start);
                }
                let Some(masked) = masked else {
                    continue;
                };
                out.extend_from_slice(body.get(sent..start).unwrap_or_default());
                out.extend_from_slice(&masked);
                sent = end;
            }
        }
        if sent == 0 {
            return Ok(None);
        }
        out.extend_from_slice(body.get(sent..).unwrap_or_default());
        Ok(Some(out))
    }
}

/// Where a part of the body lies in it.
pub(crate) fn place(body: &[u8], span: &[u8]) -> Option<Range<usize>> {
    let start = span.as_ptr().addr().checked_sub(body.as_ptr().addr())?;
    let end = start.checked_add(span.len())?;
    (end <= body.len() && !span.is_empty()).then_some(start..end)
}

/// The contents of strings in a part of a body: itself, or, where it holds quotes, what is between them.
fn contents(body: &[u8], start: usize, end: usize) -> Vec<(usize, usize)> {
    let quotes = quotes(body, start, end);
    if quotes.is_empty() {
        return vec![(start, end)];
    }
    let mut pairs = quotes.chunks_exact(2);
    let mut found: Vec<_> = pairs
        .by_ref()
        .filter_map(|pair| Some((pair.first()? + 1, *pair.last()?)))
        .collect();
    found.extend(pairs.remainder().first().map(|open| (open + 1, end)));
    found
}

/// Where the quotes are that no backslash stands before.
fn quotes(body: &[u8], start: usize, end: usize) -> Vec<usize> {
    let (mut at, mut found) = (start, Vec::new());
    while let Some(run) = body.get(at..end).and_then(json::string_special) {
        at += run;
        match body.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') => {
                found.push(at);
                at += 1;
            }
            _ => at += 1,
        }
    }
    found
}
