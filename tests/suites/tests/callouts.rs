//! Failing over by callouts on the module as it is released: scripted providers, silence, clients that go, two workers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use spillway_suites::{
    answer, chat, chat_with, events, full, headers_first, policy, record, used, without_breakers,
};
use spillway_test_host::{
    Callout, CalloutAnswer, Exchange, Headers, Outcome, Proxy, UpstreamResponse, Worker,
};

const TICK: Duration = Duration::from_millis(50);

fn failing_over(changes: Value) -> String {
    let mut sections = json!({
        "failover": {"via": "callout", "backoff": {"base": "1s", "max": "1s"}},
        "limits": [{"name": "t", "per": ["caller"], "tokens": "1000000/min"}],
        "models": {"gpt-4o": {"chain": ["openai/gpt-4o", "backup/gpt-4o"]}, "alone": {"chain": ["openai/gpt-4o"]}},
    });
    for (name, value) in changes.as_object().expect("an object") {
        sections[name.as_str()] = value.clone();
    }
    without_breakers(&policy(sections))
}

fn says(text: &str) -> CalloutAnswer {
    let message = json!({"role": "assistant", "content": text});
    let body = json!({"id": "c", "object": "chat.completion", "model": "gpt-4o",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}});
    CalloutAnswer::Response(200, headers("application/json"), body.to_string().into())
}

fn headers(kind: &str) -> Headers {
    Headers::from_pairs([("content-type", kind)])
}

fn fails(status: u16) -> UpstreamResponse {
    UpstreamResponse::json(status, "{\"error\":{\"message\":\"own\"}}")
}

/// Sends a chat whose first attempt is answered 503.
fn failed(worker: &Worker, more: Value) -> Exchange {
    let exchange = worker.send(chat_with(more, "hello"));
    exchange.answer(fails(503));
    exchange
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
    }
}

#[test]
fn the_second_provider_answers_in_both_host_settings() {
    let seen: Arc<Mutex<Vec<Callout>>> = Arc::default();
    for pauses in [true, false] {
        let host = json!({"body_pause": pauses, "model_header": if pauses { Value::Null } else { json!("x-model") }});
        let document = failing_over(json!({"host": host}));
        let proxy = if pauses {
            full(&document)
        } else {
            headers_first(&document)
        };
        let proxy = proxy.start().unwrap();
        let calls = Arc::clone(&seen);
        proxy.on_callout(move |call| {
            calls.lock().unwrap().push(call.clone());
            says("from the second")
        });
        let exchange = proxy
            .worker(0)
            .request(chat("hello").header("x-model", "gpt-4o"), |_| fails(503));
        assert_eq!(exchange.status(), 200, "{pauses}: {}", exchange.text());
        assert!(exchange.text().contains("from the second"));
        assert_eq!(exchange.header("x-spillway-provider").as_deref(), Some("backup"));
        let record = record(&exchange);
        assert_eq!(record["attempts"].as_array().unwrap().len(), 2);
        nothing_is_left(&proxy);
    }
    for call in seen.lock().unwrap().iter() {
        assert_eq!(call.cluster, "backup");
        assert_eq!(call.headers.get("x-tenant"), None);
        assert_eq!(
            call.headers.get("authorization"),
            None,
            "this provider has no credential"
        );
    }
}

#[test]
fn a_callout_that_never_answers_ends_by_its_timeout() {
    let timeouts = json!({"via": "callout", "timeouts": {"whole": {"base": "5s", "per_1k_prompt": "0s", "per_1k_output": "0s"}}});
    let proxy = full(&failing_over(json!({"failover": timeouts})))
        .start()
        .unwrap();
    let exchange = failed(proxy.worker(0), json!({}));
    assert_eq!(proxy.worker(0).pending_callouts().len(), 1);
    pass(&proxy, Duration::from_millis(4_900));
    assert!(exchange.is_open());
    pass(&proxy, Duration::from_millis(200));
    assert_eq!(exchange.status(), 503);
    assert!(
        exchange.text().contains("providers_failed"),
        "{}",
        exchange.text()
    );
    nothing_is_left(&proxy);
}

#[test]
fn clients_that_go_during_a_callout_or_a_wait_leave_nothing() {
    let proxy = full(&failing_over(json!({}))).start().unwrap();
    let worker = proxy.worker(0);
    let before = worker.memory_bytes();
    for _ in 0..200 {
        let exchange = failed(worker, json!({}));
        assert_eq!(worker.pending_callouts().len(), 1);
        exchange.abort_client();
        let prompt = record(&exchange)["estimate"].as_u64();
        assert_eq!(record(&exchange)["actual"]["input"].as_u64(), prompt);
        let waits = failed(worker, json!({"model": "alone"}));
        assert!(waits.is_open() && worker.pending_callouts().is_empty());
        waits.abort_client();
        assert_eq!(record(&waits)["end"], "client_abort");
    }
    nothing_is_left(&proxy);
    proxy.tick();
    assert!(
        worker.memory_bytes() < before + (1 << 20),
        "what was kept is gone"
    );
    assert!(used(worker, 1_000_000) > 0);
}

#[test]
fn a_wait_ends_by_the_tick_and_the_same_is_asked_again() {
    let proxy = full(&failing_over(json!({}))).start().unwrap();
    let worker = proxy.worker(0);
    assert_eq!(worker.tick_period(), Some(TICK));
    let exchange = failed(worker, json!({"model": "alone"}));
    proxy.on_callout(|call| says(&call.cluster));
    assert!(exchange.is_open() && exchange.text().is_empty());
    pass(&proxy, Duration::from_millis(1_100));
    assert_eq!(
        (exchange.status(), exchange.text().contains("openai")),
        (200, true)
    );
    nothing_is_left(&proxy);
}

#[test]
fn repeats_of_all_workers_together_stay_within_the_budget() {
    let proxy = full(&failing_over(json!({}))).workers(2).start().unwrap();
    let busy: Vec<Exchange> = (0..40).map(|n| proxy.worker(n).send(chat("slow"))).collect();
    pass(&proxy, Duration::from_secs(1));
    let repeats: Vec<Exchange> = (0..40)
        .map(|n| failed(proxy.worker(n), json!({"model": "alone"})))
        .collect();
    let waiting = repeats.iter().filter(|exchange| exchange.is_open()).count();
    assert!((8..=16).contains(&waiting), "20 % of what is active: {waiting}");
    for exchange in busy.iter().chain(&repeats) {
        exchange.abort_client();
    }
    nothing_is_left(&proxy);
}

#[test]
fn a_worker_that_trapped_takes_its_share_of_the_budget_with_it() {
    let proxy = full(&failing_over(json!({}))).workers(2).start().unwrap();
    let gone: Vec<Exchange> = (0..3)
        .map(|_| failed(proxy.worker(0), json!({"model": "alone"})))
        .collect();
    assert!(gone.iter().all(Exchange::is_open));
    let refused = failed(proxy.worker(1), json!({"model": "alone"}));
    assert!(!refused.is_open(), "the minimum is used up");
    proxy.trap_in("proxy_get_shared_data", 1);
    let _ = proxy.worker(0).send(chat("hello"));
    assert!(proxy.worker(0).is_dead());
    proxy.advance(Duration::from_secs(6));
    let exchange = failed(proxy.worker(1), json!({"model": "alone"}));
    assert!(exchange.is_open(), "what the dead one had under way has lapsed");
    exchange.abort_client();
}

#[test]
fn a_stream_is_held_until_its_first_token_and_passes_at_once_from_there() {
    let proxy = full(&failing_over(json!({}))).start().unwrap();
    let exchange = proxy.worker(0).send(chat_with(json!({"stream": true}), "hello"));
    exchange.respond_headers(sse(), false);
    exchange.respond_body(
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n",
        false,
    );
    assert_eq!(exchange.client().status, None, "held");
    let words = events("one two", 3, 2);
    exchange.respond_body(&words[0], false);
    assert!(exchange.text().contains("one") && exchange.text().contains("role"));
    for event in &words[1..] {
        let before = exchange.text().len();
        exchange.respond_body(event, false);
        assert!(
            exchange.text().len() > before || event.contains("usage\":{"),
            "{event}"
        );
    }
    exchange.respond_body("", true);
    assert_eq!(exchange.outcome(), Outcome::Answered);
    nothing_is_left(&proxy);
}

#[test]
fn a_stream_that_stays_silent_is_given_up_by_the_tick() {
    let timeouts = json!({"first_token": {"base": "2s", "per_1k_prompt": "0s"}});
    let document = failing_over(json!({"failover": {"via": "callout", "timeouts": timeouts}}));
    let proxy = full(&document).start().unwrap();
    proxy.on_callout(|_| {
        CalloutAnswer::Response(
            200,
            headers("text/event-stream"),
            events("hi", 3, 1).concat().into(),
        )
    });
    for begun in [false, true] {
        let exchange = proxy.worker(0).send(chat_with(json!({"stream": true}), "hello"));
        if begun {
            exchange.respond_headers(sse(), false);
            exchange.respond_body(": ping\n\n", false);
        }
        pass(&proxy, Duration::from_millis(1_900));
        assert!(exchange.is_open());
        pass(&proxy, Duration::from_millis(200));
        assert_eq!(exchange.status(), 200, "{begun}");
        assert!(exchange.text().contains("hi") && exchange.text().ends_with("data: [DONE]\n\n"));
    }
    nothing_is_left(&proxy);
}

#[test]
fn a_cluster_that_takes_no_call_is_a_provider_that_is_not_there() {
    let builder = full(&failing_over(json!({})))
        .cluster("openai")
        .empty_cluster("backup");
    let proxy = builder.start().unwrap();
    let exchange = proxy.worker(0).request(chat("hello"), |_| fails(503));
    assert_eq!(exchange.status(), 503);
    assert!(exchange.text().contains("providers_failed"));
    assert_eq!(record(&exchange)["attempts"][1]["status"], 502);
    nothing_is_left(&proxy);
}

#[test]
fn what_is_never_failed_over_costs_no_call_and_no_wait() {
    let proxy = full(&policy(json!({}))).start().unwrap();
    let exchange = proxy.worker(0).request(chat("hello"), |_| answer("", 1, 1));
    assert_eq!(exchange.status(), 200);
    assert_eq!(proxy.worker(0).tick_period(), Some(Duration::from_secs(1)));
    assert_eq!(proxy.host_calls().get("proxy_http_call"), None);
    assert_eq!(proxy.host_calls().get("proxy_set_effective_context"), None);
}

fn sse() -> Headers {
    let mut sse = headers("text/event-stream");
    sse.set(":status", "200");
    sse
}
