//! State that outlives a callback: shared data, metrics, properties and filter state.

use wasmtime::Linker;

use crate::abi::{
    Called, Cx, Status, Stop, give, host_functions, put_u32, put_u64, stream, take, with_stream,
};
use crate::metrics::{Kind, Metric};
use crate::stream::Stream;
use crate::vm::VmData;

pub(crate) fn offer(linker: &mut Linker<VmData>) -> wasmtime::Result<()> {
    host_functions! { linker, "env",
        proxy_get_shared_data(key: u32, key_len: u32, out: u32, out_len: u32, out_cas: u32);
        proxy_set_shared_data(key: u32, key_len: u32, value: u32, value_len: u32, cas: u32);
        proxy_define_metric(kind: u32, name: u32, name_len: u32, out: u32);
        proxy_increment_metric(id: u32, by: i64);
        proxy_record_metric(id: u32, value: u64);
        proxy_get_metric(id: u32, out: u32);
        proxy_get_property(path: u32, path_len: u32, out: u32, out_len: u32);
        proxy_set_property(path: u32, path_len: u32, value: u32, value_len: u32);
        proxy_register_shared_queue(name: u32, name_len: u32, out: u32);
        proxy_resolve_shared_queue(vm: u32, vm_len: u32, name: u32, name_len: u32, out: u32);
        proxy_dequeue_shared_queue(queue: u32, out: u32, out_len: u32);
        proxy_enqueue_shared_queue(queue: u32, value: u32, value_len: u32);
    }
    Ok(())
}

fn proxy_get_shared_data(
    cx: &mut Cx<'_>,
    key: u32,
    key_len: u32,
    out: u32,
    out_len: u32,
    out_cas: u32,
) -> Called {
    let key = take(cx, key, key_len)?;
    failed_by_the_test(cx)?;
    let (value, cas) = cx.data().shared.store().get(&key)?;
    give(cx, &value, out, out_len)?;
    put_u32(cx, out_cas, cas)
}

fn proxy_set_shared_data(
    cx: &mut Cx<'_>,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
    cas: u32,
) -> Called {
    let (key, value) = (take(cx, key, key_len)?, take(cx, value, value_len)?);
    failed_by_the_test(cx)?;
    let shared = &cx.data().shared;
    if cas != 0 && shared.faults.conflicts() {
        shared.store().touch(&key);
        return Err(Status::CasMismatch.into());
    }
    Ok(shared.store().set(&key, &value, cas)?)
}

/// Runs the test's hooks; ends the call if the test wants it to fail.
fn failed_by_the_test(cx: &Cx<'_>) -> Called {
    cx.data()
        .shared
        .faults
        .before_store()
        .map_or(Ok(()), |status| Err(status.into()))
}

fn proxy_define_metric(cx: &mut Cx<'_>, kind: u32, name: u32, name_len: u32, out: u32) -> Called {
    let kind = Kind::from_abi(kind)?;
    let name = String::from_utf8_lossy(&take(cx, name, name_len)?).into_owned();
    let metric = Metric { kind, name };
    cx.data().shared.metrics().define(&metric);
    let id = cx.data_mut().name_metric(metric);
    put_u32(cx, out, id)
}

fn metric(cx: &Cx<'_>, id: u32) -> Result<Metric, Stop> {
    Ok(cx.data().metric_names.get(&id).cloned().ok_or(Status::NotFound)?)
}

fn proxy_increment_metric(cx: &mut Cx<'_>, id: u32, by: i64) -> Called {
    let metric = metric(cx, id)?;
    Ok(cx.data().shared.metrics().increment(&metric, by)?)
}

fn proxy_record_metric(cx: &mut Cx<'_>, id: u32, value: u64) -> Called {
    let metric = metric(cx, id)?;
    cx.data().shared.metrics().record(&metric, value);
    Ok(())
}

fn proxy_get_metric(cx: &mut Cx<'_>, id: u32, out: u32) -> Called {
    let metric = metric(cx, id)?;
    let value = cx.data().shared.metrics().value(&metric)?;
    put_u64(cx, out, value)
}

fn proxy_get_property(cx: &mut Cx<'_>, path: u32, path_len: u32, out: u32, out_len: u32) -> Called {
    let path = take(cx, path, path_len)?;
    let value = property(cx, &path).ok_or(Status::NotFound)?;
    give(cx, &value, out, out_len)
}

/// What a test scripted for this stream or for all, what the stream itself tells, or the filter state.
fn property(cx: &Cx<'_>, path: &[u8]) -> Option<Vec<u8>> {
    let Some(stream) = stream(cx) else {
        return cx.data().shared.properties().get(path);
    };
    let stream = stream.lock().expect("stream");
    if !in_season(&stream, path) {
        return None;
    }
    let scripted = || {
        stream
            .properties
            .get(path)
            .or_else(|| cx.data().shared.properties().get(path))
    };
    let state = || {
        stream
            .filter_state
            .get(path.strip_prefix(b"filter_state\0wasm.").unwrap_or(path))
            .cloned()
    };
    own(&stream, path).or_else(scripted).or_else(state)
}

fn in_season(stream: &Stream, path: &[u8]) -> bool {
    if path.starts_with(b"request\0") {
        return stream.logging || !stream.response.arrived;
    }
    if path.starts_with(b"response\0") || path.starts_with(b"upstream\0") {
        return stream.logging || stream.response.arrived;
    }
    true
}

/// Properties that follow from what happened.
fn own(stream: &Stream, path: &[u8]) -> Option<Vec<u8>> {
    let request = |name: &str| stream.request.headers.bytes(name).map(<[u8]>::to_vec);
    match path {
        b"request\0path" => request(":path"),
        b"request\0method" => request(":method"),
        b"request\0host" => request(":authority"),
        b"request\0scheme" => request(":scheme"),
        b"response\0code" => stream
            .response
            .headers
            .status()
            .map(|code| i64::from(code).to_le_bytes().to_vec()),
        b"response\0code_details" => stream.details.clone().map(String::into_bytes),
        b"xds\0cluster_name" | b"cluster_name" => {
            stream.upstream.as_ref()?.cluster.clone().map(String::into_bytes)
        }
        _ => None,
    }
}

/// Filter state; the root context has none.
fn proxy_set_property(cx: &mut Cx<'_>, path: u32, path_len: u32, value: u32, value_len: u32) -> Called {
    let (path, value) = (take(cx, path, path_len)?, take(cx, value, value_len)?);
    cx.data().shared.say(&path);
    cx.data().shared.say(&value);
    with_stream(cx, Status::NotFound, |stream| {
        stream.filter_state.insert(path, value);
        Ok(())
    })
}

/// Queues are Envoy's, but nothing here needs them.
fn proxy_register_shared_queue(_: &mut Cx<'_>, _: u32, _: u32, _: u32) -> Called {
    Err(Status::Unimplemented.into())
}

fn proxy_resolve_shared_queue(_: &mut Cx<'_>, _: u32, _: u32, _: u32, _: u32, _: u32) -> Called {
    Err(Status::NotFound.into())
}

fn proxy_dequeue_shared_queue(_: &mut Cx<'_>, _: u32, _: u32, _: u32) -> Called {
    Err(Status::NotFound.into())
}

fn proxy_enqueue_shared_queue(_: &mut Cx<'_>, _: u32, _: u32, _: u32) -> Called {
    Err(Status::NotFound.into())
}
