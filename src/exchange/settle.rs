//! The end of an exchange: the breaker is told, the ticket settled, the numbers counted.

use crate::breaker::{Failure, Latency, Observation, Outcome, Pass};
use crate::dialect::{JsonFacts, Usage};
use crate::ledger::{Actual, Ticket};
use crate::policy::Hop;
use crate::report::Record;
use crate::report::metric::{Aborted, Booking, Metric, TokenType};
use crate::report::record::{self, milliseconds, outside_name};
use crate::store::Store;

use super::Turn;
use super::admit::Admitted;
use super::respond::{Reader, Responding};

/// How the host says that a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// To its end.
    Complete,
    /// The client hung up.
    ClientAbort,
    /// The provider broke off.
    UpstreamReset,
    /// Nothing moved for as long as the host waits, or it took longer in all than the host allows.
    Timeout,
    /// The host itself broke off, or nobody knows who did.
    Aborted,
}

impl Ending {
    /// How a stream ended that never came to its end, by the host's word for it (Envoy's `response.code_details`).
    #[must_use]
    pub fn of(details: &[u8]) -> Self {
        let details = String::from_utf8_lossy(details);
        if details.starts_with("upstream") || details.contains("timeout") {
            Self::UpstreamReset
        } else {
            Self::ClientAbort
        }
    }
}

/// What an exchange cost.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    usage: Usage,
    source: &'static str,
}

impl Cost {
    fn tokens(&self) -> u64 {
        self.usage.input.saturating_add(self.usage.output)
    }

    fn estimated(input: u64, output: u64) -> Self {
        Self {
            usage: Usage {
                input,
                output,
                ..Usage::default()
            },
            source: "estimate",
        }
    }

    fn said(usage: Usage) -> Self {
        Self {
            usage,
            source: "usage",
        }
    }
}

impl Admitted {
    /// The stream ended before any answer: the provider may well have read the prompt.
    pub(super) fn unanswered<S: Store>(
        self: Box<Self>,
        turn: &mut Turn<'_, S>,
        ending: Ending,
    ) -> Box<Record> {
        let outcome = match ending {
            Ending::UpstreamReset => Outcome::Failure(Failure::Reset),
            Ending::Complete | Ending::ClientAbort | Ending::Timeout | Ending::Aborted => Outcome::Neutral,
        };
        observe(turn, self.hop, self.pass, outcome);
        let cost = Cost::estimated(self.estimate, 0);
        settle(turn, self.ticket, cost, None);
        let mut record = self.record;
        record.actual = Some(actual(cost));
        record.end = end_word(ending);
        record.took(turn.now.monotonic.since(self.begun));
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
        let ending = if ending == Ending::Complete {
            Ending::UpstreamReset
        } else {
            ending
        };
        let who = if ending == Ending::ClientAbort {
            Aborted::Client
        } else {
            Aborted::Upstream
        };
        turn.count(Metric::StreamAborted(self.hop.provider, who));
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
        let cost = self.cost(turn, json.as_ref(), ending);
        let outcome = self.outcome(turn, json.as_ref(), ending);
        if let Some(pass) = self.pass.take() {
            observe(turn, self.hop, pass, outcome);
        }
        self.note_model(json);
        self.count_tokens(turn, cost);
        let good = (200..300).contains(&self.status);
        let learnt =
            (good && ending == Ending::Complete && cost.source == "usage").then_some(cost.usage.output);
        settle(turn, self.ticket, cost, learnt);
        let took = turn.now.monotonic.since(self.begun);
        turn.add(Metric::of_hop(self.hop, Metric::Duration), milliseconds(took));
        let mut record = self.record;
        record.actual = Some(actual(cost));
        record.end = end_word(ending);
        record.took(took);
        record
    }

    /// What it cost: what the provider says; else what was seen of it; else what was set aside.
    fn cost<S: Store>(&self, turn: &mut Turn<'_, S>, json: Option<&JsonFacts>, ending: Ending) -> Cost {
        let provider = self.hop.provider;
        let good = (200..400).contains(&self.status);
        let fault = json.is_some_and(|j| j.usage_fault) || self.progress().is_some_and(|p| p.usage_fault);
        if fault {
            turn.count(Metric::UsageFault(provider));
        }
        if let Some(usage) = json.and_then(|j| j.usage) {
            return Cost::said(usage);
        }
        if let Some(cost) = self.stream_cost(ending) {
            if good && ending == Ending::Complete && cost.source != "usage" {
                turn.count(Metric::UsageMissing(provider));
            }
            return cost;
        }
        if !good {
            return Cost::estimated(0, 0);
        }
        turn.count(Metric::UsageMissing(provider));
        let output = self.ticket.reserved_tokens().saturating_sub(self.estimate);
        Cost {
            source: "reserved",
            ..Cost::estimated(self.estimate, output)
        }
    }

    fn stream_cost(&self, ending: Ending) -> Option<Cost> {
        let progress = self.progress()?;
        let seen = progress.generated.tokens();
        match progress.usage {
            Some(usage) if ending == Ending::Complete && progress.done => Some(Cost::said(usage)),
            Some(usage) => Some(Cost::said(Usage {
                output: usage.output.max(seen),
                ..usage
            })),
            None => Some(Cost::estimated(self.estimate, seen)),
        }
    }

    fn progress(&self) -> Option<&crate::dialect::Progress> {
        match &self.reader {
            Reader::Stream(reader) => Some(reader.progress()),
            Reader::Json { .. } | Reader::Held(_) | Reader::Opaque => None,
        }
    }

    /// What the breaker is told of an answer that began well.
    fn outcome<S: Store>(&self, turn: &mut Turn<'_, S>, json: Option<&JsonFacts>, ending: Ending) -> Outcome {
        match ending {
            Ending::ClientAbort | Ending::Timeout | Ending::Aborted => return Outcome::Neutral,
            Ending::UpstreamReset => return Outcome::Failure(Failure::Reset),
            Ending::Complete => {}
        }
        let whole = turn.now.monotonic.since(self.begun);
        let Some(progress) = self.progress() else {
            let broken = json.is_some_and(|j| j.error && j.usage.is_none());
            if broken {
                return Outcome::Failure(Failure::StreamError);
            }
            return Outcome::Success {
                latency: Latency::Whole(whole),
                headroom: self.headroom,
            };
        };
        if progress.error {
            turn.effects
                .metrics
                .push((Metric::StreamError(self.hop.provider), 1));
            return Outcome::Failure(Failure::StreamError);
        }
        if !progress.done && progress.usage.is_none() {
            turn.effects
                .metrics
                .push((Metric::StreamAborted(self.hop.provider, Aborted::Upstream), 1));
            return Outcome::Failure(Failure::Reset);
        }
        let latency = Latency::Gap {
            first: self.first_token,
            longest: self.longest_gap,
        };
        Outcome::Success {
            latency,
            headroom: self.headroom,
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
            let rest = milliseconds(turn.now.monotonic.since(self.begun)).saturating_sub(milliseconds(first));
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

fn settle<S: Store>(turn: &mut Turn<'_, S>, ticket: Ticket, cost: Cost, learnt: Option<u64>) {
    let spent = Actual {
        requests: 1,
        tokens: cost.tokens(),
        output: learnt,
    };
    let settlement = turn
        .gateway
        .ledger
        .settle(turn.store, ticket, spent, turn.now.monotonic);
    turn.add(Metric::Tokens(Booking::Settled), cost.tokens());
    if settlement.refunded > 0 {
        turn.add(Metric::Tokens(Booking::Refunded), settlement.refunded);
    }
    turn.effects.bookings.extend(settlement.pending);
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
    let observed = breakers.observe(turn.store, pass, outcome, at);
    for transition in [observed.transition, observed.second].into_iter().flatten() {
        turn.count(Metric::BreakerTransition(hop.provider, transition.to.as_str()));
    }
    if observed.dropped {
        turn.count(Metric::BreakerDropped(hop.provider));
    }
    turn.effects
        .transitions
        .extend(observed.pending.map(|pending| (hop.provider, pending)));
}

fn actual(cost: Cost) -> record::Actual {
    record::Actual {
        input: cost.usage.input,
        output: cost.usage.output,
        source: cost.source,
    }
}

fn end_word(ending: Ending) -> &'static str {
    match ending {
        Ending::Complete => "complete",
        Ending::ClientAbort => "client_abort",
        Ending::UpstreamReset => "upstream_reset",
        Ending::Timeout => "timeout",
        Ending::Aborted => "aborted",
    }
}
