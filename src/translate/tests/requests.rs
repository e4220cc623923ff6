//! Requests, each as the other protocols say it.

use serde_json::{Value, json};

use super::super::Protocol::{Chat, Gemini, Messages};
use super::super::{Accepts, RequestOptions, request};
use super::{REQUEST, chat, exact, messages, parsed, refused, sent};

/// <https://platform.openai.com/docs/api-reference/chat/create>, "Default".
#[test]
fn a_chat_becomes_messages() {
    let body = json!({"model": "gpt-4o", "messages": [
        {"role": "developer", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Hello!"},
    ]});
    assert_eq!(
        exact(Chat, Messages, &body),
        json!({"model": "their-model", "max_tokens": 4096, "system": "You are a helpful assistant.",
               "messages": [{"role": "user", "content": "Hello!"}]})
    );
    assert_eq!(
        exact(Chat, Gemini, &body),
        json!({"systemInstruction": {"parts": [{"text": "You are a helpful assistant."}]},
               "contents": [{"role": "user", "parts": [{"text": "Hello!"}]}], "generationConfig": {}})
    );
}

/// <https://platform.openai.com/docs/api-reference/chat/create>, "Image input".
#[test]
fn an_image_by_url_and_as_data() {
    let body = |url: &str| {
        json!({"model": "gpt-4.1", "max_tokens": 300, "messages": [{"role": "user", "content": [
            {"type": "text", "text": "What is in this image?"},
            {"type": "image_url", "image_url": {"url": url}},
        ]}]})
    };
    let url = "https://upload.wikimedia.org/wikipedia/commons/thumb/d/dd/Gfp-wisconsin-madison-the-nature-boardwalk.jpg";
    let sent = exact(Chat, Messages, &body(url));
    let image = json!({"type": "image", "source": {"type": "url", "url": url}});
    assert_eq!(sent["messages"][0]["content"][1], image);
    assert_eq!(sent["max_tokens"], 300);
    assert_eq!(
        refused(Chat, Gemini, &body(url)),
        "messages[].content[]: Gemini takes images and documents as data only"
    );
    let data = body("data:image/jpg;base64,/9j/4AAQ");
    let source = json!({"type": "base64", "media_type": "image/jpeg", "data": "/9j/4AAQ"});
    assert_eq!(
        exact(Chat, Messages, &data)["messages"][0]["content"][1]["source"],
        source
    );
    let part = json!({"inlineData": {"mimeType": "image/jpeg", "data": "/9j/4AAQ"}});
    assert_eq!(exact(Chat, Gemini, &data)["contents"][0]["parts"][1], part);
    for url in [
        "data:image/bmp;base64,AA",
        "data:image/png,AA",
        "data:",
        "data:;base64",
    ] {
        assert!(sent_image_refused(&body(url)), "{url}");
    }
}

fn sent_image_refused(body: &Value) -> bool {
    sent(Chat, Messages, body).is_err()
}

/// <https://platform.claude.com/docs/en/build-with-claude/vision>, both kinds of sources.
#[test]
fn anthropics_images_become_urls() {
    let body = messages(&json!({"messages": [{"role": "user", "content": [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBOR"}},
        {"type": "image", "source": {"type": "url", "url": "https://upload.wikimedia.org/ant.jpg"}},
        {"type": "text", "text": "Describe this image."},
    ]}]}));
    assert_eq!(
        exact(Messages, Chat, &body)["messages"],
        json!([{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBOR"}},
            {"type": "image_url", "image_url": {"url": "https://upload.wikimedia.org/ant.jpg"}},
            {"type": "text", "text": "Describe this image."},
        ]}])
    );
}

/// <https://platform.openai.com/docs/api-reference/chat/create>, "Functions", and the turns that follow.
/// <https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls>, results with an image and an error.
/// <https://platform.openai.com/docs/guides/structured-outputs>.
/// <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>.
#[test]
fn settings_are_carried_clamped_or_named() {
    let body = chat(
        &json!({"temperature": 1.5, "top_p": 0.9, "stop": "END", "seed": 7, "presence_penalty": 0.5,
        "frequency_penalty": 0, "max_completion_tokens": 50, "max_tokens": 60, "user": "u-1",
        "reasoning_effort": "high", "logit_bias": {"1": 2}, "logprobs": true, "top_logprobs": 2, "n": 1,
        "metadata": {"a": "b"}, "store": false, "service_tier": "auto", "x-secret": "s3cr3t", "modalities": ["text"],
        "stream": true, "stream_options": {"include_usage": true}}),
    );
    let (messages, mut dropped) = sent(Chat, Messages, &body).unwrap();
    dropped.sort_unstable();
    assert_eq!(
        dropped,
        [
            "(unknown field)",
            "logit_bias",
            "logprobs",
            "metadata",
            "presence_penalty",
            "reasoning_effort",
            "seed",
            "temperature (clamped)",
            "top_logprobs",
            "top_p",
        ]
    );
    assert_eq!(
        messages,
        json!({"model": "their-model", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}],
               "temperature": 1, "stop_sequences": ["END"], "metadata": {"user_id": "u-1"}})
    );
    let (gemini, dropped) = sent(Chat, Gemini, &body).unwrap();
    assert!(dropped.contains(&"user") && !dropped.contains(&"seed"));
    assert_eq!(
        gemini["generationConfig"],
        json!({"maxOutputTokens": 50, "temperature": 1.5, "topP": 0.9, "presencePenalty": 0.5, "frequencyPenalty": 0,
               "seed": 7, "stopSequences": ["END"]})
    );
}

#[test]
fn a_model_that_takes_no_sampling_gets_none_and_one_that_takes_an_effort_gets_it() {
    let accepts = Accepts {
        sampling: false,
        effort: true,
        schema: false,
    };
    let options = RequestOptions { accepts, ..REQUEST };
    let body = chat(&json!({"temperature": 0.5, "top_p": 0.9, "reasoning_effort": "xhigh"})).to_string();
    let sent = request(Chat, Messages, body.as_bytes(), &options).unwrap();
    assert_eq!(sent.dropped, ["temperature", "top_p"]);
    assert_eq!(parsed(&sent.body)["output_config"], json!({"effort": "xhigh"}));
    let gemini = request(Chat, Gemini, body.as_bytes(), &options).unwrap();
    assert_eq!(
        parsed(&gemini.body)["generationConfig"],
        json!({"thinkingConfig": {"thinkingLevel": "HIGH"}})
    );
}

#[test]
fn anthropics_settings_are_carried_or_named() {
    let body = messages(
        &json!({"temperature": 0.7, "top_k": 5, "stop_sequences": ["a", "b", "c", "d", "e"],
        "metadata": {"user_id": "u-1"}, "thinking": {"type": "enabled", "budget_tokens": 1024},
        "system": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two.", "cache_control": {"type": "ephemeral"}}]}),
    );
    let (sent, dropped) = sent(Messages, Chat, &body).unwrap();
    assert_eq!(
        dropped,
        [
            "messages[].content[].cache_control",
            "thinking",
            "top_k",
            "stop_sequences (all but four)"
        ]
    );
    assert_eq!(
        sent,
        json!({"model": "their-model", "max_completion_tokens": 100, "temperature": 0.7, "user": "u-1",
               "stop": ["a", "b", "c", "d"],
               "messages": [{"role": "system", "content": "One."}, {"role": "system", "content": "Two."},
                            {"role": "user", "content": "Hi"}]})
    );
}

#[test]
fn a_stream_is_asked_for_with_its_usage() {
    let options = RequestOptions {
        stream: true,
        ..REQUEST
    };
    let sent = request(
        Messages,
        Chat,
        messages(&json!({})).to_string().as_bytes(),
        &options,
    )
    .unwrap();
    let sent = parsed(&sent.body);
    assert_eq!(
        (&sent["stream"], &sent["stream_options"]),
        (&json!(true), &json!({"include_usage": true}))
    );
    let sent = request(Chat, Messages, chat(&json!({})).to_string().as_bytes(), &options).unwrap();
    assert_eq!(parsed(&sent.body)["stream"], true);
}

#[test]
fn turns_alternate_and_blanks_are_left_out() {
    let body = json!({"messages": [
        {"role": "assistant", "content": "Welcome!"},
        {"role": "user", "content": "a"},
        {"role": "user", "name": "Ann", "content": [{"type": "text", "text": " "}, {"type": "text", "text": "b"}]},
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": "c", "refusal": null},
        {"role": "user", "content": "d"},
    ]});
    let (sent, dropped) = sent(Chat, Messages, &body).unwrap();
    assert_eq!(
        dropped,
        [
            "messages[].name",
            "messages[].role (system moved to the front)",
            "messages[0].role (opening put before the assistant)",
        ]
    );
    assert_eq!(sent["system"], "Be brief.");
    assert_eq!(
        sent["messages"],
        json!([
            {"role": "user", "content": "(The conversation begins.)"},
            {"role": "assistant", "content": "Welcome!"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "c"},
            {"role": "user", "content": "d"},
        ])
    );
}

/// Anthropic's API takes a system prompt in the middle from version 2026-10-21 on.
#[test]
fn a_system_prompt_in_the_middle_stays_there_for_openai() {
    let body = messages(
        &json!({"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]}),
    );
    assert_eq!(
        exact(Messages, Chat, &body)["messages"],
        json!([{"role": "user", "content": "a"}, {"role": "system", "content": "b"}])
    );
}

#[test]
fn documents_are_files() {
    let pdf = "data:application/pdf;base64,JVBERi0";
    let body = json!({"messages": [{"role": "user", "content": [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": pdf}}, {"type": "text", "text": "Sum up."}]}]});
    let (to_messages, dropped) = sent(Chat, Messages, &body).unwrap();
    assert_eq!(dropped, ["messages[].content[].file.filename"]);
    let document = json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0"}});
    assert_eq!(to_messages["messages"][0]["content"][0], document);
    let back = exact(
        Messages,
        Chat,
        &messages(&json!({"messages": to_messages["messages"]})),
    );
    assert_eq!(
        back["messages"][0]["content"][0],
        json!({"type": "file", "file": {"filename": "document.pdf", "file_data": pdf}})
    );
}

#[test]
fn what_would_change_the_meaning_is_refused_by_name() {
    let part = |part: Value| json!({"messages": [{"role": "user", "content": [part]}]});
    for (more, told) in [
        (json!({"n": 2}), "n: only one answer can be had"),
        (
            json!({"modalities": ["text", "audio"]}),
            "modalities: only text can be had",
        ),
        (
            json!({"functions": []}),
            "functions: is deprecated; tools can be translated",
        ),
        (json!({"messages": []}), "messages: nothing is said"),
        (
            json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
            "messages: ends with the assistant's words",
        ),
        (
            part(json!({"type": "input_audio", "input_audio": {}})),
            "messages[].content[].input_audio: can't be translated",
        ),
        (
            part(json!({"type": "file", "file": {"file_id": "f"}})),
            "messages[].content[].file: only file_data can be translated",
        ),
        (
            json!({"tools": [{"type": "custom", "custom": {"name": "x"}}]}),
            "tools[].type: only functions can be translated",
        ),
        (json!({"temperature": "hot"}), "temperature: must be a number"),
        (json!({"max_tokens": -1}), "max_tokens: must be a whole number"),
        (json!({"messages": {}}), "messages: must be an array"),
        (
            json!({"messages": [{"content": "a"}]}),
            "messages[].role: missing",
        ),
    ] {
        assert_eq!(refused(Chat, Messages, &chat(&more)), told);
    }
    for (more, told) in [
        (json!({"mcp_servers": []}), "mcp_servers: runs at Anthropic only"),
        (
            json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
            "tools[].type: runs at Anthropic only",
        ),
        (
            json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "("}]}),
            "messages: ends with the assistant's words",
        ),
        (
            part(json!({"type": "search_result"})),
            "messages[].content[].type: has no equal in other protocols",
        ),
        (
            part(json!({"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}})),
            "messages[].content[].source: a document must be given as data",
        ),
    ] {
        assert_eq!(refused(Messages, Chat, &messages(&more)), told);
    }
    assert_eq!(
        refused(Messages, Chat, &messages(&json!({"max_tokens": 0}))),
        "max_tokens: 0 fills Anthropic's cache only"
    );
    assert_eq!(
        refused(Messages, Chat, &json!({"messages": []})),
        "max_tokens: missing"
    );
    assert!(sent(Gemini, Chat, &json!({})).is_err());
}

#[test]
fn small_print_is_named() {
    let body = json!({"stop": [" ", "END"], "web_search_options": {}, "messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}}]}]});
    let (to_messages, dropped) = sent(Chat, Messages, &body).unwrap();
    assert_eq!(
        dropped,
        [
            "messages[].content[].image_url.detail",
            "web_search_options",
            "stop (white space)"
        ]
    );
    assert_eq!(to_messages["stop_sequences"], json!(["END"]));
    let body = messages(
        &json!({"metadata": {"user_id": "u", "x": 1}, "messages": [{"role": "user", "content": [
        {"type": "document", "title": "t", "source": {"type": "text", "media_type": "text/plain", "data": "words"}}]}]}),
    );
    let (to_chat, dropped) = sent(Messages, Chat, &body).unwrap();
    assert_eq!(
        dropped,
        [
            "messages[].content[].(title and context and citations of a document)",
            "metadata.(unknown field)"
        ]
    );
    assert_eq!(to_chat["messages"], json!([{"role": "user", "content": "words"}]));
}

#[test]
fn a_name_that_not_all_take_is_replaced_in_the_call_and_its_result() {
    let body = json!({"messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [{"id": "functions.f:0", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "functions.f:0", "content": "y"},
    ]});
    let sent = exact(Chat, Messages, &body);
    let id = &sent["messages"][1]["content"][0]["id"];
    assert!(id.as_str().unwrap().starts_with("call_"));
    assert_eq!(id, &sent["messages"][2]["content"][0]["tool_use_id"]);
    let gemini = exact(Chat, Gemini, &body);
    assert_eq!(gemini["contents"][2]["parts"][0]["functionResponse"]["name"], "f");
    let alone = json!({"messages": [{"role": "tool", "tool_call_id": "a", "content": "y"}]});
    assert_eq!(
        refused(Chat, Gemini, &alone),
        "messages[]: the result of a tool that wasn't called"
    );
}
