//! A proxy for tests: it hosts proxy-wasm modules (ABI 0.2.1) on wasmtime and keeps state as Envoy does.
//!
//! It is not a list of expected calls. A test builds a [`Proxy`], sends requests through its workers, scripts what the
//! upstreams answer, moves the clock, and then looks at what the client and the upstreams saw.
//!
//! ```text
//! Proxy ── Worker (one VM each) ── Exchange (one request and its answer)
//!   └── shared by all workers: the store with its CAS, metrics, clock, logs, faults on demand
//! ```
//!
//! Where the rules come from: Envoy's wasm extension and proxy-wasm-cpp-host, as read in their sources and as tried on
//! Envoy 1.36 to 1.40. Where versions differ, this host is the strict one: what fails somewhere fails here.
//!
//! Its one invariant: nothing happens by itself. Time, ticks, answers and faults come from the test, so every run is the
//! same, on one thread or on many.

// The whole crate is test code: a script that makes no sense should stop the test where it stands.
#![allow(clippy::expect_used, clippy::panic)]

mod abi;
mod callout;
mod clock;
mod code;
mod exchange;
mod faults;
mod flow;
mod headers;
mod message;
mod metrics;
mod properties;
mod proxy;
mod shared;
mod store;
mod stream;
mod vm;
mod worker;

pub use abi::Status;
pub use callout::{Callout, CalloutAnswer};
pub use clock::Clock;
pub use code::{Import, imports};
pub use exchange::{Exchange, Outcome};
pub use headers::Headers;
pub use message::{Answer, End, Request, Upstream, UpstreamRequest, UpstreamResponse};
pub use proxy::{Builder, Proxy, StartError};
pub use shared::LogLine;
pub use store::{Races, SharedData};
pub use vm::Callback;
pub use worker::Worker;
