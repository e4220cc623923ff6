//! Limits of a fleet: what they become, and what their documents are told.

use core::time::Duration;

use serde_json::{Value, json};

use super::{environment, least, load};
use crate::policy::{Fleet, OnRlsFailure, Policy, Scope};

fn read(changes: &[(&str, Value)]) -> Result<Policy, String> {
    let mut document = least();
    for (name, value) in changes {
        document[*name] = value.clone();
    }
    let mut environment = environment();
    environment.insert("SPILLWAY_HASH_KEY".to_owned(), "s3cr3t-hash".to_owned());
    load(&document.to_string(), &environment).map_err(|error| error.to_string())
}

fn limit(more: Value) -> Value {
    let mut limit = json!({"name": "a", "tokens": "1k/min", "scope": "fleet"});
    limit
        .as_object_mut()
        .unwrap()
        .append(more.as_object().cloned().as_mut().unwrap());
    limit
}

fn told(changes: &[(&str, Value)]) -> String {
    read(changes).map_or_else(|told| told, |_| "accepted".to_owned())
}

#[test]
fn a_proxy_lets_through_its_share_and_the_fleet_the_whole() {
    let limits = json!([limit(json!({"share": 0.25, "burst": 10_000}))]);
    let policy = read(&[
        ("limits", limits),
        ("fleet", json!({"on_rls_failure": "deny", "timeout": "50ms"})),
    ]);
    let policy = policy.unwrap();
    let limit = &policy.limits[0];
    assert_eq!((limit.quota, limit.burst), (250, 2_500));
    assert_eq!(limit.scope, Scope::Fleet { quota: 1_000 });
    let expected = Fleet {
        timeout: Duration::from_millis(50),
        on_rls_failure: OnRlsFailure::Deny,
        ..Fleet::default()
    };
    assert_eq!(policy.fleet, expected);
}

#[test]
fn what_no_service_could_count_is_refused() {
    let far = json!([limit(json!({"tokens": "5G/day"}))]);
    assert_eq!(
        told(&[("limits", far)]),
        "limits[0].tokens: is more than a rate-limit service counts to (allowed: at most 4294967295 per period with \
         scope: fleet)"
    );
    let many: Vec<Value> = (0..9).map(|n| limit(json!({"name": format!("l{n}")}))).collect();
    assert_eq!(
        told(&[("limits", json!(many))]),
        "limits: has 9 with scope: fleet (allowed: at most 8)"
    );
    let none = json!([limit(json!({"share": 0}))]);
    assert_eq!(
        told(&[("limits", none)]),
        "limits[0].share: is 0 (allowed: a share above 0 and up to 1, such as 0.5)"
    );
}

#[test]
fn one_bill_cannot_tell_several_providers_apart() {
    let limits = json!([limit(json!({"per": ["caller", "provider"]}))]);
    let host = json!({"body_pause": true});
    let with = |name, value| told(&[("limits", limits.clone()), ("host", host.clone()), (name, value)]);
    assert_eq!(with("failover", json!({"via": "none"})), "accepted");
    let refused = "limits: has one of the fleet per provider: who asks several leaves one bill (allowed: per without \
        provider with scope: fleet, where failover.via is native or an answer is asked for again)";
    assert_eq!(with("failover", json!({"via": "native"})), refused);
    let rule = json!([{"name": "v", "schema": {"type": "object"}, "on_invalid": ["fallback", "reject"]}]);
    assert!(with("validate", rule).contains(refused));
}

#[test]
fn callouts_go_past_the_host_s_filter_and_so_past_the_fleet() {
    let limits = json!([limit(json!({}))]);
    assert_eq!(
        told(&[("limits", limits), ("failover", json!({"via": "callout"}))]),
        "models.gpt-4o: fails over by callouts, which go past the fleet's limits (allowed: failover.via: none or native \
         with limits of scope: fleet)"
    );
}
