//! Applications that keep asking: `bench-clients PORT CLIENTS SECONDS REQUEST_FILE`.
//!
//! Each of CLIENTS, which come one after the other in the first second, sends the file, a whole HTTP/1.1 request, waits for
//! its answer and sends it again, for SECONDS. After an answer that isn't 200, or a connection that was lost, it waits half a
//! second first, as the SDKs do. Prints one line of JSON: requests, how many were answered with 200, how many with 429,
//! seconds, and the good answers' times in microseconds.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use bench_load::{body, head};

/// What the OpenAI SDK waits before it tries again for the first time.
const BACK_OFF: Duration = Duration::from_millis(500);

/// In which all clients come.
const COMING: Duration = Duration::from_secs(1);

struct Work {
    port: u16,
    request: Vec<u8>,
    until: Instant,
}

/// What one client saw.
#[derive(Default)]
struct Seen {
    times: Vec<u128>,
    refused: usize,
    failed: usize,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [port, clients, seconds, file] = arguments.as_slice() else {
        return Err(io::Error::other(
            "usage: bench-clients PORT CLIENTS SECONDS REQUEST_FILE",
        ));
    };
    let clients: usize = clients.parse().map_err(io::Error::other)?;
    let seconds: f64 = seconds.parse().map_err(io::Error::other)?;
    let began = Instant::now();
    let work = Arc::new(Work {
        port: port.parse().map_err(io::Error::other)?,
        request: fs::read(file)?,
        until: began + Duration::from_secs_f64(seconds),
    });
    let running: Vec<_> = (0..clients)
        .map(|number| {
            let work = Arc::clone(&work);
            let after = COMING.mul_f64(number as f64 / clients as f64);
            thread::spawn(move || {
                thread::sleep(after);
                client(&work)
            })
        })
        .collect();
    let seen: Vec<Seen> = running
        .into_iter()
        .filter_map(|client| client.join().ok())
        .collect();
    report(&seen, began.elapsed().as_secs_f64());
    Ok(())
}

fn report(seen: &[Seen], seconds: f64) {
    let mut times: Vec<u128> = seen.iter().flat_map(|one| one.times.iter().copied()).collect();
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or(0);
    let refused: usize = seen.iter().map(|one| one.refused).sum();
    let failed: usize = seen.iter().map(|one| one.failed).sum();
    println!(
        r#"{{"requests": {}, "ok": {}, "refused": {refused}, "seconds": {seconds:.6}, "p50_us": {}, "p99_us": {}}}"#,
        times.len() + refused + failed,
        times.len(),
        at(50),
        at(99)
    );
}

fn client(work: &Work) -> Seen {
    let mut seen = Seen::default();
    while Instant::now() < work.until {
        // A connection that was lost is one failed request; the next one has a new connection.
        if exchanges(work, &mut seen).is_err() {
            seen.failed += 1;
            thread::sleep(BACK_OFF);
        }
    }
    seen
}

fn exchanges(work: &Work, seen: &mut Seen) -> io::Result<()> {
    let stream = TcpStream::connect(("127.0.0.1", work.port))?;
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    let (mut bytes, mut line) = (Vec::new(), String::new());
    while Instant::now() < work.until {
        let began = Instant::now();
        writer.write_all(&work.request)?;
        let head = head(&mut reader, &mut line)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        body(&mut reader, head.length, &mut bytes, &mut line)?;
        match head.first.split(' ').nth(1) {
            Some("200") => {
                seen.times.push(began.elapsed().as_micros());
                continue;
            }
            Some("429") => seen.refused += 1,
            _ => seen.failed += 1,
        }
        thread::sleep(BACK_OFF);
    }
    Ok(())
}
