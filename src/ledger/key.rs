//! What things are called in the store: keyed hashes, so that no client can choose where it lands.
//!
//! Invariant: a name never holds what a client sent, and there are only as many names as the policy has pages.

use core::fmt;
use core::hash::Hasher;

use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher13;

use crate::date::push_number;
use crate::store::{Cas, Store, StoreError};

/// Where workers that were given no key of their own agree on one.
const SHARED_NAME: &str = "spillway/hash-key";
/// A lost creation is settled by reading once more; the rest is patience with a record that isn't ours.
const SHARED_TRIES: u32 = 4;

/// The secret of every hash that the ledger takes of what clients send. Its `Debug` doesn't show it.
#[derive(Clone, PartialEq, Eq)]
pub struct HashKey([u8; 16]);

impl HashKey {
    /// The key that a text stands for (the environment's `SPILLWAY_HASH_KEY`): the first half of its SHA-256.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let (half, _) = digest.split_at(16);
        Self(half.try_into().unwrap_or_default())
    }

    /// The key that all workers of this process share: `random` if this one is the first, otherwise the first one's.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the store can't answer, [`StoreError::Conflict`] when others keep writing there.
    pub fn shared(store: &impl Store, random: [u8; 16]) -> Result<Self, StoreError> {
        for _ in 0..SHARED_TRIES {
            let (bytes, cas) = store.read(SHARED_NAME)?;
            if let (Ok(key), Cas::Version(_)) = (<[u8; 16]>::try_from(bytes.as_slice()), cas) {
                return Ok(Self(key));
            }
            match store.write(SHARED_NAME, &random, cas) {
                Ok(()) => return Ok(Self(random)),
                Err(StoreError::Conflict) => {}
                Err(StoreError::Unavailable) => return Err(StoreError::Unavailable),
            }
        }
        Err(StoreError::Conflict)
    }

    /// SipHash-1-3 of the parts, each with its length before it: `[ab, c]` and `[a, bc]` differ.
    pub(super) fn hash(&self, domain: u64, parts: &[&[u8]]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write_u64(domain);
        for part in parts {
            hasher.write_u64(u64::try_from(part.len()).unwrap_or(u64::MAX));
            hasher.write(part);
        }
        hasher.finish()
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(..)")
    }
}

/// One bucket's (or one habit's) place: the page by its owner, the entry by its fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(super) page: u32,
    pub(super) fingerprint: u64,
}

/// The store's name of a page. Its layout is part of it, see [`crate::layout`].
pub(super) fn page_name(page: u32) -> String {
    let mut name = String::with_capacity("spillway/p2/0000".len());
    name.push_str("spillway/p");
    push_number(&mut name, super::LAYOUT.into(), 1);
    name.push('/');
    push_number(&mut name, page.into(), 4);
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn parts_are_told_apart_by_their_lengths() {
        let key = HashKey::from_text("k");
        assert_ne!(key.hash(0, &[b"ab", b"c"]), key.hash(0, &[b"a", b"bc"]));
        assert_ne!(key.hash(0, &[b"a"]), key.hash(0, &[b"a", b""]));
        assert_ne!(key.hash(0, &[b"a"]), key.hash(1, &[b"a"]));
        assert_eq!(key.hash(0, &[b"a", b"b"]), key.hash(0, &[b"a", b"b"]));
    }

    #[test]
    fn another_key_hashes_otherwise() {
        let (a, b) = (HashKey::from_text("a"), HashKey::from_text("b"));
        assert_ne!(a.hash(0, &[b"x"]), b.hash(0, &[b"x"]));
    }

    #[test]
    fn the_second_worker_takes_the_first_ones_key() {
        let store = MemoryStore::default();
        let first = HashKey::shared(&store, [1; 16]).unwrap();
        let second = HashKey::shared(&store, [2; 16]).unwrap();
        assert_eq!(first, second);
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn the_loser_of_the_creation_race_takes_the_winners_key() {
        struct Race(MemoryStore);
        impl Store for Race {
            fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
                self.0.read(key)
            }
            fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
                let _ = self.0.write(key, &[9; 16], Cas::Absent);
                self.0.write(key, value, expected)
            }
        }
        let race = Race(MemoryStore::default());
        assert_eq!(HashKey::shared(&race, [2; 16]), Ok(HashKey([9; 16])));
    }

    #[test]
    fn an_emptied_record_is_written_anew() {
        let store = MemoryStore::default();
        store.write(SHARED_NAME, &[], Cas::Absent).unwrap();
        assert_eq!(HashKey::shared(&store, [3; 16]), Ok(HashKey([3; 16])));
    }

    #[test]
    fn debug_hides_the_key() {
        assert_eq!(format!("{:?}", HashKey([7; 16])), "HashKey(..)");
    }
}
