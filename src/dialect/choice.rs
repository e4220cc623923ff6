//! What a request says about calling its tools: `tool_choice`, and `function_call` before it.

use crate::json::{self, Fault, Lexer, Value};
use crate::tokens::ToolChoice;

/// What it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice<'b> {
    /// How free the model is.
    pub(super) tool: ToolChoice,
    /// The tool that it must call, still escaped; empty when it isn't told.
    pub(super) name: &'b [u8],
    /// Whether it must call one.
    pub(super) forces: bool,
}

impl<'b> Choice<'b> {
    /// Reads the text of a JSON value.
    pub(super) fn read(span: &'b [u8]) -> Result<Self, Fault> {
        let mut json = Lexer::new(span);
        match json.value()? {
            Value::String(word) => Ok(Self::of(word, b"")),
            Value::Object => {
                let (mut kind, mut name) = (&b""[..], &b""[..]);
                members(&mut json, &mut kind, &mut name)?;
                Ok(Self::of(kind, name))
            }
            Value::Array | Value::Number(_) | Value::Bool(_) | Value::Null => Ok(Self::default()),
        }
    }

    fn of(kind: &[u8], name: &'b [u8]) -> Self {
        let tool = match &*json::name(kind) {
            b"none" => ToolChoice::None,
            b"required" | b"any" => ToolChoice::Any,
            b"tool" | b"function" | b"custom" if name.is_empty() => ToolChoice::Any,
            b"tool" | b"function" | b"custom" => ToolChoice::Named,
            b"" if !name.is_empty() => ToolChoice::Named,
            _ => ToolChoice::Auto,
        };
        let forces = matches!(tool, ToolChoice::Any | ToolChoice::Named);
        let name = if tool == ToolChoice::Named { name } else { b"" };
        Self { tool, name, forces }
    }
}

/// `type` and `name`; the latter may stand one deeper, in `function` or `custom`.
fn members<'b>(json: &mut Lexer<'b>, kind: &mut &'b [u8], name: &mut &'b [u8]) -> Result<(), Fault> {
    while let Some(member) = json.member()? {
        match &*json::name(member) {
            b"type" => super::prompt::string(json, kind)?,
            b"name" => super::prompt::string(json, name)?,
            b"function" | b"custom" => {
                let value = json.value()?;
                if value == Value::Object {
                    members(json, &mut &b""[..], name)?;
                } else {
                    json.finish(value)?;
                }
            }
            _ => json.skip()?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Choice, ToolChoice};

    #[test]
    fn each_protocol_says_it_in_its_own_way() {
        for (written, tool, name) in [
            (r#""auto""#, ToolChoice::Auto, ""),
            ("null", ToolChoice::Auto, ""),
            ("[]", ToolChoice::Auto, ""),
            (r#""none""#, ToolChoice::None, ""),
            (r#"{"type":"none"}"#, ToolChoice::None, ""),
            (r#""required""#, ToolChoice::Any, ""),
            (r#"{"type":"any"}"#, ToolChoice::Any, ""),
            (r#"{"type":"tool","name":"f"}"#, ToolChoice::Named, "f"),
            (r#"{"name":"f"}"#, ToolChoice::Named, "f"),
            (r#"{"type":"function","name":"f"}"#, ToolChoice::Named, "f"),
            (
                r#"{"function":{"name":"f"},"type":"function"}"#,
                ToolChoice::Named,
                "f",
            ),
            (
                r#"{"type":"custom","custom":{"name":"f","type":"x"}}"#,
                ToolChoice::Named,
                "f",
            ),
            (r#"{"type":"function","function":null}"#, ToolChoice::Any, ""),
            (r#"{"type":"auto","name":"f"}"#, ToolChoice::Auto, ""),
        ] {
            let choice = Choice::read(written.as_bytes()).unwrap();
            assert_eq!((choice.tool, choice.name), (tool, name.as_bytes()), "{written}");
            assert_eq!(
                choice.forces,
                matches!(tool, ToolChoice::Any | ToolChoice::Named),
                "{written}"
            );
        }
    }
}
