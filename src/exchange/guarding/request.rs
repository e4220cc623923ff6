//! The request, looked over before anything is decided about it.

use crate::dialect::{RequestFacts, scan};
use crate::guard::{Plan, Watch};
use crate::policy::{Guard, GuardAction, OnUnreadable, Side};
use crate::report::metric::{Metric, Refused};
use crate::store::Store;

use super::super::identify::Identified;
use super::super::refuse::{Refusal, refuse};
use super::super::{Exchange, Step, Turn};
use super::answer::{Looked, look};
use super::path::path;
use super::texts::{Texts, continues};
use super::{Watching, binds, note, of_model, told};

impl Identified {
    /// Looks the request over: what goes on of it is judged.
    pub(in super::super) fn guarded<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &[u8],
        facts: &RequestFacts<'_>,
    ) -> (Exchange, Step) {
        let policy = &turn.gateway.policy;
        let route = turn.gateway.route(&facts.model);
        let Some(route) = route.filter(|_| !self.guards.is_empty()) else {
            return self.judge(turn, body, facts);
        };
        let guards = || of_model(policy, &self.guards, &route.name);
        let (request, mut watch) = (Plan::of(guards(), Side::Request, policy.mode), Watch::default());
        // A conversation that the provider keeps holds placeholders of other exchanges.
        let keeps = continues(body);
        let answering = guards().filter(|(_, guard)| guard.action != GuardAction::Restore || !keeps);
        let answer = Plan::of(answering, Side::Answer, policy.mode).filter(|_| self.endpoint.generates());
        let masked = request.as_ref();
        let masked = masked.map_or(Ok(None), |plan| mask(&mut watch, plan, body, facts));
        note(turn, &mut self.record, &mut watch);
        match masked {
            Err(place) => {
                self.give_back(turn);
                let message = told(policy, &watch, Side::Request, &place);
                refuse(turn, self.endpoint, self.record, Refusal::guarded(message))
            }
            Ok(masked) => {
                self.watching = Watching::of(watch, request, answer);
                self.judge_masked(turn, (body, facts), masked)
            }
        }
    }

    /// Whether a guard lets nothing of it go on. Nothing is counted or noted.
    pub(in super::super) fn is_blocked<S: Store>(
        &self,
        turn: &Turn<'_, S>,
        (body, facts): (&[u8], &RequestFacts<'_>),
        model: &str,
    ) -> bool {
        let policy = &turn.gateway.policy;
        let guards = || of_model(policy, &self.guards, model);
        let blocks = |(_, guard): (usize, &Guard)| guard.action == GuardAction::Block && binds(policy, guard);
        if !guards().any(blocks) {
            return false;
        }
        let plan = Plan::of(guards(), Side::Request, policy.mode);
        plan.is_some_and(|plan| mask(&mut Watch::default(), &plan, body, facts).is_err())
    }

    fn judge_masked<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        (body, facts): (&[u8], &RequestFacts<'_>),
        masked: Option<Vec<u8>>,
    ) -> (Exchange, Step) {
        let Some(masked) = masked else {
            return self.judge(turn, body, facts);
        };
        self.masked = true;
        match scan(self.endpoint, &masked) {
            Ok(facts) => self.judge(turn, &masked, &facts),
            // A name that was masked, where a name must be.
            Err(error) => {
                self.give_back(turn);
                let refusal = Refusal::bad_request(&error.to_string(), "invalid_body");
                refuse(turn, self.endpoint, self.record, refusal)
            }
        }
    }

    /// A masked body as its answer would come back; none when that makes no difference.
    pub(in super::super) fn as_it_comes_back(&self, body: &[u8]) -> Option<Vec<u8>> {
        let watching = self.watching.as_ref().filter(|_| self.masked)?;
        // Nothing of it is an answer's: it isn't counted, and stops nothing.
        let mut watch = watching.watch.clone();
        match look(&mut watch, &watching.plan, (self.endpoint, body)) {
            Looked::Other(own) => Some(own),
            Looked::Same | Looked::Stopped(_) => None,
        }
    }

    /// Whether what can't be looked over mustn't go on: counted if it may.
    pub(in super::super) fn must_be_guarded<S: Store>(&self, turn: &mut Turn<'_, S>, why: Refused) -> bool {
        let policy = &turn.gateway.policy;
        let unreadable = matches!(why, Refused::Encoded | Refused::Oversize | Refused::BadRequest);
        if !unreadable || self.guards.is_empty() {
            return false;
        }
        let guards = self.guards.iter().filter_map(|at| policy.guards.get(*at));
        let bound = guards.into_iter().any(|guard| binds(policy, guard));
        turn.count(Metric::Unguarded(Side::Request));
        bound && policy.on_unguarded == OnUnreadable::Reject
    }
}

/// The body with what goes to the provider; none when that is what came.
///
/// # Errors
/// The place of what lets nothing go on.
fn mask(
    watch: &mut Watch,
    plan: &Plan,
    body: &[u8],
    facts: &RequestFacts<'_>,
) -> Result<Option<Vec<u8>>, String> {
    let mut spans = facts.prompt.texts.clone();
    // What isn't billed as prompt goes to the provider as well.
    let all = Texts::of(body).unwrap_or_default();
    spans.extend(all.texts.iter().map(|text| text.raw));
    watch.mask_places(plan, body, &spans).map_err(|at| path(body, at))
}
