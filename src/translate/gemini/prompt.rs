//! Writes a request. The model and whether it streams are in the path.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::conversation::{
    Call, Choice, Conversation, Effort, Format, Media, Part, Role, Settings, Source, Tool, ToolResult, Turn,
};
use super::super::drops::Drops;
use super::super::node::{Node, must};
use super::super::out::{self, Array, Object};
use super::super::turns::{self, Alternating};
use super::super::{RequestOptions, Untranslatable, id};

/// How many stop sequences Gemini takes.
const STOPS: usize = 5;

/// The hottest temperature that Gemini takes.
const HOTTEST: f64 = 2.0;

/// Stands for the signature of a thought that another provider's model had
/// (<https://ai.google.dev/gemini-api/docs/thought-signatures>, FAQ): Gemini 3 refuses calls without one.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// Writes the body.
pub(in super::super) fn write(
    mut asked: Conversation<'_>,
    options: &RequestOptions<'_>,
    drops: &mut Drops,
) -> Result<Vec<u8>, Untranslatable> {
    let mut said = turns::alternating(core::mem::take(&mut asked.turns), drops)?;
    turns::texts_in_results(&mut said.turns, drops);
    let called = turns::called(&said.turns);
    check(&said, &called)?;
    unwritten(&asked, options, drops);
    Ok(out::text(|o| {
        if !said.system.is_empty() {
            o.object("systemInstruction", |o| {
                o.array("parts", |a| said.system.iter().for_each(|prompt| text(a, prompt)));
            });
        }
        o.array("contents", |a| {
            said.turns.iter().for_each(|turn| content(a, turn, &called))
        });
        tools(o, &asked);
        o.object("generationConfig", |o| {
            settings(o, &asked.settings, options, drops);
            format(o, &asked.format);
        });
    }))
}

/// The names of the tools that were called, by the calls' ids: results name the tool.
type Called<'t> = BTreeMap<&'t str, &'t str>;

fn check(said: &Alternating<'_>, called: &Called<'_>) -> Result<(), Untranslatable> {
    for part in said.turns.iter().flat_map(|turn| &turn.parts) {
        match part {
            Part::Media(media) => fits(media)?,
            Part::Result(result) => {
                if !called.contains_key(&*result.id) {
                    return Err(must("messages[]", "the result of a tool that wasn't called"));
                }
            }
            Part::Text(_) | Part::Call(_) => {}
        }
    }
    Ok(())
}

fn fits(media: &Media<'_>) -> Result<(), Untranslatable> {
    match media.source {
        Source::Data { .. } => Ok(()),
        Source::Url(_) => Err(must(
            "messages[].content[]",
            "Gemini takes images and documents as data only",
        )),
    }
}

/// Names what has no place here.
fn unwritten(asked: &Conversation<'_>, options: &RequestOptions<'_>, drops: &mut Drops) {
    let strict = asked.tools.iter().any(|tool| tool.strict);
    drops.name_if(strict, "tools[].function.strict");
    drops.name_if(asked.one_call && !asked.tools.is_empty(), "parallel_tool_calls");
    drops.name_if(asked.user.is_some(), "user");
    drops.name_if(
        asked.settings.effort.is_some() && !options.accepts.effort,
        "reasoning_effort",
    );
}

fn text(a: &mut Array<'_>, said: &str) {
    a.object(|o| o.text("text", said));
}

fn content(a: &mut Array<'_>, turn: &Turn<'_>, called: &Called<'_>) {
    let role = match turn.role {
        Role::Assistant => "model",
        Role::User | Role::System => "user",
    };
    a.object(|o| {
        o.text("role", role);
        o.array("parts", |a| {
            let mut signed = false;
            for each in &turn.parts {
                part(a, each, called, &mut signed);
            }
        });
    });
}

fn part(a: &mut Array<'_>, part: &Part<'_>, called: &Called<'_>, signed: &mut bool) {
    match part {
        Part::Text(said) => text(a, said),
        Part::Media(media) => medium(a, media),
        Part::Call(call) => a.object(|o| {
            o.object("functionCall", |o| function_call(o, call));
            if !core::mem::replace(signed, true) {
                o.text("thoughtSignature", NO_SIGNATURE);
            }
        }),
        Part::Result(result) => {
            let name = called.get(&*result.id).copied().unwrap_or_default();
            a.object(|o| o.object("functionResponse", |o| response(o, name, result)));
        }
    }
}

fn medium(a: &mut Array<'_>, media: &Media<'_>) {
    if let Source::Data { media_type, base64 } = &media.source {
        a.object(|o| {
            o.object("inlineData", |o| {
                o.text("mimeType", media_type);
                o.text("data", base64);
            });
        });
    }
}

fn function_call(o: &mut Object<'_>, call: &Call<'_>) {
    o.text("id", &id::portable(&call.id));
    o.text("name", &call.name);
    o.raw("args", &call.arguments);
}

fn response(o: &mut Object<'_>, name: &str, result: &ToolResult<'_>) {
    o.text("id", &id::portable(&result.id));
    o.text("name", name);
    let said: Vec<&str> = result.parts.iter().filter_map(said).collect();
    let said = said.concat();
    if !result.failed && Node::parse(said.as_bytes()).is_ok_and(Node::is_object) {
        o.raw("response", said.trim().as_bytes());
    } else {
        let member = if result.failed { "error" } else { "result" };
        o.object("response", |o| o.text(member, &said));
    }
}

fn said<'p>(part: &'p Part<'_>) -> Option<&'p str> {
    match part {
        Part::Text(text) => Some(text),
        Part::Media(_) | Part::Call(_) | Part::Result(_) => None,
    }
}

fn tools(o: &mut Object<'_>, asked: &Conversation<'_>) {
    if asked.tools.is_empty() {
        return;
    }
    o.array("tools", |a| {
        a.object(|o| {
            o.array("functionDeclarations", |a| {
                asked
                    .tools
                    .iter()
                    .for_each(|tool| a.object(|o| declaration(o, tool)));
            });
        });
    });
    let (mode, name): (_, Option<&Cow<'_, str>>) = match &asked.choice {
        Choice::Auto => return,
        Choice::None => ("NONE", None),
        Choice::Any => ("ANY", None),
        Choice::Named(name) => ("ANY", Some(name)),
    };
    o.object("toolConfig", |o| {
        o.object("functionCallingConfig", |o| {
            o.text("mode", mode);
            if let Some(name) = name {
                o.array("allowedFunctionNames", |a| a.text(name));
            }
        });
    });
}

fn declaration(o: &mut Object<'_>, tool: &Tool<'_>) {
    o.text("name", &tool.name);
    if let Some(description) = &tool.description {
        o.text("description", description);
    }
    if let Some(schema) = tool.schema {
        o.raw("parametersJsonSchema", schema);
    }
}

fn settings(o: &mut Object<'_>, set: &Settings<'_>, options: &RequestOptions<'_>, drops: &mut Drops) {
    if let Some(bound) = set.max_tokens {
        o.number("maxOutputTokens", bound);
    }
    if options.accepts.sampling {
        sampling(o, set, drops);
    } else {
        drops.name_if(set.temperature.is_some(), "temperature");
        drops.name_if(set.top_p.is_some(), "top_p");
        drops.name_if(set.top_k.is_some(), "top_k");
    }
    numbers(
        o,
        [
            ("presencePenalty", set.presence_penalty),
            ("frequencyPenalty", set.frequency_penalty),
            ("seed", set.seed),
        ],
    );
    drops.name_if(set.stop.len() > STOPS, "stop_sequences (all but five)");
    if !set.stop.is_empty() {
        o.array("stopSequences", |a| {
            set.stop.iter().take(STOPS).for_each(|text| a.text(text))
        });
    }
    if let Some(effort) = set.effort.filter(|_| options.accepts.effort) {
        o.object("thinkingConfig", |o| o.text("thinkingLevel", level(effort)));
    }
}

fn sampling(o: &mut Object<'_>, set: &Settings<'_>, drops: &mut Drops) {
    if let Some(given) = set.temperature {
        let wanted: f64 = given.parse().unwrap_or(HOTTEST);
        let fits = (0.0..=HOTTEST).contains(&wanted);
        drops.name_if(!fits, "temperature (clamped)");
        let clamped = if wanted > HOTTEST { "2" } else { "0" };
        o.raw(
            "temperature",
            if fits {
                given.as_bytes()
            } else {
                clamped.as_bytes()
            },
        );
    }
    numbers(o, [("topP", set.top_p), ("topK", set.top_k)]);
}

fn numbers<const N: usize>(o: &mut Object<'_>, given: [(&str, Option<&str>); N]) {
    for (name, value) in given {
        if let Some(value) = value {
            o.raw(name, value.as_bytes());
        }
    }
}

fn level(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal => "MINIMAL",
        Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        Effort::High | Effort::Higher | Effort::Max => "HIGH",
    }
}

fn format(o: &mut Object<'_>, format: &Format<'_>) {
    match format {
        Format::Text => {}
        Format::Json => o.text("responseMimeType", "application/json"),
        Format::Schema { schema, .. } => {
            o.text("responseMimeType", "application/json");
            o.raw("responseJsonSchema", schema);
        }
    }
}
