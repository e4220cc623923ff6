//! What a model charges for images and tools, by the beginning of its provider's name for it.
//!
//! Sources, as they stood in autumn 2026: OpenAI's guide "Images and vision" (sizing and cost by model), Anthropic's
//! guides "Vision" (resolution by model) and "Tool use" (tokens of the tool use system prompt by model and
//! `tool_choice`); earlier editions of each for models that have left it. A name that no row knows is charged like
//! gpt-4o, which most models that speak OpenAI's protocol imitate; an unknown Claude like the newest ones.

use super::Model;
use super::image::{Limit, Rule};

/// What a model charges beside its texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tariff {
    /// For images.
    pub images: Rule,
    /// For tools.
    pub tools: ToolRule,
}

/// How a model is told of its tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolRule {
    /// As TypeScript, in the system message (OpenAI's).
    TypeScript,
    /// By a prompt of the provider's own, of so many tokens (Anthropic's).
    SystemPrompt {
        /// When the model is free to call them.
        free: u32,
        /// When it must call one.
        forced: u32,
    },
}

impl Tariff {
    /// The tariff of a model.
    #[must_use]
    pub fn of(model: Model<'_>) -> Self {
        // Clouds put their own words before it: `anthropic.claude-…`, `openai/gpt-…`.
        let name = model.name.rsplit('/').next().unwrap_or_default();
        match name.find("claude") {
            Some(at) => claude(name.get(at..).unwrap_or_default()),
            None => openai(name),
        }
    }
}

/// What a tool adds that its provider defines, by its `type` (Anthropic's guides of each tool); nothing for a client's
/// own, and for those whose cost isn't published (searching, running code).
#[must_use]
pub fn provided(kind: &[u8]) -> u32 {
    let row = PROVIDED.iter().find(|(prefix, _)| kind.starts_with(prefix));
    row.map_or(0, |(_, tokens)| *tokens)
}

const PROVIDED: &[(&[u8], u32)] = &[
    (b"bash_", 245),
    (b"text_editor_", 700),
    // 735, and a system prompt of 466 to 499.
    (b"computer_20", 735 + 499),
];

fn openai(name: &str) -> Tariff {
    let row = OPENAI.iter().find(|(prefix, _)| name.starts_with(prefix));
    Tariff {
        images: row.map_or(GPT_4O, |(_, rule)| *rule),
        tools: ToolRule::TypeScript,
    }
}

fn claude(name: &str) -> Tariff {
    let row = CLAUDE.iter().find(|(prefix, ..)| name.starts_with(prefix));
    let (limit, free, forced) =
        row.map_or(NEWEST_CLAUDE, |(_, limit, free, forced)| (*limit, *free, *forced));
    Tariff {
        images: Rule::Visual(limit),
        tools: ToolRule::SystemPrompt { free, forced },
    }
}

const GPT_4O: Rule = tiles(85, 170);

/// The first row that fits counts: longer names stand before shorter ones.
const OPENAI: &[(&str, Rule)] = &[
    ("gpt-6", FULL_SIZE),
    ("gpt-5.6", FULL_SIZE),
    (
        "gpt-5.5",
        patches(
            120,
            limit(512, 256),
            limit(2048, 2500),
            limit(6000, 10_000),
            limit(6000, 10_000),
        ),
    ),
    (
        "gpt-5.4",
        patches(
            120,
            limit(2048, 6144),
            limit(2048, 2500),
            limit(6000, 10_000),
            limit(2048, 2500),
        ),
    ),
    ("gpt-5.3", uniform(120, 6144)),
    ("gpt-5.2", uniform(120, 6144)),
    ("gpt-5-mini", uniform(120, 1536)),
    ("gpt-5-nano", uniform(150, 1536)),
    ("gpt-5", tiles(70, 140)),
    ("gpt-4.1-mini", uniform(162, 6144)),
    ("gpt-4.1-nano", uniform(246, 1536)),
    ("gpt-4o-mini", tiles(2833, 5667)),
    ("o4-mini", uniform(172, 1536)),
    ("o1", tiles(75, 150)),
    ("o3", tiles(75, 150)),
    ("computer-use", tiles(65, 129)),
];

/// More patches than this are refused.
const FULL_SIZE: Rule = patches(
    120,
    limit(512, 256),
    limit(2048, 2500),
    limit(65_535, 30_000),
    limit(65_535, 30_000),
);

const STANDARD: Limit = limit(1568, 1568);
const LARGE: Limit = limit(2576, 4784);

const NEWEST_CLAUDE: (Limit, u32, u32) = (LARGE, 497, 589);

/// Name, images, the tool prompt when free and when forced.
const CLAUDE: &[(&str, Limit, u32, u32)] = &[
    ("claude-opus-5", LARGE, 286, 406),
    ("claude-sonnet-5", LARGE, 354, 474),
    ("claude-opus-4-8", LARGE, 290, 410),
    ("claude-opus-4-7", LARGE, 675, 804),
    ("claude-opus-4-6", STANDARD, 497, 589),
    ("claude-sonnet-4-6", STANDARD, 497, 589),
    ("claude-opus-4-5", STANDARD, 496, 588),
    ("claude-sonnet-4-5", STANDARD, 496, 588),
    ("claude-haiku-4-5", STANDARD, 496, 588),
    ("claude-opus-4", STANDARD, 313, 315),
    ("claude-sonnet-4", STANDARD, 313, 315),
    ("claude-3-7-sonnet", STANDARD, 346, 313),
    ("claude-3-5-sonnet", STANDARD, 346, 313),
    ("claude-3-5-haiku", STANDARD, 264, 355),
    ("claude-3-opus", STANDARD, 530, 281),
    ("claude-3-sonnet", STANDARD, 159, 235),
    ("claude-3-haiku", STANDARD, 264, 340),
];

const fn limit(edge: u32, patches: u32) -> Limit {
    Limit { edge, patches }
}

const fn tiles(base: u32, tile: u32) -> Rule {
    Rule::Tiles { base, tile }
}

/// One limit at any detail.
const fn uniform(percent: u32, budget: u32) -> Rule {
    let limit = limit(2048, budget);
    patches(percent, limit, limit, limit, limit)
}

const fn patches(percent: u32, low: Limit, high: Limit, original: Limit, auto: Limit) -> Rule {
    Rule::Patches {
        percent,
        low,
        high,
        original,
        auto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Tokenizer;

    fn of(name: &str) -> Tariff {
        let tokenizer = Tokenizer::Estimate;
        Tariff::of(Model { name, tokenizer })
    }

    #[test]
    fn a_dated_or_hosted_name_is_its_models() {
        for (name, same) in [
            ("gpt-4o-2024-08-06", "gpt-4o"),
            ("openai/gpt-4o-mini", "gpt-4o-mini"),
            ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
            (
                "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
                "claude-sonnet-4-5",
            ),
            ("claude-opus-4-1@20250805", "claude-opus-4-1"),
        ] {
            assert_eq!(of(name), of(same), "{name}");
        }
        assert_ne!(of("gpt-4o-mini"), of("gpt-4o"));
        assert_ne!(of("claude-opus-4-7"), of("claude-opus-4-1"));
    }

    #[test]
    fn an_unknown_name_is_charged_as_the_best_known_one() {
        for name in ["", "/", "my-deployment", "gpt-4", "llama", "é"] {
            assert_eq!(of(name), of("gpt-4o"), "{name}");
        }
        assert_eq!(of("claude"), of("claude-fable-9"));
    }

    #[test]
    fn no_row_hides_behind_a_shorter_one() {
        let openai: Vec<&str> = OPENAI.iter().map(|row| row.0).collect();
        let claude: Vec<&str> = CLAUDE.iter().map(|row| row.0).collect();
        for names in [openai, claude] {
            for (at, name) in names.iter().enumerate() {
                let first = names.iter().position(|prefix| name.starts_with(prefix));
                assert_eq!(first, Some(at), "{name}");
            }
        }
    }
}
