//! The clusters: one per provider, and one per order in which the host's router may try them.

use spillway::policy::{Policy, Provider};

use super::Job;
use super::envoy::buffer;
use super::fill::{fill, indented};
use super::yaml::scalar;
use crate::endpoint::{Endpoint, istio};
use crate::orders::{self, Order};
use crate::outside;

/// Members that several clusters have alike: written once, named where they stand again.
#[derive(Default)]
struct Shared {
    anchors: Vec<String>,
    /// Why the buffer is as large was said.
    explained: bool,
}

impl Shared {
    /// The member's definition the first time, afterwards a reference to it.
    fn member(&mut self, key: &str, anchor: &str, definition: impl FnOnce() -> String) -> String {
        if self.anchors.iter().any(|known| known == anchor) {
            return format!("{key}: *{anchor}\n");
        }
        self.anchors.push(anchor.to_owned());
        definition()
    }

    fn unthrottled(&mut self) -> String {
        let definition = || include_str!("templates/unthrottled.yaml").to_owned();
        self.member("circuit_breakers", "unthrottled", definition)
    }

    /// Where attempts change what goes through them, they need room for all of it.
    fn buffer(&mut self, job: &Job<'_>) -> String {
        if !job.is_native() {
            return String::new();
        }
        let comment = match std::mem::replace(&mut self.explained, true) {
            true => "",
            false => "# A translated answer is held until it is whole.\n",
        };
        format!("{comment}per_connection_buffer_limit_bytes: {}\n", buffer(job))
    }

    fn options(&mut self, tls: bool) -> String {
        let (anchor, protocol) = match tls {
            true => (
                "http",
                "auto_config: {http_protocol_options: {}, http2_protocol_options: {}}",
            ),
            false => ("plain", "explicit_http_config: {http_protocol_options: {}}"),
        };
        self.member("typed_extension_protocol_options", anchor, || {
            let places = [
                ("anchor", format!(" &{anchor}")),
                ("protocol", protocol.to_owned()),
            ];
            fill(include_str!("templates/options.yaml"), &places)
        })
    }

    fn attempts(&mut self, job: &Job<'_>) -> String {
        self.member("typed_extension_protocol_options", "attempts", || {
            let places = [
                ("module", scalar(&job.options.module)),
                ("variables", job.variables.clone()),
            ];
            fill(include_str!("templates/attempts.yaml"), &places)
        })
    }
}

/// The clusters of the providers and services outside whose names `takes` lets in, and of all orders: one item of a list each.
pub(super) fn clusters(job: &Job<'_>, takes: impl Fn(&str) -> bool) -> Vec<String> {
    let mut shared = Shared::default();
    let mut written: Vec<String> = sites(job)
        .into_iter()
        .filter(|site| takes(site.cluster))
        .map(|site| of_site(job, &site, &mut shared))
        .collect();
    let orders = orders::orders(job.policy);
    for (at, order) in orders.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| orders.get(before));
        let comment = comment(job, order, before);
        let cluster = match job.options.priority {
            true => priorities(job, order, &mut shared),
            false => composite(job, order, &mut shared),
        };
        written.push(comment + &cluster);
    }
    written
}

/// Somebody whom a cluster leads to.
pub(super) struct Site<'j> {
    pub(super) name: &'j str,
    pub(super) cluster: &'j str,
    pub(super) endpoint: Endpoint,
    is_provider: bool,
}

/// The providers, those that share a cluster once, and the services outside that have a cluster of their own.
pub(super) fn sites<'j>(job: &'j Job<'_>) -> Vec<Site<'j>> {
    let providers = own(job.policy).into_iter().map(|provider| Site {
        name: &provider.name,
        cluster: &provider.cluster,
        endpoint: endpoint(job, provider),
        is_provider: true,
    });
    let outside = outside::places(job.policy).into_iter().map(|place| Site {
        name: place.name,
        cluster: place.cluster,
        endpoint: named(job, place.name)
            .cloned()
            .unwrap_or_else(|| Endpoint::of_parts(place.cluster, Some(place.authority))),
        is_provider: false,
    });
    providers.chain(outside).collect()
}

/// The providers, those that share a cluster once.
pub(super) fn own(policy: &Policy) -> Vec<&Provider> {
    let mut own: Vec<&Provider> = Vec::new();
    for provider in &policy.providers {
        if !own.iter().any(|known| known.cluster == provider.cluster) {
            own.push(provider);
        }
    }
    own
}

/// The names of providers that have the same cluster, in pairs.
pub(super) fn shared(policy: &Policy) -> Vec<(&str, &str)> {
    let pair = |(at, provider): (usize, &'_ Provider)| {
        let earlier = policy.providers.get(..at)?;
        let first = earlier.iter().find(|known| known.cluster == provider.cluster)?;
        policy
            .providers
            .get(at)
            .map(|second| (first.name.as_str(), second.name.as_str()))
    };
    policy.providers.iter().enumerate().filter_map(pair).collect()
}

/// Addresses that the policy doesn't tell.
pub(super) fn guesses(job: &Job<'_>) -> Vec<String> {
    let unknown = |provider: &&&Provider| {
        let told = provider.authority.is_some() || istio(&provider.cluster).is_some();
        !told && given(job, provider).is_none()
    };
    let told = |provider: &&Provider| {
        let Endpoint { host, port, tls } = Endpoint::of(provider);
        let scheme = if tls { "https" } else { "http" };
        let name = &provider.name;
        format!(
            "provider {name} has no authority, so {scheme}://{host}:{port} is written; --endpoint {name}=URL says better"
        )
    };
    own(job.policy).iter().filter(unknown).map(told).collect()
}

fn given<'j>(job: &'j Job<'_>, provider: &Provider) -> Option<&'j Endpoint> {
    named(job, &provider.name)
}

fn named<'j>(job: &'j Job<'_>, site: &str) -> Option<&'j Endpoint> {
    let mut endpoints = job.options.endpoints.iter();
    endpoints
        .find(|(name, _)| name == site)
        .map(|(_, endpoint)| endpoint)
}

pub(super) fn endpoint(job: &Job<'_>, provider: &Provider) -> Endpoint {
    given(job, provider)
        .cloned()
        .unwrap_or_else(|| Endpoint::of(provider))
}

fn of_site(job: &Job<'_>, site: &Site<'_>, shared: &mut Shared) -> String {
    let endpoint = &site.endpoint;
    let (kind, family) = match (endpoint.is_address(), endpoint.tls) {
        (true, _) => ("STATIC", ""),
        // Public APIs answer with some of very many addresses; a service of ours with all of them.
        (false, true) => ("LOGICAL_DNS", "dns_lookup_family: V4_PREFERRED\n"),
        (false, false) => ("STRICT_DNS", "dns_lookup_family: V4_PREFERRED\n"),
    };
    let metadata = match site.is_provider && job.is_native() && !job.options.priority {
        true => fill(
            include_str!("templates/metadata.yaml"),
            &[("provider", scalar(site.name))],
        ),
        false => String::new(),
    };
    fill(
        include_str!("templates/cluster.yaml"),
        &[
            ("name", scalar(site.cluster)),
            ("type", kind.to_owned()),
            ("family", family.to_owned()),
            ("buffer", shared.buffer(job)),
            ("breakers", shared.unthrottled()),
            ("options", shared.options(endpoint.tls)),
            ("tls", tls(job, site.name, endpoint)),
            ("host", scalar(&endpoint.host)),
            ("port", endpoint.port.to_string()),
            ("metadata", metadata),
        ],
    )
}

fn tls(job: &Job<'_>, name: &str, endpoint: &Endpoint) -> String {
    if !endpoint.tls {
        return String::new();
    }
    let host = scalar(&endpoint.host);
    let (sni, san) = match endpoint.is_address() {
        true => (String::new(), "IP_ADDRESS"),
        false => (format!("sni: {host}\n"), "DNS"),
    };
    let anchor = match job.options.priority {
        true => format!(" &tls-{name}"),
        false => String::new(),
    };
    let places = [
        ("anchor", anchor),
        ("sni", sni),
        ("san", san.to_owned()),
        ("host", host),
    ];
    fill(include_str!("templates/tls.yaml"), &places)
}

const SEVERAL: &str = "\
# One for each order in which the policy's chains may be tried: attempt n goes to the n-th of its clusters.
";
const SEVERAL_PRIORITIES: &str = "\
# One for each order in which the policy's chains may be tried: attempt n goes to the n-th priority.
";
const ALONE: &str = "\
# Nobody else is left: the same provider again, as often as the policy has attempts.
";

/// What is said before the first cluster of a kind.
fn comment(job: &Job<'_>, order: &Order, before: Option<&Order>) -> String {
    let alone = Order::repeats;
    if before.is_some_and(|before| alone(before) == alone(order)) {
        return String::new();
    }
    let comment = match (alone(order), job.options.priority) {
        (true, _) => ALONE,
        (false, true) => SEVERAL_PRIORITIES,
        (false, false) => SEVERAL,
    };
    comment.to_owned()
}

fn composite(job: &Job<'_>, order: &Order, shared: &mut Shared) -> String {
    let tries = order.tries(job.policy).into_iter();
    let tries: Vec<String> = tries
        .map(|p| format!("{{name: {}}}", scalar(&p.cluster)))
        .collect();
    fill(
        include_str!("templates/composite.yaml"),
        &[
            ("name", scalar(&order.name(job.policy))),
            ("tries", tries.join(", ")),
            ("buffer", shared.buffer(job)),
            ("breakers", breakers(order, shared)),
            ("attempts", shared.attempts(job)),
        ],
    )
}

/// A first move to another provider is bounded by that provider's own limits; repeats by a budget.
fn breakers(order: &Order, shared: &mut Shared) -> String {
    if !order.repeats() {
        return shared.unthrottled();
    }
    let percent = percent(order.budget);
    let least = if order.budget > 0.0 { "3" } else { "0" };
    let anchor = format!("repeats-{percent}");
    shared.member("circuit_breakers", &anchor, || {
        let places = [
            ("anchor", format!(" &{anchor}")),
            ("percent", percent.clone()),
            ("least", least.to_owned()),
        ];
        fill(include_str!("templates/budget.yaml"), &places)
    })
}

/// Hundredths of a percent are as exact as anybody counts.
fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn priorities(job: &Job<'_>, order: &Order, shared: &mut Shared) -> String {
    // A provider that stands there twice is one priority: the attempt's number tells which of its models it is for.
    let mut places: Vec<&Provider> = Vec::new();
    for provider in order.places(job.policy) {
        if !places.iter().any(|known| known.name == provider.name) {
            places.push(provider);
        }
    }
    fill(
        include_str!("templates/priorities.yaml"),
        &[
            ("name", scalar(&order.name(job.policy))),
            ("buffer", shared.buffer(job)),
            ("breakers", breakers(order, shared)),
            ("attempts", shared.attempts(job)),
            ("matches", matches(job, &places)),
            ("endpoints", prioritized(job, &places)),
        ],
    )
}

fn matches(job: &Job<'_>, places: &[&Provider]) -> String {
    let encrypted = places.iter().filter(|provider| endpoint(job, provider).tls);
    let lines: Vec<String> = encrypted
        .map(|provider| {
            let name = scalar(&provider.name);
            format!(
                "- {{name: {name}, match: {{provider: {name}}}, transport_socket: *tls-{}}}",
                provider.name
            )
        })
        .collect();
    match lines.is_empty() {
        true => String::new(),
        false => "transport_socket_matches:\n".to_owned() + &indented(&lines.join("\n"), "  "),
    }
}

fn prioritized(job: &Job<'_>, places: &[&Provider]) -> String {
    let priority = |(at, provider): (usize, &&Provider)| {
        let endpoint = endpoint(job, provider);
        fill(
            include_str!("templates/priority.yaml"),
            &[
                ("priority", at.to_string()),
                ("provider", scalar(&provider.name)),
                ("host", scalar(&endpoint.host)),
                ("port", endpoint.port.to_string()),
            ],
        )
    };
    places.iter().enumerate().map(priority).collect()
}
