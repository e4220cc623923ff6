//! The gateway role, its routes and the providers' clusters.

use serde_json::{Value, json};

use super::super::{Held, disagreements};
use super::{
    FAILOVER, HEADERS_FIRST, LISTENER, STANDALONE, changed, cluster, found, path, plugin, route, tells,
    upstream, variables,
};
use crate::source;

#[test]
fn a_vm_that_would_stay_dead_is_told() {
    let place = plugin("/failure_policy");
    tells(
        STANDALONE,
        &place,
        None,
        "isn't set: after one trap, a worker answers 503 for ever",
    );
    tells(
        STANDALONE,
        &place,
        Some(json!("FAIL_CLOSED")),
        "doesn't start a new VM",
    );
    tells(STANDALONE, &place, Some(json!("FAIL_OPEN")), "is FAIL_OPEN");
    let place = upstream(FAILOVER, "spillway+openai+anthropic", "/failure_policy");
    tells(FAILOVER, &place, None, "isn't set");
}

#[test]
fn a_flag_that_contradicts_the_policy_is_told() {
    let place = plugin("/allow_on_headers_stop_iteration");
    tells(
        STANDALONE,
        &place,
        None,
        "isn't set, and host.body_pause is true: requests would hang",
    );
    tells(HEADERS_FIRST, &place, Some(json!(true)), "is true, and unused");
}

#[test]
fn a_blank_store_is_told() {
    tells(
        STANDALONE,
        &plugin("/vm_config/vm_id"),
        None,
        "isn't set: limits and breakers are shared",
    );
    tells(
        STANDALONE,
        &plugin("/vm_config/vm_id"),
        Some(json!("")),
        "isn't set",
    );
}

#[test]
fn a_secret_that_does_not_arrive_is_told() {
    let place = plugin("/vm_config/environment_variables");
    let some = json!({"host_env_keys": ["OPENAI_API_KEY"], "key_values": {"CALLER_KEYS": "x"}});
    let wrong = "doesn't pass ANTHROPIC_API_KEY to the module";
    tells(STANDALONE, &place, Some(some), wrong);
    tells(
        STANDALONE,
        &place,
        None,
        "doesn't pass ANTHROPIC_API_KEY, CALLER_KEYS, OPENAI_API_KEY",
    );
}

#[test]
fn buffers_below_the_policy_s_bounds_are_told() {
    let place = format!("{LISTENER}/per_connection_buffer_limit_bytes");
    let wrong = "isn't set, which is 1 MiB: less than the policy's bounds.request_body (10485760 bytes)";
    tells(STANDALONE, &place, None, wrong);
    tells(
        STANDALONE,
        &place,
        Some(json!("1000000")),
        "is 1000000: less than",
    );
    // A route's own bound lifts that of a request.
    let mut changes = vec![(place, None)];
    for at in 0..6 {
        let place = route(at, "");
        let own = place.rsplit_once('/').unwrap().0;
        changes.push((
            format!("{own}/request_body_buffer_limit"),
            Some(json!(20_000_000)),
        ));
    }
    assert_eq!(found(&changed(STANDALONE, changes)), Vec::<String>::new());
}

#[test]
fn an_answer_that_is_held_needs_room_only_where_answers_are_held() {
    let place = format!("{LISTENER}/per_connection_buffer_limit_bytes");
    let policy = plugin("/configuration/value");
    let schema = json!([{"schema": {"type": "object"}, "on_invalid": ["reject"]}]);
    let small = json!({"request_body": "1KiB"});
    let changes = vec![
        (place, Some(json!(1_000_000))),
        (format!("{policy}/bounds"), Some(small)),
    ];
    assert_eq!(found(&changed(STANDALONE, changes.clone())), Vec::<String>::new());
    let judged = json!([{"on": ["answer"], "provider": "openai", "ask": "moderation"}]);
    for (section, value) in [("validate", schema), ("moderation", judged)] {
        let mut changes = changes.clone();
        changes.push((format!("{policy}/{section}"), Some(value)));
        let found = found(&changed(STANDALONE, changes));
        assert!(
            found.len() == 1 && found[0].contains("bounds.response_body"),
            "{found:#?}"
        );
    }
}

#[test]
fn a_route_that_cuts_answers_off_is_told() {
    let wrong = "isn't set: Envoy's 15 s cut off long answers";
    tells(STANDALONE, &route(0, "/timeout"), None, wrong);
    tells(
        STANDALONE,
        &route(0, "/timeout"),
        Some(json!("30s")),
        "is 30s: long answers take longer",
    );
    let idle = Some(json!("60s"));
    tells(
        FAILOVER,
        &route(1, "/idle_timeout"),
        idle,
        "is 60s, shorter than failover.timeouts.whole (300s)",
    );
}

#[test]
fn a_route_that_does_not_lead_where_the_filter_says_is_told() {
    let mut changes = Vec::new();
    for at in 0..6 {
        changes.push((route(at, "/cluster_header"), None));
        changes.push((route(at, "/cluster"), Some(json!("openai"))));
    }
    let found = found(&changed(STANDALONE, changes));
    assert!(
        found.len() == 1 && found[0].contains("no route takes its cluster from the filter"),
        "{found:#?}"
    );
}

#[test]
fn a_provider_s_missing_cluster_is_told() {
    let place = cluster(STANDALONE, "openai", "/name");
    let found = found(&changed(STANDALONE, vec![(place, Some(json!("other")))]));
    assert_eq!(
        found,
        [
            "static_resources.clusters: there is no cluster openai (expected: a cluster openai, which provider openai \
             names)"
        ]
    );
}

#[test]
fn a_credential_in_the_clear_is_told() {
    let tls = |rest: &str| cluster(STANDALONE, "openai", &format!("/transport_socket{rest}"));
    let wrong = "isn't TLS, and api.openai.com is on a public network";
    tells(STANDALONE, &tls(""), None, wrong);
    let sni = tls("/typed_config/sni");
    tells(
        STANDALONE,
        &sni,
        None,
        "isn't set: the provider can't tell which certificate to show",
    );
    let trust = tls("/typed_config/common_tls_context/validation_context");
    tells(STANDALONE, &trust, None, "trusts no authority");
    let names = format!("{trust}/match_typed_subject_alt_names");
    tells(
        STANDALONE,
        &names,
        None,
        "isn't set: anybody's certificate is taken",
    );
}

#[test]
fn a_plain_way_to_a_local_address_is_no_matter() {
    let address = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/address";
    for host in ["127.0.0.1", "egress.internal", "proxy"] {
        let changes = vec![
            (cluster(STANDALONE, "openai", "/transport_socket"), None),
            (cluster(STANDALONE, "openai", address), Some(json!(host))),
        ];
        assert_eq!(found(&changed(STANDALONE, changes)), Vec::<String>::new());
    }
}

#[test]
fn a_policy_that_is_another_is_told_by_its_first_difference() {
    let config = source::yaml(STANDALONE).unwrap();
    let text = include_str!("../../../../../envoy/policies/standalone.yaml");
    let read =
        |text: &str| source::read("p.yaml", text, &variables()).unwrap_or_else(|told| panic!("{told}"));
    let told = |text: &str| {
        let read = read(text);
        let held = Held {
            name: "p.yaml",
            read: &read,
        };
        let findings = disagreements(&config, Some(&held), &variables()).unwrap();
        findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(told(text), Vec::<String>::new());
    let other = text.replace("60/min", "61/min");
    assert_eq!(
        told(&other),
        [format!(
            "{}: its policy isn't that of p.yaml: they differ at limits[2].requests (expected: the policy of p.yaml)",
            path(&plugin("/configuration"))
        )]
    );
}

#[test]
fn a_policy_as_a_text_is_read_too() {
    let config = source::yaml(FAILOVER).unwrap();
    let policy = config
        .pointer(&plugin("/configuration/value"))
        .unwrap()
        .to_string();
    let text = json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": policy});
    let changes = vec![(plugin("/configuration"), Some(text))];
    assert_eq!(found(&changed(FAILOVER, changes)), Vec::<String>::new());
}

#[test]
fn what_cannot_be_judged_is_refused_in_words() {
    let told = |config: Value| {
        disagreements(&config, None, &variables())
            .err()
            .unwrap_or_default()
    };
    assert!(told(json!({})).starts_with("no HTTP filter of its listeners runs Spillway"));
    let none = changed(STANDALONE, vec![(plugin("/configuration"), None)]);
    assert!(told(none).ends_with("neither a Struct nor a StringValue with a policy in JSON"));
    let wrong = changed(
        STANDALONE,
        vec![(plugin("/configuration/value/version"), Some(json!(2)))],
    );
    assert!(told(wrong).contains("the policy is refused\nversion: is 2 (allowed: 1)"));
}
