//! Numbers, words and names that stand without quotes.

use crate::json::{Lexer, Value};

/// What belongs to a number, or to what is none but begins like one.
pub(super) fn in_number(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | '%')
}

/// What belongs to a word.
pub(super) fn in_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '-')
}

/// Whether a name without quotes may begin so.
pub(super) fn begins_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

/// A number as JSON writes it; none when there is doubt about it.
pub(super) fn number(run: &str) -> Option<String> {
    if is_number(run) {
        return Some(run.to_owned());
    }
    let (sign, digits) = match run.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", run.strip_prefix('+').unwrap_or(run)),
    };
    let before = if digits.starts_with('.') { "0" } else { "" };
    let after = if digits.ends_with('.') { "0" } else { "" };
    let whole = format!("{sign}{before}{digits}{after}");
    let signed_once = !digits.starts_with(['+', '-']);
    (signed_once && digits != ".")
        .then_some(whole)
        .filter(|n| is_number(n))
}

fn is_number(text: &str) -> bool {
    let mut json = Lexer::new(text.as_bytes());
    matches!(json.value(), Ok(Value::Number(_))) && json.end().is_ok() && !text.ends_with(char::is_whitespace)
}

/// A literal of JSON, or of Python, as JSON writes it.
pub(super) fn literal(word: &str) -> Option<&'static str> {
    Some(match word {
        "true" | "True" | "TRUE" => "true",
        "false" | "False" | "FALSE" => "false",
        "null" | "None" | "NULL" => "null",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn a_number_is_only_mended_where_it_has_one_reading() {
        let table = [
            ("1", Some("1")),
            ("-0.5e+3", Some("-0.5e+3")),
            ("+5", Some("5")),
            (".5", Some("0.5")),
            ("-.25", Some("-0.25")),
            ("5.", Some("5.0")),
            (".", None),
            ("-", None),
            ("+", None),
            ("+-1", None),
            ("-+1", None),
            ("007", None),
            ("0x1F", None),
            ("1_000", None),
            ("1e", None),
            ("1.e5", None),
            ("12%", None),
            ("1.2.3", None),
            ("2024-01-01", None),
        ];
        for (run, expected) in table {
            assert_eq!(number(run).as_deref(), expected, "{run}");
        }
    }
}
