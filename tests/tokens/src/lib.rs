//! What the fitting program, the report on the exact counter and the tests share: texts, real tokenizers, hostile input.

pub mod corpus;
pub mod encoding;
pub mod hostile;
pub mod mixture;
pub mod random;
#[path = "../../timed/mod.rs"]
pub mod timed;
