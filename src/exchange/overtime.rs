//! A stream that still goes on when its whole time is nearly up: ended in its own protocol before the host's router resets
//! it.
//!
//! Its invariant: once its end was told nothing more of it passes. Only a chunk that comes lets us speak: a stream that
//! falls silent is reset by the router at its time, since hosts give no way to write into one that isn't passing.

use core::time::Duration;

use crate::dialect::{ErrorKind, error_event};
use crate::store::Store;
use crate::time::Instant;

use super::admit::Admitted;
use super::blame::Ending;
use super::respond::{Reader, Responding};
use super::step::Reply;
use super::{Body, Exchange, Flow, Step, Turn};

/// So much before the router's time is up, at most: many chunks come within it.
const MARGIN: Duration = Duration::from_secs(1);
/// Of a shorter time, this part.
const PART: u32 = 10;

/// What a client is told of a stream that took too long.
const LATE: &str = "the answer took longer than it may";

/// Until when a stream may go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Overtime {
    /// Nobody ends it.
    #[default]
    Never,
    /// The first chunk from here on is its end.
    From(Instant),
    /// Its end was told.
    Told,
}

impl Overtime {
    /// For a request that goes out `now`, and that the router gives so long.
    pub(super) fn within(whole: Duration, now: Instant) -> Self {
        let margin = (whole / PART).min(MARGIN);
        Self::From(now.after(whole.saturating_sub(margin)))
    }
}

impl Admitted {
    /// Until when its answer may go on, by what the router was told.
    pub(super) fn overtime(&self) -> Overtime {
        let first = self.kept.as_ref().filter(|kept| !kept.calls());
        match (self.relay, first.and_then(|kept| kept.until())) {
            (Some(relay), _) => relay.overtime,
            (None, Some(until)) => Overtime::within(until.since(self.sent), self.sent),
            (None, None) => Overtime::Never,
        }
    }
}

impl Responding {
    /// Ends a stream whose time is up. Comes back unchanged where it may go on.
    pub(super) fn end_late<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> Result<(Exchange, Step), Box<Self>> {
        let late = match self.overtime {
            Overtime::Never => false,
            Overtime::From(at) => at <= turn.now.monotonic && !body.end,
            Overtime::Told => return Ok(self.cut_off(turn, body)),
        };
        if !late || !matches!(self.reader, Reader::Stream(_)) || !self.is_good() {
            return Err(self);
        }
        self.overtime = Overtime::Told;
        let separator: &[u8] = if self.fail() { b"" } else { b"\n\n" };
        let event = error_event(self.endpoint, ErrorKind::Unavailable, LATE);
        let waited = (body.read)(0, core::mem::take(&mut self.waiting));
        let last = [&waited, separator, &event].concat();
        Ok((Exchange::Responding(self), Step::replaced(last)))
    }

    /// What still comes isn't the client's, and costs: with the headers gone, hosts reset the stream by a reply.
    pub(super) fn cut_off<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Exchange, Step) {
        let reply = Reply {
            status: 504,
            headers: Vec::new(),
            body: Vec::new(),
            details: "spillway_overtime",
        };
        self.unchecked(turn);
        let record = self.finish(turn, Ending::Timeout);
        let nothing = Step::replaced(Vec::new());
        let flow = if body.end {
            nothing.flow
        } else {
            Flow::Reply(reply)
        };
        (Exchange::Done(record), Step { flow, ..nothing })
    }
}
