//! How many tokens a prompt has, as far as a decision needs to know.
//!
//! No tokenizer's tables: each character of the decoded text adds a weight that was fitted, by `tests/tokens`, to what
//! the real tokenizers say ([`walk`] names the features, [`coefficients`] holds the weights), and the template, tools
//! and images add what the provider's rules say ([`shape`], [`image`], by the model's [`tariff`]). The README tells how
//! far off that is, per language.
//!
//! Of any text, in bytes b, the estimate is at most b and at least b / 128; its cost is bounded by [`sample::BUDGET`].

pub mod class;
pub mod coefficients;
pub mod exact;
pub mod image;
mod running;
pub mod sample;
pub mod shape;
pub mod tariff;
pub mod walk;
pub mod weights;

pub use running::Running;

use crate::policy::{ProviderModel, Tokenizer};
use tariff::Tariff;
use weights::Weights;

/// What of a request's body a provider bills, as spans of the body and counts of its shape. Made by `dialect`.
#[derive(Clone, Debug, Default)]
pub struct Prompt<'b> {
    /// Contents of JSON strings (between the quotes, still escaped) that are text to the model: message contents,
    /// roles, names, tool names and descriptions, property names and their types, instructions, inputs; and numbers
    /// where the model is shown them. Never `data:` URLs.
    pub texts: Vec<&'b [u8]>,
    /// Messages (or input items).
    pub messages: u32,
    /// Messages that carry a `name`.
    pub names: u32,
    /// Whether a message of the system or the developer leads them.
    pub system: bool,
    /// Calls of tools among them.
    pub calls: u32,
    /// The tools declared.
    pub tools: Tools,
    /// Formats of the answer that come with a schema.
    pub formats: u32,
    /// Tokens that are neither text nor shape, of what is shown as JSON (a format's schema, arguments that come as
    /// values): the punctuation that each name, string and number brings, and words.
    pub json: u64,
    /// Images, in order.
    pub images: Vec<Image>,
    /// Tokens given as integers (embeddings, completions).
    pub token_ids: u64,
    /// Something in it is billed that isn't seen: a file, sound.
    pub unseen: bool,
}

/// Tools as they are declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tools {
    /// Tools or functions.
    pub functions: u32,
    /// Tools whose parameters are an object with at least one property.
    pub parameters: u32,
    /// `properties` objects with at least one member further inside.
    pub nested: u32,
    /// Members of both.
    pub properties: u32,
    /// Descriptions, of tools and of properties.
    pub descriptions: u32,
    /// `enum` arrays.
    pub enums: u32,
    /// Items of those.
    pub enum_items: u32,
    /// Tokens of those that the provider defines and the request only names, see [`tariff::provided`].
    pub provided: u32,
    /// How free the model is to call them.
    pub choice: ToolChoice,
}

/// What a request says about calling its tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// Nothing, or `auto`.
    #[default]
    Auto,
    /// None may be called.
    None,
    /// Any must be called.
    Any,
    /// This one must be called; its name is among the texts.
    Named,
}

/// An image in a prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// How closely the model is to look.
    pub detail: Detail,
    /// Width and height in pixels, when the body tells them.
    pub size: Option<(u32, u32)>,
}

/// How closely a model is to look at an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// As the model's default is.
    #[default]
    Auto,
    /// At a glance.
    Low,
    /// Closely.
    High,
    /// At its own size.
    Original,
}

/// Which model counts: its provider's name of it tells the tariff of images and tools, see [`tariff`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Model<'m> {
    /// The provider's name of it; one that isn't known is charged as the tokenizer's best known model.
    pub name: &'m str,
    /// How its texts are counted.
    pub tokenizer: Tokenizer,
}

impl From<Tokenizer> for Model<'_> {
    fn from(tokenizer: Tokenizer) -> Self {
        Self { name: "", tokenizer }
    }
}

impl<'m> From<&'m ProviderModel> for Model<'m> {
    fn from(model: &'m ProviderModel) -> Self {
        Self {
            name: &model.name,
            tokenizer: model.tokenizer,
        }
    }
}

/// What a prompt is thought to cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Tokens of the texts.
    pub text: u64,
    /// Tokens of everything else, by formula.
    pub around: u64,
}

impl Estimate {
    /// Tokens of the whole prompt.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.text.saturating_add(self.around)
    }
}

/// The fewest and the most tokens that texts of so many bytes, still escaped, can have, whatever they are: the longest
/// tokens have 128 bytes, the shortest one, and an escape spells a byte in six. An estimate is no bound: a run of one rare
/// character has a hundred times the tokens that it is taken for.
#[must_use]
pub fn bounds(bytes: usize) -> (u64, u64) {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    (bytes.div_ceil(LONGEST_TOKEN * LONGEST_ESCAPE), bytes)
}

const LONGEST_TOKEN: u64 = 128;
/// `\u0061` for one byte.
const LONGEST_ESCAPE: u64 = 6;

/// The prompt's tokens, at a cost that doesn't grow with long texts (they are sampled).
///
/// [`Tokenizer::Estimate`] counts as `o200k` and adds a fifth to the texts, see [`weights::with_margin`].
#[must_use]
pub fn estimate<'m>(prompt: &Prompt<'_>, model: impl Into<Model<'m>>) -> Estimate {
    let model = model.into();
    Estimate {
        text: text_tokens(&prompt.texts, model.tokenizer),
        around: around(prompt, model),
    }
}

/// The prompt's tokens that aren't in its texts: template, tools, format, images, and tokens given as integers. What
/// the texts count to, each on its own, and this are the whole.
#[must_use]
pub fn around<'m>(prompt: &Prompt<'_>, model: impl Into<Model<'m>>) -> u64 {
    shape::tokens(prompt, || Tariff::of(model.into()))
}

/// The tokens of texts alone (contents of JSON strings, still escaped), nothing around them.
#[must_use]
pub fn text_tokens(texts: &[&[u8]], tokenizer: Tokenizer) -> u64 {
    let bytes = texts.iter().map(|text| text.len()).fold(0, usize::saturating_add);
    let parts = sample::parts(texts, Weights::of(tokenizer));
    let tokens = weights::with_margin(weights::tokens(parts), tokenizer);
    weights::within_bounds(tokens, u64::try_from(bytes).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Tokenizer; 3] = [Tokenizer::O200k, Tokenizer::Cl100k, Tokenizer::Estimate];
    const ENGLISH: &str = include_str!("../../tests/tokens/held-out/en.udhr.txt");
    const CODE: &str = include_str!("../../tests/tokens/held-out/code.rust-itertools.txt");
    const RUSSIAN: &str = include_str!("../../tests/tokens/held-out/ru.udhr.txt");

    fn full_walk(text: &str) -> f64 {
        let mut running = Running::default();
        running.push(text.as_bytes());
        running.tokens() as f64
    }

    fn sampled(texts: &[&[u8]]) -> f64 {
        text_tokens(texts, Tokenizer::O200k) as f64
    }

    /// Pseudo-random bytes (xorshift), the same each time.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        (0..length)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .collect()
    }

    /// A run of one character of every class, noise, escapes whole and broken, UTF-8 whole and broken.
    fn hostile() -> Vec<Vec<u8>> {
        let mut texts: Vec<Vec<u8>> =
            "a Z7\n\t.,'({])-_/|=é\u{301}яλش שनব字ไひカ한。—😀\u{200d}\u{fe0f}ა\u{e000}\u{fffd}"
                .chars()
                .map(|c| c.to_string().into_bytes())
                .collect();
        texts.extend(
            [
                r"\n",
                r"\\",
                r"\u0020",
                r"\ud83d\ude00",
                r"\ud83d",
                r"\u12",
                "\\",
                r"\q",
                "aZ",
                "0a",
                "{\"",
                ",]",
            ]
            .map(|piece| piece.as_bytes().to_vec()),
        );
        texts.extend([
            vec![0xff],
            vec![0xc3],
            vec![0xe2, 0x80],
            vec![0x80],
            vec![0],
            noise(997),
        ]);
        texts
    }

    #[test]
    fn tokens_are_never_more_than_bytes_nor_less_than_a_128th() {
        for piece in hostile() {
            for times in [1, 2, 3, 100, 1 + 20_000 / piece.len()] {
                let text = piece.repeat(times);
                let bytes = text.len() as u64;
                for tokenizer in ALL {
                    let tokens = text_tokens(&[&text], tokenizer);
                    assert!(
                        tokens <= bytes && tokens >= bytes.div_ceil(128),
                        "{piece:?} × {times}: {tokens}"
                    );
                }
            }
        }
        assert!(ALL.iter().all(|tokenizer| text_tokens(&[], *tokenizer) == 0));
        assert!(ALL.iter().all(|tokenizer| text_tokens(&[b""], *tokenizer) == 0));
    }

    #[test]
    fn ten_mebibytes_of_anything_cost_no_more_than_the_budget() {
        let took = crate::timed::timed(|| {
            for piece in hostile() {
                let text = piece.repeat((10 << 20) / piece.len());
                assert!(text_tokens(&[&text], Tokenizer::O200k) <= text.len() as u64);
            }
        });
        assert!(took.as_secs() < 60, "{took:?}");
    }

    #[test]
    fn samples_of_even_text_agree_with_the_full_walk() {
        for text in [ENGLISH, CODE, RUSSIAN] {
            let error = sampled(&[text.as_bytes()]) / full_walk(text) - 1.0;
            assert!(error.abs() < 0.08, "{error}");
        }
    }

    #[test]
    fn samples_of_mixed_text_agree_with_the_full_walk() {
        let mixed = [ENGLISH, CODE, RUSSIAN, CODE, ENGLISH].concat();
        let error = sampled(&[mixed.as_bytes()]) / full_walk(&mixed) - 1.0;
        assert!(error.abs() < 0.12, "{error}");
    }

    #[test]
    fn a_thousand_short_texts_are_sampled_as_one_long_one() {
        let texts: Vec<&[u8]> = ENGLISH.as_bytes().chunks(97).cycle().take(1000).collect();
        let full: f64 = texts.iter().map(|text| sampled(&[*text])).sum();
        let error = sampled(&texts) / full - 1.0;
        assert!(error.abs() < 0.1, "{error}");
    }

    #[test]
    fn escaped_and_plain_text_cost_the_same() {
        let escaped: String = RUSSIAN
            .chars()
            .map(|c| format!("\\u{:04x}", u32::from(c)))
            .collect();
        for length in [600, 6000] {
            let plain: String = RUSSIAN.chars().take(length).collect();
            let escaped = &escaped[..length * 6];
            let ratio = sampled(&[escaped.as_bytes()]) / sampled(&[plain.as_bytes()]);
            assert!((0.93..1.07).contains(&ratio), "{length}: {ratio}");
        }
    }

    #[test]
    fn a_stream_of_pieces_counts_like_the_whole() {
        for (text, tolerance) in [(ENGLISH, 0.03), (CODE, 0.03), (RUSSIAN, 0.03)] {
            let mut pieces = Running::default();
            let characters: Vec<char> = text.chars().collect();
            characters
                .chunks(5)
                .for_each(|piece| pieces.push(piece.iter().collect::<String>().as_bytes()));
            let error = pieces.tokens() as f64 / full_walk(text) - 1.0;
            assert!(error.abs() < tolerance, "{error}");
        }
    }

    #[test]
    fn a_prompt_is_its_texts_and_its_shape() {
        let texts = vec![ENGLISH.as_bytes().get(..500).unwrap()];
        let text = text_tokens(&texts, Tokenizer::O200k);
        let prompt = Prompt {
            texts,
            messages: 1,
            images: vec![Image {
                detail: Detail::Low,
                size: None,
            }],
            token_ids: 5,
            ..Prompt::default()
        };
        assert_eq!(
            estimate(&prompt, Tokenizer::O200k).tokens(),
            text + 3 + 3 + 85 + 5
        );
    }
}
