//! The last outcomes of one section: a window of ten buckets that rolls with time.
//!
//! Its invariant: nothing older than the policy's window is ever in a rate.

use core::time::Duration;

use crate::policy::Breaker as Rules;
use crate::time::{Instant, nanos};

use super::codec::{Reader, Writer};
use super::outcome::Cause;

/// Ten buckets: the window forgets in steps of a tenth, for 30 bytes of counters.
const BUCKETS: usize = 10;

/// Rates are compared with this much tolerance, so that 0.1 × 30 is 3.
const EPSILON: f64 = 1e-9;

/// How a call that counts ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    /// In good time.
    Good,
    /// Well, but slower than the policy allows.
    Slow,
    /// Badly.
    Failed,
}

/// Counters of a tenth of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bucket {
    total: u32,
    failed: u32,
    slow: u32,
}

impl Bucket {
    /// One number in good times; its lowest bit says that two more follow.
    fn write(self, to: &mut Writer) {
        let spotless = self.failed == 0 && self.slow == 0;
        to.uint(u64::from(self.total) << 1 | u64::from(!spotless));
        if !spotless {
            to.uint(u64::from(self.failed));
            to.uint(u64::from(self.slow));
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let first = from.uint()?;
        let total = u32::try_from(first >> 1).ok()?;
        let (failed, slow) = if first & 1 == 0 {
            (0, 0)
        } else {
            (from.u32()?, from.u32()?)
        };
        Some(Self { total, failed, slow })
    }
}

/// The outcomes of the last window, newest bucket first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// The newest bucket's number: time divided by the bucket's width.
    epoch: u64,
    /// Failures since the last success.
    consecutive: u32,
    buckets: [Bucket; BUCKETS],
}

impl Window {
    /// This window with `sample` counted at `now`.
    pub(super) fn with(mut self, sample: Sample, rules: &Rules, now: Instant) -> Self {
        self.roll(epoch(now, rules.window));
        if let Some(newest) = self.buckets.first_mut() {
            newest.total = newest.total.saturating_add(1);
            newest.failed = newest.failed.saturating_add(u32::from(sample == Sample::Failed));
            newest.slow = newest.slow.saturating_add(u32::from(sample == Sample::Slow));
        }
        self.consecutive = match sample {
            Sample::Failed => self.consecutive.saturating_add(1),
            Sample::Good | Sample::Slow => 0,
        };
        self
    }

    /// Why the breaker has to open by what is in the window, if it has to.
    pub(super) fn verdict(&self, rules: &Rules) -> Option<Cause> {
        let sum = self.sum();
        let enough = sum.total >= rules.min_requests.max(1);
        if self.consecutive >= rules.consecutive.max(1) {
            Some(Cause::Consecutive)
        } else if enough && reaches(sum.failed, sum.total, rules.failure_rate) {
            Some(Cause::FailureRate)
        } else if enough && reaches(sum.slow, sum.total, rules.slow_rate) {
            Some(Cause::SlowRate)
        } else {
            None
        }
    }

    fn sum(&self) -> Bucket {
        self.buckets.iter().fold(Bucket::default(), |sum, bucket| Bucket {
            total: sum.total.saturating_add(bucket.total),
            failed: sum.failed.saturating_add(bucket.failed),
            slow: sum.slow.saturating_add(bucket.slow),
        })
    }

    /// Moves on to `epoch`. A worker whose clock lags counts into the newest bucket; a clock that fell back
    /// by more than the whole window is another clock, and what was counted by the old one is forgotten.
    fn roll(&mut self, epoch: u64) {
        let passed = match epoch.checked_sub(self.epoch) {
            Some(passed) => usize::try_from(passed).unwrap_or(BUCKETS).min(BUCKETS),
            None if self.epoch.abs_diff(epoch) <= BUCKETS as u64 => return,
            None => BUCKETS,
        };
        self.epoch = epoch;
        self.buckets.rotate_right(passed);
        self.buckets
            .iter_mut()
            .take(passed)
            .for_each(|bucket| *bucket = Bucket::default());
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.uint(self.epoch);
        to.uint(u64::from(self.consecutive));
        self.buckets.iter().for_each(|bucket| bucket.write(to));
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (epoch, consecutive) = (from.uint()?, from.u32()?);
        let mut window = Self {
            epoch,
            consecutive,
            ..Self::default()
        };
        for bucket in &mut window.buckets {
            *bucket = Bucket::read(from)?;
        }
        Some(window)
    }
}

fn epoch(now: Instant, window: Duration) -> u64 {
    now.0 / (nanos(window) / BUCKETS as u64).max(1)
}

fn reaches(count: u32, total: u32, rate: f64) -> bool {
    count > 0 && f64::from(count) + EPSILON >= rate * f64::from(total)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{rules, seconds};
    use super::*;

    fn filled(samples: &[(Sample, u64)]) -> Window {
        samples.iter().fold(Window::default(), |window, (sample, at)| {
            window.with(*sample, &rules(), seconds(*at))
        })
    }

    #[test]
    fn a_rate_needs_its_minimum_volume() {
        let turns = |n| {
            (0..n)
                .map(|i| (if i % 2 == 0 { Sample::Good } else { Sample::Failed }, 1))
                .collect::<Vec<_>>()
        };
        assert_eq!(filled(&turns(19)).verdict(&rules()), None);
        assert_eq!(filled(&turns(20)).verdict(&rules()), Some(Cause::FailureRate));
    }

    #[test]
    fn failures_in_a_row_need_none_and_a_success_ends_the_row() {
        let mut samples = vec![(Sample::Failed, 1); 4];
        assert_eq!(filled(&samples).verdict(&rules()), None);
        samples.push((Sample::Slow, 1));
        samples.extend([(Sample::Failed, 1); 4]);
        assert_eq!(filled(&samples).verdict(&rules()), None);
        samples.push((Sample::Failed, 1));
        assert_eq!(filled(&samples).verdict(&rules()), Some(Cause::Consecutive));
    }

    #[test]
    fn slow_calls_have_a_rate_of_their_own() {
        let mut samples = vec![(Sample::Good, 1); 4];
        samples.extend([(Sample::Slow, 1); 15]);
        assert_eq!(filled(&samples).verdict(&rules()), None);
        samples.push((Sample::Slow, 1));
        assert_eq!(
            filled(&samples).verdict(&rules()),
            Some(Cause::SlowRate),
            "16 of 20 are 80 %"
        );
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten_bucket_by_bucket() {
        let mut samples = vec![(Sample::Slow, 0); 20];
        assert_eq!(filled(&samples).verdict(&rules()), Some(Cause::SlowRate));
        samples.push((Sample::Good, 29));
        assert_eq!(filled(&samples).sum().total, 21);
        samples.push((Sample::Good, 30));
        assert_eq!(filled(&samples).sum().total, 2);
        samples.push((Sample::Good, 1_000_000));
        assert_eq!(filled(&samples).sum().total, 1);
    }

    #[test]
    fn a_lagging_clock_counts_into_the_newest_bucket_and_a_foreign_one_starts_anew() {
        assert_eq!(filled(&[(Sample::Good, 100), (Sample::Good, 90)]).sum().total, 2);
        assert_eq!(
            filled(&[(Sample::Good, 100_000), (Sample::Good, 90)]).sum().total,
            1
        );
    }
}
