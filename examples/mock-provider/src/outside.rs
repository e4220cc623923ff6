//! Those outside whom a policy asks or tells: a moderation service that flags a word, and somebody who takes posts.

use serde_json::{Value, json};

use crate::http::Request;

/// The word that is flagged wherever it stands.
const WORD: &str = "forbidden";

/// The answer to `/v1/moderations` or `/exchanges`: a status and a body; none for any other path.
pub(crate) fn answer(request: &Request) -> Option<(u16, Value)> {
    match request.route().trim_end_matches('/') {
        "/exchanges" => Some((200, json!({"taken": true}))),
        route if route.ends_with("/v1/moderations") => Some(judged(&request.body)),
        _ => None,
    }
}

fn judged(body: &[u8]) -> (u16, Value) {
    let Ok(asked) = serde_json::from_slice::<Value>(body) else {
        return (400, json!({"error": {"message": "mock: no JSON"}}));
    };
    let results: Vec<Value> = match asked.get("input") {
        Some(Value::String(text)) => vec![result(text)],
        Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).map(result).collect(),
        Some(_) | None => return (400, json!({"error": {"message": "mock: no input"}})),
    };
    (
        200,
        json!({"id": "modr-mock", "model": "omni-moderation-mock", "results": results}),
    )
}

fn result(text: &str) -> Value {
    let flagged = text.contains(WORD);
    let score = if flagged { 0.98 } else { 0.01 };
    json!({"flagged": flagged, "categories": {"hate": false, "violence": flagged},
        "category_scores": {"hate": 0.01, "violence": score}})
}

#[cfg(test)]
mod tests {
    use super::judged;

    #[test]
    fn a_word_is_flagged_in_one_text_or_in_many() {
        let flags = |body: &str| {
            let results = judged(body.as_bytes()).1["results"].clone();
            results.as_array().map(|all| {
                all.iter()
                    .map(|result| result["flagged"] == true)
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(flags(r#"{"input": "a forbidden word"}"#), Some(vec![true]));
        assert_eq!(
            flags(r#"{"input": ["fine", "forbidden"]}"#),
            Some(vec![false, true])
        );
        assert_eq!(judged(b"{}").0, 400);
    }
}
