//! Metrics: what is counted, and under which name.
//!
//! Labels are segments `.key=value` of the name, which `stats_tags` of Envoy's bootstrap turn into labels. Values come
//! from the policy and from fixed lists alone, so that nothing a client sends makes a new metric: hosts never free one.
//! Names beginning with `gen_ai` follow OpenTelemetry's semantic conventions for generative AI.

mod label;
mod named;

use crate::body::repair::Mend;
use crate::breaker::StateName;
use crate::dialect::Endpoint;
use crate::guard;
use crate::moderation::Failure;
use crate::policy::{Hop, Policy, Side};

pub use label::*;

pub use super::checked::{Checked, Claimed, Ruled};

pub use super::drilled::Drilled;

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Is set.
    Gauge,
    /// Is recorded.
    Histogram,
}

/// Everything that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // The names are their documentation; `name` gives what hosts call them.
pub enum Metric {
    Exchange(Endpoint),
    OtherPath,
    Uncounted,
    Refused(Refused),
    ShadowRefused(Refused),
    Limit(LimitRef, Decision),
    Tokens(Booking),
    Counted(Counted),
    Contended,
    Overflow,
    PendingSettlements,
    StoreConflicts,
    VmMemory,
    Underway,
    Repeating,
    TokenUsage(usize, usize, TokenType),
    Inference(usize, usize, TokenType),
    Duration(usize, usize),
    FirstToken(usize, usize),
    PerOutputToken(usize, usize),
    EstimateError(usize, usize),
    Upstream(usize, StatusClass),
    Connect(usize),
    PassedOver(usize, PassedOver),
    Drill(usize, Drilled),
    GaveUp(usize, GaveUp),
    Callout(usize),
    Unmoved(Unmoved),
    FallbackTokens(usize),
    RetryTokens(usize),
    BreakerTransition(usize, &'static str),
    BreakerState(usize),
    BreakerDropped(usize),
    OnCredit(usize),
    Headroom(usize),
    UsageMissing(usize),
    UsageFault(usize),
    Opaque(usize),
    StreamAborted(usize, Aborted),
    StreamError(usize),
    Schema(usize, Checked),
    Rule(usize, usize, Ruled),
    Claim(usize, Claimed),
    Mended(Mend),
    Guard(usize, guard::Kind),
    Unguarded(Side),
    Moderation(usize, Side, Judged),
    ModerationFailed(usize, Failure),
    ModerationTime(usize),
    ModerationTokens(usize, TokenType),
    Review(Posted),
    ConfigRejected,
}

impl Metric {
    /// The metric of a hop.
    #[must_use]
    pub fn of_hop(hop: Hop, make: impl Fn(usize, usize) -> Self) -> Self {
        make(hop.provider, hop.model)
    }

    /// How it behaves.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::TokenUsage(..)
            | Self::Duration(..)
            | Self::FirstToken(..)
            | Self::PerOutputToken(..)
            | Self::EstimateError(..)
            | Self::ModerationTime(_) => Kind::Histogram,
            Self::BreakerState(_)
            | Self::Headroom(_)
            | Self::PendingSettlements
            | Self::VmMemory
            | Self::Underway
            | Self::Repeating => Kind::Gauge,
            _ => Kind::Counter,
        }
    }

    /// What hosts call it.
    #[must_use]
    pub fn name(self, policy: &Policy) -> String {
        match self {
            Self::Exchange(endpoint) => format!("spillway.exchange.endpoint={}", endpoint.as_str()),
            Self::OtherPath => "spillway.exchange.endpoint=other".into(),
            Self::Uncounted => "spillway.exchange.uncounted".into(),
            Self::Refused(why) => format!("spillway.refused.reason={}", why.as_str()),
            Self::ShadowRefused(why) => format!("spillway.shadow_refused.reason={}", why.as_str()),
            Self::Limit(limit, decision) => named::limit(policy, limit, decision),
            Self::Tokens(booking) => format!("spillway.tokens.type={}", booking.as_str()),
            Self::Counted(how) => format!("spillway.prompt.counted={}", how.as_str()),
            Self::Contended => "spillway.ledger.contended".into(),
            Self::Overflow => "spillway.ledger.overflow".into(),
            Self::PendingSettlements => "spillway.ledger.pending".into(),
            Self::StoreConflicts => "spillway.store.conflicts".into(),
            Self::VmMemory => "spillway.vm.memory".into(),
            Self::Underway => "spillway.failover.active".into(),
            Self::Repeating => "spillway.failover.repeating".into(),
            Self::Unmoved(why) => format!("spillway.failover.unmoved.reason={}", why.as_str()),
            Self::ConfigRejected => "spillway.config.rejected".into(),
            Self::Schema(rule, verdict) => schema_name(policy, rule, verdict),
            Self::Rule(validation, rule, ruled) => rule_name(policy, (validation, rule), ruled),
            Self::Claim(validation, claimed) => {
                format!(
                    "spillway.grounding.rule={}.verdict={}",
                    validation_segment(policy, validation),
                    claimed.as_str()
                )
            }
            Self::Mended(mend) => format!("spillway.repair.type={}", mend.as_str()),
            Self::Guard(guard, kind) => named::guard(policy, guard, kind),
            Self::Unguarded(side) => format!("spillway.guard.unguarded.type={}", side.as_str()),
            Self::Moderation(at, side, verdict) => {
                let rule = moderation_name(policy, "", at);
                format!("{rule}.side={}.verdict={}", side.as_str(), verdict.as_str())
            }
            Self::ModerationFailed(at, why) => {
                format!(
                    "{}.reason={}",
                    moderation_name(policy, ".failed", at),
                    why.as_str()
                )
            }
            Self::ModerationTime(at) => moderation_name(policy, ".duration", at),
            Self::ModerationTokens(at, kind) => {
                format!(
                    "{}.type={}",
                    moderation_name(policy, ".tokens", at),
                    kind.as_str()
                )
            }
            Self::Review(what) => format!("spillway.review.status={}", what.as_str()),
            _ => self.provider_name(policy),
        }
    }

    fn provider_name(self, policy: &Policy) -> String {
        let one = |name: &str, provider: usize| format!("{name}.{}", provider_segment(policy, provider));
        let both = |name: &str, provider, model| format!("{name}.{}", hop_segments(policy, provider, model));
        match self {
            Self::TokenUsage(p, m, kind) => {
                format!(
                    "{}.type={}",
                    both("gen_ai.client.token.usage", p, m),
                    kind.as_str()
                )
            }
            Self::Inference(p, m, kind) => {
                both(&format!("gen_ai.client.inference.usage.{}", kind.counter()), p, m)
            }
            Self::Duration(p, m) => both("gen_ai.client.operation.duration", p, m),
            Self::FirstToken(p, m) => both("gen_ai.server.time_to_first_token", p, m),
            Self::PerOutputToken(p, m) => both("gen_ai.server.time_per_output_token", p, m),
            Self::EstimateError(p, m) => both("spillway.estimate.error", p, m),
            Self::Upstream(p, class) => format!("{}.status={}", one("spillway.upstream", p), class.as_str()),
            Self::Connect(p) => one("spillway.upstream.connect_failure", p),
            Self::PassedOver(p, why) => format!("{}.reason={}", one("spillway.fallback", p), why.as_str()),
            Self::Drill(p, how) => format!("{}.decision={}", one("spillway.drill", p), how.as_str()),
            Self::GaveUp(p, why) => format!("{}.reason={}", one("spillway.fallback", p), why.as_str()),
            Self::Callout(p) => one("spillway.failover.callout", p),
            Self::FallbackTokens(p) => one("spillway.fallback.tokens", p),
            Self::RetryTokens(p) => one("spillway.retry.tokens", p),
            Self::BreakerTransition(p, state) => {
                format!("{}.state={state}", one("spillway.breaker.transition", p))
            }
            Self::BreakerState(p) => one("spillway.breaker.state", p),
            Self::BreakerDropped(p) => one("spillway.breaker.dropped", p),
            Self::OnCredit(p) => one("spillway.breaker.on_credit", p),
            Self::Headroom(p) => one("spillway.provider.headroom", p),
            Self::UsageMissing(p) => one("spillway.usage.missing", p),
            Self::UsageFault(p) => one("spillway.usage.fault", p),
            Self::Opaque(p) => one("spillway.answer.opaque", p),
            Self::StreamAborted(p, who) => {
                format!("{}.reason={}", one("spillway.stream.aborted", p), who.as_str())
            }
            Self::StreamError(p) => one("spillway.stream.error", p),
            _ => String::new(),
        }
    }
}

/// A name as a metric's segment: whatever would end a segment becomes `_`.
fn segment(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_*".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect()
}

fn provider_segment(policy: &Policy, provider: usize) -> String {
    let name = policy
        .providers
        .get(provider)
        .map_or("other", |p| p.name.as_str());
    format!("provider={}", segment(name))
}

fn hop_segments(policy: &Policy, provider: usize, model: usize) -> String {
    let found = policy.providers.get(provider).and_then(|p| p.models.get(model));
    let model = found.map_or("other", |m| m.name.as_str());
    format!("{}.model={}", provider_segment(policy, provider), segment(model))
}

fn schema_name(policy: &Policy, rule: usize, verdict: Checked) -> String {
    format!(
        "spillway.schema.rule={}.verdict={}",
        validation_segment(policy, rule),
        verdict.as_str()
    )
}

fn validation_segment(policy: &Policy, validation: usize) -> String {
    let found = policy.validate.get(validation);
    segment(found.map_or("other", |v| v.name.as_str()))
}

/// Rules are named within their validation: `orders-discount`.
fn rule_name(policy: &Policy, (validation, rule): (usize, usize), ruled: Ruled) -> String {
    let found = policy.validate.get(validation).and_then(|v| v.rules.get(rule));
    format!(
        "spillway.rule.rule={}-{}.verdict={}",
        validation_segment(policy, validation),
        segment(found.map_or("other", |r| r.name.as_str())),
        ruled.as_str()
    )
}

fn moderation_name(policy: &Policy, what: &str, at: usize) -> String {
    let name = policy.moderation.get(at).map_or("other", |m| m.name.as_str());
    format!("spillway.moderation{what}.rule={}", segment(name))
}

/// A breaker's state as its gauge shows it: the worse, the higher.
#[must_use]
pub fn state_code(state: StateName) -> u64 {
    match state {
        StateName::Closed | StateName::ForcedClosed => 0,
        StateName::HalfOpen => 1,
        StateName::RateLimited => 2,
        StateName::Open => 3,
        StateName::ForcedOpen => 4,
    }
}
