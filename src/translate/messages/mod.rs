//! Anthropic's messages (<https://platform.claude.com/docs/en/api/messages>, `/build-with-claude/streaming`).

pub(super) mod answer;
mod block;
pub(super) mod listener;
pub(super) mod prompt;
pub(super) mod reply;
pub(super) mod request;
pub(super) mod speaker;

use super::out::Object;
use crate::dialect::Usage;

/// The tool that stands for a JSON schema of the output: its arguments are the answer's text. Reserved: a client's own
/// tool of this name can't be translated.
const OUTPUT_TOOL: &str = "respond_in_json";

/// The members of `usage`. Cached tokens are beside `input_tokens`.
fn usage(o: &mut Object<'_>, usage: Usage) {
    let cached = usage.cached_input.saturating_add(usage.cache_write);
    o.number("input_tokens", usage.input.saturating_sub(cached));
    o.number("cache_creation_input_tokens", usage.cache_write);
    o.number("cache_read_input_tokens", usage.cached_input);
    o.number("output_tokens", usage.output);
}
