//! Calls on credit: those that go although a breaker says no, as many as good answers have earned.
//!
//! Its invariant: what goes on credit was paid for in the record before it went.

use core::time::Duration;

use super::breakers::{Breakers, Pair, TRIES, transitions};
use super::outcome::{Outcome, Verdict, Worth};
use super::section::Change;
use super::state::Observation;
use super::{Observed, Pass, PendingTransition};
use crate::policy::Breaker as Rules;
use crate::store::{Store, StoreError};
use crate::time::Instant;

impl Pair {
    fn credit(&self, rules: &Rules, now: Instant) -> u32 {
        let both = [self.provider.credit(rules, now), self.model.credit(rules, now)];
        both.into_iter().flatten().min().unwrap_or(u32::MAX)
    }

    fn lent(self, rules: &Rules, now: Instant) -> Option<Self> {
        Some(Self {
            provider: self.provider.lent(rules, now)?,
            model: self.model.lent(rules, now)?,
        })
    }

    /// After a 429 to a call on credit: the model's section waits, as it does after any other's.
    fn rate_limited(self, wait: Option<Duration>, rules: &Rules, at: Observation) -> (Self, Option<Change>) {
        let (model, change) = self.model.rate_limited(wait, rules, at.now);
        (Self { model, ..self }, change)
    }

    fn credited(self, more: u32) -> Self {
        Self {
            provider: self.provider.credited(more),
            model: self.model.credited(more),
        }
    }
}

impl Breakers<'_> {
    /// How many more calls may go on credit, by the section that has less; without a bound if both are closed. None go
    /// where an operator forbids it or the provider itself named a time, or where the store is away.
    #[must_use]
    pub fn credit(&self, store: &impl Store, model: usize, now: Instant) -> u32 {
        match (self.rules.force, self.find(store)) {
            (Some(_), _) | (None, Err(_)) => 0,
            (None, Ok(found)) => found.pair(model).credit(self.rules, now),
        }
    }

    /// Leave for a call that goes on credit although a breaker says no; `None` when there is no credit left. What comes
    /// of it is to be observed like any other call's.
    pub fn borrow(&self, store: &impl Store, model: usize, now: Instant) -> Option<Pass> {
        for _ in 0..TRIES {
            let found = self.find(store).ok().filter(|_| self.rules.force.is_none())?;
            let pair = found.pair(model).lent(self.rules, now)?;
            match self.write(store, &found, model, &pair) {
                Ok(()) => {
                    return Some(Pass {
                        on_credit: true,
                        ..Pass::uncounted(self.record, model)
                    });
                }
                Err(StoreError::Conflict) => {}
                Err(StoreError::Unavailable) => return None,
            }
        }
        None
    }

    /// Gives credit back; contended for too long, it is lost, as a plain sample is. A 429 isn't.
    pub(super) fn give_back(
        &self,
        store: &impl Store,
        pass: Pass,
        worth: Worth,
        at: Observation,
    ) -> Observed {
        let ours = pass.record == self.record && self.rules.force.is_none() && worth != Worth::Credit(0);
        for _ in 0..if ours { TRIES } else { 0 } {
            let Ok(found) = self.find(store) else { break };
            let (pair, change) = match worth {
                Worth::Credit(credit) => (found.pair(pass.model).credited(credit), None),
                Worth::RateLimited(wait) => found.pair(pass.model).rate_limited(wait, self.rules, at),
            };
            match self.write(store, &found, pass.model, &pair) {
                Ok(()) => {
                    let [_, transition] = transitions(None, change);
                    return Observed {
                        transition,
                        ..Observed::default()
                    };
                }
                Err(StoreError::Conflict) => {}
                Err(StoreError::Unavailable) => break,
            }
        }
        let told = match worth {
            Worth::RateLimited(wait) if ours => Some(Outcome::RateLimited { wait }),
            Worth::RateLimited(_) | Worth::Credit(_) => None,
        };
        Observed {
            dropped: ours && told.is_none(),
            pending: told.map(|outcome| PendingTransition {
                pass,
                verdict: Verdict::of(outcome, self.rules),
            }),
            ..Observed::default()
        }
    }
}
