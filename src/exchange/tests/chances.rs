//! Second chances for answers that fail their validation: who is asked again, with what, at what cost, and what the
//! client gets in the end.

use core::time::Duration;

use serde_json::{Value, json};

use super::callouts::{asks, block, json_answer, reset};
use super::router::{Does, native, routed};
use super::{Call, Ending, Lab, Request, answered, chat, delta, message, usage};
use crate::failover::Load;

const VERDICT: &str = "x-spillway-validation";
const WAYS: [&str; 3] = ["none", "callout", "native"];

/// A policy whose one rule wants an object with an id, and has this ladder.
fn rules(on_invalid: &Value) -> Value {
    let schema = json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}});
    json!({"validate": [{"name": "order", "schema": schema, "on_invalid": on_invalid}]})
}

fn lab_with(on_invalid: &Value, changes: Value) -> Lab {
    let mut document = rules(on_invalid);
    super::merge(&mut document, changes);
    Lab::new(document)
}

fn lab(on_invalid: Value) -> Lab {
    lab_with(&on_invalid, json!({}))
}

const BAD: &str = r#"{"id": "private"}"#;

fn bad() -> String {
    answered(BAD, 10, 20)
}

fn valid() -> super::CallAnswer {
    json_answer(200, &answered(r#"{"id": 7}"#, 30, 5))
}

/// A request that got a bad answer first.
fn dismissed(lab: &mut Lab, request: &Request) -> Call {
    let mut call = lab.send(request);
    assert!(call.call.is_none() && call.reply.is_none());
    call.answer(lab, 200, &bad());
    call
}

fn body_of(call: &mut Call) -> Value {
    serde_json::from_slice(&call.call.take().unwrap().body).unwrap()
}

#[test]
fn the_provider_is_told_what_was_wrong_and_the_client_gets_its_second_answer() {
    for via in WAYS {
        let mut lab = lab_with(&json!([{"retry": 1}]), json!({"failover": {"via": via}}));
        let mut call = lab.send(&chat(json!({"temperature": 0.5})));
        if via == "native" {
            let mut lab = native(rules(&json!([{"retry": 1}])));
            let says = Does::Says(200, &[], bad());
            (call, _) = routed(&mut lab, &chat(json!({"temperature": 0.5})), &[("openai", says)]);
            retried(&mut lab, call);
            continue;
        }
        call.answer(&mut lab, 200, &bad());
        retried(&mut lab, call);
    }
}

fn retried(lab: &mut Lab, mut call: Call) {
    assert_eq!((call.answer_text().as_str(), call.refused()), ("", None), "held");
    let asked = call.call.clone().unwrap();
    assert_eq!(asked.cluster, "openai");
    assert!(
        asked
            .headers
            .contains(&("authorization".into(), "Bearer sk-s3cr3t-openai".into()))
    );
    let body = body_of(&mut call);
    assert_eq!(
        (&body["temperature"], &body["model"]),
        (&json!(0.5), &json!("gpt-4o"))
    );
    let turns = body["messages"].as_array().unwrap();
    assert_eq!(turns[0]["content"], "private words");
    assert_eq!(turns[1], json!({"role": "assistant", "content": BAD}));
    let wrong = turns[2]["content"].as_str().unwrap();
    assert!(turns[2]["role"] == "user" && wrong.contains("/id (type)") && !wrong.contains("private"));
    call.called(lab, valid());
    assert_eq!(call.refused(), Some(200));
    assert_eq!(call.reply_header(VERDICT).as_deref(), Some("retried"));
    assert_eq!(
        call.reply_json()["choices"][0]["message"]["content"],
        r#"{"id": 7}"#
    );
    assert_eq!(lab.used("acme"), 65, "both answers");
    assert_eq!(lab.metric("spillway.fallback.provider=openai.reason=invalid"), 1);
    assert_eq!(lab.metric("spillway.tokens.type=settled"), 65);
    let input = "gen_ai.client.inference.usage.input_tokens.provider=openai.model=gpt-4o";
    assert_eq!(lab.metric(input), 40);
    let record = call.record(lab);
    assert_eq!(record["validation"], "retried");
    let attempts = record["attempts"].as_array().unwrap();
    let seen = |at: usize| {
        let one = &attempts[at];
        (
            one["provider"].clone(),
            one["status"].clone(),
            one["tokens"].clone(),
            one["gave_up"].clone(),
        )
    };
    assert_eq!(attempts.len(), 2);
    assert_eq!(
        seen(0),
        (json!("openai"), json!(200), json!(30), json!("invalid"))
    );
    assert_eq!(seen(1), (json!("openai"), json!(200), json!(35), Value::Null));
}

#[test]
fn each_dialect_goes_on_in_its_own_words() {
    let said = json!({"role": "assistant", "content": BAD});
    let mut lab = lab_with(&json!(["retry"]), json!({}));
    let mut call = lab.send(&message(json!({})));
    let usage = json!({"input_tokens": 10, "output_tokens": 20});
    let answer = json!({"type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": BAD}], "usage": usage});
    call.answer(&mut lab, 200, &answer.to_string());
    let body = body_of(&mut call);
    assert_eq!(body["messages"][1], said);
    assert_eq!(body["messages"][2]["role"], "user");
    let request = Request::post(
        "/v1/responses",
        json!({"model": "gpt-4o", "input": "hi"}).to_string(),
    );
    let mut call = lab.send(&request);
    let item =
        json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": BAD}]});
    let answer = json!({"object": "response", "status": "completed", "output": [item], "usage": usage});
    call.answer(&mut lab, 200, &answer.to_string());
    let body = body_of(&mut call);
    assert_eq!(body["input"][0], json!({"role": "user", "content": "hi"}));
    assert_eq!(body["input"][1], said);
}

#[test]
fn the_next_candidate_gets_the_conversation_as_it_was_in_its_own_dialect() {
    let chain = json!({"models": {"gpt-4o": {"chain": ["openai/gpt-4o", "anthropic/claude"]}}});
    let mut lab = lab_with(&json!(["fallback"]), chain);
    let mut call = dismissed(&mut lab, &chat(json!({})));
    let asked = call.call.clone().unwrap();
    assert_eq!(asked.cluster, "anthropic");
    assert!(asked.headers.iter().all(|(_, value)| !value.contains("s3cr3t")));
    let body = body_of(&mut call);
    assert_eq!(body["messages"].as_array().unwrap().len(), 1);
    let reply = json!({"type": "message", "id": "m", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "{\"id\": 7}"}], "usage": {"input_tokens": 7, "output_tokens": 2}});
    call.called(&mut lab, json_answer(200, &reply.to_string()));
    assert_eq!(call.reply_header(VERDICT).as_deref(), Some("retried"));
    assert_eq!(
        call.reply_header("x-spillway-provider").as_deref(),
        Some("anthropic")
    );
    assert_eq!(
        call.reply_json()["choices"][0]["message"]["content"],
        "{\"id\": 7}"
    );
    assert_eq!(lab.used("acme"), 39);
}

#[test]
fn the_ladder_is_climbed_rung_by_rung_and_no_further_than_the_attempts_go() {
    for (attempts, asked) in [
        (5, ["openai", "openai", "backup"].as_slice()),
        (3, &["openai", "openai"]),
    ] {
        let mut lab = lab_with(
            &json!([{"retry": 2}, "fallback", "reject"]),
            json!({"failover": {"attempts": attempts}}),
        );
        let mut call = dismissed(&mut lab, &chat(json!({})));
        for provider in asked {
            assert_eq!(call.call.as_ref().unwrap().cluster, *provider, "{attempts}");
            let turns = body_of(&mut call)["messages"].as_array().unwrap().len();
            assert_eq!(
                turns,
                if *provider == "openai" { 3 } else { 1 },
                "the next one is told nothing"
            );
            call.called(&mut lab, json_answer(200, &bad()));
        }
        assert_eq!((asks(&mut call), call.refused()), (None, Some(502)));
        assert_eq!(call.reply_header(VERDICT).as_deref(), Some("invalid"));
        assert!(!String::from_utf8_lossy(&call.reply.as_ref().unwrap().body).contains("private"));
        let tokens = 30 * (asked.len() as u64 + 1);
        assert_eq!(lab.used("acme"), tokens);
        let record = call.record(&mut lab);
        assert_eq!(record["attempts"].as_array().unwrap().len(), asked.len() + 1);
    }
}

#[test]
fn a_caller_who_cannot_pay_for_another_answer_gets_the_next_rung() {
    let small = |tokens: &str| json!({"limits": [{"name": "tokens", "per": ["caller"], "tokens": tokens}]});
    let mut lab = lab_with(&json!(["retry", "annotate"]), small("1040/min"));
    let mut call = lab.send(&chat(json!({"max_tokens": 1_000})));
    call.answer(&mut lab, 200, &answered(BAD, 10, 900));
    assert_eq!((asks(&mut call), call.refused()), (None, None));
    assert_eq!(call.answer_header(VERDICT).as_deref(), Some("invalid"));
    assert_eq!(lab.used("acme"), 910, "nothing is left set aside");
    assert_eq!(lab.metric("spillway.failover.unmoved.reason=limit"), 1);
    let record = call.record(&mut lab);
    assert_eq!(record["limits_hit"], json!(["tokens"]));
    let mut lab = lab_with(&json!(["retry", "annotate"]), small("2400/min"));
    let mut call = lab.send(&chat(json!({"max_tokens": 1_000})));
    call.answer(&mut lab, 200, &answered(BAD, 10, 900));
    assert!(asks(&mut call).is_some());
    assert!(lab.used("acme") > 1_900, "what both may cost is set aside");
    call.called(&mut lab, json_answer(200, &answered(r#"{"id": 7}"#, 950, 5)));
    assert_eq!(lab.used("acme"), 910 + 955);
}

#[test]
fn what_is_not_charged_needs_not_be_paid_for() {
    let mut lab = lab_with(
        &json!(["fallback"]),
        json!({"failover": {"charge": "final"}, "limits": [{"name": "tokens", "per": ["caller"], "tokens": "1040/min"}]}),
    );
    let mut call = lab.send(&chat(json!({"max_tokens": 1_000})));
    call.answer(&mut lab, 200, &answered(BAD, 10, 900));
    assert_eq!(asks(&mut call).as_deref(), Some("backup"));
    call.called(&mut lab, valid());
    assert_eq!(lab.used("acme"), 35);
}

#[test]
fn each_provider_s_own_limits_bear_what_it_was_sent() {
    let limits = json!([{"tokens": "10000/min"}]);
    let providers = json!({"providers": {"openai": {"limits": limits}, "backup": {"limits": limits}}});
    let mut lab = lab_with(&json!(["retry", "fallback"]), providers.clone());
    let mut call = dismissed(&mut lab, &chat(json!({})));
    call.called(&mut lab, json_answer(200, &bad()));
    assert_eq!(asks(&mut call).as_deref(), Some("backup"));
    call.called(&mut lab, valid());
    assert_eq!((lab.granted("openai"), lab.granted("backup")), (60, 35));
    assert_eq!(lab.used("acme"), 95);
    // The router failed over before the answer that is bad.
    let mut document = rules(&json!(["fallback"]));
    super::merge(&mut document, providers);
    let mut lab = native(document);
    let lost = Does::Says(503, &[], "{}".to_owned());
    let says = Does::Says(200, &[], bad());
    let (mut call, _) = routed(&mut lab, &chat(json!({})), &[("openai", lost), ("backup", says)]);
    assert_eq!(asks(&mut call).as_deref(), Some("anthropic"));
    call.called(&mut lab, reset());
    assert_eq!(call.refused(), Some(502));
    assert_eq!((lab.granted("openai"), lab.granted("backup")), (0, 30));
    let record = call.record(&mut lab);
    let tried: Vec<_> = record["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["provider"].clone())
        .collect();
    assert_eq!(tried, ["openai", "backup", "anthropic"]);
    assert_eq!(
        lab.used("acme"),
        30 + record["attempts"][2]["tokens"].as_u64().unwrap()
    );
}

#[test]
fn where_the_provider_may_not_be_asked_again_the_next_one_is_told() {
    let mut open = lab_with(
        &json!(["retry"]),
        json!({"providers": {"openai": {"limits": [{"requests": "1/hour"}]}}}),
    );
    let mut busy = lab(json!(["retry"]));
    busy.load = Load {
        worker: 1,
        active: 10,
        repeating: 3,
        kept: 0,
    };
    for lab in [&mut open, &mut busy] {
        let mut call = dismissed(lab, &chat(json!({})));
        let asked = call.call.clone().unwrap();
        assert_eq!(asked.cluster, "backup");
        assert_eq!(body_of(&mut call)["messages"].as_array().unwrap().len(), 3);
    }
    assert_eq!(busy.metric("spillway.failover.unmoved.reason=budget"), 1);
}

#[test]
fn a_breaker_hears_of_a_bad_answer_as_of_any_other_that_came() {
    let mut lab = lab_with(
        &json!(["retry"]),
        json!({"providers": {"openai": {"breaker": {"consecutive": 1}}}}),
    );
    for _ in 0..3 {
        let mut call = dismissed(&mut lab, &chat(json!({})));
        assert_eq!(asks(&mut call).as_deref(), Some("openai"));
        call.called(&mut lab, json_answer(200, &bad()));
        assert_eq!(call.refused(), Some(502));
    }
    assert_eq!(
        lab.metric("spillway.breaker.transition.provider=openai.state=open"),
        0
    );
}

#[test]
fn where_nobody_gives_another_answer_the_ladder_goes_on_with_the_first() {
    let ends = [
        (json!(["retry", "reject"]), 502, json!("invalid_answer")),
        (json!(["retry", "annotate"]), 200, Value::Null),
    ];
    for via in ["none", "callout"] {
        for (ladder, status, code) in &ends {
            for failing in [
                reset(),
                json_answer(400, "{}"),
                json_answer(500, "{}"),
                super::CallAnswer::unsent(),
            ] {
                let changes = json!({"failover": {"via": via, "attempts": 2}});
                let mut lab = lab_with(ladder, changes);
                let mut call = dismissed(&mut lab, &chat(json!({})));
                assert_eq!(asks(&mut call).as_deref(), Some("openai"));
                call.called(&mut lab, failing);
                assert_eq!(call.refused(), Some(*status), "{via} {ladder}");
                assert_eq!(call.reply_json()["error"]["code"], *code);
                assert_eq!(call.reply_header(VERDICT).as_deref(), Some("invalid"));
                assert_eq!(
                    call.reply_header("x-spillway-provider").as_deref(),
                    Some("openai")
                );
                let record = call.record(&mut lab);
                assert_eq!(
                    (&record["validation"], &record["status"]),
                    (&json!("invalid"), &json!(status))
                );
                assert!(lab.used("acme") >= 30);
            }
        }
    }
    let mut lab = lab(json!(["retry", "fallback"]));
    let mut call = dismissed(&mut lab, &chat(json!({})));
    assert_eq!(asks(&mut call).as_deref(), Some("openai"));
    call.called(&mut lab, json_answer(500, "{}"));
    assert_eq!(asks(&mut call).as_deref(), Some("backup"), "the next rung");
    call.called(&mut lab, valid());
    assert_eq!(call.reply_header(VERDICT).as_deref(), Some("retried"));
}

#[test]
fn nobody_is_asked_past_the_deadline_nor_where_it_lives_at_one_provider() {
    let mut lab = lab_with(
        &json!(["retry"]),
        json!({"failover": {"deadline_header": "x-deadline-ms"}}),
    );
    let mut call = lab.send(&chat(json!({})).with("x-deadline-ms", "700"));
    lab.later(Duration::from_millis(800));
    call.answer(&mut lab, 200, &bad());
    assert_eq!((asks(&mut call), call.refused()), (None, Some(502)));
    assert_eq!(lab.metric("spillway.failover.unmoved.reason=deadline"), 1);
    let mut call = lab.send(&chat(json!({})).with("x-deadline-ms", "700"));
    lab.later(Duration::from_millis(200));
    call.answer(&mut lab, 200, &bad());
    assert_eq!(call.call.unwrap().timeout, Duration::from_millis(500));
    let pinned = json!({"model": "gpt-4o", "input": "hi", "previous_response_id": "r"}).to_string();
    let call = lab.send(&Request::post("/v1/responses", pinned));
    assert_eq!(call.exchange.weight().kept, 0);
}

#[test]
fn what_is_kept_is_bounded_and_gone_with_the_answer() {
    let mut lab = lab(json!(["retry"]));
    let mut call = lab.send(&chat(json!({})));
    assert!(call.exchange.weight().kept > 0 && call.exchange.due().is_none());
    call.answer(&mut lab, 200, &answered(r#"{"id": 7}"#, 1, 1));
    assert_eq!(call.answer_header(VERDICT).as_deref(), Some("valid"));
    assert_eq!(call.exchange.weight().kept, 0);
    let mut call = dismissed(&mut lab, &chat(json!({})));
    let sent = call.call.as_ref().unwrap().body.len();
    assert!(
        call.exchange.weight().kept > sent + 2 * bad().len(),
        "the answer counts too"
    );
    assert!(call.exchange.weight().repeats);
    call.called(&mut lab, valid());
    assert_eq!(call.exchange.weight().kept, 0);
    lab.load.kept = (64 << 20) - 200;
    let mut call = dismissed(&mut lab, &chat(json!({})));
    assert_eq!((asks(&mut call), call.refused()), (None, Some(502)));
    let failing = {
        lab.load.kept = 0;
        let mut call = lab.send(&chat(json!({})));
        call.respond(&mut lab, 500, &[("content-type", "application/json")], false);
        call
    };
    assert_eq!(
        (
            failing.exchange.due(),
            failing.answer_header(":status").as_deref()
        ),
        (None, Some("500")),
        "a failing status is no bad answer"
    );
}

#[test]
fn a_client_that_hangs_up_leaves_nothing_behind() {
    let limits = json!([{"tokens": "10000/min"}]);
    let mut lab = lab_with(
        &json!(["fallback"]),
        json!({"providers": {"backup": {"limits": limits}}}),
    );
    let mut call = dismissed(&mut lab, &chat(json!({})));
    assert!(asks(&mut call).is_some());
    let record = call.end(&mut lab, Ending::ClientAbort);
    let prompt = record["attempts"][1]["tokens"].as_u64().unwrap();
    assert!(prompt > 0);
    assert_eq!(lab.used("acme"), 30 + prompt, "the prompt may have been read");
    assert_eq!(lab.granted("backup"), prompt);
    assert_eq!(record["end"], "client_abort");
}

#[test]
fn in_shadow_nobody_is_asked() {
    let mut document = rules(&json!(["retry"]));
    document["validate"][0]["mode"] = json!("shadow");
    let mut lab = Lab::new(document);
    let call = lab.exchange(&chat(json!({})), 200, &bad());
    assert_eq!((call.answer_text(), call.call.is_none()), (bad(), true));
}

#[test]
fn a_stream_that_cannot_become_valid_is_the_next_candidate_s_before_the_client_sees_a_word() {
    let streams = |words: &str| {
        let (first, rest) = words.split_at(1);
        Does::Streams(vec![
            delta("", None),
            delta(first, None),
            delta(rest, None),
            delta("", Some("stop")) + &usage(9, 4) + super::DONE,
        ])
    };
    let table = [
        (json!(["fallback"]), "Sure: {}", true),
        (json!(["fallback"]), "[]", true),
        (json!(["fallback"]), " {\"id\":1}", false),
        (json!(["fallback"]), "\n\nSure", true),
        (json!(["fallback"]), "```json\n{\"id\":1}```", true),
        (json!(["repair", "fallback"]), "```json\n{\"id\":1}```", false),
        (json!(["repair", "fallback"]), "Sure", true),
        (json!(["retry"]), "Sure", false),
    ];
    for (ladder, words, moves) in table {
        let mut lab = native(rules(&ladder));
        let request = chat(json!({"stream": true}));
        let good = streams(r#"{"id":1}"#);
        let (call, sent) = routed(
            &mut lab,
            &request,
            &[("openai", streams(words)), ("backup", good)],
        );
        assert_eq!(sent.len() == 2, moves, "{ladder} {words}");
        if moves {
            assert!(!call.answer_text().contains("ure"), "{}", call.answer_text());
            assert_eq!(lab.metric("spillway.fallback.provider=openai.reason=invalid"), 1);
            let record = call.record(&mut lab);
            assert_eq!(record["attempts"][0]["gave_up"], "invalid");
            assert_eq!(record["attempts"][1]["provider"], "backup");
        }
    }
    let mut lab = native(rules(&json!(["fallback"])));
    let all = [
        ("openai", streams("no")),
        ("backup", streams("no")),
        ("anthropic", streams("no")),
    ];
    let (_, sent) = routed(&mut lab, &chat(json!({"stream": true})), &all[..2]);
    assert_eq!(sent.len(), 2);
    let tools = json!({"stream": true, "n": 2});
    let (_, sent) = routed(&mut lab, &chat(tools), &[("openai", streams("no"))]);
    assert_eq!(sent.len(), 1, "several answers are never judged");
}

#[test]
fn a_stream_that_is_held_gets_its_second_chance_too_and_comes_as_one_block() {
    let events = |words: &str| {
        [
            delta(words, None),
            delta("", Some("stop")),
            usage(10, 20),
            super::DONE.to_owned(),
        ]
    };
    for via in ["none", "callout"] {
        let mut document = rules(&json!(["retry"]));
        document["validate"][0]["buffer"] = json!(true);
        document["failover"] = json!({"via": via});
        let mut lab = Lab::new(document);
        let mut call = lab.send(&chat(json!({"stream": true})));
        let bad = events(BAD);
        call.stream(&mut lab, &[&bad[0], &bad[1], &bad[2], &bad[3]]);
        call.chunk(&mut lab, "", true);
        assert_eq!((call.answer_text().as_str(), call.refused()), ("", None), "{via}");
        let asked = body_of(&mut call);
        assert_eq!(asked["stream"], true);
        assert_eq!(asked["messages"][1], json!({"role": "assistant", "content": BAD}));
        let good = events(r#"{"id": 7}"#);
        call.called(&mut lab, block(&[&good[0], &good[1], &good[2], &good[3]]));
        assert_eq!(call.refused(), Some(200));
        assert_eq!(call.reply_header(VERDICT).as_deref(), Some("retried"));
        let said = String::from_utf8(call.reply.as_ref().unwrap().body.clone()).unwrap();
        assert_eq!(
            said,
            [&good[0], &good[1], &*good[3]].concat(),
            "the usage that nobody asked for is out"
        );
        assert_eq!(lab.used("acme"), 60);
        let record = call.record(&mut lab);
        assert_eq!(record["attempts"][0]["gave_up"], "invalid");
        assert_eq!(record["attempts"][1]["tokens"], 30);
    }
}

#[test]
fn a_call_of_a_tool_with_wrong_arguments_is_answered_with_what_was_wrong() {
    let parameters =
        json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}});
    let tool = json!({"type": "function", "function": {"name": "weather", "parameters": parameters}});
    let mut lab = Lab::new(json!({"validate": [{"name": "tools", "on_invalid": ["retry"]}]}));
    let mut call = lab.send(&chat(json!({"tools": [tool]})));
    let calls = |arguments: &str| {
        let one =
            json!({"id": "c", "type": "function", "function": {"name": "weather", "arguments": arguments}});
        let message = json!({"role": "assistant", "content": null, "tool_calls": [one]});
        json!({"model": "gpt-4o", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}})
        .to_string()
    };
    call.answer(&mut lab, 200, &calls(r#"{"city": 5}"#));
    let asked = body_of(&mut call);
    let turns = asked["messages"].as_array().unwrap();
    assert_eq!(
        turns[1]["tool_calls"][0]["function"]["arguments"],
        r#"{"city":5}"#
    );
    assert_eq!(turns[2]["tool_call_id"], turns[1]["tool_calls"][0]["id"]);
    assert!(
        turns[2]["content"].as_str().unwrap().contains("/city"),
        "{turns:?}"
    );
    call.called(&mut lab, json_answer(200, &calls(r#"{"city": "Bern"}"#)));
    assert_eq!(call.refused(), Some(200));
    assert_eq!(lab.used("acme"), 20);
}

#[test]
fn the_policys_default_stands_in_where_nobody_gives_another_answer() {
    let mut lab = lab(json!(["retry", {"default": {"id": 0}}]));
    let mut call = dismissed(&mut lab, &chat(json!({})));
    call.called(&mut lab, reset());
    assert_eq!(call.refused(), Some(200));
    let said = call.reply_json()["choices"][0]["message"]["content"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), json!({"id": 0}));
    assert_eq!(call.record(&mut lab)["validation"], "defaulted");
}

#[test]
fn the_request_s_own_schema_says_how_a_stream_must_begin() {
    let schema = json!({"type": "object", "required": ["id"]});
    let format = json!({"type": "json_schema", "json_schema": {"name": "t", "schema": schema}});
    for (format, moves) in [
        (format, true),
        (json!({"type": "json_object"}), true),
        (json!({"type": "text"}), false),
    ] {
        let mut lab = native(json!({"validate": [{"on_invalid": ["fallback"]}],
            "models": {"gpt-4o": {"chain": ["openai/gpt-4o", "backup/gpt-4o"]}}}));
        let request = chat(json!({"stream": true, "response_format": format}));
        let end = delta("", Some("stop")) + super::DONE;
        let streams = |words| Does::Streams(vec![delta(words, None), end.clone()]);
        let does = [("openai", streams("Sure")), ("backup", streams("{\"id\":1}"))];
        let (_, sent) = routed(&mut lab, &request, &does);
        assert_eq!(sent.len() == 2, moves, "{}", request.body[0].escape_ascii());
    }
}

#[test]
fn what_was_put_back_for_the_client_goes_back_to_the_provider_masked() {
    let guard = json!({"name": "mail", "kinds": ["email"], "on": ["request"], "action": "restore"});
    let mut lab = lab_with(&json!([{"retry": 1}]), json!({"guards": [guard]}));
    let asks = json!({"messages": [{"role": "user", "content": "ann@example.com wants an id"}]});
    let mut call = lab.send(&chat(asks));
    call.answer(&mut lab, 200, &answered(r#"{"id": "[EMAIL_1]"}"#, 10, 20));
    let body = body_of(&mut call);
    assert_eq!(body["messages"][0]["content"], "[EMAIL_1] wants an id");
    assert_eq!(body["messages"][1]["content"], r#"{"id": "[EMAIL_1]"}"#);
    assert!(!body.to_string().contains("ann@"), "{body}");
    let second = json!({"id": 7, "of": "[EMAIL_1]"}).to_string();
    call.called(&mut lab, json_answer(200, &answered(&second, 30, 5)));
    let said = call.reply_json()["choices"][0]["message"]["content"].clone();
    assert!(said.as_str().unwrap().contains("ann@example.com"), "{said}");
}
