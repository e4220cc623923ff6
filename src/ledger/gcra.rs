//! The rate: how a number of units becomes time, exactly.
//!
//! GCRA (ITU-T I.371's virtual scheduling) keeps one timestamp per bucket, the theoretical arrival time (TAT): when
//! the bucket will be full again. What lies between now and it is the *backlog*; `n` units add `n × period / quota` to
//! it, time takes it away, and what the bucket holds at most, its capacity, is the burst.
//!
//! Invariant: no rounding. Spans are counted in *ticks*, the rate's own fraction of a nanosecond in which one unit is a
//! whole number, so that what is reserved and refunded a million times adds up to nothing. Only what is shown is
//! rounded: what remains down, waits up.

use core::time::Duration;

use crate::policy::Limit;
use crate::time::{Instant, nanos};

/// No single settlement charges more: whoever claims that one exchange used more is mistaken or hostile.
/// It is the topmost bucket of OpenTelemetry's token histogram, six times the largest context window of 2026.
pub(super) const LARGEST_CHARGE: u64 = 1 << 26;
/// No bucket owes more than this beyond its capacity: 64 of the largest charges at once.
pub(super) const LARGEST_DEBT: u64 = 64 * LARGEST_CHARGE;

/// When a bucket will be full again: nanoseconds, and ticks of its rate beyond them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tat {
    pub(super) ns: u64,
    pub(super) frac: u32,
}

/// A limit's rate and capacity: one unit takes `unit / parts` nanoseconds to refill, in lowest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    unit: u64,
    parts: u32,
    burst: u64,
}

impl Rate {
    /// The limit's rate. It is exact when the quota over its common divisor with the period (in ns) is under 2³²;
    /// beyond that it is rounded against the client: by some 10⁻⁹ at 10¹² a minute, without bound above 10¹⁸.
    pub(super) fn of(limit: &Limit) -> Self {
        let (period, quota) = (nanos(limit.period).max(1), limit.quota.max(1));
        let shared = greatest_common_divisor(period, quota);
        let (mut unit, mut parts) = (period / shared, quota / shared);
        while parts > u64::from(u32::MAX) {
            (unit, parts) = (unit.div_ceil(2), parts / 2);
        }
        let parts = u32::try_from(parts).unwrap_or(u32::MAX);
        Self {
            unit,
            parts,
            burst: limit.burst.max(1),
        }
    }

    /// What the bucket holds at most, in units.
    pub(super) fn burst(self) -> u64 {
        self.burst
    }

    /// What `units` add to the backlog.
    pub(super) fn cost(self, units: u64) -> u128 {
        u128::from(units) * u128::from(self.unit)
    }

    /// The backlog of an empty bucket.
    pub(super) fn capacity(self) -> u128 {
        self.cost(self.burst)
    }

    /// The largest backlog that is believed.
    pub(super) fn ceiling(self) -> u128 {
        self.capacity().saturating_add(self.cost(LARGEST_DEBT))
    }

    /// Nanoseconds as ticks.
    pub(super) fn ticks(self, ns: u64) -> u128 {
        u128::from(ns) * u128::from(self.parts)
    }

    /// Ticks as whole nanoseconds, rounded up.
    pub(super) fn ns(self, ticks: u128) -> u64 {
        match self.parts {
            1 => u64::try_from(ticks).unwrap_or(u64::MAX),
            parts => u64::try_from(ticks.div_ceil(u128::from(parts))).unwrap_or(u64::MAX),
        }
    }

    /// What lies between `now` and `tat`.
    pub(super) fn backlog(self, tat: Tat, now: Instant) -> u128 {
        match tat.ns.checked_sub(now.0) {
            Some(ahead) => (self.ticks(ahead) + u128::from(tat.frac)).min(self.ceiling()),
            None => 0,
        }
    }

    /// The TAT that lies `backlog` after `now`.
    pub(super) fn tat(self, backlog: u128, now: Instant) -> Tat {
        let parts = u128::from(self.parts);
        let (ns, frac) = match self.parts {
            1 => (backlog, 0),
            _ => (backlog / parts, backlog % parts),
        };
        Tat {
            ns: now.0.saturating_add(u64::try_from(ns).unwrap_or(u64::MAX)),
            frac: u32::try_from(frac).unwrap_or(0),
        }
    }

    /// How many whole units `ticks` are worth.
    pub(super) fn units(self, ticks: u128) -> u64 {
        match u64::try_from(ticks) {
            Ok(small) => small / self.unit,
            Err(_) => u64::try_from(ticks / u128::from(self.unit)).unwrap_or(u64::MAX),
        }
    }

    /// What a bucket with this backlog still holds, in whole units.
    pub(super) fn remaining(self, backlog: u128) -> u64 {
        self.units(self.capacity().saturating_sub(backlog))
    }

    /// Ticks as a span, rounded up to the nanosecond.
    pub(super) fn span(self, ticks: u128) -> Duration {
        Duration::from_nanos(self.ns(ticks))
    }

    /// Sixteen bits that tell this rate from another one, never 0 or 1.
    pub(super) fn tag(self) -> u16 {
        let mixed = self.unit.wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ u64::from(self.parts).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
            ^ self.burst.wrapping_mul(0x1656_67B1_9E37_79F9);
        let [.., low, high] = mixed.to_le_bytes();
        u16::from_le_bytes([low, high]).max(2)
    }
}

/// Euclid's; a few steps for the round numbers that policies hold.
fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::limit;

    fn rate(quota: u64, secs: u64, burst: u64) -> Rate {
        let mut limit = limit(quota, secs);
        limit.burst = burst;
        Rate::of(&limit)
    }

    #[test]
    fn rates_refill_as_their_limits_say() {
        // quota, period in s, units, nanoseconds they take to refill
        let table = [
            (100_000, 60, 1, 600_000),
            (100_000, 60, 100_000, 60_000_000_000),
            (2_000_000, 86_400, 1_000, 43_200_000_000),
            (60, 60, 1, 1_000_000_000),
            (7, 60, 7, 60_000_000_000),
            (7, 60, 1, 8_571_428_572),
            (3_000_000_000, 1, 3, 1),
            (999_999_999_937, 60, 1_000_000_000_000, 60_000_000_016),
        ];
        for (quota, secs, units, ns) in table {
            let rate = rate(quota, secs, quota);
            assert_eq!(rate.ns(rate.cost(units)), ns, "{units} of {quota} per {secs} s");
        }
    }

    #[test]
    fn every_unit_of_an_odd_rate_fits_and_none_more() {
        for quota in [1, 3, 7, 11, 13, 97, 9_973, 999_983] {
            let rate = rate(quota, 60, quota);
            let mut backlog = 0;
            for used in 1..=quota.min(1_000) {
                backlog += rate.cost(1);
                let stored = rate.backlog(rate.tat(backlog, Instant(12_345)), Instant(12_345));
                assert_eq!(stored, backlog);
                assert_eq!(rate.remaining(stored), quota - used);
            }
        }
    }

    #[test]
    fn capacity_is_the_burst_and_not_the_quota() {
        let rate = rate(60, 60, 5);
        assert_eq!(rate.remaining(0), 5);
        assert_eq!(rate.span(rate.capacity()), Duration::from_secs(5));
    }

    #[test]
    fn what_remains_is_rounded_down_and_waits_up() {
        let rate = rate(7, 60, 7);
        assert_eq!(rate.remaining(rate.cost(2) + 1), 4);
        assert_eq!(rate.span(1), Duration::from_nanos(1));
    }

    #[test]
    fn the_extremes_neither_overflow_nor_trap() {
        for (quota, secs, burst) in [
            (u64::MAX, u64::MAX, u64::MAX),
            (1, u64::MAX, u64::MAX),
            (u64::MAX, 0, 1),
            (0, 0, 0),
        ] {
            let rate = rate(quota, secs, burst);
            for now in [Instant(0), Instant(u64::MAX)] {
                let tat = rate.tat(u128::MAX, now);
                assert_eq!(tat.ns, u64::MAX);
                assert!(rate.backlog(tat, now) <= rate.ceiling());
            }
            let _ = (
                rate.remaining(u128::MAX),
                rate.span(u128::MAX),
                rate.units(u128::MAX),
                rate.tag(),
            );
        }
    }

    #[test]
    fn another_rate_has_another_tag() {
        let tags = [
            rate(60, 60, 60),
            rate(61, 60, 60),
            rate(60, 61, 60),
            rate(60, 60, 61),
        ]
        .map(Rate::tag);
        for (i, tag) in tags.iter().enumerate() {
            assert!(*tag > 1 && !tags[..i].contains(tag), "{tags:?}");
        }
    }
}
