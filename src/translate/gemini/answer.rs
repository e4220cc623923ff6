//! Reads a complete answer.

use std::borrow::Cow;

use super::super::Untranslatable;
use super::super::conversation::{Call, Part};
use super::super::node::{Node, must, need};
use super::super::reply::{Reply, Stop};
use crate::dialect::{Endpoint, Report, Usage};

/// Reads the body. `seed` makes the ids of calls that have none unique.
pub(in super::super) fn read<'a>(body: Node<'a>, seed: &str) -> Result<Reply<'a>, Untranslatable> {
    let usage = body.member("usageMetadata").and_then(usage);
    let candidate = body.member("candidates").and_then(|list| list.items().next());
    let Some(candidate) = candidate else {
        return refusal(body, usage);
    };
    let mut parts = Vec::new();
    for part in super::parts(candidate) {
        parts.extend(read_part(part, parts.len(), seed)?);
    }
    let reason = candidate.text_of("finishReason").unwrap_or_default();
    let stop =
        super::stop(&reason).ok_or_else(|| must("candidates[].finishReason", "the answer is of no use"))?;
    let called = parts.iter().any(|part| matches!(part, Part::Call(_)));
    Ok(Reply {
        stop: stop.given(called),
        parts,
        usage,
    })
}

fn refusal<'a>(body: Node<'a>, usage: Option<Usage>) -> Result<Reply<'a>, Untranslatable> {
    if !super::blocked(body) {
        return Err(must("candidates", "missing"));
    }
    Ok(Reply {
        parts: Vec::new(),
        stop: Stop::Refused,
        usage,
    })
}

fn usage(value: Node<'_>) -> Option<Usage> {
    let mut report = Report::default();
    report.read(value.raw()).ok()?;
    report.usage(Endpoint::GenerateContent).ok()
}

fn read_part<'a>(part: Node<'a>, place: usize, seed: &str) -> Result<Option<Part<'a>>, Untranslatable> {
    let Some(call) = part.member("functionCall") else {
        return Ok(part
            .text_of("text")
            .filter(|text| !text.is_empty())
            .map(Part::Text));
    };
    let args = call.member("args").map_or(&b"{}"[..], Node::raw);
    if !args.starts_with(b"{") {
        return Err(must(
            "candidates[].content.parts[].functionCall.args",
            "must be an object",
        ));
    }
    Ok(Some(Part::Call(Call {
        id: id(call, place, seed),
        name: need(
            call.text_of("name"),
            "candidates[].content.parts[].functionCall.name",
        )?,
        arguments: Cow::Borrowed(args),
    })))
}

/// A call's id, made up when it has none.
pub(super) fn id<'a>(call: Node<'a>, place: usize, seed: &str) -> Cow<'a, str> {
    let given = call.text_of("id").filter(|id| !id.is_empty());
    given.unwrap_or_else(|| Cow::Owned(format!("call_{seed}_{place}")))
}
