//! What travels: requests as the client sends them, requests as an upstream sees them, and answers both ways.

use crate::headers::Headers;

/// Whether the end of a body comes with its last bytes (HTTP/2) or after them (HTTP/1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ending {
    #[default]
    Apart,
    WithLastChunk,
}

/// A body cut into the pieces in which it arrives.
#[derive(Clone, Debug, Default)]
struct Pieces {
    chunks: Vec<Vec<u8>>,
    ending: Ending,
}

impl Pieces {
    fn whole(body: Vec<u8>) -> Self {
        Self {
            chunks: vec![body],
            ending: Ending::Apart,
        }
    }

    fn concat(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    /// Cut at every position named; positions beyond the end are ignored.
    fn cut_at(&mut self, positions: &[usize]) {
        let body = self.concat();
        let mut marks: Vec<usize> = positions
            .iter()
            .copied()
            .filter(|at| *at > 0 && *at < body.len())
            .collect();
        marks.sort_unstable();
        marks.dedup();
        let starts = std::iter::once(0).chain(marks.iter().copied());
        let ends = marks.iter().copied().chain(std::iter::once(body.len()));
        self.chunks = starts
            .zip(ends)
            .filter_map(|(from, to)| body.get(from..to).map(<[u8]>::to_vec))
            .collect();
    }

    fn pieces_of(&mut self, size: usize) {
        self.chunks = self.concat().chunks(size.max(1)).map(<[u8]>::to_vec).collect();
    }

    /// The body as events: each piece, and whether the body ends with it.
    fn events(&self) -> Vec<(Vec<u8>, bool)> {
        let mut events: Vec<(Vec<u8>, bool)> =
            self.chunks.iter().map(|chunk| (chunk.clone(), false)).collect();
        match (self.ending, events.last_mut()) {
            (Ending::WithLastChunk, Some(last)) => last.1 = true,
            (Ending::Apart, _) | (Ending::WithLastChunk, None) => events.push((Vec::new(), true)),
        }
        events
    }
}

/// A request as the client sends it.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) headers: Headers,
    pub(crate) properties: Vec<(Vec<u8>, Vec<u8>)>,
    pieces: Option<Pieces>,
    chunked: bool,
}

impl Request {
    /// A request with `method` to `path`, without a body.
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        let headers = Headers::from_pairs([
            (":method", method),
            (":path", path),
            (":authority", "gateway.test"),
            (":scheme", "http"),
        ]);
        Self {
            headers,
            properties: Vec::new(),
            pieces: None,
            chunked: false,
        }
    }

    /// A GET.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// A POST of JSON that arrives in one piece, with its `content-length`.
    #[must_use]
    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", path)
            .header("content-type", "application/json")
            .body(body)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.add(name, value);
        self
    }

    /// The body, in one piece.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.pieces = Some(Pieces::whole(body.into()));
        self
    }

    /// The body in the pieces given.
    #[must_use]
    pub fn chunks<B: Into<Vec<u8>>>(mut self, chunks: impl IntoIterator<Item = B>) -> Self {
        self.pieces = Some(Pieces {
            chunks: chunks.into_iter().map(Into::into).collect(),
            ending: Ending::Apart,
        });
        self
    }

    /// Cuts the body at these positions.
    #[must_use]
    pub fn cut_at(mut self, positions: &[usize]) -> Self {
        self.pieces.get_or_insert_default().cut_at(positions);
        self
    }

    /// Cuts the body into pieces of `size` bytes.
    #[must_use]
    pub fn in_pieces_of(mut self, size: usize) -> Self {
        self.pieces.get_or_insert_default().pieces_of(size);
        self
    }

    /// The end comes with the last piece, as in HTTP/2; otherwise it is a callback of its own with no bytes.
    #[must_use]
    pub fn ends_with_last_chunk(mut self) -> Self {
        self.pieces.get_or_insert_default().ending = Ending::WithLastChunk;
        self
    }

    /// Sends no `content-length`.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// A property of this request alone, such as `["xds", "route_name"]`.
    #[must_use]
    pub fn property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.properties
            .push((crate::properties::joined(path), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn sent_headers(&self) -> Headers {
        let mut headers = self.headers.clone();
        if let Some(pieces) = &self.pieces
            && !self.chunked
            && headers.bytes("content-length").is_none()
        {
            headers.add("content-length", pieces.concat().len().to_string());
        }
        headers
    }

    /// `None` when the headers are all.
    pub(crate) fn events(&self) -> Option<Vec<(Vec<u8>, bool)>> {
        self.pieces.as_ref().map(Pieces::events)
    }
}

/// A request as an upstream sees it: as far as it has come, and where it went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamRequest {
    /// The cluster the route chose when the headers left, by the cluster header.
    pub cluster: Option<String>,
    /// The headers as they left.
    pub headers: Headers,
    /// The body as far as it has left; cut at `content-length` if that says less.
    pub body: Vec<u8>,
    /// Whether all of it arrived: with a `content-length` above the body it never does.
    pub complete: bool,
}

impl UpstreamRequest {
    /// The body as text; bytes that aren't UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What is on the wire: a body is cut where `content-length` ends, and short of it the upstream waits.
    pub(crate) fn as_received(&self) -> Self {
        let mut received = self.clone();
        if let Some(length) = self.headers.content_length() {
            received.complete = self.complete && self.body.len() >= length;
            received.body.truncate(length);
        }
        received
    }
}

/// How an upstream ends its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpstreamEnd {
    Complete,
    ResetAfterBody,
    Refused,
    Never,
    TimedOut,
}

/// What an upstream does with a request.
#[derive(Clone, Debug)]
pub struct UpstreamResponse {
    pub(crate) headers: Headers,
    pub(crate) end: UpstreamEnd,
    pieces: Option<Pieces>,
}

/// Somebody who answers requests; see [`crate::Worker::request`].
pub trait Upstream: FnMut(&UpstreamRequest) -> UpstreamResponse {}

impl<F: FnMut(&UpstreamRequest) -> UpstreamResponse> Upstream for F {}

impl UpstreamResponse {
    /// An answer without a body.
    #[must_use]
    pub fn new(status: u16) -> Self {
        let mut headers = Headers::default();
        headers.set_status(status);
        Self {
            headers,
            end: UpstreamEnd::Complete,
            pieces: None,
        }
    }

    /// A JSON answer in one piece, with its `content-length`.
    #[must_use]
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        let answer = Self::new(status)
            .header("content-type", "application/json")
            .header("content-length", length);
        answer.body(body)
    }

    /// An event stream in the pieces given.
    #[must_use]
    pub fn stream<B: Into<Vec<u8>>>(chunks: impl IntoIterator<Item = B>) -> Self {
        Self::new(200)
            .header("content-type", "text/event-stream")
            .chunks(chunks)
    }

    /// The connection can't be made.
    #[must_use]
    pub fn refused() -> Self {
        Self {
            end: UpstreamEnd::Refused,
            ..Self::new(503)
        }
    }

    /// No answer, ever: the exchange stays open.
    #[must_use]
    pub fn never() -> Self {
        Self {
            end: UpstreamEnd::Never,
            ..Self::new(504)
        }
    }

    /// The route's timeout passes without an answer.
    #[must_use]
    pub fn timed_out() -> Self {
        Self {
            end: UpstreamEnd::TimedOut,
            ..Self::new(504)
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.add(name, value);
        self
    }

    /// The body, in one piece.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.pieces = Some(Pieces::whole(body.into()));
        self
    }

    /// The body in the pieces given.
    #[must_use]
    pub fn chunks<B: Into<Vec<u8>>>(mut self, chunks: impl IntoIterator<Item = B>) -> Self {
        self.pieces = Some(Pieces {
            chunks: chunks.into_iter().map(Into::into).collect(),
            ending: Ending::Apart,
        });
        self
    }

    /// Cuts the body at these positions.
    #[must_use]
    pub fn cut_at(mut self, positions: &[usize]) -> Self {
        self.pieces.get_or_insert_default().cut_at(positions);
        self
    }

    /// Cuts the body into pieces of `size` bytes.
    #[must_use]
    pub fn in_pieces_of(mut self, size: usize) -> Self {
        self.pieces.get_or_insert_default().pieces_of(size);
        self
    }

    /// The end comes with the last piece, as in HTTP/2; otherwise it is a callback of its own with no bytes.
    #[must_use]
    pub fn ends_with_last_chunk(mut self) -> Self {
        self.pieces.get_or_insert_default().ending = Ending::WithLastChunk;
        self
    }

    /// The connection breaks after what is given so far.
    #[must_use]
    pub fn then_reset(mut self) -> Self {
        self.end = UpstreamEnd::ResetAfterBody;
        self
    }

    pub(crate) fn events(&self) -> Option<Vec<(Vec<u8>, bool)>> {
        self.pieces.as_ref().map(Pieces::events)
    }
}

/// How far the client's answer has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// More may come.
    #[default]
    Open,
    /// All of it came.
    Complete,
    /// The stream was reset: an error for the client, with or without headers before it.
    Reset,
    /// The body ended short of its `content-length`: the client waits.
    Waiting,
}

/// The answer as the client sees it.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// `None` as long as no header came.
    pub status: Option<u16>,
    /// The headers as they came.
    pub headers: Headers,
    /// The body as far as it came; cut at `content-length` if that says less.
    pub body: Vec<u8>,
    /// The same body in the pieces in which it came.
    pub chunks: Vec<Vec<u8>>,
    /// How it ended.
    pub end: End,
}

impl Answer {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name)
    }

    /// The body as text; bytes that aren't UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Ends it; a `content-length` that disagrees cuts the body or leaves the client waiting.
    pub(crate) fn complete(&mut self) {
        self.end = End::Complete;
        if let Some(length) = self.headers.content_length() {
            if self.body.len() < length {
                self.end = End::Waiting;
            }
            self.body.truncate(length);
        }
    }
}
