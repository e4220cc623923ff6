//! Policies for whole exchanges: between them they turn on all that there is.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use spillway::exchange::Gateway;
use spillway::ledger::{HashKey, Ledger};
use spillway::policy::load;

use super::{KEY, REFILL};

thread_local! {
    static GATEWAYS: Vec<Gateway> = changes().iter().map(gateway).collect();
}

/// Hands out a gateway for each policy, made once.
pub(crate) fn gateways(run: impl FnOnce(&[Gateway])) {
    GATEWAYS.with(|gateways| run(gateways));
}

/// What each policy puts over the one that all begin with.
fn changes() -> [Value; 9] {
    let chain = json!({"gpt-4o": {"chain": ["openai/gpt-4o", "backup/gpt-4o", "anthropic/claude"]}});
    let extract = json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "integer", "minimum": 1}}});
    let validated = json!([
        {"name": "extract", "when": {"header": {"x-feature": "extract"}}, "schema": extract, "buffer": true,
            "rules": [{"name": "small", "rule": "answer.id <= 20", "otherwise": {"clamp": "/id", "to": 20}}],
            "on_invalid": ["repair", "reject"]},
        {"name": "cite", "when": {"header": {"x-feature": "cite"}}, "grounding": {"fields": ["/order"], "otherwise": "reject"}},
        {"name": "form", "when": {"header": {"x-feature": "form"}}, "buffer": true,
            "on_invalid": ["repair", {"default": {"name": ""}}]},
        {"name": "own", "on_invalid": ["repair", "annotate"]},
    ]);
    let guards = json!([
        {"name": "personal", "kinds": ["email", "phone", "card", "iban"], "patterns": ["\\bEMP[0-9]{6}\\b"], "action": "restore"},
        {"name": "secrets", "kinds": ["api_key", "jwt"], "action": "mask"},
        {"name": "projects", "words": ["Project Bluebird"], "action": "block"},
        {"name": "addresses", "kinds": ["ip"], "action": "block", "mode": "shadow"},
    ]);
    let moderated = json!([
        {"name": "safety", "on": ["request", "answer"], "provider": "openai", "ask": "moderation"},
        {"name": "own", "on": ["request"], "cluster": "c", "authority": "c.test", "path": "/judge", "ask": "http",
            "flagged": "/flagged", "on_flagged": "annotate"},
        {"name": "later", "on": ["answer"], "provider": "openai", "ask": "model", "model": "gpt-4o-mini", "question": "Fine?",
            "on_flagged": "review"},
    ]);
    let review = json!({"cluster": "webhook", "authority": "review.test", "path": "/exchanges",
        "when": ["flagged", "guard", "invalid", "sampled"], "share": 0.5, "samples": true});
    let flagged = json!({"cluster": "webhook", "authority": "review.test", "path": "/exchanges",
        "when": ["flagged", "sampled"], "share": 0.5});
    let callouts = json!({"via": "callout", "attempts": 3, "incompatible": "drop"});
    [
        json!({}),
        json!({"validate": validated}),
        json!({"guards": guards}),
        json!({"failover": callouts, "models": chain}),
        json!({"failover": {"via": "native", "incompatible": "drop"}, "models": chain}),
        json!({"moderation": moderated, "review": flagged}),
        json!({"host": {"body_pause": false, "model_header": "x-model"}, "on_oversize": "pass", "on_encoded": "pass",
            "validate": validated, "bounds": {"request_body": 65536, "response_body": 65536}}),
        json!({"mode": "shadow", "validate": validated, "guards": guards, "failover": callouts, "models": chain}),
        json!({"validate": [{"name": "ask", "schema": extract, "buffer": true, "on_invalid": ["repair", {"retry": 1}, "fallback", "reject"]}],
            "guards": guards, "moderation": moderated, "review": review, "failover": callouts, "models": chain}),
    ]
}

fn document(changes: &Value) -> Value {
    let mut document = json!({
        "version": 1,
        "host": {"body_pause": true},
        "callers": [
            {"bearer": "known", "keys": {"env": "CALLER_KEYS"}},
            {"header": "x-tenant", "trusted": true},
        ],
        "attributes": {"team": {"header": "x-team", "trusted": true, "missing": "none"}},
        "providers": {
            "openai": {
                "cluster": "openai", "dialect": "openai", "authority": "api.openai.com",
                "credential": {"env": "OPENAI_API_KEY"},
                "models": {"gpt-4o": {"tokenizer": "o200k", "context": 128_000}, "gpt-4o-mini": {"context": 128_000}},
                "breaker": {"consecutive": 2},
                "limits": [{"tokens": "5M/min"}],
            },
            "backup": {"cluster": "backup", "dialect": "azure", "api_version": "2024-10-21", "models": {"gpt-4o": {"context": 128_000}}},
            "anthropic": {
                "cluster": "anthropic", "dialect": "anthropic", "path_prefix": "/proxied",
                "models": {"claude": {"context": 200_000, "refuses": ["temperature"]}},
            },
        },
        "models": {
            "gpt-4o": {"chain": ["openai/gpt-4o", "backup/gpt-4o"]},
            "gpt-4o-mini": {"chain": ["openai/gpt-4o-mini"]},
            "claude": {"chain": ["anthropic/claude"]},
        },
        "limits": [
            {"name": "tokens", "per": ["caller", "model"], "tokens": "1M/min"},
            {"name": "all", "per": [], "tokens": format!("{}/min", REFILL * 60), "burst": 100_000_000},
        ],
    });
    merge(&mut document, changes);
    document
}

fn gateway(changes: &Value) -> Gateway {
    let environment: BTreeMap<String, String> = [
        ("OPENAI_API_KEY", KEY),
        (
            "CALLER_KEYS",
            "alice=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    match load(&document(changes).to_string(), &environment) {
        Ok(policy) => {
            let ledger = Ledger::new(HashKey::from_text("test"), policy.tracked_keys);
            Gateway::new(policy, ledger)
        }
        Err(error) => panic!("{error}"),
    }
}

/// Objects are merged, everything else replaced.
fn merge(into: &mut Value, changes: &Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (name, value) in changes {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, changes) => *into = changes.clone(),
    }
}
