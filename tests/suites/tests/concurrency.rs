//! Limits hold when requests come at once, on workers that share one store.

use std::sync::{Arc, Mutex};

use spillway_suites::{answer, chat, chat_with, counted, full, number, policy, record, used};
use spillway_test_host::{Exchange, Outcome, Proxy};

fn ten_an_hour() -> String {
    policy(serde_json::json!({"limits": [
        {"name": "requests", "per": ["caller"], "requests": "10/hour"},
        {"name": "tokens", "per": ["caller"], "tokens": "1M/hour"},
    ]}))
}

/// Both workers at once send fifty requests each; nobody is answered before all have arrived or been refused.
fn hundred_at_once(proxy: &Proxy) -> Vec<Exchange> {
    let half = |worker: usize| {
        (0..50)
            .map(|_| proxy.worker(worker).send(chat("hello")))
            .collect::<Vec<_>>()
    };
    let (mut first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| half(0));
        let second = scope.spawn(|| half(1));
        (first.join().unwrap(), second.join().unwrap())
    });
    first.extend(second);
    first
}

#[test]
fn of_a_hundred_at_once_over_two_workers_exactly_ten_are_answered() {
    for repeat in 0..20 {
        let proxy = full(&ten_an_hour()).workers(2).seed(repeat).start().unwrap();
        let exchanges = hundred_at_once(&proxy);
        let (waiting, refused): (Vec<_>, Vec<_>) = exchanges.into_iter().partition(Exchange::is_open);
        assert_eq!((waiting.len(), refused.len()), (10, 90), "repeat {repeat}");
        assert!(refused.iter().all(|exchange| exchange.status() == 429));
        let spent: u64 = waiting.iter().enumerate().map(answered).sum();
        assert!(waiting.iter().all(|exchange| exchange.status() == 200));
        proxy.tick();
        let told = proxy.worker(1).send(chat("one too many"));
        let left = number(&told, "x-ratelimit-remaining-tokens");
        assert_eq!(
            (told.status(), left),
            (429, Some(1_000_000 - spent)),
            "repeat {repeat}: the clock stands still, so the ledger is the sum of their usage"
        );
    }
}

/// Answers the exchange with usage of its own, now above and now below what was reserved; how much it was.
fn answered((at, exchange): (usize, &Exchange)) -> u64 {
    let (input, output) = (20 + at as u64, if at % 3 == 0 { 4_000 } else { 30 + at as u64 });
    exchange.answer(answer("fine", input, output));
    input + output
}

#[test]
fn both_workers_serve_some_of_them() {
    let proxy = full(&ten_an_hour()).workers(2).start().unwrap();
    let mut exchanges = Vec::new();
    for at in 0..20 {
        exchanges.push(proxy.worker(at % 2).send(chat("hello")));
    }
    let open: Vec<bool> = exchanges.iter().map(Exchange::is_open).collect();
    assert_eq!(open, (0..20).map(|at| at < 10).collect::<Vec<_>>());
}

#[test]
fn after_the_answers_the_ledger_is_the_sum_of_their_usage() {
    let policy =
        policy(serde_json::json!({"limits": [{"name": "t", "per": ["caller"], "tokens": "1M/hour"}]}));
    let proxy = full(&policy).workers(2).start().unwrap();
    let exchanges = hundred_at_once(&proxy);
    let mut spent = 0_i128;
    for (at, exchange) in exchanges.iter().enumerate() {
        let (input, output) = (10 + at as u64 % 7, if at % 3 == 0 { 5_000 } else { 3 });
        exchange.answer(answer("fine", input, output));
        assert_eq!(exchange.outcome(), Outcome::Answered);
        spent += i128::from(input + output);
    }
    proxy.tick();
    assert_eq!(used(proxy.worker(1), 1_000_000), spent);
}

#[test]
fn two_workers_interleaved_at_every_store_call_admit_no_more_than_there_is() {
    for (earlier, limit) in [(0, "1/hour"), (1, "2/hour")] {
        let limits = serde_json::json!([{"name": "r", "per": ["caller"], "requests": limit}]);
        let policy = policy(serde_json::json!({"limits": limits}));
        for nth in 1..=6 {
            let proxy = full(&policy).workers(2).start().unwrap();
            (0..earlier)
                .for_each(|_| drop(proxy.worker(0).request(chat("earlier"), |_| answer("fine", 1, 1))));
            let other = proxy.worker(1).clone();
            let theirs = Arc::new(Mutex::new(None));
            let slot = Arc::clone(&theirs);
            proxy.before_store_call(nth, move || {
                *slot.lock().unwrap() = Some(other.send(chat("theirs")))
            });
            let ours = proxy.worker(0).send(chat("ours"));
            let Some(theirs) = theirs.lock().unwrap().take() else {
                continue;
            };
            let admitted = [&ours, &theirs]
                .into_iter()
                .filter(|exchange| exchange.is_open())
                .count();
            assert_eq!(
                admitted, 1,
                "{earlier} earlier, interleaved before store call {nth}"
            );
        }
    }
}

#[test]
fn of_a_hundred_interleaved_at_every_store_call_exactly_ten_are_answered() {
    let proxy = full(&ten_an_hour()).workers(2).start().unwrap();
    let theirs = Arc::new(Mutex::new(Vec::new()));
    let (slot, other) = (Arc::clone(&theirs), proxy.worker(1).clone());
    proxy.before_every_store_call(move |_| {
        let mut theirs = slot.lock().unwrap();
        if theirs.len() < 50 {
            theirs.push(other.send(chat("theirs")));
        }
    });
    let ours: Vec<Exchange> = (0..50).map(|_| proxy.worker(0).send(chat("ours"))).collect();
    proxy.no_more_hooks();
    let theirs = theirs.lock().unwrap();
    assert_eq!(theirs.len(), 50);
    let admitted = ours
        .iter()
        .chain(theirs.iter())
        .filter(|exchange| exchange.is_open())
        .count();
    assert_eq!(admitted, 10);
}

#[test]
fn a_charge_that_loses_its_race_is_made_up_for_by_the_tick() {
    let policy =
        policy(serde_json::json!({"limits": [{"name": "t", "per": ["caller"], "tokens": "1M/hour"}]}));
    let proxy = full(&policy).start().unwrap();
    let exchange = proxy
        .worker(0)
        .send(chat_with(serde_json::json!({"max_tokens": 10}), "hello"));
    proxy.conflict_on_every_set();
    exchange.answer(answer("fine", 10, 40_000));
    assert_eq!(exchange.status(), 200);
    proxy.no_more_conflicts();
    proxy.tick();
    assert_eq!(used(proxy.worker(0), 1_000_000), 40_010);
}

#[test]
fn contention_allows_and_counts() {
    let proxy = full(&ten_an_hour()).start().unwrap();
    proxy.conflict_on_every_set();
    let exchange = proxy.worker(0).request(chat("hello"), |_| answer("fine", 1, 1));
    assert_eq!(exchange.status(), 200);
    assert_eq!(counted(&proxy, "spillway.ledger.contended"), Some(1));
}

#[test]
fn a_refusal_says_when_and_an_admission_says_what_is_left() {
    let policy =
        policy(serde_json::json!({"limits": [{"name": "r", "per": ["caller"], "requests": "2/min"}]}));
    let proxy = full(&policy).start().unwrap();
    let send = || proxy.worker(0).request(chat("hello"), |_| answer("fine", 1, 1));
    let (first, second, third) = (send(), send(), send());
    assert_eq!(number(&first, "x-ratelimit-remaining-requests"), Some(1));
    assert_eq!(number(&second, "x-ratelimit-remaining-requests"), Some(0));
    assert_eq!(third.status(), 429);
    assert_eq!(
        (number(&third, "retry-after"), number(&third, "retry-after-ms")),
        (Some(30), Some(30_000))
    );
    assert_eq!(record(&third)["limits_hit"], serde_json::json!(["r"]));
    proxy.advance(std::time::Duration::from_secs(30));
    assert_eq!(send().status(), 200);
}
