//! The module loads wherever proxy-wasm 0.2.1 does: it imports nothing else, and is small enough to ship.

use spillway_suites::module;
use spillway_test_host::imports;

/// WASI as the proxy-wasm specification v0.2.1 lists it. Envoy has more (`sched_yield`), strict hosts don't.
const WASI: [&str; 8] = [
    "args_get",
    "args_sizes_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "random_get",
];

/// The host functions of the specification v0.2.1 that Envoy has too.
const HOST: [&str; 39] = [
    "proxy_add_header_map_value",
    "proxy_call_foreign_function",
    "proxy_close_stream",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_dequeue_shared_queue",
    "proxy_done",
    "proxy_enqueue_shared_queue",
    "proxy_get_buffer_bytes",
    "proxy_get_buffer_status",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_size",
    "proxy_get_header_map_value",
    "proxy_get_log_level",
    "proxy_get_metric",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_get_status",
    "proxy_grpc_call",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_register_shared_queue",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_resolve_shared_queue",
    "proxy_send_local_response",
    "proxy_set_buffer_bytes",
    "proxy_set_effective_context",
    "proxy_set_header_map_pairs",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
];

/// 6 MiB, as `build.sh` holds it too; 1.7 of them are the table that counts o200k.
const MOST_BYTES: u64 = 6_291_456;

#[test]
fn every_import_is_in_the_specification_and_in_envoy() {
    let foreign = |import: &spillway_test_host::Import| {
        let name = import.name.as_str();
        match import.module.as_str() {
            "env" => !HOST.contains(&name),
            "wasi_snapshot_preview1" => !WASI.contains(&name),
            _ => true,
        }
    };
    let all = imports(&module()).expect("the module loads");
    let foreign: Vec<_> = all.into_iter().filter(foreign).collect();
    assert!(foreign.is_empty(), "not every host has these: {foreign:?}");
}

#[test]
fn it_is_small_enough() {
    let bytes = std::fs::metadata(module()).expect("the module is a file").len();
    assert!(bytes < MOST_BYTES, "{bytes} bytes, and {MOST_BYTES} are allowed");
}
