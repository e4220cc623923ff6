//! Streams at every cut.

use serde_json::{Value, json};

use super::{ALL, Numbers, all, escaped, lines, masked, plan};
use crate::guard::{Plan, StreamGuard, Watch};
use crate::policy::Side;

/// The pieces of a content that can't be cut: characters and escapes.
fn units(raw: &str) -> Vec<&str> {
    let (mut rest, mut units) = (raw, Vec::new());
    while let Some(first) = rest.chars().next() {
        let length = match rest.as_bytes() {
            [b'\\', b'u', ..] => 6,
            [b'\\', ..] => 2,
            _ => first.len_utf8(),
        };
        let (unit, after) = rest.split_at(length);
        units.push(unit);
        rest = after;
    }
    units
}

fn streamed<'p>(plan: &Plan, pieces: impl IntoIterator<Item = &'p str>) -> String {
    let (mut guard, mut watch, mut out) = (StreamGuard::new(), Watch::default(), Vec::new());
    for piece in pieces {
        out.extend(guard.push(plan, &mut watch, piece.as_bytes()));
        assert!(guard.held() <= 256, "{} bytes kept back", guard.held());
    }
    out.extend(guard.finish(plan, &mut watch));
    String::from_utf8(out).unwrap()
}

fn at_every_cut(plan: &Plan, raw: &str) {
    let whole = masked(plan, raw);
    let units = units(raw);
    for cut in 0..=units.len() {
        let (head, tail) = (units[..cut].concat(), units[cut..].concat());
        assert_eq!(streamed(plan, [&*head, &*tail]), whole, "cut after {head}");
    }
    assert_eq!(streamed(plan, units), whole);
}

fn own() -> Value {
    json!([
        {"kinds": ["email", "card"], "action": "mask"},
        {"words": ["eve", "example", "of trees and of what", "Project Blue"], "action": "mask"},
        {"patterns": ["[0-9]{2,3}", r"\b[a-z]{1,3}\b [a-z]{1,2}"], "action": "mask"},
    ])
}

#[test]
fn a_line_is_masked_alike_wherever_it_is_cut() {
    let plan = all("mask", Side::Answer);
    let mut numbers = Numbers(3);
    for line in lines() {
        at_every_cut(&plan, &line.replace('\\', "\\\\").replace('"', "\\\""));
        let raw = escaped(&line, &mut numbers);
        assert_eq!(streamed(&plan, units(&raw)), masked(&plan, &raw));
    }
}

#[test]
fn own_patterns_and_words_are_masked_alike_wherever_a_line_is_cut() {
    let plan = plan(own(), Side::Answer);
    for line in lines() {
        at_every_cut(&plan, &line.replace('\\', "\\\\").replace('"', "\\\""));
    }
}

#[test]
fn long_texts_are_masked_alike_in_pieces_of_any_size() {
    let mut numbers = Numbers(11);
    for plan in [all("mask", Side::Answer), plan(own(), Side::Answer)] {
        for round in 0..30 {
            let mut all = lines();
            all.rotate_left(numbers.below(300));
            let joint = ["\n", " ", "", ", ", "、"][round % 5];
            let raw = escaped(&all[..150].join(joint), &mut numbers);
            let (mut pieces, units) = (Vec::new(), units(&raw));
            let mut rest = &units[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(1 + numbers.below(1 + round * 20)));
                pieces.push(piece.concat());
                rest = after;
            }
            let whole = masked(&plan, &raw);
            assert!(
                streamed(&plan, pieces.iter().map(String::as_str)) == whole,
                "round {round}"
            );
        }
    }
}

/// A private key and a token that are longer than everything that is kept back.
fn long_secrets() -> String {
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\\n";
    let key = format!(
        "-----BEGIN RSA PRIVATE KEY-----\\n{}-----END RSA PRIVATE KEY-----",
        line.repeat(8)
    );
    let token = format!(
        "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.{}.{}",
        "eyJhIjoxMjM0NTY3".repeat(25),
        "c2lnbmF0dXJl".repeat(25)
    );
    format!(
        "key:\\n{key}\\nand {token}. Also sk-{} and a@b.co.",
        "aB3dE5fG7h".repeat(40)
    )
}

#[test]
fn secrets_longer_than_the_window_never_leave() {
    let plan = all("mask", Side::Answer);
    let raw = long_secrets();
    assert_eq!(
        masked(&plan, &raw),
        "key:\\n[API_KEY_1]\\nand [JWT_1]. Also [API_KEY_2] and [EMAIL_1]."
    );
    at_every_cut(&plan, &raw);
}

#[test]
fn prose_runs_no_more_than_a_word_late() {
    let plan = all("mask", Side::Answer);
    let (mut guard, mut watch) = (StreamGuard::new(), Watch::default());
    let text =
        "Sure, here is the whole story of how the old lighthouse keeper came to the island in winter. ";
    for word in text.split_inclusive(' ') {
        guard.push(&plan, &mut watch, word.as_bytes());
        assert!(guard.held() <= 20, "{} bytes after {word}", guard.held());
    }
}

#[test]
fn placeholders_come_back_wherever_they_are_cut() {
    let guards = json!([{"kinds": ALL, "action": "restore"}]);
    let (request, answer) = (plan(guards.clone(), Side::Request), plan(guards, Side::Answer));
    let mut watch = Watch::default();
    watch
        .mask(&request, br#"a@b.co 4242424242424242 "1.1.1.1"#)
        .unwrap();
    let raw = r"Mail [EMAIL_1] (\u005bEMAIL_2]), card [CARD_1]; [EMAIL_1][IP_1] [[IP_1]";
    let units = units(raw);
    for cut in 0..=units.len() {
        let (mut guard, mut watch) = (StreamGuard::new(), watch.clone());
        let mut out = guard.push(&answer, &mut watch, units[..cut].concat().as_bytes());
        out.extend(guard.push(&answer, &mut watch, units[cut..].concat().as_bytes()));
        out.extend(guard.finish(&answer, &mut watch));
        let expected = r"Mail a@b.co (\u005bEMAIL_2]), card 4242424242424242; a@b.co1.1.1.1 [1.1.1.1";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn nothing_is_kept_once_a_stream_is_blocked() {
    let plan = super::plan(json!([{"kinds": ["email"], "action": "block"}]), Side::Answer);
    let (mut guard, mut watch) = (StreamGuard::new(), Watch::default());
    for _ in 0..1_000 {
        assert_eq!(guard.push(&plan, &mut watch, b"ann@example.org and so on "), b"");
        assert!(watch.blocked().is_some() && guard.held() == 0);
    }
    assert_eq!(guard.finish(&plan, &mut watch), b"");
}

#[test]
fn nothing_goes_on_once_a_stream_is_blocked() {
    let plan = all("block", Side::Answer);
    for cut in 0..="my number is 4242 4242 4242 4242.".len() {
        let (head, tail) = "my number is 4242 4242 4242 4242.".split_at(cut);
        let (mut guard, mut watch) = (StreamGuard::new(), Watch::default());
        let mut out = guard.push(&plan, &mut watch, head.as_bytes());
        out.extend(guard.push(&plan, &mut watch, tail.as_bytes()));
        out.extend(guard.finish(&plan, &mut watch));
        assert!(watch.blocked().is_some() && "my number is ".as_bytes().starts_with(&out));
        assert_eq!(guard.push(&plan, &mut watch, b"more"), b"");
    }
}

#[test]
fn halves_of_a_surrogate_pair_find_each_other() {
    let plan = all("mask", Side::Answer);
    assert_eq!(
        streamed(&plan, [r"a \ud83d", r"\ude00 b@c.de"]),
        r"a \ud83d\ude00 [EMAIL_1]"
    );
    assert_eq!(streamed(&plan, [r"a \\ud83d", "x"]), r"a \\ud83dx");
    assert_eq!(streamed(&plan, [r"a \ud83d"]), r"a \ud83d");
}
