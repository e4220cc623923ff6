//! Schemas that answers must match, compiled once at load.

use core::fmt;

/// A compiled JSON Schema.
#[derive(Debug)]
pub struct Schema {}

/// Why a schema doesn't compile.
#[derive(Debug)]
pub struct SchemaError(String);

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Schema {
    /// The schema, compiled.
    ///
    /// # Errors
    /// When it isn't one.
    pub fn compile(schema: &serde_json::Value) -> Result<Self, SchemaError> {
        match schema.is_object() || schema.is_boolean() {
            true => Ok(Self {}),
            false => Err(SchemaError("isn't a schema".to_owned())),
        }
    }
}
