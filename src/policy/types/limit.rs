//! How much may be asked.

use core::time::Duration;

use super::Mode;

/// A rolling rate that every request it applies to must fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its name in refusals, metrics and records; unique in the policy (`provider.0` for a provider's).
    pub name: String,
    /// Stable identity of its entries in the ledger: a hash of what names it.
    pub id: u64,
    /// What each bucket belongs to, in the order written; empty: one bucket for all.
    pub per: Vec<Per>,
    /// Whether one proxy counts, or a whole fleet too.
    pub scope: Scope,
    /// What is counted.
    pub unit: Unit,
    /// How much per period; at least 1. Of a fleet limit, the share that one proxy lets through.
    pub quota: u64,
    /// The period.
    pub period: Duration,
    /// How much at once; at least 1; as much as one period unless set.
    pub burst: u64,
    /// Whether it binds.
    pub mode: Mode,
    /// How much output is set aside.
    pub reserve: Reserve,
    /// What happens when the ledger can't be written in its number of tries.
    pub on_contention: OnContention,
}

impl Limit {
    /// Whether a whole fleet counts by it.
    #[must_use]
    pub fn is_fleets(&self) -> bool {
        self.scope != Scope::Proxy
    }
}

/// Who counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Each proxy for itself.
    #[default]
    Proxy,
    /// Each proxy for itself, and all together by the host's rate-limit service.
    Fleet {
        /// How much per period all proxies let through together.
        quota: u64,
    },
}

/// Where a fleet of proxies counts together: the host's rate-limit filter, and the service that it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// The host's cluster of the service.
    pub cluster: String,
    /// The service's name for these limits.
    pub domain: String,
    /// How long the service has.
    pub timeout: Duration,
    /// What becomes of requests while it doesn't answer.
    pub on_rls_failure: OnRlsFailure,
}

/// What becomes of requests while the rate-limit service doesn't answer, or answers with an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRlsFailure {
    /// Each proxy counts for itself alone.
    #[default]
    Allow,
    /// 503.
    Deny,
}

/// What a limit's buckets are told apart by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Per {
    /// The caller.
    Caller,
    /// The policy's model entry.
    Model,
    /// The provider chosen.
    Provider,
    /// The host's route name.
    Route,
    /// Index into [`Policy::attributes`](super::Policy::attributes).
    Attribute(usize),
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Requests.
    Requests,
    /// Tokens of prompt and output together.
    Tokens,
}

impl Unit {
    /// Its name in policies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
        }
    }
}

/// How much output is set aside before it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reserve {
    /// What this caller and model lately used, at least 256, at most max tokens; 1,024 until learnt.
    #[default]
    Expected,
    /// Max tokens; as `Expected` when the request gives none.
    Max,
}

/// What a limit does when the ledger can't be written in its number of tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnContention {
    /// Lets the request through and counts it.
    #[default]
    Allow,
    /// Refuses it.
    Deny,
}
