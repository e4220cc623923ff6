//! The breaker under contention: workers that interleave, stores that fail, records that lie.

use core::cell::{Cell, RefCell};
use std::sync::{Arc, Barrier, Condvar, Mutex};

use super::testing::{
    BAD, GOOD, Interleaved, Unwritable, ask, at, call, go, opened, provider, rules, seconds, store_bytes,
};
use super::*;
use crate::policy::Breaker as Rules;
use crate::store::{Cas, MemoryStore, Store, StoreError};

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

#[test]
fn interleaved_borrowers_get_exactly_the_credit() {
    for credit in [1, 4, 9] {
        let (provider, store) = (provider(rules()), MemoryStore::default());
        let breakers = Breakers::of(&provider);
        let under_way: Vec<_> = (0..credit).map(|_| go(&breakers, &store, 0)).collect();
        opened(&breakers, &store);
        for pass in under_way {
            let _ = breakers.observe(&store, pass, GOOD, at(0));
        }
        let lent = Cell::new(0);
        let count = |pass: Option<Pass>| lent.set(lent.get() + u32::from(pass.is_some()));
        for _ in 0..9 {
            let other = || count(breakers.borrow(&store, 0, seconds(1)));
            let store = Interleaved::new(&store, [Box::new(other) as Box<dyn FnOnce() + '_>]);
            count(breakers.borrow(&store, 0, seconds(1)));
        }
        assert_eq!(lent.get(), credit);
    }
}

#[test]
fn a_store_that_is_away_lends_nothing_and_a_return_that_is_not_written_is_told() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    let before = go(&breakers, &store, 0);
    opened(&breakers, &store);
    let _ = breakers.observe(&store, before, GOOD, at(0));
    for error in [StoreError::Conflict, StoreError::Unavailable] {
        assert_eq!(breakers.borrow(&Unwritable(&store, error), 0, seconds(1)), None);
    }
    let pass = breakers.borrow(&store, 0, seconds(1)).unwrap();
    let observed = breakers.observe(&Unwritable(&store, StoreError::Conflict), pass, GOOD, at(0));
    assert!(observed.dropped && observed.pending.is_none());
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

/// A store that answers one read, loses one race, and is silent from then on.
struct Silenced<'a>(&'a MemoryStore, Cell<usize>);

impl Store for Silenced<'_> {
    fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
        match self.1.replace(self.1.get() + 1) {
            0 => self.0.read(key),
            _ => Err(StoreError::Unavailable),
        }
    }

    fn write(&self, _: &str, _: &[u8], _: Cas) -> Result<(), StoreError> {
        Err(StoreError::Conflict)
    }
}

#[test]
fn a_transition_is_kept_when_the_store_falls_silent_after_a_lost_race() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    for _ in 0..4 {
        let _ = call(&breakers, &store, 0, BAD);
    }
    let pass = go(&breakers, &store, 0);
    let opening = breakers.observe(&Silenced(&store, Cell::new(0)), pass, BAD, at(0));
    assert!(!opening.dropped);
    assert_eq!(breakers.flush(&store, opening.pending.unwrap(), seconds(1)), None);
    assert_eq!(breakers.view(&store, 0, seconds(1)).state, StateName::Open);
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

/// Whose turn it is at the store: a schedule of two workers, bit by bit, until one of them is done.
#[derive(Default)]
struct Turns {
    schedule: Mutex<(u32, [bool; 2])>,
    moved: Condvar,
}

impl Turns {
    fn take(&self, worker: u32) {
        let other = usize::from(worker == 0);
        let waits = |(bits, done): &mut (u32, [bool; 2])| *bits & 1 != worker && !done[other];
        let mut state = self
            .moved
            .wait_while(self.schedule.lock().unwrap(), waits)
            .unwrap();
        state.0 >>= 1;
        self.moved.notify_all();
    }

    fn finish(&self, worker: u32) {
        self.schedule.lock().unwrap().1[worker as usize] = true;
        self.moved.notify_all();
    }
}

/// The store as one worker reaches it: only when it is its turn.
struct Scheduled<'a>(&'a Turns, u32, Shared);

impl Store for Scheduled<'_> {
    fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
        self.0.take(self.1);
        self.2.read(key)
    }

    fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
        self.0.take(self.1);
        self.2.write(key, value, expected)
    }
}

#[test]
fn every_schedule_of_two_workers_host_calls_grants_exactly_the_permits() {
    let rules = Rules {
        half_open_permits: 3,
        ..rules()
    };
    let provider = provider(rules);
    let breakers = Breakers::of(&provider);
    for schedule in 0..1 << 8 {
        let (store, turns) = (Shared::default(), Turns::default());
        opened(&breakers, &store);
        turns.schedule.lock().unwrap().0 = schedule;
        let worker = |number| {
            let store = Scheduled(&turns, number, store.clone());
            let granted = (0..2)
                .filter(|_| matches!(ask(&breakers, &store, 15), Permit::Go(_)))
                .count();
            turns.finish(number);
            granted
        };
        let granted: usize = std::thread::scope(|scope| {
            let workers = [0, 1].map(|number| scope.spawn(move || worker(number)));
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(granted, 3, "schedule {schedule:b}");
    }
}
