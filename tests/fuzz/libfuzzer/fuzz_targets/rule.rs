//! Any bytes for [`spillway_fuzz::rule`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spillway_fuzz::rule(data));
