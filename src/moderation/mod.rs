//! Eyes from outside: what is asked of a moderation service or of a second model, and what its answer says.
//!
//! Pure: texts in, the body of a question out; an answer's bytes in, a [`Verdict`] or a [`Failure`] out. The invariant: what
//! isn't plainly a verdict is a failure, never a pass, and nothing of an answer is repeated but bounded, plain categories.

mod question;
mod texts;
mod verdict;

pub use crate::policy::Side;
pub use question::question;
pub use texts::{Unseen, prompt};
pub use verdict::{Verdict, verdict};

/// Why there is no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The host wouldn't make the call: no such cluster, or nobody healthy in it.
    Unsent,
    /// No answer in time.
    Timeout,
    /// The connection broke.
    Reset,
    /// Another status than 2xx.
    Status,
    /// The answer isn't a verdict.
    Garbage,
    /// More text than is sent.
    TooLong,
    /// The text can't be read: encoded, no JSON, tokens as numbers, several answers interleaved.
    Unread,
    /// The client, or the host, ended the exchange first.
    Abandoned,
    /// Too many questions wait already.
    Dropped,
}

impl Failure {
    /// The word for it in metrics and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Status => "status",
            Self::Garbage => "garbage",
            Self::TooLong => "too_long",
            Self::Unread => "unread",
            Self::Abandoned => "abandoned",
            Self::Dropped => "dropped",
        }
    }
}
