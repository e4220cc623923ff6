//! Buffers: bodies while they are lent, configuration while it is being read, the body of a callout's answer.

use wasmtime::Linker;

use crate::abi::{Called, Cx, Status, Stop, give, host_functions, put_u32, stream, take, with_stream};
use crate::stream::Direction;
use crate::vm::VmData;

pub(crate) fn offer(linker: &mut Linker<VmData>) -> wasmtime::Result<()> {
    host_functions! { linker, "env",
        proxy_get_buffer_bytes(buffer: u32, start: u32, len: u32, out: u32, out_len: u32);
        proxy_get_buffer_status(buffer: u32, out_len: u32, out_flags: u32);
        proxy_set_buffer_bytes(buffer: u32, start: u32, len: u32, data: u32, data_len: u32);
    }
    Ok(())
}

/// `start` and what of `len` is there, clipped to the buffer.
type Cut = (u32, u32);

fn proxy_get_buffer_bytes(
    cx: &mut Cx<'_>,
    buffer: u32,
    start: u32,
    len: u32,
    out: u32,
    out_len: u32,
) -> Called {
    start.checked_add(len).ok_or(Status::BadArgument)?;
    let bytes = read(cx, buffer, (start, len))?;
    if bytes.is_empty() {
        return Ok(());
    }
    give(cx, &bytes, out, out_len)
}

fn proxy_get_buffer_status(cx: &mut Cx<'_>, buffer: u32, out_len: u32, out_flags: u32) -> Called {
    let bytes = read(cx, buffer, (0, u32::MAX))?;
    put_u32(cx, out_len, u32::try_from(bytes.len()).unwrap_or(u32::MAX))?;
    put_u32(cx, out_flags, 0)
}

fn read(cx: &Cx<'_>, buffer: u32, cut: Cut) -> Result<Vec<u8>, Stop> {
    match buffer {
        0 => Ok(body(cx, Direction::Request, cut)),
        1 => Ok(body(cx, Direction::Response, cut)),
        4 => Ok(clipped(
            &cx.data().arrived.as_ref().ok_or(Status::NotFound)?.body,
            cut,
        )),
        6 => Ok(Vec::new()),
        7 if cx.data().configuring => Ok(clipped(&cx.data().shared.configuration(), cut)),
        2 | 3 | 5 | 7 | 8 => Err(Status::NotFound.into()),
        9.. => Err(Status::BadArgument.into()),
    }
}

/// A body that isn't lent now is an empty one.
fn body(cx: &Cx<'_>, direction: Direction, cut: Cut) -> Vec<u8> {
    let Some(stream) = stream(cx) else {
        return Vec::new();
    };
    let mut stream = stream.lock().expect("stream");
    let side = stream.side(direction);
    if side.body_lent() {
        clipped(&side.buffer, cut)
    } else {
        Vec::new()
    }
}

fn clipped(bytes: &[u8], (start, len): Cut) -> Vec<u8> {
    let from = (start as usize).min(bytes.len());
    let to = from.saturating_add(len as usize).min(bytes.len());
    bytes.get(from..to).unwrap_or_default().to_vec()
}

/// As Envoy's `Buffer::copyFrom`: put before, replace all, or append; a hole in the middle can't be made.
fn proxy_set_buffer_bytes(
    cx: &mut Cx<'_>,
    buffer: u32,
    start: u32,
    len: u32,
    data: u32,
    data_len: u32,
) -> Called {
    let direction = match buffer {
        0 => Direction::Request,
        1 => Direction::Response,
        _ => return Err(Status::BadArgument.into()),
    };
    let data = take(cx, data, data_len)?;
    with_stream(cx, Status::BadArgument, |stream| {
        let side = stream.side(direction);
        if !side.body_lent() {
            return Err(Status::BadArgument.into());
        }
        copy_from(&mut side.buffer, (start, len), data)
    })
}

fn copy_from(buffer: &mut Vec<u8>, (start, len): Cut, data: Vec<u8>) -> Called {
    let (start, len) = (start as usize, len as usize);
    if start == 0 && len == 0 {
        buffer.splice(0..0, data);
    } else if start == 0 && len >= buffer.len() {
        *buffer = data;
    } else if start >= buffer.len() && start > 0 {
        buffer.extend(data);
    } else {
        return Err(Status::BadArgument.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(cut: Cut) -> Option<String> {
        let mut buffer = b"body".to_vec();
        copy_from(&mut buffer, cut, b"NEW".to_vec())
            .ok()
            .map(|()| String::from_utf8(buffer).unwrap())
    }

    #[test]
    fn a_buffer_is_replaced_prepended_or_appended_but_not_holed() {
        assert_eq!(after((0, 4)).as_deref(), Some("NEW"));
        assert_eq!(after((0, 99)).as_deref(), Some("NEW"));
        assert_eq!(after((0, 0)).as_deref(), Some("NEWbody"));
        assert_eq!(after((4, 0)).as_deref(), Some("bodyNEW"));
        assert_eq!(after((0, 2)), None);
        assert_eq!(after((1, 2)), None);
    }
}
