//! The clients of the bench: `bench-load PORT CONNECTIONS REQUESTS REQUEST_FILE [SEED]`.
//!
//! Sends the file, a whole HTTP/1.1 request, REQUESTS times over CONNECTIONS connections kept alive, each waiting for its
//! answer. With a SEED the first run of sixteen `X` in the file is another random number in hex each time, the same ones
//! for the same seed: callers nobody has seen. Prints one line of JSON: requests, errors (an answer that isn't 200, or a
//! connection lost), how many of those were 429, seconds, and the answers' times in microseconds. The first error goes to
//! stderr.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use std::{env, fs, thread};

use bench_load::{body, head};

/// What a random number takes the place of.
const STRANGER: &[u8; 16] = b"XXXXXXXXXXXXXXXX";

struct Load {
    port: u16,
    request: Vec<u8>,
    /// Where the stranger's number stands, and what the numbers come from.
    strangers: Option<(usize, u64)>,
    left: AtomicUsize,
    errors: AtomicUsize,
    refused: AtomicUsize,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [port, connections, requests, file, seed @ ..] = arguments.as_slice() else {
        return Err(io::Error::other(
            "usage: bench-load PORT CONNECTIONS REQUESTS REQUEST_FILE [SEED]",
        ));
    };
    let request = fs::read(file)?;
    let load = Arc::new(Load {
        port: port.parse().map_err(io::Error::other)?,
        strangers: strangers(&request, seed.first())?,
        request,
        refused: AtomicUsize::new(0),
        left: AtomicUsize::new(requests.parse().map_err(io::Error::other)?),
        errors: AtomicUsize::new(0),
    });
    let connections: usize = connections.parse().map_err(io::Error::other)?;
    let began = Instant::now();
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            let load = Arc::clone(&load);
            thread::spawn(move || client(&load))
        })
        .collect();
    let mut times: Vec<u128> = clients
        .into_iter()
        .flat_map(|client| client.join().unwrap_or_default())
        .collect();
    let seconds = began.elapsed().as_secs_f64();
    times.sort_unstable();
    report(&times, &load, seconds);
    Ok(())
}

fn strangers(request: &[u8], seed: Option<&String>) -> io::Result<Option<(usize, u64)>> {
    let Some(seed) = seed else { return Ok(None) };
    let at = request
        .windows(STRANGER.len())
        .position(|bytes| bytes == STRANGER);
    let at = at.ok_or_else(|| io::Error::other("a seed, but no sixteen X in the request"))?;
    Ok(Some((at, seed.parse().map_err(io::Error::other)?)))
}

fn report(times: &[u128], load: &Load, seconds: f64) {
    let (errors, refused) = (
        load.errors.load(Ordering::Relaxed),
        load.refused.load(Ordering::Relaxed),
    );
    let at = |percent: usize| {
        times
            .get(times.len().saturating_mul(percent) / 100)
            .copied()
            .unwrap_or(0)
    };
    println!(
        r#"{{"requests": {}, "errors": {errors}, "refused": {refused}, "seconds": {seconds:.6}, "p50_us": {}, "p99_us": {}}}"#,
        times.len(),
        at(50),
        at(99)
    );
}

/// The times of all answers that one connection got.
fn client(load: &Load) -> Vec<u128> {
    let mut times = Vec::new();
    if let Err(error) = exchanges(load, &mut times) {
        fail(load, &error.to_string());
    }
    times
}

fn exchanges(load: &Load, times: &mut Vec<u128>) -> io::Result<()> {
    let stream = TcpStream::connect(("127.0.0.1", load.port))?;
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    let (mut bytes, mut line, mut request) = (Vec::new(), String::new(), load.request.clone());
    let one_less = |left: usize| left.checked_sub(1);
    while let Ok(left) = load
        .left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
    {
        introduce(load, &mut request, left);
        let began = Instant::now();
        writer.write_all(&request)?;
        let head = head(&mut reader, &mut line)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        body(&mut reader, head.length, &mut bytes, &mut line)?;
        times.push(began.elapsed().as_micros());
        if head.first.starts_with("HTTP/1.1 429") {
            load.refused.fetch_add(1, Ordering::Relaxed);
        }
        if !head.first.starts_with("HTTP/1.1 200") {
            fail(
                load,
                &format!("{}{}", head.first, String::from_utf8_lossy(&bytes)),
            );
        }
    }
    Ok(())
}

/// Writes the number of the stranger whose turn it is into the request.
fn introduce(load: &Load, request: &mut [u8], turn: usize) {
    let Some((at, seed)) = load.strangers else { return };
    let number = format!("{:016x}", random(seed, turn as u64));
    if let Some(place) = request.get_mut(at..at + STRANGER.len()) {
        place.copy_from_slice(number.as_bytes());
    }
}

/// The number of that turn (splitmix64).
fn random(seed: u64, turn: u64) -> u64 {
    let state = seed.wrapping_add(turn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn fail(load: &Load, what: &str) {
    if load.errors.fetch_add(1, Ordering::Relaxed) == 0 {
        eprintln!("{what}");
    }
}
