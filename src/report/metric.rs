//! Metrics: what is counted, and under which name.
//!
//! Labels are segments `.key=value` of the name, which `stats_tags` of Envoy's bootstrap turn into labels. Values come
//! from the policy and from fixed lists alone, so that nothing a client sends makes a new metric: hosts never free one.
//! Names beginning with `gen_ai` follow OpenTelemetry's semantic conventions for generative AI.

mod named;

use serde::{Deserialize, Serialize};

use crate::body::repair::Mend;
use crate::breaker::StateName;
use crate::dialect::Endpoint;
use crate::guard;
use crate::moderation::Failure;
use crate::policy::{Hop, Limit, Policy, Side};

use super::words::words;

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

/// Which limit of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitRef {
    /// Index into [`Policy::limits`].
    Caller(usize),
    /// Index of a provider, and into its limits.
    Provider(usize, usize),
}

impl LimitRef {
    /// The limit that is meant.
    #[must_use]
    pub fn of(self, policy: &Policy) -> Option<&Limit> {
        match self {
            Self::Caller(limit) => policy.limits.get(limit),
            Self::Provider(provider, limit) => policy.providers.get(provider)?.limits.get(limit),
        }
    }
}

/// What a limit decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// There was enough.
    Allowed,
    /// There wasn't, and it binds.
    Denied,
    /// There wasn't, and it doesn't bind.
    Shadow,
}

/// Which tokens of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenType {
    /// Everything billed as prompt.
    Input,
    /// Everything billed as output.
    Output,
    /// Of the input: read from the provider's cache.
    CacheRead,
    /// Of the input: written to the provider's cache.
    CacheWrite,
    /// Of the output: thought, not said.
    Reasoning,
}

/// What became of tokens in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Booking {
    /// Set aside at admission.
    Reserved,
    /// Used in the end.
    Settled,
    /// Given back.
    Refunded,
}

/// How a prompt's tokens were found, when it was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    /// By estimate: no count would have changed the decision, or there is no tokenizer to count by.
    #[default]
    Estimated,
    /// Counted, since the decision depended on it.
    Needed,
    /// Counted, since the policy asks for it.
    Asked,
    /// By estimate: too long to be counted.
    Oversize,
}

/// Why a client was refused by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// Nobody we know.
    Anonymous,
    /// A body that can't be read.
    BadRequest,
    /// An encoded body.
    Encoded,
    /// A body over its bound.
    Oversize,
    /// A model that the policy doesn't know, or not in this dialect.
    Model,
    /// A prompt that can never fit.
    Never,
    /// A limit, for now.
    Limit,
    /// No provider may be asked now.
    Unavailable,
    /// An answer that broke its schema.
    Answer,
    /// Something that a guard blocks, or that couldn't be looked at.
    Guard,
    /// A text that a moderation flagged.
    Flagged,
    /// A text that no moderation could judge, where one must.
    Unmoderated,
    /// A limit of all proxies together, for now.
    Fleet,
    /// Who counts for all proxies doesn't answer.
    FleetUnavailable,
}

/// What a moderation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judged {
    /// Nothing was found.
    Clean,
    /// Something was.
    Flagged,
    /// There is no verdict.
    Failed,
}

/// What became of a post for review.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Posted {
    /// Somebody took it.
    Taken,
    /// Nobody did.
    Failed,
    /// Too many waited already.
    Dropped,
    /// It would have been posted.
    Shadow,
}

/// Why a candidate was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PassedOver {
    /// It speaks another dialect than the client.
    Dialect,
    /// The prompt is longer than its context.
    Context,
    /// Its breaker is open, or half-open without a free probe.
    Open,
    /// It said 429, or has nearly nothing left.
    RateLimited,
    /// An operator took it out.
    Forced,
    /// Its own limit in the policy is used up.
    Limit,
    /// It refuses something that the request has, and mustn't be sent it without.
    Refuses,
    /// It is well: a drill goes as if it were down.
    Drill,
}

/// Why an attempt was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GaveUp {
    /// No connection.
    Connect,
    /// The connection broke before the answer began.
    Reset,
    /// No answer, or no first token, in time.
    Timeout,
    /// 429.
    RateLimited,
    /// Another status of those that are failed over from.
    Status,
    /// The stream began with an error.
    StreamError,
    /// The answer isn't one in its provider's protocol, and can't be translated.
    Malformed,
    /// The answer fails its validation.
    Invalid,
}

impl GaveUp {
    /// Its name in metrics and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Status => "status",
            Self::StreamError => "stream_error",
            Self::Malformed => "malformed",
            Self::Invalid => "invalid",
        }
    }
}

/// Why a failed attempt wasn't followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unmoved {
    /// Its state lives at one provider.
    Pinned,
    /// Its body is larger than what is kept.
    TooLarge,
    /// The policy allows no more attempts.
    Attempts,
    /// The client waits no longer.
    Deadline,
    /// The only candidate asks for too long a wait.
    Wait,
    /// The retry budget is used up.
    Budget,
    /// The caller's limits have no room for another answer.
    Limit,
    /// No candidate may be asked.
    Nobody,
}

/// A status, as coarse as an alert needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusClass {
    /// 1xx, 2xx and 3xx.
    Good,
    /// 429.
    RateLimited,
    /// Other 4xx.
    Client,
    /// 5xx.
    Server,
}

/// Why a stream ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aborted {
    /// The client hung up.
    Client,
    /// The provider did.
    Upstream,
    /// Nothing moved, or it took too long.
    Timeout,
    /// The proxy did, or nobody knows.
    Host,
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
    PassedBy(usize),
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
            Self::PassedBy(p) => one("spillway.breaker.passed_by", p),
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

words!(Decision { Allowed => "allowed", Denied => "denied", Shadow => "shadow" });
words!(TokenType {
    Input => "input", Output => "output", CacheRead => "cache_read", CacheWrite => "cache_write",
    Reasoning => "reasoning",
});
words!(Booking { Reserved => "reserved", Settled => "settled", Refunded => "refunded" });
words!(Counted {
    Estimated => "estimate", Needed => "needed", Asked => "asked", Oversize => "oversize",
});
words!(Refused {
    Anonymous => "anonymous", BadRequest => "bad_request", Encoded => "encoded", Oversize => "oversize",
    Model => "model", Never => "never", Limit => "limit", Unavailable => "unavailable", Answer => "answer",
    Guard => "guard",
    Flagged => "flagged", Unmoderated => "unmoderated",
    Fleet => "fleet", FleetUnavailable => "fleet_unavailable",
});
words!(Judged { Clean => "clean", Flagged => "flagged", Failed => "failed" });
words!(Posted { Taken => "taken", Failed => "failed", Dropped => "dropped", Shadow => "shadow" });
words!(PassedOver {
    Dialect => "dialect", Context => "context", Open => "open", RateLimited => "rate_limited",
    Forced => "forced_open", Limit => "limit", Drill => "drill", Refuses => "refuses",
});
words!(Unmoved {
    Pinned => "pinned", TooLarge => "too_large", Attempts => "attempts", Deadline => "deadline", Wait => "wait",
    Budget => "budget", Limit => "limit", Nobody => "nobody",
});
words!(StatusClass { Good => "2xx", RateLimited => "429", Client => "4xx", Server => "5xx" });
words!(Aborted { Client => "client", Upstream => "upstream", Timeout => "timeout", Host => "host" });

impl serde::Serialize for Counted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl TokenType {
    fn counter(self) -> &'static str {
        match self {
            Self::Input => "input_tokens",
            Self::Output => "output_tokens",
            Self::CacheRead => "cache_read.input_tokens",
            Self::CacheWrite => "cache_write.input_tokens",
            Self::Reasoning => "reasoning.output_tokens",
        }
    }
}

impl StatusClass {
    /// The class of a status.
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status {
            429 => Self::RateLimited,
            400..=499 => Self::Client,
            500.. => Self::Server,
            _ => Self::Good,
        }
    }
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
