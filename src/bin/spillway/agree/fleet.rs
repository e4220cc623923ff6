//! Limits of a fleet: the host's rate-limit filter is there, after Spillway, and asks and bills what Spillway leaves.

use spillway::exchange::fleet::limits;
use spillway::policy::{Fleet, OnRlsFailure};

use super::cluster::options;
use super::gateway::Gateway;
use super::plugin::Plugin;
use super::tree::Node;
use super::{Findings, Site, difference};
use crate::render::fleet::{asks, bills};
use crate::render::seconds;
use crate::source::{self, Read};

const FILTER: &str = "envoy.extensions.filters.http.ratelimit.v3.RateLimit";

/// The variables that the module can't do without: the policy's secrets, and what fleet limits name callers by.
pub(super) fn secrets(read: &Read) -> Vec<&str> {
    let mut secrets = crate::summary::secrets(&read.document);
    if limits(&read.policy).next().is_some() {
        secrets.push("SPILLWAY_HASH_KEY");
    }
    secrets
}

/// Holds the filter, its service's cluster and the routes' descriptors against the policy.
pub(super) fn check(site: &Site<'_>, gateway: &Gateway<'_>, findings: &mut Findings) {
    let names: Vec<&str> = limits(site.policy).map(|limit| limit.name.as_str()).collect();
    if names.is_empty() {
        return;
    }
    let filters = gateway.manager.list("http_filters");
    let is_filter = |filter: &Node<'_>| filter.get("typed_config").is_some_and(|c| c.kind() == FILTER);
    let at = filters.iter().position(is_filter);
    let Some((at, filter)) = at.and_then(|at| Some((at, filters.get(at)?))) else {
        findings.note(
            gateway.manager.path_of("http_filters"),
            format!(
                "has no rate-limit filter: each proxy counts {} for itself",
                names.join(", ")
            ),
            "envoy.filters.http.ratelimit after spillway",
        );
        return;
    };
    if filters.iter().position(|filter| Plugin::of(filter).is_some()) > Some(at) {
        findings.note(
            filter.path.clone(),
            "comes before Spillway: it asks before there is anything to ask about",
            "envoy.filters.http.ratelimit after spillway",
        );
    }
    if let Some(config) = filter.get("typed_config") {
        check_filter(&site.policy.fleet, &config, findings);
        check_cluster(site, &config, findings);
    }
    check_descriptors(site, gateway, findings);
}

fn check_filter(fleet: &Fleet, config: &Node<'_>, findings: &mut Findings) {
    if config.text("domain") != fleet.domain {
        findings.note(
            config.path_of("domain"),
            "isn't the policy's fleet.domain",
            fleet.domain.clone(),
        );
    }
    let timeout = config.get("timeout").and_then(|timeout| timeout.span());
    if timeout != Some(fleet.timeout) {
        let is = timeout.map_or("isn't set, which is 20 ms".to_owned(), |t| {
            format!("is {}", seconds(t))
        });
        findings.note(
            config.path_of("timeout"),
            format!("{is}: not the policy's fleet.timeout"),
            seconds(fleet.timeout),
        );
    }
    let deny = fleet.on_rls_failure == OnRlsFailure::Deny;
    if config.flag("failure_mode_deny") != deny {
        findings.note(
            config.path_of("failure_mode_deny"),
            "isn't what the policy's fleet.on_rls_failure says",
            deny.to_string(),
        );
    }
    if config.text("enable_x_ratelimit_headers") != "DRAFT_VERSION_03" {
        findings.note(
            config.path_of("enable_x_ratelimit_headers"),
            "isn't set: clients aren't told when the fleet's limits have room again",
            "DRAFT_VERSION_03",
        );
    }
}

/// The service speaks gRPC, which is HTTP/2.
fn check_cluster(site: &Site<'_>, config: &Node<'_>, findings: &mut Findings) {
    let path = ["rate_limit_service", "grpc_service", "envoy_grpc"];
    let Some(service) = config.at(&path) else { return };
    let name = service.text("cluster_name");
    let need = "the rate-limit service's";
    let Some(cluster) = site.clusters.require(name, need, findings) else {
        return;
    };
    let http2 = options(cluster).is_some_and(|options| {
        let explicit = options.get("explicit_http_config");
        explicit.is_some_and(|config| config.get("http2_protocol_options").is_some())
    });
    if !http2 && cluster.get("http2_protocol_options").is_none() {
        findings.note(
            cluster.path_of("typed_extension_protocol_options"),
            "doesn't speak HTTP/2, so gRPC can't go there",
            "explicit_http_config: {http2_protocol_options: {}}",
        );
    }
}

/// Each virtual host that leads to providers asks and bills every limit, by itself or by each such route.
fn check_descriptors(site: &Site<'_>, gateway: &Gateway<'_>, findings: &mut Findings) {
    let Some(config) = gateway.manager.get("route_config") else {
        return;
    };
    for host in config.list("virtual_hosts") {
        for route in host.list("routes") {
            let leads = route
                .get("route")
                .is_some_and(|action| !action.text("cluster_header").is_empty());
            if leads {
                check_route(site, (&host, &route), findings);
            }
        }
    }
}

fn check_route(site: &Site<'_>, (host, route): (&Node<'_>, &Node<'_>), findings: &mut Findings) {
    // A route's own takes the place of the virtual host's.
    let found = own(route).or_else(|| own(host));
    let limits = found
        .as_ref()
        .map(|own| own.list("rate_limits"))
        .unwrap_or_default();
    let place = found.map_or_else(
        || host.path_of("typed_per_filter_config"),
        |own| own.path_of("rate_limits"),
    );
    for (expected, what) in [(asks(site.policy), "asked about"), (bills(site.policy), "billed")] {
        let missing = expected.iter().filter(|item| !holds(&limits, item)).count();
        if missing > 0 {
            findings.note(
                place.clone(),
                format!("{missing} of {} fleet limits aren't {what}", expected.len()),
                "what spillway render --envoy writes there",
            );
        }
    }
}

/// What a virtual host or a route says to the filter itself: their `rate_limits` know no `hits_addend`.
fn own<'a>(node: &Node<'a>) -> Option<Node<'a>> {
    node.at(&["typed_per_filter_config", "envoy.filters.http.ratelimit"])
}

fn holds(found: &[Node<'_>], item: &str) -> bool {
    let Ok(expected) = source::yaml(item) else {
        return false;
    };
    let expected = expected.get(0).unwrap_or(&expected);
    let same = |node: &Node<'_>| difference(node.value, expected, String::new()).is_none();
    found.iter().any(same)
}
