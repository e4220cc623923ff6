//! Guards: personal data in texts and streams.

use std::collections::BTreeMap;

use spillway::guard::{Plan, StreamGuard, Watch};
use spillway::policy::{Mode, Side, load};

use crate::input::Input;

/// What is looked for: every kind, words and patterns of one's own, restored, masked or blocked.
const GUARDS: [&str; 4] = [
    r#"[{"kinds": ["email", "phone", "card", "iban", "ssn", "ip", "api_key", "jwt"], "action": "mask"}]"#,
    r#"[{"kinds": ["email", "card", "ip"], "action": "restore"}]"#,
    r#"[{"words": ["eve", "example", "Project Blue"], "action": "mask"}, {"patterns": ["[0-9]{2,3}", "\\b[a-z]{1,3}\\b [a-z]{1,2}"], "action": "mask"}]"#,
    r#"[{"kinds": ["email", "jwt", "api_key"], "action": "block"}, {"kinds": ["phone"], "action": "detect"}]"#,
];

thread_local! {
    static PLANS: Vec<[Plan; 2]> = GUARDS.iter().map(|guards| plans(guards)).collect();
}

fn plans(guards: &str) -> [Plan; 2] {
    let document = format!(
        r#"{{"version": 1, "guards": {guards}, "models": {{"m": {{"chain": ["p/m"]}}}},
            "providers": {{"p": {{"cluster": "c", "dialect": "openai", "models": {{"m": {{}}}}}}}}}}"#
    );
    let Ok(policy) = load(&document, &BTreeMap::new()) else {
        panic!("the guards of the target aren't a policy's");
    };
    [Side::Request, Side::Answer].map(|side| {
        let Some(plan) = Plan::of(policy.guards.iter().enumerate(), side, Mode::Enforce) else {
            panic!("nothing is looked for");
        };
        plan
    })
}

/// A text that can be a string's content is one afterwards, and one that is masked in pieces, cut between characters, is
/// masked as if it came whole, but for the numbers of keys; never more than 256 bytes of it are kept back; a request that was masked and restored is
/// what it was; no bytes make it fail.
pub fn guard(data: &[u8]) {
    let mut input = Input::new(data);
    let (which, seed) = (usize::from(input.byte()) % GUARDS.len(), input.short());
    let raw = input.rest();
    PLANS.with(|plans| {
        let [request, answer] = &plans[which];
        let mut watch = Watch::default();
        let whole = masked(answer, &mut watch, raw);
        let blocked = watch.blocked().is_some();
        let string = meant(raw);
        if string.is_some() {
            assert!(meant(&whole).is_some(), "{}", String::from_utf8_lossy(&whole));
            let (out, stopped) = streamed(answer, &units(raw, seed));
            assert_eq!(stopped, blocked, "cuts change what is blocked");
            assert!(
                blocked || unnumbered(&out) == unnumbered(&whole),
                "cuts change what is masked: {}",
                String::from_utf8_lossy(&out)
            );
        } else {
            streamed(answer, &[raw]);
        }
        let mut watch = Watch::default();
        let out = masked(request, &mut watch, raw);
        if watch.keeps_originals() && watch.blocked().is_none() && string.is_some() && !raw.contains(&b'[') {
            assert_eq!(meant(&masked(answer, &mut watch, &out)), string, "isn't put back");
        }
    });
}

fn masked(plan: &Plan, watch: &mut Watch, raw: &[u8]) -> Vec<u8> {
    watch.mask(plan, raw).unwrap_or_else(|| raw.to_vec())
}

/// Without the numbers of keys and tokens, which in a stream are numbered by their beginnings.
fn unnumbered(masked: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(masked.len()), masked);
    while let [first, after @ ..] = rest {
        out.push(*first);
        rest = after;
        if out.ends_with(b"[API_KEY_") || out.ends_with(b"[JWT_") {
            while let [b'0'..=b'9', after @ ..] = rest {
                rest = after;
            }
        }
    }
    out
}

/// What the content of a string says.
fn meant(raw: &[u8]) -> Option<String> {
    serde_json::from_slice(&[b"\"", raw, b"\""].concat()).ok()
}

/// What goes on, and whether it was stopped.
fn streamed(plan: &Plan, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let (mut guard, mut watch, mut out) = (StreamGuard::new(), Watch::default(), Vec::new());
    for piece in pieces {
        out.extend(guard.push(plan, &mut watch, piece));
        assert!(guard.held() <= 256, "{} bytes are kept back", guard.held());
    }
    out.extend(guard.finish(plan, &mut watch));
    (out, watch.blocked().is_some())
}

/// Pieces that cut neither a character nor an escape.
fn units(raw: &[u8], seed: u16) -> Vec<&[u8]> {
    let (mut pieces, mut from, mut at) = (Vec::new(), 0, 0);
    let mut state = u64::from(seed) << 1 | 1;
    while at < raw.len() {
        at += match raw[at..] {
            [b'\\', b'u', ..] => 6,
            [b'\\', ..] => 2,
            [0..0x80, ..] => 1,
            [0..0xe0, ..] => 2,
            [0..0xf0, ..] => 3,
            _ => 4,
        };
        at = at.min(raw.len());
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if seed == 1 || state >> 60 == 0 {
            pieces.push(&raw[from..at]);
            from = at;
        }
    }
    pieces.push(&raw[from..]);
    pieces
}
