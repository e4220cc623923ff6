//! A request once more: its conversation, what the assistant said to it, and what was wrong with that.
//!
//! The turns are put in where the conversation ends; everything else of the body stays as the client wrote it. The
//! invariant: what a provider refuses a whole request for (an empty turn, a call without its result, arguments that
//! are no object) is never written, whatever the assistant said.

use core::ops::Range;

use serde_json::{Value, json};

use super::Endpoint;
use super::calls::Call;
use crate::json::{self, Lexer};

/// What the assistant said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its words.
    pub text: String,
    /// The tools that it called.
    pub calls: Vec<Call>,
}

/// The client's request with what was said to it, and `wrong`, what was wrong with that. None where nothing can follow
/// a prompt (completions), or no conversation stands in the body.
#[must_use]
pub fn corrected(endpoint: Endpoint, body: &[u8], said: &Said, wrong: &str) -> Option<Vec<u8>> {
    let (member, turns) = match endpoint {
        Endpoint::ChatCompletions => ("messages", chat(said, wrong)),
        Endpoint::Responses => ("input", responses(said, wrong)),
        Endpoint::Messages => ("messages", messages(said, wrong)),
        Endpoint::Completions | Endpoint::Embeddings | Endpoint::GenerateContent => return None,
    };
    followed_by(body, find(body, member)?, &turns)
}

/// Where the value of a member of the body stands.
fn find(body: &[u8], member: &str) -> Option<Range<usize>> {
    let mut json = Lexer::new(body);
    if json.value().ok()? != json::Value::Object {
        return None;
    }
    while let Some(name) = json.member().ok()? {
        let found = *json::name(name) == *member.as_bytes();
        let value = json.span().ok()?;
        if found {
            let end = json.offset();
            return Some(end.checked_sub(value.len())?..end);
        }
    }
    None
}

/// The body with `turns` after the last of an array; a text stands for the user's one turn.
fn followed_by(body: &[u8], at: Range<usize>, turns: &[Value]) -> Option<Vec<u8>> {
    let value = body.get(at.clone())?;
    let mut out = body.get(..at.start)?.to_vec();
    let inside = value.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    out.push(b'[');
    let some = match inside {
        Some(inside) => {
            let inside = inside.trim_ascii();
            out.extend_from_slice(inside);
            !inside.is_empty()
        }
        None if value.starts_with(b"\"") => {
            out.extend_from_slice(b"{\"role\":\"user\",\"content\":");
            out.extend_from_slice(value);
            out.push(b'}');
            true
        }
        None => return None,
    };
    for (index, turn) in turns.iter().enumerate() {
        if some || index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(turn.to_string().as_bytes());
    }
    out.push(b']');
    out.extend_from_slice(body.get(at.end..)?);
    Some(out)
}

/// Ids of calls belong to this request alone: each result names the call that stands before it.
fn id(index: usize) -> String {
    format!("call_{}", index.saturating_add(1))
}

/// Arguments that are no object some providers can't read at all.
fn arguments(call: &Call) -> Value {
    let read = serde_json::from_str::<Value>(&call.arguments).ok();
    read.filter(Value::is_object).unwrap_or_else(|| json!({}))
}

/// Every call wants a result; what was wrong is said once.
fn result(index: usize, wrong: &str) -> &str {
    if index == 0 { wrong } else { "Not called either." }
}

fn is_silent(said: &Said) -> bool {
    said.text.trim().is_empty()
}

fn chat(said: &Said, wrong: &str) -> Vec<Value> {
    if said.calls.is_empty() {
        return in_words(said, wrong);
    }
    let call = |(index, call): (usize, &Call)| {
        let function = json!({"name": call.name, "arguments": arguments(call).to_string()});
        json!({"id": id(index), "type": "function", "function": function})
    };
    let calls: Vec<Value> = said.calls.iter().enumerate().map(call).collect();
    let content = (!is_silent(said)).then_some(said.text.as_str());
    let turn = json!({"role": "assistant", "content": content, "tool_calls": calls});
    let results = (0..said.calls.len())
        .map(|index| json!({"role": "tool", "tool_call_id": id(index), "content": result(index, wrong)}));
    core::iter::once(turn).chain(results).collect()
}

fn in_words(said: &Said, wrong: &str) -> Vec<Value> {
    let turn = (!is_silent(said)).then(|| json!({"role": "assistant", "content": said.text}));
    turn.into_iter()
        .chain([json!({"role": "user", "content": wrong})])
        .collect()
}

fn responses(said: &Said, wrong: &str) -> Vec<Value> {
    if said.calls.is_empty() {
        return in_words(said, wrong);
    }
    let turn = (!is_silent(said)).then(|| json!({"role": "assistant", "content": said.text}));
    let calls = said.calls.iter().enumerate().map(|(index, call)| {
        json!({"type": "function_call", "call_id": id(index), "name": call.name,
            "arguments": arguments(call).to_string()})
    });
    let results = (0..said.calls.len()).map(
        |index| json!({"type": "function_call_output", "call_id": id(index), "output": result(index, wrong)}),
    );
    turn.into_iter().chain(calls).chain(results).collect()
}

fn messages(said: &Said, wrong: &str) -> Vec<Value> {
    if said.calls.is_empty() {
        return in_words(said, wrong);
    }
    let text = (!is_silent(said)).then(|| json!({"type": "text", "text": said.text}));
    let uses = said.calls.iter().enumerate().map(
        |(index, call)| json!({"type": "tool_use", "id": id(index), "name": call.name, "input": arguments(call)}),
    );
    let blocks: Vec<Value> = text.into_iter().chain(uses).collect();
    let results: Vec<Value> = (0..said.calls.len())
        .map(|index| {
            json!({"type": "tool_result", "tool_use_id": id(index), "is_error": true,
                "content": result(index, wrong)})
        })
        .collect();
    vec![
        json!({"role": "assistant", "content": blocks}),
        json!({"role": "user", "content": results}),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRONG: &str = "wrong: /id (type)";

    fn said(text: &str, calls: &[(&str, &str)]) -> Said {
        let call = |(name, arguments): &(&str, &str)| Call {
            name: (*name).to_owned(),
            arguments: (*arguments).to_owned(),
        };
        Said {
            text: text.to_owned(),
            calls: calls.iter().map(call).collect(),
        }
    }

    fn read(endpoint: Endpoint, body: &str, said: &Said) -> Value {
        let body = corrected(endpoint, body.as_bytes(), said, WRONG).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn a_conversation_goes_on_with_the_bad_answer_and_what_was_wrong() {
        let bad = said("{\"id\":\"x\"}", &[]);
        let turns = |first| json!([first, {"role": "assistant", "content": "{\"id\":\"x\"}"}, {"role": "user", "content": WRONG}]);
        let asked = json!({"role": "user", "content": "a"});
        for endpoint in [Endpoint::ChatCompletions, Endpoint::Messages] {
            let body = r#"{"model":"m", "messages" : [ {"role":"user","content":"a"} ] ,"n":1}"#;
            let found = read(endpoint, body, &bad);
            assert_eq!(
                found,
                json!({"model": "m", "messages": turns(asked.clone()), "n": 1})
            );
        }
        for input in [r#""a""#, r#"[{"role":"user","content":"a"}]"#] {
            let found = read(Endpoint::Responses, &format!("{{\"input\":{input}}}"), &bad);
            assert_eq!(found["input"], turns(asked.clone()), "{input}");
        }
    }

    #[test]
    fn every_call_has_its_result_and_arguments_that_can_be_read() {
        let bad = said("", &[("a", "{\"n\": 1}"), ("b", "[1"), ("c", "[1]")]);
        let found = read(Endpoint::ChatCompletions, r#"{"messages":[{}]}"#, &bad);
        let turn = &found["messages"][1];
        assert_eq!(turn["content"], Value::Null);
        let arguments: Vec<_> = (0..3)
            .map(|i| turn["tool_calls"][i]["function"]["arguments"].clone())
            .collect();
        assert_eq!(arguments, [r#"{"n":1}"#, "{}", "{}"]);
        for index in 0..3 {
            let result = &found["messages"][2 + index];
            assert_eq!(result["tool_call_id"], turn["tool_calls"][index]["id"]);
            assert_eq!(result["content"] == WRONG, index == 0);
        }
        let found = read(Endpoint::Messages, r#"{"messages":[]}"#, &bad);
        assert_eq!(found["messages"][0]["content"][0]["input"], json!({"n": 1}));
        assert_eq!(found["messages"][1]["content"][2]["tool_use_id"], "call_3");
        let found = read(Endpoint::Responses, r#"{"input":"a"}"#, &bad);
        let kinds: Vec<_> = (1..7).map(|i| found["input"][i]["type"].clone()).collect();
        assert_eq!(kinds[..3], ["function_call"; 3]);
        assert_eq!(kinds[3..], ["function_call_output"; 3]);
        assert_eq!(found["input"][6]["call_id"], found["input"][3]["call_id"]);
    }

    #[test]
    fn silence_is_no_turn() {
        for text in ["", " \n"] {
            let found = read(Endpoint::Messages, r#"{"messages":[{}]}"#, &said(text, &[]));
            assert_eq!(found["messages"], json!([{}, {"role": "user", "content": WRONG}]));
        }
    }

    #[test]
    fn what_holds_no_conversation_is_not_corrected() {
        let none =
            |endpoint, body: &str| corrected(endpoint, body.as_bytes(), &said("a", &[]), WRONG).is_none();
        assert!(none(Endpoint::Completions, r#"{"prompt":"a"}"#));
        assert!(none(Endpoint::Responses, r#"{"prompt":{"id":"p"}}"#));
        assert!(none(Endpoint::Responses, r#"{"input":3}"#));
        assert!(none(Endpoint::ChatCompletions, "[1"));
    }
}
