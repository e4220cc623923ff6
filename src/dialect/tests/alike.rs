//! Events that are compared with one before them, against the same events read in full.

use super::super::{Endpoint, StreamOptions, StreamReader};
use super::Random;
use super::streams::{Outcome, options, outcome, streams};

/// Events as providers send them, and as they might to be misread; W is for words, P for a filler, N for a number.
const CHAT: &[&str] = &[
    r#"{"id":"a","choices":[{"index":0,"delta":{"content":"W"},"logprobs":null,"finish_reason":null}],"usage":null}"#,
    r#"{"id":"a","model":"m","choices":[{"index":0,"delta":{"content":"W"},"finish_reason":null}],"obfuscation":"P"}"#,
    r#"{"id": "a", "choices": [{"index": 1, "delta": {"content": "W"}, "finish_reason": null}], "usage": null}"#,
    r#"{"choices":[{"delta":{"content":"W","refusal":null}}],"obfuscation":"P","sequence_number":N}"#,
    r#"{"sequence_number":N,"choices":[{"delta":{"reasoning_content":"W","content":""}}]}"#,
    r#"{"choices":[{"delta":{"content":"W","reasoning":"W"}}]}"#,
    r#"{"choices":[{"delta":{"refusal":"W"}}]}"#,
    r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"W"}}]},"finish_reason":null}]}"#,
    r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"W"}}]}}]}"#,
    r#"{"choices":[{"delta":{"content":[{"type":"text","text":"W"}]}}]}"#,
    r#"{"choices":[{"delta":{"content":"W"}},{"index":1,"delta":{"content":"W"}}]}"#,
    r#"{"choices":[{"delta":{"content":"W"},"finish_reason":"W"}]}"#,
    r#"{"choices":[{"delta":{"content":"W"},"finish_reason":"stop"}]}"#,
    r#"{"choices":[{"delta":{"content":"W","content":"W"}}]}"#,
    r#"{"obfuscation":"P","choices":[],"choices":[{"text":"W"}],"obfuscation":"P"}"#,
    r#"{"choices":[{"delta":{"content":"W"}}],"usage":{"prompt_tokens":N,"completion_tokens":N}}"#,
    r#"{"choices":[{"delta":{"content":"W"}}],"\u0075sage":{"prompt_tokens":9,"completion_tokens":N}}"#,
    r#"{"choices":[{"delta":{"content":"W"}}],"usage" : {"prompt_tokens" : N , "completion_tokens" : 1}}"#,
    r#"{"choices":[{"delta":{"content":"W"},"usage":{"prompt_tokens":1,"completion_tokens":1}}],"usage":null}"#,
    r#"{"choices":[],"usage":{"prompt_tokens":N,"completion_tokens":N,"total_tokens":N}}"#,
    r#"{"choices":[{"delta":{"content":"W"}}],"obfuscation":{"usage":"P"}}"#,
    r#"{"choices":[{"delta":{"content":"W"}}],"obfuscation":N,"sequence_number":"P"}"#,
    r#"{"choices":[{"delta":{"content":"W"}}],"error":{"message":"W"}}"#,
    r#"{"error":{"message":"W"},"obfuscation":"P"}"#,
    r#"{"choices":[{"delta":{"content":"W"}}],"model":"W"}"#,
    "[DONE]",
    r#"{"choices":[{"delta":{"content":"W"}}]"#,
];

const MESSAGES: &[&str] = &[
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"W"}}"#,
    r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"W"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"W"},"sequence_number":N}"#,
    r#"{"type":"content_block_delta","delta":{"text":"W"},"usage":{"output_tokens":N}}"#,
    r#"{"type":"message_start","message":{"model":"m","usage":{"input_tokens":N,"output_tokens":1}}}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":N}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","name":"W"}}"#,
    r#"{"type":"ping"}"#,
    r#"{"type":"error","error":{"message":"W"}}"#,
    r#"{"type":"message_stop"}"#,
    r#"{"type":"W","delta":{"text":"W"}}"#,
];

const RESPONSES: &[&str] = &[
    r#"{"type":"response.output_text.delta","sequence_number":N,"item_id":"i","delta":"W","logprobs":[],"obfuscation":"P"}"#,
    r#"{"type":"response.output_text.delta","delta":"W","sequence_number":N}"#,
    r#"{"type":"response.refusal.delta","sequence_number":N,"delta":"W"}"#,
    r#"{"type":"response.function_call_arguments.delta","sequence_number":N,"delta":"W","obfuscation":"P"}"#,
    r#"{"type":"response.output_audio.delta","sequence_number":N,"delta":"W"}"#,
    r#"{"type":"response.output_item.added","sequence_number":N,"item":{"type":"function_call","name":"W"}}"#,
    r#"{"type":"response.output_text.done","sequence_number":N,"text":"W"}"#,
    r#"{"type":"response.created","response":{"model":"m","usage":null},"sequence_number":N}"#,
    r#"{"type":"response.completed","response":{"status":"completed","usage":{"input_tokens":N,"output_tokens":N}}}"#,
    r#"{"type":"response.failed","response":{"error":{"message":"W"}}}"#,
];

const GEMINI: &[&str] = &[
    r#"{"candidates":[{"content":{"parts":[{"text":"W"}]},"index":0}],"modelVersion":"g"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"W"}]}}],"usageMetadata":{"promptTokenCount":N,"totalTokenCount":N}}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"W","thought":true}]}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"W","text":"W"}]}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"functionCall":{"args":"W"}}]}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"functionCall":"W"}]}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"W"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":N}}"#,
    r#"{"candidates":[],"promptFeedback":{"blockReason":"W"}}"#,
];

const WORDS: &[&str] = &[
    "",
    "Hi",
    " there",
    "é😀",
    r"\n",
    r#"\"usage\":{\"prompt_tokens\":9}"#,
    r"\\",
    r#"\\\""#,
    r"\u0022",
    r"\ud83d\ude00",
    r"\x",
    "\\",
    r#"","usage":{"prompt_tokens":3,"completion_tokens":4},"x":""#,
    "[DONE]",
    "a\nb",
    "data: ",
    "\r",
    "\u{1}",
    r#"W","delta":"W"#,
    "}]}",
    "stop",
    "error",
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "7",
    "12",
    "007",
    "-1",
    "1.5",
    "1e3",
    "",
    "null",
    "18446744073709551616",
];
const LINES: &[&str] = &[
    "data: D\n\n",
    "data: D\n\n",
    "data: D\n\n",
    "data:D\n\n",
    "event: message\ndata: D\n\n",
    "event: error\ndata: D\n\n",
    "data: D\r\n\r\n",
    "data: D\r\n\n",
    "data: D\r\r",
    "data: D\n\r",
    "data: D\ndata: \n\n",
    "data: \ndata: D\n\n",
    "id: 1\ndata: D\n\n",
    ": D\n\n",
    "\n",
    "data: D\n\nx",
];

/// An event of this form, its places filled at random, mostly with what is harmless.
fn filled(random: &mut Random, form: &str) -> String {
    form.chars()
        .map(|place| {
            let mut one = |of: &[&str], usual: usize| {
                let bound = if random.below(5) == 0 { of.len() } else { usual };
                of[random.below(bound)].to_owned()
            };
            match place {
                'W' | 'P' => one(WORDS, 9),
                'N' => one(NUMBERS, 4),
                other => other.to_string(),
            }
        })
        .collect()
}

/// A stream of some thirty events of a few forms, each with a line form of its own.
fn generated(random: &mut Random, forms: &[&str]) -> Vec<String> {
    let line = |random: &mut Random| {
        let bound = if random.below(3) == 0 { LINES.len() } else { 3 };
        LINES[random.below(bound)]
    };
    let few: Vec<_> = (0..4)
        .map(|_| (forms[random.below(forms.len())], line(random)))
        .collect();
    (0..30)
        .map(|_| {
            let (form, line) = few[random.below(few.len())];
            line.replace('D', &filled(random, form))
        })
        .collect()
}

fn reader(endpoint: Endpoint, options: StreamOptions) -> StreamReader {
    StreamReader::new(endpoint, options)
}

/// The events read one by one, each in full; with them, how many wouldn't have had to be.
fn in_full(endpoint: Endpoint, options: StreamOptions, events: &[String]) -> (Outcome, usize) {
    let pieces: Vec<&[u8]> = events.iter().map(|event| event.as_bytes()).collect();
    let (mut known, mut at) = (0, 0);
    let outcome = outcome(reader(endpoint, options), &pieces, |reader| {
        known += usize::from(reader.knows(pieces[at]));
        at += 1;
        reader.forget();
    });
    (outcome, known)
}

#[test]
fn comparing_comes_to_the_same_as_reading_in_full() {
    let (mut random, mut known, mut priced) = (Random(11), 0, 0);
    for round in 0..3000 {
        let (endpoint, forms) = [
            (Endpoint::ChatCompletions, CHAT),
            (Endpoint::Messages, MESSAGES),
            (Endpoint::Responses, RESPONSES),
            (Endpoint::GenerateContent, GEMINI),
        ][round % 4];
        let events = generated(&mut random, forms);
        let options = StreamOptions {
            strip_notes: round % 5 == 0,
            line_bound: if round % 7 == 0 { 120 } else { 1 << 20 },
            ..options(round % 2 == 0, round % 3 == 0)
        };
        let (expected, repeats) = in_full(endpoint, options, &events);
        known += repeats;
        priced += usize::from(expected.usage.is_some());
        let bytes = events.concat().into_bytes();
        let (left, right) = bytes.split_at(random.below(bytes.len() + 1));
        let (middle, right) = right.split_at(random.below(right.len() + 1));
        for pieces in [&[&bytes[..]][..], &[left, middle, right]] {
            let compared = outcome(reader(endpoint, options), pieces, |_| {});
            assert!(compared == expected, "round {round}: {events:#?}");
        }
    }
    assert!(
        known > 4000 && priced > 1000,
        "{known} events compared, {priced} streams with usage"
    );
}

#[test]
fn the_samples_come_to_the_same_as_read_in_full() {
    for (number, sample) in streams().into_iter().enumerate() {
        for (strip, hold) in [(false, false), (true, true)] {
            let options = options(strip, hold);
            let events: Vec<String> = String::from_utf8_lossy(sample.bytes)
                .split_inclusive("\n\n")
                .map(str::to_owned)
                .collect();
            let (expected, _) = in_full(sample.endpoint, options, &events);
            let whole = outcome(reader(sample.endpoint, options), &[sample.bytes], |_| {});
            assert_eq!(whole, expected, "{number}");
        }
    }
}

#[test]
fn a_comment_is_no_event_to_compare_with() {
    let event = format!("data: {}\n\n", CHAT[0].replace('W', "Hi"));
    // Where the event's words stood, if it comes to lie in the same memory.
    let comment = event.replacen('d', ":", 1);
    let mut reader = reader(Endpoint::ChatCompletions, options(false, false));
    for block in [&event, &comment] {
        let (left, right) = block.as_bytes().split_at(9);
        reader.push(left);
        reader.push(right);
    }
    assert!(!reader.knows(comment.as_bytes()) && reader.knows(event.as_bytes()));
    reader.push(comment.as_bytes());
    assert_eq!((reader.words(), reader.progress().deltas), (Some("Hi"), 1));
}

#[test]
fn what_each_provider_repeats_is_compared() {
    for (endpoint, form) in [
        (Endpoint::ChatCompletions, CHAT[0]),
        (Endpoint::ChatCompletions, CHAT[1]),
        (Endpoint::ChatCompletions, CHAT[7]),
        (Endpoint::Messages, MESSAGES[0]),
        (Endpoint::Messages, MESSAGES[1]),
        (Endpoint::Responses, RESPONSES[0]),
        (Endpoint::Responses, RESPONSES[3]),
        (Endpoint::GenerateContent, GEMINI[0]),
    ] {
        let event = |words, number, filler| {
            let data = form.replace('W', words).replace('N', number).replace('P', filler);
            format!("event: e\ndata: {data}\n\n")
        };
        let mut reader = reader(endpoint, options(false, false));
        reader.push(event("Hi", "1", "xyz").as_bytes());
        assert!(
            reader.knows(event(" \\\"there\\\"", "20", "").as_bytes()),
            "{form}"
        );
    }
}
