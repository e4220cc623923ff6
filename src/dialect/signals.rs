//! What a provider's answer says about its rate limits: when to come back, and how much is left.
//!
//! Read are `retry-after` (RFC 9110 §10.2.3: seconds or a date), `retry-after-ms`, OpenAI's
//! `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` and Anthropic's
//! `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}`. Its invariant:
//! what can't be read says nothing; no bytes make it fail.

use core::time::Duration;

use crate::date::{parse_http_date, parse_rfc3339};
use crate::headroom::Headroom;
use crate::time::{Now, UnixMillis};

/// No value that we read is longer; a longer one says nothing.
const LONGEST_VALUE: usize = 64;

/// A bare number of at least this many seconds (31 years) is a moment since the epoch, not a span.
const EARLIEST_MOMENT: Duration = Duration::from_secs(1_000_000_000);

/// A bare number from here on is a moment in milliseconds.
const EARLIEST_MOMENT_MS: Duration = Duration::from_secs(1_000_000_000_000);

/// What an answer's headers say about its provider's rate limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// How long to stay away; the `-ms` form wins, being the more exact one.
    pub retry_after: Option<Duration>,
    /// What is left; `None` when nothing was said of it.
    pub headroom: Option<Headroom>,
}

impl Signals {
    /// How long a 429 with these headers asks us to stay away: until its date, or else until the limit that
    /// is used up is whole again.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        let spent = self.headroom.filter(Headroom::is_nearly_nothing);
        self.retry_after.or_else(|| spent?.reset)
    }
}

/// Reads the headers of an answer (names in lower case, as hosts give them). `now` turns dates into spans;
/// one that is past is zero.
pub fn signals<'h>(headers: impl Iterator<Item = (&'h [u8], &'h [u8])>, now: Now) -> Signals {
    let mut limits = [Limit::default(); KINDS];
    let (mut exact, mut rough) = (None, None);
    for (name, value) in headers {
        match name {
            b"retry-after-ms" => exact = exact.or_else(|| milliseconds(trimmed(value)?)),
            b"retry-after" => rough = rough.or_else(|| span(trimmed(value)?, now.wall)),
            _ => note(&mut limits, name, value, now.wall),
        }
    }
    Signals {
        retry_after: exact.or(rough),
        headroom: headroom(&limits),
    }
}

/// Whether the header tells a provider's own, pooled rate limits, which no tenant is to see. `Retry-After`
/// isn't one of them.
#[must_use]
pub fn is_rate_limit_header(name: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 3] = [b"x-ratelimit-", b"anthropic-ratelimit-", b"ratelimit-"];
    let begins = |prefix: &&[u8]| {
        name.get(..prefix.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
    };
    name.eq_ignore_ascii_case(b"ratelimit") || PREFIXES.iter().any(begins)
}

/// Requests, tokens, input tokens, output tokens.
const KINDS: usize = 4;

/// One limit, as far as its headers told it.
#[derive(Clone, Copy, Debug, Default)]
struct Limit {
    limit: Option<u64>,
    remaining: Option<u64>,
    reset: Option<Duration>,
}

impl Limit {
    /// What is left in thousandths. A limit of 0 is none: some servers mean "unlimited" by it.
    fn share(&self) -> Option<u16> {
        match (self.remaining?, self.limit) {
            (_, Some(0)) => None,
            (0, _) => Some(0),
            (_, None) => Some(1000),
            (remaining, Some(limit)) => {
                let share = u128::from(remaining) * 1000 / u128::from(limit);
                Some(u16::try_from(share.min(1000)).unwrap_or(1000))
            }
        }
    }
}

/// Takes up one header, if it is about a limit.
fn note(limits: &mut [Limit; KINDS], name: &[u8], value: &[u8], wall: UnixMillis) {
    let Some((kind, part)) = openai(name).or_else(|| anthropic(name)) else {
        return;
    };
    let (Some(limit), Some(value)) = (limits.get_mut(kind), trimmed(value)) else {
        return;
    };
    match part {
        b"limit" => limit.limit = count(value),
        b"remaining" => limit.remaining = count(value),
        b"reset" => limit.reset = span(value, wall),
        _ => {}
    }
}

/// `x-ratelimit-PART-KIND`: the kind's place and the part.
fn openai(name: &[u8]) -> Option<(usize, &[u8])> {
    let rest = name.strip_prefix(b"x-ratelimit-")?;
    let at = rest.iter().position(|byte| *byte == b'-')?;
    let (part, kind) = rest.split_at_checked(at)?;
    Some((place(kind.strip_prefix(b"-")?)?, part))
}

/// `anthropic-ratelimit-KIND-PART`: the kind's place and the part.
fn anthropic(name: &[u8]) -> Option<(usize, &[u8])> {
    let rest = name.strip_prefix(b"anthropic-ratelimit-")?;
    let at = rest.iter().rposition(|byte| *byte == b'-')?;
    let (kind, part) = rest.split_at_checked(at)?;
    Some((place(kind)?, part.strip_prefix(b"-")?))
}

fn place(kind: &[u8]) -> Option<usize> {
    match kind {
        b"requests" => Some(0),
        b"tokens" => Some(1),
        b"input-tokens" => Some(2),
        b"output-tokens" => Some(3),
        _ => None,
    }
}

/// All limits in one: the share and the reset of the tightest, and what is left of requests and of tokens.
fn headroom(limits: &[Limit; KINDS]) -> Option<Headroom> {
    let shares = limits.iter().filter_map(|limit| Some((limit.share()?, limit)));
    let (share, tightest) = shares.min_by_key(|(share, limit)| (*share, core::cmp::Reverse(limit.reset)))?;
    let [requests, tokens @ ..] = limits;
    let left = |limit: &Limit| limit.share().and(limit.remaining);
    Some(Headroom {
        share,
        remaining_requests: left(requests),
        remaining_tokens: tokens.iter().filter_map(left).min(),
        reset: tightest.reset,
    })
}

fn trimmed(value: &[u8]) -> Option<&[u8]> {
    Some(value.trim_ascii()).filter(|value| !value.is_empty() && value.len() <= LONGEST_VALUE)
}

/// A whole number; a fraction is cut off.
fn count(value: &[u8]) -> Option<u64> {
    decimal(value)
        .filter(|(_, rest)| rest.is_empty())
        .map(|(number, _)| number.as_secs())
}

fn milliseconds(value: &[u8]) -> Option<Duration> {
    let (number, rest) = decimal(value)?;
    rest.is_empty().then(|| number / 1000)
}

/// A span in any of the forms seen: `7`, `7.66`, `120ms`, `6m0s`, a moment since the epoch, RFC 3339, an HTTP
/// date.
fn span(value: &[u8], wall: UnixMillis) -> Option<Duration> {
    let until = |at: UnixMillis| Duration::from_millis(at.0.saturating_sub(wall.0));
    bare(value, wall)
        .or_else(|| units(value))
        .or_else(|| parse_rfc3339(value).or_else(|| parse_http_date(value)).map(until))
}

/// A number without unit: seconds, or a moment if it is too large for a span.
fn bare(value: &[u8], wall: UnixMillis) -> Option<Duration> {
    let (number, _) = decimal(value).filter(|(_, rest)| rest.is_empty())?;
    let since_epoch = Duration::from_millis(wall.0);
    Some(match number {
        ms if ms >= EARLIEST_MOMENT_MS => (ms / 1000).saturating_sub(since_epoch),
        seconds if seconds >= EARLIEST_MOMENT => seconds.saturating_sub(since_epoch),
        seconds => seconds,
    })
}

/// Numbers with units, as Go writes a `time.Duration`: `1h2m3.5s`, `120ms`.
fn units(value: &[u8]) -> Option<Duration> {
    let (mut rest, mut sum) = (value, Duration::ZERO);
    while !rest.is_empty() {
        let (number, tail) = decimal(rest)?;
        let length = tail.iter().take_while(|byte| !byte.is_ascii_digit()).count();
        let (unit, after) = tail.split_at_checked(length)?;
        sum = sum.saturating_add(scaled(number, unit)?);
        rest = after;
    }
    Some(sum)
}

fn scaled(number: Duration, unit: &[u8]) -> Option<Duration> {
    match unit {
        b"ns" => Some(number / 1_000_000_000),
        b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => Some(number / 1_000_000),
        b"ms" => Some(number / 1000),
        b"s" => Some(number),
        b"m" => Some(number.saturating_mul(60)),
        b"h" => Some(number.saturating_mul(3600)),
        b"d" => Some(number.saturating_mul(86_400)),
        _ => None,
    }
}

/// The decimal number that the text begins with, as so many seconds (which keeps nine digits of its
/// fraction), and what follows it.
fn decimal(text: &[u8]) -> Option<(Duration, &[u8])> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = rest.strip_prefix(b".").map_or((&[][..], rest), digits);
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let seconds = whole.iter().fold(0u64, |value, digit| {
        value.saturating_mul(10).saturating_add(worth(*digit))
    });
    let nanos = fraction.iter().copied().chain([b'0'; 9]).take(9);
    let nanos = nanos.fold(0, |value, digit| value * 10 + worth(digit));
    Some((
        Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos)),
        rest,
    ))
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split_at_checked(length).unwrap_or((text, &[]))
}

fn worth(digit: u8) -> u64 {
    u64::from(digit.saturating_sub(b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    /// 2026-11-21T08:00:00Z
    const NOW: Now = Now {
        monotonic: Instant::ZERO,
        wall: UnixMillis(1_795_248_000_000),
    };

    fn read(headers: &[(&str, &str)]) -> Signals {
        signals(
            headers
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes())),
            NOW,
        )
    }

    fn retry_after(value: &str) -> Option<u128> {
        read(&[("retry-after", value)])
            .retry_after
            .map(|wait| wait.as_millis())
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        let table = [
            ("7", Some(7000)),
            (" 7 ", Some(7000)),
            ("0", Some(0)),
            ("0.25", Some(250)),
            ("7.", Some(7000)),
            ("7s", Some(7000)),
            ("Sat, 21 Nov 2026 08:00:30 GMT", Some(30_000)),
            ("Sat, 21 Nov 2026 07:00:00 GMT", Some(0)),
            ("2026-11-21T08:01:00Z", Some(60_000)),
            ("1795248009", Some(9000)),
            ("1795248009000", Some(9000)),
            ("", None),
            ("-1", None),
            ("soon", None),
            ("1e3", None),
            ("7 seconds", None),
            ("+7", None),
        ];
        for (value, expected) in table {
            assert_eq!(retry_after(value), expected, "{value}");
        }
    }

    #[test]
    fn the_exact_form_wins() {
        let both = [("retry-after", "2"), ("retry-after-ms", "1250")];
        assert_eq!(read(&both).retry_after, Some(Duration::from_millis(1250)));
        let garbage = [("retry-after", "2"), ("retry-after-ms", "x")];
        assert_eq!(read(&garbage).retry_after, Some(Duration::from_secs(2)));
    }

    #[test]
    fn openai_headers_are_read() {
        let headroom = read(&[
            ("x-ratelimit-limit-requests", "500"),
            ("x-ratelimit-remaining-requests", "499"),
            ("x-ratelimit-reset-requests", "120ms"),
            ("x-ratelimit-limit-tokens", "30000"),
            ("x-ratelimit-remaining-tokens", "15000"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ])
        .headroom
        .unwrap();
        let expected = Headroom {
            share: 500,
            remaining_requests: Some(499),
            remaining_tokens: Some(15000),
            reset: Some(Duration::from_secs(360)),
        };
        assert_eq!(headroom, expected);
    }

    #[test]
    fn anthropic_headers_are_read() {
        let headroom = read(&[
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "49"),
            ("anthropic-ratelimit-requests-reset", "2026-11-21T08:00:01Z"),
            ("anthropic-ratelimit-input-tokens-limit", "40000"),
            ("anthropic-ratelimit-input-tokens-remaining", "39000"),
            ("anthropic-ratelimit-input-tokens-reset", "2026-11-21T08:00:02Z"),
            ("anthropic-ratelimit-output-tokens-limit", "8000"),
            ("anthropic-ratelimit-output-tokens-remaining", "0"),
            ("anthropic-ratelimit-output-tokens-reset", "2026-11-21T08:00:40Z"),
        ])
        .headroom
        .unwrap();
        let expected = Headroom {
            share: 0,
            remaining_requests: Some(49),
            remaining_tokens: Some(0),
            reset: Some(Duration::from_secs(40)),
        };
        assert_eq!(headroom, expected);
    }

    #[test]
    fn durations_with_units_are_read() {
        let table = [
            ("1s", 1000),
            ("120ms", 120),
            ("6m0s", 360_000),
            ("2m59.56s", 179_560),
            ("1h0m1.5s", 3_601_500),
            ("1d", 86_400_000),
            ("500us", 0),
        ];
        for (value, expected) in table {
            let read = read(&[
                ("x-ratelimit-remaining-tokens", "1"),
                ("x-ratelimit-reset-tokens", value),
            ]);
            assert_eq!(
                read.headroom.unwrap().reset.unwrap().as_millis(),
                expected,
                "{value}"
            );
        }
        assert_eq!(units(b"99999999999999999999999h"), Some(Duration::MAX));
        for value in ["5x", "s", "1.s.", "1m s"] {
            assert_eq!(units(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn what_wasnt_told_says_nothing() {
        assert_eq!(read(&[]), Signals::default());
        assert_eq!(
            read(&[
                ("x-ratelimit-limit-tokens", "100"),
                ("x-ratelimit-reset-tokens", "1s")
            ])
            .headroom,
            None
        );
        let unlimited = [
            ("x-ratelimit-limit-requests", "0"),
            ("x-ratelimit-remaining-requests", "0"),
        ];
        assert_eq!(read(&unlimited).headroom, None);
        let unknown = read(&[("x-ratelimit-remaining-requests", "3")]).headroom.unwrap();
        assert_eq!((unknown.share, unknown.remaining_requests), (1000, Some(3)));
    }

    #[test]
    fn a_429_without_a_date_waits_for_the_limit_that_is_used_up() {
        let spent = [
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "12s"),
        ];
        assert_eq!(read(&spent).wait(), Some(Duration::from_secs(12)));
        let plenty = [
            ("x-ratelimit-remaining-tokens", "9"),
            ("x-ratelimit-reset-tokens", "12s"),
        ];
        assert_eq!(read(&plenty).wait(), None);
    }

    #[test]
    fn garbage_is_ignored_whatever_the_bytes() {
        let names: [&[u8]; 6] = [
            b"retry-after",
            b"retry-after-ms",
            b"x-ratelimit-reset-tokens",
            b"x-ratelimit-remaining-tokens",
            b"anthropic-ratelimit-tokens-reset",
            b"x-ratelimit-\xff-",
        ];
        let samples: [&[u8]; 4] = [
            b"1h2m3.5s",
            b"2026-11-21T08:00:40.5+02:00",
            b"Sat, 21 Nov 2026 08:00:30 GMT",
            b"\xff\xfe",
        ];
        for sample in samples {
            for at in 0..sample.len() {
                for byte in 0..=255 {
                    let mut value = sample.to_vec();
                    value[at] = byte;
                    let _ = signals(names.iter().map(|name| (*name, value.as_slice())), NOW);
                }
            }
        }
        let long = vec![b'9'; 1 << 20];
        assert_eq!(
            signals(names.iter().map(|name| (*name, long.as_slice())), NOW),
            Signals::default()
        );
        assert_eq!(retry_after(&"9".repeat(64)).map(|ms| ms > 0), Some(true));
    }

    #[test]
    fn pooled_limits_are_known_by_their_names() {
        for name in [
            "x-ratelimit-limit-requests",
            "X-RateLimit-Remaining-Project-Tokens",
            "anthropic-ratelimit-unified-status",
            "ratelimit",
            "RateLimit-Policy",
            "ratelimit-reset",
        ] {
            assert!(is_rate_limit_header(name.as_bytes()), "{name}");
        }
        for name in ["retry-after", "x-request-id", "ratelimited", "x-ratelimit", ""] {
            assert!(!is_rate_limit_header(name.as_bytes()), "{name}");
        }
    }
}
