//! Reads a complete answer.

use std::borrow::Cow;

use super::super::Untranslatable;
use super::super::conversation::{Call, Part};
use super::super::node::{Node, must, need};
use super::super::reply::{Reply, Stop};
use super::OUTPUT_TOOL;
use crate::dialect::{Endpoint, Report, Usage};

/// Reads the body.
pub(in super::super) fn read(body: Node<'_>) -> Result<Reply<'_>, Untranslatable> {
    let content = need(body.member("content"), "content")?;
    let mut parts = Vec::new();
    for item in content.need_items("content")? {
        parts.extend(block(item)?);
    }
    let reason = body.text_of("stop_reason").unwrap_or_default();
    let stop = stop(&reason, body.text_of("stop_sequence"));
    let called = parts.iter().any(|part| matches!(part, Part::Call(_)));
    Ok(Reply {
        stop: stop.given(called),
        parts,
        usage: body.member("usage").and_then(usage),
    })
}

fn usage(value: Node<'_>) -> Option<Usage> {
    let mut report = Report::default();
    report.read(value.raw()).ok()?;
    report.usage(Endpoint::Messages).ok()
}

/// What a stop reason means.
pub(super) fn stop<'a>(reason: &str, sequence: Option<Cow<'a, str>>) -> Stop<'a> {
    match reason {
        "stop_sequence" => Stop::Sequence(sequence),
        "max_tokens" | "model_context_window_exceeded" | "pause_turn" => Stop::Length,
        "tool_use" => Stop::Tools,
        "refusal" => Stop::Refused,
        _ => Stop::End,
    }
}

/// A block; none for thoughts and for what Anthropic's own tools did.
fn block(item: Node<'_>) -> Result<Option<Part<'_>>, Untranslatable> {
    item.need_members("content[]")?;
    match item.text_of("type").as_deref() {
        Some("text") => Ok(item
            .text_of("text")
            .filter(|text| !text.is_empty())
            .map(Part::Text)),
        Some("tool_use") => call(item).map(Some),
        Some(_) | None => Ok(None),
    }
}

fn call(item: Node<'_>) -> Result<Part<'_>, Untranslatable> {
    let name = need(item.text_of("name"), "content[].name")?;
    let input = item.member("input").map_or(&b"{}"[..], Node::raw);
    if name == OUTPUT_TOOL {
        return Ok(Part::Text(String::from_utf8_lossy(input)));
    }
    if !input.starts_with(b"{") {
        return Err(must("content[].input", "must be an object"));
    }
    Ok(Part::Call(Call {
        id: need(item.text_of("id"), "content[].id")?,
        name,
        arguments: Cow::Borrowed(input),
    }))
}
