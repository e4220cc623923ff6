//! Drills: a request goes as if the chain's first candidate were down, and nobody is the worse for it.

use super::router::*;
use super::*;

const ALWAYS: fn() -> Value = || json!({"failover": {"drill": "100 %"}});

fn drilled(changes: Value) -> Value {
    let mut document = ALWAYS();
    merge(&mut document, changes);
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
        lab.exchange(&chat(json!({})), 500, "{}");
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

#[test]
fn a_drill_refuses_nobody() {
    let open = json!({"providers": {"backup": {"breaker": {"force": "open"}}}});
    let least_bad = json!({"providers": {"backup": {"breaker": {"consecutive": 1}}},
        "models": {"gpt-4o": {"when_all_open": "least_bad"}}});
    let full = json!({"providers": {"backup": {"limits": [{"requests": "1/min"}]}}});
    let per_provider = json!({"limits": [{"name": "r", "per": ["caller", "provider"], "requests": "1/min"}]});
    for (changes, before) in [(open, 0), (least_bad, 1), (full, 1), (per_provider, 1)] {
        let mut lab = Lab::new(drilled(changes.clone()));
        for _ in 0..before {
            lab.exchange(&chat(json!({})), 500, "{}");
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
    let mut lab = native(ALWAYS());
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
    assert_eq!(
        call.call.take().map(|asked| asked.cluster).as_deref(),
        Some("openai")
    );
    let headers = [(":status", "200"), ("content-type", "application/json")];
    let answer = CallAnswer {
        headers: headers.iter().copied().collect(),
        body: answered("hi", 10, 20).into(),
        unsent: false,
    };
    call.called(&mut lab, answer);
    assert_eq!(call.refused(), Some(200));
    assert_eq!(call.reply_header("x-spillway-drill").as_deref(), Some("openai"));
}
