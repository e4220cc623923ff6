//! The seam: every host function that the filter uses, called in one place each, answering a `Result`.
//!
//! The SDK's own wrappers panic on statuses that hosts legitimately answer, and a panic traps the VM with every stream
//! in it. These don't. The unsafe lines are the ABI itself (proxy-wasm 0.2.1): pointers into our memory with their
//! lengths, and buffers that the host allocated through `proxy_on_memory_allocate`, which are boxed slices of
//! exactly the length that comes with them.
#![allow(unsafe_code)]

use crate::headers::Headers;
use crate::time::{Instant, UnixMillis};

/// A status other than OK, as the host answered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub(super) i32);

impl Status {
    pub(super) const NOT_FOUND: Self = Self(1);
    pub(super) const CAS_MISMATCH: Self = Self(8);
}

/// Which header map.
#[derive(Clone, Copy, Debug)]
pub(super) enum Map {
    Request = 0,
    Response = 2,
    /// Of the answer to a call, within its callback.
    CallResponse = 6,
}

/// Which buffer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    /// Of the answer to a call, within its callback.
    CallResponse = 4,
    VmConfiguration = 6,
    PluginConfiguration = 7,
}

/// Which kind of metric.
#[derive(Clone, Copy, Debug)]
pub(super) enum MetricType {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}

/// Severity of a log line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Level {
    Info = 2,
    Warn = 3,
    Error = 4,
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: i32, data: *const u8, size: usize) -> i32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> i32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> i32;
    fn proxy_get_buffer_bytes(
        kind: i32,
        start: usize,
        max: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> i32;
    fn proxy_set_buffer_bytes(kind: i32, start: usize, size: usize, data: *const u8, data_size: usize)
    -> i32;
    fn proxy_get_header_map_pairs(map: i32, data: *mut *mut u8, size: *mut usize) -> i32;
    fn proxy_set_header_map_pairs(map: i32, data: *const u8, size: usize) -> i32;
    fn proxy_remove_header_map_value(map: i32, name: *const u8, name_size: usize) -> i32;
    fn proxy_replace_header_map_value(
        map: i32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> i32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> i32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> i32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        cas: u32,
    ) -> i32;
    fn proxy_continue_stream(kind: u32) -> i32;
    fn proxy_set_effective_context(context: u32) -> i32;
    fn proxy_define_metric(kind: i32, name: *const u8, name_size: usize, id: *mut u32) -> i32;
    fn proxy_increment_metric(id: u32, offset: i64) -> i32;
    fn proxy_record_metric(id: u32, value: u64) -> i32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> i32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> i32;
    fn random_get(data: *mut u8, size: usize) -> i32;
}

fn check(status: i32) -> Result<(), Status> {
    if status == 0 { Ok(()) } else { Err(Status(status)) }
}

/// Takes over a buffer that the host allocated in our memory.
///
/// The host got it from `proxy_on_memory_allocate(size)`, which leaks a boxed slice of that size, and hands it over
/// once. A null pointer means an empty answer.
fn adopt(data: *mut u8, size: usize) -> Vec<u8> {
    if data.is_null() {
        return Vec::new();
    }
    // SAFETY: see above: a leaked boxed slice of `size` bytes, owned by nobody else.
    unsafe { Vec::from_raw_parts(data, size, size) }
}

/// The monotonic clock, which all workers of the process share.
pub(super) fn monotonic() -> Instant {
    let mut time = 0;
    // SAFETY: writes one u64 to the address given.
    unsafe { clock_time_get(1, 0, &raw mut time) };
    Instant(time)
}

/// Wall time.
pub(super) fn wall() -> UnixMillis {
    let mut time = 0;
    // SAFETY: writes one u64 to the address given.
    unsafe { proxy_get_current_time_nanoseconds(&raw mut time) };
    UnixMillis(time / 1_000_000)
}

/// Bytes of this VM's memory. It only ever grows.
pub(super) fn memory() -> u64 {
    const PAGE: u64 = 64 * 1024;
    let pages = u64::try_from(core::arch::wasm32::memory_size::<0>());
    pages.unwrap_or_default().saturating_mul(PAGE)
}

/// Sixteen random bytes; zeros when the host has none.
pub(super) fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    // SAFETY: writes at most the 16 bytes given.
    unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) };
    bytes
}

/// Writes a line to the host's log.
pub(super) fn log(level: Level, message: &str) {
    // SAFETY: reads `message` during the call.
    unsafe { proxy_log(level as i32, message.as_ptr(), message.len()) };
}

/// Asks for a tick every so many milliseconds.
pub(super) fn tick_every(milliseconds: u32) -> Result<(), Status> {
    // SAFETY: no pointers.
    check(unsafe { proxy_set_tick_period_milliseconds(milliseconds) })
}

/// Up to `max` bytes of a buffer from `start`.
pub(super) fn read_buffer(buffer: Buffer, start: usize, max: usize) -> Result<Vec<u8>, Status> {
    let (mut data, mut size) = (core::ptr::null_mut(), 0);
    // SAFETY: the host writes a pointer and a length; `adopt` says what they are.
    let status = unsafe { proxy_get_buffer_bytes(buffer as i32, start, max, &raw mut data, &raw mut size) };
    check(status)?;
    Ok(adopt(data, size))
}

/// Replaces the whole of a buffer.
pub(super) fn replace_buffer(buffer: Buffer, size: usize, value: &[u8]) -> Result<(), Status> {
    // SAFETY: reads `value` during the call.
    check(unsafe { proxy_set_buffer_bytes(buffer as i32, 0, size, value.as_ptr(), value.len()) })
}

/// All headers of a map.
pub(super) fn headers(map: Map) -> Result<Headers, Status> {
    let (mut data, mut size) = (core::ptr::null_mut(), 0);
    // SAFETY: as in `read_buffer`.
    check(unsafe { proxy_get_header_map_pairs(map as i32, &raw mut data, &raw mut size) })?;
    Ok(Headers::parse(adopt(data, size)))
}

/// Replaces all headers of a map by a serialized one: one call, and one choice of the route, for any number of edits.
pub(super) fn set_headers(map: Map, serialized: &[u8]) -> Result<(), Status> {
    // SAFETY: reads `serialized` during the call.
    check(unsafe { proxy_set_header_map_pairs(map as i32, serialized.as_ptr(), serialized.len()) })
}

/// Sets a header, replacing all its values.
pub(super) fn set_header(map: Map, name: &[u8], value: &[u8]) -> Result<(), Status> {
    // SAFETY: reads both during the call.
    check(unsafe {
        proxy_replace_header_map_value(map as i32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Removes a header.
pub(super) fn remove_header(map: Map, name: &[u8]) -> Result<(), Status> {
    // SAFETY: reads `name` during the call.
    check(unsafe { proxy_remove_header_map_value(map as i32, name.as_ptr(), name.len()) })
}

/// A property of the host; its path is NUL-separated.
pub(super) fn property(path: &[u8]) -> Result<Vec<u8>, Status> {
    let (mut data, mut size) = (core::ptr::null_mut(), 0);
    // SAFETY: as in `read_buffer`.
    check(unsafe { proxy_get_property(path.as_ptr(), path.len(), &raw mut data, &raw mut size) })?;
    Ok(adopt(data, size))
}

/// Writes a property into the stream's filter state.
pub(super) fn set_property(path: &[u8], value: &[u8]) -> Result<(), Status> {
    // SAFETY: reads both during the call.
    check(unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

/// A shared record with its version.
pub(super) fn shared(key: &str) -> Result<(Vec<u8>, u32), Status> {
    let (mut data, mut size, mut cas) = (core::ptr::null_mut(), 0, 0);
    // SAFETY: as in `read_buffer`, and one u32.
    let status = unsafe {
        proxy_get_shared_data(
            key.as_ptr(),
            key.len(),
            &raw mut data,
            &raw mut size,
            &raw mut cas,
        )
    };
    check(status)?;
    Ok((adopt(data, size), cas))
}

/// Writes a shared record if it is at version `cas`.
pub(super) fn set_shared(key: &str, value: &[u8], cas: u32) -> Result<(), Status> {
    // SAFETY: reads both during the call.
    check(unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) })
}

/// Defines a metric and answers its id.
pub(super) fn define_metric(kind: MetricType, name: &str) -> Result<u32, Status> {
    let mut id = 0;
    // SAFETY: reads `name`, writes one u32.
    check(unsafe { proxy_define_metric(kind as i32, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Adds to a counter.
pub(super) fn add_to_metric(id: u32, offset: u64) -> Result<(), Status> {
    // SAFETY: no pointers.
    check(unsafe { proxy_increment_metric(id, i64::try_from(offset).unwrap_or(i64::MAX)) })
}

/// Sets a gauge or records a value of a histogram.
pub(super) fn record_metric(id: u32, value: u64) -> Result<(), Status> {
    // SAFETY: no pointers.
    check(unsafe { proxy_record_metric(id, value) })
}

/// Lets the following calls of the host speak for another context.
pub(super) fn speak_for(context: u32) -> Result<(), Status> {
    // SAFETY: no pointers.
    check(unsafe { proxy_set_effective_context(context) })
}

/// Lets one way of a stream go on that was held: the way whose headers `map` holds.
pub(super) fn go_on(map: Map) -> Result<(), Status> {
    let kind = match map {
        Map::Request => 0,
        Map::Response | Map::CallResponse => 1,
    };
    // SAFETY: no pointers.
    check(unsafe { proxy_continue_stream(kind) })
}

/// Makes an HTTP call and answers its token. By the SDK's function, as its dispatcher must know the token when the
/// answer comes; it panics only on statuses that hosts don't answer here.
pub(super) fn call(
    cluster: &str,
    headers: Vec<(&str, &str)>,
    body: &[u8],
    timeout: core::time::Duration,
) -> Result<u32, Status> {
    let token = proxy_wasm::hostcalls::dispatch_http_call(cluster, headers, Some(body), vec![], timeout);
    token.map_err(|status| Status(i32::try_from(status as u32).unwrap_or(-1)))
}

/// Answers the client. `headers` is the serialized map.
pub(super) fn reply(status: u32, details: &str, headers: &[u8], body: &[u8]) -> Result<(), Status> {
    // SAFETY: reads all during the call.
    check(unsafe {
        proxy_send_local_response(
            status,
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            -1,
        )
    })
}
