//! What a fleet of proxies counts together: left where the host's own rate-limit filter finds it, in the stream's filter
//! state. No client of a rate-limit service is written here.
//!
//! Before a request goes out, the filter asks at no cost whether its buckets are used up; when it has ended, the filter
//! hands in what it used. The invariant: what is handed in is what the caller's own limits are charged, and an exchange
//! that the service refused costs neither the fleet nor this proxy anything.

use core::time::Duration;

use crate::ledger::Ledger;
use crate::policy::{Limit, Mode, Per, Policy, Unit};
use crate::report::metric::LimitRef;
use crate::store::Store;

use super::admit::Admitted;
use super::gateway::Gateway;
use super::identify::{Identified, Who, caller_hash};
use super::refuse::{Refusal, refuse};
use super::{Exchange, ResponseHead, Step, Turn};

/// The descriptor's entry that says which limit it is of.
pub const LIMIT: &str = "limit";
/// What a rate-limit filter takes at a time (Envoy's `MAX_HITS_ADDEND`).
const MOST_AT_ONCE: u64 = 1_000_000_000;
/// Longest value of an attribute or a route that travels as it is.
const LONGEST_PLAIN: usize = 64;
/// Nobody is sent away for longer where the service doesn't say until when.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The filter state key by which a limit is asked; its value is the limit's name.
#[must_use]
pub fn ask_key(limit: &Limit) -> String {
    format!("spillway.fleet.ask.{}", limit.name)
}

/// The filter state key by which a limit is charged; its value is the limit's name.
#[must_use]
pub fn bill_key(limit: &Limit) -> String {
    format!("spillway.fleet.bill.{}", limit.name)
}

/// The filter state key of what a limit is charged.
#[must_use]
pub fn spent_key(limit: &Limit) -> String {
    format!("spillway.fleet.spent.{}", limit.name)
}

/// The filter state key of what buckets are told apart by.
#[must_use]
pub fn part_key(policy: &Policy, per: &Per) -> String {
    format!("spillway.fleet.by.{}", part_name(policy, per))
}

/// Its name in policies, and in descriptors.
#[must_use]
pub fn part_name<'p>(policy: &'p Policy, per: &Per) -> &'p str {
    match per {
        Per::Caller => "caller",
        Per::Model => "model",
        Per::Provider => "provider",
        Per::Route => "route",
        Per::Attribute(at) => policy.attributes.get(*at).map_or("", |a| a.name.as_str()),
    }
}

/// The policy's fleet limits.
pub fn limits(policy: &Policy) -> impl Iterator<Item = &Limit> {
    policy.limits.iter().filter(|limit| limit.is_fleets())
}

/// Whether the service's word about a limit binds.
#[must_use]
pub fn binds(policy: &Policy, limit: &Limit) -> bool {
    policy.mode == Mode::Enforce && limit.mode == Mode::Enforce
}

/// Whose request it is, as far as that is known.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) who: &'a Who,
    pub(super) model: Option<&'a str>,
    pub(super) provider: Option<usize>,
}

/// Leaves what the fleet's limits are asked by. A limit per something that isn't known yet is left out.
pub(super) fn ask<S: Store>(turn: &mut Turn<'_, S>, known: Known<'_>) {
    let gateway = turn.gateway;
    let policy = &gateway.policy;
    let left = &mut turn.effects.properties;
    for limit in limits(policy) {
        let parts = limit.per.iter().map(|per| part(gateway, known, per));
        let Some(parts) = parts.collect::<Option<Vec<_>>>() else {
            continue;
        };
        if binds(policy, limit) {
            left.push((ask_key(limit), limit.name.clone().into_bytes()));
        }
        left.extend(parts);
    }
    left.sort_unstable();
    left.dedup();
}

fn part(gateway: &Gateway, known: Known<'_>, per: &Per) -> Option<(String, Vec<u8>)> {
    let policy = &gateway.policy;
    let value = match per {
        Per::Caller => caller_hash(gateway, &known.who.id),
        Per::Model => known.model?.to_owned(),
        Per::Provider => policy.providers.get(known.provider?)?.name.clone(),
        Per::Route => plain(&gateway.ledger, &known.who.route),
        Per::Attribute(at) => {
            let value = known.who.attributes.get(*at).map_or(&[][..], Vec::as_slice);
            plain(&gateway.ledger, value)
        }
    };
    Some((part_key(policy, per), value.into_bytes()))
}

/// A short word as it is; of anything else a hash, which no word looks like.
fn plain(ledger: &Ledger, value: &[u8]) -> String {
    let safe = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let word = core::str::from_utf8(value)
        .ok()
        .filter(|_| value.iter().all(safe));
    match word.filter(|word| (1..=LONGEST_PLAIN).contains(&word.len())) {
        Some(word) => word.to_owned(),
        None => format!("#{:016x}", ledger.hash(&[b"fleet", value])),
    }
}

/// Leaves what an exchange used, when its caller's own limits are charged.
pub(super) fn charge<S: Store>(turn: &mut Turn<'_, S>, requests: u64, tokens: u64) {
    for limit in limits(&turn.gateway.policy) {
        let used = match limit.unit {
            Unit::Requests => requests,
            Unit::Tokens => tokens,
        };
        if used > 0 {
            let used = used.min(MOST_AT_ONCE).to_string();
            let name = limit.name.clone();
            let left = [(bill_key(limit), name), (spent_key(limit), used)];
            let left = left.map(|(key, value)| (key, value.into_bytes()));
            turn.effects.properties.extend(left);
        }
    }
}

/// The no of the host's rate-limit filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// A limit of the fleet is used up.
    Full,
    /// The service didn't answer, and the policy wants it to.
    Broken,
}

impl Word {
    /// What the host says of an answer, if that is the rate-limit filter's.
    pub(super) fn of(policy: &Policy, head: &ResponseHead<'_>) -> Option<Self> {
        limits(policy).next()?;
        head.status().filter(|status| *status >= 400)?;
        match head.details().as_slice() {
            b"request_rate_limited" => Some(Self::Full),
            b"rate_limiter_error" => Some(Self::Broken),
            _ => None,
        }
    }

    fn refusal(self, policy: &Policy, head: &ResponseHead<'_>) -> Refusal {
        match self {
            Self::Broken => Refusal::fleet_unavailable(),
            Self::Full => {
                let mut binding = policy.limits.iter().enumerate();
                let mut binding = binding
                    .by_ref()
                    .filter(|(_, limit)| limit.is_fleets() && binds(policy, limit));
                let only = binding.next().filter(|_| binding.next().is_none());
                let wait = reset(head).unwrap_or_else(|| usual_wait(policy));
                Refusal::of_fleet(only.map(|(at, limit)| (LimitRef::Caller(at), limit)), wait)
            }
        }
    }
}

/// Seconds until the service counts anew, as `enable_x_ratelimit_headers` tells them.
fn reset(head: &ResponseHead<'_>) -> Option<Duration> {
    let value = core::str::from_utf8(head.headers.first("x-ratelimit-reset")?).ok()?;
    Some(Duration::from_secs(value.trim().parse().ok()?))
}

fn usual_wait(policy: &Policy) -> Duration {
    let periods = limits(policy).filter(|limit| binds(policy, limit));
    let shortest = periods.map(|limit| limit.period).min();
    shortest.map_or(LONGEST_WAIT, |period| period.min(LONGEST_WAIT))
}

impl Admitted {
    /// The fleet said no: nothing went out, so nothing is charged.
    pub(super) fn turned_away<S: Store>(
        mut self,
        turn: &mut Turn<'_, S>,
        (word, head): (Word, &ResponseHead<'_>),
    ) -> (Exchange, Step) {
        self.take_back(head.property);
        let endpoint = self.endpoint;
        let record = self.undone(turn);
        let refusal = word.refusal(&turn.gateway.policy, head);
        refuse(turn, endpoint, record, refusal)
    }
}

impl Identified {
    /// The fleet said no before the body was judged.
    pub(super) fn turned_away<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        (word, head): (Word, &ResponseHead<'_>),
    ) -> (Exchange, Step) {
        self.give_back(turn);
        let refusal = word.refusal(&turn.gateway.policy, head);
        refuse(turn, self.endpoint, self.record, refusal)
    }
}
