//! Verdicts from outside on the module as it is released: services that never answer, say nonsense or too much, clients
//! that go, and posts that nobody waits for.

use std::time::Duration;

use serde_json::{Value, json};
use spillway_suites::{answer, chat, chat_with, counted, events, full, headers_first, policy, record, used};
use spillway_test_host::{
    Callout, CalloutAnswer, Exchange, Headers, Outcome, Proxy, UpstreamResponse, Worker,
};

const TICK: Duration = Duration::from_millis(50);
const WORD: &str = "the-secret-word-of-the-prompt";

/// A policy with one moderation, `changes` laid over it, and a webhook.
fn moderated(changes: Value) -> String {
    let mut rule = json!({"name": "safety", "on": ["request"], "cluster": "judge", "authority": "judge.internal",
        "ask": "moderation", "timeout": "800ms"});
    for (name, value) in changes.as_object().expect("an object") {
        rule[name.as_str()] = value.clone();
    }
    policy(json!({
        "moderation": [rule],
        "review": {"cluster": "webhook", "path": "/exchanges", "when": ["flagged"]},
        "limits": [{"name": "t", "per": ["caller"], "tokens": "1000000/min"}],
    }))
}

fn says(status: u16, body: impl Into<Vec<u8>>) -> CalloutAnswer {
    CalloutAnswer::Response(
        status,
        Headers::from_pairs([("content-type", "application/json")]),
        body.into(),
    )
}

fn verdict(flagged: bool) -> CalloutAnswer {
    says(
        200,
        json!({"results": [{"flagged": flagged, "categories": {"hate": flagged}}]}).to_string(),
    )
}

fn pending(worker: &Worker, cluster: &str) -> Vec<Callout> {
    let calls = worker.pending_callouts().into_iter();
    calls.filter(|call| call.cluster == cluster).collect()
}

/// The clock goes on, and ticks come, until so much time is over.
fn pass(proxy: &Proxy, span: Duration) {
    for _ in 0..span.as_millis() / TICK.as_millis() {
        proxy.advance(TICK);
        proxy.tick();
    }
}

fn nothing_is_left(proxy: &Proxy) {
    for worker in proxy.workers() {
        assert_eq!(worker.open_streams(), 0);
        assert!(worker.pending_callouts().is_empty());
        assert!(!worker.is_dead());
        assert_eq!(worker.starts(), 1);
    }
}

fn why(exchange: &Exchange) -> Value {
    record(exchange)["moderation"][0]["why"].clone()
}

#[test]
fn a_clean_request_goes_on_in_both_host_settings() {
    for pauses in [true, false] {
        let mut document: Value =
            serde_json::from_str(&moderated(json!({"on": ["request", "answer"]}))).unwrap();
        document["host"] = json!({"body_pause": pauses, "model_header": "x-model"});
        let document = document.to_string();
        let proxy = if pauses {
            full(&document)
        } else {
            headers_first(&document)
        };
        let proxy = proxy.start().unwrap();
        proxy.on_callout(|_| verdict(false));
        let request = chat(WORD).header("x-model", "gpt-4o");
        let exchange = proxy.worker(0).request(request, |seen| {
            assert!(seen.text().contains(WORD), "the body is whole");
            answer("fine", 10, 5)
        });
        assert_eq!(exchange.status(), 200, "{pauses}: {}", exchange.text());
        assert!(exchange.text().contains("fine"));
        assert_eq!(exchange.header("x-spillway-moderation").as_deref(), Some("clean"));
        let upstream = exchange.upstream().unwrap();
        assert_eq!(upstream.headers.get("x-tenant"), None);
        assert_eq!(record(&exchange)["moderation"].as_array().unwrap().len(), 2);
        nothing_is_left(&proxy);
    }
}

#[test]
fn a_flagged_request_goes_nowhere_and_costs_nothing() {
    let proxy = full(&moderated(json!({}))).start().unwrap();
    let worker = proxy.worker(0);
    proxy.on_callout(|call| {
        if call.cluster == "judge" {
            verdict(true)
        } else {
            says(200, "{}")
        }
    });
    let exchange = worker.request(chat(WORD), |_| unreachable!("nothing goes out"));
    assert_eq!(exchange.status(), 400);
    assert!(exchange.text().contains("content_policy_violation") && !exchange.text().contains(WORD));
    proxy.on_callout(|_| verdict(false));
    assert_eq!(used(worker, 1_000_000), 0);
    pass(&proxy, Duration::from_secs(1));
    assert_eq!(
        counted(
            &proxy,
            "spillway.moderation.rule=safety.side=request.verdict=flagged"
        ),
        Some(1)
    );
    nothing_is_left(&proxy);
}

#[test]
fn a_service_that_says_nothing_nonsense_or_too_much_gives_no_verdict() {
    let cases: [(&str, CalloutAnswer); 8] = [
        ("reset", CalloutAnswer::Reset),
        ("status", says(500, "{}")),
        ("status", says(302, "")),
        ("garbage", says(200, "")),
        ("garbage", says(200, "\u{0}\u{ff}".as_bytes())),
        ("garbage", says(200, vec![b'['; 2 << 20])),
        (
            "garbage",
            says(
                200,
                format!(
                    "{{\"results\":[{{\"flagged\":false}}],\"x\":\"{}\"}}",
                    "y".repeat(2 << 20)
                ),
            ),
        ),
        (
            "garbage",
            says(200, json!({"results": [{"flagged": "no"}]}).to_string()),
        ),
    ];
    for (failure, expected) in [("block", 503), ("allow", 200)] {
        let proxy = full(&moderated(json!({"on_failure": failure}))).start().unwrap();
        for (reason, said) in &cases {
            let said = said.clone();
            proxy.on_callout(move |_| said.clone());
            let exchange = proxy.worker(0).request(chat("hello"), |_| answer("fine", 10, 5));
            assert_eq!(exchange.status(), expected, "{failure} {reason}");
            assert_eq!(why(&exchange), *reason);
        }
        nothing_is_left(&proxy);
    }
}

#[test]
fn a_service_that_never_answers_is_waited_for_as_long_as_the_policy_says() {
    let proxy = full(&moderated(json!({}))).start().unwrap();
    let worker = proxy.worker(0);
    let exchange = worker.send(chat("hello"));
    assert_eq!(pending(worker, "judge").len(), 1);
    pass(&proxy, Duration::from_millis(750));
    assert!(exchange.is_open());
    pass(&proxy, Duration::from_millis(100));
    assert_eq!(exchange.status(), 503);
    assert_eq!(why(&exchange), "timeout");
    nothing_is_left(&proxy);
}

#[test]
fn a_cluster_that_isnt_there_or_is_empty_is_no_verdict_at_once() {
    for (name, cluster) in [("nowhere", "openai"), ("judge", "judge")] {
        let document = moderated(json!({"cluster": name}));
        let mut proxy = full(&document)
            .cluster(cluster)
            .cluster("openai")
            .cluster("webhook");
        if name == "judge" {
            proxy = proxy.empty_cluster("judge");
        }
        let proxy = proxy.start().unwrap();
        let exchange = proxy.worker(0).request(chat("hello"), |_| answer("fine", 10, 5));
        assert_eq!(exchange.status(), 503, "{name}");
        assert_eq!(why(&exchange), "unsent");
        let proxy = full(&moderated(json!({"cluster": name, "on_failure": "allow"})));
        let proxy = proxy
            .cluster("openai")
            .cluster("webhook")
            .empty_cluster("judge")
            .start()
            .unwrap();
        let exchange = proxy.worker(0).request(chat(WORD), |seen| {
            assert!(seen.text().contains(WORD));
            answer("fine", 10, 5)
        });
        assert_eq!(exchange.status(), 200, "{name}");
        nothing_is_left(&proxy);
    }
}

#[test]
fn clients_that_go_while_a_verdict_is_out_leave_nothing() {
    let proxy = full(&moderated(json!({"on": ["request", "answer"]})))
        .start()
        .unwrap();
    let worker = proxy.worker(0);
    for _ in 0..20 {
        worker
            .send(chat_with(json!({"max_tokens": 4_000}), WORD))
            .abort_client();
    }
    let before = worker.memory_bytes();
    for _ in 0..200 {
        let waits = worker.send(chat_with(json!({"max_tokens": 4_000}), WORD));
        assert_eq!(worker.pending_callouts().len(), 1);
        waits.abort_client();
        assert_eq!(why(&waits), "abandoned");
        let judged = worker.send(chat("hello"));
        let token = worker.pending_callouts()[0].token;
        assert!(worker.answer_callout(token, verdict(false)));
        judged.answer(answer("fine", 1, 1));
        assert_eq!(
            worker.pending_callouts().len(),
            1,
            "the answer is out to be judged"
        );
        judged.abort_client();
        assert_eq!(record(&judged)["end"], "client_abort");
    }
    nothing_is_left(&proxy);
    assert!(worker.memory_bytes() <= before + (1 << 20));
    proxy.on_callout(|_| verdict(false));
    assert_eq!(
        used(worker, 1_000_000),
        400,
        "what the answers cost, and no reservation"
    );
}

#[test]
fn a_flagged_answer_is_held_back_whole_and_streamed() {
    let proxy = full(&moderated(json!({"on": ["answer"]}))).start().unwrap();
    let worker = proxy.worker(0);
    proxy.on_callout(|call| verdict(String::from_utf8_lossy(&call.body).contains("bad")));
    let whole = worker.request(chat("hello"), |_| answer("so bad", 10, 5));
    assert_eq!(whole.status(), 502);
    assert!(!whole.text().contains("so bad"));
    let all = events("so bad", 10, 5).concat();
    for cut in (1..all.len()).step_by(7) {
        let stream = worker.request(chat_with(json!({"stream": true}), "hello"), |_| {
            UpstreamResponse::stream([&all[..cut], &all[cut..]])
        });
        assert_eq!(stream.status(), 200);
        let text = stream.text();
        assert!(
            text.contains("content policy") && !text.contains("[DONE]") && !text.contains("\"stop\""),
            "{cut}"
        );
    }
    let clean = worker.request(chat_with(json!({"stream": true}), "hello"), |_| {
        UpstreamResponse::stream(events("so good", 10, 5))
    });
    assert!(clean.text().ends_with("data: [DONE]\n\n"), "{}", clean.text());
    pass(&proxy, TICK);
    nothing_is_left(&proxy);
}

#[test]
fn a_stream_that_breaks_off_while_it_is_watched_leaves_nothing() {
    let proxy = full(&moderated(json!({"on": ["answer"]}))).start().unwrap();
    let worker = proxy.worker(0);
    let stream = events("so good", 10, 5);
    let broken = worker.request(chat_with(json!({"stream": true}), "hello"), |_| {
        UpstreamResponse::stream(stream.iter().take(2).map(String::as_str)).then_reset()
    });
    assert!(!matches!(broken.outcome(), Outcome::Hung(_)));
    nothing_is_left(&proxy);
}

#[test]
fn posts_go_by_the_tick_and_nobody_waits() {
    let proxy = full(&moderated(json!({}))).start().unwrap();
    let worker = proxy.worker(0);
    let exchange = worker.send(chat(WORD));
    let token = pending(worker, "judge")[0].token;
    assert!(worker.answer_callout(token, verdict(true)));
    assert_eq!(exchange.status(), 400);
    assert!(pending(worker, "webhook").is_empty());
    proxy.tick();
    let posts = pending(worker, "webhook");
    let post: Value = serde_json::from_slice(&posts[0].body).unwrap();
    assert_eq!(post["why"], json!(["flagged"]));
    assert_eq!(post["refused"], "flagged");
    assert!(!post.to_string().contains(WORD));
    assert!(worker.answer_callout(posts[0].token, says(204, "")));
    pass(&proxy, Duration::from_secs(1));
    assert_eq!(counted(&proxy, "spillway.review.status=taken"), Some(1));
    nothing_is_left(&proxy);
}

#[test]
fn a_webhook_that_hangs_holds_up_nothing_and_grows_nothing() {
    let proxy = full(&moderated(json!({}))).start().unwrap();
    let worker = proxy.worker(0);
    proxy.on_callout(|call| {
        if call.cluster == "judge" {
            verdict(true)
        } else {
            CalloutAnswer::Never
        }
    });
    for _ in 0..1_500 {
        assert_eq!(worker.request(chat("hello"), |_| answer("", 0, 0)).status(), 400);
    }
    proxy.tick();
    assert_eq!(pending(worker, "webhook").len(), 64, "no more at a time");
    pass(&proxy, Duration::from_secs(4));
    let count = |what: &str| counted(&proxy, &format!("spillway.review.status={what}")).unwrap_or_default();
    assert_eq!(count("dropped"), 1_500 - 1_024, "what there was no room for");
    assert!(count("failed") >= 64);
    assert!(!worker.is_dead());
}

#[test]
fn in_shadow_questions_go_beside_and_outlive_their_exchange() {
    let proxy = full(&moderated(json!({"mode": "shadow", "on": ["request", "answer"]})))
        .start()
        .unwrap();
    let worker = proxy.worker(0);
    let exchange = worker.request(chat(WORD), |_| answer("fine", 10, 5));
    assert_eq!(exchange.status(), 200);
    assert_eq!(worker.open_streams(), 0);
    proxy.tick();
    for call in pending(worker, "judge") {
        assert!(worker.answer_callout(call.token, verdict(true)));
    }
    pass(&proxy, Duration::from_secs(1));
    for side in ["request", "answer"] {
        let name = format!("spillway.moderation.rule=safety.side={side}.verdict=flagged");
        assert_eq!(counted(&proxy, &name), Some(1));
    }
    let silent = worker.request(chat("hello"), |_| answer("fine", 10, 5));
    assert_eq!(silent.status(), 200);
    pass(&proxy, Duration::from_secs(3));
    assert_eq!(
        counted(&proxy, "spillway.moderation.failed.rule=safety.reason=timeout"),
        Some(2)
    );
    nothing_is_left(&proxy);
}

#[test]
fn no_text_is_said_but_to_who_is_asked() {
    let proxy = full(&moderated(
        json!({"on": ["request", "answer"], "on_flagged": "annotate"}),
    ))
    .start()
    .unwrap();
    proxy.on_callout(|call| {
        if call.cluster == "judge" {
            verdict(true)
        } else {
            says(200, "{}")
        }
    });
    let exchange = proxy
        .worker(0)
        .request(chat(WORD), |_| answer("the-secret-word-of-the-answer", 10, 5));
    assert_eq!(
        exchange.header("x-spillway-moderation").as_deref(),
        Some("flagged")
    );
    pass(&proxy, Duration::from_secs(1));
    let record = record(&exchange).to_string();
    assert!(!record.contains("secret-word"));
    for line in proxy.logs() {
        assert!(!format!("{line:?}").contains("secret-word"));
    }
}
