//! Tools, and schemas for the output, each as the other protocols say it.

use serde_json::{Value, json};

use super::super::Protocol::{Chat, Gemini, Messages};
use super::super::{Accepts, RequestOptions, request};
use super::{REQUEST, chat, exact, messages, parsed, refused, sent, with};

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
    let (sent, dropped) = super::sent(Messages, Gemini, &body).unwrap();
    assert_eq!(
        dropped,
        [
            "messages[].content[].content[] (media moved behind the result)",
            "parallel_tool_calls"
        ]
    );
    assert_eq!(
        sent["contents"][2]["parts"],
        json!([
            {"functionResponse": {"id": "toolu_1", "name": "get_weather", "response": {"result": "15 degrees"}}},
            {"functionResponse": {"id": "toolu_2", "name": "get_weather", "response": {"error": "ConnectionError"}}},
            {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/4AAQSkZJRg"}},
            {"text": "What should I do next?"},
        ])
    );
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
fn results_come_directly_after_their_calls() {
    let body = json!({"messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "user", "content": "Hurry up!"},
        {"role": "tool", "tool_call_id": "a", "content": "y"},
    ]});
    let sent = exact(Chat, Messages, &body);
    assert_eq!(sent["messages"][2]["content"][0]["type"], "tool_result");
    assert_eq!(sent["messages"][2]["content"][1]["text"], "Hurry up!");
    let back = messages(&json!({"messages": sent["messages"]}));
    let roles: Vec<Value> = exact(Messages, Chat, &back)["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["role"].clone())
        .collect();
    assert_eq!(roles, ["user", "assistant", "tool", "user"]);
}
