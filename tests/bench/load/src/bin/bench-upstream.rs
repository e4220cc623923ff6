//! The provider of the bench: `bench-upstream JSON_FILE STREAM_FILE [STATUS]` prints its port and answers until it is ended,
//! with that status if one is given.
//!
//! A request with `x-bench-gap-us: N` gets the events of STREAM_FILE (parted by empty lines), one chunk each, N
//! microseconds apart, so that each reaches the proxy by itself. So does one whose body asks for a stream, since not every
//! proxy hands headers on. Any other gets JSON_FILE.

use std::io::{self, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, thread};

use bench_load::{body, head};

/// Between two events, where the request doesn't say.
const GAP_US: u64 = 2000;

struct Answers {
    json: Vec<u8>,
    head: Vec<u8>,
    events: Vec<Vec<u8>>,
}

fn main() -> io::Result<()> {
    let mut files = env::args().skip(1);
    let mut text = || fs::read_to_string(files.next().unwrap_or_default());
    let (json, stream) = (text()?, text()?);
    let status = files.next().unwrap_or_else(|| "200 OK".to_owned());
    let answers = Arc::new(answers(&json, &stream, &status));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    for stream in listener.incoming() {
        let (stream, answers) = (stream?, Arc::clone(&answers));
        thread::spawn(move || serve(stream, &answers));
    }
    Ok(())
}

fn answers(json: &str, stream: &str, status: &str) -> Answers {
    let head = format!(
        "HTTP/1.1 {status}\r\nx-ratelimit-remaining-requests: 9999\r\nx-ratelimit-remaining-tokens: 1999999\r\n"
    );
    let length = json.len();
    Answers {
        json: format!("{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{json}")
            .into(),
        head: format!("{head}content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").into(),
        events: stream.split_inclusive("\n\n").map(chunk).collect(),
    }
}

fn chunk(event: &str) -> Vec<u8> {
    format!("{:x}\r\n{event}\r\n", event.len()).into()
}

fn serve(stream: TcpStream, answers: &Answers) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    let (mut bytes, mut line) = (Vec::new(), String::new());
    while let Some(head) = head(&mut reader, &mut line)? {
        body(&mut reader, head.length, &mut bytes, &mut line)?;
        match head.gap_us.or_else(|| asks_for_stream(&bytes).then_some(GAP_US)) {
            None => writer.write_all(&answers.json)?,
            Some(gap) => send_events(&mut writer, answers, Duration::from_micros(gap))?,
        }
    }
    Ok(())
}

/// Only small requests of the bench do, so that large ones aren't searched.
fn asks_for_stream(body: &[u8]) -> bool {
    let asking: [&[u8]; 2] = [br#""stream": true"#, br#""stream":true"#];
    body.len() < 4096
        && asking
            .iter()
            .any(|text| body.windows(text.len()).any(|part| part == *text))
}

fn send_events(writer: &mut TcpStream, answers: &Answers, gap: Duration) -> io::Result<()> {
    writer.write_all(&answers.head)?;
    for event in &answers.events {
        thread::sleep(gap);
        writer.write_all(event)?;
    }
    writer.write_all(b"0\r\n\r\n")
}
