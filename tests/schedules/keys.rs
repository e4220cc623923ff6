//! What an exchange costs the store, from one key to a million of them: the same.

use std::cell::Cell;

use spillway::ledger::{Actual, Admission, HashKey, Ledger, Lesson};
use spillway::store::{Cas, Store, StoreError};

use crate::account::{Lab, NOW, limit};
use crate::explorer::Shelf;
use crate::is_full;

/// Counts calls, and bytes moved either way.
#[derive(Default)]
struct Counting {
    inner: Shelf,
    calls: Cell<usize>,
    bytes: Cell<usize>,
}

impl Counting {
    fn count(&self, bytes: usize) {
        self.calls.set(self.calls.get() + 1);
        self.bytes.set(self.bytes.get() + bytes);
    }
}

impl Store for Counting {
    fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
        let answer = self.inner.read(key)?;
        self.count(key.len() + answer.0.len());
        Ok(answer)
    }

    fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
        self.count(key.len() + value.len());
        self.inner.write(key, value, expected)
    }
}

/// One exchange of a caller; what it cost in calls and bytes.
fn exchange(ledger: &Ledger, store: &Counting, caller: &str) -> (usize, usize) {
    let (limits, owners) = (vec![limit(1_000), limit(2_000)], [caller, caller]);
    let keys = limits
        .iter()
        .zip(owners)
        .map(|(limit, owner)| ledger.key(limit, owner.as_bytes(), &[]));
    let lab = Lab {
        keys: keys.collect(),
        ledger: ledger.clone(),
        limits,
    };
    store.calls.set(0);
    store.bytes.set(0);
    if let Admission::Granted(ticket) = lab.ask(store, &[0, 1], 100, NOW) {
        let actual = Actual {
            requests: 1,
            tokens: 70,
            lesson: Lesson::default(),
        };
        assert!(ledger.settle(store, ticket, actual, NOW).pending.is_none());
    }
    (store.calls.get(), store.bytes.get())
}

/// Resident memory of this process, in KiB.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4
}

#[test]
fn an_exchange_costs_the_same_among_one_key_and_among_a_million() {
    // Two limits of a caller: half as many callers as keys.
    let counts: &[u32] = if is_full() {
        &[1, 1_000, 1_000_000]
    } else {
        &[1, 1_000, 30_000]
    };
    for tracked in [16_384, 1 << 20] {
        let (ledger, store, before) = (
            Ledger::new(HashKey::from_text("test"), tracked),
            Counting::default(),
            resident(),
        );
        // The first look of a page finds none; from then on it is as long as it will ever be.
        let _ = exchange(&ledger, &store, "honest");
        let mut callers = 0;
        for keys in counts {
            while callers * 2 < *keys {
                let _ = exchange(&ledger, &store, &callers.to_string());
                callers += 1;
            }
            let cost = exchange(&ledger, &store, "honest");
            let records = store.inner.0.borrow();
            let bytes: usize = records
                .iter()
                .map(|(key, (value, _))| key.len() + value.len())
                .sum();
            println!(
                "{tracked} tracked, {keys} keys: {} store calls and {} bytes an exchange; {} records of {bytes} bytes, \
                 {} KiB more resident",
                cost.0,
                cost.1,
                records.len(),
                resident().saturating_sub(before)
            );
            assert_eq!(cost.0, 4, "a read and a write to admit, and to settle");
            assert!(
                (4 * (512 + 16)..=4 * (512 + 18)).contains(&cost.1),
                "a page and its name, each time"
            );
            assert!(
                records.len() <= tracked as usize / 8 && bytes <= tracked as usize * 68,
                "the policy's bound"
            );
        }
    }
}
