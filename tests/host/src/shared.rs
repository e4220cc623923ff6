//! What all workers of one proxy share, and the settings they were started with.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::callout::Script;
use crate::clock::Clock;
use crate::faults::Faults;
use crate::metrics::Metrics;
use crate::properties::Properties;
use crate::store::SharedData;

/// A line that a module logged, or the host about a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// 0 trace, 1 debug, 2 info, 3 warn, 4 error, 5 critical.
    pub level: u32,
    /// The text as logged; bytes that aren't UTF-8 are replaced.
    pub message: String,
}

/// Everything that outlives a VM.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    store: Mutex<SharedData>,
    metrics: Mutex<Metrics>,
    logs: Mutex<Vec<LogLine>>,
    said: Mutex<Vec<Vec<u8>>>,
    configuration: Mutex<Vec<u8>>,
    properties: Mutex<Properties>,
    callouts: Mutex<Script>,
}

/// What the proxy's configuration fixes.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `allow_on_headers_stop_iteration`.
    pub(crate) body_pause: bool,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) request_buffer: usize,
    pub(crate) response_buffer: usize,
    /// The header that `cluster_header` of the route names.
    pub(crate) cluster_header: String,
    /// Clusters that callouts may name; any if empty.
    pub(crate) clusters: BTreeSet<String>,
    pub(crate) empty_clusters: BTreeSet<String>,
    pub(crate) log_level: u32,
    pub(crate) seed: u64,
    pub(crate) instructions: Option<u64>,
    pub(crate) reload_after: Duration,
}

impl Shared {
    pub(crate) fn new(settings: Settings, clock: Clock, configuration: Vec<u8>) -> Self {
        Self {
            settings,
            clock,
            faults: Faults::default(),
            store: Mutex::default(),
            metrics: Mutex::default(),
            logs: Mutex::default(),
            said: Mutex::default(),
            configuration: Mutex::new(configuration),
            properties: Mutex::default(),
            callouts: Mutex::default(),
        }
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, SharedData> {
        self.store.lock().expect("shared data")
    }

    pub(crate) fn metrics(&self) -> MutexGuard<'_, Metrics> {
        self.metrics.lock().expect("metrics")
    }

    pub(crate) fn logs(&self) -> MutexGuard<'_, Vec<LogLine>> {
        self.logs.lock().expect("logs")
    }

    pub(crate) fn callouts(&self) -> MutexGuard<'_, Script> {
        self.callouts.lock().expect("callout script")
    }

    pub(crate) fn properties(&self) -> MutexGuard<'_, Properties> {
        self.properties.lock().expect("properties")
    }

    pub(crate) fn configuration(&self) -> Vec<u8> {
        self.configuration.lock().expect("configuration").clone()
    }

    pub(crate) fn configure(&self, configuration: Vec<u8>) {
        *self.configuration.lock().expect("configuration") = configuration;
    }

    pub(crate) fn log(&self, level: u32, message: &[u8]) {
        let message = String::from_utf8_lossy(message).into_owned();
        self.logs().push(LogLine { level, message });
    }

    /// Remembers bytes that left the module other than towards the upstream.
    pub(crate) fn say(&self, bytes: &[u8]) {
        self.said.lock().expect("what was said").push(bytes.to_vec());
    }

    pub(crate) fn everything_said(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut add = |bytes: &[u8]| {
            all.extend_from_slice(bytes);
            all.push(b'\n');
        };
        self.logs().iter().for_each(|line| add(line.message.as_bytes()));
        self.metrics().names().for_each(|name| add(name.as_bytes()));
        self.store().iter().for_each(|(key, value)| {
            add(key);
            add(value);
        });
        self.said
            .lock()
            .expect("what was said")
            .iter()
            .for_each(|bytes| add(bytes));
        all
    }
}
