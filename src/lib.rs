//! Spillway: a WebAssembly filter that makes depending on LLM providers safe.
//!
//! ```text
//!             the life of an exchange (exchange/)
//! headers     name the caller                                     → 401
//! body        read the dialect, estimate                          → 400 413 415
//!             candidates: dialect, context, breaker (route/)      → 503
//!             set tokens aside with every limit (ledger/)         → 429
//! status      tell the breaker; choose the reader
//! answer      usage, first token; validate (body/)                → 502
//! end         settle, also when somebody hung up; one record, the metrics (report/)
//! ```
//!
//! Arrows between modules point one way: `shell` → `exchange` → everything else → `policy`, `store` and `time`. The core is
//! plain Rust, tested natively; only `shell` names proxy_wasm, and exists for wasm alone.

#![deny(unsafe_code)]

pub mod body;
pub mod breaker;
pub mod date;
pub mod dialect;
pub mod exchange;
pub mod failover;
pub mod guard;
pub mod headers;
pub mod headroom;
pub mod json;
pub mod layout;
pub mod ledger;
pub mod moderation;
pub mod policy;
pub mod report;
pub mod route;
pub mod rule;
#[cfg(target_arch = "wasm32")]
mod shell;
pub mod store;
pub mod time;
#[cfg(test)]
#[path = "../tests/timed/mod.rs"]
pub mod timed;
pub mod tokens;
pub mod translate;
