//! The module as Envoy is told to run it: in the gateway role or in the provider role.

use serde_json::Value;

use super::tree::Node;
use super::{Findings, Site};

/// The type of the HTTP filter that runs wasm.
const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";

/// A wasm filter's `config`.
#[derive(Clone, Debug)]
pub(super) struct Plugin<'a> {
    pub(super) config: Node<'a>,
}

impl<'a> Plugin<'a> {
    /// The plugin of an HTTP filter, if that runs Spillway: by its name, or by the policy that it holds.
    pub(super) fn of(filter: &Node<'a>) -> Option<Self> {
        let typed = filter.get("typed_config")?;
        let config = typed.get("config").filter(|_| typed.kind() == WASM)?;
        let plugin = Self { config };
        let named = ["name", "root_id"]
            .iter()
            .any(|name| plugin.config.text(name).contains("spillway"))
            || filter.text("name").contains("spillway");
        let holds = || {
            let policy = plugin.policy()?;
            (policy.get("providers").is_some() && policy.get("models").is_some()).then_some(())
        };
        (named || holds().is_some()).then_some(plugin)
    }

    /// The policy that it holds, in whichever form Envoy takes it.
    pub(super) fn policy(&self) -> Option<Value> {
        let configuration = self.config.get("configuration")?;
        let value = configuration.get("value")?.value;
        match value {
            Value::Object(_) => Some(value.clone()),
            Value::String(text) => serde_json::from_str(text).ok().filter(Value::is_object),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
        }
    }

    pub(super) fn vm(&self) -> Option<Node<'a>> {
        self.config.get("vm_config")
    }

    pub(super) fn vm_path(&self, name: &str) -> String {
        format!("{}.{name}", self.config.path_of("vm_config"))
    }

    pub(super) fn vm_id(&self) -> &'a str {
        self.vm().map(|vm| vm.text("vm_id")).unwrap_or_default()
    }

    /// What the VM itself is told: its role.
    pub(super) fn role(&self) -> &'a str {
        self.vm()
            .and_then(|vm| vm.get("configuration"))
            .map(|configuration| configuration.text("value"))
            .unwrap_or_default()
    }

    /// What both roles need alike.
    pub(super) fn check(&self, site: &Site<'_>, findings: &mut Findings) {
        self.check_failure_policy(findings);
        self.check_flag(site, findings);
        self.check_variables(site, findings);
    }

    fn check_failure_policy(&self, findings: &mut Findings) {
        let path = self.config.path_of("failure_policy");
        let wrong = match self.config.text("failure_policy") {
            "FAIL_RELOAD" => return,
            "" => "isn't set: after one trap, a worker answers 503 for ever",
            "FAIL_OPEN" => "is FAIL_OPEN: after one trap, a worker lets everything pass unjudged",
            _ => "doesn't start a new VM: after one trap, a worker answers 503 for ever",
        };
        findings.note(path, wrong, "FAIL_RELOAD");
    }

    fn check_flag(&self, site: &Site<'_>, findings: &mut Findings) {
        let path = self.config.path_of("allow_on_headers_stop_iteration");
        match (
            site.policy.host.body_pause,
            self.config.flag("allow_on_headers_stop_iteration"),
        ) {
            (true, false) => findings.note(
                path,
                "isn't set, and host.body_pause is true: requests would hang",
                "true, or host.body_pause: false in the policy",
            ),
            (false, true) => findings.note(
                path,
                "is true, and unused: host.body_pause is false",
                "host: {body_pause: true} in the policy, or no such field here",
            ),
            (true, true) | (false, false) => {}
        }
    }

    /// A VM has no environment but what it is given here.
    fn check_variables(&self, site: &Site<'_>, findings: &mut Findings) {
        let given = self.variables();
        let missing: Vec<&str> = site
            .secrets
            .iter()
            .copied()
            .filter(|name| !given.contains(name))
            .collect();
        if !missing.is_empty() {
            findings.note(
                self.vm_path("environment_variables"),
                format!(
                    "doesn't pass {} to the module: it will refuse the policy",
                    missing.join(", ")
                ),
                format!("host_env_keys: [{}]", site.secrets.join(", ")),
            );
        }
    }

    fn variables(&self) -> Vec<&'a str> {
        let Some(variables) = self.vm().and_then(|vm| vm.get("environment_variables")) else {
            return Vec::new();
        };
        let keys = variables.list("host_env_keys").into_iter();
        let values = variables.get("key_values").map(|values| values.members());
        keys.filter_map(|key| key.value.as_str())
            .chain(values.into_iter().flatten().map(|(name, _)| name))
            .collect()
    }
}
