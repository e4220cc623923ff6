//! Streams: counted as they pass, changed only where that was asked for.

use serde_json::{Value, json};

use super::{DONE, Ending, Lab, chat, delta, message, usage};

fn streamed(more: Value) -> super::Request {
    let mut body = json!({"stream": true});
    super::merge(&mut body, more);
    chat(body)
}

#[test]
fn usage_is_asked_for_and_stripped_for_a_client_that_did_not_ask() {
    let mut lab = Lab::new(json!({}));
    let mut call = lab.send(&streamed(json!({})));
    assert_eq!(call.body_json()["stream_options"]["include_usage"], true);
    assert_eq!(call.header("content-length"), Some(call.body.len().to_string()));
    let said = [delta("hello ", None), delta("", Some("stop"))];
    call.stream(&mut lab, &[&said[0], &said[1], &usage(11, 22), DONE]);
    call.chunk(&mut lab, "", true);
    assert_eq!(call.answer_text(), [&said[0], &said[1], DONE].concat());
    assert_eq!(lab.used("acme"), 33);
    assert_eq!(call.record(&mut lab)["actual"]["source"], "usage");
}

#[test]
fn usage_that_the_client_asked_for_passes() {
    let mut lab = Lab::new(json!({}));
    let request = streamed(json!({"stream_options": {"include_usage": true}}));
    let mut call = lab.send(&request);
    assert_eq!(call.body, request.body[0]);
    call.stream(&mut lab, &[&delta("a", Some("stop")), &usage(11, 22)]);
    call.chunk(&mut lab, DONE, true);
    assert!(call.answer_text().contains("\"prompt_tokens\":11"));
    assert_eq!(lab.used("acme"), 33);
}

#[test]
fn a_client_that_leaves_is_charged_for_what_it_got() {
    let mut lab = Lab::new(json!({}));
    let mut call = lab.send(&streamed(json!({})));
    let words: Vec<String> = (0..40).map(|_| delta(" hello", None)).collect();
    call.stream(&mut lab, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let record = call.end(&mut lab, Ending::ClientAbort);
    let (input, output) = (
        &record["actual"]["input"],
        record["actual"]["output"].as_u64().unwrap(),
    );
    assert_eq!(
        (input, &record["end"]),
        (&record["estimate"], &json!("client_abort"))
    );
    assert!((35..=80).contains(&output), "{output}");
    assert_eq!(lab.used("acme"), input.as_u64().unwrap() + output);
    assert_eq!(
        lab.metric("spillway.stream.aborted.provider=openai.reason=client"),
        1
    );
}

#[test]
fn usage_at_the_beginning_of_a_broken_stream_is_a_lower_bound() {
    let mut lab = Lab::new(json!({}));
    let mut call = lab.send(&message(json!({"stream": true})));
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude\",\
        \"usage\":{\"input_tokens\":70,\"output_tokens\":1}}}\n\n";
    let text = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
        \"delta\":{\"type\":\"text_delta\",\"text\":\"several words of an answer\"}}\n\n";
    call.stream(&mut lab, &[start, text]);
    let record = call.end(&mut lab, Ending::UpstreamReset);
    assert_eq!(record["actual"]["input"], 70);
    assert!(record["actual"]["output"].as_u64().unwrap() >= 4, "{record}");
    assert_eq!(record["end"], "upstream_reset");
}

#[test]
fn a_stream_that_stops_without_its_end_gets_one_in_its_protocol() {
    let mut lab = Lab::new(json!({}));
    for (request, event) in [
        (streamed(json!({})), "data: {\"error\":"),
        (message(json!({"stream": true})), "event: error\n"),
    ] {
        let mut call = lab.send(&request);
        call.respond(
            &mut lab,
            200,
            &[("content-type", "text/event-stream"), ("content-length", "9")],
            false,
        );
        assert_eq!(call.answer_header("content-length"), None);
        call.chunk(&mut lab, &delta("a", None), false);
        call.chunk(&mut lab, "data: {\"cut", false);
        call.chunk(&mut lab, "", true);
        let text = call.answer_text();
        let (_, last) = text.trim_end().rsplit_once("\n\n").unwrap();
        assert!(last.starts_with(event), "{text}");
        assert!(!text.contains("[DONE]") && text.ends_with("\n\n"));
        assert_eq!(call.record(&mut lab)["end"], "upstream_reset");
    }
    assert_eq!(
        lab.metric("spillway.stream.aborted.provider=openai.reason=upstream"),
        1
    );
}

#[test]
fn a_stream_that_ended_with_an_error_of_its_own_gets_no_second() {
    let mut lab = Lab::new(json!({}));
    let mut call = lab.send(&streamed(json!({})));
    let error = "data: {\"error\":{\"message\":\"boom\"}}\n\n";
    call.stream(&mut lab, &[error]);
    call.chunk(&mut lab, "", true);
    assert_eq!(call.answer_text(), error);
}

#[test]
fn a_policy_in_shadow_leaves_a_broken_stream_as_it_is() {
    let mut lab = Lab::new(json!({"mode": "shadow"}));
    let mut call = lab.send(&streamed(json!({"stream_options": {"include_usage": true}})));
    call.stream(&mut lab, &[&delta("a", None)]);
    call.chunk(&mut lab, "", true);
    assert_eq!(call.answer_text(), delta("a", None));
}

#[test]
fn an_error_with_an_event_streams_type_costs_nothing() {
    let mut lab = Lab::new(json!({}));
    let mut call = lab.send(&streamed(json!({})));
    call.respond(&mut lab, 503, &[("content-type", "text/event-stream")], false);
    call.chunk(&mut lab, "data: {\"error\":{}}\n\n", true);
    assert_eq!(lab.used("acme"), 0);
}

#[test]
fn the_first_token_is_timed_from_the_sending() {
    let mut lab = Lab::new(json!({}));
    let mut call = lab.send(&streamed(json!({})));
    lab.later(core::time::Duration::from_millis(250));
    call.stream(&mut lab, &[&delta("", None), &delta("a", None)]);
    lab.later(core::time::Duration::from_millis(500));
    call.chunk(&mut lab, &delta("b", Some("stop")), false);
    call.chunk(&mut lab, DONE, true);
    let record = call.record(&mut lab);
    assert_eq!(
        (&record["first_token_ms"], &record["duration_ms"]),
        (&json!(250), &json!(750))
    );
    let name = "gen_ai.server.time_to_first_token.provider=openai.model=gpt-4o";
    assert_eq!(lab.metric(name), 250);
}
