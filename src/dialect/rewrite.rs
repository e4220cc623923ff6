//! Changing a request in place: the bytes that aren't edited stay as the client wrote them.

use core::ops::Range;

use super::Endpoint;
use super::request::{Options, RequestFacts};
use crate::json;

/// What to change in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edits<'e> {
    /// The model's name to put in place of the client's.
    pub model: Option<&'e str>,
    /// Ask for usage at the end of a stream, where the protocol needs to be asked.
    pub include_usage: bool,
}

struct Edit {
    at: Range<usize>,
    with: Vec<u8>,
}

/// The body with the edits applied; none when nothing changes. `facts` must be what [`super::scan`] found in `body`.
#[must_use]
pub fn rewrite(body: &[u8], facts: &RequestFacts<'_>, edits: Edits<'_>) -> Option<Vec<u8>> {
    let mut changes: Vec<Edit> = edits
        .model
        .and_then(|model| rename(facts, model))
        .into_iter()
        .collect();
    if edits.include_usage {
        changes.extend(ask_for_usage(facts));
    }
    if changes.is_empty() {
        return None;
    }
    changes.sort_by_key(|edit| edit.at.start);
    apply(body, &changes)
}

fn apply(body: &[u8], changes: &[Edit]) -> Option<Vec<u8>> {
    let grown: usize = changes.iter().map(|edit| edit.with.len()).sum();
    let mut out = Vec::with_capacity(body.len() + grown);
    let mut from = 0;
    for edit in changes {
        out.extend_from_slice(body.get(from..edit.at.start)?);
        out.extend_from_slice(&edit.with);
        from = edit.at.end;
    }
    out.extend_from_slice(body.get(from..)?);
    Some(out)
}

fn rename(facts: &RequestFacts<'_>, model: &str) -> Option<Edit> {
    if facts.model == model {
        return None;
    }
    let mut with = Vec::with_capacity(model.len() + 2);
    json::push_string(&mut with, model);
    Some(Edit {
        at: facts.model_at.clone(),
        with,
    })
}

fn ask_for_usage(facts: &RequestFacts<'_>) -> Option<Edit> {
    let asks = matches!(facts.endpoint, Endpoint::ChatCompletions | Endpoint::Completions);
    if !asks || !facts.stream || facts.include_usage == Some(true) {
        return None;
    }
    let (at, with) = match &facts.options {
        // The body has a model at least, so another member follows.
        Options::Absent => (
            facts.members_at..facts.members_at,
            &br#""stream_options":{"include_usage":true},"#[..],
        ),
        Options::Null(at) => (at.clone(), &br#"{"include_usage":true}"#[..]),
        Options::Object {
            include_usage: Some(at),
            ..
        } => (at.clone(), &b"true"[..]),
        Options::Object {
            members_at,
            empty: true,
            ..
        } => (*members_at..*members_at, &br#""include_usage":true"#[..]),
        Options::Object { members_at, .. } => (*members_at..*members_at, &br#""include_usage":true,"#[..]),
    };
    Some(Edit {
        at,
        with: with.to_vec(),
    })
}
