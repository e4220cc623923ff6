//! A complete answer, whatever the protocol.

use std::borrow::Cow;

use super::conversation::Part;
use crate::dialect::Usage;

/// What the model answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reply<'a> {
    /// Texts and calls.
    pub(super) parts: Vec<Part<'a>>,
    pub(super) stop: Stop<'a>,
    pub(super) usage: Option<Usage>,
}

/// Why it ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stop<'a> {
    /// All is said.
    End,
    /// One of the client's stop sequences came; which, if that is known.
    Sequence(Option<Cow<'a, str>>),
    /// Too long.
    Length,
    /// Tools are to be called.
    Tools,
    /// The model or a filter refused.
    Refused,
}

impl Stop<'_> {
    /// The reason as it is: who calls tools waits for them, even where a provider says only that all is said.
    pub(super) fn given(self, calls: bool) -> Self {
        match (self, calls) {
            (Self::End, true) => Self::Tools,
            (Self::Tools, false) => Self::End,
            (stop, _) => stop,
        }
    }

    /// The same, for keeping.
    pub(super) fn owned(self) -> Stop<'static> {
        match self {
            Self::End => Stop::End,
            Self::Sequence(which) => Stop::Sequence(which.map(|text| Cow::Owned(text.into_owned()))),
            Self::Length => Stop::Length,
            Self::Tools => Stop::Tools,
            Self::Refused => Stop::Refused,
        }
    }

    /// The name in OpenAI's chat completions.
    pub(super) fn chat(&self) -> &'static str {
        match self {
            Self::End | Self::Sequence(_) => "stop",
            Self::Length => "length",
            Self::Tools => "tool_calls",
            Self::Refused => "content_filter",
        }
    }

    /// The name in Anthropic's messages.
    pub(super) fn messages(&self) -> &'static str {
        match self {
            Self::End => "end_turn",
            Self::Sequence(_) => "stop_sequence",
            Self::Length => "max_tokens",
            Self::Tools => "tool_use",
            Self::Refused => "refusal",
        }
    }
}
