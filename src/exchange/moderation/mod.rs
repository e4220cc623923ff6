//! An exchange that somebody outside looks at: held, while it is judged, before it goes on.
//!
//! ```text
//! request   whole ── asked, all at once ──────────── clean ──▶ the exchange, from its body on
//!                                                 └─ flagged ─▶ 400, before anything is set aside
//! answer    what would go to the client ── asked ── clean ──▶ the client
//!                                                └─ flagged ─▶ 502, or an error where a stream would end
//! ```
//!
//! [`Watched`] stands around another [`Exchange`] and sees what the host and the client see: a request before it is
//! admitted, so that a refused one costs its caller nothing; an answer when all else is done with it, so that tokens are
//! settled and breakers told before anybody is asked, and nothing can leak while a verdict is out. What doesn't bind, and
//! what only people are told, is asked beside ([`super::errand`]) and delays nobody.
//! The invariant: while a question is out, nothing of what it is about goes on.

mod answer;
mod asking;
mod release;
mod request;

use core::time::Duration;

use crate::dialect::Endpoint;
use crate::headers::Headers;
use crate::moderation::{Failure, Side, Verdict, question};
use crate::policy::moderation::Moderation;
use crate::policy::{Policy, When};
use crate::report::Record;
use crate::report::metric::{Judged, Metric, TokenType};
use crate::report::record::{Moderated, milliseconds};
use crate::store::Store;
use crate::time::Instant;

use super::callout::CallAnswer;
use super::errand::{self, Errand, ErrandKind, Question};
use super::guarding::veiled;
use super::identify::{self, RequestHead};
use super::review::{self, Facts, Samples, sample};
use super::{Ending, Exchange, ResponseHead, Step, Turn, Weight};
use answer::Answering;
use asking::Asking;

/// The header that says what came of it.
pub(super) const VERDICT: &str = "x-spillway-moderation";
/// A request's id is repeated in posts up to this, in bytes.
const LONGEST_ID: usize = 64;

/// An exchange that somebody outside looks at.
#[derive(Debug)]
pub struct Watched {
    inner: Exchange,
    endpoint: Endpoint,
    /// The request's id, for posts.
    id: String,
    /// The policy's entry for its model, once that is known.
    model: String,
    /// Moderations that concern it, by their index in the policy; once the model is known, by that too.
    rules: Vec<usize>,
    /// Guards of the policy whose path and headers match.
    guards: Vec<usize>,
    answering: Answering,
    /// A question that is out, and what waits for it.
    asking: Option<Box<Asking>>,
    notes: Vec<Moderated>,
    samples: Samples,
    /// Its answer waited for a verdict: it took longer than the rest of it knows.
    waited: bool,
}

/// Reads the headers of a new request, and looks on where the policy has eyes for it.
pub(super) fn begin<S: Store>(turn: &mut Turn<'_, S>, head: &RequestHead<'_>) -> (Exchange, Step) {
    let (inner, step) = identify::identify(turn, head);
    let Exchange::Identified(state) = &inner else {
        return (inner, step);
    };
    let policy = &turn.gateway.policy;
    let whens = policy.moderation.iter().map(|rule| &rule.when);
    let rules = When::met(whens, &state.path, head.headers);
    if rules.is_empty() && policy.review.is_none() {
        return (inner, step);
    }
    let state = Watched {
        endpoint: state.endpoint,
        id: id(head.headers),
        model: String::new(),
        rules,
        guards: state.guards.clone(),
        inner,
        answering: Answering::Off,
        asking: None,
        notes: Vec::new(),
        samples: Samples::default(),
        waited: false,
    };
    (Exchange::Watched(Box::new(state)), step)
}

/// The id that the host or the client gave the request: plain, and not for ever long.
fn id(headers: &Headers) -> String {
    let value = headers.first("x-request-id").unwrap_or_default();
    let safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let id = value.iter().copied().filter(safe).take(LONGEST_ID);
    id.map(char::from).collect()
}

/// The status of a call's answer; none when there is no answer.
pub(super) fn status(answer: &CallAnswer) -> Option<u16> {
    let head = ResponseHead {
        headers: &answer.headers,
        end: true,
        property: &|_| None,
    };
    head.status()
}

/// Counts what a question came to.
pub(super) fn count_verdict<S: Store>(
    turn: &mut Turn<'_, S>,
    (at, side): (usize, Side),
    found: &Result<Verdict, Failure>,
    took: Option<Duration>,
) {
    turn.count(Metric::Moderation(at, side, judged(found)));
    if let Some(took) = took {
        turn.add(Metric::ModerationTime(at), milliseconds(took));
    }
    match found {
        Err(why) => turn.count(Metric::ModerationFailed(at, *why)),
        Ok(verdict) => {
            let Some((input, output)) = verdict.tokens else {
                return;
            };
            turn.add(Metric::ModerationTokens(at, TokenType::Input), input);
            turn.add(Metric::ModerationTokens(at, TokenType::Output), output);
        }
    }
}

fn judged(found: &Result<Verdict, Failure>) -> Judged {
    match found {
        Ok(verdict) if verdict.flagged => Judged::Flagged,
        Ok(_) => Judged::Clean,
        Err(_) => Judged::Failed,
    }
}

impl Watched {
    pub(super) fn inner(&self) -> &Exchange {
        &self.inner
    }

    pub(super) fn inner_mut(&mut self) -> &mut Exchange {
        &mut self.inner
    }

    /// Whether a question is out that something waits for.
    pub(super) fn asks(&self) -> bool {
        self.asking.is_some()
    }

    /// A callback that nobody outside has anything to do with.
    pub(super) fn around(
        mut self: Box<Self>,
        run: impl FnOnce(Exchange) -> (Exchange, Step),
    ) -> (Exchange, Step) {
        let step = self.run(run);
        (Exchange::Watched(self), step)
    }

    fn run(&mut self, run: impl FnOnce(Exchange) -> (Exchange, Step)) -> Step {
        let (inner, step) = run(core::mem::take(&mut self.inner));
        self.inner = inner;
        step
    }

    /// A text as anybody outside may see it.
    fn veiled<S: Store>(&self, turn: &Turn<'_, S>, text: String) -> String {
        veiled(&turn.gateway.policy, (&self.guards, &self.model), text)
    }

    /// What is known of the exchange so far.
    fn record(&self) -> Option<&Record> {
        match &self.inner {
            Exchange::Identified(state) => Some(&state.record),
            Exchange::Admitted(state) => Some(&state.record),
            Exchange::Responding(state) => Some(&state.record),
            Exchange::Done(record) => Some(record),
            Exchange::Start
            | Exchange::Bypassed
            | Exchange::Uncounted(_)
            | Exchange::Calling(_)
            | Exchange::Watched(_) => None,
        }
    }

    fn facts(&self) -> Facts {
        let facts = self.record().map(|record| Facts::of(&self.id, record));
        Facts {
            model: self.model.clone(),
            ..facts.unwrap_or_default()
        }
    }

    /// The moderations of a side: those that are waited for, and those that aren't.
    fn split(&self, policy: &Policy, side: Side) -> (Vec<usize>, Vec<usize>) {
        let rule = |at: &usize| policy.moderation.get(*at).filter(|rule| rule.on.contains(&side));
        let all = self.rules.iter().filter_map(|at| Some((*at, rule(at)?)));
        let (waits, beside): (Vec<_>, Vec<_>) = all.partition(|(_, rule)| rule.holds(policy.mode));
        let index = |all: Vec<(usize, &Moderation)>| all.into_iter().map(|(at, _)| at).collect();
        (index(waits), index(beside))
    }

    /// Whether texts are kept for people to read.
    fn keeps_samples<S: Store>(turn: &Turn<'_, S>) -> bool {
        let review = turn.gateway.policy.review.as_ref();
        review.is_some_and(|review| review.samples)
    }

    /// Asks about a text and doesn't wait.
    fn ask_beside<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        (at, side): (usize, Side),
        text: Result<&str, Failure>,
    ) {
        let gateway = turn.gateway;
        let Some(rule) = gateway.policy.moderation.get(at) else {
            return;
        };
        let text = match text.and_then(|text| within(text, rule)) {
            Ok("") => return,
            Ok(text) => text,
            Err(why) => return self.note(turn, (at, side), &Err(why), None),
        };
        let samples = Self::keeps_samples(turn);
        let about = Question {
            at,
            side,
            asked: turn.now.monotonic,
            facts: self.facts(),
            sample: samples.then(|| sample(text)),
        };
        turn.effects.errands.push(Errand {
            call: errand::call((at, &rule.to), question(&rule.ask, side, text), rule.timeout),
            kind: ErrandKind::Question(Box::new(about)),
        });
        self.notes.push(Moderated {
            name: rule.name.clone(),
            side: side.as_str(),
            verdict: "beside",
            why: "",
            categories: Vec::new(),
            ms: 0,
        });
    }

    /// Counts a verdict that was waited for and takes it down.
    fn note<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        (at, side): (usize, Side),
        found: &Result<Verdict, Failure>,
        took: Option<Duration>,
    ) {
        count_verdict(turn, (at, side), found, took);
        let rule = turn.gateway.policy.moderation.get(at);
        self.notes.push(Moderated {
            name: rule.map(|rule| rule.name.clone()).unwrap_or_default(),
            side: side.as_str(),
            verdict: judged(found).as_str(),
            why: found.as_ref().err().map_or("", |why| why.as_str()),
            categories: found.as_ref().map(|v| v.categories.clone()).unwrap_or_default(),
            ms: took.map_or(0, milliseconds),
        });
    }

    /// The worst that was said, for the client; none where nothing was waited for.
    fn word(&self) -> Option<&'static str> {
        let said = |verdict: &str| self.notes.iter().any(|note| note.verdict == verdict);
        ["flagged", "failed", "clean"].into_iter().find(|word| said(word))
    }

    pub(super) fn due(&self) -> Option<Instant> {
        match &self.asking {
            Some(asking) => asking.due(),
            None => self.inner.due(),
        }
    }

    pub(super) fn weight(&self) -> Weight {
        let inner = self.inner.weight();
        let asking = self.asking.as_ref().map_or(0, |asking| asking.size());
        let kept = inner
            .kept
            .saturating_add(asking)
            .saturating_add(self.answering.size());
        Weight { kept, ..inner }
    }

    /// The stream is over.
    pub(super) fn end<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        ending: Ending,
    ) -> Option<Box<Record>> {
        let unheard = self.abandon(turn);
        let mut record = core::mem::take(&mut self.inner).end(turn, ending)?;
        if unheard == Some(Side::Answer) {
            record.close(ending.as_str(), turn.now.monotonic);
        } else if self.waited {
            record.close(record.end, turn.now.monotonic);
        }
        record.moderation = self.notes;
        review::consider(turn, &mut record, (&self.id, self.samples));
        Some(record)
    }
}

/// The text, if a moderation takes as much.
fn within<'t>(text: &'t str, rule: &Moderation) -> Result<&'t str, Failure> {
    if text.len() < rule.bound {
        Ok(text)
    } else {
        Err(Failure::TooLong)
    }
}
