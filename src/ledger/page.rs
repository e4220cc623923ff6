//! One record of the store: sixteen entries of 32 bytes, read and written as a whole.
//!
//! ```text
//! entry 0      the page's own: what marks the record as ours, the overflow bucket, the page's count of generations
//! entry 1–15   a bucket, a habit, or nothing
//!
//! bytes  0–7   fingerprint (entry 0: the anchor)     20–23  generation
//!        8–15  TAT, ns (habit: first word)            24–29  refunded so far, µs (habit: second word)
//!       16–19  TAT, fraction of a ns (0: the mark)   30–31  kind: 0 nothing, 1 habit, else a bucket's rate
//!                                                           (entry 0: the layout's version)
//! ```
//!
//! A bucket that has refilled can't be told from one that never was, so its entry is free. When none is free,
//! newcomers share the overflow bucket, and the rule that keeps it strict for limits of different rates is: *its TAT
//! is never earlier than the TAT that any of its sharers would have alone*. Whoever reserves there is judged as if the
//! whole backlog were its own, and moves the TAT as far as its own. For the same reason a newcomer
//! that does find a free entry, while the overflow bucket has a backlog, starts with that backlog: it may be the one
//! that owes it.
//!
//! Alone, a sharer can't be further ahead than its limit's capacity at its last reservation, and what was charged
//! beyond reservations. The *anchor* is the time of the last reservation, moved on by each such charge; so nobody is
//! held to more of the overflow's backlog than up to anchor + its own capacity, and a daily limit's backlog doesn't
//! keep a minute's limit closed for the day.
//!
//! Invariants: a record that isn't ours reads as blank; a bucket with a backlog is never evicted.

use super::gcra::{Rate, Tat};
use super::habit::{Habit, Lesson};
use crate::time::Instant;

const ENTRY: usize = 32;
/// Entries of a page, the overflow bucket among them.
pub(super) const ENTRIES: usize = 16;
const PAGE: usize = ENTRY * ENTRIES;
/// Marks a record as a page of ours.
const MARK: u32 = u32::from_le_bytes(*b"splw");
/// The layout of this file. A change of it makes records of another name.
pub(super) const VERSION: u16 = 2;
const NOTHING: u16 = 0;
const HABIT: u16 = 1;
/// The refund counter's width.
const COUNTER: u64 = (1 << 48) - 1;

/// An entry, decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) fingerprint: u64,
    pub(super) tat: Tat,
    pub(super) generation: u32,
    pub(super) refunded: u64,
    pub(super) kind: u16,
}

/// Where a bucket is kept, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In its own entry.
    Own(usize),
    /// Nowhere yet; this entry is free for it.
    New(usize),
    /// Nowhere, and no entry is free.
    Overflow,
}

/// Where a reservation went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Nowhere: nothing was set aside.
    Nowhere,
    /// Into the key's own entry.
    Own {
        /// The entry's generation.
        generation: u32,
        /// What had been refunded to it, in µs.
        refunded: u64,
    },
    /// Into the overflow bucket, which was found like this.
    Overflow(Overflow),
}

/// The overflow bucket, in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Overflow {
    /// When it will be full again.
    pub(super) tat: u64,
    /// No sharer is further ahead than this and its own capacity.
    pub(super) anchor: u64,
    /// How much was ever refunded to it, in µs.
    pub(super) refunded: u64,
}

/// A page in memory.
#[derive(Clone, Debug)]
pub(super) struct Page {
    bytes: Vec<u8>,
    /// The overflow bucket as it was read: sharers of one request don't add up, each is judged against this.
    overflow: Overflow,
    dirty: bool,
}

impl Page {
    /// The page that a record holds; a blank one when the record isn't ours.
    pub(super) fn decode(record: Vec<u8>) -> Self {
        let mut page = Self {
            bytes: record,
            overflow: Overflow::default(),
            dirty: false,
        };
        let own = page.entry(0);
        if page.bytes.len() != PAGE || (own.tat.frac, own.kind) != (MARK, VERSION) {
            page.blank();
        }
        page.refresh();
        page
    }

    fn blank(&mut self) {
        self.bytes.clear();
        self.bytes.resize(PAGE, 0);
        let tat = Tat { ns: 0, frac: MARK };
        self.put(
            0,
            Entry {
                tat,
                kind: VERSION,
                ..Entry::default()
            },
        );
        self.dirty = false;
    }

    /// The record to write.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it differs from what was read.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Takes the overflow bucket as it is now for what was read.
    pub(super) fn refresh(&mut self) {
        self.overflow = self.overflow_now();
    }

    /// Where the bucket with this fingerprint is, or would be.
    pub(super) fn place(&self, fingerprint: u64, now: Instant) -> Place {
        match self.bucket(fingerprint) {
            Some(own) => Place::Own(own),
            None => self.free(now).map_or(Place::Overflow, Place::New),
        }
    }

    /// The entry of the bucket with this fingerprint.
    pub(super) fn bucket(&self, fingerprint: u64) -> Option<usize> {
        self.find_named(fingerprint)
            .find(|index| self.entry(*index).kind > HABIT)
    }

    /// The entry at `index`; a blank one outside the page.
    pub(super) fn entry(&self, index: usize) -> Entry {
        let (entries, _) = self.bytes.as_chunks::<ENTRY>();
        entries.get(index).map_or_else(Entry::default, Entry::decode)
    }

    /// Replaces the entry at `index`.
    pub(super) fn put(&mut self, index: usize, entry: Entry) {
        let (entries, _) = self.bytes.as_chunks_mut::<ENTRY>();
        if let Some(slot) = entries.get_mut(index) {
            *slot = entry.encode();
            self.dirty = true;
        }
    }

    /// What the bucket at `place` has to wait for until it is full.
    pub(super) fn backlog(&self, place: Place, rate: Rate, now: Instant) -> u128 {
        match place {
            Place::Own(index) => self.entry(index).backlog(rate, now),
            Place::New(_) | Place::Overflow => {
                let Overflow { tat, anchor, .. } = self.overflow;
                let ns = tat.min(anchor.saturating_add(rate.ns(rate.capacity())));
                rate.backlog(Tat { ns, frac: 0 }, now)
            }
        }
    }

    /// Sets the backlog of the bucket in the entry at `place`; the overflow bucket has verbs of its own.
    pub(super) fn set(&mut self, place: Place, bucket: (u64, Rate), backlog: u128, now: Instant) -> Slot {
        let (fingerprint, rate) = bucket;
        let (tat, kind) = (rate.tat(backlog, now), rate.tag());
        let (index, entry) = match place {
            Place::Overflow => return Slot::Nowhere,
            Place::Own(index) => (
                index,
                Entry {
                    tat,
                    kind,
                    ..self.entry(index)
                },
            ),
            Place::New(index) => {
                let generation = self.next_generation();
                (
                    index,
                    Entry {
                        fingerprint,
                        tat,
                        generation,
                        refunded: 0,
                        kind,
                    },
                )
            }
        };
        self.put(index, entry);
        Slot::Own {
            generation: entry.generation,
            refunded: entry.refunded,
        }
    }

    /// The overflow bucket as it is now.
    pub(super) fn overflow_now(&self) -> Overflow {
        let own = self.entry(0);
        Overflow {
            tat: own.tat.ns,
            anchor: own.fingerprint,
            refunded: own.refunded,
        }
    }

    /// Reserves `ns` in the overflow bucket; the claims of one request don't add up, the largest counts.
    pub(super) fn share(&mut self, ns: u64, now: Instant) -> Slot {
        let mut own = self.entry(0);
        let end = self.overflow.tat.max(now.0).saturating_add(ns);
        own.tat.ns = own.tat.ns.max(end);
        own.fingerprint = own.fingerprint.max(now.0);
        self.put(0, own);
        Slot::Overflow(self.overflow)
    }

    /// Charges the overflow bucket with `ns` beyond what was reserved.
    pub(super) fn share_debt(&mut self, ns: u64, now: Instant) {
        let mut own = self.entry(0);
        own.tat.ns = own.tat.ns.max(now.0).saturating_add(ns);
        own.fingerprint = own.fingerprint.max(now.0).saturating_add(ns);
        self.put(0, own);
    }

    /// Takes `ns` off the overflow bucket's backlog.
    pub(super) fn share_less(&mut self, ns: u64) {
        let mut own = self.entry(0);
        own.tat.ns = own.tat.ns.saturating_sub(ns);
        own.count_refund(ns);
        self.put(0, own);
    }

    /// Whether the bucket stands further ahead than today's policy believes, so that `backlog` cuts it off.
    pub(super) fn is_stale(&self, fingerprint: u64, rate: Rate, now: Instant) -> bool {
        self.bucket(fingerprint).is_some_and(|index| {
            let entry = self.entry(index);
            entry.kind != rate.tag() || entry.backlog(rate, now) >= rate.ceiling()
        })
    }

    /// Writes into a stale bucket what it is cut off to, so that it refills from there.
    pub(super) fn mend(&mut self, fingerprint: u64, rate: Rate, now: Instant) {
        if let (true, Some(index)) = (self.is_stale(fingerprint, rate, now), self.bucket(fingerprint)) {
            let backlog = self.entry(index).backlog(rate, now);
            self.set(Place::Own(index), (fingerprint, rate), backlog, now);
        }
    }

    /// What the caller and model with this fingerprint lately did.
    pub(super) fn habit(&self, fingerprint: u64) -> Option<Habit> {
        let entry = self.entry(self.find_habit(fingerprint)?);
        Some(Habit::decode(entry.tat.ns, entry.refunded))
    }

    /// Lets the habit follow a lesson. It takes a free entry or the oldest habit's, never a debt's.
    pub(super) fn learn(&mut self, fingerprint: u64, lesson: Lesson, now: Instant) {
        let known = self.habit(fingerprint);
        let habit = known.unwrap_or_default().learn(lesson);
        if known.unwrap_or_default() == habit {
            return;
        }
        if let Some(index) = self.find_habit(fingerprint).or_else(|| self.free(now)) {
            let generation = self.next_generation();
            let (ns, refunded) = habit.encode();
            self.put(
                index,
                Entry {
                    fingerprint,
                    tat: Tat { ns, frac: 0 },
                    generation,
                    refunded,
                    kind: HABIT,
                },
            );
        }
    }

    fn find_habit(&self, fingerprint: u64) -> Option<usize> {
        self.find_named(fingerprint)
            .find(|index| self.entry(*index).kind == HABIT)
    }

    /// The entries with this fingerprint, of whatever kind.
    fn find_named(&self, fingerprint: u64) -> impl Iterator<Item = usize> {
        let (entries, _) = self.bytes.as_chunks::<ENTRY>();
        let named = move |entry: &[u8; ENTRY]| entry.first_chunk() == Some(&fingerprint.to_le_bytes());
        let indexed = entries.iter().enumerate().skip(1);
        indexed
            .filter(move |(_, entry)| named(entry))
            .map(|(index, _)| index)
    }

    /// An entry that may be taken: an empty or refilled one, else the habit that was longest not learnt.
    fn free(&self, now: Instant) -> Option<usize> {
        let free = (1..ENTRIES).find(|index| self.entry(*index).is_free(now));
        free.or_else(|| {
            (1..ENTRIES)
                .map(|index| (self.entry(index), index))
                .filter(|(entry, _)| entry.kind == HABIT)
                .min_by_key(|(entry, _)| entry.generation)
                .map(|(_, index)| index)
        })
    }

    fn next_generation(&mut self) -> u32 {
        let mut own = self.entry(0);
        own.generation = own.generation.wrapping_add(1);
        self.put(0, own);
        own.generation
    }
}

impl Entry {
    /// The backlog under `rate`. When the policy has changed the rate since it was written, no more than a full
    /// burst is carried over: an operator's change never locks anybody out for longer than the new limit itself would.
    pub(super) fn backlog(&self, rate: Rate, now: Instant) -> u128 {
        if self.kind == rate.tag() {
            return rate.backlog(self.tat, now);
        }
        let rounded = Tat {
            ns: self.tat.ns.saturating_add(u64::from(self.tat.frac > 0)),
            frac: 0,
        };
        rate.backlog(rounded, now).min(rate.capacity())
    }

    /// Counts a refund, rounded up: the count serves to bound later refunds.
    pub(super) fn count_refund(&mut self, ns: u64) {
        self.refunded = self.refunded.wrapping_add(ns.div_ceil(1_000)) & COUNTER;
    }

    fn is_free(&self, now: Instant) -> bool {
        let refilled = self.tat.ns < now.0 || (self.tat.ns == now.0 && self.tat.frac == 0);
        self.kind == NOTHING || (self.kind > HABIT && refilled)
    }

    fn decode(bytes: &[u8; ENTRY]) -> Self {
        let word = |at: usize| -> u64 {
            let (words, _) = bytes.as_chunks::<8>();
            words.get(at).map_or(0, |word| u64::from_le_bytes(*word))
        };
        let halves = |word: u64| -> (u32, u32) {
            let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
            (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
        };
        let (frac, generation) = halves(word(2));
        let [.., low, high] = word(3).to_le_bytes();
        Self {
            fingerprint: word(0),
            tat: Tat { ns: word(1), frac },
            generation,
            refunded: word(3) & COUNTER,
            kind: u16::from_le_bytes([low, high]),
        }
    }

    fn encode(&self) -> [u8; ENTRY] {
        let words = [
            self.fingerprint,
            self.tat.ns,
            u64::from(self.tat.frac) | u64::from(self.generation) << 32,
            (self.refunded & COUNTER) | u64::from(self.kind) << 48,
        ];
        let mut bytes = [0; ENTRY];
        let (slots, _) = bytes.as_chunks_mut::<8>();
        for (slot, word) in slots.iter_mut().zip(words) {
            *slot = word.to_le_bytes();
        }
        bytes
    }
}

/// How much was refunded between two readings of the counter, in ns.
pub(super) fn refunded_between(earlier: u64, later: u64) -> u64 {
    (later.wrapping_sub(earlier) & COUNTER).saturating_mul(1_000)
}
