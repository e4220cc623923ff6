//! The schemas that a request carries: of its answer, and of every tool that it declares.
//!
//! Read on demand, in one pass over a body that was scanned already. Spans are raw JSON of the body, to be compiled
//! when an answer needs them. The invariant: at most [`Wanted::MAX_TOOLS`] are kept, each no longer than
//! [`Declared::MAX_SCHEMA`]; what is over is counted and has no schema.

use std::borrow::Cow;

use super::Endpoint;
use crate::json::{self, Fault, Lexer, Value};

/// What a request says of the form of its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted<'b> {
    /// The form of the assistant's text.
    pub format: Format<'b>,
    /// The tools it may call, in the order declared.
    pub tools: Vec<Declared<'b>>,
    /// Tools over the bound: their arguments can't be judged.
    pub tools_over: usize,
    /// The tool that must be called.
    pub choice: Choice<'b>,
}

/// The form of the assistant's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Format<'b> {
    /// Any text.
    #[default]
    Text,
    /// Any JSON object.
    Object,
    /// JSON that matches.
    Schema(Declared<'b>),
}

/// Which tools must be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice<'b> {
    /// None must.
    #[default]
    Auto,
    /// One, whichever.
    Any,
    /// This one.
    Named(Cow<'b, str>),
}

/// A schema with its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared<'b> {
    /// The tool's or format's name; empty when it has none.
    pub name: Cow<'b, str>,
    /// Its schema as it stands in the body; none when it has none, or one over [`Declared::MAX_SCHEMA`].
    pub schema: Option<&'b [u8]>,
    /// It has a schema, of more than [`Declared::MAX_SCHEMA`].
    pub over: bool,
    /// The provider was asked to hold to it.
    pub strict: bool,
}

impl Declared<'_> {
    /// Bytes of a schema. The largest that providers accept have about 120,000 characters, all tools together.
    pub const MAX_SCHEMA: usize = 128 * 1024;
}

impl<'b> Wanted<'b> {
    /// Tools that are told apart; providers allow 128.
    pub const MAX_TOOLS: usize = 1_024;

    /// The tool of this name; of several the last.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<&Declared<'b>> {
        self.tools.iter().rev().find(|tool| tool.name == name)
    }

    fn format(&mut self, span: &'b [u8]) -> Result<(), Fault> {
        let (kind, declared) = declared(span)?;
        match &*json::name(kind) {
            b"json_schema" => self.format = Format::Schema(declared),
            b"json_object" => self.format = Format::Object,
            _ => {}
        }
        Ok(())
    }

    fn tools(&mut self, span: &'b [u8]) -> Result<(), Fault> {
        each_item(span, |tool| {
            if self.tools.len() < Self::MAX_TOOLS {
                self.tools.push(declared(tool)?.1);
            } else {
                self.tools_over = self.tools_over.saturating_add(1);
            }
            Ok(())
        })
    }

    fn choice(&mut self, span: &'b [u8]) -> Result<(), Fault> {
        let (kind, declared) = declared(span)?;
        let word = if kind.is_empty() { content(span) } else { kind };
        self.choice = match &*json::name(word) {
            _ if !declared.name.is_empty() => Choice::Named(declared.name),
            b"required" | b"any" => Choice::Any,
            _ => Choice::Auto,
        };
        Ok(())
    }
}

/// Reads what a body that [`super::scan`] accepted wants of its answer.
///
/// # Errors
/// When it isn't JSON, or nests too deep.
pub fn wanted(endpoint: Endpoint, body: &[u8]) -> Result<Wanted<'_>, Fault> {
    let mut wanted = Wanted::default();
    if endpoint.generates() {
        each_member(body, |name, value| match name {
            b"response_format" | b"output_format" => wanted.format(value),
            b"text" | b"output_config" => each_member(value, |name, value| match name {
                b"format" => wanted.format(value),
                _ => Ok(()),
            }),
            b"tools" | b"functions" => wanted.tools(value),
            b"tool_choice" | b"function_call" => wanted.choice(value),
            _ => Ok(()),
        })?;
    }
    Ok(wanted)
}

/// A tool or a format in any of the protocols: its `type` and what it declares, in it or in the object inside it.
fn declared(span: &[u8]) -> Result<(&[u8], Declared<'_>), Fault> {
    let (mut kind, mut found) = (&b""[..], Declared::default());
    each_member(span, |name, value| {
        match name {
            b"type" => kind = content(value),
            b"function" | b"json_schema" | b"custom" => {
                each_member(value, |name, value| {
                    note(&mut found, name, value);
                    Ok(())
                })?;
            }
            _ => note(&mut found, name, value),
        }
        Ok(())
    })?;
    Ok((kind, found))
}

fn note<'b>(found: &mut Declared<'b>, name: &[u8], value: &'b [u8]) {
    match name {
        b"name" => found.name = json::text(content(value)),
        b"strict" => found.strict = value == b"true",
        b"parameters" | b"input_schema" | b"schema" if value != b"null" => {
            found.schema = Some(value).filter(|schema| schema.len() <= Declared::MAX_SCHEMA);
            found.over = found.schema.is_none();
        }
        _ => {}
    }
}

/// Calls `read` with the name and the span of each member; does nothing with what is no object.
pub(super) fn each_member<'b>(
    span: &'b [u8],
    mut read: impl FnMut(&[u8], &'b [u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut json = Lexer::new(span);
    if span.is_empty() || json.value()? != Value::Object {
        return Ok(());
    }
    while let Some(name) = json.member()? {
        let value = json.span()?;
        read(&json::name(name), value)?;
    }
    Ok(())
}

/// Calls `read` with the span of each item; does nothing with what is no array.
pub(super) fn each_item<'b>(
    span: &'b [u8],
    mut read: impl FnMut(&'b [u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut json = Lexer::new(span);
    if span.is_empty() || json.value()? != Value::Array {
        return Ok(());
    }
    while json.item()? {
        read(json.span()?)?;
    }
    Ok(())
}

/// The content of a string's span; empty for anything else.
pub(super) fn content(span: &[u8]) -> &[u8] {
    super::event::content_of(span)
}

#[cfg(test)]
mod tests {
    use super::{Choice, Declared, Endpoint, Format, Wanted, wanted};

    fn read(endpoint: Endpoint, body: &str) -> Wanted<'_> {
        wanted(endpoint, body.as_bytes()).unwrap()
    }

    fn declared<'s>(name: &'s str, schema: &'s str, strict: bool) -> Declared<'s> {
        Declared {
            name: name.into(),
            schema: Some(schema.as_bytes()),
            over: false,
            strict,
        }
    }

    #[test]
    fn each_protocol_says_its_schemas_in_its_own_place() {
        let chat = read(
            Endpoint::ChatCompletions,
            r#"{"response_format":{"type":"json_schema","json_schema":{"name":"o","strict":true,"schema":{"a":1}}},
            "tools":[{"type":"function","function":{"name":"f","parameters":{"b":2}}}],
            "tool_choice":{"type":"function","function":{"name":"f"}}}"#,
        );
        assert_eq!(chat.format, Format::Schema(declared("o", r#"{"a":1}"#, true)));
        assert_eq!(chat.tools, [declared("f", r#"{"b":2}"#, false)]);
        assert_eq!(chat.choice, Choice::Named("f".into()));

        let responses = read(
            Endpoint::Responses,
            r#"{"text":{"format":{"type":"json_schema","name":"o","schema":{"a":1},"strict":false}},
            "tools":[{"type":"function","name":"f","parameters":{"b":2},"strict":true}],"tool_choice":"required"}"#,
        );
        assert_eq!(
            responses.format,
            Format::Schema(declared("o", r#"{"a":1}"#, false))
        );
        assert_eq!(responses.tools, [declared("f", r#"{"b":2}"#, true)]);
        assert_eq!(responses.choice, Choice::Any);

        let messages = read(
            Endpoint::Messages,
            r#"{"tools":[{"name":"f","input_schema":{"b":2}},{"type":"bash_20250124","name":"bash"}],
            "tool_choice":{"type":"tool","name":"f"},"output_config":{"format":{"type":"json_schema","schema":{}}}}"#,
        );
        assert_eq!(messages.tool("f"), Some(&declared("f", r#"{"b":2}"#, false)));
        assert_eq!(messages.tool("bash").unwrap().schema, None);
        assert_eq!(messages.choice, Choice::Named("f".into()));
        assert_eq!(messages.format, Format::Schema(declared("", "{}", false)));
    }

    #[test]
    fn what_asks_for_nothing_wants_nothing() {
        let bodies = [
            "{}",
            r#"{"response_format":{"type":"text"},"tools":null,"tool_choice":"auto"}"#,
            r#"{"text":"x","tools":"x","tool_choice":7,"response_format":[]}"#,
        ];
        for body in bodies {
            assert_eq!(read(Endpoint::ChatCompletions, body), Wanted::default(), "{body}");
        }
        let object = read(
            Endpoint::ChatCompletions,
            r#"{"response_format":{"type":"json_object"}}"#,
        );
        assert_eq!(object.format, Format::Object);
    }

    #[test]
    fn many_tools_and_large_schemas_are_bounded() {
        let tool = r#"{"type":"function","function":{"name":"f","parameters":{}}},"#;
        let body = format!(r#"{{"tools":[{}null]}}"#, tool.repeat(2_000));
        let many = read(Endpoint::ChatCompletions, &body);
        assert_eq!((many.tools.len(), many.tools_over), (1_024, 977));
        let body = format!(
            r#"{{"tools":[{{"name":"f","input_schema":{{"enum":[{}1]}}}}]}}"#,
            "1,".repeat(100_000)
        );
        let tool = &read(Endpoint::Messages, &body).tools[0];
        assert!(tool.schema.is_none() && tool.over);
        let deep = format!(r#"{{"tools":{}"#, "[".repeat(10_000));
        assert!(wanted(Endpoint::Messages, deep.as_bytes()).is_err());
    }
}
