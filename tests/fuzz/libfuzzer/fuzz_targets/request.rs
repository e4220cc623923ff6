//! Any bytes for [`spillway_fuzz::request`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spillway_fuzz::request(data));
