//! Spillway: a WebAssembly filter that makes depending on LLM providers safe.

#![deny(unsafe_code)]

pub mod body;
pub mod breaker;
pub mod date;
pub mod dialect;
pub mod exchange;
pub mod headroom;
pub mod json;
pub mod ledger;
pub mod policy;
pub mod report;
pub mod route;
pub mod store;
pub mod time;
pub mod tokens;
