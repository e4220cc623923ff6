//! What a request asked of its answer, remembered until the answer is here.
//!
//! Remembered only where a validation of the policy applies, and only what that one looks at. The invariant: no more
//! bytes than there is room for; what isn't remembered makes verdicts `unchecked`, never wrong.

use serde_json::{Value, json};

use crate::body::grounding::Context;
use crate::body::schema::opening_of;
use crate::dialect::{Choice, Declared, Endpoint, Format, RequestFacts, Wanted, wanted};
use crate::policy::{Policy, Validation};

/// Bytes of all tools' schemas together; providers take about 120,000 characters.
const MOST_OF_TOOLS: usize = 512 << 10;

/// What a request asked of its answer.
#[derive(Debug)]
pub(in crate::exchange) struct Asked {
    /// The validation of the policy that applies.
    pub(in crate::exchange) rule: usize,
    /// The form of the text, where the policy has none of its own.
    pub(super) form: Form,
    pub(super) tools: Vec<Tool>,
    /// There are tools that aren't among `tools`.
    pub(super) more_tools: bool,
    pub(super) must: Must,
    /// What claims are looked for in; none when nobody looks, or it had no room.
    pub(super) context: Option<Context>,
    /// What rules know of the request.
    pub(super) request: Value,
}

/// The form that a request wants of the assistant's text.
#[derive(Debug, Default)]
pub(super) enum Form {
    /// Any.
    #[default]
    Text,
    /// Any JSON object.
    Object,
    /// JSON of this schema.
    Schema(Box<[u8]>),
    /// JSON of a schema that isn't kept.
    Unknown,
}

/// A tool that may be called.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) name: Box<str>,
    pub(super) parameters: Parameters,
}

#[derive(Debug)]
pub(super) enum Parameters {
    /// None are declared.
    Any,
    Schema(Box<[u8]>),
    /// Over a bound.
    Unknown,
}

/// Which tools must be called.
#[derive(Debug, Default)]
pub(super) enum Must {
    #[default]
    Nothing,
    Any,
    Named(Box<str>),
}

/// A request as it is known when it goes out.
#[derive(Clone, Copy)]
pub(in crate::exchange) struct Outgoing<'b> {
    pub(in crate::exchange) endpoint: Endpoint,
    pub(in crate::exchange) facts: &'b RequestFacts<'b>,
    pub(in crate::exchange) body: &'b [u8],
    /// Bytes that may be kept of it.
    pub(in crate::exchange) room: usize,
}

impl Asked {
    /// What validation number `rule` looks at; none when nothing of the answer is to be judged.
    pub(in crate::exchange) fn of(policy: &Policy, rule: usize, request: Outgoing<'_>) -> Option<Self> {
        let validation = policy.validate.get(rule)?;
        let mut asked = Self {
            rule,
            form: Form::Text,
            tools: Vec::new(),
            more_tools: false,
            must: Must::Nothing,
            context: None,
            request: Value::Null,
        };
        asked.remember(validation, request);
        asked.looks(validation).then_some(asked)
    }

    /// Bytes kept.
    pub(in crate::exchange) fn size(&self) -> usize {
        let form = match &self.form {
            Form::Schema(source) => source.len(),
            Form::Text | Form::Object | Form::Unknown => 0,
        };
        let context = self.context.as_ref().map_or(0, Context::size);
        let tools = self.tools.iter().map(Tool::size).sum::<usize>();
        form.saturating_add(context).saturating_add(tools)
    }

    /// What the assistant's text must begin with, white space apart, as far as its schema says.
    pub(super) fn opening(&self, validation: &Validation) -> Option<char> {
        match (&validation.schema, &self.form) {
            (Some(schema), _) => schema.opening(),
            (None, Form::Object) => Some('{'),
            (None, Form::Schema(source)) => opening_of(&serde_json::from_slice(source).ok()?),
            (None, Form::Text | Form::Unknown) => None,
        }
    }

    /// Whether tools may be called whose arguments are judged.
    pub(in crate::exchange) fn has_tools(&self) -> bool {
        !self.tools.is_empty() || self.more_tools
    }

    pub(super) fn tool(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().rev().find(|tool| *tool.name == *name)
    }

    fn looks(&self, validation: &Validation) -> bool {
        let own = validation.schema.is_some() || !validation.rules.is_empty();
        let tools = !self.tools.is_empty() || self.more_tools;
        own || validation.grounding.is_some() || tools || !matches!(self.form, Form::Text)
    }

    fn remember(&mut self, validation: &Validation, request: Outgoing<'_>) {
        if !validation.rules.is_empty() {
            self.request = facts(request.facts);
        }
        let mut room = request.room;
        let forms = validation.judges_format() && (request.facts.structured || request.facts.tools);
        if forms || validation.tools && request.facts.tools {
            match wanted(request.endpoint, request.body) {
                Ok(wanted) => self.wants(validation, wanted, &mut room),
                // It was read before; by now it can only be too deep to be kept.
                Err(_) => self.form = Form::Unknown,
            }
        }
        if validation.grounding.is_some() {
            let texts = &request.facts.prompt.texts;
            let bytes: usize = texts.iter().map(|text| text.len()).sum();
            self.context = (bytes <= room).then(|| context(texts));
        }
    }

    fn wants(&mut self, validation: &Validation, wanted: Wanted<'_>, room: &mut usize) {
        if validation.judges_format() {
            self.form = match wanted.format {
                Format::Text => Form::Text,
                Format::Object => Form::Object,
                Format::Schema(declared) => match kept(&declared, room) {
                    Parameters::Schema(source) => Form::Schema(source),
                    Parameters::Any | Parameters::Unknown => Form::Unknown,
                },
            };
        }
        if !validation.tools {
            return;
        }
        self.must = match wanted.choice {
            Choice::Auto => Must::Nothing,
            Choice::Any => Must::Any,
            Choice::Named(name) => Must::Named(name.into()),
        };
        self.more_tools = wanted.tools_over > 0;
        let mut left = MOST_OF_TOOLS.min(*room);
        let all = left;
        for tool in &wanted.tools {
            self.tools.push(Tool {
                name: (&*tool.name).into(),
                parameters: kept(tool, &mut left),
            });
        }
        *room = room.saturating_sub(all.saturating_sub(left));
    }
}

impl Tool {
    fn size(&self) -> usize {
        let parameters = match &self.parameters {
            Parameters::Schema(source) => source.len(),
            Parameters::Any | Parameters::Unknown => 0,
        };
        parameters.saturating_add(self.name.len())
    }
}

/// A schema's own bytes, while there is room.
fn kept(declared: &Declared<'_>, room: &mut usize) -> Parameters {
    if declared.over {
        return Parameters::Unknown;
    }
    let Some(source) = declared.schema else {
        return Parameters::Any;
    };
    match room.checked_sub(source.len()) {
        Some(left) => {
            *room = left;
            Parameters::Schema(source.into())
        }
        None => Parameters::Unknown,
    }
}

fn context(texts: &[&[u8]]) -> Context {
    let mut context = Context::default();
    texts.iter().for_each(|text| context.push(text));
    context
}

/// What rules know of a request.
fn facts(facts: &RequestFacts<'_>) -> Value {
    json!({
        "model": *facts.model,
        "stream": facts.stream,
        "max_tokens": facts.max_tokens,
        "choices": facts.choices,
        "tools": facts.tools,
    })
}
