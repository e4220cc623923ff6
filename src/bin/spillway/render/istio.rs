//! Manifests for an Istio gateway.
//!
//! A WasmPlugin where that can do what the policy asks for; an EnvoyFilter where it can't, because headers wait for the
//! body or the router fails over. Providers whose cluster has Istio's own name get a ServiceEntry and a
//! DestinationRule; other clusters are added by the EnvoyFilter.

use spillway::policy::Provider;

use super::Job;
use super::cluster::{self, Site};
use super::embed::embed;
use super::envoy::{buffer, head, plugin, size};
use super::fill::fill;
use super::route::{repeat, route};
use super::yaml::scalar;
use crate::endpoint::{is_public, istio};

/// All manifests, as documents of one stream.
///
/// # Errors
/// The policy asks for what no manifest can give.
pub(super) fn manifests(job: &Job<'_>) -> Result<String, String> {
    fits(job)?;
    let embedded = embed(job.policy_text, job.document);
    let mut documents = Vec::new();
    if !job.policy.host.body_pause {
        documents.push(wasm_plugin(job, &embedded.block));
    }
    documents.push(envoy_filter(job, &embedded.block));
    for site in cluster::sites(job) {
        documents.extend(service(job, &site));
    }
    let head = head(job, &embedded.head, "Spillway on an Istio gateway.", NEEDS);
    Ok(format!("{head}\n\n{}", documents.join("---\n")))
}

const NEEDS: &str = "\
Needs Istio 1.27 or newer, the module and the secrets in the gateway's container, and a VirtualService that takes
the API's paths in; where they go is decided here.";

fn fits(job: &Job<'_>) -> Result<(), String> {
    let named = |provider: &&Provider| istio(&provider.cluster).is_some();
    if let Some(provider) = job
        .policy
        .providers
        .iter()
        .find(named)
        .filter(|_| job.is_native())
    {
        return Err(format!(
            "provider {}: Istio's own clusters say of no endpoint whose it is, which failover.via: native needs; name a \
             cluster that isn't Istio's, and it is written here",
            provider.name
        ));
    }
    match job.policy.host.body_pause && job.options.module.contains("://") {
        true => Err(
            "--module: where host.body_pause is true the module is a file of the gateway's container, not a URL"
                .to_owned(),
        ),
        false => Ok(()),
    }
}

fn wasm_plugin(job: &Job<'_>, policy: &str) -> String {
    let module = &job.options.module;
    let url = match module.contains("://") {
        true => module.clone(),
        false => format!("file://{module}"),
    };
    let env: String = job
        .variables
        .split(", ")
        .map(|name| format!("- {{name: {name}, valueFrom: HOST}}\n"))
        .collect();
    fill(
        include_str!("templates/wasm-plugin.yaml"),
        &[
            ("namespace", scalar(&job.options.namespace)),
            ("url", scalar(&url)),
            ("env", env),
            ("policy", policy.to_owned()),
        ],
    )
}

fn envoy_filter(job: &Job<'_>, policy: &str) -> String {
    let mut patches = Vec::new();
    if job.policy.host.body_pause {
        let places = [("plugin", plugin(job, policy))];
        patches.push(fill(include_str!("templates/patch-filter.yaml"), &places));
    }
    patches.push(listener(job));
    patches.extend(routes(job));
    patches.extend(clusters(job));
    fill(
        include_str!("templates/envoy-filter.yaml"),
        &[
            ("namespace", scalar(&job.options.namespace)),
            ("patches", patches.concat()),
        ],
    )
}

fn listener(job: &Job<'_>) -> String {
    let bounds = job.policy.bounds;
    fill(
        include_str!("templates/patch-listener.yaml"),
        &[
            ("request_bound", size(bounds.request_body)),
            ("answer_bound", size(bounds.response_body)),
            ("buffer", buffer(job).to_string()),
        ],
    )
}

const CHOSEN: &str = "\
# Spillway has chosen. It drops what clients send under that name, and it may have changed the path for the provider, so
# the header alone decides.
";

/// Each is put before those that are there: the last one written is looked at first.
fn routes(job: &Job<'_>) -> Vec<String> {
    let provider = fill(
        include_str!("templates/istio-route.yaml"),
        &[("route", route(job))],
    );
    let mut patches = vec![patch_route(CHOSEN, provider)];
    if job.is_native() {
        let (comments, entry): (Vec<_>, Vec<_>) = repeat(job)
            .lines()
            .map(|line| line.to_owned() + "\n")
            .partition(|line| line.starts_with('#'));
        let strip = "request_headers_to_remove: [x-spillway-cluster, x-spillway-repeats]\n";
        patches.push(patch_route(&comments.concat(), unlisted(&entry.concat()) + strip));
    }
    patches
}

fn patch_route(comment: &str, route: String) -> String {
    let places = [("comment", comment.to_owned()), ("route", route)];
    fill(include_str!("templates/patch-route.yaml"), &places)
}

fn clusters(job: &Job<'_>) -> Vec<String> {
    let patch = |item: String| {
        let places = [("cluster", unlisted(&item))];
        fill(include_str!("templates/patch-cluster.yaml"), &places)
    };
    let own = |name: &str| istio(name).is_none();
    cluster::clusters(job, own).into_iter().map(patch).collect()
}

/// A list's item as the map that it is.
fn unlisted(item: &str) -> String {
    let line = |line: &str| {
        let within = line.strip_prefix("- ").or_else(|| line.strip_prefix("  "));
        within.unwrap_or(line).to_owned() + "\n"
    };
    item.lines().map(line).collect()
}

/// What makes Istio's own cluster of a provider, as far as it isn't there: services of the mesh are.
fn service(job: &Job<'_>, site: &Site<'_>) -> Vec<String> {
    let Some((host, port)) = istio(site.cluster) else {
        return Vec::new();
    };
    let name = site.name.to_ascii_lowercase().replace(['_', '.'], "-");
    let tls = match site.endpoint.tls {
        true => {
            format!("tls: {{mode: SIMPLE, sni: {host}, subjectAltNames: [{host}], caCertificates: system}}\n")
        }
        false => String::new(),
    };
    let places = [
        ("name", scalar(&format!("spillway-{name}"))),
        ("namespace", scalar(&job.options.namespace)),
        ("host", scalar(host)),
        ("port", port.to_string()),
        ("tls", tls),
    ];
    let entry = is_public(host).then(|| fill(include_str!("templates/service-entry.yaml"), &places));
    let rule = fill(include_str!("templates/destination-rule.yaml"), &places);
    entry.into_iter().chain([rule]).collect()
}
