//! Just enough HTTP/1.1 to be an upstream: requests in, whole or chunked answers out, keep-alive.
//!
//! Bodies are bounded; anything this can't read ends the connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

const MAX_HEAD: u64 = 256 * 1024;
const MAX_BODY: u64 = 64 * 1024 * 1024;

/// One request, its header names in lower case. Header bytes that aren't UTF-8 show as U+FFFD.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The first header of that (lower-case) name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The path without its query.
    pub(crate) fn route(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// Whether the client wants the connection closed afterwards.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// One side of a connection each.
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Connection {
    /// Takes the connection over.
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let writer = stream.try_clone()?;
        Ok(Self {
            reader: BufReader::with_capacity(16 * 1024, stream),
            writer,
        })
    }

    /// The next request; none when the client has closed.
    pub(crate) fn request(&mut self) -> io::Result<Option<Request>> {
        let Some(mut request) = self.head()? else {
            return Ok(None);
        };
        if request.header("expect").is_some() {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        request.body = self.body(&request)?;
        Ok(Some(request))
    }

    fn head(&mut self) -> io::Result<Option<Request>> {
        let start = self.line()?;
        if start.is_empty() {
            return Ok(None);
        }
        let mut words = start.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut request = Request {
            method,
            path,
            ..Request::default()
        };
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                return Ok(Some(request));
            };
            request
                .headers
                .push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// One line without its end; empty at the end of the head and of the connection.
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        (&mut self.reader).take(MAX_HEAD).read_until(b'\n', &mut line)?;
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn body(&mut self, request: &Request) -> io::Result<Vec<u8>> {
        if request.header("transfer-encoding").is_some() {
            return self.chunks();
        }
        let length = request
            .header("content-length")
            .and_then(|value| value.parse().ok())
            .unwrap_or(0);
        self.exactly(length)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = line
                .split(';')
                .next()
                .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
            let size = size.ok_or_else(|| io::Error::other("bad chunk size"))?;
            body.extend(self.exactly(size)?);
            self.line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn exactly(&mut self, length: u64) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        (&mut self.reader)
            .take(length.min(MAX_BODY))
            .read_to_end(&mut body)?;
        match u64::try_from(body.len()) == Ok(length) {
            true => Ok(body),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Sends bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// Ends a chunked answer with these lines as its trailers.
    pub(crate) fn trailers<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> io::Result<()> {
        let lines: String = lines.map(|line| format!("{line}\r\n")).collect();
        self.write(format!("0\r\n{lines}\r\n").as_bytes())
    }

    /// Sends one chunk, which isn't empty.
    pub(crate) fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut frame = format!("{:x}\r\n", bytes.len()).into_bytes();
        frame.extend_from_slice(bytes);
        frame.extend_from_slice(b"\r\n");
        self.write(&frame)
    }

    /// Ends the connection at once, in the middle of whatever was being sent.
    pub(crate) fn cut(&mut self) {
        // Nothing is left to do when the peer has gone already.
        drop(self.writer.shutdown(std::net::Shutdown::Both));
    }
}

/// Status line and headers, with the empty line that ends them.
pub(crate) fn head(status: u16, headers: &[(String, String)]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Mock\r\n");
    for (name, value) in headers {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}
