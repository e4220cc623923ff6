//! The validation that applies to an answer, as far as its passing depends on it.

use crate::policy::{self, Mode, Otherwise, Policy, Rung, Validation};

use super::asked::Asked;

/// Which validation of the policy applies, and whether it binds.
#[derive(Clone, Copy, Debug)]
pub(in crate::exchange) struct Rule {
    pub(in crate::exchange) at: usize,
    pub(in crate::exchange) mode: Mode,
}

impl Rule {
    /// The policy's validation, with the policy's own mode taken in.
    pub(in crate::exchange) fn of(policy: &Policy, at: usize) -> Option<Self> {
        let rule = policy.validate.get(at)?;
        let shadow = policy.mode == Mode::Shadow || rule.mode == Mode::Shadow;
        let mode = if shadow { Mode::Shadow } else { Mode::Enforce };
        Some(Self { at, mode })
    }

    /// Whether the answer must wait for the verdict: to be replaced, or to have a header set that has not gone yet.
    pub(in crate::exchange) fn holds(self, policy: &Policy) -> bool {
        self.mode == Mode::Enforce && (policy.host.body_pause || self.acts(policy))
    }

    /// Whether a stream is held whole until it is judged.
    pub(in crate::exchange) fn buffers(self, policy: &Policy) -> bool {
        let rule = policy.validate.get(self.at);
        self.holds(policy) && rule.is_some_and(|rule| rule.buffer)
    }

    /// Whether a passing stream's end waits for the verdict, since it may have to be an error.
    pub(in crate::exchange) fn holds_end(self, policy: &Policy) -> bool {
        let rule = policy.validate.get(self.at);
        let rejects = rule.is_some_and(|rule| !rule.on_invalid.passes_in_the_end());
        self.mode == Mode::Enforce && rejects
    }

    /// Whether somebody may be asked again for a better answer, so that the request is still needed.
    pub(in crate::exchange) fn asks(self, policy: &Policy) -> bool {
        let rule = policy.validate.get(self.at);
        self.mode == Mode::Enforce && rule.is_some_and(|rule| rule.on_invalid.asks())
    }

    /// What an answer that is a stream must begin with where one that doesn't goes to the next candidate: one of these
    /// characters. A fence may be mended.
    pub(in crate::exchange) fn opening(self, policy: &Policy, asked: &Asked) -> Option<String> {
        let rule = policy.validate.get(self.at)?;
        let rungs = rule.on_invalid.rungs();
        let falls_back = self.mode == Mode::Enforce && rungs.contains(&Rung::Fallback);
        let mends = rungs.first() == Some(&Rung::Repair);
        // Held to its end, whatever stands around an answer may be mended.
        let decides = falls_back && !(mends && rule.buffer);
        let opening = asked.opening(rule).filter(|_| decides)?.to_string();
        Some(if mends { opening + "`" } else { opening })
    }

    /// Whether the answer may become another one.
    pub(in crate::exchange) fn acts(self, policy: &Policy) -> bool {
        policy.validate.get(self.at).is_some_and(acts)
    }
}

fn acts(validation: &Validation) -> bool {
    let clamps = |rule: &policy::Rule| matches!(rule.otherwise, Otherwise::Clamp(_));
    !validation.on_invalid.only_annotates() || validation.rules.iter().any(clamps)
}
