//! An attempt's answer: whether it is the client's, or the next candidate is to be asked.

use core::time::Duration;

use crate::breaker::{Failure, Outcome};
use crate::dialect::signals::{is_rate_limit_header, signals};
use crate::dialect::{Passed, StreamOptions, StreamReader};
use crate::failover::Fault;
use crate::policy::{Failover, Policy};
use crate::report::metric::GaveUp;
use crate::report::record::milliseconds;
use crate::store::Store;

use super::super::foreign::{Pair, is_protocol_header};
use super::super::settle::observe;
use super::super::{Body, Edit, Flow, ResponseHead, Step, Turn, blame};
use super::ending::Unanswered;
use super::order::{Tried, tried_key};
use super::rendering::{Gathering, Translating};
use super::{Attempt, Going, Listening, OWN_STATUS, RETRY};

/// More than this isn't held of a stream that still hasn't said a word.
const MOST_HELD: usize = 64 << 10;

impl Going {
    /// Reads the status.
    pub(super) fn answered<S: Store>(
        self: Box<Self>,
        turn: &mut Turn<'_, S>,
        head: &ResponseHead<'_>,
    ) -> (Attempt, Step) {
        let said = head.status().unwrap_or(502);
        let wait = signals(head.headers.iter(), turn.now).wait();
        let mut edits = without_ours(head, self.pair);
        // A provider's own would have the router try the next, and nobody would know.
        let status = if said == RETRY { 502 } else { said };
        if status != said {
            edits.push(Edit::set(":status", status.to_string()));
        }
        if let Some(why) = self.gives_up(&turn.gateway.policy, status, wait) {
            let outcome = blame::of_status(status, b"", wait).unwrap_or(Outcome::Neutral);
            let edits = flip(edits, status);
            self.give_up(
                turn,
                Lost {
                    why,
                    status: Some(status),
                    outcome,
                    wait,
                },
            );
            return (Attempt::Over, Step::edited(edits));
        }
        if self.listens(&turn.gateway.policy, head, status) {
            return (self.listening(turn, status), holding(edits));
        }
        let Some(pair) = self.pair.filter(|_| !head.end || is_good(status)) else {
            self.hand_back(turn, status);
            return (Attempt::Over, Step::edited(edits));
        };
        if is_stream(head) && is_good(status) {
            let state = Translating::of(&self, pair, turn);
            self.hand_back(turn, status);
            return (Attempt::Translating(Box::new(state)), Step::edited(edits));
        }
        let going = *self;
        let state = Gathering { going, pair, status };
        if head.end {
            return state.nothing(turn);
        }
        (Attempt::Gathering(Box::new(state)), holding(edits))
    }

    fn listening<S: Store>(self: Box<Self>, turn: &Turn<'_, S>, status: u16) -> Attempt {
        let endpoint = self.pair.map_or(self.endpoint, |pair| pair.provider.endpoint());
        Attempt::Listening(Box::new(Listening {
            reader: Box::new(StreamReader::new(endpoint, self.reading(&turn.gateway.policy))),
            going: *self,
            status,
            read: 0,
        }))
    }

    /// The reader of a stream's first words changes nothing.
    fn reading(&self, policy: &Policy) -> StreamOptions {
        StreamOptions {
            strip_usage: false,
            strip_notes: false,
            gather: self.order.opening.as_ref().map(|_| MOST_HELD),
            gather_calls: false,
            hold_end: false,
            line_bound: policy.bounds.sse_line,
        }
    }

    /// Whether an answer that begins so can't become a valid one.
    fn begins_wrongly(&self, first: Option<char>) -> bool {
        let opening = self.order.opening.as_ref();
        first.is_some_and(|first| opening.is_some_and(|opening| !opening.contains(first)))
    }

    pub(super) fn is_last(&self) -> bool {
        self.number >= self.order.attempts
    }

    fn rules<'p>(&self, policy: &'p Policy) -> Option<&'p Failover> {
        let named = policy.models.iter().find(|route| route.name == self.order.model);
        named.or(policy.any_model.as_ref()).map(|route| &route.failover)
    }

    /// Whether what an answer says may send the request on.
    pub(super) fn reads_bodies(&self, policy: &Policy) -> bool {
        self.drills() || self.rules(policy).is_some_and(|rules| rules.on.stream_error)
    }

    /// Whether it is taken for another that is well.
    fn drills(&self) -> bool {
        self.order.drills && self.number == 1
    }

    /// Whether this status sends the request on. The last attempt's answer is always the client's.
    fn gives_up(&self, policy: &Policy, status: u16, wait: Option<Duration>) -> Option<GaveUp> {
        let rules = self.rules(policy)?;
        let fault = Fault::Status(status, wait);
        if self.drills() && !is_good(status) && !self.is_last() {
            return Some(fault.why());
        }
        // The router would come back by its own back-off, as it takes no word for longer than that.
        if self.order.repeats() && wait.is_some_and(|wait| wait > rules.retry_after_max) {
            return None;
        }
        fault
            .gives_up(rules, self.order.repeats())
            .filter(|_| !self.is_last())
    }

    /// Whether a stream's first words decide.
    fn listens(&self, policy: &Policy, head: &ResponseHead<'_>, status: u16) -> bool {
        let wanted = self
            .rules(policy)
            .is_some_and(|rules| rules.on.stream_error || rules.on.first_token);
        let wanted = wanted || self.drills() || self.order.opening.is_some();
        wanted && is_stream(head) && is_good(status) && !head.end && !self.is_last()
    }

    /// The answer is the client's: who reads it to its end tells the breaker.
    pub(super) fn hand_back<S: Store>(self, turn: &mut Turn<'_, S>, status: u16) {
        let tried = Tried {
            status: Some(status),
            ..self.tried(turn)
        };
        let (number, pass) = (self.number, self.pass.pack());
        keep(
            turn,
            number,
            Tried {
                pass: Some(pass),
                ..tried
            },
        );
    }

    /// Tells the breaker, and hands back what there is to record.
    pub(super) fn give_up<S: Store>(self, turn: &mut Turn<'_, S>, lost: Lost) {
        let read = match lost.why {
            GaveUp::Reset | GaveUp::Timeout | GaveUp::StreamError | GaveUp::Malformed | GaveUp::Invalid => {
                self.order.prompt
            }
            GaveUp::Connect | GaveUp::RateLimited | GaveUp::Status => 0,
        };
        let tried = Tried {
            status: lost.status,
            gave_up: Some(lost.why),
            wait_ms: lost.wait.map(milliseconds),
            prompt: read,
            ..self.tried(turn)
        };
        let number = self.number;
        observe(turn, self.hop, self.pass, lost.outcome);
        keep(turn, number, tried);
    }

    fn tried<S: Store>(&self, turn: &Turn<'_, S>) -> Tried {
        Tried {
            place: self.place.clone(),
            sent: self.sent.0,
            turned: self.turned.iter().map(|state| (*state).to_owned()).collect(),
            dropped: self.dropped.iter().map(|name| (*name).to_owned()).collect(),
            ms: milliseconds(turn.now.monotonic.since(self.sent)),
            ..Tried::default()
        }
    }

    /// Nothing was answered.
    pub(super) fn unanswered<S: Store>(
        self,
        turn: &mut Turn<'_, S>,
        property: &dyn Fn(&[&str]) -> Option<Vec<u8>>,
    ) {
        let patience = Some(Duration::from_millis(self.order.patience_ms)).filter(|p| !p.is_zero());
        let ended = Unanswered::of(property, patience, turn.now.monotonic.since(self.sent));
        let outcome = ended.outcome();
        match ended {
            Unanswered::Nobodys | Unanswered::Unsent => observe(turn, self.hop, self.pass, outcome),
            Unanswered::Lost(why) => self.give_up(
                turn,
                Lost {
                    why,
                    status: None,
                    outcome,
                    wait: None,
                },
            ),
        }
    }
}

/// Has the router try the next: the provider's own status goes with it, should the router not do so.
pub(super) fn flip(mut edits: Vec<Edit>, status: u16) -> Vec<Edit> {
    edits.push(Edit::set(":status", RETRY.to_string()));
    edits.push(Edit::set(OWN_STATUS, status.to_string()));
    edits
}

/// An attempt that was given up.
pub(super) struct Lost {
    pub(super) why: GaveUp,
    pub(super) status: Option<u16>,
    pub(super) outcome: Outcome,
    pub(super) wait: Option<Duration>,
}

fn is_good(status: u16) -> bool {
    (200..300).contains(&status)
}

/// Whether an answer is a stream that can be read.
fn is_stream(head: &ResponseHead<'_>) -> bool {
    let kind = head.headers.first("content-type").unwrap_or_default();
    let encoding = head.headers.first("content-encoding");
    let encoded = encoding.is_some_and(|e| e != b"identity");
    kind.to_ascii_lowercase().starts_with(b"text/event-stream") && !encoded
}

fn holding(edits: Vec<Edit>) -> Step {
    Step {
        flow: Flow::Hold,
        ..Step::edited(edits)
    }
}

impl Listening {
    /// Waits for the first token; an error before it gives the attempt up.
    pub(super) fn body<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Attempt, Step) {
        let chunk = body.from(self.read);
        self.read = body.size;
        // It changes nothing: what goes on is what the host holds.
        let (Passed::Unchanged | Passed::Replaced(_)) = self.reader.push(&chunk);
        let progress = self.reader.progress();
        let gives_up = progress.error && !progress.begun;
        let said = progress.begun || progress.finished || progress.done || progress.oversize;
        if gives_up && self.going.reads_bodies(&turn.gateway.policy) {
            return (
                Attempt::Over,
                self.failed(
                    turn,
                    (GaveUp::StreamError, Outcome::Failure(Failure::StreamError)),
                ),
            );
        }
        if self.going.begins_wrongly(self.reader.first_character()) {
            return (
                Attempt::Over,
                self.failed(turn, (GaveUp::Invalid, Outcome::Neutral)),
            );
        }
        let undecided = self.going.order.opening.is_some() && self.reader.said_only_space();
        let said = said && !undecided;
        if said || gives_up || body.end || body.size > MOST_HELD {
            return self.heard(turn, body);
        }
        (Attempt::Listening(self), Step::hold())
    }

    /// The stream is the client's: what is held of it goes, in the client's words.
    fn heard<S: Store>(self, turn: &mut Turn<'_, S>, body: &Body<'_>) -> (Attempt, Step) {
        let translating = self
            .going
            .pair
            .map(|pair| Translating::of(&self.going, pair, turn));
        self.going.hand_back(turn, self.status);
        match translating {
            Some(state) => Box::new(state).body(body),
            None => (Attempt::Over, Step::pass()),
        }
    }

    fn failed<S: Store>(self, turn: &mut Turn<'_, S>, (why, outcome): (GaveUp, Outcome)) -> Step {
        let edits = flip(Vec::new(), self.status);
        let lost = Lost {
            why,
            status: Some(self.status),
            outcome,
            wait: None,
        };
        self.going.give_up(turn, lost);
        Step::edited(edits)
    }
}

/// Hands an attempt's record over, with what its breaker did in this callback and before.
fn keep<S: Store>(turn: &mut Turn<'_, S>, number: u32, mut tried: Tried) {
    let changes = turn.effects.changes.iter();
    let turned = changes.map(|change| change.transition.to.as_str().to_owned());
    tried.turned.extend(turned);
    turn.effects
        .properties
        .push((tried_key(number), tried.to_bytes()));
}

fn without_ours(head: &ResponseHead<'_>, pair: Option<Pair>) -> Vec<Edit> {
    let ours = |name: &[u8]| name.starts_with(b"x-spillway-");
    // What tells of limits is read by the gateway role, and taken out there.
    let theirs = |name: &[u8]| pair.is_some() && is_protocol_header(name) && !is_rate_limit_header(name);
    let names = head.headers.iter().map(|(name, _)| name);
    names
        .filter(|name| ours(name) || theirs(name))
        .map(Edit::remove)
        .collect()
}
