//! The hand-over between the two roles, by the stream's filter state: what is to be tried, and what came of each try.
//!
//! Its invariant: names travel, never indices, because the roles' VMs may hold policies of different age; and no secret
//! travels, because each role has its own policy.

use serde::{Deserialize, Serialize};

use crate::breaker::Pass;
use crate::dialect::Endpoint;
use crate::policy::{Hop, Policy};
use crate::report::metric::GaveUp;

/// Filter state key of the [`Order`].
pub const ORDER: &str = "spillway.order";
/// Filter state key of each attempt's [`Tried`], followed by its number.
const TRIED: &str = "spillway.attempt.";
/// No order asks for more attempts (the policy's own bound).
pub const MOST_ATTEMPTS: u32 = 5;

/// The key of an attempt, counted from 1.
#[must_use]
pub fn tried_key(number: u32) -> String {
    format!("{TRIED}{number}")
}

/// How many attempts the router has begun; none when the host doesn't tell.
pub(in super::super) fn begun(property: &dyn Fn(&[&str]) -> Option<Vec<u8>>) -> Option<u32> {
    let value = property(&["upstream", "request_attempt_count"])?;
    let number = <[u8; 8]>::try_from(value).map(u64::from_le_bytes).ok()?;
    Some(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A place, by its names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The provider's name.
    #[serde(rename = "p")]
    pub provider: String,
    /// Its model's.
    #[serde(rename = "m")]
    pub model: String,
}

impl Place {
    /// The names of a hop.
    pub(in super::super) fn of(policy: &Policy, hop: Hop) -> Option<Self> {
        let provider = policy.providers.get(hop.provider)?;
        Some(Self {
            provider: provider.name.clone(),
            model: provider.models.get(hop.model)?.name.clone(),
        })
    }

    /// The hop of these names.
    pub(in super::super) fn hop(&self, policy: &Policy) -> Option<Hop> {
        let providers = &policy.providers;
        let provider = providers.iter().position(|p| p.name == self.provider)?;
        let models = &providers.get(provider)?.models;
        Some(Hop {
            provider,
            model: models.iter().position(|m| m.name == self.model)?,
        })
    }
}

/// What the gateway role hands to each attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The client's path: it tells the client's dialect.
    pub path: String,
    /// The client's authority, for providers that have none of their own.
    pub authority: String,
    /// The policy's model entry.
    pub model: String,
    /// The model that the client named.
    pub asked: String,
    /// Whether the client wants a stream.
    pub stream: bool,
    /// Whether a provider that wants to be asked for a stream's usage is to be asked: the client didn't.
    #[serde(default = "cautious")]
    pub asks_usage: bool,
    /// The client's headers that belong to its protocol (`anthropic-beta`, say): for providers that speak it too.
    pub headers: Vec<(String, String)>,
    /// The candidates, best first.
    pub places: Vec<Place>,
    /// How many attempts the router makes at most.
    pub attempts: u32,
    /// The first candidate's leave of its breaker.
    pub pass: String,
    /// Prompt tokens as estimated.
    pub prompt: u64,
    /// Milliseconds that the router gives each attempt; 0 for no bound.
    pub patience_ms: u64,
    /// One of these characters an answer that is a stream must begin with, to be valid by the rule that applies: only where
    /// the rule sends an answer that isn't to the next candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<String>,
    /// The first place is a drill's: but for a good answer the request goes to the next, which was well.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub drills: bool,
}

/// An order that doesn't say so has every body looked at.
fn cautious() -> bool {
    true
}

/// The first candidate's leave of its breaker, of an order that no attempt took up.
pub(in super::super) fn order_pass(property: &dyn Fn(&[&str]) -> Option<Vec<u8>>) -> Option<Pass> {
    let order = property(&["filter_state", &format!("wasm.{ORDER}")])?;
    Pass::unpack(&Order::of(&order)?.pass)
}

impl Order {
    pub(in super::super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(in super::super) fn of(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn endpoint(&self) -> Option<Endpoint> {
        Endpoint::of(b"POST", self.path.as_bytes())
    }

    /// The place that an attempt is at: by its provider, which the host tells, and if that stands here several times by
    /// the attempt's number.
    pub(super) fn place(&self, provider: &str, number: u32) -> Option<&Place> {
        let nth = usize::try_from(number.saturating_sub(1)).ok()?;
        let expected = self.places.get(nth).filter(|place| place.provider == provider);
        expected.or_else(|| self.places.iter().find(|place| place.provider == provider))
    }

    /// Whether the same provider is asked again, because there is no other.
    pub(super) fn repeats(&self) -> bool {
        self.places.len() == 1
    }
}

/// What an attempt hands back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Where it went.
    #[serde(flatten)]
    pub place: Place,
    /// What was answered; none when nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it was given up; none when its answer is the client's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gave_up: Option<GaveUp>,
    /// The leave of its breaker, if that wasn't told yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass: Option<String>,
    /// When it began, on the process's monotonic clock.
    pub sent: u64,
    /// Milliseconds until it was given up or its answer began.
    pub ms: u64,
    /// Milliseconds that the provider asked to stay away for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// Prompt tokens that it is thought to have cost, if it was given up.
    #[serde(default)]
    pub prompt: u64,
    /// States that its breaker took. The host counts an upstream filter's metrics under its cluster's name (tried on Envoy
    /// 1.37), so that the gateway role counts for both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turned: Vec<String>,
    /// What of the request its protocol has no place for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
}

impl Tried {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(in super::super) fn of(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}
