//! The policy document, and the validated types that it becomes.

pub mod types;

pub use types::*;
