//! What passes through: event streams and the verdicts on answers.

pub mod schema;
pub mod sse;
