//! How many tokens a prompt has, as far as a decision needs to know.

use crate::policy::Tokenizer;

/// What of a request's body a provider bills, as spans of the body and counts of its shape. Made by `dialect`.
#[derive(Clone, Debug, Default)]
pub struct Prompt<'b> {
    /// Contents of JSON strings (between the quotes, still escaped) that are text to the model: message contents,
    /// roles, names, tool names and descriptions, property names and their types, instructions, inputs. Never `data:` URLs.
    pub texts: Vec<&'b [u8]>,
    /// Messages (or input items).
    pub messages: u32,
    /// Messages that carry a `name`.
    pub names: u32,
    /// Tools or functions declared.
    pub functions: u32,
    /// `properties` objects with at least one member.
    pub property_sets: u32,
    /// Members of those.
    pub properties: u32,
    /// `enum` arrays in them.
    pub enums: u32,
    /// Items of those.
    pub enum_items: u32,
    /// Images, in order.
    pub images: Vec<Image>,
    /// Tokens given as integers (embeddings, completions).
    pub token_ids: u64,
}

/// An image in a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// `detail: low`.
    Low,
    /// `detail: high` or `auto`, with its size in pixels when the body tells it.
    High {
        /// Width and height.
        size: Option<(u32, u32)>,
    },
}

/// What a prompt is thought to cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Tokens.
    pub tokens: u64,
}

/// The prompt's tokens, at a cost that doesn't grow with long texts (they are sampled).
#[must_use]
pub fn estimate(prompt: &Prompt<'_>, tokenizer: Tokenizer) -> Estimate {
    let _ = tokenizer;
    let bytes: usize = prompt.texts.iter().map(|t| t.len()).sum();
    Estimate {
        tokens: u64::try_from(bytes / 4).unwrap_or(u64::MAX),
    }
}

/// The tokens of a text that arrives in pieces (a stream's deltas). No allocation.
#[derive(Clone, Debug, Default)]
pub struct Running {
    bytes: u64,
}

impl Running {
    /// Adds a piece: the content of a JSON string, still escaped.
    pub fn push(&mut self, raw: &[u8]) {
        self.bytes = self.bytes.saturating_add(raw.len() as u64);
    }

    /// The tokens so far.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.bytes / 4
    }
}
