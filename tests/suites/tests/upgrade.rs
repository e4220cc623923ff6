//! A module after another over one store: what it says of the other's records, and what is kept.

use spillway_suites::{answer, chat, full, policy};
use spillway_test_host::Proxy;

const STARTED_CLEAN: &str = "spillway.store.started_clean";

fn ten_a_day() -> String {
    policy(serde_json::json!({"limits": [{"name": "day", "per": ["caller"], "requests": "10/day"}]}))
}

fn proxy() -> Proxy {
    full(&ten_a_day()).workers(2).start().unwrap()
}

fn left(proxy: &Proxy) -> String {
    let request = chat("hi").header("x-tenant", "a");
    let exchange = proxy.worker(0).request(request, |_| answer("fine", 10, 10));
    exchange
        .header("x-ratelimit-remaining-requests")
        .unwrap()
        .to_owned()
}

fn warnings(proxy: &Proxy) -> Vec<String> {
    let lines = proxy.logs().into_iter().filter(|line| line.level == 3);
    lines.map(|line| line.message).collect()
}

#[test]
fn a_new_policy_of_the_same_module_keeps_what_was_spent_and_has_nothing_to_say() {
    let proxy = proxy();
    assert_eq!((left(&proxy), left(&proxy)), ("9".to_owned(), "8".to_owned()));
    proxy.reconfigure(ten_a_day()).unwrap();
    assert_eq!(left(&proxy), "7");
    assert_eq!(warnings(&proxy), Vec::<String>::new());
    assert_eq!(proxy.metric(STARTED_CLEAN), None);
}

#[test]
fn a_module_after_one_of_other_layouts_says_so_once() {
    let proxy = proxy();
    proxy
        .with_store(|store| store.set(b"spillway/layout", b"limits 1, breakers 0", 0))
        .unwrap();
    proxy.reconfigure(ten_a_day()).unwrap();
    let said = warnings(&proxy);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("(limits 1, breakers 0)"), "{said:?}");
    assert_eq!(proxy.metric(STARTED_CLEAN), Some(1));
    proxy.reconfigure(ten_a_day()).unwrap();
    assert_eq!(warnings(&proxy).len(), 1, "what it wrote itself is no news");
}
