//! Gemini's answers, streamed or not: an event is an answer that holds what is new and the usage so far
//! (<https://ai.google.dev/api/generate-content>). A stream has no other end than that of its last answer.

use super::event::{Kind, Members, Tally, content_of, is_nothing};
use crate::json::{self, Fault, Lexer, Value};

/// Reads one event of a stream.
pub(super) fn event(tally: &mut Tally, members: &Members<'_>) -> Result<Kind, Fault> {
    tally.model(members.model_version);
    tally.usage(members.usage_metadata);
    let finished = tally.progress.finished;
    body(tally, members)?;
    tally.progress.done |= tally.progress.finished;
    let ends = tally.progress.finished && !finished;
    Ok(if ends { Kind::End } else { Kind::Plain })
}

/// Reads a complete answer.
pub(super) fn body(tally: &mut Tally, members: &Members<'_>) -> Result<(), Fault> {
    if !is_nothing(members.prompt_feedback) {
        feedback(tally, members.prompt_feedback)?;
    }
    let mut json = Lexer::new(members.candidates);
    if is_nothing(members.candidates) || json.value()? != Value::Array {
        return Ok(());
    }
    while json.item()? {
        candidate(tally, &mut json)?;
    }
    Ok(())
}

/// A prompt that is blocked gets no answer but this.
fn feedback(tally: &mut Tally, span: &[u8]) -> Result<(), Fault> {
    let mut json = Lexer::new(span);
    if json.value()? != Value::Object {
        return Ok(());
    }
    while let Some(name) = json.member()? {
        let value = json.span()?;
        if &*json::name(name) == b"blockReason" && !content_of(value).is_empty() {
            tally.ended(br#""SAFETY""#);
        }
    }
    Ok(())
}

fn candidate(tally: &mut Tally, json: &mut Lexer<'_>) -> Result<(), Fault> {
    let value = json.value()?;
    if value != Value::Object {
        return json.finish(value);
    }
    let (mut index, mut reason) = (0, &b""[..]);
    while let Some(name) = json.member()? {
        match &*json::name(name) {
            b"index" => index = json::unsigned(json.span()?).unwrap_or(0),
            b"finishReason" => reason = json.span()?,
            b"content" => content(tally, json)?,
            _ => json.skip()?,
        }
    }
    tally.notes.choice(index);
    tally.ended(reason);
    Ok(())
}

fn content(tally: &mut Tally, json: &mut Lexer<'_>) -> Result<(), Fault> {
    let value = json.value()?;
    if value != Value::Object {
        return json.finish(value);
    }
    while let Some(name) = json.member()? {
        match &*json::name(name) {
            b"parts" => parts(tally, json)?,
            _ => json.skip()?,
        }
    }
    Ok(())
}

fn parts(tally: &mut Tally, json: &mut Lexer<'_>) -> Result<(), Fault> {
    let value = json.value()?;
    if value != Value::Array {
        return json.finish(value);
    }
    while json.item()? {
        part(tally, json)?;
    }
    Ok(())
}

/// A text, a thought or a call, whose arguments count as they are written.
fn part(tally: &mut Tally, json: &mut Lexer<'_>) -> Result<(), Fault> {
    let value = json.value()?;
    if value != Value::Object {
        return json.finish(value);
    }
    let (mut text, mut thought) = (&b""[..], false);
    while let Some(name) = json.member()? {
        match &*json::name(name) {
            b"text" => text = content_of(json.span()?),
            b"thought" => thought = json.span()? == b"true",
            b"functionCall" => {
                tally.notes.tool_call();
                tally.generated(json.span()?);
            }
            _ => json.skip()?,
        }
    }
    if thought {
        tally.generated(text);
    } else {
        tally.said(text);
    }
    Ok(())
}
