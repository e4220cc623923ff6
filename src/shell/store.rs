//! The process's shared data as a [`Store`].

use std::cell::Cell;

use crate::store::{Cas, Store, StoreError};

use super::host::{self, Status};

/// A version that no record ever has: hosts take it on an absent record alone, which makes it create-if-absent.
const NEVER: u32 = u32::MAX;

/// The host's shared data.
#[derive(Debug, Default)]
pub(super) struct SharedData {
    conflicts: Cell<u64>,
}

impl SharedData {
    /// Writes that another worker was ahead of, since this was last asked.
    pub(super) fn take_conflicts(&self) -> u64 {
        self.conflicts.take()
    }

    fn lost(&self) -> StoreError {
        self.conflicts.set(self.conflicts.get().saturating_add(1));
        StoreError::Conflict
    }
}

impl Store for SharedData {
    fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
        match host::shared(key) {
            // Version 0 would be an unconditional write: hosts don't give it.
            Ok((_, 0)) => Ok((Vec::new(), Cas::Absent)),
            Ok((bytes, version)) => Ok((bytes, Cas::Version(version))),
            Err(Status::NOT_FOUND) => Ok((Vec::new(), Cas::Absent)),
            Err(_) => Err(StoreError::Unavailable),
        }
    }

    fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
        let version = match expected {
            Cas::Absent => NEVER,
            Cas::Version(version) => version,
        };
        host::set_shared(key, value, version).map_err(|status| match status {
            Status::CAS_MISMATCH => self.lost(),
            _ => StoreError::Unavailable,
        })
    }
}
