//! A head or a body, as both roles meet it in the host's callbacks: read, shown to the core, changed as the core says.

use proxy_wasm::types::Action;

use crate::exchange::{Body, Flow, Step};
use crate::headers::Headers;

use super::host::{self, Buffer, Map};
use super::step::{Target, apply};

/// More than any buffer has, and less than would overflow a host's arithmetic.
const WHOLE: usize = 1 << 30;

/// A part of a body: whose it is, how much of it the host holds, and whether it ends there.
pub(super) struct Part {
    pub(super) map: Map,
    pub(super) size: usize,
    pub(super) end: bool,
}

/// Shows a head. Answers its fields as well if it is held: more may be changed of it with its body.
pub(super) fn head(map: Map, run: impl FnOnce(&Headers) -> Option<Step>) -> (Action, Option<Headers>) {
    let read = host::headers(map).unwrap_or_default();
    let step = run(&read);
    let holds = is_hold(step.as_ref());
    let target = Target {
        map,
        read: Some(&read),
    };
    let action = apply(step, &target, None);
    (action, holds.then_some(read))
}

/// Shows a part of a body, with the head that is held for it, which goes when the body does.
pub(super) fn body(
    part: &Part,
    held: &mut Option<Headers>,
    run: impl FnOnce(&Body<'_>) -> Option<Step>,
) -> Action {
    let buffer = match part.map {
        Map::Request => Buffer::RequestBody,
        Map::Response | Map::CallResponse => Buffer::ResponseBody,
    };
    let read = |start, max| host::read_buffer(buffer, start, max).unwrap_or_default();
    let step = run(&Body {
        size: part.size,
        end: part.end,
        read: &read,
    });
    let head = if is_hold(step.as_ref()) { None } else { held.take() };
    let target = Target {
        map: part.map,
        read: head.as_ref(),
    };
    apply(step, &target, Some((buffer, part.size)))
}

/// Shows what the host holds of an answer that ends in trailers, and changes it as the core says.
pub(super) fn trailers(run: impl FnOnce(&Body<'_>) -> Option<Step>) -> Action {
    let target = Target {
        map: Map::Response,
        read: None,
    };
    // The host says no size here; what it holds it shows as a whole.
    let held = host::read_buffer(Buffer::ResponseBody, 0, WHOLE).unwrap_or_default();
    let read = |start: usize, max: usize| {
        let rest = held.get(start..).unwrap_or_default();
        rest.get(..max).unwrap_or(rest).to_vec()
    };
    let step = run(&Body {
        size: held.len(),
        end: true,
        read: &read,
    });
    apply(step, &target, Some((Buffer::ResponseBody, WHOLE)))
}

fn is_hold(step: Option<&Step>) -> bool {
    step.is_some_and(|step| step.flow == Flow::Hold)
}
