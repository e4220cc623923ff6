//! Real threads that do nothing but admit and settle on one caller's limits: the worst that contention can be.

use std::sync::Mutex;
use std::time::Instant;

use spillway::ledger::{Actual, Admission, Lesson, Pending};
use spillway::store::{Cas, MemoryStore, Store, StoreError};

use crate::account::{Lab, NOW, limit};
use crate::is_full;

/// The host's lock: one for each call.
#[derive(Default)]
struct Locked(Mutex<MemoryStore>);

impl Store for Locked {
    fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
        self.0.lock().unwrap().read(key)
    }

    fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
        self.0.lock().unwrap().write(key, value, expected)
    }
}

/// What a worker did.
#[derive(Default)]
struct Tally {
    used: u64,
    retries: u64,
    contended: u64,
    pending: Vec<Pending>,
}

fn work(lab: &Lab, store: &Locked, exchanges: u64) -> Tally {
    let mut tally = Tally::default();
    for at in 0..exchanges {
        let Admission::Granted(ticket) = lab.ask(store, &[0, 1], 60, NOW) else {
            panic!("there is room for all");
        };
        tally.retries += u64::from(ticket.conflicts());
        tally.contended += u64::from(ticket.contended() > 0);
        let tokens = [7, 60, 250][usize::try_from(at % 3).unwrap()];
        let actual = Actual {
            requests: 1,
            tokens,
            lesson: Lesson::default(),
        };
        let settlement = lab.ledger.settle(store, ticket, actual, NOW);
        tally.used += tokens;
        tally.retries += u64::from(settlement.conflicts);
        tally.pending.extend(settlement.pending);
    }
    tally
}

#[test]
fn nothing_is_lost_when_all_workers_do_nothing_else() {
    let operations: u64 = if is_full() { 1_000_000 } else { 20_000 };
    for workers in [2, 8] {
        let (lab, store) = (
            Lab::new(vec![limit(1 << 30), limit(1 << 31)], &["a", "a"]),
            Locked::default(),
        );
        let began = Instant::now();
        let each = operations / 2 / workers;
        let tallies: Vec<Tally> = std::thread::scope(|scope| {
            let running: Vec<_> = (0..workers)
                .map(|_| scope.spawn(|| work(&lab, &store, each)))
                .collect();
            running.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        let (mut used, mut retries, mut contended, mut late) = (0, 0, 0, 0);
        for tally in tallies {
            (used, retries, contended) = (
                used + tally.used,
                retries + tally.retries,
                contended + tally.contended,
            );
            late += tally.pending.len();
            tally
                .pending
                .into_iter()
                .for_each(|pending| lab.ledger.flush(&store, pending, NOW).unwrap());
        }
        println!(
            "{workers} workers, {operations} operations: {retries} retries, {contended} let through uncounted, {late} \
             settled by the tick, {:.1} s",
            began.elapsed().as_secs_f64()
        );
        for (limit, key) in lab.limits.iter().zip(&lab.keys) {
            let full = lab.ledger.level(&store, limit, *key, NOW).reset;
            assert_eq!(full.as_secs(), used, "{workers} workers on {}", limit.name);
        }
    }
}
