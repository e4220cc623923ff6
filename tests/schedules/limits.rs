//! Admission, settlement, rollback and eviction in every order.

use core::time::Duration;

use spillway::ledger::{Key, Ledger};
use spillway::policy::{Limit, OnContention};

use crate::account::{Account, Act, Lab, MOST_LIMITS, NOW, balanced, limit, sum};
use crate::explorer::{Records, Scenario, Shelf};
use crate::{holds, is_full};

use Act::{Ask, Cancel, Use, Wait};

/// Workers by their scripts, on a clock that stands still, and what must hold of all books when all is over.
pub(crate) fn still<'a>(
    lab: &'a Lab,
    scripts: &'a [&'a [Act]],
    at_end: impl Fn(&Account) -> Result<(), String> + 'a,
) -> Scenario<'a, Account, Vec<u64>> {
    Scenario {
        workers: scripts.iter().map(|script| lab.worker(script)).collect(),
        measure: Box::new(|records| lab.charged(records, NOW)),
        check: Box::new(move |charged: &Vec<u64>, workers| {
            let sum = balanced(lab, charged, workers)?;
            match workers.iter().all(|worker| worker.done) {
                true => at_end(&sum),
                false => Ok(()),
            }
        }),
        ..Scenario::default()
    }
}

pub(crate) fn granted(wanted: usize) -> impl Fn(&Account) -> Result<(), String> {
    move |sum| match sum.granted == wanted {
        true => Ok(()),
        false => Err(format!("{} were admitted instead of {wanted}", sum.granted)),
    }
}

fn anyhow(_: &Account) -> Result<(), String> {
    Ok(())
}

/// Two limits on one page, or on two.
pub(crate) fn layouts(limits: [Limit; 2]) -> [(Lab, &'static str); 2] {
    let [one, other] = &limits;
    let lab = |owners: &[&str]| Lab::new(vec![one.clone(), other.clone()], owners);
    [(lab(&["a", "a"]), "one page"), (lab(&["a", "b"]), "two pages")]
}

#[test]
fn of_those_who_want_the_last_tokens_exactly_one_gets_them() {
    for (lab, pages) in layouts([limit(100), limit(150)]) {
        let script: &[Act] = &[Ask(&[0, 1], 80), Use(50)];
        // What the first gives back may be in time for the second, and then both fit.
        let once = |sum: &Account| match sum.granted {
            1 | 2 => Ok(()),
            other => Err(format!("{other} were admitted")),
        };
        holds(
            format!("2 want the last tokens, {pages}"),
            &still(&lab, &[script; 2], once),
        );
        let kept: &[Act] = &[Ask(&[0, 1], 80)];
        holds(
            format!("3 want the last tokens, {pages}"),
            &still(&lab, &[kept; 3], granted(1)),
        );
    }
}

#[test]
fn what_is_charged_is_the_sum_of_what_was_used() {
    for (lab, pages) in layouts([limit(1_000), limit(2_000)]) {
        let [less, more]: [&[Act]; 2] = [&[Ask(&[0, 1], 100), Use(30)], &[Ask(&[0, 1], 100), Use(250)]];
        let twice: &[Act] = &[Ask(&[0, 1], 100), Use(30), Ask(&[0, 1], 50), Use(70)];
        holds(
            format!("2 settle, {pages}"),
            &still(&lab, &[less, more], granted(2)),
        );
        if pages == "one page" || is_full() {
            holds(
                format!("2 settle twice, {pages}"),
                &still(&lab, &[twice, twice], granted(4)),
            );
            holds(
                format!("3 settle, {pages}"),
                &still(&lab, &[less, more, less], granted(3)),
            );
        }
    }
}

#[test]
fn a_refusal_leaves_nothing_behind_whoever_comes_between() {
    let lab = Lab::new(vec![limit(100), limit(101)], &["a", "b"]);
    // The first and the second page in the ledger's own order.
    let [first, second]: [&'static [usize]; 2] = match first_page(&lab) {
        0 => [&[0], &[1]],
        _ => [&[1], &[0]],
    };
    let both: &[Act] = &[Ask(&[0, 1], 80), Cancel];
    let [on_first, on_second]: [Vec<Act>; 2] = [vec![Ask(first, 80)], vec![Ask(second, 80), Use(40)]];
    let scripts: [&[Act]; 3] = [both, &on_first, &on_second];
    let some = |sum: &Account| match (sum.granted, sum.contended) {
        (1..=3, 0) => Ok(()),
        other => Err(format!("granted and contended: {other:?}")),
    };
    holds(
        "rollback, 2 against 1 page",
        &still(&lab, &[both, &on_second], some),
    );
    holds("rollback, 3 on 2 pages", &still(&lab, &scripts, some));
}

/// Which limit's page is written first.
fn first_page(lab: &Lab) -> usize {
    let written = |key: Key| {
        let shelf = Shelf::default();
        let claims = lab.claims(&[usize::from(key == lab.keys[1])]);
        assert_eq!(claims.len(), 1);
        let _ = lab.ask(&shelf, &[usize::from(key == lab.keys[1])], 1, NOW);
        shelf.0.into_inner().into_keys().next().unwrap()
    };
    usize::from(written(lab.keys[1]) < written(lab.keys[0]))
}

#[test]
fn a_ticket_given_back_leaves_nothing() {
    for (lab, pages) in layouts([limit(100), limit(150)]) {
        let script: &[Act] = &[Ask(&[0, 1], 40), Cancel, Ask(&[0, 1], 30), Use(20)];
        let (script, count) = if pages == "one page" || is_full() {
            (script, 4)
        } else {
            (&script[..2], 2)
        };
        holds(
            format!("2 cancel, {pages}"),
            &still(&lab, &[script; 2], granted(count)),
        );
    }
}

#[test]
fn a_store_that_fails_costs_no_charge_and_admits_nobody_beyond_the_limit() {
    let deny = |quota| Limit {
        on_contention: OnContention::Deny,
        ..limit(quota)
    };
    for (kind, limits) in [
        ("allow", [limit(100), limit(150)]),
        ("deny", [deny(100), deny(150)]),
    ] {
        for (lab, pages) in layouts(limits) {
            let [one, other]: [&[Act]; 2] = [&[Ask(&[0, 1], 60), Use(40)], &[Ask(&[0, 1], 60), Use(60)]];
            let scripts = [one, other];
            let scenario = Scenario {
                failures: 1 + u8::from(is_full()),
                ..still(&lab, &scripts, anyhow)
            };
            holds(format!("failing store, {kind}, {pages}"), &scenario);
        }
    }
}

#[test]
fn a_worker_that_vanishes_leaves_what_refills_by_itself() {
    for (lab, pages) in layouts([limit(100), limit(150)]) {
        let script: &[Act] = &[Ask(&[0, 1], 60), Use(90)];
        let scripts: &[&[Act]] = &[script; 3];
        let count = if pages == "one page" || is_full() { 3 } else { 2 };
        let scenario = Scenario {
            vanish: 2,
            measure: Box::new(|records| {
                let [now, full] =
                    [0, 300].map(|later| lab.charged(records, NOW.after(Duration::from_secs(later))));
                [now, full].concat()
            }),
            check: Box::new(|charged: &Vec<u64>, workers| {
                let (now, full) = charged.split_at(2);
                let sum = sum(workers);
                let within = |at: usize| (sum.low[at]..=sum.high[at]).contains(&now[at]);
                match (0..2).all(within) && full == [0, 0] {
                    true => Ok(()),
                    false => Err(format!("charged {charged:?}, books {sum:?}")),
                }
            }),
            ..still(&lab, &scripts[..count], anyhow)
        };
        holds(format!("{count} workers, 2 may vanish, {pages}"), &scenario);
    }
}

/// The most calls that an operation may need on one page: a read, and for each try a write and a read.
const MOST_CALLS: usize = 1 + 2 * 16;

#[test]
fn a_page_that_is_always_busy_is_given_up_after_sixteen_tries_as_the_limit_says() {
    let deny = Limit {
        on_contention: OnContention::Deny,
        ..limit(100)
    };
    for (kind, limit) in [("allow", limit(100)), ("deny", deny)] {
        let denies = kind == "deny";
        let lab = Lab::new(vec![limit], &["a"]);
        let script: &[Act] = &[Ask(&[0], 60), Use(30)];
        let scenario = Scenario {
            conflicts: 40,
            workers: vec![lab.worker(script)],
            check: Box::new(move |charged: &Vec<u64>, workers| {
                let sum = sum(workers);
                let fallen_back = sum.contended == 0 || denies == (sum.refused > 0);
                let within = (sum.low[0]..=sum.high[0]).contains(&charged[0]);
                match within && fallen_back {
                    true => Ok(()),
                    false => Err(format!("charged {charged:?}, {sum:?}")),
                }
            }),
            ..still(&lab, &[], anyhow)
        };
        let found = holds(format!("a busy page, {kind}"), &scenario);
        assert_eq!(found.operation, MOST_CALLS, "the bound is reached, and kept");
    }
}

#[test]
fn two_workers_are_never_so_unlucky_that_they_give_up() {
    let lab = Lab::new(vec![limit(1_000)], &["a"]);
    let script: &[Act] = &[
        Ask(&[0], 60),
        Use(30),
        Ask(&[0], 60),
        Use(30),
        Ask(&[0], 60),
        Use(30),
    ];
    let script = if is_full() { script } else { &script[..5] };
    let never_contended = |sum: &Account| match sum.contended {
        0 => Ok(()),
        _ => Err(format!("{sum:?}")),
    };
    holds(
        "2 of three exchanges",
        &still(&lab, &[script; 2], never_contended),
    );
}

#[test]
fn as_time_goes_by_no_more_is_given_away_than_has_refilled() {
    let lab = Lab::new(vec![limit(100)], &["a"]);
    let [slow, quick]: [&[Act]; 2] = [
        &[Ask(&[0], 60), Wait(30), Use(20), Ask(&[0], 50)],
        &[Wait(10), Ask(&[0], 40), Wait(5), Use(70), Wait(40), Ask(&[0], 30)],
    ];
    // From the first to the last reading of any clock.
    let (last, capacity) = (55, 100);
    let scenario = Scenario {
        measure: Box::new(|records| lab.charged(records, NOW.after(Duration::from_secs(last)))),
        check: Box::new(move |charged: &Vec<u64>, workers| {
            let sum = sum(workers);
            let owed = sum.low[0].saturating_sub(last);
            // One of the uses is 30 above its reservation.
            let promised = sum.promised[0].saturating_sub(30);
            match charged[0] >= owed && promised <= capacity + last {
                true => Ok(()),
                false => Err(format!("charged {} of {owed} owed, {sum:?}", charged[0])),
            }
        }),
        ..still(&lab, &[], anyhow)
    };
    let scenario = Scenario {
        workers: vec![lab.worker(slow), lab.worker(quick)],
        ..scenario
    };
    holds("clocks that go on", &scenario);
}

/// A page that is full of others' debts but for `free` entries.
fn crowded(ledger: &Ledger, limit: &Limit, free: usize) -> Records {
    let shelf = Shelf::default();
    let keys = (0..15 - free).map(|other| ledger.key(limit, b"a", &[&other.to_le_bytes()]));
    for key in keys {
        let lab = Lab {
            ledger: ledger.clone(),
            limits: vec![limit.clone()],
            keys: vec![key],
        };
        let _ = lab.ask(&shelf, &[0], limit.burst, NOW);
    }
    shelf.0.into_inner()
}

#[test]
fn newcomers_of_a_crowded_page_share_what_is_left_and_nobody_is_forgotten() {
    let limits = [limit(100), limit(120), limit(140)];
    let lab = Lab::new(limits.to_vec(), &["a"; MOST_LIMITS]);
    let scripts: [&[Act]; 3] = [
        &[Ask(&[0], 60), Use(30), Ask(&[0], 20)],
        &[Ask(&[1], 50), Use(80)],
        &[Ask(&[2], 40), Cancel, Ask(&[2], 40), Use(40)],
    ];
    let fewer: [&[Act]; 3] = [&scripts[0][..2], scripts[1], &scripts[2][2..]];
    for free in 0..=2 {
        let before = crowded(&lab.ledger, &limit(1_000), free);
        let scenario = Scenario {
            before,
            // Beside the newcomers' own, the least that any of those has who were there before.
            measure: Box::new(|records| {
                let mut charged = lab.charged(records, NOW);
                charged.push(least_of_crowd(&lab.ledger, &limit(1_000), records, free));
                charged
            }),
            check: Box::new(|charged: &Vec<u64>, workers| {
                let sum = sum(workers);
                // Whoever shares the overflow is held to all of it, and never to less than its own.
                let own = (0..MOST_LIMITS).all(|at| charged[at] >= sum.low[at]);
                let all = (0..MOST_LIMITS).all(|at| charged[at] <= sum.high.iter().sum());
                let within = (0..MOST_LIMITS).all(|at| sum.promised[at] <= limits[at].burst);
                match own && all && within && charged[MOST_LIMITS] == 1_000 {
                    true => Ok(()),
                    false => Err(format!("charged {charged:?}, books {sum:?}")),
                }
            }),
            ..still(&lab, if is_full() { &scripts } else { &fewer }, anyhow)
        };
        holds(format!("a crowded page, {free} free"), &scenario);
    }
}

fn least_of_crowd(ledger: &Ledger, limit: &Limit, records: &Records, free: usize) -> u64 {
    let lab = |key| Lab {
        ledger: ledger.clone(),
        limits: vec![limit.clone()],
        keys: vec![key],
    };
    let keys = (0..15 - free).map(|other| ledger.key(limit, b"a", &[&other.to_le_bytes()]));
    keys.map(|key| lab(key).charged(records, NOW)[0]).min().unwrap()
}

/// The explorer itself: taken one by one, schedules are as many, and as good.
#[test]
fn schedules_walked_one_by_one_are_as_many_as_those_taken_together() {
    let lab = Lab::new(vec![limit(100), limit(150)], &["a", "b"]);
    let [less, more]: [&[Act]; 2] = [&[Ask(&[0], 80), Use(30)], &[Ask(&[0], 80), Use(90)]];
    let both: &[Act] = &[Ask(&[0, 1], 80)];
    for scripts in [[less, more, &[]], [both, both, &[]]] {
        let count = |one_by_one| {
            let scenario = Scenario {
                one_by_one,
                failures: 1,
                ..still(&lab, &scripts, anyhow)
            };
            let found = holds(format!("one by one: {one_by_one}"), &scenario);
            (found.schedules, found.longest)
        };
        assert_eq!(count(true), count(false));
    }
}
