//! The texts of a prompt as one text to be judged.

use std::borrow::Cow;

use crate::dialect::{Endpoint, RequestFacts};
use crate::json;

/// Words that say who speaks: no text of anybody's.
const ROLES: [&[u8]; 6] = [
    b"user",
    b"assistant",
    b"system",
    b"developer",
    b"tool",
    b"function",
];

/// Why a prompt can't be judged whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// It is longer than the bound.
    TooLong,
    /// Its texts are given as numbers of tokens.
    Tokens,
}

/// What a request says, a line a text; empty when it says nothing. At most `bound` bytes.
///
/// # Errors
/// When it says more, or what can't be read: a verdict on a part would be a way around it.
pub fn prompt(endpoint: Endpoint, facts: &RequestFacts<'_>, bound: usize) -> Result<String, Unseen> {
    let counts_tokens = matches!(endpoint, Endpoint::Completions | Endpoint::Embeddings);
    if counts_tokens && facts.prompt.token_ids > 0 {
        return Err(Unseen::Tokens);
    }
    let mut out = String::new();
    for text in facts.prompt.texts.iter().filter(|text| !ROLES.contains(text)) {
        let text: Cow<'_, str> = json::text(text);
        if out.len().saturating_add(text.len()) >= bound {
            return Err(Unseen::TooLong);
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&text);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{Unseen, prompt};
    use crate::dialect::{Endpoint, scan};

    fn read(endpoint: Endpoint, body: &str, bound: usize) -> Result<String, Unseen> {
        prompt(endpoint, &scan(endpoint, body.as_bytes()).unwrap(), bound)
    }

    #[test]
    fn a_prompt_is_its_texts_line_by_line_decoded_and_without_roles() {
        let body = r#"{"model":"m","messages":[{"role":"system","content":"Be \u00e9 kind"},
            {"role":"user","content":[{"type":"text","text":"one"},{"type":"text","text":"two"}]}]}"#;
        let text = read(Endpoint::ChatCompletions, body, 1_000).unwrap();
        assert_eq!(text, "Be é kind\none\ntwo");
    }

    #[test]
    fn more_than_the_bound_is_told_never_cut() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"0123456789"}]}"#;
        assert_eq!(read(Endpoint::ChatCompletions, body, 10), Err(Unseen::TooLong));
        assert_eq!(
            read(Endpoint::ChatCompletions, body, 11).as_deref(),
            Ok("0123456789")
        );
    }

    #[test]
    fn tokens_as_numbers_are_no_text() {
        for prompt in ["[1,2,3]", "[[1],[2]]", r#"["words",[1]]"#] {
            let body = format!(r#"{{"model":"m","prompt":{prompt}}}"#);
            assert_eq!(
                read(Endpoint::Completions, &body, 1_000),
                Err(Unseen::Tokens),
                "{prompt}"
            );
        }
    }

    #[test]
    fn a_prompt_of_the_responses_api_is_text_all_the_same() {
        let body = r#"{"model":"m","input":"hello","instructions":"short"}"#;
        let text = read(Endpoint::Responses, body, 1_000).unwrap();
        assert!(text.contains("hello") && text.contains("short"), "{text}");
    }
}
