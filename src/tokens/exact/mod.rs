//! The exact number of tokens: what `encode_ordinary` of the reference (tiktoken) would yield, counted without yielding it.
//!
//! ```text
//! decode   JSON escapes, into a bounded scratch; a text without any is counted where it lies
//! splits   pretokens, by hand-written scanners that give the splits of the published patterns
//! memo     short pretokens that were counted lately
//! merge    byte pair encoding of one pretoken, by the table of pairs in `spillway-ranks`
//! ```
//!
//! All of it is linear in the bytes and allocates nothing but the memo and the scratch, once. Special tokens such as
//! `<|endoftext|>` are ordinary text: in a prompt's strings, that is how a provider bills them.

#![cfg_attr(
    not(any(feature = "o200k", feature = "cl100k")),
    allow(dead_code, unreachable_code, unused, reason = "no encoding is built in")
)]

mod decode;
mod load;
mod long;
mod memo;
mod merge;
mod scheme;
mod splits;

use crate::policy::Tokenizer;
use decode::{Decoder, Fill, Scratch};
use long::Windows;
use memo::Memo;
use scheme::Scheme;

/// The longest token has this many bytes, in both encodings.
const LONGEST_TOKEN: u64 = 128;
/// An escape of six bytes stands for at least one.
const LONGEST_ESCAPE: u64 = 6;

/// What a number of tokens was compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// The tokens; at most the limit.
    Exactly(u64),
    /// More than the limit; how many more isn't known.
    Over,
}

/// A public encoding whose table is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `o200k_base`: GPT-4o, GPT-4.1, GPT-5 and the o series. Cargo feature `o200k`.
    #[cfg(feature = "o200k")]
    O200k,
    /// `cl100k_base`: GPT-4, GPT-3.5, text-embedding-3. Cargo feature `cl100k`.
    #[cfg(feature = "cl100k")]
    Cl100k,
}

impl Encoding {
    /// The encoding of a policy's tokenizer; none for `estimate`, and where the table isn't built in.
    #[must_use]
    pub fn of(tokenizer: Tokenizer) -> Option<Self> {
        match tokenizer {
            #[cfg(feature = "o200k")]
            Tokenizer::O200k => Some(Self::O200k),
            #[cfg(not(feature = "o200k"))]
            Tokenizer::O200k => None,
            #[cfg(feature = "cl100k")]
            Tokenizer::Cl100k => Some(Self::Cl100k),
            #[cfg(not(feature = "cl100k"))]
            Tokenizer::Cl100k => None,
            Tokenizer::Estimate => None,
        }
    }
}

/// Counts exactly. One a worker: it holds a memo of pretokens and a scratch for decoded text, of fixed sizes.
#[derive(Debug)]
pub struct Counter {
    memo: Memo,
    windows: Windows,
    scratch: Scratch,
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

impl Counter {
    /// A counter that remembers nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            memo: Memo::new(),
            windows: Windows::new(),
            scratch: Scratch::new(),
        }
    }

    /// The tokens of `texts` (contents of JSON strings, still escaped), each encoded on its own, if they are at most
    /// `limit`. What can't be decoded counts as [`crate::json::chars`] reads it.
    ///
    /// Stops where the limit is passed, and doesn't begin where the bytes alone tell that it will be.
    pub fn count(&mut self, texts: &[&[u8]], encoding: Encoding, limit: u64) -> Count {
        let Some(mut budget) = Budget::of(texts, limit) else {
            return Count::Over;
        };
        let counted = match encoding {
            #[cfg(feature = "o200k")]
            Encoding::O200k => self.texts::<scheme::O200k>(texts, &mut budget),
            #[cfg(feature = "cl100k")]
            Encoding::Cl100k => self.texts::<scheme::Cl100k>(texts, &mut budget),
        };
        match counted {
            Ok(()) => Count::Exactly(limit.saturating_sub(budget.left)),
            Err(Spent) => Count::Over,
        }
    }

    /// How often, so far, a long pretoken was cut at a place that wasn't proved to be one where the encoding of the whole
    /// is cut too. Zero on all text that was ever tried.
    #[must_use]
    pub fn unproved_cuts(&self) -> u64 {
        self.windows.unproved_cuts()
    }

    fn texts<S: Scheme>(&mut self, texts: &[&[u8]], budget: &mut Budget) -> Result<(), Spent> {
        texts.iter().try_for_each(|text| {
            if decode::is_plain(text) {
                self.pretokens::<S>(text, Fill::Whole, budget).map(|_| ())
            } else {
                self.escaped::<S>(text, budget)
            }
        })
    }

    /// Decodes into the scratch, and counts there, as much at a time as it holds.
    fn escaped<S: Scheme>(&mut self, text: &[u8], budget: &mut Budget) -> Result<(), Spent> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut decoder = Decoder::new(text);
        scratch.clear();
        let counted = loop {
            let fill = scratch.fill(&mut decoder);
            match self.pretokens::<S>(scratch.text(), fill, budget) {
                Ok(used) if fill == Fill::Part => scratch.discard(used),
                Ok(_) => break Ok(()),
                Err(Spent) => break Err(Spent),
            }
        };
        self.scratch = scratch;
        counted
    }

    /// Counts the pretokens of `text` that what may follow can't change, but at least one; answers the bytes they have.
    fn pretokens<S: Scheme>(&mut self, text: &[u8], fill: Fill, budget: &mut Budget) -> Result<usize, Spent> {
        let mut at = 0;
        while at < text.len() {
            let split = S::split(text, at);
            if fill == Fill::Part && split.seen >= text.len() && at > 0 {
                break;
            }
            let end = split.end.max(at + 1);
            self.pretoken::<S>(text, at, end, budget)?;
            at = end;
        }
        Ok(at)
    }

    #[inline]
    fn pretoken<S: Scheme>(
        &mut self,
        text: &[u8],
        at: usize,
        end: usize,
        budget: &mut Budget,
    ) -> Result<(), Spent> {
        let length = end - at;
        if length == 1 {
            return budget.spend(1);
        }
        let Some(key) = memo::Key::of(text, at, length, S::TAG) else {
            let piece = text.get(at..end).unwrap_or_default();
            return self.windows.count(S::pairs(), piece, budget);
        };
        if let Some(tokens) = self.memo.recall(&key) {
            return budget.spend(tokens);
        }
        let piece = text.get(at..end).unwrap_or_default();
        let tokens = self.windows.short(S::pairs(), piece);
        self.memo.keep(&key, tokens);
        budget.spend(tokens)
    }
}

/// The limit is passed.
#[derive(Clone, Copy, Debug)]
struct Spent;

/// The tokens that may still come.
#[derive(Debug)]
struct Budget {
    left: u64,
}

impl Budget {
    /// None if the bytes of `texts` are more than `limit` tokens can hold.
    fn of(texts: &[&[u8]], limit: u64) -> Option<Self> {
        let least = |text: &&[u8]| {
            let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
            let decoded = if text.contains(&b'\\') {
                bytes / LONGEST_ESCAPE
            } else {
                bytes
            };
            decoded.div_ceil(LONGEST_TOKEN)
        };
        let least = texts.iter().map(least).fold(0, u64::saturating_add);
        (least <= limit).then_some(Self { left: limit })
    }

    #[inline]
    fn spend(&mut self, tokens: u64) -> Result<(), Spent> {
        self.left = self.left.checked_sub(tokens).ok_or(Spent)?;
        Ok(())
    }
}
