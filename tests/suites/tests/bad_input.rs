//! What clients and providers may send: nothing traps, nothing hangs, no charge is lost, and each ends as one of the three
//! kinds of no.

use std::time::Duration;

use spillway_suites::{
    answer, chat, chat_with, counted, error, events, full, message, policy, record, used, without_breakers,
};
use spillway_test_host::{End, Exchange, Headers, Outcome, Proxy, Request, UpstreamResponse};

const CAPACITY: u64 = 1_000_000_000;

fn proxy() -> Proxy {
    let limits = serde_json::json!([{"name": "t", "per": ["caller"], "tokens": "1G/hour"}]);
    let policy = without_breakers(&policy(serde_json::json!({"limits": limits})));
    let proxy = full(&policy).request_buffer(16 << 20).response_buffer(16 << 20);
    proxy.count_instructions(20_000_000_000).start().unwrap()
}

fn post(body: impl Into<Vec<u8>>) -> Request {
    Request::post("/v1/chat/completions", body).header("x-tenant", "acme")
}

fn send(proxy: &Proxy, request: Request) -> Exchange {
    proxy.worker(0).request(request, |_| answer("fine", 10, 10))
}

/// Nothing trapped, and nothing was refused by the host.
fn is_well(proxy: &Proxy) {
    assert!(!proxy.worker(0).is_dead());
    let bad: Vec<_> = proxy.logs().into_iter().filter(|line| line.level >= 3).collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(proxy.worker(0).open_streams(), 0);
}

#[test]
fn what_can_not_be_read_is_a_400_in_the_clients_dialect() {
    let proxy = proxy();
    let deep = [
        b"{\"model\":\"gpt-4o\",\"messages\":".to_vec(),
        b"[".repeat(10_000),
    ]
    .concat();
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("not JSON", b"hello".to_vec()),
        ("half of it", b"{\"model\":\"gpt-4o\",\"messages\":[".to_vec()),
        ("an array", b"[]".to_vec()),
        ("a number", b"7".to_vec()),
        (
            "no model",
            b"{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}".to_vec(),
        ),
        (
            "a model that is a number",
            b"{\"model\":4,\"messages\":[]}".to_vec(),
        ),
        (
            "negative max_tokens",
            b"{\"model\":\"gpt-4o\",\"messages\":[],\"max_tokens\":-1}".to_vec(),
        ),
        ("deep nesting, cut off", deep),
        ("nothing", Vec::new()),
        ("spaces", vec![b' '; 1 << 20]),
        (
            "invalid UTF-8",
            b"{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\xfe\"}]}".to_vec(),
        ),
    ];
    for (what, body) in bodies {
        let exchange = send(&proxy, post(body));
        assert_eq!(
            (exchange.status(), error(&exchange).0.as_str()),
            (400, "invalid_request_error"),
            "{what}"
        );
        assert_eq!(exchange.upstream(), None, "{what}");
        assert_eq!(
            exchange.header("x-should-retry").as_deref(),
            Some("false"),
            "{what}"
        );
    }
    let anthropic = Request::post("/v1/messages", "{").header("x-tenant", "acme");
    let exchange = send(&proxy, anthropic);
    assert!(
        exchange.text().starts_with("{\"type\":\"error\""),
        "{}",
        exchange.text()
    );
    is_well(&proxy);
    assert_eq!(used(proxy.worker(0), CAPACITY), 0);
}

#[test]
fn what_is_odd_but_readable_goes_on_and_is_charged() {
    let proxy = proxy();
    let spaces = " ".repeat(1 << 20);
    let bodies = [
        (
            "a megabyte of spaces as prompt",
            format!("{{\"model\":\"gpt-4o\",\"messages\":[{{\"role\":\"user\",\"content\":\"{spaces}\"}}]}}"),
        ),
        (
            "huge max_tokens",
            "{\"model\":\"gpt-4o\",\"messages\":[],\"max_tokens\":99999999999999999999999}".to_owned(),
        ),
    ];
    for (sent, (what, body)) in bodies.into_iter().enumerate() {
        let exchange = send(&proxy, post(body));
        assert_eq!(exchange.status(), 200, "{what}: {}", exchange.text());
        assert_eq!(used(proxy.worker(0), CAPACITY), 20 * (sent as i128 + 1), "{what}");
    }
    is_well(&proxy);
}

#[test]
fn what_two_readers_may_read_in_two_ways_or_at_great_cost_is_a_400() {
    let proxy = proxy();
    let nested = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let bodies = [
        (
            "deep nesting in a field that nobody reads",
            format!("{{\"model\":\"gpt-4o\",\"messages\":[],\"x\":{nested}}}"),
        ),
        (
            "the model twice",
            "{\"model\":\"gpt-4o\",\"model\":\"gpt-4o-secret\",\"messages\":[]}".to_owned(),
        ),
    ];
    for (what, body) in bodies {
        let exchange = send(&proxy, post(body));
        assert_eq!(exchange.status(), 400, "{what}: {}", exchange.text());
        assert_eq!(exchange.upstream(), None, "{what}");
    }
    is_well(&proxy);
    assert_eq!(used(proxy.worker(0), CAPACITY), 0);
}

#[test]
fn an_unknown_model_is_404_and_no_body_is_400() {
    let proxy = proxy();
    let unknown = send(&proxy, chat_with(serde_json::json!({"model": "gpt-17"}), "hi"));
    assert_eq!(unknown.status(), 404);
    assert!(error(&unknown).1.contains("gpt-17"), "{}", unknown.text());
    let bare = Request::new("POST", "/v1/chat/completions").header("x-tenant", "acme");
    assert_eq!(send(&proxy, bare).status(), 400);
    is_well(&proxy);
}

#[test]
fn a_body_over_ten_mebibytes_is_413_announced_or_not() {
    let proxy = proxy();
    let body = format!(
        "{{\"model\":\"gpt-4o\",\"messages\":[],\"x\":\"{}\"}}",
        "x".repeat(10 << 20)
    );
    assert_eq!(send(&proxy, post(body.clone())).status(), 413);
    assert_eq!(
        send(&proxy, post(body).chunked().in_pieces_of(1 << 20)).status(),
        413
    );
    is_well(&proxy);
}

#[test]
fn an_encoded_request_is_415_and_passes_uncounted_where_the_policy_says_so() {
    let proxy = proxy();
    let encoded = || post(b"\x1f\x8b\x08".to_vec()).header("content-encoding", "gzip");
    assert_eq!(send(&proxy, encoded()).status(), 415);
    let passes = policy(serde_json::json!({
        "on_encoded": "pass", "models": {"gpt-4o": {"chain": ["openai/gpt-4o"]}, "*": {"chain": ["openai/gpt-4o"]}},
    }));
    let passing = full(&passes).start().unwrap();
    let exchange = send(&passing, encoded());
    assert_eq!(
        (exchange.status(), exchange.upstream().unwrap().body.len()),
        (200, 3)
    );
    assert_eq!(counted(&passing, "spillway.exchange.uncounted"), Some(1));
}

#[test]
fn headers_that_are_not_utf8_pass() {
    let proxy = proxy();
    let exchange = send(
        &proxy,
        chat("hi")
            .header("x-odd", b"\xff\xfe")
            .header("user-agent", b"\x80"),
    );
    assert_eq!(exchange.status(), 200);
    assert_eq!(
        exchange.upstream().unwrap().headers.bytes("x-odd"),
        Some(&b"\xff\xfe"[..])
    );
    let odd = proxy
        .worker(0)
        .request(chat("hi"), |_| answer("fine", 1, 1).header("x-odd", b"\xff"));
    assert_eq!(odd.status(), 200);
    is_well(&proxy);
}

/// Answers of a provider that promise what they don't keep, and what each is charged at least.
fn odd_answers() -> Vec<(&'static str, UpstreamResponse)> {
    let usage = |usage: &str| {
        let body = format!("{{\"choices\":[{{\"message\":{{\"content\":\"hi\"}}}}],\"usage\":{usage}}}");
        UpstreamResponse::json(200, body)
    };
    vec![
        ("not JSON", UpstreamResponse::json(200, "<html>")),
        ("no body at all", UpstreamResponse::new(200)),
        (
            "text",
            UpstreamResponse::new(200)
                .header("content-type", "text/plain")
                .body("hi"),
        ),
        ("no type", UpstreamResponse::new(200).body("{}")),
        (
            "an encoding",
            answer("fine", 1, 1).header("content-encoding", "gzip"),
        ),
        ("usage missing", UpstreamResponse::json(200, "{\"choices\":[]}")),
        ("usage null", usage("null")),
        (
            "usage negative",
            usage("{\"prompt_tokens\":-5,\"completion_tokens\":-9}"),
        ),
        (
            "usage absurd",
            usage("{\"prompt_tokens\":1e300,\"completion_tokens\":99999999999999999999999}"),
        ),
        ("usage of the wrong type", usage("\"seven\"")),
        (
            "usage with fractions",
            usage("{\"prompt_tokens\":1.5,\"completion_tokens\":2.5}"),
        ),
        ("deep nesting", UpstreamResponse::json(200, "[".repeat(100_000))),
        (
            "invalid UTF-8",
            UpstreamResponse::json(200, b"{\"choices\":\"\xff\xfe\"}".to_vec()),
        ),
        ("an odd status", UpstreamResponse::new(999).body("?")),
        (
            "an event stream of nothing",
            UpstreamResponse::stream(Vec::<String>::new()),
        ),
        (
            "an event stream of junk",
            UpstreamResponse::stream(["\0\0\0", "data: {", "\n\n", "data"]),
        ),
        (
            "an event stream without an end",
            UpstreamResponse::stream(events("one two", 1, 2).into_iter().take(1)),
        ),
    ]
}

#[test]
fn whatever_a_provider_answers_reaches_the_client_as_it_is_and_is_charged() {
    for (what, response) in odd_answers() {
        let proxy = proxy();
        let sent = response.clone();
        let exchange = proxy
            .worker(0)
            .request(chat("hello there"), move |_| sent.clone());
        let client = exchange.client();
        assert_eq!(client.end, End::Complete, "{what}");
        is_well(&proxy);
        let actual = record(&exchange)["actual"].clone();
        let charged = used(proxy.worker(0), CAPACITY);
        let told = actual["input"].as_i64().unwrap() + actual["output"].as_i64().unwrap();
        assert!((0..i128::from(CAPACITY)).contains(&charged), "{what}: {charged}");
        assert_eq!(charged, i128::from(told), "{what}: {actual}");
        if client.status == Some(200) {
            assert!(charged > 0, "{what} was answered for nothing: {actual}");
        }
    }
}

#[test]
fn a_reset_at_any_event_of_a_stream_ends_it_and_is_charged() {
    let stream = events("one two three four five six", 12, 6);
    for after in 0..stream.len() {
        let proxy = proxy();
        let broken = UpstreamResponse::stream(stream.iter().take(after).cloned()).then_reset();
        let exchange = proxy
            .worker(0)
            .request(chat_with(serde_json::json!({"stream": true}), "hi"), |_| {
                broken.clone()
            });
        assert_eq!(exchange.outcome(), Outcome::Reset, "after {after} events");
        assert_eq!(record(&exchange)["end"], "upstream_reset", "after {after} events");
        let actual = record(&exchange)["actual"].clone();
        let told = actual["input"].as_i64().unwrap() + actual["output"].as_i64().unwrap();
        assert_eq!(
            used(proxy.worker(0), CAPACITY),
            i128::from(told),
            "after {after} events"
        );
        assert!(told > 0, "after {after} events: {actual}");
        is_well(&proxy);
    }
}

#[test]
fn a_client_that_leaves_at_any_step_is_settled() {
    let body = serde_json::json!({"model": "gpt-4o", "stream": true, "messages": [{"role": "user", "content": "hello"}]});
    let body = body.to_string().into_bytes();
    let stream = events("one two three", 5, 3);
    for leaves_after in 0..4 + stream.len() {
        let proxy = proxy();
        let exchange = proxy.worker(0).open();
        let type_of_stream = [(":status", "200"), ("content-type", "text/event-stream")];
        for step in 0..leaves_after {
            match step {
                0 => exchange.send_headers(&post(body.clone()), false),
                1 => exchange.send_body(&body[..20], false),
                2 => exchange.send_body(&body[20..], true),
                3 => exchange.respond_headers(Headers::from_pairs(type_of_stream), false),
                _ => exchange.respond_body(&stream[step - 4], false),
            }
        }
        exchange.abort_client();
        assert_eq!(exchange.outcome(), Outcome::Aborted, "after {leaves_after} steps");
        is_well(&proxy);
        let charged = used(proxy.worker(0), CAPACITY);
        assert_eq!(
            charged > 0,
            leaves_after >= 3,
            "after {leaves_after} steps: {charged}"
        );
    }
}

#[test]
fn statuses_of_the_provider_pass_and_errors_cost_nothing() {
    let proxy = proxy();
    for status in [400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504, 529] {
        let body = format!("{{\"error\":{{\"message\":\"{status}\"}}}}");
        let exchange = proxy
            .worker(0)
            .request(chat("hi"), |_| UpstreamResponse::json(status, body.clone()));
        assert_eq!((exchange.status(), exchange.text()), (status, body));
    }
    assert_eq!(used(proxy.worker(0), CAPACITY), 0);
    is_well(&proxy);
}

#[test]
fn a_store_that_fails_fails_no_request() {
    for nth in 1..=8 {
        let proxy = proxy();
        proxy.fail_store_call(nth, spillway_test_host::Status::InternalFailure);
        let exchange = send(&proxy, chat("hi"));
        assert_eq!(exchange.outcome(), Outcome::Answered, "store call {nth}");
        assert!(!proxy.worker(0).is_dead(), "store call {nth}");
        proxy.tick();
    }
}

#[test]
fn other_paths_pass_untouched_and_are_counted() {
    let proxy = proxy();
    let request = Request::post("/v1/files", "anything")
        .header("x-tenant", "acme")
        .header("authorization", "Bearer mine");
    let exchange = proxy
        .worker(0)
        .request(request, |seen| UpstreamResponse::new(201).body(seen.body.clone()));
    assert_eq!((exchange.status(), exchange.text().as_str()), (201, "anything"));
    assert_eq!(counted(&proxy, "spillway.exchange.endpoint=other"), Some(1));
}

#[test]
fn nothing_that_one_request_can_send_takes_long() {
    let proxy = proxy();
    let spaces = " ".repeat(9 << 20);
    for prompt in [
        spaces.as_str(),
        &"-=".repeat(4 << 20),
        &"\u{1F600}".repeat(1 << 20),
        &"a".repeat(9 << 20),
    ] {
        let exchange = send(&proxy, chat(prompt));
        assert!([200, 400].contains(&exchange.status()), "{}", exchange.text());
    }
    let cost = proxy.worker(0).costs()["proxy_on_request_body"];
    let per_byte = cost.most / (9 << 20);
    assert!(per_byte < 100, "{per_byte} instructions a byte at 9 MiB");
    proxy.advance(Duration::from_secs(1));
    is_well(&proxy);
}

#[test]
fn a_message_to_anthropic_that_fails_is_told_in_its_dialect() {
    let proxy = proxy();
    let exchange = proxy
        .worker(0)
        .request(message("hi"), |_| UpstreamResponse::refused());
    assert_eq!(exchange.status(), 503);
    is_well(&proxy);
}
