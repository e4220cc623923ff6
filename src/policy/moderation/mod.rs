//! Verdicts from outside, and human review: the validated types.

mod read;

use core::time::Duration;

use crate::moderation::Side;

use super::types::{Credential, Mode};
use super::when::When;

pub(super) use read::{Around, Causes, moderations, review, sees_all};

/// A service that is asked about texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Moderation {
    /// Its name in refusals, metrics and records; unique in the policy.
    pub name: String,
    /// Which exchanges it is for.
    pub when: When,
    /// Whose texts it is asked about; never empty.
    pub on: Vec<Side>,
    /// Where it is asked.
    pub to: Target,
    /// What it is asked.
    pub ask: Ask,
    /// How long a verdict may take.
    pub timeout: Duration,
    /// More text than this, in bytes, isn't sent: there is no verdict then.
    pub bound: usize,
    /// What becomes of what is flagged.
    pub on_flagged: OnFlagged,
    /// What becomes of what has no verdict.
    pub on_failure: OnFailure,
    /// Whether it binds.
    pub mode: Mode,
}

impl Moderation {
    /// Whether an exchange waits for its verdict. Where it doesn't bind, or only people are told, nobody waits.
    #[must_use]
    pub fn holds(&self, policy: Mode) -> bool {
        let binds = policy == Mode::Enforce && self.mode == Mode::Enforce;
        binds && matches!(self.on_flagged, OnFlagged::Block | OnFlagged::Annotate)
    }
}

/// Where a question, or a post, goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The host's cluster.
    pub cluster: String,
    /// `:authority`.
    pub authority: String,
    /// `:path`.
    pub path: String,
    /// The credential to present, if any.
    pub credential: Option<Credential>,
    /// It is a provider's cluster, which has its own section.
    pub of_provider: bool,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// OpenAI's `/v1/moderations`.
    Moderation {
        /// The model that judges.
        model: String,
        /// What counts; when empty, what the service itself flags.
        categories: Vec<Category>,
    },
    /// A second model, by `/v1/chat/completions`.
    Model {
        /// The model that judges.
        model: String,
        /// The policy that the text must keep to, in words.
        question: String,
    },
    /// `{"text", "side"}` to any service.
    Http {
        /// JSON pointer to the boolean that says so.
        flagged: String,
        /// JSON pointer to what it names as the reason.
        category: Option<String>,
    },
}

/// A category of `/v1/moderations` that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Category {
    /// The service's name of it.
    pub name: String,
    /// From this score on, 0–1; the service's own flag when none.
    pub threshold: Option<f64>,
}

/// What becomes of a text that is flagged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFlagged {
    /// 400 for a request, 502 for an answer, an error event at the end of a stream.
    #[default]
    Block,
    /// A header and the record say so.
    Annotate,
    /// It is posted to `review`; nobody waits for the verdict.
    Review,
}

/// What becomes of a text that nobody could judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// It passes.
    Allow,
    /// 503 for a request, 502 for an answer.
    Block,
}

/// Exchanges that people are to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Review {
    /// Where they are posted.
    pub to: Target,
    /// Which.
    pub when: Vec<ReviewWhen>,
    /// Of every million exchanges so many, where [`ReviewWhen::Sampled`] is among them.
    pub share: u32,
    /// Texts go along; else facts only.
    pub samples: bool,
    /// How long a post may take.
    pub timeout: Duration,
    /// Whether anything is posted.
    pub mode: Mode,
}

/// Why people are to look at an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewWhen {
    /// A moderation flagged it.
    Flagged,
    /// A guard found something in it.
    Guard,
    /// Its answer broke its schema or rules.
    Invalid,
    /// By lot.
    Sampled,
}

impl ReviewWhen {
    /// The word for it in policies and posts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flagged => "flagged",
            Self::Guard => "guard",
            Self::Invalid => "invalid",
            Self::Sampled => "sampled",
        }
    }
}
