//! Any bytes for [`spillway_fuzz::translate_body`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spillway_fuzz::translate_body(data));
