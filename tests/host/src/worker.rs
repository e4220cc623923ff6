//! A worker: one VM at a time, replaced when it has trapped (`FAIL_RELOAD`) or when the configuration changes.
//!
//! Handles are cheap to clone and may be used from real threads; each call holds its worker for as long as it takes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::callout::{Callout, CalloutAnswer};
use crate::code::Code;
use crate::exchange::Exchange;
use crate::message::{Request, UpstreamRequest, UpstreamResponse};
use crate::shared::Shared;
use crate::vm::{Callback, Vm};

/// One worker thread's share of the proxy.
#[derive(Clone)]
pub struct Worker {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    code: Arc<Code>,
    index: u64,
    running: Mutex<Running>,
}

struct Running {
    vm: Arc<Mutex<Vm>>,
    starts: u64,
    started_at: Duration,
}

impl Worker {
    /// Starts a VM. The error is what a proxy would log when it refuses to start.
    pub(crate) fn start(code: &Arc<Code>, shared: &Arc<Shared>, index: u64) -> Result<Self, String> {
        let vm = started(code, shared, seed(shared, index, 0))?;
        let running = Running {
            vm: Arc::new(Mutex::new(vm)),
            starts: 1,
            started_at: shared.clock.monotonic(),
        };
        let inner = Inner {
            shared: Arc::clone(shared),
            code: Arc::clone(code),
            index,
            running: Mutex::new(running),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Sends a request to its end: `upstream` answers if the request gets that far, callouts are answered by the proxy's
    /// script. A request that can't end is [`crate::Outcome::Hung`].
    pub fn request(
        &self,
        request: Request,
        mut upstream: impl FnMut(&UpstreamRequest) -> UpstreamResponse,
    ) -> Exchange {
        let exchange = self.send(request);
        if let Some(seen) = exchange.upstream()
            && exchange.is_open()
        {
            exchange.answer(upstream(&seen));
        }
        exchange.expect_end();
        exchange
    }

    /// Sends a whole request and leaves it unanswered; see [`Exchange::answer`].
    pub fn send(&self, request: Request) -> Exchange {
        let exchange = self.open();
        exchange.send(&request);
        exchange
    }

    /// A stream that hasn't sent anything yet, to be driven step by step.
    pub fn open(&self) -> Exchange {
        let vm = self.vm_for_a_new_stream();
        let stream = vm.lock().expect("vm").new_stream();
        Exchange::new(Arc::clone(&self.inner.shared), vm, stream)
    }

    /// One tick of the root context.
    pub fn tick(&self) {
        self.vm().lock().expect("vm").on_tick();
        self.pump();
    }

    /// The period that the module asked for.
    #[must_use]
    pub fn tick_period(&self) -> Option<Duration> {
        self.with_vm(|vm| vm.store.data().tick_period)
    }

    /// Size of the VM's memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.with_vm(|vm| vm.memory_bytes())
    }

    /// What each callback cost since the VM started; instructions only if they are counted.
    #[must_use]
    pub fn costs(&self) -> BTreeMap<&'static str, Callback> {
        self.with_vm(|vm| vm.costs.clone())
    }

    /// Whether the VM has trapped and not been replaced yet.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.with_vm(|vm| vm.dead)
    }

    /// How many VMs this worker has had.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.running().starts
    }

    /// Streams that the VM still knows.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.with_vm(|vm| vm.store.data().streams.len())
    }

    /// Calls that wait for an answer.
    #[must_use]
    pub fn pending_callouts(&self) -> Vec<Callout> {
        self.with_vm(|vm| vm.store.data().callouts.clone())
    }

    /// Answers one of them; `false` when there is no such call.
    pub fn answer_callout(&self, token: u32, answer: CalloutAnswer) -> bool {
        let vm = self.vm();
        let answered = vm.lock().expect("vm").answer(token, answer);
        self.pump();
        answered
    }

    /// Replaces the VM by one with the configuration of now. Streams in flight stay with the old one.
    pub(crate) fn reload(&self) -> Result<(), String> {
        let mut running = self.running();
        self.replace(&mut running)
    }

    pub(crate) fn time_out_callouts(&self) {
        self.vm().lock().expect("vm").time_out_callouts();
        self.pump();
    }

    fn pump(&self) {
        answer_by_script(&self.inner.shared, &self.vm());
    }

    fn vm(&self) -> Arc<Mutex<Vm>> {
        Arc::clone(&self.running().vm)
    }

    fn with_vm<T>(&self, look: impl FnOnce(&Vm) -> T) -> T {
        look(&self.vm().lock().expect("vm"))
    }

    /// A dead VM is replaced by the first new stream that comes, but not sooner after its start than the back-off says.
    fn vm_for_a_new_stream(&self) -> Arc<Mutex<Vm>> {
        let mut running = self.running();
        let dead = running.vm.lock().expect("vm").dead;
        let waited = self
            .inner
            .shared
            .clock
            .monotonic()
            .saturating_sub(running.started_at);
        if dead
            && waited >= self.inner.shared.settings.reload_after
            && let Err(reason) = self.replace(&mut running)
        {
            self.inner.shared.log(5, reason.as_bytes());
        }
        Arc::clone(&running.vm)
    }

    fn replace(&self, running: &mut Running) -> Result<(), String> {
        running.started_at = self.inner.shared.clock.monotonic();
        let seed = seed(&self.inner.shared, self.inner.index, running.starts);
        let vm = started(&self.inner.code, &self.inner.shared, seed)?;
        running.vm = Arc::new(Mutex::new(vm));
        running.starts += 1;
        Ok(())
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.inner.running.lock().expect("worker")
    }
}

/// A VM that accepted its configuration.
fn started(code: &Code, shared: &Arc<Shared>, seed: u64) -> Result<Vm, String> {
    let mut vm = Vm::start(code, Arc::clone(shared), seed)?;
    match vm.configure() {
        Ok(true) => Ok(vm),
        Ok(false) => Err("the module refuses its configuration".to_owned()),
        Err(_) => Err("the module trapped over its configuration".to_owned()),
    }
}

fn seed(shared: &Shared, worker: u64, start: u64) -> u64 {
    shared
        .settings
        .seed
        .wrapping_add(worker.wrapping_mul(1_000_003))
        .wrapping_add(start.wrapping_mul(7_919))
}

/// Lets the proxy's script answer what is pending, until it has nothing to say.
pub(crate) fn answer_by_script(shared: &Shared, vm: &Mutex<Vm>) {
    let mut asked = std::collections::BTreeSet::new();
    loop {
        let mut vm = vm.lock().expect("vm");
        let next = vm
            .store
            .data()
            .callouts
            .iter()
            .find(|call| !asked.contains(&call.token))
            .cloned();
        let Some(call) = next else { return };
        asked.insert(call.token);
        let answer = shared
            .callouts()
            .answerer
            .as_mut()
            .map(|answerer| answerer(&call));
        if let Some(answer) = answer {
            vm.answer(call.token, answer);
        }
    }
}
