//! No credential, no caller's key, no word of a prompt leaves the module but towards the provider it is for.

use spillway_suites::{ANTHROPIC_KEY, OPENAI_KEY, answer, chat_with, events, full, message, policy, record};
use spillway_test_host::{Proxy, Request, UpstreamResponse};

const CALLER_KEY: &str = "sk-caller-9876543210";
/// SHA-256 of [`CALLER_KEY`].
const CALLER_KEYS: &str = "CALLER_KEYS";
const PROMPT: &str = "the-secret-word-of-the-prompt";
const ANSWER: &str = "the-secret-word-of-the-answer";

fn proxy() -> Proxy {
    let policy = policy(serde_json::json!({
        "callers": [{"bearer": "known", "keys": {"env": CALLER_KEYS}}, {"header": "x-tenant", "trusted": true}],
        "limits": [{"name": "r", "per": ["caller"], "requests": "20/hour"}],
        "validate": [{"name": "v", "on_invalid": ["reject"], "schema": {"type": "object"},
            "when": {"header": {"x-feature": "extract"}}}],
    }));
    full(&policy)
        .env(CALLER_KEYS, &format!("me={}", sha256(CALLER_KEY)))
        .start()
        .unwrap()
}

fn sha256(text: &str) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn mine(request: Request) -> Request {
    request.header("authorization", format!("Bearer {CALLER_KEY}"))
}

fn leaks(proxy: &Proxy, secret: &str) -> bool {
    proxy
        .everything_said()
        .windows(secret.len())
        .any(|bytes| bytes == secret.as_bytes())
}

#[test]
fn nothing_secret_is_said_whatever_happens() {
    let proxy = proxy();
    let worker = proxy.worker(0);
    let chat = |more: serde_json::Value| mine(chat_with(more, PROMPT));
    let ok = worker.request(chat(serde_json::json!({})), |_| answer(ANSWER, 1, 1));
    assert_eq!(ok.status(), 200);
    assert_ne!(record(&ok)["caller"], "anonymous");
    worker.request(chat(serde_json::json!({"stream": true})), |_| {
        UpstreamResponse::stream(events(ANSWER, 1, 1))
    });
    worker.request(message(PROMPT), |_| answer(ANSWER, 1, 1));
    worker.request(chat(serde_json::json!({})).header("x-feature", "extract"), |_| {
        answer(ANSWER, 1, 1)
    });
    worker.request(chat(serde_json::json!({"model": "unknown"})), |_| {
        answer(ANSWER, 1, 1)
    });
    worker.request(mine(Request::post("/v1/chat/completions", PROMPT)), |_| {
        answer(ANSWER, 1, 1)
    });
    worker.request(chat(serde_json::json!({})), |_| UpstreamResponse::refused());
    let left = worker.send(chat(serde_json::json!({"stream": true})));
    left.abort_client();
    for _ in 0..20 {
        worker.request(chat(serde_json::json!({})), |_| answer(ANSWER, 1, 1));
    }
    proxy.tick();
    for secret in [
        OPENAI_KEY,
        ANTHROPIC_KEY,
        CALLER_KEY,
        PROMPT,
        ANSWER,
        &sha256(CALLER_KEY),
    ] {
        assert!(!leaks(&proxy, secret), "{secret} was said");
    }
}

#[test]
fn a_policy_that_is_refused_does_not_say_what_it_could_not_use() {
    let broken = policy(serde_json::json!({
        "callers": [{"bearer": "known", "keys": {"env": CALLER_KEYS}}],
    }));
    let refused = full(&broken)
        .env(CALLER_KEYS, "sk-not-a-digest-at-all")
        .start()
        .err()
        .expect("it is refused");
    let said = refused.to_string();
    assert!(
        said.contains("callers[0].keys") && !said.contains("sk-not-a-digest"),
        "{said}"
    );
}

#[test]
fn a_missing_credential_is_refused_at_load_by_its_path() {
    let policy = policy(serde_json::json!({}));
    let refused = spillway_test_host::Proxy::builder()
        .module(spillway_suites::module())
        .configuration(policy)
        .start();
    let said = refused.err().expect("it is refused").to_string();
    assert!(
        said.contains("providers.openai.credential") && said.contains("OPENAI_API_KEY"),
        "{said}"
    );
}
