//! Translation against the providers' published examples, against itself there and back, and against hostile input.

mod requests;

use serde_json::Value;

use super::{Accepts, AnswerOptions, Protocol, RequestOptions, Translated, Untranslatable};

const REQUEST: RequestOptions<'static> = RequestOptions {
    model: "their-model",
    stream: false,
    default_max_tokens: 4_096,
    accepts: Accepts {
        sampling: true,
        effort: false,
        schema: false,
    },
};

const ANSWER: AnswerOptions<'static> = AnswerOptions {
    model: "asked-for",
    id: "7",
    created: 1_741_570_283,
};

/// A request translated: what is sent, and what is named.
fn sent(from: Protocol, to: Protocol, body: &Value) -> Result<(Value, Vec<&'static str>), Untranslatable> {
    let Translated { body, dropped } = super::request(from, to, body.to_string().as_bytes(), &REQUEST)?;
    Ok((parsed(&body), dropped))
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(bytes)))
}
