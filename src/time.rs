//! Time as an argument: the core never reads a clock, the shell reads it once per callback.
//!
//! Rates and breakers run on the monotonic clock, which all workers of a process share; wall time is for records and
//! for the dates that headers carry.

use core::time::Duration;

/// A point of the process's monotonic clock, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// The clock's beginning.
    pub const ZERO: Self = Self(0);

    /// This instant moved on by `span`, saturating.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    /// How long `earlier` lies behind; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A span in whole nanoseconds, saturating at `u64::MAX` (584 years).
#[must_use]
pub fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(pub u64);

/// Both clocks, read together at the start of a callback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For rates, breakers and durations.
    pub monotonic: Instant,
    /// For records and for dates in headers.
    pub wall: UnixMillis,
}
