//! What failing over by Envoy's router needs.

use serde_json::json;

use super::{
    CLUSTERS, FAILOVER, PRIORITY, STANDALONE, changed, cluster, found, manager, plugin, route, tells,
    upstream,
};
use crate::source;

#[test]
fn a_cluster_without_room_for_a_translated_answer_is_told() {
    for name in ["openai", "spillway+openai"] {
        let place = cluster(FAILOVER, name, "/per_connection_buffer_limit_bytes");
        let wrong = "is 1048576: less than the policy's bounds.response_body (2097152 bytes)";
        tells(FAILOVER, &place, None, wrong);
    }
}

#[test]
fn routes_and_clusters_that_come_by_xds_are_not_missed() {
    let changes = vec![
        (manager("/route_config"), None),
        (manager("/rds"), Some(json!({"route_config_name": "llm"}))),
        (CLUSTERS.to_owned(), None),
        (
            "/dynamic_resources".to_owned(),
            Some(json!({"cds_config": {"ads": {}}})),
        ),
    ];
    assert_eq!(found(&changed(FAILOVER, changes)), Vec::<String>::new());
}

#[test]
fn waits_that_are_not_the_policy_s_are_told() {
    let retry = |rest: &str| route(0, &format!("/retry_policy{rest}"));
    tells(
        FAILOVER,
        &retry("/retry_back_off"),
        None,
        "isn't set: a provider is asked again after 25 ms",
    );
    let other = Some(json!({"base_interval": "1s"}));
    tells(
        FAILOVER,
        &retry("/retry_back_off"),
        other,
        "isn't the policy's failover.backoff",
    );
    let limited = "/rate_limited_retry_back_off";
    tells(
        FAILOVER,
        &retry(limited),
        None,
        "isn't set: a retry-after isn't waited for",
    );
    let max = retry(&format!("{limited}/max_interval"));
    tells(
        FAILOVER,
        &max,
        Some(json!("60s")),
        "is 60s, and failover.retry_after_max 5s",
    );
    let headers = retry(&format!("{limited}/reset_headers"));
    tells(FAILOVER, &headers, None, "doesn't name retry-after");
}

#[test]
fn a_name_that_is_set_by_itself_counts_only_where_no_order_leads_through_it() {
    let options = "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/upstream_http_protocol_options";
    let automatic = Some(json!({"auto_sni": true, "auto_san_validation": true}));
    for (text, told) in [(STANDALONE, 0), (FAILOVER, 1)] {
        let changes = vec![
            (
                cluster(text, "openai", "/transport_socket/typed_config/sni"),
                None,
            ),
            (cluster(text, "openai", options), automatic.clone()),
        ];
        assert_eq!(found(&changed(text, changes)).len(), told);
    }
}

#[test]
fn an_order_s_missing_cluster_is_told() {
    let found = found(&changed(
        FAILOVER,
        vec![(cluster(FAILOVER, "spillway+openai+anthropic", ""), None)],
    ));
    assert!(found.len() == 1, "{found:#?}");
    let wrong = "static_resources.clusters: there is no cluster spillway+openai+anthropic (expected: ";
    assert!(found[0].starts_with(wrong), "{found:#?}");
}

#[test]
fn an_order_that_is_another_is_told() {
    let place = cluster(
        FAILOVER,
        "spillway+openai+anthropic",
        "/cluster_type/typed_config/clusters",
    );
    let other = Some(json!([{"name": "anthropic"}, {"name": "openai"}]));
    tells(
        FAILOVER,
        &place,
        other,
        "attempts go to anthropic, openai (expected: openai, anthropic, in this order)",
    );
    let place = cluster(FAILOVER, "spillway+openai+anthropic", "/cluster_type");
    tells(
        FAILOVER,
        &place,
        None,
        "is neither a composite cluster nor has it a priority for each provider",
    );
}

#[test]
fn a_cluster_for_one_provider_is_no_composite_and_as_safe_as_the_provider_s() {
    let composite = json!({"name": "envoy.clusters.composite", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.clusters.composite.v3.ClusterConfig",
        "clusters": [{"name": "openai"}, {"name": "openai"}, {"name": "openai"}]}});
    let alone = cluster(FAILOVER, "spillway+openai", "");
    tells(
        FAILOVER,
        &format!("{alone}/cluster_type"),
        Some(composite),
        "is a composite: Envoy counts requests in flight on cluster openai",
    );
    tells(
        FAILOVER,
        &format!("{alone}/transport_socket"),
        None,
        "isn't TLS, and api.openai.com is on a public network",
    );
    tells(
        FAILOVER,
        &format!("{alone}/load_assignment/endpoints/0/lb_endpoints/0/metadata"),
        None,
        "names no provider: an attempt here ends with 500",
    );
}

#[test]
fn an_endpoint_that_does_not_say_whose_it_is_is_told() {
    let place = cluster(
        FAILOVER,
        "openai",
        "/load_assignment/endpoints/0/lb_endpoints/0/metadata",
    );
    let of = |name: &str| Some(json!({"filter_metadata": {"spillway": {"provider": name}}}));
    tells(
        FAILOVER,
        &place,
        None,
        "names no provider: an attempt here ends with 500",
    );
    tells(
        FAILOVER,
        &place,
        of("open-ai"),
        "names \"open-ai\", which isn't a provider of the policy",
    );
    tells(
        FAILOVER,
        &place,
        of("anthropic"),
        "names provider anthropic, whose credential would go to openai",
    );
}

#[test]
fn retries_that_envoy_would_throttle_are_told() {
    let order = "spillway+openai+anthropic";
    let threshold = cluster(FAILOVER, order, "/circuit_breakers/thresholds/0/max_retries");
    tells(
        FAILOVER,
        &threshold,
        None,
        "isn't set: Envoy's 3 retries at a time",
    );
    tells(
        FAILOVER,
        &threshold,
        Some(json!(3)),
        "is 3: no more move to the next provider at a time",
    );
    let budget = cluster(
        FAILOVER,
        "spillway+openai",
        "/circuit_breakers/thresholds/0/retry_budget",
    );
    tells(
        FAILOVER,
        &budget,
        None,
        "isn't set: nothing bounds what is sent again",
    );
    let half = Some(json!({"budget_percent": {"value": 50}}));
    tells(FAILOVER, &budget, half, "is 50 %, and failover.retry_budget 20 %");
    let usual = changed(FAILOVER, vec![(budget, Some(json!({})))]);
    assert_eq!(found(&usual), Vec::<String>::new(), "20 % is Envoy's own");
}

#[test]
fn an_order_without_the_provider_role_is_told() {
    let order = "spillway+openai+anthropic";
    let options = cluster(FAILOVER, order, "/typed_extension_protocol_options");
    tells(
        FAILOVER,
        &options,
        None,
        "cluster spillway+openai+anthropic doesn't run Spillway",
    );
}

#[test]
fn the_provider_role_on_a_provider_s_own_cluster_is_told() {
    let options = "/typed_extension_protocol_options";
    let config = source::yaml(FAILOVER).unwrap();
    let with = config
        .pointer(&cluster(FAILOVER, "spillway+openai", options))
        .unwrap();
    let found = found(&changed(
        FAILOVER,
        vec![(cluster(FAILOVER, "openai", options), Some(with.clone()))],
    ));
    assert!(
        found.len() == 1 && found[0].contains("cluster openai runs Spillway itself"),
        "{found:#?}"
    );
}

#[test]
fn roles_that_do_not_fit_together_are_told() {
    let of = |rest: &str| upstream(FAILOVER, "spillway+anthropic+openai", rest);
    let other = Some(json!("other"));
    tells(
        FAILOVER,
        &of("/vm_config/vm_id"),
        other.clone(),
        "is \"other\", the gateway role's \"spillway\"",
    );
    tells(
        FAILOVER,
        &of("/vm_config/configuration"),
        None,
        "doesn't say provider",
    );
    let mode = of("/configuration/value/mode");
    let found = found(&changed(FAILOVER, vec![(mode, Some(json!("shadow")))]));
    assert!(
        found.len() == 1 && found[0].contains("they differ at mode"),
        "{found:#?}"
    );
    tells(FAILOVER, &of("/configuration"), None, "holds no policy");
    let gateway = json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "provider"});
    tells(
        FAILOVER,
        &plugin("/vm_config/configuration"),
        Some(gateway),
        "is provider, which is the upstream filter's",
    );
    let missing = Some(json!({"host_env_keys": []}));
    tells(
        FAILOVER,
        &of("/vm_config/environment_variables"),
        missing,
        "doesn't pass ANTHROPIC_API_KEY",
    );
}

#[test]
fn priorities_are_held_against_the_order_too() {
    let order = "spillway+openai+anthropic";
    let endpoints = cluster(PRIORITY, order, "/load_assignment/endpoints");
    let swapped = vec![
        (format!("{endpoints}/0/priority"), Some(json!(1))),
        (format!("{endpoints}/1/priority"), Some(json!(0))),
    ];
    let found = found(&changed(PRIORITY, swapped));
    assert!(
        found.len() == 1 && found[0].contains("its priorities are of anthropic, openai"),
        "{found:#?}"
    );
    let metadata = format!("{endpoints}/1/lb_endpoints/0/metadata");
    let found = self::found(&changed(PRIORITY, vec![(metadata, None)]));
    assert!(
        found.iter().any(|told| told.contains("names no provider")),
        "{found:#?}"
    );
    let retry = route(1, "/retry_policy/retry_priority");
    tells(PRIORITY, &retry, None, "isn't previous_priorities");
}
