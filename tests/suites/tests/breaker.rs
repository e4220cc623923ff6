//! The breaker, as clients and upstreams see it: when traffic moves, when it comes back, and how much is let through.

use std::time::Duration;

use spillway_suites::{answer, chat, chat_with, counted, events, full, number, policy, record, used};
use spillway_test_host::{Exchange, Headers, Proxy, UpstreamRequest, UpstreamResponse};

/// Breakers that open for 15 s without jitter to speak of: 3 permits, 2 successes.
fn started(workers: u64) -> Proxy {
    full(&policy(serde_json::json!({})))
        .workers(workers)
        .start()
        .unwrap()
}

fn fails(_: &UpstreamRequest) -> UpstreamResponse {
    UpstreamResponse::json(500, "{\"error\":{\"message\":\"no\"}}")
}

fn provider(exchange: &Exchange) -> String {
    exchange.header("x-spillway-provider").unwrap_or_default()
}

/// The first provider fails, the second doesn't.
fn first_fails(seen: &UpstreamRequest) -> UpstreamResponse {
    if seen.cluster.as_deref() == Some("openai") {
        fails(seen)
    } else {
        answer("fine", 1, 1)
    }
}

fn open(proxy: &Proxy) {
    for _ in 0..5 {
        assert_eq!(
            provider(&proxy.worker(0).request(chat("hi"), first_fails)),
            "openai"
        );
    }
}

#[test]
fn five_failures_in_a_row_move_the_traffic_of_all_workers() {
    let proxy = started(2);
    open(&proxy);
    for worker in proxy.workers() {
        let exchange = worker.request(chat("hi"), first_fails);
        assert_eq!((exchange.status(), provider(&exchange).as_str()), (200, "backup"));
        assert_eq!(record(&exchange)["passed_over"][0]["candidate"], "openai/gpt-4o");
    }
    assert_eq!(
        counted(&proxy, "spillway.breaker.transition.provider=openai.state=open"),
        Some(1)
    );
}

#[test]
fn successes_and_failures_in_turn_open_it_by_rate() {
    let proxy = started(1);
    let mut turn = 0;
    let providers: Vec<String> = (0..40)
        .map(|_| {
            let exchange = proxy.worker(0).request(chat("hi"), |seen| {
                turn += 1;
                if turn % 2 == 0 {
                    first_fails(seen)
                } else {
                    answer("fine", 1, 1)
                }
            });
            provider(&exchange)
        })
        .collect();
    let moved = providers.iter().position(|name| name == "backup").unwrap();
    assert!((20..=22).contains(&moved), "moved after {moved}");
}

#[test]
fn what_a_client_does_wrong_is_no_failure() {
    let proxy = started(1);
    for status in [400, 401, 403, 404, 413, 422] {
        for _ in 0..6 {
            proxy
                .worker(0)
                .request(chat("hi"), |_| UpstreamResponse::json(status, "{}"));
        }
    }
    for _ in 0..6 {
        let gone = proxy.worker(0).send(chat("hi"));
        gone.abort_client();
    }
    assert_eq!(
        provider(&proxy.worker(0).request(chat("hi"), |_| answer("fine", 1, 1))),
        "openai"
    );
}

#[test]
fn refused_connections_and_resets_are_failures() {
    for response in [
        UpstreamResponse::refused(),
        UpstreamResponse::stream(["data: {}\n\n"]).then_reset(),
    ] {
        let proxy = started(1);
        for _ in 0..5 {
            proxy
                .worker(0)
                .request(chat_with(serde_json::json!({"stream": true}), "hi"), |_| {
                    response.clone()
                });
        }
        assert_eq!(
            provider(&proxy.worker(0).request(chat("hi"), |_| answer("fine", 1, 1))),
            "backup"
        );
    }
}

#[test]
fn an_error_event_in_a_good_stream_is_a_failure() {
    let proxy = started(1);
    let broken = [
        events("one", 1, 1)[0].clone(),
        "data: {\"error\":{\"message\":\"overloaded\"}}\n\n".to_owned(),
    ];
    for _ in 0..5 {
        let request = chat_with(serde_json::json!({"stream": true}), "hi");
        proxy
            .worker(0)
            .request(request, |_| UpstreamResponse::stream(broken.clone()));
    }
    assert_eq!(
        provider(&proxy.worker(0).request(chat("hi"), |_| answer("fine", 1, 1))),
        "backup"
    );
}

fn stream_headers() -> Headers {
    Headers::from_pairs([(":status", "200"), ("content-type", "text/event-stream")])
}

/// Where the next request goes after 25 streams at once, each with its first token after `first` and then one event
/// every `between`, in milliseconds.
fn after_streams(first: u64, between: u64) -> String {
    let proxy = started(2);
    let streamed = || chat_with(serde_json::json!({"stream": true}), "hi");
    let streams: Vec<Exchange> = (0..25).map(|at| proxy.worker(at % 2).send(streamed())).collect();
    streams
        .iter()
        .for_each(|stream| stream.respond_headers(stream_headers(), false));
    proxy.advance(Duration::from_millis(first));
    for event in events("one two three four five six seven eight", 1, 8) {
        streams
            .iter()
            .for_each(|stream| stream.respond_body(&event, false));
        proxy.advance(Duration::from_millis(between));
    }
    streams.iter().for_each(|stream| stream.respond_body("", true));
    provider(&proxy.worker(0).request(chat("hi"), |_| answer("fine", 1, 1)))
}

#[test]
fn slow_first_tokens_and_silences_open_it_and_long_good_answers_do_not() {
    assert_eq!(after_streams(11_000, 1), "backup", "11 s to the first token");
    assert_eq!(after_streams(500, 11_000), "backup", "11 s between tokens");
    assert_eq!(
        after_streams(500, 4_000),
        "openai",
        "40 s in all, but never silent for long"
    );
}

#[test]
fn half_open_lets_exactly_the_permits_through_over_two_workers() {
    let proxy = started(2);
    open(&proxy);
    proxy.advance(Duration::from_secs(40));
    let exchanges: Vec<Exchange> = (0..50).map(|at| proxy.worker(at % 2).send(chat("hi"))).collect();
    let at_first =
        |exchange: &&Exchange| exchange.upstream().and_then(|seen| seen.cluster).as_deref() == Some("openai");
    assert_eq!(exchanges.iter().filter(at_first).count(), 3);
    for exchange in &exchanges {
        exchange.answer(answer("fine", 1, 1));
    }
    let after = proxy.worker(1).request(chat("hi"), |_| answer("fine", 1, 1));
    assert_eq!(provider(&after), "openai", "it recovered");
}

#[test]
fn half_open_under_real_threads_lets_no_more_through() {
    for seed in 0..10 {
        let proxy = full(&policy(serde_json::json!({})))
            .workers(2)
            .seed(seed)
            .start()
            .unwrap();
        open(&proxy);
        proxy.advance(Duration::from_secs(40));
        let half = |worker: usize| {
            (0..25)
                .map(|_| proxy.worker(worker).send(chat("hi")))
                .collect::<Vec<_>>()
        };
        let (first, second) = std::thread::scope(|scope| {
            let (first, second) = (scope.spawn(|| half(0)), scope.spawn(|| half(1)));
            (first.join().unwrap(), second.join().unwrap())
        });
        let probes = first.iter().chain(&second).filter(|exchange| {
            exchange.upstream().and_then(|seen| seen.cluster).as_deref() == Some("openai")
        });
        assert_eq!(probes.count(), 3, "seed {seed}");
    }
}

#[test]
fn stragglers_of_before_change_nothing() {
    let proxy = started(1);
    let stragglers: Vec<Exchange> = (0..10).map(|_| proxy.worker(0).send(chat("hi"))).collect();
    open(&proxy);
    proxy.advance(Duration::from_secs(40));
    let probe = proxy.worker(0).send(chat("hi"));
    for straggler in &stragglers {
        straggler.answer(fails(&straggler.upstream().unwrap()));
    }
    probe.answer(answer("fine", 1, 1));
    for _ in 0..2 {
        proxy.worker(0).request(chat("hi"), |_| answer("fine", 1, 1));
    }
    assert_eq!(
        provider(&proxy.worker(0).request(chat("hi"), |_| answer("fine", 1, 1))),
        "openai"
    );
}

#[test]
fn a_probe_whose_client_leaves_is_given_back() {
    let proxy = started(1);
    open(&proxy);
    proxy.advance(Duration::from_secs(40));
    for _ in 0..10 {
        let probe = proxy.worker(0).send(chat("hi"));
        assert_eq!(probe.upstream().unwrap().cluster.as_deref(), Some("openai"));
        probe.abort_client();
    }
}

#[test]
fn a_429_with_retry_after_7_holds_for_7_seconds() {
    for header in [("retry-after", "7"), ("retry-after-ms", "7000")] {
        let proxy = started(1);
        let limited = |_: &UpstreamRequest| UpstreamResponse::json(429, "{}").header(header.0, header.1);
        assert_eq!(proxy.worker(0).request(chat("hi"), limited).status(), 429);
        let now = || provider(&proxy.worker(0).request(chat("hi"), |_| answer("fine", 1, 1)));
        assert_eq!(now(), "backup");
        proxy.advance(Duration::from_millis(6_999));
        assert_eq!(now(), "backup", "{header:?}");
        proxy.advance(Duration::from_millis(1_500));
        assert_eq!(now(), "openai", "{header:?}");
    }
}

#[test]
fn when_all_are_open_the_client_is_told_when_and_nothing_is_charged() {
    let limits = serde_json::json!([{"name": "t", "per": ["caller"], "tokens": "100000/hour"}]);
    let proxy = full(&policy(serde_json::json!({"limits": limits})))
        .start()
        .unwrap();
    for _ in 0..10 {
        proxy.worker(0).request(chat("hi"), fails);
    }
    let refused = proxy.worker(0).request(chat("hi"), fails);
    assert_eq!(refused.status(), 503);
    assert!(
        (1..=20).contains(&number(&refused, "retry-after").unwrap()),
        "{:?}",
        refused.header("retry-after")
    );
    assert_eq!(record(&refused)["reserved"], 0);
    proxy.advance(Duration::from_secs(40));
    assert_eq!(used(proxy.worker(0), 100_000), 0, "failures cost nothing either");
}

#[test]
fn least_bad_asks_the_one_that_will_be_back_first() {
    let models = serde_json::json!({
        "gpt-4o": {"chain": ["openai/gpt-4o", "backup/gpt-4o"], "when_all_open": "least_bad"},
    });
    let proxy = full(&policy(serde_json::json!({"models": models})))
        .start()
        .unwrap();
    for _ in 0..10 {
        proxy.worker(0).request(chat("hi"), fails);
    }
    assert_eq!(
        proxy
            .worker(0)
            .request(chat("hi"), |_| answer("fine", 1, 1))
            .status(),
        200
    );
}

#[test]
fn when_all_are_open_calls_of_any_worker_go_on_as_far_as_they_are_answered() {
    let models = serde_json::json!({"gpt-4o": {"chain": ["openai/gpt-4o"]}});
    let proxy = full(&policy(serde_json::json!({"models": models})))
        .workers(2)
        .start()
        .unwrap();
    let under_way: Vec<_> = (0..2).map(|at| proxy.worker(at).send(chat("hi"))).collect();
    for _ in 0..5 {
        proxy.worker(0).request(chat("hi"), fails);
    }
    let refused = |at| proxy.worker(at).request(chat("hi"), fails).status() == 503;
    assert!(refused(0) && refused(1), "nothing was answered since");
    for exchange in under_way {
        exchange.answer(answer("fine", 1, 1));
    }
    let fine = |at| {
        proxy
            .worker(at)
            .request(chat("hi"), |_| answer("fine", 1, 1))
            .status()
    };
    assert_eq!(
        [fine(0), fine(1), fine(1)],
        [200; 3],
        "two that were answered, and each brings one more"
    );
    let record = record(&proxy.worker(1).request(chat("hi"), fails));
    assert_eq!(record["breaker"], "passed_by");
    assert_eq!(record.get("passed_over"), None, "it wasn't");
    while proxy.worker(0).request(chat("hi"), fails).status() != 503 {}
    assert!(refused(1), "none is answered, and none goes");
    proxy.tick();
    assert_eq!(
        proxy.metric("spillway.breaker.on_credit.provider=openai"),
        Some(8)
    );
}

#[test]
fn an_answer_of_forty_seconds_arrives_whole() {
    let proxy = started(1);
    let exchange = proxy
        .worker(0)
        .send(chat_with(serde_json::json!({"stream": true}), "hi"));
    exchange.respond_headers(stream_headers(), false);
    let words = "word ".repeat(40);
    let stream = events(&words, 1, 40);
    for event in &stream {
        proxy.advance(Duration::from_secs(1));
        proxy.tick();
        exchange.respond_body(event, false);
    }
    exchange.respond_body("", true);
    assert_eq!(
        exchange.client().chunks.len(),
        stream.len() - 1,
        "all but the usage chunk that nobody asked for"
    );
    assert_eq!(exchange.status(), 200);
}

#[test]
fn an_observation_that_the_store_will_not_take_is_dropped_and_counted() {
    let proxy = started(1);
    let exchange = proxy.worker(0).send(chat("hi"));
    proxy.conflict_on_every_set();
    exchange.answer(fails(&exchange.upstream().unwrap()));
    proxy.no_more_conflicts();
    assert_eq!(exchange.status(), 500);
    proxy.tick();
    assert_eq!(proxy.metric("spillway.breaker.dropped.provider=openai"), Some(1));
}
