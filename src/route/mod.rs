//! Candidates of a model: filtered, ordered, chosen.
//!
//! A candidate must speak the client's dialect or be translated for, have room for the prompt, and be let through by its breaker. Whoever
//! searches decides about limits, and comes back for the next.

use crate::breaker::{Breakers, Identity, Pass, Permit, StateName};
use crate::policy::{Hop, Mode, ModelRoute, Policy, ProviderDialect, WhenAllOpen};
use crate::report::metric::PassedOver;
use crate::store::Store;
use crate::time::Instant;

/// What a request needs of a candidate.
#[derive(Clone, Copy, Debug)]
pub struct Need<'n> {
    /// The client's dialect.
    pub dialect: ProviderDialect,
    /// Candidates of another dialect that can have this request translated.
    pub foreign: &'n [Hop],
    /// Candidates whose context the prompt exceeds.
    pub too_long: &'n [Hop],
    /// Candidates that refuse something that the request has.
    pub refusing: &'n [Hop],
}

/// A candidate that may go.
#[derive(Debug)]
pub struct Found {
    /// Where.
    pub hop: Hop,
    /// One that speaks the dialect was passed over before it.
    pub fallback: bool,
    /// The breaker's leave, to be handed back with what came of it.
    pub pass: Pass,
    /// The breaker's state, for the record.
    pub state: &'static str,
}

/// The state, for the record, of a breaker that said no to a call that went all the same.
const PASSED_BY: &str = "passed_by";

/// A walk along a chain.
#[derive(Debug)]
pub struct Search<'p> {
    policy: &'p Policy,
    identities: &'p [Identity],
    route: &'p ModelRoute,
    need: Need<'p>,
    place: usize,
    /// Candidates passed over so far, and why.
    pub passed: Vec<(Hop, PassedOver)>,
    /// The earliest that one of those may be asked again.
    pub earliest: Option<Instant>,
    /// Candidates that a breaker refuses, by their place in the chain, and until when; none that an operator refuses.
    refused: Vec<(usize, Hop, Instant)>,
    without: Vec<Hop>,
    /// Nobody goes whose breaker says no, whatever the route says.
    strict: bool,
}

impl<'p> Search<'p> {
    /// Starts at the head of the chain. `identities` are those of the policy's providers, index for index.
    #[must_use]
    pub fn new(
        policy: &'p Policy,
        identities: &'p [Identity],
        route: &'p ModelRoute,
        need: Need<'p>,
    ) -> Self {
        Self {
            policy,
            identities,
            route,
            need,
            place: 0,
            passed: Vec::new(),
            earliest: None,
            refused: Vec::new(),
            without: Vec::new(),
            strict: false,
        }
    }

    /// Leaves these out, as if they weren't in the chain: they were asked already.
    #[must_use]
    pub fn without(mut self, hops: &[Hop]) -> Self {
        self.without.extend_from_slice(hops);
        self
    }

    /// As if these were down: left out, and nobody is asked against a breaker's word instead.
    #[must_use]
    pub fn drilling(self, hops: &[Hop]) -> Self {
        Self {
            strict: true,
            ..self.without(hops)
        }
    }

    /// Whether a candidate could have the request, and might go now. Nothing is noted and no lease is taken.
    pub fn is_well<S: Store>(&self, hop: Hop, store: &S, now: Instant) -> bool {
        let breakers = self.breakers(hop);
        self.unfit(hop).is_none() && breakers.is_some_and(|b| may_go(&b, hop, store, now))
    }

    /// The next candidate that may go.
    pub fn next<S: Store>(&mut self, store: &S, now: Instant, entropy: u64) -> Option<Found> {
        while let Some(hop) = self.route.chain.get(self.place).copied() {
            let place = self.place;
            self.place += 1;
            if self.without.contains(&hop) {
                continue;
            }
            if let Some(why) = self.unfit(hop) {
                self.passed.push((hop, why));
                // In shadow a prompt that seems too long goes all the same.
                if why == PassedOver::Dialect || self.policy.mode == Mode::Enforce {
                    continue;
                }
            }
            let breakers = self.breakers(hop)?;
            match breakers.ask(store, hop.model, now, entropy) {
                Permit::Go(pass) => return Some(self.found(hop, place, pass)),
                Permit::NotNow {
                    state,
                    retry_at,
                    forced,
                } => {
                    self.refused(
                        place,
                        hop,
                        Refused {
                            state,
                            retry_at,
                            forced,
                        },
                    );
                    if self.policy.mode == Mode::Shadow {
                        return Some(Found {
                            state: PASSED_BY,
                            ..self.found(hop, place, breakers.force_pass(hop.model))
                        });
                    }
                }
            }
        }
        self.last_resort(store, now)
    }

    /// The candidates after `hop` that might go now. Nothing is noted and no lease is taken: they may never be asked.
    pub fn standby<S: Store>(&self, hop: Hop, store: &S, now: Instant) -> Vec<Hop> {
        let after = self.route.chain.iter().skip_while(|other| **other != hop).skip(1);
        after
            .copied()
            .filter(|other| self.is_well(*other, store, now))
            .collect()
    }

    /// Notes that a candidate found was not taken, and when it may be asked again, if ever.
    pub fn skip(&mut self, hop: Hop, why: PassedOver, retry_at: Option<Instant>) {
        self.passed.push((hop, why));
        self.earliest = [self.earliest, retry_at].into_iter().flatten().min();
    }

    /// Whether every candidate fell for this reason.
    #[must_use]
    pub fn all(&self, why: PassedOver) -> bool {
        self.all_of(&[why])
    }

    /// Whether every candidate fell for one of these reasons.
    #[must_use]
    pub fn all_of(&self, reasons: &[PassedOver]) -> bool {
        !self.passed.is_empty() && self.passed.iter().all(|(_, found)| reasons.contains(found))
    }

    fn unfit(&self, hop: Hop) -> Option<PassedOver> {
        let provider = self.policy.providers.get(hop.provider)?;
        if provider.dialect != self.need.dialect && !self.need.foreign.contains(&hop) {
            return Some(PassedOver::Dialect);
        }
        if self.need.refusing.contains(&hop) {
            return Some(PassedOver::Refuses);
        }
        self.need.too_long.contains(&hop).then_some(PassedOver::Context)
    }

    fn refused(&mut self, place: usize, hop: Hop, refused: Refused) {
        self.passed.push((hop, refused.why()));
        if refused.forced {
            return;
        }
        let at = refused.retry_at;
        self.earliest = Some(self.earliest.map_or(at, |e| e.min(at)));
        // In shadow it goes at once.
        if self.policy.mode == Mode::Enforce {
            self.refused.push((place, hop, at));
        }
    }

    /// Whom to ask where every breaker says no; nobody is asked twice.
    fn last_resort<S: Store>(&mut self, store: &S, now: Instant) -> Option<Found> {
        match self.route.when_all_open {
            _ if self.strict => None,
            WhenAllOpen::Reject => None,
            WhenAllOpen::LeastBad => {
                let refused = core::mem::take(&mut self.refused);
                let (place, hop, _) = refused.into_iter().min_by_key(|(_, _, at)| *at)?;
                let breakers = self.breakers(hop)?;
                Some(self.passed_by(hop, place, breakers.force_pass(hop.model)))
            }
            WhenAllOpen::Throttle => self.on_credit(store, now),
        }
    }

    /// The one with most credit; of equals, the chain's order is the operator's.
    fn on_credit<S: Store>(&mut self, store: &S, now: Instant) -> Option<Found> {
        let credit = |hop: Hop| self.breakers(hop).map_or(0, |b| b.credit(store, hop.model, now));
        let mut best: Vec<_> = self
            .refused
            .iter()
            .map(|(place, hop, _)| (credit(*hop), *place, *hop))
            .collect();
        best.retain(|(credit, ..)| *credit > 0);
        best.sort_by_key(|(credit, ..)| core::cmp::Reverse(*credit));
        for (_, place, hop) in best {
            self.refused.retain(|(_, refused, _)| *refused != hop);
            if let Some(pass) = self.breakers(hop)?.borrow(store, hop.model, now) {
                return Some(self.passed_by(hop, place, pass));
            }
        }
        None
    }

    fn breakers(&self, hop: Hop) -> Option<Breakers<'p>> {
        let provider = self.policy.providers.get(hop.provider)?;
        Some(Breakers::known(provider, self.identities.get(hop.provider)?))
    }

    fn found(&self, hop: Hop, place: usize, pass: Pass) -> Found {
        let state = if pass.is_probe() {
            StateName::HalfOpen
        } else {
            StateName::Closed
        };
        let before = self.route.chain.get(..place).unwrap_or_default();
        let mut passed = self.passed.iter().filter(|(hop, _)| before.contains(hop));
        let fallback = passed.any(|(_, why)| *why != PassedOver::Dialect);
        Found {
            hop,
            fallback,
            pass,
            state: state.as_str(),
        }
    }

    /// A candidate that goes although its breaker says no: it wasn't passed over.
    fn passed_by(&mut self, hop: Hop, place: usize, pass: Pass) -> Found {
        self.passed.retain(|(passed, _)| *passed != hop);
        Found {
            state: PASSED_BY,
            ..self.found(hop, place, pass)
        }
    }
}

fn may_go<S: Store>(breakers: &Breakers<'_>, hop: Hop, store: &S, now: Instant) -> bool {
    breakers.view(store, hop.model, now).retry_at.is_none()
}

struct Refused {
    state: StateName,
    retry_at: Instant,
    forced: bool,
}

impl Refused {
    fn why(&self) -> PassedOver {
        if self.forced {
            PassedOver::Forced
        } else if self.state == StateName::RateLimited {
            PassedOver::RateLimited
        } else {
            PassedOver::Open
        }
    }
}
