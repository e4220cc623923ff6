//! Between attempts: a wait, or a call that is on its way. The client's answer is held meanwhile.

use crate::breaker::{Outcome, Pass};
use crate::dialect::Endpoint;
use crate::ledger::{Lesson, Ticket};
use crate::policy::{Charge, Hop};
use crate::report::Record;
use crate::report::metric::Metric;
use crate::report::record::Tried;
use crate::store::Store;
use crate::time::Instant;

use super::super::blame::Ending;
use super::super::booking::{give_back, settle_own, settle_there};
use super::super::settle::{Cost, observe};
use super::super::{Body, Exchange, Flow, Step, Turn};
use super::ended::Line;
use super::kept::Kept;
use super::next::{Asking, Chosen};
use super::request::Written;

/// More of an answer that was given up isn't kept.
pub(super) const MOST_OF_A_FAILURE: usize = 64 << 10;

/// Between attempts.
#[derive(Debug)]
pub struct Calling {
    pub(super) endpoint: Endpoint,
    pub(super) retry: bool,
    pub(super) estimate: u64,
    pub(super) choices: u32,
    pub(super) record: Box<Record>,
    pub(super) kept: Box<Kept>,
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// The same candidate is asked again at that time.
    Waiting(Instant, Hop),
    /// A call is on its way.
    Called(Box<Called>),
}

/// A call that is on its way.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) hop: Hop,
    pub(super) pass: Pass,
    /// The provider's part of what was set aside.
    pub(super) ticket: Ticket,
    pub(super) written: Written,
    pub(super) sent: Instant,
}

impl Calling {
    pub(super) fn wait(mut self: Box<Self>, until: Instant, hop: Hop) -> (Exchange, Step) {
        self.phase = Phase::Waiting(until, hop);
        (Exchange::Calling(self), Step::hold())
    }

    /// Asks a candidate.
    pub(super) fn call<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        chosen: Chosen,
    ) -> (Exchange, Step) {
        let now = turn.now.monotonic;
        let asked = (self.endpoint, chosen.hop);
        let written = self.kept.outgoing(turn.gateway, asked, (&self.record.model, now));
        let Some(outgoing) = written.and_then(|outgoing| self.kept.guarded(outgoing)) else {
            observe(turn, chosen.hop, chosen.pass, Outcome::Unsent);
            give_back(turn, chosen.ticket);
            if self.kept.corrected.is_none() {
                // The same body will do no better: a ladder goes on by this, or it would ask for ever.
                self.kept.tried.push(chosen.hop);
            }
            return self.exhausted(turn);
        };
        turn.count(Metric::Callout(chosen.hop.provider));
        self.kept.tried.push(chosen.hop);
        self.kept.patience = None;
        self.choices = outgoing.choices;
        self.phase = Phase::Called(Box::new(Called {
            hop: chosen.hop,
            pass: chosen.pass,
            ticket: chosen.ticket,
            written: outgoing.written,
            sent: now,
        }));
        let step = Step {
            flow: Flow::Calls(vec![outgoing.call]),
            ..Step::hold()
        };
        (Exchange::Calling(self), step)
    }

    /// When a wait is over.
    pub(in super::super) fn due(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Waiting(until, _) => Some(*until),
            Phase::Called(_) => None,
        }
    }

    pub(in super::super) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The wait is over: the same candidate is asked again, if its breaker and its limits let it.
    pub(in super::super) fn resume<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
    ) -> (Exchange, Step) {
        let Phase::Waiting(until, hop) = self.phase else {
            return (Exchange::Calling(self), Step::hold());
        };
        if turn.now.monotonic < until {
            return (Exchange::Calling(self), Step::hold());
        }
        let mut asking = Asking {
            endpoint: self.endpoint,
            record: &mut self.record,
        };
        match self.kept.again(turn, &mut asking, hop) {
            Ok(chosen) => self.call(turn, chosen),
            Err(at) => match self.later(turn, until, at) {
                Some(at) => self.wait(at, hop),
                None => self.exhausted(turn),
            },
        }
    }

    /// A breaker or a limit that has room soon is waited for, once a provider's own word was.
    fn later<S: Store>(
        &mut self,
        turn: &Turn<'_, S>,
        until: Instant,
        at: Option<Instant>,
    ) -> Option<Instant> {
        let rules = &turn.gateway.route(&self.record.model)?.failover;
        // However often others take it first.
        let bound = *self
            .kept
            .patience
            .get_or_insert(until.after(rules.retry_after_max));
        let late = |at: &Instant| self.kept.deadline.is_some_and(|deadline| deadline <= *at);
        at.filter(|at| *at > turn.now.monotonic && *at <= bound && !late(at))
    }

    /// The router's own answer came, or more of it: held, as the attempt was given up. What it says is kept for the
    /// case that nobody else answers.
    pub(in super::super) fn held_body(mut self: Box<Self>, body: &Body<'_>) -> (Exchange, Step) {
        let rest = body.whole();
        if let Some(last) = &mut self.kept.last {
            last.gather(&rest, body.end, MOST_OF_A_FAILURE);
        }
        let step = Step {
            body: (!rest.is_empty()).then(Vec::new),
            ..Step::hold()
        };
        (Exchange::Calling(self), step)
    }

    /// What the caller pays where nobody is asked any more: of the attempts the last, whatever the others are.
    pub(super) fn charged_so_far<S: Store>(&self, turn: &Turn<'_, S>) -> Cost {
        let route = turn.gateway.route(&self.record.model);
        let counted = route.is_none_or(|route| route.failover.charge == Charge::All);
        let last = if counted {
            Cost::default()
        } else {
            self.kept.lately
        };
        last.and(self.kept.before())
    }

    /// The client went away, or the host ended the stream.
    pub(in super::super) fn abandoned<S: Store>(
        self: Box<Self>,
        turn: &mut Turn<'_, S>,
        ending: Ending,
    ) -> Box<Record> {
        let now = turn.now.monotonic;
        let so_far = self.charged_so_far(turn);
        let (mut record, mut kept) = (self.record, self.kept);
        let mut own_cost = Cost::estimated(0, 0);
        let mut total = so_far;
        if let Phase::Called(called) = self.phase {
            observe(turn, called.hop, called.pass, Outcome::Unanswered);
            let cost = Cost::estimated(self.estimate, 0);
            settle_there(turn, called.ticket, cost);
            own_cost = cost;
            total = cost.and(kept.before());
            let line = Line {
                hop: called.hop,
                status: None,
                gave_up: None,
                sent: called.sent,
            };
            record.attempts.push(Tried {
                tokens: self.estimate,
                ..line.tried(turn)
            });
        }
        if let Some(own) = kept.take_own() {
            settle_own(turn, own, total, Lesson::default());
        }
        record.actual = Some(own_cost.actual());
        record.close(ending.as_str(), now);
        record
    }
}
