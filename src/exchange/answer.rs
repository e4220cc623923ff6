//! The verdict on an answer, and what becomes of the answer by it.
//!
//! A model that refuses, is filtered, is cut by its length or answers several times said nothing against the schema:
//! these have verdicts of their own and pass. What claims to be an answer and isn't one is rejected or annotated.

use std::borrow::Cow;

use crate::body::schema::{Verdict, Violation};
use crate::dialect::{Answer, ErrorKind, answer, error_body, error_event};
use crate::policy::{Mode, OnInvalid, Policy};
use crate::report::metric::{Checked, Metric, Refused};
use crate::store::Store;

use super::respond::{Reader, Responding};
use super::settle::is_cut;
use super::step::Reply;
use super::{Edit, Step, Turn};

/// The header that carries the verdict.
const VERDICT: &str = "x-spillway-validation";

/// What a client is told of a stream that stopped.
const CUT: &str = "the provider's stream ended before its answer did";

/// A rule that applies to this answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    at: usize,
    pub(super) on_invalid: OnInvalid,
    pub(super) mode: Mode,
}

impl Rule {
    /// The policy's rule, with the policy's own mode taken in.
    pub(super) fn of(policy: &Policy, at: usize) -> Option<Self> {
        let rule = policy.validate.get(at)?;
        let shadow = policy.mode == Mode::Shadow || rule.mode == Mode::Shadow;
        let mode = if shadow { Mode::Shadow } else { Mode::Enforce };
        Some(Self {
            at,
            on_invalid: rule.on_invalid,
            mode,
        })
    }

    /// Whether the answer must wait for the verdict: to be replaced, or to have a header set that has not gone yet.
    pub(super) fn holds(self, policy: &Policy) -> bool {
        let header = policy.host.body_pause && self.on_invalid == OnInvalid::Annotate;
        self.mode == Mode::Enforce && (self.on_invalid == OnInvalid::Reject || header)
    }

    fn rejects(self, verdict: Checked) -> bool {
        let bad = matches!(verdict, Checked::Invalid | Checked::NotJson | Checked::Empty);
        bad && self.on_invalid == OnInvalid::Reject && self.mode == Mode::Enforce
    }
}

/// A verdict with what it objects to.
struct Finding {
    verdict: Checked,
    violations: Vec<Violation>,
}

impl Finding {
    fn plain(verdict: Checked) -> Self {
        Self {
            verdict,
            violations: Vec::new(),
        }
    }

    fn of(policy: &Policy, rule: Rule, said: &Answer) -> Self {
        match said {
            Answer::Text(text) => Self::of_text(policy, rule, text),
            Answer::Refused => Self::plain(Checked::Refusal),
            Answer::Filtered => Self::plain(Checked::Filtered),
            Answer::Cut => Self::plain(Checked::Truncated),
            Answer::Empty => Self::plain(Checked::Empty),
            Answer::Many(_) => Self::plain(Checked::Several),
            Answer::ToolCalls => Self::plain(Checked::ToolCalls),
            Answer::NotJson => Self::plain(Checked::NotJson),
            Answer::Error | Answer::TooLong => Self::plain(Checked::Unchecked),
        }
    }

    fn of_text(policy: &Policy, rule: Rule, text: &str) -> Self {
        let Some(found) = policy.validate.get(rule.at) else {
            return Self::plain(Checked::Unchecked);
        };
        match found.schema.check(text) {
            Verdict::Valid => Self::plain(Checked::Valid),
            Verdict::NotJson => Self::plain(Checked::NotJson),
            Verdict::Invalid(violations) => Self {
                verdict: Checked::Invalid,
                violations,
            },
        }
    }

    /// What the client is told: paths and keywords, never content.
    fn message(&self, policy: &Policy, rule: Rule) -> String {
        let name = policy.validate.get(rule.at).map_or("", |r| r.name.as_str());
        let what = match self.verdict {
            Checked::NotJson => "it isn't JSON".to_owned(),
            Checked::Empty => "it is empty".to_owned(),
            _ => self
                .violations
                .iter()
                .map(describe)
                .collect::<Vec<_>>()
                .join(", "),
        };
        format!("the model's answer breaks schema {name:?}: {what}")
    }
}

fn describe(violation: &Violation) -> String {
    let path = if violation.path.is_empty() {
        "(root)"
    } else {
        &violation.path
    };
    format!("{path} ({})", violation.keyword)
}

impl Responding {
    /// Judges a whole JSON answer that the host holds.
    pub(super) fn judge_json<S: Store>(&mut self, turn: &mut Turn<'_, S>, rule: Rule, body: &[u8]) -> Step {
        let finding = Finding::of(&turn.gateway.policy, rule, &answer(self.endpoint, body));
        self.note(turn, rule, finding.verdict);
        let policy = &turn.gateway.policy;
        if !rule.rejects(finding.verdict) {
            let edits = if policy.host.body_pause {
                vec![Edit::set(VERDICT, finding.verdict.as_str())]
            } else {
                vec![]
            };
            return Step::edited(edits);
        }
        self.refuse_answer(turn);
        let message = finding.message(policy, rule);
        let body = error_body(
            self.endpoint.dialect(),
            ErrorKind::BadAnswer,
            &message,
            "invalid_answer",
        );
        if !policy.host.body_pause {
            return Step::replaced(body);
        }
        let headers = [
            ("content-type", "application/json"),
            (VERDICT, finding.verdict.as_str()),
        ];
        let headers = headers
            .map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)))
            .to_vec();
        Step::reply(Reply {
            status: 502,
            headers,
            body,
            details: "spillway_invalid_answer",
        })
    }

    /// What a stream ends with: what was kept back of it, or an error in its protocol.
    pub(super) fn last_words<S: Store>(&mut self, turn: &mut Turn<'_, S>) -> Vec<u8> {
        let Reader::Stream(reader) = &mut self.reader else {
            return Vec::new();
        };
        let mut words = reader.finish();
        let Some((kind, message)) = self.complaint(turn) else {
            words.extend(self.take_held());
            return words;
        };
        let separator: &[u8] = if self.fail() { b"" } else { b"\n\n" };
        [separator, &error_event(self.endpoint, kind, &message)].concat()
    }

    /// Why a stream must not end as it did.
    fn complaint<S: Store>(&mut self, turn: &mut Turn<'_, S>) -> Option<(ErrorKind, String)> {
        let Reader::Stream(reader) = &self.reader else {
            return None;
        };
        let cut = is_cut(reader.progress()) && self.is_good();
        let said = self.rule.map(|rule| (rule, reader.answer()));
        let policy = &turn.gateway.policy;
        let judged = said.map(|(rule, said)| (rule, Finding::of(policy, rule, &said)));
        if let Some((rule, finding)) = judged {
            self.note(turn, rule, finding.verdict);
            if rule.rejects(finding.verdict) {
                self.refuse_answer(turn);
                return Some((ErrorKind::BadAnswer, finding.message(policy, rule)));
            }
        }
        let told = cut && !turn.in_shadow();
        told.then(|| (ErrorKind::Unavailable, CUT.to_owned()))
    }

    fn take_held(&mut self) -> Vec<u8> {
        match &mut self.reader {
            Reader::Stream(reader) => reader.take_held(),
            Reader::Json { .. } | Reader::Held { .. } | Reader::Opaque => Vec::new(),
        }
    }

    /// Drops what is kept back; answers whether an event may follow what went out.
    pub(super) fn fail(&mut self) -> bool {
        match &mut self.reader {
            Reader::Stream(reader) => {
                reader.fail();
                reader.between_events()
            }
            Reader::Json { .. } | Reader::Held { .. } | Reader::Opaque => false,
        }
    }

    fn refuse_answer<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        turn.count(Metric::Refused(Refused::Answer));
        self.record.refused = Refused::Answer.as_str();
    }

    /// Judges an answer that passed already: counted, no more.
    pub(super) fn judge_passed<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        let Reader::Json { gathered, .. } = &mut self.reader else {
            return;
        };
        let (Some(rule), Some(body)) = (self.rule, gathered.take()) else {
            return;
        };
        let finding = Finding::of(&turn.gateway.policy, rule, &answer(self.endpoint, &body));
        self.note(turn, rule, finding.verdict);
    }

    /// An answer that its rule never got to see.
    pub(super) fn unchecked<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        if let Some(rule) = self.rule {
            self.note(turn, rule, Checked::Unchecked);
        }
    }

    fn note<S: Store>(&mut self, turn: &mut Turn<'_, S>, rule: Rule, verdict: Checked) {
        if self.record.validation.is_empty() {
            self.record.validation = verdict.as_str();
            turn.count(Metric::Schema(rule.at, verdict));
        }
    }
}
