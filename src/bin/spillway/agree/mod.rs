//! `spillway check --envoy`: where an Envoy configuration disagrees with its policy.
//!
//! Each check is about something that Envoy accepts and that goes wrong later: a hang, a 503 for ever, an answer cut off, a
//! failover that never happens, a credential that doesn't arrive. Its invariant: what `spillway render` writes is found
//! right, and what can't be seen in the file (clusters and routes that come by xDS) isn't complained of.

mod cluster;
mod composite;
mod fleet;
mod gateway;
mod plugin;
mod route;
mod tree;

#[cfg(test)]
mod tests;

use core::fmt;

use serde_json::Value;
use spillway::policy::Policy;

use crate::source::{self, Read};
use crate::variables::Variables;

use cluster::Clusters;
use plugin::Plugin;
use tree::Node;

/// One disagreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The place in the configuration; of what is missing, where it would be.
    path: String,
    wrong: String,
    expected: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (expected: {})", self.path, self.wrong, self.expected)
    }
}

/// Collects what is found.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn note(&mut self, path: impl Into<String>, wrong: impl Into<String>, expected: impl Into<String>) {
        let finding = Finding {
            path: path.into(),
            wrong: wrong.into(),
            expected: expected.into(),
        };
        // What several aliases of one anchor have in common is told once a place, not once a check.
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }
}

/// What a configuration is held against.
struct Site<'a> {
    document: &'a Value,
    policy: &'a Policy,
    /// The variables that the policy names for its secrets.
    secrets: Vec<&'a str>,
    clusters: Clusters<'a>,
    /// The gateway role's plugin.
    gateway: Plugin<'a>,
}

/// A policy that was read, and the file it came from.
pub(crate) struct Held<'a> {
    pub(crate) name: &'a str,
    pub(crate) read: &'a Read,
}

/// Where the configuration disagrees: with the policy given, or without one with the policy that it holds itself.
///
/// # Errors
/// It can't be read, or holds no Spillway, or a policy that the module would refuse.
pub(crate) fn disagreements(
    config: &Value,
    held: Option<&Held<'_>>,
    variables: &Variables,
) -> Result<Vec<Finding>, String> {
    let root = Node::root(config);
    let gateways = gateway::all(&root);
    if gateways.is_empty() {
        return Err(
            "no HTTP filter of its listeners runs Spillway (one named spillway, or with a policy of it)"
                .to_owned(),
        );
    }
    let mut findings = Findings::default();
    for gateway in gateways {
        let own = own_policy(&gateway.plugin, variables);
        let read = match (held, &own) {
            (Some(held), own) => {
                compare(&gateway.plugin, held, own.as_ref().ok(), &mut findings);
                if let Err(told) = own {
                    let path = gateway.plugin.config.path_of("configuration");
                    findings.note(path, told.clone(), format!("the policy of {}", held.name));
                }
                held.read
            }
            (None, Ok(read)) => read,
            (None, Err(told)) => return Err(told.clone()),
        };
        let site = Site {
            document: &read.document,
            policy: &read.policy,
            secrets: fleet::secrets(read),
            clusters: Clusters::of(&root),
            gateway: gateway.plugin.clone(),
        };
        gateway::check(&site, &gateway, &mut findings);
        route::check(&site, &gateway, &mut findings);
        fleet::check(&site, &gateway, &mut findings);
        cluster::check(&site, &mut findings);
        composite::check(&site, &mut findings);
    }
    Ok(findings.0)
}

/// The policy that the plugin holds.
fn own_policy(plugin: &Plugin<'_>, variables: &Variables) -> Result<Read, String> {
    let path = plugin.config.path_of("configuration");
    let document = plugin
        .policy()
        .ok_or_else(|| format!("{path} is neither a Struct nor a StringValue with a policy in JSON"))?;
    source::of_document(document, variables).map_err(|told| format!("{path}: the policy is refused\n{told}"))
}

/// The two policies must be the same, or everything else is about another one.
fn compare(plugin: &Plugin<'_>, held: &Held<'_>, own: Option<&Read>, findings: &mut Findings) {
    let Some(own) = own else { return };
    if let Some(difference) = difference(&own.document, &held.read.document, String::new()) {
        findings.note(
            plugin.config.path_of("configuration"),
            format!(
                "its policy isn't that of {}: they differ at {difference}",
                held.name
            ),
            format!("the policy of {}", held.name),
        );
    }
}

/// The path of the first difference of two trees. Numbers are compared as such: a Struct knows only doubles.
fn difference(one: &Value, other: &Value, path: String) -> Option<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
            names.sort_unstable();
            names.dedup();
            names.into_iter().find_map(|name| {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                match (one.get(name), other.get(name)) {
                    (Some(one), Some(other)) => difference(one, other, path),
                    (Some(_), None) | (None, Some(_)) => Some(path),
                    (None, None) => None,
                }
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs
                .map(|(at, (one, other))| difference(one, other, format!("{path}[{at}]")))
                .find_map(|found| found)
        }
        (Value::Number(one), Value::Number(other)) => (one.as_f64() != other.as_f64()).then_some(path),
        (one, other) => (one != other).then_some(path),
    }
}
