//! Giving an attempt up: for its status, for its first words, or because its time is over.

use core::time::Duration;

use crate::breaker::{Failure, Outcome};
use crate::failover::Fault;
use crate::report::metric::GaveUp;
use crate::report::record::Tried;
use crate::store::Store;
use crate::time::Instant;

use super::super::admit::Admitted;
use super::super::respond::Responding;
use super::super::settle::{Cost, observe};
use super::super::{Exchange, ResponseHead, Step, Turn, blame};
use super::answered::LastAnswer;
use super::calling::Calling;
use super::ended::{Ended, Line};
use super::kept::Kept;
use super::next::{Asking, Next, Overdue};

impl Admitted {
    /// When its time is up.
    pub(in super::super) fn due(&self) -> Option<Instant> {
        self.kept.as_ref()?.due()
    }

    /// No answer came in time: the next candidate is asked, if there is one; else it is waited for on.
    pub(in super::super) fn overdue<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
    ) -> (Exchange, Step) {
        let past = past_due(&mut self.kept, turn.now.monotonic);
        let Some((overdue, mut kept)) = past.and_then(|overdue| Some((overdue, self.kept.take()?))) else {
            return (Exchange::Admitted(self), Step::hold());
        };
        let mut asking = Asking {
            endpoint: self.endpoint,
            record: &mut self.record,
        };
        let next = kept.next(turn, &mut asking, overdue.fault());
        if matches!(next, Next::Nobody) {
            self.kept = Some(kept);
            return (Exchange::Admitted(self), Step::hold());
        }
        if let Some(pass) = self.pass {
            observe(turn, self.hop, pass, Outcome::Failure(Failure::Timeout));
        }
        let ended = Ended {
            endpoint: self.endpoint,
            hop: self.hop,
            retry: self.retry,
            estimate: self.ticket.prompt(),
            cost: Cost::estimated(self.ticket.prompt(), 0),
            choices: self.choices,
            ticket: self.ticket,
            sent: self.sent,
            status: None,
            fault: overdue.fault(),
            record: self.record,
            watching: self.watching,
        };
        ended.go_on(turn, kept, next)
    }
}

impl Kept {
    fn due(&self) -> Option<Instant> {
        self.due.map(|(at, _)| at)
    }
}

/// What is past, taken: it is decided upon once.
fn past_due(kept: &mut Option<Box<Kept>>, now: Instant) -> Option<Overdue> {
    let (_, overdue) = kept.as_mut()?.due.take_if(|(at, _)| *at <= now)?;
    Some(overdue)
}

impl Responding {
    /// An answer whose status isn't good: asks the next candidate, if the policy says so and there is one. Comes back
    /// unchanged where that can't be.
    pub(in super::super) fn reconsider<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        (head, details): (&ResponseHead<'_>, &[u8]),
        wait: Option<Duration>,
    ) -> Result<(Exchange, Step), Box<Self>> {
        let Some(kept) = &mut self.kept else {
            return Err(self);
        };
        // Where a better answer was asked for, anything is reason enough to go on.
        let other = kept.dismissed.as_ref().map(|_| Fault::Reset);
        let Some(fault) = fault_of(self.status, details, wait).or(other) else {
            return Err(self);
        };
        let own = matches!(fault, Fault::Status(..));
        kept.last = own.then(|| LastAnswer::of(self.status, head));
        self.give_up(turn, fault)
    }

    /// The attempt whose answer the client gets, where there were several.
    pub(in super::super) fn note_last_attempt<S: Store>(&mut self, turn: &Turn<'_, S>, cost: Cost) {
        let (input, output) = cost.both();
        if !self.kept.as_ref().is_some_and(|kept| kept.calls()) {
            // By the host's router: it stands there already.
            let last = self.record.attempts.last_mut();
            if let Some(line) = last.filter(|line| line.gave_up.is_empty()) {
                line.tokens = input.saturating_add(output);
            }
            return;
        }
        let line = Line {
            hop: self.hop,
            status: Some(self.status),
            gave_up: self.unanswered,
            sent: self.sent,
        };
        self.record.attempts.push(Tried {
            tokens: input.saturating_add(output),
            ..line.tried(turn)
        });
    }

    /// Gives the answer up for `fault` and asks the next candidate. Comes back unchanged where that can't be.
    pub(in super::super) fn give_up<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        fault: Fault,
    ) -> Result<(Exchange, Step), Box<Self>> {
        let Some(mut kept) = self.kept.take() else {
            return Err(self);
        };
        let mut asking = Asking {
            endpoint: self.endpoint,
            record: &mut self.record,
        };
        let next = kept.next(turn, &mut asking, fault);
        let has_more =
            kept.dismissed.is_some() || kept.moves && Calling::has_last_words(turn, &self.record, fault);
        if matches!(next, Next::Nobody) && !has_more {
            self.kept = Some(kept);
            return Err(self);
        }
        let outcome = outcome_of(fault);
        if let Some(pass) = self.pass.take() {
            observe(turn, self.hop, pass, outcome);
        }
        let cost = self.cost_so_far(fault);
        Ok(Ended {
            endpoint: self.endpoint,
            hop: self.hop,
            retry: self.retry,
            estimate: self.estimate,
            choices: self.choices,
            ticket: self.ticket,
            sent: self.sent,
            status: Some(self.status),
            cost,
            fault,
            record: self.record,
            watching: self.watching,
        }
        .go_on(turn, kept, next))
    }

    /// What an attempt cost of which nothing is passed on: what the provider said, or the prompt it may have read.
    fn cost_so_far(&self, fault: Fault) -> Cost {
        match self.progress().and_then(|progress| progress.usage) {
            Some(usage) => Cost::said(usage),
            None if fault.may_cost() => Cost::estimated(self.estimate, 0),
            None => Cost::default(),
        }
    }

    /// When its time is up, while its head is held.
    pub(in super::super) fn due(&self) -> Option<Instant> {
        self.kept.as_ref()?.due()
    }

    /// No first token came in time.
    pub(in super::super) fn overdue<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
    ) -> (Exchange, Step) {
        let Some(overdue) = past_due(&mut self.kept, turn.now.monotonic) else {
            return (Exchange::Responding(self), Step::hold());
        };
        match self.give_up(turn, overdue.fault()) {
            Ok(next) => next,
            Err(same) => (Exchange::Responding(same), Step::hold()),
        }
    }
}

/// Why there is no answer, where the host answered in the provider's place.
pub(in super::super) fn unanswered(status: u16, details: &[u8]) -> Option<GaveUp> {
    match fault_of(status, details, None)? {
        Fault::Connect => Some(GaveUp::Connect),
        Fault::Reset => Some(GaveUp::Reset),
        Fault::Timeout | Fault::FirstToken => Some(GaveUp::Timeout),
        Fault::StreamError | Fault::Malformed | Fault::Invalid | Fault::Status(..) => None,
    }
}

/// What went wrong, by the status and the host's word for how it came to be.
fn fault_of(status: u16, details: &[u8], wait: Option<Duration>) -> Option<Fault> {
    match blame::of_status(status, details, wait)? {
        Outcome::Failure(Failure::Connect) => Some(Fault::Connect),
        Outcome::Failure(Failure::Reset) => Some(Fault::Reset),
        Outcome::Failure(Failure::Timeout) => Some(Fault::Timeout),
        Outcome::Failure(_) | Outcome::RateLimited { .. } => Some(Fault::Status(status, wait)),
        Outcome::Neutral if details.is_empty() || details == b"via_upstream" => {
            Some(Fault::Status(status, wait))
        }
        // The proxy's own thresholds.
        Outcome::Unsent => Some(Fault::Connect),
        Outcome::Neutral | Outcome::Unanswered | Outcome::Success { .. } => None,
    }
}

/// What the breaker is told of an answer that was given up though its status was good.
fn outcome_of(fault: Fault) -> Outcome {
    match fault {
        Fault::Connect => Outcome::Failure(Failure::Connect),
        Fault::Reset => Outcome::Failure(Failure::Reset),
        Fault::Timeout | Fault::FirstToken => Outcome::Failure(Failure::Timeout),
        Fault::StreamError => Outcome::Failure(Failure::StreamError),
        Fault::Malformed => Outcome::Failure(Failure::Malformed),
        // It answered well enough for a breaker.
        Fault::Invalid => Outcome::Neutral,
        Fault::Status(status, _) => Outcome::Failure(Failure::Status(status)),
    }
}
