//! What happens in an exchange, out of a fuzzer's bytes.
//!
//! ```text
//! /v1/chat/completions          the request's path and further headers, a line each
//! x-tenant: acme
//! NUL {"model": …}              its body
//! NUL 200                       the provider's status and headers
//! content-type: text/event-stream
//! NUL data: …                   its body
//! NUL 200 NUL {…}               what calls, or further attempts, are answered with; one after another
//! ```
//!
//! The bytes at the very end choose cuts, the clock, and how it ends.

use core::time::Duration;

use spillway::exchange::{CallAnswer, Ending};
use spillway::headers::Headers;

use crate::input::{Input, cut};

/// Fields of a header map.
pub(crate) type Fields = Vec<(String, Vec<u8>)>;

/// An exchange as it will be played.
pub(crate) struct Script<'d> {
    pub(crate) request: Fields,
    pub(crate) body: Vec<&'d [u8]>,
    pub(crate) answer: Answer<'d>,
    pub(crate) chunks: Vec<&'d [u8]>,
    pub(crate) calls: Vec<Answer<'d>>,
    /// The last chunks come without an end, which trailers bring.
    pub(crate) trailers: bool,
    /// Calls are answered at once, not when nothing else comes.
    pub(crate) eager: bool,
    /// A breaker is half open before.
    pub(crate) probes: bool,
    /// How it ends, and after how many callbacks if before its time.
    pub(crate) ending: Ending,
    pub(crate) patience: usize,
    /// By how much the clock moves on at each callback.
    pub(crate) step: Duration,
}

/// A whole answer of a provider's or a service's.
pub(crate) struct Answer<'d> {
    pub(crate) fields: Fields,
    pub(crate) body: &'d [u8],
}

const STANDARD: &[u8] = br#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}"#;
const ANSWER: &[u8] = br#"{"model":"gpt-4o","choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":8,"completion_tokens":2}}"#;

impl Script<'static> {
    /// A chat that is answered well.
    pub(crate) fn standard() -> Self {
        Self {
            request: request(b"/v1/chat/completions\nx-tenant: acme", STANDARD.len()),
            body: vec![STANDARD],
            answer: Answer::of(b"200\ncontent-type: application/json", ANSWER),
            chunks: vec![ANSWER],
            calls: Vec::new(),
            trailers: false,
            eager: true,
            probes: false,
            ending: Ending::Complete,
            patience: usize::MAX,
            step: Duration::ZERO,
        }
    }
}

impl<'d> Script<'d> {
    pub(crate) fn read(mut input: Input<'d>) -> Self {
        let (cuts, flags, patience, step) = (
            [input.short(), input.short()],
            input.byte(),
            input.byte(),
            input.byte(),
        );
        let endings = [
            Ending::Complete,
            Ending::ClientAbort,
            Ending::UpstreamReset,
            Ending::Timeout,
            Ending::Aborted,
        ];
        let ending = input.pick(&endings);
        let mut parts = input.rest().split(|byte| *byte == 0);
        let mut next = || parts.next().unwrap_or_default();
        let (head, body, status, answer) = (next(), next(), next(), next());
        let rest: Vec<&[u8]> = parts.collect();
        let calls = rest.chunks(2).take(8);
        Self {
            request: request(head, body.len()),
            body: cut(body, cuts[0]),
            answer: Answer::of(status, answer),
            chunks: cut(answer, cuts[1]),
            calls: calls
                .map(|pair| Answer::of(pair[0], pair.get(1).copied().unwrap_or_default()))
                .collect(),
            trailers: flags & 1 > 0,
            eager: flags & 2 > 0,
            probes: flags & 4 > 0,
            ending,
            patience: if patience == 0 {
                usize::MAX
            } else {
                usize::from(patience)
            },
            step: Duration::from_millis(u64::from(step) * u64::from(step)),
        }
    }
}

impl<'d> Answer<'d> {
    fn of(head: &[u8], body: &'d [u8]) -> Self {
        let mut lines = head.split(|byte| *byte == b'\n');
        let status = lines.next().unwrap_or_default();
        let mut fields = vec![(":status".to_owned(), status.to_vec())];
        fields.extend(lines.filter_map(field));
        Self { fields, body }
    }

    pub(crate) fn headers(&self) -> Headers {
        self.fields.iter().cloned().collect()
    }

    /// As the answer to a call; an empty status stands for a broken connection.
    pub(crate) fn called(&self) -> CallAnswer {
        let broken = self
            .fields
            .iter()
            .any(|(name, value)| name == ":status" && value.is_empty());
        CallAnswer {
            headers: if broken {
                Headers::default()
            } else {
                self.headers()
            },
            body: self.body.to_vec(),
            unsent: false,
        }
    }
}

fn request(head: &[u8], length: usize) -> Fields {
    let mut lines = head.split(|byte| *byte == b'\n');
    let path = lines.next().unwrap_or_default();
    let own = [
        (":method", &b"POST"[..]),
        (":path", path),
        (":authority", b"gateway.test"),
        ("content-length", length.to_string().as_bytes()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_vec()));
    own.into_iter().chain(lines.filter_map(field)).collect()
}

/// `name: value`; names in lower case, as hosts give them, and none of the protocol's own.
fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':').filter(|at| *at > 0)?;
    let (name, value) = line.split_at(colon);
    let name = core::str::from_utf8(name).ok()?.to_ascii_lowercase();
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    Some((name, value.to_vec()))
}
