//! Errors: what a provider's says, in the words of the client's protocol.
//!
//! Sources: OpenAI's error object (`error.{message,type,param,code}`), Anthropic's types and statuses
//! (<https://platform.claude.com/docs/en/api/errors>), Gemini's `google.rpc.Status`
//! (<https://ai.google.dev/gemini-api/docs/troubleshooting>).

use std::borrow::Cow;

use super::Protocol;
use super::node::Node;
use super::out::{self, Object};

/// A message is cut off here, in bytes: some providers send whole pages.
const MESSAGE_BOUND: usize = 2_048;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    InvalidRequest,
    Authentication,
    Billing,
    Permission,
    NotFound,
    TooLarge,
    RateLimit,
    Internal,
    Timeout,
    Overloaded,
}

/// What a provider says went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure<'a> {
    pub(super) kind: Kind,
    pub(super) message: Cow<'a, str>,
}

/// Rewrites the error body of a provider that speaks `from`, and its status, for a client that speaks `to`. A body that
/// can't be read is worded by its status.
#[must_use]
pub fn error(from: Protocol, to: Protocol, status: u16, body: &[u8]) -> (u16, Vec<u8>) {
    if from == to {
        return (status, body.to_vec());
    }
    let by_status = Kind::of_status(status);
    let said = Node::parse(body).ok().and_then(Failure::read);
    let failure = Failure {
        kind: said.as_ref().and_then(|said| said.0).unwrap_or(by_status),
        message: said.map_or(Cow::Borrowed(by_status.usual()), |said| said.1),
    };
    (failure.kind.status(to, status), failure.body(to))
}

impl<'a> Failure<'a> {
    /// What an error of any protocol says: its kind, if that is known, and its message.
    pub(super) fn read(body: Node<'a>) -> Option<(Option<Kind>, Cow<'a, str>)> {
        let body = body.items().next().unwrap_or(body);
        let error = body.member("error").unwrap_or(body);
        let message = error
            .text()
            .or_else(|| error.text_of("message"))
            .or_else(|| error.text_of("detail"))?;
        let words = ["type", "status", "code"];
        let kind = words
            .into_iter()
            .find_map(|word| Kind::of_word(&error.text_of(word)?));
        Some((kind, bounded(message)))
    }

    /// Of an error in mid-stream, which has no status.
    pub(super) fn of_event(body: Node<'a>) -> Self {
        let (kind, message) =
            Self::read(body).unwrap_or((None, Cow::Borrowed("the provider reports an error")));
        Self {
            kind: kind.unwrap_or(Kind::Internal),
            message,
        }
    }

    /// The same, for keeping.
    pub(super) fn into_owned(self) -> Failure<'static> {
        Failure {
            kind: self.kind,
            message: Cow::Owned(self.message.into_owned()),
        }
    }

    /// Its body in a client's protocol.
    pub(super) fn body(&self, to: Protocol) -> Vec<u8> {
        match to {
            Protocol::Chat => out::text(|o| o.object("error", |o| self.chat(o))),
            Protocol::Messages => out::text(|o| {
                o.text("type", "error");
                o.object("error", |o| {
                    o.text("type", self.kind.messages());
                    o.text("message", &self.message);
                });
            }),
            Protocol::Gemini => out::text(|o| o.object("error", |o| o.text("message", &self.message))),
        }
    }

    fn chat(&self, o: &mut Object<'_>) {
        let (kind, code) = self.kind.chat();
        o.text("message", &self.message);
        o.text("type", kind);
        o.null("param");
        o.text("code", code);
    }
}

fn bounded(message: Cow<'_, str>) -> Cow<'_, str> {
    if message.len() <= MESSAGE_BOUND {
        return message;
    }
    let end = (0..=MESSAGE_BOUND).rev().find(|at| message.is_char_boundary(*at));
    Cow::Owned(message.get(..end.unwrap_or(0)).unwrap_or_default().to_owned())
}

impl Kind {
    fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Authentication,
            402 => Self::Billing,
            403 => Self::Permission,
            404 => Self::NotFound,
            413 => Self::TooLarge,
            429 => Self::RateLimit,
            408 | 504 => Self::Timeout,
            503 | 529 => Self::Overloaded,
            400..=499 => Self::InvalidRequest,
            _ => Self::Internal,
        }
    }

    /// Of any protocol's words.
    fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "authentication_error" | "invalid_api_key" | "UNAUTHENTICATED" => Self::Authentication,
            "billing_error" | "insufficient_quota" => Self::Billing,
            "permission_error" | "PERMISSION_DENIED" => Self::Permission,
            "not_found_error" | "model_not_found" | "NOT_FOUND" => Self::NotFound,
            "request_too_large" => Self::TooLarge,
            "rate_limit_error" | "rate_limit_exceeded" | "tokens" | "requests" | "RESOURCE_EXHAUSTED" => {
                Self::RateLimit
            }
            "api_error" | "server_error" | "INTERNAL" => Self::Internal,
            "timeout_error" | "DEADLINE_EXCEEDED" => Self::Timeout,
            "overloaded_error" | "UNAVAILABLE" => Self::Overloaded,
            _ => return None,
        })
    }

    /// The status that a client of this protocol knows: being overloaded is 529 to Anthropic's and 503 to the others.
    fn status(self, to: Protocol, status: u16) -> u16 {
        match (self, to, status) {
            (Self::Overloaded, Protocol::Messages, 503) => 529,
            (_, Protocol::Chat | Protocol::Gemini, 529) => 503,
            (_, _, status) => status,
        }
    }

    /// Type and code of OpenAI's.
    fn chat(self) -> (&'static str, &'static str) {
        match self {
            Self::InvalidRequest => ("invalid_request_error", "invalid_request"),
            Self::Authentication => ("authentication_error", "invalid_api_key"),
            Self::Billing => ("insufficient_quota", "insufficient_quota"),
            Self::Permission => ("permission_error", "permission_denied"),
            Self::NotFound => ("invalid_request_error", "not_found"),
            Self::TooLarge => ("invalid_request_error", "request_too_large"),
            Self::RateLimit => ("rate_limit_error", "rate_limit_exceeded"),
            Self::Internal => ("server_error", "server_error"),
            Self::Timeout => ("server_error", "timeout"),
            Self::Overloaded => ("server_error", "overloaded"),
        }
    }

    /// Type of Anthropic's.
    fn messages(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request_error",
            Self::Authentication => "authentication_error",
            Self::Billing => "billing_error",
            Self::Permission => "permission_error",
            Self::NotFound => "not_found_error",
            Self::TooLarge => "request_too_large",
            Self::RateLimit => "rate_limit_error",
            Self::Internal => "api_error",
            Self::Timeout => "timeout_error",
            Self::Overloaded => "overloaded_error",
        }
    }

    fn usual(self) -> &'static str {
        match self {
            Self::InvalidRequest => "the provider refused the request",
            Self::Authentication => "the provider doesn't know the credential",
            Self::Billing => "the provider's account has no credit left",
            Self::Permission => "the provider doesn't permit this",
            Self::NotFound => "the provider doesn't know the model or the path",
            Self::TooLarge => "the request is too large for the provider",
            Self::RateLimit => "the provider's rate limit is reached",
            Self::Internal => "the provider failed",
            Self::Timeout => "the provider didn't answer in time",
            Self::Overloaded => "the provider is overloaded",
        }
    }
}
