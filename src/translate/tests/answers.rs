//! Complete answers.

use serde_json::json;

use super::super::Protocol::{Chat, Gemini, Messages};
use super::super::answer;
use super::{ANSWER, given, sample};

/// <https://platform.openai.com/docs/api-reference/chat/object>, with cached and reasoning tokens.
#[test]
fn a_chat_completion_becomes_a_message() {
    assert_eq!(
        given(Chat, Messages, sample!("chat.json")),
        json!({"id": "msg_7", "type": "message", "role": "assistant", "model": "asked-for",
            "content": [{"type": "text", "text": "{\"id\": 7, \"name\": \"Zoë 😀\"}"}],
            "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": 93, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 1024, "output_tokens": 46}})
    );
}

/// <https://platform.openai.com/docs/api-reference/chat/create>, "Functions".
#[test]
fn a_tool_call_becomes_a_tool_use() {
    let message = given(Chat, Messages, sample!("chat_tools.json"));
    assert_eq!(message["stop_reason"], "tool_use");
    assert_eq!(
        message["content"],
        json!([{"type": "tool_use", "id": "call_abc123", "name": "get_current_weather", "input": {"location": "Boston, MA"}}])
    );
    assert_eq!(message["usage"]["input_tokens"], 82);
}

/// <https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls>.
#[test]
fn a_tool_use_becomes_a_tool_call() {
    assert_eq!(
        given(Messages, Chat, sample!("message_tools.json")),
        json!({"id": "chatcmpl-7", "object": "chat.completion", "created": 1_741_570_283, "model": "asked-for",
            "choices": [{"index": 0, "logprobs": null, "finish_reason": "tool_calls",
                "message": {"role": "assistant", "content": "I'll check the current weather in San Francisco for you.",
                    "refusal": null, "tool_calls": [{"id": "toolu_01A09q90qw90lq917835lq9", "type": "function",
                        "function": {"name": "get_weather",
                            "arguments": "{\"location\":\"San Francisco, CA\",\"unit\":\"celsius\"}"}}]}}],
            "usage": {"prompt_tokens": 377, "completion_tokens": 65, "total_tokens": 442,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0,
                    "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}})
    );
}

/// <https://platform.claude.com/docs/en/api/messages>, with a thought and a prompt cache.
#[test]
fn a_message_becomes_a_chat_completion_without_its_thoughts() {
    let chat = given(Messages, Chat, sample!("message.json"));
    assert_eq!(chat["choices"][0]["message"]["content"], "Hi! My name is Claude.");
    assert_eq!(chat["choices"][0]["finish_reason"], "stop");
    assert_eq!(chat["usage"]["prompt_tokens"], 2_058);
    assert_eq!(chat["usage"]["prompt_tokens_details"]["cached_tokens"], 1_800);
    assert!(!chat.to_string().contains("greet"));
}

/// <https://ai.google.dev/api> ("Response examples") with the thoughts of <https://ai.google.dev/gemini-api/docs/thinking>.
#[test]
fn geminis_answer_becomes_either() {
    let chat = given(Gemini, Chat, sample!("gemini.json"));
    let said = "At its core, Artificial Intelligence works by learning from vast amounts of data ...";
    assert_eq!(chat["choices"][0]["message"]["content"], said);
    assert_eq!(chat["usage"]["completion_tokens"], 1_133);
    assert_eq!(
        chat["usage"]["completion_tokens_details"]["reasoning_tokens"],
        1_116
    );
    let message = given(Gemini, Messages, sample!("gemini.json"));
    assert_eq!(message["content"], json!([{"type": "text", "text": said}]));
    assert_eq!(message["usage"]["input_tokens"], 4);
    assert_eq!(message["usage"]["cache_read_input_tokens"], 4);
}

/// The call of <https://github.com/google-gemini/cookbook>, `quickstarts/rest/Function_calling_REST.ipynb`.
#[test]
fn geminis_calls_have_ids_made_up_where_they_have_none() {
    let chat = given(Gemini, Chat, sample!("gemini_tools.json"));
    assert_eq!(chat["choices"][0]["finish_reason"], "tool_calls");
    let calls = &chat["choices"][0]["message"]["tool_calls"];
    assert_eq!(
        (&calls[0]["id"], &calls[1]["id"]),
        (&json!("call_7_0"), &json!("fc-2"))
    );
    assert_eq!(
        calls[0]["function"]["arguments"],
        r#"{"movie":"Barbie","location":"Mountain View, CA"}"#
    );
    assert_eq!(calls[1]["function"]["arguments"], "{}");
}

#[test]
fn reasons_to_end_have_their_equals() {
    let chat = |reason: &str| {
        json!({"choices": [{"message": {"content": "x"}, "finish_reason": reason}]}).to_string()
    };
    for (reason, expected) in [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("tool_calls", "end_turn"),
        ("eos", "end_turn"),
    ] {
        assert_eq!(
            given(Chat, Messages, chat(reason).as_bytes())["stop_reason"],
            expected,
            "{reason}"
        );
    }
    let message =
        |reason: &str| json!({"content": [], "stop_reason": reason, "stop_sequence": "END"}).to_string();
    for (reason, expected) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("refusal", "content_filter"),
    ] {
        let chat = given(Messages, Chat, message(reason).as_bytes());
        assert_eq!(chat["choices"][0]["finish_reason"], expected, "{reason}");
    }
    let gemini = |reason: &str| json!({"candidates": [{"finishReason": reason}]}).to_string();
    for (reason, expected) in [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
    ] {
        let chat = given(Gemini, Chat, gemini(reason).as_bytes());
        assert_eq!(chat["choices"][0]["finish_reason"], expected, "{reason}");
    }
    assert!(
        answer(
            Gemini,
            Chat,
            gemini("MALFORMED_FUNCTION_CALL").as_bytes(),
            &ANSWER
        )
        .is_err()
    );
    let blocked = br#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":9}}"#;
    assert_eq!(given(Gemini, Messages, blocked)["stop_reason"], "refusal");
}

#[test]
fn a_refusal_is_said_and_marked() {
    let chat = br#"{"choices":[{"message":{"content":null,"refusal":"I can't."},"finish_reason":"stop"}]}"#;
    let message = given(Chat, Messages, chat);
    assert_eq!(message["content"][0]["text"], "I can't.");
    assert_eq!(message["stop_reason"], "refusal");
}

#[test]
fn arguments_that_are_cut_off_or_broken() {
    let chat = |reason: &str| {
        json!({"choices": [{"finish_reason": reason, "message": {"tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\": "}}]}}]})
        .to_string()
    };
    let cut = given(Chat, Messages, chat("length").as_bytes());
    assert_eq!(
        (&cut["content"][0]["input"], &cut["stop_reason"]),
        (&json!({}), &json!("max_tokens"))
    );
    let broken = answer(Chat, Messages, chat("tool_calls").as_bytes(), &ANSWER).unwrap_err();
    assert_eq!(
        broken.to_string(),
        "choices[].message.tool_calls[].function.arguments: isn't a JSON object"
    );
}

#[test]
fn the_tool_that_stands_for_a_schema_is_given_back_as_text() {
    let message = br#"{"content":[{"type":"tool_use","id":"t","name":"respond_in_json","input":{"b": 1, "a": [2]}}],"stop_reason":"tool_use"}"#;
    let chat = given(Messages, Chat, message);
    assert_eq!(chat["choices"][0]["message"]["content"], r#"{"b": 1, "a": [2]}"#);
    assert_eq!(chat["choices"][0]["finish_reason"], "stop");
}

#[test]
fn no_usage_is_none_where_that_is_allowed_and_0_elsewhere() {
    let message = given(Messages, Chat, br#"{"content":[],"stop_reason":"end_turn"}"#);
    assert_eq!(message.get("usage"), None);
    let message = given(Chat, Messages, br#"{"choices":[{"message":{"content":"x"}}]}"#);
    assert_eq!(message["usage"]["output_tokens"], 0);
}

#[test]
fn what_is_no_answer_is_told() {
    for (body, told) in [
        (&b"<html>"[..], "the body isn't JSON"),
        (b"{}", "choices: missing"),
        (br#"{"choices":[]}"#, "choices[]: missing"),
        (
            br#"{"choices":[{"message":7}]}"#,
            "choices[].message: must be an object",
        ),
    ] {
        assert_eq!(
            answer(Chat, Messages, body, &ANSWER).unwrap_err().to_string(),
            told
        );
    }
}
