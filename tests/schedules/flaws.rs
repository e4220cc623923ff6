//! The explorer finds what is wrong: a broken store, and admission as it is often written.

use spillway::ledger::{Actual, Admission, Demand, Lesson, Request};
use spillway::policy::Mode;

use crate::account::{Account, Act, Lab, NOW, limit};
use crate::breakers;
use crate::explored;
use crate::explorer::{Flaw, Program, Records, Scenario, Shelf};
use crate::limits::{granted, still};

use Act::{Ask, Use};

const FLAWS: [Flaw; 4] = [
    Flaw::NoCompare,
    Flaw::ConflictUntold,
    Flaw::SameVersion,
    Flaw::StaleBytes,
];

/// Explores, and wants something to be wrong; answers what.
fn fails<E, M>(name: &str, scenario: &Scenario<'_, E, M>) -> String {
    explored(name, scenario)
        .violation
        .unwrap_or_else(|| panic!("{name}: nothing was found"))
}

/// Both pages, with somebody else's use on them.
fn begun() -> Records {
    let shelf = Shelf::default();
    for owner in ["a", "b"] {
        let _ = Lab::new(vec![limit(1_000)], &[owner]).ask(&shelf, &[0], 1, NOW);
    }
    shelf.0.into_inner()
}

#[test]
fn without_the_compare_of_compare_and_swap_the_ledger_is_found_wrong() {
    let lab = Lab::new(vec![limit(100), limit(150)], &["a", "b"]);
    let script: &[Act] = &[Ask(&[0, 1], 80), Use(50)];
    let scripts = [script; 2];
    for flaw in FLAWS {
        let scenario = Scenario {
            flaw,
            before: begun(),
            ..still(&lab, &scripts, |_: &Account| Ok(()))
        };
        let found = fails(&format!("{flaw:?}, admission"), &scenario);
        assert!(found.contains("promised") || found.contains("charged"), "{found}");
    }
}

#[test]
fn a_creation_that_overwrites_is_found() {
    let lab = Lab::new(vec![limit(100)], &["a"]);
    let script: &[Act] = &[Ask(&[0], 80)];
    let scripts = [script; 2];
    let scenario = Scenario {
        flaw: Flaw::AbsentOverwrites,
        ..still(&lab, &scripts, granted(1))
    };
    fails("AbsentOverwrites, admission", &scenario);
}

#[test]
fn without_the_compare_breakers_are_found_wrong() {
    for flaw in FLAWS {
        let found = breakers::probed_under(flaw).explore();
        assert!(found.violation.is_some(), "{flaw:?}");
        let lent = breakers::lent_under(flaw).explore();
        assert!(lent.violation.is_some(), "{flaw:?}");
    }
}

/// Looks whether there is room, and charges when the answer has come: between the two, others do the same.
#[test]
fn to_look_and_to_charge_later_is_found_to_admit_too_many() {
    let lab = Lab::new(vec![limit(100)], &["a"]);
    let naive = || -> Program<'_, Account> {
        Box::new(|desk| {
            let mut account = Account::default();
            let left = lab.ledger.level(desk, &lab.limits[0], lab.keys[0], NOW).remaining;
            if left < 80 {
                return;
            }
            (account.granted, account.promised[0], account.high[0]) = (1, 80, 80);
            desk.say(account);
            let claims = lab.claims(&[0]);
            let request = Request {
                claims: &claims,
                habit: None,
                demand: Demand::default(),
                mode: Mode::Shadow,
            };
            if let Admission::Granted(ticket) = lab.ledger.admit(desk, &request, NOW) {
                let actual = Actual {
                    requests: 1,
                    tokens: 80,
                    lesson: Lesson::default(),
                };
                let _ = lab.ledger.settle(desk, ticket, actual, NOW);
            }
        })
    };
    let scenario = Scenario {
        workers: vec![naive(), naive()],
        ..still(&lab, &[], granted(1))
    };
    let found = fails("look, then charge", &scenario);
    assert!(found.contains("160 of 100 promised"), "{found}");
}
