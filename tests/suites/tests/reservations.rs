//! What is set aside, what is given back, and what never is.

use std::time::Duration;

use spillway_suites::{answer, chat, chat_with, error, events, full, number, policy, record, used};
use spillway_test_host::{Headers, Outcome, Proxy, Request, UpstreamResponse};

fn tokens(limit: &str) -> String {
    policy(serde_json::json!({"limits": [{"name": "t", "per": ["caller"], "tokens": limit}]}))
}

#[test]
fn a_prompt_that_alone_exceeds_the_capacity_is_never_admitted_and_told_so() {
    let proxy = full(&tokens("500/min")).start().unwrap();
    let long = "several plain words of a long prompt ".repeat(200);
    let exchange = proxy.worker(0).request(chat(&long), |_| answer("", 1, 1));
    assert_eq!(exchange.status(), 400);
    assert_eq!(exchange.header("retry-after"), None);
    assert_eq!(exchange.header("x-should-retry").as_deref(), Some("false"));
    assert_eq!(error(&exchange).0, "invalid_request_error");
    assert_eq!(
        proxy
            .worker(0)
            .request(chat("hello"), |_| answer("", 1, 1))
            .status(),
        200
    );
}

#[test]
fn a_huge_max_tokens_is_reserved_up_to_the_capacity() {
    let policy = policy(serde_json::json!({"limits": [
        {"name": "t", "per": ["caller"], "tokens": "500/min", "reserve": "max"},
    ]}));
    let proxy = full(&policy).start().unwrap();
    let huge = chat_with(serde_json::json!({"max_tokens": 1_000_000_000_u64}), "hello");
    let exchange = proxy.worker(0).request(huge, |_| answer("", 10, 10));
    assert_eq!(
        (exchange.status(), record(&exchange)["reserved"].as_u64()),
        (200, Some(500))
    );
    assert_eq!(used(proxy.worker(0), 500), 20);
}

#[test]
fn an_answer_longer_than_reserved_is_carried_as_debt() {
    let proxy = full(&tokens("1000/min")).start().unwrap();
    let short = chat_with(serde_json::json!({"max_tokens": 10}), "hello");
    assert_eq!(
        proxy
            .worker(0)
            .request(short.clone(), |_| answer("", 1_000, 2_000))
            .status(),
        200
    );
    let refused = proxy.worker(0).request(short.clone(), |_| answer("", 1, 1));
    assert_eq!(refused.status(), 429);
    let wait = number(&refused, "retry-after-ms").unwrap();
    assert!(
        (120_000..130_000).contains(&wait),
        "2,000 of debt and the request itself at 1,000 a minute: {wait}"
    );
    // The wait is by estimate; what is admitted then is decided by the count, which may be a few tokens less.
    proxy.advance(Duration::from_millis(wait - 1_000));
    assert_eq!(
        proxy
            .worker(0)
            .request(short.clone(), |_| answer("", 1, 1))
            .status(),
        429
    );
    proxy.advance(Duration::from_millis(1_000));
    assert_eq!(proxy.worker(0).request(short, |_| answer("", 1, 1)).status(), 200);
}

#[test]
fn a_long_streams_refund_does_not_free_what_its_neighbours_use() {
    let policy = policy(serde_json::json!({"limits": [
        {"name": "t", "per": ["caller"], "tokens": "6000/min", "reserve": "max"},
    ]}));
    let proxy = full(&policy).start().unwrap();
    let long = proxy
        .worker(0)
        .send(chat_with(serde_json::json!({"max_tokens": 5_900}), "hello"));
    proxy.advance(Duration::from_secs(120));
    let neighbour = chat_with(serde_json::json!({"max_tokens": 5_900}), "hello");
    assert_eq!(
        proxy
            .worker(0)
            .request(neighbour, |_| answer("", 10, 5_890))
            .status(),
        200
    );
    long.answer(answer("", 10, 10));
    assert_eq!(long.status(), 200);
    assert_eq!(
        used(proxy.worker(0), 6_000),
        5_900,
        "the long one's reservation has refilled: nothing to give back"
    );
}

/// Strangers who fill every entry that is free, and stay in debt.
fn strangers(proxy: &Proxy) {
    for stranger in 0..200 {
        let body = serde_json::json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]});
        let request = Request::post("/v1/chat/completions", body.to_string());
        let request = request.header("x-tenant", format!("stranger-{stranger}"));
        drop(proxy.worker(0).request(request, |_| answer("", 10, 50_000)));
    }
}

/// By how much the account of `acme` changes when an hour-old reservation is settled at `output` tokens, after its entry
/// has refilled and strangers have taken every free one; and what had been reserved.
fn settled_late(output: u64) -> (i128, i128) {
    let policy = policy(serde_json::json!({
        "tracked_keys": 16,
        "limits": [{"name": "t", "per": ["caller"], "tokens": "100000000/hour", "reserve": "max"}],
    }));
    let proxy = full(&policy).start().unwrap();
    let old = proxy
        .worker(0)
        .send(chat_with(serde_json::json!({"max_tokens": 1_000}), "hello"));
    proxy.advance(Duration::from_secs(3_600));
    strangers(&proxy);
    let before = used(proxy.worker(0), 100_000_000);
    old.answer(answer("", 10, output));
    let reserved = record(&old)["reserved"].as_i64().unwrap();
    (used(proxy.worker(0), 100_000_000) - before, i128::from(reserved))
}

#[test]
fn a_reservation_settled_after_its_entry_was_reused_loses_nothing_and_gives_nothing_away() {
    let (charged, reserved) = settled_late(50_000);
    assert_eq!(
        charged,
        50_010 - reserved,
        "what exceeds the reservation is charged in full"
    );
    let (refunded, _) = settled_late(1);
    assert_eq!(
        refunded, 0,
        "the reservation has refilled: nothing is left to give back"
    );
}

#[test]
fn a_client_that_hangs_up_pays_for_what_was_streamed() {
    let proxy = full(&tokens("100000/min")).start().unwrap();
    let exchange = proxy
        .worker(0)
        .send(chat_with(serde_json::json!({"stream": true}), "hello"));
    exchange.respond_headers(
        Headers::from_pairs([(":status", "200"), ("content-type", "text/event-stream")]),
        false,
    );
    let words = "some words of an answer that goes on ".repeat(20);
    for event in events(&words, 10, 160).iter().take(140) {
        exchange.respond_body(event, false);
    }
    exchange.abort_client();
    assert_eq!(exchange.outcome(), Outcome::Aborted);
    let actual = &record(&exchange)["actual"];
    let output = actual["output"].as_u64().unwrap();
    assert!((100..=200).contains(&output), "about 140 words: {output}");
    let charged = used(proxy.worker(0), 100_000);
    assert_eq!(charged, i128::from(output + actual["input"].as_u64().unwrap()));
}

#[test]
fn an_upstream_that_breaks_off_in_mid_stream_is_charged_and_counted() {
    let proxy = full(&tokens("100000/min")).start().unwrap();
    let request = chat_with(serde_json::json!({"stream": true}), "hello");
    let exchange = proxy.worker(0).request(request, |_| {
        UpstreamResponse::stream(events("one two three four", 10, 4).into_iter().take(3)).then_reset()
    });
    assert_eq!(exchange.outcome(), Outcome::Reset);
    assert_eq!(record(&exchange)["end"], "upstream_reset");
    assert!(used(proxy.worker(0), 100_000) >= 3);
}

#[test]
fn what_was_never_answered_is_charged_for_its_prompt_alone() {
    let proxy = full(&tokens("100000/min")).start().unwrap();
    let exchange = proxy.worker(0).send(chat("hello"));
    exchange.abort_client();
    let estimate = record(&exchange)["estimate"].as_i64().unwrap();
    assert_eq!(used(proxy.worker(0), 100_000), i128::from(estimate));
}

#[test]
fn a_trapped_vm_keeps_no_reservation_for_ever() {
    let proxy = full(&tokens("6000/min")).start().unwrap();
    let lost = proxy.worker(0).send(chat("hello"));
    proxy.trap_in("proxy_get_header_map_pairs", 1);
    assert_eq!(
        proxy
            .worker(0)
            .request(chat("hello"), |_| answer("", 1, 1))
            .status(),
        503
    );
    lost.answer(answer("", 10, 10));
    assert_eq!(lost.status(), 503);
    proxy.advance(Duration::from_secs(60));
    assert_eq!(used(proxy.worker(0), 6_000), 0);
}
