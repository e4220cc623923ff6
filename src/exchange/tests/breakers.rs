//! What breakers are told: the truth about the provider, and nothing that a client can make up.

use core::time::Duration;

use serde_json::json;

use super::{Call, DONE, Ending, Lab, answered, chat, delta, usage};
use crate::breaker::StateName;

impl Lab {
    fn provider_state(&self) -> StateName {
        let at = self
            .gateway
            .policy
            .providers
            .iter()
            .position(|p| p.name == "openai")
            .unwrap();
        let breakers = self.gateway.breakers(at).unwrap();
        breakers.view(&self.store, 0, self.now.monotonic).state
    }

    fn says(&mut self, details: &str) {
        self.properties
            .insert("response.code_details".into(), details.into());
    }
}

/// Two of these in a row, which open the breaker if they count as failures of the provider or of its model.
fn twice(lab: &mut Lab, mut run: impl FnMut(&mut Lab, Call) -> serde_json::Value) -> StateName {
    for _ in 0..2 {
        let call = lab.send(&chat(json!({})));
        assert_eq!(call.header("x-spillway-cluster").as_deref(), Some("openai"));
        run(lab, call);
    }
    lab.provider_state()
}

fn status(status: u16, details: &str) -> StateName {
    let mut lab = Lab::new(json!({}));
    lab.says(details);
    twice(&mut lab, |lab, mut call| {
        call.answer(lab, status, "{}");
        call.record(lab)
    })
}

#[test]
fn a_providers_statuses_say_what_they_say() {
    for (code, expected) in [
        (200, StateName::Closed),
        (302, StateName::Closed),
        (400, StateName::Closed),
        (404, StateName::Closed),
        (408, StateName::Open),
        (500, StateName::Open),
        (503, StateName::Open),
        (529, StateName::Open),
    ] {
        assert_eq!(status(code, "via_upstream"), expected, "{code}");
    }
}

#[test]
fn what_the_proxy_answers_itself_is_the_providers_fault_only_where_it_is() {
    for (code, details, expected) in [
        (503, "no_healthy_upstream", StateName::Open),
        (
            503,
            "upstream_reset_before_response_started{remote_connection_failure|refused}",
            StateName::Open,
        ),
        (
            503,
            "upstream_reset_before_response_started{connection_timeout}",
            StateName::Open,
        ),
        (
            503,
            "upstream_reset_before_response_started{connection_termination}",
            StateName::Open,
        ),
        (504, "upstream_response_timeout", StateName::Open),
        (504, "stream_idle_timeout", StateName::Open),
        (503, "fault_filter_abort", StateName::Open),
        (
            503,
            "upstream_reset_before_response_started{overflow}",
            StateName::Closed,
        ),
        (503, "ext_authz_error", StateName::Closed),
        (503, "overload", StateName::Closed),
        (500, "response_payload_too_large", StateName::Closed),
        (429, "local_rate_limited", StateName::Closed),
        (429, "request_rate_limited", StateName::Closed),
        (500, "spillway_host", StateName::Closed),
    ] {
        assert_eq!(status(code, details), expected, "{details}");
    }
}

#[test]
fn connections_that_failed_are_counted() {
    let mut lab = Lab::new(json!({}));
    lab.says("upstream_reset_before_response_started{remote_connection_failure|refused}");
    lab.exchange(&chat(json!({})), 503, "{}");
    assert_eq!(lab.metric("spillway.upstream.connect_failure.provider=openai"), 1);
    assert_eq!(lab.used("acme"), 0, "and cost nothing");
}

#[test]
fn a_429_is_believed_for_as_long_as_it_says() {
    let mut lab = Lab::new(json!({}));
    let mut call = lab.send(&chat(json!({})));
    call.respond(&mut lab, 429, &[("retry-after", "7")], true);
    assert_eq!(call.answer_header("retry-after").as_deref(), Some("7"));
    assert_eq!(lab.provider_state(), StateName::RateLimited);
    let to = |lab: &mut Lab| lab.send(&chat(json!({}))).header("x-spillway-cluster");
    lab.later(Duration::from_millis(6_900));
    assert_eq!(to(&mut lab).as_deref(), Some("backup"));
    lab.later(Duration::from_millis(200));
    assert_eq!(to(&mut lab).as_deref(), Some("openai"));
}

#[test]
fn an_error_event_within_a_good_status_is_a_failure() {
    let error = "data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\"}}\n\n";
    let mut lab = Lab::new(json!({}));
    let state = twice(&mut lab, |lab, mut call| {
        call.stream(lab, &[&delta("a", None), error]);
        call.chunk(lab, DONE, true);
        call.record(lab)
    });
    assert_eq!(state, StateName::Open);
    assert_eq!(lab.metric("spillway.stream.error.provider=openai"), 2);
}

#[test]
fn a_reset_in_mid_stream_is_a_failure_and_a_clients_going_is_not() {
    for (ending, expected) in [
        (Ending::UpstreamReset, StateName::Open),
        (Ending::ClientAbort, StateName::Closed),
        (Ending::Aborted, StateName::Closed),
    ] {
        let mut lab = Lab::new(json!({}));
        let state = twice(&mut lab, |lab, mut call| {
            call.stream(lab, &[&delta("a", None)]);
            call.end(lab, ending)
        });
        assert_eq!(state, expected, "{ending:?}");
    }
}

#[test]
fn a_silence_before_the_first_token_is_the_providers() {
    let mut lab = Lab::new(json!({}));
    let state = twice(&mut lab, |lab, mut call| {
        call.stream(lab, &[]);
        call.end(lab, Ending::Timeout)
    });
    assert_eq!(state, StateName::Open);
}

/// A client that doesn't read makes the proxy stop reading too.
#[test]
fn a_silence_in_mid_stream_is_slow_at_worst() {
    let mut lab = Lab::new(json!({}));
    let state = twice(&mut lab, |lab, mut call| {
        call.stream(lab, &[&delta("a", None)]);
        lab.later(Duration::from_secs(300));
        call.end(lab, Ending::Timeout)
    });
    assert_eq!(state, StateName::Closed);
    let slow = json!({"providers": {"openai": {"breaker": {"min_requests": 2}}}});
    let mut lab = Lab::new(slow);
    let state = twice(&mut lab, |lab, mut call| {
        call.stream(lab, &[&delta("a", None)]);
        lab.later(Duration::from_secs(12));
        call.end(lab, Ending::Timeout)
    });
    assert_eq!(state, StateName::Open);
}

#[test]
fn a_slow_upload_is_not_the_providers() {
    let slow = json!({"providers": {"openai": {"breaker": {"min_requests": 2}}}});
    let mut lab = Lab::new(slow);
    for stream in [true, false, true, false] {
        let request = chat(json!({"stream": stream}));
        let mut call = Call::begin(&mut lab, &request);
        lab.later(Duration::from_secs(13));
        call.upload(&mut lab, b"", false);
        call.upload(&mut lab, &request.body[0], true);
        if stream {
            call.stream(&mut lab, &[&delta("a", None), &delta("", Some("stop"))]);
            call.chunk(&mut lab, DONE, true);
            assert_eq!(call.record(&mut lab)["first_token_ms"], 0);
        } else {
            call.answer(&mut lab, 200, &answered("", 1, 1));
        }
    }
    assert_eq!(lab.provider_state(), StateName::Closed);
}

#[test]
fn a_stream_that_says_neither_its_end_nor_done_is_cut() {
    let mut lab = Lab::new(json!({}));
    let state = twice(&mut lab, |lab, mut call| {
        call.stream(lab, &[&delta("a", None), &usage(5, 5)]);
        call.chunk(lab, "", true);
        call.record(lab)
    });
    assert_eq!(state, StateName::Open, "usage so far is no end");
    let mut lab = Lab::new(json!({}));
    let state = twice(&mut lab, |lab, mut call| {
        call.stream(lab, &[&delta("a", None), &delta("", Some("stop"))]);
        call.chunk(lab, "", true);
        call.record(lab)
    });
    assert_eq!(
        state,
        StateName::Closed,
        "the finish reason is one, without [DONE] too"
    );
}

#[test]
fn a_client_that_goes_when_all_was_said_changes_nothing() {
    let mut lab = Lab::new(json!({"providers": {"openai": {"breaker": {"half_open_successes": 1}}}}));
    for _ in 0..2 {
        lab.exchange(&chat(json!({})), 500, "{}");
    }
    lab.later(Duration::from_secs(20));
    let mut call = lab.send(&chat(json!({"stream": true})));
    call.stream(
        &mut lab,
        &[&delta("a", None), &delta("", Some("stop")), &usage(5, 5), DONE],
    );
    let record = call.end(&mut lab, Ending::ClientAbort);
    assert_eq!(
        (&record["end"], &record["actual"]["source"]),
        (&json!("complete"), &json!("usage"))
    );
    assert_eq!(lab.provider_state(), StateName::Closed, "its probe succeeded");
    assert_eq!(
        lab.metric("spillway.stream.aborted.provider=openai.reason=client"),
        0
    );
}

#[test]
fn a_probe_whose_client_goes_is_given_back() {
    for ending in [Ending::ClientAbort, Ending::Aborted] {
        let mut lab = Lab::new(json!({"providers": {"openai": {"breaker": {"half_open_permits": 1}}}}));
        for _ in 0..2 {
            lab.exchange(&chat(json!({})), 500, "{}");
        }
        lab.later(Duration::from_secs(20));
        let call = lab.send(&chat(json!({})));
        assert_eq!(call.header("x-spillway-cluster").as_deref(), Some("openai"));
        let to = |lab: &mut Lab| lab.send(&chat(json!({}))).header("x-spillway-cluster");
        assert_eq!(to(&mut lab).as_deref(), Some("backup"));
        call.end(&mut lab, ending);
        assert_eq!(to(&mut lab).as_deref(), Some("openai"));
    }
}

#[test]
fn each_transition_is_told_once_with_its_cause() {
    let mut lab = Lab::new(json!({}));
    for _ in 0..2 {
        lab.exchange(&chat(json!({})), 500, "{}");
    }
    lab.later(Duration::from_secs(20));
    lab.exchange(&chat(json!({})), 200, &answered("", 1, 1));
    let told: Vec<_> = lab
        .effects
        .changes
        .iter()
        .map(|change| change.describe(&lab.gateway.policy))
        .collect();
    assert_eq!(
        told,
        [
            "breaker of openai: closed -> open (consecutive)",
            "breaker of openai: open -> half_open (elapsed)",
        ]
    );
}

#[test]
fn an_ending_is_read_from_the_hosts_own_words() {
    for (details, ending) in [
        ("downstream_remote_disconnect", Ending::ClientAbort),
        (
            "downstream_local_disconnect(connection_idle_timeout)",
            Ending::ClientAbort,
        ),
        ("http2.remote_reset", Ending::ClientAbort),
        ("http1.codec_error", Ending::ClientAbort),
        (
            "upstream_reset_after_response_started{connection_termination}",
            Ending::UpstreamReset,
        ),
        (
            "upstream_reset_before_response_started{remote_reset}",
            Ending::UpstreamReset,
        ),
        (
            "upstream_reset_before_response_started{overflow}",
            Ending::Aborted,
        ),
        ("upstream_response_timeout", Ending::Timeout),
        ("upstream_per_try_idle_timeout", Ending::Timeout),
        ("response_timeout", Ending::Timeout),
        ("stream_idle_timeout", Ending::Timeout),
        ("max_duration_timeout", Ending::Timeout),
        ("upstream_max_stream_duration_reached", Ending::Timeout),
        ("response_payload_too_large", Ending::Aborted),
        ("via_upstream", Ending::Aborted),
        ("", Ending::Aborted),
    ] {
        assert_eq!(Ending::of(details.as_bytes()), ending, "{details}");
    }
}

#[test]
fn headroom_told_at_the_start_of_a_long_stream_is_old_at_its_end() {
    let mut lab = Lab::new(json!({}));
    let headers = [
        ("content-type", "text/event-stream"),
        ("x-ratelimit-limit-tokens", "1000"),
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "5s"),
    ];
    for (took, expected) in [(6, StateName::Closed), (2, StateName::RateLimited)] {
        let mut call = lab.send(&chat(json!({"stream": true})));
        call.respond(&mut lab, 200, &headers, false);
        call.chunk(&mut lab, &delta("a", Some("stop")), false);
        lab.later(Duration::from_secs(took));
        call.chunk(&mut lab, DONE, true);
        assert_eq!(lab.provider_state(), expected, "after {took} s");
    }
    lab.later(Duration::from_millis(3_100));
    let call = lab.send(&chat(json!({})));
    assert_eq!(
        call.header("x-spillway-cluster").as_deref(),
        Some("openai"),
        "and not a moment longer"
    );
}

#[test]
fn the_gauges_show_the_worst_of_a_providers_models() {
    let mut lab = Lab::new(json!({}));
    let mut call = lab.send(&chat(json!({"model": "gpt-4o-mini"})));
    call.respond(&mut lab, 429, &[("retry-after", "7")], true);
    lab.effects.metrics.clear();
    lab.turn(|turn| turn.set_gauges());
    assert_eq!(lab.metric("spillway.breaker.state.provider=openai"), 2);
    assert_eq!(lab.metric("spillway.breaker.state.provider=backup"), 0);
}
