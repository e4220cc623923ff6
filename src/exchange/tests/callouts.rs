//! Failing over by callouts: what the client, the providers, the ledger and the breakers see of it.

use core::time::Duration;

use serde_json::{Value, json};

use super::{Call, DONE, Ending, Lab, Request, answered, chat, delta, usage};
use crate::exchange::CallAnswer;
use crate::headers::Headers;

/// A policy that fails over by callouts, with more over it.
fn lab(changes: Value) -> Lab {
    let mut document = json!({
        "failover": {"via": "callout"},
        "providers": {"backup": {"authority": "backup.test", "credential": {"env": "OPENAI_API_KEY"}}},
    });
    super::merge(&mut document, changes);
    Lab::new(document)
}

fn headers(status: u16, more: &[(&str, &str)]) -> Headers {
    let status = status.to_string();
    let fields = [(":status", status.as_str())];
    fields.iter().chain(more).copied().collect()
}

fn json_answer(status: u16, body: &str) -> CallAnswer {
    CallAnswer {
        headers: headers(status, &[("content-type", "application/json")]),
        body: body.into(),
        unsent: false,
    }
}

fn block(events: &[&str]) -> CallAnswer {
    CallAnswer {
        headers: headers(200, &[("content-type", "text/event-stream")]),
        body: events.concat().into(),
        unsent: false,
    }
}

/// Sends a request whose first attempt is answered so.
fn failed(lab: &mut Lab, request: &Request, status: u16) -> Call {
    let mut call = lab.send(request);
    call.respond(lab, status, &[("content-type", "application/json")], false);
    call
}

#[test]
fn a_503_is_asked_again_at_the_next_and_the_client_gets_that_answer() {
    let mut lab = lab(json!({}));
    let mut call = failed(&mut lab, &chat(json!({"n": 1})), 503);
    let asked = call.call.take().unwrap();
    assert_eq!(asked.cluster, "backup");
    let header = |name: &str| {
        asked
            .headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    };
    assert_eq!(header(":path"), Some("/v1/chat/completions"));
    assert_eq!(header(":authority"), Some("backup.test"));
    assert_eq!(header("authorization"), Some("Bearer sk-s3cr3t-openai"));
    assert_eq!(header("x-tenant"), None, "identities stay here");
    call.called(&mut lab, json_answer(200, &answered("hi", 10, 20)));
    let reply = call.reply.clone().unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(call.reply_json()["choices"][0]["message"]["content"], "hi");
    assert_eq!(
        call.reply_header("x-spillway-provider").as_deref(),
        Some("backup")
    );
    assert!(call.reply_header("x-ratelimit-remaining-tokens").is_some());
    assert_eq!(lab.used("acme"), 30);
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
fn a_stream_that_begins_with_an_error_is_never_seen_and_the_next_comes_as_one_block() {
    let mut lab = lab(json!({}));
    let mut call = lab.send(&chat(json!({"stream": true})));
    call.stream(&mut lab, &["data: {\"error\":{\"message\":\"overloaded\"}}\n\n"]);
    assert_eq!(call.answer_text(), "");
    assert_eq!(call.call.take().unwrap().cluster, "backup");
    let events = [&delta("hi", None), &delta("", Some("stop")), &usage(3, 1), DONE];
    call.called(&mut lab, block(&events));
    let body = String::from_utf8(call.reply.clone().unwrap().body).unwrap();
    assert_eq!(
        body,
        [&delta("hi", None), &delta("", Some("stop")), DONE].concat()
    );
    let record = call.record(&mut lab);
    let first = record["attempts"][0]["tokens"].as_u64().unwrap();
    assert_eq!(lab.used("acme"), 4 + first);
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
fn a_client_that_hangs_up_during_a_call_leaves_nothing_behind() {
    let mut lab = lab(json!({}));
    let mut call = failed(&mut lab, &chat(json!({})), 500);
    assert!(call.call.take().is_some());
    let record = call.end(&mut lab, Ending::ClientAbort);
    assert_eq!(record["end"], "client_abort");
    assert_eq!(
        lab.used("acme"),
        record["estimate"].as_u64().unwrap(),
        "the prompt may have been read"
    );
    let _ = Duration::ZERO;
}
