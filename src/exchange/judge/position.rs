//! How far an exchange has climbed its ladder.
//!
//! Its invariant: it only goes up, so that an exchange asks no more often than its ladder has rungs for.

/// How far an exchange has climbed its ladder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::exchange) struct Position {
    /// Rungs below this one that ask somebody are spent. Those that ask nobody are free, and tried on every answer.
    rung: usize,
    /// How often this one was used.
    times: u32,
    /// Somebody was asked again.
    asked: bool,
}

impl Position {
    /// Whether a rung at `at` may be used once more, of `most` times.
    pub(super) fn allows(self, at: usize, most: u32) -> bool {
        at > self.rung || at == self.rung && self.times < most
    }

    /// After the rung at `at` was used.
    pub(super) fn used(self, at: usize) -> Self {
        let times = if at == self.rung { self.times } else { 0 };
        Self {
            rung: at,
            times: times.saturating_add(1),
            asked: true,
        }
    }

    /// Where the rung at `at` led nowhere.
    pub(super) fn over(self, at: usize) -> Self {
        Self {
            rung: at.saturating_add(1),
            times: 0,
            ..self
        }
    }

    /// As it stands for an answer that was asked for again, or wasn't.
    pub(in crate::exchange) fn of_answer(self, asked: bool) -> Self {
        Self { asked, ..self }
    }

    /// Whether the answer is one that was asked for again.
    pub(in crate::exchange) fn has_asked(self) -> bool {
        self.asked
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn a_rung_is_used_as_often_as_it_says_and_never_after_a_later_one() {
        let start = Position::default();
        assert!(start.allows(0, 2) && start.allows(1, 1) && !start.has_asked());
        let once = start.used(1);
        assert!(once.has_asked() && !once.allows(0, 9) && once.allows(1, 2) && !once.allows(1, 1));
        let twice = once.used(1);
        assert!(!twice.allows(1, 2) && twice.allows(2, 1));
        let over = start.over(1);
        assert!(!over.has_asked() && !over.allows(1, 9) && over.allows(2, 1));
    }
}
