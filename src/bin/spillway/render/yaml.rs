//! Values as YAML that every reader takes alike: YAML 1.1 (Kubernetes), 1.2, and Envoy's own mixture.

use serde_json::Value;

/// Lines longer than this become blocks.
const WIDTH: usize = 100;

/// What YAML 1.1 takes for a truth value, and Envoy too.
const TRUTHS: [&str; 8] = ["y", "n", "yes", "no", "on", "off", "true", "false"];

/// A text as a scalar: as it is where no reader takes it for anything else, else in double quotes.
pub(super) fn scalar(text: &str) -> String {
    match is_plain(text) {
        true => text.to_owned(),
        // JSON's strings are YAML's double-quoted scalars.
        false => Value::from(text).to_string(),
    }
}

/// Whether a reader of YAML 1.1 takes the plain word for something else than a text.
pub(super) fn is_ambiguous(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    TRUTHS.contains(&lower.as_str()) && !matches!(lower.as_str(), "true" | "false")
}

fn is_plain(text: &str) -> bool {
    let address = text.parse::<std::net::Ipv4Addr>().is_ok();
    let first = address || text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let rest = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_-./+@|".contains(&b));
    let lower = text.to_ascii_lowercase();
    first && rest && lower != "null" && !TRUTHS.contains(&lower.as_str())
}

/// A document's tree as a block, short collections in one line.
pub(super) fn block(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, member) in members {
                push_member(&mut out, &scalar(key), member, "");
            }
        }
        other => out = flow(other) + "\n",
    }
    out
}

fn push_member(out: &mut String, key: &str, value: &Value, indent: &str) {
    let short = flow(value);
    if indent.len() + key.len() + short.len() < WIDTH {
        out.push_str(&format!("{indent}{key}: {short}\n"));
        return;
    }
    let deeper = format!("{indent}  ");
    match value {
        Value::Object(members) => {
            out.push_str(&format!("{indent}{key}:\n"));
            for (key, member) in members {
                push_member(out, &scalar(key), member, &deeper);
            }
        }
        Value::Array(items) => {
            out.push_str(&format!("{indent}{key}:\n"));
            for item in items {
                push_item(out, item, &deeper);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&format!("{indent}{key}: {short}\n"));
        }
    }
}

fn push_item(out: &mut String, item: &Value, indent: &str) {
    let short = flow(item);
    let Value::Object(members) = item else {
        out.push_str(&format!("{indent}- {short}\n"));
        return;
    };
    if indent.len() + short.len() < WIDTH {
        out.push_str(&format!("{indent}- {short}\n"));
        return;
    }
    let deeper = format!("{indent}  ");
    let mut lines = String::new();
    for (key, member) in members {
        push_member(&mut lines, &scalar(key), member, &deeper);
    }
    // The first member stands behind the dash.
    out.push_str(&format!("{indent}- {}", lines.trim_start()));
}

fn flow(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(key, value)| format!("{}: {}", scalar(key), flow(value)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Value::String(text) => scalar(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{block, scalar};
    use crate::source;

    #[test]
    fn a_text_stays_a_text_for_every_reader() {
        for (text, expected) in [
            ("api.openai.com", "api.openai.com"),
            ("/v1/chat", "/v1/chat"),
            ("127.0.0.1", "127.0.0.1"),
            ("100k/min", "\"100k/min\""),
            ("on", "\"on\""),
            ("No", "\"No\""),
            ("null", "\"null\""),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("a: b", "\"a: b\""),
            ("1e3", "\"1e3\""),
            ("*", "\"*\""),
            ("é\n", "\"é\\n\""),
            ("outbound|443||a.b", "outbound|443||a.b"),
        ] {
            assert_eq!(scalar(text), expected);
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let long = "x".repeat(120);
        let document = json!({
            "version": 1, "none": null, "on": [503, "connect"], "*": {"chain": ["a/b"]},
            "limits": [{"name": long, "per": ["caller"], "deep": {"text": long, "empty": {}}}, [long, 2.5], "a"],
            "deep": {"deeper": {"text": long, "off": "no", "list": [], "1": -1}},
        });
        let text = block(&document);
        assert_eq!(source::yaml(&text), Ok(document), "{text}");
        assert!(text.contains("\"on\": [503, connect]"), "{text}");
    }
}
