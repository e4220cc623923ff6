//! The clusters of providers: there, and reached so that nobody listens.

use super::plugin::Plugin;
use super::tree::Node;
use super::{Findings, Site};
use crate::endpoint::is_public;
use crate::orders;
use crate::outside;

const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const TLS: &str = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";

/// The clusters that the file holds.
pub(super) struct Clusters<'a> {
    all: Vec<Node<'a>>,
    path: String,
    /// Others may come by xDS.
    pub(super) are_dynamic: bool,
}

impl<'a> Clusters<'a> {
    pub(super) fn of(root: &Node<'a>) -> Self {
        let resources = root.get("static_resources");
        Self {
            all: resources.as_ref().map(|r| r.list("clusters")).unwrap_or_default(),
            path: "static_resources.clusters".to_owned(),
            are_dynamic: root.at(&["dynamic_resources", "cds_config"]).is_some(),
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<&Node<'a>> {
        self.all.iter().find(|cluster| cluster.text("name") == name)
    }

    /// The cluster of that name; that it is missing is noted, with what needs it.
    pub(super) fn require(&self, name: &str, need: &str, findings: &mut Findings) -> Option<&Node<'a>> {
        let found = self.find(name);
        if found.is_none() && !self.are_dynamic {
            findings.note(
                self.path.clone(),
                format!("there is no cluster {name}"),
                format!("a cluster {name}, {need}"),
            );
        }
        found
    }
}

/// The HTTP options of a cluster.
pub(super) fn options<'a>(cluster: &Node<'a>) -> Option<Node<'a>> {
    cluster.at(&["typed_extension_protocol_options", OPTIONS])
}

/// The module as one of a cluster's own HTTP filters.
pub(super) fn upstream_plugin<'a>(cluster: &Node<'a>) -> Option<Plugin<'a>> {
    let filters = options(cluster)?.list("http_filters");
    filters.iter().find_map(Plugin::of)
}

/// Endpoints, each with its priority.
pub(super) fn endpoints<'a>(cluster: &Node<'a>) -> Vec<(u32, Node<'a>)> {
    let localities = cluster.get("load_assignment").map(|l| l.list("endpoints"));
    let of_locality = |locality: Node<'a>| {
        let priority = locality.get("priority").and_then(|p| p.number());
        let priority = priority.map_or(0, |p| format!("{p:.0}").parse().unwrap_or(u32::MAX));
        locality
            .list("lb_endpoints")
            .into_iter()
            .map(move |endpoint| (priority, endpoint))
    };
    localities
        .unwrap_or_default()
        .into_iter()
        .flat_map(of_locality)
        .collect()
}

/// Holds each provider's cluster against the policy.
pub(super) fn check(site: &Site<'_>, findings: &mut Findings) {
    for place in outside::places(site.policy) {
        let need = format!("which {} asks or posts to", place.name);
        let Some(cluster) = site.clusters.require(place.cluster, &need, findings) else {
            continue;
        };
        check_tls(site, place.name, cluster, findings);
        if let Some(plugin) = upstream_plugin(cluster) {
            findings.note(
                plugin.config.path.clone(),
                format!(
                    "cluster {} runs Spillway itself, which can't call itself",
                    place.cluster
                ),
                "no such filter here",
            );
        }
    }
    for provider in &site.policy.providers {
        let need = format!("which provider {} names", provider.name);
        let Some(cluster) = site.clusters.require(&provider.cluster, &need, findings) else {
            continue;
        };
        check_tls(site, &provider.name, cluster, findings);
        if let Some(plugin) = upstream_plugin(cluster) {
            findings.note(
                plugin.config.path.clone(),
                format!(
                    "cluster {} runs Spillway itself: attempts run it on the cluster of their order",
                    provider.cluster
                ),
                "no such filter here",
            );
        }
    }
}

/// Where the way leads out, it is encrypted, and the name at its end verified.
pub(super) fn check_tls(site: &Site<'_>, name: &str, cluster: &Node<'_>, findings: &mut Findings) {
    let addresses = endpoints(cluster);
    let mut hosts = addresses.iter().filter_map(|(_, endpoint)| {
        let address = endpoint.at(&["endpoint", "address", "socket_address"])?;
        Some(address.text("address"))
    });
    let Some(host) = hosts.find(|host| is_public(host)) else {
        return;
    };
    if cluster.get("transport_socket_matches").is_some() {
        return;
    }
    let context = cluster
        .at(&["transport_socket", "typed_config"])
        .filter(|typed| typed.kind() == TLS);
    let Some(context) = context else {
        findings.note(
            cluster.path_of("transport_socket"),
            format!("isn't TLS, and {host} is on a public network: the credential travels in the clear"),
            format!("envoy.transport_sockets.tls with sni: {host}"),
        );
        return;
    };
    check_sni(site, name, (cluster, &context, host), findings);
    check_trust((cluster, &context, host), findings);
}

fn check_sni(
    site: &Site<'_>,
    name: &str,
    (cluster, context, host): (&Node<'_>, &Node<'_>, &str),
    findings: &mut Findings,
) {
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    // Where attempts go by the cluster of an order, its options count, and the name would be the client's.
    let relayed = orders::orders(site.policy)
        .iter()
        .any(|order| order.places(site.policy).any(|place| place.name == name));
    let automatic = !relayed && is_automatic(cluster, "auto_sni") || context.flag("auto_host_sni");
    if context.text("sni").is_empty() && !is_address && !automatic {
        findings.note(
            context.path_of("sni"),
            "isn't set: the provider can't tell which certificate to show",
            host,
        );
    }
}

fn is_automatic(cluster: &Node<'_>, name: &str) -> bool {
    let options = options(cluster).and_then(|options| options.get("upstream_http_protocol_options"));
    options.is_some_and(|options| options.flag(name))
}

fn check_trust((cluster, context, host): (&Node<'_>, &Node<'_>, &str), findings: &mut Findings) {
    let path = context.path_of("common_tls_context.validation_context");
    let common = context.get("common_tls_context");
    let has = |name: &str| common.as_ref().and_then(|common| common.get(name));
    let remote = [
        "validation_context_sds_secret_config",
        "combined_validation_context",
    ];
    if remote.iter().any(|name| has(name).is_some()) {
        return;
    }
    let context_of = has("validation_context");
    let within = |name: &str| {
        context_of
            .as_ref()
            .is_some_and(|context| context.get(name).is_some())
    };
    let roots = [
        "trusted_ca",
        "system_root_certs",
        "ca_certificate_provider_instance",
    ];
    if !roots.iter().any(|name| within(name)) {
        findings.note(
            path,
            "trusts no authority: any certificate is taken",
            "trusted_ca: {filename: /etc/ssl/certs/ca-certificates.crt}",
        );
        return;
    }
    let names = ["match_typed_subject_alt_names", "match_subject_alt_names"];
    let automatic = is_automatic(cluster, "auto_san_validation") || context.flag("auto_sni_san_validation");
    if !names.iter().any(|name| within(name)) && !automatic {
        findings.note(
            format!("{path}.match_typed_subject_alt_names"),
            "isn't set: anybody's certificate is taken",
            format!("[{{san_type: DNS, matcher: {{exact: {host}}}}}]"),
        );
    }
}
