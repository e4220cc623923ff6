//! Streams cut anywhere: what the client gets, what is charged and what is judged never depends on the cuts.

use spillway_suites::{chat_with, full, message, policy, record, sample, without_breakers};
use spillway_test_host::{End, Proxy, Request, UpstreamResponse};

/// What one run left: bytes, usage, verdict, end.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    body: Vec<u8>,
    end: End,
    actual: serde_json::Value,
    validation: serde_json::Value,
    model: serde_json::Value,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            body,
            end,
            actual,
            validation,
            model,
        } = self;
        write!(
            out,
            "{}\n{end:?} {actual} {validation} {model}",
            String::from_utf8_lossy(body)
        )
    }
}

fn proxy(on_invalid: &str) -> Proxy {
    let rule = serde_json::json!([{
        "name": "rule", "on_invalid": [on_invalid],
        "schema": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}},
    }]);
    full(&without_breakers(&policy(serde_json::json!({"validate": rule}))))
        .start()
        .unwrap()
}

fn seen(proxy: &Proxy, request: Request, response: UpstreamResponse) -> Seen {
    let exchange = proxy.worker(0).request(request, |_| response.clone());
    let (client, record) = (exchange.client(), record(&exchange));
    let of = |name: &str| record[name].clone();
    Seen {
        body: client.body,
        end: client.end,
        actual: of("actual"),
        validation: of("validation"),
        model: of("model_answered"),
    }
}

fn streamed(body: &[u8]) -> UpstreamResponse {
    UpstreamResponse::new(200)
        .header("content-type", "text/event-stream; charset=utf-8")
        .body(body)
}

/// Each sample of a stream, the request it answers, and whether its client asked for the usage chunk.
fn streams() -> Vec<(&'static str, Request)> {
    let chat = |include_usage: bool| {
        let options = serde_json::json!({"stream": true, "stream_options": {"include_usage": include_usage}});
        chat_with(options, "hello")
    };
    let endpoint = |path: &str, body: serde_json::Value| {
        Request::post(path, body.to_string()).header("x-tenant", "acme")
    };
    let responses = || {
        endpoint(
            "/v1/responses",
            serde_json::json!({"model": "gpt-4o", "input": "hi", "stream": true}),
        )
    };
    let completion = || {
        endpoint(
            "/v1/completions",
            serde_json::json!({"model": "gpt-4o", "prompt": "hi", "stream": true}),
        )
    };
    vec![
        ("chat_stream.sse", chat(false)),
        ("chat_stream_usage.sse", chat(false)),
        ("chat_stream_usage.sse", chat(true)),
        ("chat_stream_crlf.sse", chat(false)),
        ("chat_stream_cr.sse", chat(false)),
        ("chat_stream_odd.sse", chat(true)),
        ("chat_stream_error.sse", chat(false)),
        ("chat_stream_reasoning.sse", chat(false)),
        ("chat_stream_tools.sse", chat(false)),
        ("chat_stream_two.sse", chat(false)),
        ("completion_stream.sse", completion()),
        ("message_stream.sse", message("hello")),
        ("message_stream_error.sse", message("hello")),
        ("message_stream_tools.sse", message("hello")),
        ("response_stream.sse", responses()),
        ("response_stream_failed.sse", responses()),
        ("response_stream_incomplete.sse", responses()),
        ("response_stream_tools.sse", responses()),
    ]
}

fn at_every_split_point(on_invalid: &str) {
    let proxy = proxy(on_invalid);
    for (name, request) in streams() {
        let body = sample(name);
        let whole = seen(&proxy, request.clone(), streamed(&body));
        assert_eq!(whole.end, End::Complete, "{name}");
        for at in 1..body.len() {
            let cut = seen(&proxy, request.clone(), streamed(&body).cut_at(&[at]));
            assert!(
                cut == whole,
                "{name} cut at {at}, {on_invalid}:\n{cut}\nwhole:\n{whole}"
            );
        }
        for size in [1, 2, 3, 7] {
            let cut = seen(&proxy, request.clone(), streamed(&body).in_pieces_of(size));
            assert!(
                cut == whole,
                "{name} in pieces of {size}, {on_invalid}:\n{cut}\nwhole:\n{whole}"
            );
        }
    }
    assert!(
        proxy.logs().iter().all(|line| line.level < 3),
        "{:?}",
        proxy.logs()
    );
}

#[test]
fn every_stream_at_every_split_point_when_annotated() {
    at_every_split_point("annotate");
}

#[test]
fn every_stream_at_every_split_point_when_rejected() {
    at_every_split_point("reject");
}

#[test]
fn a_line_of_a_mebibyte_passes_and_its_usage_is_read() {
    let proxy = proxy("annotate");
    let mut body = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"".to_vec();
    body.extend(std::iter::repeat_n(b'x', (1 << 20) - 200));
    body.extend(b"\"}}]}\n\n");
    body.extend(sample("chat_stream_usage.sse"));
    let asked = serde_json::json!({"stream": true, "stream_options": {"include_usage": true}});
    let request = chat_with(asked, "hello");
    let whole = seen(&proxy, request.clone(), streamed(&body));
    assert_eq!(whole.body, body);
    assert_eq!(whole.actual["source"], "usage");
    for size in [1_000, 65_536] {
        assert_eq!(
            seen(&proxy, request.clone(), streamed(&body).in_pieces_of(size)),
            whole,
            "in pieces of {size}"
        );
    }
}

#[test]
fn a_line_over_its_bound_passes_whole_and_nothing_traps() {
    let proxy = proxy("annotate");
    let mut body = b"data: ".to_vec();
    body.extend(std::iter::repeat_n(b'x', 3 << 20));
    body.extend(b"\n\n");
    body.extend(sample("chat_stream_usage.sse"));
    let request = chat_with(
        serde_json::json!({"stream": true, "stream_options": {"include_usage": true}}),
        "hello",
    );
    let passed = seen(&proxy, request, streamed(&body).in_pieces_of(16_384));
    assert_eq!((passed.body.len(), passed.end), (body.len(), End::Complete));
}

#[test]
fn a_whole_answer_cut_anywhere_is_judged_and_charged_alike() {
    let proxy = proxy("annotate");
    for (name, request) in [
        ("chat.json", chat_with(serde_json::json!({}), "hello")),
        ("chat_tools.json", chat_with(serde_json::json!({}), "hello")),
        ("message.json", message("hello")),
    ] {
        let body = sample(name);
        let whole = seen(&proxy, request.clone(), UpstreamResponse::json(200, body.clone()));
        assert_eq!(whole.actual["source"], "usage", "{name}");
        for at in 1..body.len() {
            let cut = seen(
                &proxy,
                request.clone(),
                UpstreamResponse::json(200, body.clone()).cut_at(&[at]),
            );
            assert_eq!(cut, whole, "{name} cut at {at}");
        }
    }
}

#[test]
fn a_request_cut_anywhere_reaches_the_upstream_alike() {
    let proxy = proxy("annotate");
    let request = chat_with(
        serde_json::json!({"stream": true}),
        "Zoë 😀 日本 \"quoted\" \\ end",
    );
    let upstream = |request: Request| {
        let exchange = proxy.worker(0).send(request);
        exchange.abort_client();
        exchange.upstream().unwrap()
    };
    let whole = upstream(request.clone());
    assert!(whole.complete);
    for at in 1..200 {
        assert_eq!(upstream(request.clone().cut_at(&[at])), whole, "cut at {at}");
    }
    assert_eq!(upstream(request.clone().in_pieces_of(1)), whole);
    assert_eq!(upstream(request.ends_with_last_chunk()), whole);
}
