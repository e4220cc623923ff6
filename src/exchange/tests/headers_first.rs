//! Hosts that send the headers before the body can be judged.

use serde_json::json;

use super::{Call, Lab, answered, chat};
use crate::breaker::StateName;

#[test]
fn a_header_names_the_model_and_chooses_the_route() {
    let mut lab = Lab::headers_first(json!({}));
    let request = chat(json!({"stream": true})).with("x-model", "gpt-4o");
    let mut call = Call::begin(&mut lab, &request);
    assert_eq!(call.header("x-spillway-cluster").as_deref(), Some("openai"));
    assert_eq!(call.header("content-length"), None, "the body may change");
    assert!(call.header("authorization").is_some() && call.header("x-tenant").is_none());
    let went = call.headers.clone();
    call.upload(&mut lab, &request.body[0], true);
    assert_eq!(call.headers, went, "they have gone");
    assert_eq!(call.body_json()["stream_options"]["include_usage"], true);
    assert!(lab.used("acme") > 0);
}

#[test]
fn without_that_header_the_catch_all_decides_or_nobody() {
    let mut lab = Lab::headers_first(json!({}));
    assert_eq!(lab.send(&chat(json!({}))).refused(), Some(404));
    let mut lab = Lab::headers_first(json!({"models": {"*": {"chain": ["backup/gpt-4o"]}}}));
    let call = Call::begin(&mut lab, &chat(json!({})));
    assert_eq!(call.header("x-spillway-cluster").as_deref(), Some("backup"));
}

#[test]
fn a_caller_with_nothing_left_is_refused_at_its_headers() {
    let limits = json!([{"name": "r", "per": ["caller"], "requests": "1/min"}]);
    let mut lab = Lab::headers_first(json!({ "limits": limits }));
    let request = chat(json!({})).with("x-model", "gpt-4o");
    lab.exchange(&request, 200, &answered("", 1, 1));
    let call = Call::begin(&mut lab, &request);
    assert_eq!(call.refused(), Some(429));
    assert_eq!(
        call.reply_header("x-ratelimit-remaining-requests").as_deref(),
        Some("0")
    );
}

#[test]
fn a_body_that_does_not_fit_is_refused_after_its_headers_went() {
    let mut lab = Lab::headers_first(json!({
        "limits": [{"name": "t", "per": ["caller"], "tokens": "2000/min"}],
    }));
    let request = chat(json!({})).with("x-model", "gpt-4o");
    let call = lab.send(&request);
    assert_eq!(call.refused(), None);
    assert_eq!(lab.send(&request).refused(), Some(429));
}

#[test]
fn a_body_whose_model_lives_elsewhere_is_refused() {
    let mut lab = Lab::headers_first(json!({}));
    let request = chat(json!({"model": "gpt-4o-mini"})).with("x-model", "claude");
    assert_eq!(lab.send(&request).refused(), Some(404), "of another dialect");
    let mut lab = Lab::headers_first(json!({"models": {"*": {"chain": ["backup/gpt-4o"]}}}));
    let call = lab.send(&chat(json!({"model": "gpt-4o-mini"})));
    assert_eq!(call.refused(), Some(404));
    assert!(call.reply_json().to_string().contains("x-model"));
}

#[test]
fn another_model_of_the_provider_has_its_own_breaker() {
    let mut lab = Lab::headers_first(json!({"models": {"*": {"chain": ["openai/gpt-4o"]}}}));
    let mini = chat(json!({"model": "gpt-4o-mini"}));
    let mut call = lab.send(&mini);
    call.respond(&mut lab, 429, &[("retry-after", "30")], true);
    let at = lab
        .gateway
        .policy
        .providers
        .iter()
        .position(|p| p.name == "openai")
        .unwrap();
    let state = |lab: &Lab, model| {
        let breakers = lab.gateway.breakers(at).unwrap();
        breakers.view(&lab.store, model, lab.now.monotonic).state
    };
    assert_eq!(state(&lab, 0), StateName::Closed, "gpt-4o said nothing");
    assert_eq!(state(&lab, 1), StateName::RateLimited);
    let call = lab.send(&mini);
    assert_eq!(call.refused(), Some(503));
    assert_eq!(call.reply_header("retry-after").as_deref(), Some("30"));
}

#[test]
fn a_probe_taken_at_the_headers_is_given_back_when_the_body_is_refused() {
    let mut lab = Lab::headers_first(json!({"providers": {"openai": {"breaker": {"half_open_permits": 1}}}}));
    let request = chat(json!({})).with("x-model", "gpt-4o");
    for _ in 0..2 {
        lab.exchange(&request, 500, "{}");
    }
    lab.later(core::time::Duration::from_secs(20));
    let bad = super::Request {
        body: vec![b"words".to_vec()],
        ..request.clone()
    };
    for _ in 0..3 {
        let call = lab.send(&bad);
        assert_eq!(call.header("x-spillway-cluster").as_deref(), Some("openai"));
        assert_eq!(call.refused(), Some(400));
    }
    let call = Call::begin(&mut lab, &request);
    call.end(&mut lab, super::Ending::ClientAbort);
    assert_eq!(
        lab.send(&request).header("x-spillway-cluster").as_deref(),
        Some("openai")
    );
}

#[test]
fn an_encoded_body_that_may_pass_goes_where_its_header_says() {
    let mut lab = Lab::headers_first(json!({"on_encoded": "pass"}));
    let request = chat(json!({}))
        .with("content-encoding", "gzip")
        .with("x-model", "gpt-4o");
    let call = lab.send(&request);
    assert_eq!(call.refused(), None);
    assert_eq!(call.header("x-spillway-cluster").as_deref(), Some("openai"));
}
