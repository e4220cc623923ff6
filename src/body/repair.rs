//! Mending an answer that should be JSON and isn't, without asking the model again.
//!
//! Models wrap JSON in prose and fences, write Python for it, forget to escape, stop before the last bracket. What can be
//! read in one way only is read that way; everything else stays broken. The invariants: a valid answer is never
//! changed, no value is invented, none that was cut off is completed, and what has two readings has no repair. Only
//! what the caller then accepts counts. Linear in the text, and no deeper than [`MAX_NESTING`].

mod cursor;
mod mends;
mod prose;
mod quotes;
mod reader;
mod scalar;
mod strings;

use std::borrow::Cow;

use prose::Segment;
use reader::{Found, Outcome};

pub use mends::{Mend, Mends};

/// Containers within one another that a repair follows: as many as a schema's verdict does.
pub const MAX_NESTING: usize = 64;
/// Brackets in prose that are looked at. Nobody finds an answer among more.
const MAX_CANDIDATES: usize = 32;

/// An answer that has been mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The answer as JSON, without white space.
    pub bytes: Vec<u8>,
    /// What was mended; never nothing.
    pub what: Mends,
}

/// The one reading of `text` that `accepts` agrees to; none when there are several, or none, or nothing to mend.
///
/// `accepts` is asked at most 33 times, with whole JSON texts; it should be the schema's verdict. An accepted text
/// is left alone. Whoever knows that the answer was cut off by its length may refuse what holds [`Mend::Closed`].
#[must_use]
pub fn repair(text: &[u8], accepts: impl Fn(&[u8]) -> bool) -> Option<Repaired> {
    let whole = std::str::from_utf8(text).ok()?;
    if accepts(text) {
        return None;
    }
    let mut before = Mends::default();
    let mut text = Cow::Borrowed(prose::after_thinking(whole)?);
    if text.len() < whole.len() {
        before.add(Mend::Prose);
    }
    if let Some(inner) = prose::unescaped(&text) {
        before.add(Mend::Unescaped);
        text = Cow::Owned(inner);
    }
    let mut found = Search::default().over(&text, accepts)?;
    found.what.join(before);
    (!found.what.is_empty()).then_some(found)
}

/// A walk over prose in search of the one answer.
#[derive(Default)]
struct Search {
    found: Option<Repaired>,
    /// What was passed over belongs to every answer found.
    around: Mends,
}

impl Search {
    fn over(mut self, text: &str, accepts: impl Fn(&[u8]) -> bool) -> Option<Repaired> {
        let mut segment = Segment::inside();
        let mut at = 0;
        for _ in 0..=MAX_CANDIDATES {
            let Some(open) = prose::bracket(text, at) else {
                self.around.join(segment.last().judge(text.get(at..)?)?);
                return self.finish();
            };
            self.around.join(segment.judge(text.get(at..open)?)?);
            match reader::read(text, open) {
                Outcome::Value(found) => {
                    segment = Segment::after(&found);
                    at = found.end;
                    self.consider(found, &accepts)?;
                }
                Outcome::Prose => {
                    segment = Segment::inside();
                    at = prose::after_bracketed(text, open)?;
                }
                Outcome::Broken => return None,
            }
        }
        None
    }

    /// None when two answers differ.
    fn consider(&mut self, found: Found, accepts: impl Fn(&[u8]) -> bool) -> Option<()> {
        match &mut self.found {
            Some(first) if first.bytes == found.bytes => {
                first.what.join(found.mends);
                first.what.add(Mend::Doubled);
            }
            Some(_) if accepts(&found.bytes) => return None,
            Some(_) => self.around.add(Mend::Prose),
            None if accepts(&found.bytes) => {
                self.found = Some(Repaired {
                    bytes: found.bytes,
                    what: found.mends,
                });
            }
            None => self.around.add(Mend::Prose),
        }
        Some(())
    }

    fn finish(self) -> Option<Repaired> {
        let mut found = self.found?;
        found.what.join(self.around);
        Some(found)
    }
}
