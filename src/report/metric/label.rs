//! The fixed lists that labels of metrics take their values from, and records their words.

use serde::{Deserialize, Serialize};

use crate::policy::{Limit, Policy};

use super::super::words::words;

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
    pub(super) fn counter(self) -> &'static str {
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
