//! OpenAI's Responses API, streamed or not.

use super::event::{Kind, Members, Tally, content_of, is_nothing};
use crate::json::{self, Fault, Lexer, Value};

/// Reads one event of a stream.
pub(super) fn event(tally: &mut Tally, members: &Members<'_>) -> Result<Kind, Fault> {
    match &*json::name(members.kind) {
        b"response.created" | b"response.queued" | b"response.in_progress" => {
            tally.model(Members::read(members.response)?.model);
        }
        b"response.output_text.delta" => tally.said(content_of(members.delta)),
        b"response.refusal.delta" => {
            tally.generated(content_of(members.delta));
            tally.notes.refusal();
        }
        b"response.output_item.added" => item_added(tally, members.item)?,
        b"response.completed" | b"response.incomplete" => {
            close(tally, members.response)?;
            return Ok(Kind::End);
        }
        b"response.failed" | b"response.cancelled" => {
            tally.failed();
            close(tally, members.response)?;
        }
        kind if kind.ends_with(b".delta") && !kind.ends_with(b"audio.delta") => {
            tally.generated(content_of(members.delta));
        }
        _ => {}
    }
    Ok(Kind::Plain)
}

/// Reads a complete answer.
pub(super) fn body(tally: &mut Tally, members: &Members<'_>) -> Result<(), Fault> {
    status(tally, members)?;
    let mut json = Lexer::new(members.output);
    if is_nothing(members.output) || json.value()? != Value::Array {
        return Ok(());
    }
    while json.item()? {
        item(tally, json.span()?)?;
    }
    Ok(())
}

/// The last event of a stream carries the whole response again.
fn close(tally: &mut Tally, span: &[u8]) -> Result<(), Fault> {
    tally.progress.done = true;
    tally.progress.finished = true;
    let response = Members::read(span)?;
    tally.model(response.model);
    tally.usage(response.usage);
    status(tally, &response)
}

fn status(tally: &mut Tally, response: &Members<'_>) -> Result<(), Fault> {
    match &*json::name(content_of(response.status)) {
        b"failed" | b"cancelled" => tally.failed(),
        b"incomplete" => {
            tally.ended(reason(response.incomplete)?);
        }
        b"completed" | b"" => {
            tally.ended(b"\"stop\"");
        }
        _ => {}
    }
    Ok(())
}

/// Why a response is incomplete; by its length, unless it says otherwise.
fn reason(span: &[u8]) -> Result<&[u8], Fault> {
    let mut json = Lexer::new(span);
    if is_nothing(span) || json.value()? != Value::Object {
        return Ok(b"\"max_output_tokens\"");
    }
    while let Some(name) = json.member()? {
        let value = json.span()?;
        if &*json::name(name) == b"reason" && !is_nothing(value) {
            return Ok(value);
        }
    }
    Ok(b"\"max_output_tokens\"")
}

fn item_added(tally: &mut Tally, span: &[u8]) -> Result<(), Fault> {
    if is_nothing(span) || !is_call(Members::read(span)?.kind) {
        return Ok(());
    }
    tally.notes.tool_call();
    let mut json = Lexer::new(span);
    json.value()?;
    while let Some(name) = json.member()? {
        let value = json.span()?;
        if &*json::name(name) == b"name" {
            tally.generated(content_of(value));
        }
    }
    Ok(())
}

/// Calls that the client is to make; the provider's own tools are no end of an answer.
fn is_call(kind: &[u8]) -> bool {
    matches!(
        &*json::name(kind),
        b"function_call" | b"custom_tool_call" | b"computer_call" | b"local_shell_call"
    )
}

fn item(tally: &mut Tally, span: &[u8]) -> Result<(), Fault> {
    let item = Members::read(span)?;
    if is_call(item.kind) {
        tally.notes.tool_call();
    }
    let mut json = Lexer::new(item.content);
    if item.kind != b"message" || is_nothing(item.content) || json.value()? != Value::Array {
        return Ok(());
    }
    while json.item()? {
        part(tally, &mut json)?;
    }
    Ok(())
}

fn part(tally: &mut Tally, json: &mut Lexer<'_>) -> Result<(), Fault> {
    let value = json.value()?;
    if value != Value::Object {
        return json.finish(value);
    }
    while let Some(name) = json.member()? {
        let span = json.span()?;
        match &*json::name(name) {
            b"text" => tally.said(content_of(span)),
            b"refusal" if !content_of(span).is_empty() => tally.notes.refusal(),
            _ => {}
        }
    }
    Ok(())
}
