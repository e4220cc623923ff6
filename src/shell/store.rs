//! The process's shared data as a [`Store`].

use crate::store::{Cas, Store, StoreError};

use super::host::{self, Status};

/// A version that no record ever has: hosts take it on an absent record alone, which makes it create-if-absent.
const NEVER: u32 = u32::MAX;

/// The host's shared data.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedData;

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
            Status::CAS_MISMATCH => StoreError::Conflict,
            _ => StoreError::Unavailable,
        })
    }
}
