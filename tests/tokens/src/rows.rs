//! Prompts as equations: feature counts on the left, the tokenizer's count on the right.

use crate::corpus::{self, Text};
use crate::encoding::Encoding;
use spillway::tokens::walk::{CLASS_FEATURES, LETTER_FEATURES, Walk};
use std::collections::BTreeMap;

/// All features in one numbering: those of classes, then those of letters.
pub const FEATURES: usize = CLASS_FEATURES + LETTER_FEATURES;

/// Sizes of the prompts that are fitted to. Every text is cut once by each: small ones tell features apart, large ones
/// are what matters.
const SIZES: [usize; 3] = [400, 1300, 4000];

/// One prompt.
pub struct Row {
    /// How often each feature occurs, by ascending feature.
    pub counts: Vec<(usize, f64)>,
    /// Tokens.
    pub tokens: f64,
    /// How much this row matters.
    pub weight: f64,
}

/// The rows of the texts.
pub fn of<'t>(texts: impl Iterator<Item = &'t Text>, encoding: &Encoding) -> Vec<Row> {
    let mut rows = Vec::new();
    for text in texts {
        for size in SIZES {
            let prompts = corpus::cut(&text.text, &[size]);
            rows.extend(
                prompts
                    .into_iter()
                    .map(|prompt| row(prompt, &text.kind, encoding)),
            );
        }
    }
    rows
}

fn row(prompt: &str, kind: &str, encoding: &Encoding) -> Row {
    let length = f64::from(u32::try_from(prompt.len()).unwrap_or(u32::MAX));
    Row {
        counts: counts(&corpus::escape(prompt)),
        tokens: f64::from(encoding.count(prompt)),
        weight: importance(kind) * (length / 1300.0).sqrt(),
    }
}

fn counts(raw: &str) -> Vec<(usize, f64)> {
    let mut counts = BTreeMap::new();
    Walk::default().over(raw.as_bytes(), 0, raw.len(), |feature| {
        *counts.entry(feature.class).or_default() += 1.0;
        if feature.letters != 0 {
            *counts.entry(CLASS_FEATURES + feature.letters).or_default() += 1.0;
        }
    });
    counts.into_iter().collect()
}

/// What prompts are mostly made of counts more than its share of the bytes.
fn importance(kind: &str) -> f64 {
    match kind {
        "en" | "chat" | "markdown" => 3.0,
        "code" | "json" | "logs" => 1.5,
        _ => 1.0,
    }
}
