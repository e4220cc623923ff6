//! Rules across the fields of an answer: expressions that must hold, and what becomes of an answer when one doesn't.
//!
//! The language is a part of CEL, the Common Expression Language: literals, fields, indices, `has()`, `size()`, `in`,
//! arithmetic, comparison, `&&`, `||`, `!`, `?:`, `startsWith`, `endsWith`, `contains`, and `all`, `exists` over lists. Its
//! numbers are of one kind. The invariant: an expression is known to be readable once it is made, and judging one ends
//! after a bounded number of steps, whatever the answer.

mod clamp;
mod error;
mod eval;
mod expr;
mod lexer;
mod parse;

use serde_json::Value;

pub use clamp::{Clamp, Pointer};
pub use error::RuleError;
pub use eval::Fault;
use expr::Expr;

/// The names that an expression may begin with.
pub const VARIABLES: [&str; 2] = ["answer", "request"];

/// What rules are judged over.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'f> {
    /// The parsed answer.
    pub answer: &'f Value,
    /// What is known of the request: an object.
    pub request: &'f Value,
}

/// An expression that should hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    expr: Expr,
    source: String,
}

impl Condition {
    /// Bytes of an expression.
    pub const MAX_SOURCE: usize = 4_096;

    /// Reads an expression.
    ///
    /// # Errors
    /// When it can't be read; the error says where, and what is allowed there.
    pub fn parse(source: &str) -> Result<Self, RuleError> {
        if source.len() > Self::MAX_SOURCE {
            return Err(RuleError::new(
                Self::MAX_SOURCE,
                "it goes on",
                "at most 4096 bytes",
            ));
        }
        Ok(Self {
            expr: parse::expression(source)?,
            source: source.to_owned(),
        })
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// When it can't be said: a field isn't there, a value is of another type, or there are too many steps. The fault
    /// names no content.
    pub fn holds(&self, facts: Facts<'_>) -> Result<bool, Fault> {
        eval::holds(&self.expr, facts)
    }

    /// As it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

#[cfg(test)]
mod tests;
