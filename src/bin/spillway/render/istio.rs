//! Manifests for an Istio mesh.
//!
//! A WasmPlugin (or TrafficExtension) where that can do what the policy asks for; an EnvoyFilter where it can't, because
//! headers wait for the body or the router fails over. Providers whose cluster has Istio's own name get a ServiceEntry and
//! a DestinationRule; other clusters are added by the EnvoyFilter.

use spillway::policy::Provider;

use super::Job;
use super::cluster::{self, Site};
use super::embed::embed;
use super::envoy::{STATS, buffer, head, plugin, size};
use super::fill::fill;
use super::fleet;
use super::mesh::Place;
use super::route::{repeats, route};
use super::virtual_host;
use super::yaml::scalar;
use crate::endpoint::{is_public, istio};

/// All manifests, as documents of one stream.
///
/// # Errors
/// The policy asks for what no manifest can give.
pub(super) fn manifests(job: &Job<'_>) -> Result<String, String> {
    job.options.mesh.fits()?;
    fits(job)?;
    let embedded = embed(job.policy_text, job.document);
    let mut documents = Vec::new();
    if !job.policy.host.body_pause {
        documents.push(wasm_plugin(job, &embedded.block));
    }
    if !job.options.mesh.plain {
        documents.push(envoy_filter(job, &embedded.block));
    }
    documents.extend(virtual_host::documents(job));
    for site in cluster::sites(job) {
        documents.extend(service(job, &site));
    }
    documents.extend(metrics(job));
    let head = head(job, &embedded.head, job.options.mesh.place.title(), &needs(job));
    Ok(format!("{head}\n\n{}", documents.join("---\n")))
}

fn needs(job: &Job<'_>) -> String {
    let version = match (
        job.options.mesh.extension,
        job.is_native() && !job.options.priority,
    ) {
        (true, _) => "1.30",
        // Envoy 1.37: composite clusters.
        (false, true) => "1.29",
        (false, false) => "1.27",
    };
    let module = match job.options.module.contains("://") {
        true => "",
        false => "the module and ",
    };
    let gateway = match job.options.mesh.place {
        Place::Gateway => ", and a Gateway of the name that is below",
        Place::Sidecar | Place::Waypoint => "",
    };
    format!(
        "Needs Istio {version} or newer, {module}the secrets in the proxy's container{gateway}.\n\
         See envoy/istio/README.md."
    )
}

fn fits(job: &Job<'_>) -> Result<(), String> {
    let policy = job.policy;
    let named = |provider: &&Provider| istio(&provider.cluster).is_some();
    if let Some(provider) = policy.providers.iter().find(named).filter(|_| job.is_native()) {
        return Err(format!(
            "provider {}: Istio's own clusters say of no endpoint whose it is, which failover.via: native needs; name a \
             cluster that isn't Istio's, and it is written here",
            provider.name
        ));
    }
    if job.options.mesh.plain {
        fits_plain(job)?;
    }
    match policy.host.body_pause && job.options.module.contains("://") {
        true => Err(
            "--module: where host.body_pause is true the module is a file of the proxy's container, not a URL"
                .to_owned(),
        ),
        false => Ok(()),
    }
}

fn fits_plain(job: &Job<'_>) -> Result<(), String> {
    if job.policy.host.body_pause {
        return Err(
            "--plain: host.body_pause needs allow_on_headers_stop_iteration, which only an EnvoyFilter sets"
                .to_owned(),
        );
    }
    if fleet::is_there(job.policy) {
        return Err(
            "--plain: limits with scope: fleet need Envoy's rate-limit filter, which only an EnvoyFilter adds"
                .to_owned(),
        );
    }
    let foreign = |provider: &&Provider| istio(&provider.cluster).is_none();
    match job.policy.providers.iter().find(foreign) {
        Some(provider) => Err(format!(
            "--plain: provider {}: its cluster must be one of Istio's, such as outbound|80||{}",
            provider.name,
            cluster::endpoint(job, provider).host
        )),
        None => Ok(()),
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
    let places = [("url", scalar(&url)), ("env", env), ("policy", policy.to_owned())];
    let wasm = fill(include_str!("templates/wasm.yaml"), &places);
    let mesh = &job.options.mesh;
    let template = match mesh.extension {
        true => include_str!("templates/traffic-extension.yaml"),
        false => include_str!("templates/wasm-plugin.yaml"),
    };
    let places = [
        ("namespace", scalar(mesh.namespace())),
        ("target", mesh.target()),
        ("wasm", wasm),
    ];
    fill(template, &places)
}

fn envoy_filter(job: &Job<'_>, policy: &str) -> String {
    let mesh = &job.options.mesh;
    let mut patches = Vec::new();
    if job.policy.host.body_pause {
        let places = [
            ("context", mesh.context().to_owned()),
            ("plugin", plugin(job, policy)),
        ];
        patches.push(fill(include_str!("templates/patch-filter.yaml"), &places));
    }
    patches.extend(rate_limits(job));
    patches.push(listener(job));
    patches.extend(routes(job));
    patches.extend(clusters(job));
    fill(
        include_str!("templates/envoy-filter.yaml"),
        &[
            ("namespace", scalar(mesh.namespace())),
            ("label", mesh.label().unwrap_or_default()),
            ("patches", patches.concat()),
        ],
    )
}

/// Each is put right before the router: this one after Spillway.
fn rate_limits(job: &Job<'_>) -> Option<String> {
    let filter = unlisted(&fleet::filter(job.policy));
    let places = [
        ("context", job.options.mesh.context().to_owned()),
        ("filter", filter),
    ];
    fleet::is_there(job.policy).then(|| fill(include_str!("templates/patch-rate-limits.yaml"), &places))
}

fn listener(job: &Job<'_>) -> String {
    let bounds = job.policy.bounds;
    fill(
        include_str!("templates/patch-listener.yaml"),
        &[
            ("context", job.options.mesh.context().to_owned()),
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
    let strip = virtual_host::strip("request_headers_to_remove") + &fleet::rate_limits(job.policy);
    let places = [("strip", strip.clone()), ("route", route(job))];
    let provider = fill(include_str!("templates/istio-route.yaml"), &places);
    let mut patches = vec![patch_route(job, CHOSEN, provider)];
    for repeat in repeats(job).into_iter().rev() {
        let (comments, entry): (Vec<_>, Vec<_>) = repeat
            .lines()
            .map(|line| line.to_owned() + "\n")
            .partition(|line| line.starts_with('#'));
        patches.push(patch_route(
            job,
            &comments.concat(),
            unlisted(&entry.concat()) + &strip,
        ));
    }
    patches
}

fn patch_route(job: &Job<'_>, comment: &str, route: String) -> String {
    let places = [
        ("context", job.options.mesh.context().to_owned()),
        ("comment", comment.to_owned()),
        ("route", route),
    ];
    fill(include_str!("templates/patch-route.yaml"), &places)
}

fn clusters(job: &Job<'_>) -> Vec<String> {
    let patch = |item: String| {
        let context = job.options.mesh.context().to_owned();
        let places = [("context", context), ("cluster", unlisted(&item))];
        fill(include_str!("templates/patch-cluster.yaml"), &places)
    };
    let own = |name: &str| istio(name).is_none();
    let service = fleet::cluster(job).filter(|_| own(&job.policy.fleet.cluster));
    let all = cluster::clusters(job, own).into_iter().chain(service);
    all.map(patch).collect()
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
    // A port of its own for TLS: in a sidecar, HTTP on 443 would be in the way of everybody's TLS.
    let target = match site.endpoint.tls && site.endpoint.port != port {
        true => format!(", targetPort: {}", site.endpoint.port),
        false => String::new(),
    };
    let places = [
        ("name", scalar(&format!("spillway-{name}"))),
        ("namespace", scalar(job.options.mesh.namespace())),
        ("host", scalar(host)),
        ("port", port.to_string()),
        ("target", target),
        ("tls", tls),
    ];
    let entry = is_public(host).then(|| fill(include_str!("templates/service-entry.yaml"), &places));
    let rule = fill(include_str!("templates/destination-rule.yaml"), &places);
    entry.into_iter().chain([rule]).collect()
}

/// A part of the bootstrap of pods that are written or injected; a waypoint's isn't.
fn metrics(job: &Job<'_>) -> Option<String> {
    let mesh = &job.options.mesh;
    let places = [
        ("namespace", scalar(mesh.namespace())),
        ("stats", STATS.to_owned()),
    ];
    let map = || fill(include_str!("templates/metrics.yaml"), &places);
    (mesh.place != Place::Waypoint).then(map)
}
