//! What a prompt costs apart from its text: the chat template, tool declarations, images.
//!
//! OpenAI's rules (its cookbook "How to count tokens with tiktoken", its vision guide), as public code counts them.
//! They are exact for the gpt-4 and gpt-4o families and close for others.

use super::{Image, Prompt};
use crate::policy::Tokenizer;

/// Each message is framed by three tokens.
const PER_MESSAGE: u64 = 3;
/// A `name` adds one.
const PER_NAME: u64 = 1;
/// The answer is primed by three.
const ANSWER: u64 = 3;
/// Per property set and per property of a function's parameters.
const PER_PROPERTY: u64 = 3;
/// An item of an `enum`.
const PER_ENUM_ITEM: u64 = 3;
/// An `enum` takes this much back.
const ENUM_REBATE: u64 = 3;
/// Once, if there are functions at all.
const FUNCTIONS: u64 = 12;

/// An image at low detail, and the base of any other.
const IMAGE_BASE: u64 = 85;
/// Each tile of an image at high detail.
const IMAGE_TILE: u64 = 170;
/// The side of a tile, in pixels.
const TILE: u64 = 512;
/// An image is first shrunk into a square of this side…
const FIT: u64 = 2048;
/// …then until its shorter side is no longer than this.
const SHORT_SIDE: u64 = 768;
/// The size of an image that the body doesn't tell: a square one at full detail, four tiles.
const UNKNOWN_SIZE: (u32, u32) = (1024, 1024);

/// The tokens of a prompt that aren't text: template, tools, images, and tokens given as integers.
#[must_use]
pub fn tokens(prompt: &Prompt<'_>, tokenizer: Tokenizer) -> u64 {
    chat(prompt)
        .saturating_add(tools(prompt, tokenizer))
        .saturating_add(
            prompt
                .images
                .iter()
                .copied()
                .map(image)
                .fold(0, u64::saturating_add),
        )
        .saturating_add(prompt.token_ids)
}

fn chat(prompt: &Prompt<'_>) -> u64 {
    if prompt.messages == 0 {
        return 0;
    }
    u64::from(prompt.messages) * PER_MESSAGE + u64::from(prompt.names) * PER_NAME + ANSWER
}

fn tools(prompt: &Prompt<'_>, tokenizer: Tokenizer) -> u64 {
    if prompt.functions == 0 {
        return 0;
    }
    let properties = u64::from(prompt.property_sets) + u64::from(prompt.properties);
    let enums = u64::from(prompt.enum_items) * PER_ENUM_ITEM;
    FUNCTIONS
        + u64::from(prompt.functions) * per_function(tokenizer)
        + properties * PER_PROPERTY
        + enums.saturating_sub(u64::from(prompt.enums) * ENUM_REBATE)
}

fn per_function(tokenizer: Tokenizer) -> u64 {
    match tokenizer {
        Tokenizer::Cl100k => 10,
        Tokenizer::O200k | Tokenizer::Estimate => 7,
    }
}

fn image(image: Image) -> u64 {
    match image {
        Image::Low => IMAGE_BASE,
        Image::High { size } => {
            let (width, height) = size.unwrap_or(UNKNOWN_SIZE);
            IMAGE_BASE + IMAGE_TILE * tiles(u64::from(width), u64::from(height))
        }
    }
}

/// How many tiles cover an image once it was shrunk to fit; at least one, at most eight.
fn tiles(width: u64, height: u64) -> u64 {
    let (long, short) = (width.max(height).max(1), width.min(height).max(1));
    let (long, short) = shrink((long, short), long, FIT);
    let (long, short) = shrink((long, short), short, SHORT_SIDE);
    long.div_ceil(TILE) * short.div_ceil(TILE)
}

/// Both sides scaled by `limit / side`, if `side` is over the limit; never to nothing.
fn shrink((long, short): (u64, u64), side: u64, limit: u64) -> (u64, u64) {
    if side <= limit {
        return (long, short);
    }
    ((long * limit / side).max(1), (short * limit / side).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_costs_what_the_vision_guide_says() {
        let high = |width, height| {
            image(Image::High {
                size: Some((width, height)),
            })
        };
        assert_eq!(image(Image::Low), 85);
        assert_eq!(high(1024, 1024), 765);
        assert_eq!(high(2048, 4096), 1105);
        assert_eq!(high(4096, 2048), 1105);
        assert_eq!(high(512, 512), 255);
        assert_eq!(high(0, 0), 255);
        assert_eq!(image(Image::High { size: None }), 765);
    }

    #[test]
    fn no_image_costs_more_than_eight_tiles() {
        for size in [
            (u32::MAX, u32::MAX),
            (u32::MAX, 1),
            (1, u32::MAX),
            (768, 2048),
            (20_000, 7_500),
        ] {
            assert!(
                image(Image::High { size: Some(size) }) <= 85 + 8 * 170,
                "{size:?}"
            );
        }
    }

    #[test]
    fn messages_and_names_are_framed() {
        let prompt = Prompt {
            messages: 2,
            names: 1,
            ..Prompt::default()
        };
        assert_eq!(tokens(&prompt, Tokenizer::O200k), 2 * 3 + 1 + 3);
        assert_eq!(
            tokens(
                &Prompt {
                    token_ids: 7,
                    ..Prompt::default()
                },
                Tokenizer::O200k
            ),
            7
        );
        assert_eq!(tokens(&Prompt::default(), Tokenizer::O200k), 0);
    }

    #[test]
    fn a_tool_with_two_properties_and_an_enum_of_two() {
        let prompt = Prompt {
            functions: 1,
            property_sets: 1,
            properties: 2,
            enums: 1,
            enum_items: 2,
            ..Prompt::default()
        };
        assert_eq!(tokens(&prompt, Tokenizer::O200k), 12 + 7 + 3 + 2 * 3 - 3 + 2 * 3);
        assert_eq!(
            tokens(&prompt, Tokenizer::Cl100k),
            12 + 10 + 3 + 2 * 3 - 3 + 2 * 3
        );
    }

    #[test]
    fn absurd_counts_saturate() {
        let most = u32::MAX;
        let prompt = Prompt {
            messages: most,
            names: most,
            functions: most,
            property_sets: most,
            properties: most,
            enums: most,
            token_ids: u64::MAX,
            ..Prompt::default()
        };
        assert_eq!(tokens(&prompt, Tokenizer::O200k), u64::MAX);
    }
}
