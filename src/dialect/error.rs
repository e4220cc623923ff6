//! Refusals and broken streams, worded in the client's own protocol, so that its SDK raises its own errors.
//!
//! Sources: OpenAI's error object (`error.{message,type,param,code}`) and Anthropic's error types
//! (<https://docs.anthropic.com/en/api/errors>).

use super::{Dialect, Endpoint};
use crate::json;

/// What went wrong, as far as a client can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request can't be served as it is (400).
    InvalidRequest,
    /// The caller isn't known (401).
    Authentication,
    /// The body is too large (413).
    TooLarge,
    /// The body is encoded in a way that isn't read (415).
    UnsupportedMedia,
    /// Not now (429).
    RateLimited,
    /// No provider can serve it now (503).
    Unavailable,
    /// The provider's answer can't be passed on (502).
    BadAnswer,
    /// Nothing of that name (404).
    NotFound,
}

impl ErrorKind {
    fn openai_type(self) -> &'static str {
        match self {
            Self::InvalidRequest | Self::TooLarge | Self::UnsupportedMedia | Self::NotFound => {
                "invalid_request_error"
            }
            Self::Authentication => "authentication_error",
            Self::RateLimited => "rate_limit_error",
            Self::Unavailable | Self::BadAnswer => "server_error",
        }
    }

    fn anthropic_type(self) -> &'static str {
        match self {
            Self::InvalidRequest | Self::UnsupportedMedia => "invalid_request_error",
            Self::Authentication => "authentication_error",
            Self::TooLarge => "request_too_large",
            Self::RateLimited => "rate_limit_error",
            Self::Unavailable => "overloaded_error",
            Self::BadAnswer => "api_error",
            Self::NotFound => "not_found_error",
        }
    }

    /// The code of an error in mid-stream, where no caller gives one.
    fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Authentication => "invalid_api_key",
            Self::TooLarge => "request_too_large",
            Self::UnsupportedMedia => "unsupported_media_type",
            Self::RateLimited => "rate_limit_exceeded",
            Self::Unavailable => "server_error",
            Self::BadAnswer => "invalid_answer",
            Self::NotFound => "not_found",
        }
    }
}

/// The JSON body of a refusal. Anthropic's has no place for `code`.
#[must_use]
pub fn error_body(dialect: Dialect, kind: ErrorKind, message: &str, code: &str) -> Vec<u8> {
    match dialect {
        // No client speaks Gemini's protocol.
        Dialect::OpenAi | Dialect::Azure | Dialect::Gemini => {
            let mut out = br#"{"error":"#.to_vec();
            push_openai(&mut out, kind, message, code);
            out.push(b'}');
            out
        }
        Dialect::Anthropic => anthropic(kind, message),
    }
}

/// The event that ends a stream in its protocol. It must begin at the start of a line, after an empty one.
#[must_use]
pub fn error_event(endpoint: Endpoint, kind: ErrorKind, message: &str) -> Vec<u8> {
    let (name, data) = match endpoint {
        Endpoint::ChatCompletions
        | Endpoint::Completions
        | Endpoint::Embeddings
        | Endpoint::GenerateContent => (&b""[..], error_body(Dialect::OpenAi, kind, message, kind.code())),
        Endpoint::Responses => (&b"event: error\n"[..], responses(kind, message)),
        Endpoint::Messages => (&b"event: error\n"[..], anthropic(kind, message)),
    };
    [name, b"data: ", &data, b"\n\n"].concat()
}

/// The documented fields at the top, and `error` as the service really sends it: the SDKs raise on the latter.
fn responses(kind: ErrorKind, message: &str) -> Vec<u8> {
    let mut out = br#"{"type":"error","sequence_number":0,"code":"#.to_vec();
    json::push_string(&mut out, kind.code());
    out.extend_from_slice(br#","message":"#);
    json::push_string(&mut out, message);
    out.extend_from_slice(br#","param":null,"error":"#);
    push_openai(&mut out, kind, message, kind.code());
    out.push(b'}');
    out
}

fn anthropic(kind: ErrorKind, message: &str) -> Vec<u8> {
    let mut out = br#"{"type":"error","error":{"type":"#.to_vec();
    json::push_string(&mut out, kind.anthropic_type());
    out.extend_from_slice(br#","message":"#);
    json::push_string(&mut out, message);
    out.extend_from_slice(b"}}");
    out
}

fn push_openai(out: &mut Vec<u8>, kind: ErrorKind, message: &str, code: &str) {
    out.extend_from_slice(br#"{"message":"#);
    json::push_string(out, message);
    out.extend_from_slice(br#","type":"#);
    json::push_string(out, kind.openai_type());
    out.extend_from_slice(br#","param":null,"code":"#);
    json::push_string(out, code);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Dialect, Endpoint, ErrorKind, error_body, error_event};

    fn parsed(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn bodies_are_what_each_sdk_reads() {
        let body = error_body(
            Dialect::OpenAi,
            ErrorKind::RateLimited,
            "say \"when\"\n",
            "rate_limit_exceeded",
        );
        let error = json!({"message": "say \"when\"\n", "type": "rate_limit_error", "param": null, "code": "rate_limit_exceeded"});
        assert_eq!(parsed(&body), json!({ "error": error }));
        let body = error_body(Dialect::Anthropic, ErrorKind::Unavailable, "busy", "ignored");
        assert_eq!(
            parsed(&body),
            json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}})
        );
    }

    #[test]
    fn events_end_a_stream_in_its_protocol() {
        let event = |endpoint| String::from_utf8(error_event(endpoint, ErrorKind::BadAnswer, "no")).unwrap();
        assert!(event(Endpoint::ChatCompletions).starts_with("data: {\"error\":{"));
        assert!(event(Endpoint::Messages).starts_with("event: error\ndata: {\"type\":\"error\","));
        let responses = event(Endpoint::Responses);
        let data = responses.strip_prefix("event: error\ndata: ").unwrap();
        assert_eq!(parsed(data.as_bytes())["error"]["code"], "invalid_answer");
        assert!(responses.ends_with("}\n\n"));
    }
}
