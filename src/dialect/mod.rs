//! What is read and written of each provider's API.
//!
//! Requests are scanned once for the few facts that decisions need ([`scan`]) and edited in place ([`rewrite`]); answers
//! are read as they pass ([`JsonReader`], [`StreamReader`]) for usage, tokens and the assistant's words; refusals and
//! broken streams are worded in the client's own protocol ([`error_body`], [`error_event`]). All of it is linear in its
//! input and bounded in memory, whatever a client or a provider sends.

mod alike;
mod amend;
mod answer;
mod calls;
mod chat;
mod choice;
mod correction;
mod error;
mod event;
mod fitted;
mod gemini;
mod image;
mod json_reader;
mod messages;
mod prompt;
mod request;
mod responses;
mod rewrite;
mod scan_error;
mod schema;
pub mod signals;
mod stream;
mod usage;
mod wanted;

#[cfg(test)]
mod tests;

pub use crate::policy::ProviderDialect as Dialect;
pub use amend::{Amendment, amended, amended_events};
pub use answer::{Answer, answer, answer_with_facts, words};
pub use calls::{Call, Calls};
pub use correction::{Said, corrected};
pub use error::{ErrorKind, error_body, error_event};
pub use event::Progress;
pub use fitted::{Fitted, fitted};
pub use json_reader::{JsonFacts, JsonReader};
pub use request::{RequestFacts, scan};
pub use rewrite::{Edits, rewrite};
pub use scan_error::ScanError;
pub use stream::{Passed, StreamOptions, StreamReader};
pub(crate) use usage::Report;
pub use usage::Usage;
pub use wanted::{Choice, Declared, Format, Wanted, wanted};

/// A model's name in an answer is cut off here, in bytes.
pub(crate) const MODEL_BOUND: usize = 128;

/// What a request asks for: the paths whose bodies are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// OpenAI `/v1/chat/completions`.
    ChatCompletions,
    /// OpenAI `/v1/completions`.
    Completions,
    /// OpenAI `/v1/embeddings`.
    Embeddings,
    /// OpenAI `/v1/responses`.
    Responses,
    /// Anthropic `/v1/messages`.
    Messages,
    /// Gemini `generateContent` and `streamGenerateContent`: of providers only, never of a client's path.
    GenerateContent,
}

impl Endpoint {
    /// The endpoint of a request line, if its body is understood: `POST` to the path with `/v1` or without, as base
    /// URLs differ. The query and slashes at the end don't matter. Nothing below a path belongs to it
    /// (`/v1/messages/count_tokens` generates nothing).
    #[must_use]
    pub fn of(method: &[u8], path: &[u8]) -> Option<Self> {
        if method != b"POST" {
            return None;
        }
        let mut path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
        while let Some(shorter) = path.strip_suffix(b"/") {
            path = shorter;
        }
        match path.strip_prefix(b"/v1").unwrap_or(path) {
            b"/chat/completions" => Some(Self::ChatCompletions),
            b"/completions" => Some(Self::Completions),
            b"/embeddings" => Some(Self::Embeddings),
            b"/responses" => Some(Self::Responses),
            b"/messages" => Some(Self::Messages),
            _ => None,
        }
    }

    /// The protocol that its bodies are written in.
    #[must_use]
    pub fn dialect(self) -> Dialect {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings | Self::Responses => Dialect::OpenAi,
            Self::Messages => Dialect::Anthropic,
            Self::GenerateContent => Dialect::Gemini,
        }
    }

    /// Whether the answer is made of generated tokens.
    #[must_use]
    pub fn generates(self) -> bool {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::Responses
            | Self::Messages
            | Self::GenerateContent => true,
            Self::Embeddings => false,
        }
    }

    /// The operation's name in OpenTelemetry's semantic conventions (`gen_ai.operation.name`).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions | Self::Responses | Self::Messages => "chat",
            Self::Completions => "text_completion",
            Self::Embeddings => "embeddings",
            Self::GenerateContent => "generate_content",
        }
    }
}
