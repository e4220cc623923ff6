//! Two and three workers stepped at every store call, in every order: the ledger, the breakers, the retry budget, the
//! layouts and whole exchanges.
//!
//! Each scenario prints how many schedules it has. `SPILLWAY_SCHEDULES=full` adds the larger ones (minutes); see
//! `explorer.rs` for what a schedule is and why none is left out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod account;
mod breakers;
mod desk;
mod epochs;
mod exchanges;
mod explorer;
mod flaws;
mod keys;
mod leases;
mod limits;
mod threads;

use std::fmt::Display;
use std::io::Write;
use std::time::Instant;

use explorer::{Found, Scenario};

/// Whether the larger scenarios are asked for.
fn is_full() -> bool {
    std::env::var("SPILLWAY_SCHEDULES").is_ok_and(|bound| bound == "full")
}

/// Explores, prints how much there was, and answers it.
fn explored<E, M>(name: impl Display, scenario: &Scenario<'_, E, M>) -> Found {
    let began = Instant::now();
    let found = scenario.explore();
    // Past the capture of the test harness: the counts belong into the log of a good run too.
    let _ = writeln!(
        std::io::stdout().lock(),
        "{name}: {} schedules, {} states, at most {} steps (of an operation: {}), {:.1} s",
        found.schedules,
        found.states,
        found.longest,
        found.operation,
        began.elapsed().as_secs_f64()
    );
    found
}

/// Explores, and wants nothing to be wrong.
fn holds<E, M>(name: impl Display, scenario: &Scenario<'_, E, M>) -> Found {
    let found = explored(&name, scenario);
    if let Some(violation) = &found.violation {
        panic!("{name}: {violation}");
    }
    found
}
