//! The side that tests and the demo talk to: faults of the whole instance, gates that hold answers, what was seen.
//!
//! | | |
//! |---|---|
//! | `POST /mock/faults` | a JSON object of `fault` names: the instance's faults from now on; `{}` ends them |
//! | `POST /mock/release/GROUP` | answers held by `x-mock-hold: GROUP` go out, later ones aren't held |
//! | `POST /mock/reset` | no faults, no gates, all counts at zero |
//! | `GET /mock/stats` | arrived and answered by path, statuses, held by group, tokens stated, all values of each header, the last request |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::fault::Fault;
use crate::http::Request;

/// Values of one header that are kept; what matters is whether there is one that shouldn't be.
const MOST_SEEN: usize = 256;

/// What all connections share.
#[derive(Default)]
pub(crate) struct Control {
    state: Mutex<State>,
    gates: Condvar,
}

#[derive(Default)]
struct State {
    fault: Fault,
    /// Requests since the faults were set.
    number: u64,
    released: BTreeSet<String>,
    held: BTreeMap<String, u64>,
    arrived: BTreeMap<String, u64>,
    answered: BTreeMap<String, u64>,
    statuses: BTreeMap<String, u64>,
    in_flight: u64,
    most_in_flight: u64,
    aborted: u64,
    /// Every value that each header came with, [`MOST_SEEN`] at most.
    seen: BTreeMap<String, BTreeSet<String>>,
    last: Option<Request>,
}

impl Control {
    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that panicked has left whole numbers behind all the same.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request in and says what should go wrong with it.
    pub(crate) fn arrive(&self, request: Request) -> Fault {
        let own = Fault::of(&request);
        let mut state = self.state();
        let route = request.route().to_owned();
        *state.arrived.entry(route).or_default() += 1;
        state.see(&request);
        state.last = Some(request);
        state.in_flight += 1;
        state.most_in_flight = state.most_in_flight.max(state.in_flight);
        let number = state.number;
        state.number += 1;
        match state.fault.strikes(number) {
            true => own.or(&state.fault),
            false => own,
        }
    }

    /// Counts an answer out; `sent` says whether the client took all of it.
    pub(crate) fn leave(&self, route: &str, status: u16, sent: bool) {
        let mut state = self.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        if sent {
            *state.answered.entry(route.to_owned()).or_default() += 1;
            *state.statuses.entry(status.to_string()).or_default() += 1;
        } else {
            state.aborted += 1;
        }
    }

    /// Waits until the group is released.
    pub(crate) fn hold(&self, group: &str) {
        let mut state = self.state();
        *state.held.entry(group.to_owned()).or_default() += 1;
        while !state.released.contains(group) {
            state = self.gates.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(count) = state.held.get_mut(group) {
            *count = count.saturating_sub(1);
        }
    }

    /// Answers a request to `/mock/…`: a status and a JSON body.
    pub(crate) fn command(&self, request: &Request) -> (u16, Value) {
        match (
            request.method.as_str(),
            request.route().trim_start_matches("/mock/"),
        ) {
            ("POST", "faults") => self.set_faults(&request.body),
            ("POST", "reset") => self.reset(),
            ("GET", "stats") => (200, self.state().stats()),
            ("POST", command) => match command.strip_prefix("release/") {
                Some(group) => self.release(group),
                None => (404, json!({"error": "no such command"})),
            },
            _ => (404, json!({"error": "no such command"})),
        }
    }

    fn set_faults(&self, body: &[u8]) -> (u16, Value) {
        let document: Value = serde_json::from_slice(body).unwrap_or_default();
        match Fault::from_json(&document) {
            Ok(fault) => {
                let mut state = self.state();
                state.fault = fault;
                state.number = 0;
                (200, json!({"faults": document}))
            }
            Err(message) => (400, json!({"error": message})),
        }
    }

    fn release(&self, group: &str) -> (u16, Value) {
        let mut state = self.state();
        state.released.insert(group.to_owned());
        let held = state.held.get(group).copied().unwrap_or(0);
        drop(state);
        self.gates.notify_all();
        (200, json!({"released": held}))
    }

    fn reset(&self) -> (u16, Value) {
        let mut state = self.state();
        let (in_flight, mut held) = (state.in_flight, core::mem::take(&mut state.held));
        held.retain(|_, count| *count > 0);
        // Those still held must find their gate open.
        let released = held.keys().cloned().collect();
        *state = State {
            in_flight,
            most_in_flight: in_flight,
            held,
            released,
            ..State::default()
        };
        drop(state);
        self.gates.notify_all();
        (200, json!({}))
    }
}

impl State {
    fn see(&mut self, request: &Request) {
        for (name, value) in &request.headers {
            let seen = self.seen.entry(name.clone()).or_default();
            if seen.len() < MOST_SEEN {
                seen.insert(value.clone());
            }
        }
    }

    fn stats(&self) -> Value {
        let last = self.last.as_ref().map(|request| {
            json!({"method": request.method, "path": request.path, "headers": request.headers,
                   "body": String::from_utf8_lossy(&request.body)})
        });
        json!({
            "arrived": self.arrived, "answered": self.answered, "statuses": self.statuses, "held": self.held,
            "in_flight": self.in_flight, "most_in_flight": self.most_in_flight, "aborted": self.aborted, "seen": self.seen, "last": last,
        })
    }
}
