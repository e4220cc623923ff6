//! Whatever strangers send, memory stays what the policy set, and an honest caller's account stays hers.

use std::io::Write;

use spillway_suites::{answer, chat_with, full, policy, record};
use spillway_test_host::{Exchange, Proxy, Request};

fn proxy() -> Proxy {
    let limits = serde_json::json!([
        {"name": "t", "per": ["caller"], "tokens": "10000/hour", "reserve": "max"},
        {"name": "r", "per": ["caller", "model"], "requests": "1M/hour"},
    ]);
    full(&policy(
        serde_json::json!({"tracked_keys": 1024, "limits": limits}),
    ))
    .start()
    .unwrap()
}

fn by(tenant: &str, max_tokens: u64) -> Request {
    let body = serde_json::json!({
        "model": "gpt-4o", "max_tokens": max_tokens, "messages": [{"role": "user", "content": "hi"}],
    });
    Request::post("/v1/chat/completions", body.to_string()).header("x-tenant", tenant)
}

fn send(proxy: &Proxy, request: Request) -> Exchange {
    proxy.worker(0).request(request, |_| answer("fine", 10, 10))
}

/// Strangers of numbers in a range, each of whom asks for all she could have, and is answered in full.
fn strangers(proxy: &Proxy, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let request = by(&format!("stranger-{number}"), 1_000_000);
        drop(proxy.worker(0).request(request, |_| answer("fine", 10, 9_990)));
    }
}

#[test]
fn an_honest_callers_limit_and_debt_hold_while_strangers_come() {
    let proxy = proxy();
    let half = by("honest", 5_000);
    assert_eq!(
        proxy
            .worker(0)
            .request(half, |_| answer("fine", 10, 4_990))
            .status(),
        200
    );
    for round in 0..10 {
        strangers(&proxy, round * 1_000..(round + 1) * 1_000);
        let most = send(&proxy, by("honest", 6_000));
        assert_eq!(
            most.status(),
            429,
            "round {round}: half is used, so 6,000 more are too many"
        );
    }
    let rest = send(&proxy, by("honest", 4_000));
    assert_eq!(rest.status(), 200, "{}", rest.text());
    assert!(
        proxy
            .worker(0)
            .request(by("honest", 900), |_| answer("fine", 10, 20_000))
            .status()
            == 200
    );
    strangers(&proxy, 10_000..12_000);
    let refused = send(&proxy, by("honest", 1));
    assert_eq!(refused.status(), 429, "15,000 of debt");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(wait > 5_000, "{wait}");
}

#[test]
fn keys_bytes_and_memory_are_the_same_after_ten_thousand_and_after_ten_times_as_many() {
    let proxy = proxy();
    strangers(&proxy, 0..10_000);
    let size = |proxy: &Proxy| {
        (
            proxy.store().keys(),
            proxy.store().bytes(),
            proxy.worker(0).memory_bytes(),
        )
    };
    let before = size(&proxy);
    let names = proxy.metrics().len();
    strangers(&proxy, 10_000..thousands() * 1_000);
    println!(
        "{} thousand strangers: keys, bytes, memory {before:?}",
        thousands()
    );
    assert_eq!(size(&proxy), before);
    assert_eq!(proxy.metrics().len(), names, "no metric per stranger");
    assert!(before.1 < 200_000, "1,024 keys: {} bytes", before.1);
}

/// 100 unless `STRANGERS` says how many thousands: 1000 is the million of the README's guarantee.
fn thousands() -> u64 {
    std::env::var("STRANGERS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100)
}

#[test]
fn strangers_without_a_name_share_one_account() {
    let policy = policy(serde_json::json!({
        "callers": [{"header": "x-tenant", "trusted": true}],
        "limits": [{"name": "r", "per": ["caller"], "requests": "3/hour"}],
    }));
    let proxy = full(&policy).start().unwrap();
    let nameless = || Request::post("/v1/chat/completions", chat_body()).header("x-forwarded-for", "1.2.3.4");
    let answers: Vec<u16> = (0..5).map(|_| send(&proxy, nameless()).status()).collect();
    assert_eq!(answers, [200, 200, 200, 429, 429]);
    let named = chat_with(serde_json::json!({}), "hi");
    assert_eq!(send(&proxy, named).status(), 200);
}

#[test]
fn a_client_can_not_name_itself_by_our_own_headers_or_by_another_rules_word() {
    let policy = policy(serde_json::json!({
        "callers": [{"header": "x-tenant", "trusted": true}], "anonymous": "reject",
    }));
    let proxy = full(&policy).start().unwrap();
    let forged = Request::post("/v1/chat/completions", chat_body()).header("x-spillway-caller", "acme");
    assert_eq!(send(&proxy, forged).status(), 401);
    let named = send(
        &proxy,
        chat_with(serde_json::json!({}), "hi").header("x-spillway-cluster", "anthropic"),
    );
    let seen = named.upstream().unwrap();
    assert_eq!(seen.cluster.as_deref(), Some("openai"));
    assert_eq!(seen.headers.get("x-tenant"), None, "identities don't travel on");
    assert_ne!(record(&named)["caller"], "acme");
}

fn chat_body() -> String {
    serde_json::json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}).to_string()
}

/// Instructions of one exchange of the honest caller.
fn cost(proxy: &Proxy) -> u64 {
    let sum = || -> u64 {
        proxy
            .worker(0)
            .costs()
            .values()
            .map(|callback| callback.instructions)
            .sum()
    };
    let before = sum();
    assert_eq!(send(proxy, by("honest", 10)).status(), 200);
    sum() - before
}

#[test]
fn an_exchange_costs_what_it_cost_when_nobody_else_was_there() {
    let limits = serde_json::json!([
        {"name": "t", "per": ["caller"], "tokens": "10000/hour", "reserve": "max"},
        {"name": "r", "per": ["caller", "model"], "requests": "1M/hour"},
    ]);
    // Eight pages, so that few strangers fill them all.
    let policy = policy(serde_json::json!({"tracked_keys": 64, "limits": limits}));
    let proxy = full(&policy).count_instructions(1_000_000_000).start().unwrap();
    let _first_of_all = cost(&proxy);
    let alone = cost(&proxy);
    let mut among = Vec::new();
    for (from, to) in [(0, 10), (10, 400)] {
        strangers(&proxy, from..to);
        among.push(cost(&proxy));
    }
    let _ = writeln!(
        std::io::stdout().lock(),
        "instructions of an exchange: alone {alone}, among 10 and 400 strangers {among:?}"
    );
    assert!(
        among.iter().all(|cost| *cost < alone + alone / 20),
        "{alone}, then {among:?}"
    );
}
