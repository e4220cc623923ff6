//! Why an expression can't be read, in its author's words.

use core::fmt;

/// Why an expression can't be read, where, and what is allowed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Offset in bytes.
    pub at: usize,
    /// What is there.
    pub wrong: String,
    /// What may be there.
    pub allowed: String,
}

impl RuleError {
    pub(super) fn new(at: usize, wrong: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self {
            at,
            wrong: wrong.into(),
            allowed: allowed.into(),
        }
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.at.saturating_add(1);
        write!(
            f,
            "at column {column}: {} (allowed: {})",
            self.wrong, self.allowed
        )
    }
}

impl core::error::Error for RuleError {}
