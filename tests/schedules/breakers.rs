//! Breakers in every order: probes are as many as permitted, every transition is told exactly once, no sample is lost
//! unsaid.

use core::time::Duration;

use spillway::breaker::{
    Breakers, Failure, Latency, Observation, Outcome, Pass, PendingTransition, Permit, StateName,
};
use spillway::breaker::{Scope, Transition};
use spillway::policy::{Breaker, Policy};
use spillway::time::Instant;

use crate::explorer::{Desk, Flaw, Program, Records, Scenario, Seen, Shelf};
use crate::{holds, is_full};

use Act::{Ask, Drop, Lend, Old, Tell};

const GOOD: Outcome = Outcome::Success {
    latency: Latency::Unknown,
    headroom: None,
};
const BAD: Outcome = Outcome::Failure(Failure::Status(500));
const LATE: Outcome = Outcome::Failure(Failure::Timeout);
const LIMITED: Outcome = Outcome::RateLimited { wait: None };
/// In the middle of the jitter: exactly the policy's span.
const MIDDLE: u64 = 200;

fn seconds(at: u64) -> Instant {
    Instant((1_000 + at) * 1_000_000_000)
}

/// What a worker does next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Asks for this model at that second.
    Ask(usize, u64),
    /// Tells at that second how the oldest call ended; nothing if none went.
    Tell(Outcome, u64),
    /// Forgets the oldest call, as a trap does.
    Drop,
    /// Has a call under way since before anything happened.
    Old,
    /// Wants to go on credit.
    Lend,
}

/// What a worker saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Word {
    /// Calls that went, and those that didn't.
    went: usize,
    refused: usize,
    /// Probes whose end it hasn't begun to tell.
    probes: usize,
    changes: Vec<Transition>,
    dropped: usize,
    /// Calls that went on credit, and credit that came back or was earned.
    lent: u32,
    earned: u32,
}

/// The policy under test: one provider of two models.
pub(crate) fn policy(rules: impl FnOnce(&mut Breaker)) -> Policy {
    let document = r#"{"version": 1, "callers": [{"header": "x-tenant", "trusted": true}],
        "providers": {"openai": {"cluster": "openai", "dialect": "openai", "models": {"one": {}, "two": {}}}},
        "models": {"one": {"chain": ["openai/one"]}, "two": {"chain": ["openai/two"]}}}"#;
    let mut policy =
        spillway::policy::load(document, &std::collections::BTreeMap::<String, String>::new()).unwrap();
    rules(&mut policy.providers[0].breaker);
    policy
}

struct Caller<'a, 'd> {
    breakers: Breakers<'a>,
    desk: &'a Desk<'d, Word>,
    passes: Vec<Pass>,
    pending: Vec<PendingTransition>,
    word: Word,
}

impl Caller<'_, '_> {
    fn work(&mut self, script: &[Act]) {
        let mut last = 0;
        for (at, act) in script.iter().enumerate() {
            match act {
                Ask(model, second) => {
                    last = *second;
                    self.ask(*model, last);
                }
                Tell(outcome, second) => {
                    last = *second;
                    self.tell(*outcome, last);
                }
                Lend => {
                    let pass = self.breakers.borrow(self.desk, 0, seconds(1));
                    self.word.lent += u32::from(pass.is_some());
                    self.passes.extend(pass);
                }
                Drop if self.passes.is_empty() => {}
                Drop => drop(self.passes.remove(0)),
                Old => match self.breakers.ask(&Shelf::default(), 0, seconds(0), MIDDLE) {
                    Permit::Go(pass) => self.passes.push(pass),
                    Permit::NotNow { .. } => panic!("it is closed"),
                },
            }
            self.mark(at);
        }
        while let Some(pending) = self.pending.pop() {
            let observed = self.breakers.settle(self.desk, pending, observation(last));
            self.word.changes.extend(observed.transitions());
            self.word.dropped += usize::from(observed.dropped);
            self.pending.extend(observed.pending);
            self.mark(usize::MAX);
        }
    }

    fn ask(&mut self, model: usize, second: u64) {
        match self.breakers.ask(self.desk, model, seconds(second), MIDDLE) {
            Permit::Go(pass) => {
                self.word.went += 1;
                self.word.probes += usize::from(pass.is_probe());
                self.word.changes.extend(pass.transitions());
                self.passes.push(pass);
            }
            Permit::NotNow { .. } => self.word.refused += 1,
        }
    }

    fn tell(&mut self, outcome: Outcome, second: u64) {
        if self.passes.is_empty() {
            return;
        }
        let pass = self.passes.remove(0);
        self.word.probes -= usize::from(pass.is_probe());
        self.word.earned += match outcome {
            Outcome::Success { .. } => 1 + u32::from(pass.is_on_credit()),
            Outcome::Neutral => u32::from(pass.is_on_credit()),
            _ => 0,
        };
        self.desk.say_next(self.word.clone());
        let observed = self
            .breakers
            .observe(self.desk, pass, outcome, observation(second));
        self.word.changes.extend(observed.transitions());
        self.word.dropped += usize::from(observed.dropped);
        self.pending.extend(observed.pending);
    }

    fn mark(&self, at: usize) {
        self.desk.say(self.word.clone());
        self.desk.mark(format!(
            "{at} {:?} {:?} {:?}",
            self.passes, self.pending, self.word
        ));
    }
}

fn observation(second: u64) -> Observation {
    Observation {
        now: seconds(second),
        entropy: MIDDLE,
    }
}

pub(crate) fn worker<'a>(policy: &'a Policy, script: &'a [Act]) -> Program<'a, Word> {
    Box::new(move |desk| {
        let mut caller = Caller {
            breakers: Breakers::of(&policy.providers[0]),
            desk,
            passes: Vec::new(),
            pending: Vec::new(),
            word: Word::default(),
        };
        caller.work(script);
    })
}

/// The provider's and both models' states.
pub(crate) type States = [StateName; 3];

fn states(policy: &Policy, records: &Records, second: u64) -> States {
    let (breakers, store) = (Breakers::of(&policy.providers[0]), Shelf::of(records));
    let [one, two] = [0, 1].map(|model| breakers.view(&store, model, seconds(second)));
    [one.provider, one.model, two.model]
}

/// Records in which one worker alone did this.
fn after(policy: &Policy, script: &[Act]) -> Records {
    let scenario = Scenario::<Word, ()> {
        workers: vec![worker(policy, script)],
        ..Scenario::default()
    };
    scenario.outcome()
}

fn total(workers: &[Seen<'_, Word>]) -> Word {
    let mut total = Word::default();
    for word in workers.iter().filter_map(|worker| worker.said) {
        total.went += word.went;
        total.refused += word.refused;
        total.probes += word.probes;
        total.changes.extend(&word.changes);
        total.dropped += word.dropped;
        total.lent += word.lent;
        total.earned += word.earned;
    }
    total
}

/// Whether what was told of a breaker is a way from its state before to its state after, each step told once.
fn is_way(changes: &[Transition], from: StateName, to: StateName) -> bool {
    let all = [
        StateName::Closed,
        StateName::Open,
        StateName::HalfOpen,
        StateName::RateLimited,
    ];
    all.into_iter().all(|state| {
        let left = changes.iter().filter(|change| change.from == state).count() + usize::from(state == to);
        let reached = changes.iter().filter(|change| change.to == state).count() + usize::from(state == from);
        left == reached
    })
}

type AtEnd<'a> = &'a dyn Fn(&Word, &States) -> Result<(), String>;

/// Workers by their scripts, and what must hold of any: at most as many probes as permitted, and in the end the
/// transitions of one model's callers add up, of the provider's and the first model's breaker.
fn calls<'a>(
    policy: &'a Policy,
    before: Records,
    scripts: &'a [&'a [Act]],
    at_end: AtEnd<'a>,
) -> Scenario<'a, Word, States> {
    let permits = policy.providers[0].breaker.half_open_permits as usize;
    let was = states(policy, &before, 0);
    Scenario {
        before,
        workers: scripts.iter().map(|script| worker(policy, script)).collect(),
        // Of a clock at which nothing has run out by itself: a state changes when it is told.
        measure: Box::new(|records| states(policy, records, 0)),
        check: Box::new(move |states, workers| {
            let total = total(workers);
            if total.probes > permits {
                return Err(format!("{} probes are out", total.probes));
            }
            if !workers.iter().all(|worker| worker.done) {
                return Ok(());
            }
            let of = |scope| -> Vec<_> {
                total
                    .changes
                    .iter()
                    .copied()
                    .filter(|c| c.scope == scope)
                    .collect()
            };
            let (provider, model) = (of(Scope::Provider), of(Scope::Model));
            if !is_way(&provider, was[0], states[0]) || !is_way(&model, was[1], states[1]) {
                return Err(format!(
                    "{:?} were told from {was:?} to {states:?}",
                    total.changes
                ));
            }
            at_end(&total, states)
        }),
        vanish: 0,
        failures: 0,
        conflicts: 0,
        flaw: Flaw::None,
        one_by_one: false,
    }
}

fn anyhow(_: &Word, _: &States) -> Result<(), String> {
    Ok(())
}

fn opened(total: &Word, states: &States) -> Result<(), String> {
    match (total.changes.len(), states[0], total.dropped) {
        (1, StateName::Open, 0) => Ok(()),
        _ => Err(format!("{states:?} after {total:?}")),
    }
}

#[test]
fn what_opens_a_breaker_opens_it_once_and_no_sample_is_lost() {
    let all_count = policy(|rules| {
        (rules.consecutive, rules.min_requests, rules.failure_rate) = (100, 6, 1.0);
    });
    let script: &[Act] = &[Ask(0, 0), Tell(BAD, 0), Ask(0, 0), Tell(BAD, 0)];
    holds(
        "6 failures of 3 workers",
        &calls(&all_count, Records::new(), &[script; 3], &opened),
    );

    let consecutive = policy(|rules| rules.consecutive = 3);
    let scripts: [&[Act]; 3] = [&[Ask(0, 0), Ask(0, 0), Tell(BAD, 0), Tell(BAD, 0)]; 3];
    holds(
        "failures in a row, with stragglers",
        &calls(&consecutive, Records::new(), &scripts, &opened),
    );

    let mixed: [&[Act]; 3] = [
        &[Ask(0, 0), Tell(BAD, 0), Ask(0, 0), Tell(BAD, 0)],
        &[Ask(0, 0), Tell(GOOD, 0), Ask(0, 0), Tell(BAD, 0)],
        &[Ask(0, 0), Tell(BAD, 0), Ask(0, 0), Tell(LATE, 0)],
    ];
    holds(
        "good and bad",
        &calls(&consecutive, Records::new(), &mixed, &anyhow),
    );
}

/// A breaker that opened at second 0; its time is up after 15.
fn open(policy: &Policy) -> Records {
    let failures = policy.providers[0].breaker.consecutive as usize;
    let script: Vec<Act> = [Ask(0, 0), Tell(BAD, 0)].repeat(failures);
    after(policy, &script)
}

#[test]
fn of_those_who_ask_an_open_breaker_whose_time_is_up_exactly_the_permitted_probe() {
    for permits in [1, 2] {
        let policy = policy(|rules| rules.half_open_permits = permits);
        let probed = move |total: &Word, states: &States| {
            let as_permitted = total.went == permits as usize && total.changes.len() == 1;
            match as_permitted && states[0] == StateName::HalfOpen {
                true => Ok(()),
                false => Err(format!("{states:?} after {total:?}")),
            }
        };
        let script: &[Act] = &[Ask(0, 16), Ask(0, 17)];
        holds(
            format!("6 ask for {permits}"),
            &calls(&policy, open(&policy), &[script; 3], &probed),
        );
    }
}

#[test]
fn whatever_becomes_of_probes_each_transition_is_told_once() {
    // Of two at a time there are 3·10¹⁵ schedules.
    for (permits, successes) in [(1, 1), (2, 2)].into_iter().take(1 + usize::from(is_full())) {
        let policy = policy(|rules| {
            (rules.half_open_permits, rules.half_open_successes) = (permits, successes);
        });
        let neutral = Outcome::Neutral;
        let scripts: [&[Act]; 3] = [
            &[Ask(0, 16), Tell(GOOD, 16), Ask(0, 17), Tell(GOOD, 17)],
            &[Ask(0, 16), Tell(BAD, 17)],
            &[Ask(0, 16), Tell(neutral, 16), Ask(0, 17), Tell(LIMITED, 17)],
        ];
        let name = format!("probes that end well, badly, with 429, {permits} permitted");
        holds(name, &calls(&policy, open(&policy), &scripts, &anyhow));
    }
}

#[test]
fn stragglers_of_an_earlier_life_change_nothing() {
    let policy = policy(|rules| {
        (
            rules.consecutive,
            rules.half_open_permits,
            rules.half_open_successes,
        ) = (2, 1, 1)
    });
    let scripts: [&[Act]; 3] = [
        &[Ask(0, 16), Tell(GOOD, 17)],
        &[Old, Tell(BAD, 16), Ask(0, 16), Tell(BAD, 17)],
        &[Old, Old, Tell(GOOD, 16), Tell(BAD, 17)],
    ];
    holds("stragglers", &calls(&policy, open(&policy), &scripts, &anyhow));
}

#[test]
fn as_many_go_on_credit_as_was_earned() {
    holds("credit", &lent_under(Flaw::None));
}

#[test]
fn a_rate_limited_model_is_entered_once_and_left_once() {
    let policy = policy(|rules| rules.consecutive = 2);
    let scripts: [&[Act]; 3] = [
        &[Ask(0, 0), Tell(LIMITED, 0), Ask(0, 16), Tell(GOOD, 16)],
        &[Ask(0, 0), Tell(LIMITED, 1), Ask(0, 17), Tell(LATE, 17)],
        &[Ask(0, 0), Tell(LATE, 0), Ask(0, 18), Tell(LATE, 18)],
    ];
    holds(
        "429 and timeouts",
        &calls(
            &policy,
            Records::new(),
            &scripts[..2 + usize::from(is_full())],
            &anyhow,
        ),
    );
}

#[test]
fn two_models_share_their_providers_probe() {
    let policy = policy(|rules| (rules.half_open_permits, rules.half_open_successes) = (1, 1));
    let scripts: [&[Act]; 3] = [
        &[Ask(0, 16), Tell(BAD, 17)],
        &[Ask(1, 16), Tell(LIMITED, 17), Ask(1, 18)],
        &[Ask(1, 16), Tell(GOOD, 17)],
    ];
    let mut scenario = calls(&policy, open(&policy), &scripts, &anyhow);
    scenario.check = Box::new(|_, workers| match total(workers).probes {
        0 | 1 => Ok(()),
        more => Err(format!("{more} probes are out")),
    });
    holds("two models", &scenario);
}

#[test]
fn a_probe_that_vanished_blocks_nobody_for_longer_than_its_lease() {
    let policy = policy(|rules| (rules.half_open_permits, rules.half_open_successes) = (1, 1));
    let script: &[Act] = &[Ask(0, 16), Tell(GOOD, 17)];
    let dropped: &[Act] = &[Ask(0, 16), Drop];
    let scripts = [script, dropped, script];
    let mut scenario = calls(&policy, open(&policy), &scripts, &anyhow);
    scenario.vanish = 2;
    // Within the longest time that a call may take without being slow (`slow_call`, 120 s), somebody may go.
    let measured = |records: &Records| {
        let shelf = Shelf::of(records);
        let asked = Breakers::of(&policy.providers[0]).ask(&shelf, 0, seconds(16 + 121), MIDDLE);
        match asked {
            Permit::Go(_) => states(&policy, records, 0),
            Permit::NotNow { .. } => [StateName::ForcedOpen; 3],
        }
    };
    let check = |states: &States, workers: &[Seen<'_, Word>]| {
        let over = workers.iter().all(|worker| worker.done || worker.gone);
        match over && states[0] == StateName::ForcedOpen {
            true => Err("a lease that nobody has any more isn't free".to_owned()),
            false => Ok(()),
        }
    };
    scenario.measure = Box::new(measured);
    scenario.check = Box::new(check);
    holds("probes that vanish", &scenario);
}

#[test]
fn under_contention_a_sample_may_be_lost_and_said_so_but_no_transition_and_no_lease() {
    let policy = policy(|rules| {
        (
            rules.consecutive,
            rules.half_open_permits,
            rules.half_open_successes,
        ) = (2, 1, 1)
    });
    let script: &[Act] = &[Ask(0, 16), Tell(GOOD, 17)];
    let scripts = [script, script];
    let probing = Scenario {
        conflicts: 18,
        ..calls(&policy, open(&policy), &scripts, &|total, states| {
            // Whoever gets no lease in sixteen tries is refused; whoever has one gives it back, sooner or later.
            match states[0] == StateName::HalfOpen && total.went > 0 {
                true => Err(format!("{states:?} after {total:?}")),
                false => Ok(()),
            }
        })
    };
    let found = holds("a busy breaker, half-open", &probing);
    assert!(found.operation <= 32, "sixteen tries, {} calls", found.operation);

    let failing: &[Act] = &[Ask(0, 0), Tell(BAD, 0), Ask(0, 0), Tell(BAD, 0)];
    let alone = [failing];
    let opening = Scenario {
        conflicts: 40,
        ..calls(&policy, Records::new(), &alone, &|total, states| {
            let all = states[0] == StateName::Open && total.changes.len() == 1 && total.dropped == 0;
            match all || total.dropped > 0 {
                true => Ok(()),
                false => Err(format!("{states:?} after {total:?}")),
            }
        })
    };
    holds("a busy breaker, closed", &opening);

    let silent = Scenario {
        failures: 2,
        ..calls(&policy, open(&policy), &scripts, &anyhow)
    };
    holds("a silent breaker, half-open", &silent);
}

/// How long a lease may last, told here once more: the policy's `slow_call`.
#[test]
fn a_lease_lasts_as_long_as_a_call_may_take() {
    let rules = &policy(|_| ()).providers[0].breaker;
    let longest = rules.slow_call.max(rules.slow_first_token).max(rules.slow_gap);
    assert_eq!(longest, Duration::from_secs(120));
}

/// Six ask a breaker whose time is up for its one probe, of a broken store.
pub(crate) fn probed_under(flaw: Flaw) -> Scenario<'static, Word, States> {
    static SCRIPT: &[Act] = &[Ask(0, 16), Tell(GOOD, 17)];
    static SCRIPTS: [&[Act]; 2] = [SCRIPT; 2];
    let policy: &'static Policy = Box::leak(Box::new(policy(|rules| {
        (rules.half_open_permits, rules.half_open_successes) = (1, 2);
    })));
    Scenario {
        flaw,
        ..calls(policy, open(policy), &SCRIPTS, &anyhow)
    }
}

/// Three borrow of a breaker that opened with a credit of two, of a broken store: no more go than there is credit, and
/// in the end none is lost.
pub(crate) fn lent_under(flaw: Flaw) -> Scenario<'static, Word, u32> {
    static OPEN: &[Act] = &[Ask(0, 0), Tell(BAD, 0), Old, Tell(GOOD, 0), Old, Tell(GOOD, 0)];
    static SCRIPTS: [&[Act]; 3] = [
        &[Lend, Tell(GOOD, 1), Lend],
        &[Lend, Tell(BAD, 1), Lend, Tell(Outcome::Neutral, 1)],
        &[Old, Tell(GOOD, 1), Lend],
    ];
    let policy: &'static Policy = Box::leak(Box::new(policy(|rules| rules.consecutive = 1)));
    let credit =
        |records: &Records| Breakers::of(&policy.providers[0]).credit(&Shelf::of(records), 0, seconds(1));
    let check = |left: &u32, workers: &[Seen<'_, Word>]| {
        let total = total(workers);
        let (all, over) = (2 + total.earned, workers.iter().all(|worker| worker.done));
        match total.lent > all || total.dropped > 0 || (over && left + total.lent != all) {
            true => Err(format!("{left} left of {all}: {total:?}")),
            false => Ok(()),
        }
    };
    Scenario {
        before: after(policy, OPEN),
        workers: SCRIPTS.iter().map(|script| worker(policy, script)).collect(),
        measure: Box::new(credit),
        check: Box::new(check),
        vanish: 0,
        failures: 0,
        conflicts: 0,
        flaw,
        one_by_one: false,
    }
}
