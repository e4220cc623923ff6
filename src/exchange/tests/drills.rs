//! Drills: a request goes as if the chain's first candidate were down, and nobody is the worse for it.

use super::router::*;
use super::*;

const ALWAYS: fn() -> Value = || json!({"failover": {"drill": "100 %", "via": "callout"}});

fn drilled(changes: Value) -> Value {
    let mut document = ALWAYS();
    merge(&mut document, changes);
    document
}

fn by_router(changes: Value) -> Value {
    let mut document = drilled(changes);
    document["failover"]["via"] = json!("native");
    document
}

fn cluster(call: &Call) -> String {
    call.header("x-spillway-cluster").unwrap_or_default()
}

#[test]
fn a_drill_passes_over_a_first_candidate_that_is_well_and_says_so() {
    let mut lab = Lab::new(ALWAYS());
    let mut call = lab.send(&chat(json!({})));
    assert_eq!(
        (cluster(&call).as_str(), call.header("authorization")),
        ("backup", None)
    );
    call.answer(&mut lab, 200, &answered("", 10, 20));
    assert_eq!(call.answer_header("x-spillway-drill").as_deref(), Some("openai"));
    assert_eq!(
        call.answer_header("x-spillway-provider").as_deref(),
        Some("backup")
    );
    assert_eq!(lab.used("acme"), 30);
    let record = call.record(&mut lab);
    assert_eq!(record["drill"], "openai");
    let passed = json!([{"candidate": "openai/gpt-4o", "reason": "drill"}]);
    assert_eq!(record["passed_over"], passed);
    assert_eq!(lab.metric("spillway.drill.provider=openai.decision=moved"), 1);
    let fallbacks = [
        "spillway.fallback.provider=openai.reason=drill",
        "spillway.fallback.tokens.provider=backup",
    ];
    assert_eq!(fallbacks.map(|name| lab.metric(name)), [0, 0], "counted apart");
}

#[test]
fn the_first_candidate_s_breaker_hears_nothing_of_a_drill() {
    let mut lab = Lab::new(ALWAYS());
    for _ in 0..5 {
        let mut call = lab.send(&chat(json!({})));
        call.answer(&mut lab, 500, "{}");
        after_all(&mut lab, &mut call);
        drop(call.record(&mut lab));
    }
    assert_eq!(
        lab.metric("spillway.breaker.transition.provider=backup.state=open"),
        1
    );
    assert_eq!(
        lab.metric("spillway.breaker.transition.provider=openai.state=open"),
        0
    );
    let call = lab.send(&chat(json!({})));
    assert_eq!(cluster(&call), "openai", "nobody else can take it");
}

/// The one passed over is asked by a call if the other failed, and answers well.
fn after_all(lab: &mut Lab, call: &mut Call) -> bool {
    let asked = call.call.take().map(|asked| asked.cluster);
    if let Some(cluster) = &asked {
        assert_eq!(cluster, "openai");
        call.called(lab, super::callouts::json_answer(200, &answered("hi", 10, 20)));
        assert_eq!(call.refused(), Some(200));
        assert_eq!(call.reply_header("x-spillway-drill").as_deref(), Some("openai"));
    }
    asked.is_some()
}

#[test]
fn a_drill_refuses_nobody() {
    let open = json!({"providers": {"backup": {"breaker": {"force": "open"}}}});
    let least_bad = json!({"providers": {"backup": {"breaker": {"consecutive": 1}}},
        "models": {"gpt-4o": {"when_all_open": "least_bad"}}});
    let full = json!({"providers": {"backup": {"limits": [{"requests": "1/min"}]}}});
    let per_provider = json!({"limits": [{"name": "r", "per": ["caller", "provider"], "requests": "1/min"}]});
    for (changes, before) in [
        (open, None),
        (least_bad, Some(500)),
        (full, Some(200)),
        (per_provider, Some(200)),
    ] {
        let mut lab = Lab::new(drilled(changes.clone()));
        if let Some(status) = before {
            let mut call = lab.send(&chat(json!({})));
            call.answer(&mut lab, status, &answered("", 1, 1));
            assert_eq!(after_all(&mut lab, &mut call), status == 500, "{changes}");
            drop(call.record(&mut lab));
        }
        let mut call = lab.send(&chat(json!({})));
        assert_eq!(cluster(&call), "openai", "{changes}");
        assert_eq!(
            lab.metric("spillway.drill.provider=openai.decision=stayed"),
            1,
            "{changes}"
        );
        call.answer(&mut lab, 200, &answered("", 1, 1));
        assert_eq!(call.answer_header("x-spillway-drill"), None);
        let record = call.record(&mut lab);
        let quiet = ["drill", "passed_over", "limits_hit"].map(|name| record.get(name).cloned());
        assert_eq!(quiet, [None, None, None], "{changes}");
    }
}

#[test]
fn what_lives_at_one_provider_or_has_one_candidate_is_never_drilled() {
    let mut lab = Lab::new(ALWAYS());
    let pinned = r#"{"model":"gpt-4o","input":"x","previous_response_id":"r"}"#;
    let sent = [
        Request::post("/v1/responses", pinned),
        chat(json!({"store": true})),
        chat(json!({"model": "gpt-4o-mini"})),
    ];
    for request in sent {
        let call = lab.send(&request);
        assert_eq!(cluster(&call), "openai");
    }
    for how in ["moved", "stayed"] {
        assert_eq!(
            lab.metric(&format!("spillway.drill.provider=openai.decision={how}")),
            0
        );
    }
}

#[test]
fn a_first_candidate_that_is_down_anyway_is_no_drill() {
    let mut lab = Lab::new(drilled(
        json!({"providers": {"openai": {"breaker": {"force": "open"}}}}),
    ));
    let call = lab.send(&chat(json!({})));
    let record = call.record(&mut lab);
    assert_eq!(record["passed_over"][0]["reason"], "forced_open");
    assert_eq!(record.get("drill"), None);
}

#[test]
fn in_shadow_a_drill_is_counted_and_nothing_moves() {
    let mut lab = Lab::new(drilled(json!({"mode": "shadow"})));
    assert_eq!(cluster(&lab.send(&chat(json!({})))), "openai");
    assert_eq!(lab.metric("spillway.drill.provider=openai.decision=shadow"), 1);
}

#[test]
fn by_the_router_a_drill_begins_with_another_and_ends_with_the_first_failure() {
    let mut lab = native(by_router(json!({})));
    let (call, sent) = routed(
        &mut lab,
        &chat(json!({})),
        &[("backup", failing(503)), ("openai", good())],
    );
    assert_eq!(
        cluster(&lab.send(&chat(json!({})))),
        "spillway+backup+openai+anthropic"
    );
    assert_eq!(find(&sent[0].headers, "authorization"), None);
    assert_eq!(
        call.answer_header("x-spillway-provider").as_deref(),
        Some("openai")
    );
    assert_eq!(call.answer_header("x-spillway-drill").as_deref(), Some("openai"));
    let record = call.record(&mut lab);
    let expected = [("backup", "status"), ("openai", "")].map(|(p, w)| (p.to_owned(), w.to_owned()));
    assert_eq!(tried(&record), expected);
    assert_eq!(lab.metric("spillway.fallback.provider=backup.reason=status"), 1);
    assert_eq!(lab.metric("spillway.fallback.provider=openai.reason=status"), 0);
}

#[test]
fn by_callouts_the_one_passed_over_is_asked_when_the_other_fails() {
    let mut lab = Lab::new(drilled(json!({"failover": {"via": "callout"}})));
    let mut call = lab.send(&chat(json!({})));
    assert_eq!(cluster(&call), "backup");
    call.respond(&mut lab, 503, &[], false);
    assert!(after_all(&mut lab, &mut call));
}

/// What goes wrong at the other, whatever the policy has for failing over.
const WRONG: [u16; 6] = [400, 401, 404, 429, 501, 503];

#[test]
fn whatever_goes_wrong_at_the_other_the_first_is_asked_after_all() {
    for on in [json!([]), json!(["connect", 503])] {
        let changes = json!({"failover": {"retry_on": on}});
        for status in WRONG {
            let mut lab = Lab::new(drilled(changes.clone()));
            let mut call = lab.send(&chat(json!({})));
            call.respond(&mut lab, status, &[], false);
            assert!(after_all(&mut lab, &mut call), "{status}");
            let attempts = call.record(&mut lab)["attempts"].clone();
            let why = if status == 429 { "rate_limited" } else { "status" };
            assert_eq!(attempts[0]["gave_up"], why, "{status}");

            let mut lab = native(by_router(changes.clone()));
            let does = [("backup", failing(status)), ("openai", good())];
            let (call, sent) = routed(&mut lab, &chat(json!({})), &does);
            assert_eq!((sent.len(), call.refused()), (2, None), "{status}");
        }
        let error = "data: {\"error\":{\"message\":\"no\"}}\n\n".to_owned();
        let mut lab = Lab::new(drilled(changes.clone()));
        let mut call = lab.send(&chat(json!({"stream": true})));
        call.stream(&mut lab, &[&error]);
        assert!(call.call.is_some(), "an error as the first event");

        let mut lab = native(by_router(changes));
        let does = [("backup", Does::Streams(vec![error])), ("openai", good())];
        let (call, sent) = routed(&mut lab, &chat(json!({"stream": true})), &does);
        assert_eq!((sent.len(), call.refused()), (2, None));
        let next = lab.send(&chat(json!({})));
        let when = next.header("x-envoy-retry-on").unwrap();
        assert!(
            when.contains("reset") && when.contains("connect-failure"),
            "{when}"
        );
    }
}

#[test]
fn only_a_drill_goes_on_for_what_the_policy_doesn_t_list() {
    let mut lab = native(by_router(json!({})));
    let does = [
        ("backup", failing(400)),
        ("openai", failing(400)),
        ("anthropic", good()),
    ];
    let (call, sent) = routed(&mut lab, &chat(json!({})), &does);
    assert_eq!(sent.len(), 2);
    assert_eq!(find(&call.answer_headers, ":status").as_deref(), Some("400"));

    let mut lab = Lab::new(drilled(json!({})));
    let mut call = lab.send(&chat(json!({})));
    call.respond(&mut lab, 400, &[], false);
    assert!(call.call.take().is_some());
    call.called(&mut lab, super::callouts::json_answer(400, "{}"));
    assert_eq!((call.call.is_none(), call.refused()), (true, Some(400)));
}

#[test]
fn what_couldn_t_be_sent_to_the_first_after_all_is_never_drilled() {
    let full = json!({"models": {"o": {"chain": ["openai/gpt-4o"]}},
        "providers": {"openai": {"limits": [{"requests": "1/min"}]}}});
    for via in ["callout", "native"] {
        let mut changes = drilled(full.clone());
        changes["failover"]["via"] = json!(via);
        let mut lab = if via == "native" {
            native(changes)
        } else {
            Lab::new(changes)
        };
        let before = lab.send(&chat(json!({"model": "o"})));
        drop(before.record(&mut lab));
        let call = lab.send(&chat(json!({})));
        assert_eq!(
            call.record(&mut lab).get("drill"),
            None,
            "{via}: nothing is left of its limit"
        );
    }
    let mut lab = Lab::new(ALWAYS());
    lab.load.kept = 64 << 20;
    assert_eq!(
        cluster(&lab.send(&chat(json!({})))),
        "openai",
        "too large to be kept"
    );
    let mut lab = Lab::new(ALWAYS());
    let request = Request::post("/v1/embeddings", r#"{"model":"gpt-4o","input":"x"}"#);
    assert_eq!(
        cluster(&lab.send(&request)),
        "openai",
        "callouts send no embeddings"
    );
}

#[test]
fn a_drill_takes_the_first_candidate_s_provider_for_down() {
    let chain =
        json!({"models": {"gpt-4o": {"chain": ["openai/gpt-4o", "openai/gpt-4o-mini", "backup/gpt-4o"]}}});
    assert_eq!(
        cluster(&Lab::new(drilled(chain.clone())).send(&chat(json!({})))),
        "backup"
    );
    let call = native(by_router(chain)).send(&chat(json!({})));
    assert_eq!(cluster(&call), "spillway+backup+openai");
}
