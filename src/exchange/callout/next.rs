//! Which candidate is asked next: the next of the chain that may go, or after a wait the only one again.

use crate::breaker::{Outcome, Pass};
use crate::dialect::{Endpoint, scan};
use crate::failover::{self, Fault, Times};
use crate::ledger::{Admission, Request, Ticket};
use crate::policy::{Failover, Hop, ModelRoute};
use crate::report::Record;
use crate::report::metric::{Metric, PassedOver, Unmoved};
use crate::route::Search;
use crate::store::Store;
use crate::time::Instant;

use super::super::Turn;
use super::super::admit::{note_chosen, note_passed, note_turned};
use super::super::foreign;
use super::super::plan::Plan;
use super::super::settle::observe;
use super::kept::Kept;

/// What is past when an attempt's time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Overdue {
    FirstToken,
    Whole,
}

impl Overdue {
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::FirstToken => Fault::FirstToken,
            Self::Whole => Fault::Timeout,
        }
    }
}

/// What comes after an attempt that failed.
#[derive(Debug)]
pub(in super::super) enum Next {
    /// This candidate, now.
    Go(Chosen),
    /// The same again, at that time.
    Wait(Instant, Hop),
    /// Nobody is left to be asked.
    Nobody,
}

/// A candidate that may go, with what was set aside for it.
#[derive(Debug)]
pub(in super::super) struct Chosen {
    pub(super) hop: Hop,
    pub(super) pass: Pass,
    pub(super) ticket: Ticket,
    /// Its provider was asked before, so that it counts in the retry budget.
    pub(super) repeats: bool,
}

/// What is known of the exchange beside what is kept.
pub(super) struct Asking<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) record: &'a mut Record,
}

impl Kept {
    /// Until when the present attempt, sent `now`, may show its first token, or an answer at all.
    pub(super) fn await_first(&mut self, rules: &Failover, prompt: u64, now: Instant) {
        let times = self.times(rules, prompt, now);
        let first = (self.stream && rules.on.first_token)
            .then(|| (now.after(times.first_token), Overdue::FirstToken));
        let whole = rules.on.timeout.then(|| (now.after(times.whole), Overdue::Whole));
        self.whole = rules.on.timeout.then(|| now.after(times.whole));
        self.due = [first, whole].into_iter().flatten().min_by_key(|(at, _)| *at);
    }

    /// How long an attempt sent `now` may take.
    pub(super) fn times(&self, rules: &Failover, prompt: u64, now: Instant) -> Times {
        let left = self.deadline.map(|deadline| deadline.since(now));
        Times::of(rules, prompt, self.output, left)
    }

    /// Chooses who is asked after the present attempt failed.
    pub(super) fn next<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        asking: &mut Asking<'_>,
        fault: Fault,
    ) -> Next {
        let gateway = turn.gateway;
        let Some(route) = gateway.route(&asking.record.model) else {
            return Next::Nobody;
        };
        let rules = &route.failover;
        if !self.may_move(turn, rules, fault) {
            return Next::Nobody;
        }
        let chosen = self.search(turn, asking, (route, &self.tried));
        self.retry_at = chosen.as_ref().err().copied().flatten();
        match (chosen, self.alone()) {
            (Ok(chosen), _) => {
                self.repeats |= chosen.repeats;
                Next::Go(chosen)
            }
            (Err(_), Some(hop)) => self.repeat(turn, rules, (hop, fault)),
            (Err(_), None) => {
                turn.count(Metric::Unmoved(Unmoved::Nobody));
                Next::Nobody
            }
        }
    }

    fn may_move<S: Store>(&self, turn: &mut Turn<'_, S>, rules: &Failover, fault: Fault) -> bool {
        let wanted = self.drills() || fault.gives_up(rules, false).is_some();
        self.moves && wanted && self.may_ask(turn, rules)
    }

    /// Whether there is an attempt left, and time for it.
    pub(super) fn may_ask<S: Store>(&self, turn: &mut Turn<'_, S>, rules: &Failover) -> bool {
        if !self.is_kept() {
            return false;
        }
        if self.tried.len() >= usize::try_from(rules.attempts).unwrap_or(usize::MAX) {
            turn.count(Metric::Unmoved(Unmoved::Attempts));
            return false;
        }
        let late = self
            .deadline
            .is_some_and(|deadline| deadline <= turn.now.monotonic);
        if late {
            turn.count(Metric::Unmoved(Unmoved::Deadline));
        }
        !late
    }

    /// The only candidate that was asked so far.
    fn alone(&self) -> Option<Hop> {
        let (first, rest) = self.tried.split_first()?;
        rest.iter().all(|hop| hop == first).then_some(*first)
    }

    /// Waits for the only candidate, if that is worth it and the budget allows it.
    fn repeat<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        rules: &Failover,
        (hop, fault): (Hop, Fault),
    ) -> Next {
        if fault.gives_up(rules, true).is_none() {
            return Next::Nobody;
        }
        let repeat = u32::try_from(self.tried.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let wait = failover::wait_to_repeat(rules, repeat, fault.asked(), turn.entropy);
        let until = wait.map(|wait| turn.now.monotonic.after(wait));
        let until = until.filter(|until| self.deadline.is_none_or(|deadline| *until < deadline));
        let Some(until) = until else {
            turn.count(Metric::Unmoved(Unmoved::Wait));
            return Next::Nobody;
        };
        if !self.may_repeat(turn, rules) {
            return Next::Nobody;
        }
        self.repeats = true;
        Next::Wait(until, hop)
    }

    /// Whether the budget has room for one more request at a provider that was asked before.
    fn may_repeat<S: Store>(&self, turn: &mut Turn<'_, S>, rules: &Failover) -> bool {
        let share = rules.retry_budget;
        let may = self.repeats || failover::acquire(turn.store, turn.load, share, turn.now.monotonic);
        if !may {
            turn.count(Metric::Unmoved(Unmoved::Budget));
        }
        may
    }

    /// Gives back what the budget had for a repeat that isn't sent: what is under way is written again, without it.
    pub(super) fn unrepeat<S: Store>(&self, turn: &Turn<'_, S>) {
        if !self.repeats {
            failover::publish(turn.store, turn.load, turn.now.monotonic);
        }
    }

    /// The same candidate again, now that its wait is over. Else when it may be asked, if ever.
    pub(super) fn again<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        asking: &mut Asking<'_>,
        hop: Hop,
    ) -> Result<Chosen, Option<Instant>> {
        let Some(route) = turn.gateway.route(&asking.record.model) else {
            return Err(None);
        };
        let only = ModelRoute {
            chain: vec![hop],
            ..route.clone()
        };
        self.search(turn, asking, (&only, &[]))
    }

    /// The first candidate that may go and has room. Else when one of those passed over may be asked.
    pub(super) fn search<S: Store>(
        &self,
        turn: &mut Turn<'_, S>,
        asking: &mut Asking<'_>,
        (route, without): (&ModelRoute, &[Hop]),
    ) -> Result<Chosen, Option<Instant>> {
        let gateway = turn.gateway;
        let Ok(facts) = scan(asking.endpoint, self.request()) else {
            return Err(None);
        };
        let mut plan = Plan::new(turn, route, &facts);
        plan.foreign = foreign::unjudged(&gateway.policy, route, asking.endpoint, facts.stream);
        plan.unjudged = Some(self.request());
        plan.refusing = foreign::refusing(&gateway.policy, route, (asking.endpoint, self.request()));
        let mut search = gateway.search(route, plan.need(asking.endpoint)).without(without);
        let found = self.first_with_room(turn, asking, (&plan, &mut search));
        note_passed(turn, &search, asking.record);
        found.ok_or(search.earliest)
    }

    fn first_with_room<S: Store>(
        &self,
        turn: &mut Turn<'_, S>,
        asking: &mut Asking<'_>,
        (plan, search): (&Plan<'_>, &mut Search<'_>),
    ) -> Option<Chosen> {
        while let Some(found) = search.next(turn.store, turn.now.monotonic, turn.entropy) {
            note_turned(turn, &found);
            if plan.unfit(&turn.gateway.policy, asking.endpoint, found.hop) {
                observe(turn, found.hop, found.pass, Outcome::Unsent);
                search.skip(found.hop, PassedOver::Dialect, None);
                continue;
            }
            let repeats = self.tried.iter().any(|hop| hop.provider == found.hop.provider);
            if repeats && !self.may_repeat(turn, &plan.route.failover) {
                observe(turn, found.hop, found.pass, Outcome::Unsent);
                continue;
            }
            match self.book(turn, plan, (asking.endpoint, found.hop)) {
                Ok(ticket) => {
                    note_chosen(turn, (found.hop, found.state), asking.record);
                    return Some(Chosen {
                        hop: found.hop,
                        pass: found.pass,
                        ticket,
                        repeats,
                    });
                }
                Err((why, at)) => {
                    if repeats {
                        self.unrepeat(turn);
                    }
                    observe(turn, found.hop, found.pass, Outcome::Unsent);
                    search.skip(found.hop, why, at);
                }
            }
        }
        None
    }

    /// Sets aside what counts the candidate's part; the caller's own is held since admission.
    fn book<S: Store>(
        &self,
        turn: &mut Turn<'_, S>,
        plan: &Plan<'_>,
        (endpoint, hop): (Endpoint, Hop),
    ) -> Result<Ticket, (PassedOver, Option<Instant>)> {
        let gateway = turn.gateway;
        let claims = gateway.claims_there(Some((&self.who, &plan.route.name)), hop.provider);
        let admit = |turn: &Turn<'_, S>, tokens| {
            let request = Request {
                claims: &claims.claims,
                habit: None,
                demand: plan.demand(endpoint, tokens),
                mode: gateway.policy.mode,
            };
            gateway.ledger.admit(turn.store, &request, turn.now.monotonic)
        };
        let tokens = plan.tokens(turn, Some(hop));
        if plan.is_too_long(turn, hop, tokens) {
            return Err((PassedOver::Context, None));
        }
        let mut admission = admit(turn, tokens);
        let mut bound = true;
        while let Admission::Unsure { room, pending } = admission {
            turn.effects.bookings.extend(pending);
            let tokens = plan.tokens_within(turn, hop, if bound { room } else { u64::MAX });
            bound = false;
            admission = admit(turn, tokens);
        }
        match admission {
            Admission::Granted(mut ticket) => {
                turn.effects.bookings.extend(ticket.take_pending());
                Ok(ticket)
            }
            Admission::Refused(mut refusal) => {
                turn.effects.bookings.extend(refusal.pending.take());
                let at = turn.now.monotonic.after(refusal.retry_after);
                Err((PassedOver::Limit, Some(at)))
            }
            Admission::Never(_) | Admission::Unsure { .. } => Err((PassedOver::Context, None)),
        }
    }
}
