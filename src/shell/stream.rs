//! One exchange's context: callbacks in, steps out.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::exchange::{Ending, Exchange, RequestHead, ResponseHead, Step, Turn};
use crate::headers::Headers;

use super::host::{self, Map};
use super::line::Line;
use super::part::{self, Part};
use super::step::{Target, apply, property, report};
use super::store::SharedData;
use super::worker::Worker;

/// Filter state key of the access record; `%FILTER_STATE(wasm.spillway.record:PLAIN)%` in an access log.
const RECORD: &[u8] = b"spillway.record";

/// The context of one exchange.
pub(super) struct Stream {
    /// None when the policy was refused: then nothing is touched.
    line: Option<Rc<Line>>,
    worker: Option<Rc<Worker>>,
    /// The request's headers, while they are held.
    held: Option<Headers>,
    /// The host holds the answer's body, as far as it came.
    holds: bool,
}

impl Stream {
    pub(super) fn new(id: u32, worker: Option<Rc<Worker>>) -> Self {
        Self {
            line: worker.clone().map(|worker| Line::new(id, worker)),
            worker,
            held: None,
            holds: false,
        }
    }

    /// Whether this callback changes nothing.
    fn only_waits(&self, size: usize) -> bool {
        self.line.as_ref().is_some_and(|line| line.only_waits(size))
    }

    fn is(&self, look: impl FnOnce(&Exchange) -> bool) -> bool {
        self.line.as_ref().is_some_and(|line| line.is(look))
    }

    fn step(
        &mut self,
        run: impl FnOnce(Exchange, &mut Turn<'_, SharedData>) -> (Exchange, Step),
    ) -> Option<Step> {
        Some(self.line.as_ref()?.step(run))
    }
}

/// How a stream ended that never came to its end.
fn ending() -> Ending {
    Ending::of(&property(&["response", "code_details"]).unwrap_or_default())
}

impl Context for Stream {
    /// A call that one of these callbacks made was answered.
    fn on_http_call_response(&mut self, token: u32, _: usize, body_size: usize, _: usize) {
        if let Some(worker) = &self.worker {
            worker.answered(token, body_size);
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, end: bool) -> Action {
        let (action, held) = part::head(Map::Request, |headers| {
            let head = RequestHead {
                headers,
                end,
                property: &property,
            };
            self.step(|exchange, turn| exchange.request_headers(turn, &head))
        });
        self.held = held;
        action
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        if !end && self.only_waits(size) {
            return Action::Pause;
        }
        let map = Map::Request;
        let mut held = self.held.take();
        let action = part::body(&Part { map, size, end }, &mut held, |body| {
            self.step(|exchange, turn| exchange.request_body(turn, body))
        });
        self.held = held;
        action
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
        if self.is(Exchange::is_over) {
            return Action::Continue;
        }
        let (action, _) = part::head(Map::Response, |headers| {
            let head = ResponseHead {
                headers,
                end,
                property: &property,
            };
            self.step(|exchange, turn| exchange.response_headers(turn, &head))
        });
        action
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        if !self.is(Exchange::reads_answer) {
            return Action::Continue;
        }
        if !end && self.only_waits(size) {
            return Action::Pause;
        }
        let map = Map::Response;
        let action = part::body(&Part { map, size, end }, &mut None, |body| {
            self.step(|exchange, turn| exchange.response_body(turn, body))
        });
        self.holds = action == Action::Pause;
        action
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        if self.holds {
            return part::trailers(|held| {
                self.step(|exchange, turn| exchange.response_trailers(turn, Some(held)))
            });
        }
        let step = self.step(|exchange, turn| exchange.response_trailers(turn, None));
        let target = Target {
            map: Map::Response,
            read: None,
        };
        apply(step, &target, None)
    }

    fn on_log(&mut self) {
        let record = self.line.take().and_then(|line| line.end(ending));
        if let Some(record) = record {
            report(host::set_property(RECORD, &record.to_json()));
        }
    }
}
