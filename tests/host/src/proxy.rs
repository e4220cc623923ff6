//! The proxy: its settings, its workers, its clock, and everything a test may look at or break.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::abi::Status;
use crate::callout::{Callout, CalloutAnswer};
use crate::clock::Clock;
use crate::code;
use crate::shared::{LogLine, Settings, Shared};
use crate::store::SharedData;
use crate::worker::Worker;

/// Envoy's default `per_connection_buffer_limit_bytes`.
const BUFFER_LIMIT: usize = 1 << 20;

/// Why a proxy didn't start: what it would say on its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// The host's reason.
    pub reason: String,
    /// What the module logged meanwhile.
    pub logs: Vec<LogLine>,
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.reason)?;
        self.logs
            .iter()
            .try_for_each(|line| write!(out, "\n{}", line.message))
    }
}

impl std::error::Error for StartError {}

/// The settings of a proxy, with Envoy's defaults.
#[derive(Debug)]
pub struct Builder {
    module: PathBuf,
    configuration: Vec<u8>,
    workers: u64,
    clock: Clock,
    settings: Settings,
}

impl Builder {
    /// The compiled wasm file.
    #[must_use]
    pub fn module(mut self, path: impl Into<PathBuf>) -> Self {
        self.module = path.into();
        self
    }

    /// The plugin configuration.
    #[must_use]
    pub fn configuration(mut self, configuration: impl Into<Vec<u8>>) -> Self {
        self.configuration = configuration.into();
        self
    }

    /// An environment variable of the VMs.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.settings
            .environment
            .push((name.to_owned(), value.to_owned()));
        self
    }

    /// How many workers; 1 unless set.
    #[must_use]
    pub fn workers(mut self, workers: u64) -> Self {
        self.workers = workers;
        self
    }

    /// `allow_on_headers_stop_iteration`; off unless set.
    #[must_use]
    pub fn body_pause(mut self, allowed: bool) -> Self {
        self.settings.body_pause = allowed;
        self
    }

    /// The clock to start with.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How much of a paused request may be buffered; 1 MiB unless set.
    #[must_use]
    pub fn request_buffer(mut self, bytes: usize) -> Self {
        self.settings.request_buffer = bytes;
        self
    }

    /// How much of a paused response may be buffered; 1 MiB unless set.
    #[must_use]
    pub fn response_buffer(mut self, bytes: usize) -> Self {
        self.settings.response_buffer = bytes;
        self
    }

    /// The header that the route's `cluster_header` names; `x-spillway-cluster` unless set.
    #[must_use]
    pub fn cluster_header(mut self, name: &str) -> Self {
        name.clone_into(&mut self.settings.cluster_header);
        self
    }

    /// A cluster that callouts may name. Once one is named, all others are unknown.
    #[must_use]
    pub fn cluster(mut self, name: &str) -> Self {
        self.settings.clusters.insert(name.to_owned());
        self
    }

    /// A known cluster that has no hosts.
    #[must_use]
    pub fn empty_cluster(mut self, name: &str) -> Self {
        self.settings.empty_clusters.insert(name.to_owned());
        self.cluster(name)
    }

    /// What `random_get` starts from.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// What `proxy_get_log_level` says; info (2) unless set. All lines are kept in any case.
    #[must_use]
    pub fn log_level(mut self, level: u32) -> Self {
        self.settings.log_level = level;
        self
    }

    /// Counts instructions ([`Worker::costs`]); a callback that needs more than `limit` traps.
    #[must_use]
    pub fn count_instructions(mut self, limit: u64) -> Self {
        self.settings.instructions = Some(limit);
        self
    }

    /// Starts all workers.
    ///
    /// # Errors
    /// When the module can't be loaded, imports what Envoy doesn't have, or refuses its configuration.
    pub fn start(self) -> Result<Proxy, StartError> {
        let shared = Arc::new(Shared::new(self.settings, self.clock, self.configuration));
        let workers = start_workers(&self.module, &shared, self.workers);
        let logs = shared.logs().clone();
        let workers = workers.map_err(|reason| StartError { reason, logs })?;
        Ok(Proxy { shared, workers })
    }
}

fn start_workers(module: &std::path::Path, shared: &Arc<Shared>, count: u64) -> Result<Vec<Worker>, String> {
    let code = code::code(module, shared.settings.instructions.is_some())?;
    (0..count)
        .map(|index| Worker::start(&code, shared, index))
        .collect()
}

impl Default for Builder {
    fn default() -> Self {
        let settings = Settings {
            body_pause: false,
            environment: Vec::new(),
            request_buffer: BUFFER_LIMIT,
            response_buffer: BUFFER_LIMIT,
            cluster_header: "x-spillway-cluster".to_owned(),
            clusters: std::collections::BTreeSet::new(),
            empty_clusters: std::collections::BTreeSet::new(),
            log_level: 2,
            seed: 1,
            instructions: None,
            reload_after: Duration::from_secs(1),
        };
        let clock = Clock::default();
        Self {
            module: PathBuf::new(),
            configuration: Vec::new(),
            workers: 1,
            clock,
            settings,
        }
    }
}

/// A running proxy.
pub struct Proxy {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
}

impl Proxy {
    /// Settings to start from.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The worker of that number, counted from 0; numbers beyond the last begin again.
    #[must_use]
    pub fn worker(&self, index: usize) -> &Worker {
        self.workers
            .iter()
            .cycle()
            .nth(index % self.workers.len().max(1))
            .expect("a proxy has a worker")
    }

    /// All workers.
    #[must_use]
    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Moves the clock; callouts whose time has passed are answered 504. Ticks don't come by themselves.
    pub fn advance(&self, by: Duration) {
        self.shared.clock.advance(by);
        self.workers.iter().for_each(Worker::time_out_callouts);
    }

    /// One tick on every worker.
    pub fn tick(&self) {
        self.workers.iter().for_each(Worker::tick);
    }

    /// A new configuration: new VMs over the same store. Streams in flight end with the old ones.
    ///
    /// # Errors
    /// When the module refuses it; workers that were already replaced stay replaced.
    pub fn reconfigure(&self, configuration: impl Into<Vec<u8>>) -> Result<(), StartError> {
        self.shared.configure(configuration.into());
        let reloaded = self.workers.iter().try_for_each(Worker::reload);
        reloaded.map_err(|reason| StartError {
            reason,
            logs: self.logs(),
        })
    }

    /// A counter or a gauge by its name; `None` when no VM defined it.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<u64> {
        self.shared.metrics().get(name)
    }

    /// All counters and gauges.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        self.shared.metrics().all()
    }

    /// What was recorded in a histogram, in order.
    #[must_use]
    pub fn histogram(&self, name: &str) -> Vec<u64> {
        self.shared.metrics().histogram(name)
    }

    /// All lines logged so far.
    #[must_use]
    pub fn logs(&self) -> Vec<LogLine> {
        self.shared.logs().clone()
    }

    /// A copy of the store as it is now.
    #[must_use]
    pub fn store(&self) -> SharedData {
        self.shared.store().clone()
    }

    /// Does something to the store itself, such as writing what another plugin might have written.
    pub fn with_store<T>(&self, use_it: impl FnOnce(&mut SharedData) -> T) -> T {
        use_it(&mut self.shared.store())
    }

    /// Gets and sets so far.
    #[must_use]
    pub fn store_calls(&self) -> u64 {
        self.shared.faults.store_calls()
    }

    /// Calls of each host function so far.
    #[must_use]
    pub fn host_calls(&self) -> BTreeMap<&'static str, u64> {
        self.shared.faults.host_calls()
    }

    /// Bytes that host functions copied so far, into modules' memories and out of them.
    #[must_use]
    pub fn bytes_copied(&self) -> u64 {
        self.shared.faults.copied()
    }

    /// Everything that left the module other than towards an upstream: log lines, metric names, store, filter state,
    /// local replies. For tests that look for secrets.
    #[must_use]
    pub fn everything_said(&self) -> Vec<u8> {
        self.shared.everything_said()
    }

    /// A property for every stream, such as `["xds", "route_name"]`.
    pub fn property(&self, path: &[&str], value: impl AsRef<[u8]>) {
        self.shared.properties().set(path, value.as_ref());
    }

    /// Who answers callouts. Without it they stay pending for [`Worker::answer_callout`].
    pub fn on_callout(&self, answerer: impl FnMut(&Callout) -> CalloutAnswer + Send + 'static) {
        self.shared.callouts().answerer = Some(Box::new(answerer));
    }

    /// Runs `hook` before the `nth` get or set from now; it may drive other workers.
    pub fn before_store_call(&self, nth: u64, hook: impl FnOnce() + Send + 'static) {
        self.shared.faults.before_store_call(nth, Box::new(hook));
    }

    /// Runs `hook` before every get and set, with its number since the start; not before those that the hook causes.
    pub fn before_every_store_call(&self, hook: impl FnMut(u64) + Send + 'static) {
        self.shared.faults.before_every_store_call(Some(Box::new(hook)));
    }

    /// Ends that.
    pub fn no_more_hooks(&self) {
        self.shared.faults.before_every_store_call(None);
    }

    /// The `nth` set with a CAS from now meets a conflict, as if somebody else had just written the same value.
    pub fn conflict_on_set(&self, nth: u64) {
        self.shared.faults.conflict_on_sets(nth, nth);
    }

    /// Every set with a CAS meets a conflict until [`Proxy::no_more_conflicts`].
    pub fn conflict_on_every_set(&self) {
        self.shared.faults.conflict_on_sets(1, u64::MAX);
    }

    /// Ends all conflicts that were asked for.
    pub fn no_more_conflicts(&self) {
        self.shared.faults.no_more_conflicts();
    }

    /// The `nth` get or set from now ends with `status`.
    pub fn fail_store_call(&self, nth: u64, status: Status) {
        self.shared.faults.fail_store_call(nth, status);
    }

    /// The `nth` call of that host function from now traps the VM.
    pub fn trap_in(&self, host_function: &str, nth: u64) {
        self.shared.faults.trap_in(host_function, nth);
    }
}
