//! Any bytes for [`spillway_fuzz::repair_text`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spillway_fuzz::repair_text(data));
