//! Any bytes for [`spillway_fuzz::json`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spillway_fuzz::json(data));
