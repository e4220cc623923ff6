//! What tells one encoding from another: its splits and its merges. A type each, so that the loops are compiled for it.

use super::splits::{self, Split};
use spillway_ranks::Pairs;

/// An encoding.
pub(super) trait Scheme {
    /// Tells its pretokens in the memo from another's.
    const TAG: u64;

    /// Its merges.
    fn pairs() -> &'static Pairs;

    /// The pretoken of `text` (UTF-8) that begins at `at`, which is before the end.
    fn split(text: &[u8], at: usize) -> Split;
}

/// `o200k_base`.
#[cfg(feature = "o200k")]
pub(super) struct O200k;

#[cfg(feature = "o200k")]
impl Scheme for O200k {
    const TAG: u64 = 0;

    fn pairs() -> &'static Pairs {
        &spillway_ranks::O200K
    }

    #[inline]
    fn split(text: &[u8], at: usize) -> Split {
        splits::o200k(text, at)
    }
}

/// `cl100k_base`.
#[cfg(feature = "cl100k")]
pub(super) struct Cl100k;

#[cfg(feature = "cl100k")]
impl Scheme for Cl100k {
    const TAG: u64 = 1;

    fn pairs() -> &'static Pairs {
        &spillway_ranks::CL100K
    }

    #[inline]
    fn split(text: &[u8], at: usize) -> Split {
        splits::cl100k(text, at)
    }
}
