//! Admission: every limit that applies must admit; all are charged or none.
//!
//! The pages of all claims are read first and the decision is made on copies. Only when every enforced claim fits are
//! they written, in page order, each by compare-and-swap. A page that somebody else wrote meanwhile is read again, and
//! its claims decided again. If they don't fit any more, what was already written is rolled back. Nobody is refused before a
//! second look, because what made a page look full may itself have been rolled back.
//!
//! Invariant: a refusal charges nothing, except what it hands back as [`Pending`].

use core::time::Duration;

use super::demand::{Demand, Units};
use super::gcra::Rate;
use super::habit::Habit;
use super::key::page_name;
use super::page::{Page, Slot};
use super::settle::roll_back;
use super::ticket::{Admission, Groups, Level, Never, Pending, Refusal, Reservation, Ticket};
use super::{Key, Ledger, TRIES};
use crate::policy::{Limit, Mode, OnContention};
use crate::store::{Cas, Store, StoreError};
use crate::time::Instant;

/// When to come back after a refusal that only a busy store explains.
const CONTENTION_RETRY: Duration = Duration::from_secs(1);

/// One limit that applies to a request, and which of its buckets. No two claims of a request share a key.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'p> {
    /// The limit.
    pub limit: &'p Limit,
    /// The bucket.
    pub key: Key,
    /// Whose limit it is, in the asker's own counting. Echoed in refusals; tickets are split by it.
    pub group: u8,
}

/// What is to be admitted.
#[derive(Clone, Copy, Debug)]
pub struct Request<'p> {
    /// Every limit that applies.
    pub claims: &'p [Claim<'p>],
    /// Whose habit tells what to expect.
    pub habit: Option<Key>,
    /// What it asks for.
    pub demand: Demand,
    /// The policy's mode: in shadow, so is every limit.
    pub mode: Mode,
}

impl Request<'_> {
    fn binds(&self, limit: &Limit) -> bool {
        match (self.mode, limit.mode) {
            (Mode::Enforce, Mode::Enforce) => true,
            (Mode::Shadow, _) | (Mode::Enforce, Mode::Shadow) => false,
        }
    }

    /// Whether an enforced limit could never admit the demand, or whether that depends on its count.
    fn hopeless(&self, demand: &Demand) -> Option<Admission> {
        let binding = self
            .claims
            .iter()
            .enumerate()
            .filter(|(_, c)| self.binds(c.limit));
        let mut room = None;
        for (index, claim) in binding {
            match demand.never_fits(claim.limit) {
                Some(false) => {}
                None => room = room.max(Some(claim.limit.burst.saturating_sub(demand.around))),
                Some(true) => {
                    return Some(Admission::Never(Never {
                        claim: index,
                        group: claim.group,
                        capacity: claim.limit.burst.max(1),
                        needed: demand.prompt(),
                    }));
                }
            }
        }
        room.map(|room| Admission::Unsure { room, pending: None })
    }

    fn reservations(&self, now: Instant) -> Vec<Reservation> {
        let blank = |(index, claim): (usize, &Claim<'_>)| Reservation {
            claim: index,
            group: claim.group,
            key: claim.key,
            unit: claim.limit.unit,
            rate: Rate::of(claim.limit),
            binding: self.binds(claim.limit),
            deny: claim.limit.on_contention == OnContention::Deny,
            units: Units::sure(1),
            at: now,
            before: 0,
            moved: 0,
            wait: 0,
            unsure: false,
            slot: Slot::Nowhere,
            contended: false,
        };
        let mut held: Vec<_> = self.claims.iter().enumerate().map(blank).collect();
        held.sort_by_key(|reservation| reservation.key.page);
        held
    }
}

impl Ledger {
    /// Sets aside what the request may use, of every limit or of none.
    pub fn admit(&self, store: &impl Store, request: &Request<'_>, now: Instant) -> Admission {
        let mut draft = Draft::open(store, request, now);
        let demand = draft.size(request);
        // For good only by what was estimated, not by what a habit makes of it.
        match request.hopeless(&request.demand) {
            Some(answer) => answer,
            None => draft.run(&demand),
        }
    }

    /// Whether an enforced limit has nothing left at all, so that nothing could be admitted. Writes nothing.
    pub fn peek(&self, store: &impl Store, request: &Request<'_>, now: Instant) -> Option<Refusal> {
        let mut draft = Draft::open(store, request, now);
        if draft.fits() == Fit::Yes {
            return None;
        }
        draft.read();
        if draft.fits() == Fit::Yes || draft.is_stale() {
            None
        } else {
            Some(draft.refusal())
        }
    }

    /// What one bucket says. Full when the store can't answer.
    pub fn level(&self, store: &impl Store, limit: &Limit, key: Key, now: Instant) -> Level {
        let rate = Rate::of(limit);
        let backlog = store.read(&page_name(key.page)).map_or(0, |(record, _)| {
            let page = Page::decode(record);
            page.backlog(page.place(key.fingerprint, now), rate, now)
        });
        Level::of(0, rate, backlog)
    }
}

/// A page on the desk: its copy, and the version it was read at.
struct Sheet {
    number: u32,
    name: String,
    /// None when the store couldn't answer.
    page: Option<Page>,
    cas: Cas,
}

/// What became of writing a sheet.
enum Written {
    /// It is in the store, or needed no change.
    Yes,
    /// Others were there first, and now an enforced claim doesn't fit, or it hangs on the prompt's count.
    Not(Fit),
    /// It couldn't be written in its number of tries.
    Lost,
}

impl Sheet {
    fn read(store: &impl Store, number: u32) -> Self {
        let mut sheet = Self {
            number,
            name: page_name(number),
            page: None,
            cas: Cas::Absent,
        };
        sheet.reread(store);
        sheet
    }

    fn reread(&mut self, store: &impl Store) {
        match store.read(&self.name) {
            Ok((record, cas)) => (self.page, self.cas) = (Some(Page::decode(record)), cas),
            Err(StoreError::Conflict | StoreError::Unavailable) => self.page = None,
        }
    }

    fn is_stale(&self, group: &[Reservation], now: Instant) -> bool {
        let stale = |page: &Page| {
            let mut buckets = group.iter().map(|held| (held.key.fingerprint, held.rate));
            buckets.any(|(fingerprint, rate)| page.is_stale(fingerprint, rate, now))
        };
        self.page.as_ref().is_some_and(stale)
    }

    fn mend(&mut self, store: &impl Store, group: &[Reservation], now: Instant) {
        if let Some(page) = &mut self.page {
            group
                .iter()
                .for_each(|held| page.mend(held.key.fingerprint, held.rate, now));
            // A race lost here is no harm: whoever looks next mends.
            let _ = store.write(&self.name, page.bytes(), self.cas);
            self.reread(store);
        }
    }

    /// Decides the page's claims on the copy.
    fn reserve(&mut self, group: &mut [Reservation], now: Instant) -> Fit {
        for held in group.iter_mut() {
            match &mut self.page {
                Some(page) => page.reserve(held, now),
                None => (held.before, held.moved, held.wait, held.unsure) = (0, 0, 0, false),
            }
        }
        group.iter().map(Fit::of).max().unwrap_or(Fit::Yes)
    }

    /// Writes the copy, deciding again on a fresh one for each race lost.
    fn write(&mut self, store: &impl Store, group: &mut [Reservation], tally: &mut Tally) -> Written {
        for _ in 0..TRIES {
            let Some(page) = &self.page else {
                return Written::Lost;
            };
            if !page.is_dirty() {
                return Written::Yes;
            }
            match store.write(&self.name, page.bytes(), self.cas) {
                Ok(()) => return Written::Yes,
                Err(StoreError::Unavailable) => return Written::Lost,
                Err(StoreError::Conflict) => tally.conflicts = tally.conflicts.saturating_add(1),
            }
            self.reread(store);
            let fit = self.reserve(group, tally.now);
            if fit != Fit::Yes {
                return Written::Not(fit);
            }
        }
        Written::Lost
    }
}

/// Whether enforced claims fit: the last of these that any of them says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Yes,
    /// It depends on how many tokens the prompt has.
    Unsure,
    No,
}

impl Fit {
    fn of(held: &Reservation) -> Self {
        match (held.binding, held.unsure, held.wait) {
            (true, true, _) => Self::Unsure,
            (true, false, 1..) => Self::No,
            (true, false, 0) | (false, ..) => Self::Yes,
        }
    }
}

/// What is kept of a request's tries.
struct Tally {
    now: Instant,
    conflicts: u32,
    pending: Option<Pending>,
}

/// How one round of deciding and writing ended.
enum Verdict {
    /// All is written.
    Granted,
    /// An enforced claim doesn't fit; nothing is left behind.
    Full,
    /// It depends on the prompt's count; nothing is left behind.
    Unsure,
    /// A page couldn't be written, and this claim's limit refuses then.
    Denied(usize),
}

/// A request on the desk: its reservations in page order, and the pages they are on.
struct Draft<'a, S> {
    store: &'a S,
    held: Vec<Reservation>,
    sheets: Vec<Sheet>,
    habit: Option<Key>,
    prompt: u64,
    tally: Tally,
}

impl<'a, S: Store> Draft<'a, S> {
    fn open(store: &'a S, request: &Request<'_>, now: Instant) -> Self {
        let tally = Tally {
            now,
            conflicts: 0,
            pending: None,
        };
        let held = request.reservations(now);
        let mut draft = Self {
            store,
            held,
            sheets: Vec::new(),
            habit: request.habit,
            prompt: request.demand.prompt(),
            tally,
        };
        draft.read();
        draft
    }

    /// Reads every page afresh.
    fn read(&mut self) {
        let pages = self.held.chunk_by(same_page).filter_map(<[_]>::first);
        self.sheets = pages
            .map(|first| Sheet::read(self.store, first.key.page))
            .collect();
    }

    /// Sizes the reservations by the demand, as far as the habit corrects it; answers the demand.
    fn size(&mut self, request: &Request<'_>) -> Demand {
        let habit = self.habit.and_then(|key| self.habit(key));
        let demand = request.demand.corrected(habit.as_ref());
        let expected = habit.and_then(|habit| habit.output());
        for held in &mut self.held {
            if let Some(claim) = request.claims.get(held.claim) {
                held.units = demand.units(claim.limit, expected);
            }
        }
        self.prompt = demand.prompt();
        demand
    }

    fn habit(&self, key: Key) -> Option<Habit> {
        let on_desk = self.sheets.iter().find(|sheet| sheet.number == key.page);
        match on_desk {
            Some(sheet) => sheet.page.as_ref()?.habit(key.fingerprint),
            None => Sheet::read(self.store, key.page).page?.habit(key.fingerprint),
        }
    }

    fn run(mut self, demand: &Demand) -> Admission {
        let mut verdict = self.round();
        if matches!(verdict, Verdict::Full) {
            self.read();
            self.mend();
            verdict = self.round();
        }
        match verdict {
            Verdict::Granted => Admission::Granted(self.ticket()),
            Verdict::Full => Admission::Refused(self.refusal()),
            Verdict::Unsure => Admission::Unsure {
                room: self.room(demand),
                pending: self.tally.pending,
            },
            Verdict::Denied(claim) => Admission::Refused(self.denial(claim)),
        }
    }

    /// How many tokens the texts may have at most, for any of the claims that hang on it.
    fn room(&self, demand: &Demand) -> u64 {
        let unsure = self.held.iter().filter(|held| held.binding && held.unsure);
        let rooms = unsure.map(|held| {
            let free = held.rate.remaining(held.before);
            let more = free.saturating_sub(held.units.least);
            demand.least().saturating_add(more)
        });
        rooms.max().unwrap_or(u64::MAX)
    }

    /// Whether a bucket is of another policy than today's.
    fn is_stale(&self) -> bool {
        let groups = self.held.chunk_by(same_page);
        let mut sheets = self.sheets.iter().zip(groups);
        sheets.any(|(sheet, group)| sheet.is_stale(group, self.tally.now))
    }

    /// Brings buckets of another policy under today's, in the store too: cut off by the clock of each look alone,
    /// they would never refill.
    fn mend(&mut self) {
        for (sheet, group) in self.sheets.iter_mut().zip(self.held.chunk_by(same_page)) {
            if sheet.is_stale(group, self.tally.now) {
                sheet.mend(self.store, group, self.tally.now);
            }
        }
    }

    fn round(&mut self) -> Verdict {
        match self.fits() {
            Fit::Yes => self.commit(),
            Fit::No => Verdict::Full,
            Fit::Unsure => Verdict::Unsure,
        }
    }

    fn fits(&mut self) -> Fit {
        let groups = self.held.chunk_by_mut(same_page);
        let decided = self.sheets.iter_mut().zip(groups);
        decided.fold(Fit::Yes, |fits, (sheet, group)| {
            sheet.reserve(group, self.tally.now).max(fits)
        })
    }

    fn commit(&mut self) -> Verdict {
        let mut done = 0;
        let mut verdict = Verdict::Granted;
        for (sheet, group) in self.sheets.iter_mut().zip(self.held.chunk_by_mut(same_page)) {
            match sheet.write(self.store, group, &mut self.tally) {
                Written::Yes => {}
                Written::Not(Fit::Unsure) => verdict = Verdict::Unsure,
                Written::Not(Fit::Yes | Fit::No) => verdict = Verdict::Full,
                Written::Lost => match group.iter().find(|held| held.binding && held.deny) {
                    Some(held) => verdict = Verdict::Denied(held.claim),
                    None => group.iter_mut().for_each(Reservation::abandon),
                },
            }
            if !matches!(verdict, Verdict::Granted) {
                self.roll_back(done);
                break;
            }
            done += group.len();
        }
        verdict
    }

    /// Undoes the first `done` reservations.
    fn roll_back(&mut self, done: usize) {
        let late = roll_back(
            self.store,
            self.held.get(..done).unwrap_or_default(),
            self.tally.now,
        );
        self.tally.pending = Pending::join(self.tally.pending.take(), late);
    }

    fn ticket(mut self) -> Ticket {
        let levels = self.levels(|held| held.before.saturating_add(held.moved));
        Ticket {
            held: self.held,
            levels,
            habit: self.habit,
            prompt: self.prompt,
            pending: self.tally.pending.take(),
            conflicts: self.tally.conflicts,
        }
    }

    fn refusal(self) -> Refusal {
        let refusing = || self.held.iter().filter(|held| held.refuses());
        let tightest = refusing().max_by_key(|held| held.rate.span(held.wait));
        let retry_after = tightest.map_or(CONTENTION_RETRY, |held| held.rate.span(held.wait));
        Refusal {
            claim: tightest.map_or(0, |held| held.claim),
            groups: refusing().fold(Groups::default(), |groups, held| groups.with(held.group)),
            retry_after: retry_after.max(Duration::from_nanos(1)),
            contention: false,
            levels: self.levels(|held| held.before),
            pending: self.tally.pending,
            conflicts: self.tally.conflicts,
        }
    }

    fn denial(self, claim: usize) -> Refusal {
        let group = self
            .held
            .iter()
            .find(|held| held.claim == claim)
            .map(|held| held.group);
        let groups = group.map_or(Groups::default(), Groups::of);
        Refusal {
            claim,
            groups,
            retry_after: CONTENTION_RETRY,
            contention: true,
            ..self.refusal()
        }
    }

    fn levels(&self, backlog: impl Fn(&Reservation) -> u128) -> Vec<Level> {
        let mut levels: Vec<_> = self.held.iter().map(|held| held.level(backlog(held))).collect();
        levels.sort_unstable_by_key(|level| level.claim);
        levels
    }
}

fn same_page(one: &Reservation, other: &Reservation) -> bool {
    one.key.page == other.key.page
}
