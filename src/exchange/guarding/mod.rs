//! Guards at work: on the request before anything else sees it, on the answer before its verdict.
//!
//! ```text
//! request     look over, mask; what goes on is scanned anew    → 400
//! answer      whole: held, put back, masked, then read         → 502, or an error under its status
//!             stream: event by event (stream, event)           → an error event, and nothing after it
//! ```
//!
//! The invariant: what a guard masks or blocks passes this place in no other form; what can't be looked at is refused,
//! unless the policy lets it go.

mod answer;
mod event;
mod path;
mod request;
mod spans;
mod stream;
mod texts;
mod veil;

use crate::guard::{Plan, Watch};
use crate::policy::{Guard, GuardAction, Mode, OnUnreadable, Policy, Side};
use crate::report::Record;
use crate::report::metric::Metric;
use crate::store::Store;

pub(super) use veil::veiled;

use super::{Step, Turn};
use stream::{GuardedStream, Looking};
use texts::Texts;

/// What the guards of an exchange look for in its answer, and what they found so far.
#[derive(Debug)]
pub(crate) struct Watching {
    watch: Watch,
    plan: Plan,
    /// What mustn't go out when something is sent once more, if anything.
    outgoing: Option<Plan>,
    phase: Phase,
}

/// The answer, as far as it has come.
#[derive(Debug, Default)]
enum Phase {
    /// There is nothing to look at.
    #[default]
    Idle,
    /// It is gathered.
    Whole(Vec<u8>),
    /// It is looked at as it passes.
    Stream(Box<Passing>),
    /// It was stopped: nothing of it goes on.
    Stopped,
}

/// A stream that passes.
#[derive(Debug)]
struct Passing {
    stream: GuardedStream,
    /// How much of what the host holds was looked at.
    taken: usize,
    /// What goes on of that.
    out: Vec<u8>,
    /// That isn't what came.
    differs: bool,
}

impl Passing {
    /// The host holds what was looked at, perhaps as the reader behind has changed it; of it `out` would go on.
    fn hold(&mut self, step: &Step, out: Vec<u8>) {
        match &step.body {
            None => self.out = out,
            Some(bytes) => {
                self.taken = bytes.len();
                self.out = if out.is_empty() { out } else { bytes.clone() };
            }
        }
    }
}

impl Watching {
    /// What a guarded request leaves to be done with its answer; none when that is nothing.
    fn of(watch: Watch, request: Option<Plan>, plan: Option<Plan>) -> Option<Box<Self>> {
        let plan = plan?;
        let outgoing = request.filter(Plan::rules_bind).map(Plan::again);
        (plan.has_rules() || watch.keeps_originals()).then(|| {
            Box::new(Self {
                watch,
                plan,
                outgoing,
                phase: Phase::Idle,
            })
        })
    }

    /// Whether the answer may be changed or stopped.
    fn binds(&self) -> bool {
        self.plan.rules_bind() || self.watch.keeps_originals()
    }

    /// Whether the answer that comes may differ from the provider's.
    pub(super) fn changes(&self) -> bool {
        !matches!(self.phase, Phase::Idle) && self.binds()
    }

    /// Whether the answer is held until it is whole.
    pub(super) fn holds(&self) -> bool {
        matches!(self.phase, Phase::Whole(_)) && self.binds()
    }

    /// A request as it may be sent once more, in any protocol: what was put back for the client, or was never masked, is
    /// masked in it. None if it may not be sent.
    pub(super) fn once_more(&mut self, body: Vec<u8>) -> Option<Vec<u8>> {
        let Some(plan) = &self.outgoing else {
            return Some(body);
        };
        // What mayn't be sent stops this request alone.
        let mut watch = self.watch.clone();
        watch.repeat(true);
        let texts = Texts::of(&body).ok()?;
        let spans: Vec<&[u8]> = texts.texts.iter().map(|text| text.raw).collect();
        let masked = watch.mask_places(plan, &body, &spans).ok()?;
        watch.repeat(false);
        self.watch = watch;
        Some(masked.unwrap_or(body))
    }

    fn looking(&mut self, policy: &Policy) -> (Looking<'_>, &mut Phase) {
        let lenient = self.is_lenient(policy);
        let looking = Looking {
            plan: &self.plan,
            watch: &mut self.watch,
            lenient,
        };
        (looking, &mut self.phase)
    }

    /// Whether what can't be looked at may go on. Nothing else depends on what is only put back.
    fn is_lenient(&self, policy: &Policy) -> bool {
        policy.on_unguarded == OnUnreadable::Pass || !self.plan.rules_bind()
    }

    /// Counts what was found since the last time.
    fn note<S: Store>(&mut self, turn: &mut Turn<'_, S>, record: &mut Record) {
        note(turn, record, &mut self.watch);
    }
}

fn note<S: Store>(turn: &mut Turn<'_, S>, record: &mut Record, watch: &mut Watch) {
    for (guard, kind, times) in watch.take_counts() {
        turn.add(Metric::Guard(guard, kind), times);
        record.found(&turn.gateway.policy, guard, (kind, times));
    }
}

/// The guards of those that match a request's headers which concern its model.
fn of_model<'p>(
    policy: &'p Policy,
    matching: &'p [usize],
    model: &'p str,
) -> impl Iterator<Item = (usize, &'p Guard)> {
    let guards = matching
        .iter()
        .filter_map(|at| Some((*at, policy.guards.get(*at)?)));
    guards.filter(move |(_, guard)| guard.when.concerns(model))
}

/// Whether a guard may change or stop anything.
fn binds(policy: &Policy, guard: &Guard) -> bool {
    policy.mode == Mode::Enforce && guard.mode == Mode::Enforce && guard.action != GuardAction::Detect
}

/// What is told of a find: its guard, its kind and its place, never its content.
fn told(policy: &Policy, watch: &Watch, side: Side, place: &str) -> String {
    let who = match side {
        Side::Request => "the request",
        Side::Answer => "the model's answer",
    };
    let Some((guard, kind)) = watch.blocked() else {
        return format!("{who} can't be looked over");
    };
    let name = policy.guards.get(guard).map_or("", |guard| guard.name.as_str());
    format!(
        "{who} holds what guard {name:?} doesn't let pass: {} at {place}",
        kind.name()
    )
}
