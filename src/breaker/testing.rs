//! What the breaker's tests share: a policy with the published defaults, and a store in which other workers
//! interfere.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::VecDeque;

use super::*;
use crate::policy::{Accepted, Breaker, CountWhen, Provider, ProviderDialect, ProviderModel, Tokenizer};
use crate::store::{Cas, MemoryStore, Store, StoreError};

pub(super) fn rules() -> Breaker {
    Breaker {
        failure_rate: 0.5,
        slow_rate: 0.8,
        min_requests: 20,
        window: Duration::from_secs(30),
        consecutive: 5,
        slow_first_token: Duration::from_secs(10),
        slow_gap: Duration::from_secs(10),
        slow_call: Duration::from_secs(120),
        open: Duration::from_secs(15),
        max_open: Duration::from_secs(300),
        half_open_permits: 3,
        half_open_successes: 2,
        rate_limited: Duration::from_secs(15),
        max_rate_limited: Duration::from_secs(300),
        force: None,
    }
}

pub(super) fn provider(breaker: Breaker) -> Provider {
    let model = |name: &str| ProviderModel {
        name: name.to_owned(),
        count: CountWhen::default(),
        tokenizer: Tokenizer::Estimate,
        context: None,
        price: None,
        refuses: Vec::new(),
        accepts: Accepted::default(),
    };
    Provider {
        name: "openai".to_owned(),
        cluster: "openai".to_owned(),
        dialect: ProviderDialect::OpenAi,
        api_version: String::new(),
        authority: None,
        path_prefix: String::new(),
        credential: None,
        include_usage: true,
        models: vec![model("gpt-4o"), model("gpt-4o-mini")],
        breaker,
        limits: Vec::new(),
    }
}

pub(super) fn seconds(at: u64) -> Instant {
    Instant(at * 1_000_000_000)
}

type Act<'a> = Box<dyn FnOnce() + 'a>;

/// A store in which another worker acts between a read and the write that follows it.
pub(super) struct Interleaved<'a> {
    pub(super) inner: &'a MemoryStore,
    before_writes: RefCell<VecDeque<Act<'a>>>,
}

impl<'a> Interleaved<'a> {
    pub(super) fn new(inner: &'a MemoryStore, acts: impl IntoIterator<Item = Act<'a>>) -> Self {
        Self {
            inner,
            before_writes: RefCell::new(acts.into_iter().collect()),
        }
    }
}

impl Store for Interleaved<'_> {
    fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
        self.inner.read(key)
    }

    fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
        let act = self.before_writes.borrow_mut().pop_front();
        if let Some(act) = act {
            act();
        }
        self.inner.write(key, value, expected)
    }
}

/// A store whose writes all fail, with this error.
pub(super) struct Unwritable<'a>(pub(super) &'a MemoryStore, pub(super) StoreError);

impl Store for Unwritable<'_> {
    fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
        self.0.read(key)
    }

    fn write(&self, _: &str, _: &[u8], _: Cas) -> Result<(), StoreError> {
        Err(self.1)
    }
}

/// A store that counts its writes.
#[derive(Default)]
pub(super) struct Counting {
    pub(super) inner: MemoryStore,
    pub(super) writes: RefCell<usize>,
}

impl Store for Counting {
    fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
        self.inner.read(key)
    }

    fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
        *self.writes.borrow_mut() += 1;
        self.inner.write(key, value, expected)
    }
}

/// In the middle of the jitter: exactly the policy's span.
pub(super) const MIDDLE: u64 = 200;

pub(super) const GOOD: Outcome = Outcome::Success {
    latency: Latency::Unknown,
    headroom: None,
};
pub(super) const SLOW: Outcome = Outcome::Success {
    latency: Latency::FirstToken(Duration::from_secs(11)),
    headroom: None,
};
pub(super) const BAD: Outcome = Outcome::Failure(Failure::Status(500));
pub(super) const LATE: Outcome = Outcome::Failure(Failure::Timeout);

pub(super) fn limited(wait: Option<u64>) -> Outcome {
    Outcome::RateLimited {
        wait: wait.map(Duration::from_secs),
    }
}

pub(super) fn low(reset: Option<u64>) -> Outcome {
    let headroom = Headroom {
        share: 5,
        remaining_tokens: Some(9),
        reset: reset.map(Duration::from_secs),
        ..Headroom::default()
    };
    Outcome::Success {
        latency: Latency::Unknown,
        headroom: Some(headroom),
    }
}

pub(super) fn at(second: u64) -> Observation {
    Observation {
        now: seconds(second),
        entropy: MIDDLE,
    }
}

pub(super) fn ask(breakers: &Breakers<'_>, store: &impl Store, second: u64) -> Permit {
    breakers.ask(store, 0, seconds(second), MIDDLE)
}

pub(super) fn go(breakers: &Breakers<'_>, store: &impl Store, second: u64) -> Pass {
    match ask(breakers, store, second) {
        Permit::Go(pass) => pass,
        Permit::NotNow { state, .. } => panic!("{} at {second} s", state.as_str()),
    }
}

/// Asks and observes in the same second; `None` when it may not go.
pub(super) fn call(
    breakers: &Breakers<'_>,
    store: &impl Store,
    second: u64,
    outcome: Outcome,
) -> Option<Observed> {
    match ask(breakers, store, second) {
        Permit::Go(pass) => Some(breakers.observe(store, pass, outcome, at(second))),
        Permit::NotNow { .. } => None,
    }
}

pub(super) fn opened(breakers: &Breakers<'_>, store: &impl Store) {
    for _ in 0..5 {
        let _ = call(breakers, store, 0, BAD);
    }
    assert_eq!(breakers.view(store, 0, seconds(0)).state, StateName::Open);
}

pub(super) fn refused_until(breakers: &Breakers<'_>, store: &impl Store, second: u64) -> (StateName, u64) {
    match ask(breakers, store, second) {
        Permit::Go(_) => panic!("let go at {second} s"),
        Permit::NotNow { state, retry_at, .. } => (state, retry_at.0 / 1_000_000_000),
    }
}

pub(super) fn store_bytes(store: &impl Store, breakers: &Breakers<'_>) -> Vec<u8> {
    store.read(breakers.key()).unwrap().0
}
