//! Between attempts: a wait, or a call that is on its way. The client's answer is held meanwhile.

use core::time::Duration;

use crate::breaker::{Failure, Outcome, Pass};
use crate::dialect::Endpoint;
use crate::failover::Fault;
use crate::ledger::{Lesson, Ticket};
use crate::policy::Hop;
use crate::report::Record;
use crate::report::metric::{GaveUp, Metric};
use crate::report::record::{Tried, milliseconds};
use crate::store::Store;
use crate::time::Instant;

use super::super::admit::Admitted;
use super::super::blame::Ending;
use super::super::respond::Responding;
use super::super::settle::{Cost, observe, settle_own, settle_there};
use super::super::{Body, Exchange, Flow, ResponseHead, Step, Turn, blame};
use super::answered::LastAnswer;
use super::kept::{Kept, charged};
use super::next::{Asking, Chosen, Next, Overdue};
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

/// An attempt that is over, its breaker told.
pub(in super::super) struct Ended {
    pub(in super::super) endpoint: Endpoint,
    pub(in super::super) hop: Hop,
    pub(in super::super) retry: bool,
    pub(in super::super) estimate: u64,
    pub(in super::super) choices: u32,
    pub(in super::super) ticket: Ticket,
    pub(in super::super) sent: Instant,
    /// What it answered, if it did.
    pub(in super::super) status: Option<u16>,
    pub(in super::super) cost: Cost,
    pub(in super::super) fault: Fault,
    pub(in super::super) record: Box<Record>,
}

impl Ended {
    /// Settles the attempt, and goes on to what comes next.
    pub(in super::super) fn go_on<S: Store>(
        mut self,
        turn: &mut Turn<'_, S>,
        mut kept: Box<Kept>,
        next: Next,
    ) -> (Exchange, Step) {
        self.note(turn, &kept, &next);
        let policy = &turn.gateway.policy;
        let there = kept.part(policy, self.ticket);
        settle_there(turn, there, self.cost);
        if let Some(route) = turn.gateway.route(&self.record.model) {
            let cost = charged(&route.failover, self.cost.both());
            kept.before.add(cost.0, cost.1);
        }
        kept.due = None;
        kept.listening = None;
        let state = Box::new(Calling {
            endpoint: self.endpoint,
            retry: self.retry,
            estimate: self.estimate,
            choices: self.choices,
            record: self.record,
            kept,
            phase: Phase::Waiting(turn.now.monotonic, self.hop),
        });
        match next {
            Next::Go(chosen) => state.call(turn, chosen),
            Next::Wait(until, hop) => state.wait(until, hop),
            Next::Nobody => state.exhausted(turn),
        }
    }

    fn note<S: Store>(&mut self, turn: &mut Turn<'_, S>, kept: &Kept, next: &Next) {
        let rules = turn
            .gateway
            .route(&self.record.model)
            .map(|route| &route.failover);
        let why = rules.and_then(|rules| self.fault.gives_up(rules, false));
        if let Some(why) = why {
            turn.count(Metric::GaveUp(self.hop.provider, why));
        }
        let now = turn.now.monotonic;
        let wait = match next {
            Next::Wait(until, _) => Some(until.since(now)),
            Next::Go(_) | Next::Nobody => self.fault.asked(),
        };
        let (input, output) = self.cost.both();
        let line = Line {
            hop: self.hop,
            status: self.status,
            gave_up: why,
            sent: self.sent,
        };
        let tried = Tried {
            wait_ms: wait.map(milliseconds),
            tokens: input.saturating_add(output),
            ..line.tried(turn)
        };
        self.record.attempts.push(tried);
        debug_assert!(kept.tried.last() == Some(&self.hop));
    }
}

/// What of an attempt goes into the record.
pub(in super::super) struct Line {
    pub(in super::super) hop: Hop,
    pub(in super::super) status: Option<u16>,
    pub(in super::super) gave_up: Option<GaveUp>,
    pub(in super::super) sent: Instant,
}

impl Line {
    pub(in super::super) fn tried<S: Store>(&self, turn: &Turn<'_, S>) -> Tried {
        let provider = turn.gateway.policy.providers.get(self.hop.provider);
        let model = provider.and_then(|p| p.models.get(self.hop.model));
        Tried {
            provider: provider.map(|p| p.name.clone()).unwrap_or_default(),
            model: model.map(|m| m.name.clone()).unwrap_or_default(),
            status: self.status,
            gave_up: self.gave_up.map_or("", GaveUp::as_str),
            ms: milliseconds(turn.now.monotonic.since(self.sent)),
            wait_ms: None,
            tokens: 0,
        }
    }
}

impl Calling {
    fn wait(mut self: Box<Self>, until: Instant, hop: Hop) -> (Exchange, Step) {
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
        let Some(outgoing) = written else {
            observe(turn, chosen.hop, chosen.pass, Outcome::Neutral);
            settle_there(turn, chosen.ticket, Cost::default());
            return self.exhausted(turn);
        };
        turn.count(Metric::Callout(chosen.hop.provider));
        self.kept.tried.push(chosen.hop);
        self.choices = outgoing.choices;
        self.phase = Phase::Called(Box::new(Called {
            hop: chosen.hop,
            pass: chosen.pass,
            ticket: chosen.ticket,
            written: outgoing.written,
            sent: now,
        }));
        let step = Step {
            flow: Flow::Call(Box::new(outgoing.call)),
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
    fn later<S: Store>(&self, turn: &Turn<'_, S>, until: Instant, at: Option<Instant>) -> Option<Instant> {
        let rules = &turn.gateway.route(&self.record.model)?.failover;
        let bound = until.after(rules.retry_after_max);
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

    /// The client went away, or the host ended the stream.
    pub(in super::super) fn abandoned<S: Store>(
        self: Box<Self>,
        turn: &mut Turn<'_, S>,
        ending: Ending,
    ) -> Box<Record> {
        let now = turn.now.monotonic;
        let (mut record, mut kept) = (self.record, self.kept);
        let mut own_cost = Cost::estimated(0, 0);
        if let Phase::Called(called) = self.phase {
            observe(turn, called.hop, called.pass, Outcome::Neutral);
            let cost = Cost::estimated(self.estimate, 0);
            settle_there(turn, called.ticket, cost);
            own_cost = cost;
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
        let total = own_cost.and(kept.before());
        if let Some(own) = kept.take_own() {
            settle_own(turn, own, total, Lesson::default());
        }
        record.actual = Some(own_cost.actual());
        record.close(ending.as_str(), now);
        record
    }
}

impl Admitted {
    /// Goes out as a call from the beginning.
    pub(in super::super) fn call<S: Store>(
        self: Box<Self>,
        turn: &mut Turn<'_, S>,
        mut kept: Box<Kept>,
    ) -> (Exchange, Step) {
        let estimate = self.ticket.prompt();
        let ticket = kept.part(&turn.gateway.policy, self.ticket);
        kept.tried.clear();
        kept.due = None;
        let state = Box::new(Calling {
            endpoint: self.endpoint,
            retry: self.retry,
            estimate,
            choices: self.choices,
            record: self.record,
            kept,
            phase: Phase::Waiting(turn.now.monotonic, self.hop),
        });
        match self.pass {
            Some(pass) => state.call(
                turn,
                Chosen {
                    hop: self.hop,
                    pass,
                    ticket,
                },
            ),
            None => state.exhausted(turn),
        }
    }

    /// When its time is up.
    pub(in super::super) fn due(&self) -> Option<Instant> {
        self.kept.as_ref()?.due.map(|(at, _)| at)
    }

    /// No answer came in time: the next candidate is asked, if there is one; else it is waited for on.
    pub(in super::super) fn overdue<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
    ) -> (Exchange, Step) {
        let past = self.kept.as_mut().and_then(|kept| past_due(kept, turn.now.monotonic));
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
        };
        ended.go_on(turn, kept, next)
    }
}

/// What is past, taken: it is decided upon once.
pub(super) fn past_due(kept: &mut Kept, now: Instant) -> Option<Overdue> {
    let (_, overdue) = kept.due.take_if(|(at, _)| *at <= now)?;
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
        let Some(fault) = fault_of(self.status, details, wait) else {
            return Err(self);
        };
        let own = matches!(fault, Fault::Status(..));
        kept.last = own.then(|| LastAnswer::of(self.status, head));
        self.give_up(turn, fault)
    }

    /// The attempt whose answer the client gets, where there were several.
    pub(in super::super) fn note_last_attempt<S: Store>(&mut self, turn: &Turn<'_, S>, cost: Cost) {
        if !self.kept.as_ref().is_some_and(|kept| kept.calls()) {
            return;
        }
        let (input, output) = cost.both();
        let line = Line {
            hop: self.hop,
            status: Some(self.status),
            gave_up: None,
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
        if matches!(next, Next::Nobody) && !Calling::has_last_words(turn, &self.record, fault) {
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
            estimate: self.ticket.prompt(),
            choices: self.choices,
            ticket: self.ticket,
            sent: self.sent,
            status: Some(self.status),
            cost,
            fault,
            record: self.record,
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
        self.kept.as_ref()?.due.map(|(at, _)| at)
    }

    /// No first token came in time.
    pub(in super::super) fn overdue<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
    ) -> (Exchange, Step) {
        let past = self
            .kept
            .as_mut()
            .and_then(|kept| past_due(kept, turn.now.monotonic));
        let Some(overdue) = past else {
            return (Exchange::Responding(self), Step::hold());
        };
        match self.give_up(turn, overdue.fault()) {
            Ok(next) => next,
            Err(same) => (Exchange::Responding(same), Step::hold()),
        }
    }
}

/// What went wrong, by the status and the host's word for how it came to be.
fn fault_of(status: u16, details: &[u8], wait: Option<Duration>) -> Option<Fault> {
    let overflow = details.windows(9).any(|part| part == b"{overflow");
    match blame::of_status(status, details, wait)? {
        Outcome::Failure(Failure::Connect) => Some(Fault::Connect),
        Outcome::Failure(Failure::Reset) => Some(Fault::Reset),
        Outcome::Failure(Failure::Timeout) => Some(Fault::Timeout),
        Outcome::Failure(_) | Outcome::RateLimited { .. } => Some(Fault::Status(status, wait)),
        Outcome::Neutral if details.is_empty() || details == b"via_upstream" => {
            Some(Fault::Status(status, wait))
        }
        // The proxy's own thresholds: it was never sent.
        Outcome::Neutral if overflow => Some(Fault::Connect),
        Outcome::Neutral | Outcome::Success { .. } => None,
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
        Fault::Status(status, _) => Outcome::Failure(Failure::Status(status)),
    }
}
