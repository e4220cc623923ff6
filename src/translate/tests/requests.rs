//! Requests, each as the other protocols say it.

use serde_json::json;

use super::super::Protocol::{Chat, Messages};
use super::sent;

#[test]
fn a_chat_becomes_messages() {
    let chat = json!({"model": "gpt-4o", "messages": [
        {"role": "developer", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Hello!"},
    ]});
    let (body, dropped) = sent(Chat, Messages, &chat).unwrap();
    assert_eq!(
        body,
        json!({"model": "their-model", "max_tokens": 4096, "system": "You are a helpful assistant.",
               "messages": [{"role": "user", "content": "Hello!"}]})
    );
    assert!(dropped.is_empty());
}
