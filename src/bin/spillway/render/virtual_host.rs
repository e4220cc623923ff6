//! What clients call, and where it leads, in the mesh's own words: a VirtualService, or for a waypoint an HTTPRoute.

use spillway::policy::Provider;

use super::Job;
use super::cluster;
use super::fill::fill;
use super::mesh::Place;
use super::yaml::scalar;
use crate::endpoint::istio;

/// Headers that no provider gets: ours, and what would tell one who asked. Sixteen at most, for an HTTPRoute.
const STRIPPED: [&str; 13] = [
    "x-spillway-cluster",
    "x-spillway-repeats",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-client-cert",
    "x-request-id",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-external-address",
    "x-envoy-internal",
    "x-envoy-peer-metadata",
    "x-envoy-peer-metadata-id",
];

/// The list under `key`.
pub(super) fn strip(key: &str) -> String {
    let items: String = STRIPPED.iter().map(|name| format!("  - {name}\n")).collect();
    format!("{key}:\n{items}")
}

/// The host, its routes, and where it has to be made known its ServiceEntry.
pub(super) fn documents(job: &Job<'_>) -> Vec<String> {
    match job.options.mesh.place {
        Place::Gateway => vec![virtual_service(job)],
        Place::Sidecar => vec![called(job, ""), virtual_service(job)],
        Place::Waypoint => {
            let waypoint = scalar(job.options.mesh.waypoint());
            let label = format!(", labels: {{istio.io/use-waypoint: {waypoint}}}");
            vec![called(job, &label), http_route(job)]
        }
    }
}

fn virtual_service(job: &Job<'_>) -> String {
    let mesh = &job.options.mesh;
    let (routes, or) = match mesh.plain {
        true => (
            routes(job, include_str!("templates/virtual-route.yaml")),
            ", which names a cluster in a header",
        ),
        false => (String::new(), ": the EnvoyFilter's routes come first"),
    };
    fill(
        include_str!("templates/virtual-service.yaml"),
        &[
            ("namespace", scalar(mesh.namespace())),
            ("host", scalar(mesh.host())),
            ("gateway", scalar(mesh.gateway())),
            ("or", or.to_owned()),
            ("routes", routes),
        ],
    )
}

fn http_route(job: &Job<'_>) -> String {
    let places = [
        ("namespace", scalar(job.options.mesh.namespace())),
        ("routes", routes(job, include_str!("templates/http-rule.yaml"))),
    ];
    fill(include_str!("templates/http-route.yaml"), &places)
}

/// One for each cluster of Istio's that a provider has.
fn routes(job: &Job<'_>, template: &str) -> String {
    let route = |provider: &Provider| {
        let (host, port) = istio(&provider.cluster)?;
        let places = [
            ("name", scalar(&provider.name)),
            ("cluster", scalar(&provider.cluster)),
            ("strip", strip("remove")),
            ("host", scalar(host)),
            ("port", port.to_string()),
        ];
        Some(fill(template, &places))
    };
    cluster::own(job.policy).into_iter().filter_map(route).collect()
}

fn called(job: &Job<'_>, labels: &str) -> String {
    let mesh = &job.options.mesh;
    let address = job
        .policy
        .providers
        .first()
        .map(|first| cluster::endpoint(job, first).host);
    fill(
        include_str!("templates/called.yaml"),
        &[
            ("namespace", scalar(mesh.namespace())),
            ("labels", labels.to_owned()),
            ("host", scalar(mesh.host())),
            ("address", scalar(&address.unwrap_or_default())),
        ],
    )
}
