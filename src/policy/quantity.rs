//! Quantities as operators write them: `100k/min`, `250ms`, `10MiB`.
//!
//! Its invariant: no quantity is rounded. What isn't a whole number of its unit isn't a quantity.

use core::time::Duration;

/// So much per period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) quota: u64,
    pub(super) period: Duration,
}

/// How a rate is written, for messages.
pub(super) const RATE: &str = "a count per s, min, h or day, such as 100k/min, 1.5M/day or 60/h";
/// How a count is written, for messages.
pub(super) const COUNT: &str = "a whole number, k, M and G for thousands, such as 200k";
/// How a span of time is written, for messages.
pub(super) const DURATION: &str = "a whole number with ms, s, m or h, such as 250ms or 15s";
/// How a size is written, for messages.
pub(super) const BYTES: &str = "a whole number of bytes, or with KiB or MiB, such as 10MiB";

/// Digits that a quantity may have: more than any budget needs, and far from overflow.
const MOST_DIGITS: usize = 15;

/// `100k/min`: a count per period.
pub(super) fn rate(text: &str) -> Option<Rate> {
    let (quota, period) = text.split_once('/')?;
    let seconds = match period.trim() {
        "s" | "sec" | "second" => 1,
        "min" | "minute" => 60,
        "h" | "hour" => 3_600,
        "d" | "day" => 86_400,
        _ => return None,
    };
    Some(Rate {
        quota: count(quota.trim())?,
        period: Duration::from_secs(seconds),
    })
}

/// `200k`: a whole count, with decimals as long as the suffix makes it whole (`1.5M`).
pub(super) fn count(text: &str) -> Option<u64> {
    scaled(
        text,
        &[("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000), ("", 1)],
    )
}

/// `250ms`: a span of time.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let millis = scaled(text, &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)])?;
    Some(Duration::from_millis(millis))
}

/// `10MiB`: a size in bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    scaled(text, &[("KiB", 1 << 10), ("MiB", 1 << 20), ("", 1)])
}

/// The number before the first suffix that fits, times what the suffix stands for.
fn scaled(text: &str, suffixes: &[(&str, u64)]) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let (_, factor) = suffixes.iter().find(|(name, _)| *name == suffix)?;
    let (whole, decimals) = match number.split_once('.') {
        Some((whole, decimals)) => (whole, digits(decimals).map(|_| decimals)?),
        None => (number, ""),
    };
    let product = digits(whole)?.checked_mul(*factor)?;
    product.checked_add(fraction(decimals, *factor)?)
}

fn digits(text: &str) -> Option<u64> {
    let plain = (1..=MOST_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// `0.decimals × factor`, when that is whole.
fn fraction(decimals: &str, factor: u64) -> Option<u64> {
    if decimals.is_empty() {
        return Some(0);
    }
    let scale = 10u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    let product = u128::from(digits(decimals)?).checked_mul(u128::from(factor))?;
    (product % scale == 0)
        .then(|| u64::try_from(product / scale).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{Rate, bytes, count, duration, rate};

    #[test]
    fn a_rate_is_a_count_per_period() {
        let per = |quota, seconds| {
            Some(Rate {
                quota,
                period: Duration::from_secs(seconds),
            })
        };
        let table = [
            ("100k/min", per(100_000, 60)),
            ("100k / min", per(100_000, 60)),
            ("1.5M/day", per(1_500_000, 86_400)),
            ("2M/d", per(2_000_000, 86_400)),
            ("60/hour", per(60, 3_600)),
            ("1/h", per(1, 3_600)),
            ("3/s", per(3, 1)),
            ("3/sec", per(3, 1)),
            ("3/second", per(3, 1)),
            ("0/minute", per(0, 60)),
            ("2G/day", per(2_000_000_000, 86_400)),
        ];
        for (text, expected) in table {
            assert_eq!(rate(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        let table = [
            "",
            "/",
            "100k",
            "/min",
            "100k/",
            "100k/month",
            "100k/Min",
            "100K/min",
            "-1/min",
            "1e3/min",
            "1.5/min",
            "0.0001k/min",
            "1./min",
            ".5k/min",
            "1..5k/min",
            "100 k/min",
            "9999999999999999/min",
            "100k/min/min",
            "1,000/min",
            "١/min",
            "999999999999999G/min",
        ];
        for text in table {
            assert_eq!(rate(text), None, "{text}");
        }
    }

    #[test]
    fn counts_spans_and_sizes_keep_their_units() {
        assert_eq!(count("200k"), Some(200_000));
        assert_eq!(count("0.5k"), Some(500));
        assert_eq!(count("k"), None);
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Some(Duration::from_secs(3_600)));
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1_500)));
        assert_eq!(duration("0.5ms"), None);
        assert_eq!(duration("15"), None);
        assert_eq!(duration("15sec"), None);
        assert_eq!(bytes("10MiB"), Some(10 << 20));
        assert_eq!(bytes("512"), Some(512));
        assert_eq!(bytes("10MB"), None);
    }
}
