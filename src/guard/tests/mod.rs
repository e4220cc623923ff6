//! Tests of guards as a whole: what goes out of bodies and streams, and what it costs to be hostile.

mod bodies;
mod hostile;
mod speed;
mod streams;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Plan, Watch};
use crate::policy::{Mode, Policy, Side, load};

/// The labelled lines, without their labels.
fn lines() -> Vec<String> {
    let written = include_str!("../../../tests/guards/handwritten.txt")
        .lines()
        .map(|line| {
            let mut text = line.replace(['⟧', '¦'], "");
            while let Some(at) = text.find('⟦') {
                let label = text[at..].find(':').unwrap();
                text.replace_range(at..=at + label, "");
            }
            text
        });
    written.collect()
}

fn policy(guards: Value) -> Policy {
    let document = json!({
        "version": 1,
        "providers": {"openai": {"cluster": "openai", "dialect": "openai", "models": {"gpt-4o": {}}}},
        "models": {"gpt-4o": {"chain": ["openai/gpt-4o"]}},
        "guards": guards,
    });
    load(&document.to_string(), &BTreeMap::new()).unwrap()
}

fn plan(guards: Value, side: Side) -> Plan {
    let policy = policy(guards);
    Plan::of(policy.guards.iter().enumerate(), side, Mode::Enforce).unwrap()
}

const ALL: [&str; 8] = ["email", "phone", "card", "iban", "ssn", "ip", "api_key", "jwt"];

/// Every kind with this action, on the request or the answer.
fn all(action: &str, side: Side) -> Plan {
    plan(json!([{"kinds": ALL, "action": action}]), side)
}

fn masked(plan: &Plan, raw: &str) -> String {
    let changed = Watch::default().mask(plan, raw.as_bytes());
    changed.map_or_else(|| raw.to_owned(), |bytes| String::from_utf8(bytes).unwrap())
}

/// Marsaglia's xorshift64: the same numbers every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

/// The text as the content of a JSON string, some of it escaped though it needn't be.
fn escaped(text: &str, numbers: &mut Numbers) -> String {
    let mut raw = String::new();
    for c in text.chars() {
        let mut units = [0; 2];
        match c {
            '"' | '\\' => raw.extend(['\\', c]),
            '\n' => raw.push_str("\\n"),
            _ if numbers.below(6) == 0 => {
                let units = c.encode_utf16(&mut units).iter();
                units.for_each(|unit| raw.push_str(&format!("\\u{unit:04x}")));
            }
            _ => raw.push(c),
        }
    }
    raw
}

fn meant(raw: &[u8]) -> String {
    serde_json::from_slice(&[b"\"", raw, b"\""].concat()).unwrap()
}
