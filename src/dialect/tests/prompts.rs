//! What of a request is prompt: its texts and its shape, in each protocol.

use super::requests::{chat, facts, texts};
use crate::dialect::Endpoint::{ChatCompletions as Chat, Messages, Responses};
use crate::tokens::{Detail, Image, ToolChoice, Tools};

#[test]
fn messages_names_and_tool_calls_are_text() {
    let body = r#"{"model":"m","messages":[
        {"role":"system","content":"S","name":"boss"},
        {"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},
        {"role":"tool","tool_call_id":"call_1","content":[{"type":"text","text":"T"}]}]}"#;
    let found = facts(Chat, body);
    assert_eq!(
        texts(&found),
        [
            "system",
            "S",
            "boss",
            "assistant",
            "f",
            r#"{\"a\":1}"#,
            "tool",
            "T"
        ]
    );
    assert_eq!((found.prompt.messages, found.prompt.names), (3, 1));
}

#[test]
fn images_are_images_and_never_text() {
    let png = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAoAAAAHgCAYAAAA=";
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"text","text":"look"}},
        {{"type":"image_url","image_url":{{"url":"{png}","detail":"high"}}}},{{"image_url":{{"detail":"low","url":"{png}"}},"type":"image_url"}},
        {{"type":"image_url","image_url":{{"url":"https://example.com/a.png"}}}},{{"type":"input_audio","input_audio":{{"data":"AAAA"}}}},
        {{"type":"file","file":{{"file_data":"data:application/pdf;base64,AAAA"}}}}]}}]}}"#
    );
    let found = facts(Chat, &body);
    assert_eq!(texts(&found), ["user", "look"]);
    let size = Some((640, 480));
    assert_eq!(
        found.prompt.images,
        [
            Image {
                detail: Detail::High,
                size
            },
            Image {
                detail: Detail::Low,
                size
            },
            Image::default()
        ]
    );

    let body = format!(
        r#"{{"model":"m","input":[{{"role":"user","content":[{{"type":"input_text","text":"look"}},
        {{"type":"input_image","image_url":"{png}","detail":"auto"}},{{"type":"input_image","file_id":"file_1"}}]}}]}}"#
    );
    let found = facts(Responses, &body);
    assert_eq!((texts(&found), found.pinned), (vec!["user", "look"], true));
    assert_eq!(
        found.prompt.images,
        [
            Image {
                detail: Detail::Auto,
                size
            },
            Image::default()
        ]
    );
}

#[test]
fn anthropic_system_tools_and_blocks_are_read() {
    let body = r#"{"model":"claude","max_tokens":100,"system":[{"type":"text","text":"Sys","cache_control":{"type":"ephemeral"}}],
        "messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgoAAAANSUhEUgAAAoAAAAHgCAYAAAA="}},
        {"type":"document","source":{"type":"text","media_type":"text/plain","data":"Doc"},"title":"Title"},
        {"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0"}}]},
        {"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"f","input":{"city":"Rome","n":[1,"x"]}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"15"}]}],
        "tools":[{"name":"f","description":"D","input_schema":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}],
        "tool_choice":{"type":"tool","name":"f"}}"#;
    let found = facts(Messages, body);
    let expected = [
        "Sys",
        "user",
        "Title",
        "Doc",
        "assistant",
        "f",
        "city",
        "Rome",
        "n",
        "1",
        "x",
        "user",
        "15",
        "f",
        "D",
        "city",
        "string",
    ];
    assert_eq!(texts(&found), expected);
    assert_eq!(
        found.prompt.images,
        [Image {
            detail: Detail::Auto,
            size: Some((640, 480))
        }]
    );
    assert_eq!(
        (
            found.max_tokens,
            found.structured,
            found.tools,
            found.prompt.tools.functions
        ),
        (Some(100), true, true, 1)
    );
}

#[test]
fn tools_are_counted_by_their_shape() {
    let body = chat(
        r#","tools":[{"type":"function","function":{"name":"f","description":"D","parameters":{"type":"object","required":["a"],
        "properties":{"a":{"type":"string","enum":["x","y"],"description":"A"},"type":{"type":"object","properties":{"b":{"type":["number","null"]}}}}}}},
        {"type":"function","function":{"name":"g","parameters":{"type":"object","properties":{}}}}]"#,
    );
    let found = facts(Chat, &body);
    let expected = Tools {
        functions: 2,
        parameters: 1,
        nested: 1,
        properties: 3,
        descriptions: 2,
        enums: 1,
        enum_items: 2,
        provided: 0,
        choice: ToolChoice::Auto,
    };
    assert_eq!(found.prompt.tools, expected);
    let expected = [
        "user", "hi", "f", "D", "a", "string", "x", "y", "A", "type", "object", "b", "number", "null", "g",
    ];
    assert_eq!((texts(&found), found.tools), (expected.to_vec(), true));
}

#[test]
fn a_history_of_calls_is_counted_by_its_shape() {
    let body = r#"{"model":"m","messages":[{"role":"developer","content":"S"},{"role":"user","content":"u"},
        {"role":"assistant","content":null,"function_call":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}},
        {"id":"2","type":"custom","custom":{"name":"g","input":"x"}}]},
        {"role":"tool","tool_call_id":"1","content":"r"},{"name":"f","content":"q","role":"function"},
        {"role":"assistant","content":"","function_call":{"name":"h","arguments":"[]"}}]}"#;
    let prompt = facts(Chat, body).prompt;
    assert_eq!((prompt.messages, prompt.calls, prompt.names), (6, 3, 0));
    assert_eq!((prompt.system, prompt.json), (true, 0));
    let found = facts(Chat, body);
    let expected = [
        "developer",
        "S",
        "user",
        "u",
        "assistant",
        "f",
        "{}",
        "g",
        "x",
        "tool",
        "r",
        "f",
        "q",
        "assistant",
        "h",
        "[]",
    ];
    assert_eq!(texts(&found), expected);

    let body = r#"{"model":"m","max_tokens":1,"system":"S","messages":[{"role":"assistant","content":[
        {"type":"tool_use","name":"f","input":{"a":[1.5,true,"b"],"c":null}}]}]}"#;
    let found = facts(Messages, body);
    assert_eq!(texts(&found), ["S", "assistant", "f", "a", "1.5", "b", "c"]);
    let prompt = found.prompt;
    assert_eq!((prompt.messages, prompt.calls, prompt.json), (1, 1, 4 + 2 * 2));
}

#[test]
fn a_format_is_json_without_what_is_not_shown() {
    let schema = r#"{"$schema":"s","type":"object","properties":{"a":{"type":"number","minimum":0,"nullable":true}},"required":["a"],"additionalProperties":false}"#;
    let chat_format = format!(
        r#","response_format":{{"type":"json_schema","json_schema":{{"name":"n","strict":true,"schema":{schema}}}}}"#
    );
    let body = chat(&chat_format);
    let found = facts(Chat, &body);
    let shown = [
        "type",
        "object",
        "properties",
        "a",
        "type",
        "number",
        "minimum",
        "0",
        "nullable",
    ];
    assert_eq!(texts(&found), [&["user", "hi", "n"][..], &shown[..]].concat());
    assert_eq!((found.prompt.formats, found.prompt.json), (1, 9 + 2));
    assert_eq!(found.prompt.tools, Tools::default());
    let body = format!(
        r#"{{"model":"m","input":"hi","text":{{"format":{{"type":"json_schema","name":"n","schema":{schema}}}}}}}"#
    );
    let found = facts(Responses, &body);
    assert_eq!(texts(&found), [&["hi", "n"][..], &shown[..]].concat());
    assert_eq!((found.prompt.formats, found.prompt.json), (1, 9 + 2));
}

#[test]
fn a_tool_that_must_be_called_is_named_where_it_is_charged_by_name() {
    let tools = r#","tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}"#;
    let body = chat(tools);
    let found = facts(Chat, &body);
    assert_eq!(
        (texts(&found), found.prompt.tools.choice),
        (vec!["user", "hi", "f", "g"], ToolChoice::Named)
    );
    let body = r#"{"model":"m","max_tokens":1,"messages":[],"tools":[{"name":"f"}],"tool_choice":{"type":"tool","name":"f"}}"#;
    let found = facts(Messages, body);
    assert_eq!(
        (texts(&found), found.prompt.tools.choice),
        (vec!["f"], ToolChoice::Named)
    );
}

#[test]
fn responses_input_is_text_or_items() {
    let found = facts(
        Responses,
        r#"{"model":"m","input":"hi","instructions":"I","max_output_tokens":7}"#,
    );
    assert_eq!(
        (texts(&found), found.prompt.messages, found.max_tokens),
        (vec!["hi", "I"], 2, Some(7))
    );
    let body = r#"{"model":"m","input":[{"role":"user","content":"a"},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},
        {"type":"function_call_output","call_id":"c","output":"b"}],"text":{"format":{"type":"json_schema","name":"s","schema":{"properties":{"k":{"type":"string"}}}}}}"#;
    let found = facts(Responses, body);
    let expected = [
        "user",
        "a",
        "f",
        "{}",
        "b",
        "s",
        "properties",
        "k",
        "type",
        "string",
    ];
    assert_eq!(texts(&found), expected);
    assert_eq!(
        (found.prompt.messages, found.structured, found.pinned),
        (3, true, false)
    );
}

#[test]
fn a_tool_that_its_provider_defines_brings_its_own_prompt() {
    let body = r#"{"model":"m","max_tokens":1,"messages":[],"tools":[{"type":"bash_20250124","name":"bash"},
        {"name":"editor","type":"text_editor_20250728"},{"type":"custom","name":"f"}]}"#;
    let found = facts(Messages, body);
    assert_eq!(
        (found.prompt.tools.functions, found.prompt.tools.provided),
        (3, 245 + 700)
    );
}
