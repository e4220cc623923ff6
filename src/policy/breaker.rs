//! When a provider counts as broken: the section's fields and their defaults.

use core::ops::RangeInclusive;
use core::time::Duration;

use super::field::{Field, Reading, Section};
use super::types::{Breaker, Forced};

impl Default for Breaker {
    /// What platform teams expect: half of 20 requests in 30 s, or 5 failures in a row; open for 15 s, at most 5 min.
    fn default() -> Self {
        Self {
            failure_rate: 0.5,
            slow_rate: 0.8,
            min_requests: 20,
            window: Duration::from_secs(30),
            consecutive: 5,
            slow_first_token: Duration::from_secs(10),
            slow_gap: Duration::from_secs(10),
            slow_call: Duration::from_secs(120),
            open: Duration::from_secs(15),
            max_open: Duration::from_secs(300),
            half_open_permits: 3,
            half_open_successes: 2,
            rate_limited: Duration::from_secs(15),
            max_rate_limited: Duration::from_secs(300),
            force: None,
        }
    }
}

/// Every field of the section.
const FIELDS: [&str; 15] = [
    "failure_rate",
    "slow_rate",
    "min_requests",
    "window",
    "consecutive",
    "slow_first_token",
    "slow_gap",
    "slow_call",
    "open",
    "max_open",
    "half_open_permits",
    "half_open_successes",
    "rate_limited",
    "max_rate_limited",
    "force",
];

/// The shortest window has buckets of 100 ms; the longest outlives any open time.
const WINDOW: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
/// Shorter than a millisecond nothing is timed; a day is as good as for ever (`force: open`).
const SPAN: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);
/// Leases that the breaker's record has room for.
const PERMITS: RangeInclusive<u32> = 1..=64;

/// The breaker of the section; the defaults where it says nothing.
pub(super) fn breaker(field: &Field<'_>, r: &mut Reading<'_>) -> Breaker {
    let s = field.section(r, &FIELDS);
    let d = Breaker::default();
    let open = span(&s, "open", d.open, r);
    let rate_limited = span(&s, "rate_limited", d.rate_limited, r);
    Breaker {
        failure_rate: share(&s, "failure_rate", d.failure_rate, r),
        slow_rate: share(&s, "slow_rate", d.slow_rate, r),
        min_requests: s.or("min_requests", d.min_requests, |f| f.small(r, 1..=1_000_000)),
        window: s.or("window", d.window, |f| f.duration(r, WINDOW)),
        consecutive: s.or("consecutive", d.consecutive, |f| f.small(r, 1..=1_000_000)),
        slow_first_token: span(&s, "slow_first_token", d.slow_first_token, r),
        slow_gap: span(&s, "slow_gap", d.slow_gap, r),
        slow_call: span(&s, "slow_call", d.slow_call, r),
        open,
        max_open: s.or("max_open", d.max_open.max(open), |f| {
            f.duration(r, open..=*SPAN.end())
        }),
        half_open_permits: s.or("half_open_permits", d.half_open_permits, |f| f.small(r, PERMITS)),
        half_open_successes: s.or("half_open_successes", d.half_open_successes, |f| {
            f.small(r, 1..=1_000)
        }),
        rate_limited,
        max_rate_limited: s.or("max_rate_limited", d.max_rate_limited.max(rate_limited), |f| {
            f.duration(r, rate_limited..=*SPAN.end())
        }),
        force: s.or("force", None, |f| {
            Some(f.choice(r, &[("open", Forced::Open), ("closed", Forced::Closed)]))
        }),
    }
}

fn share(section: &Section<'_>, name: &str, default: f64, r: &mut Reading<'_>) -> f64 {
    let holds = |share| share > 0.0 && share <= 1.0;
    section.or(name, default, |f| {
        f.number(r, "a share above 0 and up to 1, such as 0.5", holds)
    })
}

fn span(section: &Section<'_>, name: &str, default: Duration, r: &mut Reading<'_>) -> Duration {
    section.or(name, default, |f| f.duration(r, SPAN))
}
