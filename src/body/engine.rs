//! The schema engine, in one place that the lean module can put another in ([`super::engine`] is `no_engine.rs` there).

pub(super) use spillway_validator::{Failure, Fault, FaultKind, Validator, is_known_draft};
