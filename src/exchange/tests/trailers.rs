//! Translated answers that end in HTTP trailers: beside those a host lets only be changed what it holds.

use super::router::*;
use super::*;

/// What a client gets of an Anthropic or Gemini provider that answers so.
fn seen(provider: &str, request: &Request, kind: &str, chunks: &[String]) -> Call {
    let mut lab = native(json!({
        "providers": {"gemini": {"cluster": "gemini", "dialect": "gemini", "models": {"flash": {}}}},
        "models": {"gpt-4o": {"chain": [format!("{provider}/{}", if provider == "gemini" { "flash" } else { "claude" })]}},
        "failover": {"attempts": 1},
    }));
    let does = Does::Trails(kind, chunks.to_vec());
    routed(&mut lab, request, &[(provider, does)]).0
}

#[test]
fn a_whole_answer_with_trailers_is_said_again_like_any_other() {
    let body = json!({"id": "m", "type": "message", "role": "assistant", "model": "claude",
        "content": [{"type": "text", "text": "fine"}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 1}})
    .to_string();
    for at in [0, 1, body.len() / 2, body.len()] {
        let (one, other) = body.split_at(at);
        let call = seen(
            "anthropic",
            &chat(json!({})),
            "application/json",
            &[one.to_owned(), other.to_owned()],
        );
        let said: Value = serde_json::from_slice(&call.answer).unwrap();
        assert_eq!(said["choices"][0]["message"]["content"], "fine");
        assert_eq!(
            call.answer_header("content-length"),
            Some(call.answer.len().to_string())
        );
    }
}

#[test]
fn a_stream_whose_end_is_silent_loses_nothing_to_trailers() {
    let event = |text: &str, more: Value| {
        let mut candidate = json!({"content": {"role": "model", "parts": [{"text": text}]}, "index": 0});
        merge(&mut candidate, more);
        let usage = json!({"promptTokenCount": 3, "candidatesTokenCount": 2});
        format!(
            "data: {}\r\n\r\n",
            json!({"candidates": [candidate], "usageMetadata": usage})
        )
    };
    let text = [
        event("fi", json!({})),
        event("ne", json!({"finishReason": "STOP"})),
    ]
    .concat();
    let request = chat(json!({"stream": true}));
    let mut wholes = Vec::new();
    for at in 0..=text.len() {
        let (one, other) = text.split_at(at);
        let call = seen(
            "gemini",
            &request,
            "text/event-stream",
            &[one.to_owned(), other.to_owned()],
        );
        let said = call.answer_text();
        assert!(
            said.ends_with(DONE) && said.contains("ne") && !said.contains("error"),
            "{at}: {said}"
        );
        wholes.push(said.len());
    }
    wholes.dedup();
    assert_eq!(wholes.len(), 1, "the same however it is cut");
}
