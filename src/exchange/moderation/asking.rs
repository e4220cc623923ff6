//! Asking moderations, all at once, and what follows from what they say: the first that objects decides.

use core::time::Duration;

use crate::moderation::{Failure, Side, Verdict, question, verdict};
use crate::policy::moderation::{OnFailure, OnFlagged};
use crate::store::Store;
use crate::time::Instant;

use super::super::callout::{Call, CallAnswer};
use super::super::{Exchange, Flow, Step, Turn, errand};
use super::release::Release;
use super::{Watched, status, within};

/// Hosts keep a call's time themselves. One that doesn't is waited for so much longer.
const GRACE: Duration = Duration::from_millis(250);

/// What is asked, all at once, and what waits for it.
#[derive(Debug)]
pub(super) struct Asking {
    /// What is out, in the policy's order.
    out: Vec<Out>,
    held: Held,
}

/// A question that is out.
#[derive(Clone, Copy, Debug)]
struct Out {
    /// The moderation's index in the policy.
    at: usize,
    begun: Instant,
    due: Instant,
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
        match &self.held {
            Held::Request(body) => body.len(),
            Held::Answer(release) => release.size(),
        }
    }

    pub(super) fn held(&self) -> &Held {
        &self.held
    }

    /// When somebody is first given up.
    pub(super) fn due(&self) -> Option<Instant> {
        self.out.iter().map(|out| out.due).min()
    }

    /// The question that a moderation was asked, taken.
    fn take(&mut self, at: usize) -> Option<Out> {
        let place = self.out.iter().position(|out| out.at == at)?;
        Some(self.out.remove(place))
    }
}

impl Watched {
    /// Has something judged by these, all at once, before it goes on. Nobody is asked where one objects unasked.
    pub(super) fn ask<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        (rules, text): (Vec<usize>, Result<String, Failure>),
        held: Held,
    ) -> (Exchange, Step) {
        let side = held.side();
        self.asking = Some(Box::new(Asking {
            out: Vec::new(),
            held,
        }));
        let text = text.as_deref().map_err(|why| *why);
        let mut calls = Vec::with_capacity(rules.len());
        for at in rules {
            let Some(rule) = turn.gateway.policy.moderation.get(at) else {
                continue;
            };
            match text.and_then(|text| within(text, rule)) {
                Ok(text) => calls.push(errand::call(
                    (at, &rule.to),
                    question(&rule.ask, side, text),
                    rule.timeout,
                )),
                Err(why) => {
                    if let Some(objection) = self.heard(turn, (at, side), &Err(why), Duration::ZERO) {
                        return self.block(turn, at, objection);
                    }
                }
            }
        }
        self.wait_for(turn, calls)
    }

    /// Makes the calls, and waits for what they say; with none, nobody objects.
    fn wait_for<S: Store>(mut self: Box<Self>, turn: &mut Turn<'_, S>, calls: Vec<Call>) -> (Exchange, Step) {
        let now = turn.now.monotonic;
        let out = calls.iter().map(|call| Out {
            at: call.of,
            begun: now,
            due: now.after(call.timeout.saturating_add(GRACE)),
        });
        match &mut self.asking {
            Some(asking) if !calls.is_empty() => asking.out = out.collect(),
            Some(_) | None => return self.let_go(turn),
        }
        let flow = Flow::Calls(calls);
        (Exchange::Watched(self), Step { flow, ..Step::hold() })
    }

    /// A call was answered, or couldn't be made.
    pub(in super::super) fn called<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        of: usize,
        answer: CallAnswer,
    ) -> (Exchange, Step) {
        let gateway = turn.gateway;
        if self.asking.is_none() {
            let step = self.run(|inner| inner.called(turn, of, answer));
            return self.answered_by_call(turn, step);
        }
        let rule = gateway.policy.moderation.get(of);
        let found = match rule {
            Some(rule) if !answer.unsent => verdict(&rule.ask, status(&answer), &answer.body),
            Some(_) | None => Err(Failure::Unsent),
        };
        self.settle(turn, of, found)
    }

    /// The time has come: of a verdict that the host forgot, or of something of the exchange's own.
    pub(in super::super) fn woken<S: Store>(mut self: Box<Self>, turn: &mut Turn<'_, S>) -> (Exchange, Step) {
        let Some(asking) = &self.asking else {
            let step = self.run(|inner| inner.woken(turn));
            return self.answered_by_call(turn, step);
        };
        let late = asking.out.iter().find(|out| out.due <= turn.now.monotonic);
        let Some(at) = late.map(|out| out.at) else {
            return (Exchange::Watched(self), Step::hold());
        };
        match self.settle(turn, at, Err(Failure::Timeout)) {
            // Each time with one less that is out.
            (Exchange::Watched(state), step) if state.asks() && step.flow == Flow::Hold => state.woken(turn),
            ended => ended,
        }
    }

    /// A moderation has spoken, or failed to. Of who was given up before it comes nothing any more.
    fn settle<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        at: usize,
        found: Result<Verdict, Failure>,
    ) -> (Exchange, Step) {
        let Some(asking) = &mut self.asking else {
            return (Exchange::Watched(self), Step::hold());
        };
        let Some(out) = asking.take(at) else {
            return (Exchange::Watched(self), Step::hold());
        };
        let (side, waits) = (asking.held.side(), !asking.out.is_empty());
        let took = turn.now.monotonic.since(out.begun);
        match self.heard(turn, (at, side), &found, took) {
            Some(objection) => self.block(turn, at, objection),
            None if waits => (Exchange::Watched(self), Step::hold()),
            None => self.let_go(turn),
        }
    }

    /// Takes down what was said; answers whether it objects, and if so whether that is for a failure.
    fn heard<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        (at, side): (usize, Side),
        found: &Result<Verdict, Failure>,
        took: Duration,
    ) -> Option<Option<Failure>> {
        self.note(turn, (at, side), found, Some(took));
        let rule = turn.gateway.policy.moderation.get(at)?;
        match found {
            Ok(found) if found.flagged && rule.on_flagged == OnFlagged::Block => Some(None),
            Err(why) if rule.on_failure == OnFailure::Block => Some(Some(*why)),
            Ok(_) | Err(_) => None,
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

    /// Somebody objects, or can't tell where he must; what the others say doesn't matter any more.
    fn block<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        at: usize,
        failure: Option<Failure>,
    ) -> (Exchange, Step) {
        match self.given_up(turn) {
            Some(Held::Request(_)) => self.refuse_request(turn, at, failure),
            Some(Held::Answer(release)) => self.refuse_answer(turn, (at, failure), release),
            None => (Exchange::Watched(self), Step::hold()),
        }
    }

    /// The exchange ends, or goes another way, before the verdict is there; answers what waited.
    pub(super) fn abandon<S: Store>(&mut self, turn: &mut Turn<'_, S>) -> Option<Side> {
        self.given_up(turn).map(|held| held.side())
    }

    /// Nobody who is still out is waited for; answers what waited.
    fn given_up<S: Store>(&mut self, turn: &mut Turn<'_, S>) -> Option<Held> {
        let asking = self.asking.take()?;
        let side = asking.held.side();
        for out in asking.out {
            let took = turn.now.monotonic.since(out.begun);
            self.note(turn, (out.at, side), &Err(Failure::Abandoned), Some(took));
        }
        Some(asking.held)
    }
}
