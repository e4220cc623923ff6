//! Verdicts from outside: what waits for them, what they stop, and that nothing leaks while they are out.

use core::time::Duration;

use serde_json::{Value, json};

use super::{
    Call, CallAnswer, DONE, Ending, Exchange, Lab, OPENAI_KEY, Request, answered, chat, delta, message, usage,
};
use crate::exchange::{Errand, ErrandKind};
use crate::headers::Headers;

/// A moderation at provider `openai`, with what `changes` puts over it.
fn asked(changes: Value) -> Value {
    let mut rule = json!({"name": "safety", "on": ["request"], "provider": "openai", "ask": "moderation"});
    super::merge(&mut rule, changes);
    json!({"moderation": [rule]})
}

fn responded(status: u16, body: &Value) -> CallAnswer {
    CallAnswer {
        headers: [(":status".to_owned(), status.to_string().into_bytes())]
            .into_iter()
            .collect::<Headers>(),
        body: body.to_string().into_bytes(),
        unsent: false,
    }
}

fn says(flagged: bool) -> CallAnswer {
    responded(
        200,
        &json!({"results": [{"flagged": flagged, "categories": {"hate": flagged}}]}),
    )
}

fn question(call: &Call) -> Value {
    serde_json::from_slice(&call.call.as_ref().expect("a question").body).unwrap()
}

/// The calls that no exchange waits for.
fn errands(lab: &mut Lab) -> Vec<Errand> {
    core::mem::take(&mut lab.effects.errands)
}

fn back(lab: &mut Lab, kind: ErrandKind, answer: CallAnswer) {
    lab.turn(|turn| turn.came_back(kind, &answer));
}

#[test]
fn what_a_guard_keeps_from_the_provider_is_kept_from_others_too() {
    for action in ["mask", "restore", "block"] {
        let mut changes = asked(json!({"on": ["request", "answer"]}));
        // What a guard refuses of a request nobody else hears of at all.
        let on = if action == "block" { "answer" } else { "request" };
        let guard = json!({"name": "mail", "kinds": ["email"], "on": [on], "action": action});
        let review = json!({"cluster": "people", "authority": "people.example", "path": "/posts", "when": ["flagged"],
            "samples": true});
        super::merge(&mut changes, json!({"guards": [guard], "review": review}));
        let mut lab = Lab::new(changes);
        let asks = json!({"messages": [{"role": "user", "content": "write to ann@example.com"}]});
        let mut call = lab.send(&chat(asks));
        let asked = question(&call).to_string();
        assert!(
            asked.contains("write to ") && !asked.contains("ann@"),
            "{action}: {asked}"
        );
        call.called(&mut lab, says(true));
        call.end(&mut lab, Ending::Complete);
        let errands = errands(&mut lab);
        let post = String::from_utf8(errands.last().unwrap().call.body.clone()).unwrap();
        assert!(
            post.contains("write to ") && !post.contains("ann@"),
            "{action}: {post}"
        );
    }
}

const CLEAN: &str = "spillway.moderation.rule=safety.side=request.verdict=clean";
const FLAGGED: &str = "spillway.moderation.rule=safety.side=request.verdict=flagged";

#[test]
fn a_request_is_held_until_it_is_judged_and_then_goes_on_as_it_would_have() {
    for body_pause in [true, false] {
        let host = json!({"host": {"body_pause": body_pause, "model_header": "x-model"}});
        let mut changes = asked(json!({}));
        super::merge(&mut changes, host);
        let mut lab = Lab::new(changes);
        let mut call = lab.send(&chat(json!({"model": "gpt-4o-mini"})).with("x-model", "gpt-4o-mini"));
        assert!(call.body.is_empty() && call.reply.is_none(), "it waits");
        let out = call.call.clone().unwrap();
        assert_eq!(out.cluster, "openai");
        let header = |name: &str| {
            out.headers
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.as_str())
        };
        assert_eq!(header(":path"), Some("/v1/moderations"));
        assert_eq!(header(":authority"), Some("api.openai.com"));
        assert_eq!(
            header("authorization"),
            Some(format!("Bearer {OPENAI_KEY}").as_str())
        );
        assert_eq!(
            question(&call),
            json!({"model": "omni-moderation-latest", "input": "private words"})
        );
        assert_eq!(lab.used("acme"), 0, "nothing is set aside yet");
        call.called(&mut lab, says(false));
        assert_eq!(call.body_json()["messages"][0]["content"], "private words");
        if body_pause {
            assert_eq!(call.header("x-spillway-cluster").as_deref(), Some("openai"));
        }
        assert!(lab.used("acme") > 0);
        call.answer(&mut lab, 200, &answered("hello", 10, 5));
        assert_eq!(
            call.answer_header("x-spillway-moderation").as_deref(),
            Some("clean")
        );
        let record = call.record(&mut lab);
        assert_eq!(record["moderation"][0]["verdict"], "clean");
        assert_eq!(record["end"], "complete");
        assert_eq!(lab.metric(CLEAN), 1);
    }
}

#[test]
fn a_flagged_request_is_refused_in_its_own_dialect_and_costs_nothing() {
    let mut lab = Lab::new(asked(json!({})));
    for (request, kind) in [
        (chat(json!({})), "invalid_request_error"),
        (message(json!({})), "invalid_request_error"),
    ] {
        let mut call = lab.send(&request);
        call.called(&mut lab, says(true));
        assert_eq!(call.refused(), Some(400));
        assert_eq!(call.reply_json()["error"]["type"], kind);
        assert_eq!(call.reply_header("x-should-retry").as_deref(), Some("false"));
        assert_eq!(
            call.reply_header("x-spillway-moderation").as_deref(),
            Some("flagged")
        );
        assert!(!String::from_utf8_lossy(&call.reply.as_ref().unwrap().body).contains("private"));
        assert!(call.body.is_empty(), "nothing went to a provider");
        let record = call.record(&mut lab);
        assert_eq!(record["refused"], "flagged");
        assert_eq!(record["moderation"][0]["categories"], json!(["hate"]));
        assert!(!record.to_string().contains("private"));
    }
    assert_eq!(lab.used("acme"), 0);
    assert_eq!(lab.metric(FLAGGED), 2);
    assert_eq!(lab.metric("spillway.refused.reason=flagged"), 2);
}

#[test]
fn without_a_verdict_a_blocking_moderation_blocks_unless_the_policy_says_otherwise() {
    let failures = [
        ("unsent", CallAnswer::unsent()),
        ("reset", CallAnswer::default()),
        ("timeout", responded(504, &json!("upstream request timeout"))),
        ("status", responded(500, &json!({}))),
        ("garbage", responded(200, &json!({"results": []}))),
    ];
    for (why, answer) in failures {
        let mut lab = Lab::new(asked(json!({})));
        let mut call = lab.send(&chat(json!({})));
        call.called(&mut lab, clone(&answer));
        assert_eq!(call.refused(), Some(503), "{why}");
        assert_eq!(call.reply_header("retry-after").as_deref(), Some("1"));
        assert_eq!(
            lab.metric(&format!("spillway.moderation.failed.rule=safety.reason={why}")),
            1
        );
        assert_eq!(lab.used("acme"), 0);
        assert_eq!(call.record(&mut lab)["moderation"][0]["why"], why);

        let mut lab = Lab::new(asked(json!({"on_failure": "allow"})));
        let mut call = lab.send(&chat(json!({})));
        call.called(&mut lab, answer);
        assert!(call.refused().is_none() && !call.body.is_empty(), "{why}");
        call.answer(&mut lab, 200, &answered("hello", 10, 5));
        assert_eq!(
            call.answer_header("x-spillway-moderation").as_deref(),
            Some("failed")
        );
    }
}

fn clone(answer: &CallAnswer) -> CallAnswer {
    CallAnswer {
        headers: answer
            .headers
            .iter()
            .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec()))
            .collect(),
        body: answer.body.clone(),
        unsent: answer.unsent,
    }
}

#[test]
fn what_can_never_be_judged_is_told_so_and_nobody_is_asked() {
    let mut lab = Lab::new(asked(json!({"bound": 1024})));
    let long = lab.send(&chat(
        json!({"messages": [{"role": "user", "content": "x".repeat(2_000)}]}),
    ));
    assert!(long.call.is_none());
    assert_eq!(long.refused(), Some(400));
    let tokens = Request::post(
        "/v1/completions",
        json!({"model": "gpt-4o", "prompt": [1, 2]}).to_string(),
    );
    assert_eq!(lab.send(&tokens).refused(), Some(400));
    assert_eq!(
        lab.metric("spillway.moderation.failed.rule=safety.reason=too_long"),
        1
    );
    assert_eq!(
        lab.metric("spillway.moderation.failed.rule=safety.reason=unread"),
        1
    );
}

#[test]
fn a_host_that_forgets_a_calls_time_is_not_waited_for() {
    let mut lab = Lab::new(asked(json!({"timeout": "800ms"})));
    let mut call = lab.send(&chat(json!({})));
    let due = call.exchange.due().unwrap();
    assert_eq!(due.since(lab.now.monotonic), Duration::from_millis(1_050));
    call.wake(&mut lab);
    assert!(call.reply.is_none());
    lab.later(Duration::from_millis(1_050));
    call.wake(&mut lab);
    assert_eq!(call.refused(), Some(503));
    call.called(&mut lab, says(false));
    assert!(call.body.is_empty(), "too late");
}

#[test]
fn a_client_that_goes_meanwhile_leaves_nothing() {
    let mut lab = Lab::new(asked(json!({"on": ["request", "answer"]})));
    let call = lab.send(&chat(json!({})));
    assert!(call.exchange.weight().kept > 0);
    let record = call.end(&mut lab, Ending::ClientAbort);
    assert_eq!(record["end"], "client_abort");
    assert_eq!(record["moderation"][0]["why"], "abandoned");
    assert_eq!(lab.used("acme"), 0);
    let mut call = lab.send(&chat(json!({})));
    call.called(&mut lab, says(false));
    call.answer(&mut lab, 200, &answered("hello", 10, 5));
    let record = call.end(&mut lab, Ending::ClientAbort);
    assert_eq!(record["end"], "client_abort");
    assert_eq!(
        record["actual"]["output"], 5,
        "the provider's bill is settled all the same"
    );
    assert_eq!(lab.used("acme"), 15);
}

#[test]
fn callers_with_nothing_left_are_refused_before_anybody_is_asked() {
    let mut changes = asked(json!({}));
    changes["limits"] = json!([{"name": "one", "per": ["caller"], "requests": "1/h"}]);
    let mut lab = Lab::new(changes);
    let mut first = lab.send(&chat(json!({})));
    first.called(&mut lab, says(false));
    let second = lab.send(&chat(json!({})));
    assert!(second.call.is_none());
    assert_eq!(second.refused(), Some(429));
    assert!(second.reply_header("retry-after").is_some());
}

fn three(more: Value) -> Value {
    let rule = |name: &str| {
        let mut rule = json!({"name": name, "on": ["request"], "provider": "openai", "ask": "moderation"});
        super::merge(&mut rule, more.clone());
        rule
    };
    json!({"moderation": [rule("one"), rule("two"), rule("three")]})
}

fn said(record: &Value) -> Vec<(String, String)> {
    let notes = record["moderation"].as_array().unwrap();
    let word = |note: &Value, name: &str| note[name].as_str().unwrap_or_default().to_owned();
    notes
        .iter()
        .map(|note| (word(note, "name"), word(note, "verdict")))
        .collect()
}

#[test]
fn moderations_are_asked_at_once_and_the_first_that_objects_ends_it() {
    let mut lab = Lab::new(three(json!({})));
    let mut call = lab.send(&chat(json!({})));
    let out: Vec<usize> = call.call.iter().chain(&call.more).map(|call| call.of).collect();
    assert_eq!(out, [0, 1, 2]);
    call.called_of(&mut lab, 2, says(false));
    assert!(call.reply.is_none() && call.body.is_empty());
    call.called_of(&mut lab, 1, says(true));
    assert_eq!(call.refused(), Some(400));
    assert!(
        call.reply_json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("two")
    );
    // What the last one says comes too late.
    call.called_of(&mut lab, 0, says(false));
    assert!(call.body.is_empty());
    let notes = said(&call.record(&mut lab));
    let expected = [("three", "clean"), ("two", "flagged"), ("one", "failed")];
    assert_eq!(
        notes,
        expected.map(|(name, word)| (name.to_owned(), word.to_owned()))
    );
}

#[test]
fn what_waits_for_several_goes_on_when_all_have_spoken_in_any_order() {
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let mut lab = Lab::new(three(json!({"on": ["request", "answer"], "on_failure": "allow"})));
        let mut call = lab.send(&chat(json!({})));
        for at in order {
            assert!(call.body.is_empty());
            call.called_of(&mut lab, at, says(false));
            // Twice the same says nothing.
            call.called_of(&mut lab, at, says(true));
        }
        assert!(call.reply.is_none() && !call.body.is_empty(), "{order:?}");
        call.answer(&mut lab, 200, &answered("its words", 10, 5));
        for at in order {
            assert_eq!(call.answer_text(), "");
            let failed = CallAnswer::unsent();
            call.called_of(&mut lab, at, if at == 1 { failed } else { says(false) });
        }
        assert!(call.answer_text().contains("its words"));
        assert_eq!(
            call.answer_header("x-spillway-moderation").as_deref(),
            Some("failed")
        );
    }
}

#[test]
fn several_that_the_host_forgets_are_given_up_at_their_times() {
    let mut lab = Lab::new(three(json!({"on_failure": "allow", "timeout": "100ms"})));
    let mut call = lab.send(&chat(json!({})));
    call.called_of(&mut lab, 1, says(false));
    lab.later(Duration::from_secs(1));
    call.wake(&mut lab);
    assert!(call.reply.is_none() && !call.body.is_empty());
    assert_eq!(call.exchange.due(), None);
    let words: Vec<String> = said(&call.record(&mut lab))
        .into_iter()
        .map(|(_, word)| word)
        .collect();
    assert_eq!(words, ["clean", "failed", "failed"]);
}

#[test]
fn nobody_is_asked_about_what_a_guard_refuses() {
    let guard = |more: Value| {
        let mut guard = json!({"name": "cards", "kinds": ["card"], "on": ["request"], "action": "block"});
        super::merge(&mut guard, more);
        json!({"guards": [guard]})
    };
    let said = chat(json!({"messages": [{"role": "user", "content": "4242 4242 4242 4242"}]}));
    for (more, asks) in [
        (json!({}), false),
        (json!({"mode": "shadow"}), true),
        (json!({"when": {"model": ["claude"]}}), true),
        (json!({"on": ["answer"]}), true),
        (json!({"action": "mask"}), true),
    ] {
        let mut changes = asked(json!({}));
        super::merge(&mut changes, guard(more.clone()));
        let mut lab = Lab::new(changes);
        let call = lab.send(&said);
        assert_eq!(
            (call.call.is_some(), call.refused()),
            (asks, (!asks).then_some(400)),
            "{more}"
        );
        if !asks {
            assert!(
                call.reply_json()["error"]["message"]
                    .as_str()
                    .unwrap()
                    .contains("cards")
            );
            assert_eq!(call.reply_header("x-spillway-moderation"), None);
            assert_eq!(call.record(&mut lab)["refused"], "guard");
        }
    }
}

#[test]
fn a_rule_concerns_the_paths_headers_and_models_that_it_names() {
    let when =
        json!({"when": {"path": "/v1/chat/completions", "header": {"x-app": "public"}, "model": ["gpt-4o"]}});
    let mut lab = Lab::new(asked(when));
    let is_asked = |lab: &mut Lab, request: &Request| lab.send(request).call.is_some();
    assert!(is_asked(&mut lab, &chat(json!({})).with("x-app", "public")));
    assert!(!is_asked(&mut lab, &chat(json!({}))));
    assert!(!is_asked(
        &mut lab,
        &chat(json!({"model": "gpt-4o-mini"})).with("x-app", "public")
    ));
    assert!(!is_asked(&mut lab, &message(json!({})).with("x-app", "public")));
}

#[test]
fn a_whole_answer_waits_for_its_verdict() {
    let mut lab = Lab::new(asked(json!({"on": ["answer"]})));
    let body = answered("its words", 10, 5);
    let mut call = lab.exchange(&chat(json!({})), 200, &body);
    assert!(call.answer.is_empty() && call.reply.is_none(), "it waits");
    assert_eq!(question(&call)["input"], "its words");
    assert_eq!(lab.used("acme"), 15, "settled before anybody is asked");
    call.called(&mut lab, says(false));
    assert_eq!(call.answer_text(), body);
    assert_eq!(
        call.answer_header("x-spillway-moderation").as_deref(),
        Some("clean")
    );
    assert_eq!(call.record(&mut lab)["moderation"][0]["side"], "answer");

    let mut call = lab.exchange(&chat(json!({})), 200, &body);
    call.called(&mut lab, says(true));
    assert!(call.answer.is_empty());
    assert_eq!(call.refused(), Some(502));
    assert_eq!(call.reply_json()["error"]["code"], "content_policy_violation");
    assert_eq!(call.record(&mut lab)["refused"], "flagged");
}

#[test]
fn an_answer_that_comes_in_pieces_is_read_within_as_it_comes_and_goes_out_whole() {
    let mut lab = Lab::new(asked(json!({"on": ["answer"]})));
    let body = answered("its words", 10, 5);
    for cut in 1..body.len() {
        let mut call = lab.send(&chat(json!({})));
        call.respond(&mut lab, 200, &[("content-type", "application/json")], false);
        call.chunk(&mut lab, &body[..cut], false);
        assert!(call.answer.is_empty());
        call.chunk(&mut lab, &body[cut..], false);
        call.chunk(&mut lab, "", true);
        assert_eq!(question(&call)["input"], "its words", "{cut}");
        call.called(&mut lab, says(false));
        assert_eq!(call.answer_text(), body, "{cut}");
        let record = call.record(&mut lab);
        assert_eq!(record["actual"]["source"], "usage", "{cut}");
        lab.later(Duration::from_secs(60));
    }
}

#[test]
fn headers_that_are_gone_leave_the_body_to_say_no() {
    let mut changes = asked(json!({"on": ["answer"]}));
    super::merge(
        &mut changes,
        json!({"host": {"body_pause": false, "model_header": "x-model"}}),
    );
    let mut lab = Lab::new(changes);
    let mut call = lab.send(&chat(json!({})).with("x-model", "gpt-4o"));
    call.respond(
        &mut lab,
        200,
        &[("content-type", "application/json"), ("content-length", "99")],
        false,
    );
    assert_eq!(call.answer_header("content-length"), None);
    call.chunk(&mut lab, &answered("its words", 10, 5), true);
    call.called(&mut lab, says(true));
    let told: Value = serde_json::from_slice(&call.answer).unwrap();
    assert_eq!(told["error"]["code"], "content_policy_violation");
}

#[test]
fn an_answer_that_cannot_be_read_or_is_too_long_is_no_way_around() {
    for (failure, status) in [("block", Some(502)), ("allow", None)] {
        let mut changes = asked(json!({"on": ["answer"], "on_failure": failure}));
        changes["bounds"] = json!({"response_body": 1024});
        let mut lab = Lab::new(changes);
        let mut call = lab.send(&chat(json!({})));
        call.respond(
            &mut lab,
            200,
            &[("content-type", "application/json"), ("content-encoding", "gzip")],
            false,
        );
        assert_eq!(call.refused(), status);
        let body = answered(&"x".repeat(3_000), 10, 5);
        let mut call = lab.send(&chat(json!({})));
        call.respond(&mut lab, 200, &[("content-type", "application/json")], false);
        call.chunk(&mut lab, &body[..2_000], false);
        assert_eq!(call.refused(), status);
        if status.is_none() {
            call.chunk(&mut lab, &body[2_000..], true);
            assert_eq!(call.answer_text(), body);
            assert_eq!(call.record(&mut lab)["actual"]["source"], "usage");
        } else {
            assert_eq!(call.record(&mut lab)["refused"], "unmoderated");
        }
        assert_eq!(
            lab.metric("spillway.moderation.failed.rule=safety.reason=too_long"),
            1
        );
        assert_eq!(
            lab.metric("spillway.moderation.failed.rule=safety.reason=unread"),
            1
        );
    }
}

#[test]
fn nothing_of_an_answer_that_is_too_long_follows_its_refusal() {
    let mut changes = asked(json!({"on": ["answer"]}));
    changes["bounds"] = json!({"response_body": 1024});
    changes["host"] = json!({"body_pause": false, "model_header": "x-model"});
    let mut lab = Lab::new(changes);
    let body = answered(&"x".repeat(3_000), 10, 5);
    for trails in [false, true] {
        let mut call = lab.send(&chat(json!({})).with("x-model", "gpt-4o"));
        call.respond(&mut lab, 200, &[("content-type", "application/json")], false);
        call.chunk(&mut lab, &body[..2_000], false);
        assert!(call.exchange.reads_answer(), "the host shows what still comes");
        call.chunk(&mut lab, &body[2_000..], !trails);
        if trails {
            call.trailers(&mut lab);
        }
        let told: Value = serde_json::from_slice(&call.answer).expect("the refusal alone");
        assert_eq!(told["error"]["code"], "moderation_unavailable");
        assert_eq!(call.refused(), None);
    }
}

#[test]
fn answers_cut_short_and_several_answers_are_judged_too() {
    let mut lab = Lab::new(asked(json!({"on": ["answer"]})));
    let choice = |index: u32, text: &str| json!({"index": index, "message": {"content": text}, "finish_reason": "length"});
    let body = json!({"choices": [choice(0, "first "), choice(1, "second")], "usage": {}}).to_string();
    let call = lab.exchange(&chat(json!({})), 200, &body);
    assert_eq!(question(&call)["input"], "first second");
}

#[test]
fn errors_and_silence_are_nobodys_business() {
    let mut lab = Lab::new(asked(json!({"on": ["answer"]})));
    let failed = lab.exchange(&chat(json!({})), 404, r#"{"error":{"message":"no"}}"#);
    assert!(failed.call.is_none());
    assert_eq!(failed.answer_text(), r#"{"error":{"message":"no"}}"#);
    let silent = answered("", 10, 5);
    let call = lab.exchange(&chat(json!({})), 200, &silent);
    assert!(call.call.is_none());
    assert_eq!(call.answer_text(), silent);
}

#[test]
fn a_stream_passes_and_its_end_waits() {
    for (flagged, ending) in [(false, DONE), (true, "content policy")] {
        let mut lab = Lab::new(asked(json!({"on": ["answer"]})));
        let mut call = lab.send(&chat(
            json!({"stream": true, "stream_options": {"include_usage": true}}),
        ));
        call.stream(&mut lab, &[&delta("its ", None), &delta("words", None)]);
        assert!(call.answer_text().contains("words"), "it passes as it comes");
        call.chunk(&mut lab, &delta("", Some("stop")), false);
        call.chunk(&mut lab, &usage(10, 5), false);
        call.chunk(&mut lab, DONE, false);
        assert!(!call.answer_text().contains("stop"), "its end is kept back");
        call.chunk(&mut lab, "", true);
        assert_eq!(question(&call)["input"], "its words");
        call.called(&mut lab, says(flagged));
        let text = call.answer_text();
        assert!(text.contains(ending), "{text}");
        assert_eq!(text.contains(DONE), !flagged);
        assert_eq!(text.contains("\"stop\""), !flagged);
        let record = call.record(&mut lab);
        assert_eq!(record["actual"]["output"], 5);
        assert_eq!(record["refused"].as_str(), flagged.then_some("flagged"));
    }
}

#[test]
fn a_stream_is_the_same_wherever_it_is_cut() {
    let mut lab = Lab::new(asked(json!({"on": ["answer"]})));
    let all = [
        delta("its ", None),
        delta("words", None),
        delta("", Some("stop")),
        usage(10, 5),
        DONE.into(),
    ]
    .concat();
    for cut in 1..all.len() {
        let mut call = lab.send(&chat(
            json!({"stream": true, "stream_options": {"include_usage": true}}),
        ));
        call.stream(&mut lab, &[&all[..cut], &all[cut..]]);
        call.chunk(&mut lab, "", true);
        assert_eq!(question(&call)["input"], "its words", "{cut}");
        call.called(&mut lab, says(false));
        assert_eq!(call.answer_text(), all, "{cut}");
        lab.later(Duration::from_secs(60));
    }
}

#[test]
fn who_only_annotates_a_stream_delays_nothing_of_it() {
    let mut lab = Lab::new(asked(json!({"on": ["answer"], "on_flagged": "annotate"})));
    let mut call = lab.send(&chat(
        json!({"stream": true, "stream_options": {"include_usage": true}}),
    ));
    call.stream(&mut lab, &[&delta("words", None), &delta("", Some("stop")), DONE]);
    assert!(call.answer_text().ends_with(DONE));
    call.chunk(&mut lab, "", true);
    assert!(call.call.is_none());
    assert_eq!(call.record(&mut lab)["moderation"][0]["verdict"], "beside");
    let errand = errands(&mut lab).pop().unwrap();
    back(&mut lab, errand.kind, says(true));
    assert_eq!(
        lab.metric("spillway.moderation.rule=safety.side=answer.verdict=flagged"),
        1
    );
}

#[test]
fn an_annotated_answer_passes_with_what_was_said_of_it() {
    let mut lab = Lab::new(asked(
        json!({"on": ["request", "answer"], "on_flagged": "annotate"}),
    ));
    let mut call = lab.send(&chat(json!({})));
    call.called(&mut lab, says(true));
    assert!(call.reply.is_none());
    call.answer(&mut lab, 200, &answered("its words", 10, 5));
    call.called(&mut lab, says(false));
    assert_eq!(
        call.answer_header("x-spillway-moderation").as_deref(),
        Some("flagged"),
        "the worst of both"
    );
    assert!(call.answer_text().contains("its words"));
}

#[test]
fn in_shadow_everything_is_asked_and_nothing_waits() {
    for shadow in [json!({"mode": "shadow"}), asked(json!({"mode": "shadow"}))] {
        let mut changes = asked(json!({"on": ["request", "answer"]}));
        super::merge(&mut changes, shadow);
        changes["moderation"][0]["on"] = json!(["request", "answer"]);
        let mut lab = Lab::new(changes);
        let body = answered("its words", 10, 5);
        let call = lab.exchange(&chat(json!({})), 200, &body);
        assert!(call.call.is_none());
        assert_eq!(call.answer_text(), body);
        assert_eq!(call.answer_header("x-spillway-moderation"), None);
        let left = errands(&mut lab);
        let texts: Vec<Value> = left
            .iter()
            .map(|errand| serde_json::from_slice(&errand.call.body).unwrap())
            .collect();
        assert_eq!(texts[0]["input"], "private words");
        assert_eq!(texts[1]["input"], "its words");
        for errand in left {
            back(&mut lab, errand.kind, says(true));
        }
        assert_eq!(lab.metric(FLAGGED), 1);
        assert_eq!(call.record(&mut lab)["moderation"][1]["verdict"], "beside");
        assert!(errands(&mut lab).is_empty(), "nobody is posted to");
    }
}

#[test]
fn a_second_models_tokens_are_counted() {
    let rule =
        json!({"ask": "model", "model": "gpt-4o-mini", "question": "No advice on taxes.", "path": "/v1/x"});
    let mut lab = Lab::new(asked(rule));
    let mut call = lab.send(&chat(json!({})));
    assert_eq!(question(&call)["messages"][1]["content"], "private words");
    let verdict = json!({"allowed": false, "category": "taxes"}).to_string();
    let said = json!({"choices": [{"message": {"content": verdict}}],
        "usage": {"prompt_tokens": 90, "completion_tokens": 8}});
    call.called(&mut lab, responded(200, &said));
    assert_eq!(call.refused(), Some(400));
    assert_eq!(
        lab.metric("spillway.moderation.tokens.rule=safety.type=input"),
        90
    );
    assert_eq!(
        lab.metric("spillway.moderation.tokens.rule=safety.type=output"),
        8
    );
}

#[test]
fn what_a_failover_by_callout_brought_is_judged_before_the_client_gets_it() {
    let mut changes = asked(json!({"on": ["answer"]}));
    changes["failover"] = json!({"via": "callout"});
    let mut lab = Lab::new(changes);
    for flagged in [false, true] {
        let mut call = lab.send(&chat(json!({})));
        call.respond(&mut lab, 503, &[("content-type", "application/json")], false);
        assert_eq!(call.call.take().unwrap().cluster, "backup");
        let mut second = responded(200, &json!(null));
        second.headers = [(":status", "200"), ("content-type", "application/json")]
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .into_iter()
            .collect();
        second.body = answered("from the second", 10, 5).into_bytes();
        call.called(&mut lab, second);
        assert!(call.reply.is_none(), "it waits");
        assert_eq!(question(&call)["input"], "from the second");
        call.chunk(&mut lab, "the first one's error", true);
        assert!(call.answer.is_empty(), "is for nobody");
        call.called(&mut lab, says(flagged));
        assert_eq!(call.refused(), Some(if flagged { 502 } else { 200 }));
        let word = if flagged { "flagged" } else { "clean" };
        assert_eq!(call.reply_header("x-spillway-moderation").as_deref(), Some(word));
        assert_eq!(
            call.reply_header("x-spillway-provider").as_deref(),
            (!flagged).then_some("backup")
        );
        assert!(matches!(call.exchange, Exchange::Watched(_)));
    }
}

fn reviewed(when: Value, more: Value) -> Value {
    let mut review =
        json!({"cluster": "webhook", "authority": "review.internal", "path": "/exchanges", "when": when});
    super::merge(&mut review, more);
    json!({"review": review})
}

fn posted(lab: &mut Lab) -> Vec<Value> {
    let posts = errands(lab)
        .into_iter()
        .filter(|errand| matches!(errand.kind, ErrandKind::Post));
    posts
        .map(|errand| {
            assert_eq!(errand.call.cluster, "webhook");
            serde_json::from_slice(&errand.call.body).unwrap()
        })
        .collect()
}

#[test]
fn people_are_told_facts_and_no_texts_unless_the_policy_asks_for_samples() {
    for samples in [false, true] {
        let mut changes = asked(json!({"on": ["request", "answer"], "on_flagged": "annotate"}));
        super::merge(
            &mut changes,
            reviewed(json!(["flagged"]), json!({"samples": samples})),
        );
        let mut lab = Lab::new(changes);
        let mut call = lab.send(&chat(json!({})).with("x-request-id", "id-1 \u{1f600}\"x"));
        call.called(&mut lab, says(true));
        call.answer(&mut lab, 200, &answered("its words", 10, 5));
        call.called(&mut lab, says(false));
        let record = call.record(&mut lab);
        assert_eq!(record["review"], json!(["flagged"]));
        let posts = posted(&mut lab);
        let post = &posts[0];
        assert_eq!(posts.len(), 1);
        assert_eq!(post["id"], "id-1x");
        assert_eq!(post["why"], json!(["flagged"]));
        assert_eq!(post["caller"], record["caller"]);
        assert_eq!(post["model"], "gpt-4o");
        assert_eq!(post["moderation"][0]["categories"], json!(["hate"]));
        assert_eq!(post["prompt"].as_str(), samples.then_some("private words"));
        assert_eq!(post["answer"].as_str(), samples.then_some("its words"));
        let mut call = lab.send(&chat(json!({})));
        call.called(&mut lab, says(false));
        call.answer(&mut lab, 200, &answered("its words", 10, 5));
        call.called(&mut lab, says(false));
        call.record(&mut lab);
        assert!(posted(&mut lab).is_empty());
    }
}

#[test]
fn what_is_flagged_for_review_is_posted_when_the_verdict_comes_and_delays_nobody() {
    let mut changes = asked(json!({"on_flagged": "review"}));
    super::merge(&mut changes, reviewed(json!(["flagged"]), json!({})));
    let mut lab = Lab::new(changes);
    let call = lab.exchange(
        &chat(json!({})).with("x-request-id", "r-2"),
        200,
        &answered("hello", 10, 5),
    );
    assert!(call.call.is_none() && !call.answer.is_empty());
    call.record(&mut lab);
    let question = errands(&mut lab).pop().unwrap();
    back(&mut lab, question.kind, says(true));
    let posts = posted(&mut lab);
    assert_eq!(posts[0]["id"], "r-2");
    assert_eq!(posts[0]["model"], "gpt-4o");
    assert_eq!(posts[0]["moderation"][0]["name"], "safety");
}

#[test]
fn invalid_answers_and_a_share_of_all_are_posted() {
    let schema = json!({"type": "object"});
    let mut changes = reviewed(json!(["invalid"]), json!({}));
    changes["validate"] = json!([{"schema": schema, "on_invalid": ["annotate"]}]);
    let mut lab = Lab::new(changes);
    lab.exchange(&chat(json!({})), 200, &answered("no JSON", 10, 5))
        .record(&mut lab);
    let posts = posted(&mut lab);
    assert_eq!(posts[0]["why"], json!(["invalid"]));
    assert_eq!(posts[0]["validation"], "not_json");
    lab.exchange(&chat(json!({})), 200, &answered("{}", 10, 5))
        .record(&mut lab);
    assert!(posted(&mut lab).is_empty());

    let mut lab = Lab::new(reviewed(json!(["sampled"]), json!({"share": 1})));
    lab.exchange(&chat(json!({})), 200, &answered("hello", 10, 5))
        .record(&mut lab);
    assert_eq!(posted(&mut lab)[0]["why"], json!(["sampled"]));
    let mut lab = Lab::new(reviewed(
        json!(["sampled"]),
        json!({"share": 1, "mode": "shadow"}),
    ));
    lab.exchange(&chat(json!({})), 200, &answered("hello", 10, 5))
        .record(&mut lab);
    assert!(posted(&mut lab).is_empty());
    assert_eq!(lab.metric("spillway.review.status=shadow"), 1);
}

#[test]
fn a_post_that_nobody_takes_is_counted() {
    let mut lab = Lab::new(reviewed(json!(["sampled"]), json!({"share": 1})));
    back(&mut lab, ErrandKind::Post, responded(204, &json!(null)));
    back(&mut lab, ErrandKind::Post, responded(500, &json!(null)));
    back(&mut lab, ErrandKind::Post, CallAnswer::unsent());
    lab.turn(|turn| turn.dropped(ErrandKind::Post));
    let counted =
        ["taken", "failed", "dropped"].map(|what| lab.metric(&format!("spillway.review.status={what}")));
    assert_eq!(counted, [1, 2, 1]);
}
