//! What all suites share: where the module is, and a policy to run it with.
//!
//! The suites run the module as it is released, in the test host, and look only at what clients and upstreams see.

use std::path::{Path, PathBuf};

use spillway_test_host::{Builder, Exchange, Proxy, Request, UpstreamResponse, Worker};

/// The module under test: `SPILLWAY_WASM`, or `dist/spillway.wasm`.
///
/// # Panics
/// When there is none, with the command that makes one.
#[must_use]
pub fn module() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/spillway.wasm");
    let path = std::env::var_os("SPILLWAY_WASM")
        .filter(|path| !path.is_empty())
        .map_or_else(built, PathBuf::from);
    assert!(
        path.exists(),
        "no module at {}: run `./build.sh build` first, or set SPILLWAY_WASM",
        path.display()
    );
    path
}

/// A proxy as `envoy/standalone.yaml` makes one, with both providers' keys in its environment.
#[must_use]
pub fn full(policy: &str) -> Builder {
    headers_first(policy).body_pause(true)
}

/// A proxy as a plain WasmPlugin amounts to: no pausing at headers while the body comes.
#[must_use]
pub fn headers_first(policy: &str) -> Builder {
    let builder = Proxy::builder().module(module()).configuration(policy);
    builder
        .env("OPENAI_API_KEY", OPENAI_KEY)
        .env("ANTHROPIC_API_KEY", ANTHROPIC_KEY)
}

/// The provider keys of all suites: nothing may ever say them but the headers towards their own provider.
pub const OPENAI_KEY: &str = "sk-suite-openai-0123456789";
/// See [`OPENAI_KEY`].
pub const ANTHROPIC_KEY: &str = "sk-ant-suite-0123456789";

/// A policy with both providers, callers named by `x-tenant`, and what `changes` puts over it, section by section.
#[must_use]
pub fn policy(changes: serde_json::Value) -> String {
    let mut policy = serde_json::json!({
        "version": 1,
        "host": {"body_pause": true},
        "callers": [{"header": "x-tenant", "trusted": true}],
        "providers": {
            "openai": {
                "cluster": "openai", "dialect": "openai", "authority": "api.openai.com",
                "credential": {"env": "OPENAI_API_KEY"},
                "models": {"gpt-4o": {"tokenizer": "o200k", "context": 128_000}, "gpt-4o-mini": {"context": 128_000}},
            },
            "backup": {
                "cluster": "backup", "dialect": "openai", "authority": "backup.test",
                "models": {"gpt-4o": {"tokenizer": "o200k", "context": 128_000}},
            },
            "anthropic": {
                "cluster": "anthropic", "dialect": "anthropic", "authority": "api.anthropic.com",
                "credential": {"env": "ANTHROPIC_API_KEY"},
                "models": {"claude-sonnet-4-5": {"tokenizer": "estimate", "context": 200_000}},
            },
        },
        "models": {
            "gpt-4o": {"chain": ["openai/gpt-4o", "backup/gpt-4o"]},
            "claude-sonnet-4-5": {"chain": ["anthropic/claude-sonnet-4-5"]},
        },
    });
    let serde_json::Value::Object(changes) = changes else {
        panic!("changes are an object")
    };
    for (section, value) in changes {
        policy[section.as_str()] = value;
    }
    policy.to_string()
}

/// The same policy with every breaker forced closed, for suites in which providers fail on purpose.
#[must_use]
pub fn without_breakers(policy: &str) -> String {
    let mut policy: serde_json::Value = serde_json::from_str(policy).expect("a policy is JSON");
    let providers = policy["providers"].as_object_mut().expect("providers are a map");
    for provider in providers.values_mut() {
        provider["breaker"] = serde_json::json!({"force": "closed"});
    }
    policy.to_string()
}

/// A chat of one user message, by tenant `acme`.
#[must_use]
pub fn chat(prompt: &str) -> Request {
    chat_with(serde_json::json!({}), prompt)
}

/// The same with more fields in its body.
#[must_use]
pub fn chat_with(more: serde_json::Value, prompt: &str) -> Request {
    let mut body = serde_json::json!({"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}]});
    let serde_json::Value::Object(more) = more else {
        panic!("fields are an object")
    };
    for (name, value) in more {
        body[name.as_str()] = value;
    }
    Request::post("/v1/chat/completions", body.to_string()).header("x-tenant", "acme")
}

/// A message to Anthropic, by tenant `acme`.
#[must_use]
pub fn message(prompt: &str) -> Request {
    let messages = serde_json::json!([{"role": "user", "content": prompt}]);
    let body = serde_json::json!({"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": messages});
    Request::post("/v1/messages", body.to_string()).header("x-tenant", "acme")
}

/// A whole answer of OpenAI's chat that says `text` and what it cost.
#[must_use]
pub fn answer(text: &str, input: u64, output: u64) -> UpstreamResponse {
    let message = serde_json::json!({"role": "assistant", "content": text});
    let body = serde_json::json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output},
    });
    UpstreamResponse::json(200, body.to_string())
}

/// The events of a streamed chat: one per word of `text`, then the end, then usage, then `[DONE]`.
#[must_use]
pub fn events(text: &str, input: u64, output: u64) -> Vec<String> {
    let event = |choices: serde_json::Value, usage: serde_json::Value| {
        let chunk = serde_json::json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024-08-06",
            "choices": choices, "usage": usage,
        });
        format!("data: {chunk}\n\n")
    };
    let delta = |delta: serde_json::Value, reason: Option<&str>| {
        event(
            serde_json::json!([{"index": 0, "delta": delta, "finish_reason": reason}]),
            serde_json::Value::Null,
        )
    };
    let mut events: Vec<String> = text
        .split_inclusive(' ')
        .map(|word| delta(serde_json::json!({"content": word}), None))
        .collect();
    events.push(delta(serde_json::json!({}), Some("stop")));
    let usage = serde_json::json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
    events.push(event(serde_json::json!([]), usage));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

/// The record that the exchange left for the access log.
///
/// # Panics
/// When it left none.
#[must_use]
pub fn record(exchange: &Exchange) -> serde_json::Value {
    let record = exchange
        .filter_state("spillway.record")
        .expect("the exchange left a record");
    serde_json::from_slice(&record).expect("the record is JSON")
}

/// Tokens that tenant `acme` has used of a token limit of `capacity`, as told by the headers of one small request more.
///
/// On a clock that stands still nothing refills; that request's own reservation is taken off, and it uses nothing.
#[must_use]
pub fn used(worker: &Worker, capacity: u64) -> i128 {
    let exchange = worker.request(chat_with(serde_json::json!({"max_tokens": 1}), "hi"), |_| {
        answer("", 0, 0)
    });
    assert_eq!(exchange.status(), 200, "{}", exchange.text());
    let number = |text: Option<String>| text.and_then(|text| text.parse::<i128>().ok());
    let left = number(exchange.header("x-ratelimit-remaining-tokens")).expect("a remaining-header");
    let reserved = record(&exchange)["reserved"].as_i64().expect("a reservation");
    i128::from(capacity) - left - i128::from(reserved)
}

/// A number in a refusal's or an answer's header.
#[must_use]
pub fn number(exchange: &Exchange, header: &str) -> Option<u64> {
    exchange.header(header)?.parse().ok()
}

/// The error in a body of either dialect: its type and its message.
#[must_use]
pub fn error(exchange: &Exchange) -> (String, String) {
    let body: serde_json::Value = serde_json::from_str(&exchange.text()).unwrap_or_default();
    let text = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
    (text("type"), text("message"))
}

/// A file of `tests/samples`.
///
/// # Panics
/// When it isn't there.
#[must_use]
pub fn sample(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../samples")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A counter by its name. Counters reach the host on the filter's tick.
#[must_use]
pub fn counted(proxy: &Proxy, name: &str) -> Option<u64> {
    proxy.tick();
    proxy.metric(name)
}
