//! One request and its answer, as the proxy holds them between client, module and upstream.
//!
//! Each direction is a [`Side`]. What a module may read of it follows Envoy: headers while it holds them, a body while it
//! is in its callback or buffered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::headers::Headers;
use crate::message::{Answer, UpstreamRequest};
use crate::properties::Properties;

/// A stream that its exchange and its VM both hold. Locked only for moments, never across a call into the VM.
pub(crate) type StreamRef = Arc<Mutex<Stream>>;

/// Which way something travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Response,
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) headers: Headers,
    /// The host still lends the headers to the module.
    pub(crate) lent: bool,
    /// The headers arrived here.
    pub(crate) arrived: bool,
    /// The headers went on.
    pub(crate) passed: bool,
    /// Paused at the headers without the flag: no body callback comes.
    pub(crate) stopped: bool,
    /// Paused in the body: it gathers here.
    pub(crate) buffering: bool,
    /// What the body callback sees, or what gathers.
    pub(crate) buffer: Vec<u8>,
    /// A body callback is running.
    pub(crate) in_body: bool,
    /// Some of the body arrived, if only its end.
    pub(crate) body_arrived: bool,
    /// The end arrived, with headers or body.
    pub(crate) ended: bool,
}

impl Side {
    /// Whether the module may read the body now.
    pub(crate) fn body_lent(&self) -> bool {
        self.in_body || self.buffering
    }
}

/// A local reply that waits for the end of the callback that asked for it.
#[derive(Clone, Debug)]
pub(crate) struct LocalReply {
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    pub(crate) details: String,
}

impl LocalReply {
    /// A reply with the headers that Envoy adds: the length, and `text/plain` unless there is a type.
    pub(crate) fn new(status: u16, extra: Headers, body: Vec<u8>, details: &str) -> Self {
        let mut headers = Headers::default();
        headers.set_status(status);
        extra.iter().for_each(|(name, value)| headers.add(name, value));
        if !body.is_empty() {
            headers.set("content-length", body.len().to_string());
            if headers.bytes("content-type").is_none() {
                headers.set("content-type", "text/plain");
            }
        }
        Self {
            headers,
            body,
            details: details.to_owned(),
        }
    }

    /// A reply of the proxy itself.
    pub(crate) fn of_proxy(status: u16, body: &str, details: &str) -> Self {
        Self::new(status, Headers::default(), body.as_bytes().to_vec(), details)
    }
}

/// What a callback asked for that happens when it has returned.
#[derive(Clone, Debug)]
pub(crate) enum After {
    Resume(Direction),
    Reply(LocalReply),
    Reset,
}

/// Everything about one exchange.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: u32,
    pub(crate) request: Side,
    pub(crate) response: Side,
    pub(crate) upstream: Option<UpstreamRequest>,
    pub(crate) client: Answer,
    pub(crate) filter_state: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) properties: Properties,
    pub(crate) details: Option<String>,
    /// The log callback is running: headers of both directions may be read.
    pub(crate) logging: bool,
    /// A local reply has begun: what the upstream says no longer matters.
    pub(crate) replied: bool,
    /// The client went away.
    pub(crate) aborted: bool,
    /// Over, log callback included.
    pub(crate) done: bool,
}

impl Stream {
    pub(crate) fn new(id: u32) -> Self {
        Self {
            id,
            request: Side::default(),
            response: Side::default(),
            upstream: None,
            client: Answer::default(),
            filter_state: BTreeMap::new(),
            properties: Properties::default(),
            details: None,
            logging: false,
            replied: false,
            aborted: false,
            done: false,
        }
    }

    pub(crate) fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }
}
