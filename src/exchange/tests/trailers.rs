//! Answers that end in HTTP trailers: beside those a host lets only be changed what it holds.

use super::router::*;
use super::*;

/// What a client gets of an Anthropic or Gemini provider that answers so.
fn seen(provider: &str, request: &Request, kind: &str, chunks: &[String]) -> Call {
    let mut lab = native(json!({
        "providers": {"gemini": {"cluster": "gemini", "dialect": "gemini", "models": {"flash": {}}}},
        "models": {"gpt-4o": {"chain": [format!("{provider}/{}", if provider == "gemini" { "flash" } else { "claude" })]}},
        "failover": {"attempts": 1},
    }));
    let does = Does::Trails(kind, chunks.to_vec());
    routed(&mut lab, request, &[(provider, does)]).0
}

#[test]
fn a_whole_answer_with_trailers_is_said_again_like_any_other() {
    let body = json!({"id": "m", "type": "message", "role": "assistant", "model": "claude",
        "content": [{"type": "text", "text": "fine"}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 1}})
    .to_string();
    for at in [0, 1, body.len() / 2, body.len()] {
        let (one, other) = body.split_at(at);
        let call = seen(
            "anthropic",
            &chat(json!({})),
            "application/json",
            &[one.to_owned(), other.to_owned()],
        );
        let said: Value = serde_json::from_slice(&call.answer).unwrap();
        assert_eq!(said["choices"][0]["message"]["content"], "fine");
        assert_eq!(
            call.answer_header("content-length"),
            Some(call.answer.len().to_string())
        );
    }
}

#[test]
fn a_stream_whose_end_is_silent_loses_nothing_to_trailers() {
    let event = |text: &str, more: Value| {
        let mut candidate = json!({"content": {"role": "model", "parts": [{"text": text}]}, "index": 0});
        merge(&mut candidate, more);
        let usage = json!({"promptTokenCount": 3, "candidatesTokenCount": 2});
        format!(
            "data: {}\r\n\r\n",
            json!({"candidates": [candidate], "usageMetadata": usage})
        )
    };
    let text = [
        event("fi", json!({})),
        event("ne", json!({"finishReason": "STOP"})),
    ]
    .concat();
    let request = chat(json!({"stream": true}));
    let mut wholes = Vec::new();
    for at in 0..=text.len() {
        let (one, other) = text.split_at(at);
        let call = seen(
            "gemini",
            &request,
            "text/event-stream",
            &[one.to_owned(), other.to_owned()],
        );
        let said = call.answer_text();
        assert!(
            said.ends_with(DONE) && said.contains("ne") && !said.contains("error"),
            "{at}: {said}"
        );
        wholes.push(said.len());
    }
    wholes.dedup();
    assert_eq!(wholes.len(), 1, "the same however it is cut");
}

const MAIL: &str = "ann.lee@example.com";

fn judged() -> Value {
    let schema = json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}});
    json!({"validate": [{"name": "held", "schema": schema, "on_invalid": ["reject"]}]})
}

fn masked() -> Value {
    json!({"guards": [{"name": "pii", "kinds": ["email"], "action": "mask"}]})
}

fn moderated(more: Value) -> Value {
    let mut one = json!({"name": "safety", "on": ["answer"], "provider": "openai", "ask": "moderation"});
    merge(&mut one, more);
    json!({"moderation": [one]})
}

fn laid(parts: &[Value]) -> Value {
    let mut all = json!({});
    for part in parts {
        merge(&mut all, part.clone());
    }
    all
}

fn stream_of(words: &str) -> String {
    let first = delta(&words[..words.len() / 2], None);
    let second = delta(&words[words.len() / 2..], None);
    [&first, &second, &*delta("", Some("stop")), &usage(9, 41), DONE].concat()
}

/// How the stream ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    Plainly,
    InTrailers,
}

/// What a client gets of these chunks; moderations say `flagged`.
fn got(lab: &mut Lab, chunks: &[&str], ends: Ends, flagged: bool) -> (Option<u16>, String) {
    let mut call = lab.send(&chat(json!({"stream": true})));
    call.respond(lab, 200, &[("content-type", "text/event-stream")], false);
    for chunk in chunks {
        call.chunk(lab, chunk, false);
    }
    match ends {
        Ends::Plainly => call.chunk(lab, "", true),
        Ends::InTrailers => drop(call.trailers(lab)),
    }
    if call.call.take().is_some() {
        let said = json!({"results": [{"flagged": flagged, "categories": {"hate": flagged}}]});
        call.called(lab, super::callouts::json_answer(200, &said.to_string()));
    }
    (call.refused(), call.answer_text())
}

#[test]
fn a_stream_with_trailers_is_judged_masked_and_moderated_and_loses_nothing() {
    let policies = [
        judged(),
        masked(),
        moderated(json!({})),
        laid(&[judged(), masked()]),
        laid(&[judged(), moderated(json!({}))]),
        laid(&[judged(), masked(), moderated(json!({}))]),
    ];
    let words = [
        format!("{{\"id\":\"{MAIL}\"}}"),
        format!("{{\"id\":42,\"x\":\"{MAIL}\"}}"),
    ];
    for policy in policies {
        let lab = &mut Lab::new(laid(&[policy.clone(), json!({"limits": []})]));
        for (words, flagged) in [(&words[0], false), (&words[1], false), (&words[0], true)] {
            let stream = stream_of(words);
            let whole = got(lab, &[&stream], Ends::Plainly, flagged);
            assert_eq!(whole.0, None);
            for at in (0..=stream.len()).step_by(5) {
                let (one, other) = stream.split_at(at);
                let cut = got(lab, &[one, other], Ends::InTrailers, flagged);
                // What went out before a verdict depends on where it was cut, not on how it ended.
                let plain = got(lab, &[one, other], Ends::Plainly, flagged);
                assert_eq!(cut, plain, "{policy} {at} {words} {flagged}");
                let whole = cut.1.contains("\"error\"") || cut.1.ends_with(DONE);
                assert!(whole, "{policy} {at}: {}", cut.1);
            }
        }
    }
}

#[test]
fn a_last_line_without_an_end_of_line_is_written_at_trailers() {
    let stream = [delta("hi", None), "data: [DONE]".to_owned()].concat();
    for chunks in [
        vec![&*stream],
        vec![&stream[..stream.len() - 20], &stream[stream.len() - 20..]],
    ] {
        let (refused, text) = got(&mut Lab::new(json!({})), &chunks, Ends::InTrailers, false);
        assert_eq!((refused, text), (None, stream.clone()));
    }
}

#[test]
fn what_can_t_be_written_at_trailers_is_never_left_out_in_silence() {
    let kept_back = delta("mail ann.lee@exam", None);
    let half = delta("{\"id\":\"4", None);
    let cases = [
        (json!({}), half.as_str()),
        (json!({}), &half[..half.len() - 3]),
        (judged(), half.as_str()),
        (masked(), kept_back.as_str()),
        (moderated(json!({})), half.as_str()),
    ];
    for (policy, chunk) in cases {
        let mut lab = Lab::new(policy.clone());
        let mut call = lab.send(&chat(json!({"stream": true})));
        call.respond(&mut lab, 200, &[("content-type", "text/event-stream")], false);
        call.chunk(&mut lab, chunk, false);
        call.trailers(&mut lab);
        assert_eq!(call.refused(), Some(502), "{policy} {chunk}: the stream is reset");
        assert_eq!(call.record(&mut lab)["end"], "aborted", "{policy}");
    }
}

#[test]
fn a_stream_that_goes_on_after_an_answer_in_it_ended_isn_t_held_back() {
    let words = "w".repeat(1_000);
    let other = delta(&words, None).replace("\"index\":0", "\"index\":1");
    assert_ne!(other, delta(&words, None));
    let stream = [
        delta("one", None),
        delta("", Some("stop")),
        other.repeat(400),
        DONE.to_owned(),
    ]
    .concat();
    let mut lab = Lab::new(json!({"limits": []}));
    let mut call = lab.send(&chat(json!({"stream": true, "n": 2})));
    call.respond(&mut lab, 200, &[("content-type", "text/event-stream")], false);
    // No chunk ends where an event does.
    let (mut came, mut most) = (0, 0);
    for chunk in stream.as_bytes().chunks(4_096) {
        call.chunk(&mut lab, core::str::from_utf8(chunk).unwrap(), false);
        came += chunk.len();
        most = most.max(came - call.answer.len());
    }
    call.chunk(&mut lab, "", true);
    assert_eq!(call.answer_text(), stream);
    assert!(most < 4_096, "{most} bytes were held");
}

#[test]
fn a_stream_in_overtime_loses_nothing_of_what_waits_for_its_end() {
    let timeouts = json!({"first_token": {"base": "1s", "per_1k_prompt": "0s"},
        "whole": {"base": "4s", "per_1k_prompt": "0s", "per_1k_output": "0s"}});
    let mut lab = native(laid(&[
        judged(),
        json!({"failover": {"attempts": 2, "timeouts": timeouts}}),
    ]));
    let mut call = lab.send(&chat(json!({"stream": true})));
    share(&mut lab);
    let first = delta("{\"id\":", None);
    let does = Does::Streams(vec![first.clone()]);
    attempt(&mut lab, &mut call, 1, ("openai", &does));
    let last = [delta("\"4\"}", None), delta("", Some("stop"))].concat();
    call.stream(&mut lab, &[&first, &last]);
    assert_eq!(call.answer_text(), first, "it waits with its end");
    lab.later(Duration::from_secs(60));
    call.chunk(&mut lab, DONE, false);
    let text = call.answer_text();
    assert!(
        text.starts_with(&[first, delta("\"4\"}", None)].concat()) && text.contains("longer than it may"),
        "{text}"
    );
}
