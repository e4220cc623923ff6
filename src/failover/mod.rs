//! Failing over, decided: what an attempt is given up for, how long to wait before the next, how long each may take,
//! and how many repeats an outage may cause.
//!
//! Plain functions over the policy's section, the same for both ways that a request can be sent again. Its invariant:
//! nothing here is ever without a bound, whatever a provider or a client asks for.

mod budget;
mod fault;
mod timeouts;
mod wait;

pub use budget::{Load, acquire, publish};
pub use fault::Fault;
pub use timeouts::Times;
pub use wait::{backoff, wait_to_repeat, waits_name};
