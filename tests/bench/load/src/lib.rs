//! What both ends of the bench share: reading HTTP/1.1 messages off a kept-alive connection.
//!
//! Speaks only what Envoy and the two ends send each other: no trailers, no folding, names in any case.

use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpStream;

/// The parts of a message's head that the bench looks at.
#[derive(Debug, Default)]
pub struct Head {
    /// Status or request line, with its end.
    pub first: String,
    /// Bytes of the body; none when it is chunked.
    pub length: Option<usize>,
    /// Value of `x-bench-gap-us`, if any.
    pub gap_us: Option<u64>,
}

/// Reads a head; none when the peer has closed.
///
/// # Errors
/// When the connection fails or what comes isn't HTTP.
pub fn head(reader: &mut BufReader<TcpStream>, line: &mut String) -> io::Result<Option<Head>> {
    let mut head = Head::default();
    if reader.read_line(&mut head.first)? == 0 {
        return Ok(None);
    }
    loop {
        line.clear();
        if reader.read_line(line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Ok(Some(head));
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => head.length = Some(number(value)?),
            "x-bench-gap-us" => head.gap_us = Some(number(value)?),
            _ => {}
        }
    }
}

/// Reads a body into `body`: of that length, or in chunks.
///
/// # Errors
/// When the connection fails or the chunks aren't framed.
pub fn body(
    reader: &mut BufReader<TcpStream>,
    length: Option<usize>,
    body: &mut Vec<u8>,
    line: &mut String,
) -> io::Result<()> {
    body.clear();
    if let Some(length) = length {
        return exactly(reader, length, body);
    }
    loop {
        line.clear();
        reader.read_line(line)?;
        let size = usize::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
        exactly(reader, size, body)?;
        line.clear();
        reader.read_line(line)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn exactly(reader: &mut BufReader<TcpStream>, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
    let start = body.len();
    body.resize(start.saturating_add(length), 0);
    reader.read_exact(body.get_mut(start..).unwrap_or_default())
}

fn number<N: std::str::FromStr>(text: &str) -> io::Result<N> {
    text.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}
