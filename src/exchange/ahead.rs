//! What goes to a provider before its body was judged: headers that a host can't hold, and what passes uncounted.

use crate::breaker::{Outcome, Pass};
use crate::policy::{Hop, OnUnreadable, Policy, Provider};
use crate::report::Record;
use crate::report::metric::{Metric, Refused};
use crate::route::Need;
use crate::store::Store;

use super::admit::{note_chosen, note_passed, note_turned};
use super::fleet::{self, Known};
use super::foreign::ACCOUNTS;
use super::identify::Identified;
use super::plan::{nobody, unroutable};
use super::refuse::{Refusal, refuse};
use super::respond::{ResponseHead, private_edits};
use super::settle::observe;
use super::{Edit, Exchange, Step, Turn};

/// A place chosen before the body is known.
#[derive(Debug)]
pub(super) struct Routed {
    pub(super) hop: Hop,
    pub(super) fallback: bool,
    pub(super) pass: Pass,
    /// The headers that name an account are for it.
    accounts: bool,
}

impl Routed {
    /// Chooses by a model's name from the headers, or by the catch-all.
    fn by_headers<S: Store>(turn: &mut Turn<'_, S>, state: &mut Identified) -> Result<Self, Refusal> {
        let gateway = turn.gateway;
        let route = match &state.asked {
            Some(name) => gateway.route(name),
            None => gateway.policy.any_model.as_ref(),
        };
        let Some(route) = route else {
            return Err(Refusal::unknown_model(unroutable(&gateway.policy)));
        };
        let need = Need {
            dialect: state.endpoint.dialect(),
            foreign: &[],
            too_long: &[],
            refusing: &[],
        };
        let mut search = gateway.search(route, need);
        let found = search.next(turn.store, turn.now.monotonic, turn.entropy);
        note_passed(turn, &search, &mut state.record);
        let found = found.ok_or_else(|| nobody(&search, &route.name, 0, turn.now))?;
        note_turned(turn, &found);
        note_chosen(turn, (found.hop, found.state), &mut state.record);
        Ok(Self {
            hop: found.hop,
            fallback: found.fallback,
            pass: found.pass,
            accounts: route.chain.first() == Some(&found.hop),
        })
    }

    /// Not used after all: the breaker gets its probe back.
    pub(super) fn give_back<S: Store>(self, turn: &mut Turn<'_, S>) {
        observe(turn, self.hop, self.pass, Outcome::Unsent);
    }

    /// Goes, and nobody will know what came of it: the breaker gets a probe back, but no credit.
    fn goes_uncounted<S: Store>(self, turn: &mut Turn<'_, S>) {
        observe(turn, self.hop, self.pass, Outcome::Unanswered);
    }
}

/// Passes without being counted, as the policy says; the record waits for the log.
#[derive(Debug)]
pub struct Uncounted {
    record: Box<Record>,
}

impl Uncounted {
    /// What the provider tells of its own limits is for nobody behind it.
    pub(super) fn respond(mut self: Box<Self>, head: &ResponseHead<'_>) -> (Exchange, Step) {
        self.record.status = head.status();
        let edits = private_edits(head.headers);
        (Exchange::Uncounted(self), Step::edited(edits))
    }

    pub(super) fn ended<S: Store>(mut self, turn: &Turn<'_, S>) -> Box<Record> {
        self.record.close("uncounted", turn.now.monotonic);
        self.record
    }
}

impl Identified {
    /// Chooses the provider before the body is known.
    pub(super) fn route_first<S: Store>(mut self: Box<Self>, turn: &mut Turn<'_, S>) -> (Exchange, Step) {
        match Routed::by_headers(turn, &mut self) {
            Err(refusal) => refuse(turn, self.endpoint, self.record, refusal),
            Ok(routed) => {
                let known = Known {
                    who: &self.who,
                    model: self
                        .asked
                        .as_ref()
                        .and_then(|name| turn.gateway.route(name))
                        .map(|m| m.name.as_str()),
                    provider: Some(routed.hop.provider),
                };
                fleet::ask(turn, known);
                let mut edits = self.edits_towards(turn, &routed);
                // The body may be changed after these headers have gone.
                edits.push(Edit::remove("content-length"));
                self.routed = Some(routed);
                (Exchange::Identified(self), Step::edited(edits))
            }
        }
    }

    fn edits_towards<S: Store>(&mut self, turn: &Turn<'_, S>, routed: &Routed) -> Vec<Edit> {
        let mut edits = core::mem::take(&mut self.edits);
        edits.extend(route_edits(&turn.gateway.policy, routed.hop, &self.path));
        if !routed.accounts {
            edits.extend(ACCOUNTS.map(Edit::remove));
        }
        edits
    }

    /// Refuses what can't be read, or passes it uncounted where the policy says so.
    pub(super) fn refuse_or_pass<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        refusal: Refusal,
    ) -> (Exchange, Step) {
        let passes = may_pass_uncounted(turn, refusal.reason);
        if !passes || self.must_be_guarded(turn, refusal.reason) {
            self.give_back(turn);
            return refuse(turn, self.endpoint, self.record, refusal);
        }
        let routed = match self.routed.take() {
            Some(routed) => Ok((routed, Vec::new())),
            None => Routed::by_headers(turn, &mut self).map(|routed| {
                let edits = self.edits_towards(turn, &routed);
                (routed, edits)
            }),
        };
        match routed {
            Err(refusal) => refuse(turn, self.endpoint, self.record, refusal),
            Ok((routed, edits)) => {
                routed.goes_uncounted(turn);
                turn.count(Metric::Uncounted);
                if turn.in_shadow() {
                    turn.count(Metric::ShadowRefused(refusal.reason));
                }
                let state = Box::new(Uncounted { record: self.record });
                (Exchange::Uncounted(state), Step::edited(edits))
            }
        }
    }

    /// Gives a probe back that was taken before the body was known.
    pub(super) fn give_back<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        if let Some(routed) = self.routed.take() {
            routed.give_back(turn);
        }
    }
}

fn may_pass_uncounted<S: Store>(turn: &Turn<'_, S>, reason: Refused) -> bool {
    let policy = &turn.gateway.policy;
    match reason {
        Refused::Encoded => turn.in_shadow() || policy.on_encoded == OnUnreadable::Pass,
        Refused::Oversize => turn.in_shadow() || policy.on_oversize == OnUnreadable::Pass,
        Refused::BadRequest => turn.in_shadow(),
        Refused::Anonymous
        | Refused::Model
        | Refused::Never
        | Refused::Limit
        | Refused::Unavailable
        | Refused::Fleet
        | Refused::FleetUnavailable
        | Refused::Answer
        | Refused::Guard
        | Refused::Flagged
        | Refused::Unmoderated => false,
    }
}

/// What sends a request to a provider: cluster, authority, path and credential.
pub(super) fn route_edits(policy: &Policy, hop: Hop, path: &str) -> Vec<Edit> {
    let Some(provider) = policy.providers.get(hop.provider) else {
        return Vec::new();
    };
    let mut edits = vec![Edit::set("x-spillway-cluster", provider.cluster.clone())];
    let authority = provider.authority.as_ref();
    edits.extend(authority.map(|authority| Edit::set(":authority", authority.clone())));
    edits.extend(provider_edits(provider, path));
    edits
}

/// Path and credential of a provider, for a request with the client's path.
pub(super) fn provider_edits(provider: &Provider, path: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    if !provider.path_prefix.is_empty() {
        edits.push(Edit::set(":path", format!("{}{path}", provider.path_prefix)));
    }
    let credential = provider.credential.as_ref();
    edits.extend(credential.map(|c| Edit::set(c.header.clone(), c.value.clone())));
    edits
}
