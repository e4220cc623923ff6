//! A fleet limit that nobody asks about, or nobody is billed for.

use serde_json::{Value, json};

use super::{FLEET, changed, cluster, found, manager, path, tells};
use crate::source;

const HOST: &str =
    "/route_config/virtual_hosts/0/typed_per_filter_config/envoy.filters.http.ratelimit/rate_limits";

#[test]
fn a_missing_filter_or_one_before_spillway_is_told() {
    let filters = manager("/http_filters");
    let config = source::yaml(FLEET).unwrap();
    let list = config.pointer(&filters).and_then(Value::as_array).unwrap();
    let [spillway, service, router] = list.as_slice() else {
        panic!()
    };
    let tell = |list: Value, expected: String| {
        let told = found(&changed(FLEET, vec![(filters.clone(), Some(list))]));
        assert!(told.len() == 1 && told[0].starts_with(&expected), "{told:#?}");
    };
    let wrong = "has no rate-limit filter: each proxy counts caller-tokens, caller-day for itself";
    tell(json!([spillway, router]), format!("{}: {wrong}", path(&filters)));
    let early = format!("{}[0]: comes before Spillway", path(&filters));
    tell(json!([service, spillway, router]), early);
}

#[test]
fn a_hash_key_that_does_not_reach_the_module_is_told() {
    let place = super::plugin("/vm_config/environment_variables");
    let keys = json!({"host_env_keys": ["ANTHROPIC_API_KEY", "CALLER_KEYS", "OPENAI_API_KEY"]});
    tells(
        FLEET,
        &place,
        Some(keys),
        "doesn't pass SPILLWAY_HASH_KEY to the module",
    );
}

#[test]
fn what_the_filter_says_otherwise_than_the_policy_is_told() {
    let of = |name: &str| manager(&format!("/http_filters/1/typed_config/{name}"));
    let cases = [
        ("domain", Some(json!("edge")), "isn't the policy's fleet.domain"),
        (
            "timeout",
            None,
            "isn't set, which is 20 ms: not the policy's fleet.timeout",
        ),
        (
            "failure_mode_deny",
            Some(json!(true)),
            "isn't what the policy's fleet.on_rls_failure says",
        ),
        (
            "enable_x_ratelimit_headers",
            None,
            "isn't set: clients aren't told",
        ),
    ];
    for (name, value, wrong) in cases {
        tells(FLEET, &of(name), value, wrong);
    }
    let options = cluster(FLEET, "ratelimit", "/typed_extension_protocol_options");
    tells(FLEET, &options, None, "doesn't speak HTTP/2");
}

#[test]
fn a_limit_that_is_not_asked_about_or_billed_is_told() {
    let of = |rest: &str| manager(&format!("{HOST}{rest}"));
    let number = vec![(of("/0/hits_addend/number"), Some(json!(1)))];
    let told = found(&changed(FLEET, number));
    let expected = format!("{}: 1 of 2 fleet limits aren't asked about", path(&of("")));
    assert!(told.len() == 1 && told[0].starts_with(&expected), "{told:#?}");
    let told = found(&changed(FLEET, vec![(of("/3/apply_on_stream_done"), None)]));
    let expected = format!("{}: 1 of 2 fleet limits aren't billed", path(&of("")));
    assert!(told.len() == 1 && told[0].starts_with(&expected), "{told:#?}");
}
