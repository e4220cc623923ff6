//! HTTP calls that a module makes by itself (`proxy_http_call`), and who answers them.
//!
//! As in Envoy: the whole answer comes at once; a timeout comes as a 504; a call whose stream is gone is cancelled
//! without a callback.

use std::time::Duration;

use crate::headers::Headers;

/// A call on its way.
#[derive(Clone, Debug)]
pub struct Callout {
    /// What the module knows it by.
    pub token: u32,
    /// The cluster it asked for.
    pub cluster: String,
    /// Its headers, `:path`, `:method` and `:authority` among them.
    pub headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
    /// The time it was given; `None` is for ever.
    pub timeout: Option<Duration>,
    pub(crate) context: u32,
    pub(crate) deadline: Option<Duration>,
}

/// What becomes of a call.
#[derive(Clone, Debug)]
pub enum CalloutAnswer {
    /// An answer from the other side.
    Response(u16, Headers, Vec<u8>),
    /// The connection breaks: a callback without headers.
    Reset,
    /// Nothing; the call stays pending until its timeout passes on the proxy's clock.
    Never,
}

impl CalloutAnswer {
    /// A 200 with `body`.
    #[must_use]
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::Response(200, Headers::default(), body.into())
    }
}

type Answerer = Box<dyn FnMut(&Callout) -> CalloutAnswer + Send>;

/// Who answers; without an answerer calls wait for [`crate::Worker::answer_callout`].
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) answerer: Option<Answerer>,
}

/// The answer that a callback is about, while the callback runs.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) headers: Option<Headers>,
    pub(crate) body: Vec<u8>,
}

impl Arrived {
    pub(crate) fn from(answer: CalloutAnswer) -> Option<Self> {
        match answer {
            CalloutAnswer::Never => None,
            CalloutAnswer::Reset => Some(Self {
                headers: None,
                body: Vec::new(),
            }),
            CalloutAnswer::Response(status, mut headers, body) => {
                headers.set_status(status);
                Some(Self {
                    headers: Some(headers),
                    body,
                })
            }
        }
    }

    pub(crate) fn timeout() -> Self {
        let mut headers = Headers::default();
        headers.set_status(504);
        Self {
            headers: Some(headers),
            body: b"upstream request timeout".to_vec(),
        }
    }
}
