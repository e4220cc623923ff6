//! Gemini's answers, as providers give them.

use super::super::{JsonReader, StreamOptions, StreamReader, answer};
use super::{Answer, Endpoint, text, usage};

const SAID: &str = "At its core, Artificial Intelligence works by learning from vast amounts of data ...";

const OPTIONS: StreamOptions = StreamOptions {
    strip_usage: false,
    gather: Some(1 << 16),
    gather_calls: false,
    hold_end: false,
    line_bound: 1 << 16,
};

#[test]
fn a_complete_answer_says_its_usage_model_and_words() {
    let body = sample!("gemini.json");
    for at in 0..=body.len() {
        let mut reader = JsonReader::new(Endpoint::GenerateContent);
        let (first, second) = body.split_at(at);
        reader.push(first);
        reader.push(second);
        let facts = reader.finish();
        assert_eq!(facts.usage, usage(8, 1_133, 4, 1_116));
        assert_eq!(facts.model.as_deref(), Some("gemini-2.5-flash"));
        assert!(facts.complete && !facts.error && !facts.usage_fault);
    }
    let of = |body: &[u8]| answer(Endpoint::GenerateContent, body);
    assert_eq!(of(body), text(SAID));
    assert_eq!(of(sample!("gemini_tools.json")), Answer::ToolCalls);
    assert_eq!(of(sample!("error_gemini.json")), Answer::Error);
    assert_eq!(
        of(br#"{"promptFeedback":{"blockReason":"SAFETY"}}"#),
        Answer::Filtered
    );
    assert_eq!(
        of(br#"{"candidates":[{"finishReason":"MAX_TOKENS"}]}"#),
        Answer::Cut
    );
    assert_eq!(
        of(br#"{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#),
        Answer::Error
    );
    assert_eq!(of(br#"{"candidates":7,"promptFeedback":[]}"#), Answer::Cut);
}

#[test]
fn a_stream_ends_with_its_last_answer_however_it_is_cut() {
    let stream = sample!("gemini_stream.sse");
    for at in 0..=stream.len() {
        let mut reader = StreamReader::new(Endpoint::GenerateContent, OPTIONS);
        let (first, second) = stream.split_at(at);
        reader.push(first);
        reader.push(second);
        reader.finish();
        let progress = reader.progress();
        assert!(progress.done && progress.finished && !progress.error);
        assert_eq!(progress.usage, usage(264, 57, 0, 33));
        assert_eq!(progress.deltas, 2);
        let said = "The image displays the following materials:\n\n*   **Wood:** The accordion and the violin are primarily";
        assert_eq!(reader.answer(), text(said));
    }
}

#[test]
fn thoughts_and_calls_are_generated_but_not_said() {
    let mut reader = StreamReader::new(Endpoint::GenerateContent, OPTIONS);
    reader.push(sample!("gemini_stream_tools.sse"));
    assert_eq!(reader.progress().deltas, 3);
    assert_eq!(reader.answer(), Answer::ToolCalls);
    assert_eq!(reader.progress().usage, usage(50, 30, 0, 10));
}

#[test]
fn an_error_in_a_stream_is_seen() {
    let mut reader = StreamReader::new(Endpoint::GenerateContent, OPTIONS);
    reader
        .push(b"data: {\"error\":{\"code\":503,\"message\":\"overloaded\",\"status\":\"UNAVAILABLE\"}}\n\n");
    assert!(reader.progress().error && !reader.progress().done);
}
