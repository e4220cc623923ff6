//! Streams that are held until they are known to be valid.
//!
//! What goes out then is all of the stream at once, perhaps with other words in it, or an error in its place. The
//! invariant: no more than the bound of an answer is held; what is longer passes, unchecked.

use crate::dialect::Passed;
use crate::store::Store;

use super::answer::{Form, Whole};
use super::judge::{Heard, Rule};
use super::respond::{Reader, Responding};
use super::{Body, Exchange, Step, Turn};

/// What is held of a stream.
#[derive(Debug, Default)]
pub(super) struct Buffered {
    /// How much of what the host holds was read.
    read: usize,
    /// What would go on of it.
    out: Vec<u8>,
    /// That isn't what came.
    differs: bool,
}

impl Responding {
    /// Holds a stream where its rule wants that, or all of it came at once; answers whether it does.
    pub(super) fn starts_buffering<S: Store>(&mut self, turn: &Turn<'_, S>) -> bool {
        let policy = &turn.gateway.policy;
        let called = self.kept.as_ref().is_some_and(|kept| kept.calls());
        let wanted = |rule: Rule| rule.buffers(policy) || called && rule.holds(policy);
        if matches!(self.reader, Reader::Stream(_)) && self.rule.is_some_and(wanted) {
            self.buffered = Some(Box::default());
        }
        self.is_buffering()
    }

    /// Whether it is held.
    pub(super) fn is_buffering(&self) -> bool {
        self.buffered.is_some()
    }

    /// Reads on, and judges it at its end.
    pub(super) fn buffer<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Exchange, Step) {
        self.take_in(body);
        self.time_tokens(turn);
        if body.size > turn.gateway.policy.bounds.response_body {
            return self.release(turn, body);
        }
        if !body.end {
            return (Exchange::Responding(self), Step::hold());
        }
        self.end_buffering(turn)
    }

    /// Goes on with what was read while it was listened to.
    pub(super) fn buffer_from<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
        passed: Passed,
    ) -> (Exchange, Step) {
        if let Some(buffered) = &mut self.buffered {
            buffered.read = body.size;
            match passed {
                Passed::Unchanged => buffered.out = body.whole(),
                Passed::Replaced(bytes) => {
                    buffered.out = bytes;
                    buffered.differs = true;
                }
            }
        }
        self.buffer(turn, body)
    }

    /// The stream is all there: its verdict decides.
    pub(super) fn end_buffering<S: Store>(mut self: Box<Self>, turn: &mut Turn<'_, S>) -> (Exchange, Step) {
        let (Reader::Stream(reader), Some(buffered), Some(rule)) =
            (&mut self.reader, &mut self.buffered, self.rule)
        else {
            return (Exchange::Responding(self), Step::pass());
        };
        let kept_back = reader.finish();
        let differs = buffered.differs || !kept_back.is_empty();
        let mut bytes = core::mem::take(&mut buffered.out);
        bytes.extend(kept_back);
        let whole = Whole {
            heard: Heard::of_stream(reader),
            bytes,
            form: if differs { Form::Edited } else { Form::Events },
        };
        self.decide(turn, rule, &whole)
    }

    fn take_in(&mut self, body: &Body<'_>) {
        let (Reader::Stream(reader), Some(buffered)) = (&mut self.reader, &mut self.buffered) else {
            return;
        };
        let chunk = body.from(buffered.read);
        buffered.read = body.size;
        if chunk.is_empty() {
            return;
        }
        match reader.push(&chunk) {
            Passed::Unchanged => buffered.out.extend_from_slice(&chunk),
            Passed::Replaced(bytes) => {
                buffered.differs = true;
                buffered.out.extend_from_slice(&bytes);
            }
        }
    }

    /// It is too long to be held: it passes from here on.
    fn release<S: Store>(mut self: Box<Self>, turn: &mut Turn<'_, S>, body: &Body<'_>) -> (Exchange, Step) {
        self.unchecked(turn);
        self.rule = None;
        let passed = match self.buffered.take() {
            Some(buffered) if buffered.differs => Passed::Replaced(buffered.out),
            Some(_) | None => Passed::Unchanged,
        };
        self.streamed(turn, body, passed)
    }
}
