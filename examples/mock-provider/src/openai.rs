//! OpenAI's side: chat completions, completions, embeddings, Responses, models, errors.

use serde_json::{Value, json};

use crate::prompt::{Prompt, Usage};
use crate::wire::base64;

/// 2026-01-01, for ever: an answer carries no clock.
const CREATED: u64 = 1_767_225_600;

/// The list of models.
pub(crate) fn models() -> Value {
    let model = |id: &str| json!({"id": id, "object": "model", "created": CREATED, "owned_by": "mock"});
    json!({"object": "list", "data": [model("gpt-4o"), model("claude-sonnet-4-5"), model("text-embedding-3-small")]})
}

/// The error body of a status.
pub(crate) fn error(status: u16) -> Value {
    let (kind, code) = match status {
        429 => ("rate_limit_exceeded", "rate_limit_exceeded"),
        401 | 403 => ("invalid_request_error", "invalid_api_key"),
        400..=499 => ("invalid_request_error", "invalid_request"),
        _ => ("server_error", "server_error"),
    };
    json!({"error": {"message": format!("mock error {status}"), "type": kind, "param": null, "code": code}})
}

/// An error in the middle of a stream.
pub(crate) fn error_event() -> String {
    data(&error(500))
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input.saturating_add(usage.output),
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    })
}

fn finish<'a>(prompt: &'a Prompt, otherwise: &'a str) -> &'a str {
    prompt.finish.as_deref().unwrap_or(if prompt.tool.is_some() {
        "tool_calls"
    } else {
        otherwise
    })
}

/// A whole chat completion.
pub(crate) fn chat(prompt: &Prompt) -> Value {
    let choice = |index: u64| json!({"index": index, "message": chat_message(prompt), "logprobs": null, "finish_reason": finish(prompt, "stop")});
    json!({
        "id": "chatcmpl-mock", "object": "chat.completion", "created": CREATED, "model": prompt.model,
        "choices": (0..prompt.choices).map(choice).collect::<Vec<_>>(),
        "usage": usage(prompt.usage), "system_fingerprint": "fp_mock",
    })
}

fn chat_message(prompt: &Prompt) -> Value {
    match (&prompt.refusal, &prompt.tool) {
        (Some(refusal), _) => json!({"role": "assistant", "content": null, "refusal": refusal}),
        (None, Some(tool)) => {
            let call = json!({"name": tool, "arguments": prompt.content});
            json!({"role": "assistant", "content": null,
                   "tool_calls": [{"id": "call_mock", "type": "function", "function": call}]})
        }
        (None, None) => json!({"role": "assistant", "content": prompt.content, "refusal": null}),
    }
}

/// A streamed chat completion, `[DONE]` included; usage only for those who asked.
pub(crate) fn chat_events(prompt: &Prompt) -> Vec<String> {
    let chunk = |choices: Value| {
        let mut chunk = json!({
            "id": "chatcmpl-mock", "object": "chat.completion.chunk", "created": CREATED,
            "model": prompt.model, "system_fingerprint": "fp_mock", "choices": choices,
        });
        if let (true, Some(fields)) = (prompt.include_usage, chunk.as_object_mut()) {
            fields.insert("usage".to_owned(), Value::Null);
        }
        chunk
    };
    let delta = |delta: Value, end: Value| chunk(json!([{"index": 0, "delta": delta, "finish_reason": end}]));
    let mut events = vec![data(&delta(first_delta(prompt), Value::Null))];
    events.extend(
        prompt
            .parts()
            .iter()
            .map(|part| data(&delta(part_delta(prompt, part), Value::Null))),
    );
    events.push(data(&delta(json!({}), json!(finish(prompt, "stop")))));
    if prompt.include_usage {
        let mut last = chunk(json!([]));
        if let Some(fields) = last.as_object_mut() {
            fields.insert("usage".to_owned(), usage(prompt.usage));
        }
        events.push(data(&last));
    }
    events.push("data: [DONE]\n\n".to_owned());
    events
}

fn first_delta(prompt: &Prompt) -> Value {
    match &prompt.tool {
        Some(tool) => json!({"role": "assistant", "content": null, "tool_calls": [
            {"index": 0, "id": "call_mock", "type": "function", "function": {"name": tool, "arguments": ""}}]}),
        None => json!({"role": "assistant", "content": ""}),
    }
}

fn part_delta(prompt: &Prompt, part: &str) -> Value {
    match (&prompt.refusal, &prompt.tool) {
        (Some(_), _) => json!({"refusal": part}),
        (None, Some(_)) => json!({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}),
        (None, None) => json!({"content": part}),
    }
}

/// A whole (legacy) completion.
pub(crate) fn completion(prompt: &Prompt) -> Value {
    let choice = |index: u64| json!({"index": index, "text": prompt.content, "logprobs": null, "finish_reason": "stop"});
    json!({
        "id": "cmpl-mock", "object": "text_completion", "created": CREATED, "model": prompt.model,
        "choices": (0..prompt.choices).map(choice).collect::<Vec<_>>(), "usage": usage(prompt.usage),
    })
}

/// A streamed (legacy) completion.
pub(crate) fn completion_events(prompt: &Prompt) -> Vec<String> {
    let chunk = |choices: Value| json!({"id": "cmpl-mock", "object": "text_completion", "created": CREATED, "model": prompt.model, "choices": choices});
    let text =
        |text: &str, end: Value| data(&chunk(json!([{"index": 0, "text": text, "finish_reason": end}])));
    let mut events: Vec<_> = prompt
        .parts()
        .iter()
        .map(|part| text(part, Value::Null))
        .collect();
    events.push(text("", json!("stop")));
    if prompt.include_usage {
        let mut last = chunk(json!([]));
        if let Some(fields) = last.as_object_mut() {
            fields.insert("usage".to_owned(), usage(prompt.usage));
        }
        events.push(data(&last));
    }
    events.push("data: [DONE]\n\n".to_owned());
    events
}

/// One vector of eight numbers per input, in base64 for those who ask (the official SDK does).
pub(crate) fn embeddings(prompt: &Prompt, asked: &Value) -> Value {
    let vector = [0.125f32, -0.25, 0.5, -0.5, 0.25, -0.125, 0.375, -0.375];
    let packed = asked.get("encoding_format").and_then(Value::as_str) == Some("base64");
    let embedding = match packed {
        true => json!(base64(
            &vector
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect::<Vec<_>>()
        )),
        false => json!(vector),
    };
    let count = asked.get("input").and_then(Value::as_array).map_or(1, Vec::len);
    let entry = |index: usize| json!({"object": "embedding", "index": index, "embedding": embedding});
    json!({
        "object": "list", "model": prompt.model, "data": (0..count).map(entry).collect::<Vec<_>>(),
        "usage": {"prompt_tokens": prompt.usage.input, "total_tokens": prompt.usage.input},
    })
}

/// A whole response object in that status.
pub(crate) fn response(prompt: &Prompt, status: &str) -> Value {
    let done = status == "completed";
    let usage = json!({
        "input_tokens": prompt.usage.input, "input_tokens_details": {"cached_tokens": prompt.usage.cached},
        "output_tokens": prompt.usage.output, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt.usage.input.saturating_add(prompt.usage.output),
    });
    json!({
        "id": "resp_mock", "object": "response", "created_at": CREATED, "status": status, "error": null,
        "incomplete_details": null, "instructions": null, "metadata": {}, "model": prompt.model,
        "output": if done { json!([output_item(prompt, status)]) } else { json!([]) },
        "parallel_tool_calls": true, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0,
        "usage": if done { usage } else { Value::Null },
    })
}

fn output_item(prompt: &Prompt, status: &str) -> Value {
    let content = match &prompt.refusal {
        Some(refusal) => json!([{"type": "refusal", "refusal": refusal}]),
        None => json!([{"type": "output_text", "text": prompt.content, "annotations": []}]),
    };
    match &prompt.tool {
        Some(tool) => json!({"type": "function_call", "id": "fc_mock", "call_id": "call_mock", "name": tool,
                             "arguments": prompt.content, "status": status}),
        None => {
            json!({"type": "message", "id": "msg_mock", "status": status, "role": "assistant", "content": content})
        }
    }
}

/// A streamed response, from `response.created` to `response.completed`.
pub(crate) fn response_events(prompt: &Prompt) -> Vec<String> {
    let mut events = vec![
        (
            "response.created",
            json!({"response": response(prompt, "in_progress")}),
        ),
        (
            "response.in_progress",
            json!({"response": response(prompt, "in_progress")}),
        ),
    ];
    events.extend(match prompt.tool {
        Some(_) => call_events(prompt),
        None => text_events(prompt),
    });
    events.push((
        "response.completed",
        json!({"response": response(prompt, "completed")}),
    ));
    events
        .into_iter()
        .enumerate()
        .map(|(number, (kind, body))| response_event(number, kind, body))
        .collect()
}

fn text_events(prompt: &Prompt) -> Vec<(&'static str, Value)> {
    let at = |mut body: Value| {
        if let Some(fields) = body.as_object_mut() {
            fields.extend([
                ("item_id".to_owned(), json!("msg_mock")),
                ("output_index".to_owned(), json!(0)),
                ("content_index".to_owned(), json!(0)),
            ]);
        }
        body
    };
    let text = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
    let opened = json!({"type": "message", "id": "msg_mock", "status": "in_progress", "role": "assistant", "content": []});
    let delta = |part: &String| {
        (
            "response.output_text.delta",
            at(json!({"delta": part, "logprobs": []})),
        )
    };
    let mut events = vec![
        (
            "response.output_item.added",
            json!({"output_index": 0, "item": opened}),
        ),
        ("response.content_part.added", at(json!({"part": text("")}))),
    ];
    let parts = prompt.parts();
    let sent = parts.concat();
    events.extend(parts.iter().map(delta));
    events.push((
        "response.output_text.done",
        at(json!({"text": sent, "logprobs": []})),
    ));
    events.push(("response.content_part.done", at(json!({"part": text(&sent)}))));
    events.push((
        "response.output_item.done",
        json!({"output_index": 0, "item": output_item(prompt, "completed")}),
    ));
    events
}

fn call_events(prompt: &Prompt) -> Vec<(&'static str, Value)> {
    let at = |name: &str, text: &str| json!({"item_id": "fc_mock", "output_index": 0, name: text});
    let added = json!({"output_index": 0, "item": output_item(prompt, "in_progress")});
    let mut events = vec![("response.output_item.added", added)];
    let parts = prompt.parts();
    events.extend(
        parts
            .iter()
            .map(|part| ("response.function_call_arguments.delta", at("delta", part))),
    );
    events.push((
        "response.function_call_arguments.done",
        at("arguments", &parts.concat()),
    ));
    events.push((
        "response.output_item.done",
        json!({"output_index": 0, "item": output_item(prompt, "completed")}),
    ));
    events
}

fn response_event(number: usize, kind: &str, mut body: Value) -> String {
    if let Some(fields) = body.as_object_mut() {
        fields.insert("type".to_owned(), json!(kind));
        fields.insert("sequence_number".to_owned(), json!(number));
    }
    format!("event: {kind}\ndata: {body}\n\n")
}

/// A response that fails in mid-stream.
pub(crate) fn response_error_event() -> String {
    let failed = json!({"id": "resp_mock", "object": "response", "status": "failed",
                        "error": {"code": "server_error", "message": "mock error"}});
    response_event(0, "response.failed", json!({"response": failed}))
}
