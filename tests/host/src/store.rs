//! Shared data as proxy-wasm-cpp-host keeps it: one map for all VMs of a `vm_id`, with a version on every value.
//!
//! The rules that surprise: a CAS of 0 writes unconditionally; a CAS that isn't 0 on a **missing** key succeeds; there is
//! no delete, no size limit and no expiry.

use std::collections::BTreeMap;

use crate::abi::Status;

/// The store that all workers share.
#[derive(Clone, Debug, Default)]
pub struct SharedData {
    values: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    last_cas: u32,
    races: BTreeMap<Vec<u8>, Races>,
}

/// How writes of a key went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Races {
    /// Writes that landed.
    pub won: u64,
    /// Writes that found another version than they expected.
    pub lost: u64,
}

impl SharedData {
    /// The value of `key` and its version; [`Status::NotFound`] when it was never written.
    ///
    /// # Errors
    /// [`Status::NotFound`] only.
    pub fn get(&self, key: &[u8]) -> Result<(Vec<u8>, u32), Status> {
        self.values.get(key).cloned().ok_or(Status::NotFound)
    }

    /// Writes `value` if `cas` is 0, or the version that `key` has, or if the key is missing.
    ///
    /// # Errors
    /// [`Status::CasMismatch`] when the key is there with another version.
    pub fn set(&mut self, key: &[u8], value: &[u8], cas: u32) -> Result<(), Status> {
        if let Some((_, current)) = self.values.get(key)
            && cas != 0
            && cas != *current
        {
            self.races.entry(key.to_vec()).or_default().lost += 1;
            return Err(Status::CasMismatch);
        }
        self.races.entry(key.to_vec()).or_default().won += 1;
        let version = self.next_cas();
        self.values.insert(key.to_vec(), (value.to_vec(), version));
        Ok(())
    }

    /// Gives a present key a new version, as if somebody else had written the same value.
    pub fn touch(&mut self, key: &[u8]) {
        let version = self.next_cas();
        if let Some(entry) = self.values.get_mut(key) {
            entry.1 = version;
        }
    }

    /// How writes of all keys that begin like this went.
    #[must_use]
    pub fn races(&self, prefix: &str) -> Races {
        let named = self
            .races
            .iter()
            .filter(|(key, _)| key.starts_with(prefix.as_bytes()));
        named.fold(Races::default(), |sum, (_, races)| Races {
            won: sum.won + races.won,
            lost: sum.lost + races.lost,
        })
    }

    /// Every key with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.values
            .iter()
            .map(|(key, (value, _))| (key.as_slice(), value.as_slice()))
    }

    /// How many keys were ever written.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.values.len()
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter().map(|(key, value)| key.len() + value.len()).sum()
    }

    fn next_cas(&mut self) -> u32 {
        self.last_cas = self.last_cas.wrapping_add(1).max(1);
        self.last_cas
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_writes_unconditionally() {
        let mut store = SharedData::default();
        store.set(b"k", b"1", 0).unwrap();
        store.set(b"k", b"2", 0).unwrap();
        assert_eq!(store.get(b"k").unwrap().0, b"2");
    }

    #[test]
    fn any_cas_creates_a_missing_key_and_only_once() {
        let mut store = SharedData::default();
        assert_eq!(store.set(b"k", b"1", u32::MAX), Ok(()));
        assert_eq!(store.set(b"k", b"2", u32::MAX), Err(Status::CasMismatch));
        assert_eq!(store.get(b"k").unwrap().0, b"1");
    }

    #[test]
    fn a_write_with_a_stale_version_is_refused() {
        let mut store = SharedData::default();
        store.set(b"k", b"1", 0).unwrap();
        let (_, first) = store.get(b"k").unwrap();
        store.set(b"k", b"2", first).unwrap();
        assert_eq!(store.set(b"k", b"3", first), Err(Status::CasMismatch));
    }

    #[test]
    fn won_and_lost_races_are_counted_by_key() {
        let mut store = SharedData::default();
        store.set(b"page/1", b"1", 0).unwrap();
        store.set(b"page/2", b"1", 0).unwrap();
        store.set(b"page/2", b"2", 1).unwrap_err();
        assert_eq!(store.races("page/"), Races { won: 2, lost: 1 });
        assert_eq!(store.races("page/1"), Races { won: 1, lost: 0 });
    }

    #[test]
    fn an_empty_value_is_present() {
        let mut store = SharedData::default();
        store.set(b"k", b"", 0).unwrap();
        assert_eq!(store.get(b"k").map(|(value, _)| value), Ok(Vec::new()));
        assert_eq!(store.get(b"other"), Err(Status::NotFound));
    }

    #[test]
    fn versions_are_unique_over_all_keys() {
        let mut store = SharedData::default();
        store.set(b"a", b"1", 0).unwrap();
        store.set(b"b", b"1", 0).unwrap();
        assert_ne!(store.get(b"a").unwrap().1, store.get(b"b").unwrap().1);
    }
}
