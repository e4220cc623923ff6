//! Credit: calls that go although the breakers say no.

use super::testing::{
    BAD, GOOD, LATE, SLOW, Unwritable, at, call, go, limited, opened, provider, refused_until, rules, seconds,
};
use super::*;
use crate::policy::Forced;
use crate::store::{MemoryStore, StoreError};

/// Offers 200 calls of which the provider can answer so many; how many went.
fn round(breakers: &Breakers<'_>, store: &MemoryStore, capacity: usize) -> usize {
    let passes: Vec<_> = (0..200)
        .map_while(|_| breakers.borrow(store, 0, seconds(1)))
        .collect();
    let went = passes.len();
    for (number, pass) in passes.into_iter().enumerate() {
        let outcome = if number < capacity { GOOD } else { BAD };
        let observed = breakers.observe(store, Pass::unpack(&pass.pack()).unwrap(), outcome, at(1));
        assert_eq!(observed, Observed::default());
    }
    went
}

#[test]
fn on_credit_go_twice_as_many_as_are_answered_and_none_where_nothing_is() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    let under_way = [0; 10].map(|second| go(&breakers, &store, second));
    opened(&breakers, &store);
    assert_eq!(
        breakers.credit(&store, 0, seconds(1)),
        0,
        "nothing was answered since"
    );
    assert_eq!(round(&breakers, &store, 40), 0);
    for pass in under_way {
        let _ = breakers.observe(&store, pass, GOOD, at(1));
    }
    let went: Vec<_> = (0..5).map(|_| round(&breakers, &store, 40)).collect();
    assert_eq!(went, [10, 20, 40, 80, 80]);
    let went: Vec<_> = (0..3).map(|_| round(&breakers, &store, 0)).collect();
    assert_eq!(went, [80, 0, 0], "it is down");
    assert_eq!(breakers.view(&store, 0, seconds(1)).state, StateName::Open);
}

#[test]
fn only_what_is_answered_or_not_sent_gives_credit_back() {
    for (outcome, left) in [
        (GOOD, 2),
        (SLOW, 1),
        (Outcome::Neutral, 1),
        (Outcome::Unsent, 1),
        (Outcome::Unanswered, 0),
        (limited(None), 0),
        (BAD, 0),
        (LATE, 0),
    ] {
        let (provider, store) = (provider(rules()), MemoryStore::default());
        let breakers = Breakers::of(&provider);
        let before = go(&breakers, &store, 0);
        opened(&breakers, &store);
        let _ = breakers.observe(&store, before, GOOD, at(0));
        let pass = breakers.borrow(&store, 0, seconds(1)).unwrap();
        assert_eq!(breakers.borrow(&store, 0, seconds(1)), None, "it had one");
        let _ = breakers.observe(&store, pass, outcome, at(0));
        assert_eq!(breakers.credit(&store, 0, seconds(1)), left, "{outcome:?}");
    }
}

#[test]
fn credit_is_bounded_and_gone_when_it_closes() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    let under_way = [0; 300].map(|second| go(&breakers, &store, second));
    opened(&breakers, &store);
    for pass in under_way {
        let _ = breakers.observe(&store, pass, GOOD, at(0));
    }
    assert_eq!(breakers.credit(&store, 0, seconds(1)), 100);
    let _ = (
        call(&breakers, &store, 15, GOOD),
        call(&breakers, &store, 15, GOOD),
    );
    assert_eq!(breakers.view(&store, 0, seconds(15)).state, StateName::Closed);
    for _ in 0..5 {
        let _ = call(&breakers, &store, 15, BAD);
    }
    assert_eq!(breakers.credit(&store, 0, seconds(1)), 0);
}

#[test]
fn nobody_borrows_where_a_time_was_named_or_an_operator_forbids_it() {
    let (mut provider, store) = (provider(rules()), MemoryStore::default());
    {
        let breakers = Breakers::of(&provider);
        let under_way = [0; 9].map(|second| go(&breakers, &store, second));
        let _ = call(&breakers, &store, 0, limited(Some(60)));
        for pass in under_way {
            let _ = breakers.observe(&store, pass, GOOD, at(0));
        }
        assert_eq!(breakers.credit(&store, 0, seconds(1)), 0);
        assert_eq!(breakers.borrow(&store, 0, seconds(1)), None, "it said: in 60 s");
    }
    provider.breaker.force = Some(Forced::Open);
    let breakers = Breakers::of(&provider);
    assert_eq!(
        (
            breakers.credit(&store, 0, seconds(1)),
            breakers.borrow(&store, 0, seconds(1))
        ),
        (0, None)
    );
}

#[test]
fn after_a_429_nobody_goes_to_its_model_until_the_time_it_named() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    let under_way = [0; 10].map(|second| go(&breakers, &store, second));
    opened(&breakers, &store);
    for pass in under_way {
        let _ = breakers.observe(&store, pass, GOOD, at(0));
    }
    let pass = breakers.borrow(&store, 0, seconds(1)).unwrap();
    let observed = breakers.observe(&store, pass, limited(Some(60)), at(1));
    let told = observed
        .transition
        .map(|change| (change.scope, change.to, change.cause));
    assert_eq!(
        told,
        Some((Scope::Model, StateName::RateLimited, Cause::RateLimited))
    );
    assert_eq!(breakers.credit(&store, 0, seconds(60)), 0, "it said: in 60 s");
    assert_eq!(breakers.credit(&store, 1, seconds(60)), 9, "of this model");
    assert_eq!(
        breakers.credit(&store, 0, seconds(62)),
        9,
        "and that was the provider's"
    );
}

#[test]
fn a_429_is_heeded_whatever_stood_in_the_way() {
    for second in [1, 20] {
        let (provider, store) = (provider(rules()), MemoryStore::default());
        let breakers = Breakers::of(&provider);
        let under_way = [0; 10].map(|second| go(&breakers, &store, second));
        for _ in 0..5 {
            let _ = call(&breakers, &store, 0, LATE);
        }
        for pass in under_way {
            let _ = breakers.observe(&store, pass, GOOD, at(0));
        }
        let _probe = (second > 15).then(|| go(&breakers, &store, second));
        let [limits, good] = [(); 2].map(|()| breakers.borrow(&store, 0, seconds(second)).unwrap());
        let observed = breakers.observe(&store, limits, limited(Some(60)), at(second));
        assert_eq!(
            observed.transition.map(|change| change.to),
            Some(StateName::RateLimited)
        );
        let _ = breakers.observe(&store, good, GOOD, at(second));
        assert_eq!(breakers.credit(&store, 0, seconds(second + 59)), 0);
        assert_eq!(refused_until(&breakers, &store, second + 1).1, second + 60);
        assert!(
            go(&breakers, &store, second + 61).is_probe(),
            "it is tried, not trusted"
        );
    }
}

#[test]
fn a_429_that_could_not_be_written_is_kept_until_it_is() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    let before = go(&breakers, &store, 0);
    opened(&breakers, &store);
    let _ = breakers.observe(&store, before, GOOD, at(0));
    let pass = breakers.borrow(&store, 0, seconds(1)).unwrap();
    let busy = Unwritable(&store, StoreError::Conflict);
    let observed = breakers.observe(&busy, pass, limited(Some(60)), at(1));
    assert!(!observed.dropped);
    let settled = breakers.settle(&store, observed.pending.unwrap(), at(2));
    assert_eq!(
        settled.transition.map(|change| change.to),
        Some(StateName::RateLimited)
    );
    assert_eq!(settled.pending, None);
}

#[test]
fn a_pause_that_is_over_stands_in_nobodys_way() {
    let (provider, store) = (provider(rules()), MemoryStore::default());
    let breakers = Breakers::of(&provider);
    let under_way = [0; 6].map(|second| go(&breakers, &store, second));
    let [one, failing @ ..] = under_way;
    let stragglers = [0; 4].map(|second| go(&breakers, &store, second));
    let _ = breakers.observe(&store, one, limited(Some(1)), at(0));
    for pass in failing {
        let _ = breakers.observe(&store, pass, BAD, at(0));
    }
    for pass in stragglers {
        let _ = breakers.observe(&store, pass, GOOD, at(0));
    }
    assert_eq!(breakers.credit(&store, 0, seconds(0)), 0, "it said: in a second");
    assert_eq!(breakers.credit(&store, 0, seconds(5)), 4);
}
