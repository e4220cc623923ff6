//! The provider role: one attempt at one provider, on the upstream side of the host's router.
//!
//! ```text
//! Start ── headers ──▶ Preparing ── body ──▶ Sent ── status ──┬─ stream ──▶ Listening ── first token ──▶ Over
//!   │                                                          │               └ another protocol ▶ Translating ▶ Over
//!   │                                                          ├─ another protocol ──▶ Gathering ── whole ──▶ Over
//!   └── no order ─────────────────────────────────────────────┴─ given up, or the client's ──────────▶ Over
//! ```
//!
//! It rewrites and observes; it can't refuse an attempt. To have the router try the next candidate it gives the answer a
//! status of its own ([`RETRY`]), which the gateway role turns back should the router not do so.
//! The invariant: an attempt's breaker is told exactly once, by the attempt if it was given up, by the gateway role if
//! its answer went to the client; and no attempt sends a credential but its own provider's.

mod ending;
mod order;
mod rendering;
mod request;
mod response;

pub use order::{MOST_ATTEMPTS, ORDER, Order, Place, Tried, tried_key};
pub(super) use order::{begun, order_pass};

pub use rendering::{Gathering, Translating};

use crate::breaker::Pass;
use crate::dialect::{Endpoint, StreamReader};
use crate::policy::Hop;
use crate::store::Store;
use crate::time::Instant;

use super::foreign::Pair;
use super::{Body, RequestHead, ResponseHead, Step, Turn};

/// The status by which an attempt asks the router for the next one. No provider's own: the router is told to retry this
/// one alone, so that what fails over is decided in one place.
pub const RETRY: u16 = 598;
/// The header with the provider's own status under [`RETRY`].
pub const OWN_STATUS: &str = "x-spillway-status";

/// One attempt.
#[derive(Debug, Default)]
pub enum Attempt {
    /// Nothing has come yet.
    #[default]
    Start,
    /// The request's body is being gathered.
    Preparing(Box<Going>),
    /// It went to the provider.
    Sent(Box<Going>),
    /// A stream's headers are held until its first token.
    Listening(Box<Listening>),
    /// An answer in another protocol is held until it is whole.
    Gathering(Box<Gathering>),
    /// A stream in another protocol is said again as it passes.
    Translating(Box<Translating>),
    /// Told and handed back, or nothing of ours.
    Over,
}

/// An attempt on its way.
#[derive(Debug)]
pub struct Going {
    order: Order,
    endpoint: Endpoint,
    hop: Hop,
    place: Place,
    /// Counted from 1.
    number: u32,
    pass: Pass,
    /// States that the breaker took by being asked.
    turned: Vec<&'static str>,
    sent: Instant,
    /// Another protocol than the client's.
    pair: Option<Pair>,
    /// What of the request it has no place for.
    dropped: Vec<&'static str>,
    /// What the headers need, once the body is written by the provider's rules.
    edits: Vec<super::Edit>,
}

/// A stream of which nothing was passed on yet.
#[derive(Debug)]
pub struct Listening {
    going: Going,
    status: u16,
    reader: Box<StreamReader>,
    /// How much of what is held was read.
    read: usize,
}

impl Attempt {
    /// The attempt's headers are here, as the gateway role or an attempt before left them.
    #[must_use]
    pub fn request_headers<S: Store>(self, turn: &mut Turn<'_, S>, head: &RequestHead<'_>) -> (Self, Step) {
        match self {
            Self::Start => request::begin(turn, head),
            Self::Preparing(_)
            | Self::Sent(_)
            | Self::Listening(_)
            | Self::Gathering(_)
            | Self::Translating(_)
            | Self::Over => (self, Step::pass()),
        }
    }

    /// The client's body, all that is buffered of it.
    #[must_use]
    pub fn request_body<S: Store>(self, turn: &mut Turn<'_, S>, body: &Body<'_>) -> (Self, Step) {
        match self {
            Self::Preparing(going) => going.body(turn, body),
            Self::Start
            | Self::Sent(_)
            | Self::Listening(_)
            | Self::Gathering(_)
            | Self::Translating(_)
            | Self::Over => (self, Step::pass()),
        }
    }

    /// The provider answers.
    #[must_use]
    pub fn response_headers<S: Store>(self, turn: &mut Turn<'_, S>, head: &ResponseHead<'_>) -> (Self, Step) {
        match self {
            Self::Sent(going) | Self::Preparing(going) => going.answered(turn, head),
            Self::Start | Self::Listening(_) | Self::Gathering(_) | Self::Translating(_) | Self::Over => {
                (self, Step::pass())
            }
        }
    }

    /// Whether nothing of an answer is to be looked at any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// More of an answer that is held.
    #[must_use]
    pub fn response_body<S: Store>(self, turn: &mut Turn<'_, S>, body: &Body<'_>) -> (Self, Step) {
        match self {
            Self::Listening(state) => state.body(turn, body),
            Self::Gathering(state) => state.body(turn, body),
            Self::Translating(state) => state.body(body),
            Self::Start | Self::Preparing(_) | Self::Sent(_) | Self::Over => (self, Step::pass()),
        }
    }

    /// The answer ends with trailers; `body` is what the host still holds of it.
    #[must_use]
    pub fn response_trailers<S: Store>(self, turn: &mut Turn<'_, S>, body: &Body<'_>) -> (Self, Step) {
        match self {
            Self::Translating(state) if !state.holds() => (Self::Over, Step::pass()),
            Self::Listening(_) | Self::Gathering(_) | Self::Translating(_) => self.response_body(turn, body),
            Self::Start | Self::Preparing(_) | Self::Sent(_) | Self::Over => (self, Step::pass()),
        }
    }

    /// The attempt is over. If nothing was answered, this is where that is told.
    pub fn end<S: Store>(self, turn: &mut Turn<'_, S>, property: &dyn Fn(&[&str]) -> Option<Vec<u8>>) {
        match self {
            Self::Preparing(going) | Self::Sent(going) => going.unanswered(turn, property),
            Self::Listening(state) => state.going.unanswered(turn, property),
            Self::Gathering(state) => state.going.unanswered(turn, property),
            Self::Start | Self::Translating(_) | Self::Over => {}
        }
    }

    /// Whether somebody still waits to be told.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Self::Preparing(_) | Self::Sent(_) | Self::Listening(_) | Self::Gathering(_) => true,
            Self::Start | Self::Translating(_) | Self::Over => false,
        }
    }
}
