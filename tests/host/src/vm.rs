//! One VM: an instance of the module with its root context, and the calls into it.
//!
//! A trap kills it for good: every later call is refused, and its streams fail one by one as they are touched.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{AsContextMut, Instance, Memory, Store, TypedFunc, WasmParams};

use crate::callout::{Arrived, Callout};
use crate::code::Code;
use crate::metrics::{Kind, Metric};
use crate::shared::Shared;
use crate::stream::{After, Direction, Stream, StreamRef};

/// What a callback was, and what it cost; see [`crate::Builder::count_instructions`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Callback {
    /// How often it ran.
    pub calls: u64,
    /// Instructions in all, as wasmtime's fuel counts them.
    pub instructions: u64,
    /// Instructions of the dearest single call.
    pub most: u64,
}

/// What the host functions see of their VM.
pub(crate) struct VmData {
    pub(crate) shared: Arc<Shared>,
    pub(crate) memory: Option<Memory>,
    pub(crate) allocate: Option<TypedFunc<u32, u32>>,
    pub(crate) streams: HashMap<u32, StreamRef>,
    pub(crate) root: u32,
    /// The context whose callback runs; 0 between callbacks.
    current: u32,
    /// The context that the module wants to speak for; 0 if it didn't say.
    pub(crate) effective: u32,
    /// What to do when the callback has returned.
    pub(crate) after: Vec<(StreamRef, After)>,
    /// The callback sent a local reply: its own result no longer counts.
    pub(crate) stopped: bool,
    pub(crate) configuring: bool,
    pub(crate) metric_names: HashMap<u32, Metric>,
    pub(crate) tick_period: Option<Duration>,
    pub(crate) callouts: Vec<Callout>,
    pub(crate) arrived: Option<Arrived>,
    next_token: u32,
    random: u64,
}

impl VmData {
    fn new(shared: Arc<Shared>, random: u64) -> Self {
        Self {
            shared,
            memory: None,
            allocate: None,
            streams: HashMap::new(),
            root: 1,
            current: 0,
            effective: 0,
            after: Vec::new(),
            stopped: false,
            configuring: false,
            metric_names: HashMap::new(),
            tick_period: None,
            callouts: Vec::new(),
            arrived: None,
            next_token: 1,
            random,
        }
    }

    /// The context that host calls are about.
    pub(crate) fn speaking_for(&self) -> u32 {
        if self.effective == 0 {
            self.current
        } else {
            self.effective
        }
    }

    pub(crate) fn stream(&self) -> Option<StreamRef> {
        self.streams.get(&self.speaking_for()).map(Arc::clone)
    }

    /// An id as Envoy gives them: the kind in the low bits.
    pub(crate) fn name_metric(&mut self, metric: Metric) -> u32 {
        let kind = match metric.kind {
            Kind::Counter => 0,
            Kind::Gauge => 1,
            Kind::Histogram => 2,
        };
        let id = u32::try_from(self.metric_names.len()).unwrap_or(u32::MAX >> 2) * 4 + 4 + kind;
        self.metric_names.insert(id, metric);
        id
    }

    pub(crate) fn dispatch(&mut self, mut call: Callout) -> u32 {
        let token = self.next_token;
        self.next_token = self.next_token.wrapping_add(1).max(1);
        call.token = token;
        self.callouts.push(call);
        token
    }

    /// `SplitMix64`, a byte at a time.
    pub(crate) fn random_byte(&mut self) -> u8 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).to_le_bytes()[0]
    }
}

/// A trap, or a VM that is dead from an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dead;

/// What a filter callback decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Continue,
    Pause,
    /// It sent a local reply.
    Replied,
}

/// An instance with its root context.
pub(crate) struct Vm {
    pub(crate) store: Store<VmData>,
    instance: Instance,
    pub(crate) dead: bool,
    pub(crate) costs: BTreeMap<&'static str, Callback>,
    next_context: u32,
}

impl Vm {
    /// Starts the module: `_initialize`, the root context, `on_vm_start`, `on_configure`.
    pub(crate) fn start(code: &Code, shared: Arc<Shared>, seed: u64) -> Result<Self, String> {
        let mut store = Store::new(&code.engine, VmData::new(shared, seed));
        fuel(&mut store);
        let instance = code
            .linked
            .instantiate(&mut store)
            .map_err(|error| format!("{error:?}"))?;
        let mut vm = Self {
            store,
            instance,
            dead: false,
            costs: BTreeMap::new(),
            next_context: 2,
        };
        vm.find_exports()?;
        vm.initialize()
            .map_err(|Dead| "the module trapped while it started".to_owned())?;
        Ok(vm)
    }

    fn find_exports(&mut self) -> Result<(), String> {
        let memory = self
            .instance
            .get_memory(&mut self.store, "memory")
            .ok_or("the module exports no memory")?;
        let named = |vm: &mut Self, name| vm.instance.get_typed_func::<u32, u32>(&mut vm.store, name).ok();
        let allocate = named(self, "proxy_on_memory_allocate").or_else(|| named(self, "malloc"));
        let data = self.store.data_mut();
        data.memory = Some(memory);
        data.allocate = Some(allocate.ok_or("the module exports no allocator")?);
        Ok(())
    }

    fn initialize(&mut self) -> Result<(), Dead> {
        let root = self.store.data().root;
        self.run("_initialize", root, ())?;
        self.run("proxy_on_context_create", root, (root, 0))?;
        Ok(())
    }

    /// Whether the module accepts its configuration.
    pub(crate) fn configure(&mut self) -> Result<bool, Dead> {
        let root = self.store.data().root;
        let size = u32::try_from(self.store.data().shared.configuration().len()).unwrap_or(u32::MAX);
        let started = self.ask("proxy_on_vm_start", root, (root, 0))?.unwrap_or(1);
        self.store.data_mut().configuring = true;
        let accepted = self.ask("proxy_on_configure", root, (root, size));
        self.store.data_mut().configuring = false;
        Ok(started != 0 && accepted?.unwrap_or(1) != 0)
    }

    /// A context for a new stream, known to the VM only from its first callback on.
    pub(crate) fn new_stream(&mut self) -> Stream {
        let id = self.next_context;
        self.next_context += 1;
        Stream::new(id)
    }

    pub(crate) fn create_context(&mut self, stream: &StreamRef) -> Result<(), Dead> {
        let id = stream.lock().expect("stream").id;
        let root = self.store.data().root;
        self.store.data_mut().streams.insert(id, Arc::clone(stream));
        self.run("proxy_on_context_create", id, (id, root))
    }

    pub(crate) fn headers(
        &mut self,
        direction: Direction,
        id: u32,
        count: u32,
        end: bool,
    ) -> Result<Verdict, Dead> {
        let name = match direction {
            Direction::Request => "proxy_on_request_headers",
            Direction::Response => "proxy_on_response_headers",
        };
        self.decide(name, id, (id, count, u32::from(end)))
    }

    pub(crate) fn body(
        &mut self,
        direction: Direction,
        id: u32,
        size: u32,
        end: bool,
    ) -> Result<Verdict, Dead> {
        let name = match direction {
            Direction::Request => "proxy_on_request_body",
            Direction::Response => "proxy_on_response_body",
        };
        self.decide(name, id, (id, size, u32::from(end)))
    }

    pub(crate) fn tick(&mut self) -> Result<(), Dead> {
        let root = self.store.data().root;
        self.run("proxy_on_tick", root, root)
    }

    pub(crate) fn log(&mut self, id: u32) -> Result<(), Dead> {
        self.run("proxy_on_log", id, id)
    }

    /// `on_done`, `on_delete`, and the context is gone.
    pub(crate) fn delete_context(&mut self, id: u32) -> Result<(), Dead> {
        let done = self
            .ask("proxy_on_done", id, id)
            .and_then(|_| self.run("proxy_on_delete", id, id));
        self.store.data_mut().streams.remove(&id);
        done
    }

    /// The callback for a callout's answer, which speaks for the root until the module says otherwise.
    pub(crate) fn call_answered(&mut self, token: u32, arrived: Arrived) -> Result<(), Dead> {
        let root = self.store.data().root;
        let headers = arrived
            .headers
            .as_ref()
            .map_or(0, |headers| u32::try_from(headers.len()).unwrap_or(u32::MAX));
        let body = u32::try_from(arrived.body.len()).unwrap_or(u32::MAX);
        self.store.data_mut().arrived = Some(arrived);
        let done = self.run(
            "proxy_on_http_call_response",
            root,
            (root, token, headers, body, 0_u32),
        );
        self.store.data_mut().arrived = None;
        done
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.store
            .data()
            .memory
            .map_or(0, |memory| memory.data_size(&self.store))
    }

    fn decide(&mut self, name: &'static str, id: u32, arguments: (u32, u32, u32)) -> Result<Verdict, Dead> {
        let action = self.ask(name, id, arguments)?.unwrap_or(0);
        Ok(match (self.store.data().stopped, action) {
            (true, _) => Verdict::Replied,
            (false, 0) => Verdict::Continue,
            (false, _) => Verdict::Pause,
        })
    }

    fn run<P: WasmParams>(&mut self, name: &'static str, context: u32, arguments: P) -> Result<(), Dead> {
        let Ok(function) = self.instance.get_typed_func::<P, ()>(&mut self.store, name) else {
            return self.alive();
        };
        self.called(name, context, |store| function.call(store, arguments))
    }

    /// `None` when the module doesn't export the callback.
    fn ask<P: WasmParams>(
        &mut self,
        name: &'static str,
        context: u32,
        arguments: P,
    ) -> Result<Option<u32>, Dead> {
        let Ok(function) = self.instance.get_typed_func::<P, u32>(&mut self.store, name) else {
            return self.alive().map(|()| None);
        };
        self.called(name, context, |store| function.call(store, arguments))
            .map(Some)
    }

    fn alive(&self) -> Result<(), Dead> {
        if self.dead { Err(Dead) } else { Ok(()) }
    }

    fn called<T>(
        &mut self,
        name: &'static str,
        context: u32,
        call: impl FnOnce(&mut Store<VmData>) -> wasmtime::Result<T>,
    ) -> Result<T, Dead> {
        self.alive()?;
        fuel(&mut self.store);
        let data = self.store.data_mut();
        (data.current, data.effective, data.stopped) = (context, 0, false);
        let result = call(&mut self.store);
        let data = self.store.data_mut();
        (data.current, data.effective) = (0, 0);
        self.note_cost(name);
        result.map_err(|error| self.died(name, &error))
    }

    fn died(&mut self, name: &str, error: &wasmtime::Error) -> Dead {
        self.dead = true;
        let data = self.store.data_mut();
        data.after.clear();
        data.shared
            .log(5, format!("trap in {name}: {error:?}").as_bytes());
        Dead
    }

    fn note_cost(&mut self, name: &'static str) {
        let cost = self.costs.entry(name).or_default();
        cost.calls += 1;
        let Some(limit) = self.store.data().shared.settings.instructions else {
            return;
        };
        let used = limit.saturating_sub(self.store.get_fuel().unwrap_or(limit));
        cost.instructions = cost.instructions.saturating_add(used);
        cost.most = cost.most.max(used);
    }
}

/// A full tank for the next callback, if instructions are counted.
fn fuel(store: &mut Store<VmData>) {
    if let Some(limit) = store.data().shared.settings.instructions {
        let _ = store.as_context_mut().set_fuel(limit);
    }
}
