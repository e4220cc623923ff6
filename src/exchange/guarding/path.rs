//! Where in a body something was found, without saying what.
//!
//! The invariant: nothing of a body is told but names that its protocol gave it.

use crate::json::{self, Fault, Lexer, Value};

/// Names that may be told; others are `*`.
const KNOWN: [&str; 44] = [
    "arguments",
    "args",
    "choices",
    "cited_text",
    "content",
    "content_block",
    "custom",
    "delta",
    "description",
    "function",
    "function_call",
    "functions",
    "id",
    "input",
    "input_schema",
    "instructions",
    "item",
    "json_schema",
    "message",
    "messages",
    "metadata",
    "name",
    "output",
    "parameters",
    "part",
    "partial_json",
    "prediction",
    "prompt",
    "reasoning",
    "reasoning_content",
    "refusal",
    "response",
    "response_format",
    "schema",
    "source",
    "stop",
    "summary",
    "system",
    "text",
    "thinking",
    "title",
    "tool_calls",
    "tools",
    "user",
];

/// The path of the string with the byte at this offset: `messages[0].content`.
pub(super) fn path(body: &[u8], offset: usize) -> String {
    let mut path = String::new();
    let found = seek(&mut Lexer::new(body), offset, &mut path);
    match found {
        Ok(true) => path,
        Ok(false) | Err(_) => "*".to_owned(),
    }
}

fn seek(json: &mut Lexer<'_>, offset: usize, path: &mut String) -> Result<bool, Fault> {
    let outside = path.len();
    match json.value()? {
        Value::Object => {
            while let Some(name) = json.member()? {
                push(path, &json::name(name));
                if json.offset() > offset || seek(json, offset, path)? {
                    return Ok(true);
                }
                path.truncate(outside);
            }
        }
        Value::Array => {
            let mut index = 0u32;
            while json.item()? {
                path.push_str(&format!("[{index}]"));
                if seek(json, offset, path)? {
                    return Ok(true);
                }
                path.truncate(outside);
                index = index.saturating_add(1);
            }
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
    Ok(json.offset() > offset)
}

fn push(path: &mut String, name: &[u8]) {
    let known = KNOWN.iter().find(|known| known.as_bytes() == name);
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(known.unwrap_or(&"*"));
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn a_path_leads_to_the_string_and_tells_no_strange_name() {
        let body = r#"{"model":"m","messages":[{"content":"a"},{"content":[{"text":"HERE"}]}],"x":1}"#;
        let at = body.find("HERE").unwrap();
        assert_eq!(path(body.as_bytes(), at), "messages[1].content[0].text");
        let body = r#"{"metadata":{"a@b.co":{"HERE":"x"}},"user":"THERE"}"#;
        assert_eq!(path(body.as_bytes(), body.find("HERE").unwrap()), "metadata.*.*");
        assert_eq!(path(body.as_bytes(), body.find("THERE").unwrap()), "user");
        assert_eq!(path(b"no json", 2), "*");
    }
}
