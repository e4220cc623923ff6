//! Whom to ask, and when to stop asking.

use core::time::Duration;

use super::Limit;

/// A wire protocol that providers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderDialect {
    /// OpenAI and what imitates it.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Gemini's `generateContent`. Providers speak it; clients don't.
    Gemini,
    /// OpenAI's protocol as Azure serves it: other paths, a version in the query. Clients speak OpenAI's.
    Azure,
}

/// Somebody who answers requests for money.
#[derive(Debug)]
pub struct Provider {
    /// Its name in chains, metrics and records.
    pub name: String,
    /// Envoy's cluster.
    pub cluster: String,
    /// What it speaks.
    pub dialect: ProviderDialect,
    /// Azure's `api-version`; empty for the others.
    pub api_version: String,
    /// `:authority` to send; the client's when none.
    pub authority: Option<String>,
    /// Put before the path; empty or beginning with `/`, never ending with it.
    pub path_prefix: String,
    /// The credential to present, if any.
    pub credential: Option<Credential>,
    /// Whether `stream_options.include_usage` is injected where missing.
    pub include_usage: bool,
    /// What it serves, in the order of the names.
    pub models: Vec<ProviderModel>,
    /// When to stop asking it.
    pub breaker: Breaker,
    /// What it grants us. `Per` is ignored by construction: one bucket each.
    pub limits: Vec<Limit>,
}

/// A header with a secret in it. Its `Debug` shows neither scheme nor secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Lower-case header name.
    pub header: String,
    /// The whole value, scheme included.
    pub value: String,
}

impl core::fmt::Debug for Credential {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Credential")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// One model of a provider.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderModel {
    /// The provider's own name of it.
    pub name: String,
    /// How its tokens are counted.
    pub tokenizer: Tokenizer,
    /// When a prompt's texts are counted rather than estimated.
    pub count: CountWhen,
    /// The context window in tokens, prompt and output together.
    pub context: Option<u64>,
    /// US$ per million tokens.
    pub price: Option<Price>,
    /// What of a request it refuses, though its protocol has it; words of the policy reference.
    pub refuses: Vec<&'static str>,
    /// What it takes of a translated request, though not all models of its protocol do.
    pub accepts: Accepted,
}

/// What some models of a protocol take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// An effort of reasoning.
    pub effort: bool,
    /// Of Anthropic's: a JSON schema for the output, and strict tools.
    pub schema: bool,
}

/// Whose tokens a model's are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tokenizer {
    /// Those of `o200k_base`.
    O200k,
    /// Those of `cl100k_base`.
    Cl100k,
    /// Nobody knows: estimated, and corrected by what the provider says of earlier prompts.
    #[default]
    Estimate,
}

/// When a prompt's texts are counted by the tokenizer itself, rather than by an estimate fitted to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CountWhen {
    /// When a limit or a context would otherwise be decided by the estimate's error.
    #[default]
    WhenNeeded,
    /// Always.
    Exact,
}

/// US$ per million tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// Prompt.
    pub input: f64,
    /// Prompt read from the provider's cache.
    pub cached_input: Option<f64>,
    /// Output.
    pub output: f64,
}

/// When a provider counts as broken. Defaults: PEERS of the field, each named in the policy reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    /// Share of failures in the window that opens it, 0–1.
    pub failure_rate: f64,
    /// Share of slow calls in the window that opens it, 0–1.
    pub slow_rate: f64,
    /// No rate is judged on fewer requests than this.
    pub min_requests: u32,
    /// The window, in ten buckets.
    pub window: Duration,
    /// Failures in a row that open it.
    pub consecutive: u32,
    /// A stream whose first token takes longer is slow.
    pub slow_first_token: Duration,
    /// A stream with a longer gap between tokens is slow.
    pub slow_gap: Duration,
    /// A whole call (not streamed) that takes longer is slow.
    pub slow_call: Duration,
    /// How long it stays open the first time.
    pub open: Duration,
    /// Doubling stops here.
    pub max_open: Duration,
    /// Requests let through at a time while half-open.
    pub half_open_permits: u32,
    /// Successes that close it.
    pub half_open_successes: u32,
    /// 429 without a date: how long to stay away.
    pub rate_limited: Duration,
    /// 429 with a date: no longer than this.
    pub max_rate_limited: Duration,
    /// An operator's word.
    pub force: Option<Forced>,
}

/// A breaker's state by an operator's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forced {
    /// Nothing goes there.
    Open,
    /// Everything may.
    Closed,
}
