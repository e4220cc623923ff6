//! What stands in a text for a value: `[EMAIL_1]`, and which value that was.
//!
//! One table per exchange. The invariants: a value has one placeholder and a placeholder one value; what the table
//! holds is bounded, and a value beyond the bound is still masked, by a placeholder without a number that nothing is
//! put back for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kind::Kind;
use super::scan::{Found, What};
use super::tail::Tail;
use super::text::{Text, digit};

/// Values that an exchange tells apart.
const VALUES: usize = 4_096;
/// And their bytes.
const BYTES: usize = 256 << 10;
/// The longest placeholder: the longest label, a number of seven digits, and what is around them.
pub(super) const LONGEST: usize = 17;

/// Whether a value is put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// The answer gets it back.
    Original,
    /// Nobody does.
    Nothing,
}

/// The placeholders of one exchange. Its `Debug` shows no value.
#[derive(Clone, Default)]
pub(super) struct Placeholders {
    numbers: BTreeMap<(Kind, Arc<[u8]>), u32>,
    originals: BTreeMap<(Kind, u32), Arc<[u8]>>,
    last: BTreeMap<Kind, u32>,
    bytes: usize,
}

impl core::fmt::Debug for Placeholders {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Placeholders")
            .field("values", &self.numbers.len())
            .finish_non_exhaustive()
    }
}

impl Placeholders {
    /// What stands for the value from now on.
    pub(super) fn standing_for(&mut self, kind: Kind, value: &[u8], keep: Keep) -> String {
        let key = (kind, Arc::from(value));
        let known = self.numbers.get(&key).copied();
        let number = known.or_else(|| self.admit(key.clone()));
        if let (Some(number), Keep::Original) = (number, keep) {
            self.originals.insert((kind, number), key.1);
        }
        match number {
            Some(number) => format!("[{}_{number}]", kind.label()),
            None => format!("[{}]", kind.label()),
        }
    }

    fn admit(&mut self, key: (Kind, Arc<[u8]>)) -> Option<u32> {
        let bytes = self.bytes.saturating_add(key.1.len());
        if self.numbers.len() >= VALUES || bytes > BYTES {
            return None;
        }
        self.bytes = bytes;
        let last = self.last.entry(key.0).or_default();
        *last += 1;
        let number = *last;
        self.numbers.insert(key, number);
        Some(number)
    }

    /// Whether there is any value to put back.
    pub(super) fn keeps_originals(&self) -> bool {
        !self.originals.is_empty()
    }

    /// The value to put back for a placeholder.
    pub(super) fn original(&self, kind: Kind, number: u32) -> Option<&[u8]> {
        self.originals.get(&(kind, number)).map(|value| &**value)
    }
}

/// The placeholder that begins with the `[` at this place.
pub(super) fn at(text: Text<'_>, start: usize) -> Option<Found> {
    let label = start + 1;
    let stop = text.run(label, LONGEST, |b| b.is_ascii_uppercase() || b == b'_');
    let end = text.run(stop, 7, digit);
    let kind = Kind::of_label(text.slice(label, stop.saturating_sub(1)))?;
    let parted = text.before(stop) == b'_' && text.at(end) == b']' && text.at(stop) != b'0';
    let number = core::str::from_utf8(text.slice(stop, end)).ok()?.parse().ok()?;
    parted.then_some(Found {
        start,
        end: end + 1,
        what: What::Placeholder(kind, number),
        tail: Tail::None,
    })
}
