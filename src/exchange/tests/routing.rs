//! Where a request goes when the first candidate can't take it.

use core::time::Duration;

use serde_json::json;

use crate::breaker::{Failure, Latency, Observation, Outcome, Permit};

use super::{Ending, Lab, answered, chat, message};

/// Fails the first provider until its breaker opens.
fn opened(changes: serde_json::Value) -> Lab {
    let mut lab = Lab::new(changes);
    for _ in 0..2 {
        lab.exchange(&chat(json!({"model": "gpt-4o-mini"})), 500, "{}");
    }
    lab
}

#[test]
fn an_open_breaker_passes_traffic_to_the_next() {
    let mut lab = opened(json!({}));
    let mut call = lab.send(&chat(json!({})).with("authorization", "Bearer abc"));
    assert_eq!(call.header("x-spillway-cluster").as_deref(), Some("backup"));
    assert_eq!(
        call.header("authorization"),
        None,
        "neither the client's nor the other provider's"
    );
    call.answer(&mut lab, 200, &answered("", 10, 20));
    let record = call.record(&mut lab);
    assert_eq!(
        record["passed_over"],
        json!([{"candidate": "openai/gpt-4o", "reason": "open"}])
    );
    assert_eq!(lab.metric("spillway.fallback.provider=openai.reason=open"), 1);
    assert_eq!(lab.metric("spillway.fallback.tokens.provider=backup"), 30);
}

#[test]
fn a_provider_whose_own_limit_is_used_up_is_passed_over() {
    let mut lab = Lab::new(json!({"providers": {"openai": {"limits": [{"requests": "1/min"}]}}}));
    lab.exchange(&chat(json!({})), 200, &answered("", 1, 1));
    let call = lab.send(&chat(json!({})));
    assert_eq!(call.header("x-spillway-cluster").as_deref(), Some("backup"));
    let record = call.record(&mut lab);
    assert_eq!(
        record["passed_over"],
        json!([{"candidate": "openai/gpt-4o", "reason": "limit"}])
    );
    let call = lab.send(&chat(json!({"model": "gpt-4o-mini"})));
    assert_eq!(call.refused(), Some(503));
    assert_eq!(call.reply_header("retry-after").as_deref(), Some("60"));
}

#[test]
fn a_provider_whose_limit_is_too_small_for_a_prompt_is_passed_over() {
    let mut lab = Lab::new(json!({"providers": {"openai": {"limits": [{"tokens": "20/min"}]}}}));
    let words = "many different words go in here ".repeat(40);
    let long = json!({"messages": [{"role": "user", "content": words}]});
    let call = lab.send(&chat(long.clone()));
    assert_eq!(call.header("x-spillway-cluster").as_deref(), Some("backup"));
    let mut nowhere = json!({"model": "gpt-4o-mini"});
    super::merge(&mut nowhere, long);
    assert_eq!(
        lab.send(&chat(nowhere)).refused(),
        Some(400),
        "and where none is large enough, never"
    );
}

#[test]
fn a_limit_of_the_callers_that_refuses_too_names_no_limit_of_a_provider() {
    let mut lab = Lab::new(json!({
        "limits": [{"name": "r", "per": ["caller"], "requests": "1/min"}],
        "providers": {"openai": {"limits": [{"requests": "1/hour"}]}},
    }));
    lab.exchange(&chat(json!({})), 200, &answered("", 1, 1));
    let call = lab.send(&chat(json!({})));
    assert_eq!(call.refused(), Some(429));
    let told = call.reply_json().to_string();
    assert!(!told.contains("openai"), "{told}");
}

#[test]
fn when_all_are_open_it_is_503_with_when_and_nothing_is_charged() {
    let mut lab = opened(json!({}));
    let used = lab.used("acme");
    let call = lab.send(&chat(json!({"model": "gpt-4o-mini"})));
    assert_eq!(call.refused(), Some(503));
    let wait: u64 = call.reply_header("retry-after").unwrap().parse().unwrap();
    assert!((12..=18).contains(&wait), "15 s, give or take its jitter: {wait}");
    assert_eq!(lab.used("acme"), used);
    let record = call.record(&mut lab);
    assert_eq!(
        (&record["refused"], record.get("provider")),
        (&json!("unavailable"), None)
    );
}

#[test]
fn when_all_are_open_as_many_go_as_were_answered_since() {
    let mini = chat(json!({"model": "gpt-4o-mini"}));
    let mut lab = Lab::new(json!({}));
    let under_way: Vec<_> = (0..2).map(|_| lab.send(&mini)).collect();
    for _ in 0..2 {
        lab.exchange(&mini, 500, "{}");
    }
    assert_eq!(lab.send(&mini).refused(), Some(503), "nothing was answered since");
    for mut call in under_way {
        call.answer(&mut lab, 200, &answered("", 1, 1));
        call.record(&mut lab);
    }
    let mut on_credit: Vec<_> = (0..3).map(|_| lab.send(&mini)).collect();
    assert_eq!(
        on_credit.pop().unwrap().refused(),
        Some(503),
        "two went before it"
    );
    let mut call = on_credit.pop().unwrap();
    call.answer(&mut lab, 200, &answered("", 1, 1));
    assert_eq!(call.record(&mut lab)["breaker"], "passed_by");
    let mut call = on_credit.pop().unwrap();
    call.answer(&mut lab, 500, "{}");
    call.record(&mut lab);
    let went = (0..3).filter(|_| lab.send(&mini).refused().is_none()).count();
    assert_eq!(went, 2, "two for the one that was answered");
}

#[test]
fn when_all_are_open_the_one_that_answers_more_is_asked() {
    let mut lab = Lab::new(json!({
        "providers": {"backup": {"breaker": {"consecutive": 2}}},
        "models": {"gpt-4o-mini": {"when_all_open": "reject"}},
    }));
    let both = chat(json!({}));
    let under_way = lab.send(&both);
    for _ in 0..2 {
        lab.exchange(&both, 500, "{}");
    }
    let mut later: Vec<_> = (0..2).map(|_| lab.send(&both)).collect();
    for _ in 0..2 {
        lab.exchange(&both, 500, "{}");
    }
    later.push(under_way);
    for mut call in later {
        call.answer(&mut lab, 200, &answered("", 1, 1));
        call.record(&mut lab);
    }
    let asked: Vec<_> = (0..4)
        .map(|_| lab.send(&both).header("x-spillway-cluster"))
        .collect();
    let of = |name: &str| asked.iter().flatten().filter(|cluster| *cluster == name).count();
    assert_eq!(
        asked[0].as_deref(),
        Some("backup"),
        "two were answered there, and one at the first"
    );
    assert_eq!((of("openai"), of("backup")), (1, 2), "{asked:?}");
    let mini = lab.send(&chat(json!({"model": "gpt-4o-mini"})));
    assert_eq!(mini.refused(), Some(503), "whoever asks for `reject` gets it");
}

/// The first provider's breaker is open, and this many calls may go all the same.
fn with_credit(changes: serde_json::Value, credit: usize) -> Lab {
    let mini = chat(json!({"model": "gpt-4o-mini"}));
    let mut lab = Lab::new(changes);
    let under_way: Vec<_> = (0..credit).map(|_| lab.send(&mini)).collect();
    for _ in 0..2 {
        lab.exchange(&mini, 500, "{}");
    }
    for mut call in under_way {
        call.answer(&mut lab, 200, &answered("", 1, 1));
        call.record(&mut lab);
    }
    lab
}

#[test]
fn a_client_that_gives_up_waiting_spends_the_credit() {
    let mut lab = with_credit(json!({}), 2);
    let mini = chat(json!({"model": "gpt-4o-mini"}));
    for _ in 0..2 {
        let call = lab.send(&mini);
        assert_eq!(call.refused(), None);
        call.end(&mut lab, Ending::ClientAbort);
    }
    assert_eq!(lab.send(&mini).refused(), Some(503), "nothing was answered");
}

#[test]
fn a_client_that_leaves_amid_an_answer_gives_the_credit_back() {
    let mut lab = with_credit(json!({}), 1);
    let mini = chat(json!({"model": "gpt-4o-mini"}));
    for _ in 0..3 {
        let mut call = lab.send(&mini);
        assert_eq!(call.refused(), None);
        call.respond(&mut lab, 200, &[("content-type", "application/json")], false);
        call.chunk(&mut lab, r#"{"choices": [{"mess"#, false);
        call.end(&mut lab, Ending::ClientAbort);
    }
}

#[test]
fn what_passes_uncounted_spends_the_credit() {
    let mut lab = with_credit(
        json!({"on_encoded": "pass", "models": {"*": {"chain": ["openai/gpt-4o-mini"]}}}),
        1,
    );
    let encoded = chat(json!({"model": "gpt-4o-mini"})).with("content-encoding", "gzip");
    assert_eq!(lab.send(&encoded).refused(), None);
    assert_eq!(lab.send(&encoded).refused(), Some(503));
}

#[test]
fn one_credit_is_one_request_natively_too() {
    let mut lab = Lab::new(json!({"host": {"body_pause": true}, "failover": {"via": "native"}}));
    let at = lab
        .gateway
        .policy
        .providers
        .iter()
        .position(|p| p.name == "openai");
    let good = Outcome::Success {
        latency: Latency::Unknown,
        headroom: None,
    };
    let bad = Outcome::Failure(Failure::Reset);
    let breakers = lab.gateway.breakers(at.unwrap()).unwrap();
    let passes = [bad, bad, good].map(
        |outcome| match breakers.ask(&lab.store, 1, lab.now.monotonic, 0) {
            Permit::Go(pass) => (pass, outcome),
            Permit::NotNow { .. } => panic!("it is closed"),
        },
    );
    let now = Observation {
        now: lab.now.monotonic,
        entropy: 0,
    };
    for (pass, outcome) in passes {
        let _ = breakers.observe(&lab.store, pass, outcome, now);
    }
    let call = lab.send(&chat(json!({"model": "gpt-4o-mini"})));
    assert_eq!(call.refused(), None);
    assert_eq!(call.header("x-envoy-max-retries").as_deref(), Some("0"));
}

#[test]
fn on_credit_the_next_best_is_asked_where_a_limit_is_used_up() {
    let mut lab = Lab::new(json!({"providers": {
        "openai": {"limits": [{"requests": "6/day"}]}, "backup": {"breaker": {"consecutive": 2}},
    }}));
    let both = chat(json!({}));
    let mut under_way: Vec<_> = (0..3).map(|_| lab.send(&both)).collect();
    for _ in 0..2 {
        lab.exchange(&both, 500, "{}");
    }
    under_way.push(lab.send(&both));
    for _ in 0..2 {
        lab.exchange(&both, 500, "{}");
    }
    for mut call in under_way {
        call.answer(&mut lab, 200, &answered("", 1, 1));
        call.record(&mut lab);
    }
    let mut asked = || lab.send(&both).header("x-spillway-cluster");
    assert_eq!(
        asked().as_deref(),
        Some("openai"),
        "its credit is 3, and its sixth request"
    );
    assert_eq!(asked().as_deref(), Some("backup"));
    assert_eq!(asked(), None);
}

#[test]
fn who_goes_on_credit_was_not_passed_over() {
    let mut lab = with_credit(json!({}), 1);
    let mut call = lab.send(&chat(json!({"model": "gpt-4o-mini"})));
    call.answer(&mut lab, 200, &answered("", 10, 20));
    let record = call.record(&mut lab);
    assert_eq!(
        (&record["breaker"], record.get("passed_over")),
        (&json!("passed_by"), None)
    );
    assert_eq!(lab.metric("spillway.breaker.on_credit.provider=openai"), 1);
    assert_eq!(lab.metric("spillway.fallback.provider=openai.reason=open"), 0);
    assert_eq!(lab.metric("spillway.fallback.tokens.provider=openai"), 0);
}

#[test]
fn a_call_on_credit_that_a_limit_refuses_gives_it_back() {
    let mini = chat(json!({"model": "gpt-4o-mini"}));
    let mut lab = Lab::new(json!({"providers": {"openai": {"limits": [{"requests": "4/min"}]}}}));
    let mut under_way = lab.send(&mini);
    for _ in 0..2 {
        lab.exchange(&mini, 500, "{}");
    }
    under_way.answer(&mut lab, 200, &answered("", 1, 1));
    under_way.record(&mut lab);
    let mut call = lab.send(&mini);
    assert_eq!(call.refused(), None);
    call.answer(&mut lab, 200, &answered("", 1, 1));
    call.record(&mut lab);
    for _ in 0..3 {
        assert_eq!(
            lab.send(&mini).refused(),
            Some(503),
            "the provider's limit is used up"
        );
    }
    let at = lab
        .gateway
        .policy
        .providers
        .iter()
        .position(|p| p.name == "openai");
    let breakers = lab.gateway.breakers(at.unwrap()).unwrap();
    assert_eq!(
        breakers.credit(&lab.store, 1, lab.now.monotonic),
        2,
        "nothing was asked"
    );
}

#[test]
fn the_least_bad_goes_though_its_breaker_is_open_but_never_a_forced_one() {
    let least_bad = json!({"models": {"gpt-4o-mini": {"when_all_open": "least_bad"}}});
    let mut lab = opened(least_bad.clone());
    let call = lab.send(&chat(json!({"model": "gpt-4o-mini"})));
    assert_eq!(call.header("x-spillway-cluster").as_deref(), Some("openai"));
    let mut forced = json!({"providers": {"openai": {"breaker": {"force": "open"}}}});
    super::merge(&mut forced, least_bad);
    let mut lab = Lab::new(forced);
    assert_eq!(
        lab.send(&chat(json!({"model": "gpt-4o-mini"}))).refused(),
        Some(503)
    );
}

#[test]
fn the_first_that_speaks_the_clients_dialect_is_no_fallback() {
    let mut lab = Lab::new(json!({
        "models": {"gpt-4o": {"chain": ["openai/gpt-4o", "anthropic/claude"]}},
    }));
    let mut call = lab.send(&message(json!({"model": "gpt-4o"})));
    assert_eq!(call.header("x-spillway-cluster").as_deref(), Some("anthropic"));
    assert_eq!(call.body_json()["model"], "claude");
    let body = json!({"type": "message", "model": "claude", "content": [], "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 20}});
    call.answer(&mut lab, 200, &body.to_string());
    assert_eq!(lab.used("acme"), 30);
    assert_eq!(lab.metric("spillway.fallback.tokens.provider=anthropic"), 0);
}

#[test]
fn a_renamed_model_is_renamed_in_the_body_and_its_length() {
    let mut lab = Lab::new(json!({"models": {"alias": {"chain": ["openai/gpt-4o-mini"]}}}));
    let call = lab.send(&chat(json!({"model": "alias"})));
    assert_eq!(call.body_json()["model"], "gpt-4o-mini");
    assert_eq!(call.header("content-length"), Some(call.body.len().to_string()));
}

#[test]
fn a_prompt_over_every_context_is_never_admitted() {
    let mut lab = Lab::new(json!({"providers": {
        "openai": {"models": {"gpt-4o": {"context": 10}}}, "backup": {"models": {"gpt-4o": {"context": 10}}},
    }}));
    let words = "many different words go in here ".repeat(40);
    let call = lab.send(&chat(json!({"messages": [{"role": "user", "content": words}]})));
    assert_eq!(call.refused(), Some(400));
    assert_eq!(lab.used("acme"), 0);
}

#[test]
fn half_open_lets_no_more_go_than_permitted() {
    let mut lab = opened(json!({}));
    lab.later(Duration::from_secs(20));
    let mini = chat(json!({"model": "gpt-4o-mini"}));
    let probes: Vec<_> = (0..4).map(|_| lab.send(&mini)).collect();
    let refused = probes.iter().filter(|call| call.refused() == Some(503)).count();
    assert_eq!(refused, 1, "three permits by default");
    assert_eq!(
        lab.metric("spillway.breaker.transition.provider=openai.state=half_open"),
        1
    );
}
