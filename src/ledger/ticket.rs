//! What an admission leaves in the hands of its caller: the ticket, and what it says of the limits.
//!
//! Invariant: a ticket is consumed once, by `settle` or `cancel`; what it set aside and isn't settled refills by itself.

use core::time::Duration;

use super::Key;
use super::Ledger;
use super::demand::Units;
use super::gcra::Rate;
use super::page::Slot;
use super::settle::{Actual, Adjustment, Settlement};
use crate::policy::Unit;
use crate::store::Store;
use crate::time::Instant;

/// What one limit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Which of the request's claims.
    pub claim: usize,
    /// What the limit holds at most, in its unit.
    pub capacity: u64,
    /// What it still holds.
    pub remaining: u64,
    /// How long until it is full.
    pub reset: Duration,
    /// In shadow: whether it would have refused.
    pub would_refuse: bool,
}

impl Level {
    pub(super) fn of(claim: usize, rate: Rate, backlog: u128) -> Self {
        Self {
            claim,
            capacity: rate.burst(),
            remaining: rate.remaining(backlog),
            reset: rate.span(backlog),
            would_refuse: false,
        }
    }
}

/// One claim's part of an admission.
#[derive(Clone, Debug)]
pub(super) struct Reservation {
    pub(super) claim: usize,
    pub(super) group: u8,
    pub(super) key: Key,
    pub(super) unit: Unit,
    pub(super) rate: Rate,
    /// Enforced; otherwise in shadow.
    pub(super) binding: bool,
    /// Refused rather than let through when the page can't be written.
    pub(super) deny: bool,
    /// What it asked for, in the limit's unit.
    pub(super) units: Units,
    /// When it was made.
    pub(super) at: Instant,
    /// The bucket's backlog before it.
    pub(super) before: u128,
    /// How far it moved the bucket.
    pub(super) moved: u128,
    /// By how much it was over the capacity.
    pub(super) wait: u128,
    /// Whether that hangs on how many tokens the prompt has.
    pub(super) unsure: bool,
    pub(super) slot: Slot,
    /// The page couldn't be written, and the limit lets the request through.
    pub(super) contended: bool,
}

impl Reservation {
    pub(super) fn refuses(&self) -> bool {
        self.binding && self.wait > 0
    }

    pub(super) fn level(&self, backlog: u128) -> Level {
        let would_refuse = !self.binding && self.wait > 0;
        Level {
            would_refuse,
            ..Level::of(self.claim, self.rate, backlog)
        }
    }

    /// Nothing was set aside, because the page couldn't be written.
    pub(super) fn abandon(&mut self) {
        (self.moved, self.slot, self.contended) = (0, Slot::Nowhere, true);
    }
}

/// The receipt of an admission: what was set aside, and where. To be settled once, when the exchange ends.
#[must_use = "what a ticket set aside is only given back, and its debt only charged, when it is settled"]
#[derive(Debug)]
pub struct Ticket {
    pub(super) held: Vec<Reservation>,
    pub(super) levels: Vec<Level>,
    /// Whose habit it is that settling teaches.
    pub(super) habit: Option<Key>,
    pub(super) prompt: u64,
    pub(super) pending: Option<Pending>,
    pub(super) conflicts: u32,
}

impl Ticket {
    /// What each limit says after this reservation, in the order of the request's claims.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Tokens set aside: the largest of its token limits' reservations.
    #[must_use]
    pub fn reserved_tokens(&self) -> u64 {
        let tokens = self
            .held
            .iter()
            .filter(|held| held.unit == Unit::Tokens && !held.contended);
        tokens.map(|held| held.units.units).max().unwrap_or(0)
    }

    /// Tokens of the prompt, as they were taken for.
    #[must_use]
    pub fn prompt(&self) -> u64 {
        self.prompt
    }

    /// How many claims share the overflow bucket of their page.
    #[must_use]
    pub fn overflowed(&self) -> usize {
        self.held
            .iter()
            .filter(|held| matches!(held.slot, Slot::Overflow(_)))
            .count()
    }

    /// How many claims went without a reservation, because their page couldn't be written.
    #[must_use]
    pub fn contended(&self) -> usize {
        self.held.iter().filter(|held| held.contended).count()
    }

    /// How many writes lost their race.
    #[must_use]
    pub fn conflicts(&self) -> u32 {
        self.conflicts
    }

    /// The part of some groups of claims, apart from the rest: for when they are to be settled by different numbers. What
    /// else the ticket carries stays with the rest.
    pub fn split(mut self, groups: Groups) -> (Self, Self) {
        let (apart, rest) = self
            .held
            .into_iter()
            .partition(|held| groups.contains(held.group));
        self.held = rest;
        let apart = Self {
            held: apart,
            levels: Vec::new(),
            habit: None,
            prompt: self.prompt,
            pending: None,
            conflicts: 0,
        };
        (apart, self)
    }

    /// Takes what a rollback couldn't write, to be flushed before the exchange ends; else it goes with the settlement.
    pub fn take_pending(&mut self) -> Option<Pending> {
        self.pending.take()
    }

    /// Gives everything back, the count of the request too: nothing was sent.
    pub fn cancel(self, ledger: &Ledger, store: &impl Store, now: Instant) -> Settlement {
        ledger.settle(store, self, Actual::NOTHING, now)
    }
}

/// Groups of claims: those that refused, say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups(u32);

impl Groups {
    /// This one alone; those from 32 on count as 31.
    #[must_use]
    pub const fn of(group: u8) -> Self {
        Self(1 << if group < 31 { group } else { 31 })
    }

    /// Adds a group.
    #[must_use]
    pub const fn with(self, group: u8) -> Self {
        Self(self.0 | Self::of(group).0)
    }

    /// Whether the group is among them.
    #[must_use]
    pub fn contains(self, group: u8) -> bool {
        self.with(group) == self
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Not now.
#[derive(Debug)]
pub struct Refusal {
    /// The tightest enforced claim that refuses: the one to wait for longest.
    pub claim: usize,
    /// The groups of all enforced claims that refuse.
    pub groups: Groups,
    /// When the same request may fit; never zero.
    pub retry_after: Duration,
    /// What each limit says, without this request, in the order of the request's claims.
    pub levels: Vec<Level>,
    /// Refused because the ledger couldn't be written, not because the limit is used up.
    pub contention: bool,
    /// What a rollback couldn't write: to be flushed.
    pub pending: Option<Pending>,
    /// How many writes lost their race.
    pub conflicts: u32,
}

/// Not ever: the prompt alone exceeds what an enforced limit can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Never {
    /// Which of the request's claims.
    pub claim: usize,
    /// The claim's group.
    pub group: u8,
    /// What the limit holds at most, in tokens.
    pub capacity: u64,
    /// What the prompt needs.
    pub needed: u64,
}

/// What became of a request for admission.
#[derive(Debug)]
pub enum Admission {
    /// It may go; every limit is charged.
    Granted(Ticket),
    /// Not now; no limit is charged.
    Refused(Refusal),
    /// Not ever; no limit is charged.
    Never(Never),
    /// It depends on how many tokens the prompt's texts have: to be asked again with them counted. No limit is charged.
    Unsure {
        /// It doesn't matter by how much they have more than this.
        room: u64,
        /// What a rollback couldn't write: to be flushed.
        pending: Option<Pending>,
    },
}

/// Charges and refunds that couldn't be written yet. Never to be given up: `Ledger::flush` tries again.
#[must_use = "a charge that isn't flushed is lost"]
#[derive(Debug)]
pub struct Pending {
    /// One admission's adjustments of one page each.
    pub(super) batches: Vec<Vec<Adjustment>>,
}

impl Pending {
    /// Both.
    pub fn and(mut self, other: Self) -> Self {
        self.batches.extend(other.batches);
        self
    }

    /// How many pages' worth of charges and refunds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Both, where there are any.
    pub(super) fn join(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(one.and(other)),
            (one, None) => one,
            (None, other) => other,
        }
    }
}
