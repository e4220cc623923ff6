//! An answer that failed its validation, while somebody is asked for a better one: where all of these fail, its ladder
//! goes on with it.

use crate::dialect::{Endpoint, ErrorKind, error_body};
use crate::ledger::Lesson;
use crate::policy::{Charge, Hop};
use crate::report::metric::{Checked, Metric, Refused};
use crate::store::Store;

use super::super::answer::{VERDICT, Whole, word};
use super::super::booking::settle_own;
use super::super::judge::{Case, Judged, Rule, Then, judge};
use super::super::settle::Cost;
use super::super::{Exchange, Reply, Step, Turn};
use super::again::{Chance, said};
use super::answered::LastAnswer;
use super::calling::Calling;
use super::next::Asking;

/// An answer that failed its validation.
#[derive(Debug)]
pub(in super::super) struct Dismissed {
    pub(super) rule: Rule,
    pub(super) hop: Hop,
    pub(super) head: Option<LastAnswer>,
    pub(super) whole: Whole,
    /// It was asked for again itself.
    pub(super) asked: bool,
    /// What it cost.
    pub(super) cost: Cost,
}

impl Dismissed {
    /// Bytes kept: as it came, and as it was understood.
    pub(super) fn size(&self) -> usize {
        self.whole.bytes.len().saturating_mul(2)
    }

    /// What goes to the client in the end: itself, itself with other words, or a message in its place.
    fn ended(&mut self, endpoint: Endpoint, then: Then) -> Result<Vec<u8>, String> {
        match then {
            Then::Pass | Then::Ask(..) => Ok(core::mem::take(&mut self.whole.bytes)),
            Then::Instead(amendment, message) => self.whole.amended(endpoint, &amendment).ok_or(message),
            Then::Reject(message) => Err(message),
        }
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
                said: &said(&complaint, &dismissed.whole),
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
                self.estimate = asked.chosen.ticket.prompt();
                return Ok(self.call(turn, asked.chosen));
            }
            self.kept.position = otherwise;
        }
        Err(self)
    }

    fn judge<S: Store>(&self, turn: &mut Turn<'_, S>, dismissed: &Dismissed) -> Option<Judged> {
        let case = Case {
            policy: &turn.gateway.policy,
            rule: dismissed.rule,
            asked: self.kept.asked.as_deref()?,
            position: self.kept.position.of_answer(dismissed.asked),
            gone: false,
        };
        Some(judge(&case, turn.schemas, &dismissed.whole.heard))
    }

    /// What the ladder ends with goes to the client.
    fn end_with<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        (mut dismissed, mut judged): (Dismissed, Judged),
    ) -> (Exchange, Step) {
        // Of several, the one that the client gets is charged whatever the others are.
        let route = turn.gateway.route(&self.record.model);
        let counted = route.is_none_or(|route| route.failover.charge == Charge::All);
        let last = if counted { Cost::default() } else { dismissed.cost };
        let total = last.and(self.kept.before());
        if let Some(own) = self.kept.take_own() {
            settle_own(turn, own, total, Lesson::default());
        }
        let ended = dismissed.ended(self.endpoint, core::mem::replace(&mut judged.then, Then::Pass));
        let mut record = self.record;
        if ended.is_err() {
            turn.count(Metric::Refused(Refused::Answer));
            record.refused = Refused::Answer.as_str();
            judged.verdict = judged.verdict.map(|_| Checked::Invalid);
        }
        let provider = turn.gateway.policy.providers.get(dismissed.hop.provider);
        record.provider = provider.map(|p| p.name.clone()).unwrap_or_default();
        judged.record(&turn.gateway.policy, dismissed.rule, &mut record);
        let cost = dismissed.cost;
        let mut reply = reply(self.endpoint, dismissed, ended);
        let verdict = judged.verdict.map_or("invalid", word);
        reply.headers.push((VERDICT.into(), verdict.into()));
        reply
            .headers
            .push(("x-spillway-provider".into(), record.provider.clone().into()));
        record.status = Some(reply.status);
        record.actual = Some(cost.actual());
        record.close("complete", turn.now.monotonic);
        (Exchange::Done(record), Step::reply(reply))
    }
}

fn reply(endpoint: Endpoint, dismissed: Dismissed, ended: Result<Vec<u8>, String>) -> Reply {
    match ended {
        Ok(body) => {
            let head = dismissed.head;
            let (status, headers) = head.map_or((200, Vec::new()), |head| (head.status, head.headers));
            Reply {
                status,
                headers,
                body,
                details: "spillway_failover",
            }
        }
        Err(message) => Reply {
            status: 502,
            headers: vec![("content-type".into(), "application/json".into())],
            body: error_body(
                endpoint.dialect(),
                ErrorKind::BadAnswer,
                &message,
                "invalid_answer",
            ),
            details: "spillway_invalid_answer",
        },
    }
}
