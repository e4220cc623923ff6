//! Texts made to cost much.

use std::time::Duration;

use serde_json::json;

use super::{all, plan};
use crate::guard::{Plan, StreamGuard, Watch};
use crate::policy::Side;
use crate::timed::timed;

/// What repeats of it could make a detector look at again and again.
const UNITS: [&str; 40] = [
    "1",
    "12 ",
    "1111 ",
    "1111-",
    "4111 1111 1111 1111 1",
    "@",
    "a@",
    "a@b.",
    "a.b@c.d@",
    "x@aaaaaaaa.",
    ".",
    "a.",
    ":",
    "::",
    "a:",
    "1:",
    "abcd:",
    "f",
    "0",
    "00 ",
    "0049 1 ",
    "+",
    "+1",
    "+1 (",
    "+49 1 ",
    "-",
    "--",
    "-----BEGIN ",
    "-----BEGIN PRIVATE KEY-----",
    "sk-",
    "sk-a1",
    "_",
    "ghp_",
    "A",
    "AKIA",
    "eyJ",
    "eyJhbGciOiJub25lIn0.",
    "[EMAIL_",
    "[",
    "DE89 ",
];

fn spent(plan: &Plan, text: &[u8]) -> Duration {
    timed(|| Watch::default().mask(plan, text))
}

/// What isn't linear takes minutes for so much, without optimization; what is takes a fraction of a second.
#[test]
fn time_grows_with_the_text_and_no_more() {
    let own = json!([{
        "patterns": ["[a-z]{1,9}@[a-z.]{1,90}", "(1|11|a){1,40}b"],
        "words": ["a", "aa", "aaa", "1111"],
        "action": "mask",
    }]);
    for plan in [all("restore", Side::Request), plan(own, Side::Request)] {
        for unit in UNITS {
            let text = unit.repeat(60_000 / unit.len());
            let took = spent(&plan, text.as_bytes());
            assert!(took < Duration::from_secs(10), "{unit:?}: {took:?}");
        }
    }
}

#[test]
#[ignore = "10 MiB each: for optimized builds"]
fn ten_mebibytes_of_anything_take_seconds_at_most() {
    let plan = all("restore", Side::Request);
    for unit in UNITS {
        let text = unit.repeat((10 << 20) / unit.len());
        let took = spent(&plan, text.as_bytes());
        println!("{unit:?}: {took:?}");
        assert!(took < Duration::from_secs(5), "{unit:?}: {took:?}");
    }
}

#[test]
fn a_stream_keeps_no_more_in_sight_than_its_window() {
    let plan = all("mask", Side::Answer);
    for unit in UNITS {
        let (mut guard, mut watch) = (StreamGuard::new(), Watch::default());
        for _ in 0..3_000 / unit.len() {
            guard.push(&plan, &mut watch, unit.as_bytes());
            assert!(guard.held() <= 256 && guard.in_sight() <= 1_024 + unit.len());
        }
    }
}

#[test]
fn a_match_ends_where_the_text_does() {
    for action in ["mask", "restore", "detect"] {
        let plan = all(action, Side::Request);
        for raw in [
            &b"wt@example.org\xdb"[..],
            b"ann@b\xc3",
            b"ann@b.c\xdf",
            b"a@b.cd\xdb\xdb",
        ] {
            let (mut guard, mut watch) = (StreamGuard::new(), Watch::default());
            guard.push(&plan, &mut watch, raw);
            guard.finish(&plan, &mut watch);
            assert_eq!(guard.held(), 0);
        }
    }
}

#[test]
fn a_character_that_never_ends_is_not_waited_for() {
    let plan = all("mask", Side::Answer);
    for piece in [&[0x80; 64][..], &[0xf0, 0x90], b"\xe2\x80\x80\x80\x80"] {
        let (mut guard, mut watch, mut out) = (StreamGuard::new(), Watch::default(), 0);
        for _ in 0..1_000 {
            out += guard.push(&plan, &mut watch, piece).len();
            assert!(guard.held() <= 256, "{} bytes kept back", guard.held());
            assert!(guard.in_sight() <= 1_024 + piece.len());
        }
        assert_eq!(out + guard.finish(&plan, &mut watch).len(), 1_000 * piece.len());
    }
}

#[test]
fn bytes_that_are_no_text_harm_nobody() {
    let plan = all("mask", Side::Request);
    for first in 0..=255u8 {
        for second in [0, b'@', b'\\', b'u', 0x80, 0xc3, 0xe0, 0xff] {
            let bytes = [first, second, first, b'@', second, b'.', first];
            let _ = Watch::default().mask(&plan, &bytes);
            let (mut guard, mut watch) = (StreamGuard::new(), Watch::default());
            let mut out = guard.push(&plan, &mut watch, &bytes);
            out.extend(guard.push(&plan, &mut watch, &bytes));
            out.extend(guard.finish(&plan, &mut watch));
            assert!(!out.is_empty());
        }
    }
}
