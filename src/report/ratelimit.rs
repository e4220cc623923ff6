//! What a client is told of its limits: the headers of its own dialect, the IETF's fields, and when to come
//! back.
//!
//! The IETF's fields follow draft-ietf-httpapi-ratelimit-headers-11 (May 2026; the same syntax since -08):
//! `RateLimit-Policy: "name";q=100;w=60` and `RateLimit: "name";r=50;t=30`. Its invariant: what is said is
//! never more than what is granted: remainders are as the ledger has them, times are rounded up.

use core::time::Duration;

use crate::date::{push_number, rfc3339};
use crate::policy::{ProviderDialect, Unit};
use crate::time::{Now, UnixMillis};

/// The OpenAI and Anthropic SDKs follow `retry-after` only up to 60 s; told to wait longer they try again
/// within seconds, to be refused again. So from there on they are told not to.
const LONGEST_SDK_WAIT: Duration = Duration::from_secs(60);

/// The largest integer of a structured field (RFC 9651 §3.3.1).
const LARGEST_INTEGER: u64 = 999_999_999_999_999;

/// A header: a name in lower case, and its value.
pub type Header = (&'static str, String);

/// A limit's standing, as told to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota<'a> {
    /// The limit's name.
    pub name: &'a str,
    /// What it counts.
    pub unit: Unit,
    /// As much as may be used at once.
    pub capacity: u64,
    /// As much as may be used now.
    pub remaining: u64,
    /// How long until it is whole again.
    pub reset: Duration,
    /// The period of its quota.
    pub period: Duration,
    /// How much per period.
    pub quota: u64,
}

/// The headers that tell these quotas: the dialect's own, for the first quota of each unit, and the IETF's
/// for all. Nothing for no quota.
#[must_use]
pub fn quota_headers(dialect: ProviderDialect, tightest: &[Quota<'_>], now: Now) -> Vec<Header> {
    if tightest.is_empty() {
        return Vec::new();
    }
    let mut headers = Vec::with_capacity(8);
    for unit in [Unit::Requests, Unit::Tokens] {
        if let Some(quota) = tightest.iter().find(|quota| quota.unit == unit) {
            headers.extend(own_headers(dialect, quota, now.wall));
        }
    }
    headers.push(("ratelimit-policy", listed(tightest, write_policy)));
    headers.push(("ratelimit", listed(tightest, write_standing)));
    headers
}

/// The headers that tell a refused client to come back after `wait`: `retry-after` in whole seconds, rounded
/// up and at least 1 (what may go at once wouldn't have been refused), `retry-after-ms`, and `x-should-retry:
/// false` where coming back soon is `useless` or its SDK wouldn't wait as long (more than 60 s).
#[must_use]
pub fn retry_headers(wait: Duration, useless: bool) -> Vec<Header> {
    let ms = whole_ms(wait).max(1);
    let mut headers = vec![
        ("retry-after", ms.div_ceil(1000).to_string()),
        ("retry-after-ms", ms.to_string()),
    ];
    if useless || wait > LONGEST_SDK_WAIT {
        headers.push(("x-should-retry", "false".to_owned()));
    }
    headers
}

/// A span as OpenAI writes it, in whole milliseconds, rounded up: `120ms`, `1s`, `7.66s`, `6m0s`, `1h0m0s`.
#[must_use]
pub fn openai_duration(span: Duration) -> String {
    let ms = whole_ms(span);
    let (hours, minutes, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms % 60_000);
    let mut text = String::with_capacity(16);
    if hours > 0 {
        push_field(&mut text, hours, "h");
    }
    if ms >= 60_000 {
        push_field(&mut text, minutes, "m");
    }
    match ms {
        1..1000 => push_field(&mut text, ms, "ms"),
        _ => push_seconds(&mut text, rest),
    }
    text
}

/// Limit, remaining and reset in the dialect's own names and form.
fn own_headers(dialect: ProviderDialect, quota: &Quota<'_>, wall: UnixMillis) -> [Header; 3] {
    let [limit, remaining, reset] = names(dialect, quota.unit);
    let reset_value = match dialect {
        ProviderDialect::OpenAi | ProviderDialect::Azure | ProviderDialect::Gemini => {
            openai_duration(quota.reset)
        }
        ProviderDialect::Anthropic => rfc3339(UnixMillis(wall.0.saturating_add(whole_ms(quota.reset)))),
    };
    [
        (limit, quota.capacity.to_string()),
        (remaining, quota.remaining.to_string()),
        (reset, reset_value),
    ]
}

fn names(dialect: ProviderDialect, unit: Unit) -> [&'static str; 3] {
    match (dialect, unit) {
        (ProviderDialect::OpenAi | ProviderDialect::Azure | ProviderDialect::Gemini, Unit::Requests) => [
            "x-ratelimit-limit-requests",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-reset-requests",
        ],
        (ProviderDialect::OpenAi | ProviderDialect::Azure | ProviderDialect::Gemini, Unit::Tokens) => [
            "x-ratelimit-limit-tokens",
            "x-ratelimit-remaining-tokens",
            "x-ratelimit-reset-tokens",
        ],
        (ProviderDialect::Anthropic, Unit::Requests) => [
            "anthropic-ratelimit-requests-limit",
            "anthropic-ratelimit-requests-remaining",
            "anthropic-ratelimit-requests-reset",
        ],
        (ProviderDialect::Anthropic, Unit::Tokens) => [
            "anthropic-ratelimit-tokens-limit",
            "anthropic-ratelimit-tokens-remaining",
            "anthropic-ratelimit-tokens-reset",
        ],
    }
}

/// A structured field's list of the quotas, each its name and what `parameters` writes.
fn listed(quotas: &[Quota<'_>], parameters: fn(&mut String, &Quota<'_>)) -> String {
    let mut list = String::with_capacity(64 * quotas.len());
    for quota in quotas {
        if !list.is_empty() {
            list.push_str(", ");
        }
        write_name(&mut list, quota.name);
        parameters(&mut list, quota);
    }
    list
}

/// A structured field's string (RFC 9651 §3.3.3), which holds printable ASCII only; anything else becomes
/// `?`.
fn write_name(list: &mut String, name: &str) {
    list.push('"');
    for letter in name.chars() {
        match letter {
            '"' | '\\' => list.extend(['\\', letter]),
            ' '..='~' => list.push(letter),
            _ => list.push('?'),
        }
    }
    list.push('"');
}

/// `qu` is left out for requests, its default. `tokens` isn't in the draft's registry, but saying nothing
/// would say "requests".
fn write_policy(list: &mut String, quota: &Quota<'_>) {
    let unit = match quota.unit {
        Unit::Requests => ";w=",
        Unit::Tokens => ";qu=\"tokens\";w=",
    };
    list.push_str(";q=");
    push_field(list, quota.quota.min(LARGEST_INTEGER), unit);
    push_number(list, whole_seconds(quota.period).max(1), 1);
}

fn write_standing(list: &mut String, quota: &Quota<'_>) {
    list.push_str(";r=");
    push_field(list, quota.remaining.min(LARGEST_INTEGER), ";t=");
    push_number(list, whole_seconds(quota.reset), 1);
}

/// Milliseconds below a minute, as seconds with at most three decimals.
fn push_seconds(text: &mut String, ms: u64) {
    push_number(text, ms / 1000, 1);
    if !ms.is_multiple_of(1000) {
        text.push('.');
        push_number(text, ms % 1000, 3);
        text.truncate(text.trim_end_matches('0').len());
    }
    text.push('s');
}

fn push_field(text: &mut String, value: u64, after: &str) {
    push_number(text, value, 1);
    text.push_str(after);
}

fn whole_ms(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn whole_seconds(span: Duration) -> u64 {
    whole_ms(span).div_ceil(1000).min(LARGEST_INTEGER)
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

    const TOKENS: Quota<'_> = Quota {
        name: "caller-tokens",
        unit: Unit::Tokens,
        capacity: 200_000,
        remaining: 1234,
        reset: Duration::from_millis(59_400),
        period: Duration::from_secs(60),
        quota: 100_000,
    };

    const REQUESTS: Quota<'_> = Quota {
        name: "caller \"r\" é",
        unit: Unit::Requests,
        capacity: 60,
        remaining: 0,
        reset: Duration::from_secs(360),
        period: Duration::from_secs(3600),
        quota: 60,
    };

    fn told(dialect: ProviderDialect, quotas: &[Quota<'_>]) -> Vec<(&'static str, String)> {
        quota_headers(dialect, quotas, NOW)
    }

    fn owned(headers: &[(&'static str, &str)]) -> Vec<Header> {
        headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect()
    }

    #[test]
    fn an_openai_client_is_told_in_durations() {
        let expected = [
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "6m0s"),
            ("x-ratelimit-limit-tokens", "200000"),
            ("x-ratelimit-remaining-tokens", "1234"),
            ("x-ratelimit-reset-tokens", "59.4s"),
            (
                "ratelimit-policy",
                r#""caller-tokens";q=100000;qu="tokens";w=60, "caller \"r\" ?";q=60;w=3600"#,
            ),
            (
                "ratelimit",
                r#""caller-tokens";r=1234;t=60, "caller \"r\" ?";r=0;t=360"#,
            ),
        ];
        assert_eq!(
            told(ProviderDialect::OpenAi, &[TOKENS, REQUESTS]),
            owned(&expected)
        );
    }

    #[test]
    fn an_anthropic_client_is_told_in_dates() {
        let expected = [
            ("anthropic-ratelimit-tokens-limit", "200000"),
            ("anthropic-ratelimit-tokens-remaining", "1234"),
            ("anthropic-ratelimit-tokens-reset", "2026-11-21T08:01:00Z"),
            ("ratelimit-policy", r#""caller-tokens";q=100000;qu="tokens";w=60"#),
            ("ratelimit", r#""caller-tokens";r=1234;t=60"#),
        ];
        assert_eq!(told(ProviderDialect::Anthropic, &[TOKENS]), owned(&expected));
        assert!(told(ProviderDialect::Anthropic, &[]).is_empty());
    }

    #[test]
    fn what_is_told_is_read_back_by_us() {
        for dialect in [ProviderDialect::OpenAi, ProviderDialect::Anthropic] {
            let headers = told(dialect, &[TOKENS, REQUESTS]);
            assert!(
                headers
                    .iter()
                    .all(|(name, _)| crate::dialect::signals::is_rate_limit_header(name.as_bytes()))
            );
            let pairs = headers
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let headroom = crate::dialect::signals::signals(pairs, NOW).headroom.unwrap();
            assert_eq!(
                (headroom.remaining_requests, headroom.remaining_tokens),
                (Some(0), Some(1234))
            );
            assert_eq!(headroom.reset, Some(Duration::from_secs(360)));
        }
    }

    #[test]
    fn a_refused_client_waits_at_least_a_second() {
        let table = [
            (0, "1", "1"),
            (1, "1", "1"),
            (1000, "1", "1000"),
            (1001, "2", "1001"),
            (7000, "7", "7000"),
            (60_000, "60", "60000"),
        ];
        for (wait, seconds, ms) in table {
            let expected = owned(&[("retry-after", seconds), ("retry-after-ms", ms)]);
            assert_eq!(retry_headers(Duration::from_millis(wait), false), expected);
        }
    }

    #[test]
    fn a_client_that_wouldnt_wait_is_told_not_to_come_back() {
        let is_told = |wait, useless| {
            let headers = retry_headers(Duration::from_millis(wait), useless);
            headers.contains(&("x-should-retry", "false".to_owned()))
        };
        assert!(!is_told(60_000, false) && is_told(60_001, false) && is_told(0, true));
    }

    #[test]
    fn durations_are_written_as_openai_does() {
        let table = [
            (0, "0s"),
            (1, "1ms"),
            (120, "120ms"),
            (1000, "1s"),
            (7660, "7.66s"),
            (60_000, "1m0s"),
            (360_000, "6m0s"),
            (3_600_000, "1h0m0s"),
            (90_061_001, "25h1m1.001s"),
        ];
        for (ms, expected) in table {
            assert_eq!(openai_duration(Duration::from_millis(ms)), expected);
        }
        assert_eq!(openai_duration(Duration::from_nanos(1)), "1ms");
    }

    #[test]
    fn the_absurd_stays_in_bounds() {
        let absurd = Quota {
            capacity: u64::MAX,
            remaining: u64::MAX,
            quota: u64::MAX,
            reset: Duration::MAX,
            period: Duration::ZERO,
            ..TOKENS
        };
        for dialect in [ProviderDialect::OpenAi, ProviderDialect::Anthropic] {
            let headers = told(dialect, &[absurd]);
            assert_eq!(
                headers.last().unwrap().1,
                r#""caller-tokens";r=999999999999999;t=999999999999999"#
            );
        }
        assert_eq!(retry_headers(Duration::MAX, false).len(), 3);
    }
}
