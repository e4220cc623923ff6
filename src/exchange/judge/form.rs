//! Whether an answer has the form that was asked for: the policy's schema, or the request's own; and its tools' parameters.

use std::rc::Rc;

use crate::body::cache::Schemas;
use crate::body::schema::{Schema, Verdict, Violation};
use crate::dialect::{Answer, Call};
use crate::policy::Validation;
use crate::report::metric::Checked;

use super::asked::{Asked, Form, Must, Parameters};
use super::draft::{Draft, Heard, Part, is_structure};
use super::finding::Finding;

/// What one verdict by a client's schema may take: a client can't be let spend a worker's seconds.
const MOST_WORK: u64 = Schema::MAX_WORK / 16;
/// Bytes of schemas that are compiled for one verdict at most: one of that size, or some forty small ones; some 100 ms.
pub(super) const MOST_COMPILED: usize = 64 << 10;
/// What the smallest schema's compiling is worth of those.
const COMPILING: usize = 1 << 10;
/// The schema of "any JSON object".
const OBJECT: &[u8] = br#"{"type":"object"}"#;

/// What a part of an answer must be.
pub(super) enum Expected<'c> {
    /// Nothing in particular.
    Anything,
    /// JSON, since rules look at it.
    Json,
    /// The policy's schema.
    Own(&'c Schema),
    /// The client's schema.
    Theirs(Rc<Schema>),
    /// A schema that can't be used, or isn't kept.
    Unknown,
}

impl Expected<'_> {
    pub(super) fn schema(&self) -> Option<&Schema> {
        match self {
            Self::Own(schema) => Some(schema),
            Self::Theirs(schema) => Some(schema),
            Self::Anything | Self::Json | Self::Unknown => None,
        }
    }

    /// Whether a text is it; none when nobody can say, or nothing is expected.
    fn meets(&self, text: &str) -> Option<Verdict> {
        match self {
            Self::Anything | Self::Unknown => None,
            Self::Json if is_structure(text) => Some(Verdict::Valid),
            Self::Json => Some(Verdict::NotJson),
            Self::Own(schema) => Some(schema.check(text)),
            Self::Theirs(schema) if schema.work(text.len()) > MOST_WORK => None,
            Self::Theirs(schema) => Some(schema.check(text)),
        }
    }
}

/// What is looked at, with what compiles schemas.
pub(super) struct Looking<'c, 's> {
    pub(super) validation: &'c Validation,
    pub(super) asked: &'c Asked,
    pub(super) schemas: &'s mut Schemas,
    /// What may still be compiled, in bytes.
    pub(super) compiling: usize,
    pub(super) heard: &'c Heard,
}

impl<'c> Looking<'c, '_> {
    /// The verdict on the form of what stands there now; none when nothing is to be judged.
    pub(super) fn finding(&mut self, draft: &Draft) -> Option<Finding> {
        Some(Finding::plain(match &self.heard.said {
            Answer::Text(_) => return self.text(draft),
            Answer::ToolCalls => return Some(self.calls(draft)),
            Answer::Refused => Checked::Refusal,
            Answer::Filtered => Checked::Filtered,
            Answer::Cut => Checked::Truncated,
            Answer::Empty => return self.empty(),
            Answer::Many(_) => Checked::Several,
            Answer::NotJson => Checked::NotJson,
            Answer::Error | Answer::TooLong => Checked::Unchecked,
        }))
    }

    /// What a part must be.
    pub(super) fn expected(&mut self, part: Part) -> Expected<'c> {
        match part {
            Part::Text => self.form(),
            Part::Call(at) => self
                .heard
                .calls
                .as_deref()
                .and_then(|calls| calls.get(at))
                .map_or(Expected::Unknown, |call| self.parameters(call)),
        }
    }

    fn form(&mut self) -> Expected<'c> {
        if let Some(schema) = &self.validation.schema {
            return Expected::Own(schema);
        }
        match &self.asked.form {
            Form::Text if self.validation.rules.is_empty() => Expected::Anything,
            Form::Text => Expected::Json,
            Form::Object => self.theirs(OBJECT),
            Form::Schema(source) => self.theirs(source),
            Form::Unknown => Expected::Unknown,
        }
    }

    fn parameters(&mut self, call: &Call) -> Expected<'c> {
        match self.asked.tool(&call.name).map(|tool| &tool.parameters) {
            Some(Parameters::Schema(source)) => self.theirs(source),
            Some(Parameters::Any) => Expected::Json,
            Some(Parameters::Unknown) | None => Expected::Unknown,
        }
    }

    /// A client's schema, while no more than a few have to be compiled for one verdict.
    fn theirs(&mut self, source: &[u8]) -> Expected<'c> {
        if !self.schemas.knows(source) {
            let cost = source.len().saturating_add(COMPILING);
            match self.compiling.checked_sub(cost) {
                Some(left) => self.compiling = left,
                None => return Expected::Unknown,
            }
        }
        self.schemas
            .schema(source)
            .map_or(Expected::Unknown, Expected::Theirs)
    }

    fn text(&mut self, draft: &Draft) -> Option<Finding> {
        if self.must_call() {
            return Some(Finding::violating(vec![Violation {
                path: "/tool_calls".to_owned(),
                keyword: "required".to_owned(),
            }]));
        }
        let expected = self.form();
        if let Expected::Anything = expected {
            let looked_at = self.validation.grounding.is_some();
            return looked_at.then(|| Finding::plain(Checked::Valid));
        }
        Some(match expected.meets(draft.now(self.heard, Part::Text)) {
            None => Finding::plain(Checked::Unchecked),
            Some(Verdict::Valid) => Finding::plain(Checked::Valid),
            Some(Verdict::NotJson) => Finding::plain(Checked::NotJson),
            Some(Verdict::Invalid(violations)) => Finding::violating(violations),
        })
    }

    /// Nothing was said: bad only where something was to be.
    fn empty(&mut self) -> Option<Finding> {
        match self.form() {
            Expected::Anything if !self.must_call() => None,
            Expected::Unknown => Some(Finding::plain(Checked::Unchecked)),
            Expected::Anything | Expected::Json | Expected::Own(_) | Expected::Theirs(_) => {
                Some(Finding::plain(Checked::Empty))
            }
        }
    }

    /// The request forces a call, and that call is what it wants for an answer.
    fn must_call(&self) -> bool {
        let forced = !matches!(self.asked.must, Must::Nothing);
        forced && self.validation.schema.is_none() && matches!(self.asked.form, Form::Text)
    }

    fn calls(&mut self, draft: &Draft) -> Finding {
        if !self.asked.has_tools() {
            return Finding::plain(Checked::ToolCalls);
        }
        let Some(calls) = self.heard.calls.as_deref() else {
            return Finding::plain(Checked::Unchecked);
        };
        // Custom tools, whose input is no JSON.
        if calls.iter().all(|call| call.name.is_empty()) {
            return Finding::plain(Checked::ToolCalls);
        }
        let (mut violations, mut unknown) = (Vec::new(), false);
        for (at, call) in calls.iter().enumerate() {
            let found = self.call((at, call), draft);
            unknown |= found.is_none();
            violations.extend(found.unwrap_or_default());
        }
        violations.truncate(Verdict::MAX_VIOLATIONS);
        if !violations.is_empty() {
            Finding::violating(violations)
        } else if unknown {
            Finding::plain(Checked::Unchecked)
        } else {
            Finding::plain(Checked::Valid)
        }
    }

    /// What is wrong with a call; none when nobody can say.
    fn call(&mut self, (at, call): (usize, &Call), draft: &Draft) -> Option<Vec<Violation>> {
        let place = format!("/tool_calls/{at}");
        let violation = |path: String, keyword: &str| Violation {
            path,
            keyword: keyword.to_owned(),
        };
        if call.name.is_empty() {
            return None;
        }
        if self.asked.tool(&call.name).is_none() {
            let told = vec![violation(format!("{place}/name"), "enum")];
            return (!self.asked.more_tools).then_some(told);
        }
        let expected = self.parameters(call);
        match expected.meets(draft.now(self.heard, Part::Call(at)))? {
            Verdict::Valid => Some(Vec::new()),
            Verdict::NotJson => Some(vec![violation(place, "json")]),
            Verdict::Invalid(found) => {
                let inside = |v: Violation| violation(format!("{place}{}", v.path), &v.keyword);
                Some(found.into_iter().map(inside).collect())
            }
        }
    }

    /// The parts that may be mended.
    pub(super) fn parts(&self) -> Vec<Part> {
        match self.heard.said {
            Answer::Text(_) => vec![Part::Text],
            Answer::ToolCalls => {
                let calls = self.heard.calls.as_deref().unwrap_or_default();
                (0..calls.len()).map(Part::Call).collect()
            }
            Answer::Refused
            | Answer::Filtered
            | Answer::Cut
            | Answer::Empty
            | Answer::Many(_)
            | Answer::Error
            | Answer::NotJson
            | Answer::TooLong => Vec::new(),
        }
    }

    /// Whether a part is what it must be, as far as anybody can say.
    pub(super) fn is_met(&mut self, part: Part, draft: &Draft) -> bool {
        let verdict = self.expected(part).meets(draft.now(self.heard, part));
        verdict.is_none_or(|verdict| verdict == Verdict::Valid)
    }

    /// The part that is the answer, for rules and grounding: the text, or the arguments of the call that is forced.
    pub(super) fn main(&self) -> Option<Part> {
        match (&self.heard.said, &self.asked.must) {
            (Answer::Text(_) | Answer::Empty, _) => Some(Part::Text),
            (Answer::ToolCalls, Must::Named(name)) if self.must_call() => {
                let calls = self.heard.calls.as_deref()?;
                calls.iter().position(|call| *call.name == **name).map(Part::Call)
            }
            (Answer::ToolCalls, Must::Any) if self.must_call() => {
                let only = self.heard.calls.as_deref()?.len() == 1;
                only.then_some(Part::Call(0))
            }
            (
                Answer::ToolCalls
                | Answer::Refused
                | Answer::Filtered
                | Answer::Cut
                | Answer::Many(_)
                | Answer::Error
                | Answer::NotJson
                | Answer::TooLong,
                _,
            ) => None,
        }
    }
}
