//! Faults on demand, and hooks between a module's host calls.
//!
//! All numbers count from the moment the test asks, 1 being the very next call. Hooks run with no lock held, so they may
//! drive other workers: that is how two workers are interleaved at a chosen host call.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use crate::abi::Status;

type Hook = Box<dyn FnOnce() + Send>;
type EveryHook = Box<dyn FnMut(u64) + Send>;

/// What is planned, and how far the counting is.
#[derive(Default)]
pub(crate) struct Faults {
    plan: Mutex<Plan>,
}

#[derive(Default)]
struct Plan {
    store_calls: u64,
    store_sets: u64,
    before: BTreeMap<u64, VecDeque<Hook>>,
    before_every: Option<EveryHook>,
    conflicts: Vec<(u64, u64)>,
    failures: BTreeMap<u64, Status>,
    host_calls: BTreeMap<&'static str, u64>,
    copied: u64,
    traps: Vec<(String, u64)>,
}

impl Faults {
    pub(crate) fn before_store_call(&self, nth: u64, hook: Hook) {
        let mut plan = self.plan();
        let at = plan.store_calls + nth.max(1);
        plan.before.entry(at).or_default().push_back(hook);
    }

    pub(crate) fn before_every_store_call(&self, hook: Option<EveryHook>) {
        self.plan().before_every = hook;
    }

    pub(crate) fn conflict_on_sets(&self, first: u64, last: u64) {
        let mut plan = self.plan();
        let base = plan.store_sets;
        plan.conflicts
            .push((base.saturating_add(first.max(1)), base.saturating_add(last)));
    }

    pub(crate) fn no_more_conflicts(&self) {
        self.plan().conflicts.clear();
    }

    pub(crate) fn fail_store_call(&self, nth: u64, status: Status) {
        let mut plan = self.plan();
        let at = plan.store_calls + nth.max(1);
        plan.failures.insert(at, status);
    }

    pub(crate) fn trap_in(&self, host_function: &str, nth: u64) {
        let mut plan = self.plan();
        let done = plan.host_calls.get(host_function).copied().unwrap_or(0);
        plan.traps.push((host_function.to_owned(), done + nth.max(1)));
    }

    pub(crate) fn host_calls(&self) -> BTreeMap<&'static str, u64> {
        self.plan().host_calls.clone()
    }

    pub(crate) fn copied(&self) -> u64 {
        self.plan().copied
    }

    /// So many bytes went over the border, one way or the other.
    pub(crate) fn count_copied(&self, bytes: usize) {
        let mut plan = self.plan();
        plan.copied = plan
            .copied
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    pub(crate) fn store_calls(&self) -> u64 {
        self.plan().store_calls
    }

    /// Counts a host call; says whether it is one that must trap.
    pub(crate) fn entered(&self, host_function: &'static str) -> bool {
        let mut plan = self.plan();
        let count = plan.host_calls.entry(host_function).or_default();
        *count += 1;
        let count = *count;
        plan.traps
            .iter()
            .any(|(name, at)| name == host_function && *at == count)
    }

    /// Counts a get or set, runs the hooks before it, and gives the status it must fail with, if any.
    pub(crate) fn before_store(&self) -> Option<Status> {
        let (number, hooks, mut every) = {
            let mut plan = self.plan();
            plan.store_calls += 1;
            let number = plan.store_calls;
            (
                number,
                plan.before.remove(&number).unwrap_or_default(),
                plan.before_every.take(),
            )
        };
        hooks.into_iter().for_each(|hook| hook());
        if let Some(hook) = &mut every {
            hook(number);
        }
        let mut plan = self.plan();
        plan.before_every = plan.before_every.take().or(every);
        plan.failures.remove(&number)
    }

    /// Counts a set with a CAS; says whether it must meet a conflict.
    pub(crate) fn conflicts(&self) -> bool {
        let mut plan = self.plan();
        plan.store_sets += 1;
        let number = plan.store_sets;
        plan.conflicts
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&number))
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().expect("fault plan")
    }
}
