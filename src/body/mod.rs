//! What passes through: event streams, the verdicts on answers, and their repair.

pub mod cache;
mod effort;
#[cfg(not(feature = "schemas"))]
#[path = "no_engine.rs"]
mod engine;
#[cfg(feature = "schemas")]
mod engine;
mod glance;
pub mod grounding;
mod pattern;
pub mod repair;
pub mod schema;
pub mod sse;
mod survey;
pub mod verdict;
