//! Reads the messages of a request.

use std::borrow::Cow;

use super::super::Untranslatable;
use super::super::conversation::{Call, MediaKind, Part, Role, Source, ToolResult, Turn};
use super::super::drops::Drops;
use super::super::media;
use super::super::node::{Node, must, need};

/// The turns that an array of messages is.
pub(super) fn turns<'a>(messages: Node<'a>, drops: &mut Drops) -> Result<Vec<Turn<'a>>, Untranslatable> {
    messages
        .need_items("messages")?
        .map(|message| turn(message, drops))
        .collect()
}

/// The members of a message.
#[derive(Default)]
struct Message<'a> {
    role: Option<Cow<'a, str>>,
    parts: Vec<Part<'a>>,
    calls: Vec<Part<'a>>,
    answers: Option<Cow<'a, str>>,
}

fn turn<'a>(value: Node<'a>, drops: &mut Drops) -> Result<Turn<'a>, Untranslatable> {
    let mut message = Message::default();
    for (name, value) in value.need_members("messages[]")? {
        message.member(&name, value, drops)?;
    }
    let role = need(message.role.take(), "messages[].role")?;
    message.turn(&role)
}

impl<'a> Message<'a> {
    fn member(&mut self, name: &[u8], value: Node<'a>, drops: &mut Drops) -> Result<(), Untranslatable> {
        match name {
            b"role" => self.role = Some(value.need_text("messages[].role")?),
            b"content" => content(value, &mut self.parts, drops)?,
            b"refusal" => self
                .parts
                .push(Part::Text(value.need_text("messages[].refusal")?)),
            b"tool_calls" => {
                for call in value.need_items("messages[].tool_calls")? {
                    self.calls.push(Part::Call(tool_call(call)?));
                }
            }
            b"tool_call_id" => self.answers = Some(value.need_text("messages[].tool_call_id")?),
            b"name" => drops.name("messages[].name"),
            b"reasoning_content" | b"reasoning" | b"reasoning_details" => {
                drops.name("messages[].reasoning_content")
            }
            b"audio" => return Err(must("messages[].audio", "can't be translated")),
            b"function_call" => {
                return Err(must(
                    "messages[].function_call",
                    "is deprecated; tool_calls can be translated",
                ));
            }
            b"annotations" => drops.name_if(value.items().next().is_some(), "messages[].annotations"),
            _ => drops.name("messages[].(unknown field)"),
        }
        Ok(())
    }

    fn turn(mut self, role: &str) -> Result<Turn<'a>, Untranslatable> {
        let role = match role {
            "system" | "developer" => Role::System,
            "user" => Role::User,
            "assistant" => {
                self.parts.append(&mut self.calls);
                Role::Assistant
            }
            "tool" => return self.result(),
            _ => return Err(must("messages[].role", "isn't known")),
        };
        let fits = role != Role::System || self.parts.iter().all(|part| matches!(part, Part::Text(_)));
        if !fits {
            return Err(must("messages[].content", "of a system message must be text"));
        }
        Ok(Turn {
            role,
            parts: self.parts,
        })
    }

    fn result(self) -> Result<Turn<'a>, Untranslatable> {
        let result = ToolResult {
            id: need(self.answers, "messages[].tool_call_id")?,
            parts: self.parts,
            failed: false,
        };
        Ok(Turn {
            role: Role::User,
            parts: vec![Part::Result(result)],
        })
    }
}

fn content<'a>(value: Node<'a>, parts: &mut Vec<Part<'a>>, drops: &mut Drops) -> Result<(), Untranslatable> {
    if let Some(text) = value.text() {
        parts.push(Part::Text(text));
        return Ok(());
    }
    for item in value.need_items("messages[].content")? {
        parts.push(part(item, drops)?);
    }
    Ok(())
}

fn part<'a>(value: Node<'a>, drops: &mut Drops) -> Result<Part<'a>, Untranslatable> {
    value.need_members("messages[].content[]")?;
    let kind = need(value.member("type"), "messages[].content[].type")?;
    match &*kind.need_text("messages[].content[].type")? {
        "text" => said(value, "text", "messages[].content[].text"),
        "refusal" => said(value, "refusal", "messages[].content[].refusal"),
        "image_url" => image(
            need(value.member("image_url"), "messages[].content[].image_url")?,
            drops,
        ),
        "file" => file(need(value.member("file"), "messages[].content[].file")?, drops),
        "input_audio" => Err(must("messages[].content[].input_audio", "can't be translated")),
        _ => Err(must("messages[].content[].type", "isn't known")),
    }
}

fn said<'a>(value: Node<'a>, member: &str, field: &'static str) -> Result<Part<'a>, Untranslatable> {
    Ok(Part::Text(need(value.member(member), field)?.need_text(field)?))
}

fn image<'a>(value: Node<'a>, drops: &mut Drops) -> Result<Part<'a>, Untranslatable> {
    let url = need(value.member("url"), "messages[].content[].image_url.url")?;
    let url = url.need_text("messages[].content[].image_url.url")?;
    let detail = value.text_of("detail");
    drops.name_if(
        detail.is_some_and(|detail| detail != "auto"),
        "messages[].content[].image_url.detail",
    );
    let media = media::of_url(url, MediaKind::Image);
    media.map(Part::Media).ok_or_else(|| {
        must(
            "messages[].content[].image_url.url",
            "must be http(s) or data in base64",
        )
    })
}

fn file<'a>(value: Node<'a>, drops: &mut Drops) -> Result<Part<'a>, Untranslatable> {
    const FIELD: &str = "messages[].content[].file.file_data";
    let Some(data) = value.member("file_data") else {
        return Err(must(
            "messages[].content[].file",
            "only file_data can be translated",
        ));
    };
    drops.name_if(
        value.member("filename").is_some(),
        "messages[].content[].file.filename",
    );
    let media = media::of_url(data.need_text(FIELD)?, MediaKind::Document);
    let media = media.filter(|media| matches!(media.source, Source::Data { .. }));
    media
        .map(Part::Media)
        .ok_or_else(|| must(FIELD, "must be a data URL in base64"))
}

/// A call of an earlier turn, whose arguments must be JSON by now.
fn tool_call(value: Node<'_>) -> Result<Call<'_>, Untranslatable> {
    const ARGUMENTS: &str = "messages[].tool_calls[].function.arguments";
    value.need_members("messages[].tool_calls[]")?;
    let function = need(value.member("function"), "messages[].tool_calls[].function")?;
    let id = need(value.member("id"), "messages[].tool_calls[].id")?;
    let name = need(function.member("name"), "messages[].tool_calls[].function.name")?;
    let arguments = match function.member("arguments") {
        Some(text) => text.need_text(ARGUMENTS)?,
        None => Cow::Borrowed(""),
    };
    Ok(Call {
        id: id.need_text("messages[].tool_calls[].id")?,
        name: name.need_text("messages[].tool_calls[].function.name")?,
        arguments: arguments_text(arguments).ok_or_else(|| must(ARGUMENTS, "must be a JSON object"))?,
    })
}

/// The object that arguments are; none when they aren't one. Nothing stands for no arguments.
pub(super) fn arguments_text(text: Cow<'_, str>) -> Option<Cow<'_, [u8]>> {
    if text.trim().is_empty() {
        return Some(Cow::Borrowed(b"{}"));
    }
    let is_object = Node::parse(text.as_bytes()).is_ok_and(Node::is_object);
    is_object.then(|| match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}
