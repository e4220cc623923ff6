//! The merge tables of OpenAI's encodings and the character classes of their patterns, read where they lie.
//!
//! `build/` makes them when this crate is compiled. They are constants of the program: nothing is parsed, copied or
//! allocated at start. Each encoding is a cargo feature, about 1.9 MB (`o200k`) and 1 MB (`cl100k`).

#![forbid(unsafe_code)]

pub mod class;
mod hash;
mod pairs;

#[cfg(feature = "cl100k")]
pub use pairs::CL100K;
#[cfg(feature = "o200k")]
pub use pairs::O200K;
pub use pairs::{Pairs, Token};
