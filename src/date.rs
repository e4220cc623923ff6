//! Dates of headers, by hand: RFC 3339 both ways, HTTP dates (RFC 9110 §5.6.7) in.
//!
//! Days are counted by Howard Hinnant's `days_from_civil` (proleptic Gregorian calendar). Years 1970–9999
//! only: what lies outside isn't a date to us.

use crate::time::UnixMillis;

const MS_PER_DAY: u64 = 86_400_000;
const MONTHS: [&[u8; 3]; 12] = [
    b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
];

/// The date as `2026-11-21T07:53:50Z`, to the second, rounded up so that waiting until then is always enough.
#[must_use]
pub fn rfc3339(at: UnixMillis) -> String {
    let seconds = at.0.div_ceil(1000);
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let mut text = String::with_capacity(20);
    let fields = [
        (month, 2, '-'),
        (day, 2, 'T'),
        (hour, 2, ':'),
        (minute, 2, ':'),
        (second, 2, 'Z'),
    ];
    push_number(&mut text, year, 4);
    text.push('-');
    for (value, width, after) in fields {
        push_number(&mut text, value, width);
        text.push(after);
    }
    text
}

/// Of the largest number.
const MOST_DIGITS: usize = 20;

/// Appends a number in decimal, with leading zeros up to `width` digits. Headers are written on every answer, and `format!` would
/// cost several times as much.
pub fn push_number(text: &mut String, value: u64, width: u32) {
    let mut places = [b'0'; MOST_DIGITS];
    let (mut rest, mut used) = (value, 0);
    for place in places.iter_mut().rev() {
        if rest == 0 {
            break;
        }
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        (rest, used) = (rest / 10, used + 1);
    }
    let width = usize::try_from(width).unwrap_or(0).max(used).max(1);
    // Places beyond the type's own are leading zeros.
    text.extend(core::iter::repeat_n('0', width.saturating_sub(MOST_DIGITS)));
    let digits = places
        .get(MOST_DIGITS.saturating_sub(width)..)
        .unwrap_or_default();
    text.push_str(core::str::from_utf8(digits).unwrap_or_default());
}

/// Reads `2026-11-21T07:53:50Z`, with any fraction and any offset; `None` for anything else.
#[must_use]
pub fn parse_rfc3339(text: &[u8]) -> Option<UnixMillis> {
    let (date, time) = (text.get(..10)?, text.get(11..19)?);
    matches!(text.get(10)?, b'T' | b't' | b' ').then_some(())?;
    let day = day_number(fields(date, b'-')?)?;
    let (ms, offset) = fraction(text.get(19..)?);
    let local = day
        .checked_mul(MS_PER_DAY)?
        .checked_add(time_of_day(fields(time, b':')?)?)?
        .checked_add(ms)?;
    Some(UnixMillis(local.checked_add_signed(-offset_ms(offset)?)?))
}

/// Reads an HTTP date in any of its three forms (`Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37
/// GMT`, `Sun Nov  6 08:49:37 1994`); `None` for anything else.
#[must_use]
pub fn parse_http_date(text: &[u8]) -> Option<UnixMillis> {
    let mut words = text
        .split(|byte| !byte.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .skip(1);
    let (second, third) = (words.next()?, words.next()?);
    let (month, day, year, time) = match month(second) {
        Some(month) => {
            let time = three(&mut words)?;
            (month, number(third)?, number(words.next()?)?, time)
        }
        None => (
            month(third)?,
            number(second)?,
            number(words.next()?)?,
            three(&mut words)?,
        ),
    };
    let days = day_number([whole_year(year), month, day])?;
    Some(UnixMillis(
        days.checked_mul(MS_PER_DAY)?.checked_add(time_of_day(time)?)?,
    ))
}

fn three<'t>(words: &mut impl Iterator<Item = &'t [u8]>) -> Option<[u64; 3]> {
    let mut next = || number(words.next()?);
    Some([next()?, next()?, next()?])
}

/// RFC 850 dates have two digits; RFC 9110 wants them read as the nearest past or future, which 1970–2069 is
/// for us.
fn whole_year(year: u64) -> u64 {
    match year {
        0..70 => year + 2000,
        70..100 => year + 1900,
        _ => year,
    }
}

fn month(word: &[u8]) -> Option<u64> {
    let found = MONTHS.iter().position(|name| word.eq_ignore_ascii_case(*name))?;
    u64::try_from(found + 1).ok()
}

/// Three numbers with `separator` between them.
fn fields(text: &[u8], separator: u8) -> Option<[u64; 3]> {
    let mut parts = text.split(|byte| *byte == separator);
    let found = three(&mut parts)?;
    parts.next().is_none().then_some(found)
}

/// Up to nine ASCII digits.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 9 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        text.iter()
            .fold(0, |value, digit| value * 10 + u64::from(digit - b'0')),
    )
}

/// Milliseconds of a fraction like `.123456`, and what follows it.
fn fraction(text: &[u8]) -> (u64, &[u8]) {
    let Some(digits) = text.strip_prefix(b".") else {
        return (0, text);
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at_checked(length).unwrap_or((digits, &[]));
    let padded = digits.iter().copied().chain([b'0'; 3]);
    (
        padded
            .take(3)
            .fold(0, |ms, digit| ms * 10 + u64::from(digit - b'0')),
        rest,
    )
}

/// Milliseconds east of Greenwich of `Z` or `+02:00`.
fn offset_ms(text: &[u8]) -> Option<i64> {
    let (sign, clock) = match text.split_first()? {
        (b'Z' | b'z', []) => return Some(0),
        (b'+', clock) => (1, clock),
        (b'-', clock) => (-1, clock),
        _ => return None,
    };
    let (hours, minutes) = (number(clock.get(..2)?)?, number(clock.get(3..)?)?);
    let ms = i64::try_from(time_of_day([hours, minutes, 0])?).ok()?;
    (clock.get(2) == Some(&b':')).then_some(sign * ms)
}

/// Milliseconds into the day; a leap second counts as the second before it.
fn time_of_day([hour, minute, second]: [u64; 3]) -> Option<u64> {
    (hour < 24 && minute < 60 && second <= 60).then(|| (hour * 3600 + minute * 60 + second.min(59)) * 1000)
}

/// Days since 1970-01-01 of a date that exists.
fn day_number([year, month, day]: [u64; 3]) -> Option<u64> {
    let valid = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let days = valid.then(|| days_from_civil(year, month, day))?;
    (civil(days) == (year, month, day)).then_some(days)
}

/// For years from 1970 on; months run from March, so that a leap day ends the year.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_era = year % 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year / 400 * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a day since 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days.saturating_add(719_468);
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_to_the_second_rounded_up() {
        assert_eq!(rfc3339(UnixMillis(0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(UnixMillis(1)), "1970-01-01T00:00:01Z");
        assert_eq!(rfc3339(UnixMillis(951_782_400_000)), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(UnixMillis(1_767_225_599_000)), "2025-12-31T23:59:59Z");
        assert!(!rfc3339(UnixMillis(u64::MAX)).is_empty());
    }

    #[test]
    fn what_is_written_is_read_back_for_every_day_of_four_centuries() {
        for day in 0..146_097 {
            let at = UnixMillis(day * MS_PER_DAY + 45_296_000);
            assert_eq!(parse_rfc3339(rfc3339(at).as_bytes()), Some(at));
        }
    }

    #[test]
    fn rfc_3339_is_read_with_fractions_and_offsets() {
        let read = |text: &str| parse_rfc3339(text.as_bytes()).map(|at| at.0);
        assert_eq!(read("1970-01-01T00:01:00Z"), Some(60_000));
        assert_eq!(read("1970-01-01T00:01:00.25Z"), Some(60_250));
        assert_eq!(read("1970-01-01T00:01:00.123456789+00:00"), Some(60_123));
        assert_eq!(read("1970-01-01T02:01:00+02:00"), Some(60_000));
        assert_eq!(read("1970-01-01T00:01:00-01:30"), Some(60_000 + 5_400_000));
        assert_eq!(read("1970-01-01T00:01:60Z"), Some(119_000));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "Z",
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-01-01T24:00:00Z",
            "2025-01-01T00:00:00",
            "2025-01-01 00:00",
            "1969-12-31T23:59:59Z",
            "2025-01-01T00:00:00.Zx",
            "2025-01-01T00:00:00+1",
            "1970-01-01T00:00:00+10:00",
        ] {
            assert_eq!(parse_rfc3339(text.as_bytes()), None, "{text}");
        }
        for text in [
            "",
            "Sun",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun Nov 6",
        ] {
            assert_eq!(parse_http_date(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn http_dates_are_read_in_all_three_forms() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(
                parse_http_date(text.as_bytes()),
                Some(UnixMillis(784_111_777_000)),
                "{text}"
            );
        }
    }

    #[test]
    fn every_prefix_and_every_byte_is_survived() {
        let sample = b"Sun, 06 Nov 1994 08:49:37 GMT";
        let other = b"1994-11-06T08:49:37.123+02:00";
        for at in 0..sample.len() {
            for byte in 0..=255u8 {
                let (mut a, mut b) = (*sample, *other);
                a[at] = byte;
                b[at] = byte;
                let _ = (
                    parse_http_date(&a),
                    parse_rfc3339(&b),
                    parse_http_date(&b),
                    parse_rfc3339(&a),
                );
            }
            let _ = (parse_http_date(&sample[..at]), parse_rfc3339(&other[..at]));
        }
    }
}
