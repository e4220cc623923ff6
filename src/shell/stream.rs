//! One exchange's context: callbacks in, steps out.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::exchange::{Body, Edit, Ending, Exchange, Flow, Reply, RequestHead, ResponseHead, Step, Turn};
use crate::headers::{Headers, serialize};

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
    /// The request's headers, while they are held.
    held: Option<Headers>,
}

impl Stream {
    pub(super) fn new(worker: Option<Rc<Worker>>) -> Self {
        Self {
            worker,
            exchange: Exchange::Start,
            held: None,
        }
    }

    /// Whether this callback changes nothing: the commonest ones needn't read a clock.
    fn only_waits(&self, size: usize) -> bool {
        let bounds = self.worker.as_ref().map(|worker| worker.gateway.policy.bounds);
        bounds.is_some_and(|bounds| self.exchange.only_waits(&bounds, size))
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

/// Where a step's edits go: the map, with its fields as they were read while headers are at hand.
struct Target<'a> {
    map: Map,
    read: Option<&'a Headers>,
}

/// Does what the core asks for, in its order: edits, body, flow.
fn apply(step: Option<Step>, target: &Target<'_>, body: Option<(Buffer, usize)>) -> Action {
    let Some(step) = step else { return Action::Continue };
    let edited = edit(&step.edits, target);
    let replaced = match (&step.body, body) {
        (Some(bytes), Some((buffer, size))) => host::replace_buffer(buffer, size, bytes),
        (Some(_) | None, _) => Ok(()),
    };
    let done = edited.and(replaced);
    report(done);
    if let (Err(_), Map::Request) = (done, target.map) {
        // It would go with its caller's identity, without a credential, or at a wrong length.
        send(&unchanged());
        return Action::Pause;
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

/// What a client is told when its request couldn't be changed as it must be.
fn unchanged() -> Reply {
    let body = br#"{"error":{"type":"server_error","message":"the proxy can't prepare this request"}}"#;
    Reply {
        status: 500,
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.to_vec(),
        details: "spillway_host",
    }
}

/// Several edits are one call: each call costs a crossing, and on requests another choice of the route. All are tried;
/// the first failure is answered.
fn edit(edits: &[Edit], target: &Target<'_>) -> Result<(), host::Status> {
    match (edits, target.read) {
        ([], _) => Ok(()),
        ([_, _, ..], Some(read)) if !read.is_empty() => host::set_headers(target.map, &edited(edits, read)),
        (edits, _) => {
            let done: Vec<_> = edits.iter().map(|edit| edit_one(edit, target.map)).collect();
            done.into_iter().collect()
        }
    }
}

fn edit_one(edit: &Edit, map: Map) -> Result<(), host::Status> {
    match edit {
        Edit::Set(name, value) => host::set_header(map, name.as_bytes(), value.as_bytes()),
        Edit::Remove(name) => host::remove_header(map, name),
    }
}

fn edited(edits: &[Edit], read: &Headers) -> Vec<u8> {
    let mut set: Vec<(&[u8], &[u8])> = Vec::new();
    let mut removed: Vec<&[u8]> = Vec::new();
    for edit in edits {
        match edit {
            Edit::Set(name, value) => {
                set.retain(|(other, _)| *other != name.as_bytes());
                set.push((name.as_bytes(), value.as_bytes()));
            }
            Edit::Remove(name) => {
                set.retain(|(other, _)| *other != name.as_slice());
                removed.push(name);
            }
        }
    }
    read.edited(&set, &removed)
}

fn send(reply: &Reply) {
    let fields: Vec<(&[u8], &[u8])> = reply
        .headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    let headers = serialize(&fields);
    report(host::reply(
        u32::from(reply.status),
        reply.details,
        &headers,
        &reply.body,
    ));
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

/// How a stream ended that never came to its end.
fn ending() -> Ending {
    Ending::of(&property(&["response", "code_details"]).unwrap_or_default())
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, end: bool) -> Action {
        let read = host::headers(Map::Request).unwrap_or_default();
        let head = RequestHead {
            headers: &read,
            end,
            property: &property,
        };
        let step = self.step(|exchange, turn| exchange.request_headers(turn, &head));
        let held = step.as_ref().is_some_and(|step| step.flow == Flow::Hold);
        let action = apply(
            step,
            &Target {
                map: Map::Request,
                read: Some(&read),
            },
            None,
        );
        self.held = held.then_some(read);
        action
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        if !end && self.only_waits(size) {
            return Action::Pause;
        }
        let read = |start, max| host::read_buffer(Buffer::RequestBody, start, max).unwrap_or_default();
        let body = Body {
            size,
            end,
            read: &read,
        };
        let step = self.step(|exchange, turn| exchange.request_body(turn, &body));
        let held = if step.as_ref().is_some_and(|step| step.flow == Flow::Hold) {
            None
        } else {
            self.held.take()
        };
        let target = Target {
            map: Map::Request,
            read: held.as_ref(),
        };
        apply(step, &target, Some((Buffer::RequestBody, size)))
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        let step = self.step(Exchange::request_trailers);
        apply(
            step,
            &Target {
                map: Map::Request,
                read: None,
            },
            None,
        )
    }

    fn on_http_response_headers(&mut self, _: usize, end: bool) -> Action {
        if matches!(
            self.exchange,
            Exchange::Start | Exchange::Bypassed | Exchange::Done(_)
        ) {
            return Action::Continue;
        }
        let read = host::headers(Map::Response).unwrap_or_default();
        let head = ResponseHead {
            headers: &read,
            end,
            property: &property,
        };
        let step = self.step(|exchange, turn| exchange.response_headers(turn, &head));
        apply(
            step,
            &Target {
                map: Map::Response,
                read: Some(&read),
            },
            None,
        )
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        if !matches!(self.exchange, Exchange::Responding(_)) {
            return Action::Continue;
        }
        if !end && self.only_waits(size) {
            return Action::Pause;
        }
        let read = |start, max| host::read_buffer(Buffer::ResponseBody, start, max).unwrap_or_default();
        let body = Body {
            size,
            end,
            read: &read,
        };
        let step = self.step(|exchange, turn| exchange.response_body(turn, &body));
        apply(
            step,
            &Target {
                map: Map::Response,
                read: None,
            },
            Some((Buffer::ResponseBody, size)),
        )
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        let step = self.step(Exchange::response_trailers);
        apply(
            step,
            &Target {
                map: Map::Response,
                read: None,
            },
            None,
        )
    }

    fn on_log(&mut self) {
        let Some(worker) = self.worker.clone() else { return };
        let record = match core::mem::take(&mut self.exchange) {
            Exchange::Start | Exchange::Bypassed => None,
            Exchange::Done(record) => Some(record),
            open => worker.turn(|turn| open.end(turn, ending())),
        };
        if let Some(record) = record {
            report(host::set_property(RECORD, &record.to_json()));
        }
    }
}
