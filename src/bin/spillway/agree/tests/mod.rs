//! Each disagreement is told, with its place; what agrees is left alone.

mod failover;
mod fleet;
mod gateway;

use serde_json::Value;

use super::disagreements;
use crate::source;
use crate::variables::Variables;

const STANDALONE: &str = include_str!("../../../../../envoy/standalone.yaml");
const HEADERS_FIRST: &str = include_str!("../../../../../envoy/headers-first.yaml");
const FAILOVER: &str = include_str!("../../../../../envoy/failover.yaml");
const FLEET: &str = include_str!("../../../../../envoy/fleet.yaml");
const PRIORITY: &str = include_str!("../../../../../envoy/failover-priority.yaml");

/// A change of a configuration: the place, and what is put there; nothing takes the place away.
type Change = (String, Option<Value>);

fn variables() -> Variables {
    let mut variables = Variables::default();
    variables.assume();
    variables
}

fn changed(text: &str, changes: Vec<Change>) -> Value {
    let mut config = source::yaml(text).unwrap();
    for (place, value) in changes {
        let (parent, name) = place.rsplit_once('/').unwrap();
        let parent = config
            .pointer_mut(parent)
            .unwrap_or_else(|| panic!("there is no {place}"));
        match (parent, value) {
            (Value::Object(members), Some(value)) => drop(members.insert(name.to_owned(), value)),
            (Value::Object(members), None) => {
                drop(members.remove(name).unwrap_or_else(|| panic!("no {place}")))
            }
            (Value::Array(items), Some(value)) => items[name.parse::<usize>().unwrap()] = value,
            (Value::Array(items), None) => drop(items.remove(name.parse().unwrap())),
            (other, _) => panic!("{place}: {other}"),
        }
    }
    config
}

fn found(config: &Value) -> Vec<String> {
    let findings = disagreements(config, None, &variables()).unwrap();
    findings.iter().map(ToString::to_string).collect()
}

const LISTENER: &str = "/static_resources/listeners/0";
const CLUSTERS: &str = "/static_resources/clusters";

fn manager(rest: &str) -> String {
    format!("{LISTENER}/filter_chains/0/filters/0/typed_config{rest}")
}

fn plugin(rest: &str) -> String {
    manager(&format!("/http_filters/0/typed_config/config{rest}"))
}

fn route(at: usize, rest: &str) -> String {
    manager(&format!("/route_config/virtual_hosts/0/routes/{at}/route{rest}"))
}

/// The place of a cluster, by its name.
fn cluster(text: &str, name: &str, rest: &str) -> String {
    let config = source::yaml(text).unwrap();
    let clusters = config.pointer(CLUSTERS).unwrap().as_array().unwrap();
    let at = clusters
        .iter()
        .position(|cluster| cluster["name"] == name)
        .unwrap();
    format!("{CLUSTERS}/{at}{rest}")
}

/// The module on the cluster of an order.
fn upstream(text: &str, order: &str, rest: &str) -> String {
    let options = "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    cluster(
        text,
        order,
        &format!("{options}/http_filters/0/typed_config/config{rest}"),
    )
}

/// The path that people read, of a place.
fn path(place: &str) -> String {
    let parts = place.split('/').skip(1);
    parts.fold(String::new(), |path, part| match part.parse::<usize>() {
        Ok(at) => format!("{path}[{at}]"),
        Err(_) if path.is_empty() => part.to_owned(),
        Err(_) => format!("{path}.{part}"),
    })
}

/// The one change leads to the one finding, at the change's own place.
fn tells(text: &str, place: &str, value: Option<Value>, wrong: &str) {
    let found = found(&changed(text, vec![(place.to_owned(), value)]));
    let expected = format!("{}: {wrong}", path(place));
    assert!(
        found.len() == 1 && found[0].starts_with(&expected),
        "{expected}\n{found:#?}"
    );
}

#[test]
fn what_we_ship_agrees() {
    for text in [STANDALONE, HEADERS_FIRST, FAILOVER, PRIORITY, FLEET] {
        assert_eq!(found(&source::yaml(text).unwrap()), Vec::<String>::new());
    }
}
