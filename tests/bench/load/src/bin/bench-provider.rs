//! A provider with bounded capacity: `bench-provider JSON_FILE SLOTS MILLIS QUEUE` prints its port and answers until it is
//! ended.
//!
//! SLOTS requests are worked on at a time, each for MILLIS give or take half; QUEUE more may wait; whoever comes then is
//! told 503 at once. So it does what an overloaded provider does: first it gets slow, then it refuses.

use std::io::{self, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use std::{env, fs, thread};

use bench_load::{body, head};

const OVERLOADED: &str =
    r#"{"error":{"message":"The server is overloaded.","type":"server_error","param":null,"code":null}}"#;

struct Provider {
    answer: Vec<u8>,
    overloaded: Vec<u8>,
    slots: usize,
    queue: usize,
    millis: u64,
    room: Mutex<Room>,
    left: Condvar,
}

#[derive(Default)]
struct Room {
    worked_on: usize,
    waiting: usize,
    arrived: u64,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, slots, millis, queue] = arguments.as_slice() else {
        return Err(io::Error::other(
            "usage: bench-provider JSON_FILE SLOTS MILLIS QUEUE",
        ));
    };
    let provider = Arc::new(Provider {
        answer: message("200 OK", &fs::read_to_string(file)?),
        overloaded: message("503 Service Unavailable", OVERLOADED),
        slots: slots.parse().map_err(io::Error::other)?,
        queue: queue.parse().map_err(io::Error::other)?,
        millis: millis.parse().map_err(io::Error::other)?,
        room: Mutex::default(),
        left: Condvar::new(),
    });
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    for stream in listener.incoming() {
        let (stream, provider) = (stream?, Arc::clone(&provider));
        thread::spawn(move || serve(stream, &provider));
    }
    Ok(())
}

fn message(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into()
}

fn serve(stream: TcpStream, provider: &Provider) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    let (mut bytes, mut line) = (Vec::new(), String::new());
    while let Some(head) = head(&mut reader, &mut line)? {
        body(&mut reader, head.length, &mut bytes, &mut line)?;
        let answer = if work(provider) {
            &provider.answer
        } else {
            &provider.overloaded
        };
        writer.write_all(answer)?;
    }
    Ok(())
}

/// Waits for a slot and takes as long as the work does; false when there is no room to wait.
fn work(provider: &Provider) -> bool {
    let Some(turn) = enter(provider) else { return false };
    // Half to one and a half times the mean, spread evenly.
    let share = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
    thread::sleep(Duration::from_micros(
        provider.millis * (500 + share * 1000 / 1024),
    ));
    if let Ok(mut room) = provider.room.lock() {
        room.worked_on = room.worked_on.saturating_sub(1);
    }
    provider.left.notify_one();
    true
}

fn enter(provider: &Provider) -> Option<u64> {
    let mut room = provider.room.lock().ok()?;
    if room.worked_on >= provider.slots {
        if room.waiting >= provider.queue {
            return None;
        }
        room.waiting += 1;
        while room.worked_on >= provider.slots {
            room = provider.left.wait(room).ok()?;
        }
        room.waiting -= 1;
    }
    room.worked_on += 1;
    room.arrived += 1;
    Some(room.arrived)
}
