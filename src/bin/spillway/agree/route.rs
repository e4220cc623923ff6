//! The routes to providers: chosen by the filter, never cut short, and patient where the policy is.

use core::time::Duration;

use super::composite::has_priorities;
use super::gateway::Gateway;
use super::tree::Node;
use super::{Findings, Site};
use crate::orders;
use crate::render::{seconds, waits};
use spillway::failover::waits_name;
use spillway::policy::Failover;

/// The header by which the filter names the cluster.
const CLUSTER: &str = "x-spillway-cluster";
/// The header by which it says that one provider is asked again.
const REPEATS: &str = "x-spillway-repeats";

/// A route that leads where the filter says.
pub(super) struct Route<'a> {
    /// The route's own entry.
    pub(super) own: Node<'a>,
    /// Its action.
    action: Node<'a>,
}

impl Route<'_> {
    /// Whether it takes a request that has these headers of ours and no others.
    fn takes(&self, ours: &[&str]) -> bool {
        let headers = self.own.get("match").map(|matches| matches.list("headers"));
        let wanted = headers.unwrap_or_default();
        wanted
            .iter()
            .all(|header| ours.contains(&header.text("name").to_ascii_lowercase().as_str()))
    }

    /// Whether it takes a request that is repeated with the waits of this name.
    fn takes_repeats(&self, waits: &str) -> bool {
        let headers = self.own.get("match").map(|matches| matches.list("headers"));
        let is_other = |header: &Node<'_>| {
            let value = header
                .get("string_match")
                .map_or("", |matches| matches.text("exact"));
            header.text("name").eq_ignore_ascii_case(REPEATS) && !value.is_empty() && value != waits
        };
        self.takes(&[CLUSTER, REPEATS]) && !headers.unwrap_or_default().iter().any(is_other)
    }
}

/// The routes of a connection manager that take their cluster from the filter, in order.
pub(super) fn to_providers<'a>(manager: &Node<'a>) -> Vec<Route<'a>> {
    let hosts = manager
        .get("route_config")
        .map(|routes| routes.list("virtual_hosts"));
    let routes = hosts
        .unwrap_or_default()
        .into_iter()
        .flat_map(|host| host.list("routes"));
    routes
        .filter_map(|own| {
            let action = own.get("route")?;
            let ours = action.text("cluster_header").eq_ignore_ascii_case(CLUSTER);
            ours.then_some(Route { own, action })
        })
        .collect()
}

/// Holds the routes against the policy. Routes that come by RDS can't be seen.
pub(super) fn check(site: &Site<'_>, gateway: &Gateway<'_>, findings: &mut Findings) {
    let manager = &gateway.manager;
    if manager.get("rds").is_some() || manager.get("scoped_routes").is_some() {
        return;
    }
    let routes = to_providers(manager);
    if !routes.iter().any(|route| route.takes(&[CLUSTER])) {
        findings.note(
            manager.path_of("route_config.virtual_hosts"),
            "no route takes its cluster from the filter once that has chosen",
            format!("a route for every path with cluster_header: {CLUSTER}"),
        );
        return;
    }
    for route in &routes {
        check_timeout(&route.action, findings);
    }
    if orders::native(site.policy).next().is_some() {
        check_repeats(site, &routes, findings);
        for route in &routes {
            check_waiting(site, manager, route, findings);
        }
        let moves = routes.iter().find(|route| route.takes(&[CLUSTER]));
        if let Some(route) = moves.filter(|_| has_priorities(site)) {
            check_priority(&route.action, findings);
        }
    }
}

/// Envoy's own when a route says nothing.
fn check_timeout(action: &Node<'_>, findings: &mut Findings) {
    let path = action.path_of("timeout");
    match action.get("timeout") {
        None => findings.note(path, "isn't set: Envoy's 15 s cut off long answers", "0s"),
        Some(field) => {
            let span = field.span().unwrap_or_default();
            if !span.is_zero() && span < LEAST_TIMEOUT {
                findings.note(
                    path,
                    format!("is {}: long answers take longer", seconds(span)),
                    "0s",
                );
            }
        }
    }
}

/// Models that think answer after minutes.
const LEAST_TIMEOUT: Duration = Duration::from_secs(60);

/// The routes of a single provider that is asked again wait as the policy says, each for those that it is for.
fn check_repeats(site: &Site<'_>, routes: &[Route<'_>], findings: &mut Findings) {
    for rules in waits(site.policy) {
        let name = waits_name(rules);
        if let Some(route) = routes.iter().find(|route| route.takes_repeats(&name)) {
            check_waits(route, rules, findings);
        }
    }
}

fn check_waits(route: &Route<'_>, rules: &Failover, findings: &mut Findings) {
    let backoff = rules.backoff;
    let retry = route.action.get("retry_policy");
    let path = |name: &str| format!("{}.{name}", route.action.path_of("retry_policy"));
    let expected = format!(
        "{{base_interval: {}, max_interval: {}}}",
        seconds(backoff.base),
        seconds(backoff.max)
    );
    let field = retry.as_ref().and_then(|retry| retry.get("retry_back_off"));
    match &field {
        None => findings.note(
            path("retry_back_off"),
            "isn't set: a provider is asked again after 25 ms",
            expected,
        ),
        Some(field) => {
            let base = field.get("base_interval").and_then(|base| base.span());
            let usual = base.unwrap_or_default().saturating_mul(10);
            let max = field
                .get("max_interval")
                .and_then(|max| max.span())
                .unwrap_or(usual);
            if (base, max) != (Some(backoff.base), backoff.max) {
                findings.note(
                    field.path.clone(),
                    "isn't the policy's failover.backoff",
                    expected,
                );
            }
        }
    }
    let limited = retry.and_then(|retry| retry.get("rate_limited_retry_back_off"));
    check_retry_after(
        limited.as_ref(),
        rules.retry_after_max,
        path("rate_limited_retry_back_off"),
        findings,
    );
}

fn check_retry_after(limited: Option<&Node<'_>>, wait: Duration, path: String, findings: &mut Findings) {
    let expected = format!(
        "{{max_interval: {}, reset_headers: [{{name: retry-after, format: SECONDS}}]}}",
        seconds(wait)
    );
    let Some(limited) = limited else {
        if !wait.is_zero() {
            findings.note(path, "isn't set: a retry-after isn't waited for", expected);
        }
        return;
    };
    // Envoy's own when it isn't set.
    let usual = Duration::from_secs(300);
    let max = limited
        .get("max_interval")
        .and_then(|max| max.span())
        .unwrap_or(usual);
    if max != wait {
        findings.note(
            limited.path_of("max_interval"),
            format!(
                "is {}, and failover.retry_after_max {}",
                seconds(max),
                seconds(wait)
            ),
            seconds(wait),
        );
    }
    let named = |header: &Node<'_>| header.text("name").eq_ignore_ascii_case("retry-after");
    if !limited.list("reset_headers").iter().any(named) {
        findings.note(
            limited.path_of("reset_headers"),
            "doesn't name retry-after",
            expected,
        );
    }
}

/// Silence that the policy waits out must not end the stream first.
fn check_waiting(site: &Site<'_>, manager: &Node<'_>, route: &Route<'_>, findings: &mut Findings) {
    let field = route
        .action
        .get("idle_timeout")
        .or_else(|| manager.get("stream_idle_timeout"));
    // Envoy's own when it isn't set.
    let usual = Duration::from_secs(300);
    let idle = field.as_ref().and_then(Node::span).unwrap_or(usual);
    let whole = orders::native(site.policy).map(|route| route.failover.timeouts.whole.base);
    let longest = whole.max().unwrap_or_default();
    if !idle.is_zero() && idle < longest {
        findings.note(
            field.map_or(route.action.path_of("idle_timeout"), |field| field.path),
            format!(
                "is {}, shorter than failover.timeouts.whole ({}): an answer that comes as a whole is cut off before",
                seconds(idle),
                seconds(longest)
            ),
            format!("at least {}", seconds(longest)),
        );
    }
}

/// Where priorities stand for providers, each attempt must leave those that were tried.
fn check_priority(action: &Node<'_>, findings: &mut Findings) {
    let retry = action.get("retry_policy");
    let priority = retry.and_then(|retry| retry.get("retry_priority"));
    if !priority.is_some_and(|priority| priority.text("name").contains("previous_priorities")) {
        findings.note(
            format!("{}.retry_priority", action.path_of("retry_policy")),
            "isn't previous_priorities: every attempt would go to the first provider",
            "envoy.retry_priorities.previous_priorities with update_frequency: 1",
        );
    }
}
