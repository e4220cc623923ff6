//! Calls that no exchange waits for: questions asked beside an exchange, and posts for review.
//!
//! An exchange leaves them among its effects; the worker keeps a bounded queue of them and makes the calls from its tick, in
//! its own name, so that they outlive the exchange. The invariant: each is counted once, whatever becomes of it.

use core::time::Duration;

use crate::moderation::{Failure, Side, verdict};
use crate::policy::Mode;
use crate::policy::moderation::{OnFlagged, Target};
use crate::report::metric::{Metric, Posted};
use crate::store::Store;
use crate::time::Instant;

use super::Turn;
use super::callout::{Call, CallAnswer};
use super::moderation::{count_verdict, status};
use super::review::{self, Facts};

/// A call that nobody waits for.
#[derive(Debug)]
pub struct Errand {
    /// The call.
    pub call: Call,
    /// What it is about.
    pub kind: ErrandKind,
}

/// What an errand is about.
#[derive(Debug)]
pub enum ErrandKind {
    /// A text is to be judged.
    Question(Box<Question>),
    /// People are to look at an exchange.
    Post,
}

/// A text that is to be judged beside its exchange.
#[derive(Debug)]
pub struct Question {
    /// Index into the policy's moderations.
    pub(super) at: usize,
    pub(super) side: Side,
    pub(super) asked: Instant,
    /// What a post about it would say.
    pub(super) facts: Facts,
    /// The text, where posts carry texts.
    pub(super) sample: Option<String>,
}

impl Errand {
    /// Bytes that it keeps while it waits.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers = self
            .call
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len());
        let sample = match &self.kind {
            ErrandKind::Question(question) => question.sample.as_ref().map_or(0, String::len),
            ErrandKind::Post => 0,
        };
        self.call.body.len() + headers.sum::<usize>() + sample
    }
}

/// A call to a service of the policy, and what its asker knows it by.
pub(super) fn call((of, to): (usize, &Target), body: Vec<u8>, timeout: Duration) -> Call {
    let own = [
        (":method", "POST"),
        (":path", &to.path),
        (":authority", &to.authority),
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("accept-encoding", "identity"),
    ];
    let mut headers: Vec<_> = own
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let credential = to.credential.as_ref();
    headers.extend(credential.map(|c| (c.header.clone(), c.value.clone())));
    Call {
        of,
        cluster: to.cluster.clone(),
        headers,
        body,
        timeout,
    }
}

impl<S: Store> Turn<'_, S> {
    /// An errand came back, with an answer or without one.
    pub fn came_back(&mut self, kind: ErrandKind, answer: &CallAnswer) {
        match kind {
            ErrandKind::Post => {
                let taken = status(answer).is_some_and(|status| (200..300).contains(&status));
                self.count(Metric::Review(if taken { Posted::Taken } else { Posted::Failed }));
            }
            ErrandKind::Question(question) => self.judged(*question, answer),
        }
    }

    /// An errand couldn't be queued.
    pub fn dropped(&mut self, kind: ErrandKind) {
        match kind {
            ErrandKind::Post => self.count(Metric::Review(Posted::Dropped)),
            ErrandKind::Question(question) => {
                let none = Err(Failure::Dropped);
                count_verdict(self, (question.at, question.side), &none, None);
            }
        }
    }

    fn judged(&mut self, question: Question, answer: &CallAnswer) {
        let gateway = self.gateway;
        let Some(rule) = gateway.policy.moderation.get(question.at) else {
            return;
        };
        let found = if answer.unsent {
            Err(Failure::Unsent)
        } else {
            verdict(&rule.ask, status(answer), &answer.body)
        };
        let took = self.now.monotonic.since(question.asked);
        count_verdict(self, (question.at, question.side), &found, Some(took));
        let binds = gateway.policy.mode == Mode::Enforce && rule.mode == Mode::Enforce;
        let Ok(found) = found else { return };
        if found.flagged && binds && rule.on_flagged == OnFlagged::Review {
            review::post_flagged(self, question, &found, &rule.name);
        }
    }
}
