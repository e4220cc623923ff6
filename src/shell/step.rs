//! What the core asks for, done: edits, body, flow.

use proxy_wasm::types::Action;

use crate::exchange::{Edit, Flow, Reply, Resume, Step, Way};
use crate::headers::{Headers, serialize};

use super::host::{self, Buffer, Level, Map};

/// Where a step's edits go: the map, with its fields as they were read while headers are at hand.
pub(super) struct Target<'a> {
    pub(super) map: Map,
    pub(super) read: Option<&'a Headers>,
}

/// Does what the core asks for, in its order: edits, body, flow.
pub(super) fn apply(step: Option<Step>, target: &Target<'_>, body: Option<(Buffer, usize)>) -> Action {
    let Some(step) = step else { return Action::Continue };
    let edited = edit(&step.edits, target);
    let replaced = match (&step.body, body) {
        (Some(bytes), Some((buffer, size))) => host::replace_buffer(buffer, size, bytes),
        (Some(_) | None, _) => Ok(()),
    };
    let done = edited.and(replaced);
    report(done);
    if let (Err(_), Map::Request) = (done, target.map) {
        // It would go with its caller's identity, without a credential, or at a wrong length.
        send(&unchanged());
        return Action::Pause;
    }
    match step.flow {
        Flow::Continue | Flow::Resume(_) => Action::Continue,
        Flow::Hold | Flow::Calls(_) => Action::Pause,
        Flow::Reply(reply) => {
            send(&reply);
            Action::Pause
        }
    }
}

/// Lets what was held for a call go on, out of turn, with what is to be changed of it first.
pub(super) fn resume(step: Step, resume: Resume) {
    let (map, buffer) = match resume.way {
        Way::Request => (Map::Request, Buffer::RequestBody),
        Way::Response => (Map::Response, Buffer::ResponseBody),
    };
    let read = (step.edits.len() > 1).then(|| host::headers(map).unwrap_or_default());
    let target = Target {
        map,
        read: read.as_ref(),
    };
    let step = Some(Step {
        flow: Flow::Continue,
        ..step
    });
    if apply(step, &target, Some((buffer, resume.held))) == Action::Continue {
        report(host::go_on(map));
    }
}

/// What a client is told when its request couldn't be changed as it must be.
fn unchanged() -> Reply {
    let body = br#"{"error":{"type":"server_error","message":"the proxy can't prepare this request"}}"#;
    Reply {
        status: 500,
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.to_vec(),
        details: "spillway_host",
    }
}

/// Several edits are one call: each call costs a crossing, and on requests another choice of the route. All are tried;
/// the first failure is answered.
fn edit(edits: &[Edit], target: &Target<'_>) -> Result<(), host::Status> {
    match (edits, target.read) {
        ([], _) => Ok(()),
        ([_, _, ..], Some(read)) if !read.is_empty() => host::set_headers(target.map, &edited(edits, read)),
        (edits, _) => {
            let done: Vec<_> = edits.iter().map(|edit| edit_one(edit, target.map)).collect();
            done.into_iter().collect()
        }
    }
}

fn edit_one(edit: &Edit, map: Map) -> Result<(), host::Status> {
    match edit {
        Edit::Set(name, value) => host::set_header(map, name.as_bytes(), value.as_bytes()),
        Edit::Remove(name) => host::remove_header(map, name),
    }
}

fn edited(edits: &[Edit], read: &Headers) -> Vec<u8> {
    let mut set: Vec<(&[u8], &[u8])> = Vec::new();
    let mut removed: Vec<&[u8]> = Vec::new();
    for edit in edits {
        match edit {
            Edit::Set(name, value) => {
                set.retain(|(other, _)| *other != name.as_bytes());
                set.push((name.as_bytes(), value.as_bytes()));
            }
            Edit::Remove(name) => {
                set.retain(|(other, _)| *other != name.as_slice());
                removed.push(name);
            }
        }
    }
    read.edited(&set, &removed)
}

/// Answers the client.
pub(super) fn send(reply: &Reply) {
    let fields: Vec<(&[u8], &[u8])> = reply
        .headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    let headers = serialize(&fields);
    report(host::reply(
        u32::from(reply.status),
        reply.details,
        &headers,
        &reply.body,
    ));
}

/// A step that the host won't take can't be helped; it is said, without what was in it.
pub(super) fn report(done: Result<(), host::Status>) {
    if let Err(status) = done {
        host::log(
            Level::Warn,
            &format!("spillway: the host refused a step (status {})", status.0),
        );
    }
}

/// A property of the host, by its path.
pub(super) fn property(path: &[&str]) -> Option<Vec<u8>> {
    host::property(path.join("\0").as_bytes()).ok()
}
