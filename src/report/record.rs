//! The access record: one line of JSON per exchange, for Envoy's access log by filter state.
//!
//! Its invariant: no prompt text, no secret, no client string but the model's name, which is bounded.

use core::time::Duration;

use serde::Serialize;

use crate::body::grounding::Grounded;
use crate::policy::Policy;
use crate::report::metric::{Counted, LimitRef, PassedOver};
use crate::time::Instant;

/// Longest model name that is repeated from a client or a provider.
const MODEL_NAME: usize = 64;

/// What is known of an exchange, gathered as it goes.
#[derive(Debug, Default, Serialize)]
pub struct Record {
    /// When it began.
    #[serde(skip)]
    pub begun: Instant,
    /// Keyed hash of the caller, or `anonymous`.
    pub caller: String,
    /// The API asked for.
    pub endpoint: &'static str,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// The policy's model entry.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// The model that the client named.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub model_asked: String,
    /// The model that the provider says answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_answered: Option<String>,
    /// The provider asked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub provider: String,
    /// Prompt tokens, before the provider told them.
    pub estimate: u64,
    /// How they were found: `estimate`, `needed` or `asked` (counted), `oversize` (estimated, too long to be counted).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,
    /// Tokens set aside.
    pub reserved: u64,
    /// Tokens in the end: `input`, `output`, and whether the provider said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<Actual>,
    /// Limits that refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits_hit: Vec<String>,
    /// Limits that would have refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits_shadow: Vec<String>,
    /// Candidates passed over, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<Passed>,
    /// What the router tried, where it fails over, in order; the last is the one whose answer the client got, unless it
    /// was given up too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Tried>,
    /// The breaker of the provider asked.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub breaker: &'static str,
    /// What the provider answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why we refused.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub refused: &'static str,
    /// The verdict on the answer.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub validation: &'static str,
    /// What was mended of it: kinds, with commas between.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mended: String,
    /// Rules of the policy that it breaks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules_broken: Vec<String>,
    /// How many of its claims stand in the request's context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grounded: Option<Claims>,
    /// How it ended: `complete`, `refused`, `client_abort`, `upstream_reset`, `timeout`, `aborted`
    /// (by the proxy), `uncounted`.
    pub end: &'static str,
    /// Milliseconds to the first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<u64>,
    /// Milliseconds in all.
    pub duration_ms: u64,
}

/// Tokens in the end.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Actual {
    /// Billed as prompt.
    pub input: u64,
    /// Billed as output.
    pub output: u64,
    /// `usage`, `estimate` or `reserved`: where the numbers come from.
    pub source: &'static str,
}

/// Claims of an answer.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Claims {
    /// Those that were looked for.
    pub claims: u32,
    /// Those that were found.
    pub found: u32,
    /// Their share.
    pub ratio: f64,
}

impl From<Grounded> for Claims {
    fn from(grounded: Grounded) -> Self {
        Self {
            claims: grounded.claims,
            found: grounded.found,
            ratio: grounded.ratio(),
        }
    }
}

/// A candidate passed over.
#[derive(Clone, Debug, Serialize)]
pub struct Passed {
    /// `provider/model`.
    pub candidate: String,
    /// Why.
    pub reason: &'static str,
}

/// One attempt of several.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// The provider.
    pub provider: String,
    /// Its model.
    pub model: String,
    /// What it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why the next was tried.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub gave_up: &'static str,
    /// Milliseconds until that was known.
    pub ms: u64,
    /// Milliseconds that it asked to stay away for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// Tokens that it is thought to have cost, if it was given up.
    pub tokens: u64,
}

impl Record {
    /// The line.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Notes a candidate that was passed over.
    pub fn pass_over(&mut self, policy: &Policy, hop: crate::policy::Hop, why: PassedOver) {
        let Some(provider) = policy.providers.get(hop.provider) else {
            return;
        };
        let model = provider.models.get(hop.model).map_or("", |m| m.name.as_str());
        let candidate = format!("{}/{model}", provider.name);
        self.passed_over.push(Passed {
            candidate,
            reason: why.as_str(),
        });
    }

    /// Notes a limit that refused.
    pub fn hit(&mut self, policy: &Policy, limit: LimitRef) {
        self.limits_hit.extend(limit.of(policy).map(|l| l.name.clone()));
    }

    /// Notes a limit that would have refused.
    pub fn hit_in_shadow(&mut self, policy: &Policy, limit: LimitRef) {
        self.limits_shadow
            .extend(limit.of(policy).map(|l| l.name.clone()));
    }

    /// Ends it: how, and when.
    pub fn close(&mut self, end: &'static str, now: Instant) {
        self.end = end;
        self.duration_ms = milliseconds(now.since(self.begun));
    }
}

/// Whole milliseconds.
#[must_use]
pub fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A model's name as somebody outside gave it, cut to what a record may hold.
#[must_use]
pub fn outside_name(name: &str) -> String {
    name.chars()
        .filter(|c| !c.is_control())
        .take(MODEL_NAME)
        .collect()
}
