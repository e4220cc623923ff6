//! How long an attempt may take, by what is asked of it and by how long the client waits.

use core::time::Duration;

use crate::policy::Failover;

/// Output that is reckoned with where the request sets no bound.
const UNBOUNDED_OUTPUT: u64 = 4_096;

/// How long one attempt may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Until a stream's first token.
    pub first_token: Duration,
    /// Until the end of the answer.
    pub whole: Duration,
}

impl Times {
    /// For so many tokens of prompt, and of output if the request bounds it; `left` is how long the client still
    /// waits. Never zero.
    #[must_use]
    pub fn of(rules: &Failover, prompt: u64, output: Option<u64>, left: Option<Duration>) -> Self {
        let output = output.unwrap_or(UNBOUNDED_OUTPUT);
        let whole = rules.timeouts.whole.of(prompt, output);
        let whole = left
            .map_or(whole, |left| left.min(whole))
            .max(Duration::from_millis(1));
        Self {
            first_token: rules.timeouts.first_token.of(prompt, 0).min(whole),
            whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_grow_with_prompt_and_output_and_end_with_the_clients_patience() {
        let rules = Failover::default();
        let of = |prompt, output, left| Times::of(&rules, prompt, output, left);
        let seconds = |n| Duration::from_secs(n);
        let short = of(0, Some(0), None);
        assert_eq!((short.first_token, short.whole), (seconds(60), seconds(300)));
        let long = of(8_000, Some(2_000), None);
        assert_eq!((long.first_token, long.whole), (seconds(62), seconds(362)));
        let hasty = of(8_000, Some(2_000), Some(seconds(7)));
        assert_eq!((hasty.first_token, hasty.whole), (seconds(7), seconds(7)));
        assert!(of(0, None, Some(Duration::ZERO)).whole > Duration::ZERO);
        assert!(of(u64::MAX, Some(u64::MAX), None).whole >= seconds(3_600));
    }
}
