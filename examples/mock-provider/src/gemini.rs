//! Gemini's side (<https://ai.google.dev/api/generate-content>): `generateContent`, `streamGenerateContent`, errors, and
//! what the API refuses: another key's place than its own, a stream that isn't asked for as events, names it doesn't know.

use serde_json::{Map, Value, json};

use crate::http::Request;
use crate::prompt::Prompt;

/// `…/v1beta/models/MODEL:METHOD`: the model, and whether it is to stream.
pub(crate) fn target(route: &str) -> Option<(&str, bool)> {
    let (_, named) = route.split_once("/v1beta/models/")?;
    match named.rsplit_once(':')? {
        (model, "generateContent") => Some((model, false)),
        (model, "streamGenerateContent") => Some((model, true)),
        _ => None,
    }
}

/// The error body of a status.
pub(crate) fn error(status: u16) -> Value {
    refused(status, &format!("mock error {status}"))
}

fn refused(status: u16, message: &str) -> Value {
    let name = match status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 | 529 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    };
    json!({"error": {"code": status, "message": message, "status": name}})
}

/// An error in the middle of a stream.
pub(crate) fn error_event() -> String {
    data(&refused(503, "The model is overloaded. Please try again later."))
}

fn data(value: &Value) -> String {
    format!("data: {value}\r\n\r\n")
}

/// What the API refuses of a request; none when it takes it.
pub(crate) fn refusal(request: &Request, stream: bool) -> Option<(u16, Value)> {
    let refused = |status, message: &str| Some((status, refused(status, message)));
    if request.header("authorization").is_some() {
        return refused(
            401,
            "Expected OAuth 2 access token, login cookie or other valid authentication credential.",
        );
    }
    if request.header("x-goog-api-key").is_none_or(str::is_empty) {
        return refused(
            403,
            "Method doesn't allow unregistered callers. Please use API Key.",
        );
    }
    if stream && !request.path.contains("alt=sse") {
        return refused(
            400,
            "mock: without alt=sse this would be a JSON array, which nobody here reads",
        );
    }
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return refused(400, "Invalid JSON payload received.");
    };
    unknown(&body, SHAPE, "")
        .or_else(|| missing(&body))
        .and_then(|message| refused(400, &message))
}

/// A message's name, and its members; those with a name that begins with `[` stand in a list.
type Shape = &'static [(&'static str, Members)];

/// What is known of a member's own members.
enum Members {
    /// A plain value, or anything.
    Any,
    /// A message.
    Of(Shape),
    /// A list of them.
    Each(Shape),
}
use Members::{Any, Each, Of};

const SHAPE: Shape = &[
    ("contents", Each(CONTENT)),
    ("systemInstruction", Of(CONTENT)),
    (
        "tools",
        Each(&[
            ("functionDeclarations", Each(DECLARATION)),
            ("googleSearch", Any),
            ("codeExecution", Any),
        ]),
    ),
    (
        "toolConfig",
        Of(&[
            (
                "functionCallingConfig",
                Of(&[("mode", Any), ("allowedFunctionNames", Any)]),
            ),
            ("retrievalConfig", Any),
        ]),
    ),
    ("safetySettings", Any),
    ("generationConfig", Of(GENERATION)),
    ("cachedContent", Any),
];
const CONTENT: Shape = &[("role", Any), ("parts", Each(PART))];
const PART: Shape = &[
    ("text", Any),
    ("thought", Any),
    ("thoughtSignature", Any),
    ("inlineData", Of(&[("mimeType", Any), ("data", Any)])),
    ("fileData", Of(&[("mimeType", Any), ("fileUri", Any)])),
    ("functionCall", Of(&[("id", Any), ("name", Any), ("args", Any)])),
    (
        "functionResponse",
        Of(&[
            ("id", Any),
            ("name", Any),
            ("response", Any),
            ("willContinue", Any),
            ("scheduling", Any),
        ]),
    ),
];
const DECLARATION: Shape = &[
    ("name", Any),
    ("description", Any),
    ("behavior", Any),
    ("parameters", Any),
    ("parametersJsonSchema", Any),
    ("response", Any),
    ("responseJsonSchema", Any),
];
const GENERATION: Shape = &[
    ("stopSequences", Any),
    ("responseMimeType", Any),
    ("responseSchema", Any),
    ("responseJsonSchema", Any),
    ("responseModalities", Any),
    ("candidateCount", Any),
    ("maxOutputTokens", Any),
    ("temperature", Any),
    ("topP", Any),
    ("topK", Any),
    ("seed", Any),
    ("presencePenalty", Any),
    ("frequencyPenalty", Any),
    ("responseLogprobs", Any),
    ("logprobs", Any),
    (
        "thinkingConfig",
        Of(&[
            ("includeThoughts", Any),
            ("thinkingBudget", Any),
            ("thinkingLevel", Any),
        ]),
    ),
    ("mediaResolution", Any),
];

/// The first name that isn't known, in the API's words.
fn unknown(body: &Value, shape: Shape, at: &str) -> Option<String> {
    body.as_object()?.iter().find_map(|(name, value)| {
        let Some((_, members)) = shape.iter().find(|(known, _)| known == name) else {
            let place = if at.is_empty() {
                String::new()
            } else {
                format!(" at '{at}'")
            };
            return Some(format!(
                "Invalid JSON payload received. Unknown name \"{name}\"{place}: Cannot find field."
            ));
        };
        let at = if at.is_empty() {
            name.clone()
        } else {
            format!("{at}.{name}")
        };
        match members {
            Any => None,
            Of(shape) => unknown(value, shape, &at),
            Each(shape) => {
                let items = value.as_array()?.iter().enumerate();
                items
                    .into_iter()
                    .find_map(|(index, item)| unknown(item, shape, &format!("{at}[{index}]")))
            }
        }
    })
}

/// What has to be there, and what only one of may be.
fn missing(body: &Value) -> Option<String> {
    let contents = body
        .get("contents")
        .and_then(Value::as_array)
        .filter(|contents| !contents.is_empty());
    let Some(contents) = contents else {
        return Some("* GenerateContentRequest.contents: contents is not specified\n".to_owned());
    };
    contents.iter().enumerate().find_map(|(at, content)| {
        if !matches!(content.get("role").and_then(Value::as_str), None | Some("user" | "model")) {
            return Some("Please use a valid role: user, model.".to_owned());
        }
        let mut parts = content.get("parts").and_then(Value::as_array).into_iter().flatten().enumerate();
        let (part, _) = parts.find(|(_, part)| part.as_object().is_none_or(|part| kinds(part) != 1))?;
        Some(format!(
            "* GenerateContentRequest.contents[{at}].parts[{part}].data: required oneof field 'data' must have one initialized field\n"
        ))
    })
}

fn kinds(part: &Map<String, Value>) -> usize {
    let kinds = [
        "text",
        "inlineData",
        "fileData",
        "functionCall",
        "functionResponse",
    ];
    kinds.iter().filter(|kind| part.contains_key(**kind)).count()
}

/// A request in the words that [`Prompt`] reads.
pub(crate) fn asked(body: &Value, model: &str, stream: bool) -> Value {
    let contents = body
        .get("contents")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let parts = contents
        .last()
        .and_then(|last| last.get("parts"))
        .and_then(Value::as_array);
    let answered = parts.is_some_and(|parts| parts.iter().any(|part| part.get("functionResponse").is_some()));
    let tools = body.pointer("/tools/0/functionDeclarations");
    let called = body.pointer("/toolConfig/functionCallingConfig/mode");
    let structured = body.pointer("/generationConfig/responseMimeType");
    let mut asked = json!({"model": model, "stream": stream, "messages": contents});
    let off = called.and_then(Value::as_str) == Some("NONE");
    let said = [
        ("system", body.get("systemInstruction")),
        ("tools", tools.filter(|_| !answered && !off)),
        ("response_format", structured),
    ];
    for (name, value) in said {
        if let (Some(value), Some(fields)) = (value, asked.as_object_mut()) {
            fields.insert(name.to_owned(), value.clone());
        }
    }
    asked
}

fn usage(prompt: &Prompt, output: u64) -> Value {
    let mut usage = json!({
        "promptTokenCount": prompt.usage.input, "candidatesTokenCount": output,
        "totalTokenCount": prompt.usage.input.saturating_add(output),
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt.usage.input}],
    });
    if let (1.., Some(fields)) = (prompt.usage.cached, usage.as_object_mut()) {
        fields.insert("cachedContentTokenCount".to_owned(), json!(prompt.usage.cached));
    }
    usage
}

fn answer(prompt: &Prompt, parts: Value, finish: Option<&str>, output: u64) -> Value {
    let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": 0});
    if let (Some(reason), Some(fields)) = (finish, candidate.as_object_mut()) {
        fields.insert("finishReason".to_owned(), json!(reason));
    }
    json!({"candidates": [candidate], "usageMetadata": usage(prompt, output), "modelVersion": prompt.model,
           "responseId": "mock"})
}

fn finish(prompt: &Prompt) -> &str {
    let usual = if prompt.refusal.is_some() {
        "SAFETY"
    } else {
        "STOP"
    };
    prompt.finish.as_deref().unwrap_or(usual)
}

/// A tool's call goes in one piece.
fn call(prompt: &Prompt) -> Option<Value> {
    let args = serde_json::from_str::<Value>(&prompt.content).unwrap_or_else(|_| json!({}));
    let call = |tool: &String| json!([{"functionCall": {"name": tool, "args": args}}]);
    prompt.tool.as_ref().map(call)
}

/// A whole answer.
pub(crate) fn content(prompt: &Prompt) -> Value {
    let said = prompt.refusal.as_ref().unwrap_or(&prompt.content);
    let parts = call(prompt).unwrap_or_else(|| json!([{"text": said}]));
    answer(prompt, parts, Some(finish(prompt)), prompt.usage.output)
}

/// A streamed answer: each event has what is new and the usage so far; the last one says why it ended, and nothing follows.
pub(crate) fn content_events(prompt: &Prompt) -> Vec<String> {
    if let Some(call) = call(prompt) {
        return vec![data(&answer(
            prompt,
            call,
            Some(finish(prompt)),
            prompt.usage.output,
        ))];
    }
    let parts = prompt.parts();
    let pieces = u64::try_from(parts.len()).unwrap_or(u64::MAX).max(1);
    let so_far = |at: usize| {
        let at = u64::try_from(at).unwrap_or(u64::MAX).saturating_add(1);
        prompt.usage.output.saturating_mul(at) / pieces
    };
    let events = parts.iter().enumerate();
    let mut events: Vec<String> = events
        .map(|(at, part)| data(&answer(prompt, json!([{"text": part}]), None, so_far(at))))
        .collect();
    let end = answer(
        prompt,
        json!([{"text": ""}]),
        Some(finish(prompt)),
        prompt.usage.output,
    );
    events.push(data(&end));
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, headers: &[(&str, &str)], body: &Value) -> Option<(u16, String)> {
        let request = Request {
            method: "POST".to_owned(),
            path: path.to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body: body.to_string().into_bytes(),
        };
        let (_, stream) = target(request.route()).unwrap();
        let (status, said) = refusal(&request, stream)?;
        Some((status, said["error"]["message"].as_str().unwrap().to_owned()))
    }

    #[test]
    fn what_the_api_refuses_is_refused() {
        let (whole, streamed) = (
            "/v1beta/models/g:generateContent",
            "/v1beta/models/g:streamGenerateContent",
        );
        let key = [("x-goog-api-key", "k")];
        let good = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": {"topK": 1}});
        assert_eq!(told(whole, &key, &good), None);
        assert_eq!(told(&format!("{streamed}?alt=sse"), &key, &good), None);
        assert_eq!(told(streamed, &key, &good).unwrap().0, 400);
        assert_eq!(told(whole, &[], &good).unwrap().0, 403);
        assert_eq!(
            told(whole, &[("authorization", "Bearer k"), key[0]], &good)
                .unwrap()
                .0,
            401
        );
        for (body, expected) in [
            (json!({}), "contents is not specified"),
            (
                json!({"contents": [{"role": "assistant", "parts": []}]}),
                "valid role",
            ),
            (
                json!({"contents": [{"parts": [{"text": "a", "role": "user"}]}]}),
                "\"role\" at 'contents[0].parts[0]'",
            ),
            (
                json!({"contents": [{"parts": [{}]}]}),
                "contents[0].parts[0].data: required oneof",
            ),
            (
                json!({"model": "g", "contents": []}),
                "Unknown name \"model\": Cannot find field.",
            ),
        ] {
            let (status, said) = told(whole, &key, &body).unwrap();
            assert!(status == 400 && said.contains(expected), "{said}");
        }
    }

    #[test]
    fn only_two_methods_are_known() {
        assert_eq!(
            target("/v1beta/models/gemini-2.5-flash:generateContent"),
            Some(("gemini-2.5-flash", false))
        );
        assert_eq!(target("/v1beta/models/g:countTokens"), None);
        assert_eq!(target("/v1/models/g:generateContent"), None);
    }
}
