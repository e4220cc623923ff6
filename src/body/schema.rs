//! Schemas that answers must match, compiled once at load.

/// A compiled JSON Schema.
#[derive(Debug)]
pub struct Schema {}
