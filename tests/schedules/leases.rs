//! The retry budget, the layouts and the hash key in every order.

use spillway::failover::{Load, acquire, publish};
use spillway::layout::{Before, ours, take_over};
use spillway::ledger::HashKey;
use spillway::store::{Cas, Store};
use spillway::time::Instant;

use crate::explorer::{Desk, Program, Records, Scenario, Seen, Shelf};
use crate::{holds, is_full};

const NOW: Instant = Instant(1_000_000_000_000);
/// A fifth of what is active, and three at least.
const SHARE: f64 = 0.2;

/// A worker that asks twice to repeat, and ends.
fn asker(worker: u64) -> Program<'static, Repeats> {
    Box::new(move |desk: &Desk<'_, Repeats>| {
        let mut load = Load {
            worker,
            active: 1,
            ..Load::default()
        };
        for ask in 0..2 {
            load.repeating += u32::from(acquire(desk, load, SHARE, NOW));
            desk.say(load.repeating);
            desk.mark(format!("{ask} {load:?}"));
        }
    })
}

/// Repeats that a worker has under way.
type Repeats = u32;

/// A worker of so many active exchanges that asks for two repeats a round as often as it is told, and ends all but one.
fn repeater(worker: u64, active: u32, rounds: usize) -> Program<'static, Repeats> {
    Box::new(move |desk: &Desk<'_, Repeats>| {
        let mut load = Load {
            worker,
            active,
            repeating: 0,
            kept: 0,
        };
        publish(desk, load, NOW);
        desk.mark(format!("{load:?}"));
        for round in 0..rounds {
            for ask in 0..2 {
                load.repeating += u32::from(acquire(desk, load, SHARE, NOW));
                desk.say(load.repeating);
                desk.mark(format!("{round} {ask} {load:?}"));
            }
            load.repeating = load.repeating.min(1);
            desk.say_next(load.repeating);
            publish(desk, load, NOW);
            desk.mark(format!("{round} {load:?}"));
        }
    })
}

fn repeats(workers: &[Seen<'_, Repeats>]) -> u32 {
    workers.iter().filter_map(|worker| worker.said).sum()
}

fn budget(workers: Vec<Program<'static, Repeats>>, most: u32) -> Scenario<'static, Repeats, ()> {
    Scenario {
        workers,
        check: Box::new(move |(), workers| match repeats(workers) <= most {
            true => Ok(()),
            false => Err(format!("{} repeats of {most}", repeats(workers))),
        }),
        ..Scenario::default()
    }
}

#[test]
fn the_retry_budget_is_never_exceeded() {
    let few = || vec![repeater(1, 1, 2), repeater(2, 1, 2)];
    holds("retry budget, 2 workers, the minimum", &budget(few(), 3));
    holds(
        "retry budget, 3 workers ask for 6",
        &budget(vec![asker(1), asker(2), asker(3)], 3),
    );
    if is_full() {
        let three = vec![repeater(1, 1, 1), repeater(2, 1, 1), repeater(3, 1, 1)];
        holds("retry budget, 3 workers, the minimum", &budget(three, 3));
    }
    let many = vec![repeater(1, 12, 1), repeater(2, 8, 2)];
    holds("retry budget, 2 workers, a share", &budget(many, 4));
}

#[test]
fn a_budget_that_is_too_busy_lets_each_worker_have_the_minimum() {
    let busy = Scenario {
        conflicts: 9,
        ..budget(vec![asker(1), asker(2)], 6)
    };
    let found = holds("retry budget, busy", &busy);
    assert!(found.operation <= 16, "eight tries, {} calls", found.operation);
}

#[test]
fn what_a_vanished_worker_had_under_way_lapses_after_five_seconds() {
    let later = NOW.after(core::time::Duration::from_secs(5));
    let newcomer = |records: &Records| {
        let (shelf, mut load) = (
            Shelf::of(records),
            Load {
                worker: 9,
                ..Load::default()
            },
        );
        while acquire(&shelf, load, SHARE, later) {
            load.repeating += 1;
        }
        load.repeating
    };
    let scenario = Scenario {
        before: Records::new(),
        workers: vec![repeater(1, 1, 2), repeater(2, 1, 2)],
        vanish: 2,
        failures: 0,
        conflicts: 0,
        flaw: crate::explorer::Flaw::None,
        one_by_one: false,
        measure: Box::new(newcomer),
        check: Box::new(|lets: &u32, workers| match (*lets, repeats(workers)) {
            (3, 0..=3) => Ok(()),
            other => Err(format!("a newcomer may repeat, and others do: {other:?}")),
        }),
    };
    holds("retry budget, workers may vanish", &scenario);
}

#[test]
fn one_worker_hears_of_a_new_layout_and_all_agree_on_it() {
    let news = |before: Option<&'static str>| {
        let shelf = Shelf::default();
        before.iter().for_each(|text| {
            shelf
                .write("spillway/layout", text.as_bytes(), Cas::Absent)
                .unwrap()
        });
        let starts = || -> Program<'static, Before> {
            Box::new(|desk: &Desk<'_, Before>| desk.say(take_over(desk).unwrap()))
        };
        let first = before.map_or(Before::Nothing, |text| Before::Other(text.to_owned()));
        Scenario {
            before: shelf.0.into_inner(),
            workers: vec![starts(), starts(), starts()],
            measure: Box::new(|records: &Records| {
                records
                    .get("spillway/layout")
                    .is_some_and(|(text, _)| *text == ours().into_bytes())
            }),
            check: Box::new(move |taken, workers: &[Seen<'_, Before>]| {
                let heard = workers.iter().filter_map(|worker| worker.said);
                let (mut told, mut same) = (0, 0);
                heard.for_each(|news| match news {
                    Before::Same => same += 1,
                    other => told += if *other == first { 1 } else { 100 },
                });
                match (workers.iter().all(|worker| worker.done), told, same) {
                    (true, 1, 2) if *taken => Ok(()),
                    (false, 0..=1, _) => Ok(()),
                    other => Err(format!("done, told, same: {other:?}")),
                }
            }),
            ..Scenario::default()
        }
    };
    holds("layout, a new store", &news(None));
    holds("layout, another module's", &news(Some("limits 1, breakers 1")));
}

#[test]
fn all_workers_agree_on_one_hash_key() {
    let starts = |random: u8| -> Program<'static, HashKey> {
        Box::new(move |desk: &Desk<'_, HashKey>| desk.say(HashKey::shared(desk, [random; 16]).unwrap()))
    };
    let scenario = Scenario::<HashKey, ()> {
        workers: vec![starts(1), starts(2), starts(3)],
        check: Box::new(|(), workers| {
            let mut keys = workers.iter().filter_map(|worker| worker.said);
            let first = keys.next();
            match keys.all(|key| Some(key) == first) {
                true => Ok(()),
                false => Err("two keys".to_owned()),
            }
        }),
        ..Scenario::default()
    };
    holds("hash key", &scenario);
}
