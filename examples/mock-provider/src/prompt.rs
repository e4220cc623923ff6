//! What a generation request asks for, as far as the dialects ask alike.

use serde_json::Value;

use crate::fault::Fault;

const CONTENT: &str = "Water finds its way; a spillway says which. This answer comes from the mock provider.";

/// The facts that shape an answer.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) model: String,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) choices: u64,
    /// The first tool on offer, when the answer should call it.
    pub(crate) tool: Option<String>,
    /// The text to answer with, or the arguments of the tool call.
    pub(crate) content: String,
    /// A refusal instead of an answer.
    pub(crate) refusal: Option<String>,
    /// Why it ended, when the fault says so.
    pub(crate) finish: Option<String>,
    pub(crate) usage: Usage,
    /// In how many pieces a stream sends the content.
    pub(crate) pieces: usize,
}

/// Tokens as the answer will state them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) cached: u64,
}

impl Prompt {
    /// Reads the request's JSON in the light of what should be different.
    pub(crate) fn new(asked: &Value, fault: &Fault) -> Self {
        let tool = called_tool(asked);
        let content = fault
            .text("content")
            .map_or_else(|| default_content(asked, tool.is_some()), str::to_owned);
        let choices = asked.get("n").and_then(Value::as_u64).unwrap_or(1).clamp(1, 128);
        Self {
            model: asked
                .get("model")
                .and_then(Value::as_str)
                .unwrap_or("unknown")
                .to_owned(),
            stream: asked.get("stream").and_then(Value::as_bool).unwrap_or(false),
            include_usage: asked.pointer("/stream_options/include_usage") == Some(&Value::Bool(true)),
            choices,
            tool,
            refusal: fault.text("refusal").map(str::to_owned),
            finish: fault.text("finish").map(str::to_owned),
            usage: stated(fault).unwrap_or_else(|| counted(asked, &content, choices)),
            pieces: fault
                .number("events")
                .and_then(|n| n.try_into().ok())
                .unwrap_or(5),
            content,
        }
    }

    /// The content cut into `pieces` parts; repeated while there are more parts than characters.
    pub(crate) fn parts(&self) -> Vec<String> {
        let pieces = self.pieces.clamp(1, 100_000);
        let letters: Vec<char> = self.content.chars().collect();
        if letters.len() < pieces {
            return vec![self.content.clone(); pieces];
        }
        let bound = |piece: usize| letters.len() * piece / pieces;
        let part = |piece: usize| {
            letters
                .get(bound(piece)..bound(piece + 1))
                .unwrap_or_default()
                .iter()
                .collect()
        };
        (0..pieces).map(part).collect()
    }
}

/// The first tool's name, unless its result is already there or tools are off.
fn called_tool(asked: &Value) -> Option<String> {
    let off = asked.get("tool_choice").and_then(Value::as_str) == Some("none");
    if off || has_tool_result(asked) {
        return None;
    }
    let tool = asked.pointer("/tools/0")?;
    let name = tool.pointer("/function/name").or_else(|| tool.get("name"))?;
    name.as_str().map(str::to_owned)
}

fn has_tool_result(asked: &Value) -> bool {
    let turns = asked
        .get("messages")
        .or_else(|| asked.get("input"))
        .and_then(Value::as_array);
    let Some(last) = turns.and_then(|turns| turns.last()) else {
        return false;
    };
    let kind = last
        .pointer("/content/0/type")
        .or_else(|| last.get("type"))
        .and_then(Value::as_str);
    last.get("role").and_then(Value::as_str) == Some("tool")
        || matches!(kind, Some("tool_result" | "function_call_output"))
}

fn default_content(asked: &Value, calls_a_tool: bool) -> String {
    let structured = asked
        .get("response_format")
        .or_else(|| asked.pointer("/text/format"));
    match (calls_a_tool, structured) {
        (true, _) => r#"{"city":"Bern"}"#.to_owned(),
        (false, Some(_)) => r#"{"id":"42"}"#.to_owned(),
        (false, None) => CONTENT.to_owned(),
    }
}

/// `in,out` or `in,out,cached`.
fn stated(fault: &Fault) -> Option<Usage> {
    let mut numbers = fault
        .text("usage")?
        .split(',')
        .map(|number| number.trim().parse().ok());
    let (input, output) = (numbers.next()??, numbers.next()??);
    Some(Usage {
        input,
        output,
        cached: numbers.next().flatten().unwrap_or(0),
    })
}

/// A quarter of the letters, roughly: what matters is that it is the same every time.
fn counted(asked: &Value, content: &str, choices: u64) -> Usage {
    let prompt = ["messages", "input", "prompt", "system"]
        .iter()
        .filter_map(|key| asked.get(key))
        .map(letters);
    let quarter = |letters: u64| letters.div_ceil(4).max(1);
    let output = quarter(u64::try_from(content.len()).unwrap_or(0)).saturating_mul(choices);
    Usage {
        input: quarter(prompt.sum()),
        output,
        cached: 0,
    }
}

fn letters(value: &Value) -> u64 {
    match value {
        Value::String(text) => u64::try_from(text.len()).unwrap_or(0),
        Value::Array(items) => items.iter().map(letters).sum(),
        Value::Object(fields) => fields.values().map(letters).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn prompt(asked: &Value, fault: &Value) -> Prompt {
        Prompt::new(asked, &Fault::from_json(fault).unwrap())
    }

    #[test]
    fn the_parts_of_a_content_are_the_content() {
        let prompt = prompt(&json!({}), &json!({"content": "häuser am see", "events": 4}));
        assert_eq!(
            (prompt.parts().len(), prompt.parts().concat()),
            (4, "häuser am see".to_owned())
        );
    }

    #[test]
    fn a_tool_is_called_until_its_result_is_there() {
        let tools = json!([{"type": "function", "function": {"name": "weather"}}]);
        let first = json!({"tools": tools, "messages": [{"role": "user", "content": "?"}]});
        let second = json!({"tools": tools, "messages": [{"role": "tool", "content": "rain"}]});
        assert_eq!(prompt(&first, &json!({})).tool.as_deref(), Some("weather"));
        assert_eq!(prompt(&second, &json!({})).tool, None);
    }

    #[test]
    fn stated_usage_is_used_as_it_is() {
        let usage = prompt(&json!({}), &json!({"usage": "30,20"})).usage;
        assert_eq!(
            usage,
            Usage {
                input: 30,
                output: 20,
                cached: 0
            }
        );
    }
}
