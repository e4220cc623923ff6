//! What names may look like: of limits, models, providers, headers.
//!
//! Names travel far (metrics, headers, records), so what could break out of one of those is refused here.

use super::error::quote;
use super::field::{Field, Reading, Section};

/// What a metric-safe name is, for messages.
pub(super) const LABEL: &str = "1 to 48 of a-z, 0-9, _ and -";
/// What a provider's name is, for messages.
pub(super) const PROVIDER: &str = "1 to 48 of letters, digits, _, - and .";
/// What a model's name is, for messages.
pub(super) const MODEL: &str = "1 to 128 characters, without spaces, control characters and *";
/// What a header's name is, for messages.
pub(super) const HEADER: &str = "the name of a header, at most 128 characters";
/// What plain text is, for messages.
pub(super) const PLAIN: &str = "1 to 255 characters, without control characters";

/// A name that is safe as a segment of a metric.
pub(super) fn is_label(name: &str) -> bool {
    let safe = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    (1..=48).contains(&name.len()) && name.bytes().all(safe)
}

/// A name that a chain can hold before its `/`.
pub(super) fn is_provider(name: &str) -> bool {
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=48).contains(&name.len()) && name.bytes().all(safe)
}

/// A name that a provider or the policy may give a model.
pub(super) fn is_model(name: &str) -> bool {
    let odd = |c: char| c.is_control() || c.is_whitespace() || c == '*';
    (1..=128).contains(&name.chars().count()) && !name.contains(odd)
}

/// Text that can stand in a header, a property or a record.
pub(super) fn plain(text: &str) -> Option<&str> {
    let fits = (1..=255).contains(&text.chars().count()) && !text.contains(char::is_control);
    fits.then_some(text)
}

/// A header's name in lower case (RFC 9110, section 5.6.2).
pub(super) fn header(name: &str) -> Option<String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let fits = (1..=128).contains(&name.len()) && name.bytes().all(token);
    fits.then(|| name.to_ascii_lowercase())
}

/// The `name` of a list's item, or KIND-INDEX. Told where one before it has the same.
pub(super) fn of_item<'n>(
    section: &Section<'_>,
    (kind, index): (&str, usize),
    mut before: impl Iterator<Item = &'n String>,
    r: &mut Reading<'_>,
) -> String {
    let name = section.or("name", format!("{kind}-{index}"), |field| {
        field.parsed(r, LABEL, |text| is_label(text).then(|| text.to_owned()))
    });
    if before.any(|other| *other == name) {
        r.refuse(
            &section.path_of("name"),
            format!("{} is another {kind}'s name", quote(&name)),
            "a name of its own",
        );
    }
    name
}

/// The header that a client's request is read by: none of Spillway's own, which clients can't send.
pub(super) fn request_header(field: &Field<'_>, r: &mut Reading<'_>) -> Option<String> {
    let name = field.parsed(r, HEADER, header)?;
    if name.starts_with("x-spillway-") {
        let wrong = format!(
            "{} is one of Spillway's own, which are dropped from requests",
            quote(&name)
        );
        field.refuse(r, wrong, "any header but x-spillway-*");
        return None;
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::{header, is_label, is_model, is_provider, plain};

    #[test]
    fn names_hold_nothing_that_breaks_out_of_a_metric_a_header_or_a_record() {
        assert!(is_label("caller-tokens_2") && !is_label("Caller") && !is_label("a.b") && !is_label(""));
        assert!(!is_label(&"a".repeat(49)) && is_label(&"a".repeat(48)));
        assert!(is_provider("azure.ai.openai") && !is_provider("a/b") && !is_provider("a b"));
        assert!(
            is_model("meta-llama/Llama-3.1:free")
                && !is_model("a\nb")
                && !is_model("gpt-*")
                && !is_model("a b")
        );
        assert!(!is_model(&"é".repeat(129)) && is_model(&"é".repeat(128)));
        assert!(plain("none").is_some() && plain("a\u{7f}").is_none() && plain("").is_none());
        assert_eq!(header("X-Tenant"), Some("x-tenant".to_owned()));
        assert_eq!(header(":path"), None);
        assert_eq!(header("x tenant"), None);
    }
}
