//! The answer as it passes: status, readers, and what of it goes on to the client.

use core::time::Duration;
use std::rc::Rc;

use crate::breaker::{Failure, Outcome, Pass};
use crate::dialect::signals::{Signals, is_rate_limit_header, signals};
use crate::dialect::{Dialect, Endpoint, JsonFacts, JsonReader, Passed, StreamOptions, StreamReader};
use crate::headers::Headers;
use crate::headroom::Headroom;
use crate::ledger::Ticket;
use crate::policy::{Hop, Policy, Tokenizer};
use crate::report::Record;
use crate::report::metric::{GaveUp, Metric, StatusClass};
use crate::report::ratelimit::quota_headers;
use crate::report::record::milliseconds;
use crate::store::Store;
use crate::time::Instant;
use crate::tokens::Estimate;

use super::admit::Admitted;
use super::arrive::dropped;
use super::blame::{self, Ending};
use super::buffered::Buffered;
use super::callout::{self, Kept};
use super::fleet::Word;
use super::guarding::Watching;
use super::judge::{Asked, Position, Rule};
use super::overtime::Overtime;
use super::refuse::tightest;
use super::settle::observe;
use super::spent::Spent;
use super::trailers::NOTHING;
use super::{Body, Edit, Exchange, Flow, Step, Turn};

/// The response's headers, and why it came to be.
pub struct ResponseHead<'a> {
    /// All headers.
    pub headers: &'a Headers,
    /// Whether no body follows.
    pub end: bool,
    /// Reads a property of the host by its path.
    pub property: &'a dyn Fn(&[&str]) -> Option<Vec<u8>>,
}

impl ResponseHead<'_> {
    /// The HTTP status: three digits, from 100 on (RFC 9110, section 15); `None` when there is none to read.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let digits = self.headers.first(":status")?;
        let status = core::str::from_utf8(digits).ok()?.parse().ok()?;
        (digits.len() == 3 && status >= 100).then_some(status)
    }

    /// The host's own word for how the response came to be.
    pub(super) fn details(&self) -> Vec<u8> {
        (self.property)(&["response", "code_details"]).unwrap_or_default()
    }
}

/// Reads an answer of its kind.
#[derive(Debug)]
pub(super) enum Reader {
    /// A whole JSON answer, with its text gathered when a rule wants to see it.
    Json {
        reader: JsonReader,
        gathered: Option<Vec<u8>>,
    },
    /// A JSON answer that the host holds until its verdict.
    Held {
        rule: Rule,
        /// What the host holds of it, as far as it was read.
        gathered: Vec<u8>,
    },
    /// An event stream.
    Stream(Box<StreamReader>),
    /// Encoded, or something else: can't be read.
    Opaque,
}

/// The answer passes.
#[derive(Debug)]
pub struct Responding {
    pub(super) endpoint: Endpoint,
    pub(super) hop: Hop,
    pub(super) fallback: bool,
    pub(super) retry: bool,
    /// Taken when the breaker has been told.
    pub(super) pass: Option<Pass>,
    /// What is needed to send it again, while that can be.
    pub(super) kept: Option<Box<Kept>>,
    pub(super) ticket: Ticket,
    /// Why there is no answer of the provider's, where the host answered in its place or nobody can read it.
    pub(super) unanswered: Option<GaveUp>,
    /// What attempts before it cost.
    pub(super) spent: Option<Box<Spent>>,
    /// Tokens of the prompt, as they were taken for.
    pub(super) estimate: u64,
    /// The estimate before it was corrected; none when the texts were counted.
    pub(super) guess: Option<Estimate>,
    pub(super) status: u16,
    pub(super) headroom: Option<Headroom>,
    pub(super) reader: Reader,
    /// What is held of a stream until it is judged.
    pub(super) buffered: Option<Box<Buffered>>,
    /// So many bytes go on with the end of the stream: the host holds them, and the end is kept back.
    pub(super) waiting: usize,
    pub(super) rule: Option<Rule>,
    /// What the request asked of its answer.
    pub(super) asked: Option<Rc<Asked>>,
    /// How far the ladder was climbed.
    pub(super) position: Position,
    /// What guards look for in it.
    pub(super) watching: Option<Box<Watching>>,
    /// Answers asked for.
    pub(super) choices: u32,
    /// When it went to the provider: the client's upload is no time of the provider's.
    pub(super) sent: Instant,
    /// When the answer's headers came.
    pub(super) headed: Instant,
    /// Until when a stream may go on.
    pub(super) overtime: Overtime,
    /// Something of the answer's body came.
    pub(super) seen: bool,
    pub(super) first_token: Option<Duration>,
    pub(super) last_token: Instant,
    pub(super) deltas: u64,
    pub(super) longest_gap: Duration,
    pub(super) record: Box<Record>,
}

impl Admitted {
    /// Reads the status, tells the breaker what is known already, and chooses the reader.
    pub(super) fn respond<S: Store>(
        mut self,
        turn: &mut Turn<'_, S>,
        head: &ResponseHead<'_>,
    ) -> (Exchange, Step) {
        if let Some(word) = Word::of(&turn.gateway.policy, head) {
            return self.turned_away(turn, (word, head));
        }
        let came = self.arrive(turn, head);
        let status = came.status.or(head.status()).unwrap_or(502);
        turn.count(Metric::Upstream(self.hop.provider, StatusClass::of(status)));
        let found = signals(head.headers.iter(), turn.now);
        let judged = (200..300).contains(&status) && self.endpoint.generates();
        let asked = self.asked.as_ref().filter(|_| judged);
        let rule = asked.and_then(|asked| Rule::of(&turn.gateway.policy, asked.rule));
        let reader = self.reader(&turn.gateway.policy, head, rule);
        let unguarded = self.watch_answer(turn, (&reader, (200..300).contains(&status)));
        let mut edits = self.response_edits(turn, head, &reader);
        edits.extend(came.edits);
        let instead =
            unguarded.or_else(|| self.instead(&turn.gateway.policy, head, (status, came.status.is_some())));
        let mut state = Box::new(self.responding(status, (rule, reader), turn.now.monotonic));
        state.headroom = found.headroom;
        if !state.is_good() {
            let details = head.details();
            state.observe_status(turn, &details, &found);
            state.unanswered = callout::unanswered(status, &details);
            state = match state.reconsider(turn, (head, &details), found.wait()) {
                Ok(next) => return next,
                Err(same) => same,
            };
        }
        let listens = state.starts_listening(turn);
        state.keep_head(head);
        if matches!(state.reader, Reader::Opaque) {
            turn.count(Metric::Opaque(state.hop.provider));
        }
        if let Some(reply) = instead {
            let record = state.finish(turn, Ending::Complete);
            return (Exchange::Done(record), Step::reply(reply.with(&edits)));
        }
        if head.end {
            return state.bodiless(turn, edits);
        }
        let guarded = state.watching.as_ref().is_some_and(|watching| watching.holds());
        let waits = state.starts_buffering(turn) || guarded || matches!(state.reader, Reader::Held { .. });
        let holds = waits && turn.gateway.policy.host.body_pause;
        let flow = if holds || listens {
            Flow::Hold
        } else {
            Flow::Continue
        };
        (
            Exchange::Responding(state),
            Step {
                edits,
                body: None,
                flow,
            },
        )
    }

    fn responding(self, status: u16, (rule, reader): (Option<Rule>, Reader), now: Instant) -> Responding {
        let overtime = self.overtime();
        let mut record = self.record;
        record.status = Some(status);
        Responding {
            overtime,
            endpoint: self.endpoint,
            hop: self.hop,
            fallback: self.fallback,
            retry: self.retry,
            pass: self.pass,
            kept: self.kept,
            estimate: self.ticket.prompt(),
            ticket: self.ticket,
            unanswered: None,
            spent: self.spent,
            guess: self.guess,
            status,
            headroom: None,
            reader,
            buffered: None,
            waiting: 0,
            rule,
            asked: self.asked,
            position: self.position,
            watching: self.watching,
            choices: self.choices,
            sent: self.sent,
            headed: now,
            seen: false,
            first_token: None,
            last_token: now,
            deltas: 0,
            longest_gap: Duration::ZERO,
            record,
        }
    }

    fn reader(&self, policy: &Policy, head: &ResponseHead<'_>, rule: Option<Rule>) -> Reader {
        let encoding = head
            .headers
            .first("content-encoding")
            .filter(|e| *e != b"identity" && !e.is_empty());
        if encoding.is_some() {
            return Reader::Opaque;
        }
        let kind = head.headers.first("content-type").unwrap_or_default();
        if starts_with(kind, b"text/event-stream") {
            let reader = StreamReader::new(self.endpoint, self.stream_options(policy, rule));
            return Reader::Stream(Box::new(reader.counting_by(self.tokenizer(policy))));
        }
        if !starts_with(kind, b"application/json") {
            return Reader::Opaque;
        }
        match rule {
            Some(rule) if rule.holds(policy) => Reader::Held {
                rule,
                gathered: Vec::new(),
            },
            _ => Reader::Json {
                reader: JsonReader::new(self.endpoint),
                gathered: rule.map(|_| Vec::new()),
            },
        }
    }

    fn tokenizer(&self, policy: &Policy) -> Tokenizer {
        let provider = policy.providers.get(self.hop.provider);
        let model = provider.and_then(|p| p.models.get(self.hop.model));
        model.map(|m| m.tokenizer).unwrap_or_default()
    }

    fn stream_options(&self, policy: &Policy, rule: Option<Rule>) -> StreamOptions {
        let provider = policy.providers.get(self.hop.provider);
        StreamOptions {
            strip_usage: self.strip_usage,
            strip_notes: provider.is_some_and(|provider| provider.dialect == Dialect::Azure),
            gather: rule.map(|_| policy.bounds.response_body),
            gather_calls: self.asked.as_ref().is_some_and(|asked| asked.has_tools()),
            hold_end: rule.is_some_and(|rule| rule.holds_end(policy) && !rule.buffers(policy)),
            line_bound: policy.bounds.sse_line,
        }
    }

    fn response_edits<S: Store>(
        &self,
        turn: &Turn<'_, S>,
        head: &ResponseHead<'_>,
        reader: &Reader,
    ) -> Vec<Edit> {
        let policy = &turn.gateway.policy;
        let mut edits = private_edits(head.headers);
        let quotas = quota_headers(self.endpoint.dialect(), &tightest(policy, &self.levels), turn.now);
        edits.extend(quotas.into_iter().map(|(name, value)| Edit::set(name, value)));
        if let Some(provider) = policy.providers.get(self.hop.provider) {
            edits.push(Edit::set("x-spillway-provider", provider.name.clone()));
        }
        edits.extend(dropped(&self.dropped));
        let drill = (!self.record.drill.is_empty()).then(|| self.record.drill.clone());
        edits.extend(drill.map(|provider| Edit::set("x-spillway-drill", provider)));
        let changes = match reader {
            Reader::Stream(_) => true,
            Reader::Held { .. } => !policy.host.body_pause,
            Reader::Json { .. } | Reader::Opaque => false,
        };
        let guarded = self.watching.as_ref().is_some_and(|watching| watching.changes());
        if (changes || guarded) && head.headers.first("content-length").is_some() {
            edits.push(Edit::remove("content-length"));
        }
        edits
    }
}

/// Takes out what a provider says of its own limits, and what only we may say.
pub(super) fn private_edits(headers: &Headers) -> Vec<Edit> {
    let fields = headers.iter();
    fields
        .filter(|(name, _)| is_rate_limit_header(name) || ours(name))
        .map(|(name, _)| Edit::remove(name))
        .collect()
}

fn ours(name: &[u8]) -> bool {
    name.starts_with(b"x-spillway-")
}

fn starts_with(value: &[u8], prefix: &[u8]) -> bool {
    value
        .get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

impl Responding {
    /// Tells the breaker what the status says; a good one waits for its end.
    fn observe_status<S: Store>(&mut self, turn: &mut Turn<'_, S>, details: &[u8], found: &Signals) {
        let Some(outcome) = blame::of_status(self.status, details, found.wait()) else {
            return;
        };
        // None where an attempt has told it.
        let Some(pass) = self.pass.take() else { return };
        if matches!(outcome, Outcome::Failure(Failure::Connect)) {
            turn.count(Metric::Connect(self.hop.provider));
        }
        observe(turn, self.hop, pass, outcome);
    }

    /// An answer that is its headers alone: nothing of a body, and its end.
    fn bodiless<S: Store>(self: Box<Self>, turn: &mut Turn<'_, S>, mut edits: Vec<Edit>) -> (Exchange, Step) {
        let (state, step) = self.body(turn, &NOTHING);
        edits.extend(step.edits);
        (state, Step { edits, ..step })
    }

    /// Reads what came, as guards let it pass, and changes what must be changed.
    pub(super) fn read_on<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Exchange, Step) {
        self.seen |= body.size > 0;
        if self.is_listening() {
            return self.listen(turn, body);
        }
        self = match self.end_late(turn, body) {
            Ok(ended) => return ended,
            Err(same) => same,
        };
        if self.is_buffering() {
            return self.buffer(turn, body);
        }
        match &mut self.reader {
            Reader::Opaque => self.passed_on(turn, body),
            Reader::Json { reader, gathered } => {
                let chunk = body.whole();
                reader.push(&chunk);
                gather(gathered, &chunk, turn.gateway.policy.bounds.response_body);
                self.passed_on(turn, body)
            }
            Reader::Held { gathered, .. } => {
                gathered.extend(body.from(gathered.len()));
                self.held(turn, body)
            }
            Reader::Stream(reader) => {
                let chunk = body.from(self.waiting);
                let passed = if chunk.is_empty() {
                    Passed::Unchanged
                } else {
                    reader.push(&chunk)
                };
                let passed = self.after_waiting(body, passed);
                self.streamed(turn, body, passed)
            }
        }
    }

    pub(super) fn passed_on<S: Store>(
        self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Exchange, Step) {
        if body.end {
            (Exchange::Done(self.finish(turn, Ending::Complete)), Step::pass())
        } else {
            (Exchange::Responding(self), Step::pass())
        }
    }

    pub(super) fn streamed<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
        passed: Passed,
    ) -> (Exchange, Step) {
        self.time_tokens(turn);
        if !body.end {
            return self.goes_on(body, passed);
        }
        let last = self.last_words(turn);
        let step = if last.is_empty() {
            step(passed)
        } else {
            appended(passed, body, &last)
        };
        (Exchange::Done(self.finish(turn, Ending::Complete)), step)
    }

    /// Notes when tokens came.
    pub(super) fn time_tokens<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        let Reader::Stream(reader) = &self.reader else {
            return;
        };
        let progress = reader.progress();
        let (begun, deltas) = (progress.begun, progress.deltas);
        let now = turn.now.monotonic;
        if begun && self.first_token.is_none() {
            let took = now.since(self.sent);
            self.first_token = Some(took);
            self.record.first_token_ms = Some(milliseconds(took));
            turn.add(Metric::of_hop(self.hop, Metric::FirstToken), milliseconds(took));
        } else if begun && deltas > self.deltas {
            self.longest_gap = self.longest_gap.max(now.since(self.last_token));
        }
        if deltas > self.deltas {
            self.deltas = deltas;
            self.last_token = now;
        }
    }

    /// What a JSON answer turned out to be.
    pub(super) fn json_facts(&mut self) -> Option<JsonFacts> {
        match core::mem::replace(&mut self.reader, Reader::Opaque) {
            Reader::Json { reader, .. } => Some(reader.finish()),
            other => {
                self.reader = other;
                None
            }
        }
    }
}

/// Keeps a copy of a passing answer for its verdict, up to the bound; over it, none.
fn gather(gathered: &mut Option<Vec<u8>>, chunk: &[u8], bound: usize) {
    let Some(bytes) = gathered else { return };
    if bytes.len().saturating_add(chunk.len()) > bound {
        *gathered = None;
    } else {
        bytes.extend_from_slice(chunk);
    }
}

pub(super) fn step(passed: Passed) -> Step {
    match passed {
        Passed::Unchanged => Step::pass(),
        Passed::Replaced(bytes) => Step::replaced(bytes),
    }
}

fn appended(passed: Passed, body: &Body<'_>, last: &[u8]) -> Step {
    let mut bytes = match passed {
        Passed::Unchanged => body.whole(),
        Passed::Replaced(bytes) => bytes,
    };
    bytes.extend_from_slice(last);
    Step::replaced(bytes)
}
