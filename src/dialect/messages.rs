//! Anthropic's messages, streamed or not.
//!
//! In a stream the input's tokens come with `message_start`, the output's with each `message_delta`, as a running total
//! (<https://docs.anthropic.com/en/docs/build-with-claude/streaming>).

use super::event::{Kind, Members, Tally, content_of, is_nothing};
use crate::json::{self, Fault, Lexer, Value};

/// Reads one event of a stream.
pub(super) fn event(tally: &mut Tally, members: &Members<'_>) -> Result<Kind, Fault> {
    match &*json::name(members.kind) {
        b"message_start" => {
            let message = Members::read(members.message)?;
            tally.model(message.model);
            tally.usage(message.usage);
        }
        b"content_block_start" => block(tally, members.content_block)?,
        b"content_block_delta" => block(tally, members.delta)?,
        b"message_delta" => {
            tally.usage(members.usage);
            if !is_nothing(members.delta) && tally.ended(Members::read(members.delta)?.stop_reason) {
                return Ok(Kind::End);
            }
        }
        b"message_stop" => {
            tally.progress.done = true;
            return Ok(Kind::End);
        }
        _ => {}
    }
    Ok(Kind::Plain)
}

/// Reads a complete answer.
pub(super) fn body(tally: &mut Tally, members: &Members<'_>) -> Result<(), Fault> {
    tally.ended(members.stop_reason);
    let mut json = Lexer::new(members.content);
    if is_nothing(members.content) || json.value()? != Value::Array {
        return Ok(());
    }
    while json.item()? {
        block(tally, json.span()?)?;
    }
    Ok(())
}

/// A content block, or a piece of one. Of a tool call, a complete block holds its name and input, a piece some of the
/// input's text.
fn block(tally: &mut Tally, span: &[u8]) -> Result<(), Fault> {
    let mut json = Lexer::new(span);
    if is_nothing(span) || json.value()? != Value::Object {
        return Ok(());
    }
    while let Some(name) = json.member()? {
        let value = json.span()?;
        match &*json::name(name) {
            b"text" => tally.said(content_of(value)),
            b"thinking" | b"partial_json" | b"name" => tally.generated(content_of(value)),
            b"type" if content_of(value) == b"tool_use" => tally.notes.tool_call(),
            _ => {}
        }
    }
    Ok(())
}
