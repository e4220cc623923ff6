//! Where secrets come from: the environment of the VM, never the document.

use std::collections::{BTreeMap, HashMap};

/// The variables that a policy may name.
pub trait Environment {
    /// The variable's value; none when it isn't set or isn't UTF-8.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The environment of this process: in Envoy, `vm_config.environment_variables`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl Environment for BTreeMap<String, String> {
    fn variable(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}

impl<H: std::hash::BuildHasher> Environment for HashMap<String, String, H> {
    fn variable(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}
