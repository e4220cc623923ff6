//! What was made to be slow to count: ten mebibytes of each through the filter, counted to the last byte.

use spillway_suites::{answer, full, policy, record};
use spillway_test_host::{Proxy, Request};
use spillway_token_fit::hostile;

const SIZE: usize = 10 << 20;
/// Wasm instructions for each byte of the body, all callbacks together; the slowest that is known needs half.
const INSTRUCTIONS_A_BYTE: u64 = 600;

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

/// A chat whose body has about `SIZE` bytes of an input.
fn request(input: usize) -> (&'static str, Request) {
    let short = hostile::inputs(1_000)
        .nth(input)
        .map(|(_, text)| serde_json::to_string(&text).unwrap().len());
    let bytes = SIZE * 1_000 / short.unwrap().max(1_000);
    let (name, text) = hostile::inputs(bytes).nth(input).unwrap();
    let body = serde_json::json!({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]});
    (
        name,
        Request::post("/v1/chat/completions", body.to_string()).header("x-tenant", "acme"),
    )
}

#[test]
fn ten_mebibytes_of_any_hostile_text_are_counted_in_bounded_time_and_memory() {
    let proxy = proxy("exact");
    let mut after_first = None;
    for input in 0..hostile::inputs(1).count() {
        let (name, request) = request(input);
        let exchange = proxy.worker(0).request(request, |_| answer("fine", 10, 10));
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
    for input in [0, 6, 29] {
        let (name, request) = request(input);
        let exchange = proxy.worker(0).request(request, |_| answer("fine", 10, 10));
        assert_eq!(record(&exchange)["counted"], "estimate", "{name}");
    }
}
