//! How long to wait before the same provider is asked again.

use core::time::Duration;

use crate::policy::{Backoff, Failover};
use crate::time::nanos;

/// The wait before repeat number `repeat` (counted from 0): a random part of an exponentially growing span ("full
/// jitter": <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>), so that clients of one outage
/// don't come back together.
#[must_use]
pub fn backoff(backoff: Backoff, repeat: u32, entropy: u64) -> Duration {
    let grown = nanos(backoff.base).saturating_mul(1_u64.checked_shl(repeat).unwrap_or(u64::MAX));
    let span = grown.min(nanos(backoff.max));
    let part = (u128::from(span) * u128::from(entropy)) >> 64;
    Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
}

/// The name of the waits that a section asks for: `250-10000-5000`, the back-off's base and maximum and the longest wait
/// that a provider may ask for, in milliseconds. By it the host's router knows which of its routes has them.
#[must_use]
pub fn waits_name(rules: &Failover) -> String {
    let spans = [rules.backoff.base, rules.backoff.max, rules.retry_after_max];
    let [base, max, asked] = spans.map(|span| span.as_millis());
    format!("{base}-{max}-{asked}")
}

/// [`backoff`], with what the provider asked for honoured. None when that is longer than the policy waits.
#[must_use]
pub fn wait_to_repeat(
    rules: &Failover,
    repeat: u32,
    asked: Option<Duration>,
    entropy: u64,
) -> Option<Duration> {
    let wait = backoff(rules.backoff, repeat, entropy);
    match asked {
        None => Some(wait),
        Some(asked) if asked <= rules.retry_after_max => Some(wait.max(asked)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Backoff = Backoff {
        base: Duration::from_millis(250),
        max: Duration::from_secs(10),
    };

    #[test]
    fn the_span_doubles_up_to_its_maximum_and_any_part_of_it_may_be_drawn() {
        for (repeat, at_most) in [
            (0, 250),
            (1, 500),
            (2, 1_000),
            (5, 8_000),
            (6, 10_000),
            (63, 10_000),
            (64, 10_000),
        ] {
            let longest = backoff(RULES, repeat, u64::MAX);
            assert!(
                longest <= Duration::from_millis(at_most) && longest >= Duration::from_millis(at_most - 1),
                "{repeat}: {longest:?}"
            );
            assert_eq!(backoff(RULES, repeat, 0), Duration::ZERO);
            let half = backoff(RULES, repeat, u64::MAX / 2);
            assert!(half <= longest / 2 && half >= longest / 2 - Duration::from_millis(1));
        }
    }

    #[test]
    fn what_a_provider_asks_for_is_waited_up_to_the_bound_and_never_beyond() {
        let rules = Failover::default();
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(wait_to_repeat(&rules, 0, seconds(5), u64::MAX), seconds(5));
        assert_eq!(wait_to_repeat(&rules, 0, seconds(6), 0), None);
        assert_eq!(wait_to_repeat(&rules, 0, None, 0), seconds(0));
        let drawn = wait_to_repeat(&rules, 9, Some(Duration::from_millis(1)), u64::MAX);
        assert!(drawn > seconds(9), "the longer of the two");
    }
}
