//! Shared counts of use: exact, bounded, and never forgiving a debt.
//!
//! A fixed number of records in the store (`page.rs`), each with a few buckets (`gcra.rs`); which page and which entry
//! a bucket is, a keyed hash says (`key.rs`). A request sets aside what it may use (`demand.rs`, `habit.rs`, `admit.rs`) and gets a
//! ticket (`ticket.rs`); at its end the truth is settled (`settle.rs`; both stand on `bucket.rs`).
//!
//! ```text
//! admit(request) ──► Granted(ticket) ──► settle(ticket, actual) ──► Settlement, pending? ──► flush by the tick
//!                ├─► Refused(refusal)    not now: nothing was charged
//!                ├─► Never(never)        not ever: the prompt alone exceeds the capacity
//!                └─► Unsure              it depends on the prompt's count: to be asked again with it
//! ```
//!
//! What it guarantees, for any number of workers over one store: at most a limit's capacity, plus what refills, is set
//! aside at any time; every use is charged, late if need be; memory is set by the policy alone. What it can't: use that
//! exceeds its reservation is known only afterwards, and is carried as debt.

mod admit;
mod bucket;
mod demand;
mod gcra;
mod habit;
mod key;
mod page;
mod settle;
#[cfg(test)]
mod tests;
mod ticket;

pub use admit::{Claim, Request};
pub use demand::{Certainty, Demand};
pub use habit::Lesson;
pub use key::{HashKey, Key};
pub use settle::{Actual, Settlement};
pub use ticket::{Admission, Groups, Level, Never, Pending, Refusal, Ticket};

use crate::policy::Limit;
use crate::time::nanos;

/// The version of the records' layout.
pub const LAYOUT: u16 = page::VERSION;

/// How often a write is tried before the limit's `on_contention` decides.
const TRIES: u32 = 16;
/// Pages hold twice as many entries as there are keys to be told apart, so that few fill up by chance.
const ROOM: u64 = 2;

/// What the hashes are taken for, so that no two uses ever agree.
#[derive(Clone, Copy)]
enum Domain {
    Plain = 0,
    Page = 1,
    Bucket = 2,
    Habit = 3,
}

/// The ledger of one policy: how keys are hashed, and over how many pages. It holds no counts; the store does.
#[derive(Clone, Debug)]
pub struct Ledger {
    key: HashKey,
    pages: u32,
}

impl Ledger {
    /// A ledger that tells `tracked_keys` buckets apart, in 64 bytes of the store each.
    #[must_use]
    pub fn new(key: HashKey, tracked_keys: u32) -> Self {
        let entries = u64::try_from(page::ENTRIES).unwrap_or(1);
        let pages = (u64::from(tracked_keys) * ROOM).div_ceil(entries).max(1);
        Self {
            key,
            pages: u32::try_from(pages).unwrap_or(u32::MAX),
        }
    }

    /// The keyed hash of the parts, in their order and by their bounds: for names in records and logs.
    #[must_use]
    pub fn hash(&self, parts: &[&[u8]]) -> u64 {
        self.keyed(Domain::Plain, parts)
    }

    /// The bucket of `limit` for these parts (what its `per` names). `owner` picks the page: the caller, so that all of
    /// its limits are on one; or all the parts for a limit that isn't per caller.
    ///
    /// A limit that takes another time to refill has buckets of its own. While workers of two policies run side by side
    /// (the former one's drain), each cuts a bucket off to what its own limit can hold; in one bucket, the shorter limit
    /// would forgive the longer one's use again and again.
    #[must_use]
    pub fn key(&self, limit: &Limit, owner: &[u8], parts: &[&[u8]]) -> Key {
        self.named(Domain::Bucket, limit.id ^ refill(limit), (owner, parts))
    }

    /// Where what a caller and a model lately did is kept.
    #[must_use]
    pub fn habit_key(&self, owner: &[u8], parts: &[&[u8]]) -> Key {
        self.named(Domain::Habit, 0, (owner, parts))
    }

    fn named(&self, domain: Domain, id: u64, name: (&[u8], &[&[u8]])) -> Key {
        let (owner, parts) = name;
        let entry = [self.keyed(domain, parts), id, self.keyed(Domain::Page, &[owner])];
        let [parts, id, owner] = entry.map(u64::to_le_bytes);
        let page = u64::from_le_bytes(owner) % u64::from(self.pages);
        Key {
            page: u32::try_from(page).unwrap_or(0),
            fingerprint: self.keyed(domain, &[&parts, &id, &owner]),
        }
    }

    fn keyed(&self, domain: Domain, parts: &[&[u8]]) -> u64 {
        self.key.hash(domain as u64, parts)
    }
}

/// How long the limit takes to refill from nothing, in ns.
fn refill(limit: &Limit) -> u64 {
    let period = nanos(limit.period);
    if limit.burst == limit.quota {
        return period;
    }
    let whole = u128::from(period) * u128::from(limit.burst);
    u64::try_from(whole / u128::from(limit.quota.max(1))).unwrap_or(u64::MAX)
}
