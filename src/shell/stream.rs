//! One exchange's context: callbacks in, steps out.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::exchange::{Body, Ending, Exchange, Flow, RequestHead, ResponseHead, Step, Turn};
use crate::headers::Headers;

use super::host::{self, Buffer, Map};
use super::step::{Target, apply, property, report};
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
            mut open => worker.turn(|turn| {
                open.recall(turn, &property);
                open.end(turn, ending())
            }),
        };
        if let Some(record) = record {
            report(host::set_property(RECORD, &record.to_json()));
        }
    }
}
