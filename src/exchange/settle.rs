//! The end of an exchange: the breaker is told, the ticket settled, the numbers counted.

use core::time::Duration;

use crate::breaker::{Failure, Latency, Observation, Observed, Outcome, Pass, Transition};
use crate::dialect::{JsonFacts, Progress, Usage};
use crate::ledger::Lesson;
use crate::policy::Hop;
use crate::report::Record;
use crate::report::metric::{Aborted, GaveUp, Metric, TokenType};
use crate::report::record::{self, milliseconds, outside_name};
use crate::store::Store;
use crate::tokens::Estimate;

use super::Turn;
use super::admit::Admitted;
use super::blame::Ending;
use super::booking::{Bill, give_back, settle_last};
use super::callout::Before;
use super::gateway::Change;
use super::overtime::Overtime;
use super::respond::{Reader, Responding};

/// What an exchange cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    usage: Usage,
    source: &'static str,
}

impl Cost {
    pub(super) fn tokens(&self) -> u64 {
        self.usage.input.saturating_add(self.usage.output)
    }

    pub(super) fn estimated(input: u64, output: u64) -> Self {
        Self {
            usage: Usage {
                input,
                output,
                ..Usage::default()
            },
            source: "estimate",
        }
    }

    pub(super) fn said(usage: Usage) -> Self {
        Self {
            usage,
            source: "usage",
        }
    }

    /// Prompt and output.
    pub(super) fn both(&self) -> (u64, u64) {
        (self.usage.input, self.usage.output)
    }

    /// With what attempts before it cost.
    pub(super) fn and(mut self, spent: Before) -> Self {
        self.usage.input = self.usage.input.saturating_add(spent.input);
        self.usage.output = self.usage.output.saturating_add(spent.output);
        self
    }

    pub(super) fn actual(self) -> record::Actual {
        record::Actual {
            input: self.usage.input,
            output: self.usage.output,
            source: self.source,
        }
    }
}

impl Admitted {
    /// Nothing was sent: nothing is charged, here or to the fleet. Answers what there is to record.
    pub(super) fn undone<S: Store>(self, turn: &mut Turn<'_, S>) -> Box<Record> {
        if let Some(pass) = self.pass {
            observe(turn, self.hop, pass, Outcome::Unsent);
        }
        give_back(turn, self.ticket);
        self.record
    }

    /// The stream ended before any answer: the provider may well have read the prompt, if it was asked.
    pub(super) fn unanswered<S: Store>(self, turn: &mut Turn<'_, S>, ending: Ending) -> Box<Record> {
        if self.unsent {
            let mut record = self.undone(turn);
            record.close(ending.as_str(), turn.now.monotonic);
            return record;
        }
        let outcome = match ending {
            Ending::UpstreamReset => Outcome::Failure(Failure::Reset),
            Ending::Timeout => Outcome::Failure(Failure::Timeout),
            Ending::Complete | Ending::ClientAbort | Ending::Aborted => Outcome::Unanswered,
        };
        if let Some(pass) = self.pass {
            observe(turn, self.hop, pass, outcome);
        }
        let idle = self.spent.as_ref().is_some_and(|spent| spent.idle);
        let cost = Cost::estimated(if idle { 0 } else { self.ticket.prompt() }, 0);
        let bill = Bill {
            cost,
            lesson: Lesson::default(),
            provider: self.hop.provider,
            spent: self.spent,
        };
        let mut record = self.record;
        settle_last(turn, (self.ticket, self.kept), bill);
        record.actual = Some(cost.actual());
        record.close(ending.as_str(), turn.now.monotonic);
        record
    }
}

impl Responding {
    /// The stream ended before the answer did.
    pub(super) fn broken_off<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        ending: Ending,
    ) -> Box<Record> {
        let ending = match (self.overtime, ending) {
            (Overtime::Told, _) => Ending::Timeout,
            (_, Ending::Complete) => Ending::UpstreamReset,
            (_, ending) => ending,
        };
        self.unchecked(turn);
        self.finish(turn, ending)
    }

    /// Settles everything.
    pub(super) fn finish<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        ending: Ending,
    ) -> Box<Record> {
        self.judge_passed(turn);
        let json = self.json_facts();
        let ending = self.truly(json.as_ref(), ending);
        if let Some(who) = who_broke_off(ending) {
            turn.count(Metric::StreamAborted(self.hop.provider, who));
        }
        let cost = self.cost(turn, json.as_ref(), ending);
        let outcome = self.outcome(turn, json.as_ref(), ending);
        if let Some(pass) = self.pass.take() {
            observe(turn, self.hop, pass, outcome);
        }
        self.note_model(json);
        self.count_tokens(turn, cost);
        let whole = self.is_good() && ending == Ending::Complete && cost.source == "usage";
        let lesson = if whole {
            self.lesson(cost.usage)
        } else {
            Lesson::default()
        };
        self.note_last_attempt(turn, cost);
        let bill = Bill {
            cost,
            lesson,
            provider: self.hop.provider,
            spent: self.spent,
        };
        let mut record = self.record;
        settle_last(turn, (self.ticket, self.kept), bill);
        record.actual = Some(cost.actual());
        record.close(ending.as_str(), turn.now.monotonic);
        turn.add(Metric::of_hop(self.hop, Metric::Duration), record.duration_ms);
        record
    }

    /// The answer is whole and came well, and isn't the one that the client gets: its breaker is told, its tokens counted.
    pub(super) fn put_aside<S: Store>(&mut self, turn: &mut Turn<'_, S>) -> Cost {
        let json = self.json_facts();
        let cost = self.cost(turn, json.as_ref(), Ending::Complete);
        let outcome = self.outcome(turn, json.as_ref(), Ending::Complete);
        if let Some(pass) = self.pass.take() {
            observe(turn, self.hop, pass, outcome);
        }
        self.count_tokens(turn, cost);
        cost
    }

    /// What a whole answer with its usage teaches.
    fn lesson(&self, usage: Usage) -> Lesson {
        let of_texts = |guess: Estimate| (guess.text, usage.input.saturating_sub(guess.around));
        Lesson {
            output: Some(usage.output / u64::from(self.choices.max(1))),
            text: self.guess.filter(|_| self.spent.is_none()).map(of_texts),
        }
    }

    pub(super) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// An answer that said its end has ended, whoever hung up then; a stream that stopped without one has not.
    fn truly(&self, json: Option<&JsonFacts>, ending: Ending) -> Ending {
        let Some(progress) = self.progress() else {
            let whole = json.is_some_and(|facts| facts.complete);
            return if whole { Ending::Complete } else { ending };
        };
        if progress.done {
            Ending::Complete
        } else if ending == Ending::Complete && self.is_good() && is_cut(progress) {
            Ending::UpstreamReset
        } else {
            ending
        }
    }

    /// What it cost: what the provider says; else what was seen of it; else what was set aside.
    fn cost<S: Store>(&self, turn: &mut Turn<'_, S>, json: Option<&JsonFacts>, ending: Ending) -> Cost {
        let provider = self.hop.provider;
        let fault = json.is_some_and(|j| j.usage_fault) || self.progress().is_some_and(|p| p.usage_fault);
        if fault {
            turn.count(Metric::UsageFault(provider));
        }
        if let Some(usage) = json.and_then(|j| j.usage) {
            return Cost::said(usage);
        }
        if let Some(cost) = self.stream_cost() {
            if ending == Ending::Complete && cost.source != "usage" {
                turn.count(Metric::UsageMissing(provider));
            }
            return cost;
        }
        if !self.is_good() {
            return self.cost_unanswered();
        }
        turn.count(Metric::UsageMissing(provider));
        let own = self.kept.as_ref().map_or(0, |kept| kept.reserved());
        let reserved = self.ticket.reserved_tokens().max(own);
        let output = reserved.saturating_sub(self.estimate);
        Cost {
            source: "reserved",
            ..Cost::estimated(self.estimate, output)
        }
    }

    /// An error is free; a provider that was cut off before its answer, or whose answer nobody can read, may have read the
    /// prompt. Where the host's router tried, its attempts are charged each for itself.
    fn cost_unanswered(&self) -> Cost {
        let lost = matches!(
            self.unanswered,
            Some(GaveUp::Reset | GaveUp::Timeout | GaveUp::Malformed)
        );
        let read = lost && self.spent.is_none();
        Cost::estimated(if read { self.estimate } else { 0 }, 0)
    }

    fn stream_cost(&self) -> Option<Cost> {
        let progress = self.progress()?;
        let seen = progress.generated.tokens();
        match progress.usage {
            Some(usage) if progress.finished || progress.done => Some(Cost::said(usage)),
            Some(usage) => Some(Cost::said(Usage {
                output: usage.output.max(seen),
                ..usage
            })),
            None => self.is_good().then(|| Cost::estimated(self.estimate, seen)),
        }
    }

    pub(super) fn progress(&self) -> Option<&Progress> {
        match &self.reader {
            Reader::Stream(reader) => Some(reader.progress()),
            Reader::Json { .. } | Reader::Held { .. } | Reader::Opaque => None,
        }
    }

    /// What the breaker is told of an answer that began well.
    fn outcome<S: Store>(&self, turn: &mut Turn<'_, S>, json: Option<&JsonFacts>, ending: Ending) -> Outcome {
        match ending {
            Ending::ClientAbort | Ending::Aborted if self.progress().map_or(self.seen, |p| p.begun) => {
                Outcome::Neutral
            }
            Ending::ClientAbort | Ending::Aborted => Outcome::Unanswered,
            Ending::UpstreamReset => Outcome::Failure(Failure::Reset),
            Ending::Timeout => self.stalled(turn),
            Ending::Complete if self.progress().is_some_and(|p| p.error) => {
                turn.count(Metric::StreamError(self.hop.provider));
                Outcome::Failure(Failure::StreamError)
            }
            Ending::Complete if json.is_some_and(|j| j.error && j.usage.is_none()) => {
                Outcome::Failure(Failure::StreamError)
            }
            Ending::Complete => self.success(turn, self.longest_gap),
        }
    }

    /// Silence before anything came is the provider's. Later on, a client that doesn't read makes the proxy stop reading
    /// as well, so that silence is slow at worst.
    fn stalled<S: Store>(&self, turn: &Turn<'_, S>) -> Outcome {
        let began = self.progress().map_or(self.seen, |_| self.first_token.is_some());
        if began {
            let silence = turn.now.monotonic.since(self.last_token);
            self.success(turn, self.longest_gap.max(silence))
        } else {
            Outcome::Failure(Failure::Timeout)
        }
    }

    fn success<S: Store>(&self, turn: &Turn<'_, S>, longest: Duration) -> Outcome {
        let now = turn.now.monotonic;
        let latency = match self.progress() {
            Some(_) => Latency::Gap {
                first: self.first_token,
                longest,
            },
            None => Latency::Whole(now.since(self.sent)),
        };
        let age = now.since(self.headed);
        Outcome::Success {
            latency,
            headroom: self.headroom.and_then(|headroom| headroom.aged(age)),
        }
    }

    fn note_model(&mut self, json: Option<JsonFacts>) {
        let named = json
            .and_then(|j| j.model)
            .or_else(|| self.progress().and_then(|p| p.model.clone()));
        self.record.model_answered = named.map(|name| outside_name(&name));
    }

    fn count_tokens<S: Store>(&self, turn: &mut Turn<'_, S>, cost: Cost) {
        let usage = cost.usage;
        if cost.tokens() == 0 {
            return;
        }
        let of = |kind| move |p, m| Metric::TokenUsage(p, m, kind);
        turn.add(Metric::of_hop(self.hop, of(TokenType::Input)), usage.input);
        turn.add(Metric::of_hop(self.hop, of(TokenType::Output)), usage.output);
        let kinds = [
            (TokenType::Input, usage.input),
            (TokenType::Output, usage.output),
            (TokenType::CacheRead, usage.cached_input),
            (TokenType::CacheWrite, usage.cache_write),
            (TokenType::Reasoning, usage.reasoning),
        ];
        for (kind, tokens) in kinds.into_iter().filter(|(_, tokens)| *tokens > 0) {
            turn.add(
                Metric::of_hop(self.hop, |p, m| Metric::Inference(p, m, kind)),
                tokens,
            );
        }
        if self.fallback {
            turn.add(Metric::FallbackTokens(self.hop.provider), cost.tokens());
        }
        if self.retry {
            turn.add(Metric::RetryTokens(self.hop.provider), cost.tokens());
        }
        self.count_pace(turn, cost);
    }

    /// Time per output token, and how far off the estimate was (per mille of the truth).
    fn count_pace<S: Store>(&self, turn: &mut Turn<'_, S>, cost: Cost) {
        let output = cost.usage.output;
        if let Some(first) = self.first_token.filter(|_| output > 1) {
            let rest = milliseconds(turn.now.monotonic.since(self.sent)).saturating_sub(milliseconds(first));
            turn.add(
                Metric::of_hop(self.hop, Metric::PerOutputToken),
                rest / (output - 1),
            );
        }
        if cost.source == "usage" && cost.usage.input > 0 {
            let off = self.estimate.abs_diff(cost.usage.input).saturating_mul(1000) / cost.usage.input;
            turn.add(Metric::of_hop(self.hop, Metric::EstimateError), off);
        }
    }
}

/// Tells a provider's breaker what came of a pass.
pub(super) fn observe<S: Store>(turn: &mut Turn<'_, S>, hop: Hop, pass: Pass, outcome: Outcome) {
    let Some(breakers) = turn.gateway.breakers(hop.provider) else {
        return;
    };
    let at = Observation {
        now: turn.now.monotonic,
        entropy: turn.entropy,
    };
    if pass.is_on_credit() && outcome != Outcome::Unsent {
        turn.count(Metric::OnCredit(hop.provider));
    }
    let observed = breakers.observe(turn.store, pass, outcome, at);
    note_observed(turn, hop, observed);
}

/// Counts what an observation did, and keeps what it couldn't do.
pub(super) fn note_observed<S: Store>(turn: &mut Turn<'_, S>, hop: Hop, observed: Observed) {
    for transition in observed.transitions() {
        note_transition(turn, hop, transition);
    }
    if observed.dropped {
        turn.count(Metric::BreakerDropped(hop.provider));
    }
    let pending = observed.pending.map(|pending| (hop.provider, pending));
    turn.effects.transitions.extend(pending);
}

/// Whether a stream stopped without any sign of its end. Of an event too large to be read nobody knows.
pub(super) fn is_cut(progress: &Progress) -> bool {
    !(progress.done || progress.finished || progress.error || progress.oversize)
}

fn who_broke_off(ending: Ending) -> Option<Aborted> {
    match ending {
        Ending::Complete => None,
        Ending::ClientAbort => Some(Aborted::Client),
        Ending::UpstreamReset => Some(Aborted::Upstream),
        Ending::Timeout => Some(Aborted::Timeout),
        Ending::Aborted => Some(Aborted::Host),
    }
}

/// Counts a change of a breaker's state, and has it said.
pub(super) fn note_transition<S: Store>(turn: &mut Turn<'_, S>, hop: Hop, transition: Transition) {
    turn.count(Metric::BreakerTransition(hop.provider, transition.to.as_str()));
    turn.effects.changes.push(Change { hop, transition });
}
