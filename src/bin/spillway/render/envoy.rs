//! A static bootstrap that runs as it is.

use super::Job;
use super::cluster::clusters;
use super::embed::embed;
use super::fill::fill;
use super::fleet;
use super::route::{LEAST_IDLE, idle, repeats, route, seconds};
use super::yaml::scalar;

/// The whole file.
pub(super) fn bootstrap(job: &Job<'_>) -> String {
    let embedded = embed(job.policy_text, job.document);
    let bounds = job.policy.bounds;
    let needs = format!("Needs Envoy {} or newer.", version(job));
    fill(
        include_str!("templates/envoy.yaml"),
        &[
            (
                "head",
                head(job, &embedded.head, "Spillway in an Envoy of its own.", &needs),
            ),
            ("address", scalar(&job.options.address)),
            ("port", job.options.port.to_string()),
            ("request_bound", size(bounds.request_body)),
            ("answer_bound", size(bounds.response_body)),
            ("buffer", buffer(job).to_string()),
            ("silence", silence(job).to_owned()),
            ("idle", seconds(idle(job.policy))),
            ("plugin", plugin(job, &embedded.block)),
            ("fleet", fleet::filter(job.policy)),
            ("rate_limits", fleet::rate_limits(job.policy)),
            ("repeat", repeats(job).concat()),
            ("route", route(job)),
            ("clusters", all_clusters(job).join("\n")),
            ("stats", STATS.to_owned()),
        ],
    )
}

/// What makes labels of the segments of metrics' names, and OpenTelemetry's buckets.
pub(super) const STATS: &str = include_str!("templates/stats.yaml");

fn all_clusters(job: &Job<'_>) -> Vec<String> {
    let mut all = clusters(job, |_| true);
    all.extend(fleet::cluster(job));
    all
}

/// What the policy's own first comment says (`usual` without one), and how the file came to be.
pub(super) fn head(job: &Job<'_>, own: &[String], usual: &str, needs: &str) -> String {
    let mut lines = own.to_vec();
    if lines.is_empty() {
        lines.push(format!(" {usual}"));
    }
    lines.extend([
        String::new(),
        " Written from its policy; to change it, change that and write it again:".to_owned(),
        String::new(),
        format!("   {}", job.options.command),
        String::new(),
    ]);
    lines.extend(needs.lines().map(|line| format!(" {line}")));
    lines.push(" envoy/README.md explains every part.".to_owned());
    let lines: Vec<String> = lines.into_iter().map(|line| format!("#{line}")).collect();
    lines.join("\n")
}

/// What the bound of silence is about.
fn silence(job: &Job<'_>) -> &'static str {
    match idle(job.policy) > LEAST_IDLE {
        true => "where the policy fails over, each request has a shorter bound of its own",
        false => "a model may think for minutes before its first token",
    }
}

/// The oldest Envoy that has all that is used.
fn version(job: &Job<'_>) -> &'static str {
    match (job.is_native(), job.options.priority) {
        // Composite clusters with HTTP filters of their own.
        (true, false) => "1.37",
        // allow_on_headers_stop_iteration.
        (true, true) | (false, _) => "1.35",
    }
}

/// The gateway role's plugin: `config` of the filter.
pub(super) fn plugin(job: &Job<'_>, policy: &str) -> String {
    let flag = match job.policy.host.body_pause {
        true => include_str!("templates/flag.yaml"),
        false => "",
    };
    let anchor = if job.is_native() { " &policy" } else { "" };
    fill(
        include_str!("templates/plugin.yaml"),
        &[
            ("flag", flag.to_owned()),
            ("hash_key", fleet::hash_key(job.policy).to_owned()),
            ("module", scalar(&job.options.module)),
            ("variables", job.variables.clone()),
            ("anchor", anchor.to_owned()),
            ("policy", policy.to_owned()),
        ],
    )
}

/// Above the larger bound by a quarter, and a power of two.
pub(super) fn buffer(job: &Job<'_>) -> usize {
    let bounds = job.policy.bounds;
    let larger = bounds.request_body.max(bounds.response_body);
    larger.saturating_add(larger / 4).next_power_of_two()
}

/// `10 MiB`, `1,500 bytes`.
pub(super) fn size(bytes: usize) -> String {
    match (bytes % (1 << 20), bytes % (1 << 10)) {
        (0, _) => format!("{} MiB", bytes >> 20),
        (_, 0) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}
