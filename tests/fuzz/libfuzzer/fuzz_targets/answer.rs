//! Any bytes for [`spillway_fuzz::answer_body`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spillway_fuzz::answer_body(data));
