//! The gateway role: the filter on the listener, and what the listener lets through to it.

use super::plugin::Plugin;
use super::tree::Node;
use super::{Findings, Site};
use crate::outside;

const MANAGER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// A connection manager that runs Spillway.
pub(super) struct Gateway<'a> {
    pub(super) listener: Node<'a>,
    pub(super) manager: Node<'a>,
    pub(super) plugin: Plugin<'a>,
}

/// All of a bootstrap's.
pub(super) fn all<'a>(root: &Node<'a>) -> Vec<Gateway<'a>> {
    let mut found = Vec::new();
    let listeners = root.get("static_resources").map(|s| s.list("listeners"));
    for listener in listeners.unwrap_or_default() {
        let mut chains = listener.list("filter_chains");
        chains.extend(listener.get("default_filter_chain"));
        for filter in chains.iter().flat_map(|chain| chain.list("filters")) {
            let manager = filter.get("typed_config").filter(|typed| typed.kind() == MANAGER);
            found.extend(manager.and_then(|manager| of_manager(&listener, manager)));
        }
    }
    found
}

fn of_manager<'a>(listener: &Node<'a>, manager: Node<'a>) -> Option<Gateway<'a>> {
    let plugin = manager.list("http_filters").iter().find_map(Plugin::of)?;
    Some(Gateway {
        listener: listener.clone(),
        manager,
        plugin,
    })
}

/// Holds the gateway role's plugin and its listener against the policy.
pub(super) fn check(site: &Site<'_>, gateway: &Gateway<'_>, findings: &mut Findings) {
    let plugin = &gateway.plugin;
    plugin.check(site, findings);
    if plugin.vm_id().is_empty() {
        findings.note(
            plugin.vm_path("vm_id"),
            "isn't set: limits and breakers are shared with every other plugin that has none",
            "a name of its own, such as spillway",
        );
    }
    if plugin.role() == "provider" {
        findings.note(
            plugin.vm_path("configuration"),
            "is provider, which is the upstream filter's role",
            "no such field",
        );
    }
    check_buffer(site, gateway, findings);
}

/// Envoy's own when the listener says nothing.
const USUAL_BUFFER: f64 = 1_048_576.0;

/// Below the policy's bounds it is Envoy that refuses, in its own words; and what it can't keep isn't sent again.
fn check_buffer(site: &Site<'_>, gateway: &Gateway<'_>, findings: &mut Findings) {
    let name = "per_connection_buffer_limit_bytes";
    let field = gateway.listener.get(name);
    let limit = field.as_ref().and_then(Node::number).unwrap_or(USUAL_BUFFER);
    let bounds = site.policy.bounds;
    let mut needed = vec![("bounds.request_body", bounds.request_body)];
    let held = outside::holds_answers(site.policy);
    if held || !site.policy.validate.is_empty() {
        needed.push(("bounds.response_body", bounds.response_body));
    }
    let lifted = |bound: &str| bound == "bounds.request_body" && is_lifted(gateway, bounds.request_body);
    for (bound, bytes) in needed {
        if limit < as_number(bytes) && !lifted(bound) {
            let is = match &field {
                Some(_) => format!("is {limit}"),
                None => "isn't set, which is 1 MiB".to_owned(),
            };
            findings.note(
                gateway.listener.path_of(name),
                format!("{is}: less than the policy's {bound} ({bytes} bytes)"),
                format!("more than {bytes}"),
            );
        }
    }
}

/// Whether every route to a provider has a bound of its own that is large enough.
fn is_lifted(gateway: &Gateway<'_>, bytes: usize) -> bool {
    let routes = super::route::to_providers(&gateway.manager);
    let lifts = |route: &super::route::Route<'_>| {
        let limit = route.own.get("request_body_buffer_limit");
        limit
            .and_then(|limit| limit.number())
            .is_some_and(|limit| limit >= as_number(bytes))
    };
    !routes.is_empty() && routes.iter().all(lifts)
}

/// Bounds are far below where doubles stop counting.
fn as_number(bytes: usize) -> f64 {
    u32::try_from(bytes).map_or(f64::MAX, f64::from)
}
