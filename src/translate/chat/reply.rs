//! Writes a complete answer.

use super::super::AnswerOptions;
use super::super::conversation::Part;
use super::super::out::{self, Object};
use super::super::reply::Reply;
use super::prompt::tool_call;

/// Writes the body.
pub(in super::super) fn write(reply: &Reply<'_>, options: &AnswerOptions<'_>) -> Vec<u8> {
    out::text(|o| {
        o.text("id", &format!("chatcmpl-{}", options.id));
        o.text("object", "chat.completion");
        o.number("created", options.created);
        o.text("model", options.model);
        o.array("choices", |a| {
            a.object(|o| {
                o.number("index", 0);
                o.object("message", |o| message(o, &reply.parts));
                o.null("logprobs");
                o.text("finish_reason", reply.stop.chat());
            });
        });
        if let Some(usage) = reply.usage {
            o.object("usage", |o| super::usage(o, usage));
        }
    })
}

fn message(o: &mut Object<'_>, parts: &[Part<'_>]) {
    let texts: Vec<&str> = parts.iter().filter_map(said).collect();
    let called = parts.iter().any(|part| matches!(part, Part::Call(_)));
    o.text("role", "assistant");
    if texts.is_empty() && called {
        o.null("content");
    } else {
        o.text("content", &texts.concat());
    }
    o.null("refusal");
    if called {
        o.array("tool_calls", |a| {
            for part in parts {
                if let Part::Call(call) = part {
                    a.object(|o| tool_call(o, call));
                }
            }
        });
    }
}

fn said<'p>(part: &'p Part<'_>) -> Option<&'p str> {
    match part {
        Part::Text(text) => Some(text),
        Part::Media(_) | Part::Call(_) | Part::Result(_) => None,
    }
}
