//! Pausing, buffering, what may be read when, local replies: the host rules that a filter's design hangs on.

mod common;

use common::{builder, callbacks, echo, events, has, request, run, said, with_flag, without_flag};
use spillway_test_host::{End, Outcome, Request, UpstreamResponse};

#[test]
fn what_continues_goes_through_piece_by_piece() {
    let proxy = without_flag();
    let exchange = run(&proxy, "");
    assert_eq!(exchange.outcome(), Outcome::Answered);
    assert_eq!(
        (exchange.status(), exchange.text()),
        (200, "hello world".to_owned())
    );
    assert_eq!(
        callbacks(&proxy, "rb"),
        ["rb 5 false", "rb 1 false", "rb 5 false", "rb 0 true"]
    );
    assert_eq!(callbacks(&proxy, "sb"), ["sb 11 false", "sb 0 true"]);
    assert!(said(&proxy).ends_with(&["log 0 true".into(), "done".into(), "deleted".into()]));
}

#[test]
fn the_end_comes_with_the_last_piece_when_the_test_says_so() {
    let proxy = without_flag();
    proxy.worker(0).request(request("").ends_with_last_chunk(), |_| {
        UpstreamResponse::stream(["a", "b"]).ends_with_last_chunk()
    });
    assert_eq!(
        callbacks(&proxy, "rb").last().map(String::as_str),
        Some("rb 5 true")
    );
    assert_eq!(callbacks(&proxy, "sb"), ["sb 1 false", "sb 1 true"]);
}

#[test]
fn a_pause_at_headers_without_the_flag_hangs_and_no_body_callback_comes() {
    let proxy = without_flag();
    let exchange = run(&proxy, "rh pause");
    assert_eq!(
        exchange.outcome(),
        Outcome::Hung("the request is paused at its headers".to_owned())
    );
    assert!(callbacks(&proxy, "rb").is_empty());
    assert_eq!(exchange.upstream(), None);
}

#[test]
fn with_the_flag_the_body_comes_with_all_that_is_buffered_and_headers_can_still_change() {
    let proxy = with_flag();
    let steps = "rh pause; rb read; rb pause; re set-request x-spillway-cluster openai; re remove-request content-length";
    let held = proxy.worker(0).request(request(steps), echo);
    assert_eq!(
        held.outcome(),
        Outcome::Hung("the request is paused in its body".to_owned())
    );
    assert_eq!(
        callbacks(&proxy, "rb"),
        ["rb 5 false", "rb 6 false", "rb 11 false", "rb 11 true"]
    );

    let steps =
        "rh pause; re set-request x-spillway-cluster openai; re body HELLO; re remove-request content-length";
    let one = Request::post("/v1", "hello")
        .header("x-do", steps)
        .ends_with_last_chunk();
    let exchange = proxy.worker(0).request(one, echo);
    let seen = exchange.upstream().unwrap();
    assert_eq!(
        (seen.cluster.as_deref(), seen.text().as_str()),
        (Some("openai"), "HELLO")
    );
    assert!(seen.complete);
}

#[test]
fn a_continue_from_the_body_releases_the_headers() {
    let proxy = with_flag();
    let exchange = run(&proxy, "rh pause; rb set-request x-late yes");
    assert_eq!(exchange.outcome(), Outcome::Answered);
    assert_eq!(
        exchange.upstream().unwrap().headers.get("x-late").as_deref(),
        Some("yes")
    );
    assert!(
        has(&proxy, "rb set-request x-late status 2"),
        "the second body callback comes too late"
    );
}

#[test]
fn after_headers_continued_they_are_gone_in_the_body_phase() {
    let proxy = with_flag();
    run(&proxy, "rb get-request x-do; rb set-request x-late yes; rb pairs");
    assert!(has(&proxy, "rb get-request x-do status 2 value "));
    assert!(has(&proxy, "rb set-request x-late status 2"));
    assert!(has(&proxy, "rb pairs status 0 bytes 0"));
}

#[test]
fn request_headers_and_properties_are_gone_in_the_response_and_back_in_the_log() {
    let proxy = with_flag();
    run(
        &proxy,
        "rh property request/path; sh get-request :path; sh property request/path; log get-request :path; log set-request x 1",
    );
    assert!(has(&proxy, "rh property request/path status 0 value /v1"));
    assert!(has(&proxy, "sh get-request :path status 2 value "));
    assert!(has(&proxy, "sh property request/path status 1 value "));
    assert!(has(&proxy, "log get-request :path status 0 value /v1"));
    assert!(has(&proxy, "log set-request x status 2"));
}

#[test]
fn a_body_that_outgrows_its_content_length_reaches_the_upstream_cut() {
    let proxy = with_flag();
    let one = |steps: &str| {
        Request::post("/v1", "hello")
            .header("x-do", steps)
            .ends_with_last_chunk()
    };
    let longer = proxy.worker(0).request(one("rb body HELLO_WORLD"), echo);
    assert_eq!(longer.upstream().unwrap().text(), "HELLO");
    let shorter = proxy
        .worker(0)
        .request(one("rb body HI"), |_| UpstreamResponse::never());
    assert_eq!(
        shorter.outcome(),
        Outcome::Hung("the upstream waits for the rest of the request".to_owned())
    );
}

#[test]
fn a_body_shorter_than_its_content_length_leaves_the_client_waiting() {
    let proxy = with_flag();
    let one = |steps: &str| Request::post("/v1", "hello").header("x-do", steps);
    let waiting = proxy
        .worker(0)
        .request(one("sh pause; sb pause; se body HI; se resume-response"), echo);
    assert_eq!(waiting.client().end, End::Waiting);
    let fixed = proxy.worker(0).request(
        one("sh pause; sb pause; se remove-response content-length; se body HI; se resume-response"),
        echo,
    );
    assert_eq!((fixed.client().end, fixed.text().as_str()), (End::Complete, "HI"));
}

#[test]
fn the_status_can_change_at_the_end_of_a_held_response() {
    let proxy = with_flag();
    let exchange = run(&proxy, "sh pause; sb hold; se set-response :status 502");
    assert_eq!(
        (exchange.status(), exchange.text().as_str()),
        (502, "hello world")
    );
    let streamed = run(&proxy, "se set-response :status 502");
    assert_eq!(streamed.status(), 200, "too late");
}

#[test]
fn a_request_over_the_buffer_limit_is_413_and_the_filter_sees_it() {
    let proxy = builder().body_pause(true).request_buffer(8).start().unwrap();
    let exchange = run(&proxy, "rh pause; rb pause; sh property response/code_details");
    assert_eq!(
        (exchange.status(), exchange.text().as_str()),
        (413, "Payload Too Large")
    );
    assert!(has(
        &proxy,
        "sh property response/code_details status 0 value request_payload_too_large"
    ));
}

#[test]
fn a_held_response_over_the_buffer_limit_is_500_and_a_begun_one_is_reset() {
    let proxy = builder().body_pause(true).response_buffer(8).start().unwrap();
    assert_eq!(run(&proxy, "sh pause; sb pause").status(), 500);
    let begun = run(&proxy, "sb pause");
    assert_eq!((begun.outcome(), begun.status()), (Outcome::Reset, 200));
}

#[test]
fn a_local_reply_in_the_request_goes_through_the_filters_own_response_callbacks() {
    let proxy = with_flag();
    let exchange = run(&proxy, "rh reply 429 slow; sh set-response x-seen yes");
    assert_eq!((exchange.status(), exchange.text().as_str()), (429, "slow"));
    assert_eq!(exchange.header("x-reply").as_deref(), Some("probe"));
    assert_eq!(exchange.header("x-seen").as_deref(), Some("yes"));
    assert_eq!(exchange.header("content-type").as_deref(), Some("text/plain"));
    assert_eq!(callbacks(&proxy, "sb"), ["sb 4 true"]);
    assert_eq!(exchange.upstream(), None);
}

#[test]
fn a_local_reply_from_the_body_phase_comes_after_the_upstream_has_seen_headers() {
    let proxy = without_flag();
    let exchange = run(&proxy, "rb reply 429 slow");
    assert_eq!(exchange.status(), 429);
    let seen = exchange.upstream().unwrap();
    assert!(!seen.complete && seen.body.is_empty());
}

#[test]
fn a_local_reply_to_a_held_response_is_sent_as_it_is() {
    let proxy = with_flag();
    let exchange = run(&proxy, "sh pause; sb hold; se reply 502 broken");
    assert_eq!((exchange.status(), exchange.text().as_str()), (502, "broken"));
    assert_eq!(callbacks(&proxy, "sh").len(), 1);
}

#[test]
fn a_local_reply_after_the_headers_went_out_resets_the_stream() {
    let proxy = with_flag();
    let exchange = run(&proxy, "sb reply 502 broken");
    assert_eq!((exchange.outcome(), exchange.status()), (Outcome::Reset, 200));
}

#[test]
fn each_event_of_a_stream_is_its_own_callback() {
    let proxy = with_flag();
    let exchange = proxy.worker(0).request(request(""), events);
    assert_eq!(exchange.client().chunks.len(), 3);
    assert_eq!(
        callbacks(&proxy, "sb"),
        ["sb 9 false", "sb 9 false", "sb 9 false", "sb 0 true"]
    );
}

#[test]
fn an_upstream_that_breaks_is_503_before_its_answer_and_a_reset_within_it() {
    let proxy = with_flag();
    let refused = proxy
        .worker(0)
        .request(request("sh property response/code_details"), |_| {
            UpstreamResponse::refused()
        });
    assert_eq!(refused.status(), 503);
    assert!(has(
        &proxy,
        "sh property response/code_details status 0 value upstream_reset_before_response_started{remote_connection_failure}"
    ));
    let broken = proxy
        .worker(0)
        .request(request("log property response/code_details"), |_| {
            UpstreamResponse::stream(["a", "b"]).then_reset()
        });
    assert_eq!((broken.outcome(), broken.text().as_str()), (Outcome::Reset, "ab"));
    let after = "upstream_reset_after_response_started{connection_termination}";
    assert!(has(
        &proxy,
        &format!("log property response/code_details status 0 value {after}")
    ));
    let last = said(&proxy).into_iter().rev().take(2).collect::<Vec<_>>();
    assert_eq!(last, ["deleted", "done"]);
}

#[test]
fn a_client_that_leaves_gets_its_log_and_nothing_more() {
    let proxy = with_flag();
    let exchange = proxy
        .worker(0)
        .send(request("log state k v; log property response/code_details"));
    exchange.respond_headers(UpstreamResponseHeaders::ok(), false);
    exchange.respond_body("data: 1\n\n", false);
    exchange.abort_client();
    exchange.respond_body("data: 2\n\n", true);
    assert_eq!(
        (exchange.outcome(), exchange.text().as_str()),
        (Outcome::Aborted, "data: 1\n\n")
    );
    assert_eq!(exchange.filter_state("k").as_deref(), Some(b"v".as_slice()));
    assert!(has(
        &proxy,
        "log property response/code_details status 0 value downstream_remote_disconnect"
    ));
    assert_eq!(proxy.worker(0).open_streams(), 0);
}

/// Headers of a 200.
struct UpstreamResponseHeaders;

impl UpstreamResponseHeaders {
    fn ok() -> spillway_test_host::Headers {
        spillway_test_host::Headers::from_pairs([(":status", "200")])
    }
}

#[test]
fn exchanges_of_one_worker_may_interleave() {
    let proxy = with_flag();
    let (one, two) = (proxy.worker(0).open(), proxy.worker(0).open());
    let request = |name: &str| Request::post("/v1", name).header("x-do", "rh pause");
    one.send_headers(&request("one"), false);
    two.send_headers(&request("two"), false);
    two.send_body("two", true);
    one.send_body("one", true);
    two.answer(echo(&two.upstream().unwrap()));
    one.answer(echo(&one.upstream().unwrap()));
    assert_eq!((one.text().as_str(), two.text().as_str()), ("one", "two"));
}
