//! What is said of an exchange: headers, metrics, the access record.

pub mod ratelimit;
