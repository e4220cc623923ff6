//! One attempt's context, in the provider role: callbacks in, steps out.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::exchange::attempt::Attempt;
use crate::exchange::{RequestHead, ResponseHead, Step, Turn};
use crate::headers::Headers;

use super::host::Map;
use super::part::{self, Part};
use super::step::property;
use super::store::SharedData;
use super::worker::Worker;

/// The context of one attempt.
pub(super) struct Upstream {
    /// None when the policy was refused: then nothing is touched.
    worker: Option<Rc<Worker>>,
    attempt: Attempt,
    /// The request's headers, while they are held.
    held: Option<Headers>,
}

impl Upstream {
    pub(super) fn new(worker: Option<Rc<Worker>>) -> Self {
        Self {
            worker,
            attempt: Attempt::Start,
            held: None,
        }
    }

    fn step(
        &mut self,
        run: impl FnOnce(Attempt, &mut Turn<'_, SharedData>) -> (Attempt, Step),
    ) -> Option<Step> {
        let worker = self.worker.clone()?;
        let attempt = core::mem::take(&mut self.attempt);
        let (attempt, step) = worker.turn(|turn| {
            let done = run(attempt, turn);
            // The gateway role counts, by what is handed back.
            turn.effects.metrics.clear();
            done
        });
        self.attempt = attempt;
        Some(step)
    }
}

impl Context for Upstream {
    /// The attempt is over, answered or not.
    fn on_done(&mut self) -> bool {
        let attempt = core::mem::take(&mut self.attempt);
        if let Some(worker) = self.worker.as_ref().filter(|_| attempt.is_open()) {
            worker.turn(|turn| {
                attempt.end(turn, &property);
                turn.effects.metrics.clear();
            });
        }
        true
    }
}

impl HttpContext for Upstream {
    fn on_http_request_headers(&mut self, _: usize, end: bool) -> Action {
        let (action, held) = part::head(Map::Request, |headers| {
            let head = RequestHead {
                headers,
                end,
                property: &property,
            };
            self.step(|attempt, turn| attempt.request_headers(turn, &head))
        });
        self.held = held;
        action
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        if !matches!(self.attempt, Attempt::Preparing(_)) {
            return Action::Continue;
        }
        if !end {
            return Action::Pause;
        }
        let map = Map::Request;
        let mut held = self.held.take();
        part::body(&Part { map, size, end }, &mut held, |body| {
            self.step(|attempt, turn| attempt.request_body(turn, body))
        })
    }

    fn on_http_response_headers(&mut self, _: usize, end: bool) -> Action {
        if self.attempt.is_over() {
            return Action::Continue;
        }
        let (action, _) = part::head(Map::Response, |headers| {
            let head = ResponseHead {
                headers,
                end,
                property: &property,
            };
            self.step(|attempt, turn| attempt.response_headers(turn, &head))
        });
        action
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        if self.attempt.is_over() {
            return Action::Continue;
        }
        let map = Map::Response;
        part::body(&Part { map, size, end }, &mut None, |body| {
            self.step(|attempt, turn| attempt.response_body(turn, body))
        })
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        if self.attempt.is_over() {
            return Action::Continue;
        }
        part::trailers(|held| self.step(|attempt, turn| attempt.response_trailers(turn, held)))
    }
}
