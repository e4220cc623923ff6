//! A stream's beginning: held until its first token, so that an error before it never reaches the client.

use crate::dialect::Passed;
use crate::failover::Fault;
use crate::store::Store;

use super::super::respond::{Reader, Responding};
use super::super::settle::is_cut;
use super::super::{Body, Exchange, Step, Turn};

/// More isn't held of a stream that hasn't said a word.
const MOST_HELD: usize = 64 << 10;

/// What is held of a stream.
#[derive(Debug, Default)]
pub(in super::super) struct Listening {
    /// How much of what the host holds was read.
    read: usize,
    /// What goes on of it.
    out: Vec<u8>,
    /// That isn't what came.
    differs: bool,
}

impl Responding {
    /// Holds the answer's head until its first token, where that decides; else the answer is the client's from here on.
    pub(in super::super) fn starts_listening<S: Store>(&mut self, turn: &Turn<'_, S>) -> bool {
        let rules = turn
            .gateway
            .route(&self.record.model)
            .map(|route| &route.failover);
        let stream = matches!(self.reader, Reader::Stream(_)) && self.is_good();
        let buffers = self.rule.is_some_and(|rule| rule.buffers(&turn.gateway.policy));
        let Some(kept) = &mut self.kept else {
            return false;
        };
        let can = kept.moves && (turn.gateway.policy.host.body_pause || kept.calls());
        let wanted = rules.is_some_and(|rules| rules.on.stream_error || rules.on.first_token);
        let wanted = wanted || kept.drills();
        if can && wanted && stream && kept.is_kept() {
            kept.listening = Some(Listening::default());
            return true;
        }
        kept.due = None;
        // A call's answer is read as a whole before anything of it goes out, as is one that waits for its verdict.
        let waits = kept.chances && (matches!(self.reader, Reader::Held { .. }) || stream && buffers);
        if !kept.calls() && !waits {
            kept.give_out();
        }
        false
    }

    /// Whether the head is held.
    pub(in super::super) fn is_listening(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.listening.is_some())
    }

    /// Reads on until the stream has said something, or has failed.
    pub(in super::super) fn listen<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Exchange, Step) {
        self.hear(body);
        self.time_tokens(turn);
        if let Some(fault) = self.fault_of_beginning(body.end) {
            self = match self.give_up(turn, fault) {
                Ok(next) => return next,
                Err(same) => same,
            };
        } else if !self.spoke(body) {
            return (Exchange::Responding(self), Step::hold());
        }
        let passed = self.heard();
        if self.is_buffering() {
            return self.buffer_from(turn, body, passed);
        }
        self.streamed(turn, body, passed)
    }

    fn hear(&mut self, body: &Body<'_>) {
        let listening = self.kept.as_mut().and_then(|kept| kept.listening.as_mut());
        let (Some(listening), Reader::Stream(reader)) = (listening, &mut self.reader) else {
            return;
        };
        let chunk = body.from(listening.read);
        listening.read = body.size;
        match reader.push(&chunk) {
            Passed::Unchanged => listening.out.extend_from_slice(&chunk),
            Passed::Replaced(bytes) => {
                listening.differs = true;
                listening.out.extend_from_slice(&bytes);
            }
        }
    }

    fn fault_of_beginning(&self, end: bool) -> Option<Fault> {
        let progress = self.progress()?;
        if progress.begun {
            None
        } else if progress.error {
            Some(Fault::StreamError)
        } else {
            (end && is_cut(progress)).then_some(Fault::Reset)
        }
    }

    fn spoke(&self, body: &Body<'_>) -> bool {
        let said = self
            .progress()
            .is_none_or(|p| p.begun || p.finished || p.done || p.oversize);
        said || body.end || body.size > MOST_HELD
    }

    /// What was held goes on, to its verdict at least; no failure has it sent again from here on.
    pub(in super::super) fn heard(&mut self) -> Passed {
        let buffers = self.is_buffering();
        let listening = self.kept.as_mut().and_then(|kept| {
            let listening = kept.listening.take();
            kept.due = None;
            if !buffers || !kept.chances {
                kept.give_out();
            }
            listening
        });
        match listening {
            Some(listening) if listening.differs => Passed::Replaced(listening.out),
            Some(_) | None => Passed::Unchanged,
        }
    }
}
