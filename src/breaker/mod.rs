//! Circuit breakers: when a provider, or one model of it, isn't asked for a while.
//!
//! # Why one record per provider
//! A call asks two breakers: the provider's own (can it be reached, does it work) and its model's (429,
//! time). Both stand in one record of the store, so that asking is one read and observing one read and one
//! compare-and-swap.
//!
//! # Why leases
//! Half-open, a few real calls go ahead as probes. Each holds a lease that is granted by compare-and-swap, so
//! that exactly the permitted number goes whatever the workers' interleaving, and that expires, so that a
//! lost call doesn't block recovery.
//!
//! # Why generations
//! A call that was let go before the breaker opened says nothing of the provider now. Every state has a
//! generation, every [`Pass`] remembers its own, and an outcome of another one changes nothing.
//!
//! # Why credit
//! Where every breaker of a chain is open, somebody has to decide between turning everybody away and asking a provider
//! that may be down. Each section keeps a credit for that, see `section`: [`Breakers::borrow`] takes of it.
//!
//! Its invariant: a plain sample may be lost under contention (and is reported as such), a transition or a
//! lease never.

mod breakers;
mod codec;
mod credit;
mod outcome;
mod pause;
mod probes;
mod section;
mod state;
mod travel;
mod window;

#[cfg(test)]
mod interleaving;
#[cfg(test)]
mod lending;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

/// The version of the records' layout.
pub const LAYOUT: u8 = codec::VERSION;

pub use self::breakers::{Breakers, Identity};
pub use self::outcome::{Cause, Failure, Latency, Outcome};
pub use self::state::Observation;

use self::outcome::Verdict;
use self::section::Stake;
use crate::headroom::Headroom;
use crate::time::Instant;

/// A state by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateName {
    /// Calls go.
    Closed,
    /// No call goes.
    Open,
    /// A few calls go, to see.
    HalfOpen,
    /// No call goes, by the provider's own word.
    RateLimited,
    /// No call goes, by an operator's word.
    ForcedOpen,
    /// Calls go, by an operator's word.
    ForcedClosed,
}

impl StateName {
    /// All of them.
    const ALL: [Self; 6] = [
        Self::Closed,
        Self::Open,
        Self::HalfOpen,
        Self::RateLimited,
        Self::ForcedOpen,
        Self::ForcedClosed,
    ];

    /// The state of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Its name in metrics and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::RateLimited => "rate_limited",
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
        }
    }
}

/// Which of the two breakers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The provider's.
    Provider,
    /// Its model's.
    Model,
}

impl Scope {
    /// Its name in metrics and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Model => "model",
        }
    }
}

/// A breaker went from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: StateName,
    /// After.
    pub to: StateName,
    /// Whose.
    pub scope: Scope,
    /// Why.
    pub cause: Cause,
}

/// The answer to a call that wants to go.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Permit {
    /// It may; its outcome is to be observed with this pass.
    Go(Pass),
    /// It may not.
    NotNow {
        /// The state that forbids it; if both do, the one that lasts longer.
        state: StateName,
        /// When it is worth asking again.
        retry_at: Instant,
        /// An operator forbids it, so that not even `least_bad` may go.
        forced: bool,
    },
}

/// A call's leave to go: made by asking, consumed by observing. Dropped unobserved, its leases run out by
/// themselves.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub struct Pass {
    /// Of the breakers that made it; others ignore it.
    record: u64,
    model: usize,
    /// In the provider's section and in the model's; none for a call that isn't counted.
    stakes: Option<(Stake, Stake)>,
    /// Whether it went on credit, which its outcome gives back or doesn't.
    on_credit: bool,
    changes: [Option<Transition>; 2],
}

impl Pass {
    fn uncounted(record: u64, model: usize) -> Self {
        Self {
            record,
            model,
            stakes: None,
            on_credit: false,
            changes: [None; 2],
        }
    }

    /// Whether the call is a half-open breaker's probe.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.stakes
            .as_ref()
            .is_some_and(|(provider, model)| provider.lease.or(model.lease).is_some())
    }

    /// Whether the call went on credit, against the breakers' word.
    #[must_use]
    pub fn is_on_credit(&self) -> bool {
        self.on_credit
    }

    /// What changed by asking: an open breaker whose time was up is half-open now.
    pub fn transitions(&self) -> impl Iterator<Item = Transition> + '_ {
        self.changes.iter().copied().flatten()
    }
}

/// What an observation did.
#[must_use]
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// A breaker changed its state; the provider's, if both did.
    pub transition: Option<Transition>,
    /// The model's, if both did.
    pub second: Option<Transition>,
    /// The store was contended or away, and the sample is lost.
    pub dropped: bool,
    /// The same, but it would have changed a state or given a lease back: to be handed to [`Breakers::flush`]
    /// until it is done.
    pub pending: Option<PendingTransition>,
}

impl Observed {
    /// What changed.
    pub fn transitions(&self) -> impl Iterator<Item = Transition> + '_ {
        self.transition.iter().chain(&self.second).copied()
    }
}

/// An observation that must not be lost and couldn't be written yet.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub struct PendingTransition {
    pass: Pass,
    verdict: Verdict,
}

impl PendingTransition {
    /// Index of the model, in the provider that observed it.
    #[must_use]
    pub fn model(&self) -> usize {
        self.pass.model
    }
}

/// A provider's breaker as gauges and records show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The state that decides for this model: the stricter of the two.
    pub state: StateName,
    /// When calls may go again; `None` if they may now.
    pub retry_at: Option<Instant>,
    /// What the provider last said it still grants for this model.
    pub headroom: Option<Headroom>,
    /// The provider's own state.
    pub provider: StateName,
    /// The model's own state.
    pub model: StateName,
}
