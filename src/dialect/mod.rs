//! What is read and written of each provider's API.

pub mod signals;
