//! Each rule of the ledger, seen from outside.

use super::*;
use crate::store::{Cas, MemoryStore, StoreError};

const NOW: Instant = Instant(3_600_000_000_000);

fn later(secs: u64) -> Instant {
    NOW.after(Duration::from_secs(secs))
}

#[test]
fn as_many_as_the_capacity_are_admitted_at_once_and_no_more() {
    for (quota, burst) in [(10, 10), (7, 7), (60, 5), (5, 60), (1, 1)] {
        let (ledger, store) = (ledger(16), MemoryStore::default());
        let mut limit = requests(quota, 3_600);
        limit.burst = burst;
        let claims = [claim(&ledger, &limit, "a")];
        for _ in 0..burst {
            let _ticket = granted(ledger.admit(&store, &request(&claims, 0), NOW));
        }
        let refusal = refused(ledger.admit(&store, &request(&claims, 0), NOW));
        let step = Duration::from_nanos(3_600_000_000_000_u64.div_ceil(quota));
        assert_eq!(refusal.retry_after, step);
        let after = NOW.after(refusal.retry_after);
        let _early = refused(ledger.admit(&store, &request(&claims, 0), Instant(after.0 - 1)));
        let _ticket = granted(ledger.admit(&store, &request(&claims, 0), after));
    }
}

#[test]
fn all_limits_are_charged_or_none() {
    let (ledger, store) = (ledger(16_384), MemoryStore::default());
    let (wide, narrow) = (limit(1_000, 60), limit(100, 60));
    for (one, other) in [("a", "a"), ("a", "team"), ("team", "a")] {
        let claims = [claim(&ledger, &wide, one), claim(&ledger, &narrow, other)];
        let first = granted(ledger.admit(&store, &request(&claims, 60), NOW));
        assert_eq!(
            first
                .levels()
                .iter()
                .map(|level| level.remaining)
                .collect::<Vec<_>>(),
            [940, 40]
        );
        let refusal = refused(ledger.admit(&store, &request(&claims, 60), NOW));
        assert_eq!((refusal.claim, refusal.retry_after), (1, Duration::from_secs(12)));
        assert_eq!(left(&ledger, &store, &claims[0], NOW), 940);
        let _ = first.cancel(&ledger, &store, NOW);
    }
}

#[test]
fn a_refusal_writes_nothing() {
    let (ledger, store) = (ledger(16_384), MemoryStore::default());
    let (wide, narrow) = (limit(1_000, 60), limit(100, 60));
    let claims = [claim(&ledger, &wide, "a"), claim(&ledger, &narrow, "b")];
    let spent = granted(ledger.admit(&store, &request(&claims[1..], 100), NOW));
    let _refusal = refused(ledger.admit(&store, &request(&claims, 1), NOW));
    assert_eq!(store.len(), 1);
    drop(spent);
}

#[test]
fn the_tightest_refusing_limit_is_named_and_the_groups_of_all() {
    let (ledger, store) = (ledger(16_384), MemoryStore::default());
    let limits = [
        limit(100, 60),
        limit(100, 3_600),
        limit(100, 10),
        limit(1_000, 60),
    ];
    let mut claims: Vec<_> = limits.iter().map(|limit| claim(&ledger, limit, "a")).collect();
    claims[2].group = 1;
    claims[3].group = 2;
    let _spent = granted(ledger.admit(&store, &request(&claims, 100), NOW));
    let refusal = refused(ledger.admit(&store, &request(&claims, 50), NOW));
    assert_eq!(
        (refusal.claim, refusal.retry_after),
        (1, Duration::from_secs(1_800))
    );
    assert!(refusal.groups.contains(0) && refusal.groups.contains(1) && !refusal.groups.contains(2));
    assert_eq!(
        refusal.levels.iter().map(|level| level.claim).collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    assert!(!refusal.contention);
}

#[test]
fn a_prompt_over_the_capacity_is_never_admitted_and_a_huge_max_always_some_time() {
    let (ledger, store) = (ledger(16), MemoryStore::default());
    let limit = limit(1_000, 60);
    let claims = [claim(&ledger, &limit, "a")];
    let mut request = request(&claims, u64::MAX);
    request.demand.text = 1_001;
    let Admission::Never(never) = ledger.admit(&store, &request, NOW) else {
        panic!("a prompt of 1,001 fits no 1,000");
    };
    assert_eq!((never.claim, never.capacity, never.needed), (0, 1_000, 1_001));
    assert!(store.is_empty());
    request.demand.text = 1_000;
    let ticket = granted(ledger.admit(&store, &request, NOW));
    assert_eq!(ticket.reserved_tokens(), 1_000);
    request.mode = Mode::Shadow;
    request.demand.text = 5_000;
    let _shadowed = granted(ledger.admit(&store, &request, NOW));
}

#[test]
fn what_was_missing_is_charged_as_debt_and_what_was_spare_given_back() {
    let (ledger, store) = (ledger(16), MemoryStore::default());
    let limit = limit(1_000, 60);
    let claims = [claim(&ledger, &limit, "a")];
    let ticket = granted(ledger.admit(&store, &request(&claims, 400), NOW));
    let settlement = ledger.settle(&store, ticket, used(150), NOW);
    assert_eq!((settlement.charged, settlement.refunded), (0, 250));
    assert_eq!(settlement.levels[0].remaining, 850);
    let ticket = granted(ledger.admit(&store, &request(&claims, 100), NOW));
    let settlement = ledger.settle(&store, ticket, used(2_850), NOW);
    assert_eq!((settlement.charged, settlement.refunded), (2_750, 0));
    assert_eq!(settlement.levels[0].remaining, 0);
    assert_eq!(
        ledger.level(&store, &limit, claims[0].key, NOW).reset,
        Duration::from_secs(180)
    );
    let refusal = refused(ledger.admit(&store, &request(&claims, 1), later(119)));
    assert_eq!(refusal.retry_after, Duration::from_millis(1_060));
}

#[test]
fn a_cancelled_ticket_gives_the_request_back_too() {
    let (ledger, store) = (ledger(16), MemoryStore::default());
    let (tokens, once) = (limit(1_000, 60), requests(1, 60));
    let claims = [claim(&ledger, &tokens, "a"), claim(&ledger, &once, "a")];
    let ticket = granted(ledger.admit(&store, &request(&claims, 400), NOW));
    let _ = ticket.cancel(&ledger, &store, NOW);
    assert_eq!(left(&ledger, &store, &claims[0], NOW), 1_000);
    assert_eq!(left(&ledger, &store, &claims[1], NOW), 1);
}

#[test]
fn a_settlement_that_changes_nothing_writes_nothing() {
    struct Sealed;
    impl Store for Sealed {
        fn read(&self, _: &str) -> Result<(Vec<u8>, Cas), StoreError> {
            panic!("read")
        }
        fn write(&self, _: &str, _: &[u8], _: Cas) -> Result<(), StoreError> {
            panic!("written")
        }
    }
    let (ledger, store) = (ledger(16), MemoryStore::default());
    let (tokens, each) = (limit(1_000, 60), requests(5, 60));
    let claims = [claim(&ledger, &tokens, "a"), claim(&ledger, &each, "a")];
    let habit = Some(ledger.habit_key(b"a", &[b"a", b"m"]));
    let request = Request {
        habit,
        ..request(&claims, 400)
    };
    let ticket = granted(ledger.admit(&store, &request, NOW));
    let actual = Actual {
        requests: 1,
        tokens: 400,
        lesson: lesson(Some(400)),
    };
    let settlement = ledger.settle(&Sealed, ticket, actual, NOW);
    assert!(settlement.pending.is_none());
}

#[test]
fn a_long_streams_refund_does_not_free_its_neighbours_tokens() {
    let (ledger, store) = (ledger(16), MemoryStore::default());
    let limit = limit(1_000, 100); // 10 a second
    let claims = [claim(&ledger, &limit, "a")];
    let stream = granted(ledger.admit(&store, &request(&claims, 500), NOW));
    let neighbour = granted(ledger.admit(&store, &request(&claims, 500), later(40)));
    let _ = ledger.settle(&store, neighbour, used(500), later(40));
    // 400 of the stream's 500 had refilled by then: 100 can be given back at most.
    let settlement = ledger.settle(&store, stream, used(0), later(40));
    assert_eq!(settlement.refunded, 100);
    assert_eq!(left(&ledger, &store, &claims[0], later(40)), 500);
}

#[test]
fn a_stream_that_outlived_its_reservation_gets_nothing_back() {
    let (ledger, store) = (ledger(16), MemoryStore::default());
    let limit = limit(1_000, 100);
    let claims = [claim(&ledger, &limit, "a")];
    let stream = granted(ledger.admit(&store, &request(&claims, 500), NOW));
    let neighbour = granted(ledger.admit(&store, &request(&claims, 1_000), later(50)));
    let settlement = ledger.settle(&store, stream, used(0), later(60));
    assert_eq!(settlement.refunded, 0);
    assert_eq!(left(&ledger, &store, &claims[0], later(60)), 100);
    drop(neighbour);
}

#[test]
fn refunds_of_those_ahead_shorten_what_those_behind_can_get_back() {
    let (ledger, store) = (ledger(16), MemoryStore::default());
    let limit = limit(1_000, 100);
    let claims = [claim(&ledger, &limit, "a")];
    let [one, two] = [0; 2].map(|_| granted(ledger.admit(&store, &request(&claims, 100), NOW)));
    let _ = ledger.settle(&store, one, used(0), later(5));
    let neighbour = granted(ledger.admit(&store, &request(&claims, 100), later(11)));
    let _ = ledger.settle(&store, two, used(0), later(12));
    // Alone, the neighbour's 100 would have refilled by 10.
    assert!(left(&ledger, &store, &claims[0], later(12)) <= 910);
    drop(neighbour);
}

#[test]
fn a_shadow_limit_neither_vetoes_nor_owes() {
    let (ledger, store) = (ledger(16_384), MemoryStore::default());
    let (wide, mut narrow) = (limit(1_000, 60), limit(100, 60));
    narrow.mode = Mode::Shadow;
    let claims = [claim(&ledger, &wide, "a"), claim(&ledger, &narrow, "b")];
    let one = granted(ledger.admit(&store, &request(&claims, 90), NOW));
    assert!(!one.levels()[1].would_refuse);
    let two = granted(ledger.admit(&store, &request(&claims, 90), NOW));
    assert!(two.levels()[1].would_refuse && !two.levels()[0].would_refuse);
    assert_eq!(left(&ledger, &store, &claims[1], NOW), 0);
    let _ = ledger.settle(&store, two, used(500), NOW);
    assert_eq!(
        ledger.level(&store, &narrow, claims[1].key, NOW).reset,
        Duration::from_secs(60)
    );
    assert_eq!(left(&ledger, &store, &claims[0], NOW), 410);
    drop(one);
}

#[test]
fn a_policy_in_shadow_admits_everything() {
    let (ledger, store) = (ledger(16), MemoryStore::default());
    let limit = requests(1, 60);
    let claims = [claim(&ledger, &limit, "a")];
    let request = Request {
        mode: Mode::Shadow,
        ..request(&claims, 0)
    };
    for turn in 0..3 {
        let ticket = granted(ledger.admit(&store, &request, NOW));
        assert_eq!(ticket.levels()[0].would_refuse, turn > 0);
    }
    assert!(ledger.peek(&store, &request, NOW).is_none());
}

#[test]
fn a_changed_policy_locks_nobody_out() {
    let (ledger, store) = (ledger(16), MemoryStore::default());
    let (few, mut many) = (limit(1_000, 60), limit(100_000, 60));
    many.id = few.id;
    let claims = [claim(&ledger, &few, "a")];
    let ticket = granted(ledger.admit(&store, &request(&claims, 1_000), NOW));
    let _ = ledger.settle(&store, ticket, used(50_000), NOW);
    assert_eq!(
        ledger.level(&store, &few, claims[0].key, NOW).reset,
        Duration::from_secs(50 * 60)
    );
    let claims = [claim(&ledger, &many, "a")];
    assert_eq!(
        ledger.level(&store, &many, claims[0].key, NOW).reset,
        Duration::from_secs(60)
    );
    // A look ahead leaves it to admission, which cuts it off once and for all.
    assert!(ledger.peek(&store, &request(&claims, 1_000), NOW).is_none());
    let refusal = refused(ledger.admit(&store, &request(&claims, 1_000), NOW));
    assert_eq!(refusal.retry_after, Duration::from_millis(600));
    assert_eq!(left(&ledger, &store, &claims[0], later(20)), 33_333);
    let _ticket = granted(ledger.admit(&store, &request(&claims, 1_000), later(1)));
}

#[test]
fn a_limit_of_another_period_starts_afresh_and_forgives_the_former_one_nothing() {
    let (ledger, store) = (ledger(16), MemoryStore::default());
    let (day, mut minute) = (limit(1_000, 86_400), limit(1_000, 60));
    minute.id = day.id;
    let [former, present] = [[claim(&ledger, &day, "a")], [claim(&ledger, &minute, "a")]];
    let _used_up = granted(ledger.admit(&store, &request(&former, 1_000), NOW));
    for _ in 0..2 {
        let ticket = granted(ledger.admit(&store, &request(&present, 500), NOW));
        let _ = ledger.settle(&store, ticket, used(500), NOW);
        let _refusal = refused(ledger.admit(&store, &request(&former, 100), NOW));
    }
    let _refusal = refused(ledger.admit(&store, &request(&present, 100), NOW));
}

#[test]
fn a_refund_of_another_rate_is_dropped() {
    let (ledger, store) = (ledger(16), MemoryStore::default());
    let (more, mut fewer) = (limit(2_000, 3_600), limit(1_000, 3_600));
    fewer.id = more.id;
    let old = granted(ledger.admit(&store, &request(&[claim(&ledger, &more, "a")], 1_000), NOW));
    let claims = [claim(&ledger, &fewer, "a")];
    assert_eq!(left(&ledger, &store, &claims[0], NOW), 500);
    let new = granted(ledger.admit(&store, &request(&claims, 500), NOW));
    let settlement = ledger.settle(&store, old, used(0), NOW);
    assert_eq!(settlement.refunded, 0);
    drop(new);
}

#[test]
fn an_absurd_usage_is_bounded() {
    let (ledger, store) = (ledger(16), MemoryStore::default());
    let limit = limit(100_000, 60);
    let claims = [claim(&ledger, &limit, "a")];
    let ticket = granted(ledger.admit(&store, &request(&claims, 1), NOW));
    let actual = Actual {
        requests: u64::MAX,
        tokens: u64::MAX,
        lesson: lesson(Some(u64::MAX)),
    };
    let settlement = ledger.settle(&store, ticket, actual, NOW);
    assert_eq!(settlement.charged, (1 << 26) - 1);
    assert!(ledger.level(&store, &limit, claims[0].key, NOW).reset < Duration::from_secs(12 * 3_600));
}

#[test]
fn peek_refuses_only_what_has_nothing_left_and_writes_nothing() {
    let (ledger, store) = (ledger(16_384), MemoryStore::default());
    let (limit, mut shadow) = (limit(1_000, 1_000), limit(10, 1_000));
    shadow.mode = Mode::Shadow;
    let claims = [claim(&ledger, &limit, "a"), claim(&ledger, &shadow, "b")];
    let request = request(&claims, 999);
    assert!(ledger.peek(&store, &request, NOW).is_none());
    assert!(store.is_empty());
    let _one = granted(ledger.admit(&store, &request, NOW));
    assert!(ledger.peek(&store, &request, NOW).is_none());
    let _two = granted(ledger.admit(&store, &super::request(&claims, 1), NOW));
    let refusal = ledger.peek(&store, &request, NOW).unwrap();
    assert_eq!((refusal.claim, refusal.retry_after), (0, Duration::from_secs(1)));
    assert!(ledger.peek(&store, &request, later(1)).is_none());
}
