//! The module that the host's own tests run: it does what a request header tells it to.
//!
//! `x-do` holds steps, separated by `;`. A step is a callback's name, an operation, and its arguments, separated by spaces.
//! The callbacks are `rh` and `sh` (request and response headers), `rb` and `sb` (bodies, every time), `re` and `se` (bodies
//! at their end), `log`, and `call` (a callout's answer). Every callback is logged as `NAME SIZE END`, and every operation
//! that has a result logs that.
//!
//! It speaks the raw ABI and needs no crate, so that the tests can build it with nothing but `rustc`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ptr::null_mut;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, len: usize) -> u32;
    fn proxy_get_header_map_value(map: u32, key: *const u8, key_len: usize, out: *mut *mut u8, out_len: *mut usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, out: *mut *mut u8, out_len: *mut usize) -> u32;
    fn proxy_replace_header_map_value(map: u32, key: *const u8, key_len: usize, value: *const u8, value_len: usize) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_len: usize) -> u32;
    fn proxy_get_buffer_bytes(buffer: u32, start: usize, max: usize, out: *mut *mut u8, out_len: *mut usize) -> u32;
    fn proxy_set_buffer_bytes(buffer: u32, start: usize, size: usize, data: *const u8, len: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_len: usize, out: *mut *mut u8, out_len: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_len: usize, value: *const u8, value_len: usize) -> u32;
    fn proxy_get_shared_data(key: *const u8, key_len: usize, out: *mut *mut u8, out_len: *mut usize, cas: *mut u32) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_len: usize, value: *const u8, value_len: usize, cas: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_len: usize, out: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
    fn proxy_continue_stream(kind: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_len: usize,
        body: *const u8,
        body_len: usize,
        headers: *const u8,
        headers_len: usize,
        grpc: i32,
    ) -> u32;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_len: usize,
        headers: *const u8,
        headers_len: usize,
        body: *const u8,
        body_len: usize,
        trailers: *const u8,
        trailers_len: usize,
        timeout: u32,
        out: *mut u32,
    ) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_current_time_nanoseconds(out: *mut u64) -> u32;
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

thread_local! {
    static STEPS: RefCell<HashMap<u32, Vec<(String, Vec<String>)>>> = RefCell::default();
    static CALLS: RefCell<HashMap<u32, u32>> = RefCell::default();
    static KEPT: RefCell<Vec<Vec<u8>>> = RefCell::default();
}

const REQUEST: u32 = 0;
const RESPONSE: u32 = 2;

fn log(text: &str) {
    unsafe { proxy_log(2, text.as_ptr(), text.len()) };
}

/// A status, and what came with it.
fn taken(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> (u32, Vec<u8>) {
    let (mut data, mut size) = (null_mut::<u8>(), 0);
    let status = call(&mut data, &mut size);
    let bytes = if data.is_null() { Vec::new() } else { unsafe { Vec::from_raw_parts(data, size, size) } };
    (status, bytes)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn header(map: u32, name: &str) -> (u32, String) {
    let (status, value) = taken(|data, size| unsafe { proxy_get_header_map_value(map, name.as_ptr(), name.len(), data, size) });
    (status, text(&value))
}

fn body_of(callback: &str) -> u32 {
    u32::from(callback.starts_with('s'))
}

fn map(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = (pairs.len() as u32).to_le_bytes().to_vec();
    for (name, value) in pairs {
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        bytes.extend(name.bytes().chain([0]).chain(value.bytes()).chain([0]));
    }
    bytes
}

/// Adds one to a number under `key`, by CAS until it succeeds.
fn count(key: &str) {
    for tries in 1.. {
        let mut cas = 0;
        let (status, value) = taken(|data, size| unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &mut cas) });
        let number = text(&value).parse::<u64>().unwrap_or(0) + 1;
        let cas = if status == 0 { cas } else { u32::MAX };
        let value = number.to_string();
        let status = unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) };
        if status != 8 {
            return log(&format!("counted {key} {number} tries {tries} status {status}"));
        }
    }
}

/// Does one step; says whether it pauses. `hold` pauses until the end.
fn perform(context: u32, callback: &str, end: bool, step: &[String]) -> bool {
    let argument = |index: usize| step.get(index).map_or("", String::as_str);
    let (operation, first, second) = (argument(0), argument(1), argument(2));
    match operation {
        "pause" => return true,
        "hold" => return !end,
        "set-request" | "set-response" => {
            let map = if operation == "set-request" { REQUEST } else { RESPONSE };
            let status =
                unsafe { proxy_replace_header_map_value(map, first.as_ptr(), first.len(), second.as_ptr(), second.len()) };
            log(&format!("{callback} {operation} {first} status {status}"));
        }
        "remove-request" | "remove-response" => {
            let map = if operation == "remove-request" { REQUEST } else { RESPONSE };
            unsafe { proxy_remove_header_map_value(map, first.as_ptr(), first.len()) };
        }
        "get-request" | "get-response" => {
            let (status, value) = header(if operation == "get-request" { REQUEST } else { RESPONSE }, first);
            log(&format!("{callback} {operation} {first} status {status} value {value}"));
        }
        "pairs" => {
            let (status, bytes) = taken(|data, size| unsafe { proxy_get_header_map_pairs(REQUEST, data, size) });
            log(&format!("{callback} pairs status {status} bytes {}", bytes.len()));
        }
        "read" => {
            let (_, bytes) =
                taken(|data, size| unsafe { proxy_get_buffer_bytes(body_of(callback), 0, usize::MAX >> 1, data, size) });
            log(&format!("{callback} read {}", text(&bytes)));
        }
        "body" => {
            let body = first.replace('_', " ");
            let status =
                unsafe { proxy_set_buffer_bytes(body_of(callback), 0, 1 << 30, body.as_ptr(), body.len()) };
            log(&format!("{callback} body status {status}"));
        }
        "reply" => {
            let status = first.parse().unwrap_or(500);
            let headers = map(&[("x-reply", "probe")]);
            unsafe {
                proxy_send_local_response(status, null_mut(), 0, second.as_ptr(), second.len(), headers.as_ptr(), headers.len(), -1)
            };
        }
        "resume-request" => drop(unsafe { proxy_continue_stream(0) }),
        "resume-response" => drop(unsafe { proxy_continue_stream(1) }),
        "call" => {
            let headers = map(&[(":path", "/"), (":method", "GET"), (":authority", "a")]);
            let mut token = 0;
            let status = unsafe {
                let none = null_mut();
                let timeout = second.parse().unwrap_or(0);
                proxy_http_call(first.as_ptr(), first.len(), headers.as_ptr(), headers.len(), none, 0, none, 0, timeout, &mut token)
            };
            log(&format!("{callback} call status {status}"));
            CALLS.with_borrow_mut(|calls| calls.insert(token, context));
        }
        "property" => {
            let path = first.replace('/', "\0");
            let (status, value) = taken(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) });
            log(&format!("{callback} property {first} status {status} value {}", text(&value)));
        }
        "state" => {
            let status = unsafe { proxy_set_property(first.as_ptr(), first.len(), second.as_ptr(), second.len()) };
            log(&format!("{callback} state status {status}"));
        }
        "count" => count(first),
        "metric" => {
            let (mut id, by) = (0, second.parse().unwrap_or(1));
            unsafe { proxy_define_metric(0, first.as_ptr(), first.len(), &mut id) };
            log(&format!("metric status {}", unsafe { proxy_increment_metric(id, by) }));
        }
        "keep" => KEPT.with_borrow_mut(|kept| kept.push(std::hint::black_box(vec![1; first.parse().unwrap_or(0)]))),
        "spin" => loop {
            std::hint::black_box(());
        },
        "trap" => panic!("the test asked for it"),
        _ => log(&format!("no operation {operation}")),
    }
    false
}

fn callback(context: u32, name: &str, size: usize, end: bool) -> u32 {
    log(&format!("{name} {size} {end}"));
    let at_end = name.replace('b', "e");
    let mine = |step: &&(String, Vec<String>)| step.0 == name || (end && name.ends_with('b') && step.0 == at_end);
    let steps: Vec<Vec<String>> = STEPS.with_borrow(|all| {
        let steps = all.get(&context).map(Vec::as_slice).unwrap_or_default();
        steps.iter().filter(mine).map(|(_, step)| step.clone()).collect()
    });
    let paused = steps.iter().map(|step| perform(context, name, end, step)).fold(false, |paused, pauses| paused | pauses);
    u32::from(paused)
}

#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    unsafe { __wasm_call_ctors() };
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    Box::into_raw(vec![0_u8; size].into_boxed_slice()).cast()
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_context_create(_context: u32, _root: u32) {}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_vm_start(_context: u32, _size: usize) -> u32 {
    unsafe { proxy_set_tick_period_milliseconds(250) };
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(_context: u32, size: usize) -> u32 {
    let (_, configuration) = taken(|data, out| unsafe { proxy_get_buffer_bytes(7, 0, size, data, out) });
    log(&format!("configured {}", text(&configuration)));
    println!("environment {:?}", std::env::var("PROBE"));
    let monotonic = std::time::Instant::now().elapsed();
    eprintln!("random {} elapsed {monotonic:?}", HashMap::<u8, u8>::new().len());
    u32::from(configuration != b"refuse")
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_tick(_context: u32) {
    let mut now = 0;
    unsafe { proxy_get_current_time_nanoseconds(&mut now) };
    log(&format!("tick at {now}"));
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_headers(context: u32, count: usize, end: bool) -> u32 {
    let (_, script) = header(REQUEST, "x-do");
    let words = |step: &str| step.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let steps = script.split(';').map(words).filter(|words| words.len() > 1);
    let steps = steps.map(|words| (words[0].clone(), words[1..].to_vec())).collect();
    STEPS.with_borrow_mut(|all| all.insert(context, steps));
    callback(context, "rh", count, end)
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_body(context: u32, size: usize, end: bool) -> u32 {
    callback(context, "rb", size, end)
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_headers(context: u32, count: usize, end: bool) -> u32 {
    callback(context, "sh", count, end)
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_body(context: u32, size: usize, end: bool) -> u32 {
    callback(context, "sb", size, end)
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_http_call_response(_context: u32, token: u32, headers: usize, body: usize, _trailers: usize) {
    let context = CALLS.with_borrow_mut(|calls| calls.remove(&token)).unwrap_or(0);
    let (status, value) = header(6, ":status");
    log(&format!("answered {headers} {body} status {status} value {value}"));
    unsafe { proxy_set_effective_context(context) };
    callback(context, "call", body, true);
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_done(_context: u32) -> u32 {
    log("done");
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_log(context: u32) {
    callback(context, "log", 0, true);
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_delete(context: u32) {
    STEPS.with_borrow_mut(|all| all.remove(&context));
    log("deleted");
}
