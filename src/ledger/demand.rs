//! What a request asks of a limit: how much is set aside before anybody knows what it will use.
//!
//! Invariant: never more than the limit's capacity, so a request whose prompt fits can always be admitted some time.

use super::habit::Habit;
use crate::policy::{Limit, Reserve, Unit};

/// Expected output is never taken for less: a single short answer says little about the next one.
const LEAST_EXPECTED: u64 = 256;
/// Expected output of a caller and model that have not answered yet.
const UNLEARNT: u64 = 1_024;

/// What is known of a request before it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Tokens of the prompt's texts.
    pub text: u64,
    /// Tokens of the rest of the prompt, by formula.
    pub around: u64,
    /// How well the texts' tokens are known.
    pub certainty: Certainty,
    /// Tokens of output that the request allows, of each choice.
    pub max_output: Option<u64>,
    /// Answers asked for; 0 counts as 1.
    pub choices: u32,
    /// Whether the answer is generated; embeddings have no output tokens.
    pub generates: bool,
}

/// How well a prompt's texts are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Certainty {
    /// Exactly.
    Counted,
    /// By estimate, and nobody can do better. 5 % are added against its error, and what was learnt corrects it.
    #[default]
    Estimated,
    /// By estimate, but they can be counted: where the decision depends on it, the answer is that it does.
    Countable {
        /// They are believed to be no fewer.
        least: u64,
        /// They are believed to be no more.
        most: u64,
    },
}

/// What to set aside of a limit, in its unit; and what that would be at either end of what the texts may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Units {
    pub(super) units: u64,
    pub(super) least: u64,
    pub(super) most: u64,
}

impl Units {
    /// A number that nobody doubts.
    pub(super) const fn sure(units: u64) -> Self {
        Self {
            units,
            least: units,
            most: units,
        }
    }
}

/// What a prompt's tokens may be.
#[derive(Clone, Copy)]
struct Prompt {
    least: u64,
    likely: u64,
    most: u64,
}

impl Demand {
    /// The demand as what this caller and model lately did makes it likely.
    pub(super) fn corrected(self, habit: Option<&Habit>) -> Self {
        let text = match (self.certainty, habit) {
            (Certainty::Counted, _) | (_, None) => self.text,
            (Certainty::Estimated | Certainty::Countable { .. }, Some(habit)) => habit.correct(self.text),
        };
        Self { text, ..self }
    }

    /// Tokens of the whole prompt.
    pub(super) fn prompt(&self) -> u64 {
        self.text.saturating_add(self.around)
    }

    /// The fewest tokens that the texts may have.
    pub(super) fn least(&self) -> u64 {
        match self.certainty {
            Certainty::Counted | Certainty::Estimated => self.text,
            Certainty::Countable { least, .. } => least,
        }
    }

    /// What to set aside of `limit`. `expected`: the caller's and model's output lately.
    pub(super) fn units(&self, limit: &Limit, expected: Option<u64>) -> Units {
        let capacity = limit.burst.max(1);
        match limit.unit {
            Unit::Requests => Units::sure(1),
            Unit::Tokens => {
                let output = self.all_output(limit.reserve, expected);
                let with_output = |prompt: u64| prompt.saturating_add(output).min(capacity);
                let prompt = self.range();
                Units {
                    units: with_output(prompt.likely),
                    least: with_output(prompt.least),
                    most: with_output(prompt.most),
                }
            }
        }
    }

    /// Whether the prompt alone exceeds what `limit` can ever hold, so that it can never be admitted; none when that
    /// depends on its count.
    pub(super) fn never_fits(&self, limit: &Limit) -> Option<bool> {
        let exceeds = |prompt: u64| limit.unit == Unit::Tokens && prompt > limit.burst.max(1);
        match self.certainty {
            Certainty::Counted | Certainty::Estimated => Some(exceeds(self.prompt())),
            Certainty::Countable { least, most } => {
                let (low, high) = (
                    self.around.saturating_add(least),
                    self.around.saturating_add(most),
                );
                (exceeds(low) == exceeds(high)).then(|| exceeds(low))
            }
        }
    }

    fn range(&self) -> Prompt {
        let (prompt, around) = (self.prompt(), self.around);
        let padded = prompt.saturating_add(prompt.div_ceil(20));
        let (least, likely, most) = match self.certainty {
            Certainty::Counted => (prompt, prompt, prompt),
            Certainty::Estimated => (padded, padded, padded),
            Certainty::Countable { least, most } => {
                let (least, most) = (around.saturating_add(least), around.saturating_add(most));
                (least, padded.clamp(least, most.max(least)), most)
            }
        };
        Prompt { least, likely, most }
    }

    fn all_output(&self, reserve: Reserve, expected: Option<u64>) -> u64 {
        if !self.generates {
            return 0;
        }
        let each = self.output(reserve, expected);
        each.saturating_mul(u64::from(self.choices.max(1)))
    }

    fn output(&self, reserve: Reserve, expected: Option<u64>) -> u64 {
        match (reserve, self.max_output) {
            (Reserve::Max, Some(most)) => most,
            (Reserve::Max | Reserve::Expected, most) => {
                let lately = expected.unwrap_or(UNLEARNT).max(LEAST_EXPECTED);
                lately.min(most.unwrap_or(u64::MAX))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::limit;

    fn demand(prompt: u64, max_output: Option<u64>, choices: u32, generates: bool) -> Demand {
        Demand {
            text: prompt,
            max_output,
            choices,
            generates,
            ..Demand::default()
        }
    }

    #[test]
    fn what_is_set_aside() {
        use Reserve::{Expected, Max};
        let table = [
            // prompt, max output, choices, generates, reserve, learnt → tokens
            (demand(100, None, 1, true), Expected, None, 105 + 1_024),
            (demand(101, None, 1, true), Expected, None, 107 + 1_024),
            (demand(100, Some(500), 1, true), Expected, None, 105 + 500),
            (demand(100, Some(50), 1, true), Expected, Some(4_000), 105 + 50),
            (
                demand(100, Some(5_000), 1, true),
                Expected,
                Some(4_000),
                105 + 4_000,
            ),
            (demand(100, Some(5_000), 1, true), Expected, Some(3), 105 + 256),
            (demand(100, Some(5_000), 1, true), Max, Some(3), 105 + 5_000),
            (demand(100, None, 1, true), Max, Some(300), 105 + 300),
            (demand(100, None, 1, true), Max, None, 105 + 1_024),
            (demand(100, Some(500), 3, true), Expected, None, 105 + 1_500),
            (demand(100, Some(500), 0, true), Expected, None, 105 + 500),
            (demand(100, Some(500), 9, false), Max, Some(300), 105),
            (demand(0, Some(0), 1, true), Expected, None, 0),
            (demand(100, Some(u64::MAX), u32::MAX, true), Max, None, 100_000),
            (demand(u64::MAX, None, 1, true), Max, None, 100_000),
        ];
        for (demand, reserve, learnt, tokens) in table {
            let mut limit = limit(100_000, 60);
            limit.reserve = reserve;
            assert_eq!(
                demand.units(&limit, learnt),
                Units::sure(tokens),
                "{demand:?} {reserve:?} {learnt:?}"
            );
        }
    }

    #[test]
    fn a_request_counts_as_one() {
        let mut limit = limit(10, 60);
        limit.unit = Unit::Requests;
        assert_eq!(
            demand(1_000_000, None, 5, true).units(&limit, None),
            Units::sure(1)
        );
        assert_eq!(demand(1_000_000, None, 5, true).never_fits(&limit), Some(false));
    }

    #[test]
    fn only_a_prompt_over_the_capacity_never_fits() {
        let mut limit = limit(1_000, 60);
        let never = |prompt, limit: &Limit| demand(prompt, Some(u64::MAX), 9, true).never_fits(limit);
        assert_eq!(never(1_000, &limit), Some(false));
        assert_eq!(never(1_001, &limit), Some(true));
        limit.burst = 500;
        assert_eq!(never(501, &limit), Some(true));
    }

    fn countable(text: u64, least: u64, most: u64) -> Demand {
        Demand {
            certainty: Certainty::Countable { least, most },
            ..demand(text, Some(100), 1, true)
        }
    }

    #[test]
    fn a_prompt_that_can_be_counted_is_known_between_two_bounds() {
        let demand = Demand {
            around: 10,
            ..countable(100, 60, 180)
        };
        let units = demand.units(&limit(1_000, 60), None);
        assert_eq!((units.least, units.units, units.most), (170, 216, 290));
        let counted = Demand {
            certainty: Certainty::Counted,
            ..demand
        };
        assert_eq!(counted.units(&limit(1_000, 60), None), Units::sure(210));
    }

    #[test]
    fn whether_a_prompt_can_ever_fit_may_depend_on_its_count() {
        let never = |burst| countable(100, 60, 180).never_fits(&limit(burst, 60));
        assert_eq!(
            [59, 60, 179, 180].map(never),
            [Some(true), None, None, Some(false)]
        );
    }
}
