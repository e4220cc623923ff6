//! From the body to a ticket: read, estimate, choose a candidate, set its tokens aside.

use std::rc::Rc;

use crate::breaker::{Outcome, Pass};
use crate::dialect::{Endpoint, RequestFacts, scan};
use crate::ledger::{Admission, Groups, Level, Request, Ticket};
use crate::policy::{Hop, ModelRoute};
use crate::report::Record;
use crate::report::metric::{Booking, Decision, LimitRef, Metric, PassedOver};
use crate::report::record::outside_name;
use crate::route::{Found, Search};
use crate::store::Store;
use crate::time::Instant;
use crate::tokens::Estimate;

use super::ahead::Routed;
use super::callout;
use super::counting::Tokens;
use super::fleet::{self, Known, Word};
use super::foreign;
use super::gateway::{Claims, PROVIDERS, Payer};
use super::guarding::Watching;
use super::identify::Identified;
use super::judge::{Asked, Position};
use super::plan::{Plan, misrouted, nobody, too_long, unknown, unsupported};
use super::refuse::{Refusal, refuse, sourced, wait_until};
use super::relay::{self, Relay};
use super::settle::{note_transition, observe};
use super::spent::Spent;
use super::{Body, Exchange, Step, Turn};

/// Sent to a provider, its tokens set aside.
#[derive(Debug)]
pub struct Admitted {
    pub(super) endpoint: Endpoint,
    pub(super) hop: Hop,
    pub(super) fallback: bool,
    pub(super) retry: bool,
    /// None where an attempt holds it.
    pub(super) pass: Option<Pass>,
    pub(super) ticket: Ticket,
    pub(super) levels: Vec<(LimitRef, Level)>,
    /// The estimate of the prompt that its bill may teach something.
    pub(super) guess: Option<Estimate>,
    /// What of the request its provider refuses, and wasn't sent.
    pub(super) dropped: Vec<&'static str>,
    /// The client didn't ask for the usage chunk that we asked for.
    pub(super) strip_usage: bool,
    /// It goes by the host's router, which may try several candidates.
    pub(super) relay: Option<Relay>,
    /// It ended before anything was sent.
    pub(super) unsent: bool,
    /// What attempts cost that were given up, once that is known.
    pub(super) spent: Option<Box<Spent>>,
    /// Who pays for these, at each provider.
    pub(super) payer: Option<Box<Payer>>,
    /// What is needed to send it again by a callout, where the policy wants that.
    pub(super) kept: Option<Box<callout::Kept>>,
    /// What the request asks of its answer, beyond a good status.
    pub(super) asked: Option<Rc<Asked>>,
    /// How far the ladder was climbed for answers before.
    pub(super) position: Position,
    /// What guards look for in the answer.
    pub(super) watching: Option<Box<Watching>>,
    /// Answers asked for.
    pub(super) choices: u32,
    /// When it went to the provider.
    pub(super) sent: Instant,
    pub(super) record: Box<Record>,
}

impl Identified {
    /// Waits for the whole body, then judges it.
    pub(super) fn body<S: Store>(
        self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Exchange, Step) {
        let bound = turn.gateway.policy.bounds.request_body;
        if body.size > bound {
            return self.refuse_or_pass(turn, Refusal::oversize(bound));
        }
        if !body.end {
            return (Exchange::Identified(self), Step::hold());
        }
        let bytes = body.whole();
        match scan(self.endpoint, &bytes) {
            Ok(facts) => self.guarded(turn, &bytes, &facts),
            Err(error) => {
                let refusal = Refusal::bad_request(&error.to_string(), "invalid_body");
                self.refuse_or_pass(turn, refusal)
            }
        }
    }

    /// A request that ends in trailers was never judged: it can't go on.
    pub(super) fn trailers<S: Store>(self: Box<Self>, turn: &mut Turn<'_, S>) -> (Exchange, Step) {
        let refusal = Refusal::bad_request("request trailers aren't accepted here", "trailers");
        self.refuse_or_pass(turn, refusal)
    }

    pub(super) fn judge<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        bytes: &[u8],
        facts: &RequestFacts<'_>,
    ) -> (Exchange, Step) {
        let gateway = turn.gateway;
        self.record.stream = facts.stream;
        self.record.model_asked = outside_name(&facts.model);
        let Some(route) = gateway.route(&facts.model) else {
            self.give_back(turn);
            let refusal = Refusal::unknown_model(unknown(&gateway.policy, &self.record.model_asked));
            return refuse(turn, self.endpoint, self.record, refusal);
        };
        self.record.model.clone_from(&route.name);
        let mut plan = Plan::new(turn, route, facts);
        if relay::is_native(&gateway.policy, route) {
            plan.foreign = foreign::hops(&gateway.policy, route, self.endpoint, (facts, bytes));
            plan.movable = true;
        } else if callout::can_translate(turn, &plan, (self.endpoint, bytes)) {
            plan.foreign = foreign::unjudged(&gateway.policy, route, self.endpoint, facts.stream);
            plan.unjudged = Some(bytes);
            plan.movable = true;
        }
        plan.refusing = foreign::refusing(&gateway.policy, route, (self.endpoint, bytes));
        let tokens = plan.tokens(turn, None);
        self.note_tokens(tokens);
        let granted = self.admit(turn, &plan);
        turn.count(Metric::Counted(self.record.counted.unwrap_or_default()));
        match granted {
            Ok(granted) => {
                let known = Known {
                    who: &self.who,
                    model: Some(&route.name),
                    provider: Some(granted.hop.provider),
                };
                fleet::ask(turn, known);
                self.ask_for(turn, &mut plan, bytes);
                self.send(turn, &plan, granted, bytes)
            }
            Err(refusal) => refuse(turn, self.endpoint, self.record, refusal),
        }
    }

    /// Notes what the answer must be, in the client's own words: those that it comes back in.
    fn ask_for<S: Store>(&self, turn: &Turn<'_, S>, plan: &mut Plan<'_>, bytes: &[u8]) {
        let own = self.as_it_comes_back(bytes);
        let own = own.as_deref();
        match own.and_then(|own| Some((own, scan(self.endpoint, own).ok()?))) {
            Some((own, facts)) => plan.ask(turn, &self.rules, (&facts, own)),
            None => plan.ask(turn, &self.rules, (plan.facts, bytes)),
        }
    }

    fn admit<S: Store>(&mut self, turn: &mut Turn<'_, S>, plan: &Plan<'_>) -> Result<Granted, Refusal> {
        match self.routed.take() {
            Some(routed) => self.admit_routed(turn, plan, routed),
            None => self.admit_along(turn, plan, plan.route),
        }
    }

    /// Tries a chain's candidates until one is admitted, or a limit of the caller says no.
    fn admit_along<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        plan: &Plan<'_>,
        route: &ModelRoute,
    ) -> Result<Granted, Refusal> {
        if let Some(granted) = self.drilled(turn, plan, route) {
            return Ok(granted);
        }
        let mut search = turn.gateway.search(route, plan.need(self.endpoint));
        let granted = self.admit_first(turn, plan, &mut search);
        note_passed(turn, &search, &mut self.record);
        granted
    }

    pub(super) fn admit_first<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        plan: &Plan<'_>,
        search: &mut Search<'_>,
    ) -> Result<Granted, Refusal> {
        while let Some(found) = search.next(turn.store, turn.now.monotonic, turn.entropy) {
            note_turned(turn, &found);
            if plan.unfit(&turn.gateway.policy, self.endpoint, found.hop) {
                observe(turn, found.hop, found.pass, Outcome::Unsent);
                search.skip(found.hop, PassedOver::Dialect, None);
                continue;
            }
            let booked = self.book(turn, plan, found.hop);
            if let Booked::Granted(ticket, levels, prompt) = booked {
                note_chosen(turn, (found.hop, found.state), &mut self.record);
                return Ok(Granted {
                    hop: found.hop,
                    fallback: found.fallback,
                    pass: Some(found.pass),
                    ticket,
                    levels,
                    prompt,
                    drilled: None,
                });
            }
            observe(turn, found.hop, found.pass, Outcome::Unsent);
            match booked {
                Booked::Refused(refusal) => return Err(refusal),
                Booked::ProviderFull(at) => search.skip(found.hop, PassedOver::Limit, Some(at)),
                Booked::ProviderNever | Booked::Granted(..) => {
                    search.skip(found.hop, PassedOver::Context, None);
                }
            }
        }
        let prompt = plan.tokens(turn, None).tokens();
        Err(nobody(search, &plan.route.name, prompt, turn.now))
    }

    /// The provider was chosen by headers: it is that one or none.
    fn admit_routed<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        plan: &Plan<'_>,
        routed: Routed,
    ) -> Result<Granted, Refusal> {
        let Some(hop) = plan.on_provider(routed.hop) else {
            routed.give_back(turn);
            let message = misrouted(&turn.gateway.policy, &self.record.model);
            return Err(Refusal::unknown_model(message));
        };
        if plan.refusing.contains(&hop) && !turn.in_shadow() {
            routed.give_back(turn);
            return Err(unsupported(&plan.route.name));
        }
        if hop != routed.hop {
            return self.admit_other(turn, plan, (hop, routed));
        }
        let refusal = match self.book(turn, plan, hop) {
            Booked::Granted(ticket, levels, prompt) => {
                return Ok(Granted {
                    hop,
                    fallback: routed.fallback,
                    pass: Some(routed.pass),
                    ticket,
                    levels,
                    prompt,
                    drilled: None,
                });
            }
            Booked::ProviderFull(retry_at) => Refusal::unavailable(wait_until(Some(retry_at), turn.now)),
            Booked::ProviderNever => plan.too_long_for_all(plan.tokens(turn, Some(hop)).tokens()),
            Booked::Refused(refusal) => refusal,
        };
        routed.give_back(turn);
        Err(refusal)
    }

    /// Another model of the provider than the one its headers went for: that one's breaker decides.
    fn admit_other<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        plan: &Plan<'_>,
        (hop, routed): (Hop, Routed),
    ) -> Result<Granted, Refusal> {
        let fallback = routed.fallback;
        routed.give_back(turn);
        let only = ModelRoute {
            chain: vec![hop],
            ..plan.route.clone()
        };
        let granted = self.admit_along(turn, plan, &only)?;
        Ok(Granted { fallback, ..granted })
    }

    /// Sets the tokens aside with every limit that applies, and counts them first where that decides.
    fn book<S: Store>(&mut self, turn: &mut Turn<'_, S>, plan: &Plan<'_>, hop: Hop) -> Booked {
        let gateway = turn.gateway;
        let claims = gateway.claims(&self.who, Some(&plan.route.name), Some(hop.provider));
        let mut tokens = plan.tokens(turn, Some(hop));
        if plan.is_too_long(turn, hop, tokens) {
            self.note_tokens(tokens);
            return Booked::ProviderNever;
        }
        let mut admission = self.ask(turn, plan, &claims, tokens);
        let mut bound = true;
        while let Admission::Unsure { room, pending } = admission {
            turn.effects.bookings.extend(pending);
            // As far as it takes; and if others gave back meanwhile, to the end.
            tokens = plan.tokens_within(turn, hop, if bound { room } else { u64::MAX });
            bound = false;
            admission = self.ask(turn, plan, &claims, tokens);
        }
        self.note_tokens(tokens);
        match admission {
            Admission::Granted(mut ticket) => {
                turn.effects.bookings.extend(ticket.take_pending());
                let levels = sourced(&claims, ticket.levels());
                note_granted(turn, &ticket, &levels, &mut self.record);
                Booked::Granted(ticket, levels, tokens)
            }
            Admission::Refused(mut refusal) => {
                turn.effects.bookings.extend(refusal.pending.take());
                if refusal.groups == Groups::of(PROVIDERS) {
                    let retry_at = turn.now.monotonic.after(refusal.retry_after);
                    self.note_full(turn, &claims, refusal.claim);
                    return Booked::ProviderFull(retry_at);
                }
                Booked::Refused(Refusal::limited(&claims, &refusal))
            }
            Admission::Never(never) if never.group == PROVIDERS => Booked::ProviderNever,
            Admission::Never(never) => Booked::Refused(too_long(&claims, &never)),
            // Only of what can still be counted; and that has been.
            Admission::Unsure { .. } => Booked::ProviderFull(turn.now.monotonic),
        }
    }

    fn ask<S: Store>(
        &self,
        turn: &Turn<'_, S>,
        plan: &Plan<'_>,
        claims: &Claims<'_>,
        tokens: Tokens,
    ) -> Admission {
        let gateway = turn.gateway;
        let model = plan.route.name.as_bytes();
        let tokenizer = [tokens.tokenizer as u8];
        let habit = gateway
            .ledger
            .habit_key(&self.who.id, &[&self.who.id, model, &tokenizer]);
        let request = Request {
            claims: &claims.claims,
            habit: self.endpoint.generates().then_some(habit),
            demand: plan.demand(self.endpoint, tokens),
            mode: gateway.policy.mode,
        };
        gateway.ledger.admit(turn.store, &request, turn.now.monotonic)
    }

    fn note_tokens(&mut self, tokens: Tokens) {
        self.record.estimate = tokens.tokens();
        self.record.counted = Some(tokens.how);
    }

    fn note_full<S: Store>(&mut self, turn: &mut Turn<'_, S>, claims: &Claims<'_>, claim: usize) {
        if let Some(limit) = claims.sources.get(claim) {
            turn.count(Metric::Limit(*limit, Decision::Denied));
            self.record.hit(&turn.gateway.policy, *limit);
        }
    }

    pub(super) fn admitted<S: Store>(
        self,
        turn: &Turn<'_, S>,
        plan: &Plan<'_>,
        granted: Granted,
    ) -> Box<Admitted> {
        Box::new(Admitted {
            endpoint: self.endpoint,
            hop: granted.hop,
            fallback: granted.fallback,
            retry: self.retry,
            pass: granted.pass,
            ticket: granted.ticket,
            levels: granted.levels,
            guess: plan.guess(granted.prompt),
            dropped: Vec::new(),
            strip_usage: false,
            relay: None,
            unsent: false,
            spent: None,
            payer: None,
            kept: None,
            asked: plan.asked.clone(),
            position: Position::default(),
            watching: self.watching,
            choices: plan.facts.choices,
            sent: turn.now.monotonic,
            record: self.record,
        })
    }

    /// The host answered before the request was judged (its own buffer bound, say).
    pub(super) fn answered_by_host<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        head: &super::ResponseHead<'_>,
    ) -> (Exchange, Step) {
        if let Some(word) = Word::of(&turn.gateway.policy, head) {
            return self.turned_away(turn, (word, head));
        }
        self.give_back(turn);
        self.record.status = head.status();
        self.record.close("refused", turn.now.monotonic);
        (Exchange::Done(self.record), Step::pass())
    }

    /// The client went before the request was whole.
    pub(super) fn abandoned<S: Store>(mut self, turn: &mut Turn<'_, S>) -> Box<Record> {
        self.give_back(turn);
        self.record.close("client_abort", turn.now.monotonic);
        self.record
    }
}

/// A candidate that takes the request, with what was set aside for it.
pub(super) struct Granted {
    pub(super) hop: Hop,
    fallback: bool,
    pub(super) pass: Option<Pass>,
    pub(super) ticket: Ticket,
    pub(super) levels: Vec<(LimitRef, Level)>,
    pub(super) prompt: Tokens,
    /// The candidate that a drill passed over for it.
    pub(super) drilled: Option<Hop>,
}

enum Booked {
    Granted(Ticket, Vec<(LimitRef, Level)>, Tokens),
    /// A limit of the provider's is used up until then.
    ProviderFull(Instant),
    /// The prompt is over what a limit of the provider's can ever admit.
    ProviderNever,
    Refused(Refusal),
}

/// The breakers that changed their state by being asked.
pub(super) fn note_turned<S: Store>(turn: &mut Turn<'_, S>, found: &Found) {
    for transition in found.pass.transitions() {
        note_transition(turn, found.hop, transition);
    }
}

pub(super) fn note_chosen<S: Store>(
    turn: &Turn<'_, S>,
    (hop, state): (Hop, &'static str),
    record: &mut Record,
) {
    if let Some(provider) = turn.gateway.policy.providers.get(hop.provider) {
        record.provider.clone_from(&provider.name);
    }
    record.breaker = state;
}

pub(super) fn note_passed<S: Store>(turn: &mut Turn<'_, S>, search: &Search<'_>, record: &mut Record) {
    for (hop, why) in &search.passed {
        record.pass_over(&turn.gateway.policy, *hop, *why);
        turn.count(Metric::PassedOver(hop.provider, *why));
    }
}

fn note_granted<S: Store>(
    turn: &mut Turn<'_, S>,
    ticket: &Ticket,
    levels: &[(LimitRef, Level)],
    record: &mut Record,
) {
    record.reserved = ticket.reserved_tokens();
    record.estimate = ticket.prompt();
    turn.add(Metric::Tokens(Booking::Reserved), record.reserved);
    for (limit, level) in levels {
        if level.would_refuse {
            record.hit_in_shadow(&turn.gateway.policy, *limit);
            turn.count(Metric::Limit(*limit, Decision::Shadow));
        } else {
            turn.count(Metric::Limit(*limit, Decision::Allowed));
        }
    }
    if ticket.contended() > 0 {
        turn.count(Metric::Contended);
    }
    if ticket.overflowed() > 0 {
        turn.count(Metric::Overflow);
    }
}
