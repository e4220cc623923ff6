//! A router that does as it is told, and the provider role in each of its attempts.

use super::super::attempt::{Attempt, RETRY};
use super::*;

pub(super) type Fields = Vec<(String, Vec<u8>)>;

/// What a provider does with an attempt.
#[derive(Clone, Debug)]
pub(super) enum Does<'a> {
    /// Answers whole: status, further headers, body.
    Says(u16, &'a [(&'a str, &'a str)], String),
    /// Streams these chunks.
    Streams(Vec<String>),
    /// Answers so, of this type, and ends with trailers.
    Trails(&'a str, Vec<String>),
    /// Ends without a word, as these properties of the host tell.
    Falls(&'a [(&'a str, &'a str)]),
}

pub(super) const RESET: &[(&str, &str)] = &[("upstream.local_address", "10.0.0.1:9")];
pub(super) const REFUSED: &[(&str, &str)] =
    &[("upstream.transport_failure_reason", "delayed connect error: 111")];

/// What one attempt sent, and what it let through: headers and body.
pub(super) struct Sent {
    pub(super) headers: Fields,
    pub(super) body: Vec<u8>,
    pub(super) answer: Option<(Fields, Vec<u8>)>,
}

/// A policy with the chain openai, backup, anthropic, which the router fails over along.
pub(super) fn native(changes: Value) -> Lab {
    let mut document = json!({
        "failover": {"via": "native"},
        "providers": {"backup": {"credential": {"env": "CALLER_KEYS", "header": "x-backup-key"}}},
        "models": {"gpt-4o": {"chain": ["openai/gpt-4o", "backup/gpt-4o", "anthropic/claude"]}},
    });
    document["providers"]["backup"]["credential"]["env"] = json!("OPENAI_API_KEY");
    merge(&mut document, changes);
    Lab::new(document)
}

pub(super) fn share(lab: &mut Lab) {
    for (key, value) in core::mem::take(&mut lab.effects.properties) {
        let key = format!("filter_state.wasm.{key}");
        lab.properties.insert(key, String::from_utf8(value).unwrap());
    }
}

pub(super) fn set(lab: &mut Lab, properties: &[(&str, &str)]) {
    let properties = properties.iter();
    lab.properties
        .extend(properties.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
}

/// One attempt at a provider; `headers` are left as the attempt leaves them, as hosts do.
pub(super) fn attempt(lab: &mut Lab, call: &mut Call, number: u32, at: (&str, &Does<'_>)) -> Sent {
    let (provider, does) = at;
    let metadata = "xds.upstream_host_metadata.filter_metadata.spillway.provider";
    set(lab, &[(metadata, provider)]);
    let mut headers = call.headers.clone();
    headers.push(("x-envoy-attempt-count".to_owned(), number.to_string().into()));
    let mut one = Attempt::Start;
    let read: Headers = headers.iter().cloned().collect();
    let properties = lab.properties.clone();
    let property = |path: &[&str]| properties.get(&path.join(".")).map(|value| value.clone().into());
    let head = RequestHead {
        headers: &read,
        end: false,
        property: &property,
    };
    let step = turned(lab, &mut one, |one, turn| one.request_headers(turn, &head));
    edit(&mut headers, &step.edits);
    let bytes = call.body.clone();
    let body = whole(&bytes);
    let step = turned(lab, &mut one, |one, turn| one.request_body(turn, &body));
    edit(&mut headers, &step.edits);
    let sent = step.body.unwrap_or_else(|| bytes.clone());
    call.headers = headers.clone();
    let answer = answered_by(lab, one, does);
    share(lab);
    Sent {
        headers,
        body: sent,
        answer,
    }
}

/// Whether the first attempt waits for the body.
pub(super) fn waits_for_the_body(lab: &mut Lab, call: &Call, provider: &str) -> bool {
    let metadata = "xds.upstream_host_metadata.filter_metadata.spillway.provider";
    set(lab, &[(metadata, provider)]);
    let read: Headers = call.headers.iter().cloned().collect();
    let properties = lab.properties.clone();
    let property = |path: &[&str]| properties.get(&path.join(".")).map(|value| value.clone().into());
    let head = RequestHead {
        headers: &read,
        end: false,
        property: &property,
    };
    let mut one = Attempt::Start;
    let step = turned(lab, &mut one, |one, turn| one.request_headers(turn, &head));
    step.flow == Flow::Hold
}

pub(super) fn turned(
    lab: &mut Lab,
    one: &mut Attempt,
    run: impl FnOnce(Attempt, &mut Turn<'_, MemoryStore>) -> (Attempt, Step),
) -> Step {
    let now = core::mem::take(one);
    let (next, step) = lab.turn(|turn| run(now, turn));
    *one = next;
    share(lab);
    step
}

pub(super) fn whole(bytes: &[u8]) -> Body<'_> {
    // Tests end with the process.
    let kept: &'static [u8] = Box::leak(bytes.to_vec().into_boxed_slice());
    let read = Box::leak(Box::new(move |start: usize, max: usize| {
        kept[start..].iter().copied().take(max).collect()
    }));
    Body {
        size: bytes.len(),
        end: true,
        read,
    }
}

pub(super) fn answered_by(lab: &mut Lab, mut one: Attempt, does: &Does<'_>) -> Option<(Fields, Vec<u8>)> {
    let (status, more, kind, chunks) = match does {
        Does::Says(status, more, body) => (*status, *more, "application/json", vec![body.clone()]),
        Does::Streams(chunks) => (200, &[][..], "text/event-stream", chunks.clone()),
        Does::Trails(kind, chunks) => (200, &[][..], *kind, chunks.clone()),
        Does::Falls(properties) => {
            set(lab, properties);
            let told = lab.properties.clone();
            let property = |path: &[&str]| told.get(&path.join(".")).map(|value| value.clone().into());
            lab.turn(|turn| one.end(turn, &property));
            return None;
        }
    };
    let status = status.to_string();
    let fields = [(":status", status.as_str()), ("content-type", kind)];
    let mut headers: Fields = fields
        .iter()
        .chain(more)
        .map(|(name, value)| ((*name).to_owned(), (*value).into()))
        .collect();
    let read: Headers = headers.iter().cloned().collect();
    let head = ResponseHead {
        headers: &read,
        end: false,
        property: &|_| None,
    };
    let step = turned(lab, &mut one, |one, turn| one.response_headers(turn, &head));
    edit(&mut headers, &step.edits);
    let (mut held, mut out) = (Vec::new(), Vec::new());
    let count = chunks.len();
    for (at, chunk) in chunks.iter().enumerate() {
        held.extend_from_slice(chunk.as_bytes());
        let mut body = whole(&held);
        body.end = at + 1 == count && !matches!(does, Does::Trails(..));
        let step = turned(lab, &mut one, |one, turn| one.response_body(turn, &body));
        edit(&mut headers, &step.edits);
        held = step.body.unwrap_or(held);
        if step.flow != Flow::Hold {
            out.append(&mut held);
        }
        if find(&headers, ":status").unwrap() == RETRY.to_string() {
            break;
        }
    }
    if matches!(does, Does::Trails(..)) {
        let body = whole(&held);
        let step = turned(lab, &mut one, |one, turn| one.response_trailers(turn, &body));
        edit(&mut headers, &step.edits);
        out.extend(step.body.unwrap_or(held));
    }
    Some((headers, out))
}

/// What the router does: attempt after attempt while it is told so, then the answer to the gateway role.
pub(super) fn routed(lab: &mut Lab, request: &Request, does: &[(&str, Does<'_>)]) -> (Call, Vec<Sent>) {
    let mut call = lab.send(request);
    share(lab);
    let most: usize = call
        .header("x-envoy-max-retries")
        .map_or(0, |n| n.parse().unwrap());
    let mut sent = Vec::new();
    for (at, (provider, done)) in does.iter().enumerate().take(most + 1) {
        let number = u32::try_from(at + 1).unwrap();
        sent.push(attempt(lab, &mut call, number, (provider, done)));
        let last = sent.last().unwrap().answer.as_ref();
        let again = last.is_none_or(|(headers, _)| find(headers, ":status") == Some(RETRY.to_string()));
        if !again {
            break;
        }
    }
    let last = sent.last().and_then(|sent| sent.answer.clone());
    match last {
        Some((headers, body)) => {
            let status = find(&headers, ":status").unwrap().parse().unwrap();
            let fields: Vec<(&str, String)> = headers
                .iter()
                .filter(|(name, _)| name != ":status")
                .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value).into_owned()))
                .collect();
            let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
            set(lab, &[("response.code_details", "via_upstream")]);
            call.respond(lab, status, &fields, false);
            if call.reply.is_none() {
                call.chunk(lab, &String::from_utf8(body).unwrap(), true);
            }
        }
        None => {
            set(
                lab,
                &[(
                    "response.code_details",
                    "upstream_reset_before_response_started{reset}",
                )],
            );
            call.respond(lab, 503, &[("content-type", "text/plain")], false);
        }
    }
    (call, sent)
}

pub(super) fn failing(status: u16) -> Does<'static> {
    Does::Says(status, &[], json!({"error": {"message": "no"}}).to_string())
}

pub(super) fn good() -> Does<'static> {
    Does::Says(200, &[], answered("fine", 30, 20))
}

pub(super) fn tried(record: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let attempts = record["attempts"].as_array().unwrap();
    attempts
        .iter()
        .map(|one| (text(&one["provider"]), text(&one["gave_up"])))
        .collect()
}
