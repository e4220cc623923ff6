//! From the body to a ticket: read, estimate, choose a candidate, set its tokens aside.

use crate::breaker::{Outcome, Pass};
use crate::dialect::{Edits, Endpoint, RequestFacts, rewrite, scan};
use crate::ledger::{Admission, Demand, Level, Request, Ticket};
use crate::policy::{Hop, ModelRoute, Policy, Validation};
use crate::report::Record;
use crate::report::metric::{Booking, Decision, LimitRef, Metric, PassedOver};
use crate::report::record::outside_name;
use crate::route::{Found, Need, Search};
use crate::store::Store;
use crate::time::{Instant, Now};
use crate::tokens;

use super::gateway::{CALLERS, Claims, PROVIDERS};
use super::identify::Identified;
use super::refuse::{Refusal, refuse, sourced, wait_until};
use super::settle::{note_transition, observe};
use super::{Body, Edit, Exchange, Step, Turn};

/// Sent to a provider, its tokens set aside.
#[derive(Debug)]
pub struct Admitted {
    pub(super) endpoint: Endpoint,
    pub(super) hop: Hop,
    pub(super) fallback: bool,
    pub(super) retry: bool,
    pub(super) pass: Pass,
    pub(super) ticket: Ticket,
    pub(super) levels: Vec<(LimitRef, Level)>,
    /// Prompt tokens as estimated.
    pub(super) estimate: u64,
    /// The client didn't ask for the usage chunk that we asked for.
    pub(super) strip_usage: bool,
    /// The rule that the answer must meet.
    pub(super) rule: Option<usize>,
    /// Answers asked for.
    pub(super) choices: u32,
    pub(super) begun: Instant,
    /// When it went to the provider.
    pub(super) sent: Instant,
    pub(super) record: Box<Record>,
}

/// A place chosen before the body is known.
#[derive(Debug)]
pub(super) struct Routed {
    pub(super) hop: Hop,
    place: usize,
    pass: Pass,
}

impl Routed {
    /// Chooses by a model's name from the headers, or by the catch-all.
    pub(super) fn by_headers<S: Store>(
        turn: &mut Turn<'_, S>,
        state: &mut Identified,
        model: Option<&str>,
    ) -> Result<Self, Refusal> {
        let gateway = turn.gateway;
        let route = match model {
            Some(name) => gateway.route(name),
            None => gateway.policy.any_model.as_ref(),
        };
        let Some(route) = route else {
            return Err(Refusal::unknown_model(unroutable(&gateway.policy)));
        };
        let need = Need {
            dialect: state.endpoint.dialect(),
            prompt: 0,
        };
        let mut search = Search::new(&gateway.policy, route, need);
        let found = search.next(turn.store, turn.now.monotonic, turn.entropy);
        note_passed(turn, &search, &mut state.record);
        let found = found.ok_or_else(|| nobody(&search, &route.name, 0, turn.now))?;
        note_chosen(turn, &found, &mut state.record);
        Ok(Self {
            hop: found.hop,
            place: found.place,
            pass: found.pass,
        })
    }

    /// Not used after all: the breaker gets its probe back.
    pub(super) fn give_back<S: Store>(self, turn: &mut Turn<'_, S>) {
        observe(turn, self.hop, self.pass, Outcome::Neutral);
    }
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
            Ok(facts) => self.judge(turn, &bytes, &facts),
            Err(error) => {
                let refusal = Refusal::bad_request(&error.to_string(), "invalid_body");
                self.refuse_or_pass(turn, refusal)
            }
        }
    }

    /// A request that ends in trailers was never judged: it can't go on.
    pub(super) fn trailers<S: Store>(mut self, turn: &mut Turn<'_, S>) -> (Exchange, Step) {
        self.give_back(turn);
        let refusal = Refusal::bad_request("request trailers aren't accepted here", "trailers");
        refuse(turn, self.endpoint, self.record, refusal)
    }

    fn judge<S: Store>(
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
        let plan = Plan {
            route,
            facts,
            estimate: estimate(&gateway.policy, route, facts),
        };
        self.record.estimate = plan.estimate;
        match self.admit(turn, &plan) {
            Ok(granted) => self.send(turn, &plan, granted, bytes),
            Err(refusal) => refuse(turn, self.endpoint, self.record, refusal),
        }
    }

    fn admit<S: Store>(&mut self, turn: &mut Turn<'_, S>, plan: &Plan<'_>) -> Result<Granted, Refusal> {
        let mut search = Search::new(&turn.gateway.policy, plan.route, plan.need(self.endpoint));
        let granted = match self.routed.take() {
            Some(routed) => self.admit_routed(turn, plan, routed),
            None => self.admit_first(turn, plan, &mut search),
        };
        note_passed(turn, &search, &mut self.record);
        granted
    }

    /// Tries candidates until one is admitted, or a limit of the caller says no.
    fn admit_first<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        plan: &Plan<'_>,
        search: &mut Search<'_>,
    ) -> Result<Granted, Refusal> {
        while let Some(found) = search.next(turn.store, turn.now.monotonic, turn.entropy) {
            note_chosen(turn, &found, &mut self.record);
            match self.book(turn, plan, found.hop) {
                Booked::Granted(ticket, levels) => {
                    return Ok(Granted {
                        hop: found.hop,
                        place: found.place,
                        pass: found.pass,
                        ticket,
                        levels,
                    });
                }
                Booked::ProviderFull(retry_at) => {
                    observe(turn, found.hop, found.pass, Outcome::Neutral);
                    search.skip(found.hop, PassedOver::Limit, retry_at);
                }
                Booked::Refused(refusal) => {
                    observe(turn, found.hop, found.pass, Outcome::Neutral);
                    return Err(refusal);
                }
            }
        }
        self.record.provider.clear();
        Err(nobody(search, &plan.route.name, plan.estimate, turn.now))
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
            return Err(Refusal::unknown_model(misrouted(
                &turn.gateway.policy,
                &self.record.model,
            )));
        };
        match self.book(turn, plan, hop) {
            Booked::Granted(ticket, levels) => Ok(Granted {
                hop,
                place: routed.place,
                pass: routed.pass,
                ticket,
                levels,
            }),
            Booked::ProviderFull(retry_at) => {
                routed.give_back(turn);
                Err(Refusal::unavailable(wait_until(Some(retry_at), turn.now)))
            }
            Booked::Refused(refusal) => {
                routed.give_back(turn);
                Err(refusal)
            }
        }
    }

    /// Sets the tokens aside with every limit that applies.
    fn book<S: Store>(&mut self, turn: &mut Turn<'_, S>, plan: &Plan<'_>, hop: Hop) -> Booked {
        let gateway = turn.gateway;
        let model = plan.route.name.as_str();
        let claims = gateway.claims(&self.who, Some(model), Some(hop.provider));
        let expectation = gateway
            .ledger
            .expectation_key(&self.who.id, &[&self.who.id, model.as_bytes()]);
        let request = Request {
            claims: &claims.claims,
            expectation: self.endpoint.generates().then_some(expectation),
            demand: plan.demand(self.endpoint),
            mode: gateway.policy.mode,
        };
        match gateway.ledger.admit(turn.store, &request, turn.now.monotonic) {
            Admission::Granted(mut ticket) => {
                turn.effects.bookings.extend(ticket.take_pending());
                let levels = sourced(&claims, ticket.levels());
                note_granted(turn, &ticket, &levels, &mut self.record);
                Booked::Granted(ticket, levels)
            }
            Admission::Refused(mut refusal) => {
                turn.effects.bookings.extend(refusal.pending.take());
                if refusal.groups.contains(PROVIDERS) && !refusal.groups.contains(CALLERS) {
                    let retry_at = turn.now.monotonic.after(refusal.retry_after);
                    self.note_full(turn, &claims, refusal.claim);
                    return Booked::ProviderFull(retry_at);
                }
                Booked::Refused(Refusal::limited(&claims, &refusal))
            }
            Admission::Never(never) => Booked::Refused(Refusal::never(too_long(&claims, &never))),
        }
    }

    fn note_full<S: Store>(&mut self, turn: &mut Turn<'_, S>, claims: &Claims<'_>, claim: usize) {
        if let Some(limit) = claims.sources.get(claim) {
            turn.count(Metric::Limit(*limit, Decision::Denied));
            self.record.hit(&turn.gateway.policy, *limit);
        }
    }

    fn send<S: Store>(
        mut self,
        turn: &mut Turn<'_, S>,
        plan: &Plan<'_>,
        granted: Granted,
        bytes: &[u8],
    ) -> (Exchange, Step) {
        let policy = &turn.gateway.policy;
        let facts = plan.facts;
        let inject = plan.injects_usage(policy, granted.hop, self.endpoint);
        let body = rewrite(
            bytes,
            facts,
            Edits {
                model: plan.renamed(policy, granted.hop),
                include_usage: inject,
            },
        );
        let mut edits = core::mem::take(&mut self.edits);
        if policy.host.body_pause {
            edits.extend(route_edits(policy, granted.hop, &self.path));
            edits.extend(
                body.as_ref()
                    .map(|b| Edit::set("content-length", b.len().to_string())),
            );
        } else {
            edits.clear();
        }
        let admitted = Admitted {
            endpoint: self.endpoint,
            hop: granted.hop,
            fallback: granted.place > 0,
            retry: self.retry,
            pass: granted.pass,
            ticket: granted.ticket,
            levels: granted.levels,
            estimate: plan.estimate,
            strip_usage: inject && facts.include_usage != Some(true),
            rule: applying_rule(policy, &self.rules, &plan.route.name),
            choices: facts.choices,
            begun: self.begun,
            sent: turn.now.monotonic,
            record: self.record,
        };
        (
            Exchange::Admitted(Box::new(admitted)),
            Step {
                edits,
                body,
                flow: super::Flow::Continue,
            },
        )
    }

    /// The host answered before the request was judged (its own buffer bound, say).
    pub(super) fn answered_by_host<S: Store>(
        mut self,
        turn: &mut Turn<'_, S>,
        head: &super::ResponseHead<'_>,
    ) -> Exchange {
        self.give_back(turn);
        self.record.status = head.status();
        self.record.end = "refused";
        Exchange::Done(self.record)
    }

    /// The client went before the request was whole.
    pub(super) fn abandoned<S: Store>(mut self, turn: &mut Turn<'_, S>) -> Box<Record> {
        self.give_back(turn);
        self.record.end = "client_abort";
        self.record.took(turn.now.monotonic.since(self.begun));
        self.record
    }
}

struct Granted {
    hop: Hop,
    place: usize,
    pass: Pass,
    ticket: Ticket,
    levels: Vec<(LimitRef, Level)>,
}

enum Booked {
    Granted(Ticket, Vec<(LimitRef, Level)>),
    ProviderFull(Instant),
    Refused(Refusal),
}

/// What is asked for, and where it may go.
struct Plan<'a> {
    route: &'a ModelRoute,
    facts: &'a RequestFacts<'a>,
    estimate: u64,
}

impl<'a> Plan<'a> {
    fn need(&self, endpoint: Endpoint) -> Need {
        Need {
            dialect: endpoint.dialect(),
            prompt: self.estimate,
        }
    }

    fn demand(&self, endpoint: Endpoint) -> Demand {
        Demand {
            prompt: self.estimate,
            max_output: self.facts.max_tokens,
            choices: self.facts.choices,
            generates: endpoint.generates(),
        }
    }

    /// The model of this chain at a provider chosen already.
    fn on_provider(&self, chosen: Hop) -> Option<Hop> {
        let same = |hop: &&Hop| hop.provider == chosen.provider;
        let exact = self.route.chain.iter().find(|hop| **hop == chosen);
        exact.or_else(|| self.route.chain.iter().find(same)).copied()
    }

    /// The provider's name of the model, where it differs from the client's.
    fn renamed<'p>(&self, policy: &'p Policy, hop: Hop) -> Option<&'p str> {
        let model = policy.providers.get(hop.provider)?.models.get(hop.model)?;
        (model.name != *self.facts.model).then_some(model.name.as_str())
    }

    fn injects_usage(&self, policy: &Policy, hop: Hop, endpoint: Endpoint) -> bool {
        let wanted = policy
            .providers
            .get(hop.provider)
            .is_some_and(|p| p.include_usage);
        let speaks = matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Completions);
        wanted && speaks && self.facts.stream && self.facts.include_usage != Some(true)
    }
}

/// Why no candidate was left.
fn nobody(search: &Search<'_>, name: &str, tokens: u64, now: Now) -> Refusal {
    if search.all(PassedOver::Dialect) {
        return Refusal::unknown_model(format!("model {name:?} isn't served by this API"));
    }
    let unfit = |why: &PassedOver| matches!(why, PassedOver::Dialect | PassedOver::Context);
    if search.passed.iter().all(|(_, why)| unfit(why)) {
        return Refusal::never(format!(
            "the prompt's about {tokens} tokens are more than any context of model {name:?} holds"
        ));
    }
    Refusal::unavailable(wait_until(search.earliest, now))
}

fn estimate(policy: &Policy, route: &ModelRoute, facts: &RequestFacts<'_>) -> u64 {
    let first = route.chain.first();
    let model = first.and_then(|hop| policy.providers.get(hop.provider)?.models.get(hop.model));
    tokens::estimate(&facts.prompt, model.map(|m| m.tokenizer).unwrap_or_default()).tokens
}

/// What sends a request to a provider: cluster, authority, path and credential.
pub(super) fn route_edits(policy: &Policy, hop: Hop, path: &str) -> Vec<Edit> {
    let Some(provider) = policy.providers.get(hop.provider) else {
        return Vec::new();
    };
    let mut edits = vec![Edit::set("x-spillway-cluster", provider.cluster.clone())];
    edits.extend(
        provider
            .authority
            .as_ref()
            .map(|authority| Edit::set(":authority", authority.clone())),
    );
    if !provider.path_prefix.is_empty() {
        edits.push(Edit::set(":path", format!("{}{path}", provider.path_prefix)));
    }
    edits.extend(
        provider
            .credential
            .as_ref()
            .map(|c| Edit::set(c.header.clone(), c.value.clone())),
    );
    edits
}

fn applying_rule(policy: &Policy, rules: &[usize], model: &str) -> Option<usize> {
    let applies = |rule: &Validation| rule.models.is_empty() || rule.models.iter().any(|m| m == model);
    rules
        .iter()
        .copied()
        .find(|at| policy.validate.get(*at).is_some_and(applies))
}

fn note_chosen<S: Store>(turn: &mut Turn<'_, S>, found: &Found, record: &mut Record) {
    if let Some(provider) = turn.gateway.policy.providers.get(found.hop.provider) {
        record.provider.clone_from(&provider.name);
    }
    record.breaker = found.state;
    for transition in found.pass.transitions() {
        note_transition(turn, found.hop, transition);
    }
}

fn note_passed<S: Store>(turn: &mut Turn<'_, S>, search: &Search<'_>, record: &mut Record) {
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

fn unknown(policy: &Policy, asked: &str) -> String {
    let names: Vec<&str> = policy.models.iter().map(|m| m.name.as_str()).collect();
    format!(
        "model {asked:?} isn't served here; served are {}",
        names.join(", ")
    )
}

fn unroutable(policy: &Policy) -> String {
    match &policy.host.model_header {
        Some(header) => format!("header {header:?} names no model that is served here"),
        None => "no route is set for requests whose model isn't known from their headers".into(),
    }
}

fn misrouted(policy: &Policy, model: &str) -> String {
    let header = policy.host.model_header.as_deref().unwrap_or("x-model");
    format!(
        "model {model:?} isn't served by the provider that this request's headers chose; name it in {header:?}"
    )
}

fn too_long(claims: &Claims<'_>, never: &crate::ledger::Never) -> String {
    let name = claims
        .claims
        .get(never.claim)
        .map_or("", |c| c.limit.name.as_str());
    format!(
        "the prompt's about {} tokens are more than limit {name:?} can ever admit at once ({})",
        never.needed, never.capacity
    )
}
