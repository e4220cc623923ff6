//! What all suites share: where the module is, and a policy to run it with.
//!
//! The suites run the module as it is released, in the test host, and look only at what clients and upstreams see.

// Test code: what can't be set up should stop the test where it stands.
#![allow(clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use spillway_test_host::{Builder, Proxy};

/// The module under test: `SPILLWAY_WASM`, or `dist/spillway.wasm`.
///
/// # Panics
/// When there is none, with the command that makes one.
#[must_use]
pub fn module() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/spillway.wasm");
    let path = std::env::var_os("SPILLWAY_WASM")
        .filter(|path| !path.is_empty())
        .map_or_else(built, PathBuf::from);
    assert!(
        path.exists(),
        "no module at {}: run `./build.sh build` first, or set SPILLWAY_WASM",
        path.display()
    );
    path
}

/// A proxy as `envoy/standalone.yaml` makes one, with both providers' keys in its environment.
#[must_use]
pub fn full(policy: &str) -> Builder {
    headers_first(policy).body_pause(true)
}

/// A proxy as a plain WasmPlugin amounts to: no pausing at headers while the body comes.
#[must_use]
pub fn headers_first(policy: &str) -> Builder {
    let builder = Proxy::builder().module(module()).configuration(policy);
    builder
        .env("OPENAI_API_KEY", OPENAI_KEY)
        .env("ANTHROPIC_API_KEY", ANTHROPIC_KEY)
}

/// The provider keys of all suites: nothing may ever say them but the headers towards their own provider.
pub const OPENAI_KEY: &str = "sk-suite-openai-0123456789";
/// See [`OPENAI_KEY`].
pub const ANTHROPIC_KEY: &str = "sk-ant-suite-0123456789";
