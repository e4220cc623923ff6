//! Answers that end in HTTP trailers: beside those hosts let only be changed what they hold of a body.
//!
//! So where the end of a stream is kept back, for its verdict or because it isn't a whole event yet, what goes on before it
//! waits in the host: then the end can be written, however the stream ends. The invariant: what can't be written any more
//! is never left out in silence; with its headers gone, hosts reset a stream by a reply.

use crate::dialect::Passed;
use crate::store::Store;

use super::respond::{Reader, Responding, step};
use super::{Body, Ending, Exchange, Flow, Reply, Step, Turn};

/// Nothing more of a body.
pub(super) const NOTHING: Body<'static> = Body {
    size: 0,
    end: true,
    read: &|_, _| Vec::new(),
};

impl Responding {
    /// The response ends with trailers, and its body with what the host still holds, if it holds any of it.
    pub(super) fn trailers<S: Store>(
        self: Box<Self>,
        turn: &mut Turn<'_, S>,
        held: Option<&Body<'_>>,
    ) -> (Exchange, Step) {
        match held {
            Some(body) => self.body(turn, body),
            None => {
                let (exchange, step) = self.body(turn, &NOTHING);
                unwritten(turn, exchange, step)
            }
        }
    }

    /// What goes on, with what waited before it; nothing waits any more.
    pub(super) fn after_waiting(&mut self, body: &Body<'_>, passed: Passed) -> Passed {
        match (core::mem::take(&mut self.waiting), passed) {
            (0, passed) => passed,
            // The host holds it all, in its order.
            (_, Passed::Unchanged) => Passed::Unchanged,
            (waiting, Passed::Replaced(bytes)) => Passed::Replaced([(body.read)(0, waiting), bytes].concat()),
        }
    }

    /// A part of a stream goes on, or waits with the end that is kept back.
    pub(super) fn goes_on(mut self: Box<Self>, body: &Body<'_>, passed: Passed) -> (Exchange, Step) {
        let step = step(passed);
        let waits = matches!(&self.reader, Reader::Stream(reader) if reader.keeps_end());
        if !waits {
            return (Exchange::Responding(self), step);
        }
        self.waiting = step.body.as_ref().map_or(body.size, Vec::len);
        let flow = Flow::Hold;
        (Exchange::Responding(self), Step { flow, ..step })
    }
}

/// Whatever would have to be written into a body of which the host holds nothing.
fn unwritten<S: Store>(turn: &Turn<'_, S>, mut exchange: Exchange, step: Step) -> (Exchange, Step) {
    let (Flow::Continue, Some(body)) = (&step.flow, step.body.filter(|body| !body.is_empty())) else {
        let flow = step.flow;
        return (
            exchange,
            Step {
                flow,
                ..Step::edited(step.edits)
            },
        );
    };
    if let Exchange::Done(record) = &mut exchange {
        record.close(Ending::Aborted.as_str(), turn.now.monotonic);
    }
    let kind = if body.starts_with(b"{") {
        "application/json"
    } else {
        "text/event-stream"
    };
    let reply = Reply {
        status: 502,
        headers: vec![("content-type".into(), kind.into())],
        body,
        details: "spillway_trailers",
    };
    (exchange, Step::reply(reply.with(&step.edits)))
}
