//! Streams that go on past their time: ended in their protocol while that can be said, and cut off then.

use super::router::*;
use super::*;

const WHOLE: fn(&str) -> Value = |via| {
    json!({"failover": {"via": via, "attempts": 2, "timeouts": {
        "first_token": {"base": "1s", "per_1k_prompt": "0s"},
        "whole": {"base": "4s", "per_1k_prompt": "0s", "per_1k_output": "0s"}}}})
};

/// A stream of `lab`'s that has said a word.
fn speaking(lab: &mut Lab, request: &Request) -> Call {
    let mut call = lab.send(request);
    share(lab);
    if call
        .header("x-spillway-cluster")
        .is_some_and(|cluster| cluster.contains('+'))
    {
        attempt(
            lab,
            &mut call,
            1,
            ("openai", &Does::Streams(vec![delta("one ", None)])),
        );
    }
    call.stream(lab, &[&delta("one ", None)]);
    call
}

#[test]
fn a_stream_that_takes_too_long_ends_with_an_error_of_its_protocol_and_is_cut_off() {
    for (via, whole) in [("native", 8_000), ("callout", 4_000)] {
        let mut lab = if via == "native" {
            native(WHOLE(via))
        } else {
            Lab::new(WHOLE(via))
        };
        let mut call = speaking(&mut lab, &chat(json!({"stream": true})));
        lab.later(Duration::from_millis(whole - 1_000));
        call.chunk(&mut lab, &delta("two ", None), false);
        assert!(
            call.answer_text().ends_with(&delta("two ", None)),
            "{via}: there is time"
        );
        lab.later(Duration::from_millis(700));
        call.chunk(&mut lab, &delta("three", None), false);
        let text = call.answer_text();
        assert!(
            text.contains("longer than it may") && !text.contains("three"),
            "{via}: {text}"
        );
        assert!(!text.contains("[DONE]"), "{via}");
        call.chunk(&mut lab, &delta("four", Some("stop")), false);
        assert_eq!(call.answer_text(), text, "{via}: nothing more passes");
        assert_eq!(
            call.reply.as_ref().map(|reply| reply.details),
            Some("spillway_overtime")
        );
        let record = call.record(&mut lab);
        assert_eq!(
            (&record["end"], &record["actual"]["source"]),
            (&json!("timeout"), &json!("estimate")),
            "{via}"
        );
    }
}

#[test]
fn a_stream_whose_end_comes_in_time_or_late_but_whole_is_left_alone() {
    let mut lab = native(WHOLE("native"));
    let mut call = speaking(&mut lab, &chat(json!({"stream": true})));
    lab.later(Duration::from_secs(60));
    call.chunk(&mut lab, &[&delta("", Some("stop")), DONE].concat(), true);
    assert!(call.answer_text().ends_with(DONE));
    assert_eq!(call.record(&mut lab)["end"], "complete");
}

#[test]
fn a_client_that_leaves_upon_the_error_was_still_kept_waiting() {
    let mut lab = native(WHOLE("native"));
    let mut call = speaking(&mut lab, &chat(json!({"stream": true})));
    lab.later(Duration::from_secs(60));
    call.chunk(&mut lab, &delta("late", None), false);
    assert_eq!(call.end(&mut lab, Ending::ClientAbort)["end"], "timeout");
}

#[test]
fn where_nothing_fails_over_nobody_is_timed() {
    let mut lab = Lab::new(json!({}));
    let mut call = speaking(&mut lab, &chat(json!({"stream": true})));
    lab.later(Duration::from_secs(86_400));
    call.chunk(&mut lab, &delta("late", None), false);
    assert!(call.answer_text().contains("late"));
}
