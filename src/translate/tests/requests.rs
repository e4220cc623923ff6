//! Requests, each as the other protocols say it.

use serde_json::{Value, json};

use super::super::Protocol::{self, Chat, Gemini, Messages};
use super::super::{Accepts, RequestOptions, request};
use super::{REQUEST, parsed, sent};

/// What it becomes, when nothing is dropped.
fn exact(from: Protocol, to: Protocol, body: &Value) -> Value {
    let (body, dropped) = sent(from, to, body).unwrap();
    assert!(dropped.is_empty(), "{dropped:?}");
    body
}

fn refused(from: Protocol, to: Protocol, body: &Value) -> String {
    sent(from, to, body).unwrap_err().to_string()
}

/// A chat of one user's words, and `more`.
fn chat(more: &Value) -> Value {
    with(
        json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}),
        more,
    )
}

/// The same of Anthropic's.
fn messages(more: &Value) -> Value {
    with(
        json!({"model": "claude", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}),
        more,
    )
}

fn with(mut body: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

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
#[test]
fn tools_their_calls_and_their_results() {
    let schema = json!({"type": "object", "properties": {"location": {"type": "string",
        "description": "The city and state, e.g. San Francisco, CA"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}}, "required": ["location"]});
    let call = |id: &str, place: &str| {
        json!({"id": id, "type": "function", "function": {"name": "get_current_weather",
            "arguments": format!("{{\n\"location\": \"{place}\"\n}}")}})
    };
    let body = json!({"model": "gpt-4.1", "tool_choice": "auto",
        "messages": [
            {"role": "user", "content": "What is the weather like in Boston and Paris today?"},
            {"role": "assistant", "content": null, "tool_calls": [call("call_abc123", "Boston, MA"), call("call_def456", "Paris")]},
            {"role": "tool", "tool_call_id": "call_abc123", "content": "15 degrees"},
            {"role": "tool", "tool_call_id": "call_def456", "content": "{\"degrees\":18}"},
            {"role": "user", "content": "And tomorrow?"},
        ],
        "tools": [{"type": "function", "function": {"name": "get_current_weather",
            "description": "Get the current weather in a given location", "parameters": schema}}]});
    let sent = exact(Chat, Messages, &body);
    assert_eq!(
        sent["tools"],
        json!([{"name": "get_current_weather", "description": "Get the current weather in a given location",
                "input_schema": schema}])
    );
    assert_eq!(sent.get("tool_choice"), None);
    assert_eq!(
        sent["messages"],
        json!([
            {"role": "user", "content": "What is the weather like in Boston and Paris today?"},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "call_abc123", "name": "get_current_weather", "input": {"location": "Boston, MA"}},
                {"type": "tool_use", "id": "call_def456", "name": "get_current_weather", "input": {"location": "Paris"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "call_abc123", "content": "15 degrees"},
                {"type": "tool_result", "tool_use_id": "call_def456", "content": "{\"degrees\":18}"},
                {"type": "text", "text": "And tomorrow?"}]},
        ])
    );
    let sent = exact(Chat, Gemini, &body);
    assert_eq!(
        sent["tools"],
        json!([{"functionDeclarations": [{"name": "get_current_weather",
            "description": "Get the current weather in a given location", "parametersJsonSchema": schema}]}])
    );
    assert_eq!(
        sent["contents"].as_array().unwrap()[1..],
        [
            json!({"role": "model", "parts": [
                {"functionCall": {"id": "call_abc123", "name": "get_current_weather", "args": {"location": "Boston, MA"}},
                 "thoughtSignature": "skip_thought_signature_validator"},
                {"functionCall": {"id": "call_def456", "name": "get_current_weather", "args": {"location": "Paris"}}}]}),
            json!({"role": "user", "parts": [
                {"functionResponse": {"id": "call_abc123", "name": "get_current_weather", "response": {"result": "15 degrees"}}},
                {"functionResponse": {"id": "call_def456", "name": "get_current_weather", "response": {"degrees": 18}}},
                {"text": "And tomorrow?"}]}),
        ]
    );
}

/// <https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls>, results with an image and an error.
#[test]
fn anthropics_results_become_messages_of_tools() {
    let body = messages(&json!({
    "tools": [{"name": "get_weather", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": true},
    "messages": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": [
            {"type": "text", "text": "I'll check the current weather."},
            {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"location": "San Francisco, CA"}},
            {"type": "tool_use", "id": "toolu_2", "name": "get_weather", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": [
                {"type": "text", "text": "15 degrees"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/4AAQSkZJRg"}}]},
            {"type": "tool_result", "tool_use_id": "toolu_2", "content": "ConnectionError", "is_error": true},
            {"type": "text", "text": "What should I do next?"}]},
    ]}));
    let (sent, dropped) = sent(Messages, Chat, &body).unwrap();
    assert_eq!(
        dropped,
        [
            "messages[].content[].content[] (media moved behind the result)",
            "messages[].content[].is_error"
        ]
    );
    assert_eq!(
        sent["messages"].as_array().unwrap()[1..],
        [
            json!({"role": "assistant", "content": "I'll check the current weather.", "tool_calls": [
                {"id": "toolu_1", "type": "function", "function": {"name": "get_weather",
                    "arguments": "{\"location\":\"San Francisco, CA\"}"}},
                {"id": "toolu_2", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}]}),
            json!({"role": "tool", "tool_call_id": "toolu_1", "content": "15 degrees"}),
            json!({"role": "tool", "tool_call_id": "toolu_2", "content": "ConnectionError"}),
            json!({"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/4AAQSkZJRg"}},
                {"type": "text", "text": "What should I do next?"}]}),
        ]
    );
    assert_eq!(
        sent["tool_choice"],
        json!({"type": "function", "function": {"name": "get_weather"}})
    );
    assert_eq!(sent["parallel_tool_calls"], false);
}

#[test]
fn every_choice_of_tools() {
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    for (choice, alone, expected, gemini) in [
        (json!("auto"), None, Value::Null, Value::Null),
        (
            json!("none"),
            None,
            json!({"type": "none"}),
            json!({"mode": "NONE"}),
        ),
        (
            json!("required"),
            None,
            json!({"type": "any"}),
            json!({"mode": "ANY"}),
        ),
        (
            json!({"type": "function", "function": {"name": "f"}}),
            None,
            json!({"type": "tool", "name": "f"}),
            json!({"mode": "ANY", "allowedFunctionNames": ["f"]}),
        ),
        (
            json!("auto"),
            Some(false),
            json!({"type": "auto", "disable_parallel_tool_use": true}),
            Value::Null,
        ),
        (
            json!("none"),
            Some(false),
            json!({"type": "none"}),
            json!({"mode": "NONE"}),
        ),
    ] {
        let mut body = chat(&json!({"tools": tools, "tool_choice": choice}));
        if let Some(alone) = alone {
            body["parallel_tool_calls"] = json!(alone);
        }
        let sent = exact(Chat, Messages, &body);
        assert_eq!(sent["tool_choice"], expected);
        assert_eq!(
            sent["tools"][0]["input_schema"],
            json!({"type": "object", "properties": {}})
        );
        let (sent, _) = super::sent(Chat, Gemini, &body).unwrap();
        assert_eq!(sent["toolConfig"]["functionCallingConfig"], gemini);
    }
}

#[test]
fn a_schema_without_a_type_gets_the_one_that_anthropic_requires() {
    for (schema, expected) in [
        (json!({}), json!({"type": "object"})),
        (
            json!({"required": ["a"]}),
            json!({"type": "object", "required": ["a"]}),
        ),
    ] {
        let tools = json!([{"type": "function", "function": {"name": "f", "parameters": schema}}]);
        assert_eq!(
            exact(Chat, Messages, &chat(&json!({ "tools": tools })))["tools"][0]["input_schema"],
            expected
        );
    }
}

#[test]
fn calls_in_the_history_are_of_tools_that_are_offered_but_not_to_be_called() {
    let body = json!({"messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"role": "tool", "tool_call_id": "a", "content": ""},
    ]});
    let sent = exact(Chat, Messages, &body);
    assert_eq!(
        sent["tools"],
        json!([{"name": "f", "input_schema": {"type": "object", "properties": {}}}])
    );
    assert_eq!(sent["tool_choice"], json!({"type": "none"}));
    assert_eq!(
        sent["messages"][2]["content"],
        json!([{"type": "tool_result", "tool_use_id": "a"}])
    );
}

/// <https://platform.openai.com/docs/guides/structured-outputs>.
#[test]
fn a_schema_for_the_output_is_a_forced_tool_or_anthropics_own_or_geminis() {
    let schema = json!({"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "integer"}},
        "required": ["z", "a"], "additionalProperties": false});
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "event", "strict": true, "schema": schema}});
    let body = chat(&json!({ "response_format": format }));
    let sent = exact(Chat, Messages, &body);
    assert_eq!(sent["tools"][0]["name"], "respond_in_json");
    assert_eq!(sent["tools"][0]["input_schema"], schema);
    assert_eq!(
        sent["tool_choice"],
        json!({"type": "tool", "name": "respond_in_json"})
    );
    let gemini = exact(Chat, Gemini, &body);
    assert_eq!(
        gemini["generationConfig"],
        json!({"responseMimeType": "application/json", "responseJsonSchema": schema})
    );
    let tool = json!({"type": "function", "function": {"name": "f"}});
    let with_tools = exact(Chat, Messages, &with(body.clone(), &json!({ "tools": [tool] })));
    assert_eq!(with_tools["tool_choice"], json!({"type": "any"}));
    assert_eq!(with_tools["tools"].as_array().unwrap().len(), 2);
    let options = RequestOptions {
        accepts: Accepts {
            schema: true,
            ..REQUEST.accepts
        },
        ..REQUEST
    };
    let native = request(Chat, Messages, body.to_string().as_bytes(), &options).unwrap();
    let native = parsed(&native.body);
    assert_eq!(
        native["output_config"],
        json!({"format": {"type": "json_schema", "schema": schema}})
    );
    assert_eq!(native.get("tools"), None);
    let reserved = json!({"type": "function", "function": {"name": "respond_in_json"}});
    assert_eq!(
        refused(Chat, Messages, &chat(&json!({ "tools": [reserved] }))),
        "tools[].function.name: is reserved for JSON output"
    );
}

#[test]
fn members_of_a_schema_stay_in_their_order() {
    let body = br#"{"messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":
        {"name":"n","schema":{"type":"object","properties":{"zebra":{},"ant":{"const":1e400}}}}}}"#;
    let sent = String::from_utf8(request(Chat, Messages, body, &REQUEST).unwrap().body).unwrap();
    assert!(
        sent.contains(r#"{"type":"object","properties":{"zebra":{},"ant":{"const":1e400}}}"#),
        "{sent}"
    );
}

/// <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>.
#[test]
fn anthropics_schema_becomes_a_response_format() {
    let schema = json!({"type": "object", "properties": {}});
    let config = json!({"format": {"type": "json_schema", "schema": schema}, "effort": "high"});
    let (sent, dropped) = sent(Messages, Chat, &messages(&json!({ "output_config": config }))).unwrap();
    assert_eq!(
        sent["response_format"],
        json!({"type": "json_schema", "json_schema": {"name": "output", "schema": schema, "strict": false}})
    );
    assert_eq!(dropped, ["output_config.effort"]);
}

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
        refused(Messages, Chat, &json!({"messages": []})),
        "max_tokens: missing"
    );
    assert!(sent(Gemini, Chat, &json!({})).is_err());
}
