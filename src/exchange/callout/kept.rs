//! What is kept of a request that may be sent again, and what its attempts have cost so far.

use std::rc::Rc;

use crate::dialect::Endpoint;
use crate::failover::Load;
use crate::ledger::{Level, Ticket};
use crate::policy::{Charge, Failover, Hop, Mode, Policy, Via};
use crate::report::metric::{LimitRef, Metric, Unmoved};
use crate::report::record::milliseconds;
use crate::store::Store;
use crate::time::Instant;

use super::super::gateway::THERE;
use super::super::guarding::Watching;
use super::super::identify::Who;
use super::super::judge::{Asked, Position};
use super::super::plan::Plan;
use super::super::settle::Cost;
use super::super::{Edit, Turn};
use super::dismissed::Dismissed;
use super::listen::Listening;
use super::own::Own;

/// All requests together that a worker keeps, in bytes: an outage mustn't take the VM's memory as well.
const MOST_KEPT: usize = 64 << 20;

/// Headers of the client's own protocol, by name and value.
pub(in super::super) type Headers = Vec<(String, String)>;

/// A request that may be sent again by callouts, and its attempts so far.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The client's body; empty when it won't be sent again.
    pub(super) body: Vec<u8>,
    /// The same with the answer to it and what was wrong with that: sent in its place while a better one is asked for.
    pub(super) corrected: Option<Vec<u8>>,
    /// It is sent again where an attempt fails.
    pub(super) moves: bool,
    /// It may be sent again where an answer fails its validation.
    pub(super) chances: bool,
    pub(super) path: String,
    pub(super) authority: String,
    pub(super) headers: Headers,
    pub(super) who: Who,
    /// What the request asks of its answer, beyond a good status.
    pub(super) asked: Option<Rc<Asked>>,
    /// How far its ladder was climbed.
    pub(super) position: Position,
    /// Tokens of the prompt, as they were taken for.
    pub(super) prompt: u64,
    /// Output asked for, if the request bounds it.
    pub(super) output: Option<u64>,
    pub(super) stream: bool,
    /// When the client stops waiting.
    pub(super) deadline: Option<Instant>,
    /// What limits said at admission.
    pub(super) levels: Vec<(LimitRef, Level)>,
    /// Where it was sent, the present attempt last.
    pub(super) tried: Vec<Hop>,
    /// The first attempt was a drill's.
    pub(super) drilled: bool,
    /// The present attempt counts as a repeat in the retry budget.
    pub(super) repeats: bool,
    /// The caller's part of the reservation, from the second attempt on.
    pub(super) own: Option<Own>,
    /// Charged to the caller for the attempts before.
    pub(super) before: Before,
    /// What the last attempt that is over cost.
    pub(super) lately: Cost,
    /// Until when the present attempt may show a first token, or any answer.
    pub(super) due: Option<(Instant, super::next::Overdue)>,
    /// Until when the first attempt's answer may go on.
    pub(super) whole: Option<Instant>,
    /// The beginning of a stream, while it is held.
    pub(super) listening: Option<Listening>,
    /// Until when room at the only candidate is waited for.
    pub(super) patience: Option<Instant>,
    /// When somebody who can't be asked now may be.
    pub(super) retry_at: Option<Instant>,
    /// What guards look for in the answer, between attempts.
    pub(super) watching: Option<Box<Watching>>,
    /// The last answer that a provider gave.
    pub(super) last: Option<super::answered::LastAnswer>,
    /// The head of the answer that waits for its verdict.
    pub(super) head: Option<super::answered::LastAnswer>,
    /// The last answer that failed its validation.
    pub(super) dismissed: Option<Box<Dismissed>>,
}

/// Tokens of attempts that are over.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Before {
    pub(in super::super) input: u64,
    pub(in super::super) output: u64,
}

impl Before {
    pub(super) fn add(&mut self, input: u64, output: u64) {
        self.input = self.input.saturating_add(input);
        self.output = self.output.saturating_add(output);
    }
}

/// What admission knows.
pub(in super::super) struct Start<'a> {
    pub(in super::super) endpoint: Endpoint,
    pub(in super::super) hop: Hop,
    pub(in super::super) body: &'a [u8],
    pub(in super::super) levels: &'a [(LimitRef, Level)],
    pub(in super::super) path: &'a str,
    pub(in super::super) authority: &'a str,
    /// Tokens of the prompt.
    pub(in super::super) prompt: u64,
    /// When the client stops waiting, by its own header.
    pub(in super::super) deadline: Option<Instant>,
    /// It goes to the candidate by a drill.
    pub(in super::super) drilled: bool,
}

/// Whether the gateway role fails over for this model.
pub(in super::super) fn by_callout(policy: &Policy, rules: &Failover) -> bool {
    rules.via == Via::Callout && policy.mode == Mode::Enforce
}

/// Whether a request may go to candidates of another protocol: by a call, that is, and with its host's headers held.
pub(in super::super) fn can_translate<S: Store>(
    turn: &Turn<'_, S>,
    plan: &Plan<'_>,
    (endpoint, body): (Endpoint, &[u8]),
) -> bool {
    let policy = &turn.gateway.policy;
    policy.host.body_pause
        && by_callout(policy, &plan.route.failover)
        && endpoint.generates()
        && unmoved(turn, plan, body).is_none()
}

impl Kept {
    /// Keeps what another attempt would need, if there may be one.
    pub(in super::super) fn of<S: Store>(
        turn: &mut Turn<'_, S>,
        plan: &Plan<'_>,
        start: &Start<'_>,
        client: (&mut Headers, &mut Who),
    ) -> Option<Box<Self>> {
        let policy = &turn.gateway.policy;
        let rules = &plan.route.failover;
        let generates = start.endpoint.generates();
        let calls = by_callout(policy, rules) && generates;
        let moves = calls && (rules.attempts > 1 || plan.foreign.contains(&start.hop));
        let chances = generates && rules.attempts > 1 && plan.asks_again(policy);
        if !moves && !chances {
            return None;
        }
        if let Some(why) = unmoved(turn, plan, start.body) {
            turn.count(Metric::Unmoved(why));
            return None;
        }
        let mut kept = Box::new(Self {
            body: start.body.to_vec(),
            corrected: None,
            moves,
            chances,
            path: start.path.to_owned(),
            authority: start.authority.to_owned(),
            headers: core::mem::take(client.0),
            who: core::mem::take(client.1),
            asked: plan.asked.clone(),
            position: Position::default(),
            output: plan.facts.max_tokens,
            prompt: start.prompt,
            stream: plan.facts.stream,
            deadline: start.deadline,
            levels: start.levels.to_vec(),
            tried: vec![start.hop],
            drilled: start.drilled,
            repeats: false,
            own: None,
            before: Before::default(),
            lately: Cost::default(),
            due: None,
            whole: None,
            listening: None,
            patience: None,
            retry_at: None,
            watching: None,
            last: None,
            head: None,
            dismissed: None,
        });
        if moves {
            kept.await_first(rules, kept.prompt, turn.now.monotonic);
        }
        Some(kept)
    }

    /// Tells the host's router how long the whole answer may take.
    pub(in super::super) fn timeout_edit<S: Store>(&self, turn: &Turn<'_, S>) -> Option<Edit> {
        let whole = milliseconds(self.whole?.since(turn.now.monotonic));
        Some(Edit::set(
            "x-envoy-upstream-rq-timeout-ms",
            whole.max(1).to_string(),
        ))
    }

    /// Until when the first attempt's answer may go on.
    pub(in super::super) fn until(&self) -> Option<Instant> {
        self.whole
    }

    /// Bytes kept.
    pub(in super::super) fn size(&self) -> usize {
        let corrected = self.corrected.as_ref().map_or(0, Vec::len);
        let dismissed = self.dismissed.as_ref().map_or(0, |dismissed| dismissed.size());
        let asked = self.asked.as_ref().map_or(0, |asked| asked.size());
        self.body
            .len()
            .saturating_add(asked)
            .saturating_add(corrected)
            .saturating_add(dismissed)
    }

    /// What is sent: the client's request, or the same with what was wrong with the answer to it.
    pub(super) fn request(&self) -> &[u8] {
        self.corrected.as_deref().unwrap_or(&self.body)
    }

    /// Whether the worker may keep so much more.
    pub(super) fn has_room_for<S: Store>(&self, turn: &mut Turn<'_, S>, more: usize) -> bool {
        let fits = more <= room(turn.load);
        if !fits {
            turn.count(Metric::Unmoved(Unmoved::TooLarge));
        }
        fits
    }

    /// Takes over what the host's router tried.
    pub(in super::super) fn was_tried(&mut self, hops: Vec<Hop>) {
        if !hops.is_empty() {
            self.tried = hops;
        }
    }

    /// Whether the present attempt is a repeat at a provider that was asked before.
    pub(in super::super) fn repeats(&self) -> bool {
        self.repeats
    }

    /// Nothing will be sent again: the answer goes to the client.
    pub(in super::super) fn give_out(&mut self) {
        self.body = Vec::new();
        self.chances = false;
        self.due = None;
        self.listening = None;
    }

    /// Whether the present attempt is a drill's: but for a good answer the one that it passed over is asked after all.
    pub(super) fn drills(&self) -> bool {
        self.drilled && self.tried.len() < 2
    }

    /// Whether it may still be sent again.
    pub(super) fn is_kept(&self) -> bool {
        !self.body.is_empty()
    }

    /// Whether the present attempt is a callout.
    pub(in super::super) fn calls(&self) -> bool {
        self.own.is_some()
    }

    /// Parts the first attempt's ticket: the provider's part is settled with the attempt.
    pub(super) fn part(&mut self, ticket: Ticket) -> Ticket {
        if self.own.is_some() {
            return ticket;
        }
        let (there, own) = ticket.split(THERE);
        self.own = Some(Own::of(own));
        there
    }

    /// Takes what was set aside with the caller's own limits for a better answer.
    pub(super) fn set_aside_more(&mut self, more: Option<Ticket>) {
        if let Some(own) = &mut self.own {
            own.more.extend(more);
        }
    }

    /// Tokens set aside so.
    pub(super) fn reserved_more(&self) -> u64 {
        self.own.as_ref().map_or(0, Own::reserved_more)
    }

    /// What earlier attempts add to what the caller is charged.
    pub(in super::super) fn before(&self) -> Before {
        self.before
    }

    /// Tokens set aside with the caller's own limits.
    pub(in super::super) fn reserved(&self) -> u64 {
        self.own.as_ref().map_or(0, |own| own.first.reserved_tokens())
    }

    /// Takes the caller's part of the reservation.
    pub(in super::super) fn take_own(&mut self) -> Option<Own> {
        self.own.take()
    }
}

/// Bytes that may still be kept of requests, all together.
pub(in super::super) fn room(load: Load) -> usize {
    MOST_KEPT.saturating_sub(load.kept)
}

fn unmoved<S: Store>(turn: &Turn<'_, S>, plan: &Plan<'_>, body: &[u8]) -> Option<Unmoved> {
    if plan.facts.pinned {
        Some(Unmoved::Pinned)
    } else if body.len() > room(turn.load) {
        Some(Unmoved::TooLarge)
    } else {
        None
    }
}

/// What of an attempt's cost its caller is charged, when another follows.
pub(super) fn charged(rules: &Failover, cost: (u64, u64)) -> (u64, u64) {
    match rules.charge {
        Charge::All => cost,
        Charge::Final => (0, 0),
    }
}
