//! What a module may do to a stream: go on, reply by itself, reset; and calls of its own to other clusters.
//!
//! All of it takes effect when the callback has returned, as in Envoy.

use std::time::Duration;

use wasmtime::Linker;

use crate::abi::{Called, Cx, Status, deserialized, host_functions, put_u32, stream, take};
use crate::callout::Callout;
use crate::headers::Headers;
use crate::stream::{After, Direction, LocalReply};
use crate::vm::VmData;

pub(crate) fn offer(linker: &mut Linker<VmData>) -> wasmtime::Result<()> {
    host_functions! { linker, "env",
        proxy_continue_stream(kind: u32);
        proxy_close_stream(kind: u32);
        proxy_send_local_response(status: u32, details: u32, details_len: u32, body: u32, body_len: u32, headers: u32, headers_len: u32, grpc: i32);
        proxy_set_effective_context(context: u32);
        proxy_done();
        proxy_http_call(cluster: u32, cluster_len: u32, headers: u32, headers_len: u32, body: u32, body_len: u32, trailers: u32, trailers_len: u32, timeout: u32, out: u32);
        proxy_call_foreign_function(name: u32, name_len: u32, arguments: u32, arguments_len: u32, out: u32, out_len: u32);
        proxy_grpc_call(service: u32, service_len: u32, name: u32, name_len: u32, method: u32, method_len: u32, metadata: u32, metadata_len: u32, message: u32, message_len: u32, timeout: u32, out: u32);
        proxy_grpc_stream(service: u32, service_len: u32, name: u32, name_len: u32, method: u32, method_len: u32, metadata: u32, metadata_len: u32, out: u32);
        proxy_grpc_send(token: u32, message: u32, message_len: u32, end: u32);
        proxy_grpc_cancel(token: u32);
        proxy_grpc_close(token: u32);
        proxy_get_status(out_code: u32, out: u32, out_len: u32);
    }
    Ok(())
}

fn direction(kind: u32) -> Result<Direction, Status> {
    match kind {
        0 => Ok(Direction::Request),
        1 => Ok(Direction::Response),
        2.. => Err(Status::BadArgument),
    }
}

/// Without a stream there is nothing to do, and Envoy says Ok to that.
fn later(cx: &mut Cx<'_>, after: After) {
    if let Some(stream) = stream(cx) {
        cx.data_mut().after.push((stream, after));
    }
}

fn proxy_continue_stream(cx: &mut Cx<'_>, kind: u32) -> Called {
    let direction = direction(kind)?;
    if let Some(stream) = stream(cx) {
        stream.lock().expect("stream").side(direction).lent = false;
    }
    later(cx, After::Resume(direction));
    Ok(())
}

fn proxy_close_stream(cx: &mut Cx<'_>, kind: u32) -> Called {
    direction(kind)?;
    later(cx, After::Reset);
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's own list")]
fn proxy_send_local_response(
    cx: &mut Cx<'_>,
    status: u32,
    details: u32,
    details_len: u32,
    body: u32,
    body_len: u32,
    headers: u32,
    headers_len: u32,
    _grpc: i32,
) -> Called {
    let details = String::from_utf8_lossy(&take(cx, details, details_len)?).into_owned();
    let body = take(cx, body, body_len)?;
    let headers_bytes = take(cx, headers, headers_len)?;
    cx.data().shared.say(&body);
    cx.data().shared.say(&headers_bytes);
    let status = u16::try_from(status).unwrap_or(500);
    cx.data_mut().stopped = true;
    later(
        cx,
        After::Reply(LocalReply::new(
            status,
            deserialized(&headers_bytes),
            body,
            &details,
        )),
    );
    Ok(())
}

fn proxy_set_effective_context(cx: &mut Cx<'_>, context: u32) -> Called {
    let data = cx.data_mut();
    if context != data.root && !data.streams.contains_key(&context) {
        return Err(Status::BadArgument.into());
    }
    data.effective = context;
    Ok(())
}

/// Contexts are deleted when their stream ends, whatever the module says.
fn proxy_done(_: &mut Cx<'_>) -> Called {
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's own list")]
fn proxy_http_call(
    cx: &mut Cx<'_>,
    cluster: u32,
    cluster_len: u32,
    headers: u32,
    headers_len: u32,
    body: u32,
    body_len: u32,
    _trailers: u32,
    _trailers_len: u32,
    timeout: u32,
    out: u32,
) -> Called {
    put_u32(cx, out, 0)?;
    let cluster = String::from_utf8_lossy(&take(cx, cluster, cluster_len)?).into_owned();
    let headers = deserialized(&take(cx, headers, headers_len)?);
    let body = take(cx, body, body_len)?;
    may_call(cx, &cluster, &headers)?;
    let timeout = (timeout > 0).then(|| Duration::from_millis(u64::from(timeout)));
    let deadline = timeout.map(|timeout| cx.data().shared.clock.monotonic().saturating_add(timeout));
    let context = cx.data().speaking_for();
    let call = Callout {
        token: 0,
        cluster,
        headers,
        body,
        timeout,
        context,
        deadline,
    };
    let token = cx.data_mut().dispatch(call);
    put_u32(cx, out, token)
}

fn may_call(cx: &Cx<'_>, cluster: &str, headers: &Headers) -> Result<(), Status> {
    let settings = &cx.data().shared.settings;
    let unknown = !settings.clusters.is_empty() && !settings.clusters.contains(cluster);
    let incomplete = [":path", ":method", ":authority"]
        .iter()
        .any(|name| headers.bytes(name).is_none());
    if unknown || incomplete {
        return Err(Status::BadArgument);
    }
    if settings.empty_clusters.contains(cluster) {
        return Err(Status::InternalFailure);
    }
    Ok(())
}

fn proxy_call_foreign_function(_: &mut Cx<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32) -> Called {
    Err(Status::NotFound.into())
}

/// gRPC is Envoy's, but nothing here needs it.
#[expect(clippy::too_many_arguments, reason = "the ABI's own list")]
fn proxy_grpc_call(
    _: &mut Cx<'_>,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
) -> Called {
    Err(Status::ParseFailure.into())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's own list")]
fn proxy_grpc_stream(
    _: &mut Cx<'_>,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
) -> Called {
    Err(Status::ParseFailure.into())
}

fn proxy_grpc_send(_: &mut Cx<'_>, _: u32, _: u32, _: u32, _: u32) -> Called {
    Err(Status::NotFound.into())
}

fn proxy_grpc_cancel(_: &mut Cx<'_>, _: u32) -> Called {
    Err(Status::NotFound.into())
}

fn proxy_grpc_close(_: &mut Cx<'_>, _: u32) -> Called {
    Err(Status::NotFound.into())
}

fn proxy_get_status(cx: &mut Cx<'_>, out_code: u32, out: u32, out_len: u32) -> Called {
    put_u32(cx, out_code, 0)?;
    crate::abi::give(cx, b"", out, out_len)
}
