//! The retry budget: how many repeats at a provider that just failed all workers together may have under way.
//!
//! # Why a slot per worker
//! What is active is counted by each worker for itself, at no cost, and written into its slot of one record by its
//! tick, or with a repeat. A worker that is gone leaves a slot that nobody renews: it lapses, and so does what was
//! counted in it. A repeat is let go by compare-and-swap over the whole record, so that workers can't each believe that
//! the last one is theirs.
//!
//! Its invariant: the record never has more than [`MOST_SLOTS`] slots; a worker that finds none may only go where the
//! minimum allows it.

use core::time::Duration;

use crate::store::{Cas, Store, StoreError};
use crate::time::Instant;

/// The record's key: one for the process.
const KEY: &str = "spillway.failover.repeats";
/// More workers than any proxy has; 24 bytes each.
const MOST_SLOTS: usize = 256;
/// A slot that wasn't renewed for so long is nobody's: five ticks.
const LAPSE: Duration = Duration::from_secs(5);
/// Repeats that are always allowed, as in Envoy's retry budget (`min_retry_concurrency`).
const MINIMUM: u64 = 3;
/// How often a lost race is run again.
const TRIES: u32 = 8;
const SLOT: usize = 24;

/// What a worker has under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Tells workers apart; random.
    pub worker: u64,
    /// Exchanges sent to a provider and not ended yet.
    pub active: u32,
    /// Of these, repeats at the same provider: waiting, or sent.
    pub repeating: u32,
    /// Bytes of requests that are kept to be sent again.
    pub kept: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    worker: u64,
    renewed: Instant,
    active: u32,
    repeating: u32,
}

impl Slot {
    fn of(load: Load, now: Instant) -> Self {
        Self {
            worker: load.worker,
            renewed: now,
            active: load.active,
            repeating: load.repeating,
        }
    }

    fn lives(&self, now: Instant) -> bool {
        now.since(self.renewed) < LAPSE
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let long = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let short = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            worker: long(0)?,
            renewed: Instant(long(8)?),
            active: short(16)?,
            repeating: short(20)?,
        })
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.extend(self.worker.to_le_bytes());
        to.extend(self.renewed.0.to_le_bytes());
        to.extend(self.active.to_le_bytes());
        to.extend(self.repeating.to_le_bytes());
    }
}

/// Lets one more repeat go if the budget has room: at most `share` of what is active, and three at least. The worker
/// counts it in its [`Load`] from then on, until the repeat has ended.
pub fn acquire<S: Store>(store: &S, load: Load, share: f64, now: Instant) -> bool {
    let mine = Load {
        repeating: load.repeating.saturating_add(1),
        ..load
    };
    for _ in 0..TRIES {
        let (others, cas) = others(store, mine.worker, now);
        let sum = |of: fn(&Slot) -> u32| others.iter().map(|slot| u64::from(of(slot))).sum::<u64>();
        let active = sum(|slot| slot.active) + u64::from(mine.active);
        let repeating = sum(|slot| slot.repeating) + u64::from(mine.repeating);
        if repeating > allowed(active, share) {
            return false;
        }
        match write(store, others, Slot::of(mine, now), cas) {
            Ok(()) => return true,
            Err(StoreError::Conflict) => {}
            // Nobody can count together: what a worker alone may do is the minimum.
            Err(StoreError::Unavailable) => break,
        }
    }
    u64::from(mine.repeating) <= MINIMUM
}

/// Renews the worker's slot; what loses its race is written by the next tick. Answers what all workers together have under
/// way, as far as they have told.
pub fn publish<S: Store>(store: &S, load: Load, now: Instant) -> Load {
    let (others, cas) = others(store, load.worker, now);
    let all = others.iter().fold(load, |sum, slot| Load {
        active: sum.active.saturating_add(slot.active),
        repeating: sum.repeating.saturating_add(slot.repeating),
        ..sum
    });
    let _ = write(store, others, Slot::of(load, now), cas);
    all
}

fn allowed(active: u64, share: f64) -> u64 {
    let active = u32::try_from(active).unwrap_or(u32::MAX);
    let room = (f64::from(active) * share.clamp(0.0, 1.0)).floor();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to u32::MAX, whole.
    let room = room as u64;
    room.max(MINIMUM)
}

/// The living slots of the other workers.
fn others<S: Store>(store: &S, worker: u64, now: Instant) -> (Vec<Slot>, Cas) {
    let (bytes, cas) = store.read(KEY).unwrap_or((Vec::new(), Cas::Absent));
    let slots = bytes.chunks_exact(SLOT).filter_map(Slot::read);
    let others = slots.filter(|slot| slot.worker != worker && slot.lives(now));
    (others.take(MOST_SLOTS).collect(), cas)
}

fn write<S: Store>(store: &S, mut slots: Vec<Slot>, mine: Slot, cas: Cas) -> Result<(), StoreError> {
    if slots.len() >= MOST_SLOTS {
        return Err(StoreError::Unavailable);
    }
    slots.push(mine);
    let mut bytes = Vec::with_capacity(slots.len() * SLOT);
    slots.iter().for_each(|slot| slot.write(&mut bytes));
    store.write(KEY, &bytes, cas)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    const NOW: Instant = Instant(1_000_000_000_000);

    fn load(worker: u64, active: u32, repeating: u32) -> Load {
        Load {
            worker,
            active,
            repeating,
            kept: 0,
        }
    }

    /// How many repeats go if workers ask in turn until none may.
    fn granted(store: &MemoryStore, active: &[u32], share: f64) -> u32 {
        let mut loads: Vec<_> = (1..).zip(active).map(|(worker, n)| load(worker, *n, 0)).collect();
        for load in &loads {
            let _ = publish(store, *load, NOW);
        }
        loop {
            let before: u32 = loads.iter().map(|load| load.repeating).sum();
            for load in &mut loads {
                load.repeating += u32::from(acquire(store, *load, share, NOW));
            }
            let after = loads.iter().map(|load| load.repeating).sum();
            if after == before {
                return after;
            }
        }
    }

    #[test]
    fn all_workers_together_have_a_share_of_what_is_active() {
        assert_eq!(granted(&MemoryStore::default(), &[100, 60, 40], 0.2), 40);
        assert_eq!(granted(&MemoryStore::default(), &[200], 0.5), 100);
    }

    #[test]
    fn three_may_always_go() {
        assert_eq!(granted(&MemoryStore::default(), &[1, 1], 0.2), 3);
        assert_eq!(granted(&MemoryStore::default(), &[1_000], 0.0), 3);
    }

    #[test]
    fn what_a_dead_worker_had_under_way_lapses() {
        let store = MemoryStore::default();
        let _ = publish(&store, load(1, 10, 3), NOW);
        assert!(!acquire(&store, load(2, 1, 0), 0.2, NOW));
        let later = NOW.after(LAPSE);
        assert!(acquire(&store, load(2, 1, 0), 0.2, later));
        assert_eq!(
            store.read(KEY).map(|(bytes, _)| bytes.len()),
            Ok(SLOT),
            "and its slot is gone"
        );
    }

    #[test]
    fn what_all_have_under_way_is_told_until_it_is_over_or_lapses() {
        let store = MemoryStore::default();
        let all = |load, now| {
            let all = publish(&store, load, now);
            (all.active, all.repeating)
        };
        assert_eq!(all(load(1, 10, 3), NOW), (10, 3));
        assert_eq!(all(load(2, 4, 1), NOW), (14, 4));
        assert_eq!(all(load(1, 0, 0), NOW), (4, 1));
        assert_eq!(all(load(1, 0, 0), NOW.after(LAPSE)), (0, 0));
    }

    #[test]
    fn more_workers_than_slots_share_what_is_there() {
        let store = MemoryStore::default();
        for worker in 0..1_000 {
            let _ = publish(&store, load(worker, 1_000, 0), NOW);
        }
        let size = store.read(KEY).map(|(bytes, _)| bytes.len());
        assert_eq!(size, Ok(MOST_SLOTS * SLOT));
        assert!(acquire(&store, load(7_777, 0, 0), 0.2, NOW), "the minimum");
        assert!(!acquire(&store, load(7_777, 0, 3), 0.2, NOW));
    }

    #[test]
    fn a_damaged_record_is_none() {
        let store = MemoryStore::default();
        store.write(KEY, b"damaged", Cas::Absent).unwrap();
        assert!(acquire(&store, load(1, 0, 0), 0.2, NOW));
    }
}
