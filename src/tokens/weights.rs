//! What each feature weighs, and the sum over a text: the estimate itself.

use super::coefficients;
use super::walk::{CLASS_FEATURES, Feature, LETTER_FEATURES};
use crate::policy::Tokenizer;

/// Weights are integers in this many parts of a token: sums are exact, whatever their order.
pub const PARTS: u32 = 4096;

/// One tokenizer's weights, in 1/[`PARTS`] of a token.
#[derive(Debug)]
pub struct Weights {
    /// By [`Feature::class`].
    pub classes: [u16; CLASS_FEATURES],
    /// By [`Feature::letters`]: a correction, negative for pairs of letters that common words are made of.
    pub letters: [i16; LETTER_FEATURES],
}

impl Weights {
    /// The fitted weights for a tokenizer. One that isn't public is counted by those of `o200k`, see [`with_margin`].
    #[must_use]
    pub fn of(tokenizer: Tokenizer) -> &'static Self {
        match tokenizer {
            Tokenizer::O200k | Tokenizer::Estimate => &coefficients::O200K,
            Tokenizer::Cl100k => &coefficients::CL100K,
        }
    }

    /// The weight of one feature.
    #[inline]
    #[must_use]
    pub fn weight(&self, feature: Feature) -> i64 {
        let class = self.classes.get(feature.class).copied().unwrap_or(0);
        let letters = self.letters.get(feature.letters).copied().unwrap_or(0);
        i64::from(class) + i64::from(letters)
    }
}

/// A sum of weights as tokens, rounded to the nearest.
#[must_use]
pub fn tokens(parts: i64) -> u64 {
    let parts = u64::try_from(parts).unwrap_or(0);
    parts.saturating_add(u64::from(PARTS / 2)) / u64::from(PARTS)
}

/// Tokens plus a fifth where the tokenizer isn't public: [`Tokenizer::Estimate`] is a guess at Anthropic's and others',
/// which cut finer than `o200k`, and too much is given back at settlement while too little is not refused in time.
/// Calibration against reported usage replaces the guess.
#[must_use]
pub fn with_margin(tokens: u64, tokenizer: Tokenizer) -> u64 {
    match tokenizer {
        Tokenizer::O200k | Tokenizer::Cl100k => tokens,
        Tokenizer::Estimate => tokens.saturating_add(tokens.div_ceil(5)),
    }
}

/// Holds an estimate within what can be true of any text of so many bytes: a token has 1 to 128 of them.
#[must_use]
pub fn within_bounds(tokens: u64, bytes: u64) -> u64 {
    tokens.clamp(bytes.div_ceil(128), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold() {
        assert_eq!(within_bounds(0, 0), 0);
        assert_eq!(within_bounds(0, 1), 1);
        assert_eq!(within_bounds(9, 3), 3);
        assert_eq!(within_bounds(1, 1280), 10);
    }

    #[test]
    fn parts_round_and_never_go_below_nothing() {
        assert_eq!([-5, 0, 2047, 2048, 4096, 6144].map(tokens), [0, 0, 0, 1, 1, 2]);
        assert_eq!(with_margin(10, Tokenizer::Estimate), 12);
        assert_eq!(with_margin(10, Tokenizer::O200k), 10);
        assert_eq!(with_margin(u64::MAX, Tokenizer::Estimate), u64::MAX);
    }
}
