//! Reads a complete answer.

use std::borrow::Cow;

use super::super::Untranslatable;
use super::super::conversation::{Call, Part};
use super::super::node::{Node, must, need};
use super::super::reply::{Reply, Stop};
use super::message::arguments_text;
use crate::dialect::{Endpoint, Report, Usage};

/// Reads the body; of several choices the first, as only one was asked for.
pub(in super::super) fn read(body: Node<'_>) -> Result<Reply<'_>, Untranslatable> {
    let choices = need(body.member("choices"), "choices")?;
    let choice = need(choices.items().next(), "choices[]")?;
    let message = need(choice.member("message"), "choices[].message")?;
    message.need_members("choices[].message")?;
    let (mut parts, refused) = said(message)?;
    let stop = choice
        .text_of("finish_reason")
        .map_or(Stop::End, |reason| stop(&reason));
    let stop = if refused { Stop::Refused } else { stop };
    calls(message, &stop, &mut parts)?;
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
    report.usage(Endpoint::ChatCompletions).ok()
}

/// What a reason to finish means.
pub(super) fn stop(reason: &str) -> Stop<'static> {
    match reason {
        "length" => Stop::Length,
        "tool_calls" | "function_call" => Stop::Tools,
        "content_filter" => Stop::Refused,
        _ => Stop::End,
    }
}

/// The texts, and whether one of them is a refusal.
fn said(message: Node<'_>) -> Result<(Vec<Part<'_>>, bool), Untranslatable> {
    let mut parts = Vec::new();
    if let Some(content) = message.member("content") {
        match content.text() {
            Some(text) => parts.push(Part::Text(text)),
            // Some imitators send parts.
            None => {
                let items = content.need_items("choices[].message.content")?;
                parts.extend(items.filter_map(|item| item.text_of("text")).map(Part::Text));
            }
        }
    }
    let refusal = message.text_of("refusal").filter(|text| !text.is_empty());
    let refused = refusal.is_some();
    parts.extend(refusal.map(Part::Text));
    parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
    Ok((parts, refused))
}

fn calls<'a>(message: Node<'a>, stop: &Stop<'_>, parts: &mut Vec<Part<'a>>) -> Result<(), Untranslatable> {
    let Some(list) = message.member("tool_calls") else {
        return Ok(());
    };
    for item in list.need_items("choices[].message.tool_calls")? {
        parts.push(Part::Call(call(item, stop)?));
    }
    Ok(())
}

/// Arguments that were cut off with the answer are none; others must be an object.
fn call<'a>(item: Node<'a>, stop: &Stop<'_>) -> Result<Call<'a>, Untranslatable> {
    const ARGUMENTS: &str = "choices[].message.tool_calls[].function.arguments";
    let function = need(item.member("function"), "choices[].message.tool_calls[].function")?;
    let text = function.text_of("arguments").unwrap_or_default();
    let arguments = match (arguments_text(text), stop) {
        (Some(object), _) => object,
        (None, Stop::Length) => Cow::Borrowed(&b"{}"[..]),
        (None, Stop::End | Stop::Sequence(_) | Stop::Tools | Stop::Refused) => {
            return Err(must(ARGUMENTS, "isn't a JSON object"));
        }
    };
    Ok(Call {
        id: need(item.text_of("id"), "choices[].message.tool_calls[].id")?,
        name: need(
            function.text_of("name"),
            "choices[].message.tool_calls[].function.name",
        )?,
        arguments,
    })
}
