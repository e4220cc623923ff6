//! OpenAI's chat completions
//! (<https://platform.openai.com/docs/api-reference/chat/create>, `/chat/object`, `/chat-streaming`).

pub(super) mod answer;
pub(super) mod listener;
mod message;
pub(super) mod prompt;
pub(super) mod reply;
pub(super) mod request;
pub(super) mod speaker;

use super::out::Object;
use crate::dialect::Usage;

/// The members of `usage`. Cached tokens are inside `prompt_tokens`.
fn usage(o: &mut Object<'_>, usage: Usage) {
    o.number("prompt_tokens", usage.input);
    o.number("completion_tokens", usage.output);
    o.number("total_tokens", usage.input.saturating_add(usage.output));
    o.object("prompt_tokens_details", |o| {
        o.number("cached_tokens", usage.cached_input);
        if usage.cache_write > 0 {
            o.number("cache_write_tokens", usage.cache_write);
        }
        o.number("audio_tokens", 0);
    });
    o.object("completion_tokens_details", |o| {
        o.number("reasoning_tokens", usage.reasoning);
        o.number("audio_tokens", 0);
        o.number("accepted_prediction_tokens", 0);
        o.number("rejected_prediction_tokens", 0);
    });
}
