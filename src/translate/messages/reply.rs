//! Writes a complete answer.

use super::super::AnswerOptions;
use super::super::conversation::Part;
use super::super::out::{self, Array, Object};
use super::super::reply::{Reply, Stop};
use super::prompt::tool_use;

/// Writes the body.
pub(in super::super) fn write(reply: &Reply<'_>, options: &AnswerOptions<'_>) -> Vec<u8> {
    out::text(|o| {
        head(o, options);
        o.array("content", |a| reply.parts.iter().for_each(|part| block(a, part)));
        ending(o, &reply.stop);
        o.object("usage", |o| super::usage(o, reply.usage.unwrap_or_default()));
    })
}

/// The members that come before the content.
pub(super) fn head(o: &mut Object<'_>, options: &AnswerOptions<'_>) {
    o.text("id", &format!("msg_{}", options.id));
    o.text("type", "message");
    o.text("role", "assistant");
    o.text("model", options.model);
}

/// The members that say why it ended.
pub(super) fn ending(o: &mut Object<'_>, stop: &Stop<'_>) {
    o.text("stop_reason", stop.messages());
    match stop {
        Stop::Sequence(Some(which)) => o.text("stop_sequence", which),
        Stop::Sequence(None) | Stop::End | Stop::Length | Stop::Tools | Stop::Refused => {
            o.null("stop_sequence")
        }
    }
}

fn block(a: &mut Array<'_>, part: &Part<'_>) {
    match part {
        Part::Text(said) => a.object(|o| {
            o.text("type", "text");
            o.text("text", said);
        }),
        Part::Call(call) => a.object(|o| tool_use(o, call)),
        Part::Media(_) | Part::Result(_) => {}
    }
}
