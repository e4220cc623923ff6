//! Header maps: readable while the host lends them, writable while they are held, and in the log readable only.

use wasmtime::Linker;

use crate::abi::{
    Called, Cx, Status, Stop, deserialized, give, host_functions, put_u32, serialized, stream, take,
    with_stream,
};
use crate::headers::Headers;
use crate::stream::Stream;
use crate::vm::VmData;

pub(crate) fn offer(linker: &mut Linker<VmData>) -> wasmtime::Result<()> {
    host_functions! { linker, "env",
        proxy_get_header_map_value(map: u32, key: u32, key_len: u32, out: u32, out_len: u32);
        proxy_get_header_map_pairs(map: u32, out: u32, out_len: u32);
        proxy_set_header_map_pairs(map: u32, data: u32, len: u32);
        proxy_add_header_map_value(map: u32, key: u32, key_len: u32, value: u32, value_len: u32);
        proxy_replace_header_map_value(map: u32, key: u32, key_len: u32, value: u32, value_len: u32);
        proxy_remove_header_map_value(map: u32, key: u32, key_len: u32);
        proxy_get_header_map_size(map: u32, out: u32);
    }
    Ok(())
}

/// The maps of the ABI that this host knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Map {
    Request,
    Response,
    CallResponse,
    /// Trailers and gRPC metadata: never there.
    Absent,
}

fn map_of(number: u32) -> Result<Map, Stop> {
    match number {
        0 => Ok(Map::Request),
        2 => Ok(Map::Response),
        6 => Ok(Map::CallResponse),
        1 | 3 | 4 | 5 | 7 => Ok(Map::Absent),
        8.. => Err(Status::BadArgument.into()),
    }
}

/// A copy of the map, or `None` where Envoy holds no pointer to it.
fn readable(cx: &Cx<'_>, map: Map) -> Option<Headers> {
    if map == Map::CallResponse {
        return cx
            .data()
            .arrived
            .as_ref()
            .and_then(|arrived| arrived.headers.clone());
    }
    let stream = stream(cx)?;
    let stream = stream.lock().expect("stream");
    let side = match map {
        Map::Request => &stream.request,
        Map::Response => &stream.response,
        Map::CallResponse | Map::Absent => return None,
    };
    (side.lent || (stream.logging && side.arrived)).then(|| side.headers.clone())
}

/// Changes the map if it is held.
fn change(cx: &Cx<'_>, map: u32, edit: impl FnOnce(&mut Headers)) -> Called {
    let map = map_of(map)?;
    with_stream(cx, Status::BadArgument, |stream| {
        edit(writable(stream, map).ok_or(Status::BadArgument)?);
        Ok(())
    })
}

fn writable(stream: &mut Stream, map: Map) -> Option<&mut Headers> {
    let side = match map {
        Map::Request => &mut stream.request,
        Map::Response => &mut stream.response,
        Map::CallResponse | Map::Absent => return None,
    };
    side.lent.then_some(&mut side.headers)
}

fn name(cx: &Cx<'_>, ptr: u32, len: u32) -> Result<String, Stop> {
    Ok(String::from_utf8_lossy(&take(cx, ptr, len)?).into_owned())
}

fn proxy_get_header_map_value(
    cx: &mut Cx<'_>,
    map: u32,
    key: u32,
    key_len: u32,
    out: u32,
    out_len: u32,
) -> Called {
    let map = map_of(map)?;
    let key = name(cx, key, key_len)?;
    let headers = readable(cx, map).ok_or(Status::BadArgument)?;
    let value = headers.bytes(&key).ok_or(Status::NotFound)?;
    give(cx, value, out, out_len)
}

/// A map that isn't there is an empty one: here Envoy doesn't complain.
fn proxy_get_header_map_pairs(cx: &mut Cx<'_>, map: u32, out: u32, out_len: u32) -> Called {
    let headers = readable(cx, map_of(map)?).unwrap_or_default();
    give(cx, &serialized(&headers), out, out_len)
}

fn proxy_set_header_map_pairs(cx: &mut Cx<'_>, map: u32, data: u32, len: u32) -> Called {
    let new = deserialized(&take(cx, data, len)?);
    change(cx, map, |headers| *headers = new)
}

fn proxy_add_header_map_value(
    cx: &mut Cx<'_>,
    map: u32,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
) -> Called {
    let (key, value) = (name(cx, key, key_len)?, take(cx, value, value_len)?);
    change(cx, map, |headers| headers.add(&key, value))
}

fn proxy_replace_header_map_value(
    cx: &mut Cx<'_>,
    map: u32,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
) -> Called {
    let (key, value) = (name(cx, key, key_len)?, take(cx, value, value_len)?);
    change(cx, map, |headers| headers.set(&key, value))
}

fn proxy_remove_header_map_value(cx: &mut Cx<'_>, map: u32, key: u32, key_len: u32) -> Called {
    let key = name(cx, key, key_len)?;
    change(cx, map, |headers| headers.remove(&key))
}

fn proxy_get_header_map_size(cx: &mut Cx<'_>, map: u32, out: u32) -> Called {
    let headers = readable(cx, map_of(map)?).ok_or(Status::BadArgument)?;
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    put_u32(cx, out, u32::try_from(bytes).unwrap_or(u32::MAX))
}
