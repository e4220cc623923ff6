//! Failing over without a provider role: the gateway role asks the next candidate itself, by an HTTP call of the host.
//!
//! ```text
//! Admitted ── a failing status, no answer in time ──┐
//! Responding ── a stream that begins with an error ─┤
//! Responding ── an answer that fails its validation ─┴─▶ Calling ── an answer that can be used ──▶ Done
//!                                                        │  ▲
//!                                                        └──┴─ waits, or the next candidate
//! ```
//!
//! The first attempt goes the ordinary way, and streams as ever. While another is asked, the client's answer is held;
//! what comes of it goes out at once, a stream as one block of its events. An answer to a call is read by the same code
//! as one that passes ([`super::respond`]), so that nothing about it is decided twice.
//! The invariants: nothing is sent again once a byte of an answer went to the client; each attempt's breaker is told
//! once, and its provider's reservation settled once; the caller's own is settled at the end, for all attempts.

mod again;
mod answered;
mod calling;
mod dismissed;
mod ended;
mod given_up;
mod kept;
mod listen;
mod next;
mod own;
mod request;
mod said;
mod start;

pub(super) use again::again;
pub use answered::CallAnswer;
pub use calling::Calling;
pub use request::Call;

pub(super) use given_up::unanswered;
pub(crate) use kept::Kept;
pub(super) use kept::{Before, by_callout, can_translate, room};
pub(super) use own::Own;
