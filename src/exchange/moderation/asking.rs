//! Asking one moderation after another, and what follows from what they say.

use core::time::Duration;
use std::collections::VecDeque;

use crate::moderation::{Failure, Side, Verdict, question, verdict};
use crate::policy::moderation::{OnFailure, OnFlagged};
use crate::store::Store;
use crate::time::Instant;

use super::super::callout::CallAnswer;
use super::super::{Exchange, Flow, Step, Turn, errand};
use super::release::Release;
use super::{Watched, status, within};

/// Hosts keep a call's time themselves. One that doesn't is waited for so much longer.
const GRACE: Duration = Duration::from_millis(250);

/// What is asked, and what waits for it.
#[derive(Debug)]
pub(super) struct Asking {
    /// What is out.
    at: usize,
    begun: Instant,
    pub(super) due: Instant,
    /// What is to be asked then, in the policy's order.
    rest: VecDeque<usize>,
    text: Result<String, Failure>,
    held: Held,
}

/// What waits for the verdict.
#[derive(Debug)]
pub(super) enum Held {
    /// A request, whole.
    Request(Vec<u8>),
    /// An answer, or what is left of it.
    Answer(Release),
}

impl Held {
    pub(super) fn side(&self) -> Side {
        match self {
            Self::Request(_) => Side::Request,
            Self::Answer(_) => Side::Answer,
        }
    }
}

impl Asking {
    /// Bytes that are kept meanwhile.
    pub(super) fn size(&self) -> usize {
        let held = match &self.held {
            Held::Request(body) => body.len(),
            Held::Answer(release) => release.size(),
        };
        held.saturating_add(self.text.as_ref().map_or(0, String::len))
    }

    pub(super) fn held(&self) -> &Held {
        &self.held
    }
}

impl Watched {
    /// Has something judged by these, before it goes on.
    pub(super) fn ask<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        (rules, text): (Vec<usize>, Result<String, Failure>),
        held: Held,
    ) -> (Exchange, Step) {
        let now = turn.now.monotonic;
        self.asking = Some(Box::new(Asking {
            at: 0,
            begun: now,
            due: now,
            rest: rules.into(),
            text,
            held,
        }));
        self.next(turn)
    }

    /// Asks who is next; when nobody is left to ask, what was held goes on.
    fn next<S: Store>(mut self: Box<Self>, turn: &mut Turn<'_, S>) -> (Exchange, Step) {
        let gateway = turn.gateway;
        let Some(asking) = &mut self.asking else {
            return (Exchange::Watched(self), Step::hold());
        };
        let Some(at) = asking.rest.pop_front() else {
            return self.let_go(turn);
        };
        asking.at = at;
        asking.begun = turn.now.monotonic;
        let Some(rule) = gateway.policy.moderation.get(at) else {
            return self.next(turn);
        };
        let text = asking.text.as_deref().map_err(|why| *why);
        match text.and_then(|text| within(text, rule)) {
            Err(why) => self.settle(turn, Err(why)),
            Ok(text) => {
                asking.due = asking.begun.after(rule.timeout.saturating_add(GRACE));
                let body = question(&rule.ask, asking.held.side(), text);
                let call = errand::call(&rule.to, body, rule.timeout);
                let flow = Flow::Call(Box::new(call));
                (Exchange::Watched(self), Step { flow, ..Step::hold() })
            }
        }
    }

    /// A call was answered, or couldn't be made.
    pub(in super::super) fn called<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        answer: CallAnswer,
    ) -> (Exchange, Step) {
        let gateway = turn.gateway;
        let Some(asking) = &self.asking else {
            let step = self.run(|inner| inner.called(turn, answer));
            return self.answered_by_call(turn, step);
        };
        let rule = gateway.policy.moderation.get(asking.at);
        let found = match rule {
            Some(rule) if !answer.unsent => verdict(&rule.ask, status(&answer), &answer.body),
            Some(_) | None => Err(Failure::Unsent),
        };
        self.settle(turn, found)
    }

    /// The time has come: of a verdict that the host forgot, or of something of the exchange's own.
    pub(in super::super) fn woken<S: Store>(mut self: Box<Self>, turn: &mut Turn<'_, S>) -> (Exchange, Step) {
        match &self.asking {
            Some(asking) if asking.due <= turn.now.monotonic => self.settle(turn, Err(Failure::Timeout)),
            Some(_) => (Exchange::Watched(self), Step::hold()),
            None => {
                let step = self.run(|inner| inner.woken(turn));
                self.answered_by_call(turn, step)
            }
        }
    }

    /// A moderation has spoken, or failed to.
    fn settle<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        found: Result<Verdict, Failure>,
    ) -> (Exchange, Step) {
        let gateway = turn.gateway;
        let Some(asking) = &self.asking else {
            return (Exchange::Watched(self), Step::hold());
        };
        let (at, side) = (asking.at, asking.held.side());
        let took = turn.now.monotonic.since(asking.begun);
        self.note(turn, (at, side), &found, Some(took));
        let Some(rule) = gateway.policy.moderation.get(at) else {
            return self.next(turn);
        };
        match found {
            Ok(found) if found.flagged && rule.on_flagged == OnFlagged::Block => self.block(turn, at, None),
            Err(why) if rule.on_failure == OnFailure::Block => self.block(turn, at, Some(why)),
            Ok(_) | Err(_) => self.next(turn),
        }
    }

    /// Nobody objects.
    fn let_go<S: Store>(mut self: Box<Self>, turn: &mut Turn<'_, S>) -> (Exchange, Step) {
        match self.asking.take().map(|asking| asking.held) {
            Some(Held::Request(body)) => self.send_on(turn, &body),
            Some(Held::Answer(release)) => self.release(release),
            None => (Exchange::Watched(self), Step::hold()),
        }
    }

    /// Somebody objects, or can't tell where he must.
    fn block<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        at: usize,
        failure: Option<Failure>,
    ) -> (Exchange, Step) {
        match self.asking.take().map(|asking| asking.held) {
            Some(Held::Request(_)) => self.refuse_request(turn, at, failure),
            Some(Held::Answer(release)) => self.refuse_answer(turn, (at, failure), release),
            None => (Exchange::Watched(self), Step::hold()),
        }
    }

    /// The exchange ends, or goes another way, before the verdict is there; answers what waited.
    pub(super) fn abandon<S: Store>(&mut self, turn: &mut Turn<'_, S>) -> Option<Side> {
        let asking = self.asking.take()?;
        let side = asking.held.side();
        let took = turn.now.monotonic.since(asking.begun);
        self.note(turn, (asking.at, side), &Err(Failure::Abandoned), Some(took));
        Some(side)
    }
}
