//! One exchange with its worker: reached by its stream's callbacks, by the tick, and by the answers to its calls.
//!
//! Its invariant: a call that couldn't be made is answered at once, so that the exchange never waits for nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::exchange::{Call, CallAnswer, Ending, Exchange, Flow, Step, Turn, Weight};
use crate::policy::Bounds;
use crate::report::Record;
use crate::time::Instant;

use super::host::{self, Buffer, Map};
use super::step::{property, resume, send};
use super::store::SharedData;
use super::worker::Worker;

/// The longest that a call is given, in milliseconds: the host's type ends there, and no provider takes a day.
const LONGEST_CALL_MS: u128 = 86_400_000;

/// One exchange.
#[derive(Debug)]
pub(super) struct Line {
    /// The host's id of its stream.
    id: u32,
    worker: Rc<Worker>,
    exchange: RefCell<Exchange>,
    weight: Cell<Weight>,
    /// The tick looks at it.
    watched: Cell<bool>,
    /// The calls that are on their way, by their tokens, each with what its asker knows it by.
    calls: RefCell<Vec<(u32, usize)>>,
}

impl Line {
    pub(super) fn new(id: u32, worker: Rc<Worker>) -> Rc<Self> {
        Rc::new(Self {
            id,
            worker,
            exchange: RefCell::default(),
            weight: Cell::default(),
            watched: Cell::default(),
            calls: RefCell::default(),
        })
    }

    /// The host's id of its stream.
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Whether a callback with a body of this size changes nothing: the commonest ones needn't read a clock.
    pub(super) fn only_waits(&self, size: usize) -> bool {
        let bounds: &Bounds = &self.worker.gateway.policy.bounds;
        self.exchange.borrow().only_waits(bounds, size)
    }

    /// Whether `look` says so of the exchange.
    pub(super) fn is(&self, look: impl FnOnce(&Exchange) -> bool) -> bool {
        look(&self.exchange.borrow())
    }

    /// Takes the exchange on by one callback. Calls that it asks for are made.
    pub(super) fn step(
        self: &Rc<Self>,
        run: impl FnOnce(Exchange, &mut Turn<'_, SharedData>) -> (Exchange, Step),
    ) -> Step {
        let (mut exchange, mut step) = self.worker.turn(|turn| run(self.exchange.take(), turn));
        while let Flow::Calls(calls) = &step.flow {
            let unsent = self.make(calls);
            step.flow = Flow::Hold;
            for of in unsent {
                if step.flow != Flow::Hold {
                    // It goes another way already.
                    break;
                }
                let (next, more) = self
                    .worker
                    .turn(|turn| exchange.called(turn, of, CallAnswer::unsent()));
                (exchange, step) = (next, step.then(more));
            }
        }
        self.weigh(exchange.weight());
        let watched = exchange.due().is_some();
        if self.watched.replace(watched) != watched {
            self.worker.watch(self, watched);
        }
        self.exchange.replace(exchange);
        step
    }

    /// Makes calls, and answers which couldn't be made. What calls before them say, if they ever do, is for nobody any more.
    fn make(self: &Rc<Self>, calls: &[Call]) -> Vec<usize> {
        self.forget_calls();
        let mut unsent = Vec::new();
        for call in calls {
            match dispatch(call) {
                Some(token) => {
                    self.calls.borrow_mut().push((token, call.of));
                    self.worker.await_call(token, self);
                }
                None => unsent.push(call.of),
            }
        }
        unsent
    }

    fn forget_calls(&self) {
        for (token, _) in self.calls.take() {
            self.worker.forget_call(token);
        }
    }

    fn weigh(&self, weight: Weight) {
        let before = self.weight.replace(weight);
        if before != weight {
            self.worker.reweigh(before, weight);
        }
    }

    /// When it is to be woken.
    pub(super) fn due(&self) -> Option<Instant> {
        self.exchange.borrow().due()
    }

    /// Its time has come. To be called with its stream as the host's effective context.
    pub(super) fn wake(self: &Rc<Self>) {
        let step = self.step(Exchange::woken);
        say(step);
    }

    /// A call of its was answered: what came is the host's to be read now.
    pub(super) fn answered(self: &Rc<Self>, token: u32, body_size: usize) {
        let known = self.calls.borrow().iter().position(|(known, _)| *known == token);
        let Some((_, of)) = known.map(|at| self.calls.borrow_mut().remove(at)) else {
            return;
        };
        let answer = called(body_size);
        let step = self.step(|exchange, turn| exchange.called(turn, of, answer));
        say(step);
    }

    /// The stream is over.
    pub(super) fn end(self: &Rc<Self>, ending: impl FnOnce() -> Ending) -> Option<Box<Record>> {
        self.weigh(Weight::default());
        if self.watched.take() {
            self.worker.watch(self, false);
        }
        self.forget_calls();
        match self.exchange.take() {
            Exchange::Start | Exchange::Bypassed => None,
            Exchange::Done(record) => Some(record),
            mut open => self.worker.turn(|turn| {
                open.recall(turn, &property);
                open.end(turn, ending())
            }),
        }
    }
}

/// Outside of a stream's own callbacks there is nothing to do but to answer, or to let go on what was held.
fn say(step: Step) {
    match step.flow {
        Flow::Reply(reply) => send(&reply),
        Flow::Resume(held) => resume(step, held),
        Flow::Continue | Flow::Hold | Flow::Calls(_) => {}
    }
}

/// What came of a call, within its callback.
pub(super) fn called(body_size: usize) -> CallAnswer {
    CallAnswer {
        headers: host::headers(Map::CallResponse).unwrap_or_default(),
        body: host::read_buffer(Buffer::CallResponse, 0, body_size).unwrap_or_default(),
        unsent: false,
    }
}

/// Has the host make a call, and answers its token.
pub(super) fn dispatch(call: &Call) -> Option<u32> {
    let headers: Vec<(&str, &str)> = call
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let timeout = u64::try_from(call.timeout.as_millis().clamp(1, LONGEST_CALL_MS)).unwrap_or(1);
    host::call(
        &call.cluster,
        headers,
        &call.body,
        core::time::Duration::from_millis(timeout),
    )
    .ok()
}
