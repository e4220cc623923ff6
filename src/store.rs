//! The store that all workers of a process share: the one trait that abstracts the host.
//!
//! Its invariant: a record changes only by compare-and-swap, so no worker ever overwrites what it hasn't read.

use std::cell::RefCell;
use std::collections::HashMap;

/// The version of a record that a write must find unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cas {
    /// The record must not exist yet.
    Absent,
    /// The record must be at this version.
    Version(u32),
}

/// Why a write didn't land.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Another worker wrote the record since it was read.
    Conflict,
    /// The host refused for a reason of its own.
    Unavailable,
}

/// Versioned records shared by all workers. Keys are a fixed set: nothing a client sends may ever become one.
pub trait Store {
    /// The record's bytes with the version to write against; absent records answer `(empty, Cas::Absent)`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the host can't answer.
    fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError>;

    /// Writes the record if it is still at `expected`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it isn't, [`StoreError::Unavailable`] when the host can't.
    fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError>;
}

/// A store in memory, for tests and for the native tool.
#[derive(Debug, Default)]
pub struct MemoryStore {
    records: RefCell<HashMap<String, (Vec<u8>, u32)>>,
    #[cfg(test)]
    full: std::cell::Cell<bool>,
}

impl MemoryStore {
    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.borrow().len()
    }

    /// From now on there is no room for a write, or there is again.
    #[cfg(test)]
    pub(crate) fn fill(&self, full: bool) {
        self.full.set(full);
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Store for MemoryStore {
    fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
        let records = self.records.borrow();
        Ok(records
            .get(key)
            .map_or((Vec::new(), Cas::Absent), |(bytes, version)| {
                (bytes.clone(), Cas::Version(*version))
            }))
    }

    fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
        #[cfg(test)]
        if self.full.get() {
            return Err(StoreError::Unavailable);
        }
        let mut records = self.records.borrow_mut();
        let found = records.get(key).map_or(Cas::Absent, |(_, v)| Cas::Version(*v));
        if found != expected {
            return Err(StoreError::Conflict);
        }
        let version = match found {
            Cas::Absent => 1,
            Cas::Version(v) => v.wrapping_add(1).max(1),
        };
        records.insert(key.to_owned(), (value.to_vec(), version));
        Ok(())
    }
}
