//! The policy document, and the validated types that it becomes.
//!
//! [`load`] reads the document by hand instead of by derived `serde`, because then every problem is told at once, each
//! with the path of its field and what is allowed there. Unknown fields, duplicate keys and wrong units are refused;
//! nothing after loading can be invalid.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! let error = spillway::policy::load(r#"{"version": 2}"#, &BTreeMap::new()).unwrap_err();
//! assert_eq!(error.to_string().lines().next(), Some("version: is 2 (allowed: 1)"));
//! ```

mod breaker;
mod callers;
mod chances;
mod document;
mod edition;
mod environment;
mod error;
mod failover;
mod field;
mod fleet;
mod guard;
mod ladder;
mod limit;
mod model;
pub mod moderation;
mod names;
mod provider;
mod quantity;
mod rule;
mod secret;
mod source;
mod validation;
mod when;
mod wire;

#[cfg(test)]
mod tests;

pub mod types;

use serde_json::Value;

pub use callers::{digest, known};
pub use edition::Edition;
pub use environment::{Environment, ProcessEnvironment};
pub use error::{PolicyError, Problem};
pub use ladder::{Ladder, Rung};
pub use types::*;
pub use when::When;

/// The policy of a JSON document; secrets come from `environment`.
///
/// # Errors
/// Everything that is wrong with the document, or with the variables that it names.
pub fn load(text: &str, environment: &impl Environment) -> Result<Policy, PolicyError> {
    load_for(Edition::THIS, text, environment)
}

/// As [`load`], as another edition of the module would.
///
/// # Errors
/// As [`load`].
pub fn load_for(edition: Edition, text: &str, environment: &impl Environment) -> Result<Policy, PolicyError> {
    load_value_for(edition, source::parse(text)?, environment)
}

/// As [`load`], of what a host hands to a plugin: JSON text, or the bytes of a `google.protobuf.Struct`.
///
/// # Errors
/// As [`load`].
pub fn load_bytes(bytes: &[u8], environment: &impl Environment) -> Result<Policy, PolicyError> {
    // A message begins with its first member's tag; as JSON that would be a line feed.
    let message = bytes
        .first()
        .filter(|first| **first == b'\n')
        .and_then(|_| wire::from_struct(bytes));
    match message {
        Some(document) => load_value(document, environment),
        None => load(&String::from_utf8_lossy(bytes), environment),
    }
}

/// As [`load`], of a tree that was read already (from YAML).
///
/// # Errors
/// As [`load`], but a tree can't tell that a key stood there twice.
pub fn load_value(document: Value, environment: &impl Environment) -> Result<Policy, PolicyError> {
    load_value_for(Edition::THIS, document, environment)
}

/// As [`load_value`], as another edition of the module would.
///
/// # Errors
/// As [`load_value`].
pub fn load_value_for(
    edition: Edition,
    document: Value,
    environment: &impl Environment,
) -> Result<Policy, PolicyError> {
    let document = source::whole_numbers(document);
    let mut reading = field::Reading::new(edition, environment);
    let policy = document::policy(&field::Field::root(&document), &mut reading);
    reading.finish(policy)
}
