//! Calls that no exchange waits for: a bounded queue, worked off by the tick in the root context's name.
//!
//! Its invariant: whoever queues never waits and never fails; what there is no room for comes back to be counted.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use crate::exchange::{CallAnswer, Errand, ErrandKind};
use crate::time::Instant;

use super::host;
use super::line::dispatch;
use super::worker::Worker;

/// Waiting calls of a worker, and their bytes: some seconds of a busy one's.
const MOST_WAITING: usize = 1_024;
const MOST_BYTES: usize = 8 << 20;
/// Calls that are out at a time: a service that hangs is not to be overrun.
const MOST_OUT: usize = 64;
/// A host that forgets a call's time is waited for so much longer.
const GRACE: core::time::Duration = core::time::Duration::from_secs(1);

/// The errands of a worker.
#[derive(Debug, Default)]
pub(super) struct Errands {
    waiting: RefCell<VecDeque<Errand>>,
    /// Those that are out, by their tokens, each with when it is given up.
    out: RefCell<BTreeMap<u32, (Instant, ErrandKind)>>,
}

impl Errands {
    /// Queues them; answers those that there is no room for.
    pub(super) fn push(&self, errands: Vec<Errand>) -> Vec<ErrandKind> {
        if errands.is_empty() {
            return Vec::new();
        }
        let mut waiting = self.waiting.borrow_mut();
        let mut bytes: usize = waiting.iter().map(Errand::size).sum();
        let mut dropped = Vec::new();
        for errand in errands {
            let size = bytes.saturating_add(errand.size());
            if waiting.len() >= MOST_WAITING || size > MOST_BYTES {
                dropped.push(errand.kind);
            } else {
                bytes = size;
                waiting.push_back(errand);
            }
        }
        dropped
    }

    /// Makes calls, as many as may be out, and gives up those that the host forgot.
    pub(super) fn run(&self, worker: &Worker, root: u32) {
        self.give_up(worker);
        while self.out.borrow().len() < MOST_OUT {
            let Some(errand) = self.waiting.borrow_mut().pop_front() else {
                return;
            };
            let token = host::speak_for(root).ok().and_then(|()| dispatch(&errand.call));
            match token {
                Some(token) => {
                    let until = host::monotonic().after(errand.call.timeout.saturating_add(GRACE));
                    drop(self.out.borrow_mut().insert(token, (until, errand.kind)));
                }
                None => worker.turn(|turn| turn.came_back(errand.kind, &CallAnswer::unsent())),
            }
        }
    }

    /// The policy goes, and nothing of its own will be answered any more.
    pub(super) fn end(&self, worker: &Worker) {
        let waiting = self.waiting.take().into_iter().map(|errand| errand.kind);
        let out = self.out.take().into_values().map(|(_, kind)| kind);
        for kind in waiting.chain(out) {
            worker.turn(|turn| turn.dropped(kind));
        }
    }

    fn give_up(&self, worker: &Worker) {
        let now = host::monotonic();
        let late: Vec<u32> = {
            let out = self.out.borrow();
            let late = out.iter().filter(|(_, (until, _))| *until <= now);
            late.map(|(token, _)| *token).collect()
        };
        for kind in late.into_iter().filter_map(|token| self.done(token)) {
            worker.turn(|turn| turn.came_back(kind, &CallAnswer::default()));
        }
    }

    /// The errand whose call was answered, if it is one's.
    pub(super) fn done(&self, token: u32) -> Option<ErrandKind> {
        self.out.borrow_mut().remove(&token).map(|(_, kind)| kind)
    }
}
