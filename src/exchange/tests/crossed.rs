//! Guards, validation, moderation and failover at work on one exchange.

use serde_json::json;

use super::{Call, CallAnswer, DONE, Flow, Lab, Request, answered, chat, delta, usage};
use crate::failover::Load;

const MAIL: &str = "ann.lee@example.com";

fn laid(parts: &[serde_json::Value]) -> serde_json::Value {
    let mut all = json!({});
    for part in parts {
        super::merge(&mut all, part.clone());
    }
    all
}

fn guard(action: &str) -> serde_json::Value {
    json!({"guards": [{"name": "pii", "kinds": ["email"], "action": action}]})
}

fn validation(more: serde_json::Value) -> serde_json::Value {
    let schema = json!({"type": "object", "required": ["to"], "properties": {"to": {"type": "string"}}});
    let mut one = json!({"name": "held", "schema": schema, "on_invalid": ["reject"]});
    super::merge(&mut one, more);
    json!({"validate": [one]})
}

fn moderation(more: serde_json::Value) -> serde_json::Value {
    let mut one = json!({"name": "safety", "on": ["answer"], "provider": "openai", "ask": "moderation"});
    super::merge(&mut one, more);
    json!({"moderation": [one]})
}

/// All that the client gets once trailers came.
fn trailed(lab: &mut Lab, call: &mut Call) -> String {
    let step = call.trailers(lab);
    match step.flow {
        Flow::Reply(reply) => String::from_utf8(reply.body).unwrap(),
        Flow::Continue | Flow::Resume(_) => call.answer_text(),
        Flow::Hold | Flow::Calls(_) => panic!("held: {step:?}"),
    }
}

#[test]
fn a_clean_answer_with_trailers_is_counted_and_judged_as_it_came() {
    let mut lab = Lab::new(guard("mask"));
    let mut call = lab.send(&chat(json!({})));
    call.respond(&mut lab, 200, &[("content-type", "application/json")], false);
    call.chunk(&mut lab, &answered("clean", 9, 41), false);
    assert_eq!(trailed(&mut lab, &mut call), answered("clean", 9, 41));
    assert_eq!(lab.used("acme"), 50);
    assert_eq!(call.record(&mut lab)["actual"]["source"], "usage");

    let mut lab = Lab::new(laid(&[guard("mask"), validation(json!({}))]));
    let mut call = lab.send(&chat(json!({})));
    call.respond(&mut lab, 200, &[("content-type", "application/json")], false);
    let good = answered(r#"{"to": "a"}"#, 9, 41);
    call.chunk(&mut lab, &good, false);
    assert_eq!(trailed(&mut lab, &mut call), good);
    assert_eq!(call.record(&mut lab)["validation"], "valid");
}

#[test]
fn a_buffered_stream_with_trailers_is_masked() {
    let mut lab = Lab::new(laid(&[guard("mask"), validation(json!({"buffer": true}))]));
    let options = json!({"include_usage": true});
    let mut call = lab.send(&chat(json!({"stream": true, "stream_options": options})));
    let words = format!("{{\"to\": \"{MAIL}\"}}");
    let stream = [
        &*delta(&words, None),
        &delta("", Some("stop")),
        &usage(9, 41),
        DONE,
    ]
    .concat();
    call.stream(&mut lab, &[&stream]);
    assert_eq!(call.answer_text(), "");
    let got = trailed(&mut lab, &mut call);
    assert!(!got.contains(MAIL), "{got}");
}

#[test]
fn a_masked_answer_with_trailers_stays_masked_whatever_becomes_of_its_verdict() {
    let mut lab = Lab::new(laid(&[guard("mask"), moderation(json!({"on_failure": "allow"}))]));
    let mut call = lab.send(&chat(json!({})));
    call.respond(&mut lab, 200, &[("content-type", "application/json")], false);
    call.chunk(&mut lab, &answered(MAIL, 9, 41), false);
    call.trailers(&mut lab);
    assert!(
        call.reply.is_none() && call.call.take().is_some(),
        "it is judged as well"
    );
    call.called(&mut lab, CallAnswer::unsent());
    assert_eq!(call.answer_text(), answered("[EMAIL_1]", 9, 41));
}

#[test]
fn an_answer_that_came_to_nothing_better_is_charged() {
    let ladder = json!({"on_invalid": ["fallback", "annotate"]});
    let charge = json!({"failover": {"charge": "final"}});
    let mut lab = Lab::new(laid(&[validation(ladder), charge]));
    let mut call = lab.send(&chat(json!({})));
    call.answer(&mut lab, 200, &answered("no json", 10, 20));
    assert!(call.call.take().is_some());
    call.called(&mut lab, CallAnswer::default());
    assert_eq!(call.refused(), Some(200));
    assert_eq!(lab.used("acme"), 30, "the client has it");
}

#[test]
fn what_a_client_repairs_itself_was_not_retried() {
    let mut lab = Lab::new(validation(json!({"on_invalid": ["retry", "repair"]})));
    let mut call = lab.send(&chat(json!({})));
    call.answer(&mut lab, 200, &answered("```json\n{\"to\": \"a\"}\n```", 10, 20));
    assert!(call.call.take().is_some());
    call.called(&mut lab, CallAnswer::default());
    assert_eq!(call.refused(), Some(200));
    assert_eq!(
        call.reply_header("x-spillway-validation").as_deref(),
        Some("repaired")
    );
}

#[test]
fn a_stopped_stream_says_nothing_that_was_to_be_judged_first() {
    let mut lab = Lab::new(laid(&[guard("block"), validation(json!({"buffer": true}))]));
    let mut call = lab.send(&chat(json!({"stream": true})));
    call.stream(
        &mut lab,
        &[
            &delta("unjudged words", None),
            &delta(MAIL, None),
            &delta(" and", Some("stop")),
            DONE,
        ],
    );
    let got = call.answer_text();
    assert!(!got.contains("unjudged"), "{got}");
}

#[test]
fn names_of_the_protocol_hide_nothing_in_a_schema() {
    let mut lab = Lab::new(guard("mask"));
    let described = json!({"type": "object", "properties": {"id": {"type": "string", "description": MAIL},
        "user_id": {"enum": [MAIL]}, "data": {"default": MAIL}}});
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": described}}]);
    let call = lab.send(&chat(json!({"tools": tools})));
    let sent = String::from_utf8(call.body.clone()).unwrap();
    assert!(!sent.contains(MAIL), "tools {sent}");
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": described}});
    let call = lab.send(&chat(json!({"response_format": format})));
    let sent = String::from_utf8(call.body.clone()).unwrap();
    assert!(!sent.contains(MAIL), "format {sent}");
    let source = json!({"type": "text", "media_type": "text/plain", "data": format!("from {MAIL}")});
    let content = json!([{"type": "document", "source": source}]);
    let call = lab.send(&super::message(
        json!({"messages": [{"role": "user", "content": content}]}),
    ));
    let sent = String::from_utf8(call.body.clone()).unwrap();
    assert!(!sent.contains(MAIL), "document {sent}");
}

#[test]
fn what_only_is_put_back_depends_on_nothing_else_at_trailers_either() {
    let mut lab = Lab::new(guard("restore"));
    let said = json!({"messages": [{"role": "user", "content": MAIL}]});
    let mut call = lab.send(&chat(said));
    call.respond(&mut lab, 200, &[("content-type", "application/json")], false);
    call.chunk(&mut lab, "no json", false);
    assert_eq!(trailed(&mut lab, &mut call), "no json");
    assert!(call.reply.is_none());
}

#[test]
fn claims_that_nobody_could_look_up_are_unchecked() {
    let mut lab = Lab::new(json!({"validate": [{"name": "grounded", "on_invalid": ["reject"],
        "grounding": {"fields": ["/who"], "at_least": 1, "otherwise": "reject"}}]}));
    lab.load = Load {
        kept: 64 << 20,
        ..Load::default()
    };
    let mut call = lab.send(&chat(json!({})));
    call.answer(&mut lab, 200, &answered("{\"who\": \"nobody said\"}", 9, 41));
    assert_eq!(
        call.answer_header("x-spillway-validation").as_deref(),
        Some("unchecked")
    );
}

#[test]
fn a_chance_that_is_too_dear_leaves_no_name() {
    let mut lab = Lab::new(laid(&[
        validation(json!({"on_invalid": ["fallback", "annotate"]})),
        json!({"limits": [{"name": "tokens", "per": ["caller"], "tokens": "400/min"}]}),
    ]));
    let mut call = lab.send(&chat(json!({"max_tokens": 350})));
    assert!(call.reply.is_none());
    call.answer(&mut lab, 200, &answered("no json", 10, 350));
    assert!(call.call.is_none());
    assert_eq!(call.record(&mut lab)["provider"], "openai");
}

#[test]
fn what_may_not_be_said_to_one_stops_no_other() {
    let cards = json!({"name": "cards", "kinds": ["card"], "on": ["request"], "action": "block"});
    let mails = json!({"name": "mails", "kinds": ["email"], "action": "mask"});
    let mut lab = Lab::new(laid(&[
        validation(json!({"on_invalid": ["retry", "fallback", "reject"]})),
        json!({"guards": [cards, mails]}),
    ]));
    let mut call = lab.send(&chat(json!({})));
    call.answer(&mut lab, 200, &answered("pay 4242 4242 4242 4242", 10, 20));
    let asked = call.call.take().expect("the next one is asked");
    assert_eq!(asked.cluster, "backup");
    assert!(!String::from_utf8(asked.body).unwrap().contains("4242"));
}

#[test]
fn a_document_in_an_answer_is_a_text() {
    let mut lab = Lab::new(guard("mask"));
    let mut call = lab.send(&super::message(json!({})));
    let source = json!({"type": "text", "media_type": "text/plain", "data": format!("from {MAIL}")});
    let fetched = json!({"type": "web_fetch_result", "url": "https://x", "content": {"type": "document", "source": source}});
    let answer = json!({"type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
        "content": [{"type": "web_fetch_tool_result", "tool_use_id": "t", "content": fetched}],
        "usage": {"input_tokens": 1, "output_tokens": 1}});
    call.answer(&mut lab, 200, &answer.to_string());
    assert!(!call.answer_text().contains(MAIL), "{}", call.answer_text());
}

#[test]
fn variables_of_a_template_are_judged() {
    let mut lab = Lab::new(moderation(json!({"on": ["request"]})));
    let body = json!({"model": "gpt-4o", "prompt": {"id": "pmpt_1", "variables": {"q": "evil words"}}});
    let call = lab.send(&Request::post("/v1/responses", body.to_string()));
    let asked = call.call.expect("a question");
    assert!(String::from_utf8(asked.body).unwrap().contains("evil words"));
}

#[test]
fn a_better_answer_asked_for_at_trailers_is_waited_for() {
    let ladder = json!({"on_invalid": ["retry", "reject"]});
    let mut lab = Lab::new(laid(&[
        validation(ladder),
        moderation(json!({"on_failure": "allow"})),
    ]));
    let mut call = lab.send(&chat(json!({})));
    call.respond(&mut lab, 200, &[("content-type", "application/json")], false);
    call.chunk(&mut lab, &answered("no json", 9, 41), false);
    let step = call.trailers(&mut lab);
    assert!(
        matches!(step.flow, Flow::Calls(_)),
        "the bad one goes on: {step:?}"
    );
}

#[test]
fn an_answer_stopped_at_its_trailers_costs_what_it_says() {
    let mut lab = Lab::new(guard("block"));
    let mut call = lab.send(&chat(json!({})));
    call.respond(&mut lab, 200, &[("content-type", "application/json")], false);
    call.chunk(&mut lab, &answered(MAIL, 9, 41), false);
    trailed(&mut lab, &mut call);
    assert_eq!((call.refused(), lab.used("acme")), (Some(502), 50));
}

#[test]
fn a_chance_that_is_too_dear_leaves_the_retry_budget_alone() {
    let mut lab = Lab::new(laid(&[
        validation(json!({"on_invalid": ["retry", "annotate"]})),
        json!({"limits": [{"name": "tokens", "per": ["caller"], "tokens": "400/min"}]}),
    ]));
    for worker in 1..=3 {
        lab.load.worker = worker;
        let request = chat(json!({"max_tokens": 350}))
            .without("x-tenant")
            .with("x-tenant", &format!("t{worker}"));
        let mut call = lab.send(&request);
        call.answer(&mut lab, 200, &answered("no json", 10, 350));
        assert!(call.call.is_none(), "the caller can't pay");
    }
    let others = Load {
        worker: 4,
        ..Load::default()
    };
    let now = lab.now.monotonic;
    assert!(
        (0..3).all(|repeating| {
            let load = Load { repeating, ..others };
            crate::failover::acquire(&lab.store, load, 0.0, now)
        }),
        "all three that are always allowed"
    );
}

#[test]
fn who_was_never_asked_isnt_charged_a_request() {
    let cards = json!({"name": "cards", "kinds": ["card"], "on": ["request"], "action": "block"});
    let mails = json!({"name": "mails", "kinds": ["email"], "action": "mask"});
    let granted = json!({"limits": [{"requests": "100/min"}]});
    let mut lab = Lab::new(laid(&[
        validation(json!({"on_invalid": ["retry", "fallback", "reject"]})),
        json!({"guards": [cards, mails], "providers": {"openai": granted, "backup": granted}}),
    ]));
    let mut call = lab.send(&chat(json!({})));
    call.answer(&mut lab, 200, &answered("pay 4242 4242 4242 4242", 10, 20));
    let asked = call.call.take().expect("the next one is asked");
    assert_eq!(asked.cluster, "backup");
    assert_eq!((lab.granted("openai"), lab.granted("backup")), (1, 1));
}
