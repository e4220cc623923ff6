//! Which layouts the store's records have, so that a module can follow another over one store.
//!
//! A new module and the old one, which still drains, run side by side over the same store. What a record means is
//! therefore told by its name, which has its layout's version in it: neither ever reads or writes a record of the other's
//! making unless both mean the same by it. One more record says which layouts were used last. A module that finds others
//! there begins with clean records where its own differ, and says so; one that is rolled back finds its own again.
//!
//! Invariant: of a record that isn't ours nothing is believed and little is repeated.

use crate::store::{Cas, Store, StoreError};
use crate::{breaker, ledger};

/// Where the layouts used last are told.
const NAME: &str = "spillway/layout";
/// Workers start at the same time; each needs one turn.
const TRIES: u32 = 16;
/// No longer text is repeated.
const LONGEST: usize = 64;

/// What was used before this module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing: the store is new.
    Nothing,
    /// The same layouts.
    Same,
    /// Others: where they differ from ours, our records start clean. What they were called, as far as that can be shown.
    Other(String),
}

/// The layouts of this module, as the record and log lines have them.
#[must_use]
pub fn ours() -> String {
    format!("limits {}, breakers {}", ledger::LAYOUT, breaker::LAYOUT)
}

/// Finds out what was used before, and notes that now this module's layouts are. Of several workers one gets the news.
///
/// # Errors
/// [`StoreError::Unavailable`] when the store can't answer, [`StoreError::Conflict`] when others keep writing there.
pub fn take_over(store: &impl Store) -> Result<Before, StoreError> {
    let ours = ours();
    for _ in 0..TRIES {
        let (bytes, cas) = store.read(NAME)?;
        if bytes == ours.as_bytes() {
            return Ok(Before::Same);
        }
        match store.write(NAME, ours.as_bytes(), cas) {
            Ok(()) if cas == Cas::Absent => return Ok(Before::Nothing),
            Ok(()) => return Ok(Before::Other(shown(&bytes))),
            Err(StoreError::Conflict) => {}
            Err(StoreError::Unavailable) => return Err(StoreError::Unavailable),
        }
    }
    Err(StoreError::Conflict)
}

fn shown(bytes: &[u8]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || " ,.".contains(c);
    let text = core::str::from_utf8(bytes).unwrap_or_default();
    match text.len() <= LONGEST && !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn the_first_worker_of_a_new_store_has_no_news_and_later_ones_find_the_same() {
        let store = MemoryStore::default();
        assert_eq!(take_over(&store), Ok(Before::Nothing));
        assert_eq!(take_over(&store), Ok(Before::Same));
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn one_worker_tells_of_an_upgrade_and_one_of_the_way_back() {
        let store = MemoryStore::default();
        for other in ["limits 1, breakers 1", "limits 9, breakers 9, something else 3"] {
            let (_, cas) = store.read(NAME).unwrap();
            store.write(NAME, other.as_bytes(), cas).unwrap();
            assert_eq!(take_over(&store), Ok(Before::Other(other.to_owned())));
            assert_eq!(take_over(&store), Ok(Before::Same));
        }
    }

    #[test]
    fn what_somebody_else_wrote_there_is_not_repeated() {
        let long = [b'a'; LONGEST + 1];
        for foreign in [&b""[..], b"\xff\x00", b"{\"a\": 1}", &long] {
            let store = MemoryStore::default();
            store.write(NAME, foreign, Cas::Absent).unwrap();
            assert_eq!(take_over(&store), Ok(Before::Other("unknown".to_owned())));
        }
    }

    #[test]
    fn the_loser_of_a_race_looks_again() {
        struct Race(MemoryStore);
        impl Store for Race {
            fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
                self.0.read(key)
            }
            fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
                let _ = self.0.write(key, ours().as_bytes(), Cas::Absent);
                self.0.write(key, value, expected)
            }
        }
        assert_eq!(take_over(&Race(MemoryStore::default())), Ok(Before::Same));
    }
}
