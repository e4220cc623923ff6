//! Any bytes for [`spillway_fuzz::tokens_of`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spillway_fuzz::tokens_of(data));
