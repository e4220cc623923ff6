//! The gateway role's part of native failing over: which candidates the host's router tries, how long it waits for
//! each, and what came of them.
//!
//! Its invariant: what the router may do is decided here alone; a client's own `x-envoy-` headers never reach it.

use core::time::Duration;

use crate::breaker::{Pass, StateName};
use crate::failover::{Times, waits_name};
use crate::ledger::{Demand, Request};
use crate::policy::{Charge, Failover, Hop, Mode, ModelRoute, Policy, Via};
use crate::report::metric::{GaveUp, Metric, StatusClass};
use crate::report::record::{Tried as Line, milliseconds};
use crate::route::Need;
use crate::store::Store;
use crate::time::Instant;

use super::admit::Granted;
use super::attempt::{MOST_ATTEMPTS, ORDER, OWN_STATUS, Order, Place, RETRY, Tried, begun, tried_key};
use super::gateway::Payer;
use super::identify::{Identified, Who};
use super::overtime::Overtime;
use super::plan::Plan;
use super::send::content_length;
use super::spent::Spent;
use super::{Edit, Exchange, ResponseHead, Step, Turn};

/// What an answer that came by the router is read with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relay {
    /// How many attempts there may have been.
    attempts: u32,
    /// The client's stream would have usage asked for, where the provider wants that.
    pub(super) asks_usage: bool,
    /// The provider whose limits were set aside from.
    first: usize,
    /// Whose tokens are charged.
    charge: Charge,
    /// Until when a stream may go on.
    pub(super) overtime: Overtime,
}

/// Where an exchange goes first, and all that is known of it.
struct Start<'a> {
    hop: Hop,
    pass: Option<Pass>,
    need: Need<'a>,
    /// Tokens of the prompt.
    prompt: u64,
    path: &'a str,
    authority: &'a str,
    /// The client's headers of its protocol.
    headers: Vec<(String, String)>,
    /// How long the client waits.
    deadline: Option<Duration>,
    /// The candidate that a drill passed over.
    drilled: Option<Hop>,
    /// Who pays at each provider.
    payer: Option<&'a Payer>,
}

impl Start<'_> {
    /// Whether only its candidate may be asked, and only once: what lives at one provider stays there and would be there
    /// twice, and one credit is one call.
    fn goes_once(&self, plan: &Plan<'_>) -> bool {
        plan.facts.pinned || self.pass.as_ref().is_some_and(Pass::is_on_credit)
    }
}

/// Whether the router fails over for this model.
pub(super) fn is_native(policy: &Policy, route: &ModelRoute) -> bool {
    route.failover.via == Via::Native && policy.mode == Mode::Enforce
}

impl Identified {
    /// Sends it to where the host's router tries the candidates: each attempt writes the body for its own provider.
    pub(super) fn relay<S: Store>(
        mut self,
        turn: &mut Turn<'_, S>,
        plan: &Plan<'_>,
        (mut granted, bytes): (Granted, &[u8]),
    ) -> (Exchange, Step) {
        let headers = self.protocol_headers.clone();
        let payer = turn.gateway.payer(&self.who, &plan.route.name);
        let kept = self.keep(turn, plan, (&granted, bytes));
        let start = Start {
            hop: granted.hop,
            pass: granted.pass.take(),
            need: plan.need(self.endpoint),
            prompt: granted.ticket.prompt(),
            path: &self.path,
            authority: &self.authority,
            headers,
            deadline: self.patience(plan),
            drilled: granted.drilled,
            payer: payer.as_deref(),
        };
        let (relay, steering) = set_out(turn, plan, start);
        let mut edits = core::mem::take(&mut self.edits);
        edits.extend(steering);
        let body = self.masked.then(|| bytes.to_vec());
        edits.extend(body.as_deref().map(content_length));
        let mut admitted = self.admitted(turn, plan, granted);
        admitted.relay = Some(relay);
        admitted.payer = payer;
        admitted.kept = kept;
        let step = Step {
            body,
            ..Step::edited(edits)
        };
        (Exchange::Admitted(admitted), step)
    }
}

/// Hands the order over, and answers what the router must be told.
fn set_out<S: Store>(turn: &mut Turn<'_, S>, plan: &Plan<'_>, start: Start<'_>) -> (Relay, Vec<Edit>) {
    let rules = &plan.route.failover;
    let hops = candidates(turn, plan, &start);
    let policy = &turn.gateway.policy;
    let attempts = attempts(rules, start.goes_once(plan), hops.len());
    let patience = Patience::of(plan, &start, attempts);
    let places: Vec<Place> = hops.iter().filter_map(|hop| Place::of(policy, *hop)).collect();
    let places_left = places.len() > 1;
    let mut edits = cluster_edits(&places, rules);
    edits.extend(router_edits(rules, attempts, start.drilled));
    edits.extend(patience.edits());
    let asks_usage = plan.facts.stream && plan.facts.include_usage != Some(true);
    let relay = Relay {
        attempts,
        asks_usage,
        first: start.hop.provider,
        charge: rules.charge,
        overtime: Overtime::within(patience.all, turn.now.monotonic),
    };
    let order = Order {
        path: start.path.to_owned(),
        authority: start.authority.to_owned(),
        model: plan.route.name.clone(),
        asked: plan.facts.model.clone().into_owned(),
        stream: plan.facts.stream,
        asks_usage,
        headers: start.headers,
        places,
        attempts,
        pass: start.pass.map(Pass::pack).unwrap_or_default(),
        prompt: start.prompt,
        patience_ms: milliseconds(patience.each.min(patience.all)),
        opening: plan.opening(policy).filter(|_| places_left),
        drills: start.drilled.is_some(),
    };
    let property = (ORDER.to_owned(), order.to_bytes());
    turn.effects.properties.push(property);
    (relay, edits)
}

/// The first candidate, and those that would be let go after it. A drill is over with the first failure: next is the one
/// that it passed over.
fn candidates<S: Store>(turn: &mut Turn<'_, S>, plan: &Plan<'_>, start: &Start<'_>) -> Vec<Hop> {
    let mut hops = vec![start.hop];
    if !start.goes_once(plan) {
        let search = turn.gateway.search(plan.route, start.need);
        let others = search.standby(start.hop, turn.store, turn.now.monotonic);
        hops.extend(start.drilled.into_iter().chain(others).filter(|hop| {
            let tokens = plan.tokens(turn, Some(*hop));
            !plan.is_too_long(turn, *hop, tokens) && !is_full(turn, start.payer.map(Payer::named), *hop)
        }));
    }
    one_each(&mut hops);
    hops.truncate(usize::try_from(plan.route.failover.attempts).unwrap_or(usize::MAX));
    hops
}

/// Leaves one candidate of each provider: where the router moves from one to another, nothing makes it wait, and no budget
/// sees what it asks again. The models of a provider that stands alone are asked in turn, as repeats there.
fn one_each(hops: &mut Vec<Hop>) {
    if is_alone(hops.iter().map(|hop| hop.provider)) {
        return;
    }
    let mut seen: Vec<usize> = Vec::with_capacity(hops.len());
    hops.retain(|hop| {
        let new = !seen.contains(&hop.provider);
        seen.extend(new.then_some(hop.provider));
        new
    });
}

fn is_alone<T: PartialEq>(mut providers: impl Iterator<Item = T>) -> bool {
    let first = providers.next();
    providers.all(|other| Some(other) == first)
}

/// Whether nothing at all is left of a limit that counts what a candidate is sent: of what the router's later attempts may
/// use nothing is set aside.
pub(super) fn is_full<S: Store>(turn: &Turn<'_, S>, who: Option<(&Who, &str)>, hop: Hop) -> bool {
    let gateway = turn.gateway;
    let claims = gateway.claims_there(who, hop.provider);
    let request = Request {
        claims: &claims.claims,
        habit: None,
        demand: Demand::default(),
        mode: gateway.policy.mode,
    };
    let ledger = &gateway.ledger;
    !claims.claims.is_empty() && ledger.peek(turn.store, &request, turn.now.monotonic).is_some()
}

/// Each candidate once; a single one is asked again, unless it must be asked `once`.
fn attempts(rules: &Failover, once: bool, candidates: usize) -> u32 {
    match candidates {
        0 | 1 if once => 1,
        0 | 1 => rules.attempts,
        several => u32::try_from(several).unwrap_or(MOST_ATTEMPTS),
    }
}

/// The cluster that tries these providers in this order: a composite, or a provider's own.
fn cluster_edits(places: &[Place], rules: &Failover) -> Vec<Edit> {
    let mut edits = vec![Edit::set("x-spillway-cluster", cluster(places))];
    if is_alone(providers(places)) {
        // The same provider again: that route waits in between, where a move to another needn't.
        edits.push(Edit::set("x-spillway-repeats", waits_name(rules)));
    }
    edits
}

fn cluster(places: &[Place]) -> String {
    let several = if is_alone(providers(places)) {
        1
    } else {
        places.len()
    };
    let named = providers(places).take(several);
    named.fold("spillway".to_owned(), |name, provider| name + "+" + provider)
}

fn providers(places: &[Place]) -> impl Iterator<Item = &str> {
    places.iter().map(|place| place.provider.as_str())
}

/// What the router is told about retries: every header of it, so that none is a client's.
fn router_edits(rules: &Failover, attempts: u32, drilled: Option<Hop>) -> [Edit; 3] {
    let on = &rules.on;
    // A drill that fails goes back whatever else would.
    let drills = drilled.is_some();
    let mut when = "retriable-status-codes".to_owned();
    if on.connect || drills {
        when.push_str(",connect-failure,refused-stream");
    }
    if on.reset || on.timeout || on.first_token || drills {
        when.push_str(",reset");
    }
    [
        Edit::set("x-envoy-retry-on", when),
        Edit::set("x-envoy-max-retries", attempts.saturating_sub(1).to_string()),
        Edit::set("x-envoy-retriable-status-codes", RETRY.to_string()),
    ]
}

/// How long the router waits.
struct Patience {
    /// For an attempt: for its first token where it streams, for its end where it doesn't; zero for no bound.
    each: Duration,
    /// For all attempts together: so many times an answer's time, and never longer than the client waits.
    all: Duration,
}

impl Patience {
    fn of(plan: &Plan<'_>, start: &Start<'_>, attempts: u32) -> Self {
        let rules = &plan.route.failover;
        let times = Times::of(rules, start.prompt, plan.facts.max_tokens, None);
        let each = if plan.facts.stream && rules.on.first_token {
            times.first_token
        } else if rules.on.timeout {
            times.whole
        } else {
            Duration::ZERO
        };
        let all = times.whole.saturating_mul(attempts);
        let all = start.deadline.map_or(all, |deadline| deadline.min(all));
        Self { each, all }
    }

    fn edits(&self) -> [Edit; 2] {
        let milliseconds = |span| milliseconds(span).to_string();
        let all = self.all.max(Duration::from_millis(1));
        [
            Edit::set("x-envoy-upstream-rq-per-try-timeout-ms", milliseconds(self.each)),
            Edit::set("x-envoy-upstream-rq-timeout-ms", milliseconds(all)),
        ]
    }
}

/// What the attempts handed back.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    /// The attempts, in order, as far as they are known.
    pub(super) tried: Vec<(Hop, Tried)>,
    /// The provider's own status, where an attempt had it changed.
    pub(super) status: Option<u16>,
}

impl Relay {
    /// What the attempts that were given up cost, if there is anything to tell.
    pub(super) fn spent(self, lost: &[(Hop, Tried)], answering: usize) -> Option<Box<Spent>> {
        Spent::of((self.first, self.charge), lost, answering)
    }

    /// Reads what the attempts handed back, at the answer's headers.
    pub(super) fn arrived(self, policy: &Policy, head: &ResponseHead<'_>) -> Arrived {
        let own = head
            .headers
            .first(OWN_STATUS)
            .filter(|_| head.status() == Some(RETRY));
        Arrived {
            tried: self.tried(policy, head.property),
            status: own.and_then(|value| core::str::from_utf8(value).ok()?.parse().ok()),
        }
    }

    /// What became of the attempts, as far as it is known.
    pub(super) fn tried(
        self,
        policy: &Policy,
        property: &dyn Fn(&[&str]) -> Option<Vec<u8>>,
    ) -> Vec<(Hop, Tried)> {
        let read = |number| {
            let key = format!("wasm.{}", tried_key(number));
            let tried = Tried::of(&property(&["filter_state", &key])?)?;
            Some((tried.place.hop(policy)?, tried))
        };
        let mut tried: Vec<(Hop, Tried)> = Vec::new();
        for number in 1..=self.attempts.min(MOST_ATTEMPTS) {
            tried.extend(read(number));
            if tried.last().is_some_and(|(_, last)| last.gave_up.is_none()) {
                // Nobody is asked after who answered.
                break;
            }
        }
        tried
    }

    /// Who was being asked when the client went, after those who told what became of them.
    pub(super) fn under_way(
        policy: &Policy,
        property: &dyn Fn(&[&str]) -> Option<Vec<u8>>,
        known: &[(Hop, Tried)],
    ) -> UnderWay {
        let Some(begun) = begun(property).and_then(|begun| usize::try_from(begun).ok()) else {
            return UnderWay::Unknown;
        };
        if begun <= known.len() {
            let answered = known.last().is_some_and(|(_, last)| last.gave_up.is_none());
            return match answered {
                true => UnderWay::Unknown,
                false => UnderWay::Nobody,
            };
        }
        let key = format!("wasm.{ORDER}");
        let order = property(&["filter_state", &key]).and_then(|bytes| Order::of(&bytes));
        let places = order.map(|order| order.places).unwrap_or_default();
        let place = places.get(begun - 1).or(places.first());
        let asked = place.and_then(|place| Some((place.hop(policy)?, place.clone())));
        asked.map_or(UnderWay::Unknown, |(hop, place)| UnderWay::At(hop, place))
    }
}

/// Where an exchange was when its client went.
#[derive(Debug)]
pub(super) enum UnderWay {
    /// The host doesn't tell.
    Unknown,
    /// Between two attempts.
    Nobody,
    /// In an attempt there.
    At(Hop, Place),
}

impl Arrived {
    /// The attempt whose answer this is; none when the router itself answers.
    pub(super) fn answering(&self) -> Option<&(Hop, Tried)> {
        let last = self.tried.last()?;
        (last.1.gave_up.is_none() || self.status.is_some()).then_some(last)
    }

    /// The attempts whose answers the client doesn't get. One that was given up answers all the same where the router
    /// wouldn't try the next.
    pub(super) fn lost(&self) -> &[(Hop, Tried)] {
        match (self.status, self.tried.split_last()) {
            (Some(_), Some((_, before))) => before,
            (Some(_), None) | (None, _) => &self.tried,
        }
    }

    /// The record's line of the attempt that the client didn't wait for; it began when the one before was over.
    pub(super) fn cut_off(&self, place: Place, prompt: u64, now: Instant) -> Line {
        let last = self.tried.last().map(|(_, tried)| tried);
        let lasted = last.map_or(0, |last| {
            milliseconds(now.since(last.began())).saturating_sub(last.ms)
        });
        Line {
            provider: place.provider,
            model: place.model,
            status: None,
            gave_up: "",
            ms: lasted,
            wait_ms: None,
            tokens: prompt,
        }
    }

    /// Counts the attempts that were given up, and keeps all for the record.
    pub(super) fn note<S: Store>(&self, turn: &mut Turn<'_, S>) -> Vec<Line> {
        let mut lines = Vec::new();
        for (hop, tried) in &self.tried {
            if let Some(why) = tried.gave_up {
                count(turn, hop.provider, why, tried.status);
            }
            let states = tried.turned.iter().filter_map(|name| StateName::named(name));
            for state in states {
                turn.count(Metric::BreakerTransition(hop.provider, state.as_str()));
            }
            lines.push(line(tried));
        }
        lines
    }
}

fn count<S: Store>(turn: &mut Turn<'_, S>, provider: usize, why: GaveUp, status: Option<u16>) {
    turn.count(Metric::GaveUp(provider, why));
    match (why, status) {
        (GaveUp::Connect, _) => turn.count(Metric::Connect(provider)),
        (GaveUp::StreamError, _) => turn.count(Metric::StreamError(provider)),
        (_, Some(status)) => turn.count(Metric::Upstream(provider, StatusClass::of(status))),
        (
            GaveUp::Reset
            | GaveUp::Timeout
            | GaveUp::RateLimited
            | GaveUp::Status
            | GaveUp::Malformed
            | GaveUp::Invalid,
            None,
        ) => {}
    }
}

fn line(tried: &Tried) -> Line {
    Line {
        provider: tried.place.provider.clone(),
        model: tried.place.model.clone(),
        status: tried.status,
        gave_up: tried.gave_up.map_or("", |why| why.as_str()),
        ms: tried.ms,
        wait_ms: tried.wait_ms,
        tokens: tried.prompt,
    }
}

impl Tried {
    /// The leave of the breaker, if that wasn't told yet.
    pub(super) fn pass(&self) -> Option<Pass> {
        Pass::unpack(self.pass.as_deref()?)
    }

    /// When the attempt began.
    pub(super) fn began(&self) -> Instant {
        Instant(self.sent)
    }
}
