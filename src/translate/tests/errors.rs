//! Errors.

use serde_json::json;

use super::super::Protocol::{Chat, Gemini, Messages};
use super::super::error;
use super::{parsed, sample};

/// <https://platform.claude.com/docs/en/api/errors>.
#[test]
fn being_overloaded_is_529_to_anthropics_clients_and_503_to_the_others() {
    let (status, body) = error(Messages, Chat, 529, sample!("error_anthropic.json"));
    assert_eq!(status, 503);
    let told = json!({"message": "Overloaded", "type": "server_error", "param": null, "code": "overloaded"});
    assert_eq!(parsed(&body), json!({ "error": told }));
    let (status, body) = error(
        Chat,
        Messages,
        503,
        br#"{"error":{"message":"The engine is currently overloaded"}}"#,
    );
    assert_eq!(status, 529);
    let told = json!({"type": "overloaded_error", "message": "The engine is currently overloaded"});
    assert_eq!(parsed(&body), json!({"type": "error", "error": told}));
}

/// <https://platform.openai.com/docs/guides/error-codes>.
#[test]
fn rate_limits_keep_their_status() {
    for (from, sample) in [
        (Chat, &sample!("error_openai.json")[..]),
        (Gemini, sample!("error_gemini.json")),
    ] {
        let (status, body) = error(from, Messages, 429, sample);
        assert_eq!(
            (status, &parsed(&body)["error"]["type"]),
            (429, &json!("rate_limit_error"))
        );
    }
    let (status, body) = error(Gemini, Chat, 429, sample!("error_gemini.json"));
    assert_eq!(
        (status, &parsed(&body)["error"]["code"]),
        (429, &json!("rate_limit_exceeded"))
    );
}

#[test]
fn what_cannot_be_read_is_worded_by_its_status() {
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (408, "timeout_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ] {
        for body in [
            &b""[..],
            b"<html>502</html>",
            b"[]",
            b"7",
            br#"{"error":{"type":7}}"#,
        ] {
            let (told, body) = error(Chat, Messages, status, body);
            assert_eq!((told, &parsed(&body)["error"]["type"]), (status, &json!(kind)));
        }
    }
}

#[test]
fn messages_come_in_many_places_and_are_bounded() {
    for body in [
        r#"{"error":"no"}"#,
        r#"{"message":"no"}"#,
        r#"{"detail":"no"}"#,
        r#"[{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}]"#,
    ] {
        let (_, body) = error(Chat, Messages, 400, body.as_bytes());
        assert_eq!(parsed(&body)["error"]["message"], "no");
    }
    let long = json!({"error": {"message": "é".repeat(3_000)}}).to_string();
    let (_, body) = error(Chat, Messages, 400, long.as_bytes());
    assert_eq!(parsed(&body)["error"]["message"].as_str().unwrap().len(), 2_048);
}
