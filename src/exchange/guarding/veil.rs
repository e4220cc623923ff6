//! Texts for somebody else than the provider and the client: a moderation, a reviewer.

use serde_json::Value;

use crate::guard::{Plan, Watch};
use crate::policy::Policy;

use super::of_model;

/// A text without what the guards that concern the exchange keep from anybody, on whichever side.
pub(in super::super) fn veiled(policy: &Policy, (matching, model): (&[usize], &str), text: String) -> String {
    let Some(plan) = Plan::masking(of_model(policy, matching, model), policy.mode) else {
        return text;
    };
    let quoted = Value::from(text.as_str()).to_string();
    let raw = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    let Some(masked) = Watch::default().mask(&plan, raw.as_bytes()) else {
        return text;
    };
    // What can't be read any more is shown to nobody.
    serde_json::from_slice(&[b"\"", masked.as_slice(), b"\""].concat()).unwrap_or_default()
}
