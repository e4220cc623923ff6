//! Builds the probe module once per test binary, and starts proxies on it.

#![allow(
    dead_code,
    clippy::expect_used,
    reason = "each test file uses a part; a probe that fails should stop it"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use spillway_test_host::{Builder, Exchange, Proxy, Request, UpstreamRequest, UpstreamResponse};

/// The probe, compiled by the same toolchain as the tests.
pub(crate) fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("probe/probe.rs");
        let wasm = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("probe-{}.wasm", std::process::id()));
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        let mut command = Command::new(rustc);
        command.args([
            "--edition",
            "2024",
            "--target",
            "wasm32-wasip1",
            "--crate-type",
            "cdylib",
        ]);
        command.args([
            "-C",
            "opt-level=1",
            "-C",
            "panic=abort",
            "-C",
            "strip=symbols",
            "-o",
        ]);
        let built = command.arg(&wasm).arg(&source).status().expect("rustc runs");
        assert!(built.success(), "the probe doesn't build");
        wasm
    })
}

/// Settings of a proxy that runs the probe.
pub(crate) fn builder() -> Builder {
    Proxy::builder().module(probe()).configuration("{}")
}

/// A proxy whose headers can be held while the body comes.
pub(crate) fn with_flag() -> Proxy {
    builder().body_pause(true).start().expect("the probe starts")
}

/// A proxy as a plain WasmPlugin gets it.
pub(crate) fn without_flag() -> Proxy {
    builder().start().expect("the probe starts")
}

/// A POST of `hello world` in three pieces that makes the probe do `steps`.
pub(crate) fn request(steps: &str) -> Request {
    Request::post("/v1", "hello world")
        .cut_at(&[5, 6])
        .header("x-do", steps)
}

/// An upstream that answers what it got.
pub(crate) fn echo(seen: &UpstreamRequest) -> UpstreamResponse {
    UpstreamResponse::json(200, seen.body.clone())
}

/// An upstream that streams three events.
pub(crate) fn events(_: &UpstreamRequest) -> UpstreamResponse {
    UpstreamResponse::stream(["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"])
}

/// Sends it through the first worker to an upstream that echoes.
pub(crate) fn run(proxy: &Proxy, steps: &str) -> Exchange {
    proxy.worker(0).request(request(steps), echo)
}

/// The lines logged so far, in order.
pub(crate) fn said(proxy: &Proxy) -> Vec<String> {
    proxy.logs().into_iter().map(|line| line.message).collect()
}

/// Whether a line was logged.
pub(crate) fn has(proxy: &Proxy, line: &str) -> bool {
    said(proxy).iter().any(|said| said == line)
}

/// The lines about callbacks, such as `rb 5 false`.
pub(crate) fn callbacks(proxy: &Proxy, name: &str) -> Vec<String> {
    let of_end = |line: &String| line.ends_with(" true") || line.ends_with(" false");
    let of_name = |line: &String| of_end(line) && line.starts_with(&format!("{name} "));
    said(proxy).into_iter().filter(of_name).collect()
}
