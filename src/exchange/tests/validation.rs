//! Answers against their schema, in each host setting.

use serde_json::{Value, json};

use super::{DONE, Ending, Flow, Lab, Request, answered, chat, delta, usage};

fn rule(on_invalid: &str) -> Value {
    let schema = json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}});
    json!({"validate": [{"name": "order", "when": {"header": {"x-feature": "extract"}}, "schema": schema,
        "on_invalid": [on_invalid]}]})
}

fn request() -> Request {
    chat(json!({}))
        .with("x-feature", "extract")
        .with("x-model", "gpt-4o")
}

fn streamed() -> Request {
    chat(json!({"stream": true}))
        .with("x-feature", "extract")
        .with("x-model", "gpt-4o")
}

const VERDICT: &str = "x-spillway-validation";

#[test]
fn a_good_answer_passes_and_says_so() {
    for on_invalid in ["reject", "annotate"] {
        let mut lab = Lab::new(rule(on_invalid));
        let body = answered(r#"{"id": 1}"#, 9, 41);
        let call = lab.exchange(&request(), 200, &body);
        assert_eq!(call.answer_text(), body);
        assert_eq!(call.answer_header(VERDICT).as_deref(), Some("valid"));
        assert_eq!(lab.metric("spillway.schema.rule=order.verdict=valid"), 1);
    }
}

#[test]
fn a_bad_answer_is_rejected_with_its_paths_and_paid_for() {
    let mut lab = Lab::new(rule("reject"));
    let call = lab.exchange(&request(), 200, &answered(r#"{"id": "private"}"#, 9, 41));
    assert_eq!(call.refused(), Some(502));
    let told = call.reply_json().to_string();
    assert!(told.contains("/id (type)") && !told.contains("private"), "{told}");
    assert_eq!(call.reply_header(VERDICT).as_deref(), Some("invalid"));
    assert_eq!(lab.used("acme"), 50);
    let record = call.record(&mut lab);
    assert_eq!(
        (&record["validation"], &record["refused"]),
        (&json!("invalid"), &json!("answer"))
    );
}

#[test]
fn a_bad_answer_is_annotated_where_that_is_asked_for() {
    let mut lab = Lab::new(rule("annotate"));
    let body = answered("words", 9, 41);
    let call = lab.exchange(&request(), 200, &body);
    assert_eq!(call.answer_text(), body);
    assert_eq!(call.answer_header(VERDICT).as_deref(), Some("not_json"));
}

#[test]
fn a_rule_in_shadow_only_counts() {
    let mut shadow = rule("reject");
    shadow["mode"] = json!("shadow");
    let mut lab = Lab::new(shadow);
    let body = answered("words", 9, 41);
    let mut call = lab.exchange(&request(), 200, &body);
    assert_eq!((call.answer_text(), call.answer_header(VERDICT)), (body, None));
    assert_eq!(lab.metric("spillway.schema.rule=order.verdict=not_json"), 1);
    call = lab.send(&streamed());
    let events = [delta("words", None), delta("", Some("stop"))];
    call.stream(&mut lab, &[&events[0], &events[1]]);
    call.chunk(&mut lab, DONE, true);
    assert_eq!(call.answer_text(), [&events[0], &events[1], DONE].concat());
    assert_eq!(lab.metric("spillway.schema.rule=order.verdict=not_json"), 2);
}

#[test]
fn headers_first_a_bad_answer_becomes_an_error_under_its_status() {
    let mut lab = Lab::headers_first(rule("reject"));
    let mut call = lab.send(&request());
    let headers = [("content-type", "application/json"), ("content-length", "300")];
    call.respond(&mut lab, 200, &headers, false);
    assert_eq!(call.answer_header("content-length"), None);
    let body = answered("words", 9, 41);
    let (first, rest) = body.split_at(50);
    call.chunk(&mut lab, first, false);
    assert_eq!(call.answer_text(), "");
    call.chunk(&mut lab, rest, true);
    let told: Value = serde_json::from_slice(&call.answer).unwrap();
    assert_eq!(told["error"]["code"], "invalid_answer");
    assert_eq!(lab.used("acme"), 50);
}

#[test]
fn headers_first_an_annotation_comes_too_late_and_is_counted() {
    let mut lab = Lab::headers_first(rule("annotate"));
    let body = answered("words", 9, 41);
    let call = lab.exchange(&request(), 200, &body);
    assert_eq!((call.answer_text(), call.answer_header(VERDICT)), (body, None));
    assert_eq!(lab.metric("spillway.schema.rule=order.verdict=not_json"), 1);
}

#[test]
fn a_bad_stream_ends_with_an_error_instead_of_its_end() {
    for mut lab in [Lab::new(rule("reject")), Lab::headers_first(rule("reject"))] {
        let mut call = lab.send(&streamed());
        call.stream(
            &mut lab,
            &[
                &delta("words", None),
                &delta("", Some("stop")),
                &usage(9, 41),
                DONE,
            ],
        );
        call.chunk(&mut lab, "", true);
        let text = call.answer_text();
        assert!(text.starts_with(&delta("words", None)), "{text}");
        assert!(
            text.contains("data: {\"error\":") && text.contains("invalid_answer"),
            "{text}"
        );
        assert!(!text.contains("[DONE]") && !text.contains("\"stop\""), "{text}");
        assert_eq!(lab.used("acme"), 50);
        assert_eq!(call.record(&mut lab)["validation"], "not_json");
    }
}

#[test]
fn a_good_stream_passes_whole() {
    let mut lab = Lab::new(rule("reject"));
    let mut call = lab.send(&streamed());
    let events = [
        delta(r#"{"id":"#, None),
        delta(" 1}", None),
        delta("", Some("stop")),
    ];
    call.stream(
        &mut lab,
        &[&events[0], &events[1], &events[2], &usage(9, 41), DONE],
    );
    call.chunk(&mut lab, "", true);
    assert_eq!(call.answer_text(), [&events.concat(), DONE].concat());
}

#[test]
fn what_is_no_answer_has_a_verdict_of_its_own_and_passes() {
    let choice = |reason: &str, message: Value| {
        json!({"choices": [{"index": 0, "finish_reason": reason, "message": message}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
    };
    let several = json!({"choices": [
        {"index": 0, "finish_reason": "stop", "message": {"content": "a"}},
        {"index": 1, "finish_reason": "stop", "message": {"content": "b"}}]});
    for (body, verdict) in [
        (choice("stop", json!({"refusal": "no"})), "refusal"),
        (choice("content_filter", json!({"content": "x"})), "filtered"),
        (choice("length", json!({"content": "{"})), "truncated"),
        (
            choice("tool_calls", json!({"tool_calls": [{"function": {"name": "f"}}]})),
            "tool_calls",
        ),
        (several, "several"),
        (json!({"error": {"message": "x"}}), "unchecked"),
    ] {
        let mut lab = Lab::new(rule("reject"));
        let call = lab.exchange(&request(), 200, &body.to_string());
        assert_eq!(
            (call.refused(), call.answer_header(VERDICT).as_deref()),
            (None, Some(verdict))
        );
    }
}

#[test]
fn an_empty_body_is_no_answer() {
    let mut lab = Lab::new(rule("reject"));
    let mut call = lab.send(&request());
    call.respond(&mut lab, 200, &[("content-type", "application/json")], true);
    assert_eq!(call.refused(), Some(502));
}

#[test]
fn an_answer_over_the_bound_passes_unchecked() {
    let mut changes = rule("reject");
    changes["bounds"] = json!({"response_body": "1KiB"});
    let mut lab = Lab::new(changes);
    let mut call = lab.send(&request());
    let body = answered(&"x".repeat(3_000), 9, 41);
    call.respond(&mut lab, 200, &[("content-type", "application/json")], false);
    for part in body.as_bytes().chunks(400) {
        call.chunk(&mut lab, core::str::from_utf8(part).unwrap(), false);
    }
    call.chunk(&mut lab, "", true);
    assert_eq!(call.answer_text(), body);
    assert_eq!(lab.used("acme"), 50);
    assert_eq!(call.record(&mut lab)["validation"], "unchecked");
}

#[test]
fn an_error_is_not_judged() {
    let mut lab = Lab::new(rule("reject"));
    let call = lab.exchange(&request(), 400, r#"{"error":{}}"#);
    assert_eq!(call.refused(), None);
    assert_eq!(call.answer_header(VERDICT), None);
}

#[test]
fn an_answer_broken_off_is_unchecked() {
    let mut lab = Lab::new(rule("reject"));
    let mut call = lab.send(&request());
    call.respond(&mut lab, 200, &[("content-type", "application/json")], false);
    call.chunk(&mut lab, "{", false);
    let record = call.end(&mut lab, Ending::ClientAbort);
    assert_eq!(
        (&record["validation"], &record["actual"]["source"]),
        (&json!("unchecked"), &json!("reserved"))
    );
}

#[test]
fn an_answer_that_ends_in_trailers_is_judged_like_any_other() {
    let mut lab = Lab::new(rule("reject"));
    let mut call = lab.send(&request());
    call.respond(&mut lab, 200, &[("content-type", "application/json")], false);
    call.chunk(&mut lab, &answered(r#"{"id": "private"}"#, 9, 41), false);
    let step = call.trailers(&mut lab);
    assert!(matches!(step.flow, Flow::Reply(reply) if reply.status == 502));
    assert_eq!(lab.used("acme"), 50);
}
