//! The answer, put back and masked before it is read, timed and judged.
//!
//! What comes out of here looks to everything behind as if the provider had sent it.

use std::borrow::Cow;

use crate::dialect::{Endpoint, ErrorKind, JsonReader, Passed, error_body, error_event};
use crate::guard::{Plan, Watch};
use crate::policy::Side;
use crate::report::metric::{Metric, Refused};
use crate::store::Store;

use super::super::admit::Admitted;
use super::super::blame::Ending;
use super::super::overtime::Overtime;
use super::super::respond::{Reader, Responding};
use super::super::{Body, Exchange, Flow, Reply, Step, Turn};
use super::path::path;
use super::spans::Spans;
use super::stream::{GuardedStream, Stop, no_logprobs};
use super::texts::Texts;
use super::{Passing, Phase, Watching, told};

const CODE: &str = "guarded_answer";

impl Admitted {
    /// Begins to look at an answer. What an answer is refused with that can't be looked at.
    pub(in super::super) fn watch_answer<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        (reader, good): (&Reader, bool),
    ) -> Option<Reply> {
        let watching = self.watching.as_mut()?;
        let bound = turn.gateway.policy.bounds.sse_line;
        watching.phase = match reader {
            Reader::Json { .. } | Reader::Held { .. } if good => Phase::Whole(Vec::new()),
            Reader::Stream(_) if good => Phase::Stream(Box::new(Passing {
                stream: GuardedStream::new(self.endpoint, bound),
                taken: 0,
                out: Vec::new(),
                differs: false,
            })),
            Reader::Json { .. } | Reader::Held { .. } | Reader::Stream(_) | Reader::Opaque => Phase::Idle,
        };
        if !(good && matches!(reader, Reader::Opaque)) {
            return None;
        }
        turn.count(Metric::Unguarded(Side::Answer));
        if watching.is_lenient(&turn.gateway.policy) {
            return None;
        }
        self.record.refused = Refused::Guard.as_str();
        turn.count(Metric::Refused(Refused::Guard));
        let message = told(&turn.gateway.policy, &watching.watch, Side::Answer, "");
        Some(refusal(self.endpoint, &message))
    }
}

/// An error in the client's protocol, in the place of the answer.
fn refusal(endpoint: Endpoint, message: &str) -> Reply {
    let headers = [("content-type", "application/json"), ("x-should-retry", "false")];
    Reply {
        status: 502,
        headers: headers
            .map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)))
            .to_vec(),
        body: error_body(endpoint.dialect(), ErrorKind::BadAnswer, message, CODE),
        details: "spillway_guarded_answer",
    }
}

/// What became of a whole answer.
pub(super) enum Looked {
    Same,
    Other(Vec<u8>),
    Stopped(Stop),
}

/// Looks a whole answer over.
pub(super) fn look(watch: &mut Watch, plan: &Plan, (endpoint, body): (Endpoint, &[u8])) -> Looked {
    let Ok(found) = Texts::of(body) else {
        return Looked::Stopped(Stop::Unguarded);
    };
    let mut changes: Vec<(&[u8], Cow<'_, [u8]>)> = Vec::new();
    for text in found.texts {
        let masked = watch.mask_written(plan, text.raw, text.written);
        if watch.blocked().is_some() {
            let at = crate::guard::place(body, text.raw).map_or(0, |place| place.start);
            return Looked::Stopped(Stop::Blocked(path(body, at)));
        }
        changes.extend(masked.map(|masked| (text.raw, Cow::Owned(masked))));
    }
    if plan.rules_bind() {
        let spans = found.logprobs.into_iter();
        changes.extend(spans.map(|span| (span, Cow::Borrowed(no_logprobs(endpoint)))));
        changes.sort_by_key(|(raw, _)| raw.as_ptr().addr());
    }
    let mut spans = Spans::of(body);
    for (raw, with) in &changes {
        spans.put(raw, with);
    }
    spans.finish().map_or(Looked::Same, Looked::Other)
}

impl Responding {
    /// Reads what came, and changes what must be changed.
    pub(in super::super) fn body<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Exchange, Step) {
        if self.overtime == Overtime::Told {
            return self.cut_off(turn, body);
        }
        let Some(watching) = &mut self.watching else {
            return self.read_on(turn, body);
        };
        let binds = watching.binds();
        match (&watching.phase, binds) {
            (Phase::Idle, _) => self.read_on(turn, body),
            (Phase::Whole(_), true) => self.hold_whole(turn, body),
            (Phase::Whole(_), false) => self.watch_whole(turn, body),
            (Phase::Stream(_), true) => self.guard_stream(turn, body),
            (Phase::Stream(_), false) => self.watch_stream(turn, body),
            (Phase::Stopped, _) => self.drop_on(turn, body),
        }
    }

    /// Holds a whole answer until it can be looked at.
    fn hold_whole<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Exchange, Step) {
        let bound = turn.gateway.policy.bounds.response_body;
        let Some(Watching {
            phase: Phase::Whole(gathered),
            ..
        }) = self.watching.as_deref_mut()
        else {
            return self.read_on(turn, body);
        };
        if body.size > bound {
            return self.unguarded_whole(turn, body);
        }
        gathered.extend(body.from(gathered.len()));
        if !body.end {
            return (Exchange::Responding(self), Step::hold());
        }
        let bytes = core::mem::take(gathered);
        match self.look_whole(turn, &bytes) {
            Looked::Same => self.read_on(turn, body),
            Looked::Other(other) => self.read_other(turn, other),
            // No JSON, whatever it says of itself: nothing of a model's can be read from it.
            Looked::Stopped(Stop::Unguarded) if bytes.is_empty() => self.read_on(turn, body),
            Looked::Stopped(Stop::Unguarded) => self.unguarded_whole(turn, body),
            Looked::Stopped(stop) => self.stop_whole(turn, body, &stop),
        }
    }

    fn look_whole<S: Store>(&mut self, turn: &mut Turn<'_, S>, bytes: &[u8]) -> Looked {
        let Some(watching) = self.watching.as_deref_mut() else {
            return Looked::Same;
        };
        watching.phase = Phase::Idle;
        let looked = look(&mut watching.watch, &watching.plan, (self.endpoint, bytes));
        watching.note(turn, &mut self.record);
        looked
    }

    /// Reads another body in the place of the one that the host holds.
    fn read_other<S: Store>(self: Box<Self>, turn: &mut Turn<'_, S>, other: Vec<u8>) -> (Exchange, Step) {
        let body = Body {
            size: other.len(),
            end: true,
            read: &|start, max| part(&other, start, max),
        };
        let (exchange, mut step) = self.read_on(turn, &body);
        if step.body.is_none() && step.flow == Flow::Continue {
            step.body = Some(other);
        }
        (exchange, step)
    }

    /// An answer that only counts: it passes, and a copy is looked at.
    fn watch_whole<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Exchange, Step) {
        let bound = turn.gateway.policy.bounds.response_body;
        let held = self.holds_body();
        let Some(Watching {
            phase: Phase::Whole(gathered),
            ..
        }) = self.watching.as_deref_mut()
        else {
            return self.read_on(turn, body);
        };
        gathered.extend(body.from(if held { gathered.len() } else { 0 }));
        let over = gathered.len() > bound;
        if over || body.end {
            let bytes = core::mem::take(gathered);
            let unread = over || matches!(self.look_whole(turn, &bytes), Looked::Stopped(Stop::Unguarded));
            if unread && !bytes.is_empty() {
                self.stop_looking();
                turn.count(Metric::Unguarded(Side::Answer));
            }
        }
        self.read_on(turn, body)
    }

    /// Whether the host holds what was read of the body.
    fn holds_body(&self) -> bool {
        matches!(self.reader, Reader::Held { .. })
    }

    fn stop_looking(&mut self) {
        if let Some(watching) = self.watching.as_deref_mut() {
            watching.phase = Phase::Idle;
        }
    }

    /// A whole answer that can't be looked at.
    fn unguarded_whole<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Exchange, Step) {
        turn.count(Metric::Unguarded(Side::Answer));
        let policy = &turn.gateway.policy;
        let lenient = self
            .watching
            .as_ref()
            .is_none_or(|watching| watching.is_lenient(policy));
        if lenient {
            self.stop_looking();
            return self.read_on(turn, body);
        }
        self.stop_whole(turn, body, &Stop::Unguarded)
    }

    /// An error takes a whole answer's place; nothing of it goes on.
    fn stop_whole<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
        stop: &Stop,
    ) -> (Exchange, Step) {
        let message = self.stopped(turn, stop);
        self.read_what_it_cost(&body.whole());
        let reply = refusal(self.endpoint, &message);
        let calls = self.kept.as_ref().is_some_and(|kept| kept.calls());
        if turn.gateway.policy.host.body_pause || calls {
            let record = self.finish(turn, Ending::Complete);
            return (Exchange::Done(record), Step::reply(reply));
        }
        if body.end {
            let record = self.finish(turn, Ending::Complete);
            return (Exchange::Done(record), Step::replaced(reply.body));
        }
        (Exchange::Responding(self), Step::replaced(reply.body))
    }

    /// Held until it was stopped, it wasn't read by anybody who counts.
    fn read_what_it_cost(&mut self, whole: &[u8]) {
        let mut reader = JsonReader::new(self.endpoint);
        reader.push(whole);
        self.reader = Reader::Json {
            reader,
            gathered: None,
        };
    }

    /// Notes that an answer is stopped; answers what the client is told.
    fn stopped<S: Store>(&mut self, turn: &mut Turn<'_, S>, stop: &Stop) -> String {
        let policy = &turn.gateway.policy;
        let place = match stop {
            Stop::Blocked(place) => place,
            Stop::Unguarded => "",
        };
        let message = self.watching.as_mut().map_or_else(String::new, |watching| {
            watching.phase = Phase::Stopped;
            told(policy, &watching.watch, Side::Answer, place)
        });
        turn.count(Metric::Refused(Refused::Guard));
        self.record.refused = Refused::Guard.as_str();
        self.unchecked(turn);
        self.rule = None;
        self.buffered = None;
        message
    }

    /// Passes a stream on event by event.
    fn guard_stream<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Exchange, Step) {
        let (looked, chunk, fresh) = self.look_on(turn, body);
        if let Err(stop) = looked {
            return self.stop_stream(turn, body, (&stop, fresh));
        }
        let Some(passing) = self.passing() else {
            return self.read_on(turn, body);
        };
        passing.taken = body.size;
        let out = core::mem::take(&mut passing.out);
        let inner = Body {
            size: out.len(),
            end: body.end,
            read: &|start, max| part(&out, start, max),
        };
        let (mut exchange, mut step) = self.read_on(turn, &inner);
        match &mut exchange {
            Exchange::Responding(state) if step.flow == Flow::Hold => {
                if let Some(passing) = state.passing() {
                    passing.hold(&step, out);
                }
                return (exchange, step);
            }
            Exchange::Responding(state) => {
                if let Some(passing) = state.passing() {
                    passing.taken = 0;
                }
            }
            _ => {}
        }
        let same = chunk.len() == body.size && chunk == out;
        if step.body.is_none() && step.flow == Flow::Continue && !same {
            step.body = Some(out);
        }
        (exchange, step)
    }

    fn passing(&mut self) -> Option<&mut Passing> {
        match &mut self.watching.as_deref_mut()?.phase {
            Phase::Stream(passing) => Some(passing),
            Phase::Idle | Phase::Whole(_) | Phase::Stopped => None,
        }
    }

    /// Looks at what is new of a stream. Answers that, too, and from where on it is new in what goes on.
    fn look_on<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Result<(), Stop>, Vec<u8>, usize) {
        let policy = &turn.gateway.policy;
        let Some(watching) = self.watching.as_deref_mut() else {
            return (Ok(()), Vec::new(), 0);
        };
        let (mut looking, phase) = watching.looking(policy);
        let Phase::Stream(passing) = phase else {
            return (Ok(()), Vec::new(), 0);
        };
        let (chunk, fresh) = (body.from(passing.taken), passing.out.len());
        let was = passing.stream.unguarded;
        let mut looked = passing.stream.push(&mut looking, &chunk, &mut passing.out);
        if body.end && looked.is_ok() {
            looked = passing.stream.finish(&mut looking, &mut passing.out);
        }
        passing.differs |= passing.out.get(fresh..) != Some(&*chunk);
        if passing.stream.unguarded && !was {
            turn.count(Metric::Unguarded(Side::Answer));
        }
        watching.note(turn, &mut self.record);
        (looked, chunk, fresh)
    }

    /// Ends a stream with an error; what comes after it is read for what it cost, and dropped.
    fn stop_stream<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
        (stop, fresh): (&Stop, usize),
    ) -> (Exchange, Step) {
        let Some(passing) = self.passing() else {
            return self.read_on(turn, body);
        };
        let (out, rest) = (core::mem::take(&mut passing.out), passing.stream.rest());
        let waits = self.is_buffering();
        let message = self.stopped(turn, stop);
        // Where the host holds the stream, what was read before goes out only now.
        let heard = self.is_listening().then(|| self.heard());
        if let Some(kept) = &mut self.kept {
            kept.give_out();
        }
        let (before, new) = out.split_at_checked(fresh).unwrap_or((&out, b""));
        let mut words = as_passed(heard.unwrap_or(Passed::Unchanged), before);
        if let Reader::Stream(reader) = &mut self.reader {
            words.extend(as_passed(reader.push(new), new));
            reader.fail();
            reader.push(&rest);
        }
        self.time_tokens(turn);
        if waits {
            // Nothing of it was to go out before its verdict, and none will come.
            words.clear();
        }
        words.extend(error_event(self.endpoint, ErrorKind::BadAnswer, &message));
        self.dropping(turn, body, words)
    }

    /// What still comes of a stopped answer goes nowhere.
    fn drop_on<S: Store>(mut self: Box<Self>, turn: &mut Turn<'_, S>, body: &Body<'_>) -> (Exchange, Step) {
        let chunk = body.whole();
        match &mut self.reader {
            Reader::Stream(reader) => {
                reader.push(&chunk);
            }
            Reader::Json { reader, .. } => reader.push(&chunk),
            Reader::Held { .. } | Reader::Opaque => {}
        }
        self.dropping(turn, body, Vec::new())
    }

    fn dropping<S: Store>(
        self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
        words: Vec<u8>,
    ) -> (Exchange, Step) {
        if body.end {
            let record = self.finish(turn, Ending::Complete);
            return (Exchange::Done(record), Step::replaced(words));
        }
        (Exchange::Responding(self), Step::replaced(words))
    }

    /// A stream that only counts: it passes, and is looked at.
    fn watch_stream<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Exchange, Step) {
        let (looked, ..) = self.look_on(turn, body);
        if let Some(passing) = self.passing() {
            passing.out.clear();
            passing.taken = body.size;
        }
        if looked.is_err() {
            self.stop_looking();
        }
        let (mut exchange, step) = self.read_on(turn, body);
        if let Exchange::Responding(state) = &mut exchange
            && let Some(passing) = state.passing()
        {
            if step.flow == Flow::Hold {
                passing.hold(&step, Vec::new());
            } else {
                passing.taken = 0;
            }
        }
        (exchange, step)
    }
}

/// What goes on of bytes that were read.
fn as_passed(passed: Passed, bytes: &[u8]) -> Vec<u8> {
    match passed {
        Passed::Unchanged => bytes.to_vec(),
        Passed::Replaced(other) => other,
    }
}

fn part(bytes: &[u8], start: usize, max: usize) -> Vec<u8> {
    let rest = bytes.get(start..).unwrap_or_default();
    rest.get(..max).unwrap_or(rest).to_vec()
}
