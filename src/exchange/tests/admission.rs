//! What goes to a provider, and what it costs in the end.

use serde_json::json;

use super::{Lab, OPENAI_KEY, Request, answered, chat, message};

#[test]
fn a_chat_is_counted_routed_and_settled_to_its_usage() {
    let mut lab = Lab::new(json!({}));
    let request = chat(json!({})).with("x-team", "red").with("cookie", "kept");
    let mut call = lab.send(&request);
    assert_eq!(call.header("x-spillway-cluster").as_deref(), Some("openai"));
    assert_eq!(call.header(":authority").as_deref(), Some("api.openai.com"));
    assert_eq!(call.header("authorization"), Some(format!("Bearer {OPENAI_KEY}")));
    assert_eq!(call.header("accept-encoding").as_deref(), Some("identity"));
    assert_eq!(call.body, request.body[0], "nothing in it had to change");
    assert!(lab.used("acme") > 1_000, "what may be used is set aside");
    call.answer(&mut lab, 200, &answered("hello", 9, 41));
    assert_eq!(
        call.answer_header("x-spillway-provider").as_deref(),
        Some("openai")
    );
    assert!(call.answer_header("x-ratelimit-remaining-tokens").is_some());
    assert_eq!(lab.used("acme"), 50);
    let record = call.record(&mut lab);
    assert_eq!(
        record["actual"],
        json!({"input": 9, "output": 41, "source": "usage"})
    );
    assert_eq!(
        (&record["end"], &record["provider"]),
        (&json!("complete"), &json!("openai"))
    );
    assert_eq!(record["model_answered"], "gpt-4o-2024-08-06");
}

#[test]
fn identities_and_our_own_headers_stop_here() {
    let mut lab = Lab::new(json!({}));
    let request = message(json!({}))
        .with("x-team", "red")
        .with("authorization", "Bearer abc")
        .with("x-api-key", "caller's")
        .with("x-spillway-cluster", "elsewhere")
        .with("x-spillway-anything", "1");
    let call = lab.send(&request);
    for name in [
        "x-tenant",
        "x-team",
        "authorization",
        "x-api-key",
        "x-spillway-anything",
    ] {
        assert_eq!(call.header(name), None, "{name}");
    }
    assert_eq!(call.header("x-spillway-cluster").as_deref(), Some("anthropic"));
    assert_eq!(call.header(":path").as_deref(), Some("/proxied/v1/messages"));
}

#[test]
fn other_paths_pass_with_their_own_credentials_and_without_ours() {
    let mut lab = Lab::new(json!({}));
    let request = Request::post("/v1/files", "x")
        .with("authorization", "Bearer theirs")
        .with("x-spillway-cluster", "openai");
    let call = lab.send(&request);
    assert_eq!(call.header("authorization").as_deref(), Some("Bearer theirs"));
    assert_eq!(call.header("x-spillway-cluster"), None);
    assert_eq!(lab.metric("spillway.exchange.endpoint=other"), 1);
    assert!(call.record(&mut lab).is_null());
}

#[test]
fn a_known_key_names_its_caller_in_either_place() {
    let mut lab = Lab::new(json!({"anonymous": "reject"}));
    let by_bearer = chat(json!({}))
        .without("x-tenant")
        .with("authorization", "bearer abc");
    let by_key = chat(json!({})).without("x-tenant").with("x-api-key", "abc");
    let callers = [by_bearer, by_key].map(|request| {
        let call = lab.exchange(&request, 200, &answered("", 1, 1));
        call.record(&mut lab)["caller"].clone()
    });
    assert_eq!(callers[0], callers[1]);
    assert_ne!(callers[0], "anonymous");
}

#[test]
fn a_header_cannot_pass_for_a_key() {
    let mut lab = Lab::new(json!({}));
    let mut caller = |request: Request| {
        let call = lab.exchange(&request, 200, &answered("", 1, 1));
        call.record(&mut lab)["caller"].clone()
    };
    let key = caller(chat(json!({})).without("x-tenant").with("x-api-key", "abc"));
    let header = caller(chat(json!({})).without("x-tenant").with("x-tenant", "alice"));
    assert_ne!(key, header);
}

#[test]
fn what_is_learnt_of_several_choices_is_the_output_of_one() {
    let mut lab =
        Lab::new(json!({"limits": [{"name": "tokens", "per": ["caller"], "tokens": "1000000/min"}]}));
    lab.exchange(&chat(json!({"n": 4})), 200, &answered("", 10, 4_000));
    let call = lab.send(&chat(json!({})));
    let record = call.record(&mut lab);
    let (reserved, estimate) = (
        record["reserved"].as_u64().unwrap(),
        record["estimate"].as_u64().unwrap(),
    );
    assert!(reserved - estimate < 1_500, "{record}");
}

#[test]
fn a_record_holds_no_prompt_and_no_secret() {
    let mut lab = Lab::new(json!({}));
    let request = chat(json!({})).with("authorization", "Bearer abc");
    let record = lab
        .exchange(&request, 200, &answered("secret answer", 1, 1))
        .record(&mut lab);
    let text = record.to_string();
    for secret in ["private", "secret answer", "acme", "abc", "s3cr3t"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn each_thing_is_counted_under_its_name() {
    let mut lab = Lab::new(json!({}));
    lab.exchange(&chat(json!({})), 200, &answered("hello", 9, 41));
    for (name, value) in [
        ("spillway.exchange.endpoint=chat", 1),
        ("spillway.limit.limit=tokens.decision=allowed", 1),
        ("spillway.upstream.provider=openai.status=2xx", 1),
        ("spillway.tokens.type=settled", 50),
        (
            "gen_ai.client.inference.usage.input_tokens.provider=openai.model=gpt-4o",
            9,
        ),
        (
            "gen_ai.client.inference.usage.output_tokens.provider=openai.model=gpt-4o",
            41,
        ),
        (
            "gen_ai.client.token.usage.provider=openai.model=gpt-4o.type=output",
            41,
        ),
        ("spillway.fallback.tokens.provider=openai", 0),
    ] {
        assert_eq!(lab.metric(name), value, "{name}");
    }
    let refunded = lab.metric("spillway.tokens.type=refunded");
    assert_eq!(lab.metric("spillway.tokens.type=reserved") - refunded, 50);
}

#[test]
fn tokens_of_retries_are_counted_apart() {
    let mut lab = Lab::new(json!({}));
    for (retry, counted) in [("0", 0), ("1", 50)] {
        let request = chat(json!({})).with("x-stainless-retry-count", retry);
        lab.exchange(&request, 200, &answered("", 9, 41));
        assert_eq!(lab.metric("spillway.retry.tokens.provider=openai"), counted);
    }
}

#[test]
fn a_prompt_that_fits_may_ask_for_any_output() {
    let mut lab = Lab::new(json!({}));
    let mut call = lab.send(&chat(json!({"max_tokens": 4_000_000_000_u64, "n": 128})));
    assert_eq!(lab.used("acme"), 10_000, "as much as the limit holds");
    call.answer(&mut lab, 200, &answered("", 1, 1));
    assert_eq!(lab.used("acme"), 2);
}

#[test]
fn an_embedding_reserves_no_output() {
    let mut lab = Lab::new(json!({}));
    let body = json!({"model": "gpt-4o", "input": "some words"}).to_string();
    let mut call = lab.send(&Request::post("/v1/embeddings", body));
    assert!(lab.used("acme") < 20);
    let answer = json!({"data": [], "model": "m", "usage": {"prompt_tokens": 5, "total_tokens": 5}});
    call.answer(&mut lab, 200, &answer.to_string());
    assert_eq!(lab.used("acme"), 5);
}
