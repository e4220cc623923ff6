//! What a provider says it still grants us: read from its answers by `dialect`, acted upon by `breaker`.
//!
//! It stands apart so that neither has to know the other.

use core::time::Duration;

/// At or below this share (per mille) a provider counts as having nothing left: with several workers'
/// requests in flight, the last hundredth is as good as promised already.
const NEARLY_NOTHING: u16 = 10;

/// What is left of a provider's rate limits, the tightest of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headroom {
    /// The share left of the tightest limit, in thousandths (0–1000), rounded down; 0 for a remainder of 0
    /// whatever the limit, 1000 where no limit was told.
    pub share: u16,
    /// Requests left.
    pub remaining_requests: Option<u64>,
    /// Tokens left, the fewest of all kinds told (tokens, input tokens, output tokens).
    pub remaining_tokens: Option<u64>,
    /// How long until the tightest limit is whole again.
    pub reset: Option<Duration>,
}

impl Headroom {
    /// What is left of it a while after it was told; nothing once its limit is whole again.
    #[must_use]
    pub fn aged(self, by: Duration) -> Option<Self> {
        match self.reset {
            None => Some(self),
            Some(reset) => {
                let left = reset.checked_sub(by).filter(|left| !left.is_zero())?;
                Some(Self {
                    reset: Some(left),
                    ..self
                })
            }
        }
    }

    /// Whether next to nothing is left (a hundredth or less).
    #[must_use]
    pub fn is_nearly_nothing(&self) -> bool {
        self.share <= NEARLY_NOTHING
    }
}
