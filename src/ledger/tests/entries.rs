//! What becomes of a page's entries: reuse, overflow, habits, foreign records.

use super::*;
use crate::ledger::Key;
use crate::ledger::page::ENTRIES;
use crate::store::{Cas, MemoryStore, StoreError};

const NOW: Instant = Instant(3_600_000_000_000);

fn later(secs: u64) -> Instant {
    NOW.after(Duration::from_secs(secs))
}

/// A one-page ledger's page filled with buckets that are full of debt for hours.
fn crowd(ledger: &Ledger, store: &MemoryStore, daily: &Limit) {
    for stranger in 0..ENTRIES - 1 {
        let claims = [claim(ledger, daily, &format!("stranger {stranger}"))];
        let ticket = granted(ledger.admit(store, &request(&claims, daily.quota), NOW));
        assert_eq!(ticket.overflowed(), 0);
        let _ = ledger.settle(store, ticket, used(daily.quota), NOW);
    }
}

fn expect<'p>(claims: &'p [Claim<'p>], habit: Key) -> Request<'p> {
    let demand = Demand {
        max_output: None,
        choices: 1,
        generates: true,
        ..Demand::default()
    };
    Request {
        claims,
        habit: Some(habit),
        demand,
        mode: Mode::Enforce,
    }
}

#[test]
fn a_refund_to_a_reused_entry_is_dropped_and_a_charge_lands() {
    for (actual, owner_left, stranger_left) in [(0, 1_000, 0), (700, 800, 0)] {
        let (ledger, store) = (ledger(8), MemoryStore::default());
        let (short, daily) = (limit(1_000, 100), limit(1_000, 86_400));
        let claims = [claim(&ledger, &short, "owner")];
        let stream = granted(ledger.admit(&store, &request(&claims, 500), NOW));
        // After 50 s the stream's reservation has refilled, and strangers take every entry.
        let strangers: Vec<_> = (0..ENTRIES - 1)
            .map(|stranger| [claim(&ledger, &daily, &stranger.to_string())])
            .collect();
        for stranger in &strangers {
            let _ = granted(ledger.admit(&store, &request(stranger, 1_000), later(50)));
        }
        let settlement = ledger.settle(&store, stream, used(actual), later(50));
        assert!(settlement.pending.is_none());
        assert_eq!(
            (settlement.refunded, settlement.charged),
            (0, actual.saturating_sub(500))
        );
        for stranger in &strangers {
            assert_eq!(left(&ledger, &store, &stranger[0], later(50)), stranger_left);
        }
        assert_eq!(left(&ledger, &store, &claims[0], later(50)), owner_left);
    }
}

#[test]
fn an_entry_that_its_own_bucket_took_again_is_another_one() {
    let (ledger, store) = (ledger(8), MemoryStore::default());
    let (long, short) = (limit(1_000, 100), limit(1_000, 10));
    let claims = [claim(&ledger, &long, "owner")];
    let ahead = granted(ledger.admit(&store, &request(&claims, 900), NOW));
    let behind = granted(ledger.admit(&store, &request(&claims, 100), NOW));
    let _ = ahead.cancel(&ledger, &store, NOW);
    for stranger in 0..ENTRIES - 1 {
        let stranger = [claim(&ledger, &short, &stranger.to_string())];
        let _ = granted(ledger.admit(&store, &request(&stranger, 1_000), later(10)));
    }
    let _again = granted(ledger.admit(&store, &request(&claims, 1_000), later(20)));
    assert_eq!(ledger.settle(&store, behind, used(0), later(21)).refunded, 0);
    assert_eq!(left(&ledger, &store, &claims[0], later(21)), 10);
}

#[test]
fn newcomers_of_a_crowded_page_share_one_strict_bucket() {
    let (ledger, store) = (ledger(8), MemoryStore::default());
    let (daily, minute) = (limit(1_000, 86_400), limit(600, 60));
    crowd(&ledger, &store, &daily);
    let [one, two] = ["one", "two"].map(|caller| [claim(&ledger, &minute, caller)]);
    let ticket = granted(ledger.admit(&store, &request(&one, 400), NOW));
    assert_eq!(ticket.overflowed(), 1);
    let refusal = refused(ledger.admit(&store, &request(&two, 400), NOW));
    assert_eq!(refusal.retry_after, Duration::from_secs(20));
    let _ = ledger.settle(&store, ticket, used(100), NOW);
    assert_eq!(left(&ledger, &store, &two[0], NOW), 500);
    let ticket = granted(ledger.admit(&store, &request(&two, 400), NOW));
    let _ = ledger.settle(&store, ticket, used(700), NOW);
    assert_eq!(
        ledger.level(&store, &minute, one[0].key, NOW).reset,
        Duration::from_secs(80)
    );
    assert_eq!(store.len(), 1);
}

#[test]
fn limits_of_different_rates_share_the_overflow_without_adding_up_in_one_request() {
    let (ledger, store) = (ledger(8), MemoryStore::default());
    crowd(&ledger, &store, &limit(1_000, 86_400));
    let (hour, minute) = (requests(10, 3_600), requests(10, 60));
    let claims = [claim(&ledger, &hour, "a"), claim(&ledger, &minute, "a")];
    let ticket = granted(ledger.admit(&store, &request(&claims, 0), NOW));
    assert_eq!(ticket.overflowed(), 2);
    // One of ten an hour is six minutes: to the minute's limit it looks as if it had nothing left, and no worse.
    let refusal = refused(ledger.admit(&store, &request(&claims[1..], 0), NOW));
    assert_eq!(refusal.retry_after, Duration::from_secs(6));
    let again = granted(ledger.admit(&store, &request(&claims[1..], 0), later(6)));
    // What the first gives back, the other's use doesn't go with.
    let _ = ticket.cancel(&ledger, &store, later(6));
    assert_eq!(left(&ledger, &store, &claims[1], later(6)), 9);
    let _ = again.cancel(&ledger, &store, later(6));
    assert_eq!(left(&ledger, &store, &claims[1], later(6)), 10);
}

#[test]
fn a_newcomer_that_finds_an_entry_starts_with_what_the_overflow_owes() {
    let (ledger, store) = (ledger(8), MemoryStore::default());
    let (short, minute) = (limit(1_000, 10), limit(600, 60));
    crowd(&ledger, &store, &short);
    let claims = [claim(&ledger, &minute, "a")];
    let ticket = granted(ledger.admit(&store, &request(&claims, 600), NOW));
    assert_eq!(ticket.overflowed(), 1);
    let _ = ledger.settle(&store, ticket, used(600), NOW);
    // The strangers have refilled, the newcomer hasn't.
    let refusal = refused(ledger.admit(&store, &request(&claims, 600), later(15)));
    assert_eq!(refusal.retry_after, Duration::from_secs(45));
    let ticket = granted(ledger.admit(&store, &request(&claims, 100), later(15)));
    assert_eq!(ticket.overflowed(), 0);
    assert_eq!(ticket.levels()[0].remaining, 50);
}

#[test]
fn a_shadow_limit_stays_out_of_the_overflow() {
    let (ledger, store) = (ledger(8), MemoryStore::default());
    crowd(&ledger, &store, &limit(1_000, 86_400));
    let (mut shadow, minute) = (limit(600, 3_600), limit(600, 60));
    shadow.mode = Mode::Shadow;
    let ticket = granted(ledger.admit(&store, &request(&[claim(&ledger, &shadow, "a")], 600), NOW));
    assert_eq!(ticket.overflowed(), 0);
    let _ = ledger.settle(&store, ticket, used(5_000), NOW);
    assert_eq!(left(&ledger, &store, &claim(&ledger, &minute, "b"), NOW), 600);
}

#[test]
fn the_expected_output_is_learnt_and_followed() {
    let (ledger, store) = (ledger(16), MemoryStore::default());
    let limit = limit(1_000_000, 60);
    let claims = [claim(&ledger, &limit, "a")];
    let request = expect(&claims, ledger.habit_key(b"a", &[b"a", b"m"]));
    for (reserved, output) in [
        (1_024, 4_000),
        (4_000, 2_000),
        (3_500, 0),
        (2_625, 1),
        (1_969, 5_969),
        (2_969, 0),
    ] {
        let ticket = granted(ledger.admit(&store, &request, NOW));
        assert_eq!(ticket.reserved_tokens(), reserved);
        let actual = Actual {
            requests: 1,
            tokens: output,
            lesson: lesson(Some(output)),
        };
        let _ = ledger.settle(&store, ticket, actual, NOW);
    }
    assert_eq!(store.len(), 1);
}

#[test]
fn a_habit_makes_room_for_a_debt_and_never_the_other_way_round() {
    let (ledger, store) = (ledger(8), MemoryStore::default());
    let limit = limit(1_000_000, 86_400);
    for caller in 0..100_u32 {
        let name = caller.to_string();
        let claims = [claim(&ledger, &limit, &name)];
        let key = ledger.habit_key(name.as_bytes(), &[name.as_bytes()]);
        let ticket = granted(ledger.admit(&store, &expect(&claims, key), NOW));
        assert_eq!(ticket.overflowed(), usize::from(caller >= 15), "caller {caller}");
        let _ = ledger.settle(
            &store,
            ticket,
            Actual {
                requests: 1,
                tokens: 3_000,
                lesson: lesson(Some(3_000)),
            },
            NOW,
        );
        if caller < 14 {
            assert_eq!(
                granted(ledger.admit(&store, &expect(&claims, key), NOW)).reserved_tokens(),
                3_000
            );
        }
    }
    for caller in 0..14_u32 {
        assert_eq!(
            left(&ledger, &store, &claim(&ledger, &limit, &caller.to_string()), NOW),
            994_000
        );
    }
}

#[test]
fn a_habit_on_a_page_of_its_own_is_learnt_too() {
    let (ledger, store) = (ledger(16_384), MemoryStore::default());
    let limit = limit(1_000_000, 60);
    let claims = [claim(&ledger, &limit, "everybody")];
    let request = expect(&claims, ledger.habit_key(b"a", &[b"a", b"m"]));
    let ticket = granted(ledger.admit(&store, &request, NOW));
    let _ = ledger.settle(
        &store,
        ticket,
        Actual {
            requests: 1,
            tokens: 7_000,
            lesson: lesson(Some(7_000)),
        },
        NOW,
    );
    assert_eq!(
        granted(ledger.admit(&store, &request, NOW)).reserved_tokens(),
        7_000
    );
    assert_eq!(store.len(), 2);
}

#[test]
fn a_foreign_record_reads_as_a_blank_page() {
    let limit = limit(1_000, 60);
    for foreign in [vec![], vec![1], vec![0xff; 512], vec![0; 512], vec![0xff; 5_000]] {
        let (ledger, store) = (ledger(8), MemoryStore::default());
        store.write("spillway/p2/0000", &foreign, Cas::Absent).unwrap();
        let claims = [claim(&ledger, &limit, "a")];
        let ticket = granted(ledger.admit(&store, &request(&claims, 600), NOW));
        let _ = ledger.settle(&store, ticket, used(700), NOW);
        assert_eq!(left(&ledger, &store, &claims[0], NOW), 300);
    }
}

#[test]
fn any_bytes_in_a_page_of_ours_are_survived() {
    let (ledger, limit) = (ledger(8), limit(1_000, 60));
    let mut dice = Dice(42);
    for _ in 0..2_000 {
        let store = MemoryStore::default();
        let mut bytes: Vec<u8> = (0..512).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect();
        bytes[16..20].copy_from_slice(b"splw");
        bytes[30..32].copy_from_slice(&2_u16.to_le_bytes());
        store.write("spillway/p2/0000", &bytes, Cas::Absent).unwrap();
        let claims = [claim(&ledger, &limit, "a")];
        let habit = ledger.habit_key(b"a", &[]);
        if let Admission::Granted(ticket) = ledger.admit(&store, &expect(&claims, habit), NOW) {
            let _ = ledger.settle(
                &store,
                ticket,
                Actual {
                    requests: 1,
                    tokens: 9,
                    lesson: lesson(Some(u64::MAX)),
                },
                NOW,
            );
        }
    }
}

#[test]
fn all_limits_of_one_caller_take_one_read_and_one_write() {
    struct Counted(MemoryStore, core::cell::Cell<(u32, u32)>);
    impl Store for Counted {
        fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
            let (reads, writes) = self.1.get();
            self.1.set((reads + 1, writes));
            self.0.read(key)
        }
        fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
            let (reads, writes) = self.1.get();
            self.1.set((reads, writes + 1));
            self.0.write(key, value, expected)
        }
    }
    let (ledger, store) = (
        ledger(16_384),
        Counted(MemoryStore::default(), Default::default()),
    );
    let limits = [limit(100_000, 60), limit(2_000_000, 86_400), requests(60, 60)];
    let claims = limits.each_ref().map(|limit| claim(&ledger, limit, "a"));
    let ticket = granted(ledger.admit(&store, &expect(&claims, ledger.habit_key(b"a", &[b"a"])), NOW));
    assert_eq!(store.1.get(), (1, 1));
    let _ = ledger.settle(
        &store,
        ticket,
        Actual {
            requests: 1,
            tokens: 77,
            lesson: lesson(Some(7)),
        },
        NOW,
    );
    assert_eq!(store.1.get(), (2, 2));
}

#[test]
fn the_number_of_pages_is_what_the_policy_says() {
    for (tracked, pages) in [(0, 1), (1, 1), (8, 1), (9, 2), (16_384, 2_048)] {
        let ledger = ledger(tracked);
        assert_eq!(ledger.pages, pages);
        let limit = limit(1, 1);
        for owner in 0..100_u32 {
            assert!(ledger.key(&limit, &owner.to_le_bytes(), &[]).page < pages);
        }
    }
}
