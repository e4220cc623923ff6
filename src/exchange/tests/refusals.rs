//! The three kinds of no, as a client sees them.

use core::time::Duration;

use serde_json::json;

use super::{Lab, Request, answered, chat, message};

#[test]
fn a_stranger_is_refused_where_strangers_are() {
    let mut lab = Lab::new(json!({"anonymous": "reject"}));
    let call = lab.send(&chat(json!({})).without("x-tenant"));
    assert_eq!(call.refused(), Some(401));
    assert_eq!(lab.metric("spillway.refused.reason=anonymous"), 1);
    assert_eq!(call.record(&mut lab)["end"], "refused");
}

#[test]
fn an_encoded_body_is_415_or_passes_uncounted() {
    let request = chat(json!({})).with("content-encoding", "gzip");
    let mut lab = Lab::new(json!({}));
    assert_eq!(lab.send(&request).refused(), Some(415));
    let mut lab = Lab::new(json!({"on_encoded": "pass", "models": {"*": {"chain": ["backup/gpt-4o"]}}}));
    let call = lab.send(&request);
    assert_eq!(call.refused(), None);
    assert_eq!(call.header("x-spillway-cluster").as_deref(), Some("backup"));
    assert_eq!(call.header("x-tenant"), None);
    assert_eq!(lab.metric("spillway.exchange.uncounted"), 1);
    assert_eq!(lab.used("acme"), 0);
}

#[test]
fn an_oversized_body_is_413_or_passes_uncounted_early_and_late() {
    let oversize = json!({"bounds": {"request_body": "1KiB"}});
    let long = json!({"messages": [{"role": "user", "content": "x".repeat(2_000)}]});
    let early = chat(long.clone());
    let mut late = chat(long).without("content-length");
    late.body = late.body[0].chunks(500).map(<[u8]>::to_vec).collect();
    for request in [&early, &late] {
        let mut lab = Lab::new(oversize.clone());
        assert_eq!(lab.send(request).refused(), Some(413));
        let mut passing = json!({"on_oversize": "pass", "models": {"*": {"chain": ["backup/gpt-4o"]}}});
        super::merge(&mut passing, oversize.clone());
        let mut lab = Lab::new(passing);
        let call = lab.send(request);
        assert_eq!(call.refused(), None);
        assert_eq!(call.body, request.body.concat());
        assert_eq!(call.header("x-spillway-cluster").as_deref(), Some("backup"));
    }
}

#[test]
fn what_cannot_be_read_is_400() {
    let mut lab = Lab::new(json!({}));
    for body in [
        "",
        "words",
        "[]",
        r#"{"messages":[]}"#,
        r#"{"model":"gpt-4o","messages":[]"#,
    ] {
        let call = lab.send(&Request::post("/v1/chat/completions", body));
        assert_eq!(call.refused(), Some(400), "{body}");
        assert_eq!(call.reply_header("x-should-retry").as_deref(), Some("false"));
    }
    let mut bodiless = chat(json!({}));
    bodiless.body.clear();
    assert_eq!(lab.send(&bodiless).refused(), Some(400));
}

#[test]
fn an_unknown_model_is_404_in_the_clients_dialect() {
    let mut lab = Lab::new(json!({}));
    let call = lab.send(&chat(json!({"model": "gpt-9"})));
    assert_eq!(
        (call.refused(), &call.reply_json()["error"]["code"]),
        (Some(404), &json!("model_not_found"))
    );
    let call = lab.send(&message(json!({"model": "claude-9"})));
    assert_eq!(call.refused(), Some(404));
    assert_eq!(call.reply_json()["error"]["type"], "not_found_error");
    let call = lab.send(&message(json!({"model": "gpt-4o"})));
    assert_eq!(call.refused(), Some(404), "of the other dialect alone");
}

#[test]
fn a_prompt_over_the_capacity_is_never_admitted() {
    let mut lab = Lab::new(json!({"limits": [{"name": "t", "per": ["caller"], "tokens": "20/min"}]}));
    let words = "many different words go in here ".repeat(40);
    let call = lab.send(&chat(json!({"messages": [{"role": "user", "content": words}]})));
    assert_eq!(call.refused(), Some(400));
    assert_eq!(call.reply_header("retry-after"), None);
}

#[test]
fn a_used_up_limit_is_429_with_when_in_both_dialects() {
    let mut lab = Lab::new(json!({"limits": [{"name": "r", "per": ["caller"], "requests": "1/min"}]}));
    lab.exchange(&chat(json!({})), 200, &answered("", 1, 1));
    lab.later(Duration::from_millis(20_500));
    let call = lab.send(&chat(json!({})));
    assert_eq!(call.refused(), Some(429));
    let told = |name| call.reply_header(name).unwrap();
    assert_eq!(
        (told("retry-after"), told("retry-after-ms")),
        ("40".into(), "39500".into())
    );
    assert_eq!(told("x-ratelimit-limit-requests"), "1");
    assert_eq!(told("x-ratelimit-remaining-requests"), "0");
    assert_eq!(told("x-ratelimit-reset-requests"), "39.5s");
    assert!(told("ratelimit").starts_with("\"r\";r=0"));
    assert_eq!(call.reply_json()["error"]["code"], "rate_limit_exceeded");
    let call = lab.send(&message(json!({})));
    assert_eq!(
        call.reply_header("anthropic-ratelimit-requests-remaining")
            .as_deref(),
        Some("0")
    );
    assert_eq!(call.reply_json()["error"]["type"], "rate_limit_error");
    let record = call.record(&mut lab);
    assert_eq!(
        (&record["limits_hit"], &record["status"]),
        (&json!(["r"]), &json!(429))
    );
    assert_eq!(record.get("provider"), None, "nobody was asked");
    assert_eq!(lab.metric("spillway.limit.limit=r.decision=denied"), 2);
}

#[test]
fn a_client_that_would_wait_over_a_minute_is_told_not_to_retry() {
    let mut lab = Lab::new(json!({"limits": [{"name": "r", "per": ["caller"], "requests": "1/hour"}]}));
    lab.exchange(&chat(json!({})), 200, &answered("", 1, 1));
    let call = lab.send(&chat(json!({})));
    assert_eq!(call.reply_header("x-should-retry").as_deref(), Some("false"));
}

#[test]
fn a_shadow_limit_never_refuses() {
    let limit = json!({"name": "r", "per": ["caller"], "requests": "1/min", "mode": "shadow"});
    let mut lab = Lab::new(json!({ "limits": [limit] }));
    for hit in [json!(null), json!(["r"])] {
        let call = lab.exchange(&chat(json!({})), 200, &answered("", 1, 1));
        assert_eq!(call.answer_header("x-ratelimit-limit-requests"), None);
        assert_eq!(call.record(&mut lab)["limits_shadow"], hit);
    }
    assert_eq!(lab.metric("spillway.limit.limit=r.decision=shadow"), 1);
}

#[test]
fn a_policy_in_shadow_never_refuses() {
    let mut lab = Lab::new(json!({
        "mode": "shadow", "anonymous": "reject", "bounds": {"request_body": "4KiB"},
        "limits": [{"name": "t", "per": ["caller"], "tokens": "20/min"}],
        "models": {"*": {"chain": ["openai/gpt-4o"]}},
        "providers": {"openai": {"breaker": {"force": "open"}, "models": {"gpt-4o": {"context": 10}}}},
    }));
    let long = |n: usize| json!({"messages": [{"role": "user", "content": "word ".repeat(n)}]});
    let requests = [
        chat(json!({})).without("x-tenant"),
        chat(long(700)),
        chat(long(2_000)),
        chat(long(2_000)).without("content-length"),
        chat(json!({})).with("content-encoding", "gzip"),
        Request::post("/v1/chat/completions", "words"),
    ];
    for request in requests.iter().chain(&requests) {
        let call = lab.send(request);
        assert_eq!(call.refused(), None, "{:?}", call.reply_json());
        assert_eq!(call.header("x-spillway-cluster").as_deref(), Some("openai"));
        assert_eq!(call.header("x-tenant"), None);
    }
    for reason in ["anonymous", "encoded", "oversize", "bad_request"] {
        assert!(
            lab.metric(&format!("spillway.shadow_refused.reason={reason}")) > 0,
            "{reason}"
        );
    }
    let mut call = super::Call::begin(&mut lab, &chat(json!({})));
    call.upload(&mut lab, b"{", false);
    let step = call.run(&mut lab, |exchange, turn| exchange.request_trailers(turn));
    assert_eq!(step.flow, super::Flow::Continue);
}

#[test]
fn a_request_that_ends_in_trailers_is_refused() {
    let mut lab = Lab::new(json!({}));
    let mut call = super::Call::begin(&mut lab, &chat(json!({})));
    call.upload(&mut lab, b"{", false);
    let step = call.run(&mut lab, |exchange, turn| exchange.request_trailers(turn));
    call.take_reply(step.flow);
    assert_eq!(call.refused(), Some(400));
}

#[test]
fn a_refused_exchange_says_how_long_it_took() {
    let mut lab = Lab::new(json!({}));
    let request = chat(json!({"model": "gpt-9"}));
    let mut call = super::Call::begin(&mut lab, &request);
    lab.later(Duration::from_millis(1_234));
    call.upload(&mut lab, &request.body[0], true);
    assert_eq!(call.refused(), Some(404));
    assert_eq!(call.record(&mut lab)["duration_ms"], 1_234);
}

#[test]
fn an_uncounted_answer_tells_nothing_of_the_providers_pooled_limits() {
    let mut lab = Lab::new(json!({"on_encoded": "pass", "models": {"*": {"chain": ["backup/gpt-4o"]}}}));
    let mut call = lab.send(&chat(json!({})).with("content-encoding", "gzip"));
    call.respond(
        &mut lab,
        200,
        &[("x-ratelimit-remaining-tokens", "7"), ("x-spillway-made-up", "1")],
        true,
    );
    assert_eq!(call.answer_header("x-ratelimit-remaining-tokens"), None);
    assert_eq!(call.answer_header("x-spillway-made-up"), None);
    let record = call.record(&mut lab);
    assert_eq!(
        (&record["end"], &record["status"]),
        (&json!("uncounted"), &json!(200))
    );
    assert_eq!(record["provider"], "backup");
}
