//! Any bytes for [`spillway_fuzz::moderation`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spillway_fuzz::moderation(data));
