//! Gemini's `generateContent` (<https://ai.google.dev/api/generate-content>), as providers speak it.

pub(super) mod answer;
pub(super) mod listener;
pub(super) mod prompt;

use super::node::Node;
use super::reply::Stop;

/// What a finish reason means; none when the answer is of no use.
fn stop(reason: &str) -> Option<Stop<'static>> {
    Some(match reason {
        "MAX_TOKENS" => Stop::Length,
        "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII"
        | "IMAGE_SAFETY" => Stop::Refused,
        "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" | "MALFORMED_RESPONSE" => return None,
        _ => Stop::End,
    })
}

/// The parts of an answer's first candidate, thoughts left out.
fn parts<'a>(candidate: Node<'a>) -> impl Iterator<Item = Node<'a>> {
    let content = candidate
        .member("content")
        .and_then(|content| content.member("parts"));
    let thought = |part: &Node<'_>| part.member("thought").and_then(Node::boolean) == Some(true);
    content
        .into_iter()
        .flat_map(Node::items)
        .filter(move |part| !thought(part))
}

/// The prompt itself was refused.
fn blocked(body: Node<'_>) -> bool {
    let feedback = body.member("promptFeedback");
    feedback.is_some_and(|feedback| feedback.member("blockReason").is_some())
}
