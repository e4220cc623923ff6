//! The breaker as a state machine: total transitions that take the state itself, the policy's rules and the
//! time.
//!
//! | from | by | to |
//! |---|---|---|
//! | Closed | failures in a row, their rate, the rate of slow calls | Open |
//! | Closed | 429, or a good answer with next to nothing left | RateLimited |
//! | Open | its time is up, and somebody asks | HalfOpen |
//! | HalfOpen | enough good probes | Closed |
//! | HalfOpen | a bad or slow probe | Open, for twice the time |
//! | HalfOpen | 429 to a probe | RateLimited |
//! | any | 429 to a call on credit | RateLimited |
//! | RateLimited | its time is up | Closed, or HalfOpen if it came from there |
//!
//! Its invariant: while half-open, no more leases are out than the policy permits.

use core::time::Duration;

use crate::policy::Breaker as Rules;
use crate::time::{Instant, nanos};

use super::StateName;
use super::codec::{Reader, Writer};
use super::outcome::{Cause, Event};
use super::pause::{Pause, Resumed};
use super::probes::{Probes, Return};
use super::window::{Sample, Window};

/// Workers read the clock once per callback, so that one may lag another: a date may lie this much further
/// ahead than its rule allows before it is taken for another clock's.
const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// Doubling ends here: 2³⁰ times any `open` is over any `max_open`.
const MAX_DOUBLINGS: u32 = 30;

/// When an observation is made, and chance for the jitter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The moment.
    pub now: Instant,
    /// Any number that differs from case to case.
    pub entropy: u64,
}

/// A breaker's state, each with what only it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Calls go and are counted.
    Closed(Window),
    /// No call goes until then.
    Open {
        until: Instant,
        /// How often it opened without closing in between: 1 or more.
        strikes: u32,
    },
    /// A few calls go, to see.
    HalfOpen(Probes),
    /// No call goes for a while, and nothing is wrong.
    RateLimited(Pause),
}

impl Default for State {
    fn default() -> Self {
        Self::Closed(Window::default())
    }
}

/// What a state says to a call that wants to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It may.
    Free,
    /// It may, as the probe of this number.
    Leased(u64),
    /// Not before then.
    Wait(Instant),
    /// All probes are out.
    Full,
}

impl State {
    pub(super) fn name(&self) -> StateName {
        match self {
            Self::Closed(_) => StateName::Closed,
            Self::Open { .. } => StateName::Open,
            Self::HalfOpen(_) => StateName::HalfOpen,
            Self::RateLimited(_) => StateName::RateLimited,
        }
    }

    /// The state after a call asked to go, and what it was told.
    pub(super) fn enter(self, rules: &Rules, now: Instant) -> (Self, Entry) {
        match (self.retry_at(rules, now), self.settled(rules, now)) {
            (Some(until), state) => (state, Entry::Wait(until)),
            (None, Self::Closed(window)) => (Self::Closed(window), Entry::Free),
            (None, Self::Open { strikes, .. }) => Self::probe(Probes::after(strikes), rules, now),
            (None, Self::HalfOpen(probes)) => Self::probe(probes, rules, now),
            (None, Self::RateLimited(pause)) => Self::probe(Probes::after(pause.strikes()), rules, now),
        }
    }

    fn probe(probes: Probes, rules: &Rules, now: Instant) -> (Self, Entry) {
        let (probes, number) = probes.lease(rules, now);
        (Self::HalfOpen(probes), number.map_or(Entry::Full, Entry::Leased))
    }

    /// The state after a call of this generation ended; `lease` is its probe's number, if it was one.
    pub(super) fn observe(
        self,
        event: Event,
        lease: Option<u64>,
        rules: &Rules,
        at: Observation,
    ) -> (Self, Option<Cause>) {
        match self.settled(rules, at.now) {
            Self::Closed(window) => closed(window, event, rules, at),
            Self::Open { until, strikes } => (Self::Open { until, strikes }, None),
            Self::HalfOpen(probes) => half_open(probes.returned(lease), event, rules, at),
            Self::RateLimited(pause) => (Self::RateLimited(pause.observe(event, rules, at.now)), None),
        }
    }

    /// A call that went on credit was told 429: whatever stood in its way, nobody goes for as long as the provider says.
    pub(super) fn rate_limited(self, wait: Option<Duration>, rules: &Rules, now: Instant) -> Self {
        let pause = match self.settled(rules, now) {
            Self::Closed(window) => Pause::of_closed(window, wait, rules, now),
            Self::Open { strikes, .. } => Pause::of_half_open(strikes, wait, rules, now),
            Self::HalfOpen(probes) => Pause::of_half_open(probes.strikes(), wait, rules, now),
            Self::RateLimited(pause) => pause.observe(Event::RateLimited(wait), rules, now),
        };
        Self::RateLimited(pause)
    }

    /// A good answer said that next to nothing is left: closed, it stays away as long as the provider says,
    /// at most as long as after a 429 without a date, since nothing was refused yet.
    pub(super) fn spare(self, reset: Duration, rules: &Rules, now: Instant) -> (Self, Option<Cause>) {
        match self {
            Self::Closed(window) => {
                let wait = Some(reset.min(rules.rate_limited));
                (
                    Self::RateLimited(Pause::of_closed(window, wait, rules, now)),
                    Some(Cause::LowHeadroom),
                )
            }
            Self::Open { .. } | Self::HalfOpen(_) | Self::RateLimited(_) => (self, None),
        }
    }

    /// The state with what time alone has ended.
    pub(super) fn settled(self, rules: &Rules, now: Instant) -> Self {
        match self {
            Self::RateLimited(pause) => match pause.resumed(rules, now) {
                Resumed::Closed(window) => Self::Closed(window),
                Resumed::NotYet(pause) | Resumed::Probing(pause) => Self::RateLimited(pause),
            },
            Self::Closed(_) | Self::Open { .. } | Self::HalfOpen(_) => self,
        }
    }

    /// When a call may go again; `None` if one may now.
    pub(super) fn retry_at(&self, rules: &Rules, now: Instant) -> Option<Instant> {
        match self {
            Self::Open { until, .. } => holds(*until, rules.max_open, now).then_some(*until),
            Self::RateLimited(pause) => pause.retry_at(rules, now),
            Self::Closed(_) | Self::HalfOpen(_) => None,
        }
    }
}

fn closed(window: Window, event: Event, rules: &Rules, at: Observation) -> (State, Option<Cause>) {
    match event {
        Event::Nothing => (State::Closed(window), None),
        Event::RateLimited(wait) => {
            let pause = Pause::of_closed(window, wait, rules, at.now);
            (State::RateLimited(pause), Some(Cause::RateLimited))
        }
        Event::Ended(sample) => {
            let window = window.with(sample, rules, at.now);
            match window.verdict(rules) {
                Some(cause) => (opened(1, rules, at), Some(cause)),
                None => (State::Closed(window), None),
            }
        }
    }
}

fn half_open(lease: Return, event: Event, rules: &Rules, at: Observation) -> (State, Option<Cause>) {
    match (lease, event) {
        (Return::Stranger(probes), _) | (Return::Ours(probes), Event::Nothing) => {
            (State::HalfOpen(probes), None)
        }
        (Return::Ours(probes), Event::Ended(Sample::Good)) => match probes.succeeded(rules) {
            Some(probes) => (State::HalfOpen(probes), None),
            None => (State::default(), Some(Cause::Recovered)),
        },
        (Return::Ours(probes), Event::Ended(Sample::Slow | Sample::Failed)) => (
            opened(probes.strikes().saturating_add(1), rules, at),
            Some(Cause::ProbeFailed),
        ),
        (Return::Ours(probes), Event::RateLimited(wait)) => {
            let pause = Pause::of_half_open(probes.strikes(), wait, rules, at.now);
            (State::RateLimited(pause), Some(Cause::RateLimited))
        }
    }
}

fn opened(strikes: u32, rules: &Rules, at: Observation) -> State {
    let doublings = strikes.saturating_sub(1).min(MAX_DOUBLINGS);
    let span = nanos(rules.open)
        .saturating_mul(1 << doublings)
        .min(nanos(rules.max_open));
    let until = at
        .now
        .after(jittered(Duration::from_nanos(span), at.entropy).min(rules.max_open));
    State::Open { until, strikes }
}

/// The span, 20 % more or less, so that what failed together isn't tried again together.
pub(super) fn jittered(span: Duration, entropy: u64) -> Duration {
    let thousandths = 800 + entropy % 401;
    Duration::from_nanos((nanos(span) / 1000).saturating_mul(thousandths))
}

/// Whether `until` is still to come. A date further off than the policy ever sets, be it another clock's or a
/// former policy's, holds nobody.
pub(super) fn holds(until: Instant, longest: Duration, now: Instant) -> bool {
    now < until && until.since(now) <= longest.saturating_add(CLOCK_SLACK)
}

impl State {
    pub(super) fn write(&self, to: &mut Writer) {
        match self {
            Self::Closed(window) => {
                to.uint(0);
                window.write(to);
            }
            Self::Open { until, strikes } => {
                to.uint(1);
                to.uint(until.0);
                to.uint(u64::from(*strikes));
            }
            Self::HalfOpen(probes) => {
                to.uint(2);
                probes.write(to);
            }
            Self::RateLimited(pause) => {
                to.uint(3);
                pause.write(to);
            }
        }
    }

    /// Whether what follows is a closed state.
    pub(super) fn is_closed(from: &mut Reader<'_>) -> bool {
        from.uint() == Some(0)
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(match from.uint()? {
            0 => Self::Closed(Window::read(from)?),
            1 => Self::Open {
                until: Instant(from.uint()?),
                strikes: from.u32()?,
            },
            2 => Self::HalfOpen(Probes::read(from)?),
            3 => Self::RateLimited(Pause::read(from)?),
            _ => return None,
        })
    }
}
