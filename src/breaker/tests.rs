//! The breaker from outside: tables of transitions, and what each of them tells.

use core::time::Duration;

use super::testing::{
    BAD, Counting, GOOD, LATE, MIDDLE, SLOW, ask, at, call, go, limited, low, opened, provider,
    refused_until, rules, seconds, store_bytes,
};
use super::*;
use crate::policy::{Breaker as Rules, Forced};
use crate::store::MemoryStore;

#[test]
fn the_table_of_transitions_holds() {
    use StateName::{Closed, HalfOpen, Open, RateLimited};
    type Step = (u64, Outcome, StateName);
    let table: &[(&str, Vec<Step>)] = &[
        ("good answers change nothing", vec![(0, GOOD, Closed); 50]),
        (
            "five failures in a row open it",
            [vec![(0, BAD, Closed); 4], vec![(0, BAD, Open)]].concat(),
        ),
        (
            "a success ends the row",
            [
                vec![(0, BAD, Closed); 4],
                vec![(0, GOOD, Closed)],
                vec![(0, BAD, Closed); 4],
            ]
            .concat(),
        ),
        (
            "a neutral one doesn't",
            [
                vec![(0, BAD, Closed); 4],
                vec![(0, Outcome::Neutral, Closed), (0, BAD, Open)],
            ]
            .concat(),
        ),
        (
            "200 and 500 in turn open it by rate",
            [
                [(1, GOOD, Closed), (1, BAD, Closed)].repeat(9),
                vec![(1, GOOD, Closed), (1, BAD, Open)],
            ]
            .concat(),
        ),
        (
            "slow first tokens open it",
            [vec![(0, SLOW, Closed); 19], vec![(0, SLOW, Open)]].concat(),
        ),
        (
            "timeouts open it",
            [vec![(0, LATE, Closed); 4], vec![(0, LATE, Open)]].concat(),
        ),
        (
            "other 4xx never",
            vec![(0, Outcome::Failure(Failure::Status(404)), Closed); 50],
        ),
        (
            "529 and 408 do",
            [
                vec![(0, Outcome::Failure(Failure::Status(529)), Closed); 4],
                vec![(0, Outcome::Failure(Failure::Status(529)), Open)],
            ]
            .concat(),
        ),
        (
            "two good probes close it",
            [
                vec![(0, BAD, Closed); 4],
                vec![(0, BAD, Open), (15, GOOD, HalfOpen), (15, GOOD, Closed)],
            ]
            .concat(),
        ),
        (
            "a bad probe opens it for twice the time",
            [
                vec![(0, BAD, Closed); 4],
                vec![
                    (0, BAD, Open),
                    (15, BAD, Open),
                    (45, GOOD, HalfOpen),
                    (46, BAD, Open),
                    (106, GOOD, HalfOpen),
                ],
            ]
            .concat(),
        ),
        (
            "a slow probe opens it too",
            [
                vec![(0, LATE, Closed); 4],
                vec![(0, LATE, Open), (15, SLOW, Open)],
            ]
            .concat(),
        ),
        (
            "429 with a date",
            vec![(0, limited(Some(7)), RateLimited), (7, GOOD, Closed)],
        ),
        (
            "429 without",
            vec![(0, limited(None), RateLimited), (15, GOOD, Closed)],
        ),
        (
            "429 for ever is bounded",
            vec![(0, limited(Some(1 << 40)), RateLimited), (300, GOOD, Closed)],
        ),
        (
            "429 isn't a failure",
            [
                vec![(0, BAD, Closed); 4],
                vec![(0, limited(Some(1)), RateLimited), (1, LATE, Closed)],
            ]
            .concat(),
        ),
        (
            "429 to a probe comes back to half-open",
            [
                vec![(0, LATE, Closed); 4],
                vec![
                    (0, LATE, Open),
                    (15, limited(Some(7)), RateLimited),
                    (22, GOOD, HalfOpen),
                    (22, GOOD, Closed),
                ],
            ]
            .concat(),
        ),
        (
            "little headroom spares it until its reset",
            vec![(0, low(Some(4)), RateLimited), (4, GOOD, Closed)],
        ),
        (
            "for a while at most",
            vec![(0, low(Some(400)), RateLimited), (15, GOOD, Closed)],
        ),
        ("and not at all without a reset", vec![(0, low(None), Closed)]),
    ];
    for (name, steps) in table {
        let (provider, store) = (provider(rules()), MemoryStore::default());
        let breakers = Breakers::of(&provider);
        for (number, (second, outcome, state)) in steps.iter().enumerate() {
            let observed = call(&breakers, &store, *second, *outcome);
            assert!(observed.is_some(), "{name}: step {number} was refused");
            assert_eq!(
                breakers.view(&store, 0, seconds(*second)).state,
                *state,
                "{name}: step {number}"
            );
        }
    }
}

#[test]
fn a_refusal_says_until_when() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    opened(&breakers, &store);
    assert_eq!(refused_until(&breakers, &store, 1), (StateName::Open, 15));
    assert_eq!(refused_until(&breakers, &store, 14), (StateName::Open, 15));
    let probes = [15; 3].map(|second| go(&breakers, &store, second));
    assert_eq!(refused_until(&breakers, &store, 15), (StateName::HalfOpen, 16));
    assert!(probes.iter().all(Pass::is_probe));
}

#[test]
fn a_429_holds_for_its_time_and_a_shorter_one_doesnt_shorten_it() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    let passes = [0; 3].map(|second| go(&breakers, &store, second));
    for (pass, wait) in passes.into_iter().zip([7, 9, 2]) {
        let _ = breakers.observe(&store, pass, limited(Some(wait)), at(1));
    }
    assert_eq!(refused_until(&breakers, &store, 9), (StateName::RateLimited, 10));
    assert!(!go(&breakers, &store, 10).is_probe());
}

#[test]
fn a_429_and_slowness_concern_the_model_alone_and_failures_the_provider() {
    for (outcome, other) in [
        (limited(None), StateName::Closed),
        (BAD, StateName::Open),
        (LATE, StateName::Closed),
    ] {
        let (provider, store) = (provider(rules()), MemoryStore::default());
        let breakers = Breakers::of(&provider);
        for _ in 0..5 {
            let _ = call(&breakers, &store, 0, outcome);
        }
        assert_ne!(breakers.view(&store, 0, seconds(0)).state, StateName::Closed);
        assert_eq!(breakers.view(&store, 1, seconds(0)).state, other);
    }
}

#[test]
fn transitions_are_told_once_each_with_their_cause() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    let told: Vec<_> = (0..5)
        .filter_map(|_| call(&breakers, &store, 0, BAD)?.transition)
        .collect();
    let expected = |from, to, cause| Transition {
        from,
        to,
        scope: Scope::Provider,
        cause,
    };
    assert_eq!(
        told,
        [expected(StateName::Closed, StateName::Open, Cause::Consecutive)]
    );
    let pass = go(&breakers, &store, 15);
    assert_eq!(
        pass.transitions().collect::<Vec<_>>(),
        [expected(StateName::Open, StateName::HalfOpen, Cause::Elapsed)]
    );
    assert_eq!(go(&breakers, &store, 15).transitions().count(), 0);
    assert_eq!(breakers.observe(&store, pass, GOOD, at(15)).transition, None);
    let closing = call(&breakers, &store, 15, GOOD).unwrap();
    assert_eq!(
        closing.transition,
        Some(expected(StateName::HalfOpen, StateName::Closed, Cause::Recovered))
    );
}

#[test]
fn both_breakers_may_turn_by_one_call() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    let passes = [0; 10].map(|second| go(&breakers, &store, second));
    for (number, pass) in passes.into_iter().enumerate() {
        let _ = breakers.observe(&store, pass, if number < 5 { BAD } else { LATE }, at(0));
    }
    let first = go(&breakers, &store, 15);
    assert_eq!(first.transitions().count(), 2);
    let _ = breakers.observe(&store, first, GOOD, at(15));
    let last = call(&breakers, &store, 15, GOOD).unwrap();
    assert_eq!(last.transition.map(|t| t.scope), Some(Scope::Provider));
    assert_eq!(last.second.map(|t| t.scope), Some(Scope::Model));
}

#[test]
fn stragglers_of_an_earlier_generation_change_no_state() {
    for outcome in [
        GOOD,
        BAD,
        LATE,
        limited(Some(100)),
        low(Some(100)),
        Outcome::Neutral,
    ] {
        let (provider, store) = (provider(rules()), Counting::default());
        let breakers = Breakers::of(&provider);
        let stragglers = [0; 20].map(|second| go(&breakers, &store, second));
        let passes = [0; 10].map(|second| go(&breakers, &store, second));
        for (number, pass) in passes.into_iter().enumerate() {
            let _ = breakers.observe(&store, pass, if number < 5 { BAD } else { LATE }, at(0));
        }
        let probe = go(&breakers, &store, 15);
        let before = *store.writes.borrow();
        for straggler in stragglers {
            assert_eq!(
                breakers.observe(&store, straggler, outcome, at(15)),
                Observed::default()
            );
        }
        let answered = matches!(outcome, Outcome::Success { .. });
        let (writes, credit) = if answered { (20, 20) } else { (0, 0) };
        assert_eq!(*store.writes.borrow(), before + writes, "{outcome:?}");
        assert_eq!(breakers.credit(&store, 0, seconds(1)), credit, "{outcome:?}");
        let _ = breakers.observe(&store, probe, GOOD, at(15));
        assert!(call(&breakers, &store, 15, GOOD).unwrap().transition.is_some());
    }
}

#[test]
fn a_clients_abort_gives_its_probe_back() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    opened(&breakers, &store);
    let [first, second, _third] = [15; 3].map(|second| go(&breakers, &store, second));
    assert_eq!(refused_until(&breakers, &store, 15).0, StateName::HalfOpen);
    let _ = breakers.observe(&store, first, Outcome::Neutral, at(16));
    let again = go(&breakers, &store, 16);
    assert_eq!(refused_until(&breakers, &store, 16).0, StateName::HalfOpen);
    let _ = (
        breakers.observe(&store, second, GOOD, at(17)),
        breakers.observe(&store, again, GOOD, at(17)),
    );
    assert_eq!(breakers.view(&store, 0, seconds(17)).state, StateName::Closed);
}

#[test]
fn a_lost_lease_expires_and_its_late_outcome_counts_for_nobody_else() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    opened(&breakers, &store);
    let lost = [15; 3].map(|second| go(&breakers, &store, second));
    assert_eq!(refused_until(&breakers, &store, 134).0, StateName::HalfOpen);
    let _new = [135; 3].map(|second| go(&breakers, &store, second));
    assert_eq!(refused_until(&breakers, &store, 135).0, StateName::HalfOpen);
    for pass in lost {
        let _ = breakers.observe(&store, pass, BAD, at(136));
    }
    assert_eq!(breakers.view(&store, 0, seconds(136)).state, StateName::HalfOpen);
    assert_eq!(refused_until(&breakers, &store, 136).0, StateName::HalfOpen);
}

#[test]
fn a_call_that_one_breaker_refuses_takes_no_lease_of_the_other() {
    let (provider, store) = (provider(rules()), Counting::default());
    let breakers = Breakers::of(&provider);
    let late = go(&breakers, &store, 0);
    opened(&breakers, &store);
    let _ = breakers.observe(&store, late, limited(Some(100)), at(0));
    let before = *store.writes.borrow();
    assert_eq!(
        refused_until(&breakers, &store, 15),
        (StateName::RateLimited, 100)
    );
    assert_eq!(*store.writes.borrow(), before);
    assert!(matches!(breakers.ask(&store, 1, seconds(15), MIDDLE), Permit::Go(pass) if pass.is_probe()));
}

#[test]
fn open_time_doubles_to_its_cap_within_the_jitter() {
    for (entropy, first, last) in [
        (0, 12_000, 240_000),
        (200, 15_000, 300_000),
        (400, 18_000, 300_000),
    ] {
        let (provider, store) = (provider(rules()), MemoryStore::default());
        let breakers = Breakers::of(&provider);
        let mut now = seconds(1);
        let mut spans = Vec::new();
        for failure in 0..40 {
            let Permit::Go(pass) = breakers.ask(&store, 0, now, entropy) else {
                panic!("refused")
            };
            let _ = breakers.observe(&store, pass, BAD, Observation { now, entropy });
            if failure >= 4 {
                let retry_at = breakers.view(&store, 0, now).retry_at.unwrap();
                spans.push(retry_at.since(now).as_millis());
                now = retry_at;
            }
        }
        assert_eq!(
            (spans[0], spans[1], *spans.last().unwrap()),
            (first, 2 * first, last)
        );
    }
}

#[test]
fn an_operators_word_wins_and_touches_no_record() {
    for (force, goes) in [(Forced::Open, false), (Forced::Closed, true)] {
        let (provider, store) = (
            provider(Rules {
                force: Some(force),
                ..rules()
            }),
            Counting::default(),
        );
        let breakers = Breakers::of(&provider);
        for _ in 0..10 {
            match ask(&breakers, &store, 0) {
                Permit::Go(pass) if goes => {
                    assert_eq!(breakers.observe(&store, pass, BAD, at(0)), Observed::default())
                }
                Permit::NotNow {
                    forced: true,
                    state: StateName::ForcedOpen,
                    ..
                } if !goes => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(store.inner.is_empty());
    }
}

#[test]
fn least_bad_calls_are_not_counted() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    opened(&breakers, &store);
    let before = store_bytes(&store, &breakers);
    for outcome in [GOOD, BAD, limited(None), Outcome::Neutral] {
        assert_eq!(
            breakers.observe(&store, breakers.force_pass(0), outcome, at(15)),
            Observed::default()
        );
    }
    assert_eq!(store_bytes(&store, &breakers), before);
}

#[test]
fn what_says_nothing_is_not_written() {
    let (provider, store) = (provider(rules()), Counting::default());
    let breakers = Breakers::of(&provider);
    for _ in 0..10 {
        let _ = call(&breakers, &store, 0, Outcome::Neutral);
    }
    assert_eq!(*store.writes.borrow(), 0);
    let _ = call(&breakers, &store, 0, GOOD);
    assert_eq!(*store.writes.borrow(), 1);
}

#[test]
fn headroom_is_remembered_until_its_reset() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    let headroom = Headroom {
        share: 420,
        remaining_requests: Some(42),
        remaining_tokens: None,
        reset: Some(Duration::from_secs(30)),
    };
    let _ = call(
        &breakers,
        &store,
        0,
        Outcome::Success {
            latency: Latency::Unknown,
            headroom: Some(headroom),
        },
    );
    let _ = call(&breakers, &store, 1, GOOD);
    let seen = breakers.view(&store, 0, seconds(10)).headroom.unwrap();
    assert_eq!(
        (seen.share, seen.remaining_requests, seen.reset),
        (420, Some(42), Some(Duration::from_secs(20)))
    );
    assert_eq!(breakers.view(&store, 1, seconds(10)).headroom, None);
    assert_eq!(breakers.view(&store, 0, seconds(30)).headroom, None);
}

#[test]
fn a_record_that_tells_of_more_headroom_than_there_can_be_tells_of_none() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    for (share, seen) in [(1_000, Some(1_000)), (1_001, None)] {
        let headroom = Headroom {
            share,
            reset: Some(Duration::from_secs(30)),
            ..Headroom::default()
        };
        let latency = Latency::Unknown;
        let headroom = Some(headroom);
        let _ = call(&breakers, &store, 0, Outcome::Success { latency, headroom });
        let view = breakers.view(&store, 0, seconds(10));
        assert_eq!(view.headroom.map(|headroom| headroom.share), seen);
    }
}

#[test]
fn a_clock_that_runs_back_holds_nobody_for_long() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    for _ in 0..5 {
        let _ = call(&breakers, &store, 1_000_000, BAD);
    }
    assert_eq!(refused_until(&breakers, &store, 999_990).0, StateName::Open);
    assert!(go(&breakers, &store, 5).is_probe());
}

#[test]
fn records_of_another_list_of_models_are_others_and_their_passes_count_for_nobody() {
    let mut other = provider(rules());
    other.models.reverse();
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let (breakers, others) = (Breakers::of(&provider), Breakers::of(&other));
    assert_ne!(breakers.key(), others.key());
    let pass = go(&others, &store, 0);
    assert_eq!(breakers.observe(&store, pass, BAD, at(0)), Observed::default());
    assert!(store.is_empty());
}

#[test]
fn a_model_that_isnt_there_goes_uncounted() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    let Permit::Go(pass) = breakers.ask(&store, 2, seconds(0), MIDDLE) else {
        panic!("refused")
    };
    let _ = breakers.observe(&store, pass, BAD, at(0));
    assert!(store.is_empty());
}
