//! Texts that leave again: for a moderation, for a reviewer, or back to the provider with what was wrong with them.

use serde_json::Value;

use crate::dialect::Said;
use crate::guard::{Plan, Watch, Written};
use crate::policy::Policy;

use super::{Watching, of_model};

/// A text without what the guards that concern the exchange keep from anybody, on whichever side.
pub(in super::super) fn veiled(
    policy: &Policy,
    (matching, model): (&[usize], &str),
    text: String,
) -> String {
    match Plan::masking(of_model(policy, matching, model), policy.mode) {
        Some(plan) => masked((&mut Watch::default(), &plan), text, Written::Plainly),
        None => text,
    }
}

impl Watching {
    /// An answer as its provider may have it back: what was put back in it for the client stands masked again.
    pub(in super::super) fn taken_back(&mut self, said: Said) -> Said {
        let Some(plan) = &self.veil else {
            return said;
        };
        self.watch.repeat(true);
        let mut said = said;
        said.text = masked((&mut self.watch, plan), said.text, Written::Plainly);
        for call in &mut said.calls {
            let arguments = core::mem::take(&mut call.arguments);
            call.arguments = masked((&mut self.watch, plan), arguments, Written::AsJson);
        }
        self.watch.repeat(false);
        said
    }
}

fn masked((watch, plan): (&mut Watch, &Plan), text: String, written: Written) -> String {
    let quoted = Value::from(text.as_str()).to_string();
    let raw = quoted
        .get(1..quoted.len().saturating_sub(1))
        .unwrap_or_default();
    let Some(masked) = watch.mask_written(plan, raw.as_bytes(), written) else {
        return text;
    };
    // What can't be read any more is shown to nobody.
    serde_json::from_slice(&[b"\"", masked.as_slice(), b"\""].concat()).unwrap_or_default()
}
