//! The verdict on an answer, and what becomes of the answer by it.
//!
//! A model that refuses, is filtered, is cut by its length or answers several times said nothing against the schema:
//! these have verdicts of their own and pass. What claims to be an answer and isn't one goes the way of its ladder.

use std::borrow::Cow;

use crate::dialect::{Amendment, Endpoint, ErrorKind, amended, amended_events, error_body, error_event};
use crate::policy::Mode;
use crate::report::metric::{Checked, Metric, Refused};
use crate::store::Store;

use super::blame::Ending;
use super::callout::again;
use super::judge::{Case, Heard, Judged, Rule, Then, judge};
use super::respond::{Reader, Responding};
use super::settle::is_cut;
use super::step::Reply;
use super::{Edit, Exchange, Step, Turn};

/// The header that carries the verdict.
pub(super) const VERDICT: &str = "x-spillway-validation";

/// What a client is told of a stream that stopped.
pub(super) const CUT: &str = "the provider's stream ended before its answer did";

/// An answer of which nothing has gone out.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    pub(super) heard: Heard,
    /// Its body, or its events as they would go out.
    pub(super) bytes: Vec<u8>,
    pub(super) form: Form,
}

impl Whole {
    /// The same with other words, where there is a place for them.
    pub(super) fn amended(&self, endpoint: Endpoint, amendment: &Amendment) -> Option<Vec<u8>> {
        match self.form {
            Form::Json => amended(endpoint, &self.bytes, amendment),
            Form::Events | Form::Edited => amended_events(endpoint, &self.bytes, amendment),
        }
    }
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As the host holds it.
    Json,
    /// Events, as the host holds them.
    Events,
    /// Events that differ from those that the host holds.
    Edited,
}

impl Responding {
    /// Judges an answer that is all there, and does what its ladder says.
    pub(super) fn decide<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        rule: Rule,
        whole: &Whole,
    ) -> (Exchange, Step) {
        loop {
            let Some(judged) = self.judge(turn, rule, &whole.heard) else {
                return (Exchange::Done(self.finish(turn, Ending::Complete)), Step::pass());
            };
            if let Then::Ask(to, complaint, otherwise) = &judged.then {
                self = match again(self, turn, (complaint, whole), *to) {
                    Ok(next) => {
                        turn.count_verdict(rule, &judged);
                        return next;
                    }
                    Err(same) => same,
                };
                self.position = *otherwise;
                continue;
            }
            let step = self.settle_on(turn, rule, (judged, whole));
            return (Exchange::Done(self.finish(turn, Ending::Complete)), step);
        }
    }

    /// Does what nobody else needs to be asked for.
    fn settle_on<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        rule: Rule,
        (mut judged, whole): (Judged, &Whole),
    ) -> Step {
        let then = core::mem::replace(&mut judged.then, Then::Pass);
        let (step, message) = match then {
            Then::Pass | Then::Ask(..) => (Some(self.passed(turn, judged.verdict, whole)), String::new()),
            Then::Instead(amendment, message) => {
                let new = whole.amended(self.endpoint, &amendment);
                (new.map(|new| self.instead_of(turn, judged.verdict, new)), message)
            }
            Then::Reject(message) => (None, message),
        };
        if let Some(step) = step {
            self.note(turn, rule, &judged);
            return step;
        }
        if judged.verdict == Some(Checked::Defaulted) || judged.verdict == Some(Checked::Repaired) {
            judged.verdict = Some(Checked::Invalid);
        }
        self.note(turn, rule, &judged);
        self.rejected(turn, judged.verdict, (&message, whole))
    }

    pub(super) fn judge<S: Store>(
        &self,
        turn: &mut Turn<'_, S>,
        rule: Rule,
        heard: &Heard,
    ) -> Option<Judged> {
        let gone = matches!(self.reader, Reader::Stream(_)) && !self.is_buffering();
        let case = Case {
            policy: &turn.gateway.policy,
            rule,
            asked: self.asked.as_deref()?,
            position: self.position,
            gone,
        };
        Some(judge(&case, turn.schemas, heard))
    }

    /// Whether headers can still be set.
    fn has_head<S: Store>(&self, turn: &Turn<'_, S>) -> bool {
        turn.gateway.policy.host.body_pause || self.kept.as_ref().is_some_and(|kept| kept.calls())
    }

    fn told<S: Store>(&self, turn: &Turn<'_, S>, verdict: Option<Checked>) -> Vec<Edit> {
        let word = verdict.filter(|_| self.has_head(turn)).map(word);
        word.map(|word| Edit::set(VERDICT, word)).into_iter().collect()
    }

    /// It goes on as it is, with its verdict where there is still room for one.
    fn passed<S: Store>(&self, turn: &Turn<'_, S>, verdict: Option<Checked>, whole: &Whole) -> Step {
        let cut = self.progress().is_some_and(is_cut) && self.is_good() && !turn.in_shadow();
        let mut body = (whole.form == Form::Edited || cut).then(|| whole.bytes.clone());
        if let (Some(events), true) = (&mut body, cut) {
            end_event(events);
            events.extend(error_event(self.endpoint, ErrorKind::Unavailable, CUT));
        }
        Step {
            body,
            ..Step::edited(self.told(turn, verdict))
        }
    }

    fn instead_of<S: Store>(&self, turn: &Turn<'_, S>, verdict: Option<Checked>, new: Vec<u8>) -> Step {
        let mut edits = self.told(turn, verdict);
        if turn.gateway.policy.host.body_pause {
            edits.push(Edit::remove("content-length"));
        }
        Step {
            body: Some(new),
            ..Step::edited(edits)
        }
    }

    fn rejected<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        verdict: Option<Checked>,
        (message, whole): (&str, &Whole),
    ) -> Step {
        self.refuse_answer(turn);
        let streams = whole.form != Form::Json && !turn.gateway.policy.host.body_pause;
        if streams {
            return Step::replaced(error_event(self.endpoint, ErrorKind::BadAnswer, message));
        }
        let body = error_body(
            self.endpoint.dialect(),
            ErrorKind::BadAnswer,
            message,
            "invalid_answer",
        );
        if !turn.gateway.policy.host.body_pause {
            return Step {
                body: Some(body),
                ..Step::edited(self.told(turn, verdict))
            };
        }
        let word = verdict.map_or("invalid", word);
        let headers = [("content-type", "application/json"), (VERDICT, word)];
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
        let heard = self.rule.map(|rule| (rule, Heard::of_stream(reader)));
        let judged = heard.and_then(|(rule, heard)| Some((rule, self.judge(turn, rule, &heard)?)));
        if let Some((rule, judged)) = judged {
            self.note(turn, rule, &judged);
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
        let heard = Heard::of_body(self.endpoint, &body);
        if let Some(judged) = self.judge(turn, rule, &heard) {
            self.note(turn, rule, &judged);
        }
    }

    /// An answer that its rule never got to see.
    pub(super) fn unchecked<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        if let Some(rule) = self.rule {
            self.note(turn, rule, &Judged::unchecked());
        }
    }

    fn note<S: Store>(&mut self, turn: &mut Turn<'_, S>, rule: Rule, judged: &Judged) {
        if judged.verdict.is_some() && self.record.validation.is_empty() {
            judged.record(&turn.gateway.policy, rule, &mut self.record);
            turn.count_verdict(rule, judged);
        }
    }
}

/// What the header says of a verdict: an answer that the policy stands in for is as invalid as it was.
pub(super) fn word(verdict: Checked) -> &'static str {
    match verdict {
        Checked::Defaulted => Checked::Invalid.as_str(),
        Checked::Valid
        | Checked::Invalid
        | Checked::NotJson
        | Checked::Refusal
        | Checked::Filtered
        | Checked::Truncated
        | Checked::Empty
        | Checked::Several
        | Checked::ToolCalls
        | Checked::Unchecked
        | Checked::Repaired
        | Checked::Retried => verdict.as_str(),
    }
}

/// Ends the event that a stream was cut off in.
fn end_event(events: &mut Vec<u8>) {
    if !events.is_empty() && !events.ends_with(b"\n\n") {
        events.extend_from_slice(b"\n\n");
    }
}
