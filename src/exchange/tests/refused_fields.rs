//! What a model refuses of a request that its protocol has a place for: left out and named, or the candidate passed over.

use super::router::*;
use super::*;

/// A backup and an Anthropic model that take no temperature; the first candidate takes everything.
fn choosy(changes: Value) -> Value {
    let mut document = json!({
        "providers": {
            "backup": {"models": {"gpt-4o": {"refuses": ["temperature", "max_tokens"]}}},
            "anthropic": {"models": {"claude": {"refuses": ["temperature", "top_p"], "accepts": ["effort"]}}},
        },
        "failover": {"drill": 1, "via": "callout"},
    });
    merge(&mut document, changes);
    document
}

fn drop_it(changes: Value) -> Value {
    let mut document = choosy(json!({"failover": {"incompatible": "drop"}}));
    merge(&mut document, changes);
    document
}

fn cluster(call: &Call) -> String {
    call.header("x-spillway-cluster").unwrap_or_default()
}

fn hot() -> Request {
    chat(json!({"temperature": 0.2, "max_tokens": 50}))
}

#[test]
fn a_candidate_that_refuses_what_a_request_has_is_passed_over() {
    let mut lab = Lab::new(choosy(
        json!({"providers": {"openai": {"breaker": {"force": "open"}}}}),
    ));
    let call = lab.send(&chat(json!({"temperature": 1, "max_tokens": 50})));
    assert_eq!(cluster(&call), "backup", "what says nothing is no hindrance");
    let body = call.body_json();
    assert_eq!((body.get("temperature"), body.get("max_tokens")), (None, None));
    assert_eq!(body["max_completion_tokens"], 50);

    let call = lab.send(&hot());
    assert_eq!(
        call.refused(),
        Some(503),
        "only the first takes it, and that one is open"
    );
    let record = call.record(&mut lab);
    assert_eq!(
        record["passed_over"][1],
        json!({"candidate": "backup/gpt-4o", "reason": "refuses"})
    );
}

#[test]
fn where_nobody_takes_it_the_client_is_told_so() {
    let mut lab = Lab::new(choosy(
        json!({"models": {"gpt-4o": {"chain": ["backup/gpt-4o"]}}, "failover": {"drill": 0}}),
    ));
    let call = lab.send(&hot());
    assert_eq!(call.refused(), Some(400));
    assert_eq!(call.reply_json()["error"]["code"], "unsupported_parameter");
    assert_eq!(lab.used("acme"), 0);
}

#[test]
fn left_out_it_is_named_whoever_sends_again() {
    let mut lab = Lab::new(drop_it(json!({})));
    let mut call = lab.send(&hot());
    assert_eq!(cluster(&call), "backup");
    assert_eq!(call.body_json().get("temperature"), None);
    assert_eq!(call.header("content-length"), Some(call.body.len().to_string()));
    call.answer(&mut lab, 200, &answered("", 1, 1));
    assert_eq!(
        call.answer_header("x-spillway-dropped").as_deref(),
        Some("temperature")
    );

    let mut lab = native(drop_it(json!({"failover": {"via": "native"}})));
    let (call, sent) = routed(
        &mut lab,
        &hot(),
        &[
            ("backup", failing(503)),
            ("openai", failing(503)),
            ("anthropic", failing(503)),
        ],
    );
    let bodies: Vec<Value> = sent
        .iter()
        .map(|one| serde_json::from_slice(&one.body).unwrap())
        .collect();
    let hot: Vec<bool> = bodies
        .iter()
        .map(|body| body.get("temperature").is_some())
        .collect();
    assert_eq!(hot, [false, true, false]);
    assert_eq!(
        (&bodies[1]["max_tokens"], &bodies[2]["max_tokens"]),
        (&json!(50), &json!(50))
    );
    assert_eq!(
        call.answer_header("x-spillway-dropped").as_deref(),
        Some("temperature")
    );

    let mut lab = Lab::new(drop_it(json!({"failover": {"via": "callout", "drill": 0}})));
    let mut call = lab.send(&super::refused_fields::hot());
    call.respond(&mut lab, 503, &[], false);
    let asked: Value = serde_json::from_slice(&call.call.take().unwrap().body).unwrap();
    assert_eq!(
        (asked.get("temperature"), &asked["max_completion_tokens"]),
        (None, &json!(50))
    );
    let headers = [(":status", "200"), ("content-type", "application/json")];
    let answer = CallAnswer {
        headers: headers.iter().copied().collect(),
        body: answered("hi", 10, 20).into(),
        unsent: false,
    };
    call.called(&mut lab, answer);
    assert_eq!(
        call.reply_header("x-spillway-dropped").as_deref(),
        Some("temperature")
    );
}

#[test]
fn the_router_is_offered_only_candidates_that_take_all_of_it() {
    let mut lab = native(choosy(json!({"failover": {"drill": 0, "via": "native"}})));
    let offered = |lab: &mut Lab, more: Value| cluster(&lab.send(&chat(more)));
    assert_eq!(offered(&mut lab, json!({"temperature": 0.2})), "spillway+openai");
    assert_eq!(offered(&mut lab, json!({"top_p": 0.2})), "spillway+openai+backup");
    assert_eq!(
        offered(&mut lab, json!({"reasoning_effort": "low"})),
        "spillway+openai+backup+anthropic"
    );
    let mut plain = native(json!({}));
    assert_eq!(
        offered(&mut plain, json!({"reasoning_effort": "low"})),
        "spillway+openai+backup"
    );
}

#[test]
fn in_shadow_nothing_is_left_out() {
    let mut lab = Lab::new(choosy(
        json!({"mode": "shadow", "models": {"gpt-4o": {"chain": ["backup/gpt-4o"]}}, "failover": {"drill": 0}}),
    ));
    let call = lab.send(&hot());
    assert_eq!(
        (cluster(&call).as_str(), &call.body_json()["temperature"]),
        ("backup", &json!(0.2))
    );
}

#[test]
fn a_provider_chosen_by_headers_is_held_to_it_too() {
    let mut lab = Lab::headers_first(choosy(json!({"failover": null})));
    let request = hot().with("x-model", "gpt-4o");
    let models = json!({"models": {"gpt-4o": {"chain": ["backup/gpt-4o"]}}});
    assert_eq!(lab.send(&request).refused(), None);
    let mut lab = Lab::headers_first(choosy(json!({"failover": null, "models": models["models"]})));
    assert_eq!(lab.send(&request).refused(), Some(400));
}
