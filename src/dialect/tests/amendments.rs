//! Other words in answers, whole and streamed: what a reader hears then, and that nothing else changed.

use super::super::{
    Amendment, Answer, Calls, Endpoint, Passed, StreamOptions, StreamReader, amended, amended_events, answer,
};

fn words(text: &str) -> Amendment {
    Amendment {
        text: Some(text.to_owned()),
        calls: Vec::new(),
    }
}

fn arguments(calls: &[Option<&str>]) -> Amendment {
    Amendment {
        text: None,
        calls: calls.iter().map(|call| call.map(str::to_owned)).collect(),
    }
}

fn whole(endpoint: Endpoint, body: &str, amendment: &Amendment) -> String {
    String::from_utf8(amended(endpoint, body.as_bytes(), amendment).unwrap()).unwrap()
}

/// What a reader hears in a stream.
fn heard(endpoint: Endpoint, events: &[u8]) -> (Answer, String) {
    let mut reader = StreamReader::new(
        endpoint,
        StreamOptions {
            strip_usage: false,
            gather: Some(1_000),
            strip_notes: false,
            gather_calls: true,
            hold_end: false,
            line_bound: 10_000,
        },
    );
    assert_eq!(reader.push(events), Passed::Unchanged);
    let calls = reader.calls().unwrap_or_default();
    let calls: Vec<String> = calls
        .iter()
        .map(|c| format!("{}{}", c.name, c.arguments))
        .collect();
    (reader.answer(), calls.join(" "))
}

const CHAT: &str = r#"{"id":"1","choices":[{"index":0,"message":{"role":"assistant","content":"old \"one\""},"finish_reason":"stop"}],"usage":{"total_tokens":3}}"#;
const MESSAGE: &str = r#"{"content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"old "},{"type":"text","text":"one"}],"stop_reason":"end_turn"}"#;
const RESPONSE: &str = r#"{"status":"completed","output":[{"type":"reasoning","summary":[]},{"type":"message","content":[{"type":"output_text","text":"old","annotations":[]}]}]}"#;

#[test]
fn a_complete_answer_says_other_words_and_nothing_else_changes() {
    let new = "new\n\"one\"";
    let said = whole(Endpoint::ChatCompletions, CHAT, &words(new));
    assert_eq!(said, CHAT.replace(r#"old \"one\""#, r#"new\n\"one\""#));
    let said = whole(Endpoint::Messages, MESSAGE, &words(new));
    let expected = MESSAGE.replace(r#""old ""#, r#""new\n\"one\"""#);
    assert_eq!(said, expected.replace(r#""text":"one""#, r#""text":"""#));
    let said = whole(Endpoint::Responses, RESPONSE, &words(new));
    assert_eq!(said, RESPONSE.replace(r#""old""#, r#""new\n\"one\"""#));
    let parts =
        r#"{"choices":[{"message":{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}}]}"#;
    let said = whole(Endpoint::ChatCompletions, parts, &words("c"));
    assert_eq!(said, parts.replace("\"a\"", "\"c\"").replace("\"b\"", "\"\""));
    let null = r#"{"choices":[{"message":{"content":null}}]}"#;
    assert_eq!(
        whole(Endpoint::ChatCompletions, null, &words("c")),
        null.replace("null", "\"c\"")
    );
}

#[test]
fn arguments_are_put_in_by_the_calls_order() {
    let chat = r#"{"choices":[{"message":{"content":null,"tool_calls":[
        {"id":"1","function":{"name":"f","arguments":"{a:1}"}},{"id":"2","function":{"name":"g","arguments":"{}"}}]}}]}"#;
    let said = whole(
        Endpoint::ChatCompletions,
        chat,
        &arguments(&[Some(r#"{"a":1}"#), None]),
    );
    assert_eq!(said, chat.replace("{a:1}", r#"{\"a\":1}"#));
    let message =
        r#"{"content":[{"type":"text","text":"x"},{"type":"tool_use","id":"1","name":"f","input":{"a":1}}]}"#;
    let said = whole(Endpoint::Messages, message, &arguments(&[Some(r#"{"a":2}"#)]));
    assert_eq!(said, message.replace("{\"a\":1}", "{\"a\":2}"));
    let response = r#"{"output":[{"type":"function_call","name":"f","arguments":"{a:1}"}]}"#;
    let said = whole(Endpoint::Responses, response, &arguments(&[Some(r#"{"a":1}"#)]));
    assert_eq!(said, response.replace("{a:1}", r#"{\"a\":1}"#));
}

#[test]
fn what_a_reader_would_not_hear_is_not_put_in() {
    // Of a name that comes twice the last counts, here an answer that says nothing.
    let twice =
        r#"{"choices":[{"index":0,"message":{"content":"Hi"}}],"choices":[{"index":0,"message":{}}]}"#;
    let put = amended(Endpoint::ChatCompletions, twice.as_bytes(), &words("other"));
    assert_eq!(put, None);
}

#[test]
fn what_has_no_place_is_not_put_in() {
    let table = [
        (Endpoint::ChatCompletions, "{}"),
        (Endpoint::ChatCompletions, "no JSON"),
        (Endpoint::Messages, r#"{"content":[]}"#),
        (Endpoint::Responses, r#"{"output":[{"type":"message"}]}"#),
        (Endpoint::Embeddings, r#"{"content":[{"text":"x"}]}"#),
    ];
    for (endpoint, body) in table {
        assert_eq!(amended(endpoint, body.as_bytes(), &words("x")), None, "{body}");
    }
    assert_eq!(
        amended(
            Endpoint::ChatCompletions,
            CHAT.as_bytes(),
            &arguments(&[Some("{}")])
        ),
        None
    );
}

const CHUNKS: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n\
    data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"old\"}}]}\n\n\
    : a comment\n\n\
    data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" one\"}}]}\n\n\
    data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
    data: [DONE]\n\n";
const EVENTS: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}\n\n\
    event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
    event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"old\"}}\n\n\
    event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" one\"}}\n\n\
    event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n\
    event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const RESPONSES: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"content_index\":0,\"delta\":\"old\"}\n\n\
    event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"content_index\":0,\"delta\":\" one\"}\n\n\
    event: response.output_text.done\ndata: {\"type\":\"response.output_text.done\",\"output_index\":0,\"content_index\":0,\"text\":\"old one\"}\n\n\
    event: response.content_part.done\ndata: {\"type\":\"response.content_part.done\",\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"old one\"}}\n\n\
    event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"old one\"}]}}\n\n\
    event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"old one\"}]}]}}\n\n";

#[test]
fn a_stream_says_other_words_and_stays_a_stream_of_its_protocol() {
    let table = [
        (Endpoint::ChatCompletions, CHUNKS),
        (Endpoint::Messages, EVENTS),
        (Endpoint::Responses, RESPONSES),
    ];
    for (endpoint, events) in table {
        let new = amended_events(endpoint, events.as_bytes(), &words("new \"one\"")).unwrap();
        assert_eq!(heard(endpoint, &new).0, Answer::Text("new \"one\"".into()));
        let text = String::from_utf8(new).unwrap();
        assert!(!text.contains("old") && !text.contains(" one\"}"), "{text}");
        assert_eq!(text.matches("\n\n").count(), events.matches("\n\n").count());
        // All that isn't the text is as it was.
        let same = amended_events(endpoint, events.as_bytes(), &arguments(&[])).unwrap();
        assert_eq!(same, events.as_bytes());
    }
    let text =
        String::from_utf8(amended_events(Endpoint::Responses, RESPONSES.as_bytes(), &words("N")).unwrap())
            .unwrap();
    assert_eq!(
        (text.matches("\"N\"").count(), text.matches("\"\"").count()),
        (5, 1)
    );
}

#[test]
fn arguments_in_a_stream_are_put_in_whole() {
    let chunks = "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"1\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}\n\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{a:\"}}]}}]}\n\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"1}\"}}]}}]}\n\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";
    let blocks = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"name\":\"f\",\"input\":{}}}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{a:\"}}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"1}\"}}\n\n\
        event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"}}\n\n";
    let items = "data: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"function_call\",\"name\":\"f\",\"arguments\":\"\"}}\n\n\
        data: {\"type\":\"response.function_call_arguments.delta\",\"output_index\":0,\"delta\":\"{a:1}\"}\n\n\
        data: {\"type\":\"response.function_call_arguments.done\",\"output_index\":0,\"arguments\":\"{a:1}\"}\n\n\
        data: {\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":\"function_call\",\"name\":\"f\",\"arguments\":\"{a:1}\"}}\n\n\
        data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[{\"type\":\"function_call\",\"name\":\"f\",\"arguments\":\"{a:1}\"}]}}\n\n";
    let table = [
        (Endpoint::ChatCompletions, chunks),
        (Endpoint::Messages, blocks),
        (Endpoint::Responses, items),
    ];
    for (endpoint, events) in table {
        let new = amended_events(endpoint, events.as_bytes(), &arguments(&[Some("{\"a\":1}")])).unwrap();
        assert_eq!(
            heard(endpoint, &new),
            (Answer::ToolCalls, "f{\"a\":1}".to_owned())
        );
        assert!(!String::from_utf8(new).unwrap().contains("{a"));
    }
}

#[test]
fn calls_are_told_apart_as_they_are_gathered() {
    let body = r#"{"choices":[{"index":0,"message":{"tool_calls":[
        {"function":{"name":"f","arguments":"1"}},{"function":{"name":"g","arguments":"2"}}]}}]}"#;
    let new = whole(Endpoint::ChatCompletions, body, &arguments(&[None, Some("3")]));
    let mut calls = Calls::new(Endpoint::ChatCompletions, 100);
    calls.body(new.as_bytes()).unwrap();
    let found = calls.finish().unwrap();
    assert_eq!(
        (found[0].arguments.as_str(), found[1].arguments.as_str()),
        ("1", "3")
    );
    assert!(matches!(
        answer(Endpoint::ChatCompletions, body.as_bytes()),
        Answer::Cut
    ));
}
