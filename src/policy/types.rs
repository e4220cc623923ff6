//! The policy as the rest of the program knows it: validated, so that nothing after loading can be invalid.
//!
//! Built from the document by [`load`](super::load); indices between its tables are always in range.

use core::time::Duration;
use std::sync::Arc;

use crate::body::grounding::Claims;
use crate::body::schema::Schema;
use crate::guard::{Kind, Own};
use crate::rule::{Clamp, Condition};

use super::ladder::Ladder;
use super::moderation::{Moderation, Review};
use super::when::When;

/// Whether a decision binds or is only counted and reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The decision binds.
    #[default]
    Enforce,
    /// Decided, counted, reported, not enforced.
    Shadow,
}

/// Everything an operator decided.
#[derive(Debug)]
pub struct Policy {
    /// For every decision; a limit's or a rule's own mode can only soften it.
    pub mode: Mode,
    /// What the host's settings allow.
    pub host: Host,
    /// How callers are named, in order: the first that is present decides.
    pub callers: Vec<CallerRule>,
    /// What becomes of those whom no rule names.
    pub anonymous: Anonymous,
    /// Attributes of the request that limits may count by.
    pub attributes: Vec<Attribute>,
    /// Providers, in the order of their names.
    pub providers: Vec<Provider>,
    /// What clients may ask for, in the order of the names, `*` apart.
    pub models: Vec<ModelRoute>,
    /// Where a model goes that no entry names.
    pub any_model: Option<ModelRoute>,
    /// The callers' limits. Providers' own limits stand with the provider.
    pub limits: Vec<Limit>,
    /// Which answers must match which schema; the first rule that applies decides.
    pub validate: Vec<Validation>,
    /// What is looked for in texts; all that apply do.
    pub guards: Vec<Guard>,
    /// Who outside is asked about texts; each that applies is.
    pub moderation: Vec<Moderation>,
    /// Who looks at exchanges afterwards.
    pub review: Option<Review>,
    /// How many (limit, key) pairs the ledger tells apart; its memory is 64 B each.
    pub tracked_keys: u32,
    /// The bounds of what is buffered.
    pub bounds: Bounds,
    /// What becomes of a request whose body is encoded (gzip, br, …).
    pub on_encoded: OnUnreadable,
    /// What becomes of a request whose body is over its bound.
    pub on_oversize: OnUnreadable,
    /// What becomes of a request or an answer that guards can't look at and might have to change or stop.
    pub on_unguarded: OnUnreadable,
    /// Failing over inside one request, for models that say nothing else; each [`ModelRoute`] has its own.
    pub failover: Failover,
    /// Where a fleet of proxies counts together.
    pub fleet: Fleet,
}

/// What the host's settings allow; the filter can't see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The headers may be held until the body has been judged (`allow_on_headers_stop_iteration`).
    pub body_pause: bool,
    /// Lower-case header that names the model when the body can't choose the route (`body_pause: false`).
    pub model_header: Option<String>,
}

/// Bounds of what is buffered or counted, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Request body; 10 MiB.
    pub request_body: usize,
    /// Answer gathered for validation; 2 MiB.
    pub response_body: usize,
    /// One line of an event stream; 1 MiB.
    pub sse_line: usize,
    /// Texts of a prompt that are counted exactly; longer ones are estimated; 256 KiB.
    pub exact_count: usize,
}

/// One way to name a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerRule {
    /// The bearer token (or `x-api-key`) is one of the known keys.
    Bearer(Vec<KnownKey>),
    /// The value of a header (lower case) that something before this filter set or verified.
    Header(String),
    /// A claim of a token that the host verified, at this path of its dynamic metadata.
    Jwt {
        /// The path of the property: `metadata`, `filter_metadata`, the namespace, the payload's key if any, the claim.
        path: Vec<String>,
    },
}

/// A key that may call, by its SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// The caller's name.
    pub name: String,
    /// SHA-256 of the key.
    pub digest: [u8; 32],
}

impl core::fmt::Debug for KnownKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KnownKey")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What becomes of callers whom no rule names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anonymous {
    /// They are one caller together.
    #[default]
    Shared,
    /// 401.
    Reject,
}

/// An attribute of the request, from a trusted header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name in `per`.
    pub name: String,
    /// The header (lower case) it is read from.
    pub header: String,
    /// Its value when the header is missing.
    pub missing: String,
}

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
    /// Index into [`Policy::providers`].
    pub provider: usize,
    /// Index into [`Provider::models`].
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
    /// Index into [`Policy::attributes`].
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

/// What becomes of a body that can't be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnreadable {
    /// 415 or 413.
    #[default]
    Reject,
    /// Passed on uncounted, and counted as such.
    Pass,
}

/// Which answers must match a schema.
#[derive(Debug)]
pub struct Validation {
    /// Its name in metrics and records.
    pub name: String,
    /// Which exchanges it is for.
    pub when: When,
    /// What the assistant's text must be; what its request says when none.
    pub schema: Option<Schema>,
    /// Whether the text must have the form that the request asks for, where there is no schema.
    pub format: bool,
    /// Whether the arguments of tool calls must be what the request declares.
    pub tools: bool,
    /// What must hold across the answer's fields.
    pub rules: Vec<Rule>,
    /// What of the answer must stand in the request's context.
    pub grounding: Option<Grounding>,
    /// Whether a stream is held until it is valid.
    pub buffer: bool,
    /// What becomes of an answer that isn't.
    pub on_invalid: Ladder,
    /// Whether it binds.
    pub mode: Mode,
}

impl Validation {
    /// Whether the form that a request asks for counts: the policy's own schema goes before it.
    #[must_use]
    pub fn judges_format(&self) -> bool {
        self.format && self.schema.is_none()
    }
}

/// What is looked for in the texts of which exchanges, and what becomes of it.
#[derive(Debug)]
pub struct Guard {
    /// Its name in metrics and records.
    pub name: String,
    /// Which exchanges it is for.
    pub when: When,
    /// Where it looks; at least one side.
    pub on: Vec<Side>,
    /// What it looks for, apart from its own patterns and words.
    pub kinds: Vec<Kind>,
    /// Its own patterns and words.
    pub own: Arc<Own>,
    /// What becomes of what it finds.
    pub action: GuardAction,
    /// Whether it binds.
    pub mode: Mode,
}

/// A side of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// What the client says.
    Request,
    /// What the model says.
    Answer,
}

impl Side {
    /// Its name in policies and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Answer => "answer",
        }
    }
}

/// What becomes of what a guard finds; the later is the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GuardAction {
    /// It is counted.
    Detect,
    /// A placeholder goes to the provider, and the original comes back in the answer.
    Restore,
    /// A placeholder takes its place.
    Mask,
    /// The exchange is refused, or a stream ended.
    Block,
}

impl GuardAction {
    /// Its name in policies and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Restore => "restore",
            Self::Mask => "mask",
            Self::Block => "block",
        }
    }
}

/// Something that must hold across the fields of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name in metrics and records; unique in its list.
    pub name: String,
    /// What must hold. One that can't be judged doesn't hold.
    pub condition: Condition,
    /// What becomes of an answer for which it doesn't.
    pub otherwise: Otherwise,
}

/// How much of an answer must stand in the context that its request carried.
#[derive(Clone, Debug, PartialEq)]
pub struct Grounding {
    /// What is looked for.
    pub claims: Claims,
    /// The share that must be found, 0–1.
    pub at_least: f64,
    /// What becomes of an answer of which less is; never [`Otherwise::Clamp`].
    pub otherwise: Otherwise,
}

/// What becomes of an answer that breaks a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Otherwise {
    /// As an answer that fails its schema.
    Reject,
    /// Passed on with a header that says so.
    Annotate,
    /// A field is put back to its bound; then schema and rule must hold.
    Clamp(Clamp),
}
