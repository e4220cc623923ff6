//! What an answer fails, in words for those who are told.

use crate::body::verdict::Violation;
use crate::policy::Policy;
use crate::report::metric::Checked;

use super::rule::Rule;

/// A verdict with what it objects to.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) verdict: Checked,
    pub(super) violations: Vec<Violation>,
}

impl Finding {
    pub(super) fn plain(verdict: Checked) -> Self {
        Self {
            verdict,
            violations: Vec::new(),
        }
    }

    /// Whether the answer must not be trusted.
    pub(super) fn is_bad(&self) -> bool {
        matches!(self.verdict, Checked::Invalid | Checked::NotJson | Checked::Empty)
    }

    /// What is wrong: paths and keywords, never content.
    pub(super) fn faults(&self) -> String {
        match self.verdict {
            Checked::NotJson => "it isn't JSON".to_owned(),
            Checked::Empty => "it is empty".to_owned(),
            _ => self
                .violations
                .iter()
                .map(describe)
                .collect::<Vec<_>>()
                .join(", "),
        }
    }

    /// What the client is told.
    pub(super) fn message(&self, policy: &Policy, rule: Rule) -> String {
        let name = policy.validate.get(rule.at).map_or("", |r| r.name.as_str());
        format!("the model's answer breaks schema {name:?}: {}", self.faults())
    }

    /// What the model is told.
    pub(super) fn complaint(&self) -> String {
        format!(
            "Your last answer can't be used: {}. Answer again, with the corrected answer alone.",
            self.faults()
        )
    }
}

fn describe(violation: &Violation) -> String {
    let path = if violation.path.is_empty() {
        "(root)"
    } else {
        &violation.path
    };
    format!("{path} ({})", violation.keyword)
}
