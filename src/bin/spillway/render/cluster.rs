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
        let anchor = if tls { "http" } else { "plain" };
        self.member("typed_extension_protocol_options", anchor, || {
            let places = [
                ("anchor", format!(" &{anchor}")),
                ("protocol", protocol(tls).to_owned()),
            ];
            fill(include_str!("templates/options.yaml"), &places)
        })
    }

    /// Options of a cluster whose attempts run the module; `tls` says how its own connections are made, if it has any.
    fn attempts(&mut self, job: &Job<'_>, tls: bool) -> String {
        let anchor = if tls { "attempts-tls" } else { "attempts" };
        let key = "typed_extension_protocol_options";
        if self.anchors.iter().any(|known| known == anchor) {
            return self.member(key, anchor, String::new);
        }
        let filters = self.member("http_filters", "attempt", || {
            let places = [
                ("module", scalar(&job.options.module)),
                ("variables", job.variables.clone()),
            ];
            fill(include_str!("templates/attempt.yaml"), &places)
        });
        self.member(key, anchor, || {
            let places = [
                ("anchor", anchor.to_owned()),
                ("protocol", protocol(tls).to_owned()),
                ("filters", filters),
            ];
            fill(include_str!("templates/attempts.yaml"), &places)
        })
    }
}

/// Which protocols a cluster speaks: what TLS agrees on, or the plain one that everybody does.
fn protocol(tls: bool) -> &'static str {
    match tls {
        true => "auto_config: {http_protocol_options: {}, http2_protocol_options: {}}",
        false => "explicit_http_config: {http_protocol_options: {}}",
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
        let cluster = match (job.options.priority, order.places(job.policy).next()) {
            (true, _) => priorities(job, order, &mut shared),
            (false, Some(provider)) if order.repeats() => repeats(job, (order, provider), &mut shared),
            (false, _) => composite(job, order, &mut shared),
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
    let providers = own(job.policy)
        .into_iter()
        .map(|provider| of_provider(job, provider));
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

fn of_provider<'j>(job: &Job<'_>, provider: &'j Provider) -> Site<'j> {
    Site {
        name: &provider.name,
        cluster: &provider.cluster,
        endpoint: endpoint(job, provider),
        is_provider: true,
    }
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
    let parts = Parts {
        name: site.cluster.to_owned(),
        breakers: shared.unthrottled(),
        options: shared.options(site.endpoint.tls),
        tls: tls(job, site.name, &site.endpoint),
    };
    cluster(job, site, parts, shared)
}

/// A cluster of its own, so that its budget works: requests through a composite are counted in the provider's cluster
/// alone, and a share of none is none (tried on Envoy 1.37 and 1.40).
fn repeats(job: &Job<'_>, (order, provider): (&Order, &Provider), shared: &mut Shared) -> String {
    let site = of_provider(job, provider);
    let tls = match site.endpoint.tls {
        true => format!("transport_socket: *tls-{}\n", provider.name),
        false => String::new(),
    };
    let parts = Parts {
        name: order.name(job.policy),
        breakers: breakers(order, shared),
        options: shared.attempts(job, site.endpoint.tls),
        tls,
    };
    cluster(job, &site, parts, shared)
}

/// In what clusters with one endpoint differ.
struct Parts {
    name: String,
    breakers: String,
    options: String,
    tls: String,
}

fn cluster(job: &Job<'_>, site: &Site<'_>, parts: Parts, shared: &mut Shared) -> String {
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
            ("name", scalar(&parts.name)),
            ("type", kind.to_owned()),
            ("family", family.to_owned()),
            ("buffer", shared.buffer(job)),
            ("breakers", parts.breakers),
            ("options", parts.options),
            ("tls", parts.tls),
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
    let anchor = match job.is_native() {
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
const ALONE_PRIORITY: &str = "\
# Nobody else is left: the same provider again, as often as the policy has attempts.
";
const ALONE: &str = "\
# Nobody else is left: the same provider again, as often as the policy has attempts. A cluster of its own, because a
# composite's retry budget sees none of the requests in flight.
";

/// What is said before the first cluster of a kind.
fn comment(job: &Job<'_>, order: &Order, before: Option<&Order>) -> String {
    let alone = Order::repeats;
    if before.is_some_and(|before| alone(before) == alone(order)) {
        return String::new();
    }
    let comment = match (alone(order), job.options.priority) {
        (true, true) => ALONE_PRIORITY,
        (true, false) => ALONE,
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
            ("attempts", shared.attempts(job, false)),
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
            ("attempts", shared.attempts(job, false)),
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
