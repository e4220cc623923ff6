//! Azure's side of OpenAI's protocol (<https://learn.microsoft.com/azure/ai-services/openai/reference>): a deployment in the
//! path, `api-version` in the query, `api-key` in a header; verdicts of its content filter in every answer, and in a stream
//! before its first words an event that holds nothing else.

use serde_json::{Value, json};

use crate::http::Request;

/// `…/openai/deployments/NAME/TAIL`: the tail, as OpenAI's own path ends.
pub(crate) fn tail(route: &str) -> Option<&str> {
    let (_, rest) = route.split_once("/openai/deployments/")?;
    let (deployment, tail) = rest.split_once('/')?;
    (!deployment.is_empty()).then_some(tail)
}

/// What the API refuses of a request; none when it takes it.
pub(crate) fn refusal(request: &Request) -> Option<(u16, Value)> {
    let query = request.path.split_once('?').map_or("", |(_, query)| query);
    let mut versions = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("api-version="));
    if versions.next().is_none_or(str::is_empty) {
        return Some((
            404,
            json!({"error": {"code": "404", "message": "Resource not found"}}),
        ));
    }
    if request.header("api-key").is_none_or(str::is_empty) || request.header("authorization").is_some() {
        let message = "Access denied due to invalid subscription key or wrong API endpoint.";
        return Some((401, json!({"error": {"code": "401", "message": message}})));
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let unknown = body
        .as_object()?
        .keys()
        .find(|name| !KNOWN.contains(&name.as_str()))?;
    let message = format!("Unrecognized request argument supplied: {unknown}");
    Some((
        400,
        json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}}),
    ))
}

/// Of chat completions, completions and embeddings together.
const KNOWN: [&str; 38] = [
    "messages",
    "model",
    "audio",
    "data_sources",
    "dimensions",
    "encoding_format",
    "frequency_penalty",
    "function_call",
    "functions",
    "input",
    "input_type",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt",
    "reasoning_effort",
    "response_format",
    "seed",
    "stop",
    "store",
    "stream",
    "stream_options",
    "suffix",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "echo",
    "best_of",
];

fn verdicts() -> Value {
    let safe = json!({"filtered": false, "severity": "safe"});
    json!({"hate": safe, "self_harm": safe, "sexual": safe, "violence": safe})
}

fn prompt_verdicts() -> Value {
    json!([{"prompt_index": 0, "content_filter_results": verdicts()}])
}

/// A whole answer with its verdicts.
pub(crate) fn judged(mut answer: Value) -> Value {
    for choice in answer
        .get_mut("choices")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(fields) = choice.as_object_mut() {
            fields.insert("content_filter_results".to_owned(), verdicts());
        }
    }
    if let Some(fields) = answer
        .as_object_mut()
        .filter(|fields| fields.contains_key("choices"))
    {
        fields.insert("prompt_filter_results".to_owned(), prompt_verdicts());
    }
    answer
}

/// A stream with its verdicts: the prompt's come first, in an event without choices.
pub(crate) fn judged_events(events: Vec<String>) -> Vec<String> {
    let first = json!({"choices": [], "created": 0, "id": "", "model": "", "object": "",
                       "prompt_filter_results": prompt_verdicts()});
    let mut judged_events = vec![format!("data: {first}\n\n")];
    judged_events.extend(events.into_iter().map(|event| {
        let parsed = event
            .strip_prefix("data: ")
            .and_then(|data| serde_json::from_str::<Value>(data.trim()).ok());
        parsed.map_or(event, |chunk| format!("data: {}\n\n", with_verdicts(chunk)))
    }));
    judged_events
}

fn with_verdicts(mut chunk: Value) -> Value {
    for choice in chunk
        .get_mut("choices")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(fields) = choice.as_object_mut() {
            fields.insert("content_filter_results".to_owned(), json!({}));
        }
    }
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, header: &str, body: &Value) -> Option<u16> {
        let request = Request {
            method: "POST".to_owned(),
            path: path.to_owned(),
            headers: vec![(header.to_owned(), "k".to_owned())],
            body: body.to_string().into_bytes(),
        };
        refusal(&request).map(|(status, _)| status)
    }

    #[test]
    fn what_the_api_refuses_is_refused() {
        let path = "/openai/deployments/d/chat/completions?api-version=2024-10-21";
        let good = json!({"messages": []});
        assert_eq!(told(path, "api-key", &good), None);
        assert_eq!(
            told("/openai/deployments/d/chat/completions", "api-key", &good),
            Some(404)
        );
        assert_eq!(told(path, "authorization", &good), Some(401));
        assert_eq!(
            told(path, "api-key", &json!({"messages": [], "cache_control": 1})),
            Some(400)
        );
    }

    #[test]
    fn a_deployment_is_in_the_path() {
        assert_eq!(
            tail("/openai/deployments/d/chat/completions"),
            Some("chat/completions")
        );
        assert_eq!(tail("/v1/chat/completions"), None);
        assert_eq!(tail("/openai/deployments//chat/completions"), None);
    }
}
