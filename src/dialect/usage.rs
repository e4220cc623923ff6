//! What an answer says it cost, in one convention whatever the provider's.
//!
//! OpenAI and Gemini count cached tokens inside the prompt, Anthropic beside it; here they are always inside
//! ([Anthropic: prompt caching](https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching),
//! OpenAI: `prompt_tokens_details`). Thoughts are inside the output; Gemini counts them beside its candidates
//! ([`UsageMetadata`](https://ai.google.dev/api/generate-content#UsageMetadata)). A number that can't be true is a [`Fault`], never zero.

use super::Endpoint;
use crate::json::{self, Lexer, Value};

/// Tokens beyond this are absurd: 2⁴⁰, a million times the largest context window.
const ABSURD: u64 = 1 << 40;

/// Tokens as billed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Everything billed as prompt, `cached_input` and `cache_write` included.
    pub input: u64,
    /// Everything billed as output, `reasoning` included.
    pub output: u64,
    /// Read from the provider's prompt cache.
    pub cached_input: u64,
    /// Written into it.
    pub cache_write: u64,
    /// Thought, not said.
    pub reasoning: u64,
}

/// A usage that can't be read: a wrong type, a fraction, a negative or an absurd number, or nothing known in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault;

impl From<json::Fault> for Fault {
    fn from(_: json::Fault) -> Self {
        Self
    }
}

/// The numbers as they stand on the wire. Later reports overwrite what they name: they are snapshots, not increments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    prompt: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
    /// What tools of the provider's own put into the prompt.
    tool_prompt: Option<u64>,
}

impl Report {
    /// Takes over what `raw`, the text of a `usage` value, says. `null` says nothing.
    pub(crate) fn read(&mut self, raw: &[u8]) -> Result<(), Fault> {
        let mut json = Lexer::new(raw);
        match json.value()? {
            Value::Object => self.members(&mut json),
            Value::Null => Ok(()),
            Value::Array | Value::String(_) | Value::Number(_) | Value::Bool(_) => Err(Fault),
        }
    }

    /// The sum, when enough has been said.
    pub(crate) fn usage(&self, endpoint: Endpoint) -> Result<Usage, Fault> {
        let prompt = self.prompt(endpoint)?;
        let (cached, written) = (self.cached.unwrap_or(0), self.cache_write.unwrap_or(0));
        let input = match endpoint {
            Endpoint::Messages => prompt + cached + written,
            Endpoint::ChatCompletions
            | Endpoint::Completions
            | Endpoint::Embeddings
            | Endpoint::Responses => prompt,
            Endpoint::GenerateContent => prompt + self.tool_prompt.unwrap_or(0),
        };
        let output = self.output(endpoint, input)?;
        Ok(Usage {
            input,
            output,
            cached_input: cached.min(input),
            cache_write: written.min(input.saturating_sub(cached)),
            reasoning: self.reasoning.unwrap_or(0).min(output),
        })
    }

    /// Gemini leaves out what is 0.
    fn prompt(&self, endpoint: Endpoint) -> Result<u64, Fault> {
        let zero = (endpoint == Endpoint::GenerateContent).then_some(0);
        let zero = zero.filter(|_| self.total.or(self.output).is_some());
        self.prompt.or(zero).ok_or(Fault)
    }

    /// What is said, with what is thought.
    fn generated(&self, endpoint: Endpoint) -> Option<u64> {
        if endpoint == Endpoint::GenerateContent {
            return Some(self.output.unwrap_or(0) + self.reasoning.unwrap_or(0));
        }
        self.output
    }

    /// What a total holds beyond prompt and completion is output too: some providers leave reasoning out of the latter.
    fn output(&self, endpoint: Endpoint, input: u64) -> Result<u64, Fault> {
        let beyond = self.total.map(|total| total.saturating_sub(input));
        match (self.generated(endpoint), endpoint.generates()) {
            (_, false) => Ok(0),
            (Some(output), true) => Ok(output.max(beyond.unwrap_or(0))),
            (None, true) => beyond.ok_or(Fault),
        }
    }

    fn members(&mut self, json: &mut Lexer<'_>) -> Result<(), Fault> {
        while let Some(name) = json.member()? {
            match &*json::name(name) {
                b"prompt_tokens" | b"input_tokens" | b"promptTokenCount" => count(json, &mut self.prompt)?,
                b"completion_tokens" | b"output_tokens" | b"candidatesTokenCount" => {
                    count(json, &mut self.output)?;
                }
                b"total_tokens" | b"totalTokenCount" => count(json, &mut self.total)?,
                b"cache_read_input_tokens" | b"cachedContentTokenCount" => count(json, &mut self.cached)?,
                b"thoughtsTokenCount" => count(json, &mut self.reasoning)?,
                b"toolUsePromptTokenCount" => count(json, &mut self.tool_prompt)?,
                b"cache_creation_input_tokens" => count(json, &mut self.cache_write)?,
                b"prompt_tokens_details" | b"input_tokens_details" => self.details(json, b"cached_tokens")?,
                b"completion_tokens_details" | b"output_tokens_details" => {
                    self.details(json, b"reasoning_tokens")?
                }
                _ => json.skip()?,
            }
        }
        Ok(())
    }

    fn details(&mut self, json: &mut Lexer<'_>, wanted: &[u8]) -> Result<(), Fault> {
        let value = json.value()?;
        if value != Value::Object {
            return Ok(json.finish(value)?);
        }
        while let Some(name) = json.member()? {
            let into = match &*json::name(name) {
                b"cached_tokens" if wanted == b"cached_tokens" => &mut self.cached,
                b"cache_write_tokens" if wanted == b"cached_tokens" => &mut self.cache_write,
                b"reasoning_tokens" if wanted == b"reasoning_tokens" => &mut self.reasoning,
                _ => {
                    json.skip()?;
                    continue;
                }
            };
            count(json, into)?;
        }
        Ok(())
    }
}

fn count(json: &mut Lexer<'_>, into: &mut Option<u64>) -> Result<(), Fault> {
    match json.value()? {
        Value::Null => Ok(()),
        Value::Number(raw) => {
            let tokens = json::unsigned(raw)
                .filter(|tokens| *tokens <= ABSURD)
                .ok_or(Fault)?;
            *into = Some(tokens);
            Ok(())
        }
        Value::Object | Value::Array | Value::String(_) | Value::Bool(_) => Err(Fault),
    }
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, Fault, Report, Usage};

    fn read(endpoint: Endpoint, raw: &str) -> Result<Usage, Fault> {
        let mut report = Report::default();
        report.read(raw.as_bytes())?;
        report.usage(endpoint)
    }

    #[test]
    fn cached_tokens_are_inside_for_openai_and_beside_for_anthropic() {
        let chat = r#"{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,
            "prompt_tokens_details":{"cached_tokens":64,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":8}}"#;
        let expected = Usage {
            input: 100,
            output: 20,
            cached_input: 64,
            cache_write: 0,
            reasoning: 8,
        };
        assert_eq!(read(Endpoint::ChatCompletions, chat), Ok(expected));
        let messages = r#"{"input_tokens":10,"cache_creation_input_tokens":30,"cache_read_input_tokens":60,"output_tokens":20}"#;
        let expected = Usage {
            input: 100,
            output: 20,
            cached_input: 60,
            cache_write: 30,
            reasoning: 0,
        };
        assert_eq!(read(Endpoint::Messages, messages), Ok(expected));
    }

    #[test]
    fn gemini_counts_thoughts_beside_what_is_said_and_leaves_out_what_is_0() {
        let raw = r#"{"promptTokenCount":100,"candidatesTokenCount":20,"totalTokenCount":135,"cachedContentTokenCount":64,
            "thoughtsTokenCount":8,"toolUsePromptTokenCount":7,"promptTokensDetails":[{"modality":"TEXT","tokenCount":100}]}"#;
        let expected = Usage {
            input: 107,
            output: 28,
            cached_input: 64,
            cache_write: 0,
            reasoning: 8,
        };
        assert_eq!(read(Endpoint::GenerateContent, raw), Ok(expected));
        let of = |raw| read(Endpoint::GenerateContent, raw).map(|usage| (usage.input, usage.output));
        assert_eq!(of(r#"{"promptTokenCount":5,"totalTokenCount":5}"#), Ok((5, 0)));
        assert_eq!(
            of(r#"{"candidatesTokenCount":5,"totalTokenCount":5}"#),
            Ok((0, 5))
        );
        assert_eq!(of(r#"{"promptTokenCount":5}"#), Ok((5, 0)));
        assert_eq!(of("{}"), Err(Fault));
    }

    #[test]
    fn a_total_that_holds_more_is_believed() {
        let raw = r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":40}"#;
        assert_eq!(read(Endpoint::ChatCompletions, raw).map(|u| u.output), Ok(30));
        let raw = r#"{"prompt_tokens":10,"total_tokens":10}"#;
        assert_eq!(
            read(Endpoint::Embeddings, raw).map(|u| (u.input, u.output)),
            Ok((10, 0))
        );
    }

    #[test]
    fn what_was_cached_and_what_was_written_are_never_more_than_the_prompt() {
        let raw = r#"{"prompt_tokens":10,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":8,"cache_write_tokens":9}}"#;
        let usage = read(Endpoint::ChatCompletions, raw).unwrap();
        assert_eq!((usage.cached_input, usage.cache_write), (8, 2));
    }

    #[test]
    fn what_cannot_be_true_is_a_fault() {
        for raw in [
            "[]",
            "7",
            "{}",
            r#""x""#,
            r#"{"prompt_tokens":-1,"completion_tokens":1}"#,
            r#"{"prompt_tokens":1.5,"completion_tokens":1}"#,
            r#"{"prompt_tokens":1e3,"completion_tokens":1}"#,
            r#"{"prompt_tokens":"1","completion_tokens":1}"#,
            r#"{"prompt_tokens":1,"completion_tokens":1099511627777}"#,
            r#"{"prompt_tokens":1,"completion_tokens":99999999999999999999999999}"#,
            r#"{"prompt_tokens":1}"#,
            r#"{"completion_tokens":1}"#,
        ] {
            assert_eq!(read(Endpoint::ChatCompletions, raw), Err(Fault), "{raw}");
        }
    }
}
