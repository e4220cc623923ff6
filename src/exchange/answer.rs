//! The verdict on an answer, and what becomes of the answer by it.
//!
//! A model that refuses, is filtered, is cut by its length or answers several times said nothing against the schema:
//! these have verdicts of their own and pass. What claims to be an answer and isn't one is rejected or annotated.

use std::borrow::Cow;

use crate::dialect::{Answer, ErrorKind, answer, error_body, error_event};
use crate::policy::Mode;
use crate::report::metric::{Checked, Metric, Refused};
use crate::store::Store;

use super::blame::Ending;
use super::callout::again;
use super::judge::{Case, Judged, Rule, Then, judge};
use super::respond::{Reader, Responding};
use super::settle::is_cut;
use super::step::Reply;
use super::{Edit, Exchange, Step, Turn};

/// The header that carries the verdict.
pub(super) const VERDICT: &str = "x-spillway-validation";

/// What a client is told of a stream that stopped.
const CUT: &str = "the provider's stream ended before its answer did";

impl Responding {
    /// Judges a whole JSON answer that the host holds, and does what its ladder says.
    pub(super) fn judged<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        rule: Rule,
        body: &[u8],
    ) -> (Exchange, Step) {
        let said = answer(self.endpoint, body);
        loop {
            let Some(judged) = self.judge(turn, rule, &said) else {
                return (Exchange::Done(self.finish(turn, Ending::Complete)), Step::pass());
            };
            let step = match judged.then {
                Then::Ask(to, complaint, otherwise) => {
                    self = match again(self, turn, (&complaint, body), to) {
                        Ok(next) => {
                            turn.count(Metric::Schema(rule.at, judged.verdict));
                            return next;
                        }
                        Err(same) => same,
                    };
                    self.position = otherwise;
                    continue;
                }
                Then::Pass => self.told(turn, judged.verdict),
                Then::Reject(message) => self.rejected(turn, judged.verdict, &message),
            };
            self.note(turn, rule, judged.verdict);
            return (Exchange::Done(self.finish(turn, Ending::Complete)), step);
        }
    }

    fn judge<S: Store>(&self, turn: &mut Turn<'_, S>, rule: Rule, said: &Answer) -> Option<Judged> {
        let case = Case {
            policy: &turn.gateway.policy,
            rule,
            asked: self.asked.as_deref()?,
            position: self.position,
            gone: matches!(self.reader, Reader::Stream(_)),
        };
        Some(judge(&case, said))
    }

    /// It goes on, with its verdict where there is still room for one.
    fn told<S: Store>(&self, turn: &Turn<'_, S>, verdict: Checked) -> Step {
        let edits = if turn.gateway.policy.host.body_pause {
            vec![Edit::set(VERDICT, verdict.as_str())]
        } else {
            vec![]
        };
        Step::edited(edits)
    }

    fn rejected<S: Store>(&mut self, turn: &mut Turn<'_, S>, verdict: Checked, message: &str) -> Step {
        self.refuse_answer(turn);
        let body = error_body(
            self.endpoint.dialect(),
            ErrorKind::BadAnswer,
            message,
            "invalid_answer",
        );
        if !turn.gateway.policy.host.body_pause {
            return Step::replaced(body);
        }
        let headers = [("content-type", "application/json"), (VERDICT, verdict.as_str())];
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
        let judged = said.and_then(|(rule, said)| Some((rule, self.judge(turn, rule, &said)?)));
        if let Some((rule, judged)) = judged {
            self.note(turn, rule, judged.verdict);
            if let (Then::Reject(message), Mode::Enforce) = (judged.then, rule.mode) {
                self.refuse_answer(turn);
                return Some((ErrorKind::BadAnswer, message));
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
    fn fail(&mut self) -> bool {
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
        if let Some(judged) = self.judge(turn, rule, &answer(self.endpoint, &body)) {
            self.note(turn, rule, judged.verdict);
        }
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
