//! Guards: personal data and secrets in requests, answers and streams, found, masked, put back, or reason to stop.
//!
//! ```text
//! scan      one pass, clean bytes by a table        shape/    one file each: e-mail, phone, card, IBAN, SSN, IP, keys, JWT
//! watch     what becomes of a find; the counts      own       the policy's patterns and words
//! body      whole bodies                            stream    texts in pieces
//! ```
//!
//! Everything is looked for in the text that a JSON string means and changed in the string as it is written. All of it
//! is linear in the text and bounded in memory; contents never leave but in the text itself.

mod body;
mod breaks;
mod escape;
mod kind;
mod own;
mod placeholder;
mod scan;
mod shape;
mod stream;
mod tail;
mod text;
mod watch;
mod written;

#[cfg(test)]
mod tests;

use core::ops::Range;

pub(crate) use body::place;
pub use kind::{Kind, Kinds};
pub use own::{LONGEST, Own};
pub use stream::StreamGuard;
pub use watch::{Plan, Watch};
pub use written::Written;

/// What is found of these kinds in a text, from the left, the longest first; none overlaps another.
#[must_use]
pub fn find(text: &str, kinds: Kinds) -> Vec<(Kind, Range<usize>)> {
    let mut found = Vec::new();
    scan::Scanner::new(kinds, false).scan(text::Text(text.as_bytes()), 0, &mut found);
    found.sort_by_key(|found| (found.start, core::cmp::Reverse(found.end)));
    let mut floor = 0;
    let apart = found.into_iter().filter_map(|found| {
        let start = found.start.max(floor);
        let scan::What::Value(kind) = found.what else {
            return None;
        };
        floor = floor.max(found.end);
        (start < found.end).then_some((kind, start..found.end))
    });
    apart.collect()
}
