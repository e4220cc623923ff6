//! Reads a request: everything but its blocks.

use super::super::Untranslatable;
use super::super::conversation::{Choice, Conversation, Effort, Format, Part, Role, Settings, Tool, Turn};
use super::super::drops::Drops;
use super::super::node::{Node, must, need};
use super::block;

/// The name that OpenAI wants for a schema and Anthropic doesn't.
const SCHEMA: &str = "output";

/// Reads the body.
pub(in super::super) fn read<'a>(
    body: Node<'a>,
    drops: &mut Drops,
) -> Result<Conversation<'a>, Untranslatable> {
    let mut asked = Conversation::default();
    let (mut system, mut messages) = (None, None);
    for (name, value) in body.need_members("")? {
        match &*name {
            b"system" => system = Some(instructions(value, drops)?),
            b"messages" => messages = Some(turns(value, drops)?),
            b"tools" => asked.tools = tools(value, drops)?,
            b"tool_choice" => choice(value, &mut asked)?,
            b"output_config" => output(value, &mut asked, drops)?,
            b"metadata" => metadata(value, &mut asked, drops)?,
            // The model's name and the transport are the caller's to say.
            b"model" | b"stream" => {}
            name => {
                if !setting(&mut asked.settings, name, value)? {
                    refuse_or_drop(name, value, drops)?;
                }
            }
        }
    }
    asked.turns = need(messages, "messages")?;
    if let Some(turn) = system {
        asked.turns.insert(0, turn);
    }
    match need(asked.settings.max_tokens, "max_tokens")? {
        0 => Err(must("max_tokens", "0 fills Anthropic's cache only")),
        _ => Ok(asked),
    }
}

/// Reads what belongs to the settings; answers whether it did.
fn setting<'a>(to: &mut Settings<'a>, name: &[u8], value: Node<'a>) -> Result<bool, Untranslatable> {
    match name {
        b"max_tokens" => to.max_tokens = Some(value.need_unsigned("max_tokens")?),
        b"temperature" => to.temperature = Some(value.need_number("temperature")?),
        b"top_p" => to.top_p = Some(value.need_number("top_p")?),
        b"top_k" => to.top_k = Some(value.need_number("top_k")?),
        b"stop_sequences" => {
            let items = value.need_items("stop_sequences")?;
            to.stop = items
                .map(|item| item.need_text("stop_sequences[]"))
                .collect::<Result<_, _>>()?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// What has no place in any other protocol.
fn refuse_or_drop(name: &[u8], value: Node<'_>, drops: &mut Drops) -> Result<(), Untranslatable> {
    match name {
        b"mcp_servers" => return Err(must("mcp_servers", "runs at Anthropic only")),
        b"container" => return Err(must("container", "lives at Anthropic only")),
        b"thinking" => drops.name_if(value.text_of("type").as_deref() != Some("disabled"), "thinking"),
        b"service_tier" => drops.name_if(value.text().as_deref() != Some("auto"), "service_tier"),
        other => drops.name(dropped(other)),
    }
    Ok(())
}

fn dropped(name: &[u8]) -> &'static str {
    const KNOWN: [&str; 7] = [
        "cache_control",
        "context_management",
        "diagnostics",
        "inference_geo",
        "speed",
        "user_profile_id",
        "workspace_id",
    ];
    let known = KNOWN.into_iter().find(|known| known.as_bytes() == name);
    known.unwrap_or("(unknown field)")
}

fn instructions<'a>(value: Node<'a>, drops: &mut Drops) -> Result<Turn<'a>, Untranslatable> {
    let mut parts = Vec::new();
    block::content(value, &mut parts, drops)?;
    if !parts.iter().all(|part| matches!(part, Part::Text(_))) {
        return Err(must("system", "must be text"));
    }
    Ok(Turn {
        role: Role::System,
        parts,
    })
}

fn turns<'a>(messages: Node<'a>, drops: &mut Drops) -> Result<Vec<Turn<'a>>, Untranslatable> {
    messages
        .need_items("messages")?
        .map(|message| turn(message, drops))
        .collect()
}

fn turn<'a>(message: Node<'a>, drops: &mut Drops) -> Result<Turn<'a>, Untranslatable> {
    message.need_members("messages[]")?;
    let content = need(message.member("content"), "messages[].content")?;
    let role = need(message.member("role"), "messages[].role")?;
    let role = match &*role.need_text("messages[].role")? {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => return instructions(content, drops),
        _ => return Err(must("messages[].role", "must be user, assistant or system")),
    };
    let mut parts = Vec::new();
    block::content(content, &mut parts, drops)?;
    Ok(Turn { role, parts })
}

fn tools<'a>(value: Node<'a>, drops: &mut Drops) -> Result<Vec<Tool<'a>>, Untranslatable> {
    value.need_items("tools")?.map(|item| tool(item, drops)).collect()
}

fn tool<'a>(value: Node<'a>, drops: &mut Drops) -> Result<Tool<'a>, Untranslatable> {
    let (mut name, mut description, mut schema, mut strict) = (None, None, None, false);
    for (field, value) in value.need_members("tools[]")? {
        match &*field {
            b"type" if value.text().as_deref() != Some("custom") => {
                return Err(must("tools[].type", "runs at Anthropic only"));
            }
            b"type" => {}
            b"name" => name = Some(value.need_text("tools[].name")?),
            b"description" => description = Some(value.need_text("tools[].description")?),
            b"input_schema" => schema = Some(value.need_object("tools[].input_schema")?.raw()),
            b"strict" => strict = value.need_boolean("tools[].strict")?,
            b"cache_control" => drops.name("tools[].cache_control"),
            b"input_examples" => drops.name("tools[].input_examples"),
            b"defer_loading" | b"eager_input_streaming" | b"allowed_callers" => {
                drops.name("tools[].(how it is loaded and called)");
            }
            _ => drops.name("tools[].(unknown field)"),
        }
    }
    Ok(Tool {
        name: need(name, "tools[].name")?,
        description,
        schema: Some(need(schema, "tools[].input_schema")?),
        strict,
    })
}

fn choice<'a>(value: Node<'a>, asked: &mut Conversation<'a>) -> Result<(), Untranslatable> {
    value.need_members("tool_choice")?;
    asked.choice = match value.text_of("type").as_deref() {
        Some("auto") => Choice::Auto,
        Some("any") => Choice::Any,
        Some("none") => Choice::None,
        Some("tool") => {
            let name = need(value.member("name"), "tool_choice.name")?;
            Choice::Named(name.need_text("tool_choice.name")?)
        }
        Some(_) | None => return Err(must("tool_choice.type", "must be auto, any, tool or none")),
    };
    if let Some(alone) = value.member("disable_parallel_tool_use") {
        asked.one_call = alone.need_boolean("tool_choice.disable_parallel_tool_use")?;
    }
    Ok(())
}

fn output<'a>(
    value: Node<'a>,
    asked: &mut Conversation<'a>,
    drops: &mut Drops,
) -> Result<(), Untranslatable> {
    for (name, value) in value.need_members("output_config")? {
        match &*name {
            b"effort" => {
                let effort = Effort::of(&value.need_text("output_config.effort")?);
                asked.settings.effort =
                    Some(effort.ok_or_else(|| must("output_config.effort", "isn't known"))?);
            }
            b"format" => asked.format = format(value)?,
            _ => drops.name("output_config.(unknown field)"),
        }
    }
    Ok(())
}

fn format(value: Node<'_>) -> Result<Format<'_>, Untranslatable> {
    value.need_members("output_config.format")?;
    if value.text_of("type").as_deref() != Some("json_schema") {
        return Err(must("output_config.format.type", "must be json_schema"));
    }
    let schema = need(value.member("schema"), "output_config.format.schema")?;
    Ok(Format::Schema {
        name: SCHEMA.into(),
        description: None,
        schema: schema.need_object("output_config.format.schema")?.raw(),
        strict: false,
    })
}

fn metadata<'a>(
    value: Node<'a>,
    asked: &mut Conversation<'a>,
    drops: &mut Drops,
) -> Result<(), Untranslatable> {
    for (name, value) in value.need_members("metadata")? {
        match &*name {
            b"user_id" => asked.user = Some(value.need_text("metadata.user_id")?),
            _ => drops.name("metadata.(unknown field)"),
        }
    }
    Ok(())
}
