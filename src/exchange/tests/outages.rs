//! Failing over where more than one thing goes wrong, or something that seldom does.

use core::time::Duration;

use serde_json::{Value, json};

use super::callouts::json_answer;
use super::router::{Does, RESET, attempt, failing, good, native, routed, set, share, tried};
use super::{Ending, Lab, answered, chat, delta, find};

#[test]
fn a_header_that_names_the_caller_never_reaches_a_provider_though_it_looks_like_its_protocols() {
    for header in ["openai-project", "openai-beta"] {
        let mut lab =
            native(json!({"attributes": {"team": {"header": header, "trusted": true, "missing": "none"}}}));
        let request = chat(json!({})).with(header, "secret-team");
        let (_, sent) = routed(
            &mut lab,
            &request,
            &[("openai", failing(503)), ("backup", good())],
        );
        for (at, one) in sent.iter().enumerate() {
            assert_eq!(find(&one.headers, header), None, "{header} at attempt {}", at + 1);
        }
    }
}

fn per_provider(lab: &Lab, at: usize, provider: &str) -> u64 {
    let limit = &lab.gateway.policy.limits[at];
    let id = b"header:acme";
    let key = lab.gateway.ledger.key(limit, id, &[id, provider.as_bytes()]);
    let level = lab
        .gateway
        .ledger
        .level(&lab.store, limit, key, lab.now.monotonic);
    level.capacity - level.remaining
}

/// Tokens and requests, of the first provider and of the second.
fn at_each(lab: &Lab) -> [(u64, u64); 2] {
    ["openai", "backup"].map(|name| (per_provider(lab, 0, name), per_provider(lab, 1, name)))
}

fn each_provider_by_itself() -> Value {
    json!([
        {"name": "each", "per": ["caller", "provider"], "tokens": "10000/min"},
        {"name": "each-requests", "per": ["caller", "provider"], "requests": "100/min"},
        {"name": "tokens", "per": ["caller"], "tokens": "10000/min"}])
}

#[test]
fn a_callers_limit_per_provider_bears_what_that_provider_was_sent() {
    for via in ["native", "callout"] {
        let changes = json!({"limits": each_provider_by_itself(), "failover": {"via": via, "backoff": {"base": "1ms"}}});
        let mut lab = if via == "native" {
            native(changes)
        } else {
            Lab::new(changes)
        };
        let call = if via == "native" {
            let does = [("openai", failing(503)), ("backup", good())];
            routed(&mut lab, &chat(json!({})), &does).0
        } else {
            let mut call = lab.send(&chat(json!({})));
            call.answer(&mut lab, 503, "{}");
            assert!(call.call.is_some());
            assert_eq!(
                per_provider(&lab, 0, "openai"),
                0,
                "given back before the next is asked"
            );
            assert!(
                per_provider(&lab, 0, "backup") > 0,
                "set aside before it is asked"
            );
            call.called(&mut lab, json_answer(200, &answered("fine", 30, 20)));
            call
        };
        drop(call.record(&mut lab));
        assert_eq!(at_each(&lab), [(0, 1), (50, 1)], "{via}");
        let (limit, id) = (&lab.gateway.policy.limits[2], b"header:acme");
        let key = lab.gateway.ledger.key(limit, id, &[id]);
        let level = lab
            .gateway
            .ledger
            .level(&lab.store, limit, key, lab.now.monotonic);
        assert_eq!(level.capacity - level.remaining, 50, "{via}");
    }
}

#[test]
fn a_callers_limit_per_provider_bears_every_answer_that_was_asked_for_there() {
    for via in ["native", "callout"] {
        let changes = json!({
            "limits": each_provider_by_itself(),
            "validate": [{"name": "order", "schema": {"type": "object"}, "on_invalid": ["fallback", "reject"]}],
            "failover": {"via": via}});
        let (mut lab, mut call) = if via == "native" {
            let mut lab = native(changes);
            let does = [("openai", Does::Says(200, &[], answered("no", 10, 20)))];
            let (call, _) = routed(&mut lab, &chat(json!({})), &does);
            (lab, call)
        } else {
            let mut lab = Lab::new(changes);
            let mut call = lab.send(&chat(json!({})));
            call.answer(&mut lab, 200, &answered("no", 10, 20));
            (lab, call)
        };
        assert!(call.call.take().is_some(), "{via}");
        call.called(&mut lab, json_answer(200, &answered("{}", 3, 4)));
        drop(call.record(&mut lab));
        assert_eq!(at_each(&lab), [(30, 1), (7, 1)], "{via}");
    }
}

#[test]
fn a_callers_limit_per_provider_bears_what_was_read_there_when_the_client_goes() {
    for via in ["native", "callout"] {
        let changes = json!({"limits": each_provider_by_itself(), "failover": {"via": via}});
        let (mut lab, call) = if via == "native" {
            let mut lab = native(changes);
            let mut call = lab.send(&chat(json!({})));
            share(&mut lab);
            attempt(&mut lab, &mut call, 1, ("openai", &failing(503)));
            let begun = String::from_utf8(2_u64.to_le_bytes().to_vec()).unwrap();
            set(&mut lab, &[("upstream.request_attempt_count", &begun)]);
            let properties = lab.properties.clone();
            let property = |path: &[&str]| properties.get(&path.join(".")).map(|value| value.clone().into());
            lab.turn(|turn| call.exchange.recall(turn, &property));
            (lab, call)
        } else {
            let mut lab = Lab::new(changes);
            let mut call = lab.send(&chat(json!({})));
            call.answer(&mut lab, 503, "{}");
            (lab, call)
        };
        let record = call.end(&mut lab, Ending::ClientAbort);
        let prompt = record["estimate"].as_u64().unwrap();
        assert_eq!(at_each(&lab)[0], (0, 1), "{via}");
        assert_eq!(at_each(&lab)[1].0, prompt, "{via}: {record}");
    }
}

#[test]
fn the_router_isnt_sent_on_to_whom_nothing_may_be_sent_any_more() {
    let own = json!({"providers": {"backup": {"limits": [{"requests": "1/min"}]}}});
    let callers = json!({"limits": [{"name": "each", "per": ["caller", "provider"], "requests": "1/min"}]});
    for limits in [own, callers] {
        let mut changes = json!({"models": {"b": {"chain": ["backup/gpt-4o"]}}});
        super::merge(&mut changes, limits);
        let mut lab = native(changes.clone());
        let (call, _) = routed(&mut lab, &chat(json!({"model": "b"})), &[("backup", good())]);
        drop(call.record(&mut lab));
        let next = lab.send(&chat(json!({})));
        assert_eq!(
            next.header("x-spillway-cluster").as_deref(),
            Some("spillway+openai+anthropic"),
            "{changes}"
        );
    }
}

#[test]
fn an_attempt_whose_retry_the_router_refused_costs_once() {
    let limits = json!({"openai": {"limits": [{"requests": "100/min"}]}});
    let mut lab = native(json!({"providers": limits}));
    let mut call = lab.send(&chat(json!({"stream": true})));
    share(&mut lab);
    let error = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n".to_owned();
    let sent = attempt(
        &mut lab,
        &mut call,
        1,
        ("openai", &Does::Streams(vec![error.clone()])),
    );
    assert_eq!(find(&sent.answer.unwrap().0, ":status").as_deref(), Some("598"));
    set(&mut lab, &[("response.code_details", "via_upstream")]);
    let fields = [
        ("x-spillway-status", "200"),
        ("content-type", "text/event-stream"),
    ];
    call.respond(&mut lab, 598, &fields, false);
    call.chunk(&mut lab, &error, true);
    let record = call.record(&mut lab);
    let prompt = record["estimate"].as_u64().unwrap();
    assert_eq!(lab.used("acme"), prompt, "{record}");
    assert_eq!(lab.granted("openai"), 1, "one request");
}

#[test]
fn a_provider_that_nobody_can_connect_to_is_blamed_when_the_host_gives_no_reason() {
    let mut lab = native(json!({"providers": {"openai": {"breaker": {"consecutive": 1}}}}));
    let mut call = lab.send(&chat(json!({})));
    share(&mut lab);
    // What Envoy's connect_timeout leaves: no address, no reason, and all the time that it took.
    let metadata = "xds.upstream_host_metadata.filter_metadata.spillway.provider";
    set(&mut lab, &[(metadata, "openai")]);
    let read: crate::headers::Headers = call.headers.iter().cloned().collect();
    let properties = lab.properties.clone();
    let property = |path: &[&str]| properties.get(&path.join(".")).map(|value| value.clone().into());
    let head = super::RequestHead {
        headers: &read,
        end: false,
        property: &property,
    };
    let mut one = crate::exchange::attempt::Attempt::Start;
    let _ = super::router::turned(&mut lab, &mut one, |one, turn| one.request_headers(turn, &head));
    lab.later(Duration::from_secs(5));
    lab.turn(|turn| one.end(turn, &property));
    share(&mut lab);
    let next = lab.send(&chat(json!({})));
    assert_eq!(
        next.header("x-spillway-cluster").as_deref(),
        Some("spillway+backup+anthropic")
    );
    drop(call.buffered.drain(..));
}

#[test]
fn a_providers_own_598_doesnt_pass_for_ours() {
    let mut lab = native(json!({}));
    let (call, sent) = routed(
        &mut lab,
        &chat(json!({})),
        &[("openai", failing(598)), ("backup", good())],
    );
    let provider = call.answer_header("x-spillway-provider");
    let answered = if sent.len() == 2 { "backup" } else { "openai" };
    assert_eq!(provider.as_deref(), Some(answered));
    let record = call.record(&mut lab);
    assert_eq!(record["provider"], answered, "{record}");
    assert_eq!(tried(&record).len(), sent.len());
}

#[test]
fn a_wait_for_room_that_others_take_ends() {
    let mut lab = Lab::new(json!({
        "failover": {"via": "callout", "attempts": 3, "retry_after_max": "5s"},
        "models": {"gpt-4o": {"chain": ["openai/gpt-4o"]}},
        "providers": {"openai": {"breaker": {"consecutive": 50}, "limits": [{"requests": "60/min", "burst": 1}]}}}));
    let mut call = lab.send(&chat(json!({})));
    call.answer(&mut lab, 503, "{}");
    let mut waits = 0;
    while call.exchange.due().is_some() && waits < 1_000 {
        // Somebody else is always first.
        lab.later(Duration::from_millis(1_000));
        let mut other = lab.send(&chat(json!({})).with("x-other", "1"));
        if other.reply.is_none() {
            other.answer(&mut lab, 200, &answered("x", 1, 1));
        }
        call.wake(&mut lab);
        waits += 1;
    }
    assert!(
        waits < 60,
        "it would still wait after {waits} s: {:?}",
        call.exchange.due()
    );
}

#[test]
fn a_stream_cut_off_for_its_time_that_ends_in_trailers_is_no_fault_of_a_reset() {
    let mut lab = native(json!({"failover": {"attempts": 2, "timeouts": {
        "first_token": {"base": "1s", "per_1k_prompt": "0s"},
        "whole": {"base": "4s", "per_1k_prompt": "0s", "per_1k_output": "0s"}}}}));
    let mut call = lab.send(&chat(json!({"stream": true})));
    share(&mut lab);
    attempt(
        &mut lab,
        &mut call,
        1,
        ("openai", &Does::Streams(vec![delta("one ", None)])),
    );
    call.stream(&mut lab, &[&delta("one ", None)]);
    lab.later(Duration::from_secs(60));
    call.chunk(&mut lab, &delta("late", None), false);
    assert!(call.answer_text().contains("longer than it may"));
    call.trailers(&mut lab);
    assert_eq!(call.record(&mut lab)["end"], "timeout");
}

#[test]
fn a_held_stream_whose_time_is_up_is_judged_unchecked_and_nothing_of_it_comes_back() {
    let schema = json!({"type": "object", "required": ["id"]});
    for ladder in [
        json!(["reject"]),
        json!(["repair", "reject"]),
        json!([{"default": {"id": 0}}]),
        json!([{"retry": 1}]),
    ] {
        let mut lab = native(json!({
            "validate": [{"name": "order", "schema": schema, "on_invalid": ladder}],
            "failover": {"attempts": 2, "timeouts": {
            "first_token": {"base": "1s", "per_1k_prompt": "0s"},
            "whole": {"base": "4s", "per_1k_prompt": "0s", "per_1k_output": "0s"}}}}));
        let mut call = lab.send(&chat(json!({"stream": true})));
        share(&mut lab);
        attempt(
            &mut lab,
            &mut call,
            1,
            ("openai", &Does::Streams(vec![delta("{\"id\":", None)])),
        );
        call.stream(&mut lab, &[&delta("{\"id\":", None)]);
        lab.later(Duration::from_secs(60));
        call.chunk(&mut lab, &delta("1", None), false);
        call.chunk(&mut lab, &delta("}", None), false);
        let record = call.end(&mut lab, Ending::ClientAbort);
        assert_eq!(record["end"], "timeout");
        assert_eq!(record["validation"], "unchecked", "{ladder}");
    }
}

#[test]
fn each_attempt_has_its_line_in_the_record() {
    let schema = json!({"type": "object", "required": ["id"]});
    let mut lab = Lab::new(json!({
        "validate": [{"name": "order", "schema": schema, "on_invalid": [{"retry": 4}, "reject"]}],
        "failover": {"via": "callout", "attempts": 5}}));
    let mut call = lab.send(&chat(json!({})));
    call.answer(&mut lab, 200, &answered("no", 10, 20));
    assert!(call.call.take().is_some());
    call.called(&mut lab, json_answer(400, "{}"));
    assert!(call.call.take().is_some(), "{:?}", call.reply);
    call.called(&mut lab, json_answer(200, &answered("no", 10, 20)));
    assert!(call.call.take().is_some(), "{:?}", call.reply);
    call.called(&mut lab, json_answer(200, &answered("{\"id\":1}", 10, 20)));
    let record = call.record(&mut lab);
    assert_eq!(record["attempts"].as_array().unwrap().len(), 4, "{record}");
}

#[test]
fn a_lost_attempt_after_reset_is_fallback() {
    let mut lab = native(json!({}));
    let (call, _) = routed(
        &mut lab,
        &chat(json!({})),
        &[("openai", Does::Falls(&[])), ("backup", good())],
    );
    let _: Value = call.record(&mut lab);
    assert_eq!(
        lab.metric("spillway.fallback.tokens.provider=backup"),
        50,
        "{:?}",
        lab.effects.metrics
    );
}

#[test]
fn an_error_of_another_dialect_whose_retry_the_router_refused_is_said_in_the_clients() {
    let alone = json!({"models": {"gpt-4o": {"chain": ["anthropic/claude"]}}});
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
    let stream = format!("event: error\ndata: {error}\n\n");
    let json = Does::Says(529, &[("retry-after", "4")], error.to_owned());
    let malformed = Does::Says(200, &[], "{}".to_owned());
    let cases = [
        (json, "529", "application/json", error),
        (
            Does::Streams(vec![stream.clone()]),
            "200",
            "text/event-stream",
            stream.as_str(),
        ),
        (malformed, "200", "application/json", "{}"),
    ];
    for (does, status, kind, body) in cases {
        let mut lab = native(alone.clone());
        let streams = kind == "text/event-stream";
        let mut call = lab.send(&chat(json!({"stream": streams})));
        assert_eq!(
            call.header("x-spillway-cluster").as_deref(),
            Some("spillway+anthropic")
        );
        share(&mut lab);
        let sent = attempt(&mut lab, &mut call, 1, ("anthropic", &does));
        assert_eq!(find(&sent.answer.unwrap().0, ":status").as_deref(), Some("598"));
        set(&mut lab, &[("response.code_details", "via_upstream")]);
        let fields = [
            ("x-spillway-status", status),
            ("content-type", kind),
            ("retry-after", "4"),
        ];
        call.respond(&mut lab, 598, &fields, false);
        if call.reply.is_none() {
            call.chunk(&mut lab, body, true);
        }
        let seen = call.reply.as_ref().map_or(call.answer_text(), |reply| {
            String::from_utf8(reply.body.clone()).unwrap()
        });
        assert!(
            !seen.contains("overloaded_error") && seen.contains("\"error\""),
            "{status}: {seen}"
        );
        assert!(call.refused().is_some_and(|status| status >= 500), "{status}");
        assert_eq!(call.reply_header("retry-after").as_deref(), Some("4"));
    }
}

#[test]
fn the_only_candidate_isnt_asked_again_before_the_time_that_it_named() {
    for (wait, expected) in [("60", "503"), ("3", "598")] {
        let mut lab = native(json!({"models": {"gpt-4o": {"chain": ["openai/gpt-4o"]}}}));
        let mut call = lab.send(&chat(json!({})));
        share(&mut lab);
        let fields = [("retry-after", wait)];
        let does = Does::Says(503, &fields, "{}".to_owned());
        let sent = attempt(&mut lab, &mut call, 1, ("openai", &does));
        let status = find(&sent.answer.unwrap().0, ":status");
        assert_eq!(status.as_deref(), Some(expected), "retry-after: {wait}");
    }
}

#[test]
fn by_the_router_another_model_of_the_same_provider_is_a_repeat_too() {
    let lab = &mut native(json!({"models": {"gpt-4o": {"chain": ["openai/gpt-4o", "openai/gpt-4o-mini"]}}}));
    // Its own cluster, whose retry budget sees what it is asked; and the route that waits.
    let call = lab.send(&chat(json!({})));
    assert_eq!(
        call.header("x-spillway-cluster").as_deref(),
        Some("spillway+openai")
    );
    assert!(call.header("x-spillway-repeats").is_some());
    assert_eq!(call.header("x-envoy-max-retries").as_deref(), Some("1"));
    let does = [("openai", failing(503)), ("openai", good())];
    let (call, sent) = routed(lab, &chat(json!({})), &does);
    let models = sent.iter().map(|one| {
        let body: Value = serde_json::from_slice(&one.body).unwrap();
        body["model"].as_str().unwrap().to_owned()
    });
    assert_eq!(models.collect::<Vec<_>>(), ["gpt-4o", "gpt-4o-mini"]);
    assert_eq!(call.refused(), None);
}

#[test]
fn by_the_router_a_provider_is_asked_once_where_another_is_left() {
    let chain = |places: [&str; 3]| json!({"models": {"gpt-4o": {"chain": places}}});
    let [one, two, other] = ["openai/gpt-4o", "openai/gpt-4o-mini", "backup/gpt-4o"];
    for (places, cluster) in [
        ([one, two, other], "spillway+openai+backup"),
        ([one, other, two], "spillway+openai+backup"),
        ([other, one, two], "spillway+backup+openai"),
    ] {
        let mut changes = chain(places);
        super::merge(&mut changes, json!({"failover": {"attempts": 2}}));
        let mut lab = native(changes);
        let call = lab.send(&chat(json!({})));
        assert_eq!(call.header("x-spillway-cluster").as_deref(), Some(cluster));
        assert_eq!(call.header("x-spillway-repeats"), None);
    }
    let mut changes = chain([one, two, other]);
    super::merge(
        &mut changes,
        json!({"providers": {"backup": {"breaker": {"force": "open"}}}}),
    );
    let mut lab = native(changes);
    let call = lab.send(&chat(json!({})));
    assert_eq!(
        call.header("x-spillway-cluster").as_deref(),
        Some("spillway+openai"),
        "nobody else is left"
    );
}

#[test]
fn what_looks_for_words_in_its_answer_hears_of_a_stream_that_took_too_long() {
    let mut lab = native(json!({
        "guards": [{"name": "mail", "kinds": ["email"], "action": "mask", "on": ["answer"]}],
        "failover": {"attempts": 2, "timeouts": {
        "first_token": {"base": "1s", "per_1k_prompt": "0s"},
        "whole": {"base": "4s", "per_1k_prompt": "0s", "per_1k_output": "0s"}}}}));
    let mut call = lab.send(&chat(json!({"stream": true})));
    share(&mut lab);
    attempt(
        &mut lab,
        &mut call,
        1,
        ("openai", &Does::Streams(vec![delta("one a", None)])),
    );
    call.stream(&mut lab, &[&delta("one a", None)]);
    let late = delta("@example.com", None);
    call.chunk(&mut lab, &late[..20], false);
    lab.later(Duration::from_secs(60));
    call.chunk(&mut lab, &late[20..], false);
    let text = call.answer_text();
    assert!(text.contains("longer than it may"), "{text}");
    for event in text.split_terminator("\n\n") {
        let data = event.strip_prefix("data: ").unwrap_or(event);
        assert!(
            serde_json::from_str::<Value>(data).is_ok(),
            "{event:?} of {text:?}"
        );
    }
}

#[test]
fn a_stream_that_was_ended_for_its_time_is_ended_once() {
    let mut lab = native(json!({
        "guards": [{"name": "mail", "kinds": ["email"], "action": "block", "on": ["answer"]}],
        "failover": {"attempts": 2, "timeouts": {
        "first_token": {"base": "1s", "per_1k_prompt": "0s"},
        "whole": {"base": "4s", "per_1k_prompt": "0s", "per_1k_output": "0s"}}}}));
    let mut call = lab.send(&chat(json!({"stream": true})));
    share(&mut lab);
    let does = Does::Streams(vec![delta("one ", None)]);
    attempt(&mut lab, &mut call, 1, ("openai", &does));
    call.stream(&mut lab, &[&delta("one ", None)]);
    lab.later(Duration::from_secs(60));
    call.chunk(&mut lab, &delta("two ", None), false);
    let text = call.answer_text();
    call.chunk(&mut lab, &delta("a@example.com and more ", None), false);
    assert_eq!(call.answer_text(), text);
    let details = call.reply.as_ref().map(|reply| reply.details);
    assert_eq!(details, Some("spillway_overtime"));
}

#[test]
fn a_rule_in_shadow_moves_no_stream() {
    let schema = json!({"type": "object"});
    for rule in [
        json!({"mode": "shadow", "on_invalid": ["fallback"]}),
        json!({"on_invalid": ["reject"]}),
        json!({"on_invalid": ["annotate"]}),
    ] {
        let mut one = json!({"name": "v", "schema": schema});
        super::merge(&mut one, rule.clone());
        let mut lab = native(json!({"validate": [one]}));
        let mut call = lab.send(&chat(json!({"stream": true})));
        share(&mut lab);
        let does = Does::Streams(vec![delta("Sure! ", None)]);
        let sent = attempt(&mut lab, &mut call, 1, ("openai", &does));
        let status = find(&sent.answer.unwrap().0, ":status");
        assert_eq!(status.as_deref(), Some("200"), "{rule}");
    }
}

#[test]
fn attempts_that_nobody_answered_cost_their_prompts_and_count_once_each() {
    for (charge, times) in [("all", 3), ("final", 1)] {
        let mut lab = native(json!({"limits": each_provider_by_itself(), "failover": {"charge": charge}}));
        let lost = |provider| (provider, Does::Falls(RESET));
        let does = [lost("openai"), lost("backup"), lost("anthropic")];
        let (call, sent) = routed(&mut lab, &chat(json!({})), &does);
        assert_eq!((call.refused(), sent.len()), (Some(503), 3));
        let record = call.record(&mut lab);
        let prompt = record["estimate"].as_u64().unwrap();
        assert_eq!(at_each(&lab), [(prompt, 1); 2], "{charge}");
        assert_eq!(of_caller(&lab), times * prompt, "{charge}: {record}");
    }
}

/// Tokens of the caller's third limit.
fn of_caller(lab: &Lab) -> u64 {
    let (limit, id) = (&lab.gateway.policy.limits[2], b"header:acme");
    let key = lab.gateway.ledger.key(limit, id, &[id]);
    let level = lab
        .gateway
        .ledger
        .level(&lab.store, limit, key, lab.now.monotonic);
    level.capacity - level.remaining
}

#[test]
fn the_last_attempt_is_charged_whoever_speaks_in_the_end() {
    for words in [
        json!({}),
        json!({"exhausted": {"status": 202, "body": {"later": true}}}),
    ] {
        let mut failover = json!({"via": "callout", "charge": "final", "attempts": 2});
        super::merge(&mut failover, words.clone());
        let mut lab = Lab::new(json!({"failover": failover}));
        let mut call = lab.send(&chat(json!({})));
        call.answer(&mut lab, 503, "{}");
        call.called(&mut lab, super::callouts::reset());
        assert!(call.reply.is_some());
        let record = call.record(&mut lab);
        let last = record["attempts"][1]["tokens"].as_u64();
        assert!(
            last > Some(0) && last == Some(lab.used("acme")),
            "{words}: {record}"
        );
    }
}

#[test]
fn an_answer_that_cannot_be_said_in_the_client_s_protocol_costs_what_any_other_such_does() {
    let mut lab = Lab::new(json!({
        "failover": {"via": "callout", "attempts": 1},
        "providers": {"anthropic": {"breaker": {"consecutive": 1}}},
        "models": {"gpt-4o": {"chain": ["anthropic/claude"]}}}));
    let mut call = lab.send(&chat(json!({})));
    call.called(&mut lab, json_answer(200, "{}"));
    assert_eq!(call.refused(), Some(502));
    let record = call.record(&mut lab);
    assert_eq!(tried(&record), [("anthropic".to_owned(), "malformed".to_owned())]);
    assert_eq!(record["estimate"].as_u64(), Some(lab.used("acme")), "{record}");
    assert_eq!(
        lab.send(&chat(json!({}))).refused(),
        Some(503),
        "its breaker has heard of it"
    );
}

#[test]
fn a_client_that_goes_before_anybody_was_asked_pays_nothing_and_keeps_no_probe() {
    for via in ["none", "native"] {
        let mut lab = Lab::new(json!({
            "limits": [{"name": "tokens", "per": ["caller"], "tokens": "10000/min", "scope": "fleet"}],
            "failover": {"via": via},
            "models": {"gpt-4o": {"chain": ["openai/gpt-4o"]}},
            "providers": {"openai": {"breaker": {"consecutive": 1, "open": "1s", "half_open_permits": 1}}}}));
        let mut failing = lab.send(&chat(json!({"model": "gpt-4o-mini"})));
        set(
            &mut lab,
            &[(
                "response.code_details",
                "upstream_reset_before_response_started{connection_failure}",
            )],
        );
        failing.respond(&mut lab, 503, &[], false);
        drop(failing.record(&mut lab));
        lab.later(Duration::from_secs(3));
        lab.effects.properties.clear();
        let mut call = lab.send(&chat(json!({})));
        assert_eq!((call.refused(), lab.used("acme") > 0), (None, true), "{via}");
        share(&mut lab);
        let never = String::from_utf8(0_u64.to_le_bytes().to_vec()).unwrap();
        set(&mut lab, &[("upstream.request_attempt_count", &never)]);
        let properties = lab.properties.clone();
        let property = |path: &[&str]| properties.get(&path.join(".")).map(|value| value.clone().into());
        lab.turn(|turn| call.exchange.recall(turn, &property));
        let record = call.end(&mut lab, Ending::ClientAbort);
        assert_eq!(record["end"], "client_abort");
        assert_eq!(lab.used("acme"), 0, "{via}: {record}");
        assert!(lab.effects.properties.is_empty(), "{via}: nothing is billed");
        assert_eq!(
            lab.send(&chat(json!({}))).refused(),
            None,
            "{via}: the probe is back"
        );
    }
}

#[test]
fn a_callers_limit_per_provider_is_called_by_its_name() {
    let mut lab =
        Lab::new(json!({"limits": [{"name": "each", "per": ["caller", "provider"], "requests": "1/min"}]}));
    let _ = lab.send(&chat(json!({})));
    let refused = lab.send(&chat(json!({})));
    let message = refused.reply_json()["error"]["message"].clone();
    assert!(message.as_str().unwrap().contains("\"each\""), "{message}");
}
