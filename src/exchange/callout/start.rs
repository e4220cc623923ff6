//! How it begins: what is kept of a request when it goes out, or the call that it goes out by.

use core::time::Duration;

use crate::breaker::Outcome;
use crate::policy::{Hop, Policy};
use crate::store::Store;

use super::super::admit::{Admitted, Granted};
use super::super::booking::give_back;
use super::super::foreign::{self, Pair};
use super::super::identify::Identified;
use super::super::plan::Plan;
use super::super::refuse::{Refusal, refuse, wait_until};
use super::super::settle::observe;
use super::super::{Edit, Exchange, Step, Turn};
use super::calling::{Calling, Phase};
use super::kept::{Kept, Start};
use super::next::Chosen;

impl Identified {
    /// Whether a candidate is one that a host can't ask by itself, because nobody would translate.
    pub(in super::super) fn speaks_another(&self, policy: &Policy, plan: &Plan<'_>, hop: Hop) -> bool {
        let provider = policy.providers.get(hop.provider);
        plan.foreign.contains(&hop) && provider.is_some_and(|p| Pair::of(self.endpoint, p).is_some())
    }

    /// The path at a candidate that has another than the client's.
    pub(in super::super) fn foreign_path(&self, policy: &Policy, plan: &Plan<'_>, hop: Hop) -> Option<Edit> {
        let provider = policy.providers.get(hop.provider)?;
        let model = provider.models.get(hop.model)?.name.as_str();
        let foreign = plan.foreign.contains(&hop);
        let path = foreign
            .then(|| foreign::path(self.endpoint, &self.path, (provider, model), plan.facts.stream))??;
        Some(Edit::set(":path", format!("{}{path}", provider.path_prefix)))
    }

    /// Asks a candidate of another protocol: what a host passes on by itself nobody could translate.
    pub(in super::super) fn call<S: Store>(
        mut self,
        turn: &mut Turn<'_, S>,
        plan: &Plan<'_>,
        (granted, body): (Granted, &[u8]),
    ) -> (Exchange, Step) {
        let Some(kept) = self.keep(turn, plan, (&granted, body)) else {
            // Can't be: it was judged translatable by the same rules.
            let refusal = Refusal::unavailable(wait_until(None, turn.now));
            if let Some(pass) = granted.pass {
                observe(turn, granted.hop, pass, Outcome::Unsent);
            }
            give_back(turn, granted.ticket);
            return refuse(turn, self.endpoint, self.record, refusal);
        };
        self.admitted(turn, plan, granted).call(turn, kept)
    }

    /// Keeps what another attempt by a callout would need.
    pub(in super::super) fn keep<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        plan: &Plan<'_>,
        (granted, body): (&Granted, &[u8]),
    ) -> Option<Box<Kept>> {
        let start = Start {
            endpoint: self.endpoint,
            hop: granted.hop,
            body,
            levels: &granted.levels,
            path: &self.path,
            authority: &self.authority,
            prompt: granted.ticket.prompt(),
            deadline: self.patience(plan).map(|span| turn.now.monotonic.after(span)),
            drilled: granted.drilled.is_some(),
        };
        Kept::of(turn, plan, &start, (&mut self.protocol_headers, &mut self.who))
    }

    /// How long the client waits, by the header that the model's policy names.
    pub(in super::super) fn patience(&self, plan: &Plan<'_>) -> Option<Duration> {
        let header = plan.route.failover.deadline_header.as_ref()?;
        let found = self.deadlines.iter().find(|(name, _)| name == header);
        found.map(|(_, span)| *span)
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
        let ticket = kept.part(self.ticket);
        kept.watching = self.watching;
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
                    repeats: false,
                },
            ),
            None => state.exhausted(turn),
        }
    }
}
