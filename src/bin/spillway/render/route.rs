//! The route that leads to providers: how long it waits, and what the host's router repeats.

use core::time::Duration;

use spillway::failover::waits_name;
use spillway::policy::{Failover, ModelRoute, Policy, Via};

use super::Job;
use super::fill::fill;
use crate::orders;

/// The route's members.
pub(super) fn route(job: &Job<'_>) -> String {
    let (timeouts, retry) = match job.is_native() {
        true => ("; Spillway sets each request's own", native_retry(job)),
        false => ("", include_str!("templates/retry.yaml").to_owned()),
    };
    fill(
        include_str!("templates/route.yaml"),
        &[
            ("timeouts", timeouts.to_owned()),
            ("idle", seconds(idle(job.policy))),
            ("retry", retry),
        ],
    )
}

/// The routes by which a single provider is asked again, one for each kind of waits; none where nothing fails over by the
/// router. The last takes whatever the others don't.
pub(super) fn repeats(job: &Job<'_>) -> Vec<String> {
    let kinds = waits(job.policy);
    let several = kinds.len() > 1;
    let last = kinds.len().saturating_sub(1);
    let route = |(at, rules): (usize, &&Failover)| {
        let name = waits_name(rules);
        let (suffix, matches) = match several && at < last {
            true => (format!("-{name}"), format!("string_match: {{exact: \"{name}\"}}")),
            false => (String::new(), "present_match: true".to_owned()),
        };
        repeat(job, rules, (format!("repeat{suffix}"), matches))
    };
    kinds.iter().enumerate().map(route).collect()
}

fn repeat(job: &Job<'_>, rules: &Failover, (name, matches): (String, String)) -> String {
    let wait = rules.retry_after_max;
    let rate_limited = match wait.is_zero() {
        true => String::new(),
        false => fill(
            include_str!("templates/rate-limited.yaml"),
            &[("wait", seconds(wait))],
        ),
    };
    fill(
        include_str!("templates/repeat.yaml"),
        &[
            ("name", name),
            ("match", matches),
            ("idle", seconds(idle(job.policy))),
            ("base", seconds(rules.backoff.base)),
            ("max", seconds(rules.backoff.max)),
            ("rate_limited", rate_limited),
        ],
    )
}

fn native_retry(job: &Job<'_>) -> String {
    let retry_priority = match job.options.priority {
        true => include_str!("templates/retry-priority.yaml"),
        false => "",
    };
    fill(
        include_str!("templates/retry-native.yaml"),
        &[("retry_priority", retry_priority.to_owned())],
    )
}

/// The sections of the native entries whose waits between repeats differ, each kind once; the policy's common kind last, if
/// it is among them.
pub(crate) fn waits(policy: &Policy) -> Vec<&Failover> {
    let mut kinds: Vec<&Failover> = Vec::new();
    for rules in orders::native(policy).map(|route| &route.failover) {
        if !kinds.iter().any(|other| waits_name(other) == waits_name(rules)) {
            kinds.push(rules);
        }
    }
    let common = waits_name(&policy.failover);
    kinds.sort_by_key(|rules| waits_name(rules) == common);
    kinds
}

/// What Envoys without composite clusters don't survive: an answer that is sent on after its headers.
pub(super) fn crashes(policy: &Policy) -> Vec<String> {
    orders::native(policy)
        .filter(|route| route.failover.on.stream_error || route.failover.on.first_token)
        .map(|route| {
            format!(
                "{}: failover.retry_on has stream_error or first_token, of which Envoy before 1.37 crashes; name the others",
                route.name
            )
        })
        .collect()
}

/// No one waits in silence for less than this.
pub(super) const LEAST_IDLE: Duration = Duration::from_secs(600);
/// A long answer, for which the outermost bound must leave time.
const LONG_ANSWER: u64 = 16_384;
/// The context of a model that has none in the policy.
const USUAL_CONTEXT: u64 = 128_000;

/// How long nothing may move: longer than the policy waits for any answer, each attempt after the other in silence.
pub(super) fn idle(policy: &Policy) -> Duration {
    let routes = policy.models.iter().chain(&policy.any_model);
    let waits = routes
        .filter(|route| route.failover.via != Via::None)
        .map(|route| longest(policy, route));
    let longest = waits.max().unwrap_or_default();
    let minutes = longest.as_secs().div_ceil(60).saturating_mul(60);
    LEAST_IDLE.max(Duration::from_secs(minutes))
}

fn longest(policy: &Policy, route: &ModelRoute) -> Duration {
    let models = route
        .chain
        .iter()
        .filter_map(|hop| policy.providers.get(hop.provider)?.models.get(hop.model));
    let context = models.map(|model| model.context.unwrap_or(USUAL_CONTEXT)).max();
    let whole = route.failover.timeouts.whole;
    whole
        .of(context.unwrap_or(USUAL_CONTEXT), LONG_ANSWER)
        .saturating_mul(route.failover.attempts)
}

/// As a protobuf duration in JSON: `0.25s`.
pub(crate) fn seconds(span: Duration) -> String {
    let whole = span.as_secs();
    match span.subsec_nanos() {
        0 => format!("{whole}s"),
        nanos => {
            let digits = format!("{nanos:09}");
            format!("{whole}.{}s", digits.trim_end_matches('0'))
        }
    }
}
