//! What is done between exchanges: lost races are run again, gauges set.

use crate::breaker::{Observation, PendingTransition};
use crate::ledger;
use crate::policy::Hop;
use crate::report::Metric;
use crate::report::metric::state_code;
use crate::store::Store;

use super::Turn;
use super::settle::note_observed;

impl<S: Store> Turn<'_, S> {
    /// Tries again what couldn't be written. What still can't be is among the effects again: nothing is given up.
    pub fn retry(&mut self, bookings: Vec<ledger::Pending>, transitions: Vec<(usize, PendingTransition)>) {
        for pending in bookings {
            let left = self.gateway.ledger.flush(self.store, pending, self.now.monotonic);
            self.effects.bookings.extend(left.err());
        }
        for (provider, pending) in transitions {
            self.retry_transition(provider, pending);
        }
    }

    fn retry_transition(&mut self, provider: usize, pending: PendingTransition) {
        let Some(breakers) = self.gateway.breakers(provider) else {
            return;
        };
        let hop = Hop {
            provider,
            model: pending.model(),
        };
        let at = Observation {
            now: self.now.monotonic,
            entropy: self.entropy,
        };
        let observed = breakers.settle(self.store, pending, at);
        note_observed(self, hop, observed);
    }

    /// Each provider's breaker and headroom, of its models the worst.
    pub fn set_gauges(&mut self) {
        for (provider, found) in self.gateway.policy.providers.iter().enumerate() {
            let Some(breakers) = self.gateway.breakers(provider) else {
                continue;
            };
            let models = 0..found.models.len();
            let views = models.map(|model| breakers.view(self.store, model, self.now.monotonic));
            let (states, shares): (Vec<_>, Vec<_>) = views
                .map(|view| {
                    (
                        state_code(view.state),
                        view.headroom.map(|headroom| headroom.share),
                    )
                })
                .unzip();
            self.add(
                Metric::BreakerState(provider),
                states.into_iter().max().unwrap_or_default(),
            );
            if let Some(share) = shares.into_iter().flatten().min() {
                self.add(Metric::Headroom(provider), u64::from(share));
            }
        }
    }
}
