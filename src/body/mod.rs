//! What passes through: event streams, the verdicts on answers, and their repair.

pub mod cache;
mod effort;
mod glance;
pub mod grounding;
mod pattern;
pub mod repair;
pub mod schema;
pub mod sse;
mod survey;
pub mod verdict;
