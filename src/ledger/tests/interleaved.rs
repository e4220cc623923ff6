//! Workers interleaved at every store call, writes that lose their race, a store that fails.

use core::cell::{Cell, RefCell};
use std::sync::Mutex;

use super::*;
use crate::ledger::Key;
use crate::store::{Cas, MemoryStore, StoreError};

const NOW: Instant = Instant(1_000_000_000_000);

/// What happens instead of or before a store call.
type Meddling<'a> = Box<dyn FnOnce(&MemoryStore) + 'a>;

/// A store in which somebody else acts just before the call number `at`.
struct Meddled<'a> {
    inner: &'a MemoryStore,
    calls: Cell<usize>,
    at: usize,
    act: RefCell<Option<Meddling<'a>>>,
}

impl<'a> Meddled<'a> {
    fn new(inner: &'a MemoryStore, at: usize, act: impl FnOnce(&MemoryStore) + 'a) -> Self {
        Self {
            inner,
            calls: Cell::new(0),
            at,
            act: RefCell::new(Some(Box::new(act))),
        }
    }

    fn tick(&self) {
        if self.calls.replace(self.calls.get() + 1) == self.at
            && let Some(act) = self.act.take()
        {
            act(self.inner);
        }
    }
}

impl Store for Meddled<'_> {
    fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
        self.tick();
        self.inner.read(key)
    }

    fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
        self.tick();
        self.inner.write(key, value, expected)
    }
}

/// A store whose writes number `from` to `to` fail.
struct Failing<'a> {
    inner: &'a MemoryStore,
    writes: Cell<usize>,
    from: usize,
    to: usize,
    error: StoreError,
}

impl Store for Failing<'_> {
    fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
        self.inner.read(key)
    }

    fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
        let number = self.writes.replace(self.writes.get() + 1);
        if (self.from..self.to).contains(&number) {
            Err(self.error)
        } else {
            self.inner.write(key, value, expected)
        }
    }
}

/// A store that nobody can write, or read.
struct Dead;

impl Store for Dead {
    fn read(&self, _: &str) -> Result<(Vec<u8>, Cas), StoreError> {
        Err(StoreError::Unavailable)
    }

    fn write(&self, _: &str, _: &[u8], _: Cas) -> Result<(), StoreError> {
        Err(StoreError::Unavailable)
    }
}

/// Two limits on one page or on two, with both orders of the pages.
fn layouts(ledger: &Ledger, limits: &[Limit; 2]) -> Vec<[Key; 2]> {
    let keys = |one: &str, other: &str| {
        [
            ledger.key(&limits[0], one.as_bytes(), &[]),
            ledger.key(&limits[1], other.as_bytes(), &[]),
        ]
    };
    let found = vec![keys("a", "a"), keys("a", "b"), keys("b", "a")];
    assert_eq!(found[0][0].page, found[0][1].page);
    assert_ne!(found[1][0].page, found[1][1].page);
    found
}

fn claims<'p>(limits: &'p [Limit; 2], keys: [Key; 2]) -> [Claim<'p>; 2] {
    let [one, other] = limits;
    [
        Claim {
            limit: one,
            key: keys[0],
            group: 0,
        },
        Claim {
            limit: other,
            key: keys[1],
            group: 1,
        },
    ]
}

fn lefts(ledger: &Ledger, store: &impl Store, claims: &[Claim<'_>]) -> Vec<u64> {
    claims
        .iter()
        .map(|claim| left(ledger, store, claim, NOW))
        .collect()
}

/// Runs `body` with a second worker acting before each store call in turn, on each layout, until calls run out.
fn each_interleaving(limits: &[Limit; 2], body: impl Fn(&Ledger, [Claim<'_>; 2], usize) -> bool) {
    let ledger = ledger(16_384);
    for keys in layouts(&ledger, limits) {
        let mut at = 0;
        while body(&ledger, claims(limits, keys), at) {
            at += 1;
            assert!(at < 200, "too many store calls");
        }
        assert!(at > 1, "nothing was interleaved");
    }
}

#[test]
fn of_two_workers_that_want_the_last_tokens_exactly_one_gets_them() {
    each_interleaving(&[limit(100, 60), limit(150, 60)], |ledger, claims, at| {
        let (store, other) = (MemoryStore::default(), RefCell::new(None));
        let ask = request(&claims, 80);
        let meddled = Meddled::new(&store, at, |store| {
            *other.borrow_mut() = Some(ledger.admit(store, &ask, NOW))
        });
        let mine = ledger.admit(&meddled, &ask, NOW);
        let acted = meddled.act.take().is_none();
        drop(meddled);
        let theirs = other.into_inner();
        let grants = [Some(mine), theirs]
            .into_iter()
            .flatten()
            .filter(|a| matches!(a, Admission::Granted(_)))
            .count();
        assert_eq!(grants, 1, "call {at}");
        assert_eq!(lefts(ledger, &store, &claims), [20, 70], "call {at}");
        acted
    });
}

#[test]
fn a_worker_that_only_wants_one_of_the_pages_can_not_be_half_charged_for() {
    each_interleaving(&[limit(100, 60), limit(100, 61)], |ledger, claims, at| {
        for taken in 0..2 {
            let store = MemoryStore::default();
            let theirs = RefCell::new(None);
            let meddled = Meddled::new(&store, at, |store| {
                let ask = request(&claims[taken..=taken], 80);
                *theirs.borrow_mut() = Some(ledger.admit(store, &ask, NOW));
            });
            let mine = ledger.admit(&meddled, &request(&claims, 80), NOW);
            let acted = meddled.act.take().is_none();
            drop(meddled);
            let mine = matches!(mine, Admission::Granted(_));
            let theirs = matches!(theirs.into_inner(), Some(Admission::Granted(_)));
            assert!(!(mine && theirs), "call {at}");
            assert!(mine || theirs, "call {at}");
            let mut expected = [100, 100];
            if mine {
                expected = [20, 20];
            } else {
                expected[taken] = 20;
            }
            assert_eq!(lefts(ledger, &store, &claims), expected, "call {at}");
            if !acted {
                return false;
            }
        }
        true
    });
}

#[test]
fn nobody_is_refused_for_what_somebody_else_is_about_to_roll_back() {
    let ledger = ledger(16_384);
    let limit = limit(100, 60);
    let claims = [claim(&ledger, &limit, "a")];
    let store = MemoryStore::default();
    let half_written = granted(ledger.admit(&store, &request(&claims, 80), NOW));
    let meddled = Meddled::new(&store, 1, |store| {
        let _ = half_written.cancel(&ledger, store, NOW);
    });
    let _ticket = granted(ledger.admit(&meddled, &request(&claims, 80), NOW));
}

#[test]
fn no_settlement_is_lost_whoever_comes_between() {
    each_interleaving(&[limit(1_000, 60), limit(2_000, 60)], |ledger, claims, at| {
        let store = MemoryStore::default();
        let ask = request(&claims, 100);
        let [one, two] = [0; 2].map(|_| granted(ledger.admit(&store, &ask, NOW)));
        let meddled = Meddled::new(&store, at, |store| {
            let _ = ledger.settle(store, two, used(30), NOW);
            let three = granted(ledger.admit(store, &ask, NOW));
            let _ = ledger.settle(store, three, used(111), NOW);
        });
        let settlement = ledger.settle(&meddled, one, used(250), NOW);
        let acted = meddled.act.take().is_none();
        assert!(settlement.pending.is_none());
        if acted {
            assert_eq!(lefts(ledger, &store, &claims), [609, 1_609], "call {at}");
        }
        acted
    });
}

#[test]
fn whatever_writes_fail_the_ledger_is_the_sum_of_use_after_the_flush() {
    for error in [StoreError::Conflict, StoreError::Unavailable] {
        for limits in [[limit(1_000, 60), limit(2_000, 60)], [deny(1_000), deny(2_000)]] {
            let ledger = ledger(16_384);
            for keys in layouts(&ledger, &limits) {
                for (from, length) in (0..6).flat_map(|from| (0..40).map(move |length| (from, length))) {
                    survive(&ledger, claims(&limits, keys), (from, from + length, error));
                }
            }
        }
    }
}

fn deny(quota: u64) -> Limit {
    Limit {
        on_contention: OnContention::Deny,
        ..limit(quota, 60)
    }
}

fn survive(ledger: &Ledger, claims: [Claim<'_>; 2], fault: (usize, usize, StoreError)) {
    let store = MemoryStore::default();
    let (from, to, error) = fault;
    let failing = Failing {
        inner: &store,
        writes: Cell::new(0),
        from,
        to,
        error,
    };
    let (pending, sum) = match ledger.admit(&failing, &request(&claims, 100), NOW) {
        Admission::Granted(ticket) => (ledger.settle(&failing, ticket, used(333), NOW).pending, 333),
        Admission::Refused(refusal) => {
            assert!(refusal.contention && claims[refusal.claim].limit.on_contention == OnContention::Deny);
            (refusal.pending, 0)
        }
        other @ (Admission::Never(_) | Admission::Unsure { .. }) => panic!("{other:?}"),
    };
    if let Some(pending) = pending {
        assert!(ledger.flush(&store, pending, NOW).is_ok());
    }
    assert_eq!(
        lefts(ledger, &store, &claims),
        [1_000 - sum, 2_000 - sum],
        "{fault:?}"
    );
}

#[test]
fn a_store_that_never_answers_lets_through_or_refuses_as_the_limit_says() {
    let ledger = ledger(16_384);
    let (allow, deny) = (limit(100, 60), deny(200));
    let open = [claim(&ledger, &allow, "a")];
    let ticket = granted(ledger.admit(&Dead, &request(&open, 50), NOW));
    assert_eq!((ticket.contended(), ticket.reserved_tokens()), (1, 0));
    let settlement = ledger.settle(&Dead, ticket, used(70), NOW);
    let pending = ledger.flush(&Dead, settlement.pending.unwrap(), NOW).unwrap_err();
    let store = MemoryStore::default();
    ledger.flush(&store, pending, NOW).unwrap();
    assert_eq!(left(&ledger, &store, &open[0], NOW), 30);

    let both = [claim(&ledger, &allow, "a"), claim(&ledger, &deny, "b")];
    let refusal = refused(ledger.admit(&Dead, &request(&both, 50), NOW));
    assert_eq!((refusal.contention, refusal.claim), (true, 1));
    assert!(refusal.retry_after >= Duration::from_secs(1));
    assert!(ledger.peek(&Dead, &request(&both, 50), NOW).is_none());
}

#[test]
fn a_shadow_limit_is_no_reason_to_refuse_or_roll_back_on_contention() {
    let ledger = ledger(16_384);
    let shadow = Limit {
        mode: Mode::Shadow,
        ..deny(100)
    };
    let claims = [claim(&ledger, &shadow, "a")];
    let ticket = granted(ledger.admit(&Dead, &request(&claims, 50), NOW));
    assert_eq!(ticket.contended(), 1);
}

#[test]
fn pending_refunds_are_bounded_by_the_time_they_land() {
    let ledger = ledger(16_384);
    let limit = limit(100, 100);
    let claims = [claim(&ledger, &limit, "a")];
    let store = MemoryStore::default();
    let ticket = granted(ledger.admit(&store, &request(&claims, 80), NOW));
    let pending = ledger.settle(&Dead, ticket, used(0), NOW).pending.unwrap();
    let late = NOW.after(Duration::from_secs(90));
    let _neighbour = granted(ledger.admit(&store, &request(&claims, 100), late));
    ledger.flush(&store, pending, late).unwrap();
    assert_eq!(left(&ledger, &store, &claims[0], late), 0);
}

#[test]
fn of_a_hundred_at_once_on_real_threads_exactly_ten_are_admitted() {
    struct Locked(Mutex<MemoryStore>);
    impl Store for Locked {
        fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
            self.0.lock().unwrap().read(key)
        }
        fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
            self.0.lock().unwrap().write(key, value, expected)
        }
    }
    for _ in 0..20 {
        let (ledger, store) = (ledger(16_384), Locked(Mutex::default()));
        let limits = [
            Limit {
                on_contention: OnContention::Deny,
                ..requests(10, 3_600)
            },
            limit(1_000_000, 60),
        ];
        let keys = layouts(&ledger, &limits)[1];
        let work = || {
            let claims = claims(&limits, keys);
            let tries = (0..25).map(|_| ledger.admit(&store, &request(&claims, 300), NOW));
            let tickets = tries.filter_map(|admission| match admission {
                Admission::Granted(ticket) => Some(ticket),
                Admission::Refused(_) | Admission::Never(_) | Admission::Unsure { .. } => None,
            });
            tickets.fold(0, |count, ticket| {
                let _ = ledger.settle(&store, ticket, used(1_234), NOW);
                count + 1
            })
        };
        let admitted: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(admitted, 10);
        assert_eq!(
            lefts(&ledger, &store, &claims(&limits, keys)),
            [0, 1_000_000 - 12_340]
        );
    }
}

/// A store in which somebody else acts before the second write, and no write after that succeeds.
struct Breaking<'a> {
    inner: &'a MemoryStore,
    writes: Cell<usize>,
    act: &'a dyn Fn(),
}

impl Store for Breaking<'_> {
    fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
        self.inner.read(key)
    }

    fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
        let number = self.writes.replace(self.writes.get() + 1);
        if number == 1 {
            (self.act)();
        }
        if number > 1 {
            return Err(StoreError::Unavailable);
        }
        self.inner.write(key, value, expected)
    }
}

#[test]
fn what_is_taken_back_before_a_count_is_not_lost() {
    let (ledger, store) = (ledger(64), MemoryStore::default());
    let limits = [limit(1_000, 60), limit(1_001, 60)];
    let [first, second] = {
        let mut claims = claims(&limits, layouts(&ledger, &limits)[1]);
        claims.sort_by_key(|claim| claim.key.page);
        claims
    };
    let others = || {
        let alone = [second];
        let _ = granted(ledger.admit(&store, &request(&alone, 900), NOW));
    };
    let breaking = Breaking {
        inner: &store,
        writes: Cell::new(0),
        act: &others,
    };
    let both = [first, second];
    let demand = Demand {
        text: 100,
        certainty: Certainty::Countable { least: 50, most: 200 },
        ..Demand::default()
    };
    let asked = Request {
        demand,
        ..request(&both, 0)
    };
    let Admission::Unsure { room, pending } = ledger.admit(&breaking, &asked, NOW) else {
        panic!("it hangs on the count");
    };
    assert!((100..=101).contains(&room), "{room}");
    assert_eq!(left(&ledger, &store, &first, NOW), first.limit.quota - 105);
    assert!(ledger.flush(&store, pending.unwrap(), NOW).is_ok());
    assert_eq!(left(&ledger, &store, &first, NOW), first.limit.quota);
}
