//! Limits of a fleet: the host's own rate-limit filter, what it asks, and the same limits for the service that it asks.
//!
//! Its invariant: a descriptor is made of what Spillway leaves in the stream's filter state alone, so that what it hasn't
//! judged is neither asked about nor billed.

use spillway::exchange::fleet::{LIMIT, ask_key, bill_key, binds, limits, part_key, part_name, spent_key};
use spillway::policy::{Limit, OnRlsFailure, Policy, Scope};

use super::Job;
use super::envoy::head;
use super::fill::{fill, indented};
use super::route::seconds;
use super::yaml::scalar;
use crate::summary::grouped;

/// What `SPILLWAY_HASH_KEY` is to the policy.
pub(super) fn hash_key(policy: &Policy) -> &'static str {
    match is_there(policy) {
        true => "the same on every proxy",
        false => "optional",
    }
}

/// Whether the fleet counts at all.
pub(super) fn is_there(policy: &Policy) -> bool {
    limits(policy).next().is_some()
}

/// The filter, after Spillway in the listener's chain; none without fleet limits.
pub(super) fn filter(policy: &Policy) -> String {
    if !is_there(policy) {
        return String::new();
    }
    let fleet = &policy.fleet;
    let deny = fleet.on_rls_failure == OnRlsFailure::Deny;
    fill(
        include_str!("templates/rate-limit-filter.yaml"),
        &[
            ("domain", scalar(&fleet.domain)),
            ("cluster", scalar(&fleet.cluster)),
            ("timeout", seconds(fleet.timeout)),
            ("deny", deny.to_string()),
        ],
    )
}

/// The service's cluster; none without fleet limits.
pub(super) fn cluster(job: &Job<'_>) -> Option<String> {
    if !is_there(job.policy) {
        return None;
    }
    let (host, port) = &job.options.rls_address;
    let kind = match host.parse::<std::net::IpAddr>() {
        Ok(_) => "STATIC",
        Err(_) => "STRICT_DNS",
    };
    Some(fill(
        include_str!("templates/rate-limit-cluster.yaml"),
        &[
            ("name", scalar(&job.policy.fleet.cluster)),
            ("type", kind.to_owned()),
            ("host", scalar(host)),
            ("port", port.to_string()),
        ],
    ))
}

/// What the virtual host says of them; nothing without fleet limits.
pub(super) fn rate_limits(policy: &Policy) -> String {
    if !is_there(policy) {
        return String::new();
    }
    let items = [asks(policy), bills(policy)].concat().concat();
    fill(include_str!("templates/rate-limits.yaml"), &[("limits", items)])
}

/// One item for each limit: whether there is room. For those in shadow Spillway leaves nothing, so nobody is asked.
pub(crate) fn asks(policy: &Policy) -> Vec<String> {
    let ask = |limit| {
        let actions = actions(policy, limit, &ask_key(limit));
        fill(
            include_str!("templates/rate-limit-ask.yaml"),
            &[("actions", actions)],
        )
    };
    limits(policy).map(ask).collect()
}

/// One item for each limit: what was used.
pub(crate) fn bills(policy: &Policy) -> Vec<String> {
    let bill = |limit| {
        let places = [
            ("actions", actions(policy, limit, &bill_key(limit))),
            ("spent", spent_key(limit)),
        ];
        fill(include_str!("templates/rate-limit-bill.yaml"), &places)
    };
    limits(policy).map(bill).collect()
}

/// The entries of a limit's descriptor, in the order of its `per`.
fn actions(policy: &Policy, limit: &Limit, key: &str) -> String {
    let parts = limit
        .per
        .iter()
        .map(|per| (part_name(policy, per), part_key(policy, per)));
    let entries = core::iter::once((LIMIT, key.to_owned())).chain(parts);
    let action = |(name, key): (&str, String)| {
        format!(
            "- extension: {{name: {}, typed_config: {{\"@type\": {INPUT}, key: wasm.{key}}}}}\n",
            scalar(name)
        )
    };
    entries.map(action).collect()
}

/// Reads the filter state; without it there is no descriptor.
const INPUT: &str = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.FilterStateInput";

/// The limits for envoyproxy/ratelimit.
pub(super) fn envoyproxy(job: &Job<'_>) -> String {
    let items: Vec<String> = limits(job.policy)
        .map(|limit| of_envoyproxy(job.policy, limit))
        .collect();
    let needs = "For envoyproxy/ratelimit, which must know a descriptor's own hits_addend (since 2025).\nIts windows begin with the clock's minute, hour or day.";
    format!(
        "{}\n\ndomain: {}\ndescriptors:\n{}",
        rls_head(job, needs),
        scalar(&job.policy.fleet.domain),
        indented(&items.concat(), "  ")
    )
}

fn of_envoyproxy(policy: &Policy, limit: &Limit) -> String {
    let mut rate = format!(
        "rate_limit: {{unit: {}, requests_per_unit: {}}}\n",
        unit(limit),
        quota(limit)
    );
    if !binds(policy, limit) {
        rate.push_str("shadow_mode: true\n");
    }
    let mut inner = rate;
    for per in limit.per.iter().rev() {
        let key = scalar(part_name(policy, per));
        inner = format!("descriptors:\n  - key: {key}\n{}", indented(&inner, "    "));
    }
    format!(
        "# {}\n- key: {LIMIT}\n  value: {}\n{}",
        described(policy, limit),
        scalar(&limit.name),
        indented(&inner, "  ")
    )
}

/// The same limits for Limitador.
pub(super) fn limitador(job: &Job<'_>) -> String {
    let items: Vec<String> = limits(job.policy)
        .map(|limit| of_limitador(job.policy, limit))
        .collect();
    let needs = "For a service on the crate limitador that takes each descriptor by itself, with its own hits_addend: see\nenvoy/README.md. A limit's window begins with its first bill.";
    format!("{}\n\n{}", rls_head(job, needs), items.concat())
}

fn of_limitador(policy: &Policy, limit: &Limit) -> String {
    let of = |name: &str| format!("\"descriptors[0]['{name}']\"");
    let variables: Vec<String> = limit.per.iter().map(|per| of(part_name(policy, per))).collect();
    format!(
        "# {}\n- namespace: {}\n  name: {}\n  max_value: {}\n  seconds: {}\n  conditions: [\"descriptors[0]['{LIMIT}'] == '{}'\"]\n  variables: [{}]\n",
        described(policy, limit),
        scalar(&policy.fleet.domain),
        scalar(&limit.name),
        quota(limit),
        limit.period.as_secs(),
        limit.name,
        variables.join(", ")
    )
}

fn rls_head(job: &Job<'_>, needs: &str) -> String {
    let usual = "The limits of a fleet of proxies, for the service that counts them.";
    // What the policy says of itself is about proxies.
    head(job, &[], usual, needs)
}

fn described(policy: &Policy, limit: &Limit) -> String {
    let parts: Vec<&str> = limit.per.iter().map(|per| part_name(policy, per)).collect();
    let whose = match parts.is_empty() {
        true => "all together".to_owned(),
        false => format!("each {}", parts.join(" and ")),
    };
    let shadow = if binds(policy, limit) {
        ""
    } else {
        ", in shadow: counted, never asked"
    };
    format!(
        "{} {} a {} for {whose}{shadow}",
        grouped(quota(limit)),
        limit.unit.as_str(),
        unit(limit)
    )
}

/// What all proxies let through together.
fn quota(limit: &Limit) -> u64 {
    match limit.scope {
        Scope::Fleet { quota } => quota,
        Scope::Proxy => limit.quota,
    }
}

/// The period, as rate-limit services call it; policies know no others.
fn unit(limit: &Limit) -> &'static str {
    match limit.period.as_secs() {
        1 => "second",
        60 => "minute",
        3_600 => "hour",
        _ => "day",
    }
}
