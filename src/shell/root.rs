//! The root context: one per worker and policy. Loads the policy, ticks, makes the exchanges' contexts.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use crate::exchange::Gateway;
use crate::layout::{self, Before};
use crate::ledger::{HashKey, Ledger};
use crate::policy::{self, Environment, Policy};

use super::host::{self, Buffer, Level, MetricType};
use super::provider::Upstream;
use super::store::SharedData;
use super::stream::Stream;
use super::worker::Worker;

/// A key for hashing callers, alike on every proxy that shares limits.
const HASH_KEY: &str = "SPILLWAY_HASH_KEY";

/// The VM's environment variables, as `environment_variables` of the host's configuration sets them.
struct Variables;

impl Environment for Variables {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// What the VM's own configuration says where the module is an upstream filter.
const PROVIDER_ROLE: &[u8] = b"provider";

/// Which side of the host's router this VM is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Role {
    /// Downstream: one context an exchange.
    #[default]
    Gateway,
    /// Upstream: one context an attempt.
    Provider,
}

/// The root context.
#[derive(Default)]
pub(super) struct Root {
    /// The host's id of it.
    id: u32,
    role: Role,
    worker: Option<Rc<Worker>>,
}

impl Root {
    pub(super) fn new(id: u32) -> Self {
        Self {
            id,
            ..Self::default()
        }
    }

    fn configure(&mut self, size: usize) -> Result<(), String> {
        let bytes = host::read_buffer(Buffer::PluginConfiguration, 0, size)
            .map_err(|status| format!("the host gives no configuration (status {})", status.0))?;
        let policy = policy::load_bytes(&bytes, &Variables).map_err(|error| error.to_string())?;
        host::log(Level::Info, &format!("spillway: {}", summary(&policy)));
        let seed = host::random();
        let key = hash_key(seed).map_err(|error| format!("the shared store failed: {error:?}"))?;
        announce(layout::take_over(&SharedData::default()));
        let ledger = Ledger::new(key, policy.tracked_keys);
        let worker = Rc::new(Worker::new(Gateway::new(policy, ledger), seed));
        let period = worker.tick_period();
        self.worker = Some(worker);
        host::tick_every(period).map_err(|status| format!("the host gives no tick (status {})", status.0))
    }
}

fn hash_key(seed: [u8; 16]) -> Result<HashKey, crate::store::StoreError> {
    match Variables.variable(HASH_KEY).filter(|key| !key.is_empty()) {
        Some(key) => Ok(HashKey::from_text(&key)),
        None => HashKey::shared(&SharedData::default(), seed),
    }
}

/// Says what becomes of the records of the module that was here before. A store that fails is told of elsewhere.
fn announce(before: Result<Before, crate::store::StoreError>) {
    if let Ok(Before::Other(theirs)) = before {
        let ours = layout::ours();
        let line = format!(
            "spillway: the store's records were of layout ({theirs}); this module's, ({ours}), start clean where they differ"
        );
        host::log(Level::Warn, &line);
        let id = host::define_metric(MetricType::Counter, "spillway.store.started_clean");
        let _ = id.and_then(|id| host::add_to_metric(id, 1));
    }
}

fn summary(policy: &Policy) -> String {
    format!(
        "policy loaded: {} providers, {} models, {} limits, {} schemas, {:?}",
        policy.providers.len(),
        policy.models.len() + usize::from(policy.any_model.is_some()),
        policy.limits.len(),
        policy.validate.len(),
        policy.mode
    )
}

impl Context for Root {
    /// A call that the tick made was answered.
    fn on_http_call_response(&mut self, token: u32, _: usize, body_size: usize, _: usize) {
        if let Some(worker) = &self.worker {
            worker.answered(token, body_size);
        }
    }

    /// A policy goes when its listener does: what it still has to write and what it counted goes to the host first.
    fn on_done(&mut self) -> bool {
        if let Some(worker) = &self.worker {
            worker.end();
        }
        true
    }
}

impl RootContext for Root {
    /// The two roles are two VMs: one can't be called while it is calling.
    fn on_vm_start(&mut self, size: usize) -> bool {
        let told = host::read_buffer(Buffer::VmConfiguration, 0, size).unwrap_or_default();
        if told == PROVIDER_ROLE {
            self.role = Role::Provider;
        }
        true
    }

    fn on_configure(&mut self, size: usize) -> bool {
        match self.configure(size) {
            Ok(()) => true,
            Err(message) => {
                host::log(Level::Error, &format!("spillway: policy refused: {message}"));
                let id = host::define_metric(MetricType::Counter, "spillway.config.rejected");
                let _ = id.and_then(|id| host::add_to_metric(id, 1));
                false
            }
        }
    }

    fn on_tick(&mut self) {
        match (&self.worker, self.role) {
            (Some(worker), Role::Gateway) => worker.on_tick(self.id),
            (Some(worker), Role::Provider) => worker.keep(),
            (None, _) => return,
        }
        let _ = host::speak_for(self.id);
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        match self.role {
            Role::Gateway => Some(Box::new(Stream::new(id, self.worker.clone()))),
            Role::Provider => Some(Box::new(Upstream::new(self.worker.clone()))),
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
