//! Reads a request: everything but its messages.

use std::borrow::Cow;

use super::super::Untranslatable;
use super::super::conversation::{Choice, Conversation, Effort, Format, Settings, Tool};
use super::super::drops::Drops;
use super::super::node::{Node, must, need};
use super::message;

/// Reads the body.
pub(in super::super) fn read<'a>(
    body: Node<'a>,
    drops: &mut Drops,
) -> Result<Conversation<'a>, Untranslatable> {
    let mut asked = Conversation::default();
    let mut messages = None;
    for (name, value) in body.need_members("")? {
        match &*name {
            b"messages" => messages = Some(message::turns(value, drops)?),
            b"tools" => asked.tools = tools(value)?,
            b"tool_choice" => asked.choice = choice(value)?,
            b"parallel_tool_calls" => asked.one_call = !value.need_boolean("parallel_tool_calls")?,
            b"response_format" => asked.format = format(value)?,
            b"user" => asked.user = Some(value.need_text("user")?),
            b"safety_identifier" => {
                let named = value.need_text("safety_identifier")?;
                asked.user.get_or_insert(named);
            }
            // The model's name and the transport are the caller's to say.
            b"model" | b"stream" | b"stream_options" => {}
            name => {
                if !setting(&mut asked.settings, name, value)? {
                    refuse_or_drop(name, value, drops)?;
                }
            }
        }
    }
    asked.turns = need(messages, "messages")?;
    Ok(asked)
}

/// Reads what belongs to the settings; answers whether it did.
fn setting<'a>(to: &mut Settings<'a>, name: &[u8], value: Node<'a>) -> Result<bool, Untranslatable> {
    match name {
        b"max_completion_tokens" => to.max_tokens = Some(value.need_unsigned("max_completion_tokens")?),
        b"max_tokens" => {
            let bound = value.need_unsigned("max_tokens")?;
            to.max_tokens.get_or_insert(bound);
        }
        b"temperature" => to.temperature = Some(value.need_number("temperature")?),
        b"top_p" => to.top_p = Some(value.need_number("top_p")?),
        b"presence_penalty" => to.presence_penalty = Some(value.need_number("presence_penalty")?),
        b"frequency_penalty" => to.frequency_penalty = Some(value.need_number("frequency_penalty")?),
        b"seed" => to.seed = Some(value.need_number("seed")?),
        b"stop" => to.stop = stop(value)?,
        b"reasoning_effort" => {
            let name = value.need_text("reasoning_effort")?;
            to.effort = Some(Effort::of(&name).ok_or_else(|| must("reasoning_effort", "isn't known"))?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn stop(value: Node<'_>) -> Result<Vec<Cow<'_, str>>, Untranslatable> {
    match value.text() {
        Some(one) => Ok(vec![one]),
        None => value
            .need_items("stop")?
            .map(|item| item.need_text("stop[]"))
            .collect(),
    }
}

/// What has no place in any other protocol.
fn refuse_or_drop(name: &[u8], value: Node<'_>, drops: &mut Drops) -> Result<(), Untranslatable> {
    match name {
        b"n" if value.need_unsigned("n")? != 1 => return Err(must("n", "only one answer can be had")),
        b"modalities" if speaks(value) => return Err(must("modalities", "only text can be had")),
        b"functions" | b"function_call" => {
            return Err(must("functions", "is deprecated; tools can be translated"));
        }
        b"n" | b"modalities" => {}
        b"service_tier" => drops.name_if(!is_usual_tier(value), "service_tier"),
        b"logprobs" => drops.name_if(value.boolean() != Some(false), "logprobs"),
        b"store" => drops.name_if(value.boolean() != Some(false), "store"),
        other => drops.name(dropped(other)),
    }
    Ok(())
}

fn dropped(name: &[u8]) -> &'static str {
    const KNOWN: [&str; 13] = [
        "audio",
        "logit_bias",
        "metadata",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "top_logprobs",
        "top_k",
        "verbosity",
        "web_search_options",
        "reasoning",
    ];
    let known = KNOWN.into_iter().find(|known| known.as_bytes() == name);
    known.unwrap_or("(unknown field)")
}

fn speaks(modalities: Node<'_>) -> bool {
    modalities
        .items()
        .any(|item| item.text().as_deref() != Some("text"))
}

fn is_usual_tier(value: Node<'_>) -> bool {
    matches!(value.text().as_deref(), Some("auto" | "default"))
}

fn tools(value: Node<'_>) -> Result<Vec<Tool<'_>>, Untranslatable> {
    value.need_items("tools")?.map(tool).collect()
}

fn tool(value: Node<'_>) -> Result<Tool<'_>, Untranslatable> {
    value.need_members("tools[]")?;
    if value.text_of("type").is_some_and(|kind| kind != "function") {
        return Err(must("tools[].type", "only functions can be translated"));
    }
    let function = need(value.member("function"), "tools[].function")?;
    let (mut name, mut description, mut schema, mut strict) = (None, None, None, false);
    for (field, value) in function.need_members("tools[].function")? {
        match &*field {
            b"name" => name = Some(value.need_text("tools[].function.name")?),
            b"description" => description = Some(value.need_text("tools[].function.description")?),
            b"parameters" => schema = Some(value.need_object("tools[].function.parameters")?.raw()),
            b"strict" => strict = value.need_boolean("tools[].function.strict")?,
            _ => {}
        }
    }
    Ok(Tool {
        name: need(name, "tools[].function.name")?,
        description,
        schema,
        strict,
    })
}

fn choice(value: Node<'_>) -> Result<Choice<'_>, Untranslatable> {
    const UNKNOWN: Untranslatable = Untranslatable {
        field: "tool_choice",
        reason: "must be none, auto, required or a function",
    };
    if let Some(word) = value.text() {
        return match &*word {
            "auto" => Ok(Choice::Auto),
            "none" => Ok(Choice::None),
            "required" => Ok(Choice::Any),
            _ => Err(UNKNOWN),
        };
    }
    let function = value.member("function").ok_or(UNKNOWN)?;
    let name = need(function.member("name"), "tool_choice.function.name")?;
    Ok(Choice::Named(name.need_text("tool_choice.function.name")?))
}

fn format(value: Node<'_>) -> Result<Format<'_>, Untranslatable> {
    value.need_members("response_format")?;
    match value.text_of("type").as_deref() {
        Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::Json),
        Some("json_schema") => schema(need(value.member("json_schema"), "response_format.json_schema")?),
        Some(_) | None => Err(must(
            "response_format.type",
            "must be text, json_object or json_schema",
        )),
    }
}

fn schema(value: Node<'_>) -> Result<Format<'_>, Untranslatable> {
    let (mut name, mut description, mut schema, mut strict) = (None, None, None, false);
    for (field, value) in value.need_members("response_format.json_schema")? {
        match &*field {
            b"name" => name = Some(value.need_text("response_format.json_schema.name")?),
            b"description" => description = Some(value.need_text("response_format.json_schema.description")?),
            b"schema" => schema = Some(value.need_object("response_format.json_schema.schema")?.raw()),
            b"strict" => strict = value.need_boolean("response_format.json_schema.strict")?,
            _ => {}
        }
    }
    Ok(Format::Schema {
        name: need(name, "response_format.json_schema.name")?,
        description,
        schema: schema.unwrap_or(b"{}"),
        strict,
    })
}
