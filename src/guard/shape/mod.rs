//! The shapes of what guards look for, one file each.
//!
//! Each is a pure look around one place of a text. The invariant that streams rest on: what is decided of a match
//! depends on at most 64 bytes before it and 256 from its beginning; only how far a token or a key goes on may take
//! longer, and that is a [`Tail`](super::tail::Tail)'s to follow.

pub(super) mod card;
pub(super) mod email;
pub(super) mod iban;
pub(super) mod ip;
pub(super) mod jwt;
pub(super) mod key;
pub(super) mod phone;
pub(super) mod ssn;

/// So many bytes of a key decide that it is one.
const DECIDED: usize = 200;
