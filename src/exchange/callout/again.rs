//! Asking for a better answer: the same provider, told what was wrong, or the next candidate.
//!
//! Who is asked is decided as where an attempt failed: by the attempts, the deadline, breakers, limits and the retry
//! budget. Beyond that the caller must be able to pay: what the answers so far cost and what the longer conversation has
//! more than the first is set aside with the caller's own token limits, and where one of them says no, nobody is asked.
//! The breaker hears of an answer that came well and can't be used as of any other that came well: what it says is no
//! failure of its provider.
//! The invariant: where nobody can be asked, nothing was changed, and nothing is set aside.

use crate::breaker::Outcome;
use crate::dialect::{Endpoint, Said, corrected};
use crate::failover::Fault;
use crate::ledger::{Admission, Certainty, Demand, Request, Ticket};
use crate::policy::{Hop, ModelRoute, Unit};
use crate::report::metric::{Booking, Decision, Metric, Unmoved};
use crate::store::Store;

use super::super::answer::Whole;
use super::super::blame::Ending;
use super::super::booking::{give_back, settle_providers};
use super::super::gateway::{CALLERS, Claims, THERE};
use super::super::judge::{Again, Complaint};
use super::super::refuse::sourced;
use super::super::respond::{Reader, Responding};
use super::super::settle::{Cost, observe};
use super::super::{Exchange, Step, Turn};
use super::dismissed::Dismissed;
use super::ended::Ended;
use super::kept::{Kept, charged};
use super::next::{Asking, Chosen, Next};

/// What somebody is asked with.
pub(super) struct Chance<'a> {
    pub(super) to: Again,
    pub(super) said: &'a Said,
    /// What was wrong with it.
    pub(super) wrong: &'a str,
    /// What the answer cost, prompt and output; nothing where that was noted already.
    pub(super) cost: (u64, u64),
}

/// Who is asked, with what was set aside for it.
pub(super) struct Asked {
    pub(super) chosen: Chosen,
    /// The caller's part.
    pub(super) more: Option<Ticket>,
}

/// Asks for another answer than `bad`, which is whole. Gives the state back, unchanged, where no candidate, no attempt or
/// no budget is left.
pub(in super::super) fn again<S: Store>(
    mut state: Box<Responding>,
    turn: &mut Turn<'_, S>,
    (complaint, bad): (&Complaint, &Whole),
    to: Again,
) -> Result<(Exchange, Step), Box<Responding>> {
    let said = said(complaint, bad);
    let chance = Chance {
        to,
        said: &said,
        wrong: &complaint.text,
        cost: state.tokens_so_far(),
    };
    let hop = state.hop;
    let (Some(rule), Some(kept)) = (state.rule, state.kept.as_deref_mut()) else {
        return Err(state);
    };
    let mut asking = Asking {
        endpoint: state.endpoint,
        record: &mut state.record,
    };
    let Some(asked) = kept.second_chance(turn, &mut asking, &chance) else {
        return Err(state);
    };
    kept.position = complaint.position;
    kept.dismissed = Some(Box::new(Dismissed {
        rule,
        hop,
        head: kept.head.take(),
        whole: bad.clone(),
        asked: state.position.has_asked(),
        cost: Cost::default(),
    }));
    Ok(state.ask_again(turn, asked))
}

/// What is said again to the model: its words as the complaint has them, and the tools that it called.
pub(super) fn said(complaint: &Complaint, bad: &Whole) -> Said {
    Said {
        text: complaint.said.clone(),
        calls: bad.heard.calls.clone().unwrap_or_default(),
    }
}

impl Responding {
    /// What it will have cost: what the provider says, else what was set aside.
    fn tokens_so_far(&self) -> (u64, u64) {
        let usage = match &self.reader {
            Reader::Json { reader, .. } => reader.clone().finish().usage,
            Reader::Stream(reader) => reader.progress().usage,
            Reader::Held { .. } | Reader::Opaque => None,
        };
        let own = self.kept.as_ref().map_or(0, |kept| kept.reserved());
        let reserved = self.ticket.reserved_tokens().max(own);
        usage.map_or((reserved, 0), |usage| (usage.input, usage.output))
    }

    /// Puts the answer aside, and asks.
    fn ask_again<S: Store>(mut self: Box<Self>, turn: &mut Turn<'_, S>, asked: Asked) -> (Exchange, Step) {
        let cost = self.put_aside(turn);
        let Some(mut kept) = self.kept.take() else {
            return (Exchange::Done(self.finish(turn, Ending::Complete)), Step::pass());
        };
        if let Some(dismissed) = &mut kept.dismissed {
            dismissed.cost = cost;
        }
        // It stands among the attempts already where the router made it.
        if !kept.calls() {
            self.record.attempts.pop_if(|last| last.gave_up.is_empty());
        }
        let mut there = kept.part(self.ticket);
        if let Some(spent) = self.spent {
            // Settled here, each for its own; nothing of it is left for the attempt's end.
            kept.before.add(spent.charged(), 0);
            let (granted, nothing) = there.split(THERE);
            settle_providers(turn, granted, (self.hop.provider, cost.tokens()), &spent);
            there = nothing;
        }
        kept.set_aside_more(asked.more);
        kept.repeats |= asked.chosen.repeats;
        let ended = Ended {
            endpoint: self.endpoint,
            hop: self.hop,
            retry: self.retry,
            estimate: asked.chosen.ticket.prompt(),
            choices: self.choices,
            ticket: there,
            sent: self.sent,
            status: Some(self.status),
            cost,
            fault: Fault::Invalid,
            record: self.record,
            watching: self.watching,
        };
        ended.go_on(turn, kept, Next::Go(asked.chosen))
    }
}

impl Kept {
    /// Chooses who is asked for a better answer, and sets aside what that may cost. What is sent then is ready.
    pub(super) fn second_chance<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        asking: &mut Asking<'_>,
        chance: &Chance<'_>,
    ) -> Option<Asked> {
        let route = turn.gateway.route(&asking.record.model)?;
        if !self.chances || !self.may_ask(turn, &route.failover) {
            return None;
        }
        let corrected = self.corrected_for(turn, asking.endpoint, chance)?;
        let before = core::mem::replace(&mut self.corrected, corrected);
        let asked = self.choose(turn, asking, (route, chance));
        if asked.is_none() {
            self.corrected = before;
        }
        asked
    }

    /// The conversation with what was wrong; nothing where it is to be had as it was. None where it can't be had.
    fn corrected_for<S: Store>(
        &self,
        turn: &mut Turn<'_, S>,
        endpoint: Endpoint,
        chance: &Chance<'_>,
    ) -> Option<Option<Vec<u8>>> {
        match chance.to {
            Again::Next => Some(None),
            Again::Same => {
                let body = corrected(endpoint, &self.body, chance.said, chance.wrong)?;
                let fits = self.has_room_for(turn, body.len().saturating_mul(2));
                fits.then_some(Some(body))
            }
        }
    }

    fn choose<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        asking: &mut Asking<'_>,
        (route, chance): (&ModelRoute, &Chance<'_>),
    ) -> Option<Asked> {
        let (route, without) = self.order(route, chance.to);
        let named = (asking.record.provider.clone(), asking.record.breaker);
        let Ok(chosen) = self.search(turn, asking, (&route, &without)) else {
            turn.count(Metric::Unmoved(Unmoved::Nobody));
            return None;
        };
        let cost = charged(&route.failover, chance.cost);
        let short = self.short_of(chosen.ticket.prompt(), cost);
        match self.afford(turn, asking, short) {
            Ok(more) => Some(Asked { chosen, more }),
            Err(()) => {
                turn.count(Metric::Unmoved(Unmoved::Limit));
                (asking.record.provider, asking.record.breaker) = named;
                observe(turn, chosen.hop, chosen.pass, Outcome::Unsent);
                if chosen.repeats {
                    self.unrepeat(turn);
                }
                give_back(turn, chosen.ticket);
                None
            }
        }
    }

    /// The provider that answered before the others that weren't asked yet, or these alone.
    fn order(&self, route: &ModelRoute, to: Again) -> (ModelRoute, Vec<Hop>) {
        let last = self.tried.last().copied();
        let mut without = self.tried.clone();
        let mut route = route.clone();
        if let (Again::Same, Some(last)) = (to, last) {
            without.retain(|hop| *hop != last);
            route.chain.retain(|hop| *hop != last);
            route.chain.insert(0, last);
        }
        (route, without)
    }

    /// Tokens that are to be set aside beyond what is: the answers so far, and by how much the prompt has grown.
    fn short_of(&self, prompt: u64, cost: (u64, u64)) -> u64 {
        let paid = [self.before.input, self.before.output, cost.0, cost.1];
        let paid = paid.into_iter().fold(prompt, u64::saturating_add);
        paid.saturating_sub(self.prompt)
            .saturating_sub(self.reserved_more())
    }

    /// Sets tokens aside with the caller's own limits, those that the first attempt was counted by.
    fn afford<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        asking: &mut Asking<'_>,
        tokens: u64,
    ) -> Result<Option<Ticket>, ()> {
        let claims = self.own_claims(turn, &asking.record.model);
        if tokens == 0 || claims.claims.is_empty() {
            return Ok(None);
        }
        let request = Request {
            claims: &claims.claims,
            habit: None,
            demand: Demand {
                around: tokens,
                certainty: Certainty::Counted,
                ..Demand::default()
            },
            mode: turn.gateway.policy.mode,
        };
        let ledger = &turn.gateway.ledger;
        match ledger.admit(turn.store, &request, turn.now.monotonic) {
            Admission::Granted(mut ticket) => {
                turn.effects.bookings.extend(ticket.take_pending());
                self.levels_now(&claims, &ticket);
                turn.add(Metric::Tokens(Booking::Reserved), ticket.reserved_tokens());
                asking.record.reserved = asking.record.reserved.saturating_add(ticket.reserved_tokens());
                Ok(Some(ticket))
            }
            Admission::Refused(mut refusal) => {
                turn.effects.bookings.extend(refusal.pending.take());
                if let Some(limit) = claims.sources.get(refusal.claim) {
                    turn.count(Metric::Limit(*limit, Decision::Denied));
                    asking.record.hit(&turn.gateway.policy, *limit);
                }
                Err(())
            }
            Admission::Never(_) | Admission::Unsure { .. } => Err(()),
        }
    }

    /// What the limits say by now.
    fn levels_now(&mut self, claims: &Claims<'_>, ticket: &Ticket) {
        for (limit, level) in sourced(claims, ticket.levels()) {
            let known = self.levels.iter_mut().find(|(known, _)| *known == limit);
            if let Some((_, known)) = known {
                *known = level;
            }
        }
    }

    fn own_claims<'g, S: Store>(&self, turn: &Turn<'g, S>, model: &str) -> Claims<'g> {
        let all = turn.gateway.claims(&self.who, Some(model), None);
        all.only(|claim| claim.group == CALLERS && claim.limit.unit == Unit::Tokens)
    }
}
