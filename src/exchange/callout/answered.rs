//! A call's answer: read as an answer that passes is read, and sent to the client whole; or what is said when nobody
//! answered.

use std::borrow::Cow;

use crate::breaker::{Failure, Outcome};
use crate::dialect::{ErrorKind, error_body};
use crate::failover::Fault;
use crate::headers::Headers;
use crate::ledger::Lesson;
use crate::report::Record;
use crate::report::metric::{GaveUp, Refused};
use crate::report::ratelimit::retry_headers;
use crate::store::Store;
use crate::time::Instant;

use super::super::admit::Admitted;
use super::super::arrive::{DROPPED, exhausted};
use super::super::blame::Ending;
use super::super::booking::settle_own;
use super::super::refuse::wait_until;
use super::super::respond::Responding;
use super::super::settle::observe;
use super::super::{Body, Edit, Exchange, Flow, Reply, ResponseHead, Step, Turn};
use super::calling::{Calling, MOST_OF_A_FAILURE, Phase};
use super::request::Written;
use super::said;

/// Headers of a provider's answer to a call that the client gets.
const PASSED_ON: [&str; 6] = [
    "content-type",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "x-request-id",
    "x-should-retry",
];

/// What came of a call.
#[derive(Debug, Default)]
pub struct CallAnswer {
    /// All headers; none when the connection broke.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// The host didn't even make the call.
    pub unsent: bool,
}

impl CallAnswer {
    /// The host wouldn't make the call.
    #[must_use]
    pub fn unsent() -> Self {
        Self {
            unsent: true,
            ..Self::default()
        }
    }

    fn head(&self) -> ResponseHead<'_> {
        ResponseHead {
            headers: &self.headers,
            end: false,
            property: &|_| None,
        }
    }

    /// The host's word for how the answer came to be, which calls don't carry: told by the host's own wording.
    fn details(&self) -> &'static str {
        let says = |words: &str| {
            self.body
                .windows(words.len())
                .any(|part| part == words.as_bytes())
        };
        let own = self.body.len() < 1_024;
        if self.unsent {
            "no_healthy_upstream"
        } else if self.headers.is_empty() {
            "upstream_reset_before_response_started{}"
        } else if own
            && self
                .body
                .starts_with(b"upstream connect error or disconnect/reset")
        {
            if says("overflow") {
                "upstream_reset_before_response_started{overflow}"
            } else if says("connection failure") || says("connection timeout") {
                "upstream_reset_before_response_started{connection_failure}"
            } else {
                "upstream_reset_before_response_started{}"
            }
        } else if own && self.body.starts_with(b"no healthy upstream") {
            "no_healthy_upstream"
        } else if own && self.body.starts_with(b"upstream request timeout") {
            "response_timeout"
        } else {
            "via_upstream"
        }
    }
}

/// The last answer that a provider gave, for the case that nobody gives a better one.
#[derive(Debug)]
pub(in super::super) struct LastAnswer {
    pub(super) status: u16,
    pub(super) headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    body: Vec<u8>,
    whole: bool,
}

impl LastAnswer {
    /// Its status and what of its headers a client gets.
    pub(super) fn of(status: u16, head: &ResponseHead<'_>) -> Self {
        Self {
            status,
            headers: passed_on(head.headers),
            body: Vec::new(),
            whole: head.end,
        }
    }

    pub(super) fn gather(&mut self, bytes: &[u8], end: bool, bound: usize) {
        if self.whole {
            return;
        }
        self.body.extend_from_slice(bytes);
        if self.body.len() > bound {
            self.body = Vec::new();
            self.whole = false;
        } else {
            self.whole = end;
        }
    }
}

fn passed_on(headers: &Headers) -> Vec<(Cow<'static, str>, Cow<'static, str>)> {
    let known = |name: &str| {
        headers
            .first(name)
            .and_then(|value| core::str::from_utf8(value).ok())
    };
    let fields = PASSED_ON.iter().filter_map(|name| Some((*name, known(name)?)));
    fields
        .map(|(name, value)| (Cow::Borrowed(name), Cow::Owned(value.to_owned())))
        .collect()
}

impl Responding {
    /// Keeps the head of an answer that waits for its verdict, for the case that nobody gives a better one.
    pub(in super::super) fn keep_head(&mut self, head: &ResponseHead<'_>) {
        let (status, good) = (self.status, self.is_good());
        if let Some(kept) = self.kept.as_mut().filter(|kept| good && kept.chances) {
            kept.head = Some(LastAnswer::of(status, head));
        }
    }

    /// Nobody else is left, and nothing of the answer can be said in the client's protocol.
    fn untranslatable<S: Store>(mut self: Box<Self>, turn: &mut Turn<'_, S>) -> (Exchange, Step) {
        if let Some(pass) = self.pass.take() {
            observe(turn, self.hop, pass, Outcome::Failure(Failure::Malformed));
        }
        self.unanswered = Some(GaveUp::Malformed);
        let body = error_body(
            self.endpoint.dialect(),
            ErrorKind::BadAnswer,
            "the provider's answer can't be translated",
            "untranslatable",
        );
        self.status = 502;
        self.record.status = Some(502);
        let record = self.finish(turn, Ending::Complete);
        let reply = Reply {
            status: 502,
            headers: vec![(Cow::Borrowed("content-type"), Cow::Borrowed("application/json"))],
            body,
            details: "spillway_untranslatable",
        };
        (Exchange::Done(record), Step::reply(reply))
    }
}

impl Calling {
    /// The call that is on its way was answered, in one way or another.
    pub(in super::super) fn answered<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        answer: CallAnswer,
    ) -> (Exchange, Step) {
        let Self {
            phase: Phase::Called(called),
            ..
        } = *self
        else {
            return (Exchange::Calling(self), Step::hold());
        };
        let levels = self.kept.levels.clone();
        let watching = self.kept.watching.take();
        let admitted = Admitted {
            endpoint: self.endpoint,
            hop: called.hop,
            fallback: self.kept.tried.first() != Some(&called.hop),
            retry: self.retry,
            pass: Some(called.pass),
            ticket: called.ticket,
            levels,
            guess: None,
            dropped: Vec::new(),
            strip_usage: called.written.strip_usage,
            relay: None,
            unsent: false,
            spent: None,
            payer: None,
            asked: self.kept.asked.clone(),
            position: self.kept.position,
            watching,
            kept: Some(self.kept),
            choices: self.choices,
            sent: called.sent,
            record: self.record,
        };
        read(turn, admitted, (answer, &called.written))
    }

    /// Whether the policy has something of its own to say when nobody is left.
    pub(super) fn has_last_words<S: Store>(turn: &Turn<'_, S>, record: &Record, fault: Fault) -> bool {
        let rules = turn.gateway.route(&record.model).map(|route| &route.failover);
        rules.is_some_and(|rules| rules.exhausted.is_some() && fault.gives_up(rules, false).is_some())
    }

    /// The answer of the attempt that was just given up is all there.
    fn keeping(mut self: Box<Self>, answer: CallAnswer, written: &Written) -> Box<Self> {
        if let Some(last) = &mut self.kept.last {
            let (status, body) = said::error(written.pair, last.status, Cow::Owned(answer.body));
            last.status = status;
            last.gather(&body, true, MOST_OF_A_FAILURE);
        }
        self
    }

    /// Nobody is left: the ladder of an answer that failed its validation goes on; else the policy's static answer, else
    /// the last that a provider gave, else a clear error.
    pub(super) fn exhausted<S: Store>(self: Box<Self>, turn: &mut Turn<'_, S>) -> (Exchange, Step) {
        match self.climb_on(turn) {
            Ok(next) => next,
            Err(same) => same.unanswered(turn),
        }
    }

    fn unanswered<S: Store>(mut self: Box<Self>, turn: &mut Turn<'_, S>) -> (Exchange, Step) {
        let total = self.charged_so_far(turn);
        if let Some(own) = self.kept.take_own() {
            settle_own(turn, own, total, Lesson::default());
        }
        let reply = self.last_words(turn);
        let mut record = self.record;
        record.status = Some(reply.status);
        record.refused = Refused::Unavailable.as_str();
        record.close("refused", turn.now.monotonic);
        (Exchange::Done(record), Step::reply(reply))
    }

    fn last_words<S: Store>(&mut self, turn: &Turn<'_, S>) -> Reply {
        let rules = turn
            .gateway
            .route(&self.record.model)
            .map(|route| &route.failover);
        if let Some(text) = rules.and_then(|rules| rules.exhausted.as_ref()) {
            return exhausted(text);
        }
        let last = self.kept.last.take();
        match last.filter(|last| last.whole) {
            Some(last) => Reply {
                status: last.status,
                headers: last.headers,
                body: last.body,
                details: "spillway_exhausted",
            },
            None => clear_error(self.endpoint.dialect(), turn, self.kept.retry_at),
        }
    }
}

fn clear_error<S: Store>(
    dialect: crate::dialect::Dialect,
    turn: &Turn<'_, S>,
    retry_at: Option<Instant>,
) -> Reply {
    let mut headers = vec![(Cow::Borrowed("content-type"), Cow::Borrowed("application/json"))];
    let retry = retry_headers(wait_until(retry_at, turn.now), false);
    headers.extend(retry.into_iter().map(|(name, value)| (name.into(), value.into())));
    Reply {
        status: 503,
        headers,
        body: error_body(
            dialect,
            ErrorKind::Unavailable,
            "no provider for this model gave an answer",
            "providers_failed",
        ),
        details: "spillway_exhausted",
    }
}

/// Reads a call's answer as the filter reads one that passes, and makes one reply of what comes out.
fn read<S: Store>(
    turn: &mut Turn<'_, S>,
    admitted: Admitted,
    (mut answer, written): (CallAnswer, &Written),
) -> (Exchange, Step) {
    let details = answer.details();
    let dialect = admitted.endpoint.dialect();
    let head = ResponseHead {
        property: &|path| (path == ["response", "code_details"]).then(|| details.as_bytes().to_vec()),
        ..answer.head()
    };
    let good = head.status().is_some_and(|status| (200..300).contains(&status));
    let said = (good && written.pair.is_some())
        .then(|| said::answer(turn, written, (&answer.headers, &answer.body)));
    let (exchange, head_step) = admitted.respond(turn, &head);
    let state = match exchange {
        Exchange::Responding(state) => state,
        Exchange::Calling(state) => return (Exchange::Calling(state.keeping(answer, written)), head_step),
        other => return (other, head_step),
    };
    let state = match said {
        None => state,
        Some(Some(body)) => {
            answer.body = body;
            state
        }
        Some(None) => match state.give_up(turn, Fault::Malformed) {
            Ok(next) => return next,
            Err(same) => return same.untranslatable(turn),
        },
    };
    let status = state.status;
    let retry_at = state.kept.as_ref().and_then(|kept| kept.retry_at);
    let body = Body {
        size: answer.body.len(),
        end: true,
        read: &|start, max| {
            let rest = answer.body.get(start..).unwrap_or_default();
            rest.get(..max).unwrap_or(rest).to_vec()
        },
    };
    let (exchange, step) = state.body(turn, &body);
    if !matches!(exchange, Exchange::Done(_)) || matches!(step.flow, Flow::Reply(_)) {
        return (exchange, step);
    }
    if details != "via_upstream" {
        return (exchange, Step::reply(clear_error(dialect, turn, retry_at)));
    }
    let mut headers = passed_on(&answer.headers);
    apply(&mut headers, head_step.edits);
    apply(&mut headers, step.edits);
    if !written.dropped.is_empty() {
        headers.push((Cow::Borrowed(DROPPED), Cow::Owned(written.dropped.join(", "))));
    }
    let body = step.body.unwrap_or(answer.body);
    let (status, body) = if rejected(&exchange) {
        (502, body)
    } else if good {
        (status, body)
    } else {
        said::error(written.pair, status, Cow::Owned(body))
    };
    let reply = Reply {
        status,
        headers,
        body,
        details: "spillway_failover",
    };
    (exchange, Step::reply(reply))
}

/// Whether the answer broke its rule: its status can say so here, whatever the host's settings allow.
fn rejected(exchange: &Exchange) -> bool {
    matches!(exchange, Exchange::Done(record) if record.refused == Refused::Answer.as_str())
}

fn apply(headers: &mut Vec<(Cow<'static, str>, Cow<'static, str>)>, edits: Vec<Edit>) {
    for edit in edits {
        match edit {
            Edit::Set(name, value) => {
                headers.retain(|(other, _)| *other != name);
                headers.push((name, value));
            }
            Edit::Remove(name) => headers.retain(|(other, _)| other.as_bytes() != name.as_slice()),
        }
    }
    headers.retain(|(name, _)| name != "content-length" && !name.starts_with(':'));
}
