//! Streams: the published examples, cut at every point, cut short, and broken.

use serde_json::{Value, json};

use super::super::Protocol::{self, Chat, Gemini, Messages};
use super::super::{StreamOptions, StreamTranslator};
use super::{STREAM, sample, streamed};
use crate::dialect::{self, Answer, StreamReader};

/// Every sample in its protocol, and whether it ends well.
const SAMPLES: [(Protocol, &[u8], bool); 16] = [
    (Chat, sample!("chat_stream.sse"), true),
    (Chat, sample!("chat_stream_cr.sse"), true),
    (Chat, sample!("chat_stream_crlf.sse"), true),
    (Chat, sample!("chat_stream_error.sse"), false),
    (Chat, sample!("chat_stream_odd.sse"), true),
    (Chat, sample!("chat_stream_reasoning.sse"), true),
    (Chat, sample!("chat_stream_tools.sse"), true),
    (Chat, sample!("chat_stream_two.sse"), true),
    (Chat, sample!("chat_stream_usage.sse"), true),
    (Messages, sample!("message_stream.sse"), true),
    (Messages, sample!("message_stream_error.sse"), false),
    (Messages, sample!("message_stream_tools.sse"), true),
    (Messages, sample!("message_stream_weather.sse"), true),
    (Gemini, sample!("gemini_stream.sse"), true),
    (Gemini, sample!("gemini_stream_tools.sse"), true),
    (
        Gemini,
        b"data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n",
        true,
    ),
];

const CLIENTS: [Protocol; 2] = [Chat, Messages];

/// Each sample for each client that speaks another protocol.
fn pairs() -> impl Iterator<Item = (Protocol, Protocol, &'static [u8], bool)> {
    SAMPLES.into_iter().flat_map(|(from, stream, well)| {
        let others = CLIENTS.into_iter().filter(move |to| *to != from);
        others.map(move |to| (from, to, stream, well))
    })
}

/// The data of each event, and `[DONE]` as a string.
fn data(stream: &str) -> Vec<Value> {
    let lines = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    lines
        .map(|text| serde_json::from_str(text).unwrap_or_else(|_| json!(text)))
        .collect()
}

fn well_ended(stream: &str) -> bool {
    stream.contains("[DONE]") || stream.contains("message_stop")
}

#[test]
fn every_stream_comes_out_the_same_however_it_is_cut() {
    for (from, to, stream, well) in pairs() {
        let whole = streamed(from, to, [stream]);
        assert_eq!(well_ended(&whole), well, "{whole}");
        let mut translator = StreamTranslator::new(from, to, &STREAM);
        let mut before = Vec::new();
        for (at, byte) in stream.iter().enumerate() {
            let mut rest = translator.clone();
            let after = [rest.push(&stream[at..]), rest.finish()].concat();
            assert_eq!([&before[..], &after].concat(), whole.as_bytes(), "cut at {at}");
            before.extend(translator.push(&[*byte]));
        }
        for len in [1, 2, 3, 7, 64] {
            assert_eq!(streamed(from, to, stream.chunks(len)), whole, "pieces of {len}");
        }
    }
}

#[test]
fn a_stream_cut_short_ends_in_an_error_and_never_as_if_complete() {
    for (from, to, stream, well) in pairs() {
        let mut translator = StreamTranslator::new(from, to, &STREAM);
        let (mut out, mut errors) = (Vec::new(), 0);
        for byte in stream {
            let end = String::from_utf8([&out[..], &translator.clone().finish()].concat()).unwrap();
            let last = data(&end).pop().unwrap();
            assert!(last["error"]["message"].is_string() != well_ended(&end), "{end}");
            errors += usize::from(!well_ended(&end));
            out.extend(translator.push(&[*byte]));
        }
        // All but the last event must have come, and but for the line ends whole.
        let last = stream.len() - stream.trim_ascii_end().len();
        assert!(
            !well || errors >= stream.len() * 4 / 5 && errors + last <= stream.len(),
            "{errors}"
        );
    }
}

#[test]
fn our_own_strict_readers_find_the_same_in_it() {
    let options = dialect::StreamOptions {
        strip_usage: false,
        gather: Some(1 << 16),
        gather_calls: false,
        hold_end: false,
        line_bound: 1 << 16,
    };
    for (from, to, stream, well) in pairs() {
        let read = |protocol: Protocol, bytes: &[u8]| {
            let mut reader = StreamReader::new(protocol.endpoint(), options);
            reader.push(bytes);
            reader.finish();
            reader
        };
        // Of two choices only one was asked for.
        if stream == &sample!("chat_stream_two.sse")[..] {
            continue;
        }
        let (theirs, ours) = (
            read(from, stream),
            read(to, streamed(from, to, [stream]).as_bytes()),
        );
        let (before, after) = (theirs.progress(), ours.progress());
        assert_eq!((after.done, after.error), (well, !well));
        // Anthropic has one word for both.
        let said = match theirs.answer() {
            Answer::Filtered if to == Messages => Answer::Refused,
            said => said,
        };
        assert_eq!(ours.answer(), said);
        assert_eq!(after.model.as_deref(), Some("asked-for"));
        if well {
            assert_eq!(after.finished, before.finished);
            let usage = before.usage.unwrap_or_default();
            let told = after.usage.unwrap();
            assert_eq!(
                (told.input, told.output, told.cached_input),
                (usage.input, usage.output, usage.cached_input)
            );
        }
    }
}

/// <https://platform.claude.com/docs/en/build-with-claude/streaming>, "Streaming request with tool use".
#[test]
fn a_tool_call_of_anthropics_becomes_chunks() {
    let out = streamed(Messages, Chat, [&sample!("message_stream_weather.sse")[..]]);
    let chunks = data(&out);
    let deltas: Vec<&Value> = chunks
        .iter()
        .filter_map(|chunk| chunk.pointer("/choices/0/delta"))
        .collect();
    assert_eq!(
        deltas[0],
        &json!({"role": "assistant", "content": "", "refusal": null})
    );
    let text: String = deltas
        .iter()
        .filter_map(|delta| delta["content"].as_str())
        .collect();
    assert_eq!(text, "Okay, let's check the weather for San Francisco, CA:");
    let calls: Vec<&Value> = deltas
        .iter()
        .filter_map(|delta| delta.pointer("/tool_calls/0"))
        .collect();
    assert_eq!(
        calls[0],
        &json!({"index": 0, "id": "toolu_01T1x1fJ34qAmk2tNTrN7Up6", "type": "function",
                "function": {"name": "get_weather", "arguments": ""}})
    );
    let arguments: String = calls
        .iter()
        .filter_map(|call| call.pointer("/function/arguments")?.as_str())
        .collect();
    assert_eq!(
        arguments,
        r#"{"location": "San Francisco, CA", "unit": "fahrenheit"}"#
    );
    let [.., finish, usage, done] = chunks.as_slice() else {
        panic!("{out}")
    };
    assert_eq!(
        finish.pointer("/choices/0/finish_reason"),
        Some(&json!("tool_calls"))
    );
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["prompt_tokens"], 472);
    assert_eq!(usage["usage"]["completion_tokens"], 89);
    assert_eq!(usage["usage"]["total_tokens"], 561);
    assert_eq!(done, "[DONE]");
    for chunk in &chunks[..chunks.len() - 1] {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(
            (&chunk["id"], &chunk["model"]),
            (&json!("chatcmpl-7"), &json!("asked-for"))
        );
        assert_eq!(chunk["created"], 1_741_570_283);
    }
}

/// The chunks of <https://platform.openai.com/docs/api-reference/chat-streaming>, with usage.
#[test]
fn chunks_become_events_of_anthropics() {
    let out = streamed(Chat, Messages, [&sample!("chat_stream_tools.sse")[..]]);
    let expected = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_7","type":"message","role":"assistant","model":"asked-for","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"call_1","name":"get_weather","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"city\":"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":" \"Paris\"}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":19,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":6}}

event: message_stop
data: {"type":"message_stop"}

"#;
    assert_eq!(out, expected);
}

#[test]
fn geminis_calls_become_blocks_with_ids_of_their_own() {
    let out = streamed(Gemini, Messages, [&sample!("gemini_stream_tools.sse")[..]]);
    let events = data(&out);
    let starts: Vec<&Value> = events
        .iter()
        .filter_map(|event| event.get("content_block"))
        .collect();
    assert_eq!(
        starts,
        [
            &json!({"type": "text", "text": ""}),
            &json!({"type": "tool_use", "id": "call_7_1", "name": "get_weather", "input": {}}),
            &json!({"type": "tool_use", "id": "call_7_2", "name": "get_weather", "input": {}}),
        ]
    );
    let [.., told, _] = events.as_slice() else {
        panic!("{out}")
    };
    assert_eq!(told["delta"]["stop_reason"], "tool_use");
    assert_eq!(told["usage"]["output_tokens"], 30);
}

#[test]
fn usage_comes_only_if_the_client_asked_for_it() {
    let quiet = StreamOptions {
        include_usage: false,
        ..STREAM
    };
    let mut translator = StreamTranslator::new(Messages, Chat, &quiet);
    let out = String::from_utf8(translator.push(sample!("message_stream.sse"))).unwrap();
    assert!(!out.contains("usage") && well_ended(&out), "{out}");
}

/// What a forced tool says is the answer's text (the request's side is in `requests`).
#[test]
fn the_tool_that_stands_for_a_schema_is_given_back_as_text() {
    let stream = [
        r#"{"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"respond_in_json","input":{}}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"1}"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":5}}"#,
        r#"{"type":"message_stop"}"#,
    ]
    .map(|data| format!("data: {data}\n\n"))
    .concat();
    let chunks = data(&streamed(Messages, Chat, [stream.as_bytes()]));
    let text: String = chunks
        .iter()
        .filter_map(|c| c.pointer("/choices/0/delta/content")?.as_str())
        .collect();
    assert_eq!(text, r#"{"a":1}"#);
    assert_eq!(chunks[chunks.len() - 3]["choices"][0]["finish_reason"], "stop");
    assert!(
        !chunks
            .iter()
            .any(|chunk| chunk.pointer("/choices/0/delta/tool_calls").is_some())
    );
}

#[test]
fn a_call_without_arguments_is_an_empty_object_elsewhere() {
    let stream = [
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"now","input":{}}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":5}}"#,
        r#"{"type":"message_stop"}"#,
    ]
    .map(|data| format!("data: {data}\n\n"))
    .concat();
    let chunks = data(&streamed(Messages, Chat, [stream.as_bytes()]));
    assert_eq!(
        chunks[2]["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"],
        "{}"
    );
}

#[test]
fn parallel_calls_keep_their_places_even_if_an_imitator_numbers_all_of_them_0() {
    let call = |index: &str, id: &str, arguments: &str| {
        format!(
            r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{{{index}"id":"{id}","function":{{"name":"f","arguments":"{arguments}"}}}}]}}}}]}}"#
        )
    };
    for index in [r#""index":0,"#, ""] {
        let stream = [
            call(index, "a", "{}"),
            call(index, "b", "{}"),
            "[DONE]".to_owned(),
        ];
        let stream = stream.map(|data| format!("data: {data}\n\n")).concat();
        let events = data(&streamed(Chat, Messages, [stream.as_bytes()]));
        let ids: Vec<&Value> = events
            .iter()
            .filter_map(|event| event.pointer("/content_block/id"))
            .collect();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "tool_use");
    }
}

#[test]
fn what_cannot_be_told_breaks_the_stream_in_the_clients_words() {
    let late = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"x"}}]}}]}"#;
    let begin = |index: u8, id: &str| {
        format!(
            r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":{index},"id":"{id}","function":{{"name":"f"}}}}]}}}}]}}"#
        )
    };
    for (stream, why) in [
        (vec!["{".to_owned()], "can't be read"),
        (vec![late.to_owned()], "no id"),
        (vec![begin(0, "a"), begin(1, "b"), late.to_owned()], "mixes"),
        (vec!["x".repeat(STREAM.event_bound)], "too large"),
        (
            vec![r#"{"error":{"message":"slow down","type":"rate_limit_error"}}"#.to_owned()],
            "slow down",
        ),
    ] {
        let stream: String = stream.iter().map(|data| format!("data: {data}\n\n")).collect();
        let out = streamed(Chat, Messages, [stream.as_bytes(), b"data: [DONE]\n\n"]);
        let last = data(&out).pop().unwrap();
        assert!(last["error"]["message"].as_str().unwrap().contains(why), "{out}");
        assert!(out.contains("event: error\n") && !well_ended(&out), "{out}");
    }
}

#[test]
fn errors_in_mid_stream_keep_their_kind() {
    let out = streamed(Messages, Chat, [&sample!("message_stream_error.sse")[..]]);
    let error = json!({"message": "Overloaded", "type": "server_error", "param": null, "code": "overloaded"});
    assert_eq!(data(&out).pop(), Some(json!({ "error": error })));
}

#[test]
fn of_several_choices_the_first_is_told() {
    let out = streamed(Chat, Messages, [&sample!("chat_stream_two.sse")[..]]);
    let text: String = data(&out)
        .iter()
        .filter_map(|event| event.pointer("/delta/text")?.as_str().map(str::to_owned))
        .collect();
    let first: String = core::str::from_utf8(sample!("chat_stream_two.sse"))
        .map(data)
        .unwrap()
        .iter()
        .flat_map(|chunk| chunk["choices"].as_array().cloned().unwrap_or_default())
        .filter(|choice| choice["index"] == 0)
        .filter_map(|choice| choice["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(text, first);
    assert!(!text.is_empty());
}
