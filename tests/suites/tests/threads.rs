//! Real threads: eight workers, and two, on one caller's limits. Nothing is lost, and few races are.
//!
//! `SPILLWAY_OPERATIONS=1000000 cargo test -p spillway-suites --test threads -- --nocapture --test-threads 1` does a
//! million operations; an operation is an admission or a settlement.

use std::io::Write;
use std::time::Instant;

use spillway_suites::{answer, chat_with, full, policy, used};
use spillway_test_host::{Proxy, Request, Worker};

/// Without `SPILLWAY_OPERATIONS`: enough for thousands of lost races, in seconds.
const OPERATIONS: u64 = 20_000;
const CAPACITY: u64 = 10_000_000_000;

fn operations() -> u64 {
    let asked = std::env::var("SPILLWAY_OPERATIONS").ok();
    asked.map_or(OPERATIONS, |number| number.parse().expect("a number"))
}

fn request() -> Request {
    chat_with(serde_json::json!({"max_tokens": 60}), "hello")
}

/// So many exchanges, one after the other; how many were answered, and what they used: now more, now less than was set
/// aside.
fn exchanges(worker: &Worker, count: u64) -> (u64, u64) {
    let (mut answered, mut spent) = (0, 0);
    for at in 0..count {
        let output = [7, 60, 250][usize::try_from(at % 3).unwrap()];
        let exchange = worker.request(request(), |_| answer("fine", 11, output));
        if exchange.status() == 200 {
            answered += 1;
            spent += 11 + output;
        }
    }
    (answered, spent)
}

/// All workers at once.
fn all_at_once(proxy: &Proxy, count: u64) -> (u64, u64) {
    let workers = proxy.workers();
    let each = count / workers.len() as u64;
    let sums = std::thread::scope(|scope| {
        let running: Vec<_> = workers
            .iter()
            .map(|worker| scope.spawn(move || exchanges(worker, each)))
            .collect();
        running
            .into_iter()
            .map(|worker| worker.join().expect("a worker"))
            .collect::<Vec<_>>()
    });
    sums.into_iter()
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

fn proxy(workers: u64, requests: &str) -> Proxy {
    let limits = serde_json::json!([
        {"name": "tokens", "per": ["caller"], "tokens": format!("{CAPACITY}/hour"), "reserve": "max"},
        {"name": "requests", "per": ["caller"], "requests": requests, "on_contention": "deny"},
    ]);
    let policy = policy(serde_json::json!({"limits": limits}));
    full(&policy)
        .workers(workers)
        .log_level(4)
        .start()
        .expect("a proxy")
}

/// Races lost on each operation: of the limits' page, and of the provider's breaker.
fn report(proxy: &Proxy, operations: u64, began: Instant) -> (f64, f64) {
    let (pages, breakers) = proxy.with_store(|store| (store.races("spillway/p"), store.races("spillway/b")));
    let each = |lost: u64| lost as f64 / operations as f64;
    let told = (each(pages.lost), each(breakers.lost));
    let _ = writeln!(
        std::io::stdout().lock(),
        "{} workers, {operations} operations on one key: {:.4} retries an operation ({} lost, {} won), \
         breaker {:.4} ({} lost, {} won), {:.1} s",
        proxy.workers().len(),
        told.0,
        pages.lost,
        pages.won,
        told.1,
        breakers.lost,
        breakers.won,
        began.elapsed().as_secs_f64(),
    );
    told
}

#[test]
fn eight_workers_on_one_key_lose_nothing() {
    let (proxy, began) = (proxy(8, "100M/hour"), Instant::now());
    let count = operations() / 2 / 8 * 8;
    let (answered, spent) = all_at_once(&proxy, count);
    proxy.tick();
    assert_eq!(answered, count);
    assert_eq!(
        used(proxy.worker(3), CAPACITY),
        i128::from(spent),
        "the clock stands still: it is the sum of use"
    );
    report(&proxy, count * 2, began);
}

#[test]
fn of_eight_workers_requests_exactly_the_limit_is_answered() {
    let count = operations() / 20 / 8 * 8;
    let proxy = proxy(8, &format!("{}/hour", count / 2));
    let (answered, _) = all_at_once(&proxy, count);
    assert_eq!(answered, count / 2);
}

#[test]
fn two_workers_on_one_key_lose_fewer_than_one_race_in_two_operations() {
    let (proxy, began) = (proxy(2, "100M/hour"), Instant::now());
    let count = operations() / 2 / 2 * 2;
    let (answered, spent) = all_at_once(&proxy, count);
    proxy.tick();
    assert_eq!(
        (answered, used(proxy.worker(0), CAPACITY)),
        (count, i128::from(spent))
    );
    let (pages, breakers) = report(&proxy, count * 2, began);
    assert!(
        pages <= 0.5 && breakers <= 0.5,
        "{pages} and {breakers} retries an operation"
    );
}
