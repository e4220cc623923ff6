//! Reads the content blocks of a request.

use std::borrow::Cow;

use super::super::Untranslatable;
use super::super::conversation::{Call, Media, MediaKind, Part, Source, ToolResult};
use super::super::drops::Drops;
use super::super::node::{Node, must, need};

/// Reads a content, which is a string or blocks.
pub(super) fn content<'a>(
    value: Node<'a>,
    parts: &mut Vec<Part<'a>>,
    drops: &mut Drops,
) -> Result<(), Untranslatable> {
    if let Some(text) = value.text() {
        parts.push(Part::Text(text));
        return Ok(());
    }
    for item in value.need_items("messages[].content")? {
        parts.extend(block(item, drops)?);
    }
    Ok(())
}

/// A block; none for a thought, which only its author can read.
fn block<'a>(value: Node<'a>, drops: &mut Drops) -> Result<Option<Part<'a>>, Untranslatable> {
    value.need_members("messages[].content[]")?;
    drops.name_if(
        value.member("cache_control").is_some(),
        "messages[].content[].cache_control",
    );
    let kind = need(value.member("type"), "messages[].content[].type")?;
    let part = match &*kind.need_text("messages[].content[].type")? {
        "text" => text(value, drops)?,
        "image" => Part::Media(image(value)?),
        "document" => document(value, drops)?,
        "tool_use" => Part::Call(call(value)?),
        "tool_result" => Part::Result(result(value, drops)?),
        "thinking" | "redacted_thinking" => {
            drops.name("messages[].content[].thinking");
            return Ok(None);
        }
        _ => {
            return Err(must(
                "messages[].content[].type",
                "has no equal in other protocols",
            ));
        }
    };
    Ok(Some(part))
}

fn text<'a>(value: Node<'a>, drops: &mut Drops) -> Result<Part<'a>, Untranslatable> {
    let cited = value
        .member("citations")
        .is_some_and(|list| list.items().next().is_some());
    drops.name_if(cited, "messages[].content[].citations");
    let text = need(value.member("text"), "messages[].content[].text")?;
    Ok(Part::Text(text.need_text("messages[].content[].text")?))
}

fn image(value: Node<'_>) -> Result<Media<'_>, Untranslatable> {
    Ok(Media {
        kind: MediaKind::Image,
        source: source(need(value.member("source"), "messages[].content[].source")?)?,
    })
}

fn source(value: Node<'_>) -> Result<Source<'_>, Untranslatable> {
    value.need_members("messages[].content[].source")?;
    match value.text_of("type").as_deref() {
        Some("base64") => {
            let media_type = need(
                value.member("media_type"),
                "messages[].content[].source.media_type",
            )?;
            let base64 = need(value.member("data"), "messages[].content[].source.data")?;
            Ok(Source::Data {
                media_type: media_type.need_text("messages[].content[].source.media_type")?,
                base64: base64.need_text("messages[].content[].source.data")?,
            })
        }
        Some("url") => {
            let url = need(value.member("url"), "messages[].content[].source.url")?;
            Ok(Source::Url(url.need_text("messages[].content[].source.url")?))
        }
        Some(_) | None => Err(must("messages[].content[].source.type", "must be base64 or url")),
    }
}

/// A document; one of plain text is that text.
fn document<'a>(value: Node<'a>, drops: &mut Drops) -> Result<Part<'a>, Untranslatable> {
    let told = value
        .member("title")
        .or(value.member("context"))
        .or(value.member("citations"));
    drops.name_if(
        told.is_some(),
        "messages[].content[].(title and context and citations of a document)",
    );
    let from = need(value.member("source"), "messages[].content[].source")?;
    if from.text_of("type").as_deref() == Some("text") {
        let data = need(from.member("data"), "messages[].content[].source.data")?;
        return Ok(Part::Text(data.need_text("messages[].content[].source.data")?));
    }
    Ok(Part::Media(Media {
        kind: MediaKind::Document,
        source: source(from)?,
    }))
}

fn call(value: Node<'_>) -> Result<Call<'_>, Untranslatable> {
    let id = need(value.member("id"), "messages[].content[].id")?;
    let name = need(value.member("name"), "messages[].content[].name")?;
    let input = match value.member("input") {
        Some(input) => input.need_object("messages[].content[].input")?.raw(),
        None => b"{}",
    };
    Ok(Call {
        id: id.need_text("messages[].content[].id")?,
        name: name.need_text("messages[].content[].name")?,
        arguments: Cow::Borrowed(input),
    })
}

fn result<'a>(value: Node<'a>, drops: &mut Drops) -> Result<ToolResult<'a>, Untranslatable> {
    let id = need(value.member("tool_use_id"), "messages[].content[].tool_use_id")?;
    let mut parts = Vec::new();
    if let Some(said) = value.member("content") {
        result_content(said, &mut parts, drops)?;
    }
    let failed = value
        .member("is_error")
        .map(|flag| flag.need_boolean("messages[].content[].is_error"));
    Ok(ToolResult {
        id: id.need_text("messages[].content[].tool_use_id")?,
        parts,
        failed: failed.transpose()?.unwrap_or(false),
    })
}

/// Texts and media: calls and results in a result can't be, so nothing nests without end.
fn result_content<'a>(
    said: Node<'a>,
    parts: &mut Vec<Part<'a>>,
    drops: &mut Drops,
) -> Result<(), Untranslatable> {
    if let Some(text) = said.text() {
        parts.push(Part::Text(text));
        return Ok(());
    }
    for item in said.need_items("messages[].content[].content")? {
        item.need_members("messages[].content[].content[]")?;
        parts.push(match item.text_of("type").as_deref() {
            Some("text") => text(item, drops)?,
            Some("image") => Part::Media(image(item)?),
            Some("document") => document(item, drops)?,
            Some(_) | None => {
                return Err(must(
                    "messages[].content[].content[].type",
                    "has no equal in other protocols",
                ));
            }
        });
    }
    Ok(())
}
