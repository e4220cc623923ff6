//! Values of headers: waits, limits, dates, durations, maps of the host, names of callers, what travels in filter state.

use core::time::Duration;

use spillway::breaker::Pass;
use spillway::date::{parse_http_date, parse_rfc3339, push_number, rfc3339};
use spillway::dialect::Endpoint;
use spillway::dialect::signals::{is_rate_limit_header, signals};
use spillway::exchange::Ending;
use spillway::headers::{Headers, serialize};
use spillway::policy::{KnownKey, digest, known};
use spillway::report::ratelimit::{openai_duration, retry_headers};
use spillway::report::record::outside_name;
use spillway::time::{Instant, Now, UnixMillis};

use crate::input::Input;
use crate::truth;

/// When "now" is: 2026-11-21.
const NOW: Now = Now {
    monotonic: Instant(1_000_000_000_000),
    wall: UnixMillis(1_795_248_000_000),
};

/// Whatever a header says: a share is at most 1,000 ‰, a date that is read is written back, what is written of a wait is at
/// least the wait, a map of the host's reads back, damaged or not, and no name from outside is longer than its bound.
pub fn headers(data: &[u8]) {
    let mut input = Input::new(data);
    let number = input.long();
    let bytes = input.rest();
    let lines: Vec<(Vec<u8>, &[u8])> = bytes.split(|byte| *byte == b'\n').filter_map(field).collect();
    told(&lines);
    for (_, value) in &lines {
        date(value);
    }
    date(bytes);
    written(number);
    map(bytes, &lines);
    names(bytes);
}

/// A line as a name in lower case and a value.
fn field(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let colon = line.iter().skip(1).position(|byte| *byte == b':')? + 1;
    let (name, value) = line.split_at(colon);
    let value = &value[1..];
    Some((
        name.to_ascii_lowercase(),
        value.strip_prefix(b" ").unwrap_or(value),
    ))
}

fn told(lines: &[(Vec<u8>, &[u8])]) {
    let fields = lines.iter().map(|(name, value)| (name.as_slice(), *value));
    let found = signals(fields, NOW);
    if let Some(headroom) = found.headroom {
        assert!(headroom.share <= 1_000, "{headroom:?}");
        let aged = headroom.aged(Duration::from_secs(60));
        assert!(aged.is_none_or(|aged| aged.reset <= headroom.reset));
    }
    let later = found.wait().map(|wait| NOW.monotonic.after(wait));
    assert!(later.is_none_or(|later| later >= NOW.monotonic));
    for (name, _) in lines {
        let _ = is_rate_limit_header(name);
    }
}

fn date(text: &[u8]) {
    for read in [parse_rfc3339(text), parse_http_date(text)].into_iter().flatten() {
        let seconds = read.0.div_ceil(1_000) * 1_000;
        // The end of 9999 rounds up to a year that isn't read.
        if seconds < 253_402_300_800_000 {
            assert_eq!(parse_rfc3339(rfc3339(read).as_bytes()), Some(UnixMillis(seconds)));
        }
    }
}

fn written(number: u64) {
    let _ = rfc3339(UnixMillis(number));
    let span = Duration::from_millis(number);
    let seconds = |headers: &[(&str, String)], name| {
        let found = headers.iter().find(|(other, _)| *other == name);
        found.and_then(|(_, value)| value.parse::<u64>().ok())
    };
    let headers = retry_headers(span, number & 1 == 1);
    assert!(
        seconds(&headers, "retry-after").is_some_and(|told| told >= (number / 1_000).max(1)),
        "{headers:?}"
    );
    assert!(openai_duration(span).is_ascii());
    let mut text = String::new();
    push_number(&mut text, number, 3);
    assert_eq!(text, format!("{number:03}"));
}

fn map(bytes: &[u8], lines: &[(Vec<u8>, &[u8])]) {
    let damaged = Headers::parse(bytes.to_vec());
    let size: usize = damaged.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(size <= bytes.len(), "fields overlap");
    let fields: Vec<(&[u8], &[u8])> = lines
        .iter()
        .map(|(name, value)| (name.as_slice(), *value))
        .collect();
    let read = Headers::parse(serialize(&fields));
    assert!(read.iter().eq(fields.iter().copied()), "doesn't read back");
    let Some((first, _)) = fields.first() else {
        return;
    };
    let edited = Headers::parse(read.edited(&[(b"x-new", b"1")], &[first]));
    assert_eq!(edited.first("x-new"), Some(&b"1"[..]));
    assert!(edited.iter().all(|(name, _)| name != *first || name == b"x-new"));
}

fn names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(pass) = Pass::unpack(&text) {
        let packed = pass.pack();
        assert_eq!(Pass::unpack(&packed).map(Pass::pack), Some(packed));
    }
    let key = KnownKey {
        name: "me".to_owned(),
        digest: digest(bytes),
    };
    assert_eq!(known(core::slice::from_ref(&key), bytes), Some("me"));
    assert_eq!(known(&[key], &[bytes, b"x"].concat()), None);
    assert!(outside_name(&text).len() <= 300);
    let _ = (
        Ending::of(bytes),
        Endpoint::of(b"POST", bytes),
        truth::is_json(bytes),
    );
}
