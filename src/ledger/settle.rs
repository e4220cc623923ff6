//! The end of an exchange: what was used is charged, what was set aside beyond it is given back.
//!
//! Invariant: a charge or refund that couldn't be written comes back as [`Pending`]; nothing is given up. What needs no
//! change isn't written.

use super::gcra::LARGEST_CHARGE;
use super::habit::Lesson;
use super::key::page_name;
use super::page::Page;
use super::ticket::{Level, Pending, Reservation, Ticket};
use super::{Key, Ledger, TRIES};
use crate::policy::Unit;
use crate::store::{Store, StoreError};
use crate::time::Instant;

/// What an exchange used in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    /// Requests that were sent: 1, or how many attempts the policy charges.
    pub requests: u64,
    /// Tokens of prompt and output, of all that was sent. No more than 67,108,864 are believed.
    pub tokens: u64,
    /// What is to be learnt from it for the next one.
    pub lesson: Lesson,
}

impl Actual {
    /// Nothing was sent.
    pub const NOTHING: Self = Self {
        requests: 0,
        tokens: 0,
        lesson: Lesson {
            output: None,
            text: None,
        },
    };
}

/// What a settlement did.
#[derive(Debug, Default)]
pub struct Settlement {
    /// Tokens charged beyond what was set aside: the largest of its token limits.
    pub charged: u64,
    /// Tokens given back: the largest of its token limits.
    pub refunded: u64,
    /// What couldn't be written: to be flushed.
    pub pending: Option<Pending>,
    /// What each limit says now, in the order of the request's claims.
    pub levels: Vec<Level>,
    /// How many writes lost their race.
    pub conflicts: u32,
}

/// A reservation with what it should have been.
#[derive(Debug)]
pub(super) struct Adjustment {
    pub(super) reservation: Reservation,
    /// How far it should have moved the bucket.
    pub(super) want: u128,
    /// What was given back.
    pub(super) given: u128,
    /// The bucket's backlog after it, once known.
    pub(super) backlog: Option<u128>,
}

impl Adjustment {
    pub(super) fn new(reservation: Reservation, actual: &Actual) -> Self {
        let used = match reservation.unit {
            Unit::Requests => actual.requests,
            Unit::Tokens => actual.tokens,
        };
        let want = reservation.rate.cost(used.min(LARGEST_CHARGE));
        Self {
            reservation,
            want,
            given: 0,
            backlog: None,
        }
    }

    /// What is to be charged on top.
    pub(super) fn missing(&self) -> u128 {
        self.want.saturating_sub(self.reservation.moved)
    }

    /// What was set aside beyond the use.
    pub(super) fn spare(&self) -> u128 {
        self.reservation.moved.saturating_sub(self.want)
    }

    fn is_exact(&self) -> bool {
        self.want == self.reservation.moved
    }
}

/// Whose habit follows what.
type Teaching = Option<(Key, Lesson)>;

impl Ledger {
    /// Charges what the exchange used and gives back what was set aside beyond it. Pages that need no change aren't
    /// touched.
    pub fn settle(&self, store: &impl Store, ticket: Ticket, actual: Actual, now: Instant) -> Settlement {
        let counts_tokens = ticket.held.iter().any(|held| held.unit == Unit::Tokens);
        let adjustments: Vec<_> = ticket
            .held
            .into_iter()
            .map(|held| Adjustment::new(held, &actual))
            .collect();
        let changes = adjustments.iter().any(|adjustment| !adjustment.is_exact());
        let taught = Some(actual.lesson).filter(|lesson| *lesson != Lesson::default());
        let lesson = ticket.habit.zip(taught).filter(|_| counts_tokens && changes);
        let mut settlement = Settlement {
            levels: ticket.levels,
            pending: ticket.pending,
            ..Settlement::default()
        };
        let mut landing = Landing {
            store,
            now,
            conflicts: 0,
        };
        settle_pages(&mut landing, adjustments, lesson, &mut settlement);
        settlement.conflicts = landing.conflicts;
        settlement
    }

    /// Tries once more to write what is pending; what still can't be comes back.
    ///
    /// # Errors
    /// What couldn't be written.
    pub fn flush(&self, store: &impl Store, pending: Pending, now: Instant) -> Result<(), Pending> {
        let mut landing = Landing {
            store,
            now,
            conflicts: 0,
        };
        let mut batches = pending.batches;
        batches.retain_mut(|batch| !landing.land(batch, None));
        if batches.is_empty() {
            Ok(())
        } else {
            Err(Pending { batches })
        }
    }
}

/// Undoes reservations that were written; what couldn't be undone comes back.
pub(super) fn roll_back(store: &impl Store, held: &[Reservation], now: Instant) -> Option<Pending> {
    let mut landing = Landing {
        store,
        now,
        conflicts: 0,
    };
    let undone = held
        .iter()
        .map(|held| Adjustment::new(held.clone(), &Actual::NOTHING));
    let mut batches = pages(undone.collect());
    batches.retain_mut(|batch| !landing.land(batch, None));
    (!batches.is_empty()).then_some(Pending { batches })
}

/// One batch for each page; adjustments come in page order.
fn pages(adjustments: Vec<Adjustment>) -> Vec<Vec<Adjustment>> {
    let mut batches: Vec<Vec<Adjustment>> = Vec::with_capacity(2);
    for adjustment in adjustments {
        match batches.last_mut() {
            Some(batch) if page_of(batch) == Some(adjustment.reservation.key.page) => batch.push(adjustment),
            Some(_) | None => batches.push(vec![adjustment]),
        }
    }
    batches
}

fn page_of(batch: &[Adjustment]) -> Option<u32> {
    batch.first().map(|adjustment| adjustment.reservation.key.page)
}

fn settle_pages<S: Store>(
    landing: &mut Landing<'_, S>,
    adjustments: Vec<Adjustment>,
    mut lesson: Teaching,
    settlement: &mut Settlement,
) {
    for mut batch in pages(adjustments) {
        let here = lesson.take_if(|(key, _)| Some(key.page) == page_of(&batch));
        let landed = landing.land(&mut batch, here);
        batch.iter().for_each(|adjustment| settlement.count(adjustment));
        if !landed {
            let late = Pending { batches: vec![batch] };
            settlement.pending = Pending::join(settlement.pending.take(), Some(late));
        }
    }
    if lesson.is_some() {
        landing.land(&mut [], lesson);
    }
}

impl Settlement {
    fn count(&mut self, adjustment: &Adjustment) {
        let reservation = &adjustment.reservation;
        if reservation.unit == Unit::Tokens {
            self.charged = self.charged.max(reservation.rate.units(adjustment.missing()));
            self.refunded = self.refunded.max(reservation.rate.units(adjustment.given));
        }
        let level = self
            .levels
            .iter_mut()
            .find(|level| level.claim == reservation.claim);
        if let (Some(level), Some(backlog)) = (level, adjustment.backlog) {
            *level = reservation.level(backlog);
        }
    }
}

/// Writes adjustments, page by page.
struct Landing<'a, S> {
    store: &'a S,
    now: Instant,
    conflicts: u32,
}

impl<S: Store> Landing<'_, S> {
    /// Whether the batch and the lesson, both of one page, are written now.
    fn land(&mut self, batch: &mut [Adjustment], lesson: Teaching) -> bool {
        let lesson_page = lesson.map(|(key, _)| key.page);
        let needed = lesson.is_some() || batch.iter().any(|adjustment| !adjustment.is_exact());
        let Some(page) = page_of(batch).or(lesson_page).filter(|_| needed) else {
            return true;
        };
        let name = page_name(page);
        for _ in 0..TRIES {
            match self.attempt(&name, batch, lesson) {
                Ok(()) => return true,
                Err(StoreError::Conflict) => self.conflicts = self.conflicts.saturating_add(1),
                Err(StoreError::Unavailable) => break,
            }
        }
        batch
            .iter_mut()
            .for_each(|adjustment| (adjustment.given, adjustment.backlog) = (0, None));
        false
    }

    fn attempt(&self, name: &str, batch: &mut [Adjustment], lesson: Teaching) -> Result<(), StoreError> {
        let (record, cas) = self.store.read(name)?;
        let mut page = Page::decode(record);
        page.adjust(batch, self.now);
        if let Some((key, lesson)) = lesson {
            page.learn(key.fingerprint, lesson, self.now);
        }
        if page.is_dirty() {
            self.store.write(name, page.bytes(), cas)?;
        }
        Ok(())
    }
}
