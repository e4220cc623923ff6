//! What holds whatever happens, by a seeded generator.

use super::*;
use crate::ledger::Key;
use crate::store::MemoryStore;

/// One use of a bucket: when it began, and how many nanoseconds' worth.
#[derive(Clone, Copy)]
struct Use {
    at: u64,
    cost: u64,
}

/// The backlog that a bucket must have at least: every exchange as if what it used had been known when it began, and what
/// it used beyond its reservation charged when it ended.
fn due(uses: &[Use], now: u64) -> u64 {
    let tat = uses.iter().fold(0, |tat: u64, used| match used.cost {
        0 => tat,
        cost => tat.max(used.at) + cost,
    });
    tat.saturating_sub(now)
}

/// A caller under test: its bucket, its uses in order of time, and its tickets with the index of their use.
struct Caller {
    limit: Limit,
    key: Key,
    uses: Vec<Use>,
    open: Vec<(Ticket, usize, u64)>,
}

impl Caller {
    fn unit(&self) -> u64 {
        u64::try_from(self.limit.period.as_nanos()).unwrap() / self.limit.quota
    }

    fn admit(&mut self, ledger: &Ledger, store: &MemoryStore, tokens: u64, now: Instant) {
        let claims = [Claim {
            limit: &self.limit,
            key: self.key,
            group: 0,
        }];
        let before = due(&self.uses, now.0);
        if let Admission::Granted(ticket) = ledger.admit(store, &request(&claims, tokens), now) {
            let cost = ticket.reserved_tokens() * self.unit();
            assert!(
                before + cost <= self.limit.burst * self.unit(),
                "admitted above capacity + refill"
            );
            self.open.push((ticket, self.uses.len(), cost));
            self.uses.push(Use { at: now.0, cost });
        }
    }

    fn settle(&mut self, ledger: &Ledger, store: &MemoryStore, dice: &mut Dice, now: Instant) {
        let Some(which) = usize::try_from(dice.roll(self.open.len() as u64))
            .ok()
            .filter(|_| !self.open.is_empty())
        else {
            return;
        };
        let (ticket, index, reserved) = self.open.swap_remove(which);
        let tokens = dice.roll(self.limit.burst * 3 / 2);
        let cost = tokens * self.unit();
        self.uses[index].cost = cost.min(reserved);
        if cost > reserved {
            self.uses.push(Use {
                at: now.0,
                cost: cost - reserved,
            });
        }
        assert!(ledger.settle(store, ticket, used(tokens), now).pending.is_none());
    }

    fn standing(&self, ledger: &Ledger, store: &MemoryStore, now: Instant) -> u64 {
        let reset = ledger.level(store, &self.limit, self.key, now).reset;
        u64::try_from(reset.as_nanos()).unwrap()
    }
}

/// Lets random callers use a ledger for a while; calls `check` after each step.
fn play(seed: u64, callers: &mut [Caller], ledger: &Ledger, check: impl Fn(&Caller, u64)) {
    let (mut dice, store, mut now) = (Dice(seed), MemoryStore::default(), secs(1_000));
    for _ in 0..300 {
        let who = usize::try_from(dice.roll(callers.len() as u64)).unwrap();
        let caller = &mut callers[who];
        match dice.roll(5) {
            0 | 1 => caller.admit(ledger, &store, dice.roll(caller.limit.burst * 2 / 3) + 1, now),
            2 | 3 => caller.settle(ledger, &store, &mut dice, now),
            _ => now = now.after(Duration::from_millis(dice.roll(9_000))),
        }
        for caller in callers.iter() {
            let standing = caller.standing(ledger, &store, now);
            assert!(
                standing >= due(&caller.uses, now.0),
                "given away under seed {seed}"
            );
            check(caller, standing);
        }
    }
}

fn callers(ledger: &Ledger, count: usize) -> Vec<Caller> {
    let limits = [limit(1_000, 60), limit(600, 10), limit(50_000, 3_600)];
    (0..count)
        .map(|caller| {
            let limit = limits[caller % limits.len()].clone();
            let name = caller.to_le_bytes();
            let key = ledger.key(&limit, &name, &[&name]);
            Caller {
                limit,
                key,
                uses: Vec::new(),
                open: Vec::new(),
            }
        })
        .collect()
}

#[test]
fn nobody_is_ever_admitted_above_capacity_and_refill() {
    for seed in 1..400 {
        let ledger = ledger(64);
        play(seed, &mut callers(&ledger, 1), &ledger, |_, _| {});
    }
}

#[test]
fn a_crowded_page_gives_nothing_away_either() {
    for seed in 1..60 {
        let ledger = ledger(8);
        play(seed, &mut callers(&ledger, 24), &ledger, |_, _| {});
    }
}

#[test]
fn on_a_clock_that_stands_still_the_ledger_is_the_sum_of_use() {
    for seed in 1..300 {
        let (ledger, store, mut dice) = (ledger(64), MemoryStore::default(), Dice(seed));
        let limits = [
            limit(100_000, 60),
            limit(777_777, 7),
            limit(3_000_000_000, 1),
            requests(997, 60),
        ];
        let claims = limits.each_ref().map(|limit| claim(&ledger, limit, "a"));
        let (mut open, mut tokens, mut count) = (Vec::new(), 0, 0);
        for _ in 0..80 {
            if dice.roll(2) == 0 {
                let ask = request(&claims, dice.roll(5_000));
                if let Admission::Granted(ticket) = ledger.admit(&store, &ask, millis(5)) {
                    open.push(ticket);
                }
            } else if !open.is_empty() {
                let which = usize::try_from(dice.roll(open.len() as u64)).unwrap();
                (tokens, count) = settle_one(
                    &ledger,
                    &store,
                    open.swap_remove(which),
                    (tokens, count),
                    &mut dice,
                );
            }
        }
        for ticket in open {
            (tokens, count) = settle_one(&ledger, &store, ticket, (tokens, count), &mut dice);
        }
        for (claim, sum) in claims.iter().zip([tokens, tokens, tokens, count]) {
            let left = left(&ledger, &store, claim, millis(5));
            assert_eq!(
                left,
                claim.limit.burst.saturating_sub(sum),
                "{} under seed {seed}",
                claim.limit.name
            );
        }
    }
}

fn settle_one(
    ledger: &Ledger,
    store: &MemoryStore,
    ticket: Ticket,
    sums: (u64, u64),
    dice: &mut Dice,
) -> (u64, u64) {
    let actual = Actual {
        requests: dice.roll(2),
        tokens: dice.roll(3_000),
        lesson: lesson(None),
    };
    let _ = ledger.settle(store, ticket, actual, millis(5));
    (sums.0 + actual.tokens, sums.1 + actual.requests)
}

#[test]
fn a_flood_of_callers_neither_grows_the_store_nor_forgives_a_debt() {
    let (ledger, store, mut dice) = (ledger(1_024), MemoryStore::default(), Dice(7));
    let (minute, day) = (limit(1_000, 60), limit(100_000, 86_400));
    let honest = [claim(&ledger, &minute, "honest"), claim(&ledger, &day, "honest")];
    let ticket = granted(ledger.admit(&store, &request(&honest, 500), secs(1_000)));
    let _ = ledger.settle(&store, ticket, used(500), secs(1_000));
    let mut now = secs(1_000);
    for turn in 0..100_000_u64 {
        let name = dice.roll(u64::MAX).to_string();
        let claims = [claim(&ledger, &minute, &name), claim(&ledger, &day, &name)];
        let _ = ledger.admit(&store, &request(&claims, u64::MAX), now);
        if turn % 1_000 == 0 {
            now = now.after(Duration::from_millis(100));
            let elapsed = now.0 - secs(1_000).0;
            let full = ledger.level(&store, &minute, honest[0].key, now).reset;
            assert_eq!(full, Duration::from_nanos(30_000_000_000 - elapsed));
            assert!(left(&ledger, &store, &honest[1], now) < 99_600);
            assert!(store.len() <= 128);
        }
    }
    assert_eq!(store.len(), 128);
    // It may use what it has left, and no more.
    assert_eq!(left(&ledger, &store, &honest[0], now), 666);
    let _refusal = refused(ledger.admit(&store, &request(&honest, 667), now));
    let _ticket = granted(ledger.admit(&store, &request(&honest, 666), now));
}

/// Not a test of anything: prints what one exchange costs.
/// `cargo test --profile quick --lib -- --ignored --nocapture what_an_exchange_costs`
#[test]
#[ignore = "a measurement"]
fn what_an_exchange_costs() {
    let (ledger, store) = (ledger(16_384), MemoryStore::default());
    let limits = [limit(100_000, 60), limit(2_000_000, 86_400), requests(600, 60)];
    let rounds = 200_000_u32;
    let started = std::time::Instant::now();
    for turn in 0..rounds {
        let (name, now) = ((turn % 500).to_string(), millis(1_000_000 + u64::from(turn)));
        let claims = limits.each_ref().map(|limit| claim(&ledger, limit, &name));
        let habit = Some(ledger.habit_key(name.as_bytes(), &[b"model"]));
        let ticket = granted(ledger.admit(
            &store,
            &Request {
                habit,
                ..request(&claims, 300)
            },
            now,
        ));
        let actual = Actual {
            requests: 1,
            tokens: 120,
            lesson: lesson(Some(u64::from(turn % 1_000))),
        };
        let _ = ledger.settle(&store, ticket, actual, now.after(Duration::from_millis(500)));
    }
    println!(
        "{} ns an exchange of three limits: keys, admit, settle",
        started.elapsed().as_nanos() / u128::from(rounds)
    );
}
