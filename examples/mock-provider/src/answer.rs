//! An answer before it is sent: whole, or as events; and what a fault makes of it.

use serde_json::Value;

use crate::fault::Fault;
use crate::http::Request;
use crate::prompt::Prompt;
use crate::{anthropic, azure, gemini, openai, wire};

/// The API a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Chat,
    Completions,
    Embeddings,
    Responses,
    Messages,
    Models,
    Gemini,
}

impl Api {
    /// By the end of the path, so that a prefix before `/v1` (or `/openai/deployments`, `/v1beta`) doesn't matter.
    pub(crate) fn of(route: &str) -> Option<Self> {
        if gemini::target(route).is_some() {
            return Some(Self::Gemini);
        }
        let tail = azure::tail(route).or_else(|| route.split_once("/v1/").map(|(_, tail)| tail))?;
        match tail {
            "chat/completions" => Some(Self::Chat),
            "completions" => Some(Self::Completions),
            "embeddings" => Some(Self::Embeddings),
            "responses" => Some(Self::Responses),
            "messages" => Some(Self::Messages),
            "models" => Some(Self::Models),
            _ => None,
        }
    }

    fn is_anthropic(self) -> bool {
        self == Self::Messages
    }
}

/// What goes out after the head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Whole(Vec<u8>),
    Events(Vec<String>),
}

/// One answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

/// The answer to a request of an API.
pub(crate) fn compose(api: Api, request: &Request, fault: &Fault) -> Answer {
    let status = fault
        .number("status")
        .and_then(|status| u16::try_from(status).ok());
    let mut answer = match (refusal(request), status) {
        (Some((status, said)), _) => whole(status, &said),
        (None, Some(status)) if status >= 300 => whole(status, &error(api, status)),
        (None, Some(_) | None) => success(api, request, fault),
    };
    answer.headers.extend(fault_headers(api, fault));
    if let (Some("gzip"), Body::Whole(body)) = (fault.text("encoding"), &mut answer.body) {
        *body = wire::gzip(body);
        answer
            .headers
            .push(("content-encoding".to_owned(), "gzip".to_owned()));
    }
    answer
}

/// What an API that is strict won't take. OpenAI's and Anthropic's own are patient here.
fn refusal(request: &Request) -> Option<(u16, Value)> {
    let route = request.route();
    match (gemini::target(route), azure::tail(route)) {
        (Some((_, stream)), _) => gemini::refusal(request, stream),
        (None, Some(_)) => azure::refusal(request),
        (None, None) => None,
    }
}

fn success(api: Api, request: &Request, fault: &Fault) -> Answer {
    if api == Api::Models {
        return whole(200, &openai::models());
    }
    let Ok(asked) = serde_json::from_slice::<Value>(&request.body) else {
        return whole(400, &error(api, 400));
    };
    let asked = match gemini::target(request.route()) {
        Some((model, stream)) => gemini::asked(&asked, model, stream),
        None => asked,
    };
    let prompt = Prompt::new(&asked, fault);
    let is_azure = azure::tail(request.route()).is_some();
    if let Some(name) = fault.text("body") {
        return canned(name, prompt.stream);
    }
    match prompt.stream && api != Api::Embeddings {
        true => {
            let said = stream(api, &prompt);
            let said = if is_azure {
                azure::judged_events(said)
            } else {
                said
            };
            events(said, fault.number("error-after"), api)
        }
        false => {
            let said = json(api, &prompt, &asked);
            whole(200, &if is_azure { azure::judged(said) } else { said })
        }
    }
}

fn json(api: Api, prompt: &Prompt, asked: &Value) -> Value {
    match api {
        Api::Chat => openai::chat(prompt),
        Api::Completions => openai::completion(prompt),
        Api::Embeddings => openai::embeddings(prompt, asked),
        Api::Responses => openai::response(prompt, "completed"),
        Api::Messages => anthropic::message(prompt),
        Api::Models => openai::models(),
        Api::Gemini => gemini::content(prompt),
    }
}

fn stream(api: Api, prompt: &Prompt) -> Vec<String> {
    match api {
        Api::Chat => openai::chat_events(prompt),
        Api::Completions => openai::completion_events(prompt),
        Api::Responses => openai::response_events(prompt),
        Api::Messages => anthropic::message_events(prompt),
        Api::Gemini => gemini::content_events(prompt),
        Api::Embeddings | Api::Models => Vec::new(),
    }
}

/// The error body of the API's dialect.
pub(crate) fn error(api: Api, status: u16) -> Value {
    match api {
        Api::Messages => anthropic::error(status),
        Api::Gemini => gemini::error(status),
        Api::Chat | Api::Completions | Api::Embeddings | Api::Responses | Api::Models => {
            openai::error(status)
        }
    }
}

fn whole(status: u16, body: &Value) -> Answer {
    Answer {
        status,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: Body::Whole(body.to_string().into_bytes()),
    }
}

/// A stream; after `error_after` events it ends with an error event instead of its rest.
fn events(mut events: Vec<String>, error_after: Option<u64>, api: Api) -> Answer {
    if let Some(count) = error_after.and_then(|count| usize::try_from(count).ok()) {
        events.truncate(count);
        events.push(match api {
            Api::Messages => anthropic::error_event(),
            Api::Responses => openai::response_error_event(),
            Api::Gemini => gemini::error_event(),
            Api::Chat | Api::Completions | Api::Embeddings | Api::Models => openai::error_event(),
        });
    }
    Answer {
        status: 200,
        headers: vec![(
            "content-type".to_owned(),
            "text/event-stream; charset=utf-8".to_owned(),
        )],
        body: Body::Events(events),
    }
}

/// A body by name, or the bytes of `base64:…`, sent as JSON, or as one event stream when the request streams.
fn canned(name: &str, stream: bool) -> Answer {
    let chat = |message: &str| format!(r#"{{"id":"c","object":"chat.completion","model":"m",{message}}}"#);
    let hello =
        r#""choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"hi"}}]"#;
    let usage = |numbers: &str| chat(&format!(r#"{hello},"usage":{numbers}"#));
    let body = match name {
        "empty" => String::new(),
        "html" => "<html><body>Bad gateway</body></html>".to_owned(),
        "not-json" => "This is not JSON.".to_owned(),
        "truncated" => r#"{"id":"c","choices":[{"message":{"content":"hel"#.to_owned(),
        "no-usage" => chat(hello),
        "null-usage" => usage("null"),
        "negative-usage" => usage(r#"{"prompt_tokens":-5,"completion_tokens":-7,"total_tokens":-12}"#),
        "absurd-usage" => usage(r#"{"prompt_tokens":1e300,"completion_tokens":99999999999999999999}"#),
        "text-usage" => usage(r#"{"prompt_tokens":"many","completion_tokens":[]}"#),
        "deep" => format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)),
        other => {
            return bytes(
                other
                    .strip_prefix("base64:")
                    .and_then(wire::unbase64)
                    .unwrap_or_default(),
                stream,
            );
        }
    };
    bytes(body.into_bytes(), stream)
}

fn bytes(body: Vec<u8>, stream: bool) -> Answer {
    let kind = if stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    Answer {
        status: 200,
        headers: vec![("content-type".to_owned(), kind.to_owned())],
        body: Body::Whole(body),
    }
}

/// `retry-after`, `retry-after-ms`, `remaining` (`requests,tokens`) and `set` (`name: value`).
fn fault_headers(api: Api, fault: &Fault) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for name in ["retry-after", "retry-after-ms"] {
        headers.extend(fault.text(name).map(|value| (name.to_owned(), value.to_owned())));
    }
    let prefix = if api.is_anthropic() {
        "anthropic-ratelimit"
    } else {
        "x-ratelimit"
    };
    let remaining = fault
        .text("remaining")
        .unwrap_or_default()
        .split(',')
        .filter(|number| !number.is_empty());
    for (kind, number) in ["requests", "tokens"].iter().zip(remaining) {
        let name = match api.is_anthropic() {
            true => format!("{prefix}-{kind}-remaining"),
            false => format!("{prefix}-remaining-{kind}"),
        };
        headers.push((name, number.trim().to_owned()));
    }
    let set = fault.texts("set").filter_map(|line| line.split_once(':'));
    headers.extend(set.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())));
    headers
}
