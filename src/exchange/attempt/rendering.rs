//! A provider's answer in the client's protocol: whole ones when they are whole, streams as they pass.

use crate::breaker::{Failure, Outcome};
use crate::dialect::{ErrorKind, error_body};
use crate::report::metric::GaveUp;
use crate::store::Store;
use crate::translate::{self, AnswerOptions, StreamOptions, StreamTranslator};

use super::super::foreign::Pair;
use super::super::{Body, Edit, Flow, Reply, Step, Turn};
use super::response::{Lost, flip};
use super::{Attempt, Going};

/// A whole answer, or an error, that is held until it can be read.
#[derive(Debug)]
pub struct Gathering {
    pub(super) going: Going,
    pub(super) pair: Pair,
    pub(super) status: u16,
}

/// A stream whose events are said again as they pass.
#[derive(Debug)]
pub struct Translating {
    translator: StreamTranslator,
    /// Bytes of the client's words that the host holds.
    held: usize,
}

impl Gathering {
    /// Waits for the end, then says it all again.
    pub(super) fn body<S: Store>(
        self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Attempt, Step) {
        let bound = turn.gateway.policy.bounds.response_body;
        if body.size > bound {
            return self.unreadable(turn);
        }
        if !body.end {
            return (Attempt::Gathering(self), Step::hold());
        }
        let bytes = body.whole();
        if !(200..300).contains(&self.status) {
            let (status, bytes) = translate::error(self.pair.provider, self.pair.client, self.status, &bytes);
            return self.said(turn, status, bytes);
        }
        let id = format!("{:016x}", turn.entropy);
        let options = answer_options(&self.going, &id, turn);
        match translate::answer(self.pair.provider, self.pair.client, &bytes, &options) {
            Ok(bytes) => {
                let status = self.status;
                self.said(turn, status, bytes)
            }
            Err(_) => self.unreadable(turn),
        }
    }

    fn said<S: Store>(self, turn: &mut Turn<'_, S>, status: u16, bytes: Vec<u8>) -> (Attempt, Step) {
        let edits = vec![
            Edit::set(":status", status.to_string()),
            Edit::set("content-type", "application/json"),
            Edit::set("content-length", bytes.len().to_string()),
        ];
        self.going.hand_back(turn, status);
        let step = Step {
            edits,
            body: Some(bytes),
            flow: Flow::Continue,
        };
        (Attempt::Over, step)
    }

    /// Headers alone, where an answer should be.
    pub(super) fn nothing<S: Store>(self, turn: &mut Turn<'_, S>) -> (Attempt, Step) {
        let (attempt, step) = self.unreadable(turn);
        let Some(body) = step.body else {
            return (attempt, step);
        };
        let reply = Reply {
            status: 502,
            headers: vec![("content-type".into(), "application/json".into())],
            body,
            details: "spillway_untranslatable",
        };
        (attempt, Step::reply(reply))
    }

    /// An answer that is none in its provider's protocol: the next one's, or 502.
    fn unreadable<S: Store>(self, turn: &mut Turn<'_, S>) -> (Attempt, Step) {
        // Some hosts can't have an answer's body decide (failover.retry_on without stream_error).
        if self.going.is_last() || !self.going.reads_bodies(&turn.gateway.policy) {
            let message = "the provider's answer can't be translated";
            let dialect = self.going.endpoint.dialect();
            let body = error_body(dialect, ErrorKind::BadAnswer, message, "untranslatable");
            return self.said(turn, 502, body);
        }
        let lost = Lost {
            why: GaveUp::Malformed,
            status: Some(self.status),
            outcome: Outcome::Failure(Failure::Malformed),
            wait: None,
        };
        let edits = flip(Vec::new(), self.status);
        self.going.give_up(turn, lost);
        (Attempt::Over, Step::edited(edits))
    }
}

impl Translating {
    pub(super) fn of<S: Store>(going: &Going, pair: Pair, turn: &Turn<'_, S>) -> Self {
        let id = format!("{:016x}", turn.entropy);
        let options = StreamOptions {
            answer: answer_options(going, &id, turn),
            // The gateway role reads it, and takes it out for a client that didn't ask.
            include_usage: true,
            event_bound: turn.gateway.policy.bounds.sse_line,
        };
        Self {
            translator: StreamTranslator::new(pair.provider, pair.client, &options),
            held: 0,
        }
    }

    /// Says a chunk again; at the end also what is left to say. Where the end itself is silent the last words wait for it:
    /// it may come as trailers, beside which hosts let only be changed what they hold.
    pub(super) fn body(mut self: Box<Self>, body: &Body<'_>) -> (Attempt, Step) {
        let mut said = (body.read)(0, self.held);
        said.extend(self.translator.push(&body.from(self.held)));
        if body.end {
            said.extend(self.translator.finish());
            return (Attempt::Over, Step::replaced(said));
        }
        let waits = self.translator.may_be_over() && !said.is_empty();
        self.held = if waits { said.len() } else { 0 };
        let flow = if waits { Flow::Hold } else { Flow::Continue };
        let step = Step::replaced(said);
        (Attempt::Translating(self), Step { flow, ..step })
    }

    /// Whether the host holds something of it.
    pub(super) fn holds(&self) -> bool {
        self.held > 0
    }
}

fn answer_options<'o, S: Store>(going: &'o Going, id: &'o str, turn: &Turn<'_, S>) -> AnswerOptions<'o> {
    AnswerOptions {
        model: &going.order.asked,
        id,
        created: turn.now.wall.0 / 1_000,
    }
}
