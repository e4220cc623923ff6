//! Epochs: workers of a former policy, which still drain, beside workers of the one in force.
//!
//! A limit of another quota goes on with the same buckets: no use is forgotten, and nobody is held to more than a whole
//! burst. A limit of another period has buckets of its own.

use core::time::Duration;

use spillway::policy::Limit;

use crate::account::{Account, Act, Lab, NOW, limit, sum};
use crate::explorer::{Scenario, Seen};
use crate::holds;
use crate::limits::still;

use Act::{Ask, Use};

/// The same limit, of another quota; a second is `rate` tokens.
fn changed(quota: u64, secs: u64) -> Limit {
    Limit {
        id: 1,
        quota,
        burst: quota,
        period: Duration::from_secs(secs),
        ..limit(quota)
    }
}

/// Workers of both policies on one bucket. `worth`: seconds that a token is worth, by each worker.
fn overlap<'a>(
    labs: [&'a Lab; 2],
    scripts: [&'a [Act]; 2],
    worth: [u64; 2],
    span: u64,
) -> Scenario<'a, Account, [u64; 2]> {
    Scenario {
        workers: vec![labs[0].worker(scripts[0]), labs[1].worker(scripts[1])],
        measure: Box::new(move |records| labs.map(|lab| lab.charged(records, NOW)[0])),
        check: Box::new(move |charged: &[u64; 2], workers: &[Seen<'_, Account>]| {
            let seconds = |of: fn(&Account) -> u64| -> u64 {
                let own = |at: usize| workers[at].said.map_or(0, of) * worth[at];
                own(0) + own(1)
            };
            let (low, promised) = (
                seconds(|account| account.low[0]),
                seconds(|account| account.promised[0]),
            );
            let (least, most) = (charged[0].min(charged[1]), charged[0].max(charged[1]));
            // A refund to a bucket that the other policy has written since is dropped.
            match promised <= span && most <= span && least >= low {
                true => Ok(()),
                false => Err(format!(
                    "charged {charged:?} s of {low}, promised {promised}, {:?}",
                    sum(workers)
                )),
            }
        }),
        ..Scenario {
            before: still(labs[0], &[], |_: &Account| Ok(())).before,
            ..Scenario::<Account, [u64; 2]>::default()
        }
    }
}

#[test]
fn a_changed_quota_forgets_nothing_while_both_policies_work() {
    // 100 and 50 in 100 seconds: tokens of one and of two seconds.
    let (former, present) = (
        Lab::new(vec![changed(100, 100)], &["a"]),
        Lab::new(vec![changed(50, 100)], &["a"]),
    );
    let scripts: [&[Act]; 2] = [
        &[Ask(&[0], 60), Use(40), Ask(&[0], 30), Use(30)],
        &[Ask(&[0], 20), Use(15), Ask(&[0], 20), Use(20)],
    ];
    holds(
        "a changed quota",
        &overlap([&former, &present], scripts, [1, 2], 100),
    );
}

#[test]
fn a_changed_period_gives_nobody_more_than_one_burst_while_both_policies_work() {
    for [former, present] in [[1_000, 100], [100, 1_000]] {
        let labs = [former, present].map(|secs| Lab::new(vec![changed(100, secs)], &["a"]));
        let script: &[Act] = &[Ask(&[0], 90), Ask(&[0], 90), Ask(&[0], 90)];
        let scenario = Scenario::<Account, ()> {
            workers: labs.iter().map(|lab| lab.worker(script)).collect(),
            check: Box::new(|(), workers| {
                let promised: Vec<_> = workers.iter().filter_map(|w| Some(w.said?.promised[0])).collect();
                match promised.iter().all(|promised| *promised <= 100) {
                    true => Ok(()),
                    false => Err(format!("promised of 100 each: {promised:?}")),
                }
            }),
            ..Scenario::default()
        };
        holds(format!("a changed period, {former} s and {present} s"), &scenario);
    }
}
