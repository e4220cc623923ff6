//! A host in memory: a store, two clocks, what a callback leaves behind; and the policies that whole exchanges are played under.

mod attempts;
mod play;
mod policies;
pub(crate) mod script;

use core::cell::RefCell;
use core::time::Duration;

use spillway::body::cache::Schemas;
use spillway::exchange::{CallAnswer, Effects, ErrandKind, Gateway, Turn};
use spillway::failover::Load;
use spillway::ledger::Key;
use spillway::policy::{Limit, Mode, Unit};
use spillway::report::Metric;
use spillway::report::metric::Booking;
use spillway::store::MemoryStore;
use spillway::time::{Instant, Now, UnixMillis};
use spillway::tokens::exact::Counter;

pub(crate) use policies::gateways;
use script::Script;

/// The provider's credential in all policies: it goes to providers only.
pub(crate) const KEY: &str = "sk-s3cr3t-openai";

thread_local! {
    static COUNTER: RefCell<Counter> = RefCell::new(Counter::new());
}

/// What one exchange is played in.
pub(crate) struct Lab<'g> {
    gateway: &'g Gateway,
    store: MemoryStore,
    now: Now,
    effects: Effects,
    schemas: Schemas,
    properties: Vec<(String, Vec<u8>)>,
}

/// A property by its path; each is there once.
fn found(properties: &[(String, Vec<u8>)], path: &[&str]) -> Option<Vec<u8>> {
    let name = path.join(".");
    let found = properties.iter().find(|(other, _)| *other == name);
    found.map(|(_, value)| value.clone())
}

impl<'g> Lab<'g> {
    /// An empty store, in November 2026.
    pub(crate) fn new(gateway: &'g Gateway) -> Self {
        Self {
            gateway,
            store: MemoryStore::default(),
            now: Now {
                monotonic: BEGAN,
                wall: UnixMillis(1_795_248_000_000),
            },
            effects: Effects::default(),
            schemas: Schemas::default(),
            properties: Vec::new(),
        }
    }

    /// Plays an exchange to its end, and holds what is left behind to its promises.
    pub(crate) fn play(&mut self, script: &Script<'_>) {
        let probing = script.probes && self.trip();
        play::play(self, script);
        self.errands(script);
        assert!(
            self.effects.bookings.is_empty() && self.effects.transitions.is_empty(),
            "left to be written"
        );
        self.is_booked();
        if probing {
            self.has_no_lease();
        }
    }

    fn turn<T>(&mut self, run: impl FnOnce(&mut Turn<'_, MemoryStore>) -> T) -> T {
        COUNTER.with_borrow_mut(|counter| {
            let mut turn = Turn {
                gateway: self.gateway,
                store: &self.store,
                now: self.now,
                entropy: 7,
                counter,
                load: Load::default(),
                schemas: &mut self.schemas,
                effects: &mut self.effects,
            };
            run(&mut turn)
        })
    }

    fn later(&mut self, span: Duration) {
        self.now.monotonic = self.now.monotonic.after(span);
    }

    fn set(&mut self, name: &str, value: &[u8]) {
        self.properties.retain(|(other, _)| other != name);
        self.properties.push((name.to_owned(), value.to_vec()));
    }

    /// What the other role is to find.
    fn share(&mut self) {
        for (key, value) in core::mem::take(&mut self.effects.properties) {
            self.set(&format!("filter_state.wasm.{key}"), &value);
        }
    }

    /// Calls that nobody waits for come back.
    fn errands(&mut self, script: &Script<'_>) {
        let mut answers = script.calls.iter();
        for errand in core::mem::take(&mut self.effects.errands) {
            let answer = answers
                .next()
                .map_or_else(CallAnswer::unsent, script::Answer::called);
            match errand.kind {
                kind @ ErrandKind::Post => self.turn(|turn| turn.dropped(kind)),
                kind @ ErrandKind::Question(_) => self.turn(|turn| turn.came_back(kind, &answer)),
            }
        }
    }

    /// The limit of all callers together holds what was booked, once; but for the few tokens that it gave back since.
    fn is_booked(&self) {
        let policy = &self.gateway.policy;
        let open = |limit: &&Limit| {
            limit.per.is_empty() && limit.unit == Unit::Tokens && limit.mode == Mode::Enforce
        };
        let Some(limit) = policy
            .limits
            .iter()
            .find(open)
            .filter(|limit| limit.burst > LARGEST_CHARGE)
        else {
            return;
        };
        let level = self
            .gateway
            .ledger
            .level(&self.store, limit, self.key(limit), self.now.monotonic);
        let booked = self
            .effects
            .metrics
            .iter()
            .filter(|(metric, _)| *metric == Metric::Tokens(Booking::Settled));
        let booked = booked.map(|(_, tokens)| *tokens).fold(0, u64::saturating_add);
        let used = level.capacity - level.remaining;
        let most = booked.min(LARGEST_CHARGE);
        let millis = u64::try_from(self.now.monotonic.since(BEGAN).as_millis()).unwrap_or(u64::MAX);
        let least = most.saturating_sub(millis.saturating_mul(REFILL) / 1_000 + 1);
        assert!((least..=most).contains(&used), "{used} used, {booked} booked");
    }

    fn key(&self, limit: &Limit) -> Key {
        let owner = self.gateway.ledger.hash(&[]).to_le_bytes();
        self.gateway.ledger.key(limit, &owner, &[])
    }
}

/// When every exchange begins.
const BEGAN: Instant = Instant(1_000_000_000_000);

/// Tokens a second that the limit of all callers gives back.
pub(crate) const REFILL: u64 = 4;

/// No settlement charges more than is believed of one exchange.
const LARGEST_CHARGE: u64 = 1 << 26;

/// Breakers before and after.
mod probes {
    use spillway::breaker::{Failure, Observation, Outcome, Permit, StateName};

    use super::Lab;

    impl Lab<'_> {
        /// Opens the first provider's breaker and waits until it is half open; whether it is.
        pub(super) fn trip(&mut self) -> bool {
            let Some(breakers) = self.gateway.breakers(0) else {
                return false;
            };
            let Some(rules) = self
                .gateway
                .policy
                .providers
                .first()
                .map(|provider| &provider.breaker)
            else {
                return false;
            };
            for _ in 0..rules.consecutive.min(10) {
                if let Permit::Go(pass) = breakers.ask(&self.store, 0, self.now.monotonic, 7) {
                    let at = Observation {
                        now: self.now.monotonic,
                        entropy: 7,
                    };
                    let _ = breakers.observe(&self.store, pass, Outcome::Failure(Failure::Connect), at);
                }
            }
            let open = breakers.view(&self.store, 0, self.now.monotonic).provider == StateName::Open;
            self.later(rules.max_open * 2);
            open
        }

        /// Half open after an exchange has ended: every probe may go.
        pub(super) fn has_no_lease(&self) {
            let Some(breakers) = self.gateway.breakers(0) else {
                return;
            };
            let provider = &self.gateway.policy.providers[0];
            for model in 0..provider.models.len() {
                let view = breakers.view(&self.store, model, self.now.monotonic);
                let permit = breakers.ask(&self.store, model, self.now.monotonic, 7);
                let half = view.provider == StateName::HalfOpen && view.model == StateName::Closed;
                assert!(
                    !half || matches!(permit, Permit::Go(_)),
                    "{view:?}: a lease is kept"
                );
            }
        }
    }
}
