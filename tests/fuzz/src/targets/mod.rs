//! A module and a function for each target.

pub(crate) mod answer;
pub(crate) mod exchange;
pub(crate) mod guard;
pub(crate) mod headers;
pub(crate) mod json;
pub(crate) mod moderation;
pub(crate) mod policy;
pub(crate) mod records;
pub(crate) mod repair;
pub(crate) mod request;
pub(crate) mod rule;
pub(crate) mod schema;
pub(crate) mod sse;
pub(crate) mod tokens;
pub(crate) mod translate;
