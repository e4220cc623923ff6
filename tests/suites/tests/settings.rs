//! What each host setting allows: the table of DESIGN.md, row by row, in both columns.

use spillway_suites::{
    answer, chat, chat_with, counted, error, events, full, headers_first, message, policy, record,
};
use spillway_test_host::{End, Exchange, Outcome, Proxy, UpstreamRequest, UpstreamResponse};

/// Full: headers wait for the body.
fn held(changes: serde_json::Value) -> Proxy {
    full(&policy(changes)).start().unwrap()
}

/// Headers first: a model header or the catch-all chooses.
fn unheld(mut changes: serde_json::Value) -> Proxy {
    changes["host"] = serde_json::json!({"body_pause": false, "model_header": "x-model"});
    headers_first(&policy(changes)).start().unwrap()
}

fn schema(on_invalid: &str) -> serde_json::Value {
    serde_json::json!({"validate": [{
        "name": "order", "on_invalid": [on_invalid], "when": {"path": "/v1/chat/completions"},
        "schema": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}},
    }]})
}

fn says(text: &'static str) -> impl FnMut(&UpstreamRequest) -> UpstreamResponse {
    move |_| answer(text, 10, 10)
}

fn cluster(exchange: &Exchange) -> Option<String> {
    exchange.upstream()?.cluster
}

#[test]
fn full_routes_by_the_bodys_model() {
    let proxy = held(serde_json::json!({}));
    assert_eq!(
        cluster(&proxy.worker(0).request(chat("hi"), says("x"))).as_deref(),
        Some("openai")
    );
    assert_eq!(
        cluster(&proxy.worker(0).request(message("hi"), says("x"))).as_deref(),
        Some("anthropic")
    );
}

#[test]
fn headers_first_routes_by_a_header_or_by_the_catch_all() {
    let models = serde_json::json!({"models": {
        "gpt-4o": {"chain": ["backup/gpt-4o"]}, "*": {"chain": ["openai/gpt-4o"]},
    }});
    let proxy = unheld(models);
    let named = proxy
        .worker(0)
        .request(chat("hi").header("x-model", "gpt-4o"), says("x"));
    assert_eq!(
        (named.status(), cluster(&named).as_deref()),
        (200, Some("backup"))
    );
    let unnamed = proxy
        .worker(0)
        .request(chat_with(serde_json::json!({"model": "other"}), "hi"), says("x"));
    assert_eq!(
        (unnamed.status(), cluster(&unnamed).as_deref()),
        (200, Some("openai"))
    );
}

#[test]
fn a_filter_that_holds_headers_without_the_hosts_flag_hangs_so_the_policy_has_to_say_what_the_host_does() {
    let proxy = headers_first(&policy(serde_json::json!({}))).start().unwrap();
    let exchange = proxy.worker(0).request(chat("hi"), says("x"));
    assert_eq!(
        exchange.outcome(),
        Outcome::Hung("the request is paused at its headers".to_owned())
    );
}

#[test]
fn full_refuses_a_limit_before_anything_goes_out() {
    let proxy = held(serde_json::json!({"limits": [{"name": "r", "per": ["caller"], "requests": "1/hour"}]}));
    proxy.worker(0).request(chat("hi"), says("x"));
    let refused = proxy.worker(0).request(chat("hi"), says("x"));
    assert_eq!((refused.status(), refused.upstream()), (429, None));
}

#[test]
fn headers_first_refuses_callers_with_nothing_left_at_headers_and_others_from_the_body() {
    let limits = serde_json::json!({"limits": [{"name": "t", "per": ["caller"], "tokens": "2000/hour", "reserve": "max"}]});
    let proxy = unheld(limits);
    let asks =
        |most: u64| chat_with(serde_json::json!({"max_tokens": most}), "hi").header("x-model", "gpt-4o");
    assert_eq!(
        proxy
            .worker(0)
            .request(asks(1_500), |_| answer("x", 10, 1_490))
            .status(),
        200
    );
    let late = proxy.worker(0).request(asks(1_500), says("x"));
    assert_eq!(late.status(), 429);
    let seen = late.upstream().unwrap();
    assert!(
        seen.body.is_empty() && !seen.complete,
        "the upstream has seen headers only"
    );
    assert_eq!(
        proxy
            .worker(0)
            .request(asks(400), |_| answer("x", 10, 500))
            .status(),
        200
    );
    let early = proxy.worker(0).request(asks(400), says("x"));
    assert_eq!((early.status(), early.upstream()), (429, None));
}

#[test]
fn full_rejects_an_answer_with_status_header_and_body() {
    let proxy = held(schema("reject"));
    let rejected = proxy.worker(0).request(chat("hi"), says("{\"id\":\"seven\"}"));
    assert_eq!(rejected.status(), 502);
    let (_, told) = error(&rejected);
    assert!(
        told.contains("/id") && !told.contains("seven"),
        "paths, never content: {told}"
    );
    assert_eq!(record(&rejected)["validation"], "invalid");
    let good = proxy.worker(0).request(chat("hi"), says("{\"id\":7}"));
    assert_eq!(
        (good.status(), good.header("x-spillway-validation").as_deref()),
        (200, Some("valid"))
    );
}

#[test]
fn full_annotates_an_answer_and_lets_it_pass() {
    let proxy = held(schema("annotate"));
    let wrong = proxy.worker(0).request(chat("hi"), says("{\"id\":\"seven\"}"));
    assert_eq!(
        (wrong.status(), wrong.header("x-spillway-validation").as_deref()),
        (200, Some("invalid"))
    );
    assert!(wrong.text().contains("seven"));
}

#[test]
fn headers_first_rejects_an_answer_by_an_error_body_under_200() {
    let proxy = unheld(schema("reject"));
    let request = chat("hi").header("x-model", "gpt-4o");
    let rejected = proxy
        .worker(0)
        .request(request.clone(), says("{\"id\":\"seven\"}"));
    assert_eq!((rejected.status(), rejected.client().end), (200, End::Complete));
    assert!(error(&rejected).1.contains("/id"), "{}", rejected.text());
    let good = proxy.worker(0).request(request, says("{\"id\":7}"));
    assert!(good.text().contains("chatcmpl-1") && good.client().end == End::Complete);
}

#[test]
fn verdicts_of_their_own_are_no_bad_json() {
    let finished = |reason: &str, content: serde_json::Value| {
        let choice = serde_json::json!({"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": reason});
        let body =
            serde_json::json!({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}});
        UpstreamResponse::json(200, body.to_string())
    };
    let refusal = serde_json::json!({"choices": [{"message": {"content": null, "refusal": "no"}, "finish_reason": "stop"}]});
    let several = serde_json::json!({"choices": [
        {"index": 0, "message": {"content": "{}"}, "finish_reason": "stop"},
        {"index": 1, "message": {"content": "{}"}, "finish_reason": "stop"},
    ]});
    let table = [
        (finished("length", "{\"id\":".into()), "truncated", 200),
        (finished("content_filter", "{\"id\":".into()), "filtered", 200),
        (finished("stop", "".into()), "empty", 502),
        (finished("stop", "hello".into()), "not_json", 502),
        (UpstreamResponse::json(200, refusal.to_string()), "refusal", 200),
        (UpstreamResponse::json(200, several.to_string()), "several", 200),
    ];
    for (response, verdict, status) in table {
        let proxy = held(schema("reject"));
        let exchange = proxy.worker(0).request(chat("hi"), |_| response.clone());
        let found = record(&exchange)["validation"].clone();
        assert_eq!(
            (found, exchange.status()),
            (verdict.into(), status),
            "{}",
            exchange.text()
        );
    }
}

#[test]
fn a_stream_that_breaks_its_schema_ends_with_an_error_event_of_its_dialect() {
    for proxy in [held(schema("reject")), unheld(schema("reject"))] {
        let request = chat_with(serde_json::json!({"stream": true}), "hi").header("x-model", "gpt-4o");
        let bad = UpstreamResponse::stream(events("{\"id\": \"seven\"}", 5, 5));
        let exchange = proxy.worker(0).request(request, |_| bad.clone());
        assert_eq!((exchange.status(), exchange.client().end), (200, End::Complete));
        let last = exchange
            .text()
            .trim_end()
            .rsplit("\n\n")
            .map(str::to_owned)
            .collect::<Vec<_>>();
        assert!(
            last.iter()
                .take(2)
                .any(|event| event.starts_with("data: {\"error\"")),
            "{last:?}"
        );
        assert_eq!(record(&exchange)["validation"], "invalid");
    }
}

#[test]
fn usage_is_asked_for_and_stripped_again_for_a_client_that_did_not_ask() {
    let proxy = held(serde_json::json!({}));
    let silent = proxy
        .worker(0)
        .request(chat_with(serde_json::json!({"stream": true}), "hi"), |_| {
            UpstreamResponse::stream(events("one two", 5, 2))
        });
    let sent: serde_json::Value = serde_json::from_slice(&silent.upstream().unwrap().body).unwrap();
    assert_eq!(sent["stream_options"]["include_usage"], true);
    assert!(!silent.text().contains("prompt_tokens") && silent.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(record(&silent)["actual"]["source"], "usage");
    let asked = serde_json::json!({"stream": true, "stream_options": {"include_usage": true}});
    let open = proxy.worker(0).request(chat_with(asked, "hi"), |_| {
        UpstreamResponse::stream(events("one two", 5, 2))
    });
    assert!(open.text().contains("\"prompt_tokens\":5"));
}

#[test]
fn what_goes_to_a_provider_carries_its_credential_alone_and_asks_for_no_compression() {
    let proxy = held(serde_json::json!({}));
    let request = chat("hi")
        .header("authorization", "Bearer of-the-client")
        .header("x-api-key", "of-the-client")
        .header("accept-encoding", "gzip, br");
    let seen = proxy.worker(0).request(request, says("x")).upstream().unwrap();
    assert_eq!(
        seen.headers.all("authorization"),
        [format!("Bearer {}", spillway_suites::OPENAI_KEY)]
    );
    assert_eq!(seen.headers.get("x-api-key"), None);
    assert_eq!(seen.headers.all("accept-encoding"), ["identity"]);
    assert_eq!(seen.headers.get(":authority").as_deref(), Some("api.openai.com"));
    let seen = proxy
        .worker(0)
        .request(message("hi"), says("x"))
        .upstream()
        .unwrap();
    assert_eq!(seen.headers.all("x-api-key"), [spillway_suites::ANTHROPIC_KEY]);
    assert_eq!(seen.headers.get("authorization"), None);
}

#[test]
fn the_providers_own_pooled_limits_never_reach_a_tenant() {
    let proxy = held(serde_json::json!({}));
    let exchange = proxy.worker(0).request(chat("hi"), |_| {
        answer("x", 1, 1)
            .header("x-ratelimit-remaining-requests", "59999")
            .header("x-spillway-provider", "forged")
    });
    assert_eq!(exchange.header("x-ratelimit-remaining-requests"), None);
    assert_eq!(exchange.header("x-spillway-provider").as_deref(), Some("openai"));
}

#[test]
fn shadow_decides_and_reports_but_lets_everything_pass() {
    let proxy = held(serde_json::json!({
        "mode": "shadow", "limits": [{"name": "r", "per": ["caller"], "requests": "1/hour"}],
    }));
    for at in 0..3 {
        let exchange = proxy.worker(0).request(chat("hi"), says("x"));
        assert_eq!(exchange.status(), 200);
        assert_eq!(record(&exchange)["limits_shadow"].as_array().is_some(), at > 0);
    }
    assert_eq!(counted(&proxy, "spillway.limit.limit=r.decision=shadow"), Some(2));
}

#[test]
fn shadow_lets_a_broken_answer_pass() {
    let mut changes = schema("reject");
    changes["mode"] = "shadow".into();
    let exchange = held(changes)
        .worker(0)
        .request(chat("hi"), says("{\"id\":\"seven\"}"));
    assert_eq!(exchange.status(), 200);
    assert_eq!(record(&exchange)["validation"], "invalid");
}
