//! The verdict on an answer, from all its sources, and the way on that the policy's ladder names.
//!
//! ```text
//! schema ── no ──▶ ladder: repair ── mended ──┐
//!   └── yes ─────────────────────────────────┴▶ rules (clamp) ──▶ grounding ──▶ valid | repaired
//!                  ladder: retry, fallback, default, reject, annotate ◀── no ──┘
//! ```
//!
//! [`judge`] is a function of the policy, what the request asked for, the answer, and how far its ladder was climbed: the
//! same for an answer that passes and for one that came by a callout. The invariant: what it says of an answer holds
//! paths, keywords and the policy's own names, never content.

mod asked;
mod case;
mod complaint;
mod draft;
mod finding;
mod form;
mod position;
mod rule;

pub(super) use asked::{Asked, Outgoing};
pub(super) use case::{Case, Judged, Then, judge};
pub(super) use complaint::{Again, Complaint};
pub(super) use draft::Heard;
pub(super) use position::Position;
pub(super) use rule::Rule;
