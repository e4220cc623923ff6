//! What came of a call, and which section of the record it speaks about.
//!
//! A provider's section learns whether it can be reached and works: connections, resets, 5xx. A model's
//! section learns what may differ from model to model: 429 and time.

use core::time::Duration;

use crate::headroom::Headroom;
use crate::policy::Breaker as Rules;

use super::window::Sample;

/// How a call to a provider ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer that can be used; slow or not is judged by the policy.
    Success {
        /// How long it took.
        latency: Latency,
        /// What the provider said it still grants.
        headroom: Option<Headroom>,
    },
    /// The provider didn't do its work.
    Failure(Failure),
    /// 429.
    RateLimited {
        /// How long to stay away, if the provider said so.
        wait: Option<Duration>,
    },
    /// Says nothing of the provider, which answered: the client asked for what can't be (other 4xx), or went away amid
    /// the answer.
    Neutral,
    /// Nobody knows what would have come: the client went away before anything did.
    Unanswered,
    /// The call wasn't made after all.
    Unsent,
}

/// In which way a provider failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection.
    Connect,
    /// The connection was reset, before or amid the answer.
    Reset,
    /// No answer in the time we give it. Counted to the model, like a 408: how long an answer takes is the
    /// model's.
    Timeout,
    /// An answer with this status: 5xx counts to the provider, 408 to the model, 429 is
    /// [`Outcome::RateLimited`]; any other is neutral.
    Status(u16),
    /// An error event in a stream that began with 200: a 5xx that came too late for the status.
    StreamError,
    /// An answer that isn't in the provider's own protocol.
    Malformed,
}

/// What is known of how long a call took; the policy's thresholds tell whether it was slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// A stream, of which only the time to its first token is known.
    FirstToken(Duration),
    /// A stream: time to its first token, and the longest silence between two.
    Gap {
        /// To the first token.
        first: Option<Duration>,
        /// Between two tokens.
        longest: Duration,
    },
    /// A call that isn't streamed, from beginning to end.
    Whole(Duration),
    /// Not measured; never slow.
    Unknown,
}

impl Latency {
    fn is_slow(self, rules: &Rules) -> bool {
        match self {
            Self::FirstToken(first) => first > rules.slow_first_token,
            Self::Gap { first, longest } => {
                longest > rules.slow_gap || first.is_some_and(|first| first > rules.slow_first_token)
            }
            Self::Whole(whole) => whole > rules.slow_call,
            Self::Unknown => false,
        }
    }
}

/// Why a breaker changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Too large a share of failures.
    FailureRate,
    /// Too large a share of slow calls.
    SlowRate,
    /// Failures in a row.
    Consecutive,
    /// 429.
    RateLimited,
    /// A good answer said that next to nothing is left.
    LowHeadroom,
    /// The time was up.
    Elapsed,
    /// A probe failed, or was slow.
    ProbeFailed,
    /// Enough probes succeeded.
    Recovered,
}

impl Cause {
    /// Its name in metrics and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FailureRate => "failure_rate",
            Self::SlowRate => "slow_rate",
            Self::Consecutive => "consecutive",
            Self::RateLimited => "rate_limited",
            Self::LowHeadroom => "low_headroom",
            Self::Elapsed => "elapsed",
            Self::ProbeFailed => "probe_failed",
            Self::Recovered => "recovered",
        }
    }
}

/// What the outcome of a call that went on credit is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// So many credits.
    Credit(u32),
    /// None, and the model's is over: 429, with how long to stay away.
    RateLimited(Option<Duration>),
}

impl Worth {
    /// The credit and one more for a good answer, the credit for any other; none where nothing came. A client that gave
    /// up waiting is no answer: a provider that hangs must not be asked for ever.
    pub(super) fn of(outcome: Outcome, rules: &Rules) -> Self {
        match outcome {
            Outcome::Success { latency, .. } if latency.is_slow(rules) => Self::Credit(1),
            Outcome::Success { .. } => Self::Credit(2),
            Outcome::Neutral | Outcome::Unsent => Self::Credit(1),
            Outcome::RateLimited { wait } => Self::RateLimited(wait),
            Outcome::Failure(Failure::Status(429)) => Self::RateLimited(None),
            Outcome::Failure(_) | Outcome::Unanswered => Self::Credit(0),
        }
    }
}

/// What an outcome says to one section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A call that counts.
    Ended(Sample),
    /// 429, with how long to stay away.
    RateLimited(Option<Duration>),
    /// Nothing; a lease is given back.
    Nothing,
}

/// What an outcome says to both sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) provider: Event,
    pub(super) model: Event,
    pub(super) headroom: Option<Headroom>,
}

impl Verdict {
    pub(super) fn of(outcome: Outcome, rules: &Rules) -> Self {
        let (provider, model, headroom) = match outcome {
            Outcome::Success { latency, headroom } => {
                let sample = if latency.is_slow(rules) {
                    Sample::Slow
                } else {
                    Sample::Good
                };
                (Event::Ended(Sample::Good), Event::Ended(sample), headroom)
            }
            Outcome::Failure(failure) => {
                let (provider, model) = failed(failure);
                (provider, model, None)
            }
            Outcome::RateLimited { wait } => (Event::Nothing, Event::RateLimited(wait), None),
            Outcome::Neutral | Outcome::Unanswered | Outcome::Unsent => {
                (Event::Nothing, Event::Nothing, None)
            }
        };
        Self {
            provider,
            model,
            headroom,
        }
    }

    pub(super) fn says_nothing(&self) -> bool {
        self.provider == Event::Nothing && self.model == Event::Nothing
    }
}

fn failed(failure: Failure) -> (Event, Event) {
    let failed = Event::Ended(Sample::Failed);
    match failure {
        Failure::Connect
        | Failure::Reset
        | Failure::StreamError
        | Failure::Malformed
        | Failure::Status(500..=599) => (failed, Event::Nothing),
        Failure::Timeout | Failure::Status(408) => (Event::Nothing, failed),
        Failure::Status(429) => (Event::Nothing, Event::RateLimited(None)),
        Failure::Status(0..=499 | 600..) => (Event::Nothing, Event::Nothing),
    }
}
