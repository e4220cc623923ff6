//! How an answer that was held goes to its client, or what goes instead.

use std::borrow::Cow;

use crate::dialect::{ErrorKind, error_body, error_event};
use crate::moderation::Failure;
use crate::report::metric::{Metric, Refused};
use crate::store::Store;

use super::super::{Edit, Ending, Exchange, Flow, Reply, Resume, Step, Turn, Way};
use super::answer::Answering;
use super::{VERDICT, Watched};

/// What is held of an answer.
#[derive(Debug)]
pub(super) enum Release {
    /// The host holds it.
    Host {
        /// So many bytes of its body.
        held: usize,
        /// Its headers too.
        headers: bool,
        /// It is an event stream; whether what went out before were whole events.
        stream: Option<bool>,
    },
    /// It came by a call, and goes as a reply.
    Reply(Reply),
}

impl Release {
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Host { .. } => 0,
            Self::Reply(reply) => reply.body.len(),
        }
    }
}

impl Watched {
    /// Nobody objects: it goes to the client.
    pub(super) fn release(self: Box<Self>, release: Release) -> (Exchange, Step) {
        let word = self.word();
        let step = match release {
            Release::Reply(mut reply) => {
                reply
                    .headers
                    .extend(word.map(|word| (VERDICT.into(), word.into())));
                Step::reply(reply)
            }
            Release::Host { held, headers, .. } => {
                let word = word.filter(|_| headers);
                Step {
                    edits: word.map(|word| Edit::set(VERDICT, word)).into_iter().collect(),
                    body: None,
                    flow: resume(held),
                }
            }
        };
        (Exchange::Watched(self), step)
    }

    /// Refuses an answer that was flagged, or that nobody could judge.
    pub(super) fn refuse_answer<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        (at, failure): (usize, Option<Failure>),
        release: Release,
    ) -> (Exchange, Step) {
        let name = turn.gateway.policy.moderation.get(at);
        let name = name.map_or("", |rule| rule.name.as_str());
        let (why, code, message) = match failure {
            None => (
                Refused::Flagged,
                "content_policy_violation",
                format!("the model's answer is refused by content policy {name:?}"),
            ),
            Some(_) => (
                Refused::Unmoderated,
                "moderation_unavailable",
                format!("content policy {name:?} can't judge the model's answer"),
            ),
        };
        self.close(turn, why);
        let word = self.word().unwrap_or("failed");
        let step = match release {
            Release::Host {
                held,
                headers: false,
                stream,
            } => {
                // One that is too long to be judged hasn't ended yet.
                self.answering = Answering::Dropped;
                Step {
                    edits: Vec::new(),
                    body: Some(self.instead(stream, code, &message)),
                    flow: resume(held),
                }
            }
            Release::Host { .. } | Release::Reply(_) => {
                let body = error_body(self.endpoint.dialect(), ErrorKind::BadAnswer, &message, code);
                Step::reply(bad_gateway(body, word))
            }
        };
        (Exchange::Watched(self), step)
    }

    /// What goes in place of a body whose headers are gone.
    fn instead(&self, stream: Option<bool>, code: &str, message: &str) -> Vec<u8> {
        let kind = ErrorKind::BadAnswer;
        match stream {
            None => error_body(self.endpoint.dialect(), kind, message, code),
            Some(apart) => {
                let separator: &[u8] = if apart { b"" } else { b"\n\n" };
                [separator, &error_event(self.endpoint, kind, message)].concat()
            }
        }
    }

    /// The exchange is refused; what of it still runs ends here.
    fn close<S: Store>(&mut self, turn: &mut Turn<'_, S>, why: Refused) {
        turn.count(Metric::Refused(why));
        self.inner = match core::mem::take(&mut self.inner) {
            Exchange::Responding(state) => Exchange::Done(state.finish(turn, Ending::Aborted)),
            other => other,
        };
        if let Exchange::Done(record) = &mut self.inner {
            record.refused = why.as_str();
        }
    }
}

fn resume(held: usize) -> Flow {
    Flow::Resume(Resume {
        way: Way::Response,
        held,
    })
}

/// A reply in place of an answer.
pub(super) fn bad_gateway(body: Vec<u8>, word: &'static str) -> Reply {
    let headers = [
        ("content-type", "application/json"),
        ("x-should-retry", "false"),
        (VERDICT, word),
    ];
    let headers = headers.map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)));
    Reply {
        status: 502,
        headers: headers.to_vec(),
        body,
        details: "spillway_moderation",
    }
}
