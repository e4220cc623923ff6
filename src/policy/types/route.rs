//! Where a model's requests may go, and what happens when one fails.

use core::time::Duration;

/// What clients may ask for, and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRoute {
    /// The entry's name: what limits, metrics and records call the model. `*` for the catch-all.
    pub name: String,
    /// Where it may go, best first; never empty.
    pub chain: Vec<Hop>,
    /// What to do when every breaker on the chain is open.
    pub when_all_open: WhenAllOpen,
    /// Failing over inside one request: the policy's section with the entry's own laid over it.
    pub failover: Failover,
}

/// One place of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Index into [`Policy::providers`](super::Policy::providers).
    pub provider: usize,
    /// Index into [`Provider::models`](super::Provider::models).
    pub model: usize,
}

/// What to do when every breaker of a chain is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenAllOpen {
    /// The one with the most credit (see [`crate::breaker`]): about twice as many calls as are answered, none where
    /// nothing is. The others, and every call to a provider that named a time, as if it were [`WhenAllOpen::Reject`].
    #[default]
    Throttle,
    /// 503 with the earliest probe as `Retry-After`.
    Reject,
    /// The one that opens soonest; a forced-open one never.
    LeastBad,
}

/// Failing over inside one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Failover {
    /// Who sends again.
    pub via: Via,
    /// Attempts in all, 1 to 5: each asks the next candidate; where there is but one, it is asked again.
    pub attempts: u32,
    /// What is failed over from.
    pub on: FailoverOn,
    /// The wait before the same provider is asked again: exponential, with full jitter.
    pub backoff: Backoff,
    /// A 429 of the only candidate is waited for if it asks for no longer than this.
    pub retry_after_max: Duration,
    /// Repeats at the same provider, as a share of the active requests, 0–1; of all workers together.
    pub retry_budget: f64,
    /// Whose tokens are charged.
    pub charge: Charge,
    /// What becomes of what a candidate's dialect can't carry.
    pub incompatible: Incompatible,
    /// How long is waited.
    pub timeouts: Timeouts,
    /// Lower-case header by which a client says how long it waits, in milliseconds from now.
    pub deadline_header: Option<String>,
    /// The answer when every attempt failed; the last provider's own when none.
    pub exhausted: Option<Exhausted>,
    /// Drills: the share of requests, 0–1, that go as if the chain's first candidate were down.
    pub drill: f64,
}

/// Who sends a request again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// Nobody.
    #[default]
    None,
    /// The host's router, with the provider role in each attempt.
    Native,
    /// The gateway role, by HTTP callouts.
    Callout,
}

/// What an attempt is given up for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverOn {
    /// No connection.
    pub connect: bool,
    /// The connection broke before an answer.
    pub reset: bool,
    /// No answer in time.
    pub timeout: bool,
    /// A stream that begins with an error event.
    pub stream_error: bool,
    /// A stream whose first token doesn't come in time.
    pub first_token: bool,
    /// Statuses, sorted, 400 to 599; a 429 of the only candidate only if it asks for a short wait.
    pub statuses: Vec<u16>,
}

/// An exponential wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// At most this before the first repeat.
    pub base: Duration,
    /// Doubling stops here.
    pub max: Duration,
}

/// Whose tokens are charged when there was more than one attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Charge {
    /// Every attempt's.
    #[default]
    All,
    /// Only those of the attempt whose answer the client got.
    Final,
}

/// What becomes of parts of a request that a candidate's dialect can't carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Incompatible {
    /// The candidate is passed over.
    #[default]
    Refuse,
    /// They are left out, and named in a response header.
    Drop,
}

/// How long a provider has, by what is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a stream's first token, in each attempt.
    pub first_token: Grown,
    /// Until the end of an answer, in each attempt.
    pub whole: Grown,
}

/// A span that grows with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grown {
    /// For nothing at all.
    pub base: Duration,
    /// For each 1,000 tokens of prompt.
    pub per_1k_prompt: Duration,
    /// For each 1,000 tokens of output that may come.
    pub per_1k_output: Duration,
}

impl Grown {
    /// The span for so many tokens.
    #[must_use]
    pub fn of(&self, prompt: u64, output: u64) -> Duration {
        let part = |per: Duration, tokens: u64| {
            let nanos = per.as_nanos().saturating_mul(u128::from(tokens)) / 1_000;
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        self.base
            .saturating_add(part(self.per_1k_prompt, prompt))
            .saturating_add(part(self.per_1k_output, output))
    }
}

/// A static answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Its status.
    pub status: u16,
    /// Its body, as it is.
    pub body: String,
}
