//! An attempt that is over: settled, recorded, and followed by what comes next.

use crate::dialect::Endpoint;
use crate::failover::Fault;
use crate::ledger::Ticket;
use crate::policy::Hop;
use crate::report::Record;
use crate::report::metric::{GaveUp, Metric};
use crate::report::record::{Tried, milliseconds};
use crate::store::Store;
use crate::time::Instant;

use super::super::booking::settle_there;
use super::super::guarding::Watching;
use super::super::settle::Cost;
use super::super::{Exchange, Step, Turn};
use super::calling::{Calling, Phase};
use super::kept::{Kept, charged};
use super::next::Next;

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
    /// What guards look for in the next answer as well.
    pub(in super::super) watching: Option<Box<Watching>>,
}

impl Ended {
    /// Settles the attempt, and goes on to what comes next.
    pub(in super::super) fn go_on<S: Store>(
        mut self,
        turn: &mut Turn<'_, S>,
        mut kept: Box<Kept>,
        next: Next,
    ) -> (Exchange, Step) {
        self.note(turn, &next, &kept);
        let there = kept.part(self.ticket);
        settle_there(turn, there, self.cost);
        if let Some(route) = turn.gateway.route(&self.record.model) {
            let cost = charged(&route.failover, self.cost.both());
            kept.before.add(cost.0, cost.1);
        }
        kept.lately = self.cost;
        kept.due = None;
        kept.listening = None;
        kept.watching = self.watching;
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

    fn note<S: Store>(&mut self, turn: &mut Turn<'_, S>, next: &Next, kept: &Kept) {
        let rules = turn
            .gateway
            .route(&self.record.model)
            .map(|route| &route.failover);
        let why = rules.and_then(|rules| self.fault.gives_up(rules, false));
        let why = why.or_else(|| kept.drills().then(|| self.fault.why()));
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
