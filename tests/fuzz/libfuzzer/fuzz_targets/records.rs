//! Any bytes for [`spillway_fuzz::records`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spillway_fuzz::records(data));
