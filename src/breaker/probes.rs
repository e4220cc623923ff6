//! The half-open state's leases: who may try, until when, and how it went so far.
//!
//! Its invariant: at most as many unexpired leases as the policy permits, and each outcome counts for its own
//! lease only.

use core::time::Duration;

use crate::policy::Breaker as Rules;
use crate::time::Instant;

use super::codec::{Reader, Writer};

/// No policy gets more leases than this, so that a record stays small: beyond it half-open isn't a trial any
/// more.
const MAX_PERMITS: usize = 64;

/// A lease shorter than this would expire under a healthy answer.
const MIN_LEASE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lease {
    number: u64,
    expires: Instant,
}

/// Probes of one half-open state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Probes {
    strikes: u32,
    successes: u32,
    /// Leases granted so far: the next one's number.
    granted: u64,
    out: Vec<Lease>,
}

/// Whether a lease that is given back was one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Return {
    /// It was, and is in no longer.
    Ours(Probes),
    /// It wasn't: never granted here, or expired and granted to somebody else since.
    Stranger(Probes),
}

impl Probes {
    /// No probe yet, after the breaker opened `strikes` times in a row.
    pub(super) fn after(strikes: u32) -> Self {
        Self {
            strikes,
            ..Self::default()
        }
    }

    pub(super) fn strikes(&self) -> u32 {
        self.strikes
    }

    /// With one lease more, and its number, if the policy permits one now.
    pub(super) fn lease(mut self, rules: &Rules, now: Instant) -> (Self, Option<u64>) {
        let permits = usize::try_from(rules.half_open_permits)
            .unwrap_or(MAX_PERMITS)
            .clamp(1, MAX_PERMITS);
        if self.out.len() >= permits {
            self.out.retain(|lease| is_alive(lease, rules, now));
        }
        if self.out.len() >= permits {
            return (self, None);
        }
        let number = self.granted;
        self.granted = number.wrapping_add(1);
        self.out.push(Lease {
            number,
            expires: now.after(span(rules)),
        });
        (self, Some(number))
    }

    /// Without the lease of this number.
    pub(super) fn returned(mut self, number: Option<u64>) -> Return {
        match self.out.iter().position(|lease| Some(lease.number) == number) {
            Some(at) => {
                self.out.remove(at);
                Return::Ours(self)
            }
            None => Return::Stranger(self),
        }
    }

    /// With one success more; `None` when it was the last one needed.
    pub(super) fn succeeded(mut self, rules: &Rules) -> Option<Self> {
        self.successes = self.successes.saturating_add(1);
        (self.successes < rules.half_open_successes).then_some(self)
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.uint(u64::from(self.strikes));
        to.uint(u64::from(self.successes));
        to.uint(self.granted);
        to.uint(self.out.len() as u64);
        for lease in &self.out {
            to.uint(lease.number);
            to.uint(lease.expires.0);
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (strikes, successes, granted) = (from.u32()?, from.u32()?, from.uint()?);
        let count = usize::try_from(from.uint()?)
            .ok()
            .filter(|count| *count <= MAX_PERMITS)?;
        let lease = |_| {
            Some(Lease {
                number: from.uint()?,
                expires: Instant(from.uint()?),
            })
        };
        let out = (0..count).map(lease).collect::<Option<_>>()?;
        Some(Self {
            strikes,
            successes,
            granted,
            out,
        })
    }
}

/// How long a lease lasts: the longest that a call may take without being slow. A probe that takes longer has
/// failed anyway or is a long stream, which needn't hold the others up; one whose VM trapped gives its permit
/// back in this time.
fn span(rules: &Rules) -> Duration {
    rules
        .slow_call
        .max(rules.slow_first_token)
        .max(rules.slow_gap)
        .max(MIN_LEASE)
}

fn is_alive(lease: &Lease, rules: &Rules, now: Instant) -> bool {
    now < lease.expires && lease.expires.since(now) <= span(rules).saturating_add(MIN_LEASE)
}
