//! What the breaker's tests share: a policy with the published defaults, and a store in which other workers
//! interfere.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::VecDeque;

use crate::policy::{Breaker, Provider, ProviderDialect, ProviderModel, Tokenizer};
use crate::store::{Cas, MemoryStore, Store, StoreError};
use crate::time::Instant;

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
        tokenizer: Tokenizer::Estimate,
        context: None,
        price: None,
    };
    Provider {
        name: "openai".to_owned(),
        cluster: "openai".to_owned(),
        dialect: ProviderDialect::OpenAi,
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
