//! What good documents become.

use core::time::Duration;

use serde_json::{Value, json};

use super::super::{
    Anonymous, Attribute, Bounds, Breaker, CallerRule, Forced, GuardAction, Hop, Host, Ladder, Mode,
    OnContention, OnUnreadable, Per, Policy, Price, ProviderDialect, Reserve, Rung, Side, Tokenizer, Unit,
    WhenAllOpen, known,
};
use super::{environment, least, read, with};
use crate::guard::Kind;

fn policy(place: &str, value: Value) -> Policy {
    read(&with(place, value)).unwrap()
}

#[test]
fn the_least_policy_has_the_documented_defaults() {
    let policy = read(&least()).unwrap();
    assert_eq!(policy.mode, Mode::Enforce);
    assert_eq!(
        policy.host,
        Host {
            body_pause: false,
            model_header: None
        }
    );
    assert!(policy.callers.is_empty() && policy.attributes.is_empty());
    assert!(policy.limits.is_empty() && policy.validate.is_empty() && policy.guards.is_empty());
    assert_eq!(policy.anonymous, Anonymous::Shared);
    assert_eq!(policy.tracked_keys, 16_384);
    let bounds = Bounds {
        request_body: 10 << 20,
        response_body: 2 << 20,
        sse_line: 1 << 20,
        exact_count: 256 << 10,
    };
    assert_eq!(policy.bounds, bounds);
    assert_eq!(policy.on_encoded, OnUnreadable::Reject);
    assert_eq!(policy.on_oversize, OnUnreadable::Reject);
    assert_eq!(policy.on_unguarded, OnUnreadable::Reject);
    let provider = &policy.providers[0];
    assert_eq!(
        (provider.name.as_str(), provider.cluster.as_str()),
        ("openai", "openai")
    );
    assert_eq!(
        (provider.authority.as_deref(), provider.path_prefix.as_str()),
        (None, "")
    );
    assert_eq!(
        (provider.credential.as_ref(), provider.include_usage),
        (None, true)
    );
    assert_eq!(provider.models[0].tokenizer, Tokenizer::Estimate);
    assert_eq!(
        (provider.models[0].context, provider.models[0].price),
        (None, None)
    );
    assert_eq!(provider.breaker, Breaker::default());
    assert_eq!(
        policy.models[0].chain,
        [Hop {
            provider: 0,
            model: 0
        }]
    );
    assert_eq!(policy.models[0].when_all_open, WhenAllOpen::Throttle);
    assert!(policy.any_model.is_none());
}

#[test]
fn whole_numbers_may_be_written_as_doubles_and_null_is_absent() {
    let text = r#"{"version": 1.0, "tracked_keys": 1.6384e4, "limits": null, "host": null,
        "providers": {"p": {"cluster": "p", "dialect": "openai", "models": {"m": null},
            "breaker": {"min_requests": 7.0}, "limits": [{"tokens": "1/s", "burst": 2.0}]}},
        "models": {"m": {"chain": ["p/m"]}}}"#;
    let policy = super::load(text, &environment()).unwrap();
    assert_eq!(policy.tracked_keys, 16_384);
    assert_eq!(policy.providers[0].breaker.min_requests, 7);
    assert_eq!(policy.providers[0].limits[0].burst, 2);
}

#[test]
fn callers_are_named_in_the_order_written() {
    let policy = policy(
        "callers",
        json!([
            {"bearer": "known", "keys": {"env": "CALLER_KEYS"}},
            {"header": "X-Tenant", "trusted": true},
            {"jwt": "sub", "metadata": "envoy.filters.http.jwt_authn"},
            {"jwt": "sub", "metadata": "ns", "payload": "claims"},
        ]),
    );
    let CallerRule::Bearer(keys) = &policy.callers[0] else {
        panic!("{:?}", policy.callers)
    };
    assert_eq!(
        keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(),
        ["alice", "bob"]
    );
    assert_eq!(known(keys, b"abc"), Some("alice"));
    assert_eq!(policy.callers[1], CallerRule::Header("x-tenant".to_owned()));
    let path = |path: &[&str]| CallerRule::Jwt {
        path: path.iter().map(|p| (*p).to_owned()).collect(),
    };
    let jwt_authn = [
        "metadata",
        "filter_metadata",
        "envoy.filters.http.jwt_authn",
        "sub",
    ];
    assert_eq!(policy.callers[2], path(&jwt_authn));
    assert_eq!(
        policy.callers[3],
        path(&["metadata", "filter_metadata", "ns", "claims", "sub"])
    );
}

#[test]
fn anonymous_callers_may_be_refused_where_callers_can_be_named() {
    let mut document = with("callers", json!([{"header": "x-tenant", "trusted": true}]));
    document["anonymous"] = json!("reject");
    assert_eq!(read(&document).unwrap().anonymous, Anonymous::Reject);
}

#[test]
fn credentials_follow_their_dialect_unless_told_otherwise() {
    let table = [
        ("openai", json!({}), ("authorization", "Bearer sk-s3cr3t-openai")),
        ("anthropic", json!({}), ("x-api-key", "sk-s3cr3t-openai")),
        (
            "openai",
            json!({"header": "Api-Key"}),
            ("api-key", "sk-s3cr3t-openai"),
        ),
        (
            "openai",
            json!({"scheme": "Token"}),
            ("authorization", "Token sk-s3cr3t-openai"),
        ),
        (
            "openai",
            json!({"scheme": ""}),
            ("authorization", "sk-s3cr3t-openai"),
        ),
        (
            "anthropic",
            json!({"header": "authorization"}),
            ("authorization", "Bearer sk-s3cr3t-openai"),
        ),
    ];
    for (dialect, mut section, (header, value)) in table {
        section["env"] = json!("OPENAI_API_KEY");
        let mut document = with("providers openai credential", section);
        document["providers"]["openai"]["dialect"] = json!(dialect);
        let policy = read(&document).unwrap();
        let credential = policy.providers[0].credential.clone().unwrap();
        assert_eq!(
            (credential.header.as_str(), credential.value.as_str()),
            (header, value)
        );
        assert!(!format!("{policy:?}").contains("s3cr3t"));
    }
}

#[test]
fn gemini_and_azure_have_their_own_credential_headers() {
    for (dialect, version, header) in [
        ("gemini", None, "x-goog-api-key"),
        ("azure", Some("2024-10-21"), "api-key"),
    ] {
        let mut provider = json!({
            "cluster": "c", "dialect": dialect, "credential": {"env": "OPENAI_API_KEY"}, "models": {"m": {}},
        });
        if let Some(version) = version {
            provider["api_version"] = json!(version);
        }
        let policy = policy("providers other", provider);
        let provider = policy.providers.iter().find(|p| p.name == "other").unwrap();
        assert_eq!(provider.credential.as_ref().unwrap().header, header);
        assert_eq!(provider.api_version, version.unwrap_or_default());
    }
}

#[test]
fn a_provider_says_where_it_is_and_what_it_serves() {
    let policy = policy(
        "providers anthropic",
        json!({
            "cluster": "c", "dialect": "anthropic", "authority": "api.anthropic.com", "path_prefix": "/eu/",
            "include_usage": false,
            "models": {
                "b": {"tokenizer": "cl100k", "context": 200_000, "price": {"input": 3, "output": 15.5}},
                "a": {"tokenizer": "o200k", "price": {"input": 0, "cached_input": 0.25, "output": 1}},
            },
        }),
    );
    let names: Vec<_> = policy.providers.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["anthropic", "openai"]);
    let provider = &policy.providers[0];
    assert_eq!(provider.dialect, ProviderDialect::Anthropic);
    assert_eq!(
        (provider.authority.as_deref(), provider.path_prefix.as_str()),
        (Some("api.anthropic.com"), "/eu")
    );
    assert!(!provider.include_usage);
    let [a, b] = provider.models.as_slice() else {
        panic!("{:?}", provider.models)
    };
    assert_eq!(
        (a.name.as_str(), a.tokenizer, a.context),
        ("a", Tokenizer::O200k, None)
    );
    assert_eq!(
        a.price,
        Some(Price {
            input: 0.0,
            cached_input: Some(0.25),
            output: 1.0
        })
    );
    assert_eq!(
        (b.name.as_str(), b.tokenizer, b.context),
        ("b", Tokenizer::Cl100k, Some(200_000))
    );
    assert_eq!(
        b.price,
        Some(Price {
            input: 3.0,
            cached_input: None,
            output: 15.5
        })
    );
    assert_eq!(
        policy.models[0].chain,
        [Hop {
            provider: 1,
            model: 0
        }]
    );
}

#[test]
fn every_field_of_a_breaker_can_be_set() {
    let policy = policy(
        "providers openai breaker",
        json!({
            "failure_rate": 0.25, "slow_rate": 1, "min_requests": 1, "window": "1m", "consecutive": 2,
            "slow_first_token": "1s", "slow_gap": "2s", "slow_call": "3s", "open": "4s", "max_open": "5s",
            "half_open_permits": 1, "half_open_successes": 4, "rate_limited": "6s", "max_rate_limited": "1h",
            "force": "open",
        }),
    );
    let expected = Breaker {
        failure_rate: 0.25,
        slow_rate: 1.0,
        min_requests: 1,
        window: Duration::from_secs(60),
        consecutive: 2,
        slow_first_token: Duration::from_secs(1),
        slow_gap: Duration::from_secs(2),
        slow_call: Duration::from_secs(3),
        open: Duration::from_secs(4),
        max_open: Duration::from_secs(5),
        half_open_permits: 1,
        half_open_successes: 4,
        rate_limited: Duration::from_secs(6),
        max_rate_limited: Duration::from_secs(3_600),
        force: Some(Forced::Open),
    };
    assert_eq!(policy.providers[0].breaker, expected);
}

#[test]
fn a_longer_open_time_raises_the_cap_that_nobody_set() {
    let breaker = policy(
        "providers openai breaker",
        json!({"open": "10m", "rate_limited": "10m"}),
    );
    assert_eq!(breaker.providers[0].breaker.max_open, Duration::from_secs(600));
    assert_eq!(
        breaker.providers[0].breaker.max_rate_limited,
        Duration::from_secs(600)
    );
}

#[test]
fn limits_count_per_what_they_say() {
    let mut document = with(
        "limits",
        json!([
            {"name": "day", "tokens": "2M/day", "per": ["caller", "team", "model", "provider", "route"],
             "burst": "200k", "mode": "shadow", "reserve": "max", "on_contention": "deny"},
            {"name": "requests", "requests": "60/min"},
        ]),
    );
    document["attributes"] = json!({
        "region": {"header": "x-region", "trusted": true, "missing": "eu"},
        "team": {"header": "X-Team", "trusted": true},
    });
    let policy = read(&document).unwrap();
    let attribute = |name: &str, header: &str, missing: &str| Attribute {
        name: name.to_owned(),
        header: header.to_owned(),
        missing: missing.to_owned(),
    };
    assert_eq!(
        policy.attributes,
        [
            attribute("region", "x-region", "eu"),
            attribute("team", "x-team", "none")
        ]
    );
    let [day, requests] = policy.limits.as_slice() else {
        panic!("{:?}", policy.limits)
    };
    assert_eq!(
        (day.unit, day.quota, day.period),
        (Unit::Tokens, 2_000_000, Duration::from_secs(86_400))
    );
    assert_eq!(
        day.per,
        [
            Per::Caller,
            Per::Attribute(1),
            Per::Model,
            Per::Provider,
            Per::Route
        ]
    );
    assert_eq!((day.burst, day.mode), (200_000, Mode::Shadow));
    assert_eq!(
        (day.reserve, day.on_contention),
        (Reserve::Max, OnContention::Deny)
    );
    assert_eq!(
        (requests.unit, requests.quota, requests.burst),
        (Unit::Requests, 60, 60)
    );
    assert_eq!(
        (requests.per.as_slice(), requests.mode),
        ([].as_slice(), Mode::Enforce)
    );
    assert_eq!(
        (requests.reserve, requests.on_contention),
        (Reserve::Expected, OnContention::Allow)
    );
    assert_ne!(day.id, requests.id);
}

#[test]
fn a_changed_quota_keeps_the_identity_of_a_limit() {
    let id = |tokens: &str| policy("limits", json!([{"name": "a", "tokens": tokens}])).limits[0].id;
    assert_eq!(id("1/min"), id("2/day"));
}

#[test]
fn a_providers_limits_are_named_by_their_place() {
    let policy = policy(
        "providers openai limits",
        json!([{"tokens": "2M/min"}, {"requests": "5k/min"}]),
    );
    let names: Vec<_> = policy.providers[0]
        .limits
        .iter()
        .map(|limit| limit.name.as_str())
        .collect();
    assert_eq!(names, ["openai.0", "openai.1"]);
}

#[test]
fn chains_keep_their_order_and_may_mix_dialects() {
    let mut document = with(
        "providers claude",
        json!({"cluster": "c", "dialect": "anthropic", "models": {"org/opus": {}}}),
    );
    document["models"] = json!({
        "*": {"chain": ["openai/gpt-4o"]},
        "b": {"chain": ["openai/gpt-4o", "claude/org/opus"], "when_all_open": "least_bad"},
        "a": {"chain": ["claude/org/opus"]},
    });
    let policy = read(&document).unwrap();
    let names: Vec<_> = policy.models.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(
        policy.models[1].chain,
        [
            Hop {
                provider: 1,
                model: 0
            },
            Hop {
                provider: 0,
                model: 0
            }
        ]
    );
    assert_eq!(policy.models[1].when_all_open, WhenAllOpen::LeastBad);
    assert_eq!(policy.any_model.unwrap().name, "*");
}

#[test]
fn validation_rules_say_when_they_apply() {
    let policy = policy(
        "validate",
        json!([
            {"name": "orders", "schema": {"type": "object"}, "on_invalid": ["annotate"], "mode": "shadow",
             "when": {"path": "/v1/chat/completions", "header": {"X-Feature": "extract"}, "model": ["gpt-4o"]}},
            {"schema": true},
        ]),
    );
    let [orders, any] = policy.validate.as_slice() else {
        panic!("{:?}", policy.validate)
    };
    assert_eq!(
        (orders.name.as_str(), orders.when.path.as_deref()),
        ("orders", Some("/v1/chat/completions"))
    );
    assert_eq!(
        orders.when.headers,
        [("x-feature".to_owned(), "extract".to_owned())]
    );
    assert_eq!(
        (orders.when.models.as_slice(), orders.on_invalid.rungs()),
        (["gpt-4o".to_owned()].as_slice(), [Rung::Annotate].as_slice())
    );
    assert_eq!(orders.mode, Mode::Shadow);
    assert_eq!(
        (any.name.as_str(), any.when.path.as_deref(), &any.on_invalid),
        ("rule-1", None, &Ladder::default())
    );
    assert!(any.when.headers.is_empty() && any.when.models.is_empty());
}

#[test]
fn the_rest_of_the_document_is_as_written() {
    let mut document = with(
        "bounds",
        json!({"request_body": "20MiB", "response_body": 65_536, "sse_line": "64KiB", "exact_count": "1MiB"}),
    );
    document["mode"] = json!("shadow");
    document["host"] = json!({"body_pause": true, "model_header": "X-Model"});
    document["tracked_keys"] = json!(64);
    document["on_encoded"] = json!("pass");
    document["on_oversize"] = json!("pass");
    document["on_unguarded"] = json!("pass");
    let policy = read(&document).unwrap();
    let bounds = Bounds {
        request_body: 20 << 20,
        response_body: 64 << 10,
        sse_line: 64 << 10,
        exact_count: 1 << 20,
    };
    assert_eq!(
        (policy.mode, policy.bounds, policy.tracked_keys),
        (Mode::Shadow, bounds, 64)
    );
    assert_eq!(
        policy.host,
        Host {
            body_pause: true,
            model_header: Some("x-model".to_owned())
        }
    );
    assert_eq!(
        [policy.on_encoded, policy.on_oversize, policy.on_unguarded],
        [OnUnreadable::Pass; 3]
    );
}

#[test]
fn a_guard_says_what_it_looks_for_where_and_what_becomes_of_it() {
    let policy = policy(
        "guards",
        json!([
            {"kinds": ["email", "api_key"], "action": "restore"},
            {"name": "staff", "when": {"path": "/v1/messages", "header": {"X-Team": "hr"}, "model": ["gpt-4o"]}, "on": ["answer"],
             "patterns": ["EMP[0-9]{6}"], "words": ["Project Blue"], "action": "block", "mode": "shadow"},
            {"kinds": ["ip"], "action": "detect"},
        ]),
    );
    let [restoring, staff, detecting] = policy.guards.as_slice() else {
        panic!("three guards")
    };
    assert_eq!(
        (restoring.name.as_str(), restoring.action),
        ("guard-0", GuardAction::Restore)
    );
    assert_eq!(
        (restoring.on.as_slice(), restoring.kinds.as_slice()),
        (&[Side::Request][..], &[Kind::Email, Kind::ApiKey][..])
    );
    assert_eq!(
        (staff.name.as_str(), staff.action, staff.mode),
        ("staff", GuardAction::Block, Mode::Shadow)
    );
    assert_eq!(
        (staff.when.path.as_deref(), staff.when.models.as_slice()),
        (Some("/v1/messages"), &["gpt-4o".to_owned()][..])
    );
    assert_eq!(staff.when.headers, [("x-team".to_owned(), "hr".to_owned())]);
    assert_eq!(
        (staff.on.as_slice(), staff.own.is_empty()),
        (&[Side::Answer][..], false)
    );
    assert_eq!(detecting.on, [Side::Request, Side::Answer]);
    assert!(detecting.own.is_empty() && detecting.when.path.is_none());
}
