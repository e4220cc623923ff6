//! A stand-in for OpenAI, Anthropic, Gemini and Azure OpenAI, on loopback: answers their APIs, streams too, and fails exactly
//! when told to.
//!
//! Faults come with a request (headers `x-mock-*`, see [`fault`]) or are set for the whole instance
//! (`POST /mock/faults`, see [`control`]). Its one invariant: the same requests in the same order get the same
//! answers; nothing here is random and no clock is in any answer.

mod answer;
mod anthropic;
mod azure;
mod control;
mod fault;
mod gemini;
mod http;
mod openai;
mod outside;
mod prompt;
mod serve;
mod wire;

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

const USAGE: &str =
    "usage: mock-provider [--port N]    N = 0 (default): any free port, printed on the first line";

/// Small stacks, because held answers keep hundreds of threads; serde_json stops at 128 levels.
const STACK: usize = 512 * 1024;

fn main() -> ExitCode {
    let Some(port) = port(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match listen(port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mock-provider: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The port asked for; none when the arguments aren't understood.
fn port(mut arguments: impl Iterator<Item = String>) -> Option<u16> {
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => Some(0),
        (Some("--port"), Some(number)) => number.parse().ok(),
        _ => None,
    }
}

/// Serves each connection on a thread of its own, for ever.
fn listen(port: u16) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!("listening on {}", listener.local_addr()?);
    let control = Arc::new(control::Control::default());
    for stream in listener.incoming() {
        let (stream, control) = (stream?, Arc::clone(&control));
        std::thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || serve::connection(stream, &control))?;
    }
    Ok(())
}
