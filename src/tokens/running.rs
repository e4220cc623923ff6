//! The tokens of a text that arrives in pieces.

use super::walk::Walk;
use super::weights::{self, Weights, within_bounds};
use crate::policy::Tokenizer;

/// The tokens of a text that arrives in pieces (a stream's deltas). No allocation; nothing is sampled.
///
/// A word that goes on in the next piece counts as one word. An escape or a UTF-8 sequence cut by the end of a piece
/// counts as one or two odd characters.
#[derive(Clone, Debug)]
pub struct Running {
    tokenizer: Tokenizer,
    walk: Walk,
    parts: i64,
    bytes: u64,
}

impl Running {
    /// Counts by a tokenizer's weights. `Default` counts by those of `o200k`, without a margin.
    #[must_use]
    pub fn of(tokenizer: Tokenizer) -> Self {
        Self {
            tokenizer,
            walk: Walk::default(),
            parts: 0,
            bytes: 0,
        }
    }

    /// Adds a piece: the content of a JSON string, still escaped.
    pub fn push(&mut self, raw: &[u8]) {
        let weights = Weights::of(self.tokenizer);
        let mut parts = 0;
        self.walk
            .over(raw, 0, raw.len(), |feature| parts += weights.weight(feature));
        self.parts = self.parts.saturating_add(parts);
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(raw.len()).unwrap_or(u64::MAX));
    }

    /// The tokens so far.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        let tokens = weights::with_margin(weights::tokens(self.parts), self.tokenizer);
        within_bounds(tokens, self.bytes)
    }
}

impl Default for Running {
    fn default() -> Self {
        Self::of(Tokenizer::O200k)
    }
}
