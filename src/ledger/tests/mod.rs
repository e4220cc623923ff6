//! The whole ledger under test: scenarios, properties by a seeded generator, and workers interleaved at every store call.

mod entries;
mod interleaved;
mod properties;
mod scenarios;

use core::time::Duration;

use super::{Actual, Admission, Certainty, Claim, Demand, HashKey, Ledger, Lesson, Refusal, Request, Ticket};
use crate::policy::{Limit, Mode, OnContention, Reserve, Scope, Unit};
use crate::store::Store;
use crate::time::Instant;

/// `quota` tokens per `secs` seconds, as much at once, enforced.
pub(crate) fn limit(quota: u64, secs: u64) -> Limit {
    Limit {
        name: format!("{quota}/{secs}s"),
        id: quota ^ secs << 40,
        per: Vec::new(),
        scope: Scope::Proxy,
        unit: Unit::Tokens,
        quota,
        period: Duration::from_secs(secs),
        burst: quota,
        mode: Mode::Enforce,
        reserve: Reserve::Max,
        on_contention: OnContention::Allow,
    }
}

/// The same of requests.
fn requests(quota: u64, secs: u64) -> Limit {
    Limit {
        unit: Unit::Requests,
        id: quota ^ secs << 40 ^ 1 << 63,
        ..limit(quota, secs)
    }
}

fn ledger(tracked_keys: u32) -> Ledger {
    Ledger::new(HashKey::from_text("test"), tracked_keys)
}

/// The claim of a limit per caller.
fn claim<'p>(ledger: &Ledger, limit: &'p Limit, caller: &str) -> Claim<'p> {
    let key = ledger.key(limit, caller.as_bytes(), &[caller.as_bytes()]);
    Claim { limit, key, group: 0 }
}

/// A request that sets exactly `tokens` aside of a limit with `reserve: max`.
fn request<'p>(claims: &'p [Claim<'p>], tokens: u64) -> Request<'p> {
    let demand = Demand {
        max_output: Some(tokens),
        choices: 1,
        generates: true,
        ..Demand::default()
    };
    Request {
        claims,
        habit: None,
        demand,
        mode: Mode::Enforce,
    }
}

/// A lesson on output alone.
fn lesson(output: Option<u64>) -> Lesson {
    Lesson { output, text: None }
}

fn used(tokens: u64) -> Actual {
    Actual {
        requests: 1,
        tokens,
        lesson: lesson(None),
    }
}

fn granted(admission: Admission) -> Ticket {
    match admission {
        Admission::Granted(ticket) => ticket,
        Admission::Refused(refusal) => panic!("refused: {refusal:?}"),
        Admission::Never(never) => panic!("never: {never:?}"),
        Admission::Unsure { room, .. } => panic!("unsure: {room}"),
    }
}

fn refused(admission: Admission) -> Refusal {
    match admission {
        Admission::Refused(refusal) => refusal,
        Admission::Granted(ticket) => panic!("granted: {ticket:?}"),
        Admission::Never(never) => panic!("never: {never:?}"),
        Admission::Unsure { room, .. } => panic!("unsure: {room}"),
    }
}

/// What a claim's bucket still holds.
fn left(ledger: &Ledger, store: &impl Store, claim: &Claim<'_>, now: Instant) -> u64 {
    ledger.level(store, claim.limit, claim.key, now).remaining
}

fn secs(secs: u64) -> Instant {
    Instant(secs * 1_000_000_000)
}

fn millis(millis: u64) -> Instant {
    Instant(millis * 1_000_000)
}

/// Marsaglia's xorshift64: the same numbers every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides.max(1)
    }
}
