//! What was made to be slow to count: ten mebibytes of each through the filter, counted to the last byte.

use spillway_suites::{answer, full, policy, record};
use spillway_test_host::{Proxy, Request};
use spillway_token_fit::hostile;

const SIZE: usize = 10 << 20;
/// Wasm instructions for each byte of the body that a callback may take.
const INSTRUCTIONS_A_BYTE: u64 = 1_500;

fn proxy(count: &str) -> Proxy {
    let mut document: serde_json::Value = serde_json::from_str(&policy(
        serde_json::json!({"bounds": {"request_body": "16MiB", "exact_count": "16MiB"}}),
    ))
    .unwrap();
    document["providers"]["openai"]["models"]["gpt-4o"] =
        serde_json::json!({"tokenizer": "o200k", "count": count});
    let proxy = full(&document.to_string()).request_buffer(32 << 20);
    let limit = INSTRUCTIONS_A_BYTE * u64::try_from(SIZE).unwrap();
    proxy.count_instructions(limit).start().unwrap()
}

/// A chat of a hostile text, whose body has about `SIZE` bytes.
fn request(mut text: String) -> Request {
    let escaped = serde_json::to_string(&text).unwrap().len();
    let mut keep = text.len() * SIZE / escaped.max(SIZE);
    while !text.is_char_boundary(keep) {
        keep -= 1;
    }
    text.truncate(keep);
    let body = serde_json::json!({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]});
    Request::post("/v1/chat/completions", body.to_string()).header("x-tenant", "acme")
}

#[test]
fn ten_mebibytes_of_any_hostile_text_are_counted_in_bounded_time_and_memory() {
    let proxy = proxy("exact");
    let mut after_first = None;
    for (name, text) in hostile::inputs(SIZE) {
        let exchange = proxy.worker(0).request(request(text), |_| answer("fine", 10, 10));
        assert!(!proxy.worker(0).is_dead(), "{name}: too slow, or trapped");
        assert_eq!(exchange.status(), 200, "{name}");
        assert_eq!(record(&exchange)["counted"], "asked", "{name}");
        let memory = proxy.worker(0).memory_bytes();
        let first = *after_first.get_or_insert(memory);
        assert!(
            memory <= first + (first >> 3),
            "{name}: {memory} bytes after {first}"
        );
    }
}

#[test]
fn and_are_not_counted_where_an_estimate_is_enough() {
    let proxy = proxy("when_needed");
    for (name, text) in hostile::inputs(SIZE).take(3) {
        let exchange = proxy.worker(0).request(request(text), |_| answer("fine", 10, 10));
        assert_eq!(record(&exchange)["counted"], "estimate", "{name}");
    }
}
