//! Anthropic's side: messages and errors.

use serde_json::{Value, json};

use crate::prompt::Prompt;

/// The error body of a status.
pub(crate) fn error(status: u16) -> Value {
    let kind = match status {
        429 => "rate_limit_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        400..=499 => "invalid_request_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": format!("mock error {status}")}, "request_id": "req_mock"})
}

/// An error in the middle of a stream.
pub(crate) fn error_event() -> String {
    event(
        "error",
        json!({"error": {"type": "overloaded_error", "message": "mock error 529"}}),
    )
}

fn stop_reason(prompt: &Prompt) -> &str {
    let usual = match (&prompt.refusal, &prompt.tool) {
        (Some(_), _) => "refusal",
        (None, Some(_)) => "tool_use",
        (None, None) => "end_turn",
    };
    prompt.finish.as_deref().unwrap_or(usual)
}

fn usage(prompt: &Prompt, output: u64) -> Value {
    json!({"input_tokens": prompt.usage.input, "cache_creation_input_tokens": 0,
           "cache_read_input_tokens": prompt.usage.cached, "output_tokens": output})
}

/// A whole message.
pub(crate) fn message(prompt: &Prompt) -> Value {
    let block = match (&prompt.refusal, &prompt.tool) {
        (Some(refusal), _) => json!({"type": "text", "text": refusal}),
        (None, Some(tool)) => json!({"type": "tool_use", "id": "toolu_mock", "name": tool,
            "input": serde_json::from_str::<Value>(&prompt.content).unwrap_or_else(|_| json!({}))}),
        (None, None) => json!({"type": "text", "text": prompt.content}),
    };
    json!({
        "id": "msg_mock", "type": "message", "role": "assistant", "model": prompt.model, "content": [block],
        "stop_reason": stop_reason(prompt), "stop_sequence": null, "usage": usage(prompt, prompt.usage.output),
    })
}

/// A streamed message; the output count of `message_delta` is the whole, not what was added.
pub(crate) fn message_events(prompt: &Prompt) -> Vec<String> {
    let opened = json!({
        "id": "msg_mock", "type": "message", "role": "assistant", "model": prompt.model, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage(prompt, 1),
    });
    let block = match &prompt.tool {
        Some(tool) => json!({"type": "tool_use", "id": "toolu_mock", "name": tool, "input": {}}),
        None => json!({"type": "text", "text": ""}),
    };
    let delta = |part: &String| match &prompt.tool {
        Some(_) => json!({"type": "input_json_delta", "partial_json": part}),
        None => json!({"type": "text_delta", "text": part}),
    };
    let mut events = vec![
        event("message_start", json!({"message": opened})),
        event("content_block_start", json!({"index": 0, "content_block": block})),
        event("ping", json!({})),
    ];
    let parts = prompt.parts();
    events.extend(
        parts
            .iter()
            .map(|part| event("content_block_delta", json!({"index": 0, "delta": delta(part)}))),
    );
    let end = json!({"stop_reason": stop_reason(prompt), "stop_sequence": null});
    events.push(event("content_block_stop", json!({"index": 0})));
    events.push(event(
        "message_delta",
        json!({"delta": end, "usage": {"output_tokens": prompt.usage.output}}),
    ));
    events.push(event("message_stop", json!({})));
    events
}

fn event(kind: &str, mut body: Value) -> String {
    if let Some(fields) = body.as_object_mut() {
        fields.insert("type".to_owned(), json!(kind));
    }
    format!("event: {kind}\ndata: {body}\n\n")
}
