//! What one worker's VM holds for one policy: the gateway, the metrics' ids, and what waits for the tick.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::body::cache::Schemas;
use crate::exchange::{Effects, Gateway, Turn, Weight};
use crate::failover::{self, Load};
use crate::report::{Kind, Metric};
use crate::time::{Now, UnixMillis};
use crate::tokens::exact::Counter;
use crate::{breaker, ledger};

use super::errands::Errands;
use super::host::{self, Level, MetricType};
use super::line::Line;
use super::store::SharedData;

/// How often lost races are tried again and gauges set.
const HOUSEKEEPING_MS: u32 = 1_000;
/// How often it is looked whether a wait is over, where a policy has any.
const WAKING_MS: u32 = 50;

/// State of a VM. Single-threaded by the nature of proxy-wasm; cells are never borrowed across a host call that could
/// come back.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) gateway: Gateway,
    store: SharedData,
    metrics: RefCell<BTreeMap<Metric, Meter>>,
    /// What wall time is ahead of the monotonic clock, as the last tick saw it: one clock to read a callback.
    wall_offset: Cell<u64>,
    bookings: RefCell<Vec<ledger::Pending>>,
    transitions: RefCell<Vec<(usize, breaker::PendingTransition)>>,
    entropy: Cell<u64>,
    counter: RefCell<Counter>,
    schemas: RefCell<Schemas>,
    load: Cell<Load>,
    /// Exchanges that are to be woken, by their streams.
    watched: RefCell<BTreeMap<u32, Rc<Line>>>,
    /// Exchanges whose calls are on their way.
    calls: RefCell<BTreeMap<u32, Rc<Line>>>,
    ticks: Cell<u32>,
    errands: Errands,
}

impl Worker {
    pub(super) fn new(gateway: Gateway, seed: [u8; 16]) -> Self {
        let (seed, name) = seed.split_at(8);
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap_or_default();
        let load = Load {
            worker: number(name),
            ..Load::default()
        };
        let seed = number(seed);
        Self {
            gateway,
            store: SharedData::default(),
            metrics: RefCell::default(),
            wall_offset: Cell::new(wall_offset()),
            bookings: RefCell::default(),
            transitions: RefCell::default(),
            entropy: Cell::new(seed),
            counter: RefCell::default(),
            schemas: RefCell::default(),
            load: Cell::new(load),
            watched: RefCell::default(),
            calls: RefCell::default(),
            ticks: Cell::default(),
            errands: Errands::default(),
        }
    }

    /// Runs the core for one callback, then sees to what it left behind.
    pub(super) fn turn<T>(&self, run: impl FnOnce(&mut Turn<'_, SharedData>) -> T) -> T {
        let mut effects = Effects::default();
        let answer = {
            let mut turn = Turn {
                gateway: &self.gateway,
                store: &self.store,
                now: self.now(),
                entropy: self.draw(),
                counter: &mut self.counter.borrow_mut(),
                load: self.load.get(),
                schemas: &mut self.schemas.borrow_mut(),
                effects: &mut effects,
            };
            run(&mut turn)
        };
        // What is left behind may need a turn of its own.
        self.see_to(effects);
        answer
    }

    /// How often the host is to tick, in milliseconds: a wait between attempts ends by the tick.
    pub(super) fn tick_period(&self) -> u32 {
        if self.gateway.waits() {
            WAKING_MS
        } else {
            HOUSEKEEPING_MS
        }
    }

    /// The tick: wakes whose time has come, and sees to the house when it is time for that.
    pub(super) fn on_tick(&self, root: u32) {
        if self.gateway.waits() {
            self.wake();
            self.errands.run(self, root);
        }
        let ticks = self.ticks.get().wrapping_add(1);
        self.ticks.set(ticks);
        if ticks.is_multiple_of(HOUSEKEEPING_MS / self.tick_period()) {
            self.tick();
        }
    }

    fn wake(&self) {
        let now = host::monotonic();
        let watched = self.watched.borrow();
        let is_due = |line: &&Rc<Line>| line.due().is_some_and(|due| due <= now);
        let due: Vec<Rc<Line>> = watched.values().filter(is_due).cloned().collect();
        drop(watched);
        for line in due {
            if host::speak_for(line.id()).is_ok() {
                line.wake();
            }
        }
    }

    /// Notes whether an exchange is to be woken.
    pub(super) fn watch(&self, line: &Rc<Line>, watched: bool) {
        let mut all = self.watched.borrow_mut();
        if watched {
            drop(all.insert(line.id(), Rc::clone(line)));
        } else {
            drop(all.remove(&line.id()));
        }
    }

    /// Notes whose call it is.
    pub(super) fn await_call(&self, token: u32, line: &Rc<Line>) {
        self.calls.borrow_mut().insert(token, Rc::clone(line));
    }

    /// A call was answered; the answer is of a stream that may be gone.
    pub(super) fn answered(&self, token: u32, body_size: usize) {
        if let Some(kind) = self.errands.done(token) {
            let answer = super::line::called(body_size);
            return self.turn(|turn| turn.came_back(kind, &answer));
        }
        let line = self.calls.borrow_mut().remove(&token);
        let Some(line) = line else { return };
        if host::speak_for(line.id()).is_ok() {
            line.answered(token, body_size);
        }
    }

    /// A call's stream is over: the host cancels the call, and no answer comes.
    pub(super) fn forget_call(&self, token: u32) {
        drop(self.calls.borrow_mut().remove(&token));
    }

    /// An exchange adds something else to the load than before.
    pub(super) fn reweigh(&self, before: Weight, after: Weight) {
        let load = self.load.get();
        let count =
            |of: u32, was: bool, is: bool| of.saturating_sub(u32::from(was)).saturating_add(u32::from(is));
        self.load.set(Load {
            active: count(load.active, before.active, after.active),
            repeating: count(load.repeating, before.repeats, after.repeats),
            kept: load.kept.saturating_sub(before.kept).saturating_add(after.kept),
            ..load
        });
    }

    /// Tries again what lost its race, sets the gauges and hands over the counters.
    pub(super) fn tick(&self) {
        self.wall_offset.set(wall_offset());
        self.retry();
        self.turn(|turn| turn.set_gauges());
        if self.gateway.calls_out() {
            let load = failover::publish(&self.store, self.load.get(), host::monotonic());
            self.emit(Metric::Underway, load.active.into());
            self.emit(Metric::Repeating, load.repeating.into());
        }
        let pending = u64::try_from(self.bookings.borrow().len());
        self.emit(Metric::PendingSettlements, pending.unwrap_or(u64::MAX));
        self.emit(Metric::VmMemory, host::memory());
        self.flush_counters();
    }

    /// The tick where there are no gauges to set: those are the gateway role's.
    pub(super) fn keep(&self) {
        self.retry();
        self.flush_counters();
    }

    /// Tries again what couldn't be written; what still can't be waits for the next time.
    pub(super) fn retry(&self) {
        let (bookings, transitions) = (self.bookings.take(), self.transitions.take());
        if !(bookings.is_empty() && transitions.is_empty()) {
            self.turn(|turn| turn.retry(bookings, transitions));
        }
    }

    /// Both clocks, at the price of one.
    fn now(&self) -> Now {
        let monotonic = host::monotonic();
        Now {
            monotonic,
            wall: UnixMillis((monotonic.0 / 1_000_000).wrapping_add(self.wall_offset.get())),
        }
    }

    /// The policy goes: what it has still to write and to count goes to the host.
    pub(super) fn end(&self) {
        self.retry();
        self.errands.end(self);
        self.flush_counters();
    }

    /// Hands the host what was counted since the last tick.
    fn flush_counters(&self) {
        self.emit(Metric::StoreConflicts, self.store.take_conflicts());
        for meter in self.metrics.borrow_mut().values_mut() {
            let counted = core::mem::take(&mut meter.counted);
            if let (Some(id), 1..) = (meter.id, counted) {
                let _ = host::add_to_metric(id, counted);
            }
        }
    }

    fn see_to(&self, effects: Effects) {
        for (metric, value) in effects.metrics {
            self.emit(metric, value);
        }
        for (key, value) in effects.properties {
            super::step::report(host::set_property(key.as_bytes(), &value));
        }
        for change in effects.changes {
            let line = change.describe(&self.gateway.policy);
            host::log(Level::Info, &format!("spillway: {line}"));
        }
        for kind in self.errands.push(effects.errands) {
            self.turn(|turn| turn.dropped(kind));
        }
        self.bookings.borrow_mut().extend(effects.bookings);
        self.transitions.borrow_mut().extend(effects.transitions);
    }

    /// Counters wait for the tick, histograms and gauges don't: a crossing to the host costs more than a sum.
    fn emit(&self, metric: Metric, value: u64) {
        let mut metrics = self.metrics.borrow_mut();
        let meter = metrics.entry(metric).or_insert_with(|| self.meter(metric));
        match (metric.kind(), meter.id) {
            (Kind::Counter, _) => meter.counted = meter.counted.saturating_add(value),
            // A metric that the host won't keep is no reason to fail an exchange.
            (Kind::Gauge | Kind::Histogram, Some(id)) => drop(host::record_metric(id, value)),
            (Kind::Gauge | Kind::Histogram, None) => {}
        }
    }

    fn meter(&self, metric: Metric) -> Meter {
        let kind = match metric.kind() {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        Meter {
            id: host::define_metric(kind, &metric.name(&self.gateway.policy)).ok(),
            counted: 0,
        }
    }

    /// The next random number (splitmix64, seeded by the host).
    fn draw(&self) -> u64 {
        let state = self.entropy.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.entropy.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A metric of the host; none when it wouldn't define it.
#[derive(Debug)]
struct Meter {
    id: Option<u32>,
    /// Counted since the last tick.
    counted: u64,
}

/// Milliseconds that wall time is ahead of the monotonic clock.
fn wall_offset() -> u64 {
    host::wall().0.wrapping_sub(host::monotonic().0 / 1_000_000)
}
