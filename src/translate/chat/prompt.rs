//! Writes a request.

use super::super::conversation::{
    Call, Choice, Conversation, Effort, Format, Media, MediaKind, Part, Role, Settings, Source, Tool,
    ToolResult, Turn,
};
use super::super::drops::Drops;
use super::super::node::must;
use super::super::out::{self, Array, Object};
use super::super::turns::{self, PREFILLED};
use super::super::{RequestOptions, Untranslatable, id, media};

/// How many stop sequences OpenAI takes.
const STOPS: usize = 4;

/// Writes the body.
pub(in super::super) fn write(
    mut asked: Conversation<'_>,
    options: &RequestOptions<'_>,
    drops: &mut Drops,
) -> Result<Vec<u8>, Untranslatable> {
    if asked
        .turns
        .last()
        .is_some_and(|turn| turn.role == Role::Assistant)
    {
        return Err(PREFILLED);
    }
    turns::texts_in_results(&mut asked.turns, drops);
    check(&asked.turns, drops)?;
    let mut body = out::text(|o| {
        o.text("model", options.model);
        o.array("messages", |a| {
            asked.turns.iter().for_each(|turn| message(a, turn))
        });
        tools(o, &asked);
        settings(o, &asked.settings, options, drops);
        format(o, &asked.format);
        if let Some(user) = &asked.user {
            o.text("user", user);
        }
        if options.stream {
            o.boolean("stream", true);
            o.object("stream_options", |o| o.boolean("include_usage", true));
        }
    });
    body.shrink_to_fit();
    Ok(body)
}

/// What can't be written of the turns.
fn check(turns: &[Turn<'_>], drops: &mut Drops) -> Result<(), Untranslatable> {
    for part in turns.iter().flat_map(|turn| &turn.parts) {
        match part {
            Part::Result(result) => drops.name_if(result.failed, "messages[].content[].is_error"),
            Part::Media(Media {
                kind: MediaKind::Document,
                source: Source::Url(_),
            }) => {
                return Err(must(
                    "messages[].content[].source",
                    "a document must be given as data",
                ));
            }
            Part::Media(_) | Part::Text(_) | Part::Call(_) => {}
        }
    }
    Ok(())
}

fn message(a: &mut Array<'_>, turn: &Turn<'_>) {
    match turn.role {
        Role::System => system(a, turn),
        Role::User => user(a, turn),
        Role::Assistant => a.object(|o| assistant(o, &turn.parts)),
    }
}

fn system(a: &mut Array<'_>, turn: &Turn<'_>) {
    for part in &turn.parts {
        if let Part::Text(text) = part {
            a.object(|o| {
                o.text("role", "system");
                o.text("content", text);
            });
        }
    }
}

/// Results of tools come first, each a message.
fn user(a: &mut Array<'_>, turn: &Turn<'_>) {
    let mut said: Vec<&Part<'_>> = Vec::new();
    for part in &turn.parts {
        match part {
            Part::Result(result) => a.object(|o| tool(o, result)),
            Part::Text(_) | Part::Media(_) | Part::Call(_) => said.push(part),
        }
    }
    if !said.is_empty() {
        a.object(|o| {
            o.text("role", "user");
            content(o, &said);
        });
    }
}

fn tool(o: &mut Object<'_>, result: &ToolResult<'_>) {
    o.text("role", "tool");
    o.text("tool_call_id", &id::portable(&result.id));
    content(o, &result.parts.iter().collect::<Vec<_>>());
}

fn assistant(o: &mut Object<'_>, parts: &[Part<'_>]) {
    o.text("role", "assistant");
    let (calls, said): (Vec<_>, Vec<_>) = parts.iter().partition(|part| matches!(part, Part::Call(_)));
    if said.is_empty() && !calls.is_empty() {
        o.null("content");
    } else {
        content(o, &said);
    }
    if !calls.is_empty() {
        o.array("tool_calls", |a| {
            for part in calls {
                if let Part::Call(call) = part {
                    a.object(|o| tool_call(o, call));
                }
            }
        });
    }
}

/// A call, as requests and answers have it.
pub(super) fn tool_call(o: &mut Object<'_>, call: &Call<'_>) {
    o.text("id", &id::portable(&call.id));
    o.text("type", "function");
    o.object("function", |o| {
        o.text("name", &call.name);
        o.text("arguments", &String::from_utf8_lossy(&call.arguments));
    });
}

/// One text is a string, everything else parts.
fn content(o: &mut Object<'_>, parts: &[&Part<'_>]) {
    match parts {
        [] => o.text("content", ""),
        [Part::Text(text)] => o.text("content", text),
        parts => o.array("content", |a| parts.iter().for_each(|part| piece(a, part))),
    }
}

fn piece(a: &mut Array<'_>, part: &Part<'_>) {
    match part {
        Part::Text(text) => a.object(|o| {
            o.text("type", "text");
            o.text("text", text);
        }),
        Part::Media(media) => a.object(|o| medium(o, media)),
        Part::Call(_) | Part::Result(_) => {}
    }
}

fn medium(o: &mut Object<'_>, media: &Media<'_>) {
    let url = media::url(&media.source);
    match media.kind {
        MediaKind::Image => {
            o.text("type", "image_url");
            o.object("image_url", |o| o.text("url", &url));
        }
        MediaKind::Document => {
            o.text("type", "file");
            o.object("file", |o| {
                o.text("filename", "document.pdf");
                o.text("file_data", &url);
            });
        }
    }
}

fn tools(o: &mut Object<'_>, asked: &Conversation<'_>) {
    if asked.tools.is_empty() {
        return;
    }
    o.array("tools", |a| {
        for tool in &asked.tools {
            a.object(|o| {
                o.text("type", "function");
                o.object("function", |o| function(o, tool));
            });
        }
    });
    match &asked.choice {
        Choice::Auto => {}
        Choice::None => o.text("tool_choice", "none"),
        Choice::Any => o.text("tool_choice", "required"),
        Choice::Named(name) => o.object("tool_choice", |o| {
            o.text("type", "function");
            o.object("function", |o| o.text("name", name));
        }),
    }
    if asked.one_call {
        o.boolean("parallel_tool_calls", false);
    }
}

fn function(o: &mut Object<'_>, tool: &Tool<'_>) {
    o.text("name", &tool.name);
    if let Some(description) = &tool.description {
        o.text("description", description);
    }
    if let Some(schema) = tool.schema {
        o.raw("parameters", schema);
    }
    if tool.strict {
        o.boolean("strict", true);
    }
}

fn settings(o: &mut Object<'_>, set: &Settings<'_>, options: &RequestOptions<'_>, drops: &mut Drops) {
    if let Some(bound) = set.max_tokens {
        o.number("max_completion_tokens", bound);
    }
    let sampling = [("temperature", set.temperature), ("top_p", set.top_p)];
    for (name, value) in sampling {
        match value {
            Some(value) if options.accepts.sampling => o.raw(name, value.as_bytes()),
            Some(_) => drops.name(name),
            None => {}
        }
    }
    drops.name_if(set.top_k.is_some(), "top_k");
    drops.name_if(set.stop.len() > STOPS, "stop_sequences (all but four)");
    if !set.stop.is_empty() {
        o.array("stop", |a| {
            set.stop.iter().take(STOPS).for_each(|text| a.text(text))
        });
    }
    match set.effort {
        Some(effort) if options.accepts.effort => o.text("reasoning_effort", word(effort)),
        Some(_) => drops.name("output_config.effort"),
        None => {}
    }
}

fn word(effort: Effort) -> &'static str {
    match effort {
        Effort::None => "none",
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::Higher | Effort::Max => "xhigh",
    }
}

/// A schema isn't called strict even if it was guaranteed by the other protocol: OpenAI refuses strict schemas with
/// members that aren't required.
fn format(o: &mut Object<'_>, format: &Format<'_>) {
    match format {
        Format::Text => {}
        Format::Json => o.object("response_format", |o| o.text("type", "json_object")),
        Format::Schema {
            name,
            description,
            schema,
            strict,
        } => o.object("response_format", |o| {
            o.text("type", "json_schema");
            o.object("json_schema", |o| {
                o.text("name", name);
                if let Some(description) = description {
                    o.text("description", description);
                }
                o.raw("schema", schema);
                o.boolean("strict", *strict);
            });
        }),
    }
}
