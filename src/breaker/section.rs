//! One section of a provider's record: a state, its generation, and what headroom was last seen.
//!
//! # Why credit
//! Where nobody else can be asked, a breaker that opened for overload would turn away what the provider could well
//! answer, and one that doesn't hold would send everything to a provider that is down. Credit is how many calls may go
//! while it isn't closed. It is earned: one for each call from before that is answered well all the same, and two for
//! each that went on credit, which took one. So it grows where more than half are answered and runs out where fewer
//! are; of a provider that answers so many a second, whatever it is sent, twice as many are asked (the fixed point of
//! the SRE book's adaptive throttling, "Handling Overload", with K = 2).
//!
//! Its invariant: an outcome counts only in the generation that let its call go, so that stragglers change no state. A
//! call on credit belongs to none; all that its outcome can change is credit, and that a 429 is heeded.

use core::time::Duration;

use crate::headroom::Headroom;
use crate::policy::Breaker as Rules;
use crate::time::{Instant, nanos};

use super::StateName;
use super::codec::{Reader, Writer};
use super::outcome::{Cause, Event};
use super::state::{Entry, Observation, State};
use super::window::Sample;

/// Headroom without a reset is remembered for as long as most providers' shortest period.
const FRESH: Duration = Duration::from_secs(60);

/// Most credit: how many calls at most go to a provider that is suddenly down. It takes one byte of the record.
const MOST_CREDIT: u32 = 100;

/// A call's part in one section: which generation let it go, and its probe's number if it is one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stake {
    pub(super) generation: u32,
    pub(super) lease: Option<u64>,
}

/// A change of one section's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: StateName,
    pub(super) to: StateName,
    pub(super) cause: Cause,
}

/// What a section learns when a call ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    pub(super) event: Event,
    pub(super) headroom: Option<Headroom>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    generation: u32,
    state: State,
    /// How many calls may go although the state says no; none while it is closed.
    credit: u32,
    headroom: Option<(Headroom, Instant)>,
}

impl Section {
    /// The section after a call asked to go, what it was told, and what changed.
    pub(super) fn enter(self, rules: &Rules, now: Instant) -> (Self, Entry, Option<Change>) {
        let from = self.state.name();
        let (state, entry) = self.state.enter(rules, now);
        let (section, change) = Self { state, ..self }.turned(from, Cause::Elapsed);
        (section, entry, change)
    }

    /// The section after a call with this stake ended, and what changed.
    pub(super) fn observe(
        self,
        stake: &Stake,
        news: News,
        rules: &Rules,
        at: Observation,
    ) -> (Self, Option<Change>) {
        if stake.generation != self.generation {
            let answered = news.event == Event::Ended(Sample::Good);
            return (self.credited(u32::from(answered && stake.lease.is_none())), None);
        }
        let from = self.state.name();
        let (mut state, mut cause) = self.state.observe(news.event, stake.lease, rules, at);
        if let (Some(reset), None) = (spent(news.headroom), cause) {
            (state, cause) = state.spare(reset, rules, at.now);
        }
        let headroom = news.headroom.map(|seen| remembered(seen, at.now));
        Self {
            state,
            headroom: headroom.or(self.headroom),
            ..self
        }
        .turned(from, cause.unwrap_or(Cause::Elapsed))
    }

    /// How many calls may go now although the state says no; `None` where it says yes. None go until the time that the
    /// provider itself named.
    pub(super) fn credit(&self, rules: &Rules, now: Instant) -> Option<u32> {
        let state = self.state.clone().settled(rules, now);
        match (&state, state.retry_at(rules, now)) {
            (State::Closed(_), _) => None,
            (State::RateLimited(_), Some(_)) => Some(0),
            (State::RateLimited(_) | State::Open { .. } | State::HalfOpen(_), _) => Some(self.credit),
        }
    }

    /// With one credit less, if it needs one to go; `None` when it has none.
    pub(super) fn lent(mut self, rules: &Rules, now: Instant) -> Option<Self> {
        if let Some(credit) = self.credit(rules, now) {
            self.credit = credit.checked_sub(1)?;
        }
        Some(self)
    }

    /// After a call on credit was told 429.
    pub(super) fn rate_limited(
        self,
        wait: Option<Duration>,
        rules: &Rules,
        now: Instant,
    ) -> (Self, Option<Change>) {
        let from = self.state.name();
        let state = self.state.rate_limited(wait, rules, now);
        Self {
            state,
            credit: 0,
            ..self
        }
        .turned(from, Cause::RateLimited)
    }

    /// With so much more credit, unless it is closed.
    pub(super) fn credited(mut self, more: u32) -> Self {
        if !matches!(self.state, State::Closed(_)) {
            self.credit = self.credit.saturating_add(more).min(MOST_CREDIT);
        }
        self
    }

    /// Begins a new generation if the state isn't what it was. A 429 interrupts a generation but doesn't end
    /// it: what was sent before it is as good a sample as before.
    fn turned(mut self, from: StateName, cause: Cause) -> (Self, Option<Change>) {
        let to = self.state.name();
        let same_life = matches!(
            (from, to),
            (_, StateName::RateLimited) | (StateName::RateLimited, StateName::Closed)
        );
        if from == to {
            return (self, None);
        }
        if !same_life {
            self.generation = self.generation.wrapping_add(1);
        }
        if to == StateName::Closed {
            self.credit = 0;
        }
        (self, Some(Change { from, to, cause }))
    }

    pub(super) fn name(&self) -> StateName {
        self.state.name()
    }

    pub(super) fn stake(&self, lease: Option<u64>) -> Stake {
        Stake {
            generation: self.generation,
            lease,
        }
    }

    /// Its state now, with what time alone has ended, and when calls may go again.
    pub(super) fn view(self, rules: &Rules, now: Instant) -> (StateName, Option<Instant>) {
        let state = self.state.settled(rules, now);
        (state.name(), state.retry_at(rules, now))
    }

    /// The headroom last seen, until it is whole again.
    pub(super) fn headroom(&self, now: Instant) -> Option<Headroom> {
        let (headroom, until) = self.headroom.filter(|(_, until)| now < *until)?;
        Some(Headroom {
            reset: Some(until.since(now)),
            ..headroom
        })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.uint(u64::from(self.generation));
        self.state.write(&mut to);
        to.uint(u64::from(self.credit));
        if let Some((headroom, until)) = &self.headroom {
            to.uint(until.0);
            to.uint(u64::from(headroom.share));
            to.option(headroom.remaining_requests);
            to.option(headroom.remaining_tokens);
        }
        to.into_bytes()
    }

    /// The stake of a call that goes, if the section of these bytes is plainly closed: the usual case, for a hundredth
    /// of the work.
    pub(super) fn free(bytes: &[u8]) -> Option<Stake> {
        let mut from = Reader(bytes);
        let generation = if bytes.is_empty() { 0 } else { from.u32()? };
        let closed = bytes.is_empty() || State::is_closed(&mut from);
        closed.then_some(Stake {
            generation,
            lease: None,
        })
    }

    /// The section of these bytes; a new one if they aren't one.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self::read(&mut Reader(bytes)).unwrap_or_default()
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            generation: from.u32()?,
            state: State::read(from)?,
            credit: from.u32()?.min(MOST_CREDIT),
            headroom: read_headroom(from),
        })
    }
}

/// All of a limit, in thousandths. A record that tells of more isn't ours.
const WHOLE: u16 = 1_000;

fn read_headroom(from: &mut Reader<'_>) -> Option<(Headroom, Instant)> {
    let until = Instant(from.uint()?);
    let share = u16::try_from(from.uint()?).ok().filter(|share| *share <= WHOLE)?;
    let (remaining_requests, remaining_tokens) = (from.option()?, from.option()?);
    Some((
        Headroom {
            share,
            remaining_requests,
            remaining_tokens,
            reset: None,
        },
        until,
    ))
}

fn remembered(seen: Headroom, now: Instant) -> (Headroom, Instant) {
    let until = now.after(seen.reset.unwrap_or(FRESH));
    (Headroom { reset: None, ..seen }, until)
}

/// Until when to spare a provider that said it has next to nothing left. One that doesn't say until when
/// isn't spared: some imitations send a constant 0.
fn spent(headroom: Option<Headroom>) -> Option<Duration> {
    headroom
        .filter(Headroom::is_nearly_nothing)?
        .reset
        .filter(|reset| nanos(*reset) > 0)
}
