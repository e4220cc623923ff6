//! One exchange's context: callbacks in, steps out.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::exchange::{Body, Edit, Ending, Exchange, Flow, Reply, RequestHead, ResponseHead, Step, Turn};

use super::host::{self, Buffer, Level, Map};
use super::store::SharedData;
use super::worker::Worker;

/// Filter state key of the access record; `%FILTER_STATE(wasm.spillway.record:PLAIN)%` in an access log.
const RECORD: &[u8] = b"spillway.record";

/// The context of one exchange.
pub(super) struct Stream {
    /// None when the policy was refused: then nothing is touched.
    worker: Option<Rc<Worker>>,
    exchange: Exchange,
}

impl Stream {
    pub(super) fn new(worker: Option<Rc<Worker>>) -> Self {
        Self {
            worker,
            exchange: Exchange::Start,
        }
    }

    fn step(
        &mut self,
        run: impl FnOnce(Exchange, &mut Turn<'_, SharedData>) -> (Exchange, Step),
    ) -> Option<Step> {
        let worker = self.worker.clone()?;
        let exchange = core::mem::take(&mut self.exchange);
        let (exchange, step) = worker.turn(|turn| run(exchange, turn));
        self.exchange = exchange;
        Some(step)
    }
}

/// Does what the core asks for, in its order: edits, body, flow.
fn apply(step: Option<Step>, map: Map, body: Option<(Buffer, usize)>) -> Action {
    let Some(step) = step else { return Action::Continue };
    for edit in &step.edits {
        report(match edit {
            Edit::Set(name, value) => host::set_header(map, name.as_bytes(), value.as_bytes()),
            Edit::Remove(name) => host::remove_header(map, name),
        });
    }
    if let (Some(bytes), Some((buffer, size))) = (&step.body, body) {
        report(host::replace_buffer(buffer, size, bytes));
    }
    match step.flow {
        Flow::Continue => Action::Continue,
        Flow::Hold => Action::Pause,
        Flow::Reply(reply) => {
            send(&reply);
            Action::Pause
        }
    }
}

fn send(reply: &Reply) {
    let headers = serialize(reply);
    report(host::reply(
        u32::from(reply.status),
        reply.details,
        &headers,
        &reply.body,
    ));
}

/// The host's own serialization of a header map: count, lengths, then NUL-terminated names and values.
fn serialize(reply: &Reply) -> Vec<u8> {
    let length = |text: &str| u32::try_from(text.len()).unwrap_or(0).to_le_bytes();
    let mut bytes = u32::try_from(reply.headers.len())
        .unwrap_or(0)
        .to_le_bytes()
        .to_vec();
    for (name, value) in &reply.headers {
        bytes.extend(length(name));
        bytes.extend(length(value));
    }
    for text in reply.headers.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// A step that the host won't take can't be helped; it is said, without what was in it.
fn report(done: Result<(), host::Status>) {
    if let Err(status) = done {
        host::log(
            Level::Warn,
            &format!("spillway: the host refused a step (status {})", status.0),
        );
    }
}

fn property(path: &[&str]) -> Option<Vec<u8>> {
    host::property(path.join("\0").as_bytes()).ok()
}

/// How a stream ended that never came to its end, by the host's word for it.
fn ending() -> Ending {
    let details = property(&["response", "code_details"]).unwrap_or_default();
    let details = String::from_utf8_lossy(&details);
    if details.starts_with("upstream") || details.contains("timeout") {
        Ending::UpstreamReset
    } else {
        Ending::ClientAbort
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, end: bool) -> Action {
        let headers = host::headers(Map::Request).unwrap_or_default();
        let head = RequestHead {
            headers: &headers,
            end,
            property: &property,
        };
        let step = self.step(|exchange, turn| exchange.request_headers(turn, &head));
        apply(step, Map::Request, None)
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        let read = |start, max| host::read_buffer(Buffer::RequestBody, start, max).unwrap_or_default();
        let step = self.step(|exchange, turn| {
            exchange.request_body(
                turn,
                &Body {
                    size,
                    end,
                    read: &read,
                },
            )
        });
        apply(step, Map::Request, Some((Buffer::RequestBody, size)))
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        let step = self.step(Exchange::request_trailers);
        apply(step, Map::Request, None)
    }

    fn on_http_response_headers(&mut self, _: usize, end: bool) -> Action {
        if matches!(
            self.exchange,
            Exchange::Start | Exchange::Bypassed | Exchange::Done(_)
        ) {
            return Action::Continue;
        }
        let headers = host::headers(Map::Response).unwrap_or_default();
        let head = ResponseHead {
            headers: &headers,
            end,
            property: &property,
        };
        let step = self.step(|exchange, turn| exchange.response_headers(turn, &head));
        apply(step, Map::Response, None)
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        if !matches!(self.exchange, Exchange::Responding(_)) {
            return Action::Continue;
        }
        let read = |start, max| host::read_buffer(Buffer::ResponseBody, start, max).unwrap_or_default();
        let step = self.step(|exchange, turn| {
            exchange.response_body(
                turn,
                &Body {
                    size,
                    end,
                    read: &read,
                },
            )
        });
        apply(step, Map::Response, Some((Buffer::ResponseBody, size)))
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        let step = self.step(Exchange::response_trailers);
        apply(step, Map::Response, None)
    }

    fn on_log(&mut self) {
        let Some(worker) = self.worker.clone() else { return };
        let exchange = core::mem::take(&mut self.exchange);
        let ending = if matches!(exchange, Exchange::Admitted(_) | Exchange::Responding(_)) {
            ending()
        } else {
            Ending::Complete
        };
        if let Some(record) = worker.turn(|turn| exchange.end(turn, ending)) {
            report(host::set_property(RECORD, &record.to_json()));
        }
    }
}
