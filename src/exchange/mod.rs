//! THE ORDER: one request and its response as a state machine.
//!
//! ```text
//! Start ── headers ──▶ Identified ── body ──▶ Admitted ── status ──▶ Responding ── end ──▶ Done
//!   └── other path ──▶ Bypassed      └───────────── refused ───────────────────────────────▲
//! ```
//!
//! Each callback of the host consumes the state and answers the next one with a [`Step`]: what the shell has to do.
//! The invariant: a ticket that was taken is settled exactly once, whichever way the exchange ends.

// States move between callbacks as one pointer, not by their size.
#![allow(clippy::boxed_local)]

mod admit;
mod ahead;
mod answer;
mod arrive;
pub mod attempt;
mod blame;
mod booking;
mod buffered;
mod callout;
mod counting;
mod drill;
mod errand;
pub mod fleet;
mod foreign;
mod gateway;
mod guarding;
mod held;
mod identify;
mod judge;
mod moderation;
mod overtime;
mod plan;
mod refuse;
mod relay;
mod respond;
mod review;
mod send;
mod settle;
mod spent;
mod step;
#[cfg(test)]
mod tests;
mod tick;
mod trailers;

pub use ahead::Uncounted;
pub use blame::Ending;
pub use callout::{Call, CallAnswer, Calling};
pub use errand::{Errand, ErrandKind};
pub use gateway::{Change, Effects, Gateway, Turn};
pub use identify::{Identified, RequestHead};
pub use moderation::Watched;
pub use respond::{Responding, ResponseHead};
pub use step::{Body, Edit, Flow, Reply, Resume, Step, Way};

use crate::policy::Bounds;
use crate::report::Record;
use crate::store::Store;
use crate::time::Instant;
use admit::Admitted;
use callout::Kept;

/// One request and its response.
#[derive(Debug, Default)]
pub enum Exchange {
    /// Nothing has come yet.
    #[default]
    Start,
    /// Not ours to judge: passes untouched.
    Bypassed,
    /// Passes uncounted, as the policy says.
    Uncounted(Box<Uncounted>),
    /// The caller is known; the body is being gathered.
    Identified(Box<Identified>),
    /// Sent to a provider, its tokens set aside.
    Admitted(Box<Admitted>),
    /// The answer passes.
    Responding(Box<Responding>),
    /// Given up, and asked again elsewhere; the answer is held.
    Calling(Box<Calling>),
    /// One of the others, that somebody outside looks at.
    Watched(Box<Watched>),
    /// Settled, or refused; the record waits for the log.
    Done(Box<Record>),
}

/// What an exchange adds to its worker's load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// It was sent to a provider and hasn't ended.
    pub active: bool,
    /// It asks a provider once more.
    pub repeats: bool,
    /// Bytes of its request that are kept.
    pub kept: usize,
}

impl Exchange {
    /// The request's headers are here.
    #[must_use]
    pub fn request_headers<S: Store>(self, turn: &mut Turn<'_, S>, head: &RequestHead<'_>) -> (Self, Step) {
        match self {
            Self::Start => moderation::begin(turn, head),
            Self::Watched(state) => state.around(|inner| inner.request_headers(turn, head)),
            Self::Bypassed
            | Self::Uncounted(_)
            | Self::Identified(_)
            | Self::Admitted(_)
            | Self::Responding(_)
            | Self::Calling(_)
            | Self::Done(_) => (self, Step::pass()),
        }
    }

    /// More of the request's body is here; `body` holds all that is buffered.
    #[must_use]
    pub fn request_body<S: Store>(self, turn: &mut Turn<'_, S>, body: &Body<'_>) -> (Self, Step) {
        match self {
            Self::Identified(state) => state.body(turn, body),
            Self::Watched(state) => state.request_body(turn, body),
            Self::Start
            | Self::Bypassed
            | Self::Uncounted(_)
            | Self::Admitted(_)
            | Self::Responding(_)
            | Self::Calling(_)
            | Self::Done(_) => (self, Step::pass()),
        }
    }

    /// The request ends with trailers: a body that hasn't been judged by now never will be.
    #[must_use]
    pub fn request_trailers<S: Store>(self, turn: &mut Turn<'_, S>) -> (Self, Step) {
        match self {
            Self::Identified(state) => state.trailers(turn),
            Self::Watched(state) => state.around(|inner| inner.request_trailers(turn)),
            Self::Start
            | Self::Bypassed
            | Self::Uncounted(_)
            | Self::Admitted(_)
            | Self::Responding(_)
            | Self::Calling(_)
            | Self::Done(_) => (self, Step::pass()),
        }
    }

    /// The response's headers are here.
    #[must_use]
    pub fn response_headers<S: Store>(self, turn: &mut Turn<'_, S>, head: &ResponseHead<'_>) -> (Self, Step) {
        match self {
            Self::Admitted(state) => state.respond(turn, head),
            Self::Identified(state) => state.answered_by_host(turn, head),
            Self::Uncounted(state) => state.respond(head),
            Self::Calling(_) => (self, Step::hold()),
            Self::Watched(state) => state.response_headers(turn, head),
            Self::Start | Self::Bypassed | Self::Responding(_) | Self::Done(_) => (self, Step::pass()),
        }
    }

    /// More of the response's body is here.
    #[must_use]
    pub fn response_body<S: Store>(self, turn: &mut Turn<'_, S>, body: &Body<'_>) -> (Self, Step) {
        match self {
            Self::Responding(state) => state.body(turn, body),
            Self::Calling(state) => state.held_body(body),
            Self::Watched(state) => state.response_body(turn, body),
            Self::Start
            | Self::Bypassed
            | Self::Uncounted(_)
            | Self::Identified(_)
            | Self::Admitted(_)
            | Self::Done(_) => (self, Step::pass()),
        }
    }

    /// The response ends with trailers, and its body with what the host still holds; none where it holds none of it.
    #[must_use]
    pub fn response_trailers<S: Store>(
        self,
        turn: &mut Turn<'_, S>,
        held: Option<&Body<'_>>,
    ) -> (Self, Step) {
        match self {
            Self::Responding(state) => state.trailers(turn, held),
            Self::Watched(state) => state.response_trailers(turn, held),
            Self::Calling(_) => (self, Step::hold()),
            Self::Start
            | Self::Bypassed
            | Self::Uncounted(_)
            | Self::Identified(_)
            | Self::Admitted(_)
            | Self::Done(_) => (self, Step::pass()),
        }
    }

    /// Whether a body of this size that goes on can only be waited for.
    #[must_use]
    pub fn only_waits(&self, bounds: &Bounds, size: usize) -> bool {
        match self {
            Self::Identified(_) => size <= bounds.request_body,
            Self::Watched(state) => state.inner().only_waits(bounds, size),
            Self::Responding(_)
            | Self::Calling(_)
            | Self::Start
            | Self::Bypassed
            | Self::Uncounted(_)
            | Self::Admitted(_)
            | Self::Done(_) => false,
        }
    }

    /// Before [`Exchange::end`]: what attempts left behind of an exchange that nobody answered.
    pub fn recall<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        property: &dyn Fn(&[&str]) -> Option<Vec<u8>>,
    ) {
        match self {
            Self::Admitted(state) => state.recall(turn, property),
            Self::Watched(state) => state.inner_mut().recall(turn, property),
            Self::Start
            | Self::Bypassed
            | Self::Uncounted(_)
            | Self::Identified(_)
            | Self::Responding(_)
            | Self::Calling(_)
            | Self::Done(_) => {}
        }
    }

    /// The call known by `of` was answered, or couldn't be made.
    #[must_use]
    pub fn called<S: Store>(self, turn: &mut Turn<'_, S>, of: usize, answer: CallAnswer) -> (Self, Step) {
        match self {
            Self::Calling(state) => state.answered(turn, answer),
            Self::Watched(state) => state.called(turn, of, answer),
            Self::Start
            | Self::Bypassed
            | Self::Uncounted(_)
            | Self::Identified(_)
            | Self::Admitted(_)
            | Self::Responding(_)
            | Self::Done(_) => (self, Step::hold()),
        }
    }

    /// When [`Self::woken`] is to be called, if ever: the end of a wait, or of a provider's time.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        match self {
            Self::Admitted(state) => state.due(),
            Self::Responding(state) => state.due(),
            Self::Calling(state) => state.due(),
            Self::Watched(state) => state.due(),
            Self::Start | Self::Bypassed | Self::Uncounted(_) | Self::Identified(_) | Self::Done(_) => None,
        }
    }

    /// The time has come. Nothing goes on by itself: what is held stays held.
    #[must_use]
    pub fn woken<S: Store>(self, turn: &mut Turn<'_, S>) -> (Self, Step) {
        match self {
            Self::Admitted(state) => state.overdue(turn),
            Self::Responding(state) => state.overdue(turn),
            Self::Calling(state) => state.resume(turn),
            Self::Watched(state) => state.woken(turn),
            Self::Start | Self::Bypassed | Self::Uncounted(_) | Self::Identified(_) | Self::Done(_) => {
                (self, Step::hold())
            }
        }
    }

    /// Whether what comes of an answer's headers changes nothing any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Start | Self::Bypassed | Self::Done(_) => true,
            Self::Watched(state) => !state.asks() && state.inner().is_over(),
            Self::Uncounted(_)
            | Self::Identified(_)
            | Self::Admitted(_)
            | Self::Responding(_)
            | Self::Calling(_) => false,
        }
    }

    /// Whether an answer's body is read.
    #[must_use]
    pub fn reads_answer(&self) -> bool {
        match self {
            Self::Responding(_) | Self::Calling(_) => true,
            Self::Watched(state) => state.asks() || state.drops() || state.inner().reads_answer(),
            Self::Start
            | Self::Bypassed
            | Self::Uncounted(_)
            | Self::Identified(_)
            | Self::Admitted(_)
            | Self::Done(_) => false,
        }
    }

    /// What it adds to its worker's load.
    #[must_use]
    pub fn weight(&self) -> Weight {
        let (kept, asked) = match self {
            Self::Watched(state) => return state.weight(),
            Self::Admitted(state) => (state.kept.as_deref(), state.asked.as_deref()),
            Self::Responding(state) => (state.kept.as_deref(), state.asked.as_deref()),
            Self::Calling(state) => (Some(state.kept()), None),
            Self::Start | Self::Bypassed | Self::Uncounted(_) | Self::Identified(_) | Self::Done(_) => {
                (None, None)
            }
        };
        let asked = asked.map_or(0, |asked| asked.size());
        Weight {
            active: matches!(self, Self::Admitted(_) | Self::Responding(_) | Self::Calling(_)),
            repeats: kept.is_some_and(Kept::repeats),
            kept: kept.map_or(asked, Kept::size),
        }
    }

    /// The stream is over, one way or the other. Settles what is left; answers the record of an exchange that was ours.
    #[must_use]
    pub fn end<S: Store>(self, turn: &mut Turn<'_, S>, ending: Ending) -> Option<Box<Record>> {
        match self {
            Self::Start | Self::Bypassed => None,
            Self::Uncounted(state) => Some(state.ended(turn)),
            Self::Identified(state) => Some(state.abandoned(turn)),
            Self::Admitted(state) => Some(state.unanswered(turn, ending)),
            Self::Responding(state) => Some(state.broken_off(turn, ending)),
            Self::Calling(state) => Some(state.abandoned(turn, ending)),
            Self::Watched(state) => state.end(turn, ending),
            Self::Done(record) => Some(record),
        }
    }
}
