//! The clients of the bench: `bench-load PORT CONNECTIONS REQUESTS REQUEST_FILE`.
//!
//! Sends the file, a whole HTTP/1.1 request, REQUESTS times over CONNECTIONS connections kept alive, each waiting for its
//! answer. Prints one line of JSON: requests, errors (an answer that isn't 200, or a connection lost), seconds, and the
//! answers' times in microseconds. The first error goes to stderr.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use std::{env, fs, thread};

use bench_load::{body, head};

struct Load {
    port: u16,
    request: Vec<u8>,
    left: AtomicUsize,
    errors: AtomicUsize,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [port, connections, requests, file] = arguments.as_slice() else {
        return Err(io::Error::other(
            "usage: bench-load PORT CONNECTIONS REQUESTS REQUEST_FILE",
        ));
    };
    let load = Arc::new(Load {
        port: port.parse().map_err(io::Error::other)?,
        request: fs::read(file)?,
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
    report(&times, load.errors.load(Ordering::Relaxed), seconds);
    Ok(())
}

fn report(times: &[u128], errors: usize, seconds: f64) {
    let at = |percent: usize| {
        times
            .get(times.len().saturating_mul(percent) / 100)
            .copied()
            .unwrap_or(0)
    };
    println!(
        r#"{{"requests": {}, "errors": {errors}, "seconds": {seconds:.6}, "p50_us": {}, "p99_us": {}}}"#,
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
    let (mut bytes, mut line) = (Vec::new(), String::new());
    let one_less = |left: usize| left.checked_sub(1);
    while load
        .left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
        .is_ok()
    {
        let began = Instant::now();
        writer.write_all(&load.request)?;
        let head = head(&mut reader, &mut line)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        body(&mut reader, head.length, &mut bytes, &mut line)?;
        times.push(began.elapsed().as_micros());
        if !head.first.starts_with("HTTP/1.1 200") {
            fail(
                load,
                &format!("{}{}", head.first, String::from_utf8_lossy(&bytes)),
            );
        }
    }
    Ok(())
}

fn fail(load: &Load, what: &str) {
    if load.errors.fetch_add(1, Ordering::Relaxed) == 0 {
        eprintln!("{what}");
    }
}
