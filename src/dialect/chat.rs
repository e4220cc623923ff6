//! OpenAI's chat completions and completions, streamed or not: everything is in `choices`.

use super::event::{Kind, Members, Tally, content_of, is_nothing};
use crate::json::{self, Fault, Lexer, Value};

/// Reads one chunk of a stream.
pub(super) fn event(tally: &mut Tally, members: &Members<'_>) -> Result<Kind, Fault> {
    tally.model(members.model);
    tally.usage(members.usage);
    let finished = tally.progress.finished;
    choices(tally, members.choices)?;
    if tally.progress.finished && !finished {
        return Ok(Kind::End);
    }
    if is_note(members) {
        return Ok(Kind::Note);
    }
    let bare = !is_nothing(members.usage) && !members.has_error() && is_empty(members.choices)?;
    Ok(if bare { Kind::UsageOnly } else { Kind::Plain })
}

/// Azure's verdicts of a content filter come in events that call themselves nothing: one without choices before the answer,
/// others without a delta after it (<https://learn.microsoft.com/azure/ai-services/openai/concepts/content-streaming>).
fn is_note(members: &Members<'_>) -> bool {
    members.object == b"\"\"" && is_nothing(members.usage) && !members.has_error()
}

/// Reads the span of a `choices` array.
pub(super) fn choices(tally: &mut Tally, span: &[u8]) -> Result<(), Fault> {
    let mut json = Lexer::new(span);
    if is_nothing(span) || json.value()? != Value::Array {
        return Ok(());
    }
    while json.item()? {
        choice(tally, &mut json)?;
    }
    Ok(())
}

/// Reads a whole answer in one go, its choices as they come; answers its other outermost members. None where it has
/// choices twice, of which the last would count.
pub(super) fn whole<'d>(tally: &mut Tally, body: &'d [u8]) -> Result<Option<Members<'d>>, Fault> {
    let mut json = Lexer::new(body);
    let mut members = Members::default();
    let mut read = false;
    if json.value()? != Value::Object {
        return Err(Fault::Syntax { at: 0 });
    }
    while let Some(name) = json.member()? {
        let name = json::name(name);
        if *name == *b"choices" {
            if read {
                return Ok(None);
            }
            read = true;
            within(tally, &mut json)?;
        } else {
            let span = json.span()?;
            members.put(&name, span);
        }
    }
    json.end()?;
    Ok(Some(members))
}

fn within(tally: &mut Tally, json: &mut Lexer<'_>) -> Result<(), Fault> {
    let value = json.value()?;
    if value != Value::Array {
        return json.finish(value);
    }
    while json.item()? {
        choice(tally, json)?;
    }
    Ok(())
}

fn is_empty(span: &[u8]) -> Result<bool, Fault> {
    if is_nothing(span) {
        return Ok(true);
    }
    let mut json = Lexer::new(span);
    Ok(json.value()? == Value::Array && !json.item()?)
}

fn choice(tally: &mut Tally, json: &mut Lexer<'_>) -> Result<(), Fault> {
    let value = json.value()?;
    if value != Value::Object {
        return json.finish(value);
    }
    let (mut index, mut reason) = (0, &b""[..]);
    while let Some(name) = json.member()? {
        match &*json::name(name) {
            b"index" => index = json::unsigned(json.span()?).unwrap_or(0),
            b"finish_reason" => reason = json.span()?,
            b"text" => tally.said(content_of(json.span()?)),
            b"delta" | b"message" => message(tally, json)?,
            _ => json.skip()?,
        }
    }
    tally.notes.choice(index);
    tally.ended(reason);
    Ok(())
}

fn message(tally: &mut Tally, json: &mut Lexer<'_>) -> Result<(), Fault> {
    let value = json.value()?;
    if value != Value::Object {
        return json.finish(value);
    }
    while let Some(name) = json.member()? {
        match &*json::name(name) {
            b"content" => content(tally, json)?,
            b"refusal" => refusal(tally, content_of(json.span()?)),
            b"reasoning_content" | b"reasoning" | b"thinking" => tally.generated(content_of(json.span()?)),
            b"tool_calls" => tool_calls(tally, json)?,
            b"function_call" => call(tally, json)?,
            _ => json.skip()?,
        }
    }
    Ok(())
}

/// A string; some imitators send parts.
fn content(tally: &mut Tally, json: &mut Lexer<'_>) -> Result<(), Fault> {
    match json.value()? {
        Value::String(raw) => tally.said(raw),
        Value::Array => {
            while json.item()? {
                part(tally, json)?;
            }
        }
        other @ (Value::Object | Value::Number(_) | Value::Bool(_) | Value::Null) => json.finish(other)?,
    }
    Ok(())
}

fn part(tally: &mut Tally, json: &mut Lexer<'_>) -> Result<(), Fault> {
    let value = json.value()?;
    if value != Value::Object {
        return json.finish(value);
    }
    while let Some(name) = json.member()? {
        match &*json::name(name) {
            b"text" => tally.said(content_of(json.span()?)),
            _ => json.skip()?,
        }
    }
    Ok(())
}

fn refusal(tally: &mut Tally, raw: &[u8]) {
    if !raw.is_empty() {
        tally.generated(raw);
        tally.notes.refusal();
    }
}

fn tool_calls(tally: &mut Tally, json: &mut Lexer<'_>) -> Result<(), Fault> {
    let value = json.value()?;
    if value != Value::Array {
        return json.finish(value);
    }
    while json.item()? {
        call(tally, json)?;
    }
    Ok(())
}

/// A call, or the `function` inside it; pieces of its name and arguments.
fn call(tally: &mut Tally, json: &mut Lexer<'_>) -> Result<(), Fault> {
    let value = json.value()?;
    if value != Value::Object {
        return json.finish(value);
    }
    tally.notes.tool_call();
    while let Some(name) = json.member()? {
        match &*json::name(name) {
            b"function" | b"custom" => call(tally, json)?,
            b"name" | b"arguments" | b"input" => tally.generated(content_of(json.span()?)),
            _ => json.skip()?,
        }
    }
    Ok(())
}
