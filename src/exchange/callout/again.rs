//! Asking for a better answer: the same provider, told what was wrong, or the next candidate.

use crate::store::Store;

use super::super::judge::{Again, Complaint};
use super::super::respond::Responding;
use super::super::{Exchange, Step, Turn};

/// Asks for another answer. Gives the state back, unchanged, where no candidate, no attempt or no budget is left.
#[expect(clippy::unnecessary_wraps, reason = "nobody can be asked yet")]
pub(in super::super) fn again<S: Store>(
    state: Box<Responding>,
    _turn: &mut Turn<'_, S>,
    _complaint: &Complaint,
    _to: Again,
) -> Result<(Exchange, Step), Box<Responding>> {
    Err(state)
}
