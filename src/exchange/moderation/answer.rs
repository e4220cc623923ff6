//! An answer is judged as the client would get it: a whole one before anything of it goes out, a stream where it would end.

use crate::dialect::{Passed, StreamOptions, StreamReader, words};
use crate::moderation::{Failure, Side};
use crate::policy::moderation::OnFlagged;
use crate::store::Store;

use super::super::review::sample;
use super::super::{Body, Edit, Exchange, Flow, Reply, ResponseHead, Step, Turn};
use super::asking::Held;
use super::release::{Release, bad_gateway};
use super::{VERDICT, Watched};

/// What is done with an answer while it comes.
#[derive(Debug)]
pub(super) enum Answering {
    /// Nothing.
    Off,
    /// A copy is kept of what passes; none once it is over the bound.
    Copied(Option<Vec<u8>>),
    /// The host holds it until it is whole; of what it holds, so much would have gone on.
    Held { passed: usize, headers: bool },
    /// An event stream passes.
    Stream(Box<Streaming>),
    /// It was refused: nothing more of it goes on.
    Dropped,
}

/// An event stream that passes.
#[derive(Debug)]
pub(super) struct Streaming {
    reader: StreamReader,
    /// Its headers are held as well, and nothing has gone out yet.
    unseen: bool,
    /// So many bytes go on with its end: the host holds them, and the end is kept back.
    waiting: usize,
}

/// What kind of body an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Stream,
    Opaque,
}

impl Answering {
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Copied(Some(bytes)) => bytes.len(),
            Self::Off | Self::Copied(None) | Self::Held { .. } | Self::Stream(_) | Self::Dropped => 0,
        }
    }
}

fn kind(value: &[u8], encoding: Option<&[u8]>) -> Kind {
    let begins = |prefix: &[u8]| {
        value
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if encoding.is_some_and(|encoding| !encoding.is_empty() && encoding != b"identity") {
        Kind::Opaque
    } else if begins(b"text/event-stream") {
        Kind::Stream
    } else if begins(b"application/json") {
        Kind::Json
    } else {
        Kind::Opaque
    }
}

impl Watched {
    /// The response's headers are here.
    pub(in super::super) fn response_headers<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        head: &ResponseHead<'_>,
    ) -> (Exchange, Step) {
        match self.asking.as_ref().map(|asking| asking.held().side()) {
            Some(Side::Answer) => return (Exchange::Watched(self), Step::hold()),
            // The host has answered by itself.
            Some(Side::Request) => drop(self.abandon(turn)),
            None => {}
        }
        let mut step = self.run(|inner| inner.response_headers(turn, head));
        let Exchange::Responding(state) = &self.inner else {
            return (Exchange::Watched(self), step);
        };
        let judged = state.is_good() && self.endpoint.generates();
        step.edits
            .extend(self.word().map(|word| Edit::set(VERDICT, word)));
        if !judged {
            return (Exchange::Watched(self), step);
        }
        let value = |name: &str| head.headers.first(name);
        let kind = kind(
            value("content-type").unwrap_or_default(),
            value("content-encoding"),
        );
        self.begin_answer(turn, kind, step)
    }

    /// Chooses how the answer is looked at.
    fn begin_answer<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        kind: Kind,
        mut step: Step,
    ) -> (Exchange, Step) {
        let policy = &turn.gateway.policy;
        let (waits, beside) = self.split(policy, Side::Answer);
        if waits.is_empty() && beside.is_empty() && !Self::keeps_samples(turn) {
            return (Exchange::Watched(self), step);
        }
        let headers = policy.host.body_pause;
        match kind {
            Kind::Opaque => return self.unreadable(turn, step),
            Kind::Stream => {
                let unseen = step.flow == Flow::Hold;
                let reader = self.stream_reader(turn, &waits);
                self.answering = Answering::Stream(Box::new(Streaming {
                    reader,
                    unseen,
                    waiting: 0,
                }));
            }
            Kind::Json if waits.is_empty() => self.answering = Answering::Copied(Some(Vec::new())),
            Kind::Json => {
                self.answering = Answering::Held { passed: 0, headers };
                if headers {
                    step.flow = Flow::Hold;
                } else {
                    step.edits.push(Edit::remove("content-length"));
                }
            }
        }
        (Exchange::Watched(self), step)
    }

    /// The end of a stream is kept back only for those who could still refuse it.
    fn stream_reader<S: Store>(&self, turn: &Turn<'_, S>, waits: &[usize]) -> StreamReader {
        let policy = &turn.gateway.policy;
        let options = StreamOptions {
            gather_calls: false,
            strip_notes: false,
            strip_usage: false,
            gather: Some(policy.bounds.response_body),
            hold_end: !self.blocking(turn, waits).is_empty(),
            line_bound: policy.bounds.sse_line,
        };
        StreamReader::new(self.endpoint, options)
    }

    /// Of those that are waited for, who refuses.
    fn blocking<S: Store>(&self, turn: &Turn<'_, S>, waits: &[usize]) -> Vec<usize> {
        let rules = &turn.gateway.policy.moderation;
        let blocks = |at: &&usize| {
            rules
                .get(**at)
                .is_some_and(|rule| rule.on_flagged == OnFlagged::Block)
        };
        waits.iter().filter(blocks).copied().collect()
    }

    /// What is encoded, or of another kind, nobody can judge.
    fn unreadable<S: Store>(self: Box<Self>, turn: &mut Turn<'_, S>, step: Step) -> (Exchange, Step) {
        let release = Release::Host {
            held: 0,
            headers: true,
            stream: None,
        };
        self.judge(turn, Err(Failure::Unread), (release, step))
    }

    /// More of the response's body is here.
    pub(in super::super) fn response_body<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Exchange, Step) {
        if let Some(asking) = &self.asking {
            // Of the answer that was given up for the one that is judged now.
            let stale = matches!(asking.held(), Held::Answer(Release::Reply(_))) && body.size > 0;
            let body = stale.then(Vec::new);
            return (Exchange::Watched(self), Step { body, ..Step::hold() });
        }
        match core::mem::replace(&mut self.answering, Answering::Off) {
            Answering::Off => self.around(|inner| inner.response_body(turn, body)),
            Answering::Copied(copy) => self.copied(turn, body, copy),
            Answering::Held { passed, headers } => self.held(turn, body, (passed, headers)),
            Answering::Stream(stream) => self.streamed(turn, body, stream),
            Answering::Dropped => {
                self.answering = Answering::Dropped;
                (Exchange::Watched(self), Step::replaced(Vec::new()))
            }
        }
    }

    /// Whether what still comes of an answer must be dropped.
    pub(in super::super) fn drops(&self) -> bool {
        matches!(self.answering, Answering::Dropped)
    }

    /// Nobody waits: a copy is judged when it is whole.
    fn copied<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
        mut copy: Option<Vec<u8>>,
    ) -> (Exchange, Step) {
        let step = self.run(|inner| inner.response_body(turn, body));
        if step.flow != Flow::Continue {
            let over = matches!(step.flow, Flow::Reply(_));
            self.answering = if over {
                Answering::Off
            } else {
                Answering::Copied(copy)
            };
            return (Exchange::Watched(self), step);
        }
        let chunk = step.body.clone().unwrap_or_else(|| body.whole());
        let bound = turn.gateway.policy.bounds.response_body;
        copy = copy.filter(|bytes| bytes.len().saturating_add(chunk.len()) <= bound);
        if let Some(bytes) = &mut copy {
            bytes.extend_from_slice(&chunk);
        }
        if !body.end {
            self.answering = Answering::Copied(copy);
            return (Exchange::Watched(self), step);
        }
        let text = copy
            .ok_or(Failure::TooLong)
            .and_then(|bytes| self.words_of(&bytes));
        let release = Release::Host {
            held: 0,
            headers: false,
            stream: None,
        };
        self.judge(turn, text, (release, step))
    }

    fn words_of(&self, body: &[u8]) -> Result<String, Failure> {
        words(self.endpoint, body).ok_or(Failure::Unread)
    }

    /// The host holds a whole answer; the exchange within sees it pass.
    fn held<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
        (passed, headers): (usize, bool),
    ) -> (Exchange, Step) {
        let part = Body {
            size: body.size.saturating_sub(passed),
            end: body.end,
            read: &|start, max| (body.read)(passed.saturating_add(start), max),
        };
        let mut step = self.run(|inner| inner.response_body(turn, &part));
        if step.flow != Flow::Continue {
            if !matches!(step.flow, Flow::Reply(_)) {
                self.answering = Answering::Held { passed, headers };
            }
            return (Exchange::Watched(self), step);
        }
        if let Some(rest) = step.body.take() {
            let before = if passed == 0 {
                Vec::new()
            } else {
                (body.read)(0, passed)
            };
            step.body = Some([before, rest].concat());
        }
        let held = step.body.as_ref().map_or(body.size, Vec::len);
        let release = Release::Host {
            held,
            headers,
            stream: None,
        };
        if held > turn.gateway.policy.bounds.response_body {
            return self.judge(turn, Err(Failure::TooLong), (release, step));
        }
        if !body.end {
            self.answering = Answering::Held {
                passed: held,
                headers,
            };
            step.flow = Flow::Hold;
            return (Exchange::Watched(self), step);
        }
        let text = match &step.body {
            Some(bytes) => self.words_of(bytes),
            None => self.words_of(&body.whole()),
        };
        self.judge(turn, text, (release, step))
    }

    /// A stream passes; its end waits, where somebody may object.
    fn streamed<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
        mut stream: Box<Streaming>,
    ) -> (Exchange, Step) {
        let mut step = self.seen_by_stream(turn, body, &mut stream);
        if step.flow != Flow::Continue {
            if !matches!(step.flow, Flow::Reply(_)) {
                self.answering = Answering::Stream(stream);
            }
            return (Exchange::Watched(self), step);
        }
        let held = step.body.as_ref().map_or(body.size, Vec::len);
        if !body.end {
            let waits = stream.reader.keeps_end();
            stream.waiting = if waits { held } else { 0 };
            stream.unseen &= waits;
            self.answering = Answering::Stream(stream);
            let flow = if waits { Flow::Hold } else { Flow::Continue };
            return (Exchange::Watched(self), Step { flow, ..step });
        }
        let reader = &mut stream.reader;
        let apart = reader.between_events();
        let rest = [reader.finish(), reader.take_held()].concat();
        if !rest.is_empty() {
            let before = step.body.take().unwrap_or_else(|| body.whole());
            step.body = Some([before, rest].concat());
        }
        let release = Release::Host {
            held: step.body.as_ref().map_or(body.size, Vec::len),
            headers: stream.unseen,
            stream: Some(apart),
        };
        let text = stream_words(&stream.reader);
        self.judge(turn, text, (release, step))
    }

    /// What the exchange within makes of what is new of a stream, and what is kept back of that; what waited comes first.
    fn seen_by_stream<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
        stream: &mut Streaming,
    ) -> Step {
        let waiting = stream.waiting;
        let part = Body {
            size: body.size.saturating_sub(waiting),
            end: body.end,
            read: &|start, max| (body.read)(waiting.saturating_add(start), max),
        };
        let mut step = self.run(|inner| inner.response_body(turn, &part));
        if step.flow == Flow::Continue {
            let chunk = step.body.clone().unwrap_or_else(|| part.whole());
            if let Passed::Replaced(bytes) = stream.reader.push(&chunk) {
                step.body = Some(bytes);
            }
        }
        if waiting > 0 {
            step.body = step.body.map(|rest| [(body.read)(0, waiting), rest].concat());
        }
        step
    }

    /// The response ends with trailers, and its body with what the host still holds: of what it doesn't, nothing can be
    /// read any more.
    pub(in super::super) fn response_trailers<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        held: Option<&Body<'_>>,
    ) -> (Exchange, Step) {
        if self.asks() {
            return (Exchange::Watched(self), Step::hold());
        }
        if let Some(body) = held {
            return self.response_body(turn, body);
        }
        let step = self.run(|inner| inner.response_trailers(turn, None));
        match &step.flow {
            Flow::Continue | Flow::Resume(_) => {}
            Flow::Reply(_) => {
                self.answering = Answering::Off;
                return self.answered_by_call(turn, step);
            }
            // A better answer is asked for: that one is judged when it comes.
            Flow::Hold | Flow::Calls(_) => return (Exchange::Watched(self), step),
        }
        let headers = match core::mem::replace(&mut self.answering, Answering::Off) {
            Answering::Off | Answering::Dropped => return (Exchange::Watched(self), step),
            Answering::Held { headers, .. } => headers,
            Answering::Copied(_) | Answering::Stream(_) => false,
        };
        let release = Release::Host {
            held: 0,
            headers,
            stream: None,
        };
        let (exchange, mut step) = self.judge(turn, Err(Failure::Unread), (release, step));
        if let Some(body) = step.body.take() {
            // Too late to be written: the reply resets the stream.
            step.flow = Flow::Reply(bad_gateway(body, "failed"));
        }
        (exchange, step)
    }

    /// What a call brought is an answer like any other, but that it goes as a reply.
    pub(super) fn answered_by_call<S: Store>(
        self: Box<Self>,
        turn: &mut Turn<'_, S>,
        step: Step,
    ) -> (Exchange, Step) {
        let over = matches!(self.inner, Exchange::Done(_)) && self.endpoint.generates();
        let reply = match step.flow {
            Flow::Reply(reply) if over && is_answer(&reply) => reply,
            flow => return (Exchange::Watched(self), Step { flow, ..step }),
        };
        let text = self.words_of_reply(turn, &reply);
        let nothing = Step::hold();
        self.judge(turn, text, (Release::Reply(reply), nothing))
    }

    fn words_of_reply<S: Store>(&self, turn: &Turn<'_, S>, reply: &Reply) -> Result<String, Failure> {
        let found = reply.headers.iter().find(|(name, _)| name == "content-type");
        let value = found.map_or("", |(_, value)| value);
        match kind(value.as_bytes(), None) {
            Kind::Json => self.words_of(&reply.body),
            Kind::Opaque => Err(Failure::Unread),
            Kind::Stream => {
                let mut reader = self.stream_reader(turn, &[]);
                reader.push(&reply.body);
                reader.finish();
                stream_words(&reader)
            }
        }
    }

    /// Has an answer judged, as far as anybody is to: then it waits, or goes on as it would have gone.
    fn judge<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        text: Result<String, Failure>,
        (release, step): (Release, Step),
    ) -> (Exchange, Step) {
        let text = text.map(|text| self.veiled(turn, text));
        let (mut waits, mut beside) = self.split(&turn.gateway.policy, Side::Answer);
        if matches!(
            release,
            Release::Host {
                stream: Some(_),
                headers: false,
                ..
            }
        ) {
            // Who only annotates has come too late for it.
            let blocking = self.blocking(turn, &waits);
            beside.extend(waits.iter().filter(|at| !blocking.contains(at)));
            waits = blocking;
        }
        let refused = matches!(&self.inner, Exchange::Done(record) if !record.refused.is_empty());
        let silent = refused || text.as_deref() == Ok("");
        if !silent {
            let keeps = Self::keeps_samples(turn);
            self.samples.answer = text.as_deref().ok().filter(|_| keeps).map(sample);
            for at in beside {
                self.ask_beside(turn, (at, Side::Answer), text.as_deref().map_err(|why| *why));
            }
        }
        if silent || waits.is_empty() {
            return self.pass(release, step);
        }
        self.waited = true;
        let (exchange, next) = self.ask(turn, (waits, text), Held::Answer(release));
        (exchange, step.then(next))
    }

    /// Goes on as if nobody had looked.
    fn pass(self: Box<Self>, release: Release, step: Step) -> (Exchange, Step) {
        let step = match release {
            Release::Host { .. } => step,
            Release::Reply(reply) => Step {
                flow: Flow::Reply(reply),
                ..step
            },
        };
        (Exchange::Watched(self), step)
    }
}

fn stream_words(reader: &StreamReader) -> Result<String, Failure> {
    let progress = reader.progress();
    if progress.error {
        return Ok(String::new());
    }
    let none = if progress.oversize {
        Failure::TooLong
    } else {
        Failure::Unread
    };
    reader.words().map(str::to_owned).ok_or(none)
}

/// Whether a reply is a model's answer; not our refusal, and not what the policy has for when nobody is left.
fn is_answer(reply: &Reply) -> bool {
    (200..300).contains(&reply.status) && reply.details != "spillway_exhausted"
}
