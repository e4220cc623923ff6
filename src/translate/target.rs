//! Where a request goes, by what its provider speaks.

use super::Protocol;
use crate::dialect::{Dialect, Endpoint};

/// A provider's model as an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'t> {
    /// What the provider speaks.
    pub dialect: Dialect,
    /// Its name of the model; of Azure the deployment's.
    pub model: &'t str,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Azure's `api-version`.
    pub api_version: &'t str,
}

impl Protocol {
    /// The protocol of an endpoint's bodies, if they can be translated.
    #[must_use]
    pub fn of(endpoint: Endpoint) -> Option<Self> {
        match endpoint {
            Endpoint::ChatCompletions => Some(Self::Chat),
            Endpoint::Messages => Some(Self::Messages),
            Endpoint::GenerateContent => Some(Self::Gemini),
            Endpoint::Completions | Endpoint::Embeddings | Endpoint::Responses => None,
        }
    }

    /// What a provider's conversations are written in.
    #[must_use]
    pub fn spoken_by(dialect: Dialect) -> Self {
        match dialect {
            Dialect::OpenAi | Dialect::Azure => Self::Chat,
            Dialect::Anthropic => Self::Messages,
            Dialect::Gemini => Self::Gemini,
        }
    }

    /// The endpoint whose answers are read as this protocol's.
    #[must_use]
    pub fn endpoint(self) -> Endpoint {
        match self {
            Self::Chat => Endpoint::ChatCompletions,
            Self::Messages => Endpoint::Messages,
            Self::Gemini => Endpoint::GenerateContent,
        }
    }
}

/// The path (with query) that a client's request of `endpoint` has at the provider, without the provider's own prefix;
/// none if it can't be had there. Conversations can be had everywhere, translated.
#[must_use]
pub fn path(endpoint: Endpoint, target: &Target<'_>) -> Option<String> {
    let translated = Protocol::of(endpoint);
    match target.dialect {
        Dialect::OpenAi => {
            let endpoint = translated.map_or(endpoint, |_| Endpoint::ChatCompletions);
            openai(endpoint).map(|tail| format!("/v1{tail}"))
        }
        Dialect::Azure => {
            let endpoint = translated.map_or(endpoint, |_| Endpoint::ChatCompletions);
            azure(endpoint, target)
        }
        Dialect::Anthropic => translated.map(|_| "/v1/messages".to_owned()),
        Dialect::Gemini => translated.map(|_| gemini(target)),
    }
}

fn openai(endpoint: Endpoint) -> Option<&'static str> {
    match endpoint {
        Endpoint::ChatCompletions => Some("/chat/completions"),
        Endpoint::Completions => Some("/completions"),
        Endpoint::Embeddings => Some("/embeddings"),
        Endpoint::Responses => Some("/responses"),
        Endpoint::Messages | Endpoint::GenerateContent => None,
    }
}

/// Responses name their deployment in the body.
fn azure(endpoint: Endpoint, target: &Target<'_>) -> Option<String> {
    let tail = openai(endpoint)?;
    let version = encoded(target.api_version);
    Some(match endpoint {
        Endpoint::Responses => format!("/openai{tail}?api-version={version}"),
        Endpoint::ChatCompletions
        | Endpoint::Completions
        | Endpoint::Embeddings
        | Endpoint::Messages
        | Endpoint::GenerateContent => {
            let deployment = encoded(target.model);
            format!("/openai/deployments/{deployment}{tail}?api-version={version}")
        }
    })
}

fn gemini(target: &Target<'_>) -> String {
    let model = encoded(target.model);
    let method = if target.stream {
        "streamGenerateContent?alt=sse"
    } else {
        "generateContent"
    };
    format!("/v1beta/models/{model}:{method}")
}

/// Text as one segment of a path, or one value of a query.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The headers that a protocol needs beyond the credential and the content type.
#[must_use]
pub fn headers(to: Protocol) -> &'static [(&'static str, &'static str)] {
    match to {
        Protocol::Messages => &[("anthropic-version", "2023-06-01")],
        Protocol::Chat | Protocol::Gemini => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::{Dialect, Endpoint, Target, path};

    fn at(dialect: Dialect, endpoint: Endpoint, stream: bool) -> Option<String> {
        let target = Target {
            dialect,
            model: "a/b c",
            stream,
            api_version: "2024-10-21",
        };
        path(endpoint, &target)
    }

    #[test]
    fn conversations_have_a_path_everywhere() {
        for endpoint in [Endpoint::ChatCompletions, Endpoint::Messages] {
            for (dialect, expected) in [
                (Dialect::OpenAi, "/v1/chat/completions"),
                (Dialect::Anthropic, "/v1/messages"),
                (Dialect::Gemini, "/v1beta/models/a%2Fb%20c:generateContent"),
                (
                    Dialect::Azure,
                    "/openai/deployments/a%2Fb%20c/chat/completions?api-version=2024-10-21",
                ),
            ] {
                assert_eq!(at(dialect, endpoint, false).as_deref(), Some(expected));
            }
        }
        assert_eq!(
            at(Dialect::Gemini, Endpoint::Messages, true).as_deref(),
            Some("/v1beta/models/a%2Fb%20c:streamGenerateContent?alt=sse")
        );
    }

    #[test]
    fn what_is_not_translated_stays_with_its_own() {
        for endpoint in [Endpoint::Completions, Endpoint::Embeddings, Endpoint::Responses] {
            assert!(at(Dialect::OpenAi, endpoint, false).is_some());
            assert!(at(Dialect::Azure, endpoint, false).is_some());
            assert_eq!(at(Dialect::Anthropic, endpoint, false), None);
            assert_eq!(at(Dialect::Gemini, endpoint, false), None);
        }
    }
}
