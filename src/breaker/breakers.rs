//! The breakers of a provider: asking and observing, each a read and at most a compare-and-swap of its
//! record.
//!
//! Its invariant: what is decided is decided on the record as it is when the decision is written.

use core::hash::Hasher as _;
use core::time::Duration;
use std::borrow::Cow;

use siphasher::sip::SipHasher13;

use super::codec;
use super::outcome::{Event, Outcome, Verdict, Worth};
use super::section::{Change, News, Section, Stake};
use super::state::{Entry, Observation, jittered};
use super::{Observed, Pass, PendingTransition, Permit, Scope, StateName, Transition, View};
use crate::policy::{Breaker as Rules, Forced, Provider};
use crate::store::{Cas, Store, StoreError};
use crate::time::{Instant, nanos};

/// Tries at a compare-and-swap. Each lost one means that another worker's succeeded, so that 16 cover 16
/// workers at the same instant.
pub(super) const TRIES: usize = 16;

/// When every probe is out, the next moment worth asking: probes take seconds, and one that comes back frees
/// its place.
const PROBE_RETRY: Duration = Duration::from_secs(1);

/// The breakers of one provider and its models.
#[derive(Clone, Debug)]
pub struct Breakers<'p> {
    pub(super) rules: &'p Rules,
    models: usize,
    pub(super) record: u64,
    key: Cow<'p, str>,
}

/// What a provider's breakers are known by in the store; taken once, it needn't be hashed for each call.
#[derive(Clone, Debug)]
pub struct Identity {
    record: u64,
    key: String,
}

impl Identity {
    /// Of a provider.
    #[must_use]
    pub fn of(provider: &Provider) -> Self {
        let record = record(provider);
        Self {
            record,
            key: format!("spillway/b{}/{record:016x}", codec::VERSION),
        }
    }
}

/// A record as it was read.
pub(super) struct Found {
    bytes: Vec<u8>,
    version: Cas,
}

impl Found {
    fn provider(&self) -> &[u8] {
        codec::section(&self.bytes, 0)
    }

    fn model(&self, model: usize) -> &[u8] {
        codec::section(&self.bytes, model.saturating_add(1))
    }

    pub(super) fn pair(&self, model: usize) -> Pair {
        Pair {
            provider: Section::from_bytes(self.provider()),
            model: Section::from_bytes(self.model(model)),
        }
    }
}

/// Both sections that a call is concerned with.
#[derive(Default)]
pub(super) struct Pair {
    pub(super) provider: Section,
    pub(super) model: Section,
}

/// Why an observation wasn't written, and whether it would have changed a state.
struct Unwritten {
    changes: bool,
    error: StoreError,
}

impl<'p> Breakers<'p> {
    /// The breakers of this provider, in whatever store.
    #[must_use]
    pub fn of(provider: &'p Provider) -> Self {
        let Identity { record, key } = Identity::of(provider);
        Self {
            key: Cow::Owned(key),
            ..Self::shell(provider, record)
        }
    }

    /// As [`Breakers::of`], for a provider whose identity was taken before.
    #[must_use]
    pub fn known(provider: &'p Provider, identity: &'p Identity) -> Self {
        Self {
            key: Cow::Borrowed(&identity.key),
            ..Self::shell(provider, identity.record)
        }
    }

    fn shell(provider: &'p Provider, record: u64) -> Self {
        Self {
            rules: &provider.breaker,
            models: provider.models.len(),
            record,
            key: Cow::Borrowed(""),
        }
    }

    /// The store's key of their record.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether a call to `model` (index into the provider's models) may go now. Half-open, this takes a
    /// lease.
    ///
    /// A store that can't be read lets the call go, uncounted. A lease that can't be written isn't granted.
    pub fn ask(&self, store: &impl Store, model: usize, now: Instant, entropy: u64) -> Permit {
        match self.rules.force {
            Some(Forced::Open) => return self.forced_open(now),
            Some(Forced::Closed) => return Permit::Go(Pass::uncounted(self.record, model)),
            None if model >= self.models => return Permit::Go(Pass::uncounted(self.record, model)),
            None => {}
        }
        for _ in 0..TRIES {
            if let Some(permit) = self.try_ask(store, model, Observation { now, entropy }) {
                return permit;
            }
        }
        probes_out(Observation { now, entropy })
    }

    /// Leave for the call that goes although no breaker lets it (`least_bad`). It takes no lease and isn't
    /// counted: it was sent to a provider known to be bad. Never for a [`Permit::NotNow`] that is `forced`.
    pub fn force_pass(&self, model: usize) -> Pass {
        Pass::uncounted(self.record, model)
    }

    /// Tells how a call ended.
    pub fn observe(&self, store: &impl Store, pass: Pass, outcome: Outcome, at: Observation) -> Observed {
        if pass.on_credit {
            return self.give_back(store, pass, Worth::of(outcome, self.rules), at);
        }
        let verdict = Verdict::of(outcome, self.rules);
        self.settle(store, PendingTransition { pass, verdict }, at)
    }

    /// The states as they are, without changing them. A store that can't be read looks closed.
    #[must_use]
    pub fn view(&self, store: &impl Store, model: usize, now: Instant) -> View {
        let pair = self
            .find(store)
            .map(|found| found.pair(model))
            .unwrap_or_default();
        let headroom = pair.model.headroom(now);
        let (provider, provider_at) = pair.provider.view(self.rules, now);
        let (model, model_at) = pair.model.view(self.rules, now);
        let (state, retry_at) = match self.rules.force {
            Some(Forced::Open) => (StateName::ForcedOpen, Some(now.after(self.rules.max_open))),
            Some(Forced::Closed) => (StateName::ForcedClosed, None),
            None => (
                stricter((provider, provider_at), (model, model_at)),
                provider_at.max(model_at),
            ),
        };
        View {
            state,
            retry_at,
            headroom,
            provider,
            model,
        }
    }

    /// Tries again what couldn't be written; gives it back if it still can't. [`Breakers::settle`] does the
    /// same and tells what changed.
    pub fn flush(
        &self,
        store: &impl Store,
        pending: PendingTransition,
        now: Instant,
    ) -> Option<PendingTransition> {
        // Of all that differs between two cases, the clock's low digits are what is at hand here; they only
        // jitter.
        self.settle(
            store,
            pending,
            Observation {
                now,
                entropy: now.0 / 1000,
            },
        )
        .pending
    }

    /// Writes an observation, in a bounded number of tries.
    pub fn settle(&self, store: &impl Store, pending: PendingTransition, at: Observation) -> Observed {
        if let (true, Event::RateLimited(wait)) = (pending.pass.on_credit, pending.verdict.model) {
            return self.give_back(store, pending.pass, Worth::RateLimited(wait), at);
        }
        let Some(stakes) = self.at_stake(&pending) else {
            return Observed::default();
        };
        let mut binding = holds_lease(stakes);
        for _ in 0..TRIES {
            match self.try_observe(store, &pending, stakes, at) {
                Ok(observed) => return observed,
                Err(unwritten) => {
                    // Once it would have changed a state, a store that falls silent makes it no plain sample.
                    binding |= unwritten.changes;
                    if unwritten.error == StoreError::Unavailable {
                        break;
                    }
                }
            }
        }
        Observed {
            dropped: !binding,
            pending: binding.then_some(pending),
            ..Observed::default()
        }
    }

    /// The stakes of an observation that can change anything here.
    fn at_stake<'o>(&self, observation: &'o PendingTransition) -> Option<&'o (Stake, Stake)> {
        let PendingTransition { pass, verdict } = observation;
        let ours = pass.record == self.record && self.rules.force.is_none();
        let stakes = pass.stakes.as_ref().filter(|_| ours)?;
        (holds_lease(stakes) || !verdict.says_nothing()).then_some(stakes)
    }

    /// `None` when another worker was faster.
    fn try_ask(&self, store: &impl Store, model: usize, at: Observation) -> Option<Permit> {
        let Ok(found) = self.find(store) else {
            return Some(Permit::Go(Pass::uncounted(self.record, model)));
        };
        if let (Some(provider), Some(own)) =
            (Section::free(found.provider()), Section::free(found.model(model)))
        {
            return Some(Permit::Go(self.pass(model, (provider, own), [None; 2])));
        }
        self.ask_closely(store, found, model, at)
    }

    /// The same when a state may stand in the way.
    fn ask_closely(&self, store: &impl Store, found: Found, model: usize, at: Observation) -> Option<Permit> {
        let pair = found.pair(model);
        let (provider, first, turned) = pair.provider.enter(self.rules, at.now);
        let (own, second, own_turned) = pair.model.enter(self.rules, at.now);
        if let Some(refusal) = refused(first, second, (provider.name(), own.name()), at) {
            return Some(refusal);
        }
        let stakes = (provider.stake(lease(first)), own.stake(lease(second)));
        let is_probe = holds_lease(&stakes);
        let pair = Pair { provider, model: own };
        let changes = if is_probe {
            transitions(turned, own_turned)
        } else {
            [None; 2]
        };
        match is_probe.then(|| self.write(store, &found, model, &pair)) {
            None | Some(Ok(())) => Some(Permit::Go(self.pass(model, stakes, changes))),
            Some(Err(StoreError::Conflict)) => None,
            Some(Err(StoreError::Unavailable)) => Some(probes_out(at)),
        }
    }

    fn try_observe(
        &self,
        store: &impl Store,
        observation: &PendingTransition,
        stakes: &(Stake, Stake),
        at: Observation,
    ) -> Result<Observed, Unwritten> {
        let PendingTransition { pass, verdict } = observation;
        let unread = |error| Unwritten {
            changes: false,
            error,
        };
        let found = self.find(store).map_err(unread)?;
        let pair = found.pair(pass.model);
        let news = |event, headroom| News { event, headroom };
        let (provider, first) =
            pair.provider
                .observe(&stakes.0, news(verdict.provider, None), self.rules, at);
        let (model, second) =
            pair.model
                .observe(&stakes.1, news(verdict.model, verdict.headroom), self.rules, at);
        let [first, second] = transitions(first, second);
        self.write(store, &found, pass.model, &Pair { provider, model })
            .map_err(|error| Unwritten {
                changes: first.or(second).is_some(),
                error,
            })?;
        Ok(Observed {
            transition: first.or(second),
            second: first.and(second),
            ..Observed::default()
        })
    }

    fn forced_open(&self, now: Instant) -> Permit {
        // Only the operator knows until when: as long as the breaker itself would ever stay open.
        let retry_at = now.after(self.rules.max_open);
        Permit::NotNow {
            state: StateName::ForcedOpen,
            retry_at,
            forced: true,
        }
    }

    fn pass(&self, model: usize, stakes: (Stake, Stake), changes: [Option<Transition>; 2]) -> Pass {
        Pass {
            record: self.record,
            model,
            stakes: Some(stakes),
            on_credit: false,
            changes,
        }
    }

    pub(super) fn find(&self, store: &impl Store) -> Result<Found, StoreError> {
        let (bytes, version) = store.read(&self.key)?;
        Ok(Found { bytes, version })
    }

    /// Writes both sections against the record as it was found; nothing if it already says that.
    pub(super) fn write(
        &self,
        store: &impl Store,
        found: &Found,
        model: usize,
        pair: &Pair,
    ) -> Result<(), StoreError> {
        let (provider, own) = (pair.provider.to_bytes(), pair.model.to_bytes());
        let count = self.models.saturating_add(1);
        let bytes = codec::replaced(&found.bytes, count, &provider, (model.saturating_add(1), &own));
        if bytes == found.bytes {
            return Ok(());
        }
        store.write(&self.key, &bytes, found.version)
    }
}

/// What tells a provider's record from others. What the record's layout depends on is part of it (its version, the models' order, the
/// window's buckets), so that a new policy and an old one that still drains don't garble each other's
/// records.
fn record(provider: &Provider) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write_u8(codec::VERSION);
    hasher.write(provider.name.as_bytes());
    for model in &provider.models {
        hasher.write_u8(0xff);
        hasher.write(model.name.as_bytes());
    }
    hasher.write_u64(nanos(provider.breaker.window));
    hasher.finish()
}

/// The refusal, if one section refuses; the one that lasts longer, if both do.
fn refused(provider: Entry, model: Entry, names: (StateName, StateName), at: Observation) -> Option<Permit> {
    let (provider, model) = (blocked(provider, at), blocked(model, at));
    let state = if provider >= model { names.0 } else { names.1 };
    provider.max(model).map(|retry_at| Permit::NotNow {
        state,
        retry_at,
        forced: false,
    })
}

fn blocked(entry: Entry, at: Observation) -> Option<Instant> {
    match entry {
        Entry::Free | Entry::Leased(_) => None,
        Entry::Wait(until) => Some(until),
        Entry::Full => Some(probe_retry(at)),
    }
}

fn holds_lease((provider, model): &(Stake, Stake)) -> bool {
    provider.lease.or(model.lease).is_some()
}

fn lease(entry: Entry) -> Option<u64> {
    match entry {
        Entry::Leased(number) => Some(number),
        Entry::Free | Entry::Wait(_) | Entry::Full => None,
    }
}

fn probes_out(at: Observation) -> Permit {
    Permit::NotNow {
        state: StateName::HalfOpen,
        retry_at: probe_retry(at),
        forced: false,
    }
}

fn probe_retry(at: Observation) -> Instant {
    at.now.after(jittered(PROBE_RETRY, at.entropy))
}

fn stricter(provider: (StateName, Option<Instant>), model: (StateName, Option<Instant>)) -> StateName {
    let providers =
        provider.0 != StateName::Closed && (model.0 == StateName::Closed || provider.1 >= model.1);
    if providers { provider.0 } else { model.0 }
}

pub(super) fn transitions(provider: Option<Change>, model: Option<Change>) -> [Option<Transition>; 2] {
    let scoped = |scope| {
        move |Change { from, to, cause }: Change| Transition {
            from,
            to,
            scope,
            cause,
        }
    };
    [
        provider.map(scoped(Scope::Provider)),
        model.map(scoped(Scope::Model)),
    ]
}
