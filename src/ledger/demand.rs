//! What a request asks of a limit: how much is set aside before anybody knows what it will use.
//!
//! Invariant: never more than the limit's capacity, so a request whose prompt fits can always be admitted some time.

use crate::policy::{Limit, Reserve, Unit};

/// Expected output is never taken for less: a single short answer says little about the next one.
const LEAST_EXPECTED: u64 = 256;
/// Expected output of a caller and model that have not answered yet.
const UNLEARNT: u64 = 1_024;

/// What is known of a request before it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Estimated tokens of the prompt; 5 % are added against the estimate's error.
    pub prompt: u64,
    /// Tokens of output that the request allows, of each choice.
    pub max_output: Option<u64>,
    /// Answers asked for; 0 counts as 1.
    pub choices: u32,
    /// Whether the answer is generated; embeddings have no output tokens.
    pub generates: bool,
}

impl Demand {
    /// What to set aside of `limit`, in its unit. `expected`: the caller's and model's output lately.
    pub(super) fn units(&self, limit: &Limit, expected: Option<u64>) -> u64 {
        match limit.unit {
            Unit::Requests => 1,
            Unit::Tokens => self.tokens(limit.reserve, expected).min(limit.burst.max(1)),
        }
    }

    /// Whether the prompt alone exceeds what `limit` can ever hold: then it can never be admitted.
    pub(super) fn never_fits(&self, limit: &Limit) -> bool {
        match limit.unit {
            Unit::Requests => false,
            Unit::Tokens => self.prompt > limit.burst.max(1),
        }
    }

    fn tokens(&self, reserve: Reserve, expected: Option<u64>) -> u64 {
        let prompt = self.prompt.saturating_add(self.prompt.div_ceil(20));
        if !self.generates {
            return prompt;
        }
        let output = self.output(reserve, expected);
        prompt.saturating_add(output.saturating_mul(u64::from(self.choices.max(1))))
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
            prompt,
            max_output,
            choices,
            generates,
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
                tokens,
                "{demand:?} {reserve:?} {learnt:?}"
            );
        }
    }

    #[test]
    fn a_request_counts_as_one() {
        let mut limit = limit(10, 60);
        limit.unit = Unit::Requests;
        assert_eq!(demand(1_000_000, None, 5, true).units(&limit, None), 1);
        assert!(!demand(1_000_000, None, 5, true).never_fits(&limit));
    }

    #[test]
    fn only_a_prompt_over_the_capacity_never_fits() {
        let mut limit = limit(1_000, 60);
        assert!(!demand(1_000, Some(u64::MAX), 9, true).never_fits(&limit));
        assert!(demand(1_001, None, 1, true).never_fits(&limit));
        limit.burst = 500;
        assert!(demand(501, None, 1, true).never_fits(&limit));
    }
}
