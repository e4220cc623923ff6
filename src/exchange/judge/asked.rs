//! What a request asked of its answer, remembered until the answer is here.

/// What a request asked of its answer.
#[derive(Debug)]
pub(in crate::exchange) struct Asked {
    /// The validation of the policy that applies.
    pub(in crate::exchange) rule: usize,
}

impl Asked {
    /// Bytes kept.
    pub(in crate::exchange) fn size(&self) -> usize {
        0
    }
}
