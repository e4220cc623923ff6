//! A request, whatever the protocol.

use std::borrow::Cow;

/// What a model is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Conversation<'a> {
    /// What was said, system prompts included, in the client's order.
    pub(super) turns: Vec<Turn<'a>>,
    pub(super) tools: Vec<Tool<'a>>,
    pub(super) choice: Choice<'a>,
    /// Only one tool may be called at a time.
    pub(super) one_call: bool,
    pub(super) settings: Settings<'a>,
    pub(super) format: Format<'a>,
    /// An opaque name of the end user.
    pub(super) user: Option<Cow<'a, str>>,
}

/// One speaker's turn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Turn<'a> {
    pub(super) role: Role,
    pub(super) parts: Vec<Part<'a>>,
}

/// Who speaks. Results of tools are a user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    System,
    User,
    Assistant,
}

/// A piece of a turn or of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part<'a> {
    Text(Cow<'a, str>),
    Media(Media<'a>),
    Call(Call<'a>),
    Result(ToolResult<'a>),
}

/// An image or a document.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Media<'a> {
    pub(super) kind: MediaKind,
    pub(super) source: Source<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaKind {
    Image,
    Document,
}

/// Where its bytes are.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source<'a> {
    /// Here, in base64.
    Data {
        media_type: Cow<'a, str>,
        base64: Cow<'a, str>,
    },
    Url(Cow<'a, str>),
}

/// A tool that the model called.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
    /// JSON text; of requests an object's.
    pub(super) arguments: Cow<'a, [u8]>,
}

/// What a tool answered: texts and media.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ToolResult<'a> {
    /// The call's.
    pub(super) id: Cow<'a, str>,
    pub(super) parts: Vec<Part<'a>>,
    pub(super) failed: bool,
}

/// A tool that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tool<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) description: Option<Cow<'a, str>>,
    /// The JSON schema (text) of its arguments.
    pub(super) schema: Option<&'a [u8]>,
    pub(super) strict: bool,
}

/// Which tool is to be called.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Choice<'a> {
    #[default]
    Auto,
    None,
    Any,
    Named(Cow<'a, str>),
}

/// What the answer is to look like.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Format<'a> {
    #[default]
    Text,
    /// Some JSON object.
    Json,
    Schema {
        name: Cow<'a, str>,
        description: Option<Cow<'a, str>>,
        /// JSON text.
        schema: &'a [u8],
        strict: bool,
    },
}

/// How it is generated. Numbers stay the texts that they were.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Settings<'a> {
    pub(super) max_tokens: Option<u64>,
    pub(super) temperature: Option<&'a str>,
    pub(super) top_p: Option<&'a str>,
    pub(super) top_k: Option<&'a str>,
    pub(super) presence_penalty: Option<&'a str>,
    pub(super) frequency_penalty: Option<&'a str>,
    pub(super) seed: Option<&'a str>,
    pub(super) stop: Vec<Cow<'a, str>>,
    pub(super) effort: Option<Effort>,
}

/// How hard to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Higher,
    Max,
}

impl Effort {
    /// Its name in either of OpenAI's and Anthropic's protocols.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "minimal" => Self::Minimal,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            "xhigh" => Self::Higher,
            "max" => Self::Max,
            _ => return None,
        })
    }
}
