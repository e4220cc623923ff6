//! What a prompt costs apart from its texts: the chat template, declarations of tools, a wanted format, images.
//!
//! The template is OpenAI's ("How to count tokens with tiktoken" in its cookbook); Anthropic's few published counts
//! agree with it. Tools are shown to OpenAI's models as TypeScript, one declaration each, which is what the constants
//! here are the punctuation of; they were fitted to what the API reported for 29 declarations (tests/tokens/published:
//! at most two tokens off on any) and are the same for both encodings.

use super::image;
use super::tariff::{Tariff, ToolRule};
use super::{Prompt, ToolChoice, Tools};

/// Each message is framed by three tokens.
const PER_MESSAGE: u64 = 3;
/// A `name` adds one.
const PER_NAME: u64 = 1;
/// A call of a tool is addressed to it.
const PER_CALL: u64 = 3;
/// The answer is primed by three.
const ANSWER: u64 = 3;

/// Once, if there are tools: the heading and the namespace.
const TOOLS: u64 = 16;
/// They stand in the system message; without one they take a message of their own.
const IN_SYSTEM: u64 = 4;
/// `type … = () => any;`
const PER_FUNCTION: u64 = 6;
/// `(_: {` and `})`
const PER_PARAMETERS: u64 = 3;
/// `{` and `}`, less the word `object`.
const PER_NESTED: u64 = 1;
/// `…?: …,`
const PER_PROPERTY: u64 = 3;
/// `// …`
const PER_DESCRIPTION: u64 = 1;
/// `"…" |`
const PER_ENUM_ITEM: u64 = 2;
/// An enumeration replaces its type, and has one bar less than items.
const ENUM_REBATE: u64 = 2;
/// That no tool may be called.
const CHOICE_NONE: u64 = 1;
/// That a certain tool must be.
const CHOICE_NAMED: u64 = 7;

/// A schema of the answer: heading and braces. The schema itself is shown as JSON without `required`,
/// `additionalProperties` and `$schema` (<https://github.com/openai/openai-cookbook/issues/2140>).
const PER_FORMAT: u64 = 12;

/// The tokens of a prompt that aren't in its texts. The tariff is looked up only for what it prices.
#[must_use]
pub fn tokens(prompt: &Prompt<'_>, tariff: impl FnOnce() -> Tariff) -> u64 {
    let priced = prompt.tools.functions > 0 || !prompt.images.is_empty();
    let (tools, images) = priced.then(tariff).map_or((0, 0), |tariff| {
        (tools(prompt, tariff.tools), images(prompt, &tariff))
    });
    [
        chat(prompt),
        tools,
        (u64::from(prompt.formats) * PER_FORMAT).saturating_add(prompt.json),
        images,
    ]
    .into_iter()
    .fold(prompt.token_ids, u64::saturating_add)
}

fn chat(prompt: &Prompt<'_>) -> u64 {
    if prompt.messages == 0 {
        return 0;
    }
    u64::from(prompt.messages) * PER_MESSAGE
        + u64::from(prompt.names) * PER_NAME
        + u64::from(prompt.calls) * PER_CALL
        + ANSWER
}

fn tools(prompt: &Prompt<'_>, rule: ToolRule) -> u64 {
    if prompt.tools.functions == 0 {
        return 0;
    }
    let choice = prompt.tools.choice;
    let around = match rule {
        ToolRule::TypeScript => {
            let own_message = if prompt.system { 0 } else { IN_SYSTEM };
            TOOLS - IN_SYSTEM + own_message + chosen(choice)
        }
        ToolRule::SystemPrompt { free, forced } => match choice {
            ToolChoice::Auto | ToolChoice::None => u64::from(free),
            ToolChoice::Any | ToolChoice::Named => u64::from(forced),
        },
    };
    around + declared(&prompt.tools)
}

fn chosen(choice: ToolChoice) -> u64 {
    match choice {
        ToolChoice::Auto | ToolChoice::Any => 0,
        ToolChoice::None => CHOICE_NONE,
        ToolChoice::Named => CHOICE_NAMED,
    }
}

fn declared(tools: &Tools) -> u64 {
    let enums = u64::from(tools.enum_items) * PER_ENUM_ITEM;
    u64::from(tools.functions) * PER_FUNCTION
        + u64::from(tools.parameters) * PER_PARAMETERS
        + u64::from(tools.nested) * PER_NESTED
        + u64::from(tools.properties) * PER_PROPERTY
        + u64::from(tools.descriptions) * PER_DESCRIPTION
        + enums.saturating_sub(u64::from(tools.enums) * ENUM_REBATE)
        + u64::from(tools.provided)
}

fn images(prompt: &Prompt<'_>, tariff: &Tariff) -> u64 {
    let cost = |image| image::tokens(image, &tariff.images) + image::framing(&tariff.images);
    prompt
        .images
        .iter()
        .map(|image| cost(*image))
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Tokenizer;
    use crate::tokens::{Model, around};

    const GPT: Tokenizer = Tokenizer::O200k;
    const CLAUDE: Model<'_> = Model {
        name: "claude-opus-4-6",
        tokenizer: Tokenizer::Estimate,
    };

    fn one_tool(choice: ToolChoice) -> Prompt<'static> {
        let tools = Tools {
            functions: 1,
            parameters: 1,
            properties: 2,
            descriptions: 1,
            enums: 1,
            enum_items: 2,
            choice,
            ..Tools::default()
        };
        Prompt {
            tools,
            ..Prompt::default()
        }
    }

    #[test]
    fn messages_names_and_calls_are_framed() {
        let prompt = Prompt {
            messages: 2,
            names: 1,
            calls: 1,
            ..Prompt::default()
        };
        assert_eq!(around(&prompt, GPT), 2 * 3 + 1 + 3 + 3);
        assert_eq!(around(&Prompt::default(), GPT), 0);
    }

    #[test]
    fn tokens_given_as_numbers_count_as_they_are() {
        let prompt = Prompt {
            token_ids: 7,
            ..Prompt::default()
        };
        assert_eq!(around(&prompt, GPT), 7);
    }

    #[test]
    fn a_tool_costs_its_punctuation() {
        let mut prompt = one_tool(ToolChoice::Auto);
        let punctuation = 6 + 3 + 2 * 3 + 1 + 2 * 2 - 2;
        assert_eq!(around(&prompt, GPT), 16 + punctuation);
        prompt.system = true;
        assert_eq!(around(&prompt, GPT), 12 + punctuation);
        prompt.system = false;
        assert_eq!(around(&prompt, CLAUDE), 497 + punctuation);
    }

    #[test]
    fn a_choice_of_tools_costs_more() {
        let cost = |choice, model: Model<'_>| {
            around(&one_tool(choice), model) - around(&one_tool(ToolChoice::Auto), model)
        };
        assert_eq!(cost(ToolChoice::None, GPT.into()), 1);
        assert_eq!(cost(ToolChoice::Named, GPT.into()), 7);
        assert_eq!(cost(ToolChoice::None, CLAUDE), 0);
        assert_eq!(cost(ToolChoice::Any, CLAUDE), 589 - 497);
        assert_eq!(cost(ToolChoice::Named, CLAUDE), 589 - 497);
    }

    #[test]
    fn absurd_counts_saturate() {
        let most = u32::MAX;
        let tools = Tools {
            functions: most,
            parameters: most,
            nested: most,
            properties: most,
            descriptions: most,
            enums: 0,
            enum_items: most,
            provided: most,
            choice: ToolChoice::Named,
        };
        let prompt = Prompt {
            messages: most,
            names: most,
            calls: most,
            tools,
            formats: most,
            json: u64::MAX,
            token_ids: u64::MAX,
            ..Prompt::default()
        };
        assert_eq!(around(&prompt, GPT), u64::MAX);
        assert_eq!(around(&prompt, CLAUDE), u64::MAX);
    }
}
