//! The stay away that a 429 asks for, or that little headroom advises.
//!
//! Its invariant: it never ends earlier than it was said to, and never later than the policy's maximum.

use core::time::Duration;

use crate::policy::Breaker as Rules;
use crate::time::Instant;

use super::codec::{Reader, Writer};
use super::outcome::Event;
use super::state::holds;
use super::window::Window;

/// A stay away, and what it interrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    until: Instant,
    /// Of the half-open state that it interrupted; 0 when it was closed.
    strikes: u32,
    /// What was counted before: a 429 makes nothing unseen.
    window: Window,
}

/// What a pause is by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resumed {
    /// Its time isn't up.
    NotYet(Pause),
    /// Calls go, counted on from here.
    Closed(Window),
    /// Its time is up, and the next call to ask is a probe.
    Probing(Pause),
}

impl Pause {
    /// Closed, after a 429 that said to `wait`.
    pub(super) fn of_closed(window: Window, wait: Option<Duration>, rules: &Rules, now: Instant) -> Self {
        Self {
            until: end(wait, rules, now),
            strikes: 0,
            window,
        }
    }

    /// Half-open, after a 429 that said to `wait`.
    pub(super) fn of_half_open(strikes: u32, wait: Option<Duration>, rules: &Rules, now: Instant) -> Self {
        Self {
            until: end(wait, rules, now),
            strikes: strikes.max(1),
            window: Window::default(),
        }
    }

    /// This pause after a call ended that was sent before it: it counts, and is judged when the next one ends. A
    /// later 429 can only lengthen the stay: the provider may have several limits, and the shorter wait doesn't lift
    /// the longer one.
    pub(super) fn observe(self, event: Event, rules: &Rules, now: Instant) -> Self {
        match event {
            Event::Nothing => self,
            Event::RateLimited(wait) => Self {
                until: self.until.max(end(wait, rules, now)),
                ..self
            },
            Event::Ended(sample) => Self {
                window: self.window.with(sample, rules, now),
                ..self
            },
        }
    }

    /// When calls may go again; `None` if they may now.
    pub(super) fn retry_at(&self, rules: &Rules, now: Instant) -> Option<Instant> {
        let longest = rules.max_rate_limited.max(rules.rate_limited);
        holds(self.until, longest, now).then_some(self.until)
    }

    /// What it is by now.
    pub(super) fn resumed(self, rules: &Rules, now: Instant) -> Resumed {
        match (self.retry_at(rules, now), self.strikes) {
            (Some(_), _) => Resumed::NotYet(self),
            (None, 0) => Resumed::Closed(self.window),
            (None, _) => Resumed::Probing(self),
        }
    }

    /// How often the half-open state that it interrupted had opened.
    pub(super) fn strikes(&self) -> u32 {
        self.strikes
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.uint(self.until.0);
        to.uint(u64::from(self.strikes));
        self.window.write(to);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (until, strikes) = (Instant(from.uint()?), from.u32()?);
        Some(Self {
            until,
            strikes,
            window: Window::read(from)?,
        })
    }
}

fn end(wait: Option<Duration>, rules: &Rules, now: Instant) -> Instant {
    now.after(wait.map_or(rules.rate_limited, |wait| wait.min(rules.max_rate_limited)))
}
