//! The few facts of a request that decisions need, from one pass over its body.
//!
//! The pass is strict where a lax one could be fooled: the provider must read the same request that was counted. So the
//! whole body must be JSON in UTF-8, and no member that matters may come twice.

use core::ops::Range;
use std::borrow::Cow;

use super::Endpoint;
use super::choice::Choice;
use super::prompt::Found;
use super::scan_error::ScanError;
use crate::json::{self, Lexer, Value};
use crate::tokens::Prompt;

/// A model's name in a request may be this long, in bytes: far more than any provider's.
const MODEL_BOUND: usize = 256;

/// More answers to one request aren't reserved for: what OpenAI allows of prompts in one call.
const CHOICES: u64 = 2_048;

/// What a request asks for, as far as decisions need to know. Borrows from the body.
#[derive(Clone, Debug)]
pub struct RequestFacts<'b> {
    /// The model's name as the client wrote it, decoded; not empty, at most 256 bytes.
    pub model: Cow<'b, str>,
    /// Whether the answer is wanted as a stream.
    pub stream: bool,
    /// The largest of `max_tokens`, `max_completion_tokens` and `max_output_tokens`; saturates.
    pub max_tokens: Option<u64>,
    /// How many answers are generated: `n` or `best_of`, for each prompt; 1 to 2,048.
    pub choices: u32,
    /// What `stream_options.include_usage` says.
    pub include_usage: Option<bool>,
    /// The exchange refers to state at one provider, or creates it, and must stay there.
    pub pinned: bool,
    /// The answer is asked for as JSON: by its format, or by a tool that must be called.
    pub structured: bool,
    /// Whether tools are declared.
    pub tools: bool,
    /// What is billed as prompt.
    pub prompt: Prompt<'b>,
    pub(super) endpoint: Endpoint,
    pub(super) model_at: Range<usize>,
    /// Where members of the body can be put in.
    pub(super) members_at: usize,
    pub(super) options: Options,
}

impl RequestFacts<'_> {
    /// What it was read as.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }
}

/// Where `stream_options` stands in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Options {
    Absent,
    Null(Range<usize>),
    Object {
        members_at: usize,
        empty: bool,
        include_usage: Option<Range<usize>>,
    },
}

/// Reads a request's body.
///
/// # Errors
/// When it can't be read, or lacks what its endpoint needs; see [`ScanError`].
pub fn scan(endpoint: Endpoint, body: &[u8]) -> Result<RequestFacts<'_>, ScanError> {
    if let Err(error) = std::str::from_utf8(body) {
        return Err(ScanError::NotJson {
            at: error.valid_up_to(),
        });
    }
    let mut json = Lexer::new(body);
    let value = json.value()?;
    if value != Value::Object {
        json.finish(value)?;
        return json.end().map_err(ScanError::from).and(Err(ScanError::NotObject));
    }
    let mut scanner = Scanner::new(endpoint, body, json);
    while let Some(name) = scanner.json.member()? {
        scanner.member(&json::name(name))?;
    }
    scanner.json.end()?;
    scanner.facts()
}

/// How a member is read.
#[derive(Clone, Copy)]
enum Member {
    Model,
    Messages,
    Stream,
    StreamOptions,
    MaxTokens,
    Choices,
    Input,
    Prompt,
    Text,
    Instructions,
    Tools,
    ToolChoice,
    Format,
    Formatted,
    Reference,
    Keeps,
}

/// The members that matter, each of which may come once.
const MEMBERS: &[(&str, Member)] = &[
    ("model", Member::Model),
    ("messages", Member::Messages),
    ("stream", Member::Stream),
    ("stream_options", Member::StreamOptions),
    ("max_tokens", Member::MaxTokens),
    ("max_completion_tokens", Member::MaxTokens),
    ("max_output_tokens", Member::MaxTokens),
    ("n", Member::Choices),
    ("best_of", Member::Choices),
    ("input", Member::Input),
    ("prompt", Member::Prompt),
    ("instructions", Member::Instructions),
    ("system", Member::Instructions),
    ("suffix", Member::Text),
    ("tools", Member::Tools),
    ("functions", Member::Tools),
    ("tool_choice", Member::ToolChoice),
    ("function_call", Member::ToolChoice),
    ("response_format", Member::Format),
    ("output_format", Member::Format),
    ("text", Member::Formatted),
    ("output_config", Member::Formatted),
    ("previous_response_id", Member::Reference),
    ("conversation", Member::Reference),
    ("container", Member::Reference),
    ("store", Member::Keeps),
    ("background", Member::Keeps),
];

struct Scanner<'b> {
    endpoint: Endpoint,
    json: Lexer<'b>,
    found: Found<'b>,
    /// One bit for each of [`MEMBERS`] that came.
    seen: u32,
    members_at: usize,
    model: Option<(Cow<'b, str>, Range<usize>)>,
    stream: bool,
    options: Options,
    include_usage: Option<bool>,
    max_tokens: Option<u64>,
    choices: u64,
    prompts: u32,
    prompted: bool,
    structured: bool,
    tools: bool,
}

impl<'b> Scanner<'b> {
    fn new(endpoint: Endpoint, body: &'b [u8], json: Lexer<'b>) -> Self {
        Self {
            endpoint,
            members_at: json.offset(),
            json,
            found: Found::new(body),
            seen: 0,
            model: None,
            stream: false,
            options: Options::Absent,
            include_usage: None,
            max_tokens: None,
            choices: 1,
            prompts: 1,
            prompted: false,
            structured: false,
            tools: false,
        }
    }

    fn member(&mut self, name: &[u8]) -> Result<(), ScanError> {
        let mut known = MEMBERS.iter().enumerate();
        let Some((index, (field, member))) = known.find(|(_, (field, _))| field.as_bytes() == name) else {
            return Ok(self.json.skip()?);
        };
        let bit = 1 << index;
        if self.seen & bit != 0 {
            return Err(ScanError::Duplicate { field });
        }
        self.seen |= bit;
        self.read(*member, field)
    }

    fn read(&mut self, member: Member, field: &'static str) -> Result<(), ScanError> {
        match member {
            Member::Model => self.model(field),
            Member::Messages => self.messages(field),
            Member::Stream => self.stream(field),
            Member::StreamOptions => self.stream_options(field),
            Member::MaxTokens => self.max_tokens(field),
            Member::Choices => self.choices(field),
            Member::Input => self.input(),
            Member::Prompt => self.prompt(),
            Member::Text => self.text(),
            Member::Instructions => self.instructions(),
            Member::Tools => self.tools(),
            Member::ToolChoice => self.tool_choice(),
            Member::Format => self.format(),
            Member::Formatted => self.formatted(),
            Member::Reference => self.reference(),
            Member::Keeps => self.keeps(field),
        }
    }

    fn facts(self) -> Result<RequestFacts<'b>, ScanError> {
        let (model, model_at) = self.model.ok_or(ScanError::Missing { field: "model" })?;
        match self.endpoint {
            Endpoint::ChatCompletions | Endpoint::Messages if !self.prompted => {
                return Err(ScanError::Missing { field: "messages" });
            }
            Endpoint::Embeddings if !self.prompted => return Err(ScanError::Missing { field: "input" }),
            Endpoint::ChatCompletions
            | Endpoint::Completions
            | Endpoint::Embeddings
            | Endpoint::Responses
            | Endpoint::Messages
            | Endpoint::GenerateContent => {}
        }
        let choices = self
            .choices
            .saturating_mul(u64::from(self.prompts))
            .clamp(1, CHOICES);
        Ok(RequestFacts {
            model,
            stream: self.stream,
            max_tokens: self.max_tokens,
            choices: u32::try_from(choices).unwrap_or(u32::MAX),
            include_usage: self.include_usage,
            pinned: self.found.pinned,
            structured: self.structured,
            tools: self.tools,
            prompt: self.found.prompt,
            endpoint: self.endpoint,
            model_at,
            members_at: self.members_at,
            options: self.options,
        })
    }

    fn model(&mut self, field: &'static str) -> Result<(), ScanError> {
        const ALLOWED: &str = "a name of 1 to 256 bytes";
        let Value::String(raw) = self.json.value()? else {
            return Err(invalid(field, ALLOWED));
        };
        let end = self.json.offset();
        let name = json::text(raw);
        if name.is_empty() || name.len() > MODEL_BOUND {
            return Err(invalid(field, ALLOWED));
        }
        self.model = Some((name, end.saturating_sub(raw.len() + 2)..end));
        Ok(())
    }

    fn messages(&mut self, field: &'static str) -> Result<(), ScanError> {
        match self.endpoint {
            Endpoint::ChatCompletions | Endpoint::Messages => {
                self.prompted = true;
                let read = self.found.messages(&mut self.json)?;
                read.then_some(())
                    .ok_or_else(|| invalid(field, "an array of messages"))
            }
            Endpoint::Completions
            | Endpoint::Embeddings
            | Endpoint::Responses
            | Endpoint::GenerateContent => Ok(self.json.skip()?),
        }
    }

    fn stream(&mut self, field: &'static str) -> Result<(), ScanError> {
        self.stream = self.flag(field)?.unwrap_or(false);
        Ok(())
    }

    fn stream_options(&mut self, field: &'static str) -> Result<(), ScanError> {
        match self.json.value()? {
            Value::Null => {
                let end = self.json.offset();
                self.options = Options::Null(end.saturating_sub(4)..end);
                Ok(())
            }
            Value::Object => self.options_members(),
            Value::Array | Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                Err(invalid(field, "an object"))
            }
        }
    }

    fn options_members(&mut self) -> Result<(), ScanError> {
        const FIELD: &str = "stream_options.include_usage";
        let members_at = self.json.offset();
        let (mut empty, mut at) = (true, None);
        while let Some(name) = self.json.member()? {
            empty = false;
            if &*json::name(name) != b"include_usage" {
                self.json.skip()?;
                continue;
            }
            if at.is_some() {
                return Err(ScanError::Duplicate { field: FIELD });
            }
            let len = self.json.clone().span()?.len();
            self.include_usage = self.flag(FIELD)?;
            let end = self.json.offset();
            at = Some(end.saturating_sub(len)..end);
        }
        self.options = Options::Object {
            members_at,
            empty,
            include_usage: at,
        };
        Ok(())
    }

    fn max_tokens(&mut self, field: &'static str) -> Result<(), ScanError> {
        let least = u64::from(self.endpoint != Endpoint::Completions);
        let given = self.number(field, least)?;
        self.max_tokens = self.max_tokens.max(given);
        Ok(())
    }

    fn choices(&mut self, field: &'static str) -> Result<(), ScanError> {
        let given = self.number(field, 1)?.unwrap_or(1);
        self.choices = self.choices.max(given);
        Ok(())
    }

    fn input(&mut self) -> Result<(), ScanError> {
        self.prompted = true;
        match self.endpoint {
            Endpoint::Embeddings => {
                self.found.inputs(&mut self.json)?;
            }
            Endpoint::Responses => self.found.items(&mut self.json)?,
            Endpoint::ChatCompletions
            | Endpoint::Completions
            | Endpoint::Messages
            | Endpoint::GenerateContent => self.json.skip()?,
        }
        Ok(())
    }

    /// Texts for completions; for Responses a template that only its provider knows.
    fn prompt(&mut self) -> Result<(), ScanError> {
        match self.endpoint {
            Endpoint::Completions => self.prompts = self.found.inputs(&mut self.json)?,
            Endpoint::Responses => {
                self.variables()?;
                self.reference()?;
            }
            Endpoint::ChatCompletions
            | Endpoint::Embeddings
            | Endpoint::Messages
            | Endpoint::GenerateContent => self.json.skip()?,
        }
        Ok(())
    }

    /// What a client puts into a template is billed, and read by the model.
    fn variables(&mut self) -> Result<(), ScanError> {
        let mut ahead = self.json.clone();
        if ahead.value()? != Value::Object {
            return Ok(());
        }
        while let Some(name) = ahead.member()? {
            let mut inner = ahead.clone();
            ahead.skip()?;
            if &*json::name(name) != b"variables" || inner.value()? != Value::Object {
                continue;
            }
            while inner.member()?.is_some() {
                self.found.content(&mut inner)?;
            }
        }
        Ok(())
    }

    fn text(&mut self) -> Result<(), ScanError> {
        Ok(self.found.content(&mut self.json)?)
    }

    fn instructions(&mut self) -> Result<(), ScanError> {
        let message = self.endpoint == Endpoint::Responses;
        Ok(self.found.instructions(&mut self.json, message)?)
    }

    fn tools(&mut self) -> Result<(), ScanError> {
        self.tools |= self.found.tools(&mut self.json)?;
        Ok(())
    }

    fn tool_choice(&mut self) -> Result<(), ScanError> {
        let choice = Choice::read(self.json.span()?)?;
        self.structured |= choice.forces;
        // Anthropic's figures for a forced tool hold its name.
        let name = match self.endpoint {
            Endpoint::Messages => b"",
            Endpoint::ChatCompletions
            | Endpoint::Completions
            | Endpoint::Embeddings
            | Endpoint::Responses
            | Endpoint::GenerateContent => choice.name,
        };
        self.found.choose(choice.tool, name);
        Ok(())
    }

    fn format(&mut self) -> Result<(), ScanError> {
        self.structured |= self.found.format(&mut self.json)?;
        Ok(())
    }

    /// `{"format": …}`
    fn formatted(&mut self) -> Result<(), ScanError> {
        let value = self.json.value()?;
        if value != Value::Object {
            return Ok(self.json.finish(value)?);
        }
        while let Some(name) = self.json.member()? {
            match &*json::name(name) {
                b"format" => self.format()?,
                _ => self.json.skip()?,
            }
        }
        Ok(())
    }

    fn reference(&mut self) -> Result<(), ScanError> {
        let value = self.json.value()?;
        self.found.pinned |= value != Value::Null;
        Ok(self.json.finish(value)?)
    }

    fn keeps(&mut self, field: &'static str) -> Result<(), ScanError> {
        self.found.pinned |= self.flag(field)?.unwrap_or(false);
        Ok(())
    }

    fn flag(&mut self, field: &'static str) -> Result<Option<bool>, ScanError> {
        match self.json.value()? {
            Value::Bool(flag) => Ok(Some(flag)),
            Value::Null => Ok(None),
            Value::Object | Value::Array | Value::String(_) | Value::Number(_) => {
                Err(invalid(field, "true or false"))
            }
        }
    }

    fn number(&mut self, field: &'static str, least: u64) -> Result<Option<u64>, ScanError> {
        let number = match self.json.value()? {
            Value::Null => return Ok(None),
            Value::Number(raw) => json::unsigned(raw).filter(|number| *number >= least),
            Value::Object | Value::Array | Value::String(_) | Value::Bool(_) => None,
        };
        number
            .map(Some)
            .ok_or_else(|| invalid(field, "a positive integer"))
    }
}

fn invalid(field: &'static str, allowed: &'static str) -> ScanError {
    ScanError::Invalid { field, allowed }
}
