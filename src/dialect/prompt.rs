//! Which parts of a request a provider bills as prompt.
//!
//! A walk over messages, input items and their parts, led by the names of members: text is collected as spans, images
//! as what they are, everything that is neither (identifiers, files, sound, signatures) is passed over. The walk
//! recurses only as deep as the lexer lets a text nest; what it collects is bounded.

use super::image;
use crate::json::{self, Fault, Lexer, Value};
use crate::tokens::{Prompt, ToolChoice};

/// More spans than this are merged (with the punctuation between them), so that a body of tiny strings stays cheap.
const TEXTS: usize = 65_536;

/// More images than this aren't told apart; no provider takes as many.
const IMAGES: usize = 4_096;

/// What a walk over a prompt finds.
#[derive(Clone, Debug, Default)]
pub(super) struct Found<'b> {
    /// What is billed.
    pub(super) prompt: Prompt<'b>,
    /// Something refers to what only one provider knows: a file, a stored item, a container.
    pub(super) pinned: bool,
    body: &'b [u8],
    /// Where the body goes on after the last span that is kept apart.
    merge_from: usize,
}

/// What an object among messages, items and parts turned out to be.
#[derive(Clone, Copy, Debug, Default)]
struct Part<'b> {
    kind: &'b [u8],
    detail: &'b [u8],
    image: Option<&'b [u8]>,
    source: Source<'b>,
    named: bool,
    /// It has the role of a function, whose name stands in the role's place.
    function: bool,
}

/// Where Anthropic's images and documents come from.
#[derive(Clone, Copy, Debug, Default)]
struct Source<'b> {
    kind: &'b [u8],
    data: Option<&'b [u8]>,
}

impl<'b> Found<'b> {
    /// Nothing yet, of this body.
    pub(super) fn new(body: &'b [u8]) -> Self {
        Self {
            body,
            ..Self::default()
        }
    }

    /// A string's content that the model will see; `json` has read it.
    pub(super) fn text(&mut self, json: &Lexer<'b>, raw: &'b [u8]) {
        if raw.is_empty() {
            return;
        }
        if self.prompt.texts.len() < TEXTS {
            self.prompt.texts.push(raw);
            self.merge_from = json.offset();
        } else if let Some(merged) = self.body.get(self.merge_from..json.offset()) {
            self.prompt.texts.truncate(TEXTS);
            self.prompt.texts.push(merged);
        }
    }

    /// An array of messages. Answers false when it isn't one.
    pub(super) fn messages(&mut self, json: &mut Lexer<'b>) -> Result<bool, Fault> {
        if json.value()? != Value::Array {
            return Ok(false);
        }
        while json.item()? {
            if json.value()? != Value::Object {
                return Ok(false);
            }
            let named = self.part(json)?;
            self.prompt.messages = self.prompt.messages.saturating_add(1);
            self.prompt.names = self.prompt.names.saturating_add(u32::from(named));
        }
        Ok(true)
    }

    /// The input of the Responses API: a string, or items.
    pub(super) fn items(&mut self, json: &mut Lexer<'b>) -> Result<(), Fault> {
        match json.value()? {
            Value::String(raw) => {
                self.text(json, raw);
                self.message_without_role();
            }
            Value::Array => {
                while json.item()? {
                    self.content(json)?;
                    self.prompt.messages = self.prompt.messages.saturating_add(1);
                }
            }
            other @ (Value::Object | Value::Number(_) | Value::Bool(_) | Value::Null) => {
                json.finish(other)?
            }
        }
        Ok(())
    }

    /// A message whose role the request needn't tell: it is one token.
    fn message_without_role(&mut self) {
        self.prompt.messages = self.prompt.messages.saturating_add(1);
        self.prompt.token_ids = self.prompt.token_ids.saturating_add(1);
    }

    /// Instructions to the model: what Responses puts before the input as a message, Anthropic as it is.
    pub(super) fn instructions(&mut self, json: &mut Lexer<'b>, message: bool) -> Result<(), Fault> {
        let before = self.prompt.texts.len();
        self.content(json)?;
        if self.prompt.texts.len() > before && message {
            self.prompt.system = true;
            self.message_without_role();
        }
        Ok(())
    }

    /// Texts or token numbers, one or many; answers how many prompts they are.
    pub(super) fn inputs(&mut self, json: &mut Lexer<'b>) -> Result<u32, Fault> {
        let value = json.value()?;
        if value != Value::Array {
            self.input(json, value)?;
            return Ok(1);
        }
        let (mut prompts, mut numbers) = (0u32, 0u64);
        while json.item()? {
            let value = json.value()?;
            if matches!(value, Value::Number(_)) {
                numbers = numbers.saturating_add(1);
            } else {
                prompts = prompts.saturating_add(1);
            }
            self.input(json, value)?;
        }
        Ok(prompts.saturating_add(u32::from(numbers > 0)).max(1))
    }

    /// What the request says about calling its tools, and the name of the one that it names.
    pub(super) fn choose(&mut self, choice: ToolChoice, name: &'b [u8]) {
        self.prompt.tools.choice = choice;
        if !name.is_empty() && self.prompt.texts.len() < TEXTS {
            self.prompt.texts.push(name);
        }
    }

    /// A string, parts, or an object that is a part.
    pub(super) fn content(&mut self, json: &mut Lexer<'b>) -> Result<(), Fault> {
        match json.value()? {
            Value::String(raw) => self.text(json, raw),
            Value::Array => {
                while json.item()? {
                    self.content(json)?;
                }
            }
            Value::Object => {
                self.part(json)?;
            }
            Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
        Ok(())
    }

    /// What the model is shown as the JSON that it is, but for members that are hidden from it.
    pub(super) fn shown(&mut self, json: &mut Lexer<'b>, hidden: &[&[u8]]) -> Result<(), Fault> {
        match json.value()? {
            Value::String(raw) | Value::Number(raw) => self.word(json, raw),
            Value::Array => {
                while json.item()? {
                    self.shown(json, hidden)?;
                }
            }
            Value::Object => {
                while let Some(name) = json.member()? {
                    if hidden.contains(&&*json::name(name)) {
                        json.skip()?;
                    } else {
                        self.word(json, name);
                        self.shown(json, hidden)?;
                    }
                }
            }
            Value::Bool(_) | Value::Null => self.prompt.json = self.prompt.json.saturating_add(2),
        }
        Ok(())
    }

    /// A name, string or number of JSON, with the punctuation that makes one token of both its sides.
    fn word(&mut self, json: &Lexer<'b>, raw: &'b [u8]) {
        self.text(json, raw);
        self.prompt.json = self.prompt.json.saturating_add(1);
    }

    /// Arguments: a string that the model sees as it is, or values.
    fn arguments(&mut self, json: &mut Lexer<'b>) -> Result<(), Fault> {
        let mut ahead = json.clone();
        if let Value::String(raw) = ahead.value()? {
            self.text(&ahead, raw);
            *json = ahead;
            return Ok(());
        }
        self.shown(json, &[])
    }

    fn input(&mut self, json: &mut Lexer<'b>, value: Value<'b>) -> Result<(), Fault> {
        match value {
            Value::String(raw) => self.text(json, raw),
            Value::Number(_) => self.prompt.token_ids = self.prompt.token_ids.saturating_add(1),
            Value::Array => {
                while json.item()? {
                    let value = json.value()?;
                    let number = matches!(value, Value::Number(_));
                    self.prompt.token_ids = self.prompt.token_ids.saturating_add(u64::from(number));
                    json.finish(value)?;
                }
            }
            Value::Object => {
                self.part(json)?;
            }
            Value::Bool(_) | Value::Null => {}
        }
        Ok(())
    }

    /// The rest of an object that has just begun; answers whether it carries a name.
    fn part(&mut self, json: &mut Lexer<'b>) -> Result<bool, Fault> {
        let mut part = Part::default();
        while let Some(name) = json.member()? {
            self.member(json, &json::name(name), &mut part)?;
        }
        self.close(json, part);
        Ok(part.named && !part.function)
    }

    fn member(&mut self, json: &mut Lexer<'b>, name: &[u8], part: &mut Part<'b>) -> Result<(), Fault> {
        match name {
            b"name" => {
                let before = self.prompt.texts.len();
                self.content(json)?;
                part.named = self.prompt.texts.len() > before;
                Ok(())
            }
            b"role" => self.role(json, part),
            b"function" | b"custom" | b"function_call" => self.call(json),
            b"input" | b"arguments" | b"action" => self.arguments(json),
            b"image_url" => self.image_url(json, part),
            b"source" => self.source(json, part),
            b"type" => string(json, &mut part.kind),
            b"detail" => string(json, &mut part.detail),
            b"file_id" | b"container_id" => self.pin(json),
            name if is_text(name) => self.content(json),
            _ => json.skip(),
        }
    }

    fn role(&mut self, json: &mut Lexer<'b>, part: &mut Part<'b>) -> Result<(), Fault> {
        let mut role: &[u8] = b"";
        string(json, &mut role)?;
        match &*json::name(role) {
            b"system" | b"developer" => self.prompt.system = true,
            b"function" => {
                part.function = true;
                return Ok(());
            }
            _ => {}
        }
        self.text(json, role);
        Ok(())
    }

    /// A call of a tool inside a message.
    fn call(&mut self, json: &mut Lexer<'b>) -> Result<(), Fault> {
        let value = json.value()?;
        if value != Value::Object {
            return json.finish(value);
        }
        self.prompt.calls = self.prompt.calls.saturating_add(1);
        self.part(json)?;
        Ok(())
    }

    fn close(&mut self, json: &Lexer<'b>, part: Part<'b>) {
        match &*json::name(part.kind) {
            b"tool_use" | b"server_tool_use" | b"mcp_tool_use" | b"function_call" | b"custom_tool_call" => {
                self.prompt.calls = self.prompt.calls.saturating_add(1);
            }
            b"image" | b"input_image" | b"image_url" | b"computer_screenshot" => {
                let source = part.image.or(part.source.data);
                self.image(image::image(source, part.detail));
            }
            b"item_reference" => self.pinned = true,
            b"document" => match (&*json::name(part.source.kind), part.source.data) {
                (b"text", Some(data)) => self.text(json, data),
                _ => self.prompt.unseen = true,
            },
            b"file" | b"input_file" | b"input_audio" | b"audio" | b"container_upload" => {
                self.prompt.unseen = true;
            }
            _ if part.image.is_some() => self.image(image::image(part.image, part.detail)),
            _ => {}
        }
    }

    fn image(&mut self, image: crate::tokens::Image) {
        if self.prompt.images.len() < IMAGES {
            self.prompt.images.push(image);
        }
    }

    /// `{"url": …, "detail": …}` (chat) or a string (Responses).
    fn image_url(&mut self, json: &mut Lexer<'b>, part: &mut Part<'b>) -> Result<(), Fault> {
        match json.value()? {
            Value::String(raw) => part.image = Some(raw),
            Value::Object => {
                while let Some(name) = json.member()? {
                    match &*json::name(name) {
                        b"url" => {
                            let mut url: &[u8] = b"";
                            string(json, &mut url)?;
                            part.image = Some(url);
                        }
                        b"detail" => string(json, &mut part.detail)?,
                        _ => json.skip()?,
                    }
                }
            }
            other @ (Value::Array | Value::Number(_) | Value::Bool(_) | Value::Null) => json.finish(other)?,
        }
        Ok(())
    }

    fn source(&mut self, json: &mut Lexer<'b>, part: &mut Part<'b>) -> Result<(), Fault> {
        let value = json.value()?;
        if value != Value::Object {
            return json.finish(value);
        }
        while let Some(name) = json.member()? {
            match &*json::name(name) {
                b"type" => string(json, &mut part.source.kind)?,
                b"content" => self.content(json)?,
                b"file_id" => self.pin(json)?,
                b"data" => {
                    let mut data: &[u8] = b"";
                    string(json, &mut data)?;
                    part.source.data = Some(data);
                }
                _ => json.skip()?,
            }
        }
        Ok(())
    }

    fn pin(&mut self, json: &mut Lexer<'b>) -> Result<(), Fault> {
        let value = json.value()?;
        self.pinned |= value != Value::Null;
        json.finish(value)
    }
}

/// Members whose strings (or parts) the model reads, in any of the protocols.
fn is_text(name: &[u8]) -> bool {
    matches!(
        name,
        b"content"
            | b"text"
            | b"refusal"
            | b"reasoning_content"
            | b"thinking"
            | b"summary"
            | b"title"
            | b"context"
            | b"output"
            | b"tool_calls"
            | b"description"
    )
}

/// Reads a value and, when it is a string, keeps its content in `into`.
pub(super) fn string<'b>(json: &mut Lexer<'b>, into: &mut &'b [u8]) -> Result<(), Fault> {
    match json.value()? {
        Value::String(raw) => *into = raw,
        other @ (Value::Object | Value::Array | Value::Number(_) | Value::Bool(_) | Value::Null) => {
            json.finish(other)?;
        }
    }
    Ok(())
}
