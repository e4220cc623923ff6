//! What one worker's VM holds for one policy: the gateway, the metrics' ids, and what waits for the tick.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::exchange::{Effects, Gateway, Turn};
use crate::report::metric::state_code;
use crate::report::{Kind, Metric};
use crate::time::{Now, UnixMillis};
use crate::{breaker, ledger};

use super::host::{self, MetricType};
use super::store::SharedData;

/// State of a VM. Single-threaded by the nature of proxy-wasm; cells are never borrowed across a host call that could
/// come back.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) gateway: Gateway,
    metrics: RefCell<BTreeMap<Metric, Meter>>,
    /// What wall time is ahead of the monotonic clock, as the last tick saw it: one clock to read a callback.
    wall_offset: Cell<u64>,
    bookings: RefCell<Vec<ledger::Pending>>,
    transitions: RefCell<Vec<(usize, breaker::PendingTransition)>>,
    entropy: Cell<u64>,
}

impl Worker {
    pub(super) fn new(gateway: Gateway, seed: [u8; 16]) -> Self {
        let (seed, _) = seed.split_at(8);
        let seed = seed.try_into().map(u64::from_le_bytes).unwrap_or_default();
        Self {
            gateway,
            metrics: RefCell::default(),
            wall_offset: Cell::new(wall_offset()),
            bookings: RefCell::default(),
            transitions: RefCell::default(),
            entropy: Cell::new(seed),
        }
    }

    /// Runs the core for one callback, then sees to what it left behind.
    pub(super) fn turn<T>(&self, run: impl FnOnce(&mut Turn<'_, SharedData>) -> T) -> T {
        let mut effects = Effects::default();
        let mut turn = Turn {
            gateway: &self.gateway,
            store: &SharedData,
            now: self.now(),
            entropy: self.draw(),
            effects: &mut effects,
        };
        let answer = run(&mut turn);
        self.see_to(effects);
        answer
    }

    /// The tick: tries again what lost its race, and sets the gauges.
    pub(super) fn tick(&self) {
        self.wall_offset.set(wall_offset());
        let now = self.now();
        let waiting = self.bookings.take();
        let failed: Vec<_> = waiting
            .into_iter()
            .filter_map(|pending| {
                self.gateway
                    .ledger
                    .flush(&SharedData, pending, now.monotonic)
                    .err()
            })
            .collect();
        self.bookings.borrow_mut().extend(failed);
        self.flush_transitions(now);
        self.set_gauges(now);
        self.flush_counters();
    }

    /// Both clocks, at the price of one.
    fn now(&self) -> Now {
        let monotonic = host::monotonic();
        Now {
            monotonic,
            wall: UnixMillis((monotonic.0 / 1_000_000).wrapping_add(self.wall_offset.get())),
        }
    }

    /// Hands the host what was counted since the last tick.
    pub(super) fn flush_counters(&self) {
        for meter in self.metrics.borrow_mut().values_mut() {
            let counted = core::mem::take(&mut meter.counted);
            if let (Some(id), 1..) = (meter.id, counted) {
                let _ = host::add_to_metric(id, counted);
            }
        }
    }

    fn flush_transitions(&self, now: Now) {
        for (provider, pending) in self.transitions.take() {
            let Some(breakers) = self.gateway.breakers(provider) else {
                continue;
            };
            let left = breakers.flush(&SharedData, pending, now.monotonic);
            self.transitions
                .borrow_mut()
                .extend(left.map(|pending| (provider, pending)));
        }
    }

    fn set_gauges(&self, now: Now) {
        for (at, provider) in self.gateway.policy.providers.iter().enumerate() {
            let breakers = breaker::Breakers::of(provider);
            let view = breakers.view(&SharedData, 0, now.monotonic);
            self.emit(Metric::BreakerState(at), state_code(view.state));
            if let Some(headroom) = view.headroom {
                self.emit(Metric::Headroom(at), u64::from(headroom.share));
            }
        }
        let pending = self.bookings.borrow().len();
        self.emit(
            Metric::PendingSettlements,
            u64::try_from(pending).unwrap_or(u64::MAX),
        );
    }

    fn see_to(&self, effects: Effects) {
        for (metric, value) in effects.metrics {
            self.emit(metric, value);
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
