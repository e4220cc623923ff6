//! Whole answers: usage while they pass, words, calls, and other words put in.

use spillway::dialect::{Amendment, Answer, Calls, JsonReader, amended, amended_events, answer, words};

use crate::input::{Input, cut};
use crate::truth;

use super::request::ENDPOINTS;

/// However an answer is cut, the same is read; a complete one is JSON, and usage is told or called faulty; what is amended
/// is JSON that says what was put in; nothing that is gathered is longer than the answer.
pub fn answer_body(data: &[u8]) {
    let mut input = Input::new(data);
    let (seed, endpoint) = (input.short(), input.pick(&ENDPOINTS));
    let body = input.rest();
    let read = |pieces: &[&[u8]]| {
        let mut reader = JsonReader::new(endpoint);
        pieces.iter().for_each(|piece| reader.push(piece));
        reader.finish()
    };
    let facts = read(&[body]);
    assert_eq!(facts, read(&cut(body, seed)), "cuts change what is read");
    if facts.complete && core::str::from_utf8(body).is_ok() {
        truth::assert_json(body);
    }
    if let Some(usage) = facts.usage {
        assert!(usage.cached_input + usage.cache_write <= usage.input, "{usage:?}");
        assert!(usage.reasoning <= usage.output, "{usage:?}");
    }
    let said = words(endpoint, body).unwrap_or_default();
    assert!(said.len() <= body.len() * 3, "more words than bytes");
    let mut calls = Calls::new(endpoint, 500);
    let whole = calls.body(body).is_ok();
    let calls = calls.finish().unwrap_or_default();
    let kept: usize = calls
        .iter()
        .map(|call| call.name.len() + call.arguments.len())
        .sum();
    assert!(calls.len() <= Calls::MAX && kept <= 500, "{kept}");
    assert!(
        whole || answer(endpoint, body) == Answer::NotJson,
        "calls can't be read, words can"
    );
    amends(endpoint, body, calls.len());
}

fn amends(endpoint: spillway::dialect::Endpoint, body: &[u8], calls: usize) {
    let text = Amendment {
        text: Some("other \"words\"\n".to_owned()),
        calls: Vec::new(),
    };
    let other = Amendment {
        text: None,
        calls: vec![Some(r#"{"put":"in"}"#.to_owned()); calls],
    };
    for amendment in [&text, &other] {
        if let Some(out) = amended(endpoint, body, amendment).filter(|_| truth::is_json(body)) {
            truth::assert_json(&out);
            let said = words(endpoint, &out).unwrap_or_default();
            assert!(
                amendment.text.is_none() || said.contains("other \"words\"\n"),
                "{said}"
            );
        }
        let _ = amended_events(endpoint, body, amendment);
    }
}
