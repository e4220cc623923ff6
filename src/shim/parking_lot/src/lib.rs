//! Stands in for `parking_lot` in the filter: the one lock that `referencing` (under `jsonschema`) takes of it.
//!
//! The real crate spins and yields, so the module would import `sched_yield`, which the proxy-wasm specification
//! doesn't list and strict hosts refuse. A module has one thread: the standard library's lock never waits there.
//! The invariant: an upgradable guard excludes everybody else from the start, so that upgrading can't fail.

#![forbid(unsafe_code)]

use std::ops::Deref;
use std::sync::{self, PoisonError};

pub use std::sync::{RwLockReadGuard, RwLockWriteGuard};

/// A readers-writer lock without poisoning.
#[derive(Debug, Default)]
pub struct RwLock<T>(sync::RwLock<T>);

impl<T> RwLock<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        Self(sync::RwLock::new(value))
    }

    /// Locks for reading, together with other readers.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks for writing, alone.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks for reading with the right to write later; alone from the start.
    pub fn upgradable_read(&self) -> RwLockUpgradableReadGuard<'_, T> {
        RwLockUpgradableReadGuard(self.write())
    }
}

/// What [`RwLock::upgradable_read`] gives.
#[derive(Debug)]
pub struct RwLockUpgradableReadGuard<'a, T>(RwLockWriteGuard<'a, T>);

impl<'a, T> RwLockUpgradableReadGuard<'a, T> {
    /// The same lock, for writing.
    pub fn upgrade(guard: Self) -> RwLockWriteGuard<'a, T> {
        guard.0
    }
}

impl<T> Deref for RwLockUpgradableReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.deref()
    }
}

#[cfg(test)]
mod tests {
    use super::{RwLock, RwLockUpgradableReadGuard};

    #[test]
    fn what_is_written_after_an_upgrade_is_read() {
        let lock = RwLock::new(1);
        let guard = lock.upgradable_read();
        assert_eq!(*guard, 1);
        *RwLockUpgradableReadGuard::upgrade(guard) += 1;
        *lock.write() += 1;
        assert_eq!(*lock.read(), 3);
    }
}
