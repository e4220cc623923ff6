//! The router of a host that fails over by itself, with the provider role in each of its attempts.

use spillway::exchange::attempt::{Attempt, RETRY};
use spillway::exchange::{Body, Flow, RequestHead, ResponseHead, Step, Turn};
use spillway::headers::Headers;
use spillway::store::MemoryStore;

use super::play::{Play, edit};
use super::script::{Answer, Fields, Script};
use super::{Lab, found};

/// What the router is told of: how often it may try again.
const RETRIES: &str = "x-envoy-max-retries";

/// Whether the host's router is to try again by itself.
pub(super) fn is_native(play: &Play<'_, '_>) -> bool {
    play.headers.iter().any(|(name, _)| name == RETRIES)
}

/// Attempt after attempt, until one's answer stands; none when the last one fell.
pub(super) fn answered(play: &mut Play<'_, '_>, script: &Script<'_>) -> Option<(Fields, Vec<u8>)> {
    let most = play.headers.iter().find(|(name, _)| name == RETRIES);
    let most = most
        .and_then(|(_, value)| core::str::from_utf8(value).ok()?.parse().ok())
        .unwrap_or(0);
    let names: Vec<String> = play
        .lab
        .gateway
        .policy
        .providers
        .iter()
        .map(|provider| provider.name.clone())
        .collect();
    let mut last = None;
    for number in 0..=most.min(5_usize) {
        let answer = match number {
            0 => Some(&script.answer),
            _ => script.calls.get(number - 1),
        };
        let name = &names[number % names.len()];
        last = attempt(play, script, (number, name), answer);
        let again = last
            .as_ref()
            .is_none_or(|(fields, _)| status(fields) == Some(RETRY));
        if !again {
            break;
        }
    }
    last
}

fn status(fields: &Fields) -> Option<u16> {
    let found = fields.iter().find(|(name, _)| name == ":status")?;
    core::str::from_utf8(&found.1).ok()?.parse().ok()
}

fn attempt(
    play: &mut Play<'_, '_>,
    script: &Script<'_>,
    (number, provider): (usize, &str),
    answer: Option<&Answer<'_>>,
) -> Option<(Fields, Vec<u8>)> {
    play.lab.set(
        "xds.upstream_host_metadata.filter_metadata.spillway.provider",
        provider.as_bytes(),
    );
    let mut headers = play.headers.clone();
    headers.push((
        "x-envoy-attempt-count".to_owned(),
        (number + 1).to_string().into_bytes(),
    ));
    let read: Headers = headers.iter().cloned().collect();
    let mut one = Attempt::Start;
    let step = turned(play.lab, &mut one, script, |one, turn, property| {
        let head = RequestHead {
            headers: &read,
            end: false,
            property,
        };
        one.request_headers(turn, &head)
    });
    edit(&mut headers, &step.edits);
    let bytes = play.body.clone();
    let step = turned(play.lab, &mut one, script, |one, turn, _| {
        one.request_body(
            turn,
            &shown(&bytes, true, &|start, most| part(&bytes, start, most)),
        )
    });
    assert!(!matches!(step.flow, Flow::Hold), "an attempt is held for ever");
    edit(&mut headers, &step.edits);
    play.headers = headers
        .into_iter()
        .filter(|(name, _)| name != "x-envoy-attempt-count")
        .collect();
    let Some(answer) = answer.filter(|answer| {
        answer
            .fields
            .iter()
            .all(|(name, value)| name != ":status" || !value.is_empty())
    }) else {
        play.lab.set("upstream.local_address", b"10.0.0.1:9");
        end(play.lab, one);
        return None;
    };
    Some(hears(play.lab, one, script, answer))
}

fn hears(lab: &mut Lab<'_>, mut one: Attempt, script: &Script<'_>, answer: &Answer<'_>) -> (Fields, Vec<u8>) {
    let mut fields = answer.fields.clone();
    let headers = answer.headers();
    let step = turned(lab, &mut one, script, |one, turn, property| {
        let head = ResponseHead {
            headers: &headers,
            end: answer.body.is_empty(),
            property,
        };
        one.response_headers(turn, &head)
    });
    edit(&mut fields, &step.edits);
    let (mut held, mut out) = (Vec::new(), Vec::new());
    let pieces = crate::input::cut(answer.body, u16::from(script.eager) * 7);
    for (at, piece) in pieces.iter().enumerate() {
        held.extend_from_slice(piece);
        let end = at + 1 == pieces.len() && !script.trailers;
        let step = turned(lab, &mut one, script, |one, turn, _| {
            one.response_body(turn, &shown(&held, end, &|start, most| part(&held, start, most)))
        });
        edit(&mut fields, &step.edits);
        held = step.body.unwrap_or(held);
        if step.flow != Flow::Hold {
            out.append(&mut held);
        }
        assert!(
            !end || held.is_empty() || status(&fields) == Some(RETRY),
            "an answer is held for ever"
        );
        if status(&fields) == Some(RETRY) {
            break;
        }
    }
    if script.trailers && !pieces.is_empty() && status(&fields) != Some(RETRY) {
        let step = turned(lab, &mut one, script, |one, turn, _| {
            one.response_trailers(turn, &shown(&held, true, &|start, most| part(&held, start, most)))
        });
        edit(&mut fields, &step.edits);
        out.extend(step.body.unwrap_or(held));
    }
    end(lab, one);
    (fields, out)
}

fn shown<'b>(bytes: &[u8], end: bool, read: &'b dyn Fn(usize, usize) -> Vec<u8>) -> Body<'b> {
    Body {
        size: bytes.len(),
        end,
        read,
    }
}

fn part(bytes: &[u8], start: usize, most: usize) -> Vec<u8> {
    bytes.iter().skip(start).take(most).copied().collect()
}

fn turned(
    lab: &mut Lab<'_>,
    one: &mut Attempt,
    script: &Script<'_>,
    run: impl FnOnce(Attempt, &mut Turn<'_, MemoryStore>, &dyn Fn(&[&str]) -> Option<Vec<u8>>) -> (Attempt, Step),
) -> Step {
    lab.later(script.step);
    let properties = lab.properties.clone();
    let property = |path: &[&str]| found(&properties, path);
    let now = core::mem::take(one);
    let (next, step) = lab.turn(|turn| run(now, turn, &property));
    *one = next;
    lab.share();
    step
}

fn end(lab: &mut Lab<'_>, one: Attempt) {
    let properties = lab.properties.clone();
    let property = |path: &[&str]| found(&properties, path);
    lab.turn(|turn| one.end(turn, &property));
    lab.share();
}
