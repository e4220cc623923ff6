//! What an image costs, by the rule that its model follows.
//!
//! Rules and examples are OpenAI's ("Images and vision", Calculating costs) and Anthropic's ("Vision", Evaluate image
//! size), as their guides stood in autumn 2026. OpenAI: "Floating-point rounding in billing can make the final count
//! differ from the estimate by one token"; here the arithmetic is of integers.

use super::{Detail, Image};

/// The size of an image that the body doesn't tell. Four tiles, a thousand patches: what a typical photograph costs.
const UNKNOWN_SIZE: (u32, u32) = (1024, 1024);

/// How a model counts images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A base, and so much for each tile of 512 pixels, once the image was shrunk into a square of 2048 and to a
    /// shorter side of 768. At low detail the base alone.
    Tiles {
        /// For any image.
        base: u32,
        /// For each tile.
        tile: u32,
    },
    /// So much for each patch of 32 pixels, once the image was shrunk to the limits of its detail.
    Patches {
        /// Hundredths of a token for each patch.
        percent: u32,
        /// At low detail.
        low: Limit,
        /// At high detail.
        high: Limit,
        /// At its own size.
        original: Limit,
        /// At the model's default.
        auto: Limit,
    },
    /// One for each patch of 28 pixels, whatever the detail.
    Visual(Limit),
}

/// What an image is shrunk to, its shape kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The longer side, in pixels.
    pub edge: u32,
    /// Patches.
    pub patches: u32,
}

/// The side of a tile, in pixels.
const TILE: u64 = 512;
/// An image is first shrunk into a square of this side…
const FIT: u64 = 2048;
/// …then until its shorter side is no longer than this.
const SHORT_SIDE: u64 = 768;
/// The side of OpenAI's patches.
const PATCH: u64 = 32;
/// The side of Anthropic's.
const VISUAL_PATCH: u64 = 28;
/// The tokens of an image.
#[must_use]
pub fn tokens(image: Image, rule: &Rule) -> u64 {
    let (width, height) = image.size.unwrap_or(UNKNOWN_SIZE);
    let (width, height) = (u64::from(width.max(1)), u64::from(height.max(1)));
    let size = (width.max(height), width.min(height));
    match *rule {
        Rule::Tiles { base, .. } if image.detail == Detail::Low => u64::from(base),
        Rule::Tiles { base, tile } => u64::from(base) + u64::from(tile) * tiles(size),
        Rule::Patches {
            percent,
            low,
            high,
            original,
            auto,
        } => {
            let limit = match image.detail {
                Detail::Low => low,
                Detail::High => high,
                Detail::Original => original,
                Detail::Auto => auto,
            };
            (patches(size, limit) * u64::from(percent)).div_ceil(100)
        }
        Rule::Visual(limit) => visual(size, limit),
    }
}

/// What stands around an image: OpenAI's models that count patches take one token more (measured by users, for three
/// of them: <https://community.openai.com/t/1262691>).
#[must_use]
pub fn framing(rule: &Rule) -> u64 {
    match rule {
        Rule::Patches { .. } => 1,
        Rule::Tiles { .. } | Rule::Visual(_) => 0,
    }
}

/// How many tiles cover an image once it was shrunk to fit; at least one, at most eight.
fn tiles((long, short): (u64, u64)) -> u64 {
    let (long, short) = fit((long, short), FIT);
    let (long, short) = if short <= SHORT_SIDE {
        (long, short)
    } else {
        (long * SHORT_SIDE / short, SHORT_SIDE)
    };
    long.div_ceil(TILE) * short.div_ceil(TILE)
}

/// Shrunk to a longer side within the limit, to the nearest pixel (users found 2049 × 513 to be two tiles high, and
/// 2050 × 513 one: <https://community.openai.com/t/1281361>); never to nothing.
fn fit((long, short): (u64, u64), limit: u64) -> (u64, u64) {
    if long <= limit {
        return (long, short);
    }
    (limit, ((short * limit + long / 2) / long).max(1))
}

/// Patches of 32 pixels, within the limit.
fn patches((long, short): (u64, u64), limit: Limit) -> u64 {
    let (long, short) = fit((long, short), u64::from(limit.edge));
    let budget = u64::from(limit.patches);
    let whole = long.div_ceil(PATCH) * short.div_ceil(PATCH);
    if whole <= budget {
        return whole;
    }
    scaled((long, short), budget)
}

/// An image of too many patches: scaled to cover the budget, then a little more until the side that loses more by it is
/// a whole number of patches.
fn scaled((long, short): (u64, u64), budget: u64) -> u64 {
    let columns = (budget * long / short).isqrt();
    let rows = (budget * short / long).isqrt().max(1);
    let covering =
        |patches: u64, side: u64, other: u64| (patches * PATCH * other / side).div_ceil(PATCH).max(1);
    if columns * short <= rows * long {
        columns * covering(columns, long, short)
    } else {
        rows * covering(rows, short, long)
    }
}

/// Patches of 28 pixels of the largest image of this shape within the limit.
fn visual((long, short): (u64, u64), limit: Limit) -> u64 {
    let other = |side: u64| (short * side + long / 2) / long;
    let count = |side: u64| side.div_ceil(VISUAL_PATCH) * other(side).max(1).div_ceil(VISUAL_PATCH);
    let edge = u64::from(limit.edge) / VISUAL_PATCH * VISUAL_PATCH;
    let fits = |side: u64| side <= edge && count(side) <= u64::from(limit.patches);
    if fits(long) {
        return count(long);
    }
    // The longest side that fits, in a dozen steps.
    let (mut fit, mut over) = (1, long.min(edge + 1));
    while fit + 1 < over {
        let middle = fit.midpoint(over);
        if fits(middle) { fit = middle } else { over = middle }
    }
    count(fit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Tokenizer;
    use crate::tokens::Model;
    use crate::tokens::tariff::Tariff;

    const DETAILS: [Detail; 4] = [Detail::Auto, Detail::Low, Detail::High, Detail::Original];

    fn cost(name: &str, detail: Detail, size: Option<(u32, u32)>) -> u64 {
        let tokenizer = Tokenizer::O200k;
        tokens(
            Image { detail, size },
            &Tariff::of(Model { name, tokenizer }).images,
        )
    }

    fn high(name: &str, width: u32, height: u32) -> u64 {
        cost(name, Detail::High, Some((width, height)))
    }

    #[test]
    fn tiles_cost_what_openai_says() {
        assert_eq!(cost("gpt-4o", Detail::Low, Some((4096, 8192))), 85);
        assert_eq!(high("gpt-4o", 1024, 1024), 765);
        assert_eq!(high("gpt-4o", 2048, 4096), 1105);
        assert_eq!(high("gpt-4o", 4096, 2048), 1105);
        assert_eq!(high("gpt-4.1", 512, 512), 255);
        assert_eq!(high("gpt-4o-mini", 1024, 1024), 2833 + 4 * 5667);
        assert_eq!(high("gpt-5.1", 1024, 1024), 70 + 4 * 140);
        assert_eq!(high("o3", 1024, 1024), 75 + 4 * 150);
        assert_eq!(high("computer-use-preview", 1024, 1024), 65 + 4 * 129);
        assert_eq!(high("", 0, 0), 255);
    }

    #[test]
    fn patches_cost_what_openai_says() {
        assert_eq!(high("gpt-5.4", 1024, 1024), 1229);
        assert_eq!(high("gpt-5.4", 2048, 2048), 3000);
        assert_eq!(high("gpt-5.6-sol", 2048, 2048), 3000);
        // An earlier edition of the guide: 1,024 and 1,452 patches.
        assert_eq!(high("o4-mini", 1024, 1024), (1024 * 172_u64).div_ceil(100));
        assert_eq!(high("o4-mini", 1800, 2400), (1452 * 172_u64).div_ceil(100));
        assert_eq!(high("o4-mini", 2400, 1800), (1452 * 172_u64).div_ceil(100));
    }

    #[test]
    fn detail_changes_what_an_image_by_patches_is_shrunk_to() {
        let at = |name, detail| cost(name, detail, Some((4000, 3000)));
        assert!(at("gpt-5.5", Detail::Low) < at("gpt-5.5", Detail::High));
        assert!(at("gpt-5.5", Detail::High) < at("gpt-5.5", Detail::Original));
        assert_eq!(at("gpt-5.5", Detail::Auto), at("gpt-5.5", Detail::Original));
        assert_eq!(at("gpt-5.4", Detail::Auto), at("gpt-5.4", Detail::High));
        assert_eq!(at("gpt-5.2", Detail::Auto), at("gpt-5.2", Detail::Low));
    }

    #[test]
    fn visual_tokens_are_what_anthropic_says() {
        let table = [
            ((200, 200), 64, 64),
            ((1000, 1000), 1296, 1296),
            ((1092, 1092), 1521, 1521),
            ((1920, 1080), 1560, 2691),
            ((2000, 1500), 1564, 3888),
            ((3840, 2160), 1560, 4784),
        ];
        for (size, standard, large) in table {
            for detail in DETAILS {
                assert_eq!(
                    cost("claude-sonnet-4-6", detail, Some(size)),
                    standard,
                    "{size:?}"
                );
                assert_eq!(cost("claude-opus-4-7", detail, Some(size)), large, "{size:?}");
            }
        }
        // 924 × 1307, of the coordinates guide.
        assert_eq!(high("claude-sonnet-4-5", 1075, 1520), 33 * 47);
    }

    #[test]
    fn an_image_of_unknown_size_is_a_square_of_1024() {
        for name in ["gpt-4o", "gpt-5.4", "claude-opus-5", "unheard-of"] {
            for detail in DETAILS {
                assert_eq!(cost(name, detail, None), cost(name, detail, Some((1024, 1024))));
            }
        }
    }

    #[test]
    fn no_image_costs_more_than_its_models_limit() {
        let most = u32::MAX;
        let sizes = [
            (most, most),
            (most, 1),
            (1, most),
            (0, 0),
            (20_000, 7_500),
            (768, 2048),
            (2, 31),
        ];
        let limits = [
            ("gpt-4o", 85 + 8 * 170),
            ("gpt-5.6-luna", 36_000),
            ("gpt-5.5", 12_000),
            ("gpt-5.4", 12_000),
            ("gpt-5.2", 7_373),
            ("o4-mini", 2_642),
            ("claude-haiku-4-5", 1_568),
            ("claude-opus-5", 4_784),
        ];
        for (name, limit) in limits {
            for size in sizes {
                for detail in DETAILS {
                    let cost = cost(name, detail, Some(size));
                    assert!((1..=limit).contains(&cost), "{name} {size:?} {detail:?}: {cost}");
                }
            }
        }
    }
}
