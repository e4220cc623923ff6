//! Makes the tables at build time: one binary file per encoding that is a cargo feature, and one of character classes.
//!
//! The ranks are read through tiktoken-rs's public interface, the classes from regex-syntax, which the patterns of
//! tiktoken-rs are compiled with: so both agree with the reference whatever version is locked. The same input gives the
//! same bytes. What the readers rely on is asserted here; a table that would count wrongly stops the build.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a table that can't be made should stop the build where it stands"
)]

mod classes;
mod file;
mod merges;
mod perfect;

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let wanted = |feature: &str| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    classes::write(&out);
    if wanted("O200K") {
        file::write(&out, "o200k", &tiktoken_rs::o200k_base().expect("its own ranks"));
    }
    if wanted("CL100K") {
        file::write(
            &out,
            "cl100k",
            &tiktoken_rs::cl100k_base().expect("its own ranks"),
        );
    }
}
