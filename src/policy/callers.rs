//! Who is asking: rules that name callers, the keys that are known, attributes that limits may count by.
//!
//! Its invariant: an identity that the client can choose is no identity. A header is believed only where the policy
//! says that something before this filter sets or verifies it.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::error::{list, quote};
use super::field::{Field, Reading, Section};
use super::names::{self, LABEL, PLAIN};
use super::secret;
use super::types::{Attribute, CallerRule, KnownKey};

/// SHA-256 of a presented key.
#[must_use]
pub fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The name that goes with a presented key; none when it isn't known.
///
/// Compares digests, each in full and all of them, so that the time taken tells nothing about the keys.
#[must_use]
pub fn known<'p>(keys: &'p [KnownKey], presented: &[u8]) -> Option<&'p str> {
    let presented = digest(presented);
    let same = |key: &KnownKey| {
        key.digest
            .iter()
            .zip(presented)
            .fold(0, |diff, (a, b)| diff | (a ^ b))
            == 0
    };
    keys.iter().fold(
        None,
        |found, key| if same(key) { Some(key.name.as_str()) } else { found },
    )
}

const RULE: &str =
    "{bearer: known, keys: {env: NAME}}, {header: NAME, trusted: true} or {jwt: CLAIM, metadata: NAMESPACE}";
const TRUSTED: &str = "true, where something before this filter sets or verifies that header";

/// The rules, in the order written.
pub(super) fn rules(field: &Field<'_>, r: &mut Reading<'_>) -> Vec<CallerRule> {
    let items = field.items(r, "a list of callers");
    items.iter().filter_map(|item| rule(item, r)).collect()
}

fn rule(field: &Field<'_>, r: &mut Reading<'_>) -> Option<CallerRule> {
    let has = |name| field.tree().get(name).is_some();
    match (has("bearer"), has("header"), has("jwt")) {
        (true, false, false) => bearer(&field.section(r, &["bearer", "keys"]), r),
        (false, true, false) => trusted(&field.section(r, &["header", "trusted"]), r).map(CallerRule::Header),
        (false, false, true) => jwt(&field.section(r, &["jwt", "metadata", "payload"]), r),
        _ if field.tree().is_object() => {
            field.refuse(r, "isn't one way to name a caller", RULE);
            None
        }
        _ => field.mistyped(r, RULE),
    }
}

fn bearer(section: &Section<'_>, r: &mut Reading<'_>) -> Option<CallerRule> {
    let kind = section.require("bearer", r, "known")?;
    kind.choice(r, &[("known", ())])?;
    let keys = section.require("keys", r, "{env: NAME}")?.section(r, &["env"]);
    let env = keys.require("env", r, secret::ALLOWED)?;
    let lines = secret::value(&env, r)?;
    Some(CallerRule::Bearer(known_keys(&env, &lines, r)?))
}

/// How known keys are written, for messages.
const LINES: &str = "lines of NAME=DIGEST, the SHA-256 of the key in 64 hexadecimal digits, each key once; # begins a comment";

/// Keys of a variable's lines. A line is only ever named by its number.
fn known_keys(env: &Field<'_>, lines: &str, r: &mut Reading<'_>) -> Option<Vec<KnownKey>> {
    let mut keys: Vec<KnownKey> = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, line) in (1..).zip(lines.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = match known_key(line) {
            None => "isn't NAME=DIGEST",
            Some(key) if !seen.insert(key.digest) => "repeats a key",
            Some(key) => {
                keys.push(key);
                continue;
            }
        };
        env.refuse(r, format!("line {number} of its value {wrong}"), LINES);
        return None;
    }
    if keys.is_empty() {
        env.refuse(r, "its value has no key", LINES);
        return None;
    }
    Some(keys)
}

fn known_key(line: &str) -> Option<KnownKey> {
    let (name, hex) = line.rsplit_once('=')?;
    let name = names::plain(name.trim())?.to_owned();
    Some(KnownKey {
        name,
        digest: from_hex(hex.trim())?,
    })
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let nibbles: Option<Vec<u8>> = hex
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect();
    let pairs = nibbles?;
    let bytes: Vec<u8> = pairs
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, n| byte << 4 | n))
        .collect();
    bytes.try_into().ok().filter(|_| hex.len() == 64)
}

/// The header of a section that says `trusted: true`.
fn trusted(section: &Section<'_>, r: &mut Reading<'_>) -> Option<String> {
    let header = section.require("header", r, names::HEADER);
    let header = header.and_then(|field| names::request_header(&field, r));
    let trusted = section.get("trusted").map(|field| field.flag(r));
    match trusted {
        Some(Some(true)) => header,
        Some(None) => None,
        Some(Some(false)) | None => {
            let path = section.path_of("trusted");
            r.refuse(
                &path,
                "isn't true: an identity that the client can choose is no identity",
                TRUSTED,
            );
            None
        }
    }
}

fn jwt(section: &Section<'_>, r: &mut Reading<'_>) -> Option<CallerRule> {
    let claim = section.require("jwt", r, "the name of a claim");
    let namespace = section.require(
        "metadata",
        r,
        "the namespace of the filter that verified the token",
    );
    let payload = section.get("payload");
    let mut path = vec!["metadata".to_owned(), "filter_metadata".to_owned()];
    for field in [namespace, payload, claim].into_iter().flatten() {
        path.push(field.parsed(r, PLAIN, names::plain)?.to_owned());
    }
    Some(CallerRule::Jwt { path })
}

/// Words of `per`, and of descriptors, that no attribute may be called.
const TAKEN: [&str; 5] = ["caller", "model", "provider", "route", "limit"];

/// The attributes, in the order of their names.
pub(super) fn attributes(field: &Field<'_>, r: &mut Reading<'_>) -> Vec<Attribute> {
    let entries = field.entries(r, "a map of attributes");
    entries
        .iter()
        .filter_map(|(name, field)| attribute(name, field, r))
        .collect()
}

fn attribute(name: &str, field: &Field<'_>, r: &mut Reading<'_>) -> Option<Attribute> {
    if !names::is_label(name) || TAKEN.contains(&name) {
        let wrong = format!("{} can't be an attribute's name", quote(name));
        field.refuse(r, wrong, format!("{LABEL}; not {}", list(&TAKEN)));
    }
    let section = field.section(r, &["header", "trusted", "missing"]);
    let missing = section
        .or("missing", "none", |f| f.parsed(r, PLAIN, names::plain))
        .to_owned();
    Some(Attribute {
        name: name.to_owned(),
        header: trusted(&section, r)?,
        missing,
    })
}

#[cfg(test)]
mod tests {
    use super::{KnownKey, digest, from_hex, known};

    /// SHA-256 of "abc", from FIPS 180-2.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_digest_is_sha_256() {
        assert_eq!(Some(digest(b"abc")), from_hex(ABC));
        assert_eq!(from_hex(&ABC.to_uppercase()), from_hex(ABC));
    }

    #[test]
    fn hex_of_another_length_or_alphabet_is_none() {
        for text in [
            "",
            "00",
            &ABC[1..],
            &format!("{ABC}0"),
            &format!("{ABC}00"),
            &ABC.replace('b', "g"),
        ] {
            assert_eq!(from_hex(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_known_key_names_a_caller() {
        let key = |name: &str, key: &[u8]| KnownKey {
            name: name.to_owned(),
            digest: digest(key),
        };
        let keys = [key("alice", b"a"), key("bob", b"b")];
        assert_eq!(known(&keys, b"a"), Some("alice"));
        assert_eq!(known(&keys, b"b"), Some("bob"));
        assert_eq!(known(&keys, b""), None);
        assert_eq!(known(&keys, digest(b"a").as_slice()), None);
        assert_eq!(known(&[], b"a"), None);
    }
}
