//! Secrets: read from the VM's environment, shown nowhere.

use super::field::{Field, Reading, Section};
use super::names;
use super::types::{Credential, ProviderDialect};

/// What a variable's name is, for messages.
pub(super) const ALLOWED: &str = "the name of a variable of the VM's environment that holds the secret";

/// The value of the variable that the field names.
///
/// The name is shown only if it looks like nothing but a variable's name: somebody may have put the secret there.
pub(super) fn value(env: &Field<'_>, r: &mut Reading<'_>) -> Option<String> {
    let name = env.text(r, ALLOWED)?;
    if !is_name(name) {
        env.refuse(r, "isn't the name of a variable", ALLOWED);
        return None;
    }
    let found = r
        .environment
        .variable(name)
        .filter(|value| !value.trim().is_empty());
    if found.is_none() {
        env.refuse(r, format!("{} isn't set or is empty", shown(name)), ALLOWED);
    }
    found
}

fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&name.len())
        && name.bytes().all(fits)
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn shown(name: &str) -> String {
    let usual = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    match name.len() <= 64 && name.bytes().all(usual) {
        true => format!("variable {name}"),
        false => "the variable named here".to_owned(),
    }
}

/// Headers that carry the message itself, never a credential.
const FRAMING: [&str; 6] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "accept-encoding",
];

/// A provider's credential, by its dialect's custom unless the section says otherwise.
pub(super) fn credential(
    field: &Field<'_>,
    dialect: ProviderDialect,
    r: &mut Reading<'_>,
) -> Option<Credential> {
    let section = field.section(r, &["env", "header", "scheme"]);
    let usual = match dialect {
        ProviderDialect::OpenAi => "authorization",
        ProviderDialect::Anthropic => "x-api-key",
        ProviderDialect::Gemini => "x-goog-api-key",
        ProviderDialect::Azure => "api-key",
    };
    let header = section.or("header", Some(usual.to_owned()), |field| {
        Some(own_header(&field, r))
    })?;
    let scheme = scheme(&section, &header, r)?;
    let env = section.require("env", r, ALLOWED)?;
    let secret = value(&env, r)?;
    if !secret.bytes().all(|b| matches!(b, 0x21..=0x7e)) {
        env.refuse(
            r,
            "its value can't stand in a header",
            "a value of visible ASCII characters, without spaces or line ends",
        );
        return None;
    }
    let value = if scheme.is_empty() {
        secret
    } else {
        format!("{scheme} {secret}")
    };
    Some(Credential { header, value })
}

fn own_header(field: &Field<'_>, r: &mut Reading<'_>) -> Option<String> {
    let name = names::request_header(field, r)?;
    if FRAMING.contains(&name.as_str()) {
        field.refuse(
            r,
            format!("{name} can't carry a credential"),
            "authorization, x-api-key, api-key or the like",
        );
        return None;
    }
    Some(name)
}

/// `Bearer` in `authorization`, none in any other header, unless the section says.
fn scheme(section: &Section<'_>, header: &str, r: &mut Reading<'_>) -> Option<String> {
    const WORD: &str = "one word such as Bearer, or \"\" for none";
    let Some(field) = section.get("scheme") else {
        let usual = if header == "authorization" { "Bearer" } else { "" };
        return Some(usual.to_owned());
    };
    let word = field.text(r, WORD)?;
    // Not quoted: somebody may have put the secret there.
    if word.len() > 32 || !word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        field.refuse(r, "isn't a scheme", WORD);
        return None;
    }
    Some(word.to_owned())
}
