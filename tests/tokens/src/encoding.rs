//! The real tokenizers: tiktoken-rs, whose tables are inside the crate (no network).

use spillway::policy::Tokenizer;
use std::error::Error;
use tiktoken_rs::CoreBPE;

/// What is fitted and reported: the name, the policy's word for it, the counter.
pub struct Encoding {
    /// As OpenAI names it.
    pub name: &'static str,
    /// As a policy names it.
    pub tokenizer: Tokenizer,
    bpe: CoreBPE,
}

impl Encoding {
    /// The exact number of tokens.
    pub fn count(&self, text: &str) -> u32 {
        u32::try_from(self.bpe.encode_ordinary(text).len()).unwrap_or(u32::MAX)
    }
}

/// Both.
pub fn all() -> Result<[Encoding; 2], Box<dyn Error>> {
    Ok([
        Encoding {
            name: "o200k_base",
            tokenizer: Tokenizer::O200k,
            bpe: tiktoken_rs::o200k_base()?,
        },
        Encoding {
            name: "cl100k_base",
            tokenizer: Tokenizer::Cl100k,
            bpe: tiktoken_rs::cl100k_base()?,
        },
    ])
}
