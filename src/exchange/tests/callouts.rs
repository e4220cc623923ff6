//! Failing over by callouts: what the client, the providers, the ledger and the breakers see of it.

use core::time::Duration;

use serde_json::{Value, json};

use super::{Call, DONE, Ending, Lab, Request, answered, chat, delta, message, usage};
use crate::exchange::CallAnswer;
use crate::failover::Load;
use crate::headers::Headers;

/// A policy that fails over by callouts, with more over it.
fn lab(changes: Value) -> Lab {
    let mut document = json!({
        "failover": {"via": "callout", "backoff": {"base": "1s", "max": "1s"}},
        "providers": {"backup": {"authority": "backup.test", "credential": {"env": "OPENAI_API_KEY"}}},
    });
    super::merge(&mut document, changes);
    Lab::new(document)
}

pub(super) fn came(status: u16, more: &[(&str, &str)], body: &str) -> CallAnswer {
    let status = status.to_string();
    let fields = [(":status", status.as_str())];
    CallAnswer {
        headers: fields.iter().chain(more).copied().collect(),
        body: body.into(),
        unsent: false,
    }
}

pub(super) fn json_answer(status: u16, body: &str) -> CallAnswer {
    came(status, &[("content-type", "application/json")], body)
}

pub(super) fn block(events: &[&str]) -> CallAnswer {
    came(200, &[("content-type", "text/event-stream")], &events.concat())
}

pub(super) fn reset() -> CallAnswer {
    CallAnswer {
        headers: Headers::default(),
        ..came(200, &[], "")
    }
}

/// Sends a request whose first attempt is answered with a status.
fn failed(lab: &mut Lab, request: &Request, status: u16) -> Call {
    let mut call = lab.send(request);
    call.respond(lab, status, &[("content-type", "application/json")], false);
    call
}

/// Where the exchange asks now.
pub(super) fn asks(call: &mut Call) -> Option<String> {
    call.call.take().map(|asked| asked.cluster)
}

fn good() -> CallAnswer {
    json_answer(200, &answered("hi", 10, 20))
}

#[test]
fn a_503_is_asked_again_at_the_next_and_the_client_gets_that_answer() {
    let mut lab = lab(json!({}));
    let request = chat(json!({}))
        .with("authorization", "Bearer unknown")
        .with("openai-beta", "b");
    let mut call = failed(&mut lab, &request.with("openai-organization", "o"), 503);
    let asked = call.call.take().unwrap();
    assert_eq!(asked.cluster, "backup");
    let expected = [
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":authority", "backup.test"),
        ("content-type", "application/json"),
        ("accept-encoding", "identity"),
        ("openai-beta", "b"),
        ("authorization", "Bearer sk-s3cr3t-openai"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(asked.headers, expected, "no caller, no account, one credential");
    call.called(&mut lab, good());
    assert_eq!(call.refused(), Some(200));
    assert_eq!(call.reply_json()["choices"][0]["message"]["content"], "hi");
    assert_eq!(
        call.reply_header("x-spillway-provider").as_deref(),
        Some("backup")
    );
    assert!(call.reply_header("x-ratelimit-remaining-tokens").is_some());
    assert_eq!(lab.used("acme"), 30);
    assert_eq!(lab.metric("spillway.fallback.provider=openai.reason=status"), 1);
    assert_eq!(lab.metric("spillway.failover.callout.provider=backup"), 1);
    let record = call.record(&mut lab);
    assert_eq!(record["attempts"][0]["status"], 503);
    assert_eq!(record["attempts"][1]["provider"], "backup");
    assert_eq!(record["attempts"][1]["tokens"], 30);
    assert_eq!(
        (&record["status"], &record["end"]),
        (&json!(200), &json!("complete"))
    );
}

#[test]
fn what_is_no_status_never_becomes_the_clients() {
    for word in ["01", "99", "+20", "2000", "ok", ""] {
        let mut lab = lab(json!({}));
        let mut call = failed(&mut lab, &chat(json!({})), 503);
        call.called(
            &mut lab,
            CallAnswer {
                headers: [(":status", word)].into_iter().collect(),
                ..good()
            },
        );
        assert_eq!(call.refused(), Some(502), "{word:?}");
        assert_eq!(call.record(&mut lab)["attempts"][1]["status"], 502, "{word:?}");
    }
}

#[test]
fn each_attempt_feeds_its_own_providers_breaker() {
    let mut lab = lab(json!({"providers": {"backup": {"breaker": {"consecutive": 2}}}}));
    for _ in 0..2 {
        let mut call = failed(&mut lab, &chat(json!({})), 500);
        call.called(&mut lab, json_answer(500, "{}"));
        assert_eq!(call.refused(), Some(500));
    }
    for provider in ["openai", "backup"] {
        let opened = format!("spillway.breaker.transition.provider={provider}.state=open");
        assert_eq!(lab.metric(&opened), 1, "{provider}");
    }
    assert_eq!(lab.send(&chat(json!({}))).refused(), Some(503));
}

#[test]
fn what_the_policy_does_not_list_is_the_clients() {
    for status in [400, 401, 404, 422, 501] {
        let mut lab = lab(json!({}));
        let mut call = failed(&mut lab, &chat(json!({})), status);
        assert_eq!((asks(&mut call), call.refused()), (None, None), "{status}");
        assert_eq!(call.answer_header(":status"), Some(status.to_string()));
    }
}

#[test]
fn a_stream_that_begins_with_an_error_is_never_seen_and_the_next_comes_as_one_block() {
    let mut lab = lab(json!({}));
    let mut call = lab.send(&chat(json!({"stream": true})));
    call.stream(&mut lab, &["data: {\"error\":{\"message\":\"overloaded\"}}\n\n"]);
    assert_eq!(call.answer_text(), "");
    assert_eq!(asks(&mut call).as_deref(), Some("backup"));
    let events = [&delta("hi", None), &delta("", Some("stop")), &usage(3, 1), DONE];
    call.called(&mut lab, block(&events));
    let body = String::from_utf8(call.reply.clone().unwrap().body).unwrap();
    assert_eq!(
        body,
        [&delta("hi", None), &delta("", Some("stop")), DONE].concat()
    );
    assert_eq!(
        call.reply_header("content-type").as_deref(),
        Some("text/event-stream")
    );
    let used = lab.used("acme");
    let record = call.record(&mut lab);
    let first = record["attempts"][0]["tokens"].as_u64().unwrap();
    assert!(first > 0, "the prompt may have been read");
    assert_eq!((used, &record["actual"]["output"]), (4 + first, &json!(1)));
}

#[test]
fn only_what_is_charged_for_all_attempts_differs_by_the_policy() {
    let mut lab = lab(json!({"failover": {"charge": "final"}}));
    let mut call = lab.send(&chat(json!({"stream": true})));
    call.stream(&mut lab, &["data: {\"error\":{\"message\":\"overloaded\"}}\n\n"]);
    call.called(&mut lab, block(&[&delta("hi", Some("stop")), &usage(3, 1), DONE]));
    assert_eq!(lab.used("acme"), 4);
}

#[test]
fn a_good_stream_goes_on_from_its_first_token_as_it_came() {
    let mut lab = lab(json!({}));
    let mut call = lab.send(&chat(json!({"stream": true})));
    let role = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    call.stream(&mut lab, &[role]);
    assert_eq!(call.answer_text(), "", "held until something is said");
    call.chunk(&mut lab, &delta("hi", None), false);
    assert_eq!(call.answer_text(), [role, &delta("hi", None)].concat());
    call.chunk(&mut lab, &delta(" there", None), false);
    assert!(
        call.answer_text().ends_with(&delta(" there", None)),
        "no further buffering"
    );
    call.chunk(&mut lab, "data: {\"error\":{\"message\":\"late\"}}\n\n", false);
    assert!(call.call.is_none(), "never after the first byte");
    let record = call.end(&mut lab, Ending::UpstreamReset);
    assert_eq!(record.get("attempts"), None);
}

#[test]
fn a_stream_cut_anywhere_is_held_and_passed_on_the_same() {
    let text = [
        &delta("hi", None),
        &delta(" there", Some("stop")),
        &usage(3, 2),
        DONE,
    ]
    .concat();
    for at in 0..text.len() {
        let mut lab = lab(json!({}));
        let mut call = lab.send(&chat(json!({"stream": true})));
        let (one, other) = text.split_at(at);
        call.stream(&mut lab, &[one, other]);
        call.chunk(&mut lab, "", true);
        let expected = text.replace(&usage(3, 2), "");
        assert_eq!(call.answer_text(), expected, "{at}");
        assert_eq!(lab.used("acme"), 5);
    }
}

#[test]
fn a_stream_that_ends_without_a_word_moves_on() {
    let mut lab = lab(json!({}));
    let mut call = lab.send(&chat(json!({"stream": true})));
    call.stream(&mut lab, &[": ping\n\n"]);
    call.chunk(&mut lab, "", true);
    assert_eq!(asks(&mut call).as_deref(), Some("backup"));
    assert_eq!(lab.metric("spillway.fallback.provider=openai.reason=reset"), 1);
}

#[test]
fn more_than_a_little_is_not_held_of_a_stream_that_says_nothing() {
    let mut lab = lab(json!({}));
    let mut call = lab.send(&chat(json!({"stream": true})));
    let ping = format!(": {}\n\n", "p".repeat(40_000));
    call.stream(&mut lab, &[&ping]);
    assert_eq!(call.answer_text(), "");
    call.chunk(&mut lab, &ping, false);
    assert_eq!(call.answer_text().len(), 2 * ping.len());
    call.chunk(&mut lab, "data: {\"error\":{\"message\":\"late\"}}\n\n", false);
    assert_eq!(asks(&mut call), None);
}

#[test]
fn no_first_token_in_time_moves_on_whether_headers_came_or_not() {
    for headers in [false, true] {
        let mut lab = lab(json!({}));
        let mut call = lab.send(&chat(json!({"stream": true})));
        if headers {
            call.stream(&mut lab, &[]);
        }
        let due = call.exchange.due().unwrap();
        call.wake(&mut lab);
        assert_eq!(asks(&mut call), None, "it isn't time");
        lab.later(due.since(lab.now.monotonic));
        call.wake(&mut lab);
        assert_eq!(asks(&mut call).as_deref(), Some("backup"));
        call.called(&mut lab, block(&[&delta("hi", Some("stop")), &usage(3, 1), DONE]));
        assert_eq!(call.refused(), Some(200));
        let record = call.record(&mut lab);
        assert_eq!(record["attempts"][0]["gave_up"], "timeout");
    }
}

#[test]
fn a_late_answer_of_one_that_was_given_up_is_nobodys() {
    let mut lab = lab(json!({}));
    let mut call = lab.send(&chat(json!({})));
    lab.later(Duration::from_secs(3_600));
    call.wake(&mut lab);
    assert_eq!(asks(&mut call).as_deref(), Some("backup"));
    call.answer(&mut lab, 200, &answered("late", 1, 1));
    assert_eq!((call.answer_text().as_str(), call.refused()), ("", None));
    call.called(&mut lab, good());
    assert_eq!(call.reply_json()["choices"][0]["message"]["content"], "hi");
}

#[test]
fn without_another_candidate_a_slow_one_is_waited_for() {
    let mut lab = lab(json!({"failover": {"attempts": 1}}));
    let mut call = lab.send(&chat(json!({})));
    assert_eq!(call.exchange.due(), None);
    call.answer(&mut lab, 200, &answered("late", 1, 1));
    assert_ne!(call.answer_text(), "");
}

#[test]
fn a_client_that_hangs_up_leaves_nothing_behind() {
    let mut lab = lab(json!({"providers": {"backup": {"limits": [{"tokens": "1000/min"}]}}}));
    let mut call = failed(&mut lab, &chat(json!({})), 500);
    assert!(asks(&mut call).is_some());
    assert!(call.exchange.weight().kept > 0);
    let record = call.end(&mut lab, Ending::ClientAbort);
    let prompt = record["estimate"].as_u64().unwrap();
    assert_eq!(
        (&record["end"], lab.used("acme")),
        (&json!("client_abort"), prompt),
        "the prompt may have been read"
    );
    assert_eq!(lab.granted("backup"), prompt);
    let mini = chat(json!({"model": "gpt-4o-mini"}));
    let call = failed(&mut lab, &mini, 500);
    assert!(call.exchange.due().is_some(), "it waits");
    let record = call.end(&mut lab, Ending::ClientAbort);
    assert_eq!(record["attempts"][0]["status"], 500);
    assert_eq!(lab.used("acme"), prompt, "nothing more");
}

#[test]
fn the_only_candidate_is_asked_again_after_its_wait() {
    let mut lab = lab(json!({}));
    let mini = chat(json!({"model": "gpt-4o-mini"}));
    let mut call = failed(&mut lab, &mini, 503);
    let wait = call.exchange.due().unwrap().since(lab.now.monotonic);
    assert!(wait <= Duration::from_secs(1));
    assert!(call.exchange.weight().repeats);
    lab.later(wait);
    call.wake(&mut lab);
    assert_eq!(asks(&mut call).as_deref(), Some("openai"));
    call.called(&mut lab, good());
    assert_eq!(call.refused(), Some(200));
    assert_eq!(
        lab.metric("spillway.fallback.tokens.provider=openai"),
        0,
        "no fallback"
    );
}

#[test]
fn a_429_of_the_only_candidate_is_waited_for_only_if_it_asks_for_little() {
    for (asked, waits) in [("1", true), ("5", true), ("6", false), ("", false)] {
        let mut lab = lab(json!({}));
        let mut call = lab.send(&chat(json!({"model": "gpt-4o-mini"})));
        call.respond(&mut lab, 429, &[("retry-after", asked)], false);
        assert_eq!(call.exchange.due().is_some(), waits, "{asked}");
        if waits {
            lab.later(Duration::from_secs(asked.parse().unwrap()));
            call.wake(&mut lab);
            assert_eq!(
                asks(&mut call).as_deref(),
                Some("openai"),
                "its breaker lets it go again"
            );
        }
    }
}

#[test]
fn repeats_end_with_the_budget_but_moves_do_not() {
    let mut lab = lab(json!({"providers": {"openai": {"breaker": {"force": "closed"}}}}));
    lab.load = Load {
        worker: 1,
        active: 10,
        repeating: 3,
        kept: 0,
    };
    let call = failed(&mut lab, &chat(json!({"model": "gpt-4o-mini"})), 503);
    assert_eq!(call.exchange.due(), None);
    assert_eq!(call.answer_header(":status").as_deref(), Some("503"));
    assert_eq!(lab.metric("spillway.failover.unmoved.reason=budget"), 1);
    let mut call = failed(&mut lab, &chat(json!({})), 503);
    assert_eq!(asks(&mut call).as_deref(), Some("backup"));
    lab.load.active = 100;
    let call = failed(&mut lab, &chat(json!({"model": "gpt-4o-mini"})), 503);
    assert!(call.exchange.due().is_some());
}

#[test]
fn another_model_of_the_same_provider_counts_as_a_repeat_without_a_wait() {
    let models = json!({"gpt-4o": {"chain": ["openai/gpt-4o", "openai/gpt-4o-mini", "backup/gpt-4o"]}});
    for (repeating, next) in [(0, "openai"), (3, "backup")] {
        let mut lab = lab(json!({"models": models}));
        lab.load.repeating = repeating;
        let mut call = failed(&mut lab, &chat(json!({})), 503);
        let asked = call.call.take().unwrap();
        assert_eq!(asked.cluster, next);
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!(body["model"] == "gpt-4o-mini", next == "openai");
        assert_eq!(call.exchange.weight().repeats, next == "openai");
    }
}

#[test]
fn attempts_are_capped() {
    let mut lab = lab(json!({"failover": {"attempts": 3},
        "providers": {"openai": {"breaker": {"force": "closed"}}}}));
    let mut call = failed(&mut lab, &chat(json!({"model": "gpt-4o-mini"})), 503);
    for _ in 0..2 {
        assert_eq!(call.refused(), None);
        lab.later(Duration::from_secs(1));
        call.wake(&mut lab);
        assert!(asks(&mut call).is_some());
        call.called(&mut lab, json_answer(503, "{\"error\":{}}"));
    }
    assert_eq!(call.refused(), Some(503));
    assert_eq!(lab.metric("spillway.failover.unmoved.reason=attempts"), 1);
    let record = call.record(&mut lab);
    assert_eq!(record["attempts"].as_array().unwrap().len(), 3);
}

#[test]
fn a_breaker_that_opened_meanwhile_ends_the_wait_with_the_last_answer() {
    let mut lab = lab(json!({"providers": {"openai": {"breaker": {"consecutive": 1}}}}));
    let mut call = failed(&mut lab, &chat(json!({"model": "gpt-4o-mini"})), 503);
    call.chunk(&mut lab, "{\"error\":{\"message\":\"its own\"}}", true);
    lab.later(Duration::from_secs(1));
    call.wake(&mut lab);
    assert_eq!(call.refused(), Some(503));
    assert_eq!(call.reply_json()["error"]["message"], "its own");
    assert_eq!(lab.used("acme"), 0);
}

#[test]
fn nothing_is_sent_again_that_lives_at_one_provider_or_is_no_generation() {
    let mut lab = lab(json!({"models": {"gpt-4o": {"chain": ["openai/gpt-4o", "backup/gpt-4o"]}}}));
    let pinned = json!({"model": "gpt-4o", "input": "hi", "previous_response_id": "r"}).to_string();
    let embeddings = json!({"model": "gpt-4o", "input": "hi"}).to_string();
    for (path, body) in [("/v1/responses", pinned), ("/v1/embeddings", embeddings)] {
        let mut call = failed(&mut lab, &Request::post(path, body), 500);
        assert_eq!((asks(&mut call), call.refused()), (None, None), "{path}");
    }
    assert_eq!(lab.metric("spillway.failover.unmoved.reason=pinned"), 1);
}

#[test]
fn what_would_fill_the_vm_is_not_kept() {
    let mut lab = lab(json!({}));
    lab.load.kept = 64 << 20;
    let mut call = failed(&mut lab, &chat(json!({})), 500);
    assert_eq!(asks(&mut call), None);
    assert_eq!(lab.metric("spillway.failover.unmoved.reason=too_large"), 1);
}

#[test]
fn a_candidate_without_room_is_passed_over() {
    let mut lab = lab(json!({"providers": {"backup": {"limits": [{"requests": "1/hour"}]}}}));
    let mut call = failed(&mut lab, &chat(json!({})), 500);
    call.called(&mut lab, good());
    let mut call = failed(&mut lab, &chat(json!({})), 500);
    assert_eq!(asks(&mut call), None);
    assert!(
        call.exchange.due().is_some(),
        "the only one that may be asked, again"
    );
    assert_eq!(lab.metric("spillway.fallback.provider=backup.reason=limit"), 1);
}

#[test]
fn providers_limits_are_settled_by_what_each_was_sent() {
    let limits = json!([{"tokens": "1000/min"}, {"requests": "100/min"}]);
    let mut lab =
        lab(json!({"providers": {"openai": {"limits": limits.clone()}, "backup": {"limits": limits}}}));
    let mut call = failed(&mut lab, &chat(json!({})), 500);
    call.called(&mut lab, good());
    assert_eq!((lab.granted("openai"), lab.granted("backup")), (0, 30));
    assert_eq!(lab.used("acme"), 30);
}

#[test]
fn an_answer_to_a_call_that_says_no_usage_is_charged_as_reserved() {
    let mut lab = lab(json!({}));
    let mut call = failed(&mut lab, &chat(json!({"max_tokens": 300})), 500);
    let silent = answered("hi", 1, 1).replace("\"usage\"", "\"unsaid\"");
    call.called(&mut lab, json_answer(200, &silent));
    let record = call.record(&mut lab);
    assert_eq!(record["actual"]["source"], "reserved");
    assert_eq!(record["actual"]["output"], 300);
    assert!(lab.used("acme") >= 300);
}

#[test]
fn when_nobody_answers_the_error_is_clear_and_when_the_policy_has_one_it_is_that() {
    for (answer, details) in [
        (reset(), "reset"),
        (CallAnswer::unsent(), "connect"),
        (
            came(
                503,
                &[],
                "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, transport failure reason: delayed connect error: Connection refused",
            ),
            "connect",
        ),
        (came(504, &[], "upstream request timeout"), "timeout"),
        (came(503, &[], "no healthy upstream"), "connect"),
    ] {
        let mut lab = lab(json!({"failover": {"attempts": 2}}));
        let mut call = failed(&mut lab, &chat(json!({})), 500);
        call.called(&mut lab, answer);
        assert_eq!(call.refused(), Some(503), "{details}");
        assert_eq!(call.reply_json()["error"]["code"], "providers_failed");
        assert!(call.reply_header("retry-after").is_some());
        let record = call.record(&mut lab);
        assert_eq!(record["attempts"][1]["gave_up"], details);
        let cost = record["attempts"][1]["tokens"].as_u64();
        assert_eq!(cost, Some(lab.used("acme")), "{details}");
        assert_eq!(
            cost > Some(0),
            details != "connect",
            "{details}: what any other attempt costs"
        );
    }
    let exhausted = json!({"status": 202, "body": {"later": true}});
    let mut lab = lab(json!({"failover": {"exhausted": exhausted}}));
    let mut call = failed(&mut lab, &chat(json!({})), 500);
    call.called(&mut lab, reset());
    assert_eq!(
        (call.refused(), call.reply_json()),
        (Some(202), json!({"later": true}))
    );
    assert_eq!(call.reply_header("x-spillway-exhausted").as_deref(), Some("true"));
    let alone = chat(json!({"model": "gpt-4o-mini"}));
    let mut call = lab.send(&alone);
    call.respond(&mut lab, 429, &[("retry-after", "60")], false);
    assert_eq!(
        call.refused(),
        Some(202),
        "the first answer too, where nobody else is"
    );
}

#[test]
fn the_last_providers_own_answer_comes_through_with_its_retry_after() {
    let mut lab = lab(json!({}));
    let mut call = failed(&mut lab, &chat(json!({})), 500);
    let fields = [
        ("content-type", "application/json"),
        ("retry-after", "9"),
        ("x-ratelimit-remaining-requests", "0"),
        ("set-cookie", "private"),
    ];
    call.called(&mut lab, came(529, &fields, "{\"error\":{\"message\":\"own\"}}"));
    assert_eq!(call.refused(), Some(529));
    assert_eq!(call.reply_json()["error"]["message"], "own");
    assert_eq!(call.reply_header("retry-after").as_deref(), Some("9"));
    assert_eq!(call.reply_header("set-cookie"), None);
    assert_ne!(
        call.reply_header("x-ratelimit-remaining-requests").as_deref(),
        Some("0")
    );
}

#[test]
fn the_clients_deadline_bounds_calls_and_ends_waits() {
    let deadline = json!({"failover": {"deadline_header": "x-deadline-ms"}});
    let mut lab = lab(deadline);
    let request = chat(json!({})).with("x-deadline-ms", "700");
    let mut call = lab.send(&request);
    assert_eq!(
        call.header("x-envoy-upstream-rq-timeout-ms").as_deref(),
        Some("700")
    );
    lab.later(Duration::from_millis(200));
    call.respond(&mut lab, 500, &[], false);
    let timeout = call.call.take().unwrap().timeout;
    assert_eq!(timeout, Duration::from_millis(500));
    let mut call = lab.send(&chat(json!({"model": "gpt-4o-mini"})).with("x-deadline-ms", "0"));
    call.respond(&mut lab, 500, &[], false);
    assert_eq!(call.exchange.due(), None);
    assert_eq!(lab.metric("spillway.failover.unmoved.reason=deadline"), 1);
}

#[test]
fn the_rule_for_answers_holds_for_what_goes_out() {
    let rule = json!({"name": "s", "schema": {"type": "object"}, "on_invalid": ["reject"]});
    for pauses in [true, false] {
        let host = json!({"body_pause": pauses, "model_header": if pauses { Value::Null } else { json!("x-model") }});
        let mut lab = lab(json!({"validate": [rule.clone()], "host": host}));
        let mut call = failed(&mut lab, &chat(json!({})).with("x-model", "gpt-4o"), 500);
        call.called(&mut lab, json_answer(200, &answered("no json", 1, 1)));
        assert_eq!(call.refused(), Some(502), "{pauses}");
        assert_eq!(call.reply_json()["error"]["code"], "invalid_answer");
    }
}

#[test]
fn a_shadow_policy_never_sends_again() {
    let mut lab = lab(json!({"mode": "shadow"}));
    let mut call = failed(&mut lab, &chat(json!({})), 500);
    assert_eq!((asks(&mut call), call.exchange.due()), (None, None));
}

#[test]
fn another_dialect_answers_in_the_clients() {
    let chain = json!({"models": {"gpt-4o": {"chain": ["openai/gpt-4o", "anthropic/claude"]},
        "claude": {"chain": ["anthropic/claude", "openai/gpt-4o"]}}});
    let mut lab = lab(chain);
    let mut call = failed(&mut lab, &chat(json!({})), 500);
    let asked = call.call.take().unwrap();
    assert_eq!(asked.cluster, "anthropic");
    assert!(
        asked
            .headers
            .contains(&(":path".into(), "/proxied/v1/messages".into()))
    );
    assert!(
        asked
            .headers
            .contains(&("anthropic-version".into(), "2023-06-01".into()))
    );
    let body: Value = serde_json::from_slice(&asked.body).unwrap();
    assert_eq!(body["model"], "claude");
    let reply = json!({"type": "message", "id": "m", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "hi"}], "usage": {"input_tokens": 7, "output_tokens": 2}});
    call.called(&mut lab, json_answer(200, &reply.to_string()));
    assert_eq!(call.reply_json()["choices"][0]["message"]["content"], "hi");
    assert_eq!(lab.used("acme"), 9);
    let mut call = failed(&mut lab, &message(json!({})), 529);
    assert_eq!(asks(&mut call).as_deref(), Some("openai"));
    call.called(&mut lab, good());
    assert_eq!(call.reply_json()["content"][0]["text"], "hi");
}

#[test]
fn another_dialect_that_is_chosen_at_once_is_asked_by_a_call_from_the_beginning() {
    let mut lab = lab(json!({"models": {"gpt-4o": {"chain": ["anthropic/claude"]}}}));
    let mut call = lab.send(&chat(json!({"stream": true})));
    assert_eq!(asks(&mut call).as_deref(), Some("anthropic"));
    assert!(call.body.is_empty(), "nothing goes by the router");
    call.called(
        &mut lab,
        json_answer(
            529,
            "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}",
        ),
    );
    assert!(call.exchange.due().is_some(), "and again, as it is the only one");
    lab.later(Duration::from_secs(1));
    call.wake(&mut lab);
    assert_eq!(asks(&mut call).as_deref(), Some("anthropic"));
    call.called(
        &mut lab,
        json_answer(
            400,
            "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"m\"}}",
        ),
    );
    assert_eq!(call.refused(), Some(400));
    assert_eq!(call.reply_json()["error"]["message"], "m");
}
