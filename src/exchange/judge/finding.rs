//! What an answer fails, in words for those who are told.
//!
//! Its invariant: words are paths, keywords, and names of the policy and of schemas; never content.

use crate::body::grounding::Grounded;
use crate::body::verdict::Violation;
use crate::policy::{Policy, Rule as Condition};
use crate::report::metric::Checked;

use super::rule::Rule;

/// Names of rules that are told.
const MOST_RULES: usize = 8;

/// A verdict with what it objects to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) verdict: Checked,
    pub(super) faults: Faults,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Faults {
    /// Nothing, or the verdict says it all.
    None,
    /// The schema isn't met.
    Schema(Vec<Violation>),
    /// Rules don't hold: each by its name and its expression.
    Rules(Vec<(String, String)>),
    /// Too little of it stands in the context.
    Grounding(Grounded),
}

impl Finding {
    pub(super) fn plain(verdict: Checked) -> Self {
        Self {
            verdict,
            faults: Faults::None,
        }
    }

    pub(super) fn violating(violations: Vec<Violation>) -> Self {
        Self {
            verdict: Checked::Invalid,
            faults: Faults::Schema(violations),
        }
    }

    pub(super) fn breaking<'r>(rules: impl Iterator<Item = &'r Condition>) -> Self {
        let told = |rule: &Condition| (rule.name.clone(), rule.condition.source().to_owned());
        Self {
            verdict: Checked::Invalid,
            faults: Faults::Rules(rules.take(MOST_RULES).map(told).collect()),
        }
    }

    pub(super) fn ungrounded(grounded: Grounded) -> Self {
        Self {
            verdict: Checked::Invalid,
            faults: Faults::Grounding(grounded),
        }
    }

    /// Whether the answer must not be trusted.
    pub(super) fn is_bad(&self) -> bool {
        matches!(self.verdict, Checked::Invalid | Checked::NotJson | Checked::Empty)
    }

    /// Whether mending its form may help.
    pub(super) fn is_of_form(&self) -> bool {
        match self.faults {
            Faults::None | Faults::Schema(_) => true,
            Faults::Rules(_) | Faults::Grounding(_) => false,
        }
    }

    /// What the client is told.
    pub(super) fn message(&self, policy: &Policy, rule: Rule) -> String {
        let name = policy.validate.get(rule.at).map_or("", |r| r.name.as_str());
        match &self.faults {
            Faults::None | Faults::Schema(_) => {
                format!("the model's answer breaks schema {name:?}: {}", self.form())
            }
            Faults::Rules(rules) => {
                let names: Vec<&str> = rules.iter().map(|(name, _)| name.as_str()).collect();
                format!(
                    "the model's answer breaks rules of {name:?}: {}",
                    names.join(", ")
                )
            }
            Faults::Grounding(found) => format!(
                "the model's answer isn't grounded in its request, as {name:?} asks: {}",
                share(*found)
            ),
        }
    }

    /// What the model is told.
    pub(super) fn complaint(&self) -> String {
        let wrong = match &self.faults {
            Faults::None | Faults::Schema(_) => self.form(),
            Faults::Rules(rules) => {
                let told: Vec<String> = rules
                    .iter()
                    .map(|(name, source)| format!("{name} ({source})"))
                    .collect();
                format!("these rules don't hold: {}", told.join(", "))
            }
            Faults::Grounding(found) => format!(
                "what it claims must stand in what you were given, word for word; {}",
                share(*found)
            ),
        };
        format!("Your last answer can't be used: {wrong}. Answer again, with the corrected answer alone.")
    }

    fn form(&self) -> String {
        match (self.verdict, &self.faults) {
            (Checked::NotJson, _) => "it isn't JSON".to_owned(),
            (Checked::Empty, _) => "it is empty".to_owned(),
            (_, Faults::Schema(found)) => found.iter().map(describe).collect::<Vec<_>>().join(", "),
            (_, Faults::None | Faults::Rules(_) | Faults::Grounding(_)) => String::new(),
        }
    }
}

fn share(found: Grounded) -> String {
    format!("{} of {} claims found there", found.found, found.claims)
}

fn describe(violation: &Violation) -> String {
    let path = if violation.path.is_empty() {
        "(root)"
    } else {
        &violation.path
    };
    format!("{path} ({})", violation.keyword)
}
