//! What a model is told of its answer when it is asked again.

use super::position::Position;

/// Who is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::exchange) enum Again {
    /// The provider that answered, which is told what was wrong.
    Same,
    /// The next candidate.
    Next,
}

/// What is wrong with an answer, and where its ladder goes on when the next one is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::exchange) struct Complaint {
    /// For the model: what was expected, by path and keyword; a few hundred bytes, no content.
    pub(in crate::exchange) text: String,
    /// What the model said, for the turn before the complaint; empty when it said nothing that can be repeated to it.
    /// Never for a log, a metric or a record.
    pub(in crate::exchange) said: String,
    /// How far the ladder is climbed once somebody was asked; to be given to the next answer's verdict.
    pub(in crate::exchange) position: Position,
}
