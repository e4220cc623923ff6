//! Ends in every state: whatever was set aside is settled, once.

use serde_json::{Value, json};

use super::{Call, Ending, Lab, Request, answered, chat, delta};

const ENDINGS: [Ending; 5] = [
    Ending::Complete,
    Ending::ClientAbort,
    Ending::UpstreamReset,
    Ending::Timeout,
    Ending::Aborted,
];

#[test]
fn an_exchange_that_never_began_has_no_record() {
    let mut lab = Lab::new(json!({}));
    for ending in ENDINGS {
        assert!(
            lab.turn(|turn| super::Exchange::Start.end(turn, ending))
                .is_none()
        );
    }
}

#[test]
fn a_request_given_up_before_it_was_whole_costs_nothing() {
    let mut lab = Lab::new(json!({}));
    for ending in ENDINGS {
        let mut call = Call::begin(&mut lab, &chat(json!({})));
        call.upload(&mut lab, b"{", false);
        assert_eq!(call.end(&mut lab, ending)["end"], "client_abort");
    }
    assert_eq!(lab.used("acme"), 0);
}

#[test]
fn a_request_answered_by_the_host_costs_nothing() {
    let mut lab = Lab::new(json!({}));
    let mut call = Call::begin(&mut lab, &chat(json!({})));
    call.upload(&mut lab, b"{", false);
    lab.later(core::time::Duration::from_millis(5));
    call.respond(&mut lab, 413, &[], true);
    let record = call.record(&mut lab);
    assert_eq!(
        (&record["status"], &record["duration_ms"]),
        (&json!(413), &json!(5))
    );
    assert_eq!(lab.used("acme"), 0);
}

#[test]
fn a_prompt_that_was_sent_is_charged_though_nothing_came() {
    for ending in ENDINGS {
        let mut lab = Lab::new(json!({}));
        let call = lab.send(&chat(json!({})));
        let record = call.end(&mut lab, ending);
        assert_eq!(record["actual"]["source"], "estimate");
        assert_eq!(Value::from(lab.used("acme")), record["estimate"], "{ending:?}");
    }
}

#[test]
fn an_answer_broken_off_is_charged_once_whatever_ended_it() {
    for ending in ENDINGS {
        let mut lab = Lab::new(json!({}));
        let mut call = lab.send(&chat(json!({"stream": true})));
        call.stream(&mut lab, &[&delta("some words", None)]);
        let record = call.end(&mut lab, ending);
        let sum = record["actual"]["input"].as_u64().unwrap() + record["actual"]["output"].as_u64().unwrap();
        assert_eq!(lab.used("acme"), sum, "{ending:?}");
        assert_eq!(lab.metric("spillway.tokens.type=settled"), sum);
    }
}

#[test]
fn a_settled_exchange_stays_as_it_is() {
    let mut lab = Lab::new(json!({}));
    let mut call = lab.exchange(&chat(json!({})), 200, &answered("", 9, 41));
    call.chunk(&mut lab, "more", true);
    call.respond(&mut lab, 500, &[], true);
    for ending in ENDINGS {
        assert_eq!(lab.used("acme"), 50);
        call = Call {
            exchange: call.exchange,
            ..lab.send(&Request::post("/other", ""))
        };
        let _ = ending;
    }
    assert_eq!(call.end(&mut lab, Ending::UpstreamReset)["end"], "complete");
    assert_eq!(lab.used("acme"), 50);
}

#[test]
fn what_cannot_be_read_is_charged_as_reserved() {
    let mut lab = Lab::new(json!({}));
    let mut call = lab.send(&chat(json!({"max_tokens": 500})));
    let reserved = lab.used("acme");
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    call.respond(&mut lab, 200, &headers, false);
    call.chunk(&mut lab, "\u{1f}", true);
    assert_eq!(lab.used("acme"), reserved);
    assert_eq!(call.record(&mut lab)["actual"]["source"], "reserved");
    assert_eq!(lab.metric("spillway.answer.opaque.provider=openai"), 1);
}

#[test]
fn an_answer_without_usage_is_charged_as_reserved_and_absurd_usage_is_not_believed() {
    for (answer, metric) in [
        (json!({"choices": []}), "spillway.usage.missing.provider=openai"),
        (
            json!({"usage": {"prompt_tokens": -5, "completion_tokens": 1}}),
            "spillway.usage.fault.provider=openai",
        ),
    ] {
        let mut lab = Lab::new(json!({}));
        let mut call = lab.send(&chat(json!({})));
        let reserved = lab.used("acme");
        call.answer(&mut lab, 200, &answer.to_string());
        assert_eq!(lab.used("acme"), reserved);
        assert_eq!(lab.metric(metric), 1);
    }
}

#[test]
fn refusals_and_redirects_of_the_provider_cost_nothing() {
    for status in [301, 400, 404, 429, 500] {
        let mut lab = Lab::new(json!({}));
        lab.exchange(&chat(json!({})), status, "{}");
        assert_eq!(lab.used("acme"), 0, "{status}");
    }
}

#[test]
fn an_answer_without_a_body_is_settled_at_its_headers() {
    for status in [200, 204, 500] {
        let mut lab = Lab::new(json!({}));
        let mut call = lab.send(&chat(json!({})));
        call.respond(&mut lab, status, &[("content-type", "application/json")], true);
        assert_eq!(call.record(&mut lab)["end"], "complete");
        assert_eq!(lab.metric("spillway.tokens.type=settled"), lab.used("acme"));
    }
}

#[test]
fn a_client_that_goes_when_the_json_is_whole_pays_its_usage() {
    let mut lab = Lab::new(json!({}));
    let mut call = lab.send(&chat(json!({})));
    call.respond(&mut lab, 200, &[("content-type", "application/json")], false);
    call.chunk(&mut lab, &answered("", 9, 41), false);
    assert_eq!(call.end(&mut lab, Ending::ClientAbort)["end"], "complete");
    assert_eq!(lab.used("acme"), 50);
}
