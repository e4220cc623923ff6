//! Failing over by the host's router: what client, providers, ledger and breakers see of it.

use super::router::*;
use super::*;
use crate::dialect::Dialect;

#[test]
fn each_attempt_carries_its_own_provider_s_credential_and_no_other() {
    let mut lab = native(json!({}));
    let request = chat(json!({})).with("authorization", "Bearer of-the-client");
    let (call, sent) = routed(
        &mut lab,
        &request,
        &[("openai", failing(503)), ("backup", good())],
    );
    let seen = |at: usize, name| find(&sent[at].headers, name);
    assert_eq!(
        seen(0, "authorization").as_deref(),
        Some("Bearer sk-s3cr3t-openai")
    );
    assert_eq!((seen(0, "x-backup-key"), seen(1, "authorization")), (None, None));
    assert_eq!(seen(1, "x-backup-key").as_deref(), Some(OPENAI_KEY));
    assert_eq!(seen(0, ":authority").as_deref(), Some("api.openai.com"));
    assert_eq!(
        seen(1, ":authority").as_deref(),
        Some("gateway.test"),
        "the client's own again"
    );
    for sent in &sent {
        let internal = |name: &str| {
            name.starts_with("x-spillway-") || name.starts_with("x-envoy-") || name == "x-tenant"
        };
        assert!(
            !sent.headers.iter().any(|(name, _)| internal(name)),
            "{:?}",
            sent.headers
        );
        let length = find(&sent.headers, "content-length").unwrap();
        assert_eq!(length, sent.body.len().to_string());
    }
    assert_eq!(
        call.answer_header("x-spillway-provider").as_deref(),
        Some("backup")
    );
    let record = call.record(&mut lab);
    let expected = [("openai", "status"), ("backup", "")].map(|(p, w)| (p.to_owned(), w.to_owned()));
    assert_eq!(tried(&record), expected);
    assert_eq!(lab.metric("spillway.fallback.provider=openai.reason=status"), 1);
}

#[test]
fn the_router_is_told_what_the_policy_says() {
    let timeouts = json!({"first_token": {"base": "2s", "per_1k_prompt": "0s"},
        "whole": {"base": "10s", "per_1k_prompt": "0s", "per_1k_output": "0s"}});
    let mut lab = native(json!({"failover": {"timeouts": timeouts, "deadline_header": "x-wait"}}));
    let told = |call: &Call| {
        let header = |name: &str| call.header(name).unwrap();
        let per_try = header("x-envoy-upstream-rq-per-try-timeout-ms");
        (
            header("x-envoy-max-retries"),
            per_try,
            header("x-envoy-upstream-rq-timeout-ms"),
        )
    };
    let owned = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    let steering = chat(json!({}))
        .with("x-envoy-max-retries", "99")
        .with("x-envoy-hedge-on-per-try-timeout", "true");
    let call = lab.send(&steering);
    assert_eq!(told(&call), owned("2", "10000", "30000"));
    assert_eq!(
        call.header("x-spillway-cluster").as_deref(),
        Some("spillway+openai+backup+anthropic")
    );
    assert_eq!(
        call.header("x-envoy-retriable-status-codes").as_deref(),
        Some("598")
    );
    let when = call.header("x-envoy-retry-on").unwrap();
    assert_eq!(
        when,
        "retriable-status-codes,connect-failure,refused-stream,reset"
    );
    assert_eq!(call.header("x-envoy-hedge-on-per-try-timeout"), None);
    assert_eq!(
        (call.header("authorization"), call.header("x-spillway-repeats")),
        (None, None)
    );
    let call = lab.send(&chat(json!({"stream": true})).with("x-wait", "1500"));
    assert_eq!(told(&call), owned("2", "2000", "1500"));
    let alone = Request::post(
        "/v1/responses",
        r#"{"model":"gpt-4o","input":"x","previous_response_id":"r"}"#,
    );
    let call = lab.send(&alone);
    assert_eq!(told(&call).0, "0", "what lives at one provider");
    assert_eq!(
        call.header("x-spillway-cluster").as_deref(),
        Some("spillway+openai")
    );
}

#[test]
fn what_a_candidate_of_another_dialect_cannot_have_it_is_never_offered() {
    let mut lab = native(json!({}));
    let call = lab.send(&chat(json!({"seed": 7})));
    assert_eq!(
        call.header("x-spillway-cluster").as_deref(),
        Some("spillway+openai+backup")
    );
    let mut lab = native(json!({"failover": {"incompatible": "drop"}}));
    let call = lab.send(&chat(json!({"seed": 7})));
    assert_eq!(
        call.header("x-spillway-cluster").as_deref(),
        Some("spillway+openai+backup+anthropic")
    );
    assert_eq!(lab.gateway.policy.providers[0].dialect, Dialect::Anthropic);
}

#[test]
fn the_last_attempt_s_answer_is_the_client_s() {
    let mut lab = native(json!({"failover": {"attempts": 2}}));
    let wait = Does::Says(
        503,
        &[("retry-after", "9")],
        json!({"error": {"message": "later"}}).to_string(),
    );
    let (call, sent) = routed(
        &mut lab,
        &chat(json!({})),
        &[("openai", failing(500)), ("backup", wait)],
    );
    assert_eq!(sent.len(), 2);
    assert_eq!(call.answer_header(":status").as_deref(), Some("503"));
    assert_eq!(call.answer_header("retry-after").as_deref(), Some("9"));
    assert!(call.answer_text().contains("later"));
}

#[test]
fn a_retry_that_the_router_refused_is_turned_back() {
    let mut lab = native(json!({}));
    let mut call = lab.send(&chat(json!({})));
    share(&mut lab);
    let sent = attempt(&mut lab, &mut call, 1, ("openai", &failing(529)));
    let (headers, _) = sent.answer.unwrap();
    assert_eq!(find(&headers, ":status").as_deref(), Some("598"));
    set(&mut lab, &[("response.code_details", "via_upstream")]);
    call.respond(
        &mut lab,
        598,
        &[("x-spillway-status", "529"), ("content-type", "application/json")],
        false,
    );
    call.chunk(&mut lab, "{}", true);
    assert_eq!(call.answer_header(":status").as_deref(), Some("529"));
    assert_eq!(call.answer_header("x-spillway-status"), None);
}

#[test]
fn a_stream_is_held_until_it_has_said_a_word_however_it_is_cut() {
    let error = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n".to_owned();
    let stream = [
        delta("", None),
        delta("wat", None),
        delta("er", Some("stop")),
        DONE.to_owned(),
    ]
    .concat();
    for cut in 0..=error.len() {
        let mut lab = native(json!({}));
        let (a, b) = error.split_at(cut);
        let fails = Does::Streams(vec![a.to_owned(), b.to_owned(), stream.clone()]);
        let speaks = Does::Streams(vec![stream.clone()]);
        let request = chat(json!({"stream": true}));
        let (call, sent) = routed(&mut lab, &request, &[("openai", fails), ("backup", speaks)]);
        assert_eq!(sent.len(), 2, "cut at {cut}");
        assert!(call.answer_text().contains("wat") && !call.answer_text().contains("overloaded"));
    }
    for cut in 0..=stream.len() {
        let mut lab = native(json!({}));
        let (a, b) = stream.split_at(cut);
        let speaks = Does::Streams(vec![a.to_owned(), b.to_owned()]);
        let (call, sent) = routed(&mut lab, &chat(json!({"stream": true})), &[("openai", speaks)]);
        assert_eq!(sent.len(), 1);
        assert_eq!(call.answer_text(), stream, "cut at {cut}");
    }
}

#[test]
fn what_was_lost_is_charged_or_not_and_each_provider_s_own_limit_bears_its_own() {
    let limits = json!([{"tokens": "10000/min"}]);
    let providers = json!({"openai": {"limits": limits}, "backup": {"limits": limits}});
    for (charge, more) in [("all", 1), ("final", 0)] {
        let mut lab = native(json!({"providers": providers, "failover": {"charge": charge}}));
        let (call, _) = routed(
            &mut lab,
            &chat(json!({})),
            &[("openai", Does::Falls(RESET)), ("backup", good())],
        );
        let record = call.record(&mut lab);
        let lost = record["estimate"].as_u64().unwrap();
        assert!(lost > 0 && record["attempts"][0]["tokens"].as_u64() == Some(lost));
        assert_eq!(lab.used("acme"), 50 + lost * more, "{charge}");
        let used = |name: &str| {
            let provider = lab
                .gateway
                .policy
                .providers
                .iter()
                .find(|p| p.name == name)
                .unwrap();
            let key = lab
                .gateway
                .ledger
                .key(&provider.limits[0], name.as_bytes(), &[name.as_bytes()]);
            let level = lab
                .gateway
                .ledger
                .level(&lab.store, &provider.limits[0], key, lab.now.monotonic);
            level.capacity - level.remaining
        };
        assert_eq!((used("openai"), used("backup")), (lost, 50), "{charge}");
    }
}

#[test]
fn every_attempt_tells_its_own_breaker_once() {
    let mut lab = native(json!({"failover": {"attempts": 2}}));
    let refused = || Does::Falls(REFUSED);
    for _ in 0..2 {
        let _ = routed(
            &mut lab,
            &chat(json!({})),
            &[("openai", refused()), ("backup", good())],
        );
        lab.properties.clear();
    }
    // The policy of these tests opens it after two failures in a row.
    let call = lab.send(&chat(json!({})));
    assert_eq!(
        call.header("x-spillway-cluster").as_deref(),
        Some("spillway+backup+anthropic")
    );
    assert_eq!(
        lab.metric("spillway.breaker.transition.provider=openai.state=open"),
        2,
        "once by each role here"
    );
    assert_eq!(lab.metric("spillway.upstream.connect_failure.provider=openai"), 2);
}

#[test]
fn when_nobody_answers_the_client_is_told_in_its_own_words_or_the_policy_s() {
    let falls = || {
        [
            ("openai", Does::Falls(RESET)),
            ("backup", Does::Falls(RESET)),
            ("anthropic", Does::Falls(RESET)),
        ]
    };
    let mut lab = native(json!({}));
    let (call, sent) = routed(&mut lab, &chat(json!({})), &falls());
    assert_eq!((sent.len(), call.refused()), (3, Some(503)));
    assert_eq!(call.reply_json()["error"]["code"], "no_answer");
    let record = call.record(&mut lab);
    assert_eq!(record["attempts"].as_array().unwrap().len(), 3);
    let mut lab = native(json!({"failover": {"exhausted": {"status": 200, "body": {"sorry": true}}}}));
    let (call, _) = routed(&mut lab, &chat(json!({})), &falls());
    assert_eq!(
        (call.refused(), call.reply_json()),
        (Some(200), json!({"sorry": true}))
    );
    assert_eq!(call.reply_header("x-spillway-exhausted").as_deref(), Some("true"));
}

#[test]
fn a_client_that_goes_between_attempts_pays_for_what_was_sent() {
    let mut lab = native(json!({}));
    let mut call = lab.send(&chat(json!({})));
    share(&mut lab);
    let _ = attempt(&mut lab, &mut call, 1, ("openai", &Does::Falls(RESET)));
    let properties = lab.properties.clone();
    let property = |path: &[&str]| properties.get(&path.join(".")).map(|value| value.clone().into());
    lab.turn(|turn| call.exchange.recall(turn, &property));
    let record = call.end(&mut lab, Ending::ClientAbort);
    assert_eq!(
        (record["end"].as_str(), tried(&record).len()),
        (Some("client_abort"), 1)
    );
    assert_eq!(
        lab.used("acme"),
        2 * record["estimate"].as_u64().unwrap(),
        "the lost attempt's and the next one's"
    );
}

#[test]
fn a_body_that_is_the_first_provider_s_already_is_not_waited_for() {
    let asks = json!({"stream": true, "stream_options": {"include_usage": true}});
    let other = json!({"models": {"gpt-4o": {"chain": ["openai/gpt-4o-mini", "backup/gpt-4o"]}}});
    for (changes, fields, waits) in [
        (json!({}), json!({}), false),
        (json!({}), json!({"stream": true}), true),
        (json!({}), asks, false),
        (other, json!({}), true),
    ] {
        let mut lab = native(changes);
        let call = lab.send(&chat(fields.clone()));
        share(&mut lab);
        assert_eq!(waits_for_the_body(&mut lab, &call, "openai"), waits, "{fields}");
    }
}

/// A client that goes after the first attempt was given up, when the router has begun so many.
fn gone(why: Does<'_>, begun: u64) -> (Lab, Value) {
    let mut lab = native(json!({}));
    let mut call = lab.send(&chat(json!({})));
    share(&mut lab);
    let _ = attempt(&mut lab, &mut call, 1, ("openai", &why));
    let count = String::from_utf8(begun.to_le_bytes().to_vec()).unwrap();
    lab.properties
        .insert("upstream.request_attempt_count".to_owned(), count);
    let properties = lab.properties.clone();
    let property = |path: &[&str]| properties.get(&path.join(".")).map(|value| value.clone().into());
    lab.turn(|turn| call.exchange.recall(turn, &property));
    let record = call.end(&mut lab, Ending::ClientAbort);
    (lab, record)
}

#[test]
fn a_client_that_goes_while_the_second_is_asked_pays_for_its_prompt_and_the_record_names_it() {
    let (lab, record) = gone(failing(503), 2);
    let estimate = record["estimate"].as_u64().unwrap();
    assert_eq!(lab.used("acme"), estimate, "an error costs nothing");
    let second = &record["attempts"][1];
    assert_eq!(
        (
            record["provider"].as_str(),
            second["provider"].as_str(),
            second["tokens"].as_u64()
        ),
        (Some("backup"), Some("backup"), Some(estimate))
    );
}

#[test]
fn a_client_that_goes_while_the_router_waits_pays_for_nothing_that_was_not_sent() {
    let (lab, record) = gone(failing(503), 1);
    assert_eq!(
        (lab.used("acme"), record["actual"]["input"].as_u64()),
        (0, Some(0))
    );
    assert_eq!(tried(&record).len(), 1);
}

#[test]
fn the_record_says_what_the_attempt_cost_that_answered() {
    let mut lab = native(json!({}));
    let usage = json!({"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12});
    let said = json!({"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "deep"}}], "usage": usage});
    let answer = Does::Says(200, &[], said.to_string());
    let (call, _) = routed(
        &mut lab,
        &chat(json!({})),
        &[("openai", failing(503)), ("backup", answer)],
    );
    let record = call.record(&mut lab);
    let tokens: Vec<_> = (0..2)
        .map(|at| record["attempts"][at]["tokens"].as_u64())
        .collect();
    assert_eq!(tokens, [Some(0), Some(12)]);
}

#[test]
fn an_answer_in_another_dialect_is_the_client_s_own() {
    let mut lab = native(json!({"models": {"gpt-4o": {"chain": ["openai/gpt-4o", "anthropic/claude"]}}}));
    let said = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
        "content": [{"type": "text", "text": "deep"}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 9, "output_tokens": 3}});
    let answer = Does::Says(200, &[("anthropic-organization-id", "ours")], said.to_string());
    let (call, sent) = routed(
        &mut lab,
        &chat(json!({})),
        &[("openai", failing(503)), ("anthropic", answer)],
    );
    assert_eq!(
        find(&sent[1].headers, ":path").as_deref(),
        Some("/proxied/v1/messages")
    );
    assert_eq!(
        find(&sent[1].headers, "anthropic-version").as_deref(),
        Some("2023-06-01")
    );
    let body: Value = serde_json::from_slice(&sent[1].body).unwrap();
    assert_eq!(
        (body["model"].as_str(), body["messages"][0]["role"].as_str()),
        (Some("claude"), Some("user"))
    );
    let got: Value = serde_json::from_str(&call.answer_text()).unwrap();
    assert_eq!(got["choices"][0]["message"]["content"], "deep");
    assert_eq!(
        (got["model"].as_str(), got["usage"]["total_tokens"].as_u64()),
        (Some("gpt-4o"), Some(12))
    );
    assert_eq!(call.answer_header("anthropic-organization-id"), None);
    assert_eq!(call.record(&mut lab)["actual"]["source"], "usage");
}

#[test]
fn nothing_a_provider_or_a_client_sends_traps_an_attempt() {
    for body in ["", "{", "[]", "null", "\u{0}", "{\"content\": 7}"] {
        for status in [200, 404, 599] {
            let mut lab = native(
                json!({"models": {"gpt-4o": {"chain": ["anthropic/claude"]}}, "failover": {"attempts": 1}}),
            );
            let does = Does::Says(
                status,
                &[("x-spillway-status", "200"), ("retry-after", "\u{1}")],
                body.to_owned(),
            );
            let (call, _) = routed(&mut lab, &chat(json!({})), &[("anthropic", does)]);
            let got = call.answer_header(":status").unwrap();
            assert!(
                got == "502" || got == status.to_string() || status != 200,
                "{got} for {status} {body:?}"
            );
        }
    }
}
