//! The proxy's two clocks, moved only by the test.
//!
//! Modules read the monotonic one through WASI `clock_time_get(1)`, the wall clock through `clock_time_get(0)` and
//! `proxy_get_current_time_nanoseconds`.

use std::sync::Mutex;
use std::time::Duration;

/// Both clocks; they move together unless the test sets the wall clock apart.
#[derive(Debug)]
pub struct Clock {
    now: Mutex<Now>,
}

#[derive(Clone, Copy, Debug)]
struct Now {
    monotonic: Duration,
    wall: Duration,
}

impl Clock {
    /// A clock that stands at `wall` since the Unix epoch, an hour after the machine started.
    #[must_use]
    pub fn at(wall: Duration) -> Self {
        let monotonic = Duration::from_secs(3600);
        Self {
            now: Mutex::new(Now { monotonic, wall }),
        }
    }

    /// Nanoseconds since the machine started.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        self.read().monotonic
    }

    /// Time since the Unix epoch.
    #[must_use]
    pub fn wall(&self) -> Duration {
        self.read().wall
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.now.lock().expect("clock");
        now.monotonic = now.monotonic.saturating_add(by);
        now.wall = now.wall.saturating_add(by);
    }

    /// Sets the wall clock alone, forward or back, as NTP and operators do.
    pub fn set_wall(&self, wall: Duration) {
        self.now.lock().expect("clock").wall = wall;
    }

    fn read(&self) -> Now {
        *self.now.lock().expect("clock")
    }
}

impl Default for Clock {
    /// 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::at(Duration::from_secs(1_767_225_600))
    }
}

/// Nanoseconds of `time`, as the ABI wants them.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
