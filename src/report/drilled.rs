//! What becomes of drills, by the words of metrics.

/// What became of a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drilled {
    /// The request went to another candidate.
    Moved,
    /// Nobody else could take it: it went as ever.
    Stayed,
    /// It would have been, and the policy only watches.
    Shadow,
}

impl Drilled {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::Stayed => "stayed",
            Self::Shadow => "shadow",
        }
    }
}
