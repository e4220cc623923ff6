//! Records of the store that anybody may have written, or half written.

use core::time::Duration;
use std::cell::RefCell;
use std::collections::BTreeMap;

use spillway::breaker::{Breakers, Failure, Latency, Observation, Outcome, Pass, Permit, StateName};
use spillway::failover::{Load, acquire, publish};
use spillway::headroom::Headroom;
use spillway::layout::{Before, take_over};
use spillway::ledger::{Actual, Admission, Claim, Demand, HashKey, Ledger, Lesson, Request};
use spillway::policy::{Limit, Mode, OnContention, Policy, Reserve, Scope, Unit, load};
use spillway::store::{Cas, MemoryStore, Store, StoreError};
use spillway::time::Instant;

use crate::input::Input;

/// A store where every record that was never written holds the same bytes.
struct Found<'d> {
    store: MemoryStore,
    bytes: &'d [u8],
    /// What was written last, by its record's name.
    written: RefCell<BTreeMap<String, Vec<u8>>>,
}

impl<'d> Found<'d> {
    fn holding(bytes: &'d [u8]) -> Self {
        Self {
            store: MemoryStore::default(),
            bytes,
            written: RefCell::default(),
        }
    }
}

impl Store for Found<'_> {
    fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
        let read = self.store.read(key)?;
        if read.1 != Cas::Absent || self.bytes.is_empty() {
            return Ok(read);
        }
        self.store.write(key, self.bytes, Cas::Absent)?;
        self.store.read(key)
    }

    fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
        self.store.write(key, value, expected)?;
        self.written.borrow_mut().insert(key.to_owned(), value.to_vec());
        Ok(())
    }
}

/// Whatever a record holds: nothing panics, records stay within their size, and what goes on from there keeps its promises.
/// A limit grants no more than its capacity, gives back no more than it took and opens again in time; a breaker lets no more
/// probes go than it may, and names a time within its policy's; repeats stay within their share; workers agree on a key.
pub fn records(data: &[u8]) {
    let mut input = Input::new(data);
    let (kind, now, choice) = (input.byte() % 5, Instant(input.long() % YEARS), input.long());
    let store = Found::holding(input.rest());
    match kind {
        0 => limits(&store, now, choice),
        1 => breaker(&store, now, choice),
        2 => repeats(&store, now, choice),
        3 => layout(&store),
        _ => {
            let shared = HashKey::shared(&store, [7; 16]);
            assert!(shared.is_ok() && shared == HashKey::shared(&store, [8; 16]));
        }
    }
}

/// A hundred years of nanoseconds.
const YEARS: u64 = 100 * 365 * 86_400 * 1_000_000_000;

fn limit(quota: u64, period: u64, unit: Unit, mode: Mode) -> Limit {
    Limit {
        name: "limit".to_owned(),
        id: quota ^ period << 20,
        per: Vec::new(),
        unit,
        quota,
        period: Duration::from_secs(period),
        burst: quota,
        scope: Scope::Proxy,
        mode,
        reserve: Reserve::Expected,
        on_contention: OnContention::Deny,
    }
}

fn limits(store: &Found<'_>, now: Instant, choice: u64) {
    let ledger = Ledger::new(HashKey::from_text("test"), 8);
    let minute = limit(1_000, 60, Unit::Tokens, Mode::Enforce);
    let second = limit(50, 1, Unit::Requests, Mode::Enforce);
    let day = limit(1_000_000, 86_400, Unit::Tokens, Mode::Shadow);
    let claims = [&minute, &second, &day].map(|limit| Claim {
        limit,
        key: ledger.key(limit, b"a", &[b"a"]),
        group: 0,
    });
    let request = Request {
        claims: &claims,
        habit: Some(ledger.habit_key(b"a", &[b"m"])),
        demand: Demand {
            text: choice % 300,
            around: choice / 300 % 50,
            max_output: Some(100),
            choices: 1,
            generates: true,
            ..Demand::default()
        },
        mode: Mode::Enforce,
    };
    let left = |at| ledger.level(store, &minute, claims[0].key, at).remaining;
    let (before, mut granted, mut tickets) = (left(now), 0, Vec::new());
    for _ in 0..20 {
        match ledger.admit(store, &request, now) {
            Admission::Granted(ticket) => {
                // The day's reservation may be larger than the minute has room for.
                granted += ticket.reserved_tokens().min(minute.burst);
                tickets.push(ticket);
            }
            Admission::Refused(refusal) => {
                assert!(refusal.pending.is_none() && refusal.levels.len() == 3);
                break;
            }
            Admission::Never(_) | Admission::Unsure { .. } => break,
        }
    }
    assert!(granted <= minute.burst, "{granted} of {}", minute.burst);
    for (index, ticket) in tickets.into_iter().enumerate() {
        let tokens = if index == 0 { choice % 2_000 } else { 0 };
        let lesson = Lesson {
            output: Some(choice % 5_000),
            text: Some((choice % 300, choice % 700)),
        };
        let settled = ledger.settle(
            store,
            ticket,
            Actual {
                requests: 1,
                tokens,
                lesson,
            },
            now,
        );
        assert!(settled.pending.is_none());
    }
    assert!(left(now) <= before, "more than before: {} of {before}", left(now));
    pages(store);
    opens(store, &ledger, (&claims, &minute), now);
}

/// Every page that was written has a page's size.
fn pages(store: &Found<'_>) {
    assert!(store.written.borrow().values().all(|page| page.len() == 512));
}

/// After all that can be owed has refilled, the limit is whole again; what a record claims beyond that is cut off when it
/// is met. Except in the bucket that strangers share: what limits of other policies left there has no bound that this one
/// knows, so that a damaged one stays where it is cut off.
fn opens(store: &Found<'_>, ledger: &Ledger, (claims, minute): (&[Claim<'_>], &Limit), now: Instant) {
    let request = Request {
        claims,
        habit: None,
        demand: Demand {
            max_output: Some(1),
            choices: 1,
            generates: true,
            ..Demand::default()
        },
        mode: Mode::Enforce,
    };
    let mut at = now;
    for _ in 0..3 {
        if let Admission::Granted(ticket) = ledger.admit(store, &request, at) {
            let _ = ticket.cancel(ledger, store, at);
        }
        at = at.after(Duration::from_secs(60 * 5_000_000));
    }
    let level = ledger.level(store, minute, claims[0].key, at);
    let is_cut_off = level.reset > Duration::from_secs(86_400 * 365);
    assert!(
        level.remaining == minute.burst || is_cut_off,
        "never opens again: {level:?}"
    );
}

const DOCUMENT: &str = r#"{"version": 1,
    "providers": {"p": {"cluster": "c", "dialect": "openai", "models": {"a": {}, "b": {}},
        "breaker": {"consecutive": 2, "open": "10s", "max_open": "60s"}}},
    "models": {"a": {"chain": ["p/a"]}}}"#;

thread_local! {
    static POLICY: Policy = match load(DOCUMENT, &BTreeMap::new()) {
        Ok(policy) => policy,
        Err(error) => panic!("{error}"),
    };
}

fn breaker(store: &Found<'_>, now: Instant, choice: u64) {
    POLICY.with(|policy| {
        let provider = &policy.providers[0];
        let rules = &provider.breaker;
        let breakers = Breakers::of(provider);
        let longest = rules.max_open.max(rules.max_rate_limited) * 2;
        let (mut at, mut passes, mut probes) = (now, Vec::new(), 0);
        for step in 0..8 {
            let roll = choice >> (step * 8) & 0xff;
            let model = usize::from(roll & 1 > 0);
            match breakers.ask(store, model, at, roll) {
                Permit::Go(pass) => {
                    probes += u32::from(pass.is_probe());
                    passes.push(pass);
                }
                Permit::NotNow {
                    state,
                    retry_at,
                    forced,
                } => {
                    assert!(!forced && state != StateName::Closed);
                    assert!(
                        retry_at.since(at) <= longest,
                        "{state:?} for {:?}",
                        retry_at.since(at)
                    );
                }
            }
            assert!(probes <= rules.half_open_permits * 2, "{probes} probes at once");
            let view = breakers.view(store, model, at);
            assert!(
                view.headroom.is_none_or(|headroom| headroom.share <= 1_000),
                "{view:?}"
            );
            if let Some(pass) = passes.pop_if(|_| roll & 2 > 0) {
                probes -= u32::from(pass.is_probe());
                told(&breakers, store, (pass, roll), at);
            }
            if roll & 0xe0 == 0xe0 {
                // Leases run out, states change: probes are counted anew.
                (at, probes) = (at.after(longest), 0);
                passes.clear();
            }
        }
        let size = store.written.borrow().values().map(Vec::len).max().unwrap_or(0);
        assert!(size <= 4_096, "{size} bytes");
    });
}

fn told(breakers: &Breakers<'_>, store: &Found<'_>, (pass, roll): (Pass, u64), now: Instant) {
    let packed = pass.pack();
    let Some(pass) = Pass::unpack(&packed) else {
        panic!("{packed} doesn't travel");
    };
    let outcome = match roll >> 2 & 7 {
        0 | 1 => Outcome::Failure(Failure::Status(503)),
        2 => Outcome::RateLimited {
            wait: Some(Duration::from_secs(roll)),
        },
        3 => Outcome::Neutral,
        4 => Outcome::Failure(Failure::Timeout),
        _ => Outcome::Success {
            latency: Latency::FirstToken(Duration::from_millis(roll)),
            headroom: Some(Headroom {
                share: 5,
                ..Headroom::default()
            }),
        },
    };
    let at = Observation { now, entropy: roll };
    let observed = breakers.observe(store, pass, outcome, at);
    assert!(observed.pending.is_none() && !observed.dropped, "{observed:?}");
}

fn repeats(store: &Found<'_>, now: Instant, choice: u64) {
    let mut load = Load {
        worker: choice,
        active: 10,
        repeating: 0,
        kept: 0,
    };
    publish(store, load, now);
    for _ in 0..12 {
        load.repeating += u32::from(acquire(store, load, 0.5, now));
    }
    assert!(load.repeating <= 12);
    let written = store.written.borrow();
    assert!(
        written
            .values()
            .all(|record| record.len() <= 256 * 24 && record.len() % 24 == 0)
    );
}

fn layout(store: &Found<'_>) {
    if let Ok(Before::Other(name)) = take_over(store) {
        assert!(
            name.len() <= 64
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || " ,.".contains(c))
        );
    }
    assert_eq!(take_over(store), Ok(Before::Same));
}

/// Records as the core writes them, for seeds.
pub(crate) fn written() -> Vec<Vec<u8>> {
    let now = Instant(1_000_000_000_000);
    let write: [fn(&Found<'_>, Instant, u64); 3] = [limits, breaker, repeats];
    let stores = write.map(|write| {
        let store = Found::holding(b"");
        write(&store, now, 0x0302_0103_0203_0303);
        store
    });
    stores
        .into_iter()
        .flat_map(|store| store.written.into_inner().into_values())
        .collect()
}
