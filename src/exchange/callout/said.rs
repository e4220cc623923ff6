//! An answer in another protocol, said again in the client's: whole, as calls bring it.

use std::borrow::Cow;

use crate::headers::Headers;
use crate::store::Store;
use crate::translate::{self, AnswerOptions, StreamOptions, StreamTranslator};

use super::super::Turn;
use super::super::foreign::Pair;
use super::request::Written;

/// Says a good answer again. None if it isn't one in its provider's protocol.
pub(super) fn answer<S: Store>(
    turn: &Turn<'_, S>,
    written: &Written,
    (headers, body): (&Headers, &[u8]),
) -> Option<Vec<u8>> {
    let pair = written.pair?;
    let id = format!("{:016x}", turn.entropy);
    let options = AnswerOptions {
        model: &written.asked,
        id: &id,
        created: turn.now.wall.0 / 1_000,
    };
    let kind = headers.first("content-type").unwrap_or_default();
    if !kind.to_ascii_lowercase().starts_with(b"text/event-stream") {
        return translate::answer(pair.provider, pair.client, body, &options).ok();
    }
    let options = StreamOptions {
        answer: options,
        // It is read first, and taken out for a client that didn't ask.
        include_usage: true,
        event_bound: turn.gateway.policy.bounds.sse_line,
    };
    let mut translator = StreamTranslator::new(pair.provider, pair.client, &options);
    let mut said = translator.push(body);
    said.extend(translator.finish());
    Some(said)
}

/// Says an error again: its status and its body.
pub(super) fn error(pair: Option<Pair>, status: u16, body: Cow<'_, [u8]>) -> (u16, Vec<u8>) {
    match pair {
        Some(pair) => translate::error(pair.provider, pair.client, status, &body),
        None => (status, body.into_owned()),
    }
}
