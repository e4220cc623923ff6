//! The breaker from outside: tables of transitions, workers that interleave, stores that fail.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::sync::{Arc, Barrier, Mutex};

use super::testing::{Counting, Interleaved, Unwritable, provider, rules, seconds};
use super::*;
use crate::policy::{Breaker as Rules, Forced};
use crate::store::{Cas, MemoryStore, Store, StoreError};

/// In the middle of the jitter: exactly the policy's span.
const MIDDLE: u64 = 200;

const GOOD: Outcome = Outcome::Success {
    latency: Latency::Unknown,
    headroom: None,
};
const SLOW: Outcome = Outcome::Success {
    latency: Latency::FirstToken(Duration::from_secs(11)),
    headroom: None,
};
const BAD: Outcome = Outcome::Failure(Failure::Status(500));
const LATE: Outcome = Outcome::Failure(Failure::Timeout);

fn limited(wait: Option<u64>) -> Outcome {
    Outcome::RateLimited {
        wait: wait.map(Duration::from_secs),
    }
}

fn low(reset: Option<u64>) -> Outcome {
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

fn at(second: u64) -> Observation {
    Observation {
        now: seconds(second),
        entropy: MIDDLE,
    }
}

fn ask(breakers: &Breakers<'_>, store: &impl Store, second: u64) -> Permit {
    breakers.ask(store, 0, seconds(second), MIDDLE)
}

fn go(breakers: &Breakers<'_>, store: &impl Store, second: u64) -> Pass {
    match ask(breakers, store, second) {
        Permit::Go(pass) => pass,
        Permit::NotNow { state, .. } => panic!("{} at {second} s", state.as_str()),
    }
}

/// Asks and observes in the same second; `None` when it may not go.
fn call(breakers: &Breakers<'_>, store: &impl Store, second: u64, outcome: Outcome) -> Option<Observed> {
    match ask(breakers, store, second) {
        Permit::Go(pass) => Some(breakers.observe(store, pass, outcome, at(second))),
        Permit::NotNow { .. } => None,
    }
}

fn opened(breakers: &Breakers<'_>, store: &impl Store) {
    for _ in 0..5 {
        let _ = call(breakers, store, 0, BAD);
    }
    assert_eq!(breakers.view(store, 0, seconds(0)).state, StateName::Open);
}

fn refused_until(breakers: &Breakers<'_>, store: &impl Store, second: u64) -> (StateName, u64) {
    match ask(breakers, store, second) {
        Permit::Go(_) => panic!("let go at {second} s"),
        Permit::NotNow { state, retry_at, .. } => (state, retry_at.0 / 1_000_000_000),
    }
}

#[test]
fn the_table_of_transitions_holds() {
    use StateName::{Closed, HalfOpen, Open, RateLimited};
    type Step = (u64, Outcome, StateName);
    let table: &[(&str, Vec<Step>)] = &[
        ("good answers change nothing", vec![(0, GOOD, Closed); 50]),
        (
            "five failures in a row open it",
            [vec![(0, BAD, Closed); 4], vec![(0, BAD, Open)]].concat(),
        ),
        (
            "a success ends the row",
            [
                vec![(0, BAD, Closed); 4],
                vec![(0, GOOD, Closed)],
                vec![(0, BAD, Closed); 4],
            ]
            .concat(),
        ),
        (
            "a neutral one doesn't",
            [
                vec![(0, BAD, Closed); 4],
                vec![(0, Outcome::Neutral, Closed), (0, BAD, Open)],
            ]
            .concat(),
        ),
        (
            "200 and 500 in turn open it by rate",
            [
                [(1, GOOD, Closed), (1, BAD, Closed)].repeat(9),
                vec![(1, GOOD, Closed), (1, BAD, Open)],
            ]
            .concat(),
        ),
        (
            "slow first tokens open it",
            [vec![(0, SLOW, Closed); 19], vec![(0, SLOW, Open)]].concat(),
        ),
        (
            "timeouts open it",
            [vec![(0, LATE, Closed); 4], vec![(0, LATE, Open)]].concat(),
        ),
        (
            "other 4xx never",
            vec![(0, Outcome::Failure(Failure::Status(404)), Closed); 50],
        ),
        (
            "529 and 408 do",
            [
                vec![(0, Outcome::Failure(Failure::Status(529)), Closed); 4],
                vec![(0, Outcome::Failure(Failure::Status(529)), Open)],
            ]
            .concat(),
        ),
        (
            "two good probes close it",
            [
                vec![(0, BAD, Closed); 4],
                vec![(0, BAD, Open), (15, GOOD, HalfOpen), (15, GOOD, Closed)],
            ]
            .concat(),
        ),
        (
            "a bad probe opens it for twice the time",
            [
                vec![(0, BAD, Closed); 4],
                vec![
                    (0, BAD, Open),
                    (15, BAD, Open),
                    (45, GOOD, HalfOpen),
                    (46, BAD, Open),
                    (106, GOOD, HalfOpen),
                ],
            ]
            .concat(),
        ),
        (
            "a slow probe opens it too",
            [
                vec![(0, LATE, Closed); 4],
                vec![(0, LATE, Open), (15, SLOW, Open)],
            ]
            .concat(),
        ),
        (
            "429 with a date",
            vec![(0, limited(Some(7)), RateLimited), (7, GOOD, Closed)],
        ),
        (
            "429 without",
            vec![(0, limited(None), RateLimited), (15, GOOD, Closed)],
        ),
        (
            "429 for ever is bounded",
            vec![(0, limited(Some(1 << 40)), RateLimited), (300, GOOD, Closed)],
        ),
        (
            "429 isn't a failure",
            [
                vec![(0, BAD, Closed); 4],
                vec![(0, limited(Some(1)), RateLimited), (1, LATE, Closed)],
            ]
            .concat(),
        ),
        (
            "429 to a probe comes back to half-open",
            [
                vec![(0, LATE, Closed); 4],
                vec![
                    (0, LATE, Open),
                    (15, limited(Some(7)), RateLimited),
                    (22, GOOD, HalfOpen),
                    (22, GOOD, Closed),
                ],
            ]
            .concat(),
        ),
        (
            "little headroom spares it until its reset",
            vec![(0, low(Some(4)), RateLimited), (4, GOOD, Closed)],
        ),
        (
            "for a while at most",
            vec![(0, low(Some(400)), RateLimited), (15, GOOD, Closed)],
        ),
        ("and not at all without a reset", vec![(0, low(None), Closed)]),
    ];
    for (name, steps) in table {
        let (provider, store) = (provider(rules()), MemoryStore::default());
        let breakers = Breakers::of(&provider);
        for (number, (second, outcome, state)) in steps.iter().enumerate() {
            let observed = call(&breakers, &store, *second, *outcome);
            assert!(observed.is_some(), "{name}: step {number} was refused");
            assert_eq!(
                breakers.view(&store, 0, seconds(*second)).state,
                *state,
                "{name}: step {number}"
            );
        }
    }
}

#[test]
fn a_refusal_says_until_when() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    opened(&breakers, &store);
    assert_eq!(refused_until(&breakers, &store, 1), (StateName::Open, 15));
    assert_eq!(refused_until(&breakers, &store, 14), (StateName::Open, 15));
    let probes = [15; 3].map(|second| go(&breakers, &store, second));
    assert_eq!(refused_until(&breakers, &store, 15), (StateName::HalfOpen, 16));
    assert!(probes.iter().all(Pass::is_probe));
}

#[test]
fn a_429_holds_for_its_time_and_a_shorter_one_doesnt_shorten_it() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    let passes = [0; 3].map(|second| go(&breakers, &store, second));
    for (pass, wait) in passes.into_iter().zip([7, 2, 9]) {
        let _ = breakers.observe(&store, pass, limited(Some(wait)), at(1));
    }
    assert_eq!(refused_until(&breakers, &store, 9), (StateName::RateLimited, 10));
    assert!(!go(&breakers, &store, 10).is_probe());
}

#[test]
fn a_429_and_slowness_concern_the_model_alone_and_failures_the_provider() {
    for (outcome, other) in [
        (limited(None), StateName::Closed),
        (BAD, StateName::Open),
        (LATE, StateName::Closed),
    ] {
        let (provider, store) = (provider(rules()), MemoryStore::default());
        let breakers = Breakers::of(&provider);
        for _ in 0..5 {
            let _ = call(&breakers, &store, 0, outcome);
        }
        assert_ne!(breakers.view(&store, 0, seconds(0)).state, StateName::Closed);
        assert_eq!(breakers.view(&store, 1, seconds(0)).state, other);
    }
}

#[test]
fn transitions_are_told_once_each_with_their_cause() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    let told: Vec<_> = (0..5)
        .filter_map(|_| call(&breakers, &store, 0, BAD)?.transition)
        .collect();
    let expected = |from, to, cause| Transition {
        from,
        to,
        scope: Scope::Provider,
        cause,
    };
    assert_eq!(
        told,
        [expected(StateName::Closed, StateName::Open, Cause::Consecutive)]
    );
    let pass = go(&breakers, &store, 15);
    assert_eq!(
        pass.transitions().collect::<Vec<_>>(),
        [expected(StateName::Open, StateName::HalfOpen, Cause::Elapsed)]
    );
    assert_eq!(go(&breakers, &store, 15).transitions().count(), 0);
    assert_eq!(breakers.observe(&store, pass, GOOD, at(15)).transition, None);
    let closing = call(&breakers, &store, 15, GOOD).unwrap();
    assert_eq!(
        closing.transition,
        Some(expected(StateName::HalfOpen, StateName::Closed, Cause::Recovered))
    );
}

#[test]
fn both_breakers_may_turn_by_one_call() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    let passes = [0; 10].map(|second| go(&breakers, &store, second));
    for (number, pass) in passes.into_iter().enumerate() {
        let _ = breakers.observe(&store, pass, if number < 5 { BAD } else { LATE }, at(0));
    }
    let first = go(&breakers, &store, 15);
    assert_eq!(first.transitions().count(), 2);
    let _ = breakers.observe(&store, first, GOOD, at(15));
    let last = call(&breakers, &store, 15, GOOD).unwrap();
    assert_eq!(last.transition.map(|t| t.scope), Some(Scope::Provider));
    assert_eq!(last.second.map(|t| t.scope), Some(Scope::Model));
}

#[test]
fn stragglers_of_an_earlier_generation_change_nothing() {
    for outcome in [
        GOOD,
        BAD,
        LATE,
        limited(Some(100)),
        low(Some(100)),
        Outcome::Neutral,
    ] {
        let (provider, store) = (provider(rules()), MemoryStore::default());
        let breakers = Breakers::of(&provider);
        let stragglers = [0; 20].map(|second| go(&breakers, &store, second));
        let passes = [0; 10].map(|second| go(&breakers, &store, second));
        for (number, pass) in passes.into_iter().enumerate() {
            let _ = breakers.observe(&store, pass, if number < 5 { BAD } else { LATE }, at(0));
        }
        let probe = go(&breakers, &store, 15);
        let before = store_bytes(&store, &breakers);
        for straggler in stragglers {
            assert_eq!(
                breakers.observe(&store, straggler, outcome, at(15)),
                Observed::default()
            );
        }
        assert_eq!(store_bytes(&store, &breakers), before, "{outcome:?}");
        let _ = breakers.observe(&store, probe, GOOD, at(15));
        assert!(call(&breakers, &store, 15, GOOD).unwrap().transition.is_some());
    }
}

fn store_bytes(store: &impl Store, breakers: &Breakers<'_>) -> Vec<u8> {
    store.read(breakers.key()).unwrap().0
}

#[test]
fn a_clients_abort_gives_its_probe_back() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    opened(&breakers, &store);
    let [first, second, _third] = [15; 3].map(|second| go(&breakers, &store, second));
    assert_eq!(refused_until(&breakers, &store, 15).0, StateName::HalfOpen);
    let _ = breakers.observe(&store, first, Outcome::Neutral, at(16));
    let again = go(&breakers, &store, 16);
    assert_eq!(refused_until(&breakers, &store, 16).0, StateName::HalfOpen);
    let _ = (
        breakers.observe(&store, second, GOOD, at(17)),
        breakers.observe(&store, again, GOOD, at(17)),
    );
    assert_eq!(breakers.view(&store, 0, seconds(17)).state, StateName::Closed);
}

#[test]
fn a_lost_lease_expires_and_its_late_outcome_counts_for_nobody_else() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    opened(&breakers, &store);
    let lost = [15; 3].map(|second| go(&breakers, &store, second));
    assert_eq!(refused_until(&breakers, &store, 134).0, StateName::HalfOpen);
    let _new = [135; 3].map(|second| go(&breakers, &store, second));
    assert_eq!(refused_until(&breakers, &store, 135).0, StateName::HalfOpen);
    for pass in lost {
        let _ = breakers.observe(&store, pass, BAD, at(136));
    }
    assert_eq!(breakers.view(&store, 0, seconds(136)).state, StateName::HalfOpen);
    assert_eq!(refused_until(&breakers, &store, 136).0, StateName::HalfOpen);
}

#[test]
fn open_time_doubles_to_its_cap_within_the_jitter() {
    for (entropy, first, last) in [
        (0, 12_000, 240_000),
        (200, 15_000, 300_000),
        (400, 18_000, 300_000),
    ] {
        let (provider, store) = (provider(rules()), MemoryStore::default());
        let breakers = Breakers::of(&provider);
        let mut now = seconds(1);
        let mut spans = Vec::new();
        for failure in 0..40 {
            let Permit::Go(pass) = breakers.ask(&store, 0, now, entropy) else {
                panic!("refused")
            };
            let _ = breakers.observe(&store, pass, BAD, Observation { now, entropy });
            if failure >= 4 {
                let retry_at = breakers.view(&store, 0, now).retry_at.unwrap();
                spans.push(retry_at.since(now).as_millis());
                now = retry_at;
            }
        }
        assert_eq!(
            (spans[0], spans[1], *spans.last().unwrap()),
            (first, 2 * first, last)
        );
    }
}

#[test]
fn an_operators_word_wins_and_touches_no_record() {
    for (force, goes) in [(Forced::Open, false), (Forced::Closed, true)] {
        let (provider, store) = (
            provider(Rules {
                force: Some(force),
                ..rules()
            }),
            Counting::default(),
        );
        let breakers = Breakers::of(&provider);
        for _ in 0..10 {
            match ask(&breakers, &store, 0) {
                Permit::Go(pass) if goes => {
                    assert_eq!(breakers.observe(&store, pass, BAD, at(0)), Observed::default())
                }
                Permit::NotNow {
                    forced: true,
                    state: StateName::ForcedOpen,
                    ..
                } if !goes => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(store.inner.is_empty());
    }
}

#[test]
fn least_bad_calls_are_not_counted() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    opened(&breakers, &store);
    let before = store_bytes(&store, &breakers);
    for outcome in [GOOD, BAD, limited(None), Outcome::Neutral] {
        assert_eq!(
            breakers.observe(&store, breakers.force_pass(0), outcome, at(15)),
            Observed::default()
        );
    }
    assert_eq!(store_bytes(&store, &breakers), before);
}

#[test]
fn what_says_nothing_is_not_written() {
    let (provider, store) = (provider(rules()), Counting::default());
    let breakers = Breakers::of(&provider);
    for _ in 0..10 {
        let _ = call(&breakers, &store, 0, Outcome::Neutral);
    }
    assert_eq!(*store.writes.borrow(), 0);
    let _ = call(&breakers, &store, 0, GOOD);
    assert_eq!(*store.writes.borrow(), 1);
}

#[test]
fn headroom_is_remembered_until_its_reset() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    let headroom = Headroom {
        share: 420,
        remaining_requests: Some(42),
        remaining_tokens: None,
        reset: Some(Duration::from_secs(30)),
    };
    let _ = call(
        &breakers,
        &store,
        0,
        Outcome::Success {
            latency: Latency::Unknown,
            headroom: Some(headroom),
        },
    );
    let _ = call(&breakers, &store, 1, GOOD);
    let seen = breakers.view(&store, 0, seconds(10)).headroom.unwrap();
    assert_eq!(
        (seen.share, seen.remaining_requests, seen.reset),
        (420, Some(42), Some(Duration::from_secs(20)))
    );
    assert_eq!(breakers.view(&store, 1, seconds(10)).headroom, None);
    assert_eq!(breakers.view(&store, 0, seconds(30)).headroom, None);
}

#[test]
fn a_clock_that_runs_back_holds_nobody_for_long() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    for _ in 0..5 {
        let _ = call(&breakers, &store, 1_000_000, BAD);
    }
    assert_eq!(refused_until(&breakers, &store, 999_990).0, StateName::Open);
    assert!(go(&breakers, &store, 5).is_probe());
}

#[test]
fn a_foreign_record_reads_as_empty_and_garbage_never_traps() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    opened(&breakers, &store);
    let record = store_bytes(&store, &breakers);
    for at_byte in 0..record.len() {
        for value in [0, 1, 2, 3, 4, 0x7f, 0x80, 0xff] {
            let mut garbled = record.clone();
            garbled[at_byte] = value;
            survives(&breakers, &garbled);
        }
        survives(&breakers, &record[..at_byte]);
    }
    let mut foreign = record;
    foreign[0] = 99;
    assert!(survives(&breakers, &foreign));
}

/// Whether a call may go by this record.
fn survives(breakers: &Breakers<'_>, record: &[u8]) -> bool {
    let store = MemoryStore::default();
    store.write(breakers.key(), record, Cas::Absent).unwrap();
    [0, 20]
        .iter()
        .any(|second| call(breakers, &store, *second, BAD).is_some())
}

#[test]
fn fifty_interleaved_asks_get_exactly_the_permits() {
    for permits in [1, 3, 7] {
        let (provider, store) = (
            provider(Rules {
                half_open_permits: permits,
                ..rules()
            }),
            MemoryStore::default(),
        );
        let breakers = Breakers::of(&provider);
        opened(&breakers, &store);
        let granted = Cell::new(0);
        let count = |permit| granted.set(granted.get() + u32::from(matches!(permit, Permit::Go(_))));
        for _ in 0..25 {
            // The other worker's whole call falls between this one's read and its write.
            let other = || count(ask(&breakers, &store, 15));
            let store = Interleaved::new(&store, [Box::new(other) as Box<dyn FnOnce() + '_>]);
            count(ask(&breakers, &store, 15));
        }
        while let Permit::Go(_) = ask(&breakers, &store, 15) {
            granted.set(granted.get() + 1);
        }
        assert_eq!(granted.get(), permits);
    }
}

/// A store that real threads share.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<MemoryStore>>);

impl Store for Shared {
    fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
        std::thread::yield_now();
        self.0.lock().unwrap().read(key)
    }

    fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
        std::thread::yield_now();
        self.0.lock().unwrap().write(key, value, expected)
    }
}

#[test]
fn fifty_asks_of_two_threads_get_exactly_the_permits() {
    for _ in 0..50 {
        let (provider, store, start) = (provider(rules()), Shared::default(), Barrier::new(2));
        let breakers = Breakers::of(&provider);
        opened(&breakers, &store);
        let worker = || {
            start.wait();
            (0..25)
                .filter(|_| matches!(ask(&breakers, &store, 15), Permit::Go(_)))
                .count()
        };
        let granted: usize = std::thread::scope(|scope| {
            let workers = [scope.spawn(worker), scope.spawn(worker)];
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(granted, 3);
    }
}

#[test]
fn two_workers_observations_both_count() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    let passes = RefCell::new((0..5).map(|_| go(&breakers, &store, 0)).collect::<Vec<_>>());
    let next = || passes.borrow_mut().pop().unwrap();
    let told = RefCell::new(Vec::new());
    while passes.borrow().len() > 1 {
        let other = || {
            told.borrow_mut()
                .extend(breakers.observe(&store, next(), BAD, at(0)).transition)
        };
        let between = Interleaved::new(&store, [Box::new(other) as Box<dyn FnOnce() + '_>]);
        let mine = next();
        let observed = breakers.observe(&between, mine, BAD, at(0));
        told.borrow_mut().extend(observed.transition);
    }
    let last = breakers.observe(&store, next(), BAD, at(0));
    assert!(told.borrow().is_empty() && last.transition.is_some());
}

#[test]
fn a_sample_may_be_dropped_but_a_transition_and_a_lease_never() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    for error in [StoreError::Conflict, StoreError::Unavailable] {
        let dropped = breakers.observe(&Unwritable(&store, error), go(&breakers, &store, 0), BAD, at(0));
        assert!(dropped.dropped && dropped.pending.is_none());
    }
    for _ in 0..4 {
        let _ = call(&breakers, &store, 0, BAD);
    }
    let broken = Unwritable(&store, StoreError::Conflict);
    let opening = breakers.observe(&broken, go(&breakers, &store, 0), BAD, at(0));
    assert!(!opening.dropped && opening.transition.is_none());
    let pending = breakers
        .flush(&broken, opening.pending.unwrap(), seconds(1))
        .unwrap();
    assert_eq!(breakers.view(&store, 0, seconds(1)).state, StateName::Closed);
    assert_eq!(
        breakers.settle(&store, pending, at(2)).transition.map(|t| t.to),
        Some(StateName::Open)
    );

    let probe = go(&breakers, &store, 17);
    let lease = breakers
        .observe(&broken, probe, Outcome::Neutral, at(18))
        .pending
        .unwrap();
    assert_eq!(breakers.flush(&store, lease, seconds(19)), None);
    let _probes = [19; 3].map(|second| go(&breakers, &store, second));
}

#[test]
fn a_lease_that_cant_be_written_isnt_granted() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    opened(&breakers, &store);
    for error in [StoreError::Conflict, StoreError::Unavailable] {
        let refused = ask(&breakers, &Unwritable(&store, error), 15);
        assert!(matches!(
            refused,
            Permit::NotNow {
                state: StateName::HalfOpen,
                forced: false,
                ..
            }
        ));
    }
    let _all = [15; 3].map(|second| go(&breakers, &store, second));
}

#[test]
fn records_of_another_list_of_models_are_others() {
    let mut other = provider(rules());
    other.models.reverse();
    assert_ne!(Breakers::of(&provider(rules())).key(), Breakers::of(&other).key());
}
