//! What passes through: event streams and the verdicts on answers.

mod effort;
mod pattern;
pub mod schema;
pub mod sse;
mod survey;
pub mod verdict;
