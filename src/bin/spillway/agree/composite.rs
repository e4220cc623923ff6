//! The clusters of orders: one for each way in which candidates may be tried, with the provider role in every attempt.

use serde_json::Value;
use spillway::policy::Provider;

use super::cluster::{check_tls, endpoints, upstream_plugin};
use super::plugin::Plugin;
use super::tree::Node;
use super::{Findings, Site, difference};
use crate::orders::{self, Order};

const COMPOSITE: &str = "envoy.extensions.clusters.composite.v3.ClusterConfig";

/// Holds each order's cluster against the policy.
pub(super) fn check(site: &Site<'_>, findings: &mut Findings) {
    // Aliases of one anchor are one plugin: it is judged once.
    let mut judged: Vec<&Value> = Vec::new();
    for order in orders::orders(site.policy) {
        let need = "which failover.via: native asks for";
        let name = order.name(site.policy);
        let Some(cluster) = site.clusters.require(&name, need, findings) else {
            continue;
        };
        match (order.repeats(), composite(cluster)) {
            (true, _) => check_alone(site, &order, cluster, findings),
            (false, Some(config)) => check_clusters(site, &order, &config, findings),
            (false, None) => check_priorities(site, &order, cluster, findings),
        }
        check_retries(&order, cluster, findings);
        check_room(site, &order, cluster, findings);
        match upstream_plugin(cluster) {
            None => findings.note(
                cluster.path_of("typed_extension_protocol_options"),
                format!("cluster {name} doesn't run Spillway: attempts would go out with the client's own body and no credential"),
                "http_filters: Spillway in its provider role, then envoy.filters.http.upstream_codec",
            ),
            Some(plugin) if judged.contains(&plugin.config.value) => {}
            Some(plugin) => {
                judged.push(plugin.config.value);
                check_plugin(site, &plugin, findings);
            }
        }
    }
}

/// Whether some order's cluster has a priority per provider.
pub(super) fn has_priorities(site: &Site<'_>) -> bool {
    let orders = orders::orders(site.policy);
    let mut clusters = orders
        .iter()
        .filter(|order| !order.repeats())
        .filter_map(|order| site.clusters.find(&order.name(site.policy)));
    clusters.any(|cluster| composite(cluster).is_none() && !endpoints(cluster).is_empty())
}

fn composite<'a>(cluster: &Node<'a>) -> Option<Node<'a>> {
    let config = cluster.at(&["cluster_type", "typed_config"])?;
    (config.kind() == COMPOSITE).then_some(config)
}

/// Attempt n goes to the n-th of a composite's clusters.
fn check_clusters(site: &Site<'_>, order: &Order, config: &Node<'_>, findings: &mut Findings) {
    let tries = order.tries(site.policy);
    let expected: Vec<&str> = tries.iter().map(|provider| provider.cluster.as_str()).collect();
    let entries = config.list("clusters");
    let found: Vec<&str> = entries.iter().map(|entry| entry.text("name")).collect();
    if !found.starts_with(&expected) {
        findings.note(
            config.path_of("clusters"),
            format!("attempts go to {}", listed(&found)),
            format!("{}, in this order", listed(&expected)),
        );
    }
    for provider in order.places(site.policy) {
        if let Some(cluster) = site.clusters.find(&provider.cluster) {
            check_metadata(site, provider, cluster, findings);
        }
    }
}

/// Who repeats at one provider is counted where the budget is.
fn check_alone(site: &Site<'_>, order: &Order, cluster: &Node<'_>, findings: &mut Findings) {
    let Some(provider) = order.places(site.policy).next() else {
        return;
    };
    if composite(cluster).is_none() {
        match endpoints(cluster).is_empty() {
            true => check_priorities(site, order, cluster, findings),
            false => check_metadata(site, provider, cluster, findings),
        }
        return check_tls(site, &provider.name, cluster, findings);
    }
    findings.note(
        cluster.path_of("cluster_type"),
        format!(
            "is a composite: Envoy counts requests in flight on cluster {}, so that the retry budget here is a share of none",
            provider.cluster
        ),
        format!("a cluster with {}'s endpoint and metadata that names it", provider.name),
    );
}

fn listed(names: &[&str]) -> String {
    match names.is_empty() {
        true => "nowhere".to_owned(),
        false => names.join(", "),
    }
}

/// By its endpoint's metadata an attempt knows whose credential to send.
fn check_metadata(site: &Site<'_>, provider: &Provider, cluster: &Node<'_>, findings: &mut Findings) {
    let expected = format!(
        "{{filter_metadata: {{spillway: {{provider: {}}}}}}}",
        provider.name
    );
    for (_, endpoint) in endpoints(cluster) {
        let path = endpoint.path_of("metadata");
        let wrong = match provider_of(&endpoint) {
            Some(name) if name == provider.name => continue,
            None => "names no provider: an attempt here ends with 500".to_owned(),
            Some(name) if is_known(site, name) => {
                format!(
                    "names provider {name}, whose credential would go to {}",
                    provider.name
                )
            }
            Some(name) => format!("names {name:?}, which isn't a provider of the policy"),
        };
        findings.note(path, wrong, expected.clone());
    }
}

fn provider_of<'a>(endpoint: &Node<'a>) -> Option<&'a str> {
    let metadata = endpoint.at(&["metadata", "filter_metadata", "spillway", "provider"])?;
    metadata.value.as_str()
}

fn is_known(site: &Site<'_>, name: &str) -> bool {
    site.policy.providers.iter().any(|provider| provider.name == name)
}

/// Before Envoy 1.37: attempt n goes to the n-th priority.
fn check_priorities(site: &Site<'_>, order: &Order, cluster: &Node<'_>, findings: &mut Findings) {
    let mut expected: Vec<&str> = Vec::new();
    for place in order.places(site.policy) {
        if !expected.contains(&place.name.as_str()) {
            expected.push(&place.name);
        }
    }
    let mut found = endpoints(cluster);
    found.sort_by_key(|(priority, _)| *priority);
    if found.is_empty() {
        findings.note(
            cluster.path_of("cluster_type"),
            "is neither a composite cluster nor has it a priority for each provider",
            format!("envoy.clusters.composite of {}", expected.join(", ")),
        );
        return;
    }
    let mut names: Vec<&str> = Vec::new();
    for (_, endpoint) in &found {
        let name = provider_of(endpoint);
        match name.filter(|name| is_known(site, name)) {
            None => findings.note(
                endpoint.path_of("metadata"),
                name.map_or(
                    "names no provider: an attempt here ends with 500".to_owned(),
                    |name| format!("names {name:?}, which isn't a provider of the policy"),
                ),
                format!(
                    "{{filter_metadata: {{spillway: {{provider: one of {}}}}}}}",
                    expected.join(", ")
                ),
            ),
            Some(name) if !names.contains(&name) => names.push(name),
            Some(_) => {}
        }
    }
    if names.iter().all(|name| is_known(site, name)) && names != expected {
        findings.note(
            cluster.path_of("load_assignment.endpoints"),
            format!("its priorities are of {}", listed(&names)),
            format!("{}, in this order", listed(&expected)),
        );
    }
}

/// Envoy's own when a cluster says nothing.
const USUAL_BUFFER: f64 = 1_048_576.0;

/// An answer that is translated is held until it is whole, on the cluster of the order and on the provider's.
fn check_room(site: &Site<'_>, order: &Order, cluster: &Node<'_>, findings: &mut Findings) {
    if !translates(site) {
        return;
    }
    let name = "per_connection_buffer_limit_bytes";
    let bytes = site.policy.bounds.response_body;
    let needed = u32::try_from(bytes).map_or(f64::MAX, f64::from);
    let providers = order
        .places(site.policy)
        .filter_map(|p| site.clusters.find(&p.cluster));
    for cluster in core::iter::once(cluster).chain(providers) {
        let limit = cluster
            .get(name)
            .and_then(|field| field.number())
            .unwrap_or(USUAL_BUFFER);
        if limit < needed {
            findings.note(
                cluster.path_of(name),
                format!("is {limit}: less than the policy's bounds.response_body ({bytes} bytes), and answers are translated"),
                format!("more than {bytes}"),
            );
        }
    }
}

/// Whether an answer may come in another dialect than the client's.
fn translates(site: &Site<'_>) -> bool {
    orders::native(site.policy).any(|route| {
        let providers = route
            .chain
            .iter()
            .filter_map(|hop| site.policy.providers.get(hop.provider));
        let mut dialects = providers.map(|provider| provider.dialect);
        let first = dialects.next();
        dialects.any(|dialect| Some(dialect) != first)
    })
}

/// Envoy's own number of retries at a time.
const USUAL_RETRIES: f64 = 3.0;

fn check_retries(order: &Order, cluster: &Node<'_>, findings: &mut Findings) {
    let thresholds = cluster.get("circuit_breakers").map(|b| b.list("thresholds"));
    let usual = |threshold: &Node<'_>| matches!(threshold.text("priority"), "" | "DEFAULT");
    let threshold = thresholds.unwrap_or_default().into_iter().find(usual);
    let path = match &threshold {
        Some(threshold) => threshold.path.clone(),
        None => cluster.path_of("circuit_breakers"),
    };
    let field = |name: &str| threshold.as_ref().and_then(|threshold| threshold.get(name));
    let budget = field("retry_budget");
    if order.repeats() {
        check_budget(order, budget.as_ref(), path, findings);
        return;
    }
    let most = field("max_retries").and_then(|field| field.number());
    if budget.is_none() && most.unwrap_or(USUAL_RETRIES) <= USUAL_RETRIES {
        let wrong = match most {
            Some(most) => format!("is {most}: no more move to the next provider at a time"),
            None => "isn't set: Envoy's 3 retries at a time end failing over under load".to_owned(),
        };
        findings.note(format!("{path}.max_retries"), wrong, "1000");
    }
}

/// Repeats at the same provider are a share of the requests in flight.
fn check_budget(order: &Order, budget: Option<&Node<'_>>, path: String, findings: &mut Findings) {
    let expected = order.budget * 100.0;
    let percent = budget.and_then(|budget| budget.at(&["budget_percent", "value"])?.number());
    // Envoy's own when the budget says nothing.
    let found = budget.map(|_| percent.unwrap_or(20.0));
    let wrong = match found {
        Some(found) if (found - expected).abs() < 0.01 => return,
        Some(found) => format!("is {found} %, and failover.retry_budget {expected} %"),
        None => {
            "isn't set: nothing bounds what is sent again to the same provider but max_retries".to_owned()
        }
    };
    findings.note(
        format!("{path}.retry_budget"),
        wrong,
        format!("{{budget_percent: {{value: {expected}}}}}"),
    );
}

fn check_plugin(site: &Site<'_>, plugin: &Plugin<'_>, findings: &mut Findings) {
    plugin.check(site, findings);
    let (ours, theirs) = (plugin.vm_id(), site.gateway.vm_id());
    if ours != theirs {
        findings.note(
            plugin.vm_path("vm_id"),
            format!("is {ours:?}, the gateway role's {theirs:?}: two stores, so that neither sees the other's breakers"),
            format!("{theirs:?}"),
        );
    }
    if plugin.role() != "provider" {
        findings.note(
            plugin.vm_path("configuration"),
            "doesn't say provider: this VM would play the gateway role once more, for each attempt",
            "{\"@type\": type.googleapis.com/google.protobuf.StringValue, value: provider}",
        );
    }
    let path = plugin.config.path_of("configuration");
    let expected = "the gateway role's policy";
    match plugin.policy() {
        None => findings.note(path, "holds no policy", expected),
        Some(policy) => {
            if let Some(at) = difference(&policy, site.document, String::new()) {
                findings.note(
                    path,
                    format!("its policy is another one: they differ at {at}"),
                    expected,
                );
            }
        }
    }
}
