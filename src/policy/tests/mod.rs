//! Tables of documents: what good ones become, what bad ones are told.

mod bad;
mod failover;
mod fleet;
mod good;
mod lean;
mod moderation;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Policy, load};

const ALICE: &str = "alice=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// The environment of all tables. Whatever holds "s3cr3t" must never be seen again.
fn environment() -> BTreeMap<String, String> {
    let variables = [
        ("OPENAI_API_KEY", "sk-s3cr3t-openai"),
        ("ANTHROPIC_API_KEY", "sk-s3cr3t-anthropic"),
        ("EMPTY", ""),
        ("BLANK", " \n"),
        ("TWO_LINES", "sk-s3cr3t\nx-admin: yes"),
        ("NOT_ASCII", "sk-s3cr3t-é"),
        (
            "CALLER_KEYS",
            &format!("# ours\n{ALICE}\n\nbob = {}\r\n", "0a".repeat(32)),
        ),
        ("NO_HEX", &format!("{ALICE}\nbob=s3cr3t")),
        ("SAME_KEY", &format!("{ALICE}\n{}", ALICE.replace("alice", "bob"))),
        ("NO_NAME", &format!("={}", "0a".repeat(32))),
        ("NO_KEYS", "# none yet\n"),
    ];
    variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// The least that is a policy.
fn least() -> Value {
    json!({
        "version": 1,
        "providers": {"openai": {"cluster": "openai", "dialect": "openai", "models": {"gpt-4o": {}}}},
        "models": {"gpt-4o": {"chain": ["openai/gpt-4o"]}},
    })
}

/// [`least`] with the value at the place, which is made where it isn't there. `Null` takes it away.
fn with(place: &str, value: Value) -> Value {
    let mut document = least();
    let mut node = &mut document;
    for name in place.split(' ').filter(|name| !name.is_empty()) {
        node = &mut node[name];
    }
    *node = value;
    document
}

fn read(document: &Value) -> Result<Policy, String> {
    load(&document.to_string(), &environment()).map_err(|error| error.to_string())
}
