//! An answer that failed its validation, while somebody is asked for a better one: where all of these fail, its ladder
//! goes on with it.

use std::borrow::Cow;

use crate::dialect::{Answer, ErrorKind, Said, error_body};
use crate::ledger::Lesson;
use crate::policy::Hop;
use crate::report::metric::{Checked, Metric, Refused};
use crate::store::Store;

use super::super::answer::VERDICT;
use super::super::booking::settle_own;
use super::super::judge::{Case, Judged, Rule, Then, judge};
use super::super::settle::Cost;
use super::super::{Exchange, Reply, Step, Turn};
use super::again::Chance;
use super::answered::LastAnswer;
use super::calling::Calling;
use super::next::Asking;

/// An answer that failed its validation.
#[derive(Debug)]
pub(in super::super) struct Dismissed {
    pub(super) rule: Rule,
    pub(super) hop: Hop,
    pub(super) head: Option<LastAnswer>,
    pub(super) answer: Answer,
    pub(super) said: Said,
    pub(super) body: Vec<u8>,
}

impl Dismissed {
    /// Bytes kept.
    pub(super) fn size(&self) -> usize {
        self.body.len().saturating_add(self.said.text.len())
    }
}

impl Calling {
    /// Nobody whom a ladder asked gave any answer: it goes on with the one there is. Comes back where there is none.
    pub(super) fn climb_on<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
    ) -> Result<(Exchange, Step), Box<Self>> {
        let Some(dismissed) = self.kept.dismissed.take() else {
            return Err(self);
        };
        while let Some(judged) = self.judge(turn, &dismissed) {
            let Then::Ask(to, complaint, otherwise) = judged.then else {
                return Ok(self.end_with(turn, (*dismissed, judged)));
            };
            let chance = Chance {
                to,
                said: &dismissed.said,
                wrong: &complaint.text,
                cost: (0, 0),
            };
            let mut asking = Asking {
                endpoint: self.endpoint,
                record: &mut self.record,
            };
            if let Some(asked) = self.kept.second_chance(turn, &mut asking, &chance) {
                self.kept.position = complaint.position;
                self.kept.dismissed = Some(dismissed);
                self.kept.set_aside_more(asked.more);
                self.kept.repeats |= asked.chosen.repeats;
                return Ok(self.call(turn, asked.chosen));
            }
            self.kept.position = otherwise;
        }
        Err(self)
    }

    fn judge<S: Store>(&self, turn: &Turn<'_, S>, dismissed: &Dismissed) -> Option<Judged> {
        let case = Case {
            policy: &turn.gateway.policy,
            rule: dismissed.rule,
            asked: self.kept.asked.as_deref()?,
            position: self.kept.position,
            gone: false,
        };
        Some(judge(&case, &dismissed.answer))
    }

    /// What the ladder ends with goes to the client.
    fn end_with<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        (dismissed, judged): (Dismissed, Judged),
    ) -> (Exchange, Step) {
        let total = Cost::default().and(self.kept.before());
        if let Some(own) = self.kept.take_own() {
            settle_own(turn, own, total, Lesson::default());
        }
        let provider = turn.gateway.policy.providers.get(dismissed.hop.provider);
        let provider = provider.map(|p| p.name.clone()).unwrap_or_default();
        let rejects = matches!(judged.then, Then::Reject(_));
        let mut reply = self.last_of(dismissed, &judged);
        let mut record = self.record;
        if rejects {
            turn.count(Metric::Refused(Refused::Answer));
            record.refused = Refused::Answer.as_str();
        }
        reply
            .headers
            .push(("x-spillway-provider".into(), provider.clone().into()));
        record.provider = provider;
        record.status = Some(reply.status);
        record.validation = judged.verdict.as_str();
        record.close("complete", turn.now.monotonic);
        (Exchange::Done(record), Step::reply(reply))
    }

    fn last_of(&self, dismissed: Dismissed, judged: &Judged) -> Reply {
        match &judged.then {
            Then::Reject(message) => {
                let dialect = self.endpoint.dialect();
                Reply {
                    status: 502,
                    headers: marked(
                        vec![("content-type".into(), "application/json".into())],
                        judged.verdict,
                    ),
                    body: error_body(dialect, ErrorKind::BadAnswer, message, "invalid_answer"),
                    details: "spillway_invalid_answer",
                }
            }
            Then::Pass | Then::Ask(..) => {
                let (status, headers) = dismissed
                    .head
                    .map_or((200, Vec::new()), |head| (head.status, head.headers));
                Reply {
                    status,
                    headers: marked(headers, judged.verdict),
                    body: dismissed.body,
                    details: "spillway_failover",
                }
            }
        }
    }
}

type Fields = Vec<(Cow<'static, str>, Cow<'static, str>)>;

fn marked(mut headers: Fields, verdict: Checked) -> Fields {
    headers.push((VERDICT.into(), verdict.as_str().into()));
    headers
}
