//! What answers must be, and what must not leave.

use std::sync::Arc;

use crate::body::grounding::Claims;
use crate::body::schema::Schema;
use crate::guard::{Kind, Own};
use crate::policy::ladder::Ladder;
use crate::policy::when::When;
use crate::rule::{Clamp, Condition};

use super::Mode;

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
