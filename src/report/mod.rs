//! What is said of an exchange: response headers, metrics, the access record. Never prompt text, never a secret.

mod checked;
mod drilled;
pub mod metric;
pub mod ratelimit;
pub mod record;
mod words;

pub use metric::{Kind, Metric};
pub use record::Record;
