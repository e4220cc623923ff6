//! What stands in the schema engine's place in the lean module: no schema compiles, so there is never one to ask.
//!
//! The policy's reader refuses whatever would need one, so nobody gets here. The invariant: the same names as
//! `spillway_validator`, as far as they are used.

use serde_json::Value;

/// A compiled schema, of which there is none.
#[derive(Debug)]
pub(super) enum Validator {}

impl Validator {
    pub(super) fn compile(_: &Value) -> Result<Self, Fault> {
        Err(Fault {
            place: String::new(),
            kind: FaultKind::Other,
            message: "this module has no schema engine".to_owned(),
        })
    }

    pub(super) fn accepts(&self, _: &Value) -> bool {
        match *self {}
    }

    pub(super) fn failures(&self, _: &Value, _: usize) -> Vec<Failure> {
        match *self {}
    }
}

pub(super) fn is_known_draft(_: &str) -> bool {
    false
}

/// Why a schema doesn't compile.
pub(super) struct Fault {
    pub(super) place: String,
    pub(super) kind: FaultKind,
    pub(super) message: String,
}

/// Sorts of faults; here there is one.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "the engine's sorts, which are matched on")]
pub(super) enum FaultKind {
    Pattern,
    Reference,
    Choice,
    Other,
}

/// One place at which a value fails.
pub(super) struct Failure {
    pub(super) pointer: String,
    pub(super) keyword: String,
    pub(super) missing: Option<String>,
}
