//! Shared data, faults, traps, callouts, clock, environment, metrics: what a proxy keeps beside its streams.

mod common;

use std::time::Duration;

use common::{builder, echo, has, probe, request, run, said, with_flag};
use spillway_test_host::{CalloutAnswer, Headers, Outcome, Status, imports};

#[test]
fn workers_share_one_store_and_one_set_of_metrics() {
    let proxy = builder().workers(2).start().unwrap();
    for worker in proxy.workers() {
        worker.request(request("rh count k; rh metric m 2"), echo);
    }
    assert_eq!(proxy.store().get(b"k").map(|(value, _)| value), Ok(b"2".to_vec()));
    assert_eq!((proxy.store().keys(), proxy.store().bytes()), (1, 2));
    assert_eq!(proxy.metric("m"), Some(4));
}

#[test]
fn a_worker_that_is_interleaved_between_get_and_set_meets_a_conflict_and_loses_nothing() {
    let proxy = builder().workers(2).start().unwrap();
    run(&proxy, "rh count k");
    let other = proxy.worker(1).clone();
    proxy.before_store_call(2, move || drop(other.request(request("rh count k"), echo)));
    run(&proxy, "rh count k");
    assert!(has(&proxy, "counted k 2 tries 1 status 0"));
    assert!(has(&proxy, "counted k 3 tries 2 status 0"));
}

#[test]
fn a_hook_before_every_store_call_does_not_run_for_its_own_calls() {
    let proxy = builder().workers(2).start().unwrap();
    let other = proxy.worker(1).clone();
    proxy.before_every_store_call(move |_| drop(other.request(request("rh count other"), echo)));
    run(&proxy, "rh count k");
    proxy.no_more_hooks();
    assert!(has(&proxy, "counted other 2 tries 1 status 0"));
    assert!(has(&proxy, "counted k 1 tries 1 status 0"));
}

#[test]
fn conflicts_and_failures_come_where_the_test_wants_them() {
    let proxy = with_flag();
    proxy.conflict_on_set(2);
    run(&proxy, "rh count k");
    run(&proxy, "rh count k");
    assert!(has(&proxy, "counted k 2 tries 2 status 0"));
    proxy.fail_store_call(2, Status::InternalFailure);
    run(&proxy, "rh count k");
    assert!(has(&proxy, "counted k 3 tries 1 status 10"));
}

#[test]
fn real_threads_count_exactly() {
    let proxy = builder().workers(2).start().unwrap();
    std::thread::scope(|scope| {
        for worker in proxy.workers() {
            scope.spawn(|| (0..200).for_each(|_| drop(worker.request(request("rh count k"), echo))));
        }
    });
    assert_eq!(
        proxy.store().get(b"k").map(|(value, _)| value),
        Ok(b"400".to_vec())
    );
}

#[test]
fn a_trap_fails_what_is_in_flight_and_the_next_request_reloads_after_a_second() {
    let proxy = with_flag();
    let waiting = proxy.worker(0).send(request(""));
    let begun = proxy.worker(0).send(request(""));
    begun.respond_headers(Headers::from_pairs([(":status", "200")]), false);
    assert_eq!(run(&proxy, "rh trap").status(), 503);
    waiting.answer(echo(&waiting.upstream().unwrap()));
    begun.respond_body("x", true);
    assert_eq!((waiting.status(), begun.outcome()), (503, Outcome::Reset));
    assert_eq!(run(&proxy, "").status(), 503, "the back-off");
    proxy.advance(Duration::from_secs(1));
    assert_eq!((run(&proxy, "").status(), proxy.worker(0).starts()), (200, 2));
}

#[test]
fn a_trap_in_a_host_call_can_be_asked_for_and_the_store_survives_it() {
    let proxy = with_flag();
    run(&proxy, "rh count k");
    proxy.trap_in("proxy_set_shared_data", 1);
    assert_eq!(run(&proxy, "rh count k").status(), 503);
    assert!(proxy.worker(0).is_dead());
    assert_eq!(proxy.store().get(b"k").map(|(value, _)| value), Ok(b"1".to_vec()));
}

#[test]
fn a_paused_stream_goes_on_when_its_callout_is_answered() {
    let proxy = with_flag();
    proxy.on_callout(|call| CalloutAnswer::ok(format!("from {}", call.cluster)));
    let exchange = run(
        &proxy,
        "rh pause; rb pause; re call other; call set-request x-called yes; call resume-request",
    );
    assert_eq!(exchange.outcome(), Outcome::Answered);
    assert_eq!(
        exchange.upstream().unwrap().headers.get("x-called").as_deref(),
        Some("yes")
    );
    assert!(has(&proxy, "answered 1 10 status 0 value 200"));
}

#[test]
fn after_a_pause_without_the_flag_the_body_comes_when_the_stream_resumes() {
    let proxy = common::without_flag();
    let exchange = proxy
        .worker(0)
        .send(request("rh pause; rh call other; call resume-request"));
    assert!(common::callbacks(&proxy, "rb").is_empty());
    let token = proxy.worker(0).pending_callouts()[0].token;
    assert!(proxy.worker(0).answer_callout(token, CalloutAnswer::ok("")));
    assert_eq!(common::callbacks(&proxy, "rb"), ["rb 11 true"]);
    assert_eq!(exchange.upstream().unwrap().text(), "hello world");
}

#[test]
fn a_callout_that_nobody_answers_times_out_as_504_and_one_that_breaks_has_no_headers() {
    let proxy = with_flag();
    let slow = proxy
        .worker(0)
        .send(request("rh pause; rh call other 500; call reply 504 late"));
    proxy.advance(Duration::from_millis(499));
    assert!(slow.is_open());
    proxy.advance(Duration::from_millis(1));
    assert_eq!(slow.status(), 504);
    assert!(has(&proxy, "answered 1 24 status 0 value 504"));
    proxy.on_callout(|_| CalloutAnswer::Reset);
    run(&proxy, "rh pause; rh call other; call resume-request");
    assert!(has(&proxy, "answered 0 0 status 2 value "));
}

#[test]
fn a_callout_is_refused_to_unknown_and_to_empty_clusters_and_cancelled_with_its_client() {
    let proxy = builder()
        .body_pause(true)
        .cluster("known")
        .empty_cluster("empty")
        .start()
        .unwrap();
    run(&proxy, "rh call unknown; rh call empty; rh call known");
    let lines: Vec<String> = said(&proxy)
        .into_iter()
        .filter(|line| line.starts_with("rh call"))
        .collect();
    assert_eq!(
        lines,
        ["rh call status 2", "rh call status 10", "rh call status 0"]
    );
    let gone = proxy.worker(0).send(request("rh pause; rh call known"));
    gone.abort_client();
    assert!(proxy.worker(0).pending_callouts().is_empty());
}

#[test]
fn time_moves_only_by_hand() {
    let proxy = with_flag();
    assert_eq!(proxy.worker(0).tick_period(), Some(Duration::from_millis(250)));
    proxy.tick();
    proxy.advance(Duration::from_secs(2));
    proxy.tick();
    assert!(has(&proxy, "tick at 1767225600000000000") && has(&proxy, "tick at 1767225602000000000"));
}

#[test]
fn the_environment_and_standard_output_are_there() {
    let proxy = builder().env("PROBE", "secret").start().unwrap();
    assert!(has(&proxy, "environment Ok(\"secret\")"));
    let errors: String = proxy
        .logs()
        .into_iter()
        .filter(|line| line.level == 4)
        .map(|line| line.message)
        .collect();
    assert_eq!(errors, "random 0 elapsed 0ns");
    assert!(proxy.everything_said().windows(6).any(|bytes| bytes == b"secret"));
}

#[test]
fn filter_state_is_read_by_its_short_name_and_by_its_full_one() {
    let proxy = with_flag();
    proxy.property(&["xds", "route_name"], "chat");
    let exchange = run(
        &proxy,
        "rh state k v; sh property k; sh property filter_state/wasm.k; sh property xds/route_name; sh property nothing",
    );
    assert!(has(&proxy, "sh property k status 0 value v"));
    assert!(has(&proxy, "sh property filter_state/wasm.k status 0 value v"));
    assert!(has(&proxy, "sh property xds/route_name status 0 value chat"));
    assert!(has(&proxy, "sh property nothing status 1 value "));
    assert_eq!(exchange.filter_state("k").as_deref(), Some(b"v".as_slice()));
}

#[test]
fn a_counter_refuses_zero() {
    let proxy = with_flag();
    run(&proxy, "rh metric m 0");
    assert!(has(&proxy, "metric status 2"));
}

#[test]
fn a_refused_configuration_stops_the_start_and_says_what_was_logged() {
    let refused = builder().configuration("refuse").start().err().unwrap();
    assert!(refused.to_string().contains("configured refuse"), "{refused}");
    let proxy = with_flag();
    let old = proxy.worker(0).send(request("rh state k v"));
    proxy.reconfigure("{\"v\":2}").unwrap();
    assert!(has(&proxy, "configured {\"v\":2}"));
    old.answer(echo(&old.upstream().unwrap()));
    assert_eq!(old.status(), 200);
}

#[test]
fn instructions_are_counted_and_a_loop_ends_in_a_trap() {
    let proxy = builder().count_instructions(50_000_000).start().unwrap();
    run(&proxy, "");
    let cost = proxy.worker(0).costs()["proxy_on_request_headers"];
    assert!(cost.calls == 1 && cost.instructions > 100, "{cost:?}");
    assert_eq!(run(&proxy, "rh spin").status(), 503);
}

#[test]
fn memory_that_a_module_keeps_is_seen() {
    let proxy = with_flag();
    let before = proxy.worker(0).memory_bytes();
    run(&proxy, "rh keep 10000000");
    assert!(proxy.worker(0).memory_bytes() >= before + 9_000_000);
}

#[test]
fn imports_are_listed_and_a_foreign_one_is_refused() {
    let all = imports(probe()).unwrap();
    assert!(
        all.iter()
            .any(|import| import.name == "proxy_log" && import.module == "env")
    );
    let foreign = std::env::temp_dir().join(format!("spillway-foreign-{}.wasm", std::process::id()));
    // (module (import "env" "f" (func)))
    let wasm = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x09\x01\x03env\x01f\0\0";
    std::fs::write(&foreign, wasm).unwrap();
    let refused = spillway_test_host::Proxy::builder()
        .module(&foreign)
        .start()
        .err()
        .unwrap();
    assert!(refused.to_string().contains("unknown import"), "{refused}");
    std::fs::remove_file(&foreign).unwrap();
}
