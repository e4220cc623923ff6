//! A request is judged when it is whole, before it is admitted.

use crate::dialect::scan;
use crate::ledger::{Demand, Request};
use crate::moderation::{Failure, Side, Unseen, prompt};
use crate::store::Store;

use super::super::identify::Identified;
use super::super::refuse::{Refusal, refuse};
use super::super::review::{LONGEST_SAMPLE, sample};
use super::super::{Body, Exchange, Flow, Resume, Step, Turn, Way};
use super::asking::Held;
use super::{VERDICT, Watched};

impl Watched {
    /// More of the request's body is here.
    pub(in super::super) fn request_body<S: Store>(
        self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Exchange, Step) {
        let fits = body.size <= turn.gateway.policy.bounds.request_body;
        let ours = matches!(self.inner, Exchange::Identified(_));
        if self.asks() {
            return (Exchange::Watched(self), Step::hold());
        }
        if !(body.end && fits && ours) {
            return self.around(|inner| inner.request_body(turn, body));
        }
        self.whole_request(turn, body)
    }

    fn whole_request<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Exchange, Step) {
        let gateway = turn.gateway;
        let bytes = body.whole();
        let facts = scan(self.endpoint, &bytes).ok();
        let route = facts.as_ref().and_then(|facts| gateway.route(&facts.model));
        let (Some(facts), Some(route)) = (facts, route) else {
            // Refused for what it is, by who knows the words for it.
            return self.around(|inner| inner.request_body(turn, body));
        };
        let rules = &gateway.policy.moderation;
        let named = |at: &usize| {
            let rule = rules.get(*at);
            rule.is_some_and(|rule| rule.when.concerns(&route.name))
        };
        self.rules.retain(named);
        self.model.clone_from(&route.name);
        let (waits, beside) = self.split(&gateway.policy, Side::Request);
        let samples = Self::keeps_samples(turn);
        if waits.is_empty() && beside.is_empty() && !samples {
            return self.around(|inner| inner.request_body(turn, body));
        }
        let all = waits.iter().chain(&beside).filter_map(|at| rules.get(*at));
        let bound = all.map(|rule| rule.bound).max().unwrap_or(0);
        let text = prompt(self.endpoint, &facts, bound.max(LONGEST_SAMPLE));
        let text = text.map(|text| self.veiled(turn, text));
        let text = text.map_err(|unseen| match unseen {
            Unseen::TooLong => Failure::TooLong,
            Unseen::Tokens => Failure::Unread,
        });
        self.samples.prompt = text.as_deref().ok().filter(|_| samples).map(sample);
        let blocked = |state: &Identified| state.is_blocked(turn, (&bytes, &facts), &route.name);
        if matches!(&self.inner, Exchange::Identified(state) if blocked(state)) {
            // A guard costs nothing: nobody else is asked about what it refuses.
            return self.around(|inner| inner.request_body(turn, body));
        }
        let used_up = self.used_up(turn, &route.name);
        let worth = used_up.is_none();
        if let Some(refused) = used_up.filter(|_| !waits.is_empty()) {
            return self.refused(turn, refused);
        }
        for at in beside.into_iter().filter(|_| worth) {
            self.ask_beside(turn, (at, Side::Request), text.as_deref().map_err(|why| *why));
        }
        if waits.is_empty() || text.as_deref() == Ok("") {
            return self.around(|inner| inner.request_body(turn, body));
        }
        self.ask(turn, (waits, text), Held::Request(bytes))
    }

    /// Callers with nothing left aren't worth anybody's verdict, nor are they to run up its bill.
    fn used_up<S: Store>(&self, turn: &Turn<'_, S>, model: &str) -> Option<Refusal> {
        let Exchange::Identified(state) = &self.inner else {
            return None;
        };
        let gateway = turn.gateway;
        let claims = gateway.claims(&state.who, Some(model), None);
        let request = Request {
            claims: &claims.claims,
            habit: None,
            demand: Demand {
                around: 1,
                ..Demand::default()
            },
            mode: gateway.policy.mode,
        };
        let refusal = gateway.ledger.peek(turn.store, &request, turn.now.monotonic)?;
        Some(Refusal::limited(&claims, &refusal))
    }

    /// Nobody objects: it is judged by everything else, and goes on out of turn.
    pub(super) fn send_on<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        bytes: &[u8],
    ) -> (Exchange, Step) {
        let body = Body {
            size: bytes.len(),
            end: true,
            read: &|start, max| {
                let rest = bytes.get(start..).unwrap_or_default();
                rest.get(..max).unwrap_or(rest).to_vec()
            },
        };
        let mut step = self.run(|inner| inner.request_body(turn, &body));
        if step.flow == Flow::Continue {
            step.flow = Flow::Resume(Resume {
                way: Way::Request,
                held: bytes.len(),
            });
        }
        (Exchange::Watched(self), step)
    }

    /// Refuses a request that was flagged, or that nobody could judge.
    pub(super) fn refuse_request<S: Store>(
        self: Box<Self>,
        turn: &mut Turn<'_, S>,
        at: usize,
        failure: Option<Failure>,
    ) -> (Exchange, Step) {
        let name = turn.gateway.policy.moderation.get(at);
        let name = name.map_or("", |rule| rule.name.as_str());
        let refusal = match failure {
            None => Refusal::flagged(name),
            Some(Failure::TooLong | Failure::Unread) => Refusal::unjudgeable(name),
            Some(
                Failure::Unsent
                | Failure::Timeout
                | Failure::Reset
                | Failure::Status
                | Failure::Garbage
                | Failure::Abandoned
                | Failure::Dropped,
            ) => Refusal::unmoderated(name),
        };
        self.refused(turn, refusal)
    }

    fn refused<S: Store>(mut self: Box<Self>, turn: &mut Turn<'_, S>, refusal: Refusal) -> (Exchange, Step) {
        let word = self.word();
        let mut step = self.run(|inner| match inner {
            Exchange::Identified(state) => state.refused(turn, refusal),
            other => (other, Step::hold()),
        });
        if let (Flow::Reply(reply), Some(word)) = (&mut step.flow, word) {
            reply.headers.push((VERDICT.into(), word.into()));
        }
        (Exchange::Watched(self), step)
    }
}

impl Identified {
    /// Refuses it, and gives back what it holds.
    fn refused<S: Store>(mut self: Box<Self>, turn: &mut Turn<'_, S>, refusal: Refusal) -> (Exchange, Step) {
        self.give_back(turn);
        refuse(turn, self.endpoint, self.record, refusal)
    }
}
