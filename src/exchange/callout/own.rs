//! What is set aside with the caller's own limits, over all attempts.

use crate::ledger::Ticket;

/// The caller's part of the reservations of one exchange.
#[derive(Debug)]
pub(in super::super) struct Own {
    /// The first attempt's.
    pub(in super::super) first: Ticket,
    /// What was set aside since, for better answers: token limits alone, each of which is among the first's.
    pub(in super::super) more: Vec<Ticket>,
}

impl Own {
    pub(super) fn of(first: Ticket) -> Self {
        Self {
            first,
            more: Vec::new(),
        }
    }

    pub(super) fn reserved_more(&self) -> u64 {
        let more = self.more.iter().map(Ticket::reserved_tokens);
        more.fold(0, u64::saturating_add)
    }
}
