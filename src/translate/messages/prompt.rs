//! Writes a request.

use std::borrow::Cow;

use super::super::conversation::{
    Call, Choice, Conversation, Effort, Format, Media, MediaKind, Part, Role, Settings, Source, Tool,
    ToolResult, Turn,
};
use super::super::drops::Drops;
use super::super::node::{Node, must};
use super::super::out::{self, Array, Object};
use super::super::turns::{self, Alternating};
use super::super::{RequestOptions, Untranslatable, id};
use super::OUTPUT_TOOL;

/// The hottest temperature that Anthropic takes.
const HOTTEST: f64 = 1.0;

/// A tool without arguments.
const NO_ARGUMENTS: &[u8] = br#"{"type":"object","properties":{}}"#;

/// Writes the body.
pub(in super::super) fn write(
    mut asked: Conversation<'_>,
    options: &RequestOptions<'_>,
    drops: &mut Drops,
) -> Result<Vec<u8>, Untranslatable> {
    let said = turns::alternating(core::mem::take(&mut asked.turns), drops)?;
    check(&said, &asked)?;
    unwritten(&asked, options, drops);
    let toolbox = Toolbox::of(&asked, &said.turns, options);
    Ok(out::text(|o| {
        o.text("model", options.model);
        o.number(
            "max_tokens",
            asked.settings.max_tokens.unwrap_or(options.default_max_tokens),
        );
        system(o, &said.system);
        o.array("messages", |a| {
            said.turns.iter().for_each(|turn| message(a, turn))
        });
        toolbox.write(o, options);
        settings(o, &asked.settings, options, drops);
        output(o, &asked, options);
        if let Some(user) = &asked.user {
            o.object("metadata", |o| o.text("user_id", user));
        }
        if options.stream {
            o.boolean("stream", true);
        }
    }))
}

fn check(said: &Alternating<'_>, asked: &Conversation<'_>) -> Result<(), Untranslatable> {
    if asked.tools.iter().any(|tool| tool.name == OUTPUT_TOOL) {
        return Err(must("tools[].function.name", "is reserved for JSON output"));
    }
    let parts = said.turns.iter().flat_map(|turn| &turn.parts);
    let mut media = parts.filter_map(|part| match part {
        Part::Media(media) => Some(media),
        Part::Text(_) | Part::Call(_) | Part::Result(_) => None,
    });
    media.try_for_each(fits)
}

fn fits(media: &Media<'_>) -> Result<(), Untranslatable> {
    let known: &[&str] = match media.kind {
        MediaKind::Image => &["image/jpeg", "image/png", "image/gif", "image/webp"],
        MediaKind::Document => &["application/pdf"],
    };
    match &media.source {
        Source::Data { media_type, .. } if !known.contains(&&**media_type) => Err(must(
            "messages[].content[]",
            "an image must be JPEG, PNG, GIF or WebP, a document PDF",
        )),
        Source::Data { .. } | Source::Url(_) => Ok(()),
    }
}

/// Names what has no place here.
fn unwritten(asked: &Conversation<'_>, options: &RequestOptions<'_>, drops: &mut Drops) {
    let set = &asked.settings;
    let matters = |value: Option<&str>| value.is_some_and(|text| text.parse() != Ok(0.0));
    drops.name_if(matters(set.presence_penalty), "presence_penalty");
    drops.name_if(matters(set.frequency_penalty), "frequency_penalty");
    drops.name_if(set.seed.is_some(), "seed");
    drops.name_if(
        set.effort.is_some() && !options.accepts.effort,
        "reasoning_effort",
    );
    drops.name_if(asked.format == Format::Json, "response_format");
    let strict = asked.tools.iter().any(|tool| tool.strict);
    drops.name_if(strict && !options.accepts.schema, "tools[].function.strict");
}

fn system(o: &mut Object<'_>, prompts: &[Cow<'_, str>]) {
    match prompts {
        [] => {}
        [one] => o.text("system", one),
        several => o.array("system", |a| several.iter().for_each(|prompt| text(a, prompt))),
    }
}

fn text(a: &mut Array<'_>, said: &str) {
    a.object(|o| {
        o.text("type", "text");
        o.text("text", said);
    });
}

fn message(a: &mut Array<'_>, turn: &Turn<'_>) {
    a.object(|o| {
        o.text(
            "role",
            if turn.role == Role::Assistant {
                "assistant"
            } else {
                "user"
            },
        );
        content(o, &turn.parts);
    });
}

/// One text is a string, everything else blocks.
fn content(o: &mut Object<'_>, parts: &[Part<'_>]) {
    match parts {
        [Part::Text(text)] => o.text("content", text),
        parts => o.array("content", |a| parts.iter().for_each(|part| block(a, part))),
    }
}

fn block(a: &mut Array<'_>, part: &Part<'_>) {
    match part {
        Part::Text(said) => text(a, said),
        Part::Media(media) => a.object(|o| medium(o, media)),
        Part::Call(call) => a.object(|o| tool_use(o, call)),
        Part::Result(result) => a.object(|o| tool_result(o, result)),
    }
}

fn medium(o: &mut Object<'_>, media: &Media<'_>) {
    o.text(
        "type",
        match media.kind {
            MediaKind::Image => "image",
            MediaKind::Document => "document",
        },
    );
    o.object("source", |o| match &media.source {
        Source::Data { media_type, base64 } => {
            o.text("type", "base64");
            o.text("media_type", media_type);
            o.text("data", base64);
        }
        Source::Url(url) => {
            o.text("type", "url");
            o.text("url", url);
        }
    });
}

/// A call, as requests and answers have it.
pub(super) fn tool_use(o: &mut Object<'_>, call: &Call<'_>) {
    o.text("type", "tool_use");
    o.text("id", &id::portable(&call.id));
    o.text("name", &call.name);
    o.raw("input", &call.arguments);
}

fn tool_result(o: &mut Object<'_>, result: &ToolResult<'_>) {
    o.text("type", "tool_result");
    o.text("tool_use_id", &id::portable(&result.id));
    let empty = |part: &&Part<'_>| !matches!(part, Part::Text(text) if text.is_empty());
    let parts: Vec<Part<'_>> = result.parts.iter().filter(empty).cloned().collect();
    if !parts.is_empty() {
        content(o, &parts);
    }
    if result.failed {
        o.boolean("is_error", true);
    }
}

/// The tools to offer, and which is to be called.
struct Toolbox<'t> {
    offered: Vec<Cow<'t, Tool<'t>>>,
    choice: Choice<'t>,
    one_call: bool,
}

impl<'t> Toolbox<'t> {
    /// The client's tools, and the one that stands for a schema. Calls in the history must be of offered tools, even if the
    /// client offers none any more.
    fn of(asked: &'t Conversation<'t>, said: &'t [Turn<'t>], options: &RequestOptions<'_>) -> Self {
        let mut toolbox = Self {
            offered: asked.tools.iter().map(Cow::Borrowed).collect(),
            choice: asked.choice.clone(),
            one_call: asked.one_call,
        };
        if toolbox.offered.is_empty() {
            toolbox.remember(said);
        }
        if let Some(tool) = output_tool(&asked.format, options) {
            toolbox.demand(tool);
        }
        toolbox
    }

    fn remember(&mut self, said: &'t [Turn<'t>]) {
        let mut names: Vec<&str> = turns::called(said).into_values().collect();
        names.sort_unstable();
        names.dedup();
        self.choice = Choice::None;
        self.offered = names
            .into_iter()
            .map(|name| Cow::Owned(remembered(name)))
            .collect();
    }

    /// The output's tool must be called unless another one may.
    fn demand(&mut self, tool: Tool<'t>) {
        self.choice = match core::mem::take(&mut self.choice) {
            Choice::Auto | Choice::Any if !self.offered.is_empty() => Choice::Any,
            Choice::Auto | Choice::Any | Choice::None => Choice::Named(tool.name.clone()),
            Choice::Named(name) => Choice::Named(name),
        };
        self.offered.push(Cow::Owned(tool));
    }

    fn write(&self, o: &mut Object<'_>, options: &RequestOptions<'_>) {
        if self.offered.is_empty() {
            return;
        }
        o.array("tools", |a| {
            self.offered
                .iter()
                .for_each(|tool| a.object(|o| offer(o, tool, options)));
        });
        if self.choice == Choice::Auto && !self.one_call {
            return;
        }
        o.object("tool_choice", |o| {
            o.text(
                "type",
                match &self.choice {
                    Choice::Auto => "auto",
                    Choice::None => "none",
                    Choice::Any => "any",
                    Choice::Named(_) => "tool",
                },
            );
            if let Choice::Named(name) = &self.choice {
                o.text("name", name);
            }
            if self.one_call && self.choice != Choice::None {
                o.boolean("disable_parallel_tool_use", true);
            }
        });
    }
}

fn remembered(name: &str) -> Tool<'_> {
    Tool {
        name: name.into(),
        description: None,
        schema: None,
        strict: false,
    }
}

fn output_tool<'t>(format: &Format<'t>, options: &RequestOptions<'_>) -> Option<Tool<'t>> {
    match format {
        Format::Schema {
            description, schema, ..
        } if !options.accepts.schema => Some(Tool {
            name: OUTPUT_TOOL.into(),
            description: Some(
                description
                    .clone()
                    .unwrap_or("Gives the answer in the form asked for.".into()),
            ),
            schema: Some(schema),
            strict: false,
        }),
        Format::Text | Format::Json | Format::Schema { .. } => None,
    }
}

fn offer(o: &mut Object<'_>, tool: &Tool<'_>, options: &RequestOptions<'_>) {
    o.text("name", &tool.name);
    if let Some(description) = &tool.description {
        o.text("description", description);
    }
    o.raw(
        "input_schema",
        &object_schema(tool.schema.unwrap_or(NO_ARGUMENTS)),
    );
    if tool.strict && options.accepts.schema {
        o.boolean("strict", true);
    }
}

/// The schema with the type that Anthropic requires.
fn object_schema(schema: &[u8]) -> Cow<'_, [u8]> {
    let typed = Node::parse(schema).is_ok_and(|node| node.member("type").is_some());
    if typed {
        return Cow::Borrowed(schema);
    }
    let rest = schema.trim_ascii().strip_prefix(b"{").unwrap_or(b"}");
    let more: &[u8] = if rest.trim_ascii_start() == b"}" {
        b""
    } else {
        b","
    };
    Cow::Owned([br#"{"type":"object""#, more, rest].concat())
}

fn settings(o: &mut Object<'_>, set: &Settings<'_>, options: &RequestOptions<'_>, drops: &mut Drops) {
    if options.accepts.sampling {
        sampling(o, set, drops);
    } else {
        drops.name_if(set.temperature.is_some(), "temperature");
        drops.name_if(set.top_p.is_some(), "top_p");
    }
    let (written, blank): (Vec<_>, Vec<_>) = set.stop.iter().partition(|text| !text.trim().is_empty());
    drops.name_if(!blank.is_empty(), "stop (white space)");
    if !written.is_empty() {
        o.array("stop_sequences", |a| written.iter().for_each(|text| a.text(text)));
    }
}

/// The later models take temperature or `top_p`, not both.
fn sampling(o: &mut Object<'_>, set: &Settings<'_>, drops: &mut Drops) {
    if let Some(given) = set.temperature {
        let wanted: f64 = given.parse().unwrap_or(HOTTEST);
        let fits = (0.0..=HOTTEST).contains(&wanted);
        drops.name_if(!fits, "temperature (clamped)");
        let clamped = if wanted > HOTTEST { "1" } else { "0" };
        o.raw(
            "temperature",
            if fits {
                given.as_bytes()
            } else {
                clamped.as_bytes()
            },
        );
    }
    match (set.top_p, set.temperature) {
        (Some(given), None) => o.raw("top_p", given.as_bytes()),
        (Some(_), Some(_)) => drops.name("top_p"),
        (None, _) => {}
    }
}

fn output(o: &mut Object<'_>, asked: &Conversation<'_>, options: &RequestOptions<'_>) {
    let effort = asked.settings.effort.filter(|_| options.accepts.effort);
    let schema = match &asked.format {
        Format::Schema { schema, .. } if options.accepts.schema => Some(schema),
        Format::Text | Format::Json | Format::Schema { .. } => None,
    };
    if effort.is_none() && schema.is_none() {
        return;
    }
    o.object("output_config", |o| {
        if let Some(effort) = effort {
            o.text("effort", word(effort));
        }
        if let Some(schema) = schema {
            o.object("format", |o| {
                o.text("type", "json_schema");
                o.raw("schema", schema);
            });
        }
    });
}

fn word(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::Higher => "xhigh",
        Effort::Max => "max",
    }
}
